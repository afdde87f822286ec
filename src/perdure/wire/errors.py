"""Refusals on the wire: :class:`RPCError` to gRPC's status and Temporal's details, and back."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import grpc

from perdure.api._message import Message
from perdure.service import RPCError, RPCStatusCode
from perdure.wire._tables import Status, UnknownMessage
from perdure.wire.codec import DecodeError, decode, encode

#: The trailer that carries a ``google.rpc.Status``.
STATUS_KEY = "grpc-status-details-bin"

_TO_GRPC = {RPCStatusCode(code.value[0]): code for code in grpc.StatusCode}


class WireStatus(NamedTuple):
    """How a call ends on the wire; ``details`` is the value of :data:`STATUS_KEY`, empty when there is nothing more."""

    code: grpc.StatusCode
    message: str
    details: bytes


def to_wire(error: RPCError) -> WireStatus:
    """The status of a refused call."""
    raw = b""
    if error.details:
        raw = encode(Status(int(error.status), error.message, list(error.details)))
    elif error.grpc_status.details:
        raw = error.raw_grpc_status  # an error of another server, passed on
    return WireStatus(_TO_GRPC[error.status], error.message, raw)


def from_wire(code: grpc.StatusCode, message: str | None, trailers: Iterable[Any] | None = None) -> RPCError:
    """The error of a call that ended so, with the details among its trailing metadata."""
    status = RPCStatusCode(code.value[0])
    raw = next((value for key, value in trailers or () if key == STATUS_KEY), b"")
    return RPCError(message or status.name, status, raw, details=_details(raw))


def _details(raw: bytes) -> list[Message]:
    try:
        found: list[Any] = decode(Status, raw).details
    except DecodeError:  # of a proxy on the way: the code and the message are what counts
        return []
    return [detail for detail in found if not isinstance(detail, UnknownMessage)]
