"""Conditions: true at once, made true by a signal, timed out, met before their timeout."""

from typing import Any

from sdk import workflow


@workflow.defn
class Conditions:
    def __init__(self) -> None:
        self.level = 0

    @workflow.run
    async def run(self) -> list[str]:
        seen = []
        await workflow.wait_condition(lambda: True)
        seen.append("at once")
        await workflow.wait_condition(lambda: self.level >= 1)
        seen.append("by signal")
        try:
            await workflow.wait_condition(lambda: self.level >= 9, timeout=0.1, timeout_summary="not that high")
        except TimeoutError:
            seen.append("timed out")
        await workflow.wait_condition(lambda: self.level >= 2, timeout=60)
        seen.append("in time")
        return seen

    @workflow.signal
    def raise_to(self, level: int) -> None:
        self.level = level


WORKFLOWS = [Conditions]


async def drive(d: Any) -> None:
    async with d.worker():
        handle = await d.start(Conditions.run)
        await d.until(handle, "WORKFLOW_TASK_COMPLETED")
        await handle.signal(Conditions.raise_to, 1)
        await d.until(handle, "TIMER_STARTED", 2)
        await handle.signal(Conditions.raise_to, 2)
        assert await handle.result() == ["at once", "by signal", "timed out", "in time"]
        d.keep("history", handle)
