"""What becomes of children when their parent ends: each parent close policy, and a terminated child."""

import asyncio
from typing import Any

from sdk import exceptions, workflow


@workflow.defn
class Child:
    @workflow.run
    async def run(self) -> None:
        await asyncio.Event().wait()


@workflow.defn
class Parent:
    @workflow.run
    async def run(self) -> None:
        mine = workflow.info().workflow_id
        for policy in ("TERMINATE", "ABANDON", "REQUEST_CANCEL"):
            await workflow.start_child_workflow(
                Child.run, id=f"{mine}/{policy.lower()}", parent_close_policy=workflow.ParentClosePolicy[policy]
            )


@workflow.defn
class OfTerminated:
    @workflow.run
    async def run(self) -> str:
        child = await workflow.start_child_workflow(Child.run, id=f"{workflow.info().workflow_id}/victim")
        try:
            await child
        except exceptions.ChildWorkflowError as error:
            return type(error.cause).__name__
        return "nothing happened"


WORKFLOWS = [Parent, Child, OfTerminated]


async def drive(d: Any) -> None:
    async with d.worker():
        await d.run(Parent.run)
        for policy in ("terminate", "request_cancel"):
            child = d.client.get_workflow_handle(f"{d.workflow_id('history')}/{policy}")
            await d.outcome(child)
            d.keep_run(policy, child.id, (await child.describe()).run_id)
        abandoned = d.client.get_workflow_handle(f"{d.workflow_id('history')}/abandon")
        await d.until(abandoned, "WORKFLOW_TASK_COMPLETED")
        d.keep_run("abandon", abandoned.id, (await abandoned.describe()).run_id)

        parent = await d.start(OfTerminated.run, case="of_terminated")
        await d.until(parent, "CHILD_WORKFLOW_EXECUTION_STARTED")
        victim = d.client.get_workflow_handle(f"{parent.id}/victim")
        await victim.terminate("a reason")
        assert await parent.result() == "TerminatedError"
        d.keep("of_terminated", parent)
        d.keep_run("terminated", victim.id, (await victim.describe()).run_id)
