"""Payloads outlive the code that wrote them: what newer types make of older payloads, and the other way round."""

from __future__ import annotations

import enum
import json
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, NotRequired, TypedDict

import pydantic
import pytest

from perdure.api.common.v1 import Payload
from perdure.contrib.pydantic import pydantic_data_converter
from perdure.converter import DataConverter

PLAIN = DataConverter.default
PYDANTIC = pydantic_data_converter


def old(value: Any, encoding: bytes = b"json/plain") -> Payload:
    """A payload as an earlier version of the code, or another SDK, has written it."""
    return Payload({"encoding": encoding}, json.dumps(value).encode())


async def read(converter: DataConverter, value: Any, hint: Any) -> Any:
    payload = value if isinstance(value, Payload) else old(value)
    [decoded] = await converter.decode([payload], [hint])
    return decoded


# ---- dataclasses


@dataclass
class Order1:
    id: int
    note: str


@dataclass
class Item:
    sku: str
    count: int = 1


class Speed(enum.StrEnum):
    SLOW = "slow"
    FAST = "fast"


@dataclass
class Order2:
    """``note`` is gone, the rest is new; what is new has defaults."""

    id: int
    items: list[Item] = field(default_factory=list)
    speed: Speed = Speed.SLOW
    due: datetime | None = None


async def written(converter: DataConverter, value: Any) -> Payload:
    [payload] = await converter.encode([value])
    return payload


async def test_added_fields_take_their_defaults_and_removed_ones_are_left_out() -> None:
    payload = await written(PLAIN, Order1(1, "fragile"))
    assert await read(PLAIN, payload, Order2) == Order2(1)


async def test_older_code_reads_what_newer_code_wrote() -> None:
    payload = await written(PLAIN, Order2(1, [Item("a", 2)], Speed.FAST, datetime(2026, 1, 2)))
    assert await read(PLAIN, payload, Item | dict[str, Any])  # a hint that accepts less still gives something
    with pytest.raises(Exception, match="note"):
        await read(PLAIN, payload, Order1)


async def test_a_new_field_without_a_default_says_its_name() -> None:
    @dataclass
    class Order3:
        id: int
        customer: str

    with pytest.raises(Exception, match="customer"):
        await read(PLAIN, {"id": 1}, Order3)


async def test_defaults_hold_at_every_depth() -> None:
    value = {"id": 1, "items": [{"sku": "a"}, {"sku": "b", "count": 3, "colour": "red"}], "gone": {"x": 1}}
    assert await read(PLAIN, value, Order2) == Order2(1, [Item("a"), Item("b", 3)])
    assert await read(PLAIN, [value], list[Order2]) == [Order2(1, [Item("a"), Item("b", 3)])]
    assert await read(PLAIN, {"k": value}, dict[str, Order2]) == {"k": Order2(1, [Item("a"), Item("b", 3)])}


async def test_a_renamed_field_is_one_gone_and_one_new() -> None:
    @dataclass
    class Renamed:
        id: int
        remark: str = ""

    assert await read(PLAIN, {"id": 1, "note": "fragile"}, Renamed) == Renamed(1)


@dataclass
class Card:
    number: str
    kind: Literal["card"] = "card"


@dataclass
class Transfer:
    iban: str
    kind: Literal["transfer"] = "transfer"


async def test_a_type_that_became_a_union_still_reads_the_old_payloads() -> None:
    assert await read(PLAIN, {"number": "1"}, Card | Transfer) == Card("1")
    assert await read(PLAIN, {"iban": "2"}, Card | Transfer) == Transfer("2")
    assert await read(PLAIN, None, Card | None) is None
    assert await read(PLAIN, {"number": "1"}, Card | None) == Card("1")
    assert await read(PLAIN, 5, int | str) == 5
    assert await read(PLAIN, "5", int | str) == "5"


async def test_an_unknown_member_of_an_enumeration_is_an_error() -> None:
    assert await read(PLAIN, "fast", Speed) is Speed.FAST
    with pytest.raises(Exception, match="warp"):
        await read(PLAIN, "warp", Speed)


class Options(TypedDict):
    retries: int
    label: NotRequired[str]


async def test_typed_dicts_grow_too() -> None:
    assert await read(PLAIN, {"retries": 1}, Options) == {"retries": 1}
    assert await read(PLAIN, {"retries": 1, "label": "x"}, Options) == {"retries": 1, "label": "x"}


async def test_an_argument_that_came_later_may_be_missing() -> None:
    """Fewer payloads than hints: what a workflow started before its second argument existed has."""
    assert await PLAIN.decode([old({"id": 1})], [Order2, int]) == [Order2(1)]


# ---- pydantic


class Address(pydantic.BaseModel):
    city: str
    zip: str = ""


class User1(pydantic.BaseModel):
    name: str
    mail: str


class User2(pydantic.BaseModel):
    name: str
    email: str = pydantic.Field(default="", validation_alias=pydantic.AliasChoices("email", "mail"))
    addresses: list[Address] = []
    payment: Card | Transfer | None = None


async def test_models_take_defaults_and_follow_aliases() -> None:
    payload = await written(PYDANTIC, User1(name="Ann", mail="ann@example.com"))
    assert await read(PYDANTIC, payload, User2) == User2(name="Ann", email="ann@example.com")


async def test_models_read_older_payloads_at_every_depth() -> None:
    value = {"name": "Ann", "addresses": [{"city": "Rome", "street": "gone"}], "payment": {"iban": "1"}}
    user = await read(PYDANTIC, value, User2)
    assert (user.addresses, user.payment) == ([Address(city="Rome")], Transfer("1"))


async def test_a_discriminated_union_grows() -> None:
    class Cash(pydantic.BaseModel):
        kind: Literal["cash"] = "cash"

    class Gift(pydantic.BaseModel):
        kind: Literal["gift"] = "gift"
        code: str = ""

    class Payment(pydantic.BaseModel):
        way: Cash | Gift = pydantic.Field(discriminator="kind")

    payment = await read(PYDANTIC, {"way": {"kind": "cash"}}, Payment)
    assert isinstance(payment.way, Cash)
    with pytest.raises(Exception, match="cheque"):
        await read(PYDANTIC, {"way": {"kind": "cheque"}}, Payment)


async def test_a_dataclass_may_become_a_model_and_back() -> None:
    payload = await written(PLAIN, Order2(1, [Item("a")]))

    class Order(pydantic.BaseModel):
        id: int
        items: list[Item] = []

    assert await read(PYDANTIC, payload, Order) == Order(id=1, items=[Item("a")])
    back = await written(PYDANTIC, Order(id=1, items=[Item("a")]))
    assert await read(PLAIN, back, Order2) == Order2(1, [Item("a")])
