"""What the engine knows of a run's Nexus operations and completion callbacks.

Few runs have any, so both are plain values under a state's ``extra``: ``extra["nexus"]``, by scheduled event id, filled
from events by ``perdure._native.nexus``, and ``extra["callbacks"]``. The names here are the only place that says what
is in them.
"""

from __future__ import annotations

from typing import NotRequired, TypedDict

import msgspec

from perdure._native.mutable_state import MutableState
from perdure.api.common import v1 as common_v1
from perdure.engine.limits import NS_PER_MS, NS_PER_S

#: Between the attempts of a request to a handler, or of a callback.
FIRST_BACKOFF = NS_PER_S
LAST_BACKOFF = 3600 * NS_PER_S
#: How long a handler may take to answer a start or cancel request.
REQUEST_TIMEOUT = 10 * NS_PER_S
MAX_OPERATION_TOKEN = 4096


class Call(TypedDict):
    """A request to a handler, or a callback: how far its attempts got."""

    #: Attempts that ended.
    attempt: int
    #: The last attempt's failure (msgpack of ``Failure``), and when it ended.
    failure: bytes
    ended_ns: int
    #: The next attempt's time while this one backs off, else 0.
    next_ns: int
    #: When an attempt that a handler has counts as lost, else 0.
    due_ns: int


class Cancellation(Call):
    """The request to cancel an operation."""

    requested_id: int
    requested_ns: int
    #: NexusOperationCancellationState, 0 until it is known.
    outcome: int


class Operation(TypedDict):
    """A Nexus operation that has not closed. Durations are nanoseconds, 0 for none."""

    endpoint: str
    endpoint_id: str
    service: str
    operation: str
    request_id: str
    scheduled_ns: int
    schedule_to_close_ns: int
    schedule_to_start_ns: int
    start_to_close_ns: int
    token: str
    #: When the handler said that it goes on asynchronously, 0 until then.
    started_ns: int
    call: Call
    cancel: Cancellation | None


class Callback(TypedDict):
    """A completion callback of a run."""

    #: msgpack of ``common.v1.Callback``.
    callback: bytes
    request_id: str
    registered_ns: int
    #: CallbackState
    state: int
    call: Call
    #: The update whose outcome it waits for; it waits for the end of the chain of runs where there is none.
    update_id: NotRequired[str]


_decode_callback = msgspec.msgpack.Decoder(common_v1.Callback).decode


def new_callback(callback: bytes, request_id: str, now: int) -> Callback:
    """A callback that was just registered, as events leave those of workflows."""
    call = Call(attempt=0, failure=b"", ended_ns=0, next_ns=0, due_ns=0)
    return Callback(callback=callback, request_id=request_id, registered_ns=now, state=1, call=call)


def operations(s: MutableState) -> dict[int, Operation]:
    """The pending operations, by scheduled event id."""
    return {} if s.extra is None else s.extra.get("nexus", {})


def callbacks(s: MutableState) -> list[Callback]:
    """The completion callbacks, in the order they were registered."""
    return [] if s.extra is None else s.extra.get("callbacks", [])


def callback_messages(s: MutableState) -> list[common_v1.Callback]:
    """The completion callbacks as messages, for the run that follows this one."""
    return [_decode_callback(callback["callback"]) for callback in callbacks(s) if "update_id" not in callback]


def callback_message(callback: Callback) -> common_v1.Callback:
    """One completion callback as a message."""
    return _decode_callback(callback["callback"])


def by_transfer(s: MutableState, transfer_id: int) -> tuple[int, Operation, Cancellation | None] | None:
    """Whose request a transfer is: (scheduled event id, operation, its cancellation where the request is to cancel)."""
    found = operations(s).get(transfer_id)
    if found is not None:
        return transfer_id, found, None
    for scheduled_id, operation in operations(s).items():
        cancel = operation["cancel"]
        if cancel is not None and cancel["requested_id"] == transfer_id:
            return scheduled_id, operation, cancel
    return None


def attempt_failed(call: Call, failure: bytes, now: int) -> int:
    """Count an attempt that failed and is tried again; returns how long the backoff is (ns)."""
    call["attempt"] += 1
    call["failure"] = failure
    call["ended_ns"] = now
    call["due_ns"] = 0
    backoff = min(FIRST_BACKOFF << min(call["attempt"] - 1, 12), LAST_BACKOFF)
    call["next_ns"] = now + backoff
    return backoff


def in_ms(now: int) -> int:
    """Nanoseconds as milliseconds, rounded up."""
    return (now + NS_PER_MS - 1) // NS_PER_MS
