"""What each command goes through, as tables.

A machine lives from the command until its last event. A row reads: in this state, on this input, go to that state and
do that. A missing row is nondeterminism when a history event caused it. Everything that shows or tests the machines
(the diagrams in ``docs/state_machines.md``, coverage, reachability) reads the same rows through :func:`rows`.

Two rules keep the tables small. Start events of activities are not fed at all: they tell a worker nothing. And the
cancellation type is part of the input (``TRY_CANCEL``, ``WAIT_CANCEL``, ``ABANDON``), never a flag beside the state.
"""

from libc.stdint cimport uint8_t


cdef tuple _ACTIVITY_ENDS = (
    (EV_COMPLETED, COMPLETED),
    (EV_FAILED, FAILED),
    (EV_TIMED_OUT, TIMED_OUT),
    (EV_CANCELED, CANCELED),
)
cdef tuple _CHILD_ENDS = _ACTIVITY_ENDS + ((EV_TERMINATED, TERMINATED),)
cdef tuple _CANCELS = (TRY_CANCEL, WAIT_CANCEL, ABANDON)


cdef tuple _activity_rows():
    rows = [
        (NEW, SCHEDULE, REQUESTED, EMIT),
        (REQUESTED, EV_RECORDED, OPEN, CHECK),
        (REQUESTED, TRY_CANCEL, CANCELED, FORGET_CANCELED),
        (REQUESTED, WAIT_CANCEL, CANCELED, FORGET_CANCELED),
        (REQUESTED, ABANDON, CANCELED, FORGET_CANCELED),
        (OPEN, EV_COMPLETED, COMPLETED, RESOLVE),
        (OPEN, EV_FAILED, FAILED, RESOLVE),
        (OPEN, EV_TIMED_OUT, TIMED_OUT, RESOLVE),
        (OPEN, TRY_CANCEL, LEAVING, EMIT_CANCEL_RESOLVE),
        (OPEN, WAIT_CANCEL, CANCEL_REQUESTED, EMIT_CANCEL),
        (OPEN, ABANDON, LEFT, RESOLVE_CANCELED),
        (LEAVING, EV_CANCEL_REQUESTED, LEFT, KEEP),
        (CANCEL_REQUESTED, EV_CANCEL_REQUESTED, CANCELING, KEEP),
    ]
    for event, end in _ACTIVITY_ENDS:
        rows.append((CANCELING, event, end, RESOLVE))
        rows.append((LEFT, event, LEFT, KEEP))
    for state in (LEAVING, LEFT, CANCEL_REQUESTED, CANCELING, COMPLETED, FAILED, TIMED_OUT, CANCELED):
        for cancel in _CANCELS:
            rows.append((state, cancel, state, KEEP))
    return tuple(rows)


cdef tuple _child_rows():
    rows = [
        (NEW, SCHEDULE, REQUESTED, EMIT),
        (REQUESTED, EV_RECORDED, OPEN, CHECK),
        (REQUESTED, TRY_CANCEL, CANCELED, FORGET_CANCELED),
        (REQUESTED, WAIT_CANCEL, CANCELED, FORGET_CANCELED),
        (REQUESTED, ABANDON, CANCELED, FORGET_CANCELED),
        (OPEN, EV_STARTED, STARTED, RESOLVE_START),
        (OPEN, EV_START_FAILED, FAILED, RESOLVE_START),
        (LEFT, EV_STARTED, LEFT, KEEP),
        (LEFT, EV_START_FAILED, LEFT, KEEP),
    ]
    for state in (OPEN, STARTED):
        rows.append((state, TRY_CANCEL, LEFT, EMIT_CANCEL_RESOLVE))
        rows.append((state, WAIT_CANCEL, state, EMIT_CANCEL))
        rows.append((state, ABANDON, LEFT, RESOLVE_CANCELED))
    for event, end in _CHILD_ENDS:
        rows.append((STARTED, event, end, RESOLVE))
        rows.append((LEFT, event, LEFT, KEEP))
    for state in (LEFT, COMPLETED, FAILED, TIMED_OUT, CANCELED, TERMINATED):
        for cancel in _CANCELS:
            rows.append((state, cancel, state, KEEP))
    return tuple(rows)


