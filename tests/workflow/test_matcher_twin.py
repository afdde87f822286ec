"""The native matcher and its plain-Python twin, side by side under the same runs, also on damaged histories."""

from __future__ import annotations

import contextlib
import copy
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from perdure._native.event_facts import HistoryMismatch, InvalidHistory
from perdure._native.events import HistoryEvent
from perdure._native.matcher import Matcher
from perdure.worker import _workflow_runtime
from perdure.workflow import NondeterminismError
from tests.twins.matcher import Mismatch, TwinMatcher

from .mini_server import MiniServer
from .programs import Interpreter, Life, programs


class Both:
    """Does everything twice and compares."""

    def __init__(self, run_id: str, workflow_type: str) -> None:
        self._native = Matcher(run_id, workflow_type)
        self._twin = TwinMatcher()
        self._pairs: dict[int, tuple[Any, Any]] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._native, name)

    def feed(self, events: list[HistoryEvent], previous: int, messages: Any = ()) -> None:
        self._native.feed(events, previous, messages)
        self._twin.feed(events, previous)

    def next_activation(self) -> Any:
        native, twin = self._try(self._native.next_activation), self._try(self._twin.next_activation)
        if isinstance(native, Exception):
            assert isinstance(twin, Exception), f"native: {native}\ntwin: {twin}"
            raise native
        assert not isinstance(twin, Exception), f"twin: {twin!r}\nnative: {native}"
        assert (native is None) == (twin is None), f"{native} {twin}"
        assert self._native.is_replaying == self._twin.is_replaying
        if native is None:
            return None
        assert self._native.last_event_id == self._twin.last_event_id
        assert self._native.time_ns == self._twin.time_ns
        assert native[0] == twin[0]
        for ours, theirs in ((native[1], twin[1]), (native[2], twin[2])):
            assert [self._job(*job) for job in ours] == [self._job(*job) for job in theirs]
        return native

    @staticmethod
    def _try(call: Any) -> Any:
        try:
            return call()
        except (HistoryMismatch, InvalidHistory, Mismatch) as error:
            return error

    @staticmethod
    def _job(kind: int, subject: Any, detail: Any) -> tuple[Any, ...]:
        if hasattr(subject, "seq"):
            subject = (int(subject.kind), subject.seq, subject.identity, int(subject.state), subject.started_event_id)
        event_id = detail.event_id if detail is not None else 0
        if int(kind) == 5:  # a timer's job needs no event
            event_id = 0
        return int(kind), subject, event_id

    def schedule(
        self, kind: int, command_type: int, seq: int, identity: Any, type_name: Any, target: Any, message: Any
    ) -> Any:
        command = self._native.schedule(kind, command_type, seq, identity, type_name, target, message)
        twin = self._twin.schedule(kind, command_type, seq, identity, type_name, message)
        self._pairs[id(command)] = (command, twin)
        return command

    def cancel(self, command: Any, input: int) -> int:
        effect = self._native.cancel(command, input)
        assert effect == self._twin.cancel(self._pairs[id(command)][1], input)
        return effect

    def push(self, command: Any, command_type: int, message: Any) -> None:
        self._native.push(command, command_type, message)
        self._twin.push(self._pairs[id(command)][1], command_type, message)

    def commands(self) -> list[Any]:
        found = self._native.commands()
        assert found == self._twin.commands()
        return found


@pytest.fixture(autouse=True)
def _both(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_workflow_runtime, "Matcher", Both)


@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
@given(programs, st.data())
def test_twins_agree_on_lives(program: list[Any], data: st.DataObject) -> None:
    server = MiniServer(Interpreter, program)
    try:
        Life(server, data.draw).live(8)
        server.replay()
    finally:
        server.close()


@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
@given(programs, st.data())
def test_twins_agree_on_tampered_histories(program: list[Any], data: st.DataObject) -> None:
    """One event swapped, dropped, doubled or changed: both find it out or both do not."""
    server = MiniServer(Interpreter, program)
    try:
        Life(server, data.draw).live(4)
        events = tampered(list(server.events), data.draw)
        with contextlib.suppress(NondeterminismError, InvalidHistory):
            server.replay(events)
    finally:
        server.close()


def tampered(events: list[HistoryEvent], draw: Any) -> list[HistoryEvent]:
    """The history with one thing wrong, its ids still contiguous."""
    index = draw(st.integers(3, len(events) - 1))
    how = draw(st.sampled_from(["drop", "double", "swap", "rename"]))
    if how == "drop" and len(events) > 4:
        del events[index]
    elif how == "double":
        events.insert(index, events[index])
    elif how == "swap":
        other = draw(st.integers(3, len(events) - 1))
        events[index], events[other] = events[other], events[index]
    else:
        attributes = copy.deepcopy(events[index].attributes)
        for name in ("activity_id", "timer_id", "workflow_id"):
            if hasattr(attributes, name):
                setattr(attributes, name, "other")
        events[index] = HistoryEvent(0, events[index].event_type, events[index].event_time, attributes)
    return [
        HistoryEvent(number, event.event_type, event.event_time, event.attributes)
        for number, event in enumerate(events, 1)
    ]
