"""What the cluster's tests run."""

from __future__ import annotations

import asyncio
from datetime import timedelta

from perdure import activity, workflow

SECONDS = timedelta(seconds=20)


@activity.defn
async def double(number: int) -> int:
    return 2 * number


@workflow.defn
class Double:
    @workflow.run
    async def run(self, number: int) -> int:
        return await workflow.execute_activity(double, number, start_to_close_timeout=SECONDS)


@workflow.defn
class Sleep:
    @workflow.run
    async def run(self, seconds: float) -> str:
        await asyncio.sleep(seconds)
        return "awake"


@workflow.defn
class Collect:
    """Takes what it is sent, by signal or by update, until it is told to stop."""

    def __init__(self) -> None:
        self.items: list[int] = []
        self.is_done = False

    @workflow.run
    async def run(self) -> list[int]:
        await workflow.wait_condition(lambda: self.is_done)
        return self.items

    @workflow.signal
    def add(self, item: int) -> None:
        self.items.append(item)

    @workflow.signal
    def stop(self) -> None:
        self.is_done = True

    @workflow.update
    async def insert(self, item: int) -> int:
        self.items.append(await workflow.execute_activity(double, item, start_to_close_timeout=SECONDS))
        return len(self.items)

    @workflow.query
    def count(self) -> int:
        return len(self.items)


@workflow.defn
class Parent:
    @workflow.run
    async def run(self, children: int) -> int:
        results = await asyncio.gather(
            *(workflow.execute_child_workflow(Double.run, number) for number in range(children))
        )
        return sum(results)


WORKFLOWS = [Collect, Double, Parent, Sleep]
