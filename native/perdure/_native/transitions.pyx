"""What can happen to a run, as functions of its state and the time.

Each function applies one move: it writes events into the state, updates what no event records and leaves effects for
the engine. Nothing here waits, stores or sends. The rules are Temporal's; the section numbers of the comments are
those of the server's concepts: workflow tasks, buffering, forced closes.
"""

import msgspec

from libc.stdint cimport int64_t

from perdure._native cimport nexus
from perdure._native.activities cimport fire_activities
from perdure._native.events cimport HistoryEvent, new_event
from perdure._native.mutable_state cimport (
    CALL_NEXUS,
    CLOSED,
    DELETE_RUN,
    DISPATCH_WORKFLOW_TASK,
    PAUSED,
    RUN_TIMED_OUT,
    SHOW_RUN,
    MutableState,
    TimerInfo,
)

cdef enum:
    MS = 1000000
    SUGGEST_SIZE = 4194304
    SUGGEST_EVENTS = 4096
    SIZE_TOO_LARGE = 1          # SuggestContinueAsNewReason
    TOO_MANY_EVENTS = 2
    TOO_MANY_UPDATES = 3
    SUGGEST_UPDATES = 1800
    SPECULATIVE_TIMEOUT_MS = 5000
    STICKY = 2                  # TaskQueueKind
    START_TO_CLOSE = 1          # TimeoutType
    SCHEDULE_TO_START = 2
    FORCE_CLOSE_COMMAND = 17    # WorkflowTaskFailedCause
    PAUSE_REQUESTED = 39
    BACKOFF_FROM_ATTEMPT = 4
    MAX_TASK_BACKOFF_MS = 600000
    REPORT_FROM_TIMEOUT = 5     # workflow tasks that ended badly in a row, before timeouts are reported as a problem

#: The search attribute that says what is wrong with a run's workflow tasks.
PROBLEMS = "TemporalReportedProblems"

#: The moves of a workflow task. FAIL and TIME_OUT lead to SCHEDULED when the run goes on, as the next row of a run says.
WORKFLOW_TASK_ROWS = (
    # state       move           next         event written for attempt 1 (later attempts: written only on success)
    ("NONE", "SCHEDULE", "SCHEDULED", "WorkflowTaskScheduled"),
    ("SCHEDULED", "START", "STARTED", "WorkflowTaskStarted"),
    ("SCHEDULED", "TIME_OUT", "NONE", "WorkflowTaskTimedOut"),
    ("STARTED", "COMPLETE", "NONE", "WorkflowTaskCompleted"),
    ("STARTED", "FAIL", "NONE", "WorkflowTaskFailed"),
    ("STARTED", "TIME_OUT", "NONE", "WorkflowTaskTimedOut"),
)

cdef object _encode = msgspec.msgpack.Encoder().encode
cdef object messages = None
# what most workflow tasks are made of
cdef object _Scheduled = None
cdef object _Started = None
cdef object _Completed = None
cdef object _TaskQueue = None


def configure(namespace):
    """Hand in the API structs (an object with ``history``, ``common``, ``taskqueue`` and ``failure`` attributes)."""
    global messages, _Scheduled, _Started, _Completed, _TaskQueue
    messages = namespace
    _Scheduled = namespace.history.WorkflowTaskScheduledEventAttributes
    _Started = namespace.history.WorkflowTaskStartedEventAttributes
    _Completed = namespace.history.WorkflowTaskCompletedEventAttributes
    _TaskQueue = namespace.taskqueue.TaskQueue


# ---- start and close


cpdef object start(MutableState s, object attributes, int64_t now_ns, object extras=None):
    """Write WorkflowExecutionStarted."""
    cdef HistoryEvent event = s.write(1, attributes, now_ns)
    event._extras = extras


def write(MutableState s not None, int event_type, attributes, int64_t now_ns):
    """Write one event as it is; for moves that are made of single events, such as a reset."""
    s.write(event_type, attributes, now_ns)


cpdef object close_run(MutableState s, int event_type, object attributes, int64_t now_ns, object extras=None):
    """Write a close event. Pending children stay listed until the engine has dealt with their close policies."""
    cdef HistoryEvent event
    s.flush_buffer()
    event = s.write(event_type, attributes, now_ns)
    if extras is not None:
        event._extras = extras


