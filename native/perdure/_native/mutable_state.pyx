"""The state of one run, folded from its events.

:meth:`MutableState.apply` is the only place where an event changes the state: new events pass through it as they are
written, and a reset passes the copied part of a history through it. What no event records (attempts, heartbeats, the
workflow task's holder) is set by :mod:`perdure._native.transitions`.

Payloads are kept as msgpack bytes: the state never looks inside them.
"""

import msgspec

cimport cython
from libc.stdint cimport int64_t

from perdure._native cimport nexus
from perdure._native.buffers cimport Writer
from perdure._native.events cimport HistoryEvent, encode_batch, new_event
from perdure._native.events import decode_batch

cdef enum:
    RECORD_FORMAT = 1
    MS = 1000000
    DEFAULT_TASK_TIMEOUT_MS = 10000
    MAX_TASK_TIMEOUT_MS = 120000
    MAX_RESET_POINTS = 20
    MAX_BUFFERED_EVENTS = 100
    MAX_BUFFERED_SIZE = 2097152

#: No duration is longer than a century of 365-day years; longer ones are cut.
cdef int64_t MAX_DURATION_NS = <int64_t> 36500 * 86400 * 1000000000

cdef object _encode = msgspec.msgpack.Encoder().encode
cdef object _decode = msgspec.msgpack.Decoder().decode


#: Which states of a run each kind of move is allowed in, and where it leads.
EXECUTION_ROWS = (
    # state     move                  next
    (CREATED, "SCHEDULE_TASK", RUNNING),
    (CREATED, "CLOSE", CLOSED),
    (RUNNING, "SCHEDULE_TASK", RUNNING),
    (RUNNING, "CLOSE", CLOSED),
)

#: Event type -> (table of pending work, what the event does to it). Read by apply() through its compiled form below,
#: and by tests and diagrams as it stands.
PENDING_ROWS = (
    # event type                                          table         effect
    (10, "activities", "OPEN"),      # ActivityTaskScheduled
    (11, "activities", "KEEP"),      # ActivityTaskStarted
    (12, "activities", "CLOSE"),     # ActivityTaskCompleted
    (13, "activities", "CLOSE"),     # ActivityTaskFailed
    (14, "activities", "CLOSE"),     # ActivityTaskTimedOut
    (15, "activities", "KEEP"),      # ActivityTaskCancelRequested
    (16, "activities", "CLOSE"),     # ActivityTaskCanceled
    (17, "timers", "OPEN"),          # TimerStarted
    (18, "timers", "CLOSE"),         # TimerFired
    (19, "timers", "CLOSE"),         # TimerCanceled
    (22, "cancels", "OPEN"),         # RequestCancelExternalWorkflowExecutionInitiated
    (23, "cancels", "CLOSE"),        # RequestCancelExternalWorkflowExecutionFailed
    (24, "cancels", "CLOSE"),        # ExternalWorkflowExecutionCancelRequested
    (29, "children", "OPEN"),        # StartChildWorkflowExecutionInitiated
    (30, "children", "CLOSE"),       # StartChildWorkflowExecutionFailed
    (31, "children", "KEEP"),        # ChildWorkflowExecutionStarted
    (32, "children", "CLOSE"),       # ChildWorkflowExecutionCompleted
    (33, "children", "CLOSE"),       # ChildWorkflowExecutionFailed
    (34, "children", "CLOSE"),       # ChildWorkflowExecutionCanceled
    (35, "children", "CLOSE"),       # ChildWorkflowExecutionTimedOut
    (36, "children", "CLOSE"),       # ChildWorkflowExecutionTerminated
    (37, "signals", "OPEN"),         # SignalExternalWorkflowExecutionInitiated
    (38, "signals", "CLOSE"),        # SignalExternalWorkflowExecutionFailed
    (39, "signals", "CLOSE"),        # ExternalWorkflowExecutionSignaled
)

#: Events written at once even while a workflow task is started; every other one waits for the task to end.
UNBUFFERED = frozenset(
    (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 15, 17, 19, 21, 22, 25, 27, 28, 29, 37, 40, 41, 43, 46, 48, 54)
)
#: Completions, which move behind every other buffered event when the buffer is flushed.
COMPLETIONS = frozenset((12, 13, 14, 16, 32, 33, 34, 35, 36, 50, 51, 52, 53))

#: How the event that closes an activity ends a standalone one.
cdef dict ACTIVITY_STATUSES = {12: COMPLETED, 13: FAILED, 14: TIMED_OUT, 16: CANCELED}

cdef bint[64] _is_unbuffered
for _number in range(64):
    _is_unbuffered[_number] = _number in UNBUFFERED


cdef int64_t ms_of(object duration_ns) except? -1:
    """A duration in ms, rounded up; None and 0 give 0."""
    if duration_ns is None:
        return 0
    return (<int64_t> capped_duration(duration_ns) + MS - 1) // MS


cdef object capped_duration(object duration_ns):
    """A duration no longer than a century; None gives 0."""
    if not duration_ns:
        return 0
    return MAX_DURATION_NS if duration_ns > MAX_DURATION_NS else duration_ns


