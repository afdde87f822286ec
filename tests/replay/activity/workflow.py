"""One activity of each shape: function, method, threaded, no result, dataclass, named, by string, dynamic."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from sdk import activity, common, workflow

SOON = timedelta(seconds=20)


@dataclass
class Order:
    item: str
    amount: int


@activity.defn
async def greet(name: str) -> str:
    return f"Hello, {name}!"


@activity.defn(name="double-it")
async def double(order: Order) -> Order:
    return Order(order.item, order.amount * 2)


@activity.defn
async def nothing() -> None:
    await asyncio.sleep(0)


@activity.defn
async def add(left: int, right: int) -> int:
    return left + right


@activity.defn(dynamic=True)
async def anything(args: Sequence[common.RawValue]) -> str:
    return f"{activity.info().activity_type} with {len(args)}"


@workflow.defn
class OneActivity:
    @workflow.run
    async def run(self, name: str) -> str:
        return await workflow.execute_activity(greet, name, start_to_close_timeout=SOON)


@workflow.defn
class Shapes:
    @workflow.run
    async def run(self) -> list[Any]:
        order = await workflow.execute_activity(double, Order("pen", 2), schedule_to_close_timeout=SOON)
        none = await workflow.execute_activity(nothing, start_to_close_timeout=SOON, summary="does nothing")
        total = await workflow.execute_activity(add, args=[1, 2], start_to_close_timeout=SOON, activity_id="sum")
        by_name = await workflow.execute_activity("unheard-of", "x", start_to_close_timeout=SOON, result_type=str)
        urgent = await workflow.execute_activity(
            greet, "you", start_to_close_timeout=SOON, priority=common.Priority(priority_key=1)
        )
        return [order, none, total, by_name, urgent]


WORKFLOWS = [OneActivity, Shapes]
ACTIVITIES = [greet, double, nothing, add, anything]


async def drive(d: Any) -> None:
    async with d.worker():
        assert await d.run(OneActivity.run, "you") == "Hello, you!"
        assert await d.run(Shapes.run, case="shapes") == [
            {"item": "pen", "amount": 4},
            None,
            3,
            "unheard-of with 1",
            "Hello, you!",
        ]
