"""Payloads of the system Nexus endpoint: API messages as operations of ``__temporal_system`` take and give them.

Temporal's servers and SDKs read protobuf's bytes and its JSON form. The bytes need the codec of :mod:`perdure.wire`, which
:func:`register` makes known when it is loaded; without it requests go as JSON, and of the responses, which are small, the
few fields that are asked for are read and written here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import msgspec

from perdure.api._message import Message
from perdure.api.common._payload_wire import field
from perdure.api.common.v1 import Payload
from perdure.api.workflowservice import v1 as ws

MessageT = TypeVar("MessageT", bound=Message)

ENDPOINT = "__temporal_system"
SERVICE = "temporal.api.workflowservice.v1.WorkflowService"
SIGNAL_WITH_START = "SignalWithStartWorkflowExecution"
#: Marks a payload that has payloads inside: a codec is for those, not for the whole.
MARK = "__temporal_system_payload"

_PACKAGE = "temporal.api.workflowservice.v1."
_BINARY = b"binary/protobuf"
_JSON = b"json/protobuf"
_RUN_ID, _STARTED = 1, 2  # the fields of a response

_codec: tuple[Callable[[Message], bytes], Callable[[type[Any], bytes], Any]] | None = None


def register(encode: Callable[[Message], bytes], decode: Callable[[type[Any], bytes], Any]) -> None:
    """Use protobuf's bytes from now on."""
    global _codec
    _codec = encode, decode


def is_system_payload(payload: Payload) -> bool:
    """Whether a payload is a message of this endpoint."""
    return payload.metadata.get(MARK) == b"true"


def to_payload(message: Message) -> Payload:
    """The payload of a request or response of WorkflowService."""
    metadata = {"messageType": f"{_PACKAGE}{type(message).__name__}".encode(), MARK: b"true"}
    if _codec is not None:
        return Payload({"encoding": _BINARY, **metadata}, _codec[0](message))
    if isinstance(message, ws.SignalWithStartWorkflowExecutionResponse):
        return Payload({"encoding": _BINARY, **metadata}, _response(message))
    from perdure.api.json import to_json_dict  # few processes need it

    return Payload({"encoding": _JSON, **metadata}, msgspec.json.encode(to_json_dict(message)))


def from_payload(payload: Payload | None, message_type: type[MessageT]) -> MessageT:
    """The message in a payload.

    Raises:
        ValueError: there is none of that type.
    """
    name = f"{_PACKAGE}{message_type.__name__}"
    if payload is None or payload.metadata.get("messageType", name.encode()).decode() != name:
        raise ValueError(f"failed to decode input payload: it is no {name}")
    encoding = payload.metadata.get("encoding")
    if encoding == _JSON:
        from perdure.api.json import JSONFormError, from_json_dict

        try:
            return from_json_dict(msgspec.json.decode(payload.data), message_type)
        except (JSONFormError, msgspec.DecodeError) as error:
            raise ValueError(f"failed to decode input payload: {error}") from None
    if encoding != _BINARY:
        raise ValueError(f"failed to decode input payload: its encoding is {encoding!r}")
    if _codec is not None:
        message: MessageT = _codec[1](message_type, payload.data)
        return message
    if issubclass(message_type, ws.SignalWithStartWorkflowExecutionResponse):
        return cast("MessageT", _read_response(payload.data))
    raise ValueError("failed to decode input payload: protobuf's bytes are read with pip install 'perdure[temporal]'")


def _response(message: ws.SignalWithStartWorkflowExecutionResponse) -> bytes:
    return field(_RUN_ID, message.run_id.encode()) + field(_STARTED, int(message.started))


def _read_response(data: bytes) -> ws.SignalWithStartWorkflowExecutionResponse:
    found: dict[int, Any] = {}
    at = 0
    while at < len(data):
        key, at = _varint(data, at)
        value, at = _varint(data, at)
        if key & 7 == 2:  # a length and as many bytes
            found[key >> 3] = data[at : at + value]
            at += value
        elif key & 7 == 0:
            found[key >> 3] = value
        else:
            raise ValueError("failed to decode the response: it is no protobuf")
    return ws.SignalWithStartWorkflowExecutionResponse(
        run_id=found.get(_RUN_ID, b"").decode(), started=bool(found.get(_STARTED, 0))
    )


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        if at >= len(data):
            raise ValueError("failed to decode the response: it is cut short")
        value |= (data[at] & 0x7F) << shift
        at += 1
        if data[at - 1] < 0x80:
            return value, at
        shift += 7
