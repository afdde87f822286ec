"""Updates: answered at once, with an activity, refused, failed, several at once, before the first task."""

import asyncio
from datetime import timedelta
from typing import Any

from sdk import activity, client, common, exceptions, workflow


@activity.defn
async def square(number: int) -> int:
    return number * number


@workflow.defn
class Updated:
    def __init__(self) -> None:
        self.total = 0
        self.done = False

    @workflow.run
    async def run(self) -> int:
        await workflow.wait_condition(lambda: self.done)
        await workflow.wait_condition(workflow.all_handlers_finished)
        return self.total

    @workflow.update
    def add(self, number: int) -> int:
        self.total += number
        return self.total

    @add.validator
    def check_add(self, number: int) -> None:
        if number < 0:
            raise ValueError("must not be negative")

    @workflow.update
    async def add_square(self, number: int) -> int:
        squared = await workflow.execute_activity(square, number, start_to_close_timeout=timedelta(seconds=20))
        self.total += squared
        return self.total

    @workflow.update
    async def fail(self) -> None:
        await asyncio.sleep(0.01)
        raise exceptions.ApplicationError("not today", type="Refused")

    @workflow.update
    def finish(self) -> str:
        self.done = True
        info = workflow.current_update_info()
        return f"finished by {info.id}"


WORKFLOWS = [Updated]
ACTIVITIES = [square]


async def drive(d: Any) -> None:
    early = await d.start(Updated.run, case="before_start")
    pending = asyncio.create_task(early.execute_update(Updated.finish, id="early-finish"))
    async with d.worker():
        assert await pending == "finished by early-finish"
        await early.result()
        d.keep("before_start", early)

        handle = await d.start(Updated.run)
        assert await handle.execute_update(Updated.add, 3, id="add-3") == 3
        for refused in (
            handle.execute_update(Updated.add, -1, id="add-negative"),
            handle.execute_update(Updated.fail, id="fails"),
        ):
            try:
                await refused
            except client.WorkflowUpdateFailedError:
                pass
            else:
                raise AssertionError("the update was not refused")
        results = await asyncio.gather(*(handle.execute_update(Updated.add_square, n, id=f"sq-{n}") for n in (1, 2, 3)))
        assert max(results) == 17
        assert await handle.execute_update(Updated.finish, id="the-last") == "finished by the-last"
        assert await handle.result() == 17
        d.keep("history", handle)

        start = client.WithStartWorkflowOperation(
            Updated.run,
            id=d.workflow_id("with_start"),
            task_queue=d.task_queue,
            id_conflict_policy=common.WorkflowIDConflictPolicy.FAIL,
        )
        await d.client.execute_update_with_start_workflow(
            Updated.add, 5, id="with-start", start_workflow_operation=start
        )
        started = await start.workflow_handle()
        await started.execute_update(Updated.finish, id="end")
        assert await started.result() == 5
        d.keep("with_start", started)
