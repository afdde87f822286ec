"""What the default payload converter does with plain values, on the way of every call: JSON and null.

Compiled as it is by the native build; ``_plain.pxd`` declares the types.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from perdure._native import json_writer
from perdure.api.common.v1 import Payload

_decode_json = msgspec.json.Decoder().decode
_dumps = json_writer.dumps

#: Hints that a value of that very type needs no conversion for.
_EXACT = frozenset((str, int, float, bool))


def plain_payloads(values: Sequence[Any], otherwise: Callable[[int, Any], Payload]) -> list[Payload]:
    """One payload per value; ``otherwise(index, value)`` makes those of values that are not plain."""
    payloads: list[Payload] = []
    for value in values:
        if value is None:
            payloads.append(Payload({"encoding": b"binary/null"}))
            continue
        data = _dumps(value)
        if data is not None:
            payloads.append(Payload({"encoding": b"json/plain"}, data))
        else:
            payloads.append(otherwise(len(payloads), value))
    return payloads


def plain_values(
    payloads: Sequence[Payload],
    hints: list[type] | None,
    known: dict[int, tuple[Any, Callable[[Any], Any]]],
    otherwise: Callable[[int, Payload, Any], Any],
) -> list[Any]:
    """One value per payload. ``known`` has conversions by the id of their hint; ``otherwise`` does the rest."""
    values: list[Any] = []
    for index, payload in enumerate(payloads):
        hint = hints[index] if hints is not None and index < len(hints) else None
        if payload.metadata.get("encoding") != b"json/plain":
            values.append(otherwise(index, payload, hint))
            continue
        try:
            value = _decode_json(payload.data)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            values.append(otherwise(index, payload, hint))
            continue
        if hint is None or (type(value) is hint and hint in _EXACT):
            values.append(value)
            continue
        entry = known.get(id(hint))
        values.append(otherwise(index, payload, hint) if entry is None else entry[1](value))
    return values
