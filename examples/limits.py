"""Sharing what is scarce: so many at a time, so many per second, and one run for a burst of calls.

Run it with ``python examples/limits.py``.
"""

import asyncio
from datetime import timedelta

from home import run

from perdure import Client, Worker, activity, limits, workflow


class Press:
    """A machine that breaks when more than two use it."""

    def __init__(self) -> None:
        """Nobody uses it."""
        self.users = 0
        self.most = 0

    @activity.defn
    async def press(self, number: int) -> None:
        """Use it for a moment."""
        self.users += 1
        self.most = max(self.most, self.users)
        await asyncio.sleep(0.05)
        self.users -= 1


@workflow.defn
class Print:
    """Uses the press, when it is its turn."""

    @workflow.run
    async def run(self, number: int) -> None:
        async with limits.concurrency("press", limit=2):
            await workflow.execute_activity_method(Press.press, number, start_to_close_timeout=timedelta(seconds=10))


@workflow.defn
class Mail:
    """Sends a mail; the provider takes five per half a second."""

    @workflow.run
    async def run(self) -> float:
        await limits.rate_limit("provider", limit=5, per=timedelta(seconds=0.5))
        return workflow.time()


@workflow.defn
class Reindex:
    """Takes long, so a document that is being edited is indexed once, with its last text."""

    @workflow.run
    async def run(self, text: str) -> str:
        return f"indexed {text!r}"


async def main(url: str) -> None:
    """Use all three."""
    press = Press()
    async with (
        await Client.connect(url) as client,
        Worker(client, task_queue="q", workflows=[Print, Mail, Reindex], activities=[press.press]),
    ):
        prints = [await client.start_workflow(Print.run, n, id=f"print-{n}", task_queue="q") for n in range(8)]
        for handle in prints:
            await handle.result()
        print(f"concurrency  8 prints, never more than {press.most} at a time")

        mails = [await client.start_workflow(Mail.run, id=f"mail-{n}", task_queue="q") for n in range(12)]
        sent = sorted([await mail.result() for mail in mails])
        print(f"rate limit   12 mails in {sent[-1] - sent[0]:.1f} s")

        for text in ("d", "dr", "dra", "draft"):
            await limits.debounce(
                client, Reindex.run, text, id="reindex-17", task_queue="q", period=timedelta(seconds=0.5)
            )
        keeper = client.get_workflow_handle("perdure-limits/debounce/reindex-17")
        await keeper.result()
        print(f"debounce     4 calls, and then: {await client.get_workflow_handle('reindex-17').result()}")


if __name__ == "__main__":
    run(main)