cdef tuple _nexus_rows():
    """LEAVING waits until the handler took the request to cancel, CANCELING for the end."""
    rows = [
        (NEW, SCHEDULE, REQUESTED, EMIT),
        (REQUESTED, EV_RECORDED, OPEN, KEEP),
        (OPEN, EV_STARTED, STARTED, RESOLVE_START),
        (OPEN, WAIT_CANCEL, CANCEL_REQUESTED, EMIT_CANCEL),
        (OPEN, WAIT_REQUESTED, REQUEST_PENDING, EMIT_CANCEL),
        (STARTED, WAIT_CANCEL, CANCELING, EMIT_CANCEL),
        (STARTED, WAIT_REQUESTED, LEAVING, EMIT_CANCEL),
        (CANCEL_REQUESTED, EV_STARTED, CANCELING, RESOLVE_START),
        (REQUEST_PENDING, EV_STARTED, LEAVING, RESOLVE_START),
        (LEAVING, EV_CANCEL_COMPLETED, LEFT, RESOLVE_EARLY),
        (LEAVING, EV_CANCEL_FAILED, LEFT, RESOLVE_EARLY),
        (CANCELING, EV_CANCEL_COMPLETED, CANCELING, KEEP),
        (CANCELING, EV_CANCEL_FAILED, CANCELING, KEEP),
        (LEFT, EV_STARTED, LEFT, KEEP),
        (LEFT, EV_CANCEL_COMPLETED, LEFT, KEEP),
        (LEFT, EV_CANCEL_FAILED, LEFT, KEEP),
    ]
    for cancel in _CANCELS + (WAIT_REQUESTED,):
        rows.append((REQUESTED, cancel, CANCELED, FORGET_CANCELED))
        for state in (CANCEL_REQUESTED, REQUEST_PENDING, CANCELING, LEAVING, LEFT, COMPLETED, FAILED, TIMED_OUT, CANCELED):
            rows.append((state, cancel, state, KEEP))
    for state in (OPEN, STARTED):
        rows.append((state, TRY_CANCEL, LEFT, EMIT_CANCEL_RESOLVE))
        rows.append((state, ABANDON, LEFT, RESOLVE_CANCELED))
    for state in (CANCEL_REQUESTED, REQUEST_PENDING, CANCELING, LEAVING, LEFT):
        rows.append((state, EV_CANCEL_REQUESTED, state, KEEP))
    for event, end in _ACTIVITY_ENDS:
        for state in (OPEN, STARTED, CANCEL_REQUESTED, REQUEST_PENDING, CANCELING, LEAVING):
            rows.append((state, event, end, RESOLVE))
        rows.append((LEFT, event, LEFT, KEEP))
    return tuple(rows)


cdef tuple _TIMER_ROWS = (
    (NEW, SCHEDULE, REQUESTED, EMIT),
    (REQUESTED, EV_RECORDED, OPEN, KEEP),
    (REQUESTED, CANCEL, CANCELED, FORGET),
    (OPEN, EV_FIRED, FIRED, RESOLVE),
    (OPEN, CANCEL, CANCEL_REQUESTED, EMIT_CANCEL),
    (CANCEL_REQUESTED, EV_CANCELED, CANCELED, KEEP),
    (CANCEL_REQUESTED, CANCEL, CANCEL_REQUESTED, KEEP),
    (FIRED, CANCEL, FIRED, KEEP),
    (CANCELED, CANCEL, CANCELED, KEEP),
)

cdef tuple _SIGNAL_EXTERNAL_ROWS = (
    (NEW, SCHEDULE, REQUESTED, EMIT),
    (REQUESTED, EV_RECORDED, OPEN, KEEP),
    (REQUESTED, CANCEL, CANCELED, FORGET_CANCELED),
    (OPEN, EV_COMPLETED, COMPLETED, RESOLVE),
    (OPEN, EV_FAILED, FAILED, RESOLVE),
    (OPEN, CANCEL, OPEN, KEEP),
    (COMPLETED, CANCEL, COMPLETED, KEEP),
    (FAILED, CANCEL, FAILED, KEEP),
    (CANCELED, CANCEL, CANCELED, KEEP),
)

