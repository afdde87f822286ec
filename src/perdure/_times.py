"""Between the public API's ``datetime``/``timedelta`` and the nanoseconds (``int``) of every message and store."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_EPOCH_NAIVE = datetime(1970, 1, 1)


def duration_to_ns(value: timedelta) -> int:
    """Nanoseconds of a duration, exact."""
    return (value.days * 86_400 + value.seconds) * 1_000_000_000 + value.microseconds * 1_000


def duration_from_ns(value: int) -> timedelta:
    """The duration of that many nanoseconds, rounded down to microseconds."""
    return timedelta(microseconds=value // 1_000)


def optional_duration_to_ns(value: timedelta | None) -> int | None:
    """:func:`duration_to_ns`, or None for None."""
    return None if value is None else duration_to_ns(value)


def optional_duration_from_ns(value: int | None) -> timedelta | None:
    """:func:`duration_from_ns`, or None for None."""
    return None if value is None else duration_from_ns(value)


def time_to_ns(value: datetime) -> int:
    """Nanoseconds since the epoch; a naive datetime is taken as UTC."""
    return duration_to_ns(value - (_EPOCH_NAIVE if value.tzinfo is None else _EPOCH))


def time_from_ns(value: int) -> datetime:
    """The UTC datetime that many nanoseconds after the epoch, rounded down to microseconds."""
    return _EPOCH + timedelta(microseconds=value // 1_000)


def optional_time_to_ns(value: datetime | None) -> int | None:
    """:func:`time_to_ns`, or None for None."""
    return None if value is None else time_to_ns(value)


def optional_time_from_ns(value: int | None) -> datetime | None:
    """:func:`time_from_ns`, or None for None."""
    return None if value is None else time_from_ns(value)
