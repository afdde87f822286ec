"""Timers: fired, at once, cancelled, cancelled before they left, and two ways of losing a race."""

import asyncio
import time
from datetime import timedelta
from typing import Any

from sdk import workflow


@workflow.defn
class Timers:
    @workflow.run
    async def run(self) -> list[str]:
        seen = []
        await asyncio.sleep(0.05)
        seen.append("fired")
        await workflow.sleep(timedelta(milliseconds=50), summary="a named one")
        seen.append("named")
        await asyncio.sleep(0)
        seen.append("no timer at all")
        slow = asyncio.create_task(asyncio.sleep(60))
        await asyncio.sleep(0.05)
        slow.cancel()
        try:
            await slow
        except asyncio.CancelledError:
            seen.append("cancelled")
        never = asyncio.create_task(asyncio.sleep(60))
        await asyncio.sleep(0)
        never.cancel()
        await asyncio.wait([never])
        seen.append("cancelled before it left")
        await asyncio.gather(*(asyncio.sleep(0.05) for _ in range(3)))
        seen.append("three")
        return seen


def hold(seconds: float) -> None:
    """Keep the workflow task open, as slow code would; never on replay."""
    if not workflow.unsafe.is_replaying():
        with workflow.unsafe.sandbox_unrestricted():
            time.sleep(seconds)


@workflow.defn
class BufferedCancel:
    """The timer fires while a workflow task runs whose code then cancels it."""

    def __init__(self) -> None:
        self.go = False

    @workflow.run
    async def run(self) -> str:
        timer = asyncio.create_task(asyncio.sleep(1))
        await workflow.wait_condition(lambda: self.go)
        hold(1.5)
        timer.cancel()
        try:
            await timer
        except asyncio.CancelledError:
            return "cancelled"
        return "fired"

    @workflow.signal
    def proceed(self) -> None:
        self.go = True


WORKFLOWS = [Timers, BufferedCancel]


async def drive(d: Any) -> None:
    async with d.worker():
        assert len(await d.run(Timers.run)) == 6
        handle = await d.start(BufferedCancel.run, case="buffered_cancel")
        await d.until(handle, "TIMER_STARTED")
        await handle.signal(BufferedCancel.proceed)
        assert await handle.result() == "cancelled"
        d.keep("buffered_cancel", handle)
