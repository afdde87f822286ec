"""Messages read their fields by places that are remembered: that must not show."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from perdure._native import fields
from perdure.api._message import Message
from perdure.api.common.v1 import Payload


class Plain(msgspec.Struct):
    """A struct with a reader of its own."""

    first: Any = 1
    second: Any = None


def test_fields_are_read_as_they_are_written() -> None:
    payload = Payload({"encoding": b"json/plain"}, b"1")
    for number in range(3):
        payload.data = str(number).encode()
        assert (payload.data, payload.metadata) == (str(number).encode(), {"encoding": b"json/plain"})
    assert payload.HasField("data")


def test_what_is_no_field_is_missing() -> None:
    with pytest.raises(AttributeError, match="'Payload' object has no attribute 'nothing'"):
        Payload().nothing  # type: ignore[attr-defined]  # noqa: B018


def test_a_field_that_is_not_set_is_missing_until_it_is() -> None:
    class Slotted:
        __slots__ = ("value",)

    assert fields.install(Slotted)
    slotted = Slotted()
    for number in range(2):
        with pytest.raises(AttributeError, match="value"):
            slotted.value  # noqa: B018
        slotted.value = number
        assert [slotted.value, slotted.value] == [number, number]
        del slotted.value


def test_a_class_that_changes_is_looked_at_again() -> None:
    class Changed(Message):
        value: int = 0

    changed = Changed(1)
    assert [changed.value, changed.value] == [1, 1]
    Changed.value = property(lambda self: 2)  # type: ignore[assignment,method-assign]
    assert [changed.value, changed.value] == [2, 2]


def test_derived_classes_have_their_own_places() -> None:
    class Base(Message):
        a: int = 1

    class Wide(Base):
        b: int = 2

    for _ in range(2):
        assert (Base().a, Wide().a, Wide().b) == (1, 1, 2)


def test_install_refuses_what_reads_in_its_own_way() -> None:
    class Own(msgspec.Struct):
        def __getattribute__(self, name: str) -> Any:
            return name

    assert not fields.install(Own)
    assert Own().anything == "anything"
    with pytest.raises(TypeError, match="takes a class"):
        fields.install(Plain())  # type: ignore[arg-type]
