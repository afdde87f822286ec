"""The commands of a completed workflow task: checked as a whole first, then applied.

:func:`check` finds what Temporal's server would find; after it, :func:`apply` cannot fail, so a refused completion
leaves no trace in the state.
"""

import msgspec

from libc.stdint cimport int64_t

from perdure._native.activities cimport cancel_unstarted
from perdure._native.events cimport HistoryEvent
from perdure._native.events import encode_batch
from perdure._native.mutable_state cimport (
    CALL_NEXUS,
    CANCEL_EXTERNAL,
    DISPATCH_ACTIVITY,
    SIGNAL_EXTERNAL,
    START_CHILD,
    ActivityInfo,
    MutableState,
    TimerInfo,
    capped_duration,
)
from perdure._native.transitions cimport messages

cdef enum:
    MS = 1000000
    MAX_ID = 1000
    MAX_BLOB = 2097152
    MAX_PENDING = 2000
    # CommandType
    SCHEDULE_ACTIVITY_TASK = 1
    REQUEST_CANCEL_ACTIVITY_TASK = 2
    START_TIMER = 3
    COMPLETE_WORKFLOW = 4
    FAIL_WORKFLOW = 5
    CANCEL_TIMER = 6
    CANCEL_WORKFLOW = 7
    REQUEST_CANCEL_EXTERNAL = 8
    RECORD_MARKER = 9
    CONTINUE_AS_NEW = 10
    START_CHILD_WORKFLOW = 11
    SIGNAL_EXTERNAL_WORKFLOW = 12
    UPSERT_SEARCH_ATTRIBUTES = 13
    PROTOCOL_MESSAGE = 14
    MODIFY_PROPERTIES = 16
    SCHEDULE_NEXUS_OPERATION = 17
    REQUEST_CANCEL_NEXUS_OPERATION = 18
    MAX_TRANSACTION = 4194304

_UUID_DIGITS = frozenset("0123456789abcdefABCDEF-")

CLOSE_COMMANDS = frozenset((COMPLETE_WORKFLOW, FAIL_WORKFLOW, CANCEL_WORKFLOW, CONTINUE_AS_NEW))
KNOWN_COMMANDS = frozenset((1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 16, 17, 18))
#: Command type -> WorkflowTaskFailedCause when the command is wrong.
CAUSES = {1: 2, 2: 3, 3: 4, 4: 7, 5: 8, 6: 5, 7: 9, 8: 10, 9: 6, 10: 11, 11: 16, 12: 15, 13: 23, 14: 30, 16: 25, 17: 32, 18: 34}

#: Bytes of all headers of a Nexus operation, and the headers that only the service sets.
MAX_NEXUS_HEADER = 8192
DISALLOWED_HEADERS = frozenset(("request-timeout", "caller-name", "caller-type", "call-initiation"))

cdef object _encode = msgspec.msgpack.Encoder().encode
cdef tuple ACTIVITY_TIMEOUTS = (
    "schedule_to_close_timeout", "schedule_to_start_timeout", "start_to_close_timeout", "heartbeat_timeout"
)


class CommandError(Exception):
    """A command the service refuses: the workflow task fails with ``cause``, or ``terminate`` ends the run."""

    def __init__(self, cause, message, terminate=False):
        super().__init__(message)
        self.cause = cause
        self.message = message
        self.terminate = terminate


cdef bint _closes(int kind) noexcept:
    return kind == COMPLETE_WORKFLOW or kind == FAIL_WORKFLOW or kind == CANCEL_WORKFLOW or kind == CONTINUE_AS_NEW


cpdef object check_sequence(list commands):
    """What is wrong with the order or kinds of the commands, as a sentence; None when nothing is."""
    cdef Py_ssize_t i
    cdef Py_ssize_t last = len(commands) - 1
    cdef int kind
    for i, command in enumerate(commands):
        kind = command.command_type
        if kind not in KNOWN_COMMANDS:
            return f"unknown command type {kind}"
        if i != last and _closes(kind):
            return f"invalid command sequence: command {i + 1} of {last + 1} closes the workflow, but is not the last"
    return None


