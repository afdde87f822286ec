"""Pairs what workflow code asks for with what its history says, and tells the workflow what came of it.

The matcher eats history events in *sequences*: everything up to the next started workflow task whose answer counts
(tasks that failed or timed out, and heartbeats, are part of the sequence that follows them). Each sequence gives at most
one activation: the jobs the workflow has to react to. Commands wait in a queue, first in, first out, for the event that
records them; a command event that does not fit the front of the queue is nondeterminism.

The owner applies the jobs, runs the workflow and calls :meth:`Matcher.next_activation` again until it gives None.
"""

cimport cython
from libc.stdint cimport int64_t, uint8_t

from perdure._native.event_facts cimport event_name, local_details, name_of, patch_details, peek
from perdure._native.event_types cimport (
    C_CANCEL_TIMER, C_CANCEL_WORKFLOW, C_COMPLETE_WORKFLOW, C_CONTINUE_AS_NEW, C_FAIL_WORKFLOW, C_MODIFY_PROPERTIES,
    C_PROTOCOL_MESSAGE, C_RECORD_MARKER, C_REQUEST_CANCEL_ACTIVITY, C_REQUEST_CANCEL_EXTERNAL, C_REQUEST_CANCEL_NEXUS,
    C_SCHEDULE_ACTIVITY, C_SCHEDULE_NEXUS, C_SIGNAL_EXTERNAL, C_START_CHILD, C_START_TIMER, C_UPSERT_SEARCH_ATTRIBUTES, E_ACTIVITY_CANCELED,
    E_ACTIVITY_CANCEL_REQUESTED, E_ACTIVITY_COMPLETED, E_ACTIVITY_FAILED, E_ACTIVITY_PROPERTIES_MODIFIED,
    E_ACTIVITY_SCHEDULED, E_ACTIVITY_STARTED, E_ACTIVITY_TIMED_OUT, E_CANCELED, E_CANCEL_EXTERNAL_FAILED,
    E_CANCEL_EXTERNAL_INITIATED, E_CANCEL_REQUESTED, E_CHILD_CANCELED, E_CHILD_COMPLETED, E_CHILD_FAILED,
    E_CHILD_INITIATED, E_CHILD_STARTED, E_CHILD_START_FAILED, E_CHILD_TERMINATED, E_CHILD_TIMED_OUT, E_COMPLETED,
    E_CONTINUED_AS_NEW, E_EXTERNAL_CANCEL_REQUESTED, E_EXTERNAL_SIGNALED, E_FAILED, E_MARKER, E_NEXUS_CANCELED, E_NEXUS_CANCEL_COMPLETED,
    E_NEXUS_CANCEL_FAILED, E_NEXUS_CANCEL_REQUESTED, E_NEXUS_COMPLETED, E_NEXUS_FAILED, E_NEXUS_SCHEDULED,
    E_NEXUS_STARTED, E_NEXUS_TIMED_OUT, E_PROPERTIES_MODIFIED,
    E_PROPERTIES_MODIFIED_EXTERNALLY, E_SIGNALED, E_SIGNAL_EXTERNAL_FAILED, E_SIGNAL_EXTERNAL_INITIATED, E_STARTED,
    E_TASK_COMPLETED, E_TASK_FAILED, E_TASK_SCHEDULED, E_TASK_STARTED, E_TASK_TIMED_OUT, E_TERMINATED, E_TIMED_OUT,
    E_TIMER_CANCELED, E_TIMER_FIRED, E_TIMER_STARTED, E_UPDATE_ACCEPTED, E_UPDATE_ADMITTED, E_UPDATE_COMPLETED,
    E_UPDATE_REJECTED, E_UPSERT_SEARCH_ATTRIBUTES,
)
from perdure._native.events cimport HistoryEvent
from perdure._native cimport machines
from perdure._native.machines cimport Effect, Input, MachineKind, State, Step
from perdure._native.seeds cimport seed_of

from perdure._native.event_facts import HistoryGap, HistoryMismatch, InvalidHistory, describe_event
from perdure._native.machines import MachineKind as _kinds
from perdure._native.machines import State as _states

cdef enum:
    CAUSE_RESET_WORKFLOW = 20
    NO_SEQUENCE = -1
    NOT_LOOKED = -2
    # Flags recorded on WorkflowTaskCompleted, as bits: 1 << (number - 1).
    FLAG_ID_AND_TYPE = 1
    FLAG_UPSERT_ON_PATCH = 2
    FLAG_MOVE_TERMINAL = 4
    ALL_FLAGS = 7

cdef str _VERSION_ATTRIBUTE = "TemporalChangeVersion"

cdef bint[64] _command_event
cdef bint[64] _close_event
for _n in (2, 3, 10, 15, 17, 19, 21, 22, 25, 28, 29, 37, 40, 41, 42, 43, 46, 48, 54):
    _command_event[_n] = True
for _n in (2, 3, 4, 21, 27, 28):
    _close_event[_n] = True

