"""The table of field kinds against Temporal's own descriptors."""

from __future__ import annotations

import typing
from types import NoneType
from typing import Any

import pytest
from google.protobuf.descriptor import FieldDescriptor

from perdure.api._kinds import KINDS
from perdure.api._message import Message
from perdure.api.enums import v1 as enums_v1
from tests.api.descriptors import descriptor, message_types

_WELL_KNOWN = {"Timestamp", "Duration", "Empty", "FieldMask", "Any"}
_WIDTHS = {
    FieldDescriptor.TYPE_INT32: "int32",
    FieldDescriptor.TYPE_UINT32: "int32",
    FieldDescriptor.TYPE_INT64: "int64",
    FieldDescriptor.TYPE_FLOAT: "float",
}


def _kind_of(field: Any) -> str | None:
    """What the descriptor says, in the table's words; None when the annotation says it all."""
    if field.message_type is not None:
        if field.message_type.GetOptions().map_entry:
            return _kind_of(field.message_type.fields_by_name["value"])
        name = field.message_type.full_name.removeprefix("google.protobuf.")
        return name if name in _WELL_KNOWN else None
    if field.enum_type is not None:
        name, outer = str(field.enum_type.name), field.enum_type.containing_type
        while outer is not None:
            name, outer = outer.name + name, outer.containing_type
        return name
    return _WIDTHS.get(field.type)


def _stated(message_type: type[Message], name: str, hint: Any) -> str | None:
    package = message_type.__module__.split(".")[-2]
    kind = KINDS.get(f"{package}.{message_type.__name__}", {}).get(name)
    if kind is not None:
        return kind
    if hint is int:
        return "int64"
    return "Duration" if set(typing.get_args(hint)) == {int, NoneType} else None


@pytest.mark.parametrize("message_type", message_types(), ids=lambda t: f"{t.__module__.split('.')[-2]}.{t.__name__}")
def test_kinds_are_the_descriptors(message_type: type[Message]) -> None:
    found = descriptor(message_type)
    if found is None:
        assert message_type.__name__ == "EventExtras"  # the tail of HistoryEvent
        return
    for name, hint in typing.get_type_hints(message_type).items():
        if (message_type.__name__, name) == ("Command", "attributes"):
            continue
        assert _stated(message_type, name, hint) == _kind_of(found.fields_by_name[name]), name


def test_every_table_entry_is_a_field() -> None:
    fields = {f"{t.__module__.split('.')[-2]}.{t.__name__}": set(typing.get_type_hints(t)) for t in message_types()}
    for message, kinds in KINDS.items():
        assert set(kinds) <= fields[message], message
        for kind in kinds.values():
            assert kind in {*_WELL_KNOWN, "int32", "int64", "float"} or hasattr(enums_v1, kind)