cdef int64_t payloads_size(object payloads) except -1:
    """Bytes of the data and metadata of ``Payloads``; None counts nothing."""
    cdef int64_t size = 0
    if payloads is None:
        return 0
    for payload in payloads.payloads:
        size += len(payload.data)
        for key, value in payload.metadata.items():
            size += len(key) + len(value)
    return size


cpdef int64_t size_of(object payloads) except -1:
    """Bytes of the data and metadata of ``Payloads``; None counts nothing."""
    return payloads_size(payloads)


cdef int _check_retry(object policy, int cause) except -1:
    """Raises CommandError when a retry policy is contradictory."""
    text = retry_policy_error(policy)
    if text is not None:
        raise CommandError(cause, text)
    return 0


def retry_policy_error(policy):
    """What is wrong with a retry policy, as a sentence; None when nothing is. A policy of one attempt is not checked."""
    if policy is None or policy.maximum_attempts == 1:
        return None
    if (policy.initial_interval or 0) < 0:
        return "initial_interval of the retry policy is negative"
    if policy.backoff_coefficient and policy.backoff_coefficient < 1:
        return f"backoff_coefficient of the retry policy is {policy.backoff_coefficient:g}, it must be at least 1"
    if (policy.maximum_interval or 0) < 0:
        return "maximum_interval of the retry policy is negative"
    if policy.maximum_interval and policy.maximum_interval < (policy.initial_interval or 1000 * MS):
        return "maximum_interval of the retry policy is shorter than its initial_interval"
    if policy.maximum_attempts < 0:
        return "maximum_attempts of the retry policy is negative"
    for kind in policy.non_retryable_error_types:
        if kind.startswith("TemporalTimeout:") and kind[16:] not in ("StartToClose", "Heartbeat", "ScheduleToStart", "ScheduleToClose"):
            return f"{kind!r} in non_retryable_error_types names no timeout type"
    return None


cdef int _check_durations(object a, tuple fields, str what, int cause) except -1:
    """Raise for the first of some fields that is negative; ``what`` has a place for its name."""
    for field in fields:
        value = getattr(a, field)
        if value is not None and value < 0:
            raise CommandError(cause, f"{field} of {what} is negative")
    return 0


cdef bint _is_negative(object duration) except -1:
    return duration is not None and duration < 0


cdef int _check_id(str value, str what, int cause) except -1:
    if not value:
        raise CommandError(cause, f"{what} is not set")
    if len(value) > MAX_ID // 4 and len(value.encode()) > MAX_ID:
        raise CommandError(cause, f"{what} is longer than {MAX_ID} bytes")
    return 0


cdef int _check_queue(object queue, int cause) except -1:
    cdef str name
    if queue is not None:
        name = queue.name
        if name:
            _check_id(name, "the task queue", cause)
            if name.startswith("/_sys/"):
                raise CommandError(cause, f"task queue {name!r} is reserved")
    return 0


cdef int64_t _check_fields(object holder, str field, str what) except -1:
    """The bytes of a memo or of search attributes; raises when they are more than a memo may have."""
    cdef int64_t size = 0
    if holder is None:
        return 0
    for name, payload in getattr(holder, field).items():
        size += len(name) + len(payload.data)
    return _check_size(size, what)


cdef int64_t _check_size(int64_t size, str what) except -1:
    if size > MAX_BLOB:
        raise CommandError(2, f"{what} has {size} bytes, more than the limit of {MAX_BLOB}", True)
    return size


cdef int _check_run_id(str run_id, int cause) except -1:
    if run_id and (len(run_id) != 36 or not _UUID_DIGITS.issuperset(run_id)):
        raise CommandError(cause, f"run id {run_id!r} is not a UUID")
    return 0


cdef int64_t _blob_error(int64_t size, str what) except -1:
    raise CommandError(2, f"{what} has {size} bytes, more than the limit of {MAX_BLOB}", True)


