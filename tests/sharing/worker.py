"""A process of its own: opens the folder it is given, says when it is ready, works until it is killed."""

from __future__ import annotations

import asyncio
import os
import sys
from datetime import timedelta
from functools import partial

from perdure import activity, workflow
from perdure.client import Client
from perdure.common import RetryPolicy
from perdure.worker import Worker

QUEUE = "processes"


@activity.defn
async def who(step: int) -> int:
    """The process that did a step."""
    return os.getpid()


@workflow.defn
class Steps:
    """As many steps as it is told to do, one signal each."""

    def __init__(self) -> None:
        self.allowed = 0

    @workflow.signal
    def go(self) -> None:
        """Allow one more step."""
        self.allowed += 1

    def _may_do(self, step: int) -> bool:
        return self.allowed > step

    @workflow.run
    async def run(self, steps: int) -> list[int]:
        """Do the steps; the processes that did them."""
        done = []
        for step in range(steps):
            await workflow.wait_condition(partial(self._may_do, step))
            done.append(
                await workflow.execute_activity(
                    who,
                    step,
                    start_to_close_timeout=timedelta(seconds=30),
                    retry_policy=RetryPolicy(initial_interval=timedelta(milliseconds=10)),
                )
            )
        return done


async def main(url: str) -> None:
    """Work."""
    async with (
        await Client.connect(url) as client,
        Worker(client, task_queue=QUEUE, workflows=[Steps], activities=[who]),
    ):
        print("ready", flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
