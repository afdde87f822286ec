"""Alarms: at their time, in order, once, and never after they were taken back."""

from __future__ import annotations

import asyncio

import pytest

from perdure.engine.alarms import Alarms
from tests.engine.driver import Clock, S


class Bell:
    """Alarms over a clock in the test's hand, and what they called."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.alarms = Alarms(asyncio.get_running_loop(), self.clock)
        self.rung: list[str] = []

    def set(self, name: str, seconds: float) -> None:
        self.alarms.set(name, self.clock.now + int(seconds * S), lambda: self.rung.append(name))

    def advance(self, seconds: float) -> None:
        self.clock.now += int(seconds * S)
        self.alarms.poke()


@pytest.fixture
async def bell() -> Bell:
    return Bell()


async def test_alarms_go_off_in_order(bell: Bell) -> None:
    for name, seconds in (("c", 3), ("a", 1), ("b", 2)):
        bell.set(name, seconds)
    bell.advance(0.5)
    assert bell.rung == []
    bell.advance(1.5)
    assert bell.rung == ["a", "b"]
    bell.advance(10)
    assert bell.rung == ["a", "b", "c"]
    assert bell.alarms.next_due is None


async def test_a_name_has_one_alarm(bell: Bell) -> None:
    bell.set("a", 1)
    bell.set("a", 2)
    assert bell.alarms.next_due == bell.clock.now + 2 * S
    bell.advance(1)
    assert bell.rung == []
    bell.advance(1)
    assert bell.rung == ["a"]
    bell.advance(10)
    assert bell.rung == ["a"]


async def test_cleared_alarm_is_silent(bell: Bell) -> None:
    bell.set("a", 1)
    bell.alarms.clear("a")
    bell.alarms.clear("never set")
    assert bell.alarms.next_due is None
    bell.advance(2)
    assert bell.rung == []


async def test_alarm_may_set_itself_again(bell: Bell) -> None:
    def again() -> None:
        bell.rung.append("a")
        bell.alarms.set("a", bell.clock.now + S, again)

    bell.alarms.set("a", bell.clock.now + S, again)
    for _ in range(3):
        bell.advance(1)
    assert bell.rung == ["a"] * 3


async def test_many_changes_leave_no_waste(bell: Bell) -> None:
    for number in range(10_000):
        bell.set("a", 1 + number)
    assert len(bell.alarms._heap) < 100


async def test_alarm_goes_off_by_itself() -> None:
    loop = asyncio.get_running_loop()
    alarms = Alarms(loop, lambda: int(loop.time() * S))
    rung = asyncio.Event()
    alarms.set("late", int(loop.time() * S) + 3600 * S, lambda: None)
    alarms.set("now", int(loop.time() * S), rung.set)
    await asyncio.wait_for(rung.wait(), 10)
    alarms.close()
    alarms.set("after", 0, lambda: None)


async def test_closed_alarms_are_silent(bell: Bell) -> None:
    bell.set("a", 1)
    bell.alarms.close()
    bell.advance(2)
    assert bell.rung == []