def force_close(MutableState s not None, int event_type, attributes, int64_t now_ns):
    """Close from outside the workflow: a started workflow task fails first, buffered events come before the end."""
    end_task_by_force(s, now_ns)
    s.flush_buffer()
    s.write(event_type, attributes, now_ns)


def end_task_by_force(MutableState s not None, int64_t now_ns):
    """Fail a started workflow task with FORCE_CLOSE_COMMAND; one of a later attempt, or unstarted, leaves no trace."""
    s.sticky_queue = ""
    if s.task_scheduled_id == 0:
        return
    if s.task_started_id and s.task_attempt == 1 and s.speculative is None:
        s.write(
            9,
            messages.history.WorkflowTaskFailedEventAttributes(
                scheduled_event_id=s.task_scheduled_id,
                started_event_id=s.task_started_id,
                cause=FORCE_CLOSE_COMMAND,
                identity="history-service",
            ),
            now_ns,
        )
    else:
        s._clear_task()


# ---- workflow tasks


cdef int64_t task_timeout_ms(MutableState s) noexcept:
    """Start-to-close of the pending attempt: from attempt 4 on it grows, 5 s doubling up to 10 minutes on top."""
    cdef int64_t extra = 5000
    cdef int64_t n
    if s.task_attempt < BACKOFF_FROM_ATTEMPT:
        return s.task_timeout_ms
    n = s.task_attempt - BACKOFF_FROM_ATTEMPT
    while n > 0 and extra < MAX_TASK_BACKOFF_MS:
        extra *= 2
        n -= 1
    return s.task_timeout_ms + min(extra, MAX_TASK_BACKOFF_MS)


cdef object _task_queue(MutableState s):
    if s.sticky_queue:
        return _TaskQueue(s.sticky_queue, STICKY, s.task_queue)
    return _TaskQueue(s.task_queue, 1)


cdef bint schedule_task(MutableState s, int64_t now_ns) except -1:
    return schedule_workflow_task(s, now_ns)


cpdef bint schedule_workflow_task(
    MutableState s, int64_t now_ns, int64_t original_ns=0, int64_t delay_ms=0
) except -1:
    """Make a workflow task pending unless one is, or the run is closed or held; returns whether it did.

    ``original_ns`` is the first scheduling of a heartbeat chain, ``delay_ms`` holds the dispatch of a retry back.
    """
    if s.state == CLOSED or s.is_first_task_held:
        return False
    if s.task_scheduled_id:
        if s.task_started_id == 0 or not s.is_flooded():
            return False
        # Too many events wait for the started workflow task: it fails, so that they get into the history.
        end_task_by_force(s, now_ns)
    if s.status == PAUSED:
        s.flush_buffer()
        return False
    if s.buffered:
        s.flush_buffer()
        s.task_attempt = 1
    if original_ns:
        s.task_original_ns = original_ns
    if s.task_attempt == 1:
        s.write(
            5,
            _Scheduled(_task_queue(s), task_timeout_ms(s) * MS, 1),
            now_ns,
        )
    else:
        s.task_scheduled_id = s.next_event_id
        s.task_scheduled_ns = now_ns
        if s.task_original_ns == 0:
            s.task_original_ns = now_ns
    if s.sticky_queue and s.sticky_timeout_ms:
        s.task_deadline_ms = now_ns // MS + s.sticky_timeout_ms
    if delay_ms:
        s.task_not_before_ms = now_ns // MS + delay_ms
    else:
        s.effects.append((DISPATCH_WORKFLOW_TASK, 0))
    return True


def schedule_speculative_task(MutableState s not None, int64_t now_ns, bint dispatch=True):
    """Make a workflow task pending that leaves no trace if it brings nothing but refusals; returns whether it did.

    It is a normal one from the moment on when anything is written, and is lost with the process until then.
    """
    if s.state == CLOSED or s.status == PAUSED or s.is_first_task_held or s.backoff_until_ms or s.task_scheduled_id:
        return False
    if s.buffered or s.task_attempt > 1:
        return schedule_workflow_task(s, now_ns)
    s.task_scheduled_id = s.next_event_id
    s.task_scheduled_ns = s.task_original_ns = now_ns
    s.speculative = [
        new_event(
            s.next_event_id,
            5,
            now_ns,
            _Scheduled(_task_queue(s), task_timeout_ms(s) * MS, 1),
        )
    ]
    s.task_deadline_ms = now_ns // MS + (
        s.sticky_timeout_ms if s.sticky_queue and s.sticky_timeout_ms else SPECULATIVE_TIMEOUT_MS
    )
    if dispatch:
        s.effects.append((DISPATCH_WORKFLOW_TASK, 0))
    return True


