"""The timer wheel against its twin."""

from __future__ import annotations

import gc
import weakref

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings

from perdure._native.timers import TimerWheel
from tests.twins.timers import TimersTwin

delays = st.one_of(
    st.integers(-5, 70), st.integers(0, 5000), st.integers(0, 10**6), st.sampled_from([63, 64, 65, 4095, 4096, 2**40])
)
steps = st.one_of(
    st.tuples(st.just("arm"), delays),
    st.tuples(st.just("cancel"), st.integers(0, 60)),
    st.tuples(st.just("advance"), delays, st.integers(0, 3)),
)


@settings(max_examples=400, deadline=None)
@given(st.integers(0, 2**41), st.lists(steps, max_size=80))
def test_it_does_what_its_twin_does(start: int, program: list[tuple[object, ...]]) -> None:
    wheel: TimerWheel = TimerWheel(start)
    twin = TimersTwin(start)
    handles: list[tuple[int, int]] = []
    now = start
    for number, (what, *arguments) in enumerate(program):
        value = arguments[0]
        assert isinstance(value, int)
        if what == "arm":
            due = max(now + value, 0)
            handles.append((wheel.arm(due, number), twin.arm(due, number)))
        elif what == "cancel" and handles:
            ours, theirs = handles[value % len(handles)]
            assert wheel.cancel(ours) == twin.cancel(theirs)
        elif what == "advance":
            now = max(now, now + value)
            limit = arguments[1]
            assert isinstance(limit, int)
            assert wheel.advance(now, limit) == twin.advance(now, limit)
        assert len(wheel) == len(twin)
        bound, exact = wheel.next_due(), twin.next_due()
        assert (bound == 0) == (exact == 0)
        assert bound <= exact
    last = now + 2**42
    assert wheel.advance(last) == twin.advance(last)


def test_waking_at_the_bound_reaches_every_timer() -> None:
    wheel: TimerWheel = TimerWheel(1000)
    wheel.arm(1_000_000, "far")
    wakes = 0
    while len(wheel):
        wakes += 1
        wheel.advance(wheel.next_due())
    assert wheel.now_ms == 1_000_000
    assert wakes <= 8


def test_a_used_handle_cancels_nothing_else() -> None:
    wheel: TimerWheel = TimerWheel(0)
    first = wheel.arm(5, "a")
    assert wheel.cancel(first)
    second = wheel.arm(5, "b")
    assert not wheel.cancel(first)
    assert not wheel.cancel(-1)
    assert not wheel.cancel(10**15)
    assert wheel.advance(5) == [(5, "b")]
    assert not wheel.cancel(second)


def test_keys_are_let_go() -> None:
    class Key:
        pass

    wheel: TimerWheel = TimerWheel(0)
    key = Key()
    seen = weakref.ref(key)
    handle = wheel.arm(5, key)
    del key
    gc.collect()
    assert seen() is not None
    wheel.cancel(handle)
    gc.collect()
    assert seen() is None


@pytest.mark.parametrize("value", [-1, 2**50])
def test_times_out_of_range(value: int) -> None:
    with pytest.raises(ValueError, match="range"):
        TimerWheel(value)
    wheel: TimerWheel = TimerWheel(0)
    with pytest.raises(ValueError, match="range"):
        wheel.arm(value, 1)
