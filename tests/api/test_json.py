"""Protobuf's JSON form against ``temporalio``: what we write it reads, what it writes we read, nothing is lost."""

from __future__ import annotations

import json
from typing import Any

import pytest
import temporalio.api.common.v1
import temporalio.api.history.v1
import temporalio.api.protocol.v1
import temporalio.api.update.v1
from google.protobuf.json_format import MessageToDict, ParseDict
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from temporalio.client import WorkflowHistory

from perdure.api.command.v1 import Command, StartTimerCommandAttributes
from perdure.api.common.v1 import Payload, Payloads, Priority, WorkflowExecution
from perdure.api.enums.v1 import CommandType, EventType
from perdure.api.history._registry import ATTRIBUTES
from perdure.api.history.v1 import History
from perdure.api.json import (
    JSONFormError,
    event_from_json_dict,
    event_to_json_dict,
    from_json_dict,
    history_from_json,
    history_to_json,
    to_json_dict,
)
from perdure.api.protocol.v1 import Message as ProtocolMessage
from perdure.api.update.v1 import Request
from perdure.api.workflowservice.v1 import GetWorkflowExecutionHistoryResponse
from tests.api.messages import events, histories

LARGE = settings(suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large], deadline=None)


@settings(LARGE, max_examples=40)
@given(histories())
def test_histories_survive_the_way_to_temporal_and_back(history: History) -> None:
    text = history_to_json(history)
    assert history_from_json(text) == history
    if history.events:  # of an empty history the SDK writes {}, which it refuses to read
        theirs = WorkflowHistory.from_json("wf", text)
        assert theirs.to_json_dict() == json.loads(text)
        assert history_from_json(theirs.to_json()) == history


@pytest.mark.parametrize("event_type", sorted(ATTRIBUTES), ids=lambda number: EventType(number).name)
def test_every_event_type_survives(event_type: int) -> None:
    @settings(LARGE, max_examples=5)
    @given(events(event_type))
    def survives(event: Any) -> None:
        ours = event_to_json_dict(event)
        theirs = ParseDict(ours, temporalio.api.history.v1.HistoryEvent())
        assert theirs.WhichOneof("attributes") == ATTRIBUTES[event_type][0]
        assert MessageToDict(theirs) == ours
        assert event_from_json_dict(MessageToDict(theirs)) == event
        original_names = MessageToDict(theirs, preserving_proto_field_name=True)
        assert event_from_json_dict(original_names) == event

    survives()


EVENT = {
    "eventId": "5",
    "eventTime": "2024-01-02T03:04:05.000000006Z",
    "eventType": "EVENT_TYPE_ACTIVITY_TASK_TIMED_OUT",
    "activityTaskTimedOutEventAttributes": {
        "retryState": "RETRY_STATE_TIMEOUT",
        "failure": {
            "timeoutFailureInfo": {"timeoutType": "TIMEOUT_TYPE_START_TO_CLOSE"},
            "cause": {"childWorkflowExecutionFailureInfo": {"retryState": "RETRY_STATE_IN_PROGRESS"}},
        },
    },
}


@pytest.mark.parametrize(
    "text",
    [
        json.dumps(EVENT).replace("EVENT_TYPE_ACTIVITY_TASK_TIMED_OUT", "ActivityTaskTimedOut"),
        json.dumps(EVENT)
        .replace("TIMEOUT_TYPE_START_TO_CLOSE", "StartToClose")
        .replace("RETRY_STATE_TIMEOUT", "Timeout"),
        json.dumps(EVENT).replace("RETRY_STATE_IN_PROGRESS", "InProgress"),
        json.dumps(EVENT).replace('"EVENT_TYPE_ACTIVITY_TASK_TIMED_OUT"', "14").replace('"5"', "5"),
        json.dumps(EVENT).replace("05.000000006Z", "05.000000006+00:00").replace("02T03", "02T03"),
        json.dumps({**EVENT, "newField": {"a": 1}, "version": None}),
    ],
)
def test_what_tools_write_is_read_like_temporals_sdk(text: str) -> None:
    history = f'{{"events": [{text}]}}'
    expected = WorkflowHistory.from_json("wf", {"events": [EVENT]}).to_json_dict()
    assert WorkflowHistory.from_json("wf", history).to_json_dict() == expected
    assert json.loads(history_to_json(history_from_json(history))) == expected
    assert json.loads(history_to_json(history_from_json(json.loads(history)))) == expected


