"""A subscription that sleeps for a month at a time, for years: a new run each year keeps the history short.

Run it with ``python examples/subscription.py``.
"""

import asyncio
from dataclasses import dataclass
from datetime import timedelta

from home import run

from perdure import Client, Worker, activity, workflow

A_MONTH = timedelta(seconds=0.1)  # months pass quickly here
MONTHS_PER_RUN = 12


@dataclass
class Subscription:
    """What a new run has to know: all of it is here, nothing else outlives a run."""

    customer: str
    price: int
    paid_months: int = 0


@activity.defn
async def charge(customer: str, month: int, price: int) -> None:
    """Charge one month; customer and month make it safe to repeat."""
    print(f"  {customer} pays {price} for month {month}")


@activity.defn
async def say_goodbye(customer: str) -> None:
    """Send a last mail."""
    print(f"  goodbye, {customer}")


@workflow.defn
class Subscribe:
    """Charges once a month until it is cancelled."""

    @workflow.init
    def __init__(self, subscription: Subscription) -> None:
        self._subscription = subscription
        self._is_cancelled = False

    @workflow.run
    async def run(self, subscription: Subscription) -> int:
        ten_seconds = timedelta(seconds=10)
        for _ in range(MONTHS_PER_RUN):
            month = subscription.paid_months + 1
            await workflow.execute_activity(
                charge, args=[subscription.customer, month, subscription.price], start_to_close_timeout=ten_seconds
            )
            subscription.paid_months = month
            try:
                # Asleep it costs nothing but its place on disk; no process has to run.
                await workflow.wait_condition(lambda: self._is_cancelled, timeout=A_MONTH)
            except TimeoutError:
                continue
            await workflow.execute_activity(say_goodbye, subscription.customer, start_to_close_timeout=ten_seconds)
            return subscription.paid_months
        workflow.continue_as_new(subscription)

    @workflow.signal
    def change_price(self, price: int) -> None:
        """From the next month on."""
        self._subscription.price = price

    @workflow.signal
    def cancel(self) -> None:
        """End it."""
        self._is_cancelled = True

    @workflow.query
    def paid_months(self) -> int:
        """For how many months the customer has paid."""
        return self._subscription.paid_months


async def main(url: str) -> None:
    """Subscribe, stop the process in between, pay more, and leave in the second year."""
    async with await Client.connect(url) as client, worker(client):
        handle = await client.start_workflow(
            Subscribe.run, Subscription("ada", 10), id="subscription-ada", task_queue="subscriptions"
        )
        await until_paid(client, 3)
    print("no process runs; the months go on")
    await asyncio.sleep(A_MONTH.total_seconds() * 2)
    async with await Client.connect(url) as client, worker(client):
        handle = client.get_workflow_handle_for(Subscribe.run, "subscription-ada")
        await handle.signal(Subscribe.change_price, 12)
        await until_paid(client, 14)
        await handle.signal(Subscribe.cancel)
        print(f"paid for {await handle.result()} months")
        runs = [run async for run in client.list_workflows("WorkflowId = 'subscription-ada'")]
        for number, run_ in enumerate(reversed(runs), 1):
            assert run_.status is not None
            print(f"run {number}: {run_.history_length} events, {run_.status.name}")


def worker(client: Client) -> Worker:
    """A worker for subscriptions."""
    return Worker(client, task_queue="subscriptions", workflows=[Subscribe], activities=[charge, say_goodbye])


async def until_paid(client: Client, months: int) -> None:
    """Wait until so many months are paid."""
    handle = client.get_workflow_handle_for(Subscribe.run, "subscription-ada")
    while await handle.query(Subscribe.paid_months) < months:
        await asyncio.sleep(0.01)


if __name__ == "__main__":
    run(main)
