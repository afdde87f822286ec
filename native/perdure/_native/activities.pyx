"""What can happen to an activity: attempts, answers, heartbeats, timeouts, retries.

An attempt's start changes the state only; ActivityTaskStarted is written together with the event that closes the
activity, and attempts that are retried leave no event.
"""

import msgspec

from libc.stdint cimport int64_t

from perdure._native.events cimport HistoryEvent
from perdure._native.mutable_state cimport DISPATCH_ACTIVITY, DROP_ACTIVITY, ActivityInfo, MutableState, RetryPolicy
from perdure._native.transitions cimport messages, schedule_task

cdef enum:
    MS = 1000000
    MAX_LAST_FAILURE = 4096
    # RetryState
    IN_PROGRESS = 1
    NON_RETRYABLE_FAILURE = 2
    TIMEOUT = 3
    MAXIMUM_ATTEMPTS_REACHED = 4
    RETRY_POLICY_NOT_SET = 5
    CANCEL_REQUESTED = 7
    # TimeoutType
    START_TO_CLOSE = 1
    SCHEDULE_TO_START = 2
    SCHEDULE_TO_CLOSE = 3
    HEARTBEAT = 4

cdef tuple TIMEOUT_NAMES = ("", "StartToClose", "ScheduleToStart", "ScheduleToClose", "Heartbeat")

cdef object _encode = msgspec.msgpack.Encoder().encode
cdef object _decode_failure = None
cdef object _decode_payloads = None
# what most activities are made of
cdef object _Started = None
cdef object _Completed = None


def configure(decode_failure, decode_payloads):
    """Hand in the decoders of stored failures and heartbeat details. Comes after that of the transitions."""
    global _decode_failure, _decode_payloads, _Started, _Completed
    _Started = messages.history.ActivityTaskStartedEventAttributes
    _Completed = messages.history.ActivityTaskCompletedEventAttributes
    _decode_failure = decode_failure
    _decode_payloads = decode_payloads


# ---- retry


cdef bint _is_retryable(object failure, RetryPolicy policy):
    if failure is None:
        return True
    if failure.canceled_failure_info is not None or failure.terminated_failure_info is not None:
        return False
    timeout = failure.timeout_failure_info
    if timeout is not None:
        if timeout.timeout_type not in (START_TO_CLOSE, HEARTBEAT):
            return False
        return f"TemporalTimeout:{TIMEOUT_NAMES[timeout.timeout_type]}" not in policy.non_retryable
    if failure.server_failure_info is not None:
        return not failure.server_failure_info.non_retryable
    application = failure.application_failure_info
    if application is not None:
        return not application.non_retryable and application.type not in policy.non_retryable
    return True


def decide_retry(RetryPolicy policy, failure, int64_t attempt, int64_t now_ms, int64_t expiration_ms, bint cap_next_delay):
    """``(RetryState, backoff in ms)`` after a failed attempt; the backoff counts only when IN_PROGRESS.

    A failure's own next_retry_delay replaces the policy's interval; ``cap_next_delay`` (workflows) keeps the policy's
    maximum interval above it, activities take it as it is.
    """
    cdef int64_t interval
    cdef double raw
    if policy is None:
        return RETRY_POLICY_NOT_SET, 0
    if failure is not None and failure.timeout_failure_info is not None:
        if failure.timeout_failure_info.timeout_type in (SCHEDULE_TO_START, SCHEDULE_TO_CLOSE):
            return TIMEOUT, 0
    if not _is_retryable(failure, policy):
        return NON_RETRYABLE_FAILURE, 0
    if policy.maximum_attempts > 0 and attempt >= policy.maximum_attempts:
        return MAXIMUM_ATTEMPTS_REACHED, 0
    raw = policy.initial_ms * policy.coefficient ** max(attempt - 1, 0)
    interval = policy.maximum_ms if raw >= policy.maximum_ms else <int64_t> raw
    application = None if failure is None else failure.application_failure_info
    if application is not None and application.next_retry_delay is not None:
        interval = (<int64_t> application.next_retry_delay + MS - 1) // MS
        if cap_next_delay and interval > policy.maximum_ms:
            interval = policy.maximum_ms
    if expiration_ms and now_ms + interval > expiration_ms:
        return TIMEOUT, 0
    return IN_PROGRESS, interval


# ---- attempts


cpdef object start_activity(ActivityInfo activity, int64_t now_ns, str request_id, str identity, int64_t owner_epoch):
    """An attempt is handed to a worker (of this process, when ``owner_epoch`` is not 0)."""
    activity.started_ns = now_ns
    activity.request_id = request_id
    activity.identity = identity
    activity.owner_epoch = owner_epoch
    activity.heartbeat_ns = 0


