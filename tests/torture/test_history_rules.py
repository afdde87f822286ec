"""The auditor's rules: a sound history has no fault, each broken one has the fault it was given."""

from collections.abc import Callable

import pytest
from history_rules import faults

from perdure._native.events import HistoryEvent
from perdure.api.enums.v1 import EventType
from perdure.api.history import v1

MS = 1_000_000


def sound() -> list[HistoryEvent]:
    """Started, a workflow task, an activity and a timer, a second workflow task, completed."""
    bodies = [
        ("WORKFLOW_EXECUTION_STARTED", v1.WorkflowExecutionStartedEventAttributes()),
        ("WORKFLOW_TASK_SCHEDULED", v1.WorkflowTaskScheduledEventAttributes()),
        ("WORKFLOW_TASK_STARTED", v1.WorkflowTaskStartedEventAttributes(scheduled_event_id=2)),
        ("WORKFLOW_TASK_COMPLETED", v1.WorkflowTaskCompletedEventAttributes(scheduled_event_id=2, started_event_id=3)),
        ("ACTIVITY_TASK_SCHEDULED", v1.ActivityTaskScheduledEventAttributes(workflow_task_completed_event_id=4)),
        (
            "TIMER_STARTED",
            v1.TimerStartedEventAttributes(
                timer_id="1", start_to_fire_timeout=3 * MS, workflow_task_completed_event_id=4
            ),
        ),
        ("ACTIVITY_TASK_STARTED", v1.ActivityTaskStartedEventAttributes(scheduled_event_id=5)),
        ("ACTIVITY_TASK_COMPLETED", v1.ActivityTaskCompletedEventAttributes(scheduled_event_id=5, started_event_id=7)),
        ("TIMER_FIRED", v1.TimerFiredEventAttributes(timer_id="1", started_event_id=6)),
        ("WORKFLOW_TASK_SCHEDULED", v1.WorkflowTaskScheduledEventAttributes()),
        ("WORKFLOW_TASK_STARTED", v1.WorkflowTaskStartedEventAttributes(scheduled_event_id=10)),
        ("WORKFLOW_TASK_COMPLETED", v1.WorkflowTaskCompletedEventAttributes(scheduled_event_id=10)),
        (
            "WORKFLOW_EXECUTION_COMPLETED",
            v1.WorkflowExecutionCompletedEventAttributes(workflow_task_completed_event_id=12),
        ),
    ]
    return [
        HistoryEvent(number, EventType[f"EVENT_TYPE_{name}"], number * MS, attributes)
        for number, (name, attributes) in enumerate(bodies, 1)
    ]


def changed(events: list[HistoryEvent], event_id: int, *, time: int = 0, **fields: int) -> list[HistoryEvent]:
    """The same history with one event's time or attributes changed."""
    old = events[event_id - 1]
    attributes = old.attributes
    for name, value in fields.items():
        setattr(attributes, name, value)
    events[event_id - 1] = HistoryEvent(event_id, old.event_type, time or old.event_time, attributes)
    return events


def renumbered(events: list[HistoryEvent]) -> list[HistoryEvent]:
    return [
        HistoryEvent(number, event.event_type, number * MS, event.attributes) for number, event in enumerate(events, 1)
    ]


def test_a_sound_history_has_no_fault() -> None:
    assert list(faults(sound())) == []


@pytest.mark.parametrize(
    ("broken", "fault"),
    [
        (lambda events: [], "does not begin"),
        (lambda events: events[1:], "does not begin"),
        (lambda events: events[:5] + events[6:], "event ids are not"),
        (lambda events: events[:-1], "closing events []"),
        (lambda events: renumbered([*events, events[-1]]), "closing events [13, 14]"),
        (lambda events: changed(events, 5, time=1), "event 5 is older than event 4"),
        (lambda events: changed(events, 8, scheduled_event_id=6), "event 8 ACTIVITY_TASK_COMPLETED answers event 6"),
        (lambda events: changed(events, 7, scheduled_event_id=12), "event 7 ACTIVITY_TASK_STARTED answers event 12"),
        (lambda events: renumbered([*events[:-1], events[7], events[-1]]), "answers event 5, over since event 8"),
        (lambda events: changed(events, 6, start_to_fire_timeout=9 * MS), "timer 1 fired 6.0 ms early"),
        (lambda events: changed(events, 5, workflow_task_completed_event_id=3), "names event 3"),
    ],
)
def test_a_broken_rule_is_named(broken: Callable[[list[HistoryEvent]], list[HistoryEvent]], fault: str) -> None:
    assert any(fault in found for found in faults(broken(sound())))
