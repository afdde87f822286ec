"""Histories in Temporal's JSON form, as ``temporal workflow show -o json``, the Web UI and the SDKs write it."""

from __future__ import annotations

import json
from typing import Any, cast

import msgspec

from perdure._native.events import HistoryEvent
from perdure.api._message import Message
from perdure.api.enums.v1 import EventType
from perdure.api.history._registry import ATTRIBUTES
from perdure.api.history.v1 import EventExtras, History
from perdure.api.json._messages import from_json_dict, to_json_dict
from perdure.api.json._scalars import (
    INT64,
    SCALARS,
    JSONFormError,
    Unset,
    camel,
    decode_timestamp,
    encode_timestamp,
    enumeration,
)

_EVENT_TYPE = enumeration("EventType")
_KEYS = {number: camel(field) for number, (field, _) in ATTRIBUTES.items()}
_TYPES = {key: number for number, key in _KEYS.items()} | {field: number for number, (field, _) in ATTRIBUTES.items()}


def history_to_json_dict(history: History) -> dict[str, Any]:
    """A history as JSON-compatible dictionaries and lists."""
    return {"events": [event_to_json_dict(event) for event in history.events]}


def history_to_json(history: History) -> str:
    """A history as JSON text, indented like the SDKs' own."""
    return json.dumps(history_to_json_dict(history), indent=2)


def history_from_json(history: str | bytes | dict[str, Any]) -> History:
    """The history that JSON text, or what it was parsed to, states.

    Accepts what the CLI, the Web UI and the SDKs write, with event types and other enumerations by their full name
    (``EVENT_TYPE_TIMER_STARTED``), short name or in camel case (``TimerStarted``). Unknown fields are ignored.

    Raises:
        JSONFormError: (a ValueError) it is not a history; the message names the event and field.
    """
    if isinstance(history, (str, bytes)):
        try:
            parsed: Any = msgspec.json.decode(history)
        except (msgspec.MsgspecError, UnicodeDecodeError) as err:
            raise JSONFormError(f"the history is not JSON: {err}") from None
    else:
        parsed = history
    if not isinstance(parsed, dict):
        raise JSONFormError("JSON history not a dictionary")
    events = parsed.get("events")
    if not isinstance(events, list):
        raise JSONFormError("History does not have iterable 'events'")
    result = []
    for index, event in enumerate(events):
        try:
            result.append(event_from_json_dict(event))
        except JSONFormError as err:
            raise err.below(f"events.{index}") from None
    return History(result)


def event_to_json_dict(event: HistoryEvent) -> dict[str, Any]:
    """One event as JSON-compatible dictionaries and lists."""
    result: dict[str, Any] = {}
    if event.event_id:
        result["eventId"] = str(event.event_id)
    if event.event_time:
        result["eventTime"] = encode_timestamp(event.event_time)
    if event.event_type:
        result["eventType"] = _EVENT_TYPE.encode(event.event_type)
    if event.version:
        result["version"] = str(event.version)
    if event.task_id:
        result["taskId"] = str(event.task_id)
    if event.attributes is not None:
        result[_KEYS[event.event_type]] = to_json_dict(event.attributes)
    if event.worker_may_ignore:
        result["workerMayIgnore"] = True
    if event.extras is not None:
        result.update(to_json_dict(event.extras))
    return result


def event_from_json_dict(value: Any) -> HistoryEvent:
    """The event that JSON-compatible dictionaries and lists state."""
    if not isinstance(value, dict):
        raise JSONFormError("Event not a dictionary")
    worker_may_ignore = _part(value, "worker_may_ignore", SCALARS[bool].decode, False)
    event_type = _event_type(value, worker_may_ignore)
    attributes = None
    if event_type in ATTRIBUTES:
        field = ATTRIBUTES[event_type][0]
        struct = cast("type[Message]", ATTRIBUTES[event_type][1])
        attributes = _part(value, field, lambda item: from_json_dict(item, struct), None)
        if attributes is None:
            attributes = struct()
    extras = from_json_dict(value, EventExtras)
    return HistoryEvent(
        _part(value, "event_id", INT64.decode, 0),
        event_type,
        _part(value, "event_time", decode_timestamp, 0),
        attributes,
        version=_part(value, "version", INT64.decode, 0),
        task_id=_part(value, "task_id", INT64.decode, 0),
        worker_may_ignore=worker_may_ignore,
        extras=None if extras == EventExtras() else extras,
    )


def _event_type(value: dict[str, Any], worker_may_ignore: bool) -> int:
    """The event's type: as stated, else as its attributes say."""
    try:
        number = int(_part(value, "event_type", _EVENT_TYPE.decode, 0))
    except Unset as err:
        if worker_may_ignore:
            return int(EventType.EVENT_TYPE_UNSPECIFIED)
        raise JSONFormError(f"{err}: was the history written by a newer Temporal?", ("eventType",)) from None
    if number:
        return number
    return next((number for key, number in _TYPES.items() if key in value), 0)


def _part(value: dict[str, Any], name: str, decode: Any, default: Any) -> Any:
    key = camel(name)
    item = value.get(key, value.get(name))
    if item is None:
        return default
    try:
        return decode(item)
    except Unset:
        if name == "event_type":
            raise
        return default
    except JSONFormError as err:
        raise err.below(key) from None