cdef int64_t _check_activity(MutableState s, object a) except -1:
    """Raise for what is wrong with an activity by itself; returns the bytes of its input."""
    cdef int64_t size
    cdef str activity_id = a.activity_id
    _check_id(activity_id, "activity_id", 2)
    activity_type = a.activity_type
    _check_id("" if activity_type is None else activity_type.name, "activity type", 2)
    _check_queue(a.task_queue, 2)
    schedule_to_close = a.schedule_to_close_timeout
    start_to_close = a.start_to_close_timeout
    if (
        _is_negative(schedule_to_close)
        or _is_negative(start_to_close)
        or _is_negative(a.schedule_to_start_timeout)
        or _is_negative(a.heartbeat_timeout)
    ):
        _check_durations(a, ACTIVITY_TIMEOUTS, f"activity {activity_id!r}", 2)
    if not schedule_to_close and not start_to_close:
        raise CommandError(2, f"a valid StartToClose or ScheduleToClose timeout must be set on activity {activity_id!r}")
    _check_retry(a.retry_policy, 2)
    size = payloads_size(a.input)
    if size > MAX_BLOB:
        _blob_error(size, f"the input of activity {activity_id!r}")
    return size


def check(MutableState s not None, list commands not None, str namespace, dict sent=None):
    """Raise CommandError for the first command the run cannot take.

    ``sent`` holds, by id, the event (type, attributes) that each protocol message asks for, None where none.
    """
    check_commands(s, commands, namespace, sent)


cdef bint _is_plain(MutableState s, object command) except -1:
    """Whether the command is the only one of its turn and has been found right, as most are: no other to compare with."""
    cdef int kind = command.command_type
    cdef int64_t size
    a = command.attributes
    if a is None:
        return False
    if kind == COMPLETE_WORKFLOW:
        size = payloads_size(a.result)
        if size > MAX_BLOB:
            _blob_error(size, "the workflow's result")
        return True
    if kind == SCHEDULE_ACTIVITY_TASK:
        _check_activity(s, a)
        return a.activity_id not in s.activity_ids and len(s.activities) < MAX_PENDING
    return False


