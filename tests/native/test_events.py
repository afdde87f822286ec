"""The event codec: against its twin, on damaged bytes, and lazily."""

from __future__ import annotations

import pickle
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings

from perdure._native.events import HistoryEvent, batch_range, decode_batch, encode_batch
from perdure.api.common import v1 as common_v1
from perdure.api.history import v1 as history_v1
from perdure.api.history._registry import ATTRIBUTES
from perdure.api.sdk import v1 as sdk_v1
from tests.twins import events as twin

INT64 = st.integers(-(2**62), 2**62)
payloads = st.builds(
    common_v1.Payload, st.dictionaries(st.text(max_size=8), st.binary(max_size=8), max_size=2), st.binary(max_size=40)
)
many_payloads = st.builds(common_v1.Payloads, st.lists(payloads, max_size=3))
attributes = st.one_of(
    st.tuples(st.just(17), st.builds(history_v1.TimerStartedEventAttributes, st.text(max_size=10), INT64)),
    st.tuples(
        st.just(26),
        st.builds(history_v1.WorkflowExecutionSignaledEventAttributes, st.text(max_size=300), many_payloads),
    ),
    st.tuples(st.just(2), st.builds(history_v1.WorkflowExecutionCompletedEventAttributes, many_payloads)),
    st.sampled_from(sorted(ATTRIBUTES)).map(lambda number: (number, ATTRIBUTES[number][1]())),
)
extras = st.one_of(
    st.none(),
    st.builds(history_v1.EventExtras, st.builds(sdk_v1.UserMetadata, payloads)),
)


@st.composite
def batches(draw: st.DrawFn) -> list[HistoryEvent]:
    first = draw(st.integers(1, 2**40))
    events = []
    for offset in range(draw(st.integers(1, 12))):
        event_type, struct = draw(attributes)
        events.append(
            HistoryEvent(
                first + offset,
                event_type,
                draw(INT64),
                struct,
                version=draw(st.sampled_from([0, 0, -5, 7])),
                task_id=draw(st.sampled_from([0, 0, 1 << 40])),
                worker_may_ignore=draw(st.booleans()),
                extras=draw(extras),
            )
        )
    return events


@settings(max_examples=80, deadline=None)
@given(batches())
def test_bytes_and_events_are_the_twins(events: list[HistoryEvent]) -> None:
    data = encode_batch(events)
    assert data == twin.encode(events)
    decoded = decode_batch(data)
    assert decoded == events == twin.decode(data)
    assert batch_range(data) == (events[0].event_id, len(events))
    # What was never read is written again as it came.
    assert encode_batch(decode_batch(data)) == data


@settings(max_examples=80, deadline=None)
@given(batches(), st.data())
def test_damage_is_an_error_never_a_crash(events: list[HistoryEvent], data: st.DataObject) -> None:
    good = encode_batch(events)
    cut = data.draw(st.integers(0, len(good) - 1))
    with pytest.raises(ValueError, match=r"damaged|format|batch"):
        decode_batch(good[:cut])
    position = data.draw(st.integers(0, len(good) - 1))
    bad = bytearray(good)
    bad[position] ^= data.draw(st.integers(1, 255))
    try:
        for event in decode_batch(bytes(bad)):
            assert event.attributes is not None
    except (ValueError, OverflowError):
        pass


def test_attributes_stay_bytes_until_they_are_read() -> None:
    events = [
        HistoryEvent(1, 17, 5, history_v1.TimerStartedEventAttributes("a")),
        HistoryEvent(2, 17, 6, history_v1.TimerStartedEventAttributes("b")),
    ]
    first, second = decode_batch(encode_batch(events))
    assert not first.is_decoded
    assert first.timer_started_event_attributes.timer_id == "a"
    assert first.is_decoded
    assert not second.is_decoded
    with pytest.raises(AttributeError):
        _ = second.timer_fired_event_attributes


def test_code_for_protobuf_messages_can_ask_what_is_set() -> None:
    summary = common_v1.Payload(data=b"s")
    event = HistoryEvent(
        1,
        17,
        attributes=history_v1.TimerStartedEventAttributes("t"),
        extras=history_v1.EventExtras(sdk_v1.UserMetadata(summary)),
    )
    assert event.HasField("timer_started_event_attributes")
    assert not event.HasField("timer_fired_event_attributes")
    assert event.HasField("user_metadata") and not HistoryEvent(1).HasField("user_metadata")
    assert event.user_metadata.HasField("summary") and not event.user_metadata.HasField("details")
    with pytest.raises(AttributeError):
        event.HasField("no_such_field")
    with pytest.raises(AttributeError):
        summary.HasField("no_such_field")


def test_ids_must_be_consecutive() -> None:
    def event(number: int) -> HistoryEvent:
        return HistoryEvent(number, 17, 5, history_v1.TimerStartedEventAttributes("a"))

    with pytest.raises(ValueError, match="consecutive"):
        encode_batch([event(1), event(3)])
    with pytest.raises(ValueError, match="at least one"):
        encode_batch([])


@pytest.mark.parametrize("data", [b"", b"\x02", b"\x01\xff", b"\x01\x01\x01\x00\x7f\x00\x00\x00"])
def test_bytes_of_nothing(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"damaged|format|unknown type"):
        for event in decode_batch(data):
            _ = event.attributes


def test_pickles() -> None:
    event = HistoryEvent(9, 17, 5, history_v1.TimerStartedEventAttributes("a"), version=3)
    copy: Any = pickle.loads(pickle.dumps(event))
    assert copy == event
