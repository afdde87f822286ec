"""Decoding by type hint: like Temporal's Python SDK wherever that takes the hint, and further where it does not."""

from __future__ import annotations

import collections
import collections.abc
import dataclasses
import enum
import pathlib
import typing
import uuid
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Annotated, Any, Generic, Literal, NamedTuple, NewType, Optional, TypedDict, TypeVar, Union

import msgspec
import pytest
import temporalio.converter
from hypothesis import given
from hypothesis import strategies as st

from perdure.converter import JSONTypeConverter, PayloadConverter, value_to_type

T = TypeVar("T")
U = TypeVar("U")
UserId = NewType("UserId", int)


class Colour(enum.IntEnum):
    RED = 1
    BLUE = 2


class Mixed(int, enum.Enum):
    ONE = 1


class Size(enum.StrEnum):
    SMALL = "small"
    LARGE = "large"


class Shade(str, enum.Enum):  # noqa: UP042  (older code has it)
    DARK = "dark"


class Plain(enum.Enum):
    TEXT = "text"
    NUMBER = 3


@dataclasses.dataclass
class Leaf:
    value: int
    name: str | None = None


@dataclasses.dataclass(frozen=True)
class Node:
    leaf: Leaf
    children: list[Node] = dataclasses.field(default_factory=list)
    by_number: dict[int, Leaf] = dataclasses.field(default_factory=dict)
    when: datetime | None = None
    derived: int = dataclasses.field(default=1, init=False)


class Movie(TypedDict):
    title: str
    year: typing.NotRequired[int]
    cast: list[Leaf]


class Point(NamedTuple):
    x: float
    y: int = 5
    label: str | None = None


@dataclasses.dataclass
class Box(Generic[T]):
    item: T
    others: list[T]


@dataclasses.dataclass
class LeafBox(Box[Leaf]):
    size: int = 0


class GenericMovie(TypedDict, Generic[T]):
    extra: T


class Record(msgspec.Struct):
    name: str
    when: date


class PydanticV1:
    def __init__(self, **fields: Any) -> None:
        self.fields = fields

    @classmethod
    def parse_obj(cls, value: Any) -> PydanticV1:
        return cls(**value)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.fields})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, PydanticV1) and self.fields == other.fields

    __hash__ = None  # type: ignore[assignment]


class PydanticV2(PydanticV1):
    @classmethod
    def model_validate(cls, value: Any) -> PydanticV2:
        return cls(validated=value)


HINTS: list[Any] = [
    Any,
    int,
    float,
    bool,
    str,
    bytes,
    type(None),
    datetime,
    uuid.UUID,
    UserId,
    Colour,
    Mixed,
    Size,
    Shade,
    Literal["a", 1, None],  # noqa: PYI061
    int | str,
    str | int,
    float | int,
    int | float,
    bool | int | None,
    Optional[Leaf],  # noqa: UP045
    Union[Leaf, list[Leaf], None],  # noqa: UP007
    dict,
    dict[str, int],
    dict[int, Leaf],
    dict[float, Any],
    dict[bool, str],
    dict[None, str],
    dict[Colour, int],
    dict[Size, int],
    dict[uuid.UUID, int],
    collections.abc.Mapping[str, list[int]],
    list,
    list[Any],
    list[int],
    list[T],  # type: ignore[valid-type]
    list[list[str]],
    collections.abc.Sequence[Leaf],
    collections.abc.Iterable[int],
    tuple,
    tuple[int, ...],
    tuple[int, str],
    tuple[str, Leaf, None],
    set[int],
    set,
    frozenset[str],
    collections.deque[int],
    Leaf,
    Node,
    Movie,
    PydanticV1,
]
# What the SDK refuses or returns unconverted, and we convert.
OURS_ALONE: list[tuple[Any, Any, Any]] = [
    (Decimal, "1.10", Decimal("1.10")),
    (Decimal, 3, Decimal(3)),
    (Decimal, 0.1, Decimal("0.1")),
    (date, "2024-02-29", date(2024, 2, 29)),
    (time, "12:30:00.5", time(12, 30, 0, 500_000)),
    (timedelta, "PT1M30S", timedelta(seconds=90)),
    (timedelta, 1.5, timedelta(seconds=1.5)),
    (Plain, "text", Plain.TEXT),
    (Plain, 3, Plain.NUMBER),
    (object, {"a": 1}, {"a": 1}),
    (Annotated[int, "doc"], 3, 3),
    (pathlib.PurePosixPath, "a/b", pathlib.PurePosixPath("a/b")),
    (bytes, "aGk=", b"hi"),
    (Point, [1, 2, "x"], Point(1.0, 2, "x")),
    (Point, [1], Point(1.0)),
    (list[Point], [[1, 2]], [Point(1.0, 2)]),
    (Box[int], {"item": 1, "others": [2]}, Box(1, [2])),
    (Box[Leaf], {"item": {"value": 1}, "others": []}, Box(Leaf(1), [])),
    (Box[list[Leaf]], {"item": [{"value": 1}], "others": []}, Box([Leaf(1)], [])),
    (LeafBox, {"item": {"value": 1}, "others": [{"value": 2}], "size": 3}, LeafBox(Leaf(1), [Leaf(2)], 3)),
    (GenericMovie[Leaf], {"extra": {"value": 1}}, {"extra": Leaf(1)}),
    (Record, {"name": "r", "when": "2024-01-02"}, Record("r", date(2024, 1, 2))),
    (PydanticV2, {"a": 1}, PydanticV2(validated={"a": 1})),
]

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-3, 3)
    | st.floats(-2, 2)
    | st.sampled_from(
        ["a", "small", "dark", "1", "1.5", "true", "null", "2024-01-02T03:04:05+00:00", str(uuid.UUID(int=1))]
    ),
    lambda values: (
        st.lists(values, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["value", "name", "leaf", "children", "by_number", "when", "derived", "title", "year", "cast"]
            )
            | st.sampled_from(["1", "1.5", "true", "null", "small", str(uuid.UUID(int=1))]),
            values,
            max_size=4,
        )
        | st.fixed_dictionaries({"value": st.integers() | values}, optional={"name": st.none() | st.text(max_size=2)})
    ),
    max_leaves=8,
)