cdef int check_commands(MutableState s, list commands, str namespace, dict sent) except -1:
    """As :func:`check`."""
    cdef int kind
    cdef int64_t size = 0
    cdef int64_t memo_size
    # The id the event of the next command will have: behind WorkflowTaskCompleted, and what a retry writes before it.
    cdef int64_t next_id = s.next_event_id + (3 if s.task_attempt > 1 or s.speculative is not None else 1)
    cdef int64_t pending_activities = len(s.activities)
    cdef int64_t pending_children = len(s.children)
    cdef int64_t pending_signals = len(s.signals)
    cdef int64_t pending_cancels = len(s.cancels)
    cdef set activity_ids, freed_activity_ids, timer_ids, freed_timer_ids, cancel_requested, started_children
    cdef set operations = None      # Nexus operations that can be asked to cancel, once one is named
    cdef dict scheduled
    if len(commands) == 0 or (len(commands) == 1 and _is_plain(s, commands[0])):
        return 0
    activity_ids = set()
    freed_activity_ids = set()
    timer_ids = set()
    freed_timer_ids = set()
    cancel_requested = set()
    started_children = set()
    scheduled = {}
    for command in commands:
        kind = command.command_type
        a = command.attributes
        if a is None:
            raise CommandError(CAUSES[kind], f"command of type {kind} has no attributes")
        next_id += 1
        if kind == SCHEDULE_ACTIVITY_TASK:
            size += _check_activity(s, a)
            if a.activity_id in activity_ids or (a.activity_id in s.activity_ids and a.activity_id not in freed_activity_ids):
                raise CommandError(22, f"an activity with id {a.activity_id!r} is pending already")
            if pending_activities >= MAX_PENDING:
                raise CommandError(27, f"the workflow has {MAX_PENDING} pending activities, which is the limit")
            activity_ids.add(a.activity_id)
            scheduled[next_id - 1] = a.activity_id
            pending_activities += 1
        elif kind == COMPLETE_WORKFLOW:
            size += _check_size(payloads_size(a.result), "the workflow's result")
        elif kind == START_TIMER:
            _check_id(a.timer_id, "timer_id", 4)
            if _is_negative(a.start_to_fire_timeout):
                raise CommandError(4, f"the duration of timer {a.timer_id!r} is negative")
            if a.timer_id in timer_ids or (a.timer_id in s.timers and a.timer_id not in freed_timer_ids):
                raise CommandError(12, f"a timer with id {a.timer_id!r} is pending already")
            timer_ids.add(a.timer_id)
        elif kind == CANCEL_TIMER:
            _check_id(a.timer_id, "timer_id", 5)
            if a.timer_id in timer_ids:
                timer_ids.remove(a.timer_id)
            elif a.timer_id in freed_timer_ids or (a.timer_id not in s.timers and _buffered_firing(s, a.timer_id) is None):
                raise CommandError(5, f"no timer with id {a.timer_id!r} is pending")
            freed_timer_ids.add(a.timer_id)
        elif kind == REQUEST_CANCEL_ACTIVITY_TASK:
            if a.scheduled_event_id <= 0:
                raise CommandError(3, "scheduled_event_id of the activity to cancel is not set")
            activity = s.activities.get(a.scheduled_event_id)
            if a.scheduled_event_id in cancel_requested:
                raise CommandError(3, f"the activity scheduled by event {a.scheduled_event_id} was asked to cancel before")
            if a.scheduled_event_id in scheduled:
                # Scheduled by this very completion: cancelled at once, by one more event.
                activity_ids.discard(scheduled[a.scheduled_event_id])
                pending_activities -= 1
                next_id += 1
            elif activity is None:
                if not _has_buffered_close(s, a.scheduled_event_id):
                    raise CommandError(3, f"no activity scheduled by event {a.scheduled_event_id} is pending")
            elif (<ActivityInfo> activity).cancel_requested_id:
                raise CommandError(3, f"the activity scheduled by event {a.scheduled_event_id} was asked to cancel before")
            elif (<ActivityInfo> activity).started_ns == 0:
                freed_activity_ids.add((<ActivityInfo> activity).activity_id)
                pending_activities -= 1
                next_id += 1
            cancel_requested.add(a.scheduled_event_id)
        elif kind == RECORD_MARKER:
            _check_id(a.marker_name, "marker_name", 6)
            memo_size = 0
            for payloads in a.details.values():
                memo_size += payloads_size(payloads)
            size += _check_size(memo_size, f"the details of marker {a.marker_name!r}")
        elif kind == FAIL_WORKFLOW:
            if a.failure is None:
                raise CommandError(8, "the failure of the workflow is not set")
            size += _check_size(len(_encode(a.failure)), "the failure of the workflow")
        elif kind == CANCEL_WORKFLOW:
            size += _check_size(payloads_size(a.details), "the details of the cancellation")
        elif kind == CONTINUE_AS_NEW:
            _check_queue(a.task_queue, 11)
            _check_durations(a, ("workflow_run_timeout", "workflow_task_timeout", "backoff_start_interval"), "continue-as-new", 11)
            _check_retry(a.retry_policy, 11)
            size += _check_size(payloads_size(a.input), "the input of continue-as-new")
            size += _check_fields(a.memo, "fields", "the memo of continue-as-new")
        elif kind == START_CHILD_WORKFLOW:
            _check_id(a.workflow_id, "the child's workflow_id", 16)
            _check_id("" if a.workflow_type is None else a.workflow_type.name, "the child's workflow type", 16)
            _check_namespace(a.namespace, namespace, 16)
            _check_queue(a.task_queue, 16)
            _check_durations(
                a, ("workflow_execution_timeout", "workflow_run_timeout", "workflow_task_timeout"), f"child {a.workflow_id!r}", 16
            )
            _check_retry(a.retry_policy, 16)
            size += _check_size(payloads_size(a.input), f"the input of child {a.workflow_id!r}")
            size += _check_fields(a.memo, "fields", f"the memo of child {a.workflow_id!r}")
            if pending_children >= MAX_PENDING:
                raise CommandError(26, f"the workflow has {MAX_PENDING} pending child workflows, which is the limit")
            pending_children += 1
            started_children.add(a.workflow_id)
        elif kind == SIGNAL_EXTERNAL_WORKFLOW:
            _check_id("" if a.execution is None else a.execution.workflow_id, "the workflow_id to signal", 15)
            _check_run_id(a.execution.run_id, 15)
            _check_id(a.signal_name, "signal_name", 15)
            _check_namespace(a.namespace, namespace, 15)
            size += _check_size(payloads_size(a.input), f"the input of signal {a.signal_name!r}")
            if pending_signals >= MAX_PENDING:
                raise CommandError(28, f"the workflow has {MAX_PENDING} pending signals to others, which is the limit")
            pending_signals += 1
        elif kind == REQUEST_CANCEL_EXTERNAL:
            _check_id(a.workflow_id, "the workflow_id to cancel", 10)
            _check_run_id(a.run_id, 10)
            _check_namespace(a.namespace, namespace, 10)
            if a.workflow_id in started_children:
                raise CommandError(10, f"child {a.workflow_id!r} is started and cancelled by the same workflow task")
            if pending_cancels >= MAX_PENDING:
                raise CommandError(29, f"the workflow has {MAX_PENDING} pending cancel requests, which is the limit")
            pending_cancels += 1
        elif kind == UPSERT_SEARCH_ATTRIBUTES:
            if a.search_attributes is None or not a.search_attributes.indexed_fields:
                raise CommandError(23, "no search attribute is set")
        elif kind == MODIFY_PROPERTIES:
            if a.upserted_memo is None or not a.upserted_memo.fields:
                raise CommandError(25, "upserted_memo is empty")
            memo_size = _check_fields(a.upserted_memo, "fields", "the memo")
            size += memo_size
            for name, value in s.memo.items():
                if name not in a.upserted_memo.fields:
                    memo_size += len(name) + len(value)
            _check_size(memo_size, "the memo")
        elif kind == SCHEDULE_NEXUS_OPERATION:
            if operations is None:
                operations = _cancellable(s)
            if len(operations) >= MAX_PENDING:
                raise CommandError(33, f"the workflow has {MAX_PENDING} pending Nexus operations, which is the limit")
            size += _check_operation(a)
            operations.add(next_id - 1)
        elif kind == REQUEST_CANCEL_NEXUS_OPERATION:
            if operations is None:
                operations = _cancellable(s)
            if a.scheduled_event_id in operations:
                operations.remove(a.scheduled_event_id)
            elif not _has_buffered_end(s, a.scheduled_event_id):
                raise CommandError(
                    34,
                    f"no Nexus operation scheduled by event {a.scheduled_event_id} is pending, or it was asked to cancel before",
                )
        elif kind == PROTOCOL_MESSAGE:
            if sent is None or a.message_id not in sent:
                raise CommandError(30, f"ProtocolMessageCommand referenced absent message ID {a.message_id}")
            if sent[a.message_id] is None:
                next_id -= 1
    if size > MAX_TRANSACTION:
        raise CommandError(2, "Transaction size exceeds limit.", True)
    return 0


