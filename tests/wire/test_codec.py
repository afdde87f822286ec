"""Our structs and protobuf's bytes against ``temporalio``: what we write it reads, what it writes we read."""

from __future__ import annotations

from typing import Any

import pytest
import temporalio.api.common.v1
import temporalio.api.failure.v1
import temporalio.api.history.v1
import temporalio.api.workflowservice.v1 as theirs_ws
from google.protobuf import message_factory
from google.protobuf.json_format import ParseDict
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from perdure.api._message import Message
from perdure.api.command.v1 import Command
from perdure.api.common.v1 import Payload, WorkflowExecution
from perdure.api.enums.v1 import EventType
from perdure.api.failure.v1 import Failure
from perdure.api.history._registry import ATTRIBUTES
from perdure.api.history.v1 import EventExtras, History
from perdure.api.json import to_json_dict
from perdure.api.protocol.v1 import Message as ProtocolMessage
from perdure.api.update.v1 import Request
from perdure.api.workflowservice.v1 import (
    GetWorkflowExecutionHistoryResponse,
    StartWorkflowExecutionRequest,
    StartWorkflowExecutionResponse,
)
from perdure.wire.codec import DecodeError, UnknownMessage, decode, encode, type_name
from tests.api.descriptors import descriptor, message_types
from tests.api.messages import events, messages

LARGE = settings(suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large], deadline=None)
TYPES = [message_type for message_type in message_types() if message_type is not EventExtras]


def _name(message_type: type) -> str:
    return f"{message_type.__module__.split('.')[-2]}.{message_type.__name__}"


def _their_class(message_type: type[Message]) -> Any:
    return message_factory.GetMessageClass(descriptor(message_type))


@pytest.mark.parametrize("message_type", TYPES, ids=_name)
def test_every_message_both_ways(message_type: type[Message]) -> None:
    """Fields do not merely survive, they mean the same: the JSON form, which has an oracle of its own, says so."""
    their_class = _their_class(message_type)

    @settings(LARGE, max_examples=3)
    @given(messages(message_type))
    def survives(message: Any) -> None:
        data = encode(message)
        theirs = their_class.FromString(data)
        assert theirs.ByteSize() == len(data)  # nothing unknown, nothing written that need not be
        assert decode(message_type, theirs.SerializeToString()) == message
        assert decode(message_type, data) == message
        # not theirs itself: inside an Any equal messages need not be equal bytes
        assert decode(message_type, ParseDict(to_json_dict(message), their_class()).SerializeToString()) == message

    survives()


@pytest.mark.parametrize("event_type", sorted(ATTRIBUTES), ids=lambda number: EventType(number).name)
def test_every_event_survives_both_ways(event_type: int) -> None:
    @settings(LARGE, max_examples=3)
    @given(events(event_type))
    def survives(event: Any) -> None:
        data = encode(History([event]))
        theirs = temporalio.api.history.v1.History.FromString(data)
        assert theirs.ByteSize() == len(data)
        assert theirs.events[0].WhichOneof("attributes") == ATTRIBUTES[event_type][0]
        ours = decode(History, theirs.SerializeToString())
        assert ours == History([event])
        assert encode(ours) == theirs.SerializeToString()  # the very bytes, in their order

    survives()


def test_commands_have_one_field_for_their_attributes() -> None:
    for number, (name, _) in _commands().items():
        theirs = temporalio.api.command.v1.Command(command_type=number)
        getattr(theirs, name).SetInParent()
        ours = decode(Command, theirs.SerializeToString())
        assert type(ours.attributes).__name__.lower() == name.replace("_", "")
        assert temporalio.api.command.v1.Command.FromString(encode(ours)) == theirs


def _commands() -> dict[int, tuple[str, Any]]:
    import temporalio.api.command.v1 as commands

    found = commands.Command.DESCRIPTOR.oneofs_by_name["attributes"].fields
    return {index + 1: (field.name, field) for index, field in enumerate(found)}


def test_messages_inside_any() -> None:
    message = ProtocolMessage(id="1", event_id=0, body=Request(input=None))
    assert decode(ProtocolMessage, encode(message)) == message
    foreign = ProtocolMessage(body=UnknownMessage("type.googleapis.com/google.protobuf.Api", b"\x0a\x01x"))
    assert decode(ProtocolMessage, encode(foreign)) == foreign


def test_fields_of_a_newer_temporal_are_skipped() -> None:
    known = encode(WorkflowExecution("w", "r"))
    unknown = bytes.fromhex("f8 07 05 fa 07 02 6869 f9 07 0102030405060708 fd 07 01020304 fb 07 08 01 fc 07")
    assert decode(WorkflowExecution, unknown + known + unknown) == WorkflowExecution("w", "r")
    # a known number that comes as another kind is not the field we know
    assert decode(WorkflowExecution, b"\x08\x05" + known) == WorkflowExecution("w", "r")


