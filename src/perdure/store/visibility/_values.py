"""Texts to values: datetimes and durations, as filters and search attributes spell them."""

from __future__ import annotations

import datetime as dt
import re

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
