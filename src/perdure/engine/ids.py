"""Ids the engine makes: run ids, task ids and task tokens.

Compiled as it is by the native build; ``ids.pxd`` declares the types.
"""

from __future__ import annotations

import base64
import binascii
import os
from typing import NamedTuple

import msgspec

from perdure.engine.errors import invalid_argument
from perdure.service import RPCError

_HEX = "%08x-%04x-%04x-%04x-%012x"


class RunIds:
    """UUIDv7 run ids that never go backwards, so that new runs sort, and are stored, behind older ones."""

    def __init__(self) -> None:
        self._last = 0

    def new(self, now_ns: int) -> str:
        """The next run id."""
        # 48 bits of milliseconds, 12 of their fraction: together a clock that only moves forward.
        ticks = (now_ns // 1_000_000 << 12) | (now_ns % 1_000_000 * 4096 // 1_000_000)
        if ticks <= self._last:
            ticks = self._last + 1
        self._last = ticks
        noise = int.from_bytes(os.urandom(8), "big")
        return _HEX % (
            ticks >> 28 & 0xFFFFFFFF,
            ticks >> 12 & 0xFFFF,
            0x7000 | ticks & 0xFFF,
            0x8000 | noise >> 48 & 0x3FFF,
            noise & 0xFFFFFFFFFFFF,
        )


class TaskToken(NamedTuple):
    """Proof of holding a task. ``attempt`` tells a late answer from the current holder's."""

    namespace_id: str
    workflow_id: str
    run_id: str
    scheduled_event_id: int
    started_event_id: int
    attempt: int
    #: Which start of a speculative workflow task, whose event ids may come again; 0 for all others.
    start: int = 0


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(TaskToken).decode
_decode_task = msgspec.msgpack.Decoder(tuple[str, str, str, int, int, int, int]).decode


def encode_token(token: TaskToken) -> bytes:
    """The token as the opaque bytes workers carry."""
    return _encode(token)


def encode_task(
    namespace_id: str,
    workflow_id: str,
    run_id: str,
    scheduled_event_id: int,
    started_event_id: int,
    attempt: int,
    start: int,
) -> bytes:
    """As :func:`encode_token`, from the fields."""
    return _encode((namespace_id, workflow_id, run_id, scheduled_event_id, started_event_id, attempt, start))


def decode_task(data: bytes) -> tuple[str, str, str, int, int, int, int]:
    """As :func:`decode_token`, to the fields."""
    try:
        return _decode_task(data)
    except (msgspec.DecodeError, msgspec.ValidationError):
        raise _not_a_token() from None


def decode_token(data: bytes) -> TaskToken:
    """The token of a worker's answer."""
    try:
        return _decode(data)
    except (msgspec.DecodeError, msgspec.ValidationError):
        raise _not_a_token() from None


def _not_a_token() -> RPCError:
    return invalid_argument("error deserializing task token: these bytes are not a task token of this service.")


class NexusTaskToken(NamedTuple):
    """Proof of holding a Nexus task; no restart outlives it."""

    namespace_id: str
    task_queue: str
    task_id: str


class NexusCompletionToken(NamedTuple):
    """Which operation of which run a completion callback is about."""

    namespace_id: str
    workflow_id: str
    run_id: str
    scheduled_event_id: int
    request_id: str


_decode_nexus_task = msgspec.msgpack.Decoder(NexusTaskToken).decode
_decode_nexus_completion = msgspec.msgpack.Decoder(NexusCompletionToken).decode


def encode_nexus_task(token: NexusTaskToken) -> bytes:
    """The token as the opaque bytes workers carry."""
    return _encode(token)


def decode_nexus_task(data: bytes) -> NexusTaskToken:
    """The token of a worker's answer."""
    try:
        return _decode_nexus_task(data)
    except (msgspec.DecodeError, msgspec.ValidationError):
        raise invalid_argument("Invalid Task Token: these bytes are not a Nexus task token of this service.") from None


def encode_nexus_completion(token: NexusCompletionToken) -> str:
    """The token as the text of a callback's header."""
    return base64.urlsafe_b64encode(_encode(token)).decode()


def decode_nexus_completion(text: str) -> NexusCompletionToken:
    """The token of a completion callback."""
    try:
        return _decode_nexus_completion(base64.urlsafe_b64decode(text.encode()))
    except (binascii.Error, ValueError, msgspec.DecodeError):
        raise invalid_argument("Invalid callback token: it is no completion token of this service.") from None
