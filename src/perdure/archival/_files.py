"""The files of an export: Temporal's ``temporal.api.export.v1.WorkflowExecutions``, as protobuf or as JSON.

::

    message WorkflowExecutions { repeated WorkflowExecution items = 1; }
    message WorkflowExecution { temporal.api.history.v1.History history = 1; }
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import ModuleType
from typing import NamedTuple

import msgspec

from perdure._native.events import HistoryEvent
from perdure.api import json
from perdure.api.common._payload_wire import field
from perdure.api.history.v1 import History
from perdure.store.archive import ArchiveCorruptError

#: The tag of field 1 with a length before its bytes.
_TAG = 0x0A


class Format(NamedTuple):
    """How histories become a file: each as an item, then the items together."""

    suffix: str
    encode_item: Callable[[Sequence[HistoryEvent]], bytes]
    join: Callable[[Sequence[bytes]], bytes]


def format_of(name: str) -> Format:
    """The format of a name. Raises ValueError, or ModuleNotFoundError where ``perdure[temporal]`` is needed."""
    if name == "json":
        return Format(".json", _json_item, lambda items: b'{"items":[' + b",".join(items) + b"]}")
    if name == "proto":
        encode = _codec().encode
        return Format(".proto", lambda events: field(1, encode(History(list(events)))), _framed_all)
    raise ValueError(f"format is 'proto' or 'json', not {name!r}")


def read_file(name: str, data: bytes) -> list[list[HistoryEvent]]:
    """The histories of a file. Raises ArchiveCorruptError."""
    try:
        if name.endswith(".json"):
            items = msgspec.json.decode(data)["items"]
            return [json.history_from_json(item["history"]).events for item in items]
        codec = _codec()
        return [codec.decode(History, part).events for item in _parts(data) for part in _parts(item)]
    except (ValueError, KeyError, TypeError) as error:
        raise ArchiveCorruptError(f"{name} is no exported file: {error!r}") from None


def _codec() -> ModuleType:
    try:
        from perdure.wire import codec
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] in ("grpc", "temporalio", "google"):
            raise ModuleNotFoundError(
                "files in protobuf's form need temporalio: pip install 'perdure[temporal]', or export as JSON",
                name=error.name,
            ) from error
        raise
    return codec


def _json_item(events: Sequence[HistoryEvent]) -> bytes:
    return msgspec.json.encode({"history": {"events": [json.event_to_json_dict(event) for event in events]}})


def _framed_all(items: Sequence[bytes]) -> bytes:
    return b"".join(field(1, item) for item in items)


def _parts(data: bytes) -> list[bytes]:
    """The values of field 1 in a message that has no other."""
    parts = []
    at = 0
    while at < len(data):
        if data[at] != _TAG:
            raise ValueError(f"byte {at} is {data[at]:#x}, not the tag of field 1")
        at += 1
        size = shift = 0
        while True:
            byte = data[at]
            at += 1
            size |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                break
        if at + size > len(data):
            raise ValueError("it ends in the middle of an item")
        parts.append(data[at : at + size])
        at += size
    return parts