cpdef bint leaves_buffered(MutableState s, list commands) except -1:
    """Whether events wait for this workflow task that its commands do not take away (a cancelled timer's firing)."""
    cdef HistoryEvent event
    if not s.buffered:
        return False
    canceled = {
        command.attributes.timer_id
        for command in commands
        if command.command_type == CANCEL_TIMER and command.attributes is not None
    }
    for event in s.buffered:
        if event.event_type != 18 or event.attrs().timer_id not in canceled:
            return True
    return False


cdef int _check_namespace(str wanted, str own, int cause) except -1:
    if wanted and wanted != own:
        raise CommandError(cause, f"namespace {wanted!r} is not the workflow's own, {own!r}; commands stay in their namespace")
    return 0


cdef HistoryEvent _buffered_firing(MutableState s, str timer_id):
    cdef HistoryEvent event
    for event in s.buffered:
        if event.event_type == 18 and event.attrs().timer_id == timer_id:
            return event
    return None


cdef bint _has_buffered_close(MutableState s, int64_t scheduled_event_id):
    cdef HistoryEvent event
    for event in s.buffered:
        if event.event_type in (12, 13, 14, 16) and event.attrs().scheduled_event_id == scheduled_event_id:
            return True
    return False


cdef bint _has_buffered_end(MutableState s, int64_t scheduled_event_id):
    """Whether the end of a Nexus operation waits for this workflow task, which cannot know of it."""
    cdef HistoryEvent event
    for event in s.buffered:
        if 50 <= event.event_type <= 53 and event.attrs().scheduled_event_id == scheduled_event_id:
            return True
    return False


