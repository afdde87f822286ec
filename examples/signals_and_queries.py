"""A shopping cart that lives as long as its customer shops: signals change it, queries look at it.

Run it with ``python examples/signals_and_queries.py``.
"""

from dataclasses import dataclass

from home import run

from perdure import Client, Worker, workflow


@dataclass
class Item:
    """So many of something."""

    name: str
    price: int
    amount: int = 1


@workflow.defn
class Cart:
    """What a customer has chosen so far. There is no database behind it: the workflow is the record."""

    def __init__(self) -> None:
        self._items: dict[str, Item] = {}
        self._checked_out = False

    @workflow.run
    async def run(self) -> int:
        await workflow.wait_condition(lambda: self._checked_out)
        return self.total()

    @workflow.signal
    def add(self, item: Item) -> None:
        """Put something in. A signal is durable when the sender's call returns."""
        known = self._items.setdefault(item.name, Item(item.name, item.price, 0))
        known.amount += item.amount

    @workflow.signal
    def remove(self, name: str) -> None:
        """Take something out."""
        self._items.pop(name, None)

    @workflow.signal
    def check_out(self) -> None:
        """Shopping is over."""
        self._checked_out = True

    @workflow.query
    def items(self) -> list[Item]:
        """What is in. A query changes nothing and leaves no trace in the history."""
        return [*self._items.values()]

    @workflow.query
    def total(self) -> int:
        """What it costs."""
        return sum(item.price * item.amount for item in self._items.values())


async def main(url: str) -> None:
    """Go shopping."""
    async with await Client.connect(url) as client, Worker(client, task_queue="carts", workflows=[Cart]):
        # Signal-with-start: the first item makes the cart.
        cart = await client.start_workflow(
            Cart.run, id="cart-17", task_queue="carts", start_signal="add", start_signal_args=[Item("tea", 4, 2)]
        )
        await cart.signal(Cart.add, Item("cup", 9))
        await cart.signal(Cart.add, Item("tea", 4))
        for item in await cart.query(Cart.items):
            print(f"  {item.amount} x {item.name} at {item.price}")
        print(f"total    {await cart.query(Cart.total)}")
        await cart.signal(Cart.remove, "cup")
        print(f"no cup   {await cart.query(Cart.total)}")
        await cart.signal(Cart.check_out)
        print(f"to pay   {await cart.result()}")


if __name__ == "__main__":
    run(main)
