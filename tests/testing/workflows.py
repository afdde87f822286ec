"""Workflows whose time a test skips."""

from __future__ import annotations

import asyncio
from datetime import timedelta

from perdure import workflow
from perdure.common import RetryPolicy

DAY = timedelta(days=1)


@workflow.defn
class Sleeper:
    """Sleeps so many days and returns how many seconds passed; the days slept so far can be asked for."""

    def __init__(self) -> None:
        self._slept = 0

    @workflow.run
    async def run(self, days: int) -> float:
        started = workflow.now()
        for _ in range(days):
            await asyncio.sleep(DAY.total_seconds())
            self._slept += 1
        return (workflow.now() - started).total_seconds()

    @workflow.query
    def slept(self) -> int:
        return self._slept


@workflow.defn
class ActivityBesideTimer:
    """Runs an activity while it sleeps a day; returns which of the two ended first."""

    @workflow.run
    async def run(self, is_local: bool) -> str:
        started = workflow.now()
        if is_local:
            step = workflow.start_local_activity("step", start_to_close_timeout=timedelta(hours=1))
        else:
            step = workflow.start_activity("step", start_to_close_timeout=timedelta(hours=1))
        timer = asyncio.create_task(asyncio.sleep(DAY.total_seconds()))
        await asyncio.wait([step, timer], return_when=asyncio.FIRST_COMPLETED)
        first = "activity" if step.done() else "timer"
        assert workflow.now() - started < DAY
        await asyncio.gather(step, timer)
        return first


@workflow.defn
class Retries:
    """Runs an activity that fails until it has been tried often enough, an hour apart."""

    @workflow.run
    async def run(self) -> int:
        started = workflow.now()
        attempts: int = await workflow.execute_activity(
            "flaky",
            start_to_close_timeout=timedelta(minutes=1),
            retry_policy=RetryPolicy(initial_interval=timedelta(hours=1), backoff_coefficient=1),
        )
        assert workflow.now() - started >= timedelta(hours=attempts - 1)
        return attempts


@workflow.defn
class NobodyWorks:
    """Schedules an activity where no worker polls."""

    @workflow.run
    async def run(self) -> None:
        await workflow.execute_activity(
            "never",
            task_queue="nobody",
            schedule_to_start_timeout=timedelta(hours=1),
            start_to_close_timeout=timedelta(hours=1),
        )


@workflow.defn
class WaitsForSignal:
    """Waits for a signal; may set timers aside first."""

    def __init__(self) -> None:
        self._is_released = False

    @workflow.run
    async def run(self, is_timer_cancelled: bool) -> float:
        started = workflow.now()
        if is_timer_cancelled:
            timer = asyncio.create_task(asyncio.sleep(DAY.total_seconds()))
            await asyncio.sleep(1)
            timer.cancel()
        await workflow.wait_condition(lambda: self._is_released)
        return (workflow.now() - started).total_seconds()

    @workflow.signal
    def release(self) -> None:
        self._is_released = True


@workflow.defn
class Generations:
    """Sleeps a day and continues as new."""

    @workflow.run
    async def run(self, left: int) -> str:
        await asyncio.sleep(DAY.total_seconds())
        if left:
            workflow.continue_as_new(left - 1)
        return "done"


@workflow.defn
class Parent:
    """Has two children that sleep."""

    @workflow.run
    async def run(self) -> list[float]:
        children = [
            workflow.execute_child_workflow(Sleeper.run, days, id=f"{workflow.info().workflow_id}-{days}")
            for days in (1, 30)
        ]
        return list(await asyncio.gather(*children))


@workflow.defn
class Counts:
    """Ends at once; for cron."""

    @workflow.run
    async def run(self) -> int:
        return (workflow.get_last_completion_result(int) or 0) + 1


@workflow.defn
class Asserts:
    """Asserts something false."""

    @workflow.run
    async def run(self) -> None:
        assert 1 + 1 == 3, "sums"


@workflow.defn
class Broken:
    """Its workflow task fails until it is mended."""

    is_broken = True

    @workflow.run
    async def run(self) -> float:
        if Broken.is_broken:
            raise RuntimeError("a bug")
        started = workflow.now()
        await asyncio.sleep(DAY.total_seconds())
        return (workflow.now() - started).total_seconds()


ALL = [
    Sleeper,
    ActivityBesideTimer,
    Retries,
    NobodyWorks,
    WaitsForSignal,
    Generations,
    Parent,
    Counts,
    Asserts,
    Broken,
]