@cython.final
@cython.no_gc  # holds plain values, structs and events: never part of a cycle
cdef class RetryPolicy:
    """A retry policy with its defaults filled in: 1 s, coefficient 2, 100 times the first interval, no attempt limit."""

    @staticmethod
    def from_message(object policy):
        """From ``perdure.api.common.v1.RetryPolicy``; None stays None."""
        cdef RetryPolicy self
        if policy is None:
            return None
        self = RetryPolicy.__new__(RetryPolicy)
        self.initial_ms = ms_of(policy.initial_interval) or 1000
        self.coefficient = policy.backoff_coefficient or 2.0
        self.maximum_ms = ms_of(policy.maximum_interval) or 100 * self.initial_ms
        self.maximum_attempts = policy.maximum_attempts
        self.non_retryable = policy.non_retryable_error_types
        return self

    @staticmethod
    cdef RetryPolicy restore(object record):
        cdef RetryPolicy self
        if record is None:
            return None
        self = RetryPolicy.__new__(RetryPolicy)
        self.initial_ms, self.coefficient, self.maximum_ms, self.maximum_attempts, self.non_retryable = record
        return self


@cython.final
@cython.no_gc  # holds plain values, structs and events: never part of a cycle
cdef class ActivityInfo:
    """An activity that has not closed."""

    cdef int64_t deadline(self) noexcept:
        """When the next thing happens to it without anybody's doing: a timeout or the end of its backoff; 0: never."""
        cdef int64_t due = 0
        cdef int64_t at
        cdef int64_t now
        if self.is_paused and self.started_ns == 0:
            return 0
        if self.schedule_to_close_ms:
            due = self.first_scheduled_ns // MS + self.schedule_to_close_ms
        if self.started_ns:
            if self.start_to_close_ms:
                at = self.started_ns // MS + self.start_to_close_ms
                if due == 0 or at < due:
                    due = at
            if self.heartbeat_ms:
                now = self.heartbeat_ns if self.heartbeat_ns > self.started_ns else self.started_ns
                at = now // MS + self.heartbeat_ms
                if due == 0 or at < due:
                    due = at
        elif self.is_backing_off:
            at = (self.scheduled_ns + MS - 1) // MS
            if due == 0 or at < due:
                due = at
        elif self.schedule_to_start_ms:
            at = self.scheduled_ns // MS + self.schedule_to_start_ms
            if due == 0 or at < due:
                due = at
        return due

    cdef int pack(self, Writer w) except -1:
        """Write the record that :meth:`restore` reads."""
        w.pack_array(26)
        w.pack_int(self.scheduled_event_id)
        w.pack_str(self.activity_id)
        w.pack_str(self.activity_type)
        w.pack_str(self.task_queue)
        w.pack_int(self.schedule_to_close_ms)
        w.pack_int(self.schedule_to_start_ms)
        w.pack_int(self.start_to_close_ms)
        w.pack_int(self.heartbeat_ms)
        _pack_retry(w, self.retry)
        w.pack_int(self.first_scheduled_ns)
        w.pack_int(self.scheduled_ns)
        w.pack_bool(self.is_backing_off)
        w.pack_int(self.attempt)
        w.pack_int(self.started_ns)
        w.pack_str(self.request_id)
        w.pack_str(self.identity)
        w.pack_int(self.owner_epoch)
        w.pack_int(self.stamp)
        w.pack_int(self.heartbeat_ns)
        w.pack_int(self.cancel_requested_id)
        w.pack_bytes(self.heartbeat_details)
        w.pack_bytes(self.last_failure)
        w.pack_int(self.last_ended_ns)
        w.pack_int(self.task_id)
        w.pack_bool(self.is_paused)
        _pack_any(w, self.extra)
        return 0

    @staticmethod
    cdef ActivityInfo restore(object record):
        cdef ActivityInfo self = ActivityInfo.__new__(ActivityInfo)
        (
            self.scheduled_event_id, self.activity_id, self.activity_type, self.task_queue,
            self.schedule_to_close_ms, self.schedule_to_start_ms, self.start_to_close_ms, self.heartbeat_ms,
            retry,
            self.first_scheduled_ns, self.scheduled_ns, self.is_backing_off, self.attempt, self.started_ns,
            self.request_id, self.identity, self.owner_epoch, self.stamp, self.heartbeat_ns, self.cancel_requested_id,
            self.heartbeat_details, self.last_failure, self.last_ended_ns, self.task_id, self.is_paused, self.extra,
        ) = record
        self.retry = RetryPolicy.restore(retry)
        return self


@cython.final
@cython.no_gc  # holds plain values, structs and events: never part of a cycle
cdef class TimerInfo:
    """A timer that has neither fired nor been cancelled."""


@cython.final
@cython.no_gc  # holds plain values, structs and events: never part of a cycle
cdef class ChildInfo:
    """A child workflow that has not closed; ``started_event_id`` is 0 until its start is recorded."""


@cython.final
@cython.no_gc  # holds plain values, structs and events: never part of a cycle
cdef class ExternalInfo:
    """A signal or cancel request to another run whose outcome is not recorded yet."""