cpdef object release_activity(MutableState s, ActivityInfo activity):
    """Take an attempt back that no worker has seen; it is dispatched again as the same attempt."""
    activity.started_ns = 0
    activity.request_id = activity.identity = ""
    activity.owner_epoch = 0
    s.effects.append((DISPATCH_ACTIVITY, activity.scheduled_event_id))


def heartbeat(ActivityInfo activity not None, int64_t now_ns, details):
    """Keep an attempt's progress and restart its heartbeat timeout."""
    activity.heartbeat_ns = now_ns
    if details is not None:
        activity.heartbeat_details = _encode(details)


cdef int64_t _write_started(MutableState s, ActivityInfo activity) except -1:
    cdef HistoryEvent event
    if activity.started_ns == 0:
        return 0
    event = s.add(
        11,
        _Started(
            activity.scheduled_event_id,
            activity.identity,
            activity.request_id,
            activity.attempt,
            _decode_failure(activity.last_failure) if activity.last_failure else None,
        ),
        activity.started_ns,
    )
    return event.event_id


cpdef object complete_activity(MutableState s, ActivityInfo activity, int64_t now_ns, object result, str identity):
    """Write ActivityTaskCompleted and schedule a workflow task."""
    cdef int64_t started_event_id
    if activity.started_ns == 0:
        # Completed by id before any worker took it: the start is made up.
        activity.started_ns = now_ns
        activity.identity = identity
        s.effects.append((DROP_ACTIVITY, activity.scheduled_event_id))
    started_event_id = _write_started(s, activity)
    s.add(
        12,
        _Completed(result, activity.scheduled_event_id, started_event_id, identity),
        now_ns,
    )
    schedule_task(s, now_ns)


def fail_activity(MutableState s not None, ActivityInfo activity not None, int64_t now_ns, failure, str identity):
    """Retry after the policy's backoff, or write ActivityTaskFailed and schedule a workflow task."""
    cdef int retry_state = _retry(s, activity, now_ns, failure)
    cdef int64_t started_event_id
    if retry_state == IN_PROGRESS:
        return
    started_event_id = _write_started(s, activity)
    s.add(
        13,
        messages.history.ActivityTaskFailedEventAttributes(
            failure, activity.scheduled_event_id, started_event_id, identity, retry_state
        ),
        now_ns,
    )
    schedule_task(s, now_ns)


def cancel_activity(MutableState s not None, ActivityInfo activity not None, int64_t now_ns, details, str identity):
    """Write ActivityTaskCanceled for an activity whose worker confirms the cancellation."""
    cdef int64_t started_event_id = _write_started(s, activity)
    s.add(
        16,
        messages.history.ActivityTaskCanceledEventAttributes(
            details, activity.cancel_requested_id, activity.scheduled_event_id, started_event_id, identity
        ),
        now_ns,
    )
    schedule_task(s, now_ns)


cdef int cancel_unstarted(MutableState s, ActivityInfo activity, int64_t now_ns) except -1:
    """Cancel at once what no worker holds. The caller schedules the workflow task."""
    reason = messages.common.Payload({"encoding": b"json/plain"}, b'"ACTIVITY_ID_NOT_STARTED"')
    s.effects.append((DROP_ACTIVITY, activity.scheduled_event_id))
    s.add(
        16,
        messages.history.ActivityTaskCanceledEventAttributes(
            messages.common.Payloads([reason]), activity.cancel_requested_id, activity.scheduled_event_id, 0,
            "history-service",
        ),
        now_ns,
    )
    return 0