@given(st.sampled_from(HINTS), JSON)
def test_conversions_are_temporals(hint: Any, value: Any) -> None:
    try:
        theirs = temporalio.converter.value_to_type(hint, value)
    except Exception as err:
        if isinstance(value, str) and hint is bytes:
            return  # base64, ours alone
        with pytest.raises(type(err)):
            value_to_type(hint, value)
        return
    ours = value_to_type(hint, value)
    assert ours == theirs
    assert repr(ours) == repr(theirs)  # tells 1 from 1.0 and True


@pytest.mark.parametrize(("hint", "value", "expected"), OURS_ALONE, ids=lambda part: repr(part)[:40])
def test_conversions_beyond_temporals(hint: Any, value: Any, expected: Any) -> None:
    result = value_to_type(hint, value)
    assert result == expected
    assert type(result) is type(expected)


@pytest.mark.parametrize(
    "value",
    [Decimal("1.50"), date(2024, 1, 2), time(1, 2, 3), timedelta(hours=1, microseconds=5), Plain.NUMBER, Point(1.5, 2)],
    ids=repr,
)
def test_values_temporal_refuses_survive_a_round_trip(value: Any) -> None:
    converter = PayloadConverter.default
    assert converter.from_payload(converter.to_payload(value), type(value)) == value
    hint = list[type(value)]  # type: ignore[misc]
    assert converter.from_payload(converter.to_payload([value]), hint) == [value]


def test_structs_and_pydantic_models_are_written_as_objects() -> None:
    class Serializer:
        def to_python(self, value: Any, *, mode: str) -> Any:
            return {"mode": mode}

    class Model:
        __pydantic_serializer__ = Serializer()

    converter = PayloadConverter.default
    assert converter.to_payload([Record("r", date(2024, 1, 2))]).data == b'[{"name":"r","when":"2024-01-02"}]'
    assert converter.to_payload(Model()).data == b'{"mode":"json"}'


def test_the_order_of_a_union_counts_though_unions_compare_equal() -> None:
    assert int | float == float | int
    assert repr(value_to_type(int | float, 1.0)) == "1"
    assert repr(value_to_type(float | int, 1.0)) == "1.0"


def test_errors_name_the_way_to_the_misfit() -> None:
    with pytest.raises(TypeError, match="Failed converting field leaf on dataclass") as outer:
        value_to_type(Node, {"leaf": {"value": "x"}})
    assert "Failed converting field value" in str(outer.value.__cause__)
    with pytest.raises(TypeError, match="Unserializable type during conversion"):
        value_to_type(typing.Callable, 1)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"Failed converting to .* from \[\]"):
        value_to_type(int | str, [])


class Upper(JSONTypeConverter):
    def to_typed_value(self, hint: type, value: Any) -> Any:
        if hint is str and isinstance(value, str):
            return value.upper()
        return "nothing" if hint is Leaf and value is None else JSONTypeConverter.Unhandled


def test_custom_converters_come_first_at_every_depth() -> None:
    assert value_to_type(dict[str, list[str]], {"a": ["b"]}, [Upper()]) == {"a": ["B"]}
    assert value_to_type(Leaf, {"value": 1, "name": "n"}, [Upper()]) == Leaf(1, "N")
    assert value_to_type(Leaf | None, None, [Upper()]) == "nothing"


def test_a_datetime_stays_one() -> None:
    now = datetime.now(UTC)
    assert value_to_type(datetime, now) is now