def test_short_names_are_read_too() -> None:
    text = json.dumps({"events": [EVENT]})
    for prefix in ("EVENT_TYPE_", "RETRY_STATE_", "TIMEOUT_TYPE_"):
        text = text.replace(prefix, "")
    assert history_from_json(text) == history_from_json({"events": [EVENT]})


def test_a_type_that_is_not_stated_follows_from_the_attributes() -> None:
    event = event_from_json_dict({"eventId": 1, "timer_fired_event_attributes": {"timer_id": "t"}})
    assert event.event_type == EventType.EVENT_TYPE_TIMER_FIRED
    assert event.attributes.timer_id == "t"


def test_events_of_an_unknown_type_may_be_ignored_when_they_say_so() -> None:
    event = {"eventId": "7", "eventType": "EVENT_TYPE_FROM_TOMORROW"}
    with pytest.raises(JSONFormError, match=r"FROM_TOMORROW.*newer Temporal"):
        event_from_json_dict(event)
    ignorable = event_from_json_dict({**event, "workerMayIgnore": True})
    assert ignorable.event_type == 0
    assert ignorable.worker_may_ignore
    assert event_to_json_dict(ignorable) == {"eventId": "7", "workerMayIgnore": True}


@pytest.mark.parametrize(
    ("history", "message"),
    [
        ("[]", "JSON history not a dictionary"),
        ("{", "the history is not JSON"),
        (b"\xff", "the history is not JSON"),
        ("{}", "History does not have iterable 'events'"),
        ('{"events":[1]}', "events.0: Event not a dictionary"),
        ('{"events":[{"eventId":"x"}]}', "events.0.eventId: expected an integer, got 'x'"),
        ('{"events":[{"eventId":true}]}', "events.0.eventId: expected an integer, got True"),
        ('{"events":[{"eventId":1.5}]}', "events.0.eventId: expected an integer, got 1.5"),
        ('{"events":[{"eventId":"9223372036854775808"}]}', "events.0.eventId: expected an integer from"),
        ('{"events":[{"eventTime":"yesterday"}]}', "events.0.eventTime: expected a timestamp such as"),
        ('{"events":[{"eventTime":"2024-13-01T00:00:00Z"}]}', "events.0.eventTime: expected a timestamp .month"),
        ('{"events":[{"workerMayIgnore":1}]}', "events.0.workerMayIgnore: expected true or false"),
        ('{"events":[{"links":{}}]}', "events.0.links: expected a list"),
        ('{"events":[{"links":[{"batchJob":1}]}]}', "events.0.links.0.batchJob: expected an object"),
        (
            '{"events":[{"timerStartedEventAttributes":{"startToFireTimeout":"1m"}}]}',
            "events.0.timerStartedEventAttributes.startToFireTimeout: expected a duration such as 1.5s, got '1m'",
        ),
        (
            '{"events":[{"workflowExecutionSignaledEventAttributes":{"header":{"fields":{"k":{"data":"%"}}}}}]}',
            "workflowExecutionSignaledEventAttributes.header.fields.k.data: expected base64, got '%'",
        ),
        (
            '{"events":[{"workflowExecutionSignaledEventAttributes":{"header":{"fields":[]}}}]}',
            "workflowExecutionSignaledEventAttributes.header.fields: expected an object",
        ),
        ('{"events":[{"timerFiredEventAttributes":{"timerId":1}}]}', "timerId: expected a string, got 1"),
    ],
)
def test_errors_name_the_place(history: str | bytes, message: str) -> None:
    with pytest.raises(JSONFormError, match=message):
        history_from_json(history)


def test_bytes_are_read_in_either_alphabet_with_or_without_padding() -> None:
    for text in ("-_8=", "+/8", "-_8"):
        assert from_json_dict({"data": text}, Payload).data == b"\xfb\xff"


