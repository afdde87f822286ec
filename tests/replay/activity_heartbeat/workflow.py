"""An activity that heartbeats, fails, and goes on from its last details."""

import asyncio
from datetime import timedelta
from typing import Any

from sdk import activity, common, exceptions, workflow


@activity.defn
async def count(upto: int) -> list[int]:
    done = list(activity.info().heartbeat_details)
    start = done[0] + 1 if done else 1
    for number in range(start, upto + 1):
        activity.heartbeat(number)
        if number == upto // 2 and not done:
            raise exceptions.ApplicationError("half way")
        await asyncio.sleep(0.01)
    return [start, upto]


@workflow.defn
class Heartbeat:
    @workflow.run
    async def run(self) -> list[int]:
        return await workflow.execute_activity(
            count,
            6,
            start_to_close_timeout=timedelta(seconds=20),
            heartbeat_timeout=timedelta(seconds=5),
            retry_policy=common.RetryPolicy(initial_interval=timedelta(milliseconds=10)),
        )


WORKFLOWS = [Heartbeat]
ACTIVITIES = [count]


async def drive(d: Any) -> None:
    async with d.worker():
        assert await d.run(Heartbeat.run) == [4, 6]