def discard_speculative_task(MutableState s not None):
    """The speculative workflow task brought nothing but refusals: it never was."""
    s._clear_task()


cpdef bint start_workflow_task(
    MutableState s, int64_t now_ns, str request_id, str identity, bint from_sticky, int64_t owner_epoch=0
) except -1:
    """Hand the pending workflow task to a worker. Returns False when there is none, or it is out already.

    A retry that saw new events since it was scheduled becomes a normal task again, with its own events.
    """
    if s.task_scheduled_id == 0 or s.task_started_id or s.state == CLOSED:
        return False
    if not from_sticky:
        s.sticky_queue = ""
    if s.task_attempt > 1 and s.task_scheduled_id != s.next_event_id:
        s.task_attempt = 1
        s.write(
            5,
            _Scheduled(_task_queue(s), task_timeout_ms(s) * MS, 1),
            now_ns,
        )
    s.task_request_id = request_id
    s.task_identity = identity
    if s.task_attempt == 1 and s.speculative is None:
        s.write(6, _started_attributes(s), now_ns)
    else:
        s.task_started_id = s.task_scheduled_id + 1
        s.task_started_ns = now_ns
        if s.speculative is not None:
            s.speculative.append(new_event(s.task_started_id, 6, now_ns, _started_attributes(s)))
    s.task_not_before_ms = 0
    s.task_owner_epoch = owner_epoch
    s.task_deadline_ms = now_ns // MS + task_timeout_ms(s)
    return True


cdef object _started_attributes(MutableState s):
    cdef list reasons = None
    cdef bint has_moved = s.extra is not None and "target" in s.extra
    if s.history_size >= SUGGEST_SIZE or s.next_event_id >= SUGGEST_EVENTS or s.updates is not None:
        reasons = []
        if s.history_size >= SUGGEST_SIZE:
            reasons.append(SIZE_TOO_LARGE)
        if s.next_event_id >= SUGGEST_EVENTS:
            reasons.append(TOO_MANY_EVENTS)
        if s.updates is not None and len(s.updates) >= SUGGEST_UPDATES:
            reasons.append(TOO_MANY_UPDATES)
    if not reasons and not has_moved:
        return _Started(s.task_scheduled_id, s.task_identity, s.task_request_id, False, s.history_size)
    return _Started(
        s.task_scheduled_id, s.task_identity, s.task_request_id, bool(reasons), s.history_size, None, 0,
        reasons or [], has_moved,
    )


cpdef list unwritten_events(MutableState s):
    """The Scheduled and Started events of a started task which no history holds: a worker gets them as a suffix.

    Such tasks are retries and speculative ones.
    """
    if s.speculative is not None:
        return list(s.speculative) if s.task_started_id else []
    if s.task_attempt == 1 or s.task_started_id == 0:
        return []
    return [
        new_event(
            s.task_scheduled_id,
            5,
            s.task_scheduled_ns,
            _Scheduled(
                _TaskQueue(s.task_queue, 1), task_timeout_ms(s) * MS, s.task_attempt
            ),
        ),
        new_event(s.task_started_id, 6, s.task_started_ns, _started_attributes(s)),
    ]


