"""Errors: what is tried again, what is not, and what to do when nothing helps.

Run it with ``python examples/retries.py``.
"""

import asyncio
from datetime import timedelta

from home import run

from perdure import Client, Worker, activity, workflow
from perdure.client import WorkflowFailureError
from perdure.common import RetryPolicy
from perdure.exceptions import ActivityError, ApplicationError, TimeoutError


@activity.defn
async def read_rate(currency: str) -> float:
    """A service that is down now and then; the third attempt works."""
    attempt = activity.info().attempt
    if currency == "XXX":
        # Trying again cannot help, and the service knows it.
        raise ApplicationError(f"there is no currency {currency}", type="UnknownCurrency", non_retryable=True)
    if attempt < 3:
        print(f"  attempt {attempt}: the service is down")
        raise ConnectionError("the service is down")
    print(f"  attempt {attempt}: got it")
    return 1.25


@activity.defn
async def read_rate_slowly(currency: str) -> float:
    """A service that never answers."""
    print(f"  attempt {activity.info().attempt}: no answer")
    await asyncio.sleep(60)
    return 0.0


@activity.defn
async def read_cached_rate(currency: str) -> float:
    """What is known from yesterday."""
    return 1.2


@workflow.defn
class Convert:
    """Converts an amount at today's rate."""

    @workflow.run
    async def run(self, currency: str, amount: int) -> float:
        rate = await workflow.execute_activity(
            read_rate,
            currency,
            start_to_close_timeout=timedelta(seconds=5),  # of one attempt
            retry_policy=RetryPolicy(
                initial_interval=timedelta(milliseconds=50),  # then 100 ms, 200 ms, ...
                backoff_coefficient=2,
                maximum_attempts=5,
            ),
        )
        return amount * rate


@workflow.defn
class ConvertSomehow:
    """Converts an amount at the best rate that can be had."""

    @workflow.run
    async def run(self, currency: str, amount: int) -> float:
        try:
            rate = await workflow.execute_activity(
                read_rate_slowly,
                currency,
                start_to_close_timeout=timedelta(milliseconds=100),
                schedule_to_close_timeout=timedelta(milliseconds=350),  # of all attempts together
                retry_policy=RetryPolicy(initial_interval=timedelta(milliseconds=20)),
            )
        except ActivityError as error:
            # Workflow code handles errors as any code does; the cause says what happened.
            if not isinstance(error.cause, TimeoutError):
                raise
            print("  gave up, taking yesterday's rate")
            rate = await workflow.execute_activity(
                read_cached_rate, currency, start_to_close_timeout=timedelta(seconds=5)
            )
        return amount * rate


async def main(url: str) -> None:
    """Convert three amounts."""
    async with (
        await Client.connect(url) as client,
        Worker(
            client,
            task_queue="rates",
            workflows=[Convert, ConvertSomehow],
            activities=[read_rate, read_rate_slowly, read_cached_rate],
        ),
    ):
        print("a service that comes back:")
        print(await client.execute_workflow(Convert.run, args=["EUR", 100], id="convert-1", task_queue="rates"))
        print("a service that does not answer:")
        print(await client.execute_workflow(ConvertSomehow.run, args=["EUR", 100], id="convert-2", task_queue="rates"))
        print("a mistake:")
        try:
            await client.execute_workflow(Convert.run, args=["XXX", 100], id="convert-3", task_queue="rates")
        except WorkflowFailureError as error:
            assert isinstance(error.cause, ActivityError)
            print(f"failed at once: {error.cause.cause}")


if __name__ == "__main__":
    run(main)
