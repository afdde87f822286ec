"""What goes over the socket: frames, and the structs in them.

A frame is a header (bytes that follow, call, kind, method) and a body. Bodies are the seam's structs in MessagePack,
fields in their order: only processes with the same version of perdure understand each other, which the first frame
of each side makes sure of.
"""

from __future__ import annotations

import enum
import importlib
from collections.abc import Callable
from struct import Struct
from typing import Any, NamedTuple

import msgspec
from msgspec.structs import replace

import perdure
from perdure._native.events import HistoryEvent, decode_one, encode_batch
from perdure.api._message import Message
from perdure.api.errordetails import v1 as errordetails_v1
from perdure.api.protocol import v1 as protocol_v1
from perdure.api.workflowservice import v1 as ws
from perdure.service import RPCError, RPCStatusCode
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


class _Refusal(msgspec.Struct, array_like=True):
    status: int
    message: str
    #: Name and fields of each struct of ``perdure.api.errordetails.v1``.
    details: list[tuple[str, msgspec.Raw]]


def _encode_hook(value: object) -> bytes:
    if isinstance(value, HistoryEvent):
        return encode_batch([value])
    raise TypeError(f"{type(value).__name__} does not go over the socket")


def _decode_hook(kind: type, value: Any) -> Any:
    if kind is HistoryEvent:
        return decode_one(value)
    if kind is object:
        package, name, body = value
        if not package.startswith("perdure.api."):
            raise ValueError(f"{package} holds no messages")
        return decode(getattr(importlib.import_module(package), name), body)
    raise TypeError(f"{kind.__name__} does not come over the socket")


# Fields that hold one of several structs: which one goes along with it.


def _named(value: Any) -> Any:
    return None if value is None else (type(value).__module__, type(value).__name__, encode(value))


def _seal(value: Any) -> Any:
    """The struct with such fields replaced by name and bytes; most have none."""
    sealer = _SEALERS.get(type(value))
    return value if sealer is None else sealer(value)


def _seal_answer(answer: ws.RespondWorkflowTaskCompletedRequest) -> ws.RespondWorkflowTaskCompletedRequest:
    commands = [replace(command, attributes=_named(command.attributes)) for command in answer.commands]
    return replace(answer, commands=commands, messages=_seal_messages(answer.messages))


def _seal_messages(messages: list[protocol_v1.Message]) -> list[protocol_v1.Message]:
    return [replace(message, body=_named(message.body)) for message in messages]


def _seal_task(task: ws.PollWorkflowTaskQueueResponse) -> ws.PollWorkflowTaskQueueResponse:
    return replace(task, messages=_seal_messages(task.messages)) if task.messages else task


def _seal_next(response: ws.RespondWorkflowTaskCompletedResponse) -> ws.RespondWorkflowTaskCompletedResponse:
    task = response.workflow_task
    return response if task is None else replace(response, workflow_task=_seal_task(task))


def _seal_failed(answer: ws.RespondWorkflowTaskFailedRequest) -> ws.RespondWorkflowTaskFailedRequest:
    return replace(answer, messages=_seal_messages(answer.messages))


def _seal_start(response: ws.StartWorkflowExecutionResponse) -> ws.StartWorkflowExecutionResponse:
    task = response.eager_workflow_task
    return response if task is None else replace(response, eager_workflow_task=_seal_task(task))


def _seal_failure(failure: errordetails_v1.MultiOperationExecutionFailure) -> Any:
    statuses = [replace(status, details=[_named(detail) for detail in status.details]) for status in failure.statuses]
    return replace(failure, statuses=statuses)


_SEALERS: dict[type, Callable[[Any], Any]] = {
    ws.RespondWorkflowTaskCompletedRequest: _seal_answer,
    ws.RespondWorkflowTaskFailedRequest: _seal_failed,
    ws.PollWorkflowTaskQueueResponse: _seal_task,
    ws.RespondWorkflowTaskCompletedResponse: _seal_next,
    ws.StartWorkflowExecutionResponse: _seal_start,
    errordetails_v1.MultiOperationExecutionFailure: _seal_failure,
}


_encoder = msgspec.msgpack.Encoder(enc_hook=_encode_hook)
_decoders: dict[type, msgspec.msgpack.Decoder[Any]] = {}


def pack(kind: Kind, call: int = 0, method: int = 0, body: bytes = b"") -> bytes:
    """A frame's bytes."""
    return _HEADER.pack(len(body), call, kind, method) + body


def encode(value: object) -> bytes:
    """A struct's bytes."""
    return _encoder.encode(_seal(value))


def decode(kind: type, body: bytes | msgspec.Raw) -> Any:
    """A struct from its bytes. Raises msgspec.MsgspecError when they are not that struct's."""
    decoder = _decoders.get(kind)
    if decoder is None:
        decoder = _decoders[kind] = msgspec.msgpack.Decoder(kind, dec_hook=_decode_hook)
    return decoder.decode(body)


def encode_call(request: Message, timeout_ns: int) -> bytes:
    """The body of a CALL; a timeout of 0 is none."""
    return encode(_Call(timeout_ns, msgspec.Raw(encode(request))))


def decode_call(method: Method, body: bytes) -> tuple[Message, int]:
    """The request and the timeout of a CALL."""
    call: _Call = decode(_Call, body)
    return decode(method.request, call.request), call.timeout_ns


def encode_error(error: RPCError) -> bytes:
    """The body of an ERROR."""
    details = [(type(detail).__name__, msgspec.Raw(encode(detail))) for detail in error.details]
    return encode(_Refusal(int(error.status), error.message, details))


def decode_error(body: bytes) -> RPCError:
    """The error that an ERROR carries."""
    refusal: _Refusal = decode(_Refusal, body)
    details = [decode(getattr(errordetails_v1, name), raw) for name, raw in refusal.details]
    return RPCError(refusal.message, RPCStatusCode(refusal.status), details=details)


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
