"""Workflows that do not yield are interrupted, reported once, and nothing else is hit."""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from perdure import workflow
from perdure._native import guard
from perdure.client import Client
from perdure.worker import Worker
from perdure.worker import _watchdog as watchdog


class Run:
    def __init__(self, deadlock_timeout: float | None = 0.05) -> None:
        self.deadlock_timeout = deadlock_timeout

    def guard_time_ns(self) -> int:
        return 0

    def guard_random(self) -> random.Random:
        return random.Random(0)

    def guard_name(self) -> str:
        return "workflow OrderFlow, run abc"


@pytest.fixture
def stop_and_read(caplog: pytest.LogCaptureFixture) -> Callable[[], list[logging.LogRecord]]:
    """Start the watchdog; what is given stops it, and so waits until it has logged, and returns the records."""
    caplog.set_level(logging.ERROR, "perdure.worker")
    watchdog.start()
    watchdog.start()
    watchdog.stop()

    def stop() -> list[logging.LogRecord]:
        watchdog.stop()
        assert not [t for t in threading.enumerate() if t.name == "perdure-watchdog"]
        return [record for record in caplog.records if record.name == "perdure.worker"]

    return stop


def endless() -> None:
    while True:
        pass


def test_endless_loop_is_interrupted_and_located(stop_and_read: Callable[[], list[logging.LogRecord]]) -> None:
    guard.enter(Run())
    with pytest.raises(
        watchdog.PotentialDeadlockError, match=r"TMPRL1101.*OrderFlow, run abc.*0\.05 seconds"
    ) as caught:
        endless()
    assert guard.leave() is True
    line = endless.__code__.co_firstlineno
    (record,) = stop_and_read()
    message = record.getMessage()
    assert message.startswith(str(caught.value))
    assert any(f"{__file__}:{n}, in endless" in message for n in (line + 1, line + 2))
    assert "in test_endless_loop_is_interrupted_and_located" in message, "the stack is there"
    for _ in range(10_000):
        pass


def test_one_that_swallows_is_hit_again_and_reported_twice(
    stop_and_read: Callable[[], list[logging.LogRecord]],
) -> None:
    hits = 0
    guard.enter(Run())
    while hits < 4:
        try:
            endless()
        except watchdog.PotentialDeadlockError:
            hits += 1
    assert guard.leave() is True
    records = stop_and_read()
    assert [r.levelname for r in records] == ["ERROR", "CRITICAL"]
    assert "could not be interrupted" in records[1].getMessage()


@pytest.mark.parametrize("limit", [None, 0])
def test_limit_off(limit: float | None) -> None:
    dog = watchdog.Watchdog()
    guard.enter(Run(limit))
    dog.look(0.0)
    dog.look(1e9)
    assert guard.leave() is False


def test_short_turns_are_never_hit() -> None:
    dog = watchdog.Watchdog()
    for now in range(100):
        guard.enter(Run())
        dog.look(float(now))
        assert guard.leave() is False
    dog.look(1e9)


def test_turn_that_ends_while_the_watchdog_looks_is_left_alone() -> None:
    dog = watchdog.Watchdog()
    run = Run()
    guard.enter(run)
    dog.look(0.0)
    ((thread, number, _),) = guard.turns()
    turn = dog._turns[thread]
    guard.leave()
    guard.enter(run)
    dog._interrupt(thread, turn, run, 1.0)
    for _ in range(1000):
        pass
    assert guard.leave() is False
    assert turn.number == number
    assert turn.reports == 0


def test_storm_of_turns_and_interrupts_never_hits_outside() -> None:
    """One thread takes short turns, another interrupts whatever it sees: no exception lands between turns."""
    outside: list[Any] = []
    done = threading.Event()
    count = [0, 0]

    class Stop(BaseException):
        pass

    def worker() -> None:
        run = Run()
        inside = False
        try:
            while not done.is_set():
                try:
                    guard.enter(run)
                    inside = True
                    for _ in range(50):
                        pass
                except Stop:
                    count[0] += 1
                finally:
                    inside = False
                    count[1] += guard.leave()
        except BaseException as error:
            outside.append((error, inside))

    thread = threading.Thread(target=worker)
    thread.start()
    deadline = time.monotonic() + 0.5
    while time.monotonic() < deadline:
        for ident, turn, _ in guard.turns():
            guard.interrupt(ident, turn, Stop)
    done.set()
    thread.join()
    # The gap between the first bytecode after enter() and the last before leave() belongs to the turn as well.
    assert all(isinstance(error, Stop) for error, _ in outside)
    assert count[1] >= count[0]


attempts: list[str] = []


@workflow.defn
class StuckOnce:
    @workflow.run
    async def run(self, kind: str) -> str:
        attempts.append(kind)
        if len(attempts) == 1:
            try:
                endless()
            except BaseException:
                if kind == "lets it pass":
                    raise
        return "done"


@workflow.defn(sandboxed=False)
class StuckUnguarded(StuckOnce):
    @workflow.run
    async def run(self, kind: str) -> str:
        assert not guard.is_active()
        return await super().run(kind)


async def test_workflows_without_the_guard_are_watched_too() -> None:
    attempts.clear()
    client = await Client.connect("memory:")
    async with Worker(client, task_queue="tq", workflows=[StuckUnguarded], deadlock_timeout=timedelta(milliseconds=50)):
        assert await client.execute_workflow(StuckUnguarded.run, "lets it pass", id="u", task_queue="tq") == "done"
    assert len(attempts) == 2


@pytest.mark.parametrize("kind", ["lets it pass", "swallows it"])
async def test_workflow_task_fails_and_the_worker_lives_on(kind: str, caplog: pytest.LogCaptureFixture) -> None:
    attempts.clear()
    client = await Client.connect("memory:")
    async with Worker(client, task_queue="tq", workflows=[StuckOnce], deadlock_timeout=timedelta(milliseconds=50)):
        assert await client.execute_workflow(StuckOnce.run, kind, id=kind, task_queue="tq") == "done"
    assert attempts == [kind, kind]
    assert sum("TMPRL1101" in r.getMessage() and r.msg == "%s\n%s" for r in caplog.records) == 1
