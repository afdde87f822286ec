from enum import IntEnum

class MachineKind(IntEnum):
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

class State(IntEnum):
    NEW = 0
    REQUESTED = 1
    OPEN = 2
    STARTED = 3
    CANCEL_REQUESTED = 4
    CANCELING = 5
    LEAVING = 6
    LEFT = 7
    COMPLETED = 8
    FAILED = 9
    TIMED_OUT = 10
    CANCELED = 11
    TERMINATED = 12
    FIRED = 13
    RECORDED = 14
    DELIVERED = 15
    ACCEPTED = 16
    ACCEPT_RECORDED = 17
    ANSWERED = 18
    COMPLETING = 19
    REJECTED = 20
    RESOLVED = 21
    REQUEST_PENDING = 22

class Input(IntEnum):
    SCHEDULE = 0
    CANCEL = 1
    TRY_CANCEL = 2
    WAIT_CANCEL = 3
    ABANDON = 4
    EV_RECORDED = 5
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
    WAIT_REQUESTED = 21
    EV_CANCEL_COMPLETED = 22
    EV_CANCEL_FAILED = 23

class Effect(IntEnum):
    KEEP = 0
    EMIT = 1
    CHECK = 2
    FORGET = 3
    FORGET_CANCELED = 4
    RESOLVE = 5
    RESOLVE_START = 6
    RESOLVE_CANCELED = 7
    EMIT_CANCEL = 8
    EMIT_CANCEL_RESOLVE = 9
    RESOLVE_EARLY = 10
    NO_STEP = 255

def rows(kind: int) -> tuple[tuple[State, Input, State, Effect], ...]: ...
def lookup(kind: int, state: int, input: int) -> tuple[State, Effect] | None: ...
