"""The matcher in plain Python, slow and obvious: what ``perdure._native.matcher`` must do.

It works on whole sequences at once and looks everything up by name; it shares with the native one the machines' rows.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from perdure._native.machines import Effect, Input, MachineKind, State, rows
from perdure._native.matcher import JobKind
from perdure.api.enums.v1 import CommandType, EventType

STEPS = {(kind, state, input): (after, effect) for kind in MachineKind for state, input, after, effect in rows(kind)}

E = {name.removeprefix("EVENT_TYPE_"): int(value) for name, value in EventType.__members__.items()}
CLOSES = {
    E[f"WORKFLOW_EXECUTION_{end}"]
    for end in ("COMPLETED", "FAILED", "TIMED_OUT", "CANCELED", "TERMINATED", "CONTINUED_AS_NEW")
}
#: Command -> the event that records it.
RECORDS = {
    "SCHEDULE_ACTIVITY_TASK": "ACTIVITY_TASK_SCHEDULED",
    "REQUEST_CANCEL_ACTIVITY_TASK": "ACTIVITY_TASK_CANCEL_REQUESTED",
    "START_TIMER": "TIMER_STARTED",
    "CANCEL_TIMER": "TIMER_CANCELED",
    "START_CHILD_WORKFLOW_EXECUTION": "START_CHILD_WORKFLOW_EXECUTION_INITIATED",
    "REQUEST_CANCEL_EXTERNAL_WORKFLOW_EXECUTION": "REQUEST_CANCEL_EXTERNAL_WORKFLOW_EXECUTION_INITIATED",
    "SIGNAL_EXTERNAL_WORKFLOW_EXECUTION": "SIGNAL_EXTERNAL_WORKFLOW_EXECUTION_INITIATED",
    "RECORD_MARKER": "MARKER_RECORDED",
    "UPSERT_WORKFLOW_SEARCH_ATTRIBUTES": "UPSERT_WORKFLOW_SEARCH_ATTRIBUTES",
    "MODIFY_WORKFLOW_PROPERTIES": "WORKFLOW_PROPERTIES_MODIFIED",
    "PROTOCOL_MESSAGE": "WORKFLOW_EXECUTION_UPDATE_ACCEPTED",
    "COMPLETE_WORKFLOW_EXECUTION": "WORKFLOW_EXECUTION_COMPLETED",
    "FAIL_WORKFLOW_EXECUTION": "WORKFLOW_EXECUTION_FAILED",
    "CANCEL_WORKFLOW_EXECUTION": "WORKFLOW_EXECUTION_CANCELED",
    "CONTINUE_AS_NEW_WORKFLOW_EXECUTION": "WORKFLOW_EXECUTION_CONTINUED_AS_NEW",
}
COMMAND_EVENTS = {E[name] for name in RECORDS.values()} | {
    E["WORKFLOW_EXECUTION_UPDATE_REJECTED"],
    E["WORKFLOW_EXECUTION_UPDATE_COMPLETED"],
}
#: Event -> (attribute that names the command's event, input, job).
ENDS: dict[int, tuple[str, Input, JobKind]] = {}
for _name, _input in (
    ("COMPLETED", Input.EV_COMPLETED),
    ("FAILED", Input.EV_FAILED),
    ("TIMED_OUT", Input.EV_TIMED_OUT),
    ("CANCELED", Input.EV_CANCELED),
):
    ENDS[E[f"ACTIVITY_TASK_{_name}"]] = ("scheduled_event_id", _input, JobKind.RESOLVE_ACTIVITY)
    ENDS[E[f"CHILD_WORKFLOW_EXECUTION_{_name}"]] = ("initiated_event_id", _input, JobKind.RESOLVE_CHILD)
ENDS |= {
    E["TIMER_FIRED"]: ("started_event_id", Input.EV_FIRED, JobKind.FIRE_TIMER),
    E["CHILD_WORKFLOW_EXECUTION_TERMINATED"]: ("initiated_event_id", Input.EV_TERMINATED, JobKind.RESOLVE_CHILD),
    E["CHILD_WORKFLOW_EXECUTION_STARTED"]: ("initiated_event_id", Input.EV_STARTED, JobKind.RESOLVE_CHILD_START),
    E["START_CHILD_WORKFLOW_EXECUTION_FAILED"]: (
        "initiated_event_id",
        Input.EV_START_FAILED,
        JobKind.RESOLVE_CHILD_START,
    ),
    E["EXTERNAL_WORKFLOW_EXECUTION_SIGNALED"]: (
        "initiated_event_id",
        Input.EV_COMPLETED,
        JobKind.RESOLVE_SIGNAL_EXTERNAL,
    ),
    E["SIGNAL_EXTERNAL_WORKFLOW_EXECUTION_FAILED"]: (
        "initiated_event_id",
        Input.EV_FAILED,
        JobKind.RESOLVE_SIGNAL_EXTERNAL,
    ),
    E["EXTERNAL_WORKFLOW_EXECUTION_CANCEL_REQUESTED"]: (
        "initiated_event_id",
        Input.EV_COMPLETED,
        JobKind.RESOLVE_CANCEL_EXTERNAL,
    ),
    E["REQUEST_CANCEL_EXTERNAL_WORKFLOW_EXECUTION_FAILED"]: (
        "initiated_event_id",
        Input.EV_FAILED,
        JobKind.RESOLVE_CANCEL_EXTERNAL,
    ),
}


class Mismatch(Exception):
    """Nondeterminism."""


@dataclass
class Command:
    """As the native one, without secrets."""

    kind: MachineKind
    seq: int
    identity: Any
    type_name: Any
    target: Any
    state: State = State.NEW
    event_id: int = 0
    started_event_id: int = 0

    def step(self, input: Input) -> Effect:
        """Take a step; there must be one."""
        found = STEPS.get((self.kind, self.state, input))
        if found is None:
            raise Mismatch(f"{self.kind.name} in state {self.state.name} does not take {input.name}")
        self.state = found[0]
        return found[1]


@dataclass
class TwinMatcher:
    """One run. Updates are left to the native matcher's own tests."""

    queue: list[tuple[Command, str, Any]] = field(default_factory=list)
    closing: tuple[Command, str, Any] | None = None
    opened: dict[int, Command] = field(default_factory=dict)
    events: list[Any] = field(default_factory=list)
    last_event_id: int = 0
    previous: int = 0
    is_replaying: bool = False
    is_over: bool = False
    time_ns: int = 0
    flags: set[int] = field(default_factory=set)
    patches: dict[str, bool] = field(default_factory=dict)
    waiting: list[tuple[JobKind, Any, Any]] = field(default_factory=list)

    def feed(self, events: list[Any], previous: int) -> None:
        self.events = [event for event in events if event.event_id > self.last_event_id]
        self.previous = previous
        self.is_replaying = previous > 0

    # --- sequences

    def cut(self) -> list[Any]:
        """The events of the next sequence, taken from the front; none when there is nothing left to do."""
        saw_command = saw_start = False
        for index, event in enumerate(self.events):
            kind = event.event_type
            saw_command |= kind in COMMAND_EVENTS
            saw_start |= kind == E["WORKFLOW_EXECUTION_STARTED"]
            after = [other.event_type for other in self.events[index + 1 : index + 3]]
            if kind in CLOSES:
                return self.events[: index + 1]
            if kind != E["WORKFLOW_TASK_STARTED"]:
                continue
            did_not_count = after and after[0] in (
                E["WORKFLOW_TASK_FAILED"],
                E["WORKFLOW_TASK_TIMED_OUT"],
                E["WORKFLOW_EXECUTION_TIMED_OUT"],
                E["WORKFLOW_EXECUTION_TERMINATED"],
                E["WORKFLOW_EXECUTION_CANCELED"],
            )
            is_answered = len(after) == 2 and after[0] == E["WORKFLOW_TASK_COMPLETED"]
            is_heartbeat = is_answered and not saw_command and after[1] == E["WORKFLOW_TASK_SCHEDULED"]
            if did_not_count or is_heartbeat:
                continue
            if is_answered or saw_command or saw_start:
                return self.events[: index + 1]
        return list(self.events) if len(self.events) > 1 else []

    def next_activation(self) -> Any:
        """``(patches, signals, others)`` or None."""
        if self.closing is not None:
            self.waiting = []
        if self.waiting:
            jobs, self.waiting = self.waiting, []
            return [], [], jobs
        while not self.is_over:
            sequence = self.cut()
            if not sequence:
                break
            jobs = self.apply(sequence)
            patches = []
            for event in self.cut() or self.events[:1]:
                if event.event_type == E["MARKER_RECORDED"] and event.attributes.marker_name == "core_patch":
                    patch_id = (marker(event) or ("", False))[0]
                    self.patches[patch_id] = False
                    patches.append(patch_id)
            signals = [job for job in jobs if job[0] == JobKind.SIGNAL]
            others = [job for job in jobs if job[0] != JobKind.SIGNAL]
            if patches or signals or others:
                return patches, signals, others
        self.is_replaying = False
        return None

    def apply(self, sequence: list[Any]) -> list[tuple[JobKind, Any, Any]]:
        is_last = len(sequence) == len(self.events)
        completions = [event for event in self.events if event.event_type == E["WORKFLOW_TASK_COMPLETED"]]
        later = [event for event in completions if event not in sequence][:1]
        for event in [event for event in sequence if event.event_type == E["WORKFLOW_TASK_COMPLETED"]] + later:
            if event.attributes.sdk_metadata is not None:
                self.flags.update(event.attributes.sdk_metadata.core_used_flags)
        rest = self.events[len(sequence) :]
        jobs: list[tuple[JobKind, Any, Any]] = []
        skip = False
        for index, event in enumerate(sequence):
            kind = event.event_type
            if (
                is_last
                and event.event_id > self.previous
                and kind != E["WORKFLOW_TASK_COMPLETED"]
                and kind not in COMMAND_EVENTS
            ):
                self.is_replaying = False
            following = (sequence[index + 1 :] + rest)[:1]
            if skip:
                skip = False
            elif kind in COMMAND_EVENTS:
                skip = self.match(event, following, is_last)
            else:
                jobs += self.hear(event)
            self.last_event_id = event.event_id
            self.is_over |= kind in CLOSES
        self.events = rest
        completed = [i for i, event in enumerate(sequence) if event.event_type == E["WORKFLOW_TASK_COMPLETED"]]
        if completed:
            following = (sequence[completed[-1] + 1 :] + rest)[:1]
            if not following or following[0].event_type != E["WORKFLOW_TASK_SCHEDULED"]:
                self.queue = [entry for entry in self.queue if entry[0].kind != MachineKind.PATCH]
                if self.front() is not None:
                    raise Mismatch("a command has no event")
        return jobs

    def hear(self, event: Any) -> list[tuple[JobKind, Any, Any]]:
        """An event that is not a command's."""
        kind, attributes = event.event_type, event.attributes
        if kind == E["WORKFLOW_EXECUTION_STARTED"]:
            self.time_ns = event.event_time
            return [(JobKind.INITIALIZE, attributes, event)]
        if kind == E["WORKFLOW_TASK_STARTED"]:
            self.time_ns = max(self.time_ns, event.event_time)
        if kind == E["WORKFLOW_EXECUTION_SIGNALED"]:
            return [(JobKind.SIGNAL, attributes, event)]
        if kind == E["WORKFLOW_EXECUTION_CANCEL_REQUESTED"]:
            return [(JobKind.CANCEL, attributes, None)]
        if kind not in ENDS:
            return []
        name, input, job = ENDS[kind]
        command = self.opened.get(getattr(attributes, name))
        if command is None:
            raise Mismatch(f"event {event.event_id} belongs to no command")
        effect = command.step(input)
        if input == Input.EV_STARTED:
            if effect == Effect.RESOLVE_START:
                command.started_event_id = event.event_id
        else:
            del self.opened[getattr(attributes, name)]
        if input == Input.EV_FIRED and attributes.timer_id != command.identity:
            raise Mismatch("another timer fired")
        return [(job, command, event)] if effect != Effect.KEEP else []

    # --- commands

    def front(self) -> tuple[Command, str, Any] | None:
        self.queue = [entry for entry in self.queue if not is_unsent(entry[0])]
        return self.queue[0] if self.queue else self.closing

    def match(self, event: Any, following: list[Any], is_last: bool) -> bool:
        """Pair a command's event with the front of the queue; True to skip the next event."""
        found = marker(event) if event.event_type == E["MARKER_RECORDED"] else None
        while True:
            entry = self.front()
            is_patch = entry is not None and entry[0].kind == MachineKind.PATCH
            if found is not None:
                if found[1] and not (is_patch and entry is not None and entry[0].identity == found[0]):
                    return bool(following) and is_version_upsert(following[0])
                if not is_patch:
                    raise Mismatch("a patch marker without its call")
                break
            if not is_patch:
                break
            self.queue.pop(0)
        if entry is None:
            raise Mismatch("no command for an event")
        command, name, _ = entry
        if E[RECORDS[name]] != event.event_type:
            raise Mismatch(f"{name} stands where event {event.event_id} belongs")
        input = {
            "REQUEST_CANCEL_ACTIVITY_TASK": Input.EV_CANCEL_REQUESTED,
            "CANCEL_TIMER": Input.EV_CANCELED,
        }.get(name, Input.EV_RECORDED)
        if command.step(input) == Effect.CHECK and not self.is_same(command, event, is_last, found):
            raise Mismatch("another identity")
        if self.queue:
            self.queue.pop(0)
        else:
            self.closing = None
        if input == Input.EV_RECORDED:
            command.event_id = event.event_id
            if command.state == State.OPEN:
                self.opened[event.event_id] = command
        if input == Input.EV_CANCELED:
            self.opened.pop(command.event_id, None)
        return False

    def is_same(self, command: Command, event: Any, is_last: bool, found: Any) -> bool:
        attributes = event.attributes
        if command.kind == MachineKind.PATCH:
            return bool(found[0] == command.identity)
        if not is_last and 1 not in self.flags:
            return True
        if command.kind == MachineKind.ACTIVITY:
            return bool(
                (attributes.activity_id, attributes.activity_type.name) == (command.identity, command.type_name)
            )
        return bool((attributes.workflow_id, attributes.workflow_type.name) == (command.identity, command.type_name))

    def schedule(self, kind: int, command_type: int, seq: int, identity: Any, type_name: Any, message: Any) -> Command:
        command = Command(MachineKind(kind), seq, identity, type_name, None)
        command.step(Input.SCHEDULE)
        entry = (command, name_of(command_type), message)
        if kind >= MachineKind.COMPLETE_WORKFLOW:
            self.closing = self.closing or entry
        elif self.closing is None or not self.is_replaying or 3 in self.flags:
            self.queue.append(entry)
        return command

    def cancel(self, command: Command, input: int) -> Effect:
        effect = command.step(Input(input))
        if effect in (Effect.FORGET_CANCELED, Effect.EMIT_CANCEL_RESOLVE, Effect.RESOLVE_CANCELED):
            job = {
                MachineKind.ACTIVITY: JobKind.RESOLVE_ACTIVITY,
                MachineKind.SIGNAL_EXTERNAL: JobKind.RESOLVE_SIGNAL_EXTERNAL,
                MachineKind.CHILD_WORKFLOW: JobKind.RESOLVE_CHILD_START
                if effect == Effect.FORGET_CANCELED
                else JobKind.RESOLVE_CHILD,
            }[command.kind]
            self.waiting.append((job, command, None))
        return effect

    def push(self, command: Command, command_type: int, message: Any) -> None:
        self.queue.append((command, name_of(command_type), message))

    def commands(self) -> list[Any]:
        self.front()
        return [entry[2] for entry in [*self.queue, *([self.closing] if self.closing else [])]]


def is_unsent(command: Command) -> bool:
    """Cancelled before it was sent."""
    return command.state == State.CANCELED and command.event_id == 0


def name_of(command_type: int) -> str:
    return CommandType(command_type).name.removeprefix("COMMAND_TYPE_")


def marker(event: Any) -> tuple[str, bool] | None:
    if event.attributes.marker_name != "core_patch":
        return None
    data = json.loads(event.attributes.details["patch-data"].payloads[0].data)
    return data["id"], data["deprecated"]


def is_version_upsert(event: Any) -> bool:
    return (
        event.event_type == E["UPSERT_WORKFLOW_SEARCH_ATTRIBUTES"]
        and "TemporalChangeVersion" in event.attributes.search_attributes.indexed_fields
    )
