"""An order from the click to the parcel: steps, progress, and a customer who changes their mind.

Run it with ``python examples/order_processing.py``.
"""

import asyncio
from dataclasses import dataclass, field
from datetime import timedelta

from home import run

from perdure import Client, Saga, Worker, activity, workflow
from perdure.client import WorkflowFailureError
from perdure.common import RetryPolicy
from perdure.exceptions import ApplicationError, CancelledError


@dataclass
class Order:
    """What was ordered."""

    id: str
    prices: dict[str, int]
    card: str


@dataclass
class Progress:
    """What a customer sees of an order."""

    status: str = "received"
    steps: list[str] = field(default_factory=list)


@activity.defn
async def reserve(order: Order) -> None:
    """Put the goods aside."""
    print(f"  {order.id}: {', '.join(order.prices)} put aside")


@activity.defn
async def put_back(order: Order) -> None:
    """Undo that."""
    print(f"  {order.id}: goods put back")


@activity.defn
async def charge(order: Order) -> str:
    """Charge the card. The order's id makes a second call harmless: the provider knows it has been paid."""
    if order.card == "expired":
        raise ApplicationError("the card has expired", type="CardRefused", non_retryable=True)
    print(f"  {order.id}: {sum(order.prices.values())} charged")
    return f"payment-{order.id}"


@activity.defn
async def refund(order: Order) -> None:
    """Undo that."""
    print(f"  {order.id}: refunded, if it was charged")


@activity.defn
async def ship(order: Order) -> str:
    """Hand the parcel over."""
    print(f"  {order.id}: shipped")
    return f"parcel-{order.id}"


@workflow.defn
class ProcessOrder:
    """Takes an order through its steps; undoes them if one fails or the customer cancels before it is packed."""

    def __init__(self) -> None:
        self._progress = Progress()

    @workflow.run
    async def run(self, order: Order) -> str:
        if not order.prices:
            raise ApplicationError("the order is empty", type="BadOrder")
        options = workflow.ActivityConfig(
            start_to_close_timeout=timedelta(seconds=10), retry_policy=RetryPolicy(maximum_attempts=5)
        )
        try:
            async with Saga(start_to_close_timeout=timedelta(seconds=10)) as saga:
                saga.add(put_back, order)
                await workflow.execute_activity(reserve, order, **options)
                self._step("reserved")
                saga.add(refund, order)
                await workflow.execute_activity(charge, order, **options)
                self._step("paid")
                await asyncio.sleep(1)  # packing; until then the order can be cancelled
                self._step("packed")
        except BaseException:
            self._progress.status = "undone"
            raise
        parcel = await workflow.execute_activity(ship, order, **options)
        self._step("shipped")
        return parcel

    def _step(self, name: str) -> None:
        self._progress.status = name
        self._progress.steps.append(name)

    @workflow.query
    def progress(self) -> Progress:
        """How far the order is; it can be asked after the end, too."""
        return self._progress


async def main(url: str) -> None:
    """Process three orders: a good one, one that is cancelled, one that cannot be paid."""
    async with (
        await Client.connect(url) as client,
        Worker(
            client,
            task_queue="orders",
            workflows=[ProcessOrder],
            activities=[reserve, put_back, charge, refund, ship],
        ),
    ):
        orders = [
            Order("order-1", {"tea": 4, "cup": 9}, "4242"),
            Order("order-2", {"pot": 40}, "4242"),
            Order("order-3", {"tea": 4}, "expired"),
        ]
        handles = [
            await client.start_workflow(ProcessOrder.run, order, id=order.id, task_queue="orders") for order in orders
        ]
        while (await handles[1].query(ProcessOrder.progress)).status != "paid":
            await asyncio.sleep(0.01)
        print("the customer cancels order-2")
        await handles[1].cancel()
        for handle in handles:
            try:
                told = f"is on its way as {await handle.result()}"
            except WorkflowFailureError as error:
                told = (
                    "was cancelled" if isinstance(error.cause, CancelledError) else f"failed: {error.cause.__cause__}"
                )
            progress = await handle.query(ProcessOrder.progress)
            print(f"{handle.id} {told} (after: {', '.join(progress.steps)}; now {progress.status})")


if __name__ == "__main__":
    run(main)
