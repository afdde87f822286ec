"""Sagas outside workflows; tests/e2e has them inside."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from perdure import Saga, SagaCompensationError


class Log(list[str]):
    """What was undone, in order."""

    def undo(self, name: str) -> None:
        self.append(name)

    async def undo_slowly(self, name: str) -> None:
        await asyncio.sleep(0)
        self.append(name)

    def fail(self, name: str) -> None:
        self.append(name)
        raise OSError(name)


@pytest.fixture
def log() -> Log:
    return Log()


class BookingError(Exception):
    pass


async def book(saga: Saga, log: Log, *names: str) -> None:
    async with saga:
        for name in names:
            saga.add(log.fail if name.startswith("bad") else log.undo_slowly, name)
        raise BookingError


async def test_steps_are_undone_newest_first(log: Log) -> None:
    with pytest.raises(BookingError):
        await book(Saga(), log, "a", "b", "c")
    assert log == ["c", "b", "a"]


async def test_a_block_that_ends_well_undoes_nothing(log: Log) -> None:
    async with Saga() as saga:
        saga.add(log.undo, "a")
    assert log == []


async def test_what_failed_to_be_undone_is_told_after_the_rest(log: Log) -> None:
    with pytest.raises(
        SagaCompensationError, match="2 of 4 compensations failed: OSError: bad2; OSError: bad1"
    ) as caught:
        await book(Saga(), log, "a", "bad1", "b", "bad2")
    assert log == ["bad2", "b", "bad1", "a"]
    assert [str(error) for error in caught.value.errors] == ["bad2", "bad1"]
    assert isinstance(caught.value.__cause__, BookingError)
    assert caught.value.non_retryable
    assert caught.value.type == "SagaCompensationError"


async def test_a_saga_may_stop_at_the_first_error(log: Log) -> None:
    with pytest.raises(SagaCompensationError, match="1 of 2"):
        await book(Saga(continue_with_error=False), log, "a", "bad", "b")
    assert log == ["b", "bad"]


async def test_compensations_may_run_at_once(log: Log) -> None:
    meeting = asyncio.Barrier(3)
    saga = Saga(parallel=True)

    async def meet() -> None:
        await meeting.wait()
        log.append("met")

    with pytest.raises(SagaCompensationError, match="1 of 4"):
        async with saga:
            for _ in range(3):
                saga.add(meet)
            saga.add(log.fail, "bad")
            raise BookingError
    assert log == ["bad", "met", "met", "met"]


async def test_cancellation_undoes_and_goes_on(log: Log) -> None:
    entered = asyncio.Event()

    async def block() -> None:
        async with Saga() as saga:
            saga.add(log.undo_slowly, "a")
            entered.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(block())
    await entered.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert log == ["a"]


async def test_compensations_are_shielded_from_cancellation(log: Log) -> None:
    undoing, go_on = asyncio.Event(), asyncio.Event()

    async def undo() -> None:
        undoing.set()
        await go_on.wait()
        log.append("undone")

    async def block() -> None:
        async with Saga() as saga:
            saga.add(undo)
            raise BookingError

    task = asyncio.create_task(block())
    await undoing.wait()
    for _ in range(2):
        task.cancel()
        await asyncio.sleep(0)
    assert not task.done()
    go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert log == ["undone"]


async def test_other_ways_out_undo_nothing(log: Log) -> None:
    with pytest.raises(KeyboardInterrupt):
        async with Saga() as saga:
            saga.add(log.undo, "a")
            raise KeyboardInterrupt
    assert log == []


async def test_compensating_by_hand_forgets(log: Log) -> None:
    async with Saga() as saga:
        saga.add(log.undo, "a")
        await saga.compensate()
        saga.add(log.undo, "b")
        await saga.compensate()
        await saga.compensate()
    assert log == ["a", "b"]


@pytest.mark.parametrize(
    ("arguments", "options", "kind", "message"),
    [
        ((5,), {}, TypeError, "a compensation is an activity, its name or a function, not int"),
        (("undo",), {}, ValueError, "outside a workflow there is no activity 'undo'"),
        ((print,), {"summary": "x"}, TypeError, "print is no activity, so it takes no option 'summary'"),
    ],
)
async def test_bad_compensations(
    arguments: tuple[Any, ...], options: dict[str, Any], kind: type[Exception], message: str
) -> None:
    with pytest.raises(kind, match=message):
        Saga(start_to_close_timeout=timedelta(seconds=1)).add(*arguments, **options)