@given(st.floats(width=32))
def test_32_bit_floats_are_as_short_as_temporals(weight: float) -> None:
    ours = to_json_dict(Priority(fairness_weight=weight))
    theirs = MessageToDict(temporalio.api.common.v1.Priority(fairness_weight=weight))
    assert ours == theirs
    assert repr(from_json_dict(ours, Priority).fairness_weight) == repr(weight)


def test_floats_that_do_not_fit_32_bits_are_infinite() -> None:
    assert to_json_dict(Priority(fairness_weight=1e300)) == {"fairnessWeight": "Infinity"}
    assert to_json_dict(Priority(fairness_weight=0.1)) == {"fairnessWeight": 0.1}
    with pytest.raises(JSONFormError, match="fairnessWeight: expected a number"):
        from_json_dict({"fairnessWeight": "heavy"}, Priority)
    with pytest.raises(JSONFormError, match="fairnessWeight: "):
        from_json_dict({"fairnessWeight": []}, Priority)


def test_messages_inside_any_keep_their_type() -> None:
    message = ProtocolMessage(id="1", event_id=3, body=Request(input=None))
    ours = to_json_dict(message)
    assert ours["body"] == {"@type": "type.googleapis.com/temporal.api.update.v1.Request"}
    theirs = ParseDict(ours, temporalio.api.protocol.v1.Message())
    assert theirs.body.Is(temporalio.api.update.v1.Request.DESCRIPTOR)
    assert from_json_dict(MessageToDict(theirs), ProtocolMessage) == message
    for body in ({}, {"@type": "type.googleapis.com/google.protobuf.Empty"}, 1):
        with pytest.raises(JSONFormError, match="body: expected an object whose @type"):
            from_json_dict({"body": body}, ProtocolMessage)
    with pytest.raises(JSONFormError, match="there is no message"):
        from_json_dict({"body": {"@type": "type.googleapis.com/temporal.api.update.v1.No"}}, ProtocolMessage)


def test_commands_name_their_attributes_like_the_oneof() -> None:
    command = Command(
        command_type=CommandType.COMMAND_TYPE_START_TIMER, attributes=StartTimerCommandAttributes("t", 1_500_000_000)
    )
    ours = to_json_dict(command)
    assert ours["startTimerCommandAttributes"] == {"timerId": "t", "startToFireTimeout": "1.500s"}
    assert from_json_dict(ours, Command) == command
    del ours["commandType"]
    assert from_json_dict(ours, Command) == command
    with pytest.raises(JSONFormError, match=r"startTimerCommandAttributes\.timerId"):
        from_json_dict({"startTimerCommandAttributes": {"timerId": 1}}, Command)


def test_responses_hold_histories() -> None:
    response = GetWorkflowExecutionHistoryResponse(history=history_from_json({"events": [EVENT]}))
    assert to_json_dict(response) == {"history": {"events": [EVENT]}}
    assert from_json_dict(to_json_dict(response), GetWorkflowExecutionHistoryResponse) == response


def test_original_names_and_nulls_are_read() -> None:
    assert from_json_dict({"workflow_id": "a", "runId": None}, WorkflowExecution) == WorkflowExecution("a")
    assert from_json_dict({"payloads": [{}]}, Payloads) == Payloads([Payload()])
    with pytest.raises(JSONFormError, match=r"expected an object \(Payloads\), got 1"):
        from_json_dict(1, Payloads)


def test_go_s_zero_time_is_no_time() -> None:
    from perdure.api.history.v1 import WorkflowExecutionStartedEventAttributes as Started

    zero = {"workflowExecutionExpirationTime": "0001-01-01T00:00:00Z"}
    assert from_json_dict(zero, Started).workflow_execution_expiration_time is None
    assert event_from_json_dict({"eventTime": "0001-01-01T00:00:00Z"}).event_time == 0
    for field, value in (
        ("workflowExecutionExpirationTime", "1500-01-01T00:00:00Z"),
        ("workflowRunTimeout", "1e10s"),
        ("workflowRunTimeout", "9999999999s"),
    ):
        with pytest.raises(JSONFormError, match=field):
            from_json_dict({field: value}, Started)