cdef dict _COMMANDS = {
    # command type -> (name, event that records it)
    C_SCHEDULE_ACTIVITY: ("ScheduleActivityTask", E_ACTIVITY_SCHEDULED),
    C_REQUEST_CANCEL_ACTIVITY: ("RequestCancelActivityTask", E_ACTIVITY_CANCEL_REQUESTED),
    C_START_TIMER: ("StartTimer", E_TIMER_STARTED),
    C_COMPLETE_WORKFLOW: ("CompleteWorkflowExecution", E_COMPLETED),
    C_FAIL_WORKFLOW: ("FailWorkflowExecution", E_FAILED),
    C_CANCEL_TIMER: ("CancelTimer", E_TIMER_CANCELED),
    C_CANCEL_WORKFLOW: ("CancelWorkflowExecution", E_CANCELED),
    C_REQUEST_CANCEL_EXTERNAL: ("RequestCancelExternalWorkflowExecution", E_CANCEL_EXTERNAL_INITIATED),
    C_RECORD_MARKER: ("RecordMarker", E_MARKER),
    C_CONTINUE_AS_NEW: ("ContinueAsNewWorkflowExecution", E_CONTINUED_AS_NEW),
    C_START_CHILD: ("StartChildWorkflowExecution", E_CHILD_INITIATED),
    C_SIGNAL_EXTERNAL: ("SignalExternalWorkflowExecution", E_SIGNAL_EXTERNAL_INITIATED),
    C_UPSERT_SEARCH_ATTRIBUTES: ("UpsertWorkflowSearchAttributes", E_UPSERT_SEARCH_ATTRIBUTES),
    C_PROTOCOL_MESSAGE: ("ProtocolMessage", E_UPDATE_ACCEPTED),
    C_MODIFY_PROPERTIES: ("ModifyWorkflowProperties", E_PROPERTIES_MODIFIED),
    C_SCHEDULE_NEXUS: ("ScheduleNexusOperation", E_NEXUS_SCHEDULED),
    C_REQUEST_CANCEL_NEXUS: ("RequestCancelNexusOperation", E_NEXUS_CANCEL_REQUESTED),
}
cdef int[32] _records
for _type, (_name, _event) in _COMMANDS.items():
    _records[_type] = _event


cdef str describe_command(WorkflowCommand command, int command_type):
    cdef str name = _COMMANDS[command_type][0]
    if command.kind == MachineKind.ACTIVITY or command.kind == MachineKind.LOCAL_ACTIVITY:
        return f"{name} (activity id {command.identity!r}, type {command.type_name!r})"
    if command.kind == MachineKind.CHILD_WORKFLOW:
        return f"{name} (workflow id {command.identity!r}, type {command.type_name!r})"
    if command.kind == MachineKind.TIMER:
        return f"{name} (timer id {command.identity!r})"
    if command.kind == MachineKind.PATCH:
        return f"{name} (patch {command.identity!r})"
    if command.kind == MachineKind.UPDATE:
        return f"{name} (update {command.identity!r})"
    if command.kind == MachineKind.NEXUS_OPERATION:
        return f"{name} (endpoint {command.identity!r}, operation {command.type_name!r})"
    if command.kind == MachineKind.SIGNAL_EXTERNAL or command.kind == MachineKind.CANCEL_EXTERNAL:
        return f"{name} (workflow id {command.identity!r})"
    return name


@cython.freelist(64)
cdef class WorkflowCommand:
    """A command of the workflow and the state of its machine. Made by :class:`Matcher` only."""

    def __init__(self):
        raise TypeError("A WorkflowCommand is made by Matcher.schedule().")

    def __repr__(self):
        kind, state = _kinds(self.kind).name, _states(self.state).name
        return f"<WorkflowCommand {kind} {self.seq} {state} {self.identity!r}>"


@cython.freelist(64)
cdef class Queued:
    """A command, or the cancellation of one, that waits for its event."""


cdef int64_t nanoseconds(object data) except -1:
    """When a local activity's outcome was known, 0 if its marker does not say."""
    time = data.get("complete_time")
    if not time:
        return 0
    return <int64_t> int(time.get("seconds", 0)) * 1000000000 + <int64_t> int(time.get("nanos", 0))


