"""Workflow tasks that fail or time out and then recover, alone and with signals that came meanwhile."""

import time
from collections import Counter
from datetime import timedelta
from typing import Any

from sdk import workflow

FAILURES: Counter[str] = Counter()


def fail_first(times: int) -> None:
    """A bug that is there the first few times; never on replay."""
    mine = workflow.info().workflow_id
    if not workflow.unsafe.is_replaying() and FAILURES[mine] < times:
        FAILURES[mine] += 1
        raise RuntimeError(f"a bug, time {FAILURES[mine]}")


def hold_first(seconds: float) -> None:
    """Keep the first workflow task open, as slow code would; never on replay."""
    mine = workflow.info().workflow_id
    if not workflow.unsafe.is_replaying() and not FAILURES[mine]:
        FAILURES[mine] += 1
        with workflow.unsafe.sandbox_unrestricted():
            time.sleep(seconds)


@workflow.defn
class Recovers:
    def __init__(self) -> None:
        self.words: list[str] = []

    @workflow.run
    async def run(self, count: int) -> list[str]:
        fail_first(2)
        await workflow.wait_condition(lambda: len(self.words) >= count)
        return self.words

    @workflow.signal
    def word(self, word: str) -> None:
        self.words.append(word)


@workflow.defn
class FailsLater:
    def __init__(self) -> None:
        self.words: list[str] = []

    @workflow.run
    async def run(self) -> list[str]:
        await workflow.wait_condition(lambda: len(self.words) >= 1)
        fail_first(1)
        await workflow.wait_condition(lambda: len(self.words) >= 2)
        return self.words

    @workflow.signal
    def word(self, word: str) -> None:
        self.words.append(word)


@workflow.defn
class TooSlow:
    """The first workflow task takes longer than it may."""

    @workflow.run
    async def run(self) -> str:
        hold_first(1.6)
        return "at last"


@workflow.defn
class Unhandled:
    """A signal comes while the task that completes the workflow runs: that command is refused, the task repeated."""

    def __init__(self) -> None:
        self.words: list[str] = []

    @workflow.run
    async def run(self) -> list[str]:
        hold_first(1)
        return self.words

    @workflow.signal
    def word(self, word: str) -> None:
        self.words.append(word)


WORKFLOWS = [Recovers, FailsLater, TooSlow, Unhandled]


async def drive(d: Any) -> None:
    FAILURES.clear()
    async with d.worker():
        handle = await d.start(Recovers.run, 0)
        assert await handle.result() == []
        d.keep("history", handle)

        handle = await d.start(Recovers.run, 2, case="signalled")
        await d.until(handle, "WORKFLOW_TASK_FAILED")
        await handle.signal(Recovers.word, "one")
        await handle.signal(Recovers.word, "two")
        assert await handle.result() == ["one", "two"]
        d.keep("signalled", handle)

        handle = await d.start(FailsLater.run, case="later")
        await handle.signal(FailsLater.word, "one")
        await d.until(handle, "WORKFLOW_TASK_FAILED")
        await handle.signal(FailsLater.word, "two")
        assert await handle.result() == ["one", "two"]
        d.keep("later", handle)

        await d.run(TooSlow.run, case="timed_out", task_timeout=timedelta(seconds=1))

        handle = await d.start(Unhandled.run, case="unhandled_command")
        await d.until(handle, "WORKFLOW_TASK_STARTED")
        try:
            await handle.signal(Unhandled.word, "just in time")
        except Exception as error:
            assert "already completed" in str(error) or "not found" in str(error)
        await handle.result()
        d.keep("unhandled_command", handle)
