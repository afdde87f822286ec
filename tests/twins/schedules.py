"""A schedule's calendar, by trying one second after the other."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from perdure.api.schedule import v1 as schedule_v1


def has(ranges: list[schedule_v1.Range], value: int) -> bool:
    return any(
        span.start <= value <= max(span.start, span.end) and (value - span.start) % (span.step or 1) == 0
        for span in ranges
    )


def matches(calendar: schedule_v1.StructuredCalendarSpec, t: int, zone: str) -> bool:
    local = datetime.fromtimestamp(t, UTC).astimezone(ZoneInfo(zone))
    return (
        has(calendar.second, local.second)
        and has(calendar.minute, local.minute)
        and has(calendar.hour, local.hour)
        and has(calendar.day_of_month, local.day)
        and has(calendar.month, local.month)
        and has(calendar.day_of_week, local.isoweekday() % 7)
        and (not calendar.year or has(calendar.year, local.year))
    )


def next_match(calendar: schedule_v1.StructuredCalendarSpec, after: int, zone: str, until: int) -> int | None:
    """The first matching second of ``after < t <= until``."""
    return next((t for t in range(after + 1, until + 1) if matches(calendar, t, zone)), None)
