"""Waiting for something that only answers when asked: often, by an activity that loops; seldom, by retries.

Run it with ``python examples/polling.py``.
"""

import asyncio
import time
from datetime import timedelta

from home import run

from perdure import Client, Worker, activity, workflow
from perdure.common import RetryPolicy
from perdure.exceptions import ApplicationError


class Printer:
    """Somebody else's print service: a job is ready after a while, and there is no callback."""

    def __init__(self) -> None:
        """Remember when each job was first asked for."""
        self._first: dict[str, float] = {}

    def is_ready(self, job: str) -> bool:
        """Whether a job is ready."""
        return time.monotonic() - self._first.setdefault(job, time.monotonic()) > 0.3


class Polling:
    """The activities."""

    def __init__(self, printer: Printer) -> None:
        """Ask this printer."""
        self._printer = printer

    @activity.defn
    async def wait_for(self, job: str) -> int:
        """Poll often, within one attempt. The heartbeat tells that it lives, and brings a cancellation."""
        asked = 0
        while True:
            asked += 1
            if self._printer.is_ready(job):
                return asked
            activity.heartbeat(asked)
            await asyncio.sleep(0.05)

    @activity.defn
    async def ask(self, job: str) -> int:
        """Poll seldom: ask once. Not ready is an error, and the retry policy asks again."""
        if not self._printer.is_ready(job):
            raise ApplicationError(f"{job} is not ready", type="NotReady")
        return activity.info().attempt


@workflow.defn
class PollOften:
    """For answers within seconds or minutes. A worker slot is taken all the time."""

    @workflow.run
    async def run(self, job: str) -> int:
        return await workflow.execute_activity_method(
            Polling.wait_for,
            job,
            start_to_close_timeout=timedelta(hours=1),
            heartbeat_timeout=timedelta(seconds=2),  # a dead worker is noticed after this, and another goes on
        )


@workflow.defn
class PollSeldom:
    """For answers within hours or days. Between attempts nothing runs, and the history does not grow."""

    @workflow.run
    async def run(self, job: str) -> int:
        return await workflow.execute_activity_method(
            Polling.ask,
            job,
            start_to_close_timeout=timedelta(seconds=10),
            retry_policy=RetryPolicy(initial_interval=timedelta(milliseconds=100), backoff_coefficient=1),
        )


async def main(url: str) -> None:
    """Wait for two jobs, in both ways."""
    polling = Polling(Printer())
    async with (
        await Client.connect(url) as client,
        Worker(
            client,
            task_queue="printing",
            workflows=[PollOften, PollSeldom],
            activities=[polling.wait_for, polling.ask],
        ),
    ):
        often = await client.start_workflow(PollOften.run, "poster", id="print-poster", task_queue="printing")
        seldom = await client.start_workflow(PollSeldom.run, "book", id="print-book", task_queue="printing")
        print(f"poster: ready, asked {await often.result()} times by one attempt")
        print(f"book:   ready, at attempt {await seldom.result()}")
        for handle in (often, seldom):
            print(f"{handle.id}: {(await handle.describe()).history_length} events")


if __name__ == "__main__":
    run(main)
