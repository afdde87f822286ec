from libc.stdint cimport uint8_t


cdef enum:
    N_MACHINES = 15
    N_STATES = 23
    N_INPUTS = 24


# Machines: one per kind of command a workflow can issue.
cpdef enum MachineKind:
    ACTIVITY = 0
    TIMER = 1
    CHILD_WORKFLOW = 2
    SIGNAL_EXTERNAL = 3
    CANCEL_EXTERNAL = 4
    LOCAL_ACTIVITY = 5
    PATCH = 6
    UPSERT_SEARCH_ATTRIBUTES = 7
    MODIFY_PROPERTIES = 8
    UPDATE = 9
    COMPLETE_WORKFLOW = 10
    FAIL_WORKFLOW = 11
    CANCEL_WORKFLOW = 12
    CONTINUE_AS_NEW = 13
    NEXUS_OPERATION = 14


cpdef enum State:
    NEW = 0
    REQUESTED = 1            # the command is on its way, no event yet
    OPEN = 2                 # the command's event is in history
    STARTED = 3              # child: the other side runs
    CANCEL_REQUESTED = 4     # the cancel command is on its way; the workflow waits for the end
    CANCELING = 5            # the cancel's event is in history; the workflow waits for the end
    LEAVING = 6              # as CANCEL_REQUESTED, but the workflow was told already
    LEFT = 7                 # whatever comes is of no interest
    COMPLETED = 8
    FAILED = 9
    TIMED_OUT = 10
    CANCELED = 11
    TERMINATED = 12
    FIRED = 13
    RECORDED = 14
    DELIVERED = 15           # update: handed to the workflow
    ACCEPTED = 16            # update: acceptance on its way
    ACCEPT_RECORDED = 17
    ANSWERED = 18            # update: acceptance and outcome on their way
    COMPLETING = 19          # update: outcome on its way
    REJECTED = 20
    RESOLVED = 21            # local activity: outcome known, its marker on its way
    REQUEST_PENDING = 22     # Nexus operation: asked to cancel before it has started


cpdef enum Input:
    SCHEDULE = 0             # the workflow asks
    CANCEL = 1               # the workflow cancels; the kind has only one way
    TRY_CANCEL = 2
    WAIT_CANCEL = 3
    ABANDON = 4
    EV_RECORDED = 5          # the command's own event
    EV_STARTED = 6
    EV_START_FAILED = 7
    EV_COMPLETED = 8
    EV_FAILED = 9
    EV_TIMED_OUT = 10
    EV_CANCEL_REQUESTED = 11
    EV_CANCELED = 12
    EV_TERMINATED = 13
    EV_FIRED = 14
    DELIVER = 15
    ACCEPT = 16
    REJECT = 17
    COMPLETE = 18
    EV_ACCEPTED = 19
    RESOLVE_LOCALLY = 20
    WAIT_REQUESTED = 21      # Nexus operation: the workflow waits until its handler took the request to cancel
    EV_CANCEL_COMPLETED = 22
    EV_CANCEL_FAILED = 23


cpdef enum Effect:
    KEEP = 0                 # nothing but the state
    EMIT = 1                 # send the command
    CHECK = 2                # compare the event's identity with the command's
    FORGET = 3               # the command was never sent: drop it
    FORGET_CANCELED = 4      # ... and the workflow sees a cancellation
    RESOLVE = 5              # tell the workflow the outcome
    RESOLVE_START = 6
    RESOLVE_CANCELED = 7
    EMIT_CANCEL = 8          # send the cancel command
    EMIT_CANCEL_RESOLVE = 9  # ... and tell the workflow at once
    RESOLVE_EARLY = 10       # tell the workflow, though the outcome is still to come
    NO_STEP = 255            # no such row


cdef struct Step:
    uint8_t state
    uint8_t effect


cdef Step step(uint8_t machine, uint8_t state, uint8_t input_) noexcept nogil
