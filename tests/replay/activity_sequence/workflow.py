"""Five activities one after the other, then ten at once."""

import asyncio
from datetime import timedelta
from typing import Any

from sdk import activity, workflow


@activity.defn
async def square(number: int) -> int:
    return number * number


@workflow.defn
class Sequence:
    @workflow.run
    async def run(self, steps: int) -> int:
        total = 0
        for step in range(steps):
            total += await workflow.execute_activity(square, step, start_to_close_timeout=timedelta(seconds=20))
        return total


@workflow.defn
class Parallel:
    @workflow.run
    async def run(self, width: int) -> int:
        return sum(
            await asyncio.gather(
                *(
                    workflow.execute_activity(square, step, start_to_close_timeout=timedelta(seconds=20))
                    for step in range(width)
                )
            )
        )


WORKFLOWS = [Sequence, Parallel]
ACTIVITIES = [square]


async def drive(d: Any) -> None:
    async with d.worker():
        assert await d.run(Sequence.run, 5) == 30
        assert await d.run(Parallel.run, 10, case="parallel") == 285
