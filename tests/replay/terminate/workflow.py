"""A terminated workflow, with reason and details, in the middle of an activity and a timer."""

import asyncio
from typing import Any

from sdk import workflow


@workflow.defn
class Victim:
    @workflow.run
    async def run(self) -> None:
        await asyncio.sleep(600)


WORKFLOWS = [Victim]


async def drive(d: Any) -> None:
    async with d.worker():
        handle = await d.start(Victim.run)
        await d.until(handle, "TIMER_STARTED")
        await handle.terminate("detail", 7, reason="a reason")
        await d.outcome(handle)
        d.keep("history", handle)
