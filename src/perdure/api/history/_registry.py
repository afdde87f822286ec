"""Which attributes struct belongs to which event type; read by the event codec and by the JSON form."""

from __future__ import annotations

import re

import msgspec

from perdure._native import events
from perdure.api.enums.v1 import EventType
from perdure.api.history import v1 as history_v1


def _camel(event_type: EventType) -> str:
    return "".join(word.capitalize() for word in event_type.name.removeprefix("EVENT_TYPE_").split("_"))


#: EventType -> (oneof field name in Temporal's HistoryEvent, attributes struct).
ATTRIBUTES: dict[int, tuple[str, type[msgspec.Struct]]] = {}
for _event_type in EventType:
    if _event_type:
        _name = _camel(_event_type) + "EventAttributes"
        _field = re.sub(r"(?<!^)(?=[A-Z])", "_", _name).lower()
        ATTRIBUTES[int(_event_type)] = (_field, getattr(history_v1, _name))


def install() -> None:
    """Hand the codec its attribute decoders. Called once, when ``perdure.api.history.v1`` is imported."""
    events.configure(
        msgspec.msgpack.Encoder().encode,
        msgspec.msgpack.Decoder(history_v1.EventExtras).decode,
        {number: msgspec.msgpack.Decoder(struct).decode for number, (_, struct) in ATTRIBUTES.items()},
        {field: number for number, (field, _) in ATTRIBUTES.items()},
    )
