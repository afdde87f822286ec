"""The workflows for perdure and for Temporal's Python SDK: one source, BENCH_SDK says whose decorators it gets."""

from __future__ import annotations

import asyncio
import os
from datetime import timedelta
from importlib import import_module

SDK = os.environ["BENCH_SDK"]
activity = import_module(f"{SDK}.activity")
workflow = import_module(f"{SDK}.workflow")
SOON = timedelta(seconds=60)


@activity.defn
async def act(number: int) -> int:
    return number


@workflow.defn
class Chain:
    @workflow.run
    async def run(self, steps: int) -> int:
        total = 0
        for step in range(steps):
            total += await workflow.execute_activity(act, step, start_to_close_timeout=SOON)
        return total


@workflow.defn
class FanOut:
    @workflow.run
    async def run(self, width: int) -> int:
        return sum(
            await asyncio.gather(
                *(workflow.execute_activity(act, number, start_to_close_timeout=SOON) for number in range(width))
            )
        )


@workflow.defn
class Counter:
    def __init__(self) -> None:
        self.count = 0

    @workflow.run
    async def run(self, count: int) -> int:
        await workflow.wait_condition(lambda: self.count >= count)
        return self.count

    @workflow.signal
    def add(self) -> None:
        self.count += 1


@workflow.defn
class Sleeper:
    @workflow.run
    async def run(self) -> None:
        await asyncio.sleep(3600)


WORKFLOWS = [Chain, FanOut, Counter, Sleeper]
