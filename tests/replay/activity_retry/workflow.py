"""Activities that fail: retried into success, out of attempts, not retryable in three ways, a delay of their own."""

from datetime import timedelta
from typing import Any

from sdk import activity, common, exceptions, workflow

QUICK = common.RetryPolicy(initial_interval=timedelta(milliseconds=10), backoff_coefficient=1.5, maximum_attempts=3)


@activity.defn
async def fail_until(attempt: int) -> int:
    if activity.info().attempt < attempt:
        raise exceptions.ApplicationError(f"attempt {activity.info().attempt}", "detail", 7, type="Early")
    return activity.info().attempt


@activity.defn
async def fail_plain() -> None:
    raise ValueError("plain")


@activity.defn
async def fail_for_good() -> None:
    raise exceptions.ApplicationError("for good", type="Final", non_retryable=True)


@activity.defn
async def fail_with_delay() -> int:
    if activity.info().attempt == 1:
        raise exceptions.ApplicationError("later", next_retry_delay=timedelta(milliseconds=20))
    return activity.info().attempt


@workflow.defn
class Retry:
    @workflow.run
    async def run(self) -> list[Any]:
        outcome: list[Any] = []
        options = {"start_to_close_timeout": timedelta(seconds=20), "retry_policy": QUICK}
        outcome.append(await workflow.execute_activity(fail_until, 3, **options))
        outcome.append(await workflow.execute_activity(fail_with_delay, **options))
        for failing, args in ((fail_until, [9]), (fail_for_good, [])):
            try:
                await workflow.execute_activity(failing, args=args, **options)
            except exceptions.ActivityError as error:
                outcome.append([error.retry_state.name, error.cause.type, error.cause.message])
        try:
            await workflow.execute_activity(
                fail_plain,
                start_to_close_timeout=timedelta(seconds=20),
                retry_policy=common.RetryPolicy(non_retryable_error_types=["ValueError"]),
            )
        except exceptions.ActivityError as error:
            outcome.append([error.retry_state.name, error.cause.type, error.cause.message])
        return outcome


@workflow.defn
class Unhandled:
    @workflow.run
    async def run(self) -> None:
        await workflow.execute_activity(
            fail_plain,
            start_to_close_timeout=timedelta(seconds=20),
            retry_policy=common.RetryPolicy(maximum_attempts=1),
        )


WORKFLOWS = [Retry, Unhandled]
ACTIVITIES = [fail_until, fail_plain, fail_for_good, fail_with_delay]


async def drive(d: Any) -> None:
    async with d.worker():
        assert await d.run(Retry.run) == [
            3,
            2,
            ["MAXIMUM_ATTEMPTS_REACHED", "Early", "attempt 3"],
            ["NON_RETRYABLE_FAILURE", "Final", "for good"],
            ["NON_RETRYABLE_FAILURE", "ValueError", "plain"],
        ]
        await d.run(Unhandled.run, case="unhandled")
