"""When a schedule acts: its spec in canonical form, and the times that follow from it.

Source: Temporal server, ``service/worker/scheduler/spec.go``.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import msgspec

from perdure.api.schedule import v1 as schedule_v1
from perdure.engine.farmhash import fingerprint32
from perdure.engine.limits import NS_PER_MS, NS_PER_S
from perdure.engine.schedule_calendar import MAX_YEAR, MIN_YEAR, Calendar, Zone
from perdure.engine.schedule_texts import parse_cron_string, structured_calendar

MAX_COMMENT = 200
#: A search that finds so many times excluded, one after another, is given up.
MAX_EXCLUDED = 20_000
_LAST_SECOND = 4_133_980_799  # 2100-12-31T23:59:59Z
_MAX_JITTER_MS = 0xFFFFFFFF
#: Seconds from the year 1 to the epoch: what Go counts from.
_GO_EPOCH = 62_135_596_800

_BOUNDS = (
    ("second", "Second", 0, 59),
    ("minute", "Minute", 0, 59),
    ("hour", "Hour", 0, 23),
    ("day_of_month", "DayOfMonth", 1, 31),
    ("month", "Month", 1, 12),
    ("year", "Year", MIN_YEAR, MAX_YEAR),
    ("day_of_week", "DayOfWeek", 0, 6),
)


class ActionTime(NamedTuple):
    """A time to act, in nanoseconds since the epoch: as the spec says, and with its jitter."""

    nominal: int
    actual: int


class CompiledSpec:
    """A spec that was checked; :attr:`spec` is its canonical form: cron strings and texts became ranges."""

    def __init__(self, spec: schedule_v1.ScheduleSpec) -> None:
        """Raises ValueError with a sentence that says what is wrong with the spec."""
        self.spec = _canonical(spec)
        if self.spec.timezone_data:
            zone = Zone.from_data(self.spec.timezone_name, self.spec.timezone_data)
        else:
            zone = Zone.named(self.spec.timezone_name)
        self._calendars = [Calendar(calendar, zone) for calendar in self.spec.structured_calendar]
        self._excluded = [Calendar(calendar, zone) for calendar in self.spec.exclude_structured_calendar]
        self._intervals = [
            ((interval.interval or 0) // NS_PER_S, (interval.phase or 0) // NS_PER_S) for interval in self.spec.interval
        ]

    def next_time(self, seed: str, after: int) -> ActionTime | None:
        """The first time to act whose nominal time is in a later second than ``after``; None when none comes.

        Raises:
            ValueError: exclusions leave nothing for so long that the search was given up.
        """
        second = max(after, (self.spec.start_time or 0) - NS_PER_S) // NS_PER_S
        for _ in range(MAX_EXCLUDED):
            found = self._next_second(second)
            if found is None or found > _LAST_SECOND:
                return None
            if self.spec.end_time is not None and found * NS_PER_S > self.spec.end_time:
                return None
            second = found
            is_excluded = False
            for calendar in self._excluded:
                if calendar.matches(second):
                    second = calendar.end_of_match(second)
                    is_excluded = True
            if not is_excluded:
                return ActionTime(found * NS_PER_S, found * NS_PER_S + self._jitter(seed, found))
        raise ValueError(
            "the schedule calendar specification has too many exclusions. Please modify the specification."
        )

    def _next_second(self, after: int) -> int | None:
        """The first second after one that a calendar or an interval has."""
        found: int | None = None
        for calendar in self._calendars:
            second = calendar.next_after(after)
            if second is not None and (found is None or second < found):
                found = second
        for interval, phase in self._intervals:
            second = ((after - phase) // interval + 1) * interval + phase
            if found is None or second < found:
                found = second
        return found

    def _jitter(self, seed: str, second: int) -> int:
        """How much later than its nominal time an action happens: always the same, and before the next one."""
        jitter = self.spec.jitter or 0
        if jitter <= 0:
            return 0
        following = self._next_second(second)
        if following is not None:
            jitter = min(jitter, (following - second) * NS_PER_S)
        moment = b"\1" + (second + _GO_EPOCH).to_bytes(8) + bytes(4) + b"\xff\xff"
        spread = min(jitter // NS_PER_MS, _MAX_JITTER_MS)
        return (fingerprint32(moment + seed.encode()) * spread >> 32) * NS_PER_MS


def clean(spec: schedule_v1.ScheduleSpec) -> schedule_v1.ScheduleSpec:
    """The spec as describe and list show it: ranges with their ends and steps filled in."""

    def filled(calendars: Iterable[schedule_v1.StructuredCalendarSpec]) -> list[schedule_v1.StructuredCalendarSpec]:
        return [
            msgspec.structs.replace(
                calendar,
                **{
                    name: [
                        schedule_v1.Range(span.start, max(span.start, span.end), span.step or 1)
                        for span in getattr(calendar, name)
                    ]
                    for name, *_ in _BOUNDS
                },
            )
            for calendar in calendars
        ]

    return msgspec.structs.replace(
        spec,
        structured_calendar=filled(spec.structured_calendar),
        exclude_structured_calendar=filled(spec.exclude_structured_calendar),
    )


def _canonical(spec: schedule_v1.ScheduleSpec) -> schedule_v1.ScheduleSpec:
    calendars = spec.structured_calendar + [structured_calendar(calendar) for calendar in spec.calendar]
    excluded = spec.exclude_structured_calendar + [structured_calendar(calendar) for calendar in spec.exclude_calendar]
    intervals = list(spec.interval)
    zones = set()
    for text in spec.cron_string:
        cron = parse_cron_string(text)
        zones.add(cron.timezone_name)
        if cron.calendar is not None:
            calendars.append(cron.calendar)
        if cron.interval is not None:
            intervals.append(cron.interval)
    timezone_name = spec.timezone_name
    if len(zones) > 1:
        raise ValueError("conflicting timezone names")
    for name in zones - {""}:
        if spec.timezone_data or timezone_name not in ("", name):
            raise ValueError("conflicting timezone names")
        timezone_name = name
    for calendar in [*calendars, *excluded]:
        _check_calendar(calendar)
    for interval in intervals:
        _check_interval(interval)
    return msgspec.structs.replace(
        spec,
        structured_calendar=calendars,
        cron_string=[],
        calendar=[],
        interval=intervals,
        exclude_calendar=[],
        exclude_structured_calendar=excluded,
        timezone_name=timezone_name,
    )


def _check_calendar(calendar: schedule_v1.StructuredCalendarSpec) -> None:
    wrong: list[str] = []
    for name, label, low, high in _BOUNDS:
        for span in getattr(calendar, name):
            if not low <= span.start <= high:
                wrong.append(f"{label} Start is not in range [{low}-{high}]")
            if span.end and not span.start <= span.end <= high:
                wrong.append(f"{label} End is before Start or not in range [{low}-{high}]")
            if span.step < 0:
                wrong.append(f"{label} has invalid Step")
    if len(calendar.comment.encode()) > MAX_COMMENT:
        wrong.append("comment is too long")
    if wrong:
        raise ValueError("invalid calendar spec: " + ", ".join(wrong))


def _check_interval(interval: schedule_v1.IntervalSpec) -> None:
    every, phase = interval.interval or 0, interval.phase or 0
    if every < NS_PER_S:
        raise ValueError("interval is too small: it is at least one second")
    if phase < 0:
        raise ValueError("phase is negative")
    if phase >= every:
        raise ValueError("phase cannot be greater than Interval")