cpdef int64_t complete_workflow_task(
    MutableState s, int64_t now_ns, str identity, object sdk_metadata=None, dict stamps=None
) except -1:
    """Write WorkflowTaskCompleted (a retry's Scheduled and Started first) and return its event id.

    ``stamps`` are further attributes of the event, by name.
    """
    cdef int64_t started_ns = s.task_started_ns
    cdef HistoryEvent event
    if s.task_attempt > 1:
        s.task_started_id = 0
        s.write(
            5,
            _Scheduled(
                _TaskQueue(s.task_queue, 1), task_timeout_ms(s) * MS, s.task_attempt
            ),
            s.task_scheduled_ns,
        )
        s.write(6, _started_attributes(s), started_ns)
    attributes = _Completed(s.task_scheduled_id, s.task_started_id, identity, "", None, sdk_metadata)
    if stamps is not None:
        for name, value in stamps.items():
            setattr(attributes, name, value)
    event = s.write(7, attributes, now_ns)
    return event.event_id


def fail_workflow_task(
    MutableState s not None,
    int64_t now_ns,
    int cause,
    failure,
    str identity,
    str reason,
    int64_t retry_delay_ms=0,
    str base_run_id="",
    str new_run_id="",
):
    """Fail the started workflow task and schedule the next attempt. ``reason`` is what describe says of it."""
    cdef int64_t attempt = s.task_attempt
    if attempt == 1:
        s.write(
            9,
            messages.history.WorkflowTaskFailedEventAttributes(
                scheduled_event_id=s.task_scheduled_id,
                started_event_id=s.task_started_id,
                cause=cause,
                failure=failure,
                identity=identity,
                base_run_id=base_run_id,
                new_run_id=new_run_id,
            ),
            now_ns,
        )
    else:
        s._clear_task()
    _next_attempt(s, now_ns, attempt + 1, reason, retry_delay_ms)


def time_out_workflow_task(MutableState s not None, int64_t now_ns):
    """Time the pending workflow task out: started, start-to-close; waiting in a sticky queue, schedule-to-start."""
    cdef bint was_started = s.task_started_id != 0
    cdef int64_t attempt = s.task_attempt
    if attempt == 1 or not was_started:
        s.write(
            8,
            messages.history.WorkflowTaskTimedOutEventAttributes(
                s.task_scheduled_id, s.task_started_id, START_TO_CLOSE if was_started else SCHEDULE_TO_START
            ),
            now_ns,
        )
    else:
        s._clear_task()
    reason = ""
    if was_started:
        reason = "category=WorkflowTaskTimedOut cause=WorkflowTaskTimedOutCauseStartToClose"
        if s.consecutive_failures + 1 >= REPORT_FROM_TIMEOUT:
            s.search_attributes[PROBLEMS] = _encode(problems(reason))
            s.effects.append((SHOW_RUN, 0))
    _next_attempt(s, now_ns, attempt + 1 if was_started else 1, reason, 0)


def problems(str reason not None):
    """The value of TemporalReportedProblems: the words of a reason, as a list of keywords."""
    return messages.common.Payload(
        {"encoding": b"json/plain", "type": b"KeywordList"}, b'["' + reason.encode().replace(b" ", b'","') + b'"]'
    )


cdef int _next_attempt(MutableState s, int64_t now_ns, int64_t attempt, str reason, int64_t delay_ms) except -1:
    """Schedule the workflow task again: on the normal queue, and as the same attempt when it was on the sticky one."""
    s.task_attempt = 1 if s.sticky_queue else attempt
    s.sticky_queue = ""
    if reason:
        s.consecutive_failures += 1
    schedule_workflow_task(s, now_ns, 0, delay_ms if s.task_attempt > 1 and not s.buffered else 0)
    return 0


# ---- messages


def signal(MutableState s not None, int64_t now_ns, attributes, bint wake=False, extras=None):
    """Write WorkflowExecutionSignaled and schedule a workflow task.

    A run in its start delay or backoff is woken only with ``wake`` (signal-with-start).
    """
    cdef HistoryEvent event = s.add(26, attributes, now_ns)
    event._extras = extras
    if s.backoff_until_ms == 0 or wake:
        schedule_workflow_task(s, now_ns)


def request_cancel(MutableState s not None, int64_t now_ns, attributes):
    """Write WorkflowExecutionCancelRequested, once per run, and schedule a workflow task even during a backoff."""
    if s.is_cancel_requested:
        return False
    s.add(20, attributes, now_ns)
    schedule_workflow_task(s, now_ns)
    return True


