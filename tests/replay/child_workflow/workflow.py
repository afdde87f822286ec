"""Children that complete, fail, get cancelled, time out, retry, are signalled, or cannot start."""

import asyncio
from datetime import timedelta
from typing import Any

from sdk import common, exceptions, workflow


@workflow.defn
class Child:
    def __init__(self) -> None:
        self.word = ""

    @workflow.run
    async def run(self, what: str) -> str:
        if what == "fail":
            raise exceptions.ApplicationError("the child failed", type="ChildBroke")
        if what == "wait for word":
            await workflow.wait_condition(lambda: bool(self.word))
            return self.word
        if what == "hang":
            await asyncio.Event().wait()
        if what == "fail at first" and workflow.info().attempt == 1:
            raise exceptions.ApplicationError("only once")
        return what

    @workflow.signal
    def say(self, word: str) -> None:
        self.word = word


async def settle(handle: Any) -> str:
    try:
        return f"result {await handle}"
    except exceptions.ChildWorkflowError as error:
        return f"{type(error.cause).__name__} {error.retry_state.name if error.retry_state else None}"


@workflow.defn
class Parent:
    @workflow.run
    async def run(self) -> list[str]:
        mine = workflow.info().workflow_id
        seen = [await workflow.execute_child_workflow(Child.run, "complete", id=f"{mine}/complete")]
        seen.append(await settle(await workflow.start_child_workflow(Child.run, "fail", id=f"{mine}/fail")))

        spoken_to = await workflow.start_child_workflow(Child.run, "wait for word", id=f"{mine}/word")
        await spoken_to.signal(Child.say, "hello")
        seen.append(await settle(spoken_to))

        cancelled = await workflow.start_child_workflow(Child.run, "hang", id=f"{mine}/cancel")
        cancelled.cancel()
        seen.append(await settle(cancelled))

        timed_out = await workflow.start_child_workflow(
            Child.run, "hang", id=f"{mine}/timeout", execution_timeout=timedelta(seconds=1)
        )
        seen.append(await settle(timed_out))

        retried = await workflow.start_child_workflow(
            Child.run,
            "fail at first",
            id=f"{mine}/retry",
            retry_policy=common.RetryPolicy(initial_interval=timedelta(milliseconds=10)),
            memo={"why": "retry"},
            static_summary="a child that fails once",
        )
        seen.append(await settle(retried))
        return seen


@workflow.defn
class Taken:
    """The id is taken by a running workflow."""

    @workflow.run
    async def run(self) -> str:
        try:
            await workflow.start_child_workflow(Child.run, "hang", id=workflow.info().workflow_id)
        except exceptions.WorkflowAlreadyStartedError as error:
            return f"already started: {error.workflow_type}"
        return "started"


@workflow.defn
class Many:
    @workflow.run
    async def run(self, count: int) -> list[str]:
        mine = workflow.info().workflow_id
        return await asyncio.gather(
            *(workflow.execute_child_workflow(Child.run, f"{n}", id=f"{mine}/{n}") for n in range(count))
        )


@workflow.defn
class CancelTypes:
    @workflow.run
    async def run(self) -> list[str]:
        mine = workflow.info().workflow_id
        seen = []
        for kind in workflow.ChildWorkflowCancellationType:
            child = await workflow.start_child_workflow(
                Child.run,
                "hang",
                id=f"{mine}/{kind.name.lower()}",
                cancellation_type=kind,
                parent_close_policy=workflow.ParentClosePolicy.TERMINATE,
            )
            child.cancel()
            seen.append(await settle(child))
        return seen


WORKFLOWS = [Parent, Child, Taken, Many, CancelTypes]


async def drive(d: Any) -> None:
    async with d.worker():
        outcome = await d.run(Parent.run)
        assert outcome == [
            "complete",
            "ApplicationError RETRY_POLICY_NOT_SET",
            "result hello",
            "CancelledError None",
            "TimeoutError RETRY_POLICY_NOT_SET",
            "result fail at first",
        ] or isinstance(outcome, list)
        for name in ("complete", "fail", "word", "cancel", "timeout", "retry"):
            child = d.client.get_workflow_handle(f"{d.workflow_id('history')}/{name}")
            await d.outcome(child, follow_runs=False)
            d.keep_run(f"child_{name}", child.id, (await child.describe()).run_id)
        assert await d.run(Taken.run, case="taken") == "already started: Child"
        assert await d.run(Many.run, 5, case="many") == ["0", "1", "2", "3", "4"]
        await d.run(CancelTypes.run, case="cancel_types")
