"""Payloads against the installed ``temporalio``: the same bytes, the same metadata, the same values back."""

from __future__ import annotations

import collections
import dataclasses
import enum
import math
import uuid
from datetime import UTC, datetime, timedelta, timezone
from typing import Any, NamedTuple

import pytest
import temporalio.api.common.v1
import temporalio.converter
from google.protobuf.wrappers_pb2 import StringValue
from hypothesis import given
from hypothesis import strategies as st

from perdure.api.common.v1 import Payload
from perdure.converter import JSONPlainPayloadConverter, PayloadConverter

OURS = PayloadConverter.default
THEIRS = temporalio.converter.PayloadConverter.default


class Colour(enum.IntEnum):
    RED = 1
    BLUE = 250


class Size(enum.StrEnum):
    SMALL = "small"
    GROSS = "groß"


class Text(str):
    __slots__ = ()


class Number(int):
    pass


class Point(NamedTuple):
    x: int
    y: float


@dataclasses.dataclass
class Inner:
    value: Any
    name: str = "ä"


@dataclasses.dataclass(frozen=True, slots=True)
class Outer:
    zeta: Any
    inner: Inner
    alpha: list[Any]
    derived: int = dataclasses.field(default=7, init=False)


class WithDict:
    def __init__(self, value: Any) -> None:
        self.value = value

    def dict(self) -> dict[str, Any]:
        return {"value": self.value, "a": 1}


TEXT = st.text(st.characters()) | st.text(st.sampled_from('aä€😀\ud800\udfff"\\/\x00\x1f\x7f\n\r\t\b\f \u2028'))
FLOATS = st.floats() | st.sampled_from([0.1, 1e16, 1e-7, 123456789.0, 5e-324, 1e22, -0.0, math.pi, math.nan, math.inf])
INTEGERS = st.integers() | st.integers(-(2**65), 2**65) | st.sampled_from([2**63 - 1, -(2**63), 2**63, 2**64])
ZONES = st.none() | st.sampled_from([UTC, timezone(timedelta(hours=-5, minutes=-30)), timezone(timedelta(seconds=61))])
SCALARS = (
    st.none()
    | st.booleans()
    | INTEGERS
    | FLOATS
    | TEXT
    | st.datetimes(timezones=ZONES)
    | st.uuids()
    | st.binary(max_size=5)
    | st.sampled_from([*Colour, *Size, Text("é"), Number(3), Number(2**70)])
)
KEYS = TEXT | st.sampled_from([*Size, Text("k")])


def _containers(values: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return (
        st.lists(values, max_size=4)
        | st.lists(values, max_size=3).map(tuple)
        | st.lists(values, max_size=3).map(collections.deque)
        | st.sets(st.integers(), max_size=4)
        | st.frozensets(TEXT, max_size=2)
        | st.dictionaries(KEYS, values, max_size=4)
        | st.dictionaries(KEYS, values, max_size=3).map(lambda d: collections.defaultdict(int, d))
        | st.dictionaries(KEYS, values, max_size=3).map(collections.OrderedDict)
        | st.dictionaries(INTEGERS, values, max_size=2)
        | st.dictionaries(FLOATS, values, max_size=2)
        | st.dictionaries(st.booleans() | st.none(), values, max_size=1)
        | st.builds(Point, st.integers(), FLOATS)
        | st.builds(Inner, values, TEXT)
        | st.builds(Outer, values, st.builds(Inner, values), st.lists(values, max_size=2))
        | st.builds(WithDict, values)
    )


VALUES = st.recursive(SCALARS, _containers, max_leaves=12)


def _both(value: Any) -> tuple[Any, Any]:
    """What ours and theirs make of a value: a payload, or the type of the error."""
    results: list[Any] = []
    for converter in (OURS, THEIRS):
        try:
            payload = converter.to_payload(value)
        except Exception as err:
            results.append(type(err))
        else:
            results.append((dict(payload.metadata), payload.data))
    return results[0], results[1]


@given(VALUES)
def test_bytes_and_metadata_are_temporals(value: Any) -> None:
    ours, theirs = _both(value)
    assert ours == theirs


@pytest.mark.parametrize(
    "value",
    [
        None,
        b"",
        b"\x00\xff",
        bytearray(b"ab"),
        memoryview(b"ab"),
        "",
        "x" * 600,
        "\udfff😀\x7f",
        [[]],
        {},
        {"b": 1, "a": {"d": [], "c": ()}},
        {1: "mixed keys", "a": 1},
        {(1, 2): "no key"},
        range(3),
        object(),
        Inner,
        float("nan"),
        datetime(2024, 2, 29, 12, 30, tzinfo=UTC),
        uuid.UUID(int=7),
        StringValue(value="protobuf"),
        [StringValue(value="protobuf in a list")],
        {Point(1, 2): 3},
        (x for x in ()),
    ],
    ids=repr,
)
def test_odd_values_are_treated_alike(value: Any) -> None:
    ours, theirs = _both(value)
    assert ours == theirs


def test_deep_and_circular_values_are_treated_alike() -> None:
    deep: list[Any] = []
    for _ in range(200):
        deep = [deep]
    circle: list[Any] = []
    circle.append(circle)
    assert _both(deep)[0] == _both(deep)[1]
    assert _both(circle) == (ValueError, ValueError)


@given(st.lists(VALUES, max_size=3))
def test_values_read_back_as_temporal_reads_them(values: list[Any]) -> None:
    try:
        ours = OURS.to_payloads(values)
    except (TypeError, ValueError):
        return
    theirs = [temporalio.api.common.v1.Payload(metadata=p.metadata, data=p.data) for p in ours]
    assert repr(OURS.from_payloads(ours)) == repr(THEIRS.from_payloads(theirs))


@pytest.mark.parametrize(
    "data",
    [
        b"-0",
        b"18446744073709551616",
        b"-9223372036854775809",
        b"1e999",
        b"NaN",
        b"-Infinity",
        b'"\\ud800"',
        b'{"a":1,"a":2}',
        b"\xef\xbb\xbf1",
        b'"\x7f"',
        b'"\x01"',
        b'"\xff"',
        b"01",
        b"",
        b"[1]x",
        b" [1 , 2 ] ",
        "[1]".encode("utf-16"),
        b"[" * 100_000,
    ],
    ids=lambda data: repr(data[:20]),
)
def test_odd_json_is_read_alike(data: bytes) -> None:
    def read(converter: Any, payload: Any) -> Any:
        try:
            return repr(converter.from_payload(payload))
        except Exception as err:
            return type(err)

    metadata = {"encoding": b"json/plain"}
    assert read(OURS, Payload(dict(metadata), data)) == read(
        THEIRS, temporalio.api.common.v1.Payload(metadata=metadata, data=data)
    )


@given(
    st.binary(max_size=12) | st.text(st.sampled_from('[]{}":,.0123456789-+eEtrufalsn \\'), max_size=12).map(str.encode)
)
def test_any_bytes_are_read_alike(data: bytes) -> None:
    test_odd_json_is_read_alike(data)


def test_a_plain_encoder_takes_what_json_takes() -> None:
    ours = JSONPlainPayloadConverter(encoder=None, encoding="json/mine")
    theirs = temporalio.converter.JSONPlainPayloadConverter(encoder=None, encoding="json/mine")
    expected = theirs.to_payload({"b": [1.5], "a": "é"})
    payload = ours.to_payload({"b": [1.5], "a": "é"})
    assert payload is not None
    assert expected is not None
    assert (payload.metadata, payload.data) == (dict(expected.metadata), expected.data)
    with pytest.raises(TypeError):
        ours.to_payload(Inner(1))