def pause(MutableState s not None, int64_t now_ns, attributes):
    """Write WorkflowExecutionPaused. A workflow task that no worker has taken fails; a started one may complete."""
    if s.speculative is not None and s.task_started_id == 0:
        s._clear_task()
    note(s, now_ns, 58, attributes)
    if s.task_scheduled_id and s.task_started_id == 0:
        s.sticky_queue = ""
        if s.task_attempt == 1:
            s.write(
                9,
                messages.history.WorkflowTaskFailedEventAttributes(
                    scheduled_event_id=s.task_scheduled_id, cause=PAUSE_REQUESTED, identity="history-service"
                ),
                now_ns,
            )
        else:
            s._clear_task()
        s.task_attempt = 1


def unpause(MutableState s not None, int64_t now_ns, attributes):
    """Write WorkflowExecutionUnpaused and schedule a workflow task, unless the run still waits for its first one."""
    note(s, now_ns, 59, attributes)
    if s.task_started_id == 0:
        s.task_attempt = 1
    if s.backoff_until_ms == 0:
        schedule_workflow_task(s, now_ns)


def note(MutableState s not None, int64_t now_ns, int event_type, attributes, extras=None):
    """Write an event that wakes nobody and that workers may skip, or let it wait for the started task to end."""
    cdef HistoryEvent event = s.add(event_type, attributes, now_ns)
    event.worker_may_ignore = True
    event._extras = extras


def record(MutableState s not None, int64_t now_ns, int event_type, attributes):
    """Write an event about pending work (children, external signals and cancels) and schedule a workflow task.

    Returns False, writing nothing, when the work is not pending any more.
    """
    cdef object table
    if event_type == 23 or event_type == 24:
        table = s.cancels
    elif event_type == 38 or event_type == 39:
        table = s.signals
    else:
        table = s.children
    if s.state == CLOSED or attributes.initiated_event_id not in table:
        return False
    s.add(event_type, attributes, now_ns)
    schedule_workflow_task(s, now_ns)
    return True


def record_nexus(
    MutableState s not None, int64_t now_ns, int event_type, attributes, links=None, bint may_ignore=False
):
    """Write an event about a pending Nexus operation and schedule a workflow task.

    Returns False, writing nothing, when the operation is not pending any more.
    """
    cdef HistoryEvent event
    if s.state == CLOSED or s.extra is None or attributes.scheduled_event_id not in s.extra.get("nexus", ()):
        return False
    event = s.add(event_type, attributes, now_ns)
    event.worker_may_ignore = may_ignore
    if links:
        event._extras = messages.history.EventExtras(links=links)
    schedule_workflow_task(s, now_ns)
    return True


# ---- time


def fire_due(MutableState s not None, int64_t now_ns):
    """Let everything happen that is due: backoffs, timeouts, timers, retention. Safe to call early or twice."""
    cdef int64_t now_ms = now_ns // MS
    cdef TimerInfo timer
    cdef list due
    if s.state == CLOSED:
        if s.delete_at_ms and s.delete_at_ms <= now_ms:
            s.effects.append((DELETE_RUN, 0))
        return
    if s.run_deadline_ms and s.run_deadline_ms <= now_ms:
        s.effects.append((RUN_TIMED_OUT, 0))
        return
    if s.backoff_until_ms and s.backoff_until_ms <= now_ms:
        s.backoff_until_ms = 0
        schedule_workflow_task(s, now_ns)
    if s.task_not_before_ms and s.task_not_before_ms <= now_ms:
        s.task_not_before_ms = 0
        s.effects.append((DISPATCH_WORKFLOW_TASK, 0))
    if s.task_deadline_ms and s.task_deadline_ms <= now_ms:
        time_out_workflow_task(s, now_ns)
    due = [
        (timer.fire_ms, timer.started_event_id, timer.timer_id) for timer in s.timers.values() if timer.fire_ms <= now_ms
    ]
    if due:
        due.sort()
        for _, started_event_id, timer_id in due:
            s.add(18, messages.history.TimerFiredEventAttributes(timer_id, started_event_id), now_ns)
        schedule_workflow_task(s, now_ns)
    if s.activities:
        fire_activities(s, now_ns)
    if s.extra is not None and "nexus" in s.extra and 0 < nexus.next_due(s.extra["nexus"]) <= now_ms:
        s.effects.append((CALL_NEXUS, 0))
