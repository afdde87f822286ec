"""Ways to start: delayed, with summary and details, with every timeout, dynamic, by name, replaced, eager."""

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from sdk import common, workflow


@workflow.defn
class Plain:
    @workflow.run
    async def run(self) -> str:
        workflow.set_current_details("on its way")
        return workflow.info().workflow_type


@workflow.defn
class Waits:
    @workflow.run
    async def run(self) -> None:
        await asyncio.Event().wait()


@workflow.defn(name="a name with spaces & ünïcödé")
class Named:
    @workflow.init
    def __init__(self, first: int, second: str) -> None:
        self.first = first

    @workflow.run
    async def run(self, first: int, second: str) -> list[Any]:
        return [self.first, second]


@workflow.defn(dynamic=True)
class Dynamic:
    @workflow.run
    async def run(self, args: Sequence[common.RawValue]) -> str:
        return f"{workflow.info().workflow_type} with {len(args)}"


WORKFLOWS = [Plain, Named, Waits, Dynamic]


async def drive(d: Any) -> None:
    async with d.worker():
        assert await d.run(Plain.run) == "Plain"
        await d.run(
            Plain.run,
            case="every_option",
            start_delay=timedelta(milliseconds=200),
            execution_timeout=timedelta(minutes=5),
            run_timeout=timedelta(minutes=4),
            task_timeout=timedelta(seconds=5),
            retry_policy=common.RetryPolicy(
                initial_interval=timedelta(seconds=2),
                backoff_coefficient=3,
                maximum_interval=timedelta(minutes=1),
                maximum_attempts=5,
                non_retryable_error_types=["ValueError"],
            ),
            memo={"why": "every option"},
            static_summary="a summary",
            static_details="some **details**",
            priority=common.Priority(priority_key=2),
        )
        assert await d.run(Named.run, 1, "two", case="named") == [1, "two"]
        assert await d.run("unheard-of", 1, 2, 3, case="dynamic") == "unheard-of with 3"

        replaced = await d.start(Waits.run, case="replaced")
        await d.until(replaced, "WORKFLOW_TASK_COMPLETED")
        d.keep("replaced", replaced)
        replacing = await d.start(
            Plain.run,
            id=replaced.id,
            id_conflict_policy=common.WorkflowIDConflictPolicy.TERMINATE_EXISTING,
        )
        await replacing.result()
        d.keep("replacing", replacing)
