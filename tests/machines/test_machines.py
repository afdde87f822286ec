"""The rows of the command machines: what can be reached, what ends, and that the native matcher takes every step."""

from __future__ import annotations

import importlib.util
from collections import deque
from pathlib import Path
from typing import Any

import pytest

from perdure._native.event_facts import HistoryMismatch
from perdure._native.events import HistoryEvent
from perdure._native.machines import Effect, Input, MachineKind, State, lookup, rows
from perdure._native.matcher import Matcher
from perdure.api.common import v1 as common_v1
from perdure.api.history import v1 as history_v1
from perdure.api.protocol.v1 import Message
from perdure.api.update import v1 as update_v1

KINDS = list(MachineKind)
#: What local activities go through is stated here and run when the worker runs them.
DRIVEN = [kind for kind in KINDS if kind != MachineKind.LOCAL_ACTIVITY]
CANCELS = (Input.CANCEL, Input.TRY_CANCEL, Input.WAIT_CANCEL, Input.WAIT_REQUESTED, Input.ABANDON)
ALL_ROWS = [
    pytest.param(kind, row, id=f"{kind.name}-{row[0].name}-{row[1].name}") for kind in DRIVEN for row in rows(kind)
]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_the_compiled_table_is_the_rows(kind: MachineKind) -> None:
    table = {(state, input): (after, effect) for state, input, after, effect in rows(kind)}
    for state in State:
        for input in Input:
            assert lookup(kind, state, input) == table.get((state, input))


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_every_state_is_reached(kind: MachineKind) -> None:
    for state, *_ in rows(kind):
        assert path_to(kind, state) is not None, state


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_final_states_absorb(kind: MachineKind) -> None:
    """A state that only cancellations leave is final, and they do not leave it either."""
    for state in {row[0] for row in rows(kind)}:
        leaving = [row for row in rows(kind) if row[0] == state]
        if all(row[1] in CANCELS for row in leaving):
            assert all(row[2] == state and row[3] == Effect.KEEP for row in leaving), state