cdef class Matcher:
    """History in, activations out, of one run; see the module's docstring."""

    def __init__(self, str run_id not None, str workflow_type not None):
        self.run_id = run_id
        self.workflow_type = workflow_type
        self._events = []
        self._next_end = NO_SEQUENCE
        self._queue = []
        self._by_event_id = {}
        self._patches = []
        self._signals = []
        self._others = []
        self._lang_flags = set()
        self._lang_used = set()
        self._messages = []
        self._updates = {}
        self._locals = {}
        self._local_markers = {}
        self._local_jobs = []
        self._patch_commands = {}
        self.last_sdk_name = ""
        self.last_sdk_version = ""

    # --- history in

    def feed(self, list events not None, int64_t previous_started_event_id, messages=()):
        """Take a task's events, from the run's first or from the one after the last applied. Applied ones are skipped.

        ``messages`` are update requests, each to be delivered at its place in history.
        Raises:
            HistoryGap: events are missing in between.
        """
        cdef Py_ssize_t skip = 0, n = len(events)
        cdef HistoryEvent event
        while skip < n:
            event = events[skip]
            if event.event_id > self.last_event_id:
                break
            skip += 1
        if skip < n and event.event_id != self.last_event_id + 1:
            raise HistoryGap(
                f"history of run {self.run_id} goes on at event {event.event_id}, but {self.last_event_id} was the last "
                "applied: fetch it again from its first event")
        self._events = events[skip:] if skip else events
        self._pos = 0
        self._next_end = NOT_LOOKED
        self._previous_started_event_id = previous_started_event_id
        self.is_replaying = previous_started_event_id > 0
        if messages:
            self._messages.extend(messages)

    def next_activation(self):
        """``(patch ids, signal and update jobs, other jobs)`` of the next activation, or None when there is none.

        Jobs that commands caused at once (a cancellation of an activity the workflow does not wait for) come first,
        as an activation of their own; then history is applied until a sequence gives jobs.
        Raises:
            HistoryMismatch: nondeterminism.
            InvalidHistory: see there.
        """
        cdef Py_ssize_t end
        if self._closing is not None:
            # What commands brought about after the workflow closed itself comes too late: nobody could record it.
            self._others.clear()
            self._local_jobs.clear()
        while True:
            if self._patches or self._signals or self._others:
                jobs = (self._patches, self._signals, self._others)
                if self._local_jobs:
                    self.take_local_jobs(self._others, 0)
                self._patches = []
                self._signals = []
                self._others = []
                return jobs
            if self._local_jobs:
                jobs = ([], [], [])
                self.activation_index += 1
                self.take_local_jobs(jobs[2], min(job[0] for job in self._local_jobs))
                return jobs
            if self.has_close_event:
                self.is_replaying = False
                return None
            end = self._next_end
            if end == NOT_LOOKED:
                end = self.find_end(self._pos)
            if end == NO_SEQUENCE:
                self.is_replaying = False
                self._events = []
                self._pos = 0
                return None
            self.activation_index = 0
            self.apply_sequence(end)
            self.look_ahead()

    @cython.boundscheck(False)
    @cython.wraparound(False)
    cdef Py_ssize_t find_end(self, Py_ssize_t start):
        """Index of the last event of the sequence that begins at ``start``."""
        cdef list events = self._events
        cdef Py_ssize_t n = len(events), i, count, earlier
        cdef HistoryEvent event, after, after_next
        cdef bint saw_command = False, saw_command_or_started = False
        cdef list skipped = None          # indexes of started workflow tasks that did not end the sequence
        for i in range(start, n):
            event = events[i]
            if event.event_type < 64:
                if _command_event[event.event_type]:
                    saw_command = saw_command_or_started = True
                if _close_event[event.event_type]:
                    return i
            if event.event_type == E_STARTED:
                saw_command_or_started = True
            if event.event_type != E_TASK_STARTED:
                continue
            if i + 1 < n:
                after = events[i + 1]
                if after.event_type in (E_TASK_FAILED, E_TASK_TIMED_OUT, E_TIMED_OUT, E_TERMINATED, E_CANCELED):
                    continue
                if after.event_type == E_TASK_COMPLETED and i + 2 < n:
                    after_next = events[i + 2]
                    if not saw_command and after_next.event_type == E_TASK_SCHEDULED:
                        if skipped is None:       # a heartbeat
                            skipped = []
                        skipped.append(i)
                        continue
                    if after_next.event_type == E_UPDATE_ACCEPTED:
                        # The update was there when an earlier task started: end where it was first seen.
                        sequencing_id = after_next.attrs().accepted_request_sequencing_event_id
                        if event.event_id >= sequencing_id and skipped is not None:
                            for earlier in reversed(skipped):
                                if (<HistoryEvent> events[earlier]).event_id < sequencing_id:
                                    return earlier
                    return i
            if saw_command_or_started:
                return i
        count = n - start
        return n - 1 if count > 1 else NO_SEQUENCE

    cdef int apply_flags(self, HistoryEvent event) except -1:
        if event.event_id <= self._flags_event_id:
            return 0
        self._flags_event_id = event.event_id
        attrs = peek(event)
        self._completed_event = event
        metadata = attrs.sdk_metadata
        if metadata is None:
            return 0
        for flag in metadata.core_used_flags:
            if 1 <= flag <= 3:
                self._core_flags |= 1 << (flag - 1)
        if metadata.lang_used_flags:
            self._lang_flags.update(metadata.lang_used_flags)
        if metadata.sdk_name:
            self.last_sdk_name = metadata.sdk_name
        if metadata.sdk_version:
            self.last_sdk_version = metadata.sdk_version
        return 0

    cdef int apply_sequence(self, Py_ssize_t end) except -1:
        cdef list events = self._events
        cdef Py_ssize_t n = len(events), i
        cdef HistoryEvent event
        cdef bint is_last = end == n - 1, skip_next = False
        cdef Py_ssize_t completed = -1
        for i in range(self._pos, end + 1):
            event = events[i]
            if event.event_type == E_TASK_COMPLETED:
                completed = i
                self.apply_flags(event)
        for i in range(end + 1, n):       # flags of this sequence's own completion hold for it, too
            event = events[i]
            if event.event_type == E_TASK_COMPLETED:
                self.apply_flags(event)
                break
        for i in range(self._pos, end + 1):
            event = events[i]
            if event.event_id != self.last_event_id + 1:
                raise InvalidHistory(
                    f"history of run {self.run_id} has event {event.event_id} where {self.last_event_id + 1} belongs")
            if (self.is_replaying and is_last and event.event_id > self._previous_started_event_id
                    and event.event_type != E_TASK_COMPLETED
                    and not (event.event_type < 64 and _command_event[event.event_type])):
                self.is_replaying = False
            if self._messages:
                self.deliver_messages(event.event_id)
            if skip_next:
                skip_next = False
            else:
                skip_next = self.apply_event(event, i, end, is_last)
            self.last_event_id = event.event_id
        self._pos = end + 1
        if completed >= 0 and (self._head < len(self._queue) or self._closing is not None):
            # A heartbeat's completion is followed by the next scheduled task; its commands may be recorded later.
            if completed + 1 < n and (<HistoryEvent> events[completed + 1]).event_type != E_TASK_SCHEDULED:
                self.check_left_over()
            elif completed + 1 == n:
                self.check_left_over()
        if self._messages and is_last:
            self.deliver_messages(self.last_event_id + 2)
        return 0

    cdef int look_ahead(self) except -1:
        """Patches, local activities and updates that the next sequence records must be known before the code runs."""
        cdef list events = self._events
        cdef Py_ssize_t start = self._pos, end, i
        cdef HistoryEvent event
        cdef WorkflowCommand command
        if start >= len(events):
            self._next_end = NO_SEQUENCE
            return 0
        end = self.find_end(start)
        self._next_end = end
        if end == NO_SEQUENCE:
            end = start
        for i in range(start, end + 1):
            event = events[i]
            if event.event_type == E_MARKER:
                found = patch_details(event)
                if found is not None:
                    self._patch_commands[found[0]] = False
                    self._patches.append(found[0])
                else:
                    data = local_details(event)
                    if data is not None:
                        command = self._locals.get(data["seq"])
                        if command is None:
                            self._local_markers[data["seq"]] = (event, data)
                        elif command.state == State.OPEN:
                            self.resolve_by_marker(command, event, data)
            elif event.event_type == E_UPDATE_ACCEPTED:
                self.replay_update(event)
        return 0

    cdef int apply_event(self, HistoryEvent event, Py_ssize_t index, Py_ssize_t end, bint is_last) except -1:
        """Returns 1 when the next event is to be skipped."""
        cdef int kind = event.event_type
        if kind < 64 and kind > 0 and _close_event[kind]:
            self.has_close_event = True
        if kind < 64 and kind > 0 and _command_event[kind]:
            return self.apply_command_event(event, index, is_last)
        if kind == E_ACTIVITY_STARTED or kind == E_TASK_SCHEDULED or kind == E_TASK_COMPLETED:
            pass
        elif kind == E_TASK_STARTED:
            self._started_event = event
            if event.event_time > self.time_ns:
                self.time_ns = event.event_time
            if index == end:
                self.current_started_event_id = event.event_id
        elif kind == E_ACTIVITY_COMPLETED:
            self.apply_close(event, event.attrs().scheduled_event_id, Input.EV_COMPLETED, JobKind.RESOLVE_ACTIVITY)
        elif kind == E_TIMER_FIRED:
            self.apply_close(event, event.attrs().started_event_id, Input.EV_FIRED, JobKind.FIRE_TIMER)
        elif kind == E_SIGNALED:
            self._signals.append((JobKind.SIGNAL, event.attrs(), event))
        elif kind == E_ACTIVITY_FAILED:
            self.apply_close(event, event.attrs().scheduled_event_id, Input.EV_FAILED, JobKind.RESOLVE_ACTIVITY)
        elif kind == E_ACTIVITY_TIMED_OUT:
            self.apply_close(event, event.attrs().scheduled_event_id, Input.EV_TIMED_OUT, JobKind.RESOLVE_ACTIVITY)
        elif kind == E_ACTIVITY_CANCELED:
            self.apply_close(event, event.attrs().scheduled_event_id, Input.EV_CANCELED, JobKind.RESOLVE_ACTIVITY)
        elif kind == E_CHILD_STARTED:
            self.apply_close(event, event.attrs().initiated_event_id, Input.EV_STARTED, JobKind.RESOLVE_CHILD_START)
        elif kind == E_CHILD_START_FAILED:
            self.apply_close(event, event.attrs().initiated_event_id, Input.EV_START_FAILED, JobKind.RESOLVE_CHILD_START)
        elif kind == E_CHILD_COMPLETED:
            self.apply_close(event, event.attrs().initiated_event_id, Input.EV_COMPLETED, JobKind.RESOLVE_CHILD)
        elif kind == E_CHILD_FAILED:
            self.apply_close(event, event.attrs().initiated_event_id, Input.EV_FAILED, JobKind.RESOLVE_CHILD)
        elif kind == E_CHILD_CANCELED:
            self.apply_close(event, event.attrs().initiated_event_id, Input.EV_CANCELED, JobKind.RESOLVE_CHILD)
        elif kind == E_CHILD_TIMED_OUT:
            self.apply_close(event, event.attrs().initiated_event_id, Input.EV_TIMED_OUT, JobKind.RESOLVE_CHILD)
        elif kind == E_CHILD_TERMINATED:
            self.apply_close(event, event.attrs().initiated_event_id, Input.EV_TERMINATED, JobKind.RESOLVE_CHILD)
        elif kind == E_EXTERNAL_SIGNALED:
            self.apply_close(event, event.attrs().initiated_event_id, Input.EV_COMPLETED, JobKind.RESOLVE_SIGNAL_EXTERNAL)
        elif kind == E_SIGNAL_EXTERNAL_FAILED:
            self.apply_close(event, event.attrs().initiated_event_id, Input.EV_FAILED, JobKind.RESOLVE_SIGNAL_EXTERNAL)
        elif kind == E_EXTERNAL_CANCEL_REQUESTED:
            self.apply_close(event, event.attrs().initiated_event_id, Input.EV_COMPLETED, JobKind.RESOLVE_CANCEL_EXTERNAL)
        elif kind == E_CANCEL_EXTERNAL_FAILED:
            self.apply_close(event, event.attrs().initiated_event_id, Input.EV_FAILED, JobKind.RESOLVE_CANCEL_EXTERNAL)
        elif E_NEXUS_STARTED <= kind <= E_NEXUS_TIMED_OUT or kind == E_NEXUS_CANCEL_COMPLETED or kind == E_NEXUS_CANCEL_FAILED:
            self.apply_nexus(event)
        elif kind == E_CANCEL_REQUESTED:
            self._others.append((JobKind.CANCEL, event.attrs(), None))
        elif kind == E_STARTED:
            self.time_ns = event.event_time
            self._others.append((JobKind.INITIALIZE, event.attrs(), event))
        elif kind == E_TASK_FAILED:
            attrs = event.attrs()
            if attrs.cause == CAUSE_RESET_WORKFLOW:
                self.add_seed(attrs.new_run_id)
        elif kind == E_UPDATE_ADMITTED:
            self.admit_update(event)
        elif kind == E_TASK_TIMED_OUT:
            pass
        elif kind == E_TERMINATED or kind == E_TIMED_OUT:
            if index + 1 < len(self._events):
                raise InvalidHistory(f"history of run {self.run_id} goes on after its end at event {event.event_id}")
        elif kind == E_PROPERTIES_MODIFIED_EXTERNALLY or kind == E_ACTIVITY_PROPERTIES_MODIFIED:
            pass
        elif not event.worker_may_ignore:
            raise InvalidHistory(
                f"event {event.event_id} of run {self.run_id} is {event_name(kind)}, which this worker does not know")
        return 0

    cdef int add_seed(self, str run_id) except -1:
        """Reseeding comes before everything but the start."""
        cdef Py_ssize_t at = 0
        while at < len(self._others) and self._others[at][0] <= JobKind.UPDATE_RANDOM_SEED:
            at += 1
        self._others.insert(at, (JobKind.UPDATE_RANDOM_SEED, seed_of(run_id), None))
        return 0

    cdef int apply_close(self, HistoryEvent event, int64_t opened_by, uint8_t input_, int job) except -1:
        cdef WorkflowCommand command = self._by_event_id.get(opened_by)
        cdef uint8_t effect
        if command is None:
            raise HistoryMismatch(
                f"event {event.event_id} ({event_name(event.event_type)}) of workflow {self.workflow_type}, run "
                f"{self.run_id}, belongs to event {opened_by}, for which the code made no command: workflow code must "
                "make the same commands in the same order as when the history was written",
                event.event_id, event.event_type, 0)
        effect = self.feed_machine(command, input_, event)
        if effect == Effect.RESOLVE:
            if input_ == Input.EV_FIRED:
                timer_id = event.attrs().timer_id
                if timer_id != command.identity:
                    raise HistoryMismatch(
                        f"event {event.event_id} (TimerFired, timer id {timer_id!r}) of workflow {self.workflow_type}, run "
                        f"{self.run_id}, closes the timer that the code calls {command.identity!r}",
                        event.event_id, event.event_type, C_START_TIMER)
            del self._by_event_id[opened_by]
            self._others.append((job, command, event))
        elif effect == Effect.RESOLVE_START:
            if input_ == Input.EV_STARTED:
                command.started_event_id = event.event_id
            else:
                del self._by_event_id[opened_by]
            self._others.append((job, command, event))
        elif input_ != Input.EV_STARTED:
            del self._by_event_id[opened_by]
        return 0

    cdef int apply_nexus(self, HistoryEvent event) except -1:
        """An event of a Nexus operation that no command caused."""
        cdef int kind = event.event_type
        cdef int64_t scheduled_id = event.attrs().scheduled_event_id
        cdef WorkflowCommand command
        if kind == E_NEXUS_COMPLETED:
            self.apply_close(event, scheduled_id, Input.EV_COMPLETED, JobKind.RESOLVE_NEXUS)
        elif kind == E_NEXUS_STARTED:
            self.apply_close(event, scheduled_id, Input.EV_STARTED, JobKind.RESOLVE_NEXUS_START)
        elif kind == E_NEXUS_FAILED:
            self.apply_close(event, scheduled_id, Input.EV_FAILED, JobKind.RESOLVE_NEXUS)
        elif kind == E_NEXUS_CANCELED:
            self.apply_close(event, scheduled_id, Input.EV_CANCELED, JobKind.RESOLVE_NEXUS)
        elif kind == E_NEXUS_TIMED_OUT:
            self.apply_close(event, scheduled_id, Input.EV_TIMED_OUT, JobKind.RESOLVE_NEXUS)
        else:
            # Of an operation that has ended, nobody wants to know.
            command = self._by_event_id.get(scheduled_id)
            input_ = Input.EV_CANCEL_COMPLETED if kind == E_NEXUS_CANCEL_COMPLETED else Input.EV_CANCEL_FAILED
            if command is not None and self.feed_machine(command, input_, event) == Effect.RESOLVE_EARLY:
                self._others.append((JobKind.RESOLVE_NEXUS, command, event))
        return 0

    cdef uint8_t feed_machine(self, WorkflowCommand command, uint8_t input_, HistoryEvent event) except 255:
        """Take the step for a history event; returns its effect."""
        cdef Step found = machines.step(command.kind, command.state, input_)
        if found.effect == Effect.NO_STEP:
            raise HistoryMismatch(
                f"event {event.event_id} ({describe_event(event)}) of workflow {self.workflow_type}, run {self.run_id}, "
                f"cannot follow: its command {command!r} does not expect it",
                event.event_id, event.event_type, 0)
        command.state = found.state
        return found.effect

    # --- commands against their events

    cdef Queued front(self):
        """The command whose event is due, or None."""
        cdef Queued queued
        while self._head < len(self._queue):
            queued = self._queue[self._head]
            if queued.command.state != State.CANCELED or queued.command.event_id:
                return queued
            self.drop_front()
        return self._closing

    cdef int drop_front(self) except -1:
        if self._head < len(self._queue):
            self._queue[self._head] = None
            self._head += 1
            if self._head == len(self._queue):
                self._queue.clear()
                self._head = 0
            elif self._head >= 256:
                del self._queue[:self._head]
                self._head = 0
        else:
            self._closing = None
        return 0

    cdef bint must_check(self, bint is_last):
        return is_last or self._core_flags & FLAG_ID_AND_TYPE

    cdef int apply_command_event(self, HistoryEvent event, Py_ssize_t index, bint is_last) except -1:
        """Returns 1 when the next event is to be skipped."""
        cdef Queued queued
        cdef WorkflowCommand command
        cdef int kind = event.event_type, expected
        cdef uint8_t input_, effect
        cdef tuple patch = None
        if kind == E_UPDATE_REJECTED:
            return 0
        if kind == E_MARKER:
            patch = patch_details(event)
            if patch is None and self.apply_local_marker(event, is_last):
                return 0
        while True:
            queued = self.front()
            if patch is not None:
                if queued is None or queued.command.kind != MachineKind.PATCH:
                    if patch[1]:
                        return self.skips_upsert(index)
                    raise self.mismatch(event, queued)
                if patch[1] and queued.command.identity != patch[0]:
                    return self.skips_upsert(index)
            elif queued is not None and queued.command.kind == MachineKind.PATCH:
                self.drop_front()         # deprecate_patch() in code newer than the history
                continue
            break
        if queued is None:
            raise self.mismatch(event, None)
        command = queued.command
        expected = _records[queued.command_type]
        input_ = Input.EV_RECORDED
        if queued.command_type == C_PROTOCOL_MESSAGE:
            if command.state == State.COMPLETING:
                expected = E_UPDATE_COMPLETED
                input_ = Input.EV_COMPLETED
            else:
                input_ = Input.EV_ACCEPTED
        elif queued.command_type == C_REQUEST_CANCEL_ACTIVITY or queued.command_type == C_REQUEST_CANCEL_NEXUS:
            input_ = Input.EV_CANCEL_REQUESTED
        elif queued.command_type == C_CANCEL_TIMER:
            input_ = Input.EV_CANCELED
        if expected != kind:
            raise self.mismatch(event, queued)
        effect = self.feed_machine(command, input_, event)
        if effect == Effect.CHECK:
            self.check_identity(event, queued, is_last, patch)
        self.drop_front()
        if input_ == Input.EV_RECORDED:
            command.event_id = event.event_id
            if command.state == State.OPEN:
                self._by_event_id[event.event_id] = command
            elif command.kind == MachineKind.LOCAL_ACTIVITY:
                self._locals.pop(command.seq, None)
        elif input_ == Input.EV_CANCELED:
            self._by_event_id.pop(command.event_id, None)
        elif input_ == Input.EV_COMPLETED:
            self._updates.pop(command.identity, None)
        return 0

    cdef int check_identity(self, HistoryEvent event, Queued queued, bint is_last, tuple patch) except -1:
        cdef WorkflowCommand command = queued.command
        cdef bint same = True
        if command.kind == MachineKind.PATCH:
            same = patch[0] == command.identity
        elif command.kind == MachineKind.UPDATE:
            same = event.attrs().protocol_instance_id == command.identity
        elif command.kind == MachineKind.LOCAL_ACTIVITY:
            data = local_details(event)
            same = data is not None and data["seq"] == command.seq
            if same and self.must_check(is_last):
                same = data["activity_id"] == command.identity and data["activity_type"] == command.type_name
        elif self.must_check(is_last):
            attrs = peek(event)
            if command.kind == MachineKind.ACTIVITY:
                same = attrs.activity_id == command.identity and name_of(attrs.activity_type) == command.type_name
            elif command.kind == MachineKind.CHILD_WORKFLOW:
                same = attrs.workflow_id == command.identity and name_of(attrs.workflow_type) == command.type_name
        if not same:
            raise self.mismatch(event, queued)
        return 0

    cdef bint skips_upsert(self, Py_ssize_t index):
        """Whether the event after a skipped patch marker is the upsert that goes with it."""
        cdef HistoryEvent event
        if index + 1 >= len(self._events):
            return False
        event = self._events[index + 1]
        if event.event_type != E_UPSERT_SEARCH_ATTRIBUTES:
            return False
        attributes = event.attrs().search_attributes
        return attributes is not None and _VERSION_ATTRIBUTE in attributes.indexed_fields

    cdef object mismatch(self, HistoryEvent event, Queued queued):
        cdef str made = "the code made no command there"
        cdef int command_type = 0
        if queued is not None:
            command_type = queued.command_type
            made = f"the code's command there is {describe_command(queued.command, command_type)}"
        return HistoryMismatch(
            f"nondeterminism in workflow {self.workflow_type}, run {self.run_id}: history event {event.event_id} is "
            f"{describe_event(event)}, but {made}; workflow code must make the same commands in the same order as when the "
            "history was written (guard a change of code with workflow.patched())",
            event.event_id, event.event_type, command_type, None if queued is None else queued.command)

    cdef int check_left_over(self) except -1:
        """Everything the task commanded must be recorded right after its completion."""
        cdef Queued queued = self.front()
        while queued is not None and queued.command.kind == MachineKind.PATCH:
            self.drop_front()
            queued = self.front()
        if queued is None:
            return 0
        raise HistoryMismatch(
            f"nondeterminism in workflow {self.workflow_type}, run {self.run_id}: the code's command "
            f"{describe_command(queued.command, queued.command_type)} has no event in history (last event read: "
            f"{self.last_event_id}); workflow code must make the same commands in the same order as when the history was "
            "written (guard a change of code with workflow.patched())",
            0, 0, queued.command_type, queued.command)

    # --- commands in

    cdef int enqueue(self, WorkflowCommand command, int command_type, object message) except -1:
        cdef Queued queued = Queued.__new__(Queued)
        queued.command = command
        queued.command_type = command_type
        queued.message = message
        self._queue.append(queued)
        return 0

    def schedule(self, int kind, int command_type, int64_t seq, identity, type_name, target, message):
        """A new command. ``message`` is the Command to send; None while replaying, when nothing is sent.

        A command that closes the workflow is sent last, and only the first of them.
        """
        cdef WorkflowCommand command = WorkflowCommand.__new__(WorkflowCommand)
        cdef Queued queued
        command.kind = <uint8_t> kind
        command.state = machines.step(command.kind, State.NEW, Input.SCHEDULE).state
        command.seq = seq
        command.identity = identity
        command.type_name = type_name
        command.target = target
        if MachineKind.COMPLETE_WORKFLOW <= kind <= MachineKind.CONTINUE_AS_NEW:
            if self._closing is None:
                queued = Queued.__new__(Queued)
                queued.command = command
                queued.command_type = command_type
                queued.message = message
                self._closing = queued
        elif self.takes_more():
            self.enqueue(command, command_type, message)
        return command

    cdef bint takes_more(self) noexcept:
        # Old SDKs dropped what came after the command that closes the workflow.
        return self._closing is None or not self.is_replaying or bool(self._core_flags & FLAG_MOVE_TERMINAL)

    def cancel(self, WorkflowCommand command not None, int input_):
        """Cancel a command; returns the effect. The caller sends a cancel command (:meth:`push`) when it is EMIT_CANCEL
        or EMIT_CANCEL_RESOLVE; what the workflow must be told becomes a job of the next activation."""
        cdef Step found = machines.step(command.kind, command.state, <uint8_t> input_)
        if found.effect == Effect.NO_STEP:
            raise RuntimeError(f"{command!r} cannot be cancelled so (input {input_}): please report this bug in perdure")
        command.state = found.state
        if found.effect in (Effect.FORGET_CANCELED, Effect.EMIT_CANCEL_RESOLVE, Effect.RESOLVE_CANCELED):
            if command.kind == MachineKind.ACTIVITY:
                self._others.append((JobKind.RESOLVE_ACTIVITY, command, None))
            elif command.kind == MachineKind.NEXUS_OPERATION:
                self._others.append((JobKind.RESOLVE_NEXUS, command, None))
            elif command.kind == MachineKind.SIGNAL_EXTERNAL:
                self._others.append((JobKind.RESOLVE_SIGNAL_EXTERNAL, command, None))
            elif command.kind == MachineKind.CHILD_WORKFLOW:
                if found.effect == Effect.FORGET_CANCELED:
                    self._others.append((JobKind.RESOLVE_CHILD_START, command, None))
                else:
                    self._others.append((JobKind.RESOLVE_CHILD, command, None))
        return found.effect

    def push(self, WorkflowCommand command not None, int command_type, message):
        """Send one more command for a machine: its cancellation, or a message of an update."""
        self.enqueue(command, command_type, message)

    @property
    def is_closing(self):
        """Whether the workflow made a command that closes it."""
        return self._closing is not None

    def commands(self):
        """The commands to answer the workflow task with, in order, the closing one last."""
        cdef list found = []
        cdef Queued queued
        cdef Py_ssize_t i
        for i in range(self._head, len(self._queue)):
            queued = self._queue[i]
            if queued.command.state == State.CANCELED and not queued.command.event_id:
                continue
            found.append(self.message_of(queued))
        if self._closing is not None:
            found.append(self.message_of(self._closing))
        return found

    cdef object message_of(self, Queued queued):
        if queued.message is None:
            raise HistoryMismatch(
                f"nondeterminism in workflow {self.workflow_type}, run {self.run_id}: while replaying, the code made the "
                f"command {describe_command(queued.command, queued.command_type)}, which has no event in history",
                0, 0, queued.command_type, queued.command)
        return queued.message

    # --- local activities

    cdef int resolve_by_marker(self, WorkflowCommand command, HistoryEvent event, object data) except -1:
        command.state = machines.step(command.kind, command.state, Input.EV_COMPLETED).state
        self._local_jobs.append(
            (data.get("activation_index") or 0, (JobKind.RESOLVE_LOCAL_ACTIVITY, command, event), nanoseconds(data)))
        return 0

    cdef int apply_local_marker(self, HistoryEvent event, bint is_last) except -1:
        """A marker of a local activity that was not run here is taken wherever it stands; returns 1 for such."""
        cdef WorkflowCommand command
        cdef Queued queued
        data = local_details(event)
        if data is None:
            return 0
        command = self._locals.get(data["seq"])
        if command is None:
            raise self.mismatch(event, self.front())
        if command.state == State.RESOLVED:
            return 0
        if command.state == State.OPEN:
            self.resolve_by_marker(command, event, data)
        queued = Queued.__new__(Queued)
        queued.command = command
        queued.command_type = C_RECORD_MARKER
        if self.feed_machine(command, Input.EV_RECORDED, event) == Effect.CHECK:
            self.check_identity(event, queued, is_last, None)
        command.event_id = event.event_id
        del self._locals[command.seq]
        return 1

    cdef int take_local_jobs(self, list jobs, int index) except -1:
        """Move the resolutions of that activation; each takes the workflow's time to when it was known."""
        cdef list kept = []
        for entry in self._local_jobs:
            if entry[0] <= index:
                jobs.append(entry[1])
                if entry[2] > self.time_ns:
                    self.time_ns = entry[2]
            else:
                kept.append(entry)
        self._local_jobs = kept
        return 0

    def schedule_local(self, int64_t seq, identity, type_name, target):
        """A new local activity. While it is :meth:`is_open_local`, its outcome is not in history: somebody has to run it."""
        cdef WorkflowCommand command = WorkflowCommand.__new__(WorkflowCommand)
        command.kind = MachineKind.LOCAL_ACTIVITY
        command.state = machines.step(command.kind, State.NEW, Input.SCHEDULE).state
        command.seq = seq
        command.identity = identity
        command.type_name = type_name
        command.target = target
        self._locals[seq] = command
        found = self._local_markers.pop(seq, None)
        if found is not None:
            self.resolve_by_marker(command, found[0], found[1])
        return command

    def is_open_local(self, WorkflowCommand command not None):
        """Whether the outcome of a local activity is unknown."""
        return command.state == State.OPEN

    def open_locals(self):
        """The local activities whose outcome is unknown, in the order they were asked for."""
        return [command for command in self._locals.values() if command.state == State.OPEN]

    def resolve_local(self, WorkflowCommand command not None, outcome, int64_t complete_time_ns, message):
        """A local activity was run: ``message`` records its outcome, and the workflow hears of it next."""
        cdef Step found = machines.step(command.kind, command.state, Input.RESOLVE_LOCALLY)
        if found.effect == Effect.NO_STEP:
            raise RuntimeError(f"{command!r} was resolved already: please report this bug in perdure")
        command.state = found.state
        self.enqueue(command, C_RECORD_MARKER, message)
        self._local_jobs.append(
            (self.activation_index + 1, (JobKind.RESOLVE_LOCAL_ACTIVITY, command, outcome), complete_time_ns))

    # --- patches

    def patch_made(self, str patch_id not None):
        """None: never heard of; False: its marker is in the history ahead; True: a command was made for it."""
        return self._patch_commands.get(patch_id)

    def made_patches(self):
        """The ids of all patches a command was made for."""
        return [patch_id for patch_id, made in self._patch_commands.items() if made]

    def make_patch(self, str patch_id not None):
        """Remember that a command was made for the patch."""
        self._patch_commands[patch_id] = True

    # --- updates

    cdef int deliver_messages(self, int64_t before_event_id) except -1:
        """Hand over update requests that come before the event."""
        cdef list kept = []
        for message in self._messages:
            if message.event_id is not None and message.event_id < before_event_id:
                self.deliver_update(message.id, message.protocol_instance_id, message.event_id, message.body)
            else:
                kept.append(message)
        self._messages = kept
        return 0

    cdef int deliver_update(self, object message_id, object instance_id, object sequencing_id, object request) except -1:
        cdef WorkflowCommand command = WorkflowCommand.__new__(WorkflowCommand)
        command.kind = MachineKind.UPDATE
        command.state = State.DELIVERED
        command.identity = instance_id
        command.detail = (message_id, sequencing_id)
        self._updates[instance_id] = command
        self._signals.append((JobKind.UPDATE_REQUEST, command, request))
        return 0

    cdef int replay_update(self, HistoryEvent event) except -1:
        """The request behind an acceptance seen ahead, as it was delivered the first time."""
        attrs = event.attrs()
        request = attrs.accepted_request
        admitted = self._updates.pop(("admitted", attrs.protocol_instance_id), None)
        if request is None and admitted is not None:
            request = admitted
        self.deliver_update(
            attrs.accepted_request_message_id, attrs.protocol_instance_id,
            attrs.accepted_request_sequencing_event_id, request)
        return 0

    cdef int admit_update(self, HistoryEvent event) except -1:
        request = event.attrs().request
        update_id = request.meta.update_id
        if self.is_replaying:
            self._updates["admitted", update_id] = request
        else:
            self.deliver_update(f"{update_id}/request", update_id, event.event_id, request)
        return 0

    def step_update(self, WorkflowCommand command not None, int input_, message):
        """Accept, reject or complete an update. A command (``message``) goes out for all but a rejection."""
        cdef Step found = machines.step(command.kind, command.state, <uint8_t> input_)
        if found.effect == Effect.NO_STEP:
            raise RuntimeError(f"{command!r} does not take input {input_}: please report this bug in perdure")
        command.state = found.state
        if found.effect == Effect.EMIT and self.takes_more():
            self.enqueue(command, C_PROTOCOL_MESSAGE, message)

    # --- flags

    def use_core_flag(self, int flag):
        """Whether behaviour number ``flag`` applies: always in new history, in old history if it was recorded."""
        return not self.is_replaying or bool(self._core_flags & (1 << (flag - 1)))

    def use_lang_flag(self, int flag):
        """As :meth:`use_core_flag` for the language's own flags, which are recorded when used."""
        if flag in self._lang_flags:
            return True
        if self.is_replaying:
            return False
        self._lang_used.add(flag)
        return True

    def take_flags(self):
        """``(core, lang)``: flags this completion must record."""
        cdef list core = [number for number in (1, 2, 3) if not self._core_flags & (1 << (number - 1))]
        cdef list lang = sorted(self._lang_used - self._lang_flags)
        self._core_flags = ALL_FLAGS
        self._lang_flags |= self._lang_used
        self._lang_used.clear()
        return core, lang

    def has_noted(self, str name not None, str version not None):
        """Whether the history says all that a completion by this SDK would note: flags, name and version."""
        return (self._core_flags == ALL_FLAGS and self.last_sdk_name == name and self.last_sdk_version == version
                and (not self._lang_used or self._lang_used <= self._lang_flags))

    def note_sdk(self, str name not None, str version not None):
        """Which SDK answers now; its name is recorded when it changes."""
        self.last_sdk_name = name
        self.last_sdk_version = version

    # --- about the last activation

    @property
    def started_attributes(self):
        """Attributes of the last WorkflowTaskStarted applied, or None."""
        return None if self._started_event is None else self._started_event.attrs()

    @property
    def completed_attributes(self):
        """Attributes of the last WorkflowTaskCompleted known, or None."""
        return None if self._completed_event is None else self._completed_event.attrs()

    def reset_to(self, int64_t started_event_id):
        """Undo a speculative task: its two events never made it into history."""
        self.current_started_event_id = started_event_id
        self.last_event_id -= 2

    def counts(self):
        """``(commands queued, commands open)``, for tests and diagnostics."""
        return len(self._queue) - self._head + (self._closing is not None), len(self._by_event_id)
