"""A plain-Python reading of histories: what is pending after each event, and which event may follow.

The reference twin of ``perdure._native.mutable_state``: written from Temporal's rules alone, slow and obvious. It refuses
an event that the rules do not allow where it stands.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from perdure.api.enums.v1 import EventType

CLOSE_EVENTS = {
    "WORKFLOW_EXECUTION_COMPLETED": "COMPLETED",
    "WORKFLOW_EXECUTION_FAILED": "FAILED",
    "WORKFLOW_EXECUTION_TIMED_OUT": "TIMED_OUT",
    "WORKFLOW_EXECUTION_CANCELED": "CANCELED",
    "WORKFLOW_EXECUTION_TERMINATED": "TERMINATED",
    "WORKFLOW_EXECUTION_CONTINUED_AS_NEW": "CONTINUED_AS_NEW",
}
CHILD_ENDS = {
    f"CHILD_WORKFLOW_EXECUTION_{end}" for end in ("COMPLETED", "FAILED", "CANCELED", "TIMED_OUT", "TERMINATED")
}
ACTIVITY_ENDS = {f"ACTIVITY_TASK_{end}" for end in ("COMPLETED", "FAILED", "TIMED_OUT", "CANCELED")}
#: Written by a workflow task's completion: they stand right behind it, in one block.
COMMAND_EVENTS = {
    "ACTIVITY_TASK_SCHEDULED",
    "ACTIVITY_TASK_CANCEL_REQUESTED",
    "TIMER_STARTED",
    "TIMER_CANCELED",
    "REQUEST_CANCEL_EXTERNAL_WORKFLOW_EXECUTION_INITIATED",
    "SIGNAL_EXTERNAL_WORKFLOW_EXECUTION_INITIATED",
    "START_CHILD_WORKFLOW_EXECUTION_INITIATED",
    "MARKER_RECORDED",
    "UPSERT_WORKFLOW_SEARCH_ATTRIBUTES",
    "WORKFLOW_PROPERTIES_MODIFIED",
}


class IllegalEventError(Exception):
    """The event may not stand where it stands."""


class HistoryTwin:
    """What a history says, event by event."""

    def __init__(self, events: Iterable[Any] = ()) -> None:
        self.next_event_id = 1
        self.status = "RUNNING"
        #: scheduled event id -> activity id
        self.activities: dict[int, str] = {}
        #: scheduled event id -> event id of ActivityTaskStarted, between it and the close event
        self.started_activities: dict[int, int] = {}
        #: timer id -> event id of TimerStarted
        self.timers: dict[str, int] = {}
        #: initiated event id -> event id of ChildWorkflowExecutionStarted, 0 before it
        self.children: dict[int, int] = {}
        self.signals: set[int] = set()
        self.cancels: set[int] = set()
        #: update id -> event ids of its acceptance and its completion, 0 before them
        self.updates: dict[str, tuple[int, int]] = {}
        #: NONE, SCHEDULED or STARTED
        self.task = "NONE"
        self.task_scheduled_id = self.task_started_id = 0
        self.previous_started_id = 0
        self.completed_id = 0
        self.signal_count = 0
        self.is_cancel_requested = False
        self.last_time = 0
        for event in events:
            self.add(event)

    def add(self, event: Any) -> None:
        """Take the next event in, or refuse it."""
        name = EventType(event.event_type).name.removeprefix("EVENT_TYPE_")
        self._require(event, event.event_id == self.next_event_id, f"{self.next_event_id} is the next event id")
        self._require(event, self.status == "RUNNING", "the run has closed")
        self._require(event, (name == "WORKFLOW_EXECUTION_STARTED") == (event.event_id == 1), "Started is event 1")
        a = event.attributes
        if name in COMMAND_EVENTS:
            cited = a.workflow_task_completed_event_id
            self._require(event, cited == self.completed_id != 0, "it cites the last completed workflow task")
            self._require(event, self.task != "STARTED", "no workflow task is started")
        elif name not in CLOSE_EVENTS and not name.startswith("WORKFLOW_TASK") and event.event_id > 1:
            self._require(event, self.task != "STARTED", "events wait while a workflow task is started")
        handler = getattr(self, "_" + name.lower(), None)
        if handler is not None:
            handler(event, a)
        elif name in CLOSE_EVENTS:
            self._require(event, self.task != "STARTED", "a started workflow task ends before the run")
            self.status = CLOSE_EVENTS[name]
            self.task = "NONE"
        elif name in ACTIVITY_ENDS:
            self._activity_ends(event, a)
        elif name in CHILD_ENDS:
            started = self.children.pop(a.initiated_event_id, None)
            self._require(event, bool(started) and started == a.started_event_id, "the child is started")
        self.next_event_id += 1

    def _require(self, event: Any, holds: bool, rule: str) -> None:
        if not holds:
            raise IllegalEventError(f"event {event.event_id} ({EventType(event.event_type).name}) breaks: {rule}")

    # ---- workflow tasks

    def _workflow_task_scheduled(self, event: Any, a: Any) -> None:
        self._require(event, self.task == "NONE", "one workflow task at a time")
        self.task = "SCHEDULED"
        self.task_scheduled_id = event.event_id

    def _workflow_task_started(self, event: Any, a: Any) -> None:
        self._require(event, self.task == "SCHEDULED", "a started workflow task was scheduled")
        self._require(event, a.scheduled_event_id == self.task_scheduled_id, "it cites its Scheduled event")
        self.task = "STARTED"
        self.task_started_id = event.event_id

    def _end_task(self, event: Any, a: Any) -> None:
        self._require(event, a.scheduled_event_id == self.task_scheduled_id, "it cites its Scheduled event")
        self._require(event, a.started_event_id in (0, self.task_started_id), "it cites its Started event")
        self.task = "NONE"

    def _workflow_task_completed(self, event: Any, a: Any) -> None:
        self._require(event, self.task == "STARTED", "a completed workflow task was started")
        self._end_task(event, a)
        self.previous_started_id = a.started_event_id
        self.completed_id = event.event_id

    def _workflow_task_failed(self, event: Any, a: Any) -> None:
        self._require(event, self.task == "STARTED", "a failed workflow task was started")
        self._end_task(event, a)

    def _workflow_task_timed_out(self, event: Any, a: Any) -> None:
        self._require(event, self.task != "NONE", "a timed-out workflow task was pending")
        self._end_task(event, a)

    # ---- activities

    def _activity_task_scheduled(self, event: Any, a: Any) -> None:
        self._require(event, a.activity_id not in self.activities.values(), "activity ids of pending ones differ")
        self.activities[event.event_id] = a.activity_id

    def _activity_task_started(self, event: Any, a: Any) -> None:
        self._require(event, a.scheduled_event_id in self.activities, "the activity is pending")
        self._require(event, a.scheduled_event_id not in self.started_activities, "an activity starts once")
        self.started_activities[a.scheduled_event_id] = event.event_id

    def _activity_ends(self, event: Any, a: Any) -> None:
        self._require(event, self.activities.pop(a.scheduled_event_id, None) is not None, "the activity is pending")
        started = self.started_activities.pop(a.scheduled_event_id, 0)
        self._require(event, a.started_event_id == started, "it cites its Started event")

    # ---- timers

    def _timer_started(self, event: Any, a: Any) -> None:
        self._require(event, a.timer_id not in self.timers, "timer ids of pending ones differ")
        self.timers[a.timer_id] = event.event_id

    def _timer_fired(self, event: Any, a: Any) -> None:
        self._require(event, self.timers.pop(a.timer_id, None) == a.started_event_id, "the timer is pending")

    _timer_canceled = _timer_fired

    # ---- other runs

    def _start_child_workflow_execution_initiated(self, event: Any, a: Any) -> None:
        self.children[event.event_id] = 0

    def _child_workflow_execution_started(self, event: Any, a: Any) -> None:
        self._require(event, self.children.get(a.initiated_event_id) == 0, "the child is initiated, not started")
        self.children[a.initiated_event_id] = event.event_id

    def _start_child_workflow_execution_failed(self, event: Any, a: Any) -> None:
        self._require(event, self.children.pop(a.initiated_event_id, None) == 0, "the child is initiated, not started")

    def _signal_external_workflow_execution_initiated(self, event: Any, a: Any) -> None:
        self.signals.add(event.event_id)

    def _external_workflow_execution_signaled(self, event: Any, a: Any) -> None:
        self._require(event, a.initiated_event_id in self.signals, "the signal is initiated")
        self.signals.discard(a.initiated_event_id)

    _signal_external_workflow_execution_failed = _external_workflow_execution_signaled

    def _request_cancel_external_workflow_execution_initiated(self, event: Any, a: Any) -> None:
        self.cancels.add(event.event_id)

    def _external_workflow_execution_cancel_requested(self, event: Any, a: Any) -> None:
        self._require(event, a.initiated_event_id in self.cancels, "the cancel is initiated")
        self.cancels.discard(a.initiated_event_id)

    _request_cancel_external_workflow_execution_failed = _external_workflow_execution_cancel_requested

    # ---- messages

    def _workflow_execution_signaled(self, event: Any, a: Any) -> None:
        self.signal_count += 1

    # ---- updates

    def _behind_the_task(self, event: Any) -> None:
        self._require(event, self.completed_id > 0 and self.task == "NONE", "a workflow task completed before it")

    def _workflow_execution_update_admitted(self, event: Any, a: Any) -> None:
        self._require(event, a.request.meta.update_id not in self.updates, "an update is admitted once")
        self.updates[a.request.meta.update_id] = (0, 0)

    def _workflow_execution_update_accepted(self, event: Any, a: Any) -> None:
        self._behind_the_task(event)
        accepted, _ = self.updates.get(a.protocol_instance_id, (0, 0))
        self._require(event, accepted == 0, "an update is accepted once")
        self._require(event, a.accepted_request_sequencing_event_id < event.event_id, "its request came before it")
        self.updates[a.protocol_instance_id] = (event.event_id, 0)

    def _workflow_execution_update_completed(self, event: Any, a: Any) -> None:
        self._behind_the_task(event)
        accepted, completed = self.updates.get(a.meta.update_id, (0, 0))
        self._require(event, accepted == a.accepted_event_id != 0, "it cites the acceptance of its update")
        self._require(event, completed == 0, "an update is completed once")
        self.updates[a.meta.update_id] = (accepted, event.event_id)

    def _workflow_execution_cancel_requested(self, event: Any, a: Any) -> None:
        self._require(event, not self.is_cancel_requested, "cancel is requested once")
        self.is_cancel_requested = True
