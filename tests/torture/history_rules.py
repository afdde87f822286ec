"""What every history must satisfy, whatever happened to the process that wrote it."""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

from perdure.api.enums.v1 import EventType

E = EventType

CLOSING = {
    E.EVENT_TYPE_WORKFLOW_EXECUTION_COMPLETED,
    E.EVENT_TYPE_WORKFLOW_EXECUTION_FAILED,
    E.EVENT_TYPE_WORKFLOW_EXECUTION_TIMED_OUT,
    E.EVENT_TYPE_WORKFLOW_EXECUTION_CANCELED,
    E.EVENT_TYPE_WORKFLOW_EXECUTION_TERMINATED,
    E.EVENT_TYPE_WORKFLOW_EXECUTION_CONTINUED_AS_NEW,
}

WORKFLOW_TASKS = {
    E.EVENT_TYPE_WORKFLOW_TASK_SCHEDULED,
    E.EVENT_TYPE_WORKFLOW_TASK_STARTED,
    E.EVENT_TYPE_WORKFLOW_TASK_COMPLETED,
    E.EVENT_TYPE_WORKFLOW_TASK_TIMED_OUT,
    E.EVENT_TYPE_WORKFLOW_TASK_FAILED,
}

#: event -> (what it answers, the attribute that names it, whether the answered thing is over by it).
#: Two events that end the same thing, or an answer to something that never was, break a history.
ANSWERS: dict[int, tuple[int, str, bool]] = {
    E.EVENT_TYPE_WORKFLOW_TASK_STARTED: (E.EVENT_TYPE_WORKFLOW_TASK_SCHEDULED, "scheduled_event_id", False),
    E.EVENT_TYPE_WORKFLOW_TASK_COMPLETED: (E.EVENT_TYPE_WORKFLOW_TASK_SCHEDULED, "scheduled_event_id", True),
    E.EVENT_TYPE_WORKFLOW_TASK_TIMED_OUT: (E.EVENT_TYPE_WORKFLOW_TASK_SCHEDULED, "scheduled_event_id", True),
    E.EVENT_TYPE_WORKFLOW_TASK_FAILED: (E.EVENT_TYPE_WORKFLOW_TASK_SCHEDULED, "scheduled_event_id", True),
    E.EVENT_TYPE_ACTIVITY_TASK_STARTED: (E.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED, "scheduled_event_id", False),
    E.EVENT_TYPE_ACTIVITY_TASK_COMPLETED: (E.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED, "scheduled_event_id", True),
    E.EVENT_TYPE_ACTIVITY_TASK_FAILED: (E.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED, "scheduled_event_id", True),
    E.EVENT_TYPE_ACTIVITY_TASK_TIMED_OUT: (E.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED, "scheduled_event_id", True),
    E.EVENT_TYPE_ACTIVITY_TASK_CANCELED: (E.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED, "scheduled_event_id", True),
    E.EVENT_TYPE_TIMER_FIRED: (E.EVENT_TYPE_TIMER_STARTED, "started_event_id", True),
    E.EVENT_TYPE_TIMER_CANCELED: (E.EVENT_TYPE_TIMER_STARTED, "started_event_id", True),
}
for _name, _over in (
    ("CHILD_WORKFLOW_EXECUTION_STARTED", False),
    ("CHILD_WORKFLOW_EXECUTION_COMPLETED", True),
    ("CHILD_WORKFLOW_EXECUTION_FAILED", True),
    ("CHILD_WORKFLOW_EXECUTION_CANCELED", True),
    ("CHILD_WORKFLOW_EXECUTION_TIMED_OUT", True),
    ("CHILD_WORKFLOW_EXECUTION_TERMINATED", True),
    ("START_CHILD_WORKFLOW_EXECUTION_FAILED", True),
):
    ANSWERS[E[f"EVENT_TYPE_{_name}"]] = (
        E.EVENT_TYPE_START_CHILD_WORKFLOW_EXECUTION_INITIATED,
        "initiated_event_id",
        _over,
    )
for _name in ("EXTERNAL_WORKFLOW_EXECUTION_SIGNALED", "SIGNAL_EXTERNAL_WORKFLOW_EXECUTION_FAILED"):
    ANSWERS[E[f"EVENT_TYPE_{_name}"]] = (
        E.EVENT_TYPE_SIGNAL_EXTERNAL_WORKFLOW_EXECUTION_INITIATED,
        "initiated_event_id",
        True,
    )


def faults(events: Sequence[Any]) -> Iterator[str]:
    """Every broken rule of a closed run's history, one sentence each."""
    if not events or events[0].event_type != E.EVENT_TYPE_WORKFLOW_EXECUTION_STARTED:
        yield "does not begin with WorkflowExecutionStarted"
        return
    ids = [event.event_id for event in events]
    if ids != list(range(1, len(events) + 1)):
        yield f"event ids are not 1 to {len(events)}: {ids}"
        return
    # What comes from outside keeps the time it came, also when it had to wait for a workflow task to end; and an
    # activity's start is written when the activity is over. Workflow tasks and what they command are in order of time.
    own = [event for event in events if event.event_type in WORKFLOW_TASKS or _commanded_by(event)]
    for before, after in pairwise(own):
        if after.event_time < before.event_time:
            yield f"event {after.event_id} is older than event {before.event_id}"
    closing = [event.event_id for event in events if event.event_type in CLOSING]
    if closing != [len(events)]:
        yield f"closing events {closing} of {len(events)}"
    yield from _broken_answers(events)
    yield from _early_timers(events)
    yield from _unfounded_commands(events)


def _name(event: Any) -> str:
    return EventType(event.event_type).name.removeprefix("EVENT_TYPE_")


def _broken_answers(events: Sequence[Any]) -> Iterator[str]:
    ended: dict[int, int] = {}
    for event in events:
        answer = ANSWERS.get(event.event_type)
        if answer is None:
            continue
        asked_type, field, over = answer
        asked_id = getattr(event.attributes, field)
        if not 0 < asked_id < event.event_id or events[asked_id - 1].event_type != asked_type:
            yield f"event {event.event_id} {_name(event)} answers event {asked_id}, which is something else"
        elif asked_id in ended:
            yield f"event {event.event_id} {_name(event)} answers event {asked_id}, over since event {ended[asked_id]}"
        elif over:
            ended[asked_id] = event.event_id


def _early_timers(events: Sequence[Any]) -> Iterator[str]:
    for event in events:
        if event.event_type == E.EVENT_TYPE_TIMER_FIRED:
            started = events[event.attributes.started_event_id - 1]
            early = started.event_time + started.attributes.start_to_fire_timeout - event.event_time
            # the engine counts in whole milliseconds
            if early > 1_000_000:
                yield f"event {event.event_id}: timer {event.attributes.timer_id} fired {early / 1e6:.1f} ms early"


def _commanded_by(event: Any) -> int:
    completed: int = getattr(event.attributes, "workflow_task_completed_event_id", 0)
    return completed


def _unfounded_commands(events: Sequence[Any]) -> Iterator[str]:
    for event in events:
        completed = _commanded_by(event)
        if completed and events[completed - 1].event_type != E.EVENT_TYPE_WORKFLOW_TASK_COMPLETED:
            yield f"event {event.event_id} {_name(event)} names event {completed} as its workflow task's completion"
