"""Calendars and cron strings as people write them, turned into structured calendars and intervals."""

from __future__ import annotations

import re
from typing import NamedTuple

from perdure._cron import DESCRIPTORS, UNITS
from perdure.api.schedule import v1 as schedule_v1
from perdure.engine.schedule_calendar import MAX_YEAR, MIN_YEAR

_MONTHS = (
    "january",
    "february",
    "march",
    "april",
    "may",
    "june",
    "july",
    "august",
    "september",
    "october",
    "november",
    "december",
)
_WEEKDAYS = ("sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday")
_UNITS = UNITS | {"d": 24 * UNITS["h"]}
_DURATION_PART = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|ms|s|m|h|d)")


class _Field(NamedTuple):
    """What one field of a calendar accepts."""

    name: str
    low: int
    high: int
    default: str
    #: Names stand for ``first_name`` and on; any prefix of at least ``shortest`` letters will do.
    names: tuple[str, ...] = ()
    first_name: int = 0
    shortest: int = 0


_SECOND = _Field("Second", 0, 59, "0")
_MINUTE = _Field("Minute", 0, 59, "0")
_HOUR = _Field("Hour", 0, 23, "0")
_DAY_OF_MONTH = _Field("DayOfMonth", 1, 31, "*")
_MONTH = _Field("Month", 1, 12, "*", _MONTHS, 1, 3)
_YEAR = _Field("Year", MIN_YEAR, MAX_YEAR, "*")
#: Both 0 and 7 are Sunday.
_DAY_OF_WEEK = _Field("DayOfWeek", 0, 7, "*", _WEEKDAYS, 0, 2)
_SUNDAY_AGAIN = 7


class CronSchedule(NamedTuple):
    """What a cron string says: a calendar or an interval, and its time zone (empty: none named)."""

    calendar: schedule_v1.StructuredCalendarSpec | None
    interval: schedule_v1.IntervalSpec | None
    timezone_name: str


def structured_calendar(calendar: schedule_v1.CalendarSpec) -> schedule_v1.StructuredCalendarSpec:
    """A calendar of texts as one of ranges. Raises ValueError naming the field."""
    return schedule_v1.StructuredCalendarSpec(
        second=_ranges(calendar.second, _SECOND),
        minute=_ranges(calendar.minute, _MINUTE),
        hour=_ranges(calendar.hour, _HOUR),
        day_of_month=_ranges(calendar.day_of_month, _DAY_OF_MONTH),
        month=_ranges(calendar.month, _MONTH),
        year=_ranges(calendar.year, _YEAR),
        day_of_week=_ranges(calendar.day_of_week, _DAY_OF_WEEK),
        comment=calendar.comment,
    )


def parse_cron_string(text: str) -> CronSchedule:
    """What a cron string says. Raises ValueError with a sentence that says what is wrong with it.

    Five fields are minute, hour, day of month, month and day of week; a sixth is the year, and with seven the first
    is the second. ``@hourly`` and the like, ``@every 90m/15m``, a leading ``CRON_TZ=`` and a ``#`` comment work too.
    """
    spec = text.strip()
    timezone_name = ""
    if spec.startswith(("TZ=", "CRON_TZ=")):
        assignment, space, spec = spec.partition(" ")
        if not space:
            raise ValueError(f"CronString {text!r} has a time zone but no fields")
        timezone_name = assignment.partition("=")[2]
    spec, _, comment = spec.partition("#")
    spec = spec.strip()
    if spec.startswith("@every"):
        return CronSchedule(None, _interval(spec, text), "")
    fields = DESCRIPTORS.get(spec, spec).split()
    if not 5 <= len(fields) <= 7:
        raise ValueError(f"CronString {text!r} does not have 5-7 fields")
    second = fields.pop(0) if len(fields) == 7 else ""
    year = fields.pop() if len(fields) == 6 else ""
    minute, hour, day_of_month, month, day_of_week = fields
    calendar = schedule_v1.CalendarSpec(
        second=second,
        minute=minute,
        hour=hour,
        day_of_month=day_of_month,
        month=month,
        year=year,
        day_of_week=day_of_week,
        comment=comment.strip(),
    )
    return CronSchedule(structured_calendar(calendar), None, timezone_name)


def _interval(spec: str, text: str) -> schedule_v1.IntervalSpec:
    """``@every 14h`` or ``@every 14h/3h``: an interval and its phase."""
    _, space, rest = spec.partition(" ")
    if not space:
        raise ValueError(f"CronString {text!r} does not have an interval after @every")
    interval, _, phase = rest.strip().partition("/")
    return schedule_v1.IntervalSpec(_duration(interval, text), _duration(phase, text) if phase else None)


def _duration(text: str, schedule: str) -> int:
    """Nanoseconds of ``1h30m``, ``1.5s`` or ``2d``."""
    position = 0
    total = 0.0
    while match := _DURATION_PART.match(text, position):
        total += float(match[1]) * _UNITS[match[2]]
        position = match.end()
    if not text or position != len(text):
        raise ValueError(f"{text!r} in CronString {schedule!r} is not a duration, such as 90s or 1h30m")
    return int(total)


def _ranges(text: str, field: _Field) -> list[schedule_v1.Range]:
    """The ranges of a field's text. Ends and steps that follow from the start are left out."""
    text = text.strip() or field.default
    if text == "*" and field is _YEAR:
        return []  # every year, also those beyond the table
    found: list[schedule_v1.Range] = []
    for part in text.split(","):
        start, end, step = _span(part, field)
        if field is _DAY_OF_WEEK and end == _SUNDAY_AGAIN:
            end = _SUNDAY_AGAIN - 1
            if (_SUNDAY_AGAIN - start) % step == 0 and (step > 1 or start > 1):
                found.append(schedule_v1.Range(0))
                if start == _SUNDAY_AGAIN:
                    continue
        found.append(schedule_v1.Range(start, 0 if end == start else end, 0 if step == 1 else step))
    return found


def _span(part: str, field: _Field) -> tuple[int, int, int]:
    """``*``, ``x``, ``x-z``, and each of them with ``/y``: first value, last value, step."""
    span, slash, step_text = part.partition("/")
    step = 1
    if slash:
        if "/" in step_text:
            raise ValueError(f"{field.name} has too many slashes")
        if not step_text:
            raise ValueError(f"{field.name} missing step value")
        if not step_text.isdecimal() or int(step_text) < 1:
            raise ValueError(f"{field.name} has invalid Step")
        step = int(step_text)
    if span == "*":
        return field.low, field.high, step
    start_text, dash, end_text = span.partition("-")
    if "-" in end_text:
        raise ValueError(f"{field.name} has too many dashes")
    start = _value(start_text, field)
    bounds = f"[{field.low}-{field.high}]"
    if not dash:
        if start is None:
            raise ValueError(f"{field.name} is not in range {bounds}")
        return start, field.high if slash else start, step
    if start is None:
        raise ValueError(f"{field.name} Start is not in range {bounds}")
    end = _value(end_text, field)
    if end is None or end < start:
        raise ValueError(f"{field.name} End is before Start or not in range {bounds}")
    return start, end, step


def _value(text: str, field: _Field) -> int | None:
    """A number or a name; None when the field does not have it."""
    if field.names and len(text) >= field.shortest:
        for number, name in enumerate(field.names, field.first_name):
            if name.startswith(text.lower()):
                return number
    if not text.isdecimal():
        return None
    number = int(text)
    return number if field.low <= number <= field.high else None
