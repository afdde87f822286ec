"""What goes over the socket: frames.

A frame is a header (bytes that follow, call, kind, method) and a body. Bodies are structs as ``service/_packing.py``
writes them: only processes with the same version of perdure understand each other, which the first frame of each side
makes sure of.
"""

from __future__ import annotations

import enum
from struct import Struct
from typing import NamedTuple

import msgspec

import perdure
from perdure.api._message import Message
from perdure.service._packing import decode, encode
from perdure.wire.methods import OPERATOR_SERVICE, SERVICES, WORKFLOW_SERVICE, Method

#: Both services' RPCs; a frame says which one by its place here.
METHODS: tuple[Method, ...] = (*SERVICES[WORKFLOW_SERVICE], *SERVICES[OPERATOR_SERVICE])
#: Longer frames are refused; nothing that an engine accepts or answers comes near.
MAX_FRAME_BYTES = 256 * 1024 * 1024

_HEADER = Struct("<IIBH")
HEADER_BYTES = _HEADER.size


class Kind(enum.IntEnum):
    """What a frame is."""

    #: To the host: who the guest is. To the guest: who the host is.
    HELLO = 0
    #: To the guest: why it is not served. The host hangs up.
    REFUSED = 1
    #: To the host: one RPC.
    CALL = 2
    #: To the host: the guest no longer waits for an RPC.
    CANCEL = 3
    #: To the host: an answer that nobody waited for any more, back again.
    GIVE_BACK = 4
    #: To the host: an activity goes on outside the guest's process, and does not end with it.
    DETACH = 5
    #: To the guest: the response of an RPC.
    ANSWER = 6
    #: To the guest: the error of an RPC.
    ERROR = 7


class Frame(NamedTuple):
    """One frame as it came."""

    kind: int
    call: int
    method: int
    body: bytes


class Hello(msgspec.Struct, frozen=True):
    """The first frame of each side."""

    pid: int
    version: str = perdure.__version__
    durability: str = ""


class _Call(msgspec.Struct, array_like=True):
    timeout_ns: int
    request: msgspec.Raw


def pack(kind: Kind, call: int = 0, method: int = 0, body: bytes = b"") -> bytes:
    """A frame's bytes."""
    return _HEADER.pack(len(body), call, kind, method) + body


def encode_call(request: Message, timeout_ns: int) -> bytes:
    """The body of a CALL; a timeout of 0 is none."""
    return encode(_Call(timeout_ns, msgspec.Raw(encode(request))))


def decode_call(method: Method, body: bytes) -> tuple[Message, int]:
    """The request and the timeout of a CALL."""
    call: _Call = decode(_Call, body)
    return decode(method.request, call.request), call.timeout_ns


class Buffer:
    """Bytes as they arrive, given out as frames."""

    def __init__(self) -> None:
        self._bytes = bytearray()

    def feed(self, data: bytes) -> list[Frame]:
        """The frames that are complete now. Raises ValueError for one that cannot be."""
        held = self._bytes
        held += data
        frames = []
        start = 0
        while len(held) - start >= HEADER_BYTES:
            size, call, kind, method = _HEADER.unpack_from(held, start)
            if size > MAX_FRAME_BYTES or kind > Kind.ERROR or method >= len(METHODS):
                raise ValueError("this is not a frame")
            end = start + HEADER_BYTES + size
            if end > len(held):
                break
            frames.append(Frame(kind, call, method, bytes(held[start + HEADER_BYTES : end])))
            start = end
        del held[:start]
        return frames