cdef set _cancellable(MutableState s):
    """Scheduled event ids of the Nexus operations that were not asked to cancel."""
    if s.extra is None or "nexus" not in s.extra:
        return set()
    return {event_id for event_id, operation in s.extra["nexus"].items() if operation["cancel"] is None}


cdef int64_t _check_operation(object a) except -1:
    """Refuse a Nexus operation that no endpoint could take; the bytes of its input."""
    cdef int64_t size = 0
    _check_id(a.endpoint, "the endpoint of the Nexus operation", 32)
    _check_id(a.service, "the service of the Nexus operation", 32)
    _check_id(a.operation, "the name of the Nexus operation", 32)
    _check_durations(
        a,
        ("schedule_to_close_timeout", "schedule_to_start_timeout", "start_to_close_timeout"),
        f"Nexus operation {a.operation!r}",
        32,
    )
    for name, value in a.nexus_header.items():
        if name.lower() in DISALLOWED_HEADERS:
            raise CommandError(32, f"the header {name!r} of Nexus operation {a.operation!r} is the service's own")
        size += len(name.encode()) + len(value.encode())
    if size > MAX_NEXUS_HEADER:
        raise CommandError(
            32, f"the headers of Nexus operation {a.operation!r} have {size} bytes, more than the limit of {MAX_NEXUS_HEADER}"
        )
    if a.input is None:
        return 0
    size = len(a.input.data)
    for name, value in a.input.metadata.items():
        size += len(name) + len(value)
    return _check_size(size, f"the input of Nexus operation {a.operation!r}")


cdef object _operation_attributes(MutableState s, object a, int64_t completed_id, str endpoint_id):
    """NexusOperationScheduled with the timeouts that will hold; the request id is the same whenever it is sent."""
    cdef object schedule_to_close = _capped(capped_duration(a.schedule_to_close_timeout), s.run_timeout_ms * MS)
    cdef object schedule_to_start = capped_duration(a.schedule_to_start_timeout)
    cdef object start_to_close = capped_duration(a.start_to_close_timeout)
    if schedule_to_close:
        schedule_to_start = min(schedule_to_start, schedule_to_close)
        start_to_close = min(start_to_close, schedule_to_close)
    return messages.history.NexusOperationScheduledEventAttributes(
        a.endpoint,
        a.service,
        a.operation,
        a.input,
        schedule_to_close,
        {name.lower(): value for name, value in a.nexus_header.items()},
        completed_id,
        f"{s.run_id}:{s.next_event_id}",
        endpoint_id,
        schedule_to_start,
        start_to_close,
    )


cdef object _capped(object value, int64_t limit_ns):
    """A timeout no longer than a limit; unset stays unset when there is no limit."""
    if limit_ns and (not value or value > limit_ns):
        return limit_ns
    return value or 0


def apply_message(MutableState s not None, int event_type, attributes, int64_t now_ns):
    """Write the event of a protocol message: an update was accepted or completed."""
    if event_type == 43:
        attributes.accepted_event_id = s.updates[attributes.meta.update_id][1]
    s.write(event_type, attributes, now_ns)