def test_history_events_keep_what_we_do_not_know() -> None:
    theirs = temporalio.api.history.v1.HistoryEvent(event_id=7, event_type=17)
    theirs.timer_started_event_attributes.timer_id = "t"
    inner = theirs.timer_started_event_attributes.SerializeToString() + b"\xfa\x3f\x03new"
    data = b"\x08\x07\x18\x11\xfa\x3f\x02hi" + _timer_started(inner)
    history = decode(History, b"\x0a" + bytes([len(data)]) + data)
    assert history.events[0].timer_started_event_attributes.timer_id == "t"
    assert encode(history) == b"\x0a" + bytes([len(data)]) + data


def _timer_started(inner: bytes) -> bytes:
    number = temporalio.api.history.v1.HistoryEvent.TIMER_STARTED_EVENT_ATTRIBUTES_FIELD_NUMBER
    tag = number << 3 | 2
    return bytes([tag & 0x7F | 0x80, tag >> 7, len(inner)]) + inner


def test_events_of_an_unknown_type_pass_through() -> None:
    data = bytes.fromhex("08 07 18 e7 07 e0 12 01".replace(" ", ""))
    history = decode(History, b"\x0a" + bytes([len(data)]) + data)
    event = history.events[0]
    assert (event.event_id, event.event_type, event.worker_may_ignore) == (7, 999, True)
    assert event.attributes is None
    assert encode(history) == b"\x0a" + bytes([len(data)]) + data


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"\x0a", "cut off"),
        (b"\x0a\x05ab", "cut off"),
        (b"\x80", "cut off"),
        (b"\x80" * 10 + b"\x01", "64 bits"),
        (b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", "cut off"),
        (b"\x00\x01", "field number"),
        (b"\x0f", "wire type"),
        (b"\x0a\x01\xff", r"temporal\.api\.common\.v1\.WorkflowExecution\.workflow_id is not UTF-8"),
        (b"\xfb\x07\x08\x01", "cut off"),
        (b"\xfb\x07\x84\x08", "group"),
        (b"\xfb\x07" * 200, "too deep"),
    ],
)
def test_malformed_bytes_are_refused(data: bytes, message: str) -> None:
    with pytest.raises(DecodeError, match=message):
        decode(WorkflowExecution, data)


@given(st.binary(max_size=60))
@settings(deadline=None)
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    for message_type in (StartWorkflowExecutionRequest, GetWorkflowExecutionHistoryResponse, Failure, Payload):
        try:
            message = decode(message_type, data)
        except DecodeError:
            continue
        assert decode(message_type, encode(message)) == message


def test_depth_is_bounded() -> None:
    failure = temporalio.api.failure.v1.Failure(message="innermost")
    for _ in range(95):
        failure = temporalio.api.failure.v1.Failure(cause=failure)
    assert encode(decode(Failure, failure.SerializeToString())) == failure.SerializeToString()
    deep = Failure()
    for _ in range(120):
        deep = Failure(cause=deep)
    with pytest.raises(DecodeError, match="too deep"):
        decode(Failure, encode(deep))
    for _ in range(1000):
        deep = Failure(cause=deep)
    with pytest.raises(ValueError, match="too deep"):
        encode(deep)


def test_errors_name_the_field() -> None:
    with pytest.raises(TypeError, match=r"WorkflowExecution\.workflow_id: expected a string, got 5"):
        encode(WorkflowExecution(5))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"WorkflowExecution\.workflow_id: .*surrogates"):
        encode(WorkflowExecution("\ud800"))
    request = StartWorkflowExecutionRequest(workflow_task_timeout=1, priority=None, retry_policy=None)
    request.workflow_id_reuse_policy = 2**31
    with pytest.raises(
        ValueError, match=r"StartWorkflowExecutionRequest\.workflow_id_reuse_policy: 2147483648 does not"
    ):
        encode(request)
    with pytest.raises(TypeError, match="no message"):
        encode(EventExtrasLike())


class EventExtrasLike(Message):
    """No message of Temporal's."""


def test_go_s_zero_time_is_no_time_and_far_times_are_the_last_we_have() -> None:
    from google.protobuf.timestamp_pb2 import Timestamp

    from perdure.api.history.v1 import WorkflowExecutionStartedEventAttributes as Started

    def started(seconds: int) -> int | None:
        theirs = temporalio.api.history.v1.WorkflowExecutionStartedEventAttributes(
            workflow_execution_expiration_time=Timestamp(seconds=seconds)
        )
        return decode(Started, theirs.SerializeToString()).workflow_execution_expiration_time

    assert started(-62_135_596_800) is None
    assert started(0) == 0
    assert started(253_402_300_799) == 2**63 - 1
    assert started(-60_000_000_000) == -(2**63)


def test_names() -> None:
    assert type_name(Payload) == "temporal.api.common.v1.Payload"
    response = theirs_ws.StartWorkflowExecutionResponse(run_id="r", started=True)
    assert decode(StartWorkflowExecutionResponse, response.SerializeToString()) == StartWorkflowExecutionResponse(
        run_id="r", started=True
    )
