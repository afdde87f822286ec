"""The seam's structs as bytes for another process that runs the same version of perdure.

MessagePack, fields in their order. What protobuf would say with a type is said with a name: the attributes of a command,
the body of a message, the details of an error. Events go in their compact form.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

import msgspec
from msgspec.structs import replace

from perdure._native.events import HistoryEvent, decode_one, encode_batch
from perdure.api.errordetails import v1 as errordetails_v1
from perdure.api.protocol import v1 as protocol_v1
from perdure.api.workflowservice import v1 as ws
from perdure.service._errors import RPCError, RPCStatusCode


class _Refusal(msgspec.Struct, array_like=True):
    status: int
    message: str
    #: Name and fields of each struct of ``perdure.api.errordetails.v1``.
    details: list[tuple[str, msgspec.Raw]]


def _encode_hook(value: object) -> bytes:
    if isinstance(value, HistoryEvent):
        return encode_batch([value])
    raise TypeError(f"{type(value).__name__} does not leave its process")


def _decode_hook(kind: type, value: Any) -> Any:
    if kind is HistoryEvent:
        return decode_one(value)
    if kind is object:
        package, name, body = value
        if not package.startswith("perdure.api."):
            raise ValueError(f"{package} holds no messages")
        return decode(getattr(importlib.import_module(package), name), body)
    raise TypeError(f"{kind.__name__} does not come from another process")


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


def encode(value: object) -> bytes:
    """A struct's bytes."""
    return _encoder.encode(_seal(value))


def decode(kind: type, body: bytes | msgspec.Raw) -> Any:
    """A struct from its bytes. Raises msgspec.MsgspecError when they are not that struct's."""
    decoder = _decoders.get(kind)
    if decoder is None:
        decoder = _decoders[kind] = msgspec.msgpack.Decoder(kind, dec_hook=_decode_hook)
    return decoder.decode(body)


def encode_error(error: RPCError) -> bytes:
    """An error's bytes; details of kinds that are not Temporal's stay behind."""
    details = [
        (type(detail).__name__, msgspec.Raw(encode(detail)))
        for detail in error.details
        if hasattr(errordetails_v1, type(detail).__name__)
    ]
    return encode(_Refusal(int(error.status), error.message, details))


def decode_error(body: bytes | msgspec.Raw) -> RPCError:
    """The error that :func:`encode_error` wrote."""
    refusal: _Refusal = decode(_Refusal, body)
    details = [decode(getattr(errordetails_v1, name), raw) for name, raw in refusal.details]
    return RPCError(refusal.message, RPCStatusCode(refusal.status), details=details)