@cython.final
@cython.no_gc  # holds plain values, structs and events: never part of a cycle
cdef class MutableState:
    """One run. Times named ``*_ns`` are event times, ``*_ms`` durations and deadlines in epoch milliseconds."""

    def __cinit__(self):
        self.namespace_id = self.workflow_id = self.run_id = self.first_run_id = self.original_run_id = ""
        self.workflow_type = self.task_queue = self.new_run_id = self.reset_run_id = self.cron_schedule = ""
        self.parent_namespace_id = self.parent_workflow_id = self.parent_run_id = ""
        self.root_workflow_id = self.root_run_id = self.create_request_id = ""
        self.task_request_id = self.task_identity = self.sticky_queue = ""
        self.close_body = b""
        self.status = STATUS_RUNNING
        self.next_event_id = 1
        self.attempt = 1
        self.task_attempt = 1
        self.signal_request_ids = set()
        self.memo = {}
        self.search_attributes = {}
        self.activities = {}
        self.activity_ids = {}
        self.timers = {}
        self.children = {}
        self.signals = {}
        self.cancels = {}
        self.buffered = []
        self.new_events = []
        self.effects = []

    def __init__(self, str namespace_id not None, str workflow_id not None, str run_id not None):
        self.namespace_id = namespace_id
        self.workflow_id = workflow_id
        self.run_id = run_id

    # ---- events

    cdef HistoryEvent write(self, int event_type, object attributes, int64_t now_ns):
        """Give the event the next id and fold it in."""
        cdef HistoryEvent event
        if self.speculative is not None:
            self.settle_task()
        event = new_event(self.next_event_id, event_type, now_ns, attributes)
        self.next_event_id += 1
        self.new_events.append(event)
        self.apply(event)
        return event

    cdef HistoryEvent add(self, int event_type, object attributes, int64_t now_ns):
        """Write the event, or fold it in now and keep it (without an id) until the started workflow task ends."""
        cdef HistoryEvent event
        if self.speculative is not None:
            self.settle_task()
        if self.task_started_id == 0 or _is_unbuffered[event_type]:
            return self.write(event_type, attributes, now_ns)
        event = new_event(0, event_type, now_ns, attributes)
        self.buffered.append(event)
        self.buffered_size += len(_encode_buffered(event))
        self.apply(event)
        return event

    cdef int settle_task(self) except -1:
        """Make the speculative workflow task a normal one: its events get into the history, with the ids they have."""
        cdef HistoryEvent event
        cdef list events = self.speculative
        self.speculative = None
        for event in events:
            self.next_event_id += 1
            self.new_events.append(event)
            self.apply(event)
        if self.task_started_id == 0 and not self.sticky_queue:
            self.task_deadline_ms = 0
        return 0

    cdef bint is_flooded(self) noexcept:
        """Whether more events wait for the started workflow task than may."""
        return len(self.buffered) > MAX_BUFFERED_EVENTS or self.buffered_size > MAX_BUFFERED_SIZE

    def flush_buffer(self):
        """Write the buffered events: signals, timers and starts in order of arrival, then completions."""
        cdef HistoryEvent event
        cdef list waiting = self.buffered
        cdef dict started = {}
        if not waiting:
            return
        self.buffered = []
        self.buffered_size = 0
        for is_completion in (False, True):
            for event in waiting:
                if (event.event_type in COMPLETIONS) is not is_completion:
                    continue
                attributes = event.attrs()
                if event.event_type in (12, 13, 14, 16):
                    attributes.started_event_id = started.get(attributes.scheduled_event_id, attributes.started_event_id)
                elif 32 <= event.event_type <= 36 and attributes.started_event_id == 0:
                    attributes.started_event_id = started.get(-attributes.initiated_event_id, 0)
                event.event_id = self.next_event_id
                self.next_event_id += 1
                if event.event_type == 11:
                    started[attributes.scheduled_event_id] = event.event_id
                elif event.event_type == 31:
                    started[-attributes.initiated_event_id] = event.event_id
                    if attributes.initiated_event_id in self.children:
                        (<ChildInfo> self.children[attributes.initiated_event_id]).started_event_id = event.event_id
                elif event.event_type == 55 and attributes.attached_request_id:
                    self.extra["request_ids"][attributes.attached_request_id] = event.event_id
                self.new_events.append(event)

    def fold(self, list events not None):
        """Rebuild from recorded events, in order; nothing is emitted. Raises ValueError when an id is out of place."""
        cdef HistoryEvent event
        for event in events:
            if event.event_id != self.next_event_id:
                raise ValueError(f"event {event.event_id} stands where {self.next_event_id} belongs")
            self.next_event_id += 1
            self.apply(event)

    cdef int apply(self, HistoryEvent event) except -1:
        cdef int kind = event.event_type
        if kind == 10:
            self._activity_scheduled(event)
        elif kind == 5:
            self.task_scheduled_id = event.event_id
            self.task_started_id = 0
            self.state = RUNNING
            self.backoff_until_ms = 0
            self.is_first_task_held = False
            self.task_attempt = event.attrs().attempt or 1
            self.task_scheduled_ns = event.event_time
            if self.task_original_ns == 0:
                self.task_original_ns = event.event_time
        elif kind == 6:
            self.task_started_id = event.event_id
            self.task_started_ns = event.event_time
        elif kind == 7:
            attributes = event.attrs()
            self.previous_started_id = attributes.started_event_id
            if attributes.deployment_version is not None:
                self._versioned(attributes)
                self._reset_point(event, attributes, attributes.deployment_version)
            else:
                if self.extra is not None:
                    self.extra.pop("version", None)
                if attributes.binary_checksum or attributes.worker_version is not None:
                    self._reset_point(event, attributes, attributes.worker_version)
            self._clear_task()
            self.task_attempt = 1
            self.consecutive_failures = 0
        elif kind == 8 or kind == 9:
            self._clear_task()
        elif kind == 12 or kind == 13 or kind == 14 or kind == 16:
            self._activity_closed(<int64_t> event.attrs().scheduled_event_id)
            if self.is_activity:
                self._closed(event, ACTIVITY_STATUSES[kind], "")
                self.delete_at_ms = event.event_time // MS + <int64_t> self.extra["retention_ms"]
                if "callbacks" in self.extra:
                    self.effects.append((CALL_NEXUS, -1))
        elif kind == 15:
            # The activity may have closed already, with its close event still in the buffer.
            activity = self.activities.get(event.attrs().scheduled_event_id)
            if activity is not None:
                (<ActivityInfo> activity).cancel_requested_id = event.event_id
        elif kind == 17:
            self._timer_started(event)
        elif kind == 18 or kind == 19:
            if self.timers.pop(event.attrs().timer_id, None) is None:
                raise ValueError(f"event {event.event_id} ends timer {event.attrs().timer_id!r}, which is not pending")
        elif kind == 1:
            self._started(event)
        elif kind == 26:
            self.signal_count += 1
            if event.attrs().request_id:
                self.signal_request_ids.add(event.attrs().request_id)
        elif kind == 20:
            self.is_cancel_requested = True
        elif kind == 29:
            self._child_initiated(event)
        elif kind == 31:
            attributes = event.attrs()
            child = <ChildInfo> self._pending(self.children, attributes.initiated_event_id, event)
            (<ChildInfo> child).started_event_id = event.event_id
            (<ChildInfo> child).run_id = attributes.workflow_execution.run_id
        elif kind == 30 or 32 <= kind <= 36:
            self._pending(self.children, event.attrs().initiated_event_id, event)
            del self.children[event.attrs().initiated_event_id]
        elif kind == 22 or kind == 37:
            external = ExternalInfo.__new__(ExternalInfo)
            (<ExternalInfo> external).initiated_event_id = event.event_id
            (<ExternalInfo> external).request_id = f"{self.run_id}:{event.event_id}"
            (self.cancels if kind == 22 else self.signals)[event.event_id] = external
        elif kind == 23 or kind == 24:
            self._pending(self.cancels, event.attrs().initiated_event_id, event)
            del self.cancels[event.attrs().initiated_event_id]
        elif kind == 38 or kind == 39:
            self._pending(self.signals, event.attrs().initiated_event_id, event)
            del self.signals[event.attrs().initiated_event_id]
        elif kind == 41:
            self._update_changed(event.attrs().protocol_instance_id, 1, event.event_id)
        elif kind == 43:
            self._update_changed(event.attrs().meta.update_id, 2, event.event_id)
        elif kind == 47:
            self._update_changed(event.attrs().request.meta.update_id, 0, event.event_id)
        elif kind == 40:
            self._merge_search_attributes(event.attrs().search_attributes.indexed_fields)
        elif kind == 46:
            self._merge_memo(event.attrs().upserted_memo.fields)
        elif kind == 2:
            self._closed(event, COMPLETED, event.attrs().new_execution_run_id)
        elif kind == 3:
            self._closed(event, FAILED, event.attrs().new_execution_run_id)
        elif kind == 4:
            self._closed(event, TIMED_OUT, event.attrs().new_execution_run_id)
        elif kind == 21:
            self._closed(event, CANCELED, "")
        elif kind == 27:
            self._closed(event, TERMINATED, "")
        elif kind == 28:
            self._closed(event, CONTINUED_AS_NEW, event.attrs().new_execution_run_id)
        elif kind == 58:
            self.status = PAUSED
            attributes = event.attrs()
            self.extra = self.extra or {}
            self.extra["pause"] = (event.event_time, attributes.identity, attributes.reason, attributes.request_id)
        elif kind == 59:
            self.status = STATUS_RUNNING
            self.extra.pop("pause", None)
        elif kind == 55:
            self._options_updated(event)
        elif 48 <= kind <= 57:
            nexus.apply_event(self._more(), event)
        return 0

    cdef int _update_changed(self, str update_id, int stage, int64_t event_id) except -1:
        """Note the event that took an update to a stage: 0 admitted, 1 accepted, 2 completed."""
        if self.updates is None:
            self.updates = {}
        known = self.updates.get(update_id)
        if known is None:
            known = (0, 0, 0)
            self.open_updates += 1
        if stage == 2 and known[2] == 0:
            self.open_updates -= 1
        self.updates[update_id] = known[:stage] + (event_id,) + known[stage + 1:]
        return 0

    def forget_update(self, str update_id not None):
        """Forget an update that a reset admitted and the workflow refused."""
        if self.updates.pop(update_id)[2] == 0:
            self.open_updates -= 1
        if not self.updates:
            self.updates = None

    cdef object _pending(self, dict table, object key, HistoryEvent event):
        item = table.get(key)
        if item is None:
            raise ValueError(f"event {event.event_id} of type {event.event_type} cites event {key}, which is not pending")
        return item

    cdef int _started(self, HistoryEvent event) except -1:
        attributes = event.attrs()
        cdef int64_t backoff_ms = ms_of(attributes.first_workflow_task_backoff)
        self.workflow_type = attributes.workflow_type.name
        self.task_queue = attributes.task_queue.name
        self.first_run_id = attributes.first_execution_run_id or self.run_id
        self.original_run_id = attributes.original_execution_run_id or self.run_id
        self.execution_timeout_ms = ms_of(attributes.workflow_execution_timeout)
        self.run_timeout_ms = ms_of(attributes.workflow_run_timeout)
        self.task_timeout_ms = min(ms_of(attributes.workflow_task_timeout) or DEFAULT_TASK_TIMEOUT_MS, MAX_TASK_TIMEOUT_MS)
        self.expiration_ms = ((attributes.workflow_execution_expiration_time or 0) + MS - 1) // MS
        self.start_ns = event.event_time
        self.execution_ns = event.event_time + backoff_ms * MS
        self.attempt = attributes.attempt or 1
        self.retry = RetryPolicy.from_message(attributes.retry_policy)
        self.cron_schedule = attributes.cron_schedule
        if backoff_ms:
            self.backoff_until_ms = (self.execution_ns + MS - 1) // MS
        if self.run_timeout_ms:
            self.run_deadline_ms = self.execution_ns // MS + self.run_timeout_ms
        if self.expiration_ms and (self.run_deadline_ms == 0 or self.expiration_ms < self.run_deadline_ms):
            self.run_deadline_ms = self.expiration_ms
        if attributes.parent_workflow_execution is not None and attributes.parent_workflow_execution.workflow_id:
            self.parent_namespace_id = attributes.parent_workflow_namespace_id or self.namespace_id
            self.parent_workflow_id = attributes.parent_workflow_execution.workflow_id
            self.parent_run_id = attributes.parent_workflow_execution.run_id
            self.parent_initiated_id = attributes.parent_initiated_event_id
        if attributes.root_workflow_execution is not None:
            self.root_workflow_id = attributes.root_workflow_execution.workflow_id
            self.root_run_id = attributes.root_workflow_execution.run_id
        if attributes.memo is not None:
            self._merge_memo(attributes.memo.fields)
        if attributes.search_attributes is not None:
            self._merge_search_attributes(attributes.search_attributes.indexed_fields)
        if attributes.priority is not None:
            self._more()["priority"] = _encode(attributes.priority)
        if attributes.versioning_override is not None:
            self._more()["override"] = _encode(attributes.versioning_override)
        version = attributes.inherited_pinned_version
        if version is not None:
            self._more()["inherited"] = (version.deployment_name, version.build_id)
        if attributes.completion_callbacks:
            nexus.add_callbacks(
                self._more(), attributes.completion_callbacks, self.create_request_id, event.event_time, _encode
            )
        if attributes.prev_auto_reset_points is not None:
            self._more()["reset_points"] = [
                (p.binary_checksum, p.build_id, p.run_id, p.first_workflow_task_completed_id, p.create_time or 0,
                 p.expire_time or 0, p.resettable)
                for p in attributes.prev_auto_reset_points.points
            ]
        declined = attributes.declined_target_version_upgrade
        if declined is not None:
            version = declined.deployment_version
            self._more()["declined"] = (
                declined.revision_number,
                "" if version is None else version.deployment_name,
                "" if version is None else version.build_id,
            )
        upgrade = attributes.inherited_auto_upgrade_info
        if upgrade is not None:
            self._more()["first_behavior"] = upgrade.continue_as_new_initial_versioning_behavior
        return 0

    cdef dict _more(self):
        """What few runs have, by name."""
        if self.extra is None:
            self.extra = {}
        return self.extra

    cdef int _versioned(self, object attributes) except -1:
        """A worker of a deployment version completed a workflow task: (behavior, deployment name, build id)."""
        version = attributes.deployment_version
        used = f"{version.deployment_name}:{version.build_id}"
        if used not in self._more().setdefault("used", []):
            self.extra["used"].append(used)
        self._more()["version"] = (attributes.versioning_behavior, version.deployment_name, version.build_id)
        self.extra.pop("inherited", None)
        return 0

    cdef int _reset_point(self, HistoryEvent event, object attributes, object version) except -1:
        """A build completed a workflow task; the first it does is where a reset to before that build leads.

        A point is (binary checksum, build id, run id, event id, time, when it expires, whether it may be reset to).
        """
        build_id = "" if version is None else version.build_id
        cdef list points = self._more().setdefault("reset_points", [])
        for point in points:
            if point[0] == attributes.binary_checksum and point[1] == build_id:
                return 0
        is_resettable = not (self.children or self.cancels or self.signals)
        points.append((
            attributes.binary_checksum, build_id, self.run_id, event.event_id, event.event_time, 0, is_resettable))
        del points[:-MAX_RESET_POINTS]
        return 0

    cdef int _options_updated(self, HistoryEvent event) except -1:
        attributes = event.attrs()
        if attributes.unset_versioning_override:
            self._more().pop("override", None)
        elif attributes.versioning_override is not None:
            self._more()["override"] = _encode(attributes.versioning_override)
        if attributes.priority is not None:
            self._more()["priority"] = _encode(attributes.priority)
        if attributes.attached_request_id:
            self._more().setdefault("request_ids", {})[attributes.attached_request_id] = event.event_id
        if attributes.attached_completion_callbacks:
            nexus.add_callbacks(
                self._more(), attributes.attached_completion_callbacks, attributes.attached_request_id, event.event_time, _encode
            )
        return 0

    cdef int _merge_memo(self, dict fields) except -1:
        """Per key: a payload without data removes the key; empty bytes are data."""
        for name, payload in fields.items():
            if payload.data or payload.metadata.get("encoding") == b"binary/plain":
                self.memo[name] = _encode(payload)
            else:
                self.memo.pop(name, None)
        return 0

    cdef int _merge_search_attributes(self, dict fields) except -1:
        """Per key: a payload without data, with JSON null or with an empty list removes the key."""
        for name, payload in fields.items():
            if payload.data in (b"", b"null", b"[]"):
                self.search_attributes.pop(name, None)
            else:
                self.search_attributes[name] = _encode(payload)
        return 0

    def refresh_deadlines(self, int64_t now_ns):
        """Count the timeouts of a reset run from now: it is a new beginning of the same execution."""
        self.start_ns = now_ns
        if self.execution_timeout_ms:
            self.expiration_ms = now_ns // MS + self.execution_timeout_ms
        self.run_deadline_ms = now_ns // MS + self.run_timeout_ms if self.run_timeout_ms else 0
        if self.expiration_ms and (self.run_deadline_ms == 0 or self.expiration_ms < self.run_deadline_ms):
            self.run_deadline_ms = self.expiration_ms

    cdef int _activity_scheduled(self, HistoryEvent event) except -1:
        attributes = event.attrs()
        cdef ActivityInfo activity = ActivityInfo.__new__(ActivityInfo)
        activity.scheduled_event_id = event.event_id
        activity.activity_id = attributes.activity_id
        activity.activity_type = attributes.activity_type.name
        activity.task_queue = attributes.task_queue.name
        activity.schedule_to_close_ms = ms_of(attributes.schedule_to_close_timeout)
        activity.schedule_to_start_ms = ms_of(attributes.schedule_to_start_timeout)
        activity.start_to_close_ms = ms_of(attributes.start_to_close_timeout)
        activity.heartbeat_ms = ms_of(attributes.heartbeat_timeout)
        activity.retry = RetryPolicy.from_message(attributes.retry_policy)
        activity.first_scheduled_ns = activity.scheduled_ns = event.event_time
        activity.attempt = 1
        activity.request_id = activity.identity = ""
        activity.heartbeat_details = activity.last_failure = b""
        activity.event = event
        self.activities[event.event_id] = activity
        self.activity_ids[activity.activity_id] = activity
        return 0

    cdef int _activity_closed(self, int64_t scheduled_event_id) except -1:
        cdef ActivityInfo activity = self.activities.pop(scheduled_event_id, None)
        if activity is None:
            raise ValueError(f"activity of event {scheduled_event_id} closes, but is not pending")
        del self.activity_ids[activity.activity_id]
        return 0

    cdef int _timer_started(self, HistoryEvent event) except -1:
        attributes = event.attrs()
        cdef TimerInfo timer = TimerInfo.__new__(TimerInfo)
        timer.timer_id = attributes.timer_id
        timer.started_event_id = event.event_id
        timer.fire_ms = (event.event_time + <int64_t> capped_duration(attributes.start_to_fire_timeout) + MS - 1) // MS
        self.timers[timer.timer_id] = timer
        return 0

    cdef int _child_initiated(self, HistoryEvent event) except -1:
        attributes = event.attrs()
        cdef ChildInfo child = ChildInfo.__new__(ChildInfo)
        child.initiated_event_id = event.event_id
        child.workflow_id = attributes.workflow_id
        child.run_id = ""
        child.workflow_type = attributes.workflow_type.name
        child.parent_close_policy = attributes.parent_close_policy
        self.children[event.event_id] = child
        return 0

    cdef int _clear_task(self) except -1:
        self.task_scheduled_id = self.task_started_id = 0
        self.task_started_ns = self.task_deadline_ms = self.task_not_before_ms = 0
        self.task_original_ns = 0
        self.task_request_id = self.task_identity = ""
        self.task_owner_epoch = 0
        self.speculative = None
        return 0

    cdef int _closed(self, HistoryEvent event, int status, str new_run_id) except -1:
        self.state = CLOSED
        self.status = status
        self.close_ns = event.event_time
        self.close_event_id = event.event_id
        self.new_run_id = new_run_id
        self._clear_task()
        self.backoff_until_ms = self.run_deadline_ms = 0
        self.activities.clear()
        self.activity_ids.clear()
        self.timers.clear()
        self.signals.clear()
        self.cancels.clear()
        self.signal_request_ids = set()
        self.sticky_queue = ""
        if self.extra is not None:
            self.extra.pop("nexus", None)
        return 0

    # ---- time

    cpdef int64_t next_deadline(self) except? -1:
        """The earliest moment (epoch ms) at which something is due without anybody's doing; 0: never."""
        cdef ActivityInfo activity
        cdef TimerInfo timer
        cdef int64_t due = 0
        cdef int64_t at
        if self.state == CLOSED:
            return self.delete_at_ms
        for at in (self.run_deadline_ms, self.backoff_until_ms, self.task_deadline_ms, self.task_not_before_ms):
            if at and (due == 0 or at < due):
                due = at
        for timer in self.timers.values():
            if due == 0 or timer.fire_ms < due:
                due = timer.fire_ms
        for activity in self.activities.values():
            at = activity.deadline()
            if at and (due == 0 or at < due):
                due = at
        if self.extra is not None and "nexus" in self.extra:
            at = nexus.next_due(self.extra["nexus"])
            if at and (due == 0 or at < due):
                due = at
        return due

    # ---- bytes

    cpdef list take_events(self):
        """The events written since the last call, and forget them."""
        cdef list events = self.new_events
        self.new_events = []
        return events

    cpdef list take_effects(self):
        """The effects (kind, argument) of what happened since the last call, and forget them."""
        cdef list effects = self.effects
        self.effects = []
        return effects

    cpdef bytes encode(self):
        """This state as bytes for the store, which hears nothing of a speculative workflow task."""
        cdef TimerInfo timer
        cdef ChildInfo child
        cdef ActivityInfo activity
        cdef HistoryEvent event
        cdef Writer w
        cdef list speculative = self.speculative
        if speculative is not None:
            held = (
                self.task_scheduled_id, self.task_started_id, self.task_started_ns, self.task_deadline_ms,
                self.task_not_before_ms, self.task_original_ns, self.task_request_id, self.task_identity,
                self.task_owner_epoch,
            )
            self._clear_task()
            data = self.encode()
            (
                self.task_scheduled_id, self.task_started_id, self.task_started_ns, self.task_deadline_ms,
                self.task_not_before_ms, self.task_original_ns, self.task_request_id, self.task_identity,
                self.task_owner_epoch,
            ) = held
            self.speculative = speculative
            return data
        w = Writer.__new__(Writer)
        w.reserve(512)
        w.pack_array(72)
        w.pack_int(RECORD_FORMAT)
        w.pack_str(self.namespace_id)
        w.pack_str(self.workflow_id)
        w.pack_str(self.run_id)
        w.pack_str(self.first_run_id)
        w.pack_str(self.original_run_id)
        w.pack_str(self.workflow_type)
        w.pack_str(self.task_queue)
        w.pack_int(self.execution_timeout_ms)
        w.pack_int(self.run_timeout_ms)
        w.pack_int(self.task_timeout_ms)
        w.pack_int(self.expiration_ms)
        w.pack_int(self.run_deadline_ms)
        w.pack_int(self.backoff_until_ms)
        w.pack_int(self.delete_at_ms)
        w.pack_int(self.state)
        w.pack_int(self.status)
        w.pack_int(self.start_ns)
        w.pack_int(self.execution_ns)
        w.pack_int(self.close_ns)
        w.pack_int(self.close_event_id)
        w.pack_str(self.new_run_id)
        w.pack_str(self.reset_run_id)
        w.pack_bool(self.is_first_task_held)
        w.pack_bool(self.is_close_attempted)
        w.pack_bool(self.is_cancel_requested)
        w.pack_int(self.next_event_id)
        w.pack_int(self.history_size)
        w.pack_int(self.transition_count)
        w.pack_int(self.signal_count)
        w.pack_int(self.attempt)
        _pack_retry(w, self.retry)
        w.pack_str(self.cron_schedule)
        w.pack_str(self.parent_namespace_id)
        w.pack_str(self.parent_workflow_id)
        w.pack_str(self.parent_run_id)
        w.pack_int(self.parent_initiated_id)
        w.pack_str(self.root_workflow_id)
        w.pack_str(self.root_run_id)
        w.pack_str(self.create_request_id)
        _pack_any(w, list(self.signal_request_ids))
        _pack_any(w, self.memo)
        _pack_any(w, self.search_attributes)
        w.pack_int(self.task_scheduled_id)
        w.pack_int(self.task_started_id)
        w.pack_int(self.task_attempt)
        w.pack_int(self.task_scheduled_ns)
        w.pack_int(self.task_original_ns)
        w.pack_int(self.task_started_ns)
        w.pack_int(self.task_deadline_ms)
        w.pack_int(self.task_not_before_ms)
        w.pack_str(self.task_request_id)
        w.pack_str(self.task_identity)
        w.pack_int(self.task_owner_epoch)
        w.pack_int(self.task_row_id)
        w.pack_int(self.consecutive_failures)
        w.pack_int(self.previous_started_id)
        w.pack_str(self.sticky_queue)
        w.pack_int(self.sticky_timeout_ms)
        w.pack_array(len(self.activities))
        for activity in self.activities.values():
            activity.pack(w)
        w.pack_array(len(self.timers))
        for timer in self.timers.values():
            w.pack_array(3)
            w.pack_str(timer.timer_id)
            w.pack_int(timer.started_event_id)
            w.pack_int(timer.fire_ms)
        w.pack_array(len(self.children))
        for child in self.children.values():
            w.pack_array(7)
            w.pack_int(child.initiated_event_id)
            w.pack_int(child.started_event_id)
            w.pack_str(child.workflow_id)
            w.pack_str(child.run_id)
            w.pack_str(child.workflow_type)
            w.pack_int(child.parent_close_policy)
            w.pack_int(child.task_id)
        _pack_externals(w, self.signals)
        _pack_externals(w, self.cancels)
        w.pack_array(len(self.buffered))
        for event in self.buffered:
            w.pack_bytes(_encode_buffered(event))
        w.pack_int(self.buffered_size)
        w.pack_int(self.timer_ms)
        w.pack_int(self.close_task_id)
        w.pack_bytes(self.close_body)
        w.pack_bool(self.is_activity)
        _pack_any(w, self.extra)
        _pack_any(w, self.updates)
        return w.finish()

    @staticmethod
    def decode(bytes data not None):
        """The state that :meth:`encode` wrote. Raises ValueError when the bytes are damaged or of a newer format."""
        cdef MutableState self = MutableState.__new__(MutableState)
        cdef ActivityInfo activity
        cdef TimerInfo timer
        cdef ChildInfo child
        try:
            record = _decode(data)
        except msgspec.DecodeError as error:
            raise ValueError(f"damaged run state: {error}") from None
        if record[0] != RECORD_FORMAT:
            raise ValueError(f"run state of format {record[0]}, this perdure reads {RECORD_FORMAT}")
        (
            _,
            self.namespace_id, self.workflow_id, self.run_id, self.first_run_id, self.original_run_id,
            self.workflow_type, self.task_queue, self.execution_timeout_ms, self.run_timeout_ms, self.task_timeout_ms,
            self.expiration_ms, self.run_deadline_ms, self.backoff_until_ms, self.delete_at_ms,
            self.state, self.status, self.start_ns, self.execution_ns, self.close_ns, self.close_event_id,
            self.new_run_id, self.reset_run_id,
            self.is_first_task_held, self.is_close_attempted, self.is_cancel_requested,
            self.next_event_id, self.history_size, self.transition_count, self.signal_count, self.attempt,
            retry,
            self.cron_schedule, self.parent_namespace_id, self.parent_workflow_id, self.parent_run_id,
            self.parent_initiated_id, self.root_workflow_id, self.root_run_id, self.create_request_id,
            signal_request_ids, self.memo, self.search_attributes,
            self.task_scheduled_id, self.task_started_id, self.task_attempt, self.task_scheduled_ns,
            self.task_original_ns, self.task_started_ns, self.task_deadline_ms, self.task_not_before_ms,
            self.task_request_id, self.task_identity, self.task_owner_epoch, self.task_row_id,
            self.consecutive_failures, self.previous_started_id,
            self.sticky_queue, self.sticky_timeout_ms,
            activities, timers, children, signals, cancels, buffered,
            self.buffered_size, self.timer_ms, self.close_task_id, self.close_body, self.is_activity, self.extra,
            updates,
        ) = record
        self.retry = RetryPolicy.restore(retry)
        self.signal_request_ids = set(signal_request_ids)
        for item in activities:
            activity = ActivityInfo.restore(item)
            self.activities[activity.scheduled_event_id] = activity
            self.activity_ids[activity.activity_id] = activity
        for item in timers:
            timer = TimerInfo.__new__(TimerInfo)
            timer.timer_id, timer.started_event_id, timer.fire_ms = item
            self.timers[timer.timer_id] = timer
        for item in children:
            child = ChildInfo.__new__(ChildInfo)
            (child.initiated_event_id, child.started_event_id, child.workflow_id, child.run_id,
             child.workflow_type, child.parent_close_policy, child.task_id) = item
            self.children[child.initiated_event_id] = child
        self.signals = _restore_externals(signals)
        self.cancels = _restore_externals(cancels)
        self.buffered = [_decode_buffered(item) for item in buffered]
        if updates:
            self.updates = {update_id: tuple(events) for update_id, events in updates.items()}
            self.open_updates = sum(1 for events in self.updates.values() if events[2] == 0)
        return self


