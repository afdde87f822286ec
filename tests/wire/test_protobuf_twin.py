"""The compiled codec against its plain twin: the same bytes, the same messages, the same refusals."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from perdure._native.protobuf import reader, writer
from perdure.api._message import Message
from perdure.api.common.v1 import Payload, Priority, RetryPolicy, WorkflowExecution
from perdure.api.failure.v1 import Failure
from perdure.api.history.v1 import EventExtras, History
from perdure.api.workflowservice.v1 import PollWorkflowTaskQueueResponse, StartWorkflowExecutionRequest
from perdure.wire import codec
from perdure.wire._tables import Tables
from tests.api.descriptors import message_types
from tests.api.messages import messages
from tests.twins import protobuf as twin

_NATIVE = codec._tables
_TWIN = Tables(twin)
_TYPES = [message_type for message_type in message_types() if message_type is not EventExtras]
LARGE = settings(
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large], deadline=None, max_examples=150
)


def _outcome(function: Any, *args: Any) -> tuple[str, Any]:
    try:
        return "result", function(*args)
    except (reader.DecodeError, twin.DecodeError) as error:
        return "refused", str(error)
    except (TypeError, ValueError) as error:
        return type(error).__name__, str(error)


def _both(message_type: type[Message], data: bytes) -> tuple[tuple[str, Any], tuple[str, Any]]:
    return (
        _outcome(reader.decode, _NATIVE.of(message_type), data),
        _outcome(twin.decode, _TWIN.of(message_type), data),
    )


@LARGE
@given(st.sampled_from(_TYPES).flatmap(messages))
def test_messages(message: Any) -> None:
    message_type = type(message)
    data = writer.encode(_NATIVE.of(message_type), message)
    assert data == twin.encode(_TWIN.of(message_type), message)
    assert reader.decode(_NATIVE.of(message_type), data) == twin.decode(_TWIN.of(message_type), data) == message


@LARGE
@given(
    st.sampled_from([StartWorkflowExecutionRequest, Failure, Payload, Priority, RetryPolicy]), st.binary(max_size=40)
)
def test_any_bytes(message_type: type[Message], data: bytes) -> None:
    native, plain = _both(message_type, data)
    assert native[0] == plain[0]
    if native[0] == "result":
        assert repr(native[1]) == repr(plain[1])  # nan is not itself


@LARGE
@given(messages(PollWorkflowTaskQueueResponse), st.data())
def test_damaged_messages(message: Any, data: st.DataObject) -> None:
    whole = bytearray(codec.encode(message))
    if not whole:
        return
    place = data.draw(st.integers(0, len(whole) - 1))
    whole[place] = data.draw(st.integers(0, 255))
    cut = bytes(whole[: data.draw(st.integers(place, len(whole)))])
    native, plain = _both(PollWorkflowTaskQueueResponse, cut)
    if plain[0] == "result":
        assert native[0] == "result"
    try:
        _ = [event.attributes for event in native[1].history.events] if native[0] == "result" else []
    except (AttributeError, reader.DecodeError):
        pass  # no history; or attributes that are damaged, which the twin reads at once


@pytest.mark.parametrize(
    "message",
    [
        WorkflowExecution(5),  # type: ignore[arg-type]
        WorkflowExecution("\ud800"),
        RetryPolicy(maximum_attempts=2**31),
        RetryPolicy(maximum_attempts="many"),  # type: ignore[arg-type]
        RetryPolicy(initial_interval="1s"),  # type: ignore[arg-type]
        RetryPolicy(initial_interval=2**63),
        Payload(metadata={"a": "text"}),  # type: ignore[dict-item]
        Payload(metadata={1: b""}),  # type: ignore[dict-item]
        Payload(data="text"),  # type: ignore[arg-type]
        Failure(cause=Payload()),  # type: ignore[arg-type]
        History(["event"]),  # type: ignore[list-item]
    ],
)
def test_refused_values(message: Message) -> None:
    native = _outcome(writer.encode, _NATIVE.of(type(message)), message)
    plain = _outcome(twin.encode, _TWIN.of(type(message)), message)
    assert native[0] == plain[0] and native[0] != "result"
    assert native[1].split(":")[0] == plain[1].split(":")[0]  # the field


def test_far_times() -> None:
    for seconds in (-(2**62), 2**62, -62_135_596_800, 9_223_372_036, -9_223_372_037, 0):
        inner = bytearray()
        twin._varint(inner, 1 << 3)
        twin._varint(inner, seconds)
        data = bytes([0x0A, len(inner)]) + bytes(inner)
        native, plain = _both(RetryPolicy, data)
        assert native == plain