cpdef tuple apply(
    MutableState s,
    list commands,
    int64_t completed_id,
    int64_t now_ns,
    str namespace,
    dict sent=None,
    dict endpoints=None,
):
    """Apply checked commands in order, all but the one that closes the run.

    ``endpoints`` has the ids of the Nexus endpoints that the commands name.
    Returns ``(close command or None, whether a workflow task must follow)``.
    """
    cdef HistoryEvent event
    cdef ActivityInfo activity
    cdef TimerInfo timer
    cdef int kind
    cdef bint needs_task = False
    h = messages.history
    for command in commands:
        kind = command.command_type
        a = command.attributes
        if kind == SCHEDULE_ACTIVITY_TASK:
            event = s.write(10, _scheduled_attributes(s, a, completed_id), now_ns)
            s.effects.append((DISPATCH_ACTIVITY, event.event_id))
        elif _closes(kind):
            return command, needs_task
        elif kind == START_TIMER:
            event = s.write(17, h.TimerStartedEventAttributes(a.timer_id, capped_duration(a.start_to_fire_timeout), completed_id), now_ns)
        elif kind == CANCEL_TIMER:
            timer = s.timers.get(a.timer_id)
            if timer is None:
                event = _buffered_firing(s, a.timer_id)
                s.buffered.remove(event)
                timer = TimerInfo.__new__(TimerInfo)
                timer.timer_id = a.timer_id
                timer.started_event_id = event.attrs().started_event_id
                s.buffered_size -= len(encode_batch([event]))
                s.timers[a.timer_id] = timer
            event = s.write(
                19, h.TimerCanceledEventAttributes(a.timer_id, timer.started_event_id, completed_id, s.task_identity), now_ns
            )
        elif kind == REQUEST_CANCEL_ACTIVITY_TASK:
            event = s.write(15, h.ActivityTaskCancelRequestedEventAttributes(a.scheduled_event_id, completed_id), now_ns)
            activity = s.activities.get(a.scheduled_event_id)
            if activity is not None and activity.started_ns == 0:
                cancel_unstarted(s, activity, now_ns)
                needs_task = True
        elif kind == RECORD_MARKER:
            event = s.write(25, h.MarkerRecordedEventAttributes(a.marker_name, a.details, completed_id, a.header, a.failure), now_ns)
        elif kind == START_CHILD_WORKFLOW:
            event = s.write(29, _child_attributes(s, a, completed_id, namespace), now_ns)
            s.effects.append((START_CHILD, event.event_id))
        elif kind == SIGNAL_EXTERNAL_WORKFLOW:
            event = s.write(
                37,
                h.SignalExternalWorkflowExecutionInitiatedEventAttributes(
                    completed_id, namespace, a.execution, a.signal_name, a.input, a.control, a.child_workflow_only,
                    a.header, s.namespace_id,
                ),
                now_ns,
            )
            s.effects.append((SIGNAL_EXTERNAL, event.event_id))
        elif kind == REQUEST_CANCEL_EXTERNAL:
            event = s.write(
                22,
                h.RequestCancelExternalWorkflowExecutionInitiatedEventAttributes(
                    completed_id, namespace, messages.common.WorkflowExecution(a.workflow_id, a.run_id), a.control,
                    a.child_workflow_only, a.reason, s.namespace_id,
                ),
                now_ns,
            )
            s.effects.append((CANCEL_EXTERNAL, event.event_id))
        elif kind == UPSERT_SEARCH_ATTRIBUTES:
            event = s.write(40, h.UpsertWorkflowSearchAttributesEventAttributes(completed_id, a.search_attributes), now_ns)
        elif kind == MODIFY_PROPERTIES:
            event = s.write(46, h.WorkflowPropertiesModifiedEventAttributes(completed_id, a.upserted_memo), now_ns)
        elif kind == SCHEDULE_NEXUS_OPERATION:
            event = s.write(48, _operation_attributes(s, a, completed_id, endpoints[a.endpoint]), now_ns)
            s.effects.append((CALL_NEXUS, event.event_id))
        elif kind == REQUEST_CANCEL_NEXUS_OPERATION:
            event = s.write(54, h.NexusOperationCancelRequestedEventAttributes(a.scheduled_event_id, completed_id), now_ns)
            s.effects.append((CALL_NEXUS, event.event_id))
        elif kind == PROTOCOL_MESSAGE:
            message = sent[a.message_id]
            if message is not None:
                apply_message(s, message[0], message[1], now_ns)
            continue
        else:
            continue
        if command.user_metadata is not None or command.event_group_markers:
            event._extras = h.EventExtras(command.user_metadata, [], command.event_group_markers)
    return None, needs_task