cdef int _retry(MutableState s, ActivityInfo activity, int64_t now_ns, object failure) except -1:
    """Prepare the next attempt and answer IN_PROGRESS, or say why there is none."""
    cdef int64_t expiration_ms = 0
    cdef int64_t backoff_ms
    cdef int64_t attempt = activity.attempt
    cdef bint is_reset
    cdef bytes encoded
    if activity.retry is None:
        return RETRY_POLICY_NOT_SET
    if activity.cancel_requested_id:
        return CANCEL_REQUESTED
    if activity.schedule_to_close_ms:
        expiration_ms = activity.first_scheduled_ns // MS + activity.schedule_to_close_ms
    is_reset = activity.extra is not None and activity.extra.pop("reset", False)
    if is_reset:
        # The attempt that ends counts as the first; a standalone activity's does not count at all.
        attempt = 0 if s.is_activity else 1
    retry_state, backoff_ms = decide_retry(activity.retry, failure, attempt, now_ns // MS, expiration_ms, False)
    if retry_state != IN_PROGRESS and not (
        activity.is_paused and (retry_state == MAXIMUM_ATTEMPTS_REACHED or retry_state == TIMEOUT)
        and _is_retryable(failure, activity.retry)
    ):
        return retry_state
    encoded = b"" if failure is None else _encode(failure)
    if len(encoded) > MAX_LAST_FAILURE:
        encoded = _encode(
            messages.failure.Failure(
                message="Failure exceeds size limit.",
                source="Server",
                server_failure_info=messages.failure.ServerFailureInfo(),
            )
        )
    activity.last_failure = encoded
    activity.attempt = attempt + 1
    if is_reset and activity.extra.pop("reset_heartbeat", False):
        activity.heartbeat_details = b""
    activity.stamp += 1
    activity.started_ns = activity.heartbeat_ns = 0
    activity.owner_epoch = 0
    activity.request_id = ""
    activity.last_ended_ns = now_ns
    activity.scheduled_ns = now_ns + backoff_ms * MS
    activity.is_backing_off = True
    return IN_PROGRESS


# ---- timeouts


cdef int _time_out(MutableState s, ActivityInfo activity, int64_t now_ns, int timeout_type) except -1:
    cdef int retry_state
    cdef int64_t started_event_id
    details = _decode_payloads(activity.heartbeat_details) if activity.heartbeat_details else None
    failure = messages.failure.Failure(
        message=f"activity {TIMEOUT_NAMES[timeout_type]} timeout",
        source="Server",
        timeout_failure_info=messages.failure.TimeoutFailureInfo(timeout_type, details),
    )
    retry_state = TIMEOUT
    if timeout_type == START_TO_CLOSE or timeout_type == HEARTBEAT:
        retry_state = _retry(s, activity, now_ns, failure)
        if retry_state == IN_PROGRESS:
            return 0
        if retry_state == TIMEOUT:
            failure = messages.failure.Failure(
                message="Not enough time to schedule next retry before activity ScheduleToClose timeout, giving up retrying",
                source="Server",
                timeout_failure_info=messages.failure.TimeoutFailureInfo(SCHEDULE_TO_CLOSE, details),
                cause=failure,
            )
    if failure.cause is None and activity.last_failure:
        failure.cause = _decode_failure(activity.last_failure)
    if activity.started_ns == 0:
        s.effects.append((DROP_ACTIVITY, activity.scheduled_event_id))
    started_event_id = _write_started(s, activity)
    s.add(
        14,
        messages.history.ActivityTaskTimedOutEventAttributes(
            failure, activity.scheduled_event_id, started_event_id, retry_state
        ),
        now_ns,
    )
    schedule_task(s, now_ns)
    return 0


def lose_activity(MutableState s not None, ActivityInfo activity not None, int64_t now_ns):
    """An attempt's worker process is known to be dead: as a start-to-close timeout that comes at once."""
    _time_out(s, activity, now_ns, START_TO_CLOSE)


cdef int fire_activities(MutableState s, int64_t now_ns) except -1:
    """Everything due among the run's activities, by time, then event id, then kind of timeout."""
    cdef ActivityInfo activity
    cdef int64_t now_ms = now_ns // MS
    cdef int64_t at
    cdef list due = []
    for activity in s.activities.values():
        at = activity.deadline()
        if at and at <= now_ms:
            due.append((at, activity.scheduled_event_id))
    if not due:
        return 0
    due.sort()
    for at, scheduled_event_id in due:
        activity = s.activities[scheduled_event_id]
        if activity.is_backing_off and at == (activity.scheduled_ns + MS - 1) // MS:
            activity.is_backing_off = False
            s.effects.append((DISPATCH_ACTIVITY, scheduled_event_id))
            continue
        _time_out(s, activity, now_ns, _which_timeout(activity, at))
    return 0


cdef int _which_timeout(ActivityInfo activity, int64_t at) noexcept:
    """The timeout that lies at a deadline; of several, the one that ends more."""
    if activity.schedule_to_close_ms and activity.first_scheduled_ns // MS + activity.schedule_to_close_ms <= at:
        return SCHEDULE_TO_CLOSE
    if activity.started_ns == 0:
        return SCHEDULE_TO_START
    if activity.start_to_close_ms and activity.started_ns // MS + activity.start_to_close_ms <= at:
        return START_TO_CLOSE
    return HEARTBEAT
