"""Cron schedules as Temporal reads them: the standard five fields, descriptors, ``@every`` and a time zone prefix.

The rules are robfig/cron's, which Temporal's server uses: day of month and day of week are alternatives when both are
restricted, slots inside a daylight-saving gap are skipped, and those in a repeated hour come twice.
"""

from __future__ import annotations

import functools
import re
from datetime import UTC, datetime, timedelta, tzinfo
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

_NS = 1_000_000_000
_YEARS_AHEAD = 5
_MONTHS = {
    name: number
    for number, name in enumerate(
        ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"], 1
    )
}
_DAYS = {name: number for number, name in enumerate(["sun", "mon", "tue", "wed", "thu", "fri", "sat"])}
_FIELDS: tuple[tuple[str, int, int, dict[str, int]], ...] = (
    ("minute", 0, 59, {}),
    ("hour", 0, 23, {}),
    ("day of month", 1, 31, {}),
    ("month", 1, 12, _MONTHS),
    ("day of week", 0, 6, _DAYS),
)
#: What ``@`` words stand for.
DESCRIPTORS = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
#: Nanoseconds of Go's units of time.
UNITS = {"ns": 1, "us": 10**3, "µs": 10**3, "ms": 10**6, "s": _NS, "m": 60 * _NS, "h": 3600 * _NS}
_DURATION_PART = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|ms|s|m|h)")


