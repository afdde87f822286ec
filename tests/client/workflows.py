"""Workflows whose definitions the client tests use; none of them runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from perdure import workflow
from perdure.common import RawValue


@dataclass
class Order:
    item: str
    amount: int = 1


@workflow.defn(name="Shop")
class ShopWorkflow:
    @workflow.run
    async def run(self, order: Order, price: float = 1.0) -> Order:
        return order

    @workflow.signal
    def add(self, item: str) -> None: ...

    @workflow.signal(name="drop-item")
    async def drop(self) -> None: ...

    @workflow.signal(dynamic=True)
    async def other(self, name: str, args: Sequence[RawValue]) -> None: ...

    @workflow.query
    def total(self) -> int:
        return 0

    @workflow.query
    def item(self, index: int) -> Order:
        return Order("")

    @workflow.update
    async def pay(self, amount: int) -> Order:
        return Order("")

    def undecorated(self) -> None: ...


@workflow.defn
class PlainWorkflow:
    @workflow.run
    async def run(self) -> None: ...


class NotAWorkflow:
    async def run(self) -> None: ...