def test_the_diagrams_are_current() -> None:
    path = Path(__file__).parents[2] / "tools" / "state_machines.py"
    spec = importlib.util.spec_from_file_location("state_machines", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.TARGET.read_text() == module.page(), "run tools/state_machines.py"


def path_to(kind: MachineKind, wanted: State) -> list[Input] | None:
    """The shortest way from NEW to a state, without turning round."""
    waiting: deque[tuple[State, list[Input]]] = deque([(State.NEW, [])])
    seen = {State.NEW}
    while waiting:
        state, path = waiting.popleft()
        if state == wanted:
            return path
        for before, input, after, _ in rows(kind):
            if before == state and after not in seen:
                seen.add(after)
                waiting.append((after, [*path, input]))
    return None


@pytest.mark.parametrize(("kind", "row"), ALL_ROWS)
def test_the_matcher_takes_every_step(kind: MachineKind, row: tuple[State, Input, State, Effect]) -> None:
    before, input, after, _ = row
    driver = Driver(kind)
    for step in path_to(kind, before) or []:
        driver.do(step)
    assert driver.state == before
    driver.do(input)
    assert driver.state == after


@pytest.mark.parametrize("kind", DRIVEN, ids=lambda kind: kind.name)
def test_an_event_without_a_row_is_nondeterminism(kind: MachineKind) -> None:
    """From every state, every event the machine knows of but has no row for there."""
    known = {row[1] for row in rows(kind) if row[1].name.startswith("EV_")}
    for state in sorted({row[0] for row in rows(kind)} - {State.NEW}):
        for input in known - {row[1] for row in rows(kind) if row[0] == state}:
            driver = Driver(kind)
            for step in path_to(kind, state) or []:
                driver.do(step)
            if not driver.can(input):
                continue
            with pytest.raises(HistoryMismatch):
                driver.do(input)


#: Kind -> (command type, type of the command's own event).
COMMANDS = {
    MachineKind.ACTIVITY: (1, 10),
    MachineKind.TIMER: (3, 17),
    MachineKind.CHILD_WORKFLOW: (11, 29),
    MachineKind.SIGNAL_EXTERNAL: (12, 37),
    MachineKind.CANCEL_EXTERNAL: (8, 22),
    MachineKind.PATCH: (9, 25),
    MachineKind.UPSERT_SEARCH_ATTRIBUTES: (13, 40),
    MachineKind.MODIFY_PROPERTIES: (16, 46),
    MachineKind.COMPLETE_WORKFLOW: (4, 2),
    MachineKind.FAIL_WORKFLOW: (5, 3),
    MachineKind.CANCEL_WORKFLOW: (7, 21),
    MachineKind.CONTINUE_AS_NEW: (10, 28),
    MachineKind.NEXUS_OPERATION: (17, 48),
}
#: (kind, input) -> event type of what comes later.
LATER = {
    (MachineKind.ACTIVITY, Input.EV_COMPLETED): 12,
    (MachineKind.ACTIVITY, Input.EV_FAILED): 13,
    (MachineKind.ACTIVITY, Input.EV_TIMED_OUT): 14,
    (MachineKind.ACTIVITY, Input.EV_CANCELED): 16,
    (MachineKind.TIMER, Input.EV_FIRED): 18,
    (MachineKind.CHILD_WORKFLOW, Input.EV_STARTED): 31,
    (MachineKind.CHILD_WORKFLOW, Input.EV_START_FAILED): 30,
    (MachineKind.CHILD_WORKFLOW, Input.EV_COMPLETED): 32,
    (MachineKind.CHILD_WORKFLOW, Input.EV_FAILED): 33,
    (MachineKind.CHILD_WORKFLOW, Input.EV_CANCELED): 34,
    (MachineKind.CHILD_WORKFLOW, Input.EV_TIMED_OUT): 35,
    (MachineKind.CHILD_WORKFLOW, Input.EV_TERMINATED): 36,
    (MachineKind.SIGNAL_EXTERNAL, Input.EV_COMPLETED): 39,
    (MachineKind.SIGNAL_EXTERNAL, Input.EV_FAILED): 38,
    (MachineKind.CANCEL_EXTERNAL, Input.EV_COMPLETED): 24,
    (MachineKind.CANCEL_EXTERNAL, Input.EV_FAILED): 23,
    (MachineKind.NEXUS_OPERATION, Input.EV_STARTED): 49,
    (MachineKind.NEXUS_OPERATION, Input.EV_COMPLETED): 50,
    (MachineKind.NEXUS_OPERATION, Input.EV_FAILED): 51,
    (MachineKind.NEXUS_OPERATION, Input.EV_CANCELED): 52,
    (MachineKind.NEXUS_OPERATION, Input.EV_TIMED_OUT): 53,
    (MachineKind.NEXUS_OPERATION, Input.EV_CANCEL_COMPLETED): 56,
    (MachineKind.NEXUS_OPERATION, Input.EV_CANCEL_FAILED): 57,
}
#: What a cancellation sends, and the event that records it.
CANCEL_COMMANDS = {
    MachineKind.ACTIVITY: (2, 15),
    MachineKind.TIMER: (6, 19),
    MachineKind.NEXUS_OPERATION: (18, 54),
}


class Driver:
    """One command of a matcher, moved by inputs; the history grows as it must."""

    def __init__(self, kind: MachineKind) -> None:
        self.kind = kind
        self.matcher = Matcher("run", "Workflow")
        self.events: list[HistoryEvent] = []
        self.add(1, history_v1.WorkflowExecutionStartedEventAttributes())
        self.task()
        self.command: Any = None
        self.is_cancel_sent = False
        self.apply()

    @property
    def state(self) -> State:
        return State.NEW if self.command is None else State(self.command.state)

    def add(self, event_type: int, attributes: Any) -> None:
        self.events.append(HistoryEvent(len(self.events) + 1, event_type, 0, attributes))

    def task(self) -> None:
        self.add(5, history_v1.WorkflowTaskScheduledEventAttributes())
        self.add(6, history_v1.WorkflowTaskStartedEventAttributes())

    def apply(self, messages: Any = ()) -> list[Any]:
        self.matcher.feed(self.events, self.matcher.current_started_event_id, messages)
        jobs = []
        while (activation := self.matcher.next_activation()) is not None:
            jobs += [*activation[1], *activation[2]]
        return jobs

    def can(self, input: Input) -> bool:
        """Whether history could hold that event now: later events need the command's own first."""
        if input == Input.EV_RECORDED:
            return False
        if input in (Input.EV_ACCEPTED, Input.EV_CANCEL_REQUESTED):
            return False
        if self.kind == MachineKind.UPDATE or (self.kind == MachineKind.TIMER and input == Input.EV_CANCELED):
            return False
        if input in (Input.EV_CANCEL_COMPLETED, Input.EV_CANCEL_FAILED) and self.state >= State.COMPLETED:
            return False  # what became of a request to cancel does not matter once the operation has ended
        return bool(self.command.event_id)

    def do(self, input: Input) -> None:
        if input == Input.SCHEDULE:
            self.command = self.matcher.schedule(self.kind, COMMANDS[self.kind][0], 1, "1", "type", None, "message")
        elif input in CANCELS:
            effect = self.matcher.cancel(self.command, input)
            sends = effect in (Effect.EMIT_CANCEL, Effect.EMIT_CANCEL_RESOLVE)
            if sends and self.kind in CANCEL_COMMANDS:
                self.matcher.push(self.command, CANCEL_COMMANDS[self.kind][0], "cancel")
        elif input == Input.DELIVER:
            self.deliver()
        elif input in (Input.ACCEPT, Input.REJECT, Input.COMPLETE):
            self.matcher.step_update(self.command, input, "message")
        else:
            self.hear(input)

    def deliver(self) -> None:
        self.task()
        request = update_v1.Request(update_v1.Meta("u"), update_v1.Input(name="update"))
        jobs = self.apply([Message(id="u/request", protocol_instance_id="u", event_id=4, body=request)])
        [(_, self.command, _)] = jobs

    def hear(self, input: Input) -> None:
        completes = self.kind != MachineKind.UPDATE and (self.kind, input) in LATER
        if not completes:
            self.add(7, history_v1.WorkflowTaskCompletedEventAttributes())
        if input == Input.EV_RECORDED:
            self.record()
        elif input == Input.EV_CANCEL_REQUESTED and self.kind == MachineKind.NEXUS_OPERATION:
            self.add(54, history_v1.NexusOperationCancelRequestedEventAttributes(self.command.event_id))
        elif input == Input.EV_CANCEL_REQUESTED:
            self.add(15, history_v1.ActivityTaskCancelRequestedEventAttributes(self.command.event_id))
        elif self.kind == MachineKind.TIMER and input == Input.EV_CANCELED:
            self.add(19, history_v1.TimerCanceledEventAttributes("1", self.command.event_id))
        elif input == Input.EV_ACCEPTED:
            # The outcome, if on its way already, is recorded in the same breath.
            self.add(41, history_v1.WorkflowExecutionUpdateAcceptedEventAttributes("u"))
            if self.state == State.ANSWERED:
                self.matcher.feed(self.events, 0)
                return self.accept_only()
        elif self.kind == MachineKind.UPDATE:
            self.add(43, history_v1.WorkflowExecutionUpdateCompletedEventAttributes())
        else:
            self.later(LATER[self.kind, input])
        if self.kind < MachineKind.COMPLETE_WORKFLOW or self.kind == MachineKind.NEXUS_OPERATION:
            self.task()
        self.apply()
        return None

    def accept_only(self) -> None:
        """Apply the acceptance alone; that the outcome is missing then is nondeterminism, and not the point here."""
        with pytest.raises(HistoryMismatch):
            self.matcher.next_activation()

    def record(self) -> None:
        attributes: Any
        match COMMANDS[self.kind][1]:
            case 10:
                attributes = history_v1.ActivityTaskScheduledEventAttributes("1", common_v1.ActivityType("type"))
            case 17:
                attributes = history_v1.TimerStartedEventAttributes("1")
            case 29:
                attributes = history_v1.StartChildWorkflowExecutionInitiatedEventAttributes(
                    workflow_id="1", workflow_type=common_v1.WorkflowType("type")
                )
            case 25:
                data = common_v1.Payloads([common_v1.Payload({}, b'{"id":"1","deprecated":false}')])
                attributes = history_v1.MarkerRecordedEventAttributes("core_patch", {"patch-data": data})
            case 48:
                attributes = history_v1.NexusOperationScheduledEventAttributes("1", service="type")
            case _:
                attributes = None
        self.add(COMMANDS[self.kind][1], attributes)

    def later(self, event_type: int) -> None:
        opened_by = self.command.event_id
        attributes: Any
        if self.kind == MachineKind.TIMER:
            attributes = history_v1.TimerFiredEventAttributes("1", opened_by)
        elif self.kind == MachineKind.ACTIVITY:
            attributes = history_v1.ActivityTaskCompletedEventAttributes(scheduled_event_id=opened_by)
        elif self.kind == MachineKind.NEXUS_OPERATION:
            attributes = history_v1.NexusOperationCancelRequestCompletedEventAttributes(scheduled_event_id=opened_by)
        else:
            attributes = history_v1.ChildWorkflowExecutionCompletedEventAttributes(initiated_event_id=opened_by)
        self.add(event_type, attributes)
