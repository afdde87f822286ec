"""Local activities: one, several, retried in the worker, retried over a timer, failed, beside normal ones."""

import asyncio
from datetime import timedelta
from typing import Any

from sdk import activity, common, exceptions, workflow

SOON = timedelta(seconds=20)


@activity.defn
async def square(number: int) -> int:
    return number * number


@activity.defn
async def fail_until(attempt: int) -> int:
    if activity.info().attempt < attempt:
        raise exceptions.ApplicationError(f"attempt {activity.info().attempt}")
    return activity.info().attempt


@activity.defn
async def wait_for_cancel() -> None:
    await asyncio.Event().wait()


@workflow.defn
class Local:
    @workflow.run
    async def run(self) -> list[Any]:
        seen: list[Any] = [await workflow.execute_local_activity(square, 3, start_to_close_timeout=SOON)]
        seen.append(
            await asyncio.gather(
                *(workflow.execute_local_activity(square, n, start_to_close_timeout=SOON) for n in range(3)),
                workflow.execute_activity(square, 9, start_to_close_timeout=SOON),
            )
        )
        quick = common.RetryPolicy(initial_interval=timedelta(milliseconds=10), maximum_attempts=3)
        seen.append(
            await workflow.execute_local_activity(fail_until, 3, schedule_to_close_timeout=SOON, retry_policy=quick)
        )
        seen.append(
            await workflow.execute_local_activity(
                fail_until,
                2,
                schedule_to_close_timeout=SOON,
                retry_policy=common.RetryPolicy(initial_interval=timedelta(milliseconds=300)),
                local_retry_threshold=timedelta(milliseconds=100),
            )
        )
        try:
            await workflow.execute_local_activity(fail_until, 9, schedule_to_close_timeout=SOON, retry_policy=quick)
        except exceptions.FailureError as error:
            seen.append(f"{type(error).__name__}: {error}")
        handle = workflow.start_local_activity(wait_for_cancel, schedule_to_close_timeout=SOON)
        await asyncio.sleep(0.05)
        handle.cancel()
        try:
            await handle
        except exceptions.FailureError as error:
            seen.append(f"{type(error).__name__}: {type(error.cause).__name__}")
        return seen


WORKFLOWS = [Local]
ACTIVITIES = [square, fail_until, wait_for_cancel]


async def drive(d: Any) -> None:
    async with d.worker():
        outcome = await d.run(Local.run)
        # A local activity that is out of attempts fails as its own error, without an ActivityError around it.
        assert outcome == [9, [0, 1, 4, 81], 3, 2, "ApplicationError: attempt 3", "ActivityError: CancelledError"], (
            outcome
        )
