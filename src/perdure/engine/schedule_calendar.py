"""When a calendar of a schedule matches, in its time zone.

A second matches when its local time does. So a local time that a clock change skips never matches, and one that a
clock change repeats matches each time it comes.

Times here are whole seconds since the epoch; *wall* seconds are the same count of what a local clock shows.
"""

from __future__ import annotations

import functools
import io
from bisect import bisect_left, bisect_right
from calendar import monthrange
from collections.abc import Iterable
from datetime import UTC, date, datetime, tzinfo
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from perdure.api.schedule import v1 as schedule_v1

MIN_YEAR = 2000
MAX_YEAR = 2100
DAY = 86400
HOUR = 3600
MINUTE = 60

_EPOCH_ORDINAL = date(1970, 1, 1).toordinal()
#: The epoch was a Thursday.
_EPOCH_WEEKDAY = 4


class Zone:
    """A time zone's offsets, and the instants at which they change."""

    def __init__(self, info: tzinfo) -> None:
        self._info = info
        self._changes: dict[int, list[int]] = {}

    @staticmethod
    def named(name: str) -> Zone:
        """The zone of an IANA name, UTC when empty. Raises ValueError."""
        return _zone_named(name)

    @staticmethod
    def from_data(name: str, data: bytes) -> Zone:
        """The zone of a TZif file's bytes. Raises ValueError."""
        try:
            return Zone(ZoneInfo.from_file(io.BytesIO(data), key=name or None))
        except Exception as error:
            raise ValueError(f"timezone_data is not a TZif file: {error}") from None

    def offset(self, t: int) -> int:
        """Seconds a local clock is ahead of UTC at an instant."""
        offset = datetime.fromtimestamp(t, self._info).utcoffset()
        return 0 if offset is None else int(offset.total_seconds())

    def next_change(self, after: int, until: int) -> int | None:
        """The first instant in ``after < t <= until`` that has another offset than the second before it."""
        if self._info is UTC:
            return None
        for year in range(_year(after), _year(until) + 1):
            changes = self._changes_of(year)
            index = bisect_right(changes, after)
            if index < len(changes):
                return changes[index] if changes[index] <= until else None
        return None

    def _changes_of(self, year: int) -> list[int]:
        """The changes of a year of UTC, found by looking at every day: no zone changes twice in one."""
        changes = self._changes.get(year)
        if changes is None:
            changes = self._changes[year] = []
            start, end = _midnight(year, 1, 1), _midnight(year + 1, 1, 1)
            before = self.offset(start - 1)
            for low in range(start - 1, end - 1, DAY):
                high = min(low + DAY, end - 1)
                after = self.offset(high)
                if after != before:
                    changes.append(self._first(low, high, after))
                before = after
        return changes

    def _first(self, low: int, high: int, offset: int) -> int:
        """The first second with that offset; ``low`` has another one, ``high`` has it."""
        while high - low > 1:
            middle = (low + high) // 2
            if self.offset(middle) == offset:
                high = middle
            else:
                low = middle
        return high


@functools.lru_cache(maxsize=256)
def _zone_named(name: str) -> Zone:
    if name in ("", "UTC"):
        return Zone(UTC)
    try:
        return Zone(ZoneInfo(name))
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError(f"unknown time zone {name}") from None