class Cron:
    """A parsed schedule: the slots of five fields in a time zone, or a fixed interval."""

    __slots__ = ("_any_day", "_any_weekday", "_fields", "_zone", "interval_ns")

    def __init__(
        self, fields: tuple[frozenset[int], ...], any_day: bool, any_weekday: bool, zone: tzinfo, interval_ns: int
    ) -> None:
        self._fields = fields
        self._any_day = any_day
        self._any_weekday = any_weekday
        self._zone = zone
        #: Nanoseconds of ``@every``; 0 for a schedule of fields.
        self.interval_ns = interval_ns

    @staticmethod
    def parse(text: str) -> Cron:
        """The schedule of a text. Raises ValueError with a sentence that says what is wrong with it."""
        return _parse(text.strip())

    def next_after(self, t_ns: int) -> int | None:
        """The first slot after a time, in nanoseconds since the epoch; None when no slot comes within five years."""
        if self.interval_ns:
            return (t_ns + self.interval_ns) // _NS * _NS
        t = datetime.fromtimestamp(t_ns // _NS, UTC) + timedelta(seconds=1)
        if t.second:
            t += timedelta(seconds=60 - t.second)
        last_year = t.year + _YEARS_AHEAD
        minutes, hours, _, months, _ = self._fields
        while True:
            local = t.astimezone(self._zone)
            if local.year > last_year:
                return None
            if local.month not in months:
                t = self._midnight(local, months_ahead=1)
            elif not self._is_day(local):
                t = self._midnight(local, days_ahead=1)
            elif local.hour not in hours:
                t += timedelta(minutes=60 - local.minute)
            elif local.minute not in minutes:
                t += timedelta(minutes=1)
            else:
                return int(t.timestamp()) * _NS

    def _is_day(self, local: datetime) -> bool:
        day = local.day in self._fields[2]
        weekday = local.isoweekday() % 7 in self._fields[4]
        if self._any_day or self._any_weekday:
            return day and weekday
        return day or weekday

    def _midnight(self, local: datetime, *, days_ahead: int = 0, months_ahead: int = 0) -> datetime:
        """The first moment of a later day; where a gap swallows midnight, the moment after the gap."""
        if months_ahead:
            year, month = (local.year + 1, 1) if local.month == 12 else (local.year, local.month + 1)
            naive = datetime(year, month, 1)
        else:
            naive = datetime(local.year, local.month, local.day) + timedelta(days=days_ahead)
        moment = naive.replace(tzinfo=self._zone).astimezone(UTC)
        while moment.astimezone(self._zone).replace(tzinfo=None) < naive:
            moment += timedelta(minutes=1)
        return moment


def backoff_ms(cron: Cron, start_ns: int, close_ns: int) -> int | None:
    """How long after a run's close the next one starts, in whole seconds rounded up; None when no slot comes.

    Slots are counted from the run's execution time; those that passed before the close are skipped.
    Source: Temporal server, ``common/backoff/cron.go``.
    """
    if close_ns < start_ns:  # closed before its own slot: that slot is the next
        return -(-(start_ns - close_ns) // _NS) * 1000
    if cron.interval_ns:
        passed = -(-(close_ns - start_ns) // cron.interval_ns)
        slot: int | None = (start_ns + max(passed, 1) * cron.interval_ns) // _NS * _NS
        if slot is not None and slot < close_ns:
            slot += cron.interval_ns
    else:
        slot = cron.next_after(max(start_ns, close_ns - 1))
    if slot is None:
        return None
    return -(-(slot - close_ns) // _NS) * 1000


@functools.lru_cache(maxsize=256)
def _parse(text: str) -> Cron:
    zone: tzinfo = UTC
    spec = text
    if text.startswith(("TZ=", "CRON_TZ=")):
        name, _, spec = text.partition(" ")
        name = name.partition("=")[2]
        try:
            zone = ZoneInfo(name)
        except (ZoneInfoNotFoundError, ValueError):
            raise ValueError(f"{name!r} in {text!r} is not a known time zone") from None
        spec = spec.strip()
    if spec.startswith("@every "):
        return Cron((), True, True, zone, max(_duration(spec[7:].strip(), text) // _NS * _NS, _NS))
    if spec.startswith("@"):
        expanded = DESCRIPTORS.get(spec)
        if expanded is None:
            raise ValueError(f"{spec!r} is not a known descriptor, such as @hourly or @every 1h")
        spec = expanded
    parts = spec.split()
    if len(parts) != 5:
        raise ValueError(f"{text!r} has {len(parts)} fields, a cron schedule has 5: minute hour day month weekday")
    parsed = [_field(part, *field) for part, field in zip(parts, _FIELDS, strict=True)]
    return Cron(tuple(values for values, _ in parsed), parsed[2][1], parsed[4][1], zone, 0)


def _field(text: str, name: str, low: int, high: int, names: dict[str, int]) -> tuple[frozenset[int], bool]:
    """The values of a field, and whether it is unrestricted."""
    values: set[int] = set()
    is_any = False
    for part in text.split(","):
        span, slash, step_text = part.partition("/")
        step = 1
        if slash:
            if not step_text.isdigit() or int(step_text) == 0:
                raise ValueError(f"step {step_text!r} of the {name} field {text!r} is not a positive number")
            step = int(step_text)
        if span in ("*", "?"):
            first, last = low, high
            is_any = is_any or step == 1
        else:
            begin, dash, end = span.partition("-")
            first = _value(begin, text, name, low, high, names)
            last = _value(end, text, name, low, high, names) if dash else (high if slash else first)
            if last < first:
                raise ValueError(f"range {span!r} of the {name} field ends before it begins")
        values.update(range(first, last + 1, step))
    return frozenset(values), is_any


def _value(text: str, field: str, name: str, low: int, high: int, names: dict[str, int]) -> int:
    number = names.get(text.lower())
    if number is None:
        if not text.isdigit():
            raise ValueError(f"{text!r} in the {name} field {field!r} is not a number")
        number = int(text)
    if not low <= number <= high:
        raise ValueError(f"{number} in the {name} field {field!r} is outside {low} to {high}")
    return number


def _duration(text: str, schedule: str) -> int:
    """Nanoseconds of a Go duration: ``1h30m``, ``1.5s``."""
    position = 0
    total = 0.0
    while position < len(text):
        match = _DURATION_PART.match(text, position)
        if match is None:
            break
        total += float(match[1]) * UNITS[match[2]]
        position = match.end()
    if not text or position != len(text):
        raise ValueError(f"{text!r} in {schedule!r} is not a duration, such as 90s or 1h30m")
    return int(total)