cdef object _scheduled_attributes(MutableState s, object a, int64_t completed_id):
    """ActivityTaskScheduled with the timeouts and the retry policy that will hold."""
    cdef int64_t run_ns = s.run_timeout_ms * MS
    cdef object schedule_to_close = capped_duration(a.schedule_to_close_timeout)
    cdef object schedule_to_start = capped_duration(a.schedule_to_start_timeout)
    cdef object start_to_close = capped_duration(a.start_to_close_timeout)
    policy = a.retry_policy
    if schedule_to_close:
        schedule_to_start = min(schedule_to_start or schedule_to_close, schedule_to_close)
        start_to_close = min(start_to_close or schedule_to_close, schedule_to_close)
    else:
        schedule_to_close = run_ns
        schedule_to_start = schedule_to_start or run_ns
    if run_ns:
        schedule_to_close = _capped(schedule_to_close, run_ns)
        schedule_to_start = _capped(schedule_to_start, run_ns)
        start_to_close = _capped(start_to_close, run_ns)
    heartbeat = capped_duration(a.heartbeat_timeout)
    if heartbeat > start_to_close:
        heartbeat = start_to_close
    return messages.history.ActivityTaskScheduledEventAttributes(
        a.activity_id,
        a.activity_type,
        a.task_queue if a.task_queue is not None and a.task_queue.name else messages.taskqueue.TaskQueue(s.task_queue, 1),
        a.header,
        a.input,
        schedule_to_close,
        schedule_to_start,
        start_to_close,
        heartbeat,
        completed_id,
        resolve_retry_policy(policy),
        a.use_workflow_build_id,
        a.priority,
    )


cpdef object resolve_retry_policy(object policy):
    """A ``RetryPolicy`` message with the defaults filled in; None gives the default policy (an activity's)."""
    if policy is None:
        return messages.common.RetryPolicy(1000 * MS, 2.0, <int64_t> 100000 * MS, 0)
    initial = capped_duration(policy.initial_interval) or 1000 * MS
    return messages.common.RetryPolicy(
        initial,
        policy.backoff_coefficient or 2.0,
        capped_duration(policy.maximum_interval or 100 * initial),
        policy.maximum_attempts,
        policy.non_retryable_error_types,
    )


cdef object _child_attributes(MutableState s, object a, int64_t completed_id, str namespace):
    """StartChildWorkflowExecutionInitiated with the timeouts and the policies that will hold."""
    execution_timeout = capped_duration(a.workflow_execution_timeout)
    run_timeout = capped_duration(a.workflow_run_timeout) or execution_timeout
    if execution_timeout:
        run_timeout = min(run_timeout, execution_timeout)
    task_timeout = min(a.workflow_task_timeout or <int64_t> 10000 * MS, <int64_t> 120000 * MS)
    if run_timeout:
        task_timeout = min(task_timeout, run_timeout)
    return messages.history.StartChildWorkflowExecutionInitiatedEventAttributes(
        namespace=namespace,
        namespace_id=s.namespace_id,
        workflow_id=a.workflow_id,
        workflow_type=a.workflow_type,
        task_queue=a.task_queue if a.task_queue is not None and a.task_queue.name else messages.taskqueue.TaskQueue(s.task_queue, 1),
        input=a.input,
        workflow_execution_timeout=execution_timeout,
        workflow_run_timeout=run_timeout,
        workflow_task_timeout=task_timeout,
        parent_close_policy=a.parent_close_policy or 1,
        control=a.control,
        workflow_task_completed_event_id=completed_id,
        workflow_id_reuse_policy=a.workflow_id_reuse_policy or 1,
        retry_policy=None if a.retry_policy is None else resolve_retry_policy(a.retry_policy),
        cron_schedule=a.cron_schedule,
        header=a.header,
        memo=a.memo,
        search_attributes=a.search_attributes,
        priority=a.priority,
    )
