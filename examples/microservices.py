"""Services that know nothing of each other, each with its own task queue; a workflow makes them one checkout.

Run it with ``python examples/microservices.py``.
"""

import asyncio
from dataclasses import dataclass
from datetime import timedelta

from home import run

from perdure import Client, Worker, activity, workflow


@dataclass
class Checkout:
    """What the customer wants."""

    customer: str
    product: str


# --- what the services agree on: names and types. Whoever calls needs this, and not the code behind it.


@dataclass
class Quote:
    """What a parcel costs, by one carrier."""

    carrier: str
    price: int


# --- the inventory service


class Inventory:
    """Activities may be methods: what they need is made once, when the service starts."""

    def __init__(self, stock: dict[str, int]) -> None:
        """Open the stock."""
        self._stock = stock

    @activity.defn(name="inventory.reserve")
    async def reserve(self, product: str) -> int:
        """Take one from the shelf."""
        self._stock[product] -= 1
        print(f"  inventory: one {product} taken, {self._stock[product]} left")
        return self._stock[product]


# --- the shipping service, with carriers of different speed


@activity.defn(name="shipping.quote")
async def quote(carrier: str) -> Quote:
    """Ask a carrier for its price."""
    await asyncio.sleep({"snail": 0.2, "horse": 0.1, "drone": 30}[carrier])
    return Quote(carrier, {"snail": 3, "horse": 5, "drone": 1}[carrier])


# --- the payment service


@activity.defn(name="payment.charge")
async def charge(customer: str, amount: int) -> str:
    """Take the money."""
    print(f"  payment: {customer} paid {amount}")
    return f"receipt-{customer}"


# --- the orchestration


@workflow.defn
class CheckOut:
    """Reserves, asks the carriers, takes the cheapest that answers in time, charges."""

    @workflow.run
    async def run(self, wish: Checkout) -> str:
        ten_seconds = timedelta(seconds=10)
        await workflow.execute_activity(
            "inventory.reserve", wish.product, task_queue="inventory", start_to_close_timeout=ten_seconds
        )
        # Plain asyncio: ask all at once, and go on with what there is after a while.
        asked = [asyncio.create_task(self._quote(carrier), name=carrier) for carrier in ("snail", "horse", "drone")]
        done, late = await asyncio.wait(asked, timeout=1.5)
        for task in late:
            task.cancel()
        quotes = sorted((task.result() for task in done), key=lambda quote: quote.price)
        workflow.logger.info("%d carriers answered", len(quotes))
        receipt: str = await workflow.execute_activity(
            "payment.charge",
            args=[wish.customer, 20 + quotes[0].price],
            task_queue="payment",
            start_to_close_timeout=ten_seconds,
        )
        return f"{receipt}, by {quotes[0].carrier}"

    async def _quote(self, carrier: str) -> Quote:
        answer: Quote = await workflow.execute_activity(
            "shipping.quote",
            carrier,
            result_type=Quote,
            task_queue="shipping",
            start_to_close_timeout=timedelta(seconds=10),
        )
        return answer


async def main(url: str) -> None:
    """Four services in one process here; they could as well be four deployments."""
    async with (
        await Client.connect(url) as client,
        Worker(client, task_queue="inventory", activities=[Inventory({"tea": 3}).reserve]),
        Worker(client, task_queue="shipping", activities=[quote]),
        Worker(client, task_queue="payment", activities=[charge]),
        Worker(client, task_queue="checkout", workflows=[CheckOut]),
    ):
        wish = Checkout("ada", "tea")
        print(await client.execute_workflow(CheckOut.run, wish, id="checkout-ada-1", task_queue="checkout"))


if __name__ == "__main__":
    run(main)