cdef tuple _CANCEL_EXTERNAL_ROWS = (
    (NEW, SCHEDULE, REQUESTED, EMIT),
    (REQUESTED, EV_RECORDED, OPEN, KEEP),
    (OPEN, EV_COMPLETED, COMPLETED, RESOLVE),
    (OPEN, EV_FAILED, FAILED, RESOLVE),
)

# EV_COMPLETED is the marker seen ahead, EV_RECORDED the marker in its place. Cancelling is a matter of the worker that
# runs the activity: what it comes to is one more way to be resolved.
cdef tuple _LOCAL_ACTIVITY_ROWS = (
    (NEW, SCHEDULE, OPEN, KEEP),
    (OPEN, RESOLVE_LOCALLY, RESOLVED, EMIT),
    (OPEN, EV_COMPLETED, COMPLETED, RESOLVE),
    (COMPLETED, EV_RECORDED, RECORDED, CHECK),
    (RESOLVED, EV_RECORDED, RECORDED, CHECK),
)

cdef tuple _PATCH_ROWS = (
    (NEW, SCHEDULE, REQUESTED, EMIT),
    (REQUESTED, EV_RECORDED, RECORDED, CHECK),
)

cdef tuple _RECORD_ROWS = (
    (NEW, SCHEDULE, REQUESTED, EMIT),
    (REQUESTED, EV_RECORDED, RECORDED, KEEP),
)

cdef tuple _UPDATE_ROWS = (
    (NEW, DELIVER, DELIVERED, KEEP),
    (DELIVERED, REJECT, REJECTED, KEEP),
    (DELIVERED, ACCEPT, ACCEPTED, EMIT),
    (ACCEPTED, EV_ACCEPTED, ACCEPT_RECORDED, CHECK),
    (ACCEPTED, COMPLETE, ANSWERED, EMIT),
    (ANSWERED, EV_ACCEPTED, COMPLETING, CHECK),
    (ACCEPT_RECORDED, COMPLETE, COMPLETING, EMIT),
    (COMPLETING, EV_COMPLETED, COMPLETED, KEEP),
)

cdef tuple _ROWS = (
    _activity_rows(),
    _TIMER_ROWS,
    _child_rows(),
    _SIGNAL_EXTERNAL_ROWS,
    _CANCEL_EXTERNAL_ROWS,
    _LOCAL_ACTIVITY_ROWS,
    _PATCH_ROWS,
    _RECORD_ROWS,
    _RECORD_ROWS,
    _UPDATE_ROWS,
    _RECORD_ROWS,
    _RECORD_ROWS,
    _RECORD_ROWS,
    _RECORD_ROWS,
    _nexus_rows(),
)

cdef Step[N_MACHINES][N_STATES][N_INPUTS] _table


cdef int _load() except -1:
    cdef Py_ssize_t machine, state, input_
    for machine in range(<Py_ssize_t> N_MACHINES):
        for state in range(<Py_ssize_t> N_STATES):
            for input_ in range(<Py_ssize_t> N_INPUTS):
                _table[machine][state][input_].state = <uint8_t> state
                _table[machine][state][input_].effect = NO_STEP
        for row in _ROWS[machine]:
            state, input_ = row[0], row[1]
            if _table[machine][state][input_].effect != NO_STEP:
                raise ValueError(f"machine {MachineKind(machine).name} has two rows for {State(state).name}, {Input(input_).name}")
            _table[machine][state][input_].state = row[2]
            _table[machine][state][input_].effect = row[3]
    return 0


_load()


cdef Step step(uint8_t machine, uint8_t state, uint8_t input_) noexcept nogil:
    return _table[machine][state][input_]


def rows(kind):
    """The rows of one machine as ``(State, Input, State, Effect)`` tuples."""
    return tuple((State(a), Input(b), State(c), Effect(d)) for a, b, c, d in _ROWS[int(kind)])


def lookup(kind, state, input):
    """``(State, Effect)`` the compiled table holds, or None when there is no such row."""
    cdef Step found = step(int(kind), int(state), int(input))
    if found.effect == NO_STEP:
        return None
    return State(found.state), Effect(found.effect)