cdef dict _restore_externals(list records):
    cdef ExternalInfo external
    cdef dict table = {}
    for item in records:
        external = ExternalInfo.__new__(ExternalInfo)
        external.initiated_event_id, external.request_id, external.task_id = item
        table[external.initiated_event_id] = external
    return table


cdef int _pack_any(Writer w, object value) except -1:
    """What few runs have, if it is there."""
    if value is None:
        return w.pack_nil()
    return w.raw(_encode(value))


cdef int _pack_retry(Writer w, RetryPolicy policy) except -1:
    if policy is None:
        return w.pack_nil()
    w.pack_array(5)
    w.pack_int(policy.initial_ms)
    w.raw(_encode(policy.coefficient))
    w.pack_int(policy.maximum_ms)
    w.pack_int(policy.maximum_attempts)
    return w.raw(_encode(policy.non_retryable))


cdef int _pack_externals(Writer w, dict table) except -1:
    cdef ExternalInfo external
    w.pack_array(len(table))
    for external in table.values():
        w.pack_array(3)
        w.pack_int(external.initiated_event_id)
        w.pack_str(external.request_id)
        w.pack_int(external.task_id)
    return 0


cdef bytes _encode_buffered(HistoryEvent event):
    return encode_batch([event])


cdef HistoryEvent _decode_buffered(bytes data):
    return decode_batch(data)[0]
