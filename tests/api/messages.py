"""Hypothesis strategies for API messages, from the structs' annotations and the table of kinds."""

from __future__ import annotations

import struct
import typing
from functools import cache
from types import NoneType
from typing import Any

from hypothesis import strategies as st

from perdure._native.events import HistoryEvent
from perdure.api._kinds import KINDS
from perdure.api._message import Message
from perdure.api.command import v1 as command_v1
from perdure.api.command.v1 import Command
from perdure.api.common.v1 import Payload, WorkflowExecution
from perdure.api.enums import v1 as enums_v1
from perdure.api.history._registry import ATTRIBUTES
from perdure.api.history.v1 import EventExtras, History
from tests.api.descriptors import descriptor

_MAX_DEPTH = 2
_TEXT = st.text(max_size=3)  # surrogates, which protobuf refuses, are not in it
_FLOATS = st.floats(allow_nan=False)
_SECONDS = st.integers(-9_000_000_000, 9_000_000_000)  # what 64 bits of nanoseconds hold
_NS = st.sampled_from([0, 1, 999_999_999, 500_000_000, 123_456_000]) | st.integers(0, 999_999_999)
_TIMES = st.builds(lambda seconds, ns: seconds * 1_000_000_000 + ns, _SECONDS, _NS)

_COMMAND_ATTRIBUTES: list[type[Message]] = [
    found for name, found in sorted(vars(command_v1).items()) if name.endswith("CommandAttributes")
]
_SCALARS: dict[Any, st.SearchStrategy[Any]] = {
    str: _TEXT,
    bool: st.booleans(),
    int: st.integers(-(2**63), 2**63 - 1),
    float: _FLOATS,
    bytes: st.binary(max_size=4),
    "int32": st.integers(0, 2**31 - 1),
    "int64": st.integers(-(2**63), 2**63 - 1),
    "float": _FLOATS.filter(lambda f: abs(f) < 1e30).map(lambda f: struct.unpack("f", struct.pack("f", f))[0]),
    "Timestamp": _TIMES,
    "Duration": _TIMES,
    "Empty": st.just(True),
    "FieldMask": st.lists(st.sampled_from(["retry_policy", "a", "task_queue.name"]), min_size=1, max_size=2),
}


@cache
def messages(message_type: type[Message], depth: int = 0) -> st.SearchStrategy[Any]:
    """Messages with any of their fields set; at most one of several info or variant fields, as in a oneof."""
    package = message_type.__module__.split(".")[-2]
    kinds = KINDS.get(f"{package}.{message_type.__name__}", {})
    if message_type is HistoryEvent:
        return st.sampled_from(sorted(ATTRIBUTES)).flatmap(events)
    fields = {}
    for name, hint in typing.get_type_hints(message_type).items():
        if message_type is Command and name == "attributes":
            strategy: Any = st.sampled_from(_COMMAND_ATTRIBUTES).flatmap(lambda chosen: messages(chosen, depth + 1))
        else:
            strategy = _field(hint, kinds.get(name), depth)
        if strategy is not None:
            fields[name] = strategy
    oneofs = [name for name in fields if _in_oneof(message_type, name)]

    def make(values: dict[str, Any], chosen: int) -> Any:
        for name in oneofs:
            if name != oneofs[chosen % len(oneofs)]:
                values.pop(name, None)
        return message_type(**values)

    return st.builds(make, st.fixed_dictionaries({}, optional=fields), st.integers(0, 20))


def _in_oneof(message_type: type[Message], name: str) -> bool:
    found = descriptor(message_type)
    if message_type is Command and name == "attributes":
        return False
    return found is not None and found.fields_by_name[name].containing_oneof is not None


@cache
def _field(hint: Any, kind: str | None, depth: int) -> st.SearchStrategy[Any] | None:
    arguments = [argument for argument in typing.get_args(hint) if argument is not NoneType]
    if NoneType in typing.get_args(hint):
        return _field(arguments[0], "Duration" if arguments == [int] and kind is None else kind, depth)
    origin = typing.get_origin(hint)
    if origin in (list, dict) and kind != "FieldMask":
        item = _field(arguments[-1], kind, depth)
        if item is None:
            return None
        if origin is list:
            return st.lists(item, max_size=2)
        return st.dictionaries(_TEXT if arguments[0] is str else _SCALARS["int32"], item, max_size=2)
    if kind in _SCALARS:
        return _SCALARS[kind]
    if kind == "Any":
        return st.sampled_from([Payload, WorkflowExecution]).flatmap(lambda chosen: messages(chosen, depth + 1))
    if kind is not None:
        return st.sampled_from([int(member) for member in getattr(enums_v1, kind)]) | st.integers(900, 999)
    if hint in _SCALARS:
        return _SCALARS[hint]
    return messages(hint, depth + 1) if depth < _MAX_DEPTH else None


@cache
def events(event_type: int) -> st.SearchStrategy[HistoryEvent]:
    """Events of one type."""
    return st.builds(
        HistoryEvent,
        st.integers(0, 2**40),
        st.just(event_type),
        _TIMES,
        messages(typing.cast("type[Message]", ATTRIBUTES[event_type][1])),
        version=st.integers(0, 5),
        task_id=st.integers(0, 2**63 - 1),
        worker_may_ignore=st.booleans(),
        extras=st.none() | messages(EventExtras).filter(lambda extras: extras != EventExtras()),
    )


def histories() -> st.SearchStrategy[History]:
    """Short histories of events of any type."""
    return st.builds(History, st.lists(st.sampled_from(sorted(ATTRIBUTES)).flatmap(events), max_size=4))
