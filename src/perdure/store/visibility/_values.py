"""Texts and payloads to values, as filters and search attributes spell them."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Any

import msgspec
import orjson

from perdure.api.common.v1 import Payload
from perdure.store.visibility._query import SYSTEM_TYPES

_DATETIME = re.compile(r"(\d{4})-(\d{2})-(\d{2})[Tt](\d{2}):(\d{2}):(\d{2})(?:[.,](\d{1,9})\d*)?(Z|z|[+-]\d{2}:\d{2})")
_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_SECOND = 1_000_000_000
_CLOCK = re.compile(r"(\d+):(\d{2}):(\d{2})")
_UNIT = "(?:ns|us|µs|μs|ms|s|m|h|d)"
_GO_DURATION = re.compile(rf"[+-]?(?:(?:\d+\.?\d*|\.\d+){_UNIT})+")
_GO_PART = re.compile(rf"(\d*)(?:\.(\d*))?({_UNIT})")
_UNITS = {
    "ns": 1,
    "us": 1_000,
    "µs": 1_000,
    "μs": 1_000,
    "ms": 1_000_000,
    "s": _SECOND,
    "m": 60 * _SECOND,
    "h": 3600 * _SECOND,
    "d": 86400 * _SECOND,
}


def parse_datetime(text: str) -> int:
    """Nanoseconds since the epoch of an RFC 3339 text.

    Raises:
        ValueError: it is not one.
    """
    match = _DATETIME.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is not a datetime such as '2026-01-31T12:00:00Z'")
    year, month, day, hour, minute, second, fraction, zone = match.groups()
    try:
        moment = dt.datetime(int(year), int(month), int(day), int(hour), int(minute), int(second), tzinfo=dt.UTC)
    except ValueError as error:
        raise ValueError(f"{text!r} is not a datetime: {error}") from None
    span = moment - _EPOCH
    seconds = span.days * 86400 + span.seconds
    if zone not in "Zz":
        offset = int(zone[1:3]) * 3600 + int(zone[4:6]) * 60
        seconds += offset if zone[0] == "-" else -offset
    return seconds * _SECOND + int((fraction or "0").ljust(9, "0"))


def parse_duration(text: str) -> int:
    """Nanoseconds of ``'90'`` (ns), ``'1h30m'``, ``'2d'`` or ``'01:30:00'``.

    Raises:
        ValueError: it is none of these.
    """
    if re.fullmatch(r"[+-]?\d+", text):
        return int(text)
    clock = _CLOCK.fullmatch(text)
    if clock is not None:
        hours, minutes, seconds = (int(part) for part in clock.groups())
        if minutes < 60 and seconds < 60:
            return (hours * 3600 + minutes * 60 + seconds) * _SECOND
    elif _GO_DURATION.fullmatch(text):
        total = 0
        for whole, fraction, unit in _GO_PART.findall(text.lstrip("+-")):
            total += int(whole or "0") * _UNITS[unit]
            if fraction:
                total += int(fraction) * _UNITS[unit] // 10 ** len(fraction)
        return -total if text.startswith("-") else total
    raise ValueError(f"{text!r} is not a duration such as '90s', '1h30m' or '01:30:00'")


TYPE_NAMES = ("Text", "Keyword", "Int", "Double", "Bool", "Datetime", "KeywordList")
_TYPES_BY_METADATA = {name.encode(): name for name in TYPE_NAMES} | {
    b"INDEXED_VALUE_TYPE_" + (b"KEYWORD_LIST" if name == "KeywordList" else name.upper().encode()): name
    for name in TYPE_NAMES
}
_MAX_INT = 1 << 70
_WORD = re.compile(r"\w+")
_decode_attributes = msgspec.msgpack.Decoder(dict[str, Payload]).decode


def text_tokens(text: str) -> frozenset[str]:
    """The words a Text attribute is searched by."""
    return frozenset(_WORD.findall(text.lower()))


@lru_cache(maxsize=64)
def _attributes(encoded: bytes) -> dict[str, Payload]:
    return _decode_attributes(encoded)


def attribute_names(encoded: bytes) -> Iterable[str]:
    """The names of a record's search attributes."""
    return _attributes(encoded)


def attribute_value(encoded: bytes, name: str) -> tuple[str, Any] | None:
    """The type and value of one of a record's search attributes; None when it is unset, null or not of its type."""
    payload = _attributes(encoded).get(name)
    if payload is None or not payload.data:
        return None
    try:
        raw = orjson.loads(payload.data)
    except orjson.JSONDecodeError:
        return None
    kind = payload_type(name, payload) or _natural_type(raw)
    value = _checked(raw, kind)
    return None if value is None else (kind, value)


def payload_type(name: str, payload: Payload) -> str | None:
    """The type a payload says it is of, or else the one its reserved name has; None when neither tells."""
    return _TYPES_BY_METADATA.get(payload.metadata.get("type", b"")) or SYSTEM_TYPES.get(name)


def payload_value(payload: Payload, kind: str) -> Any:
    """A search attribute's value, or None when it is null or not of its type."""
    if not payload.data:
        return None
    try:
        return _checked(orjson.loads(payload.data), kind)
    except orjson.JSONDecodeError:
        return None


def _natural_type(value: Any) -> str:
    if isinstance(value, list):
        return "KeywordList"
    if isinstance(value, bool):
        return "Bool"
    return "Int" if isinstance(value, int) else "Double" if isinstance(value, float) else "Keyword"


def _checked(value: Any, kind: str) -> Any:
    if kind == "KeywordList":
        items = value if isinstance(value, list) else [value]
        return items if items and all(isinstance(item, str) for item in items) else None
    if isinstance(value, list):
        if len(value) != 1:
            return None
        value = value[0]
    if kind == "Datetime":
        try:
            return parse_datetime(value) if isinstance(value, str) else None
        except ValueError:
            return None
    if kind == "Bool":
        return value if isinstance(value, bool) else None
    if kind in ("Int", "Double"):
        if isinstance(value, bool) or not isinstance(value, int | float):
            return None
        if kind == "Double":
            return float(value)
        return int(value) if abs(value) < _MAX_INT and value == int(value) else None
    return value if isinstance(value, str) else None
