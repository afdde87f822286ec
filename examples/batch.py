"""A batch of thousands: a hundred at a time, failures noted, and a new run when the history gets long.

Run it with ``python examples/batch.py``.
"""

import asyncio
from dataclasses import dataclass
from datetime import timedelta

from home import run

from perdure import Client, Worker, activity, workflow
from perdure.common import RetryPolicy
from perdure.exceptions import ApplicationError

INVOICES = 2500


@dataclass
class Sum:
    """What came of the batch so far."""

    position: int = 0
    sent: int = 0
    failed: int = 0
    runs: int = 1


@activity.defn
async def send_invoice(number: int) -> None:
    """Send one invoice; every thousandth has no address."""
    if number % 1000 == 999:
        raise ApplicationError(f"invoice {number} has no address", non_retryable=True)


@workflow.defn
class SendInvoices:
    """Sends all invoices."""

    def __init__(self) -> None:
        self._sum = Sum()

    @workflow.run
    async def run(self, count: int, sum: Sum) -> Sum:
        self._sum = sum
        invoices = workflow.map(
            send_invoice,
            range(count),
            concurrency=100,  # so many at a time; neither the numbers nor the results are ever all in memory
            start=sum.position,
            stop_when=workflow.info().is_continue_as_new_suggested,
            start_to_close_timeout=timedelta(seconds=30),
            retry_policy=RetryPolicy(maximum_attempts=3),
        )
        async for outcome in invoices.outcomes():  # a failed invoice does not end the batch
            if outcome.error is None:
                sum.sent += 1
            else:
                sum.failed += 1
        sum.position = invoices.position
        if invoices.stopped:
            sum.runs += 1
            workflow.continue_as_new(args=[count, sum])
        return sum

    @workflow.query
    def progress(self) -> Sum:
        """How far the batch is."""
        return self._sum


async def main(url: str) -> None:
    """Send a few thousand invoices."""
    async with (
        await Client.connect(url) as client,
        Worker(
            client,
            task_queue="invoices",
            workflows=[SendInvoices],
            activities=[send_invoice],
            max_concurrent_activities=100,
        ),
    ):
        handle = await client.start_workflow(
            SendInvoices.run, args=[INVOICES, Sum()], id="invoices-january", task_queue="invoices"
        )
        result = asyncio.create_task(handle.result())
        while not result.done():
            await asyncio.wait([result], timeout=0.1)
            sum = await handle.query(SendInvoices.progress)
            print(f"  run {sum.runs}: {sum.sent + sum.failed} of {INVOICES}")
        sum = await result
        print(f"{sum.sent} sent, {sum.failed} failed, in {sum.runs} runs of the workflow")


if __name__ == "__main__":
    run(main)
