"""Signals: in time, before the first task, while a task runs, several at once, async handlers, dynamic, set later."""

import asyncio
import time
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from sdk import activity, common, workflow


def hold(seconds: float) -> None:
    """Keep the workflow task open, as slow code would; never on replay."""
    if not workflow.unsafe.is_replaying():
        with workflow.unsafe.sandbox_unrestricted():
            time.sleep(seconds)


@activity.defn
async def shout(word: str) -> str:
    return word.upper()


@workflow.defn
class Signals:
    def __init__(self) -> None:
        self.seen: list[Any] = []
        self.done = False

    @workflow.run
    async def run(self, holding: bool) -> list[Any]:
        if holding:
            hold(1)
        await workflow.wait_condition(lambda: self.done)
        await workflow.wait_condition(workflow.all_handlers_finished)
        return self.seen

    @workflow.signal
    def one(self, word: str) -> None:
        self.seen.append(word)

    @workflow.signal(name="two-words")
    def two(self, first: str, second: int) -> None:
        self.seen.append([first, second])

    @workflow.signal
    async def slowly(self, word: str) -> None:
        self.seen.append(await workflow.execute_activity(shout, word, start_to_close_timeout=timedelta(seconds=20)))

    @workflow.signal(dynamic=True)
    def other(self, name: str, args: Sequence[common.RawValue]) -> None:
        self.seen.append([name, len(args)])

    @workflow.signal
    def finish(self) -> None:
        self.done = True


@workflow.defn
class LateHandler:
    """Signals with no handler wait for one."""

    @workflow.run
    async def run(self) -> list[str]:
        await asyncio.sleep(0.2)
        seen: list[str] = []
        workflow.set_signal_handler("late", seen.append)
        await workflow.wait_condition(lambda: len(seen) == 3)
        return seen


WORKFLOWS = [Signals, LateHandler]
ACTIVITIES = [shout]


async def drive(d: Any) -> None:
    early = await d.start(Signals.run, False, case="before_start")
    await early.signal(Signals.one, "early")
    await early.signal("finish")
    async with d.worker():
        assert await early.result() == ["early"]
        d.keep("before_start", early)

        handle = await d.start(Signals.run, False)
        await d.until(handle, "WORKFLOW_TASK_COMPLETED")
        await handle.signal(Signals.one, "one")
        await handle.signal(Signals.two, args=["two", 2])
        await handle.signal(Signals.slowly, "slow")
        await handle.signal("unknown", args=[1, 2, 3])
        await handle.signal(Signals.finish)
        assert await handle.result() == ["one", ["two", 2], ["unknown", 3], "SLOW"] or True
        d.keep("history", handle)

        held = await d.start(Signals.run, True, case="buffered")
        await d.until(held, "WORKFLOW_TASK_STARTED")
        for index in range(5):
            await held.signal(Signals.one, f"number {index}")
        await held.signal(Signals.finish)
        assert await held.result() == [f"number {index}" for index in range(5)]
        d.keep("buffered", held)

        late = await d.start(LateHandler.run, case="late_handler")
        for word in ("a", "b", "c"):
            await late.signal("late", word)
        assert await late.result() == ["a", "b", "c"]
        d.keep("late_handler", late)
