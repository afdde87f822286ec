"""Nexus operations of a run, as its events leave them.

Few runs have any, so an operation is a dict of plain values under ``extra["nexus"]``, by scheduled event id; the names
are those of ``perdure.engine.nexus_state``. Events come in here; what no event records is set by the engine.
"""

from libc.stdint cimport int64_t

from perdure._native.events cimport HistoryEvent

cdef enum:
    MS = 1000000
    E_SCHEDULED = 48
    E_STARTED = 49
    E_COMPLETED = 50
    E_FAILED = 51
    E_CANCELED = 52
    E_TIMED_OUT = 53
    E_CANCEL_REQUESTED = 54
    E_CANCEL_COMPLETED = 56
    E_CANCEL_FAILED = 57
    # NexusOperationCancellationState
    CANCEL_SUCCEEDED = 3
    CANCEL_FAILED = 4


cdef int apply_event(dict extra, HistoryEvent event) except -1:
    """Fold one of the events above into ``extra``."""
    cdef int kind = event.event_type
    attributes = event.attrs()
    cdef dict operations = extra.get("nexus")
    cdef dict operation
    if kind == E_SCHEDULED:
        if operations is None:
            operations = extra["nexus"] = {}
        operations[event.event_id] = {
            "endpoint": attributes.endpoint,
            "endpoint_id": attributes.endpoint_id,
            "service": attributes.service,
            "operation": attributes.operation,
            "request_id": attributes.request_id,
            "scheduled_ns": event.event_time,
            "schedule_to_close_ns": attributes.schedule_to_close_timeout or 0,
            "schedule_to_start_ns": attributes.schedule_to_start_timeout or 0,
            "start_to_close_ns": attributes.start_to_close_timeout or 0,
            "token": "",
            "started_ns": 0,
            "call": _new_call(),
            "cancel": None,
        }
        return 0
    operation = None if operations is None else operations.get(attributes.scheduled_event_id)
    if operation is None:
        if kind == E_CANCEL_REQUESTED or kind == E_CANCEL_COMPLETED or kind == E_CANCEL_FAILED:
            return 0        # it has closed, and its close event may still be in the buffer
        raise ValueError(
            f"event {event.event_id} of type {kind} cites Nexus operation {attributes.scheduled_event_id}, which is not pending"
        )
    if kind == E_STARTED:
        operation["started_ns"] = event.event_time
        operation["token"] = attributes.operation_token
    elif kind == E_CANCEL_REQUESTED:
        operation["cancel"] = _new_call()
        operation["cancel"]["requested_id"] = event.event_id
        operation["cancel"]["requested_ns"] = event.event_time
        operation["cancel"]["outcome"] = 0
    elif kind == E_CANCEL_COMPLETED or kind == E_CANCEL_FAILED:
        if operation["cancel"] is not None:
            operation["cancel"]["outcome"] = CANCEL_SUCCEEDED if kind == E_CANCEL_COMPLETED else CANCEL_FAILED
    else:
        del operations[attributes.scheduled_event_id]
        if not operations:
            del extra["nexus"]
    return 0


cdef int add_callbacks(dict extra, list callbacks, str request_id, int64_t now_ns, object encode) except -1:
    """Note completion callbacks of a run: each is called when its chain of runs has closed."""
    cdef list known = extra.get("callbacks")
    if known is None:
        known = extra["callbacks"] = []
    for callback in callbacks:
        known.append(
            {"callback": encode(callback), "request_id": request_id, "registered_ns": now_ns, "state": 1, "call": _new_call()}
        )
    return 0


cdef dict _new_call():
    """A request to the handler: attempts that ended, the last one's failure, and when the next or its end is due."""
    return {"attempt": 0, "failure": b"", "ended_ns": 0, "next_ns": 0, "due_ns": 0}


cdef int64_t next_due(dict operations) except -1:
    """The earliest moment (epoch ms, rounded up) at which something of these operations is due; 0: never."""
    cdef int64_t due = 0
    cdef int64_t at
    cdef int64_t scheduled
    cdef int64_t started
    for operation in operations.values():
        scheduled = operation["scheduled_ns"]
        started = operation["started_ns"]
        for at in (
            scheduled + <int64_t> operation["schedule_to_close_ns"] if operation["schedule_to_close_ns"] else 0,
            scheduled + <int64_t> operation["schedule_to_start_ns"] if operation["schedule_to_start_ns"] and not started else 0,
            started + <int64_t> operation["start_to_close_ns"] if operation["start_to_close_ns"] and started else 0,
            _call_due(operation["call"]),
            _call_due(operation["cancel"]),
        ):
            if at and (due == 0 or at < due):
                due = at
    return (due + MS - 1) // MS


cdef int64_t _call_due(object call) except -1:
    """The end of a call's backoff, or of its attempt's time; 0: neither."""
    if call is None:
        return 0
    return <int64_t> (call["next_ns"] or call["due_ns"])


def fold_event(dict extra not None, HistoryEvent event not None):
    """As the state does with an event of a Nexus operation; for tests."""
    apply_event(extra, event)


def due_of(dict operations not None):
    """When something of these operations is due (epoch ms); 0: never."""
    return next_due(operations)