class Calendar:
    """One structured calendar."""

    def __init__(self, spec: schedule_v1.StructuredCalendarSpec, zone: Zone) -> None:
        self._zone = zone
        self._seconds = _values(spec.second)
        self._minutes = _values(spec.minute)
        self._hours = _values(spec.hour)
        self._days = frozenset(_values(spec.day_of_month))
        self._months = frozenset(_values(spec.month))
        self._weekdays = frozenset(_values(spec.day_of_week))
        #: Empty: every year.
        self._years = frozenset(_values(spec.year))
        self._is_empty = not (self._seconds and self._minutes and self._hours)

    def matches(self, t: int) -> bool:
        """Whether a second matches."""
        day, second = divmod(t + self._zone.offset(t), DAY)
        return (
            second % MINUTE in self._seconds
            and second // MINUTE % MINUTE in self._minutes
            and second // HOUR in self._hours
            and self._is_day(day)
        )

    def next_after(self, t: int) -> int | None:
        """The first matching second after one; None when there is none up to the year 2100.

        Between two changes of the offset this is arithmetic on wall seconds; at a change the search starts again.
        """
        if self._is_empty:
            return None
        t += 1
        while True:
            offset = self._zone.offset(t)
            wall = self._next_wall(t + offset)
            if wall is None:
                return None
            change = self._zone.next_change(t, wall - offset)
            if change is None:
                return wall - offset
            t = change

    def end_of_match(self, t: int) -> int:
        """Some second at or after a matching one, with nothing but matching ones between: to skip exclusions fast."""
        second = (t + self._zone.offset(t)) % DAY
        if len(self._seconds) < MINUTE:
            return t
        if len(self._minutes) < MINUTE:
            unit = MINUTE
        elif len(self._hours) < DAY // HOUR:
            unit = HOUR
        else:
            unit = DAY
        end = t + unit - 1 - second % unit
        change = self._zone.next_change(t, end)
        return end if change is None else change - 1

    def _next_wall(self, wall: int) -> int | None:
        """The first matching wall second at or after one."""
        day, second = divmod(wall, DAY)
        if self._is_day(day):
            found = self._next_second(second)
            if found is not None:
                return day * DAY + found
        next_day = self._next_day(day + 1)
        if next_day is None:
            return None
        return next_day * DAY + self._hours[0] * HOUR + self._minutes[0] * MINUTE + self._seconds[0]

    def _next_second(self, second: int) -> int | None:
        """The first matching second of a day at or after one."""
        hour, minute, second = second // HOUR, second // MINUTE % MINUTE, second % MINUTE
        if hour in self._hours:
            if minute in self._minutes:
                found = _at_least(self._seconds, second)
                if found is not None:
                    return hour * HOUR + minute * MINUTE + found
            found = _at_least(self._minutes, minute + 1)
            if found is not None:
                return hour * HOUR + found * MINUTE + self._seconds[0]
        found = _at_least(self._hours, hour + 1)
        if found is None:
            return None
        return found * HOUR + self._minutes[0] * MINUTE + self._seconds[0]

    def _is_day(self, day: int) -> bool:
        local = date.fromordinal(_EPOCH_ORDINAL + day)
        return (
            local.day in self._days
            and local.month in self._months
            and (day + _EPOCH_WEEKDAY) % 7 in self._weekdays
            and (not self._years or local.year in self._years)
            and local.year <= MAX_YEAR
        )

    def _next_day(self, day: int) -> int | None:
        """The first matching day at or after one; both count from the epoch."""
        local = date.fromordinal(_EPOCH_ORDINAL + day)
        year, month, first = local.year, local.month, local.day
        while year <= MAX_YEAR:
            if self._years and year not in self._years:
                year, month, first = year + 1, 1, 1
                continue
            if month in self._months:
                start = date(year, month, 1).toordinal() - _EPOCH_ORDINAL - 1
                for number in range(first, monthrange(year, month)[1] + 1):
                    if number in self._days and (start + number + _EPOCH_WEEKDAY) % 7 in self._weekdays:
                        return start + number
            first = 1
            year, month = (year + 1, 1) if month == 12 else (year, month + 1)
        return None


def _values(ranges: Iterable[schedule_v1.Range]) -> list[int]:
    """Every value of some ranges, in order. An end before the start means the start alone, no step means 1."""
    found: set[int] = set()
    for span in ranges:
        found.update(range(span.start, max(span.end, span.start) + 1, span.step or 1))
    return sorted(found)


def _at_least(values: list[int], low: int) -> int | None:
    index = bisect_left(values, low)
    return values[index] if index < len(values) else None


def _year(t: int) -> int:
    return datetime.fromtimestamp(t, UTC).year


def _midnight(year: int, month: int, day: int) -> int:
    return (date(year, month, day).toordinal() - _EPOCH_ORDINAL) * DAY
