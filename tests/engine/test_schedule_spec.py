"""When schedules act: texts, calendars, time zones, jitter."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import TZPATH, ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perdure.api.schedule.v1 import (
    CalendarSpec,
    IntervalSpec,
    Range,
    ScheduleSpec,
    StructuredCalendarSpec,
)
from perdure.engine.farmhash import fingerprint32
from perdure.engine.schedule_calendar import Calendar, Zone
from perdure.engine.schedule_spec import CompiledSpec, clean
from perdure.engine.schedule_texts import parse_cron_string, structured_calendar
from tests.twins import schedules as twin

S = 10**9
M = 60 * S
H = 3600 * S
ZONES = ("America/New_York", "Europe/Berlin", "Australia/Lord_Howe", "Asia/Kathmandu", "Africa/Casablanca", "UTC")


def ns(text: str) -> int:
    """Nanoseconds of an ISO time, UTC where it names no offset."""
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return round((moment - datetime(1970, 1, 1, tzinfo=UTC)) / timedelta(microseconds=1)) * 1000


def times(spec: ScheduleSpec, after: str, count: int, *, seed: str = "", zone: str = "UTC") -> list[str]:
    """The first times of a spec, as a clock in a zone shows them."""
    compiled = CompiledSpec(spec)
    t = ns(after)
    found = []
    for _ in range(count):
        action = compiled.next_time(seed, t)
        if action is None:
            found.append("never")
            break
        t = action.actual
        local = (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=t // 1000)).astimezone(ZoneInfo(zone))
        found.append(local.isoformat(timespec="milliseconds" if t % S else "seconds").removesuffix("+00:00"))
    return found


def every_day(hour: int, minute: int, zone: str) -> ScheduleSpec:
    return ScheduleSpec(calendar=[CalendarSpec(hour=str(hour), minute=str(minute))], timezone_name=zone)


# ---- the hash of jitter


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        (0, 3696677242),
        (1, 1528084275),
        (4, 1976236200),
        (5, 1789394724),
        (12, 424089153),
        (13, 2250069229),
        (21, 2869472448),
        (24, 3626755563),
        (25, 348316505),
        (40, 4203805896),
        (41, 909664172),
        (67, 786418786),
        (129, 1271397845),
    ],
)
def test_fingerprint_is_farmhash(size: int, expected: int) -> None:
    assert fingerprint32(bytes((i * 37 + 11) % 256 for i in range(size))) == expected


# ---- texts


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", [Range(0, 6)]),
        ("*", [Range(0, 6)]),
        ("*/2", [Range(0, 6, 2)]),
        ("7", [Range(0)]),
        ("0-7", [Range(0, 6)]),
        ("1-7", [Range(1, 6)]),
        ("3-7", [Range(0), Range(3, 6)]),
        ("3-7/3", [Range(3, 6, 3)]),
        ("1-7/2", [Range(0), Range(1, 6, 2)]),
        ("5/2", [Range(0), Range(5, 6, 2)]),
        ("mon-fri", [Range(1, 5)]),
        ("Tu,thursday,SAT", [Range(2), Range(4), Range(6)]),
    ],
)
def test_days_of_week(text: str, expected: list[Range]) -> None:
    assert structured_calendar(CalendarSpec(day_of_week=text)).day_of_week == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("3", [Range(3)]),
        ("3/15", [Range(3, 59, 15)]),
        ("1-5/2,8-16/3,2", [Range(1, 5, 2), Range(8, 16, 3), Range(2)]),
        ("4-4", [Range(4)]),
        (" 7 ", [Range(7)]),
    ],
)
def test_minutes(text: str, expected: list[Range]) -> None:
    assert structured_calendar(CalendarSpec(minute=text)).minute == expected


def test_defaults_of_a_calendar() -> None:
    assert structured_calendar(CalendarSpec(month="dec-december", comment="c")) == StructuredCalendarSpec(
        second=[Range(0)],
        minute=[Range(0)],
        hour=[Range(0)],
        day_of_month=[Range(1, 31)],
        month=[Range(12)],
        year=[],
        day_of_week=[Range(0, 6)],
        comment="c",
    )


@pytest.mark.parametrize(
    ("calendar", "message"),
    [
        (CalendarSpec(hour="24"), r"Hour is not in range \[0-23\]"),
        (CalendarSpec(hour="x-3"), r"Hour Start is not in range"),
        (CalendarSpec(hour="5-3"), r"Hour End is before Start"),
        (CalendarSpec(hour="1-2-3"), r"Hour has too many dashes"),
        (CalendarSpec(hour="1/2/3"), r"Hour has too many slashes"),
        (CalendarSpec(hour="1/"), r"Hour missing step value"),
        (CalendarSpec(hour="1/0"), r"Hour has invalid Step"),
        (CalendarSpec(month="ja"), r"Month is not in range"),
        (CalendarSpec(year="1999"), r"Year is not in range \[2000-2100\]"),
        (CalendarSpec(hour="1,,2"), r"Hour is not in range"),
    ],
)
def test_wrong_calendar_names_its_field(calendar: CalendarSpec, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        CompiledSpec(ScheduleSpec(calendar=[calendar]))


@pytest.mark.parametrize(
    ("text", "same_as"),
    [
        ("23 5,7 * * *", CalendarSpec(minute="23", hour="5,7")),
        (
            "1 2 3 4 5 2030",
            CalendarSpec(minute="1", hour="2", day_of_month="3", month="4", day_of_week="5", year="2030"),
        ),
        ("9 1 2 * * * *", CalendarSpec(second="9", minute="1", hour="2")),
        ("@hourly", CalendarSpec(minute="0", hour="*")),
        ("@weekly # on Sunday", CalendarSpec(day_of_week="0", comment="on Sunday")),
        ("@yearly", CalendarSpec(day_of_month="1", month="1")),
        (" 0 0 * * * #  nightly # really ", CalendarSpec(comment="nightly # really")),
    ],
)
def test_cron_string_is_a_calendar(text: str, same_as: CalendarSpec) -> None:
    assert parse_cron_string(text) == (structured_calendar(same_as), None, "")


@pytest.mark.parametrize(
    ("text", "interval"),
    [
        ("@every 14h", IntervalSpec(14 * H)),
        ("@every 14h/3h # c", IntervalSpec(14 * H, 3 * H)),
        ("@every 1d12h", IntervalSpec(36 * H)),
        ("@every 90s", IntervalSpec(90 * S)),
    ],
)
def test_cron_string_is_an_interval(text: str, interval: IntervalSpec) -> None:
    assert parse_cron_string(text) == (None, interval, "")


@pytest.mark.parametrize(
    "text",
    ["", "* * * *", "* * * * * * * *", "@every", "@every 5", "@every 5x", "@fortnightly", "CRON_TZ=UTC", "60 * * * *"],
)
def test_wrong_cron_string_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"CronString|is not in range"):
        parse_cron_string(text)


def test_zone_of_cron_strings_becomes_the_specs() -> None:
    spec = ScheduleSpec(cron_string=["CRON_TZ=Europe/Berlin 0 9 * * *", "TZ=Europe/Berlin 0 18 * * *"])
    canonical = CompiledSpec(spec).spec
    assert canonical.timezone_name == "Europe/Berlin"
    assert canonical.cron_string == []
    assert len(canonical.structured_calendar) == 2


@pytest.mark.parametrize(
    "spec",
    [
        ScheduleSpec(cron_string=["CRON_TZ=Europe/Berlin 0 9 * * *"], timezone_name="Europe/London"),
        ScheduleSpec(cron_string=["CRON_TZ=Europe/Berlin 0 9 * * *", "0 9 * * *"]),
        ScheduleSpec(cron_string=["CRON_TZ=Europe/Berlin 0 9 * * *"], timezone_data=b"TZif"),
    ],
)
def test_conflicting_zones_are_refused(spec: ScheduleSpec) -> None:
    with pytest.raises(ValueError, match="conflicting timezone names"):
        CompiledSpec(spec)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (ScheduleSpec(timezone_name="Mars/Olympus"), "unknown time zone Mars/Olympus"),
        (ScheduleSpec(timezone_data=b"nonsense"), "timezone_data"),
        (ScheduleSpec(interval=[IntervalSpec(S - 1)]), "interval is too small"),
        (ScheduleSpec(interval=[IntervalSpec(S, -1)]), "phase is negative"),
        (ScheduleSpec(interval=[IntervalSpec(S, S)]), "phase cannot be greater"),
        (ScheduleSpec(structured_calendar=[StructuredCalendarSpec(hour=[Range(24)])]), "Hour Start is not in range"),
        (ScheduleSpec(structured_calendar=[StructuredCalendarSpec(hour=[Range(5, 3)])]), "Hour End is before Start"),
        (ScheduleSpec(structured_calendar=[StructuredCalendarSpec(hour=[Range(5, 6, -1)])]), "Hour has invalid Step"),
        (ScheduleSpec(structured_calendar=[StructuredCalendarSpec(comment="c" * 201)]), "comment is too long"),
    ],
)
def test_wrong_spec_is_refused(spec: ScheduleSpec, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        CompiledSpec(spec)


def test_shown_ranges_have_ends_and_steps() -> None:
    spec = clean(CompiledSpec(ScheduleSpec(calendar=[CalendarSpec(minute="3", hour="1-5/2")])).spec)
    assert spec.structured_calendar[0].minute == [Range(3, 3, 1)]
    assert spec.structured_calendar[0].hour == [Range(1, 5, 2)]


# ---- times


def test_no_calendar_and_no_interval_is_never() -> None:
    assert times(ScheduleSpec(), "2022-03-23", 1) == ["never"]


def test_calendar_without_a_field_matches_nothing() -> None:
    calendar = structured_calendar(CalendarSpec())
    calendar.day_of_week = []
    assert times(ScheduleSpec(structured_calendar=[calendar]), "2022-03-23", 1) == ["never"]
    calendar = structured_calendar(CalendarSpec())
    calendar.minute = []
    assert times(ScheduleSpec(structured_calendar=[calendar]), "2022-03-23", 1) == ["never"]


def test_day_of_month_and_day_of_week_must_both_match() -> None:
    spec = ScheduleSpec(calendar=[CalendarSpec(day_of_month="13", day_of_week="fri")])
    assert times(spec, "2022-03-23", 3) == ["2022-05-13T00:00:00", "2023-01-13T00:00:00", "2023-10-13T00:00:00"]


def test_leap_day_and_impossible_day() -> None:
    spec = ScheduleSpec(calendar=[CalendarSpec(day_of_month="29", month="feb")])
    assert times(spec, "2022-03-23", 2) == ["2024-02-29T00:00:00", "2028-02-29T00:00:00"]
    assert times(ScheduleSpec(calendar=[CalendarSpec(day_of_month="31", month="6")]), "2022-03-23", 1) == ["never"]


def test_years_end() -> None:
    spec = ScheduleSpec(calendar=[CalendarSpec(month="1", day_of_month="1", year="2023,2025")])
    assert times(spec, "2022-03-23", 4) == ["2023-01-01T00:00:00", "2025-01-01T00:00:00", "never"]
    assert times(ScheduleSpec(calendar=[CalendarSpec(month="1")]), "2100-12-01", 1) == ["never"]


def test_interval_and_phase_count_from_the_epoch() -> None:
    spec = ScheduleSpec(interval=[IntervalSpec(90 * M)])
    assert times(spec, "2022-03-23T12:53:02.000009", 2) == ["2022-03-23T13:30:00", "2022-03-23T15:00:00"]
    spec = ScheduleSpec(interval=[IntervalSpec(90 * M, 5 * M + 44 * S)])
    assert times(spec, "2022-03-23T12:53:02", 2) == ["2022-03-23T13:35:44", "2022-03-23T15:05:44"]


def test_union_of_calendars_and_intervals() -> None:
    spec = ScheduleSpec(
        interval=[IntervalSpec(H), IntervalSpec(40 * M)], calendar=[CalendarSpec(hour="12", minute="10")]
    )
    assert times(spec, "2022-03-23T12:00:00", 4) == [
        "2022-03-23T12:10:00",
        "2022-03-23T12:40:00",
        "2022-03-23T13:00:00",
        "2022-03-23T13:20:00",
    ]


def test_excluded_times_are_left_out() -> None:
    spec = ScheduleSpec(
        interval=[IntervalSpec(90 * M)],
        exclude_calendar=[CalendarSpec(hour="12-14", minute="*", second="*")],
        jitter=S,
    )
    assert times(spec, "2022-03-23T08:00:00", 4) == [
        "2022-03-23T09:00:00.235",
        "2022-03-23T10:30:00.139",
        "2022-03-23T15:00:00.089",
        "2022-03-23T16:30:00.687",
    ]


def test_long_exclusions_are_skipped_at_once() -> None:
    spec = ScheduleSpec(
        interval=[IntervalSpec(S)],
        exclude_calendar=[CalendarSpec(second="*", minute="*", hour="*", month="apr-dec", year="2022")],
    )
    assert times(spec, "2022-04-01", 2) == ["2023-01-01T00:00:00", "2023-01-01T00:00:01"]
    spec = ScheduleSpec(
        interval=[IntervalSpec(168 * H)], exclude_calendar=[CalendarSpec(second="*", minute="*", hour="*")]
    )
    assert times(spec, "2022-03-23", 1) == ["never"]


def test_hopeless_exclusion_is_given_up() -> None:
    every_even = "*/2"
    spec = ScheduleSpec(
        calendar=[CalendarSpec(second=every_even, minute="*", hour="*")],
        exclude_calendar=[CalendarSpec(second=every_even, minute="*", hour="*")],
    )
    with pytest.raises(ValueError, match="too many exclusions"):
        CompiledSpec(spec).next_time("", ns("2022-03-23"))


def test_start_and_end_are_inclusive() -> None:
    spec = ScheduleSpec(
        interval=[IntervalSpec(H)], start_time=ns("2022-03-23T12:00:00"), end_time=ns("2022-03-23T13:00:00")
    )
    assert times(spec, "2022-03-01", 4) == ["2022-03-23T12:00:00", "2022-03-23T13:00:00", "never"]
    spec = ScheduleSpec(interval=[IntervalSpec(H)], start_time=ns("2022-03-23T12:00:00.456"))
    assert times(spec, "2022-03-23T12:00:00.123", 1) == ["2022-03-23T13:00:00"]


# ---- jitter: values of Temporal's own tests


def test_jitter_is_temporals() -> None:
    day = ScheduleSpec(interval=[IntervalSpec(24 * H)], jitter=H)
    after = "2022-03-23T11:00:00"
    assert times(day, after, 1) == ["2022-03-24T00:35:24.276"]
    assert times(day, after, 1, seed="seed-1") == ["2022-03-24T00:06:12.519"]
    assert times(day, after, 1, seed="seed-2") == ["2022-03-24T00:39:16.922"]


def test_jitter_ends_before_the_next_time() -> None:
    spec = ScheduleSpec(interval=[IntervalSpec(90 * M)], jitter=24 * H)
    assert times(spec, "2022-03-23T11:00:00", 3) == [
        "2022-03-23T12:14:36.524",
        "2022-03-23T14:22:54.562",
        "2022-03-23T15:08:03.724",
    ]


def test_jitter_of_a_single_time() -> None:
    once = CalendarSpec(hour="13", minute="55", day_of_month="7", month="4", year="2022")
    assert times(ScheduleSpec(calendar=[once], jitter=H), "2022-03-23T11:00:00", 2) == [
        "2022-04-07T13:57:26.927",
        "never",
    ]


# ---- time zones


@pytest.mark.parametrize(
    ("zone", "hour", "minute", "after", "expected"),
    [
        # 02:00 to 03:00 does not exist on the day the clock goes forward: that day is left out.
        ("America/New_York", 2, 30, "2024-03-09T00:00:00", ["03-09T02:30:00-05:00", "03-11T02:30:00-04:00"]),
        ("Europe/Berlin", 2, 30, "2024-03-29T23:30:00", ["03-30T02:30:00+01:00", "04-01T02:30:00+02:00"]),
        # Lord Howe's clock moves by half an hour: 02:00 to 02:30 does not exist.
        ("Australia/Lord_Howe", 2, 15, "2024-10-04T12:00:00", ["10-05T02:15:00+10:30", "10-07T02:15:00+11:00"]),
        ("Australia/Lord_Howe", 2, 30, "2024-10-04T12:00:00", ["10-05T02:30:00+10:30", "10-06T02:30:00+11:00"]),
        # What the clock shows twice happens twice.
        (
            "America/New_York",
            1,
            30,
            "2024-11-02T12:00:00",
            ["11-03T01:30:00-04:00", "11-03T01:30:00-05:00", "11-04T01:30:00-05:00"],
        ),
        (
            "Europe/Berlin",
            2,
            30,
            "2024-10-26T12:00:00",
            ["10-27T02:30:00+02:00", "10-27T02:30:00+01:00", "10-28T02:30:00+01:00"],
        ),
        (
            "Australia/Lord_Howe",
            1,
            45,
            "2024-04-06T00:00:00",
            ["04-07T01:45:00+11:00", "04-07T01:45:00+10:30", "04-08T01:45:00+10:30"],
        ),
        ("Australia/Lord_Howe", 1, 15, "2024-04-06T00:00:00", ["04-07T01:15:00+11:00", "04-08T01:15:00+10:30"]),
    ],
)
def test_clock_changes(zone: str, hour: int, minute: int, after: str, expected: list[str]) -> None:
    found = times(every_day(hour, minute, zone), after, len(expected), zone=zone)
    assert [text[5:] for text in found] == expected


@pytest.mark.parametrize(
    ("minutes", "hour", "start", "expected"),
    [
        # The cases of Temporal's own tests. March 13 has no 02:33:33; November 7 has two 01:33:33 and two 01:44:33.
        ("33", "2", "2022-03-11T20:00:00-08:00", ["2022-03-12T02:33:33-08:00", "2022-03-14T02:33:33-07:00"]),
        (
            "33,44",
            "1",
            "2021-11-07T00:15:15-07:00",
            [
                "2021-11-07T01:33:33-07:00",
                "2021-11-07T01:44:33-07:00",
                "2021-11-07T01:33:33-08:00",
                "2021-11-07T01:44:33-08:00",
                "2021-11-08T01:33:33-08:00",
            ],
        ),
    ],
)
def test_every_second_before_a_time_leads_to_it(minutes: str, hour: str, start: str, expected: list[str]) -> None:
    calendar = structured_calendar(CalendarSpec(second="33", minute=minutes, hour=hour))
    compiled = Calendar(calendar, Zone.named("US/Pacific"))
    t = ns(start) // S
    for text in expected:
        due = ns(text) // S
        for second in [*range(t, due, 59), due - 1]:
            assert compiled.next_after(second) == due
        t = due


def test_a_search_may_begin_in_a_repeated_hour_and_end_far_from_it() -> None:
    spec = ScheduleSpec(
        calendar=[CalendarSpec(minute="1", hour="0", day_of_month="2", month="1", day_of_week="0")],
        timezone_name="Europe/London",
    )
    for after in ("2004-01-01T00:00:05", "2004-10-31T00:07:03", "2004-10-31T01:07:03"):
        assert times(spec, after, 1, zone="UTC") == ["2005-01-02T00:01:00"]


def test_every_hour_of_a_day_that_repeats_one() -> None:
    spec = ScheduleSpec(calendar=[CalendarSpec(hour="*")], timezone_name="America/New_York")
    found = times(spec, "2024-11-03T03:59:59", 26, zone="America/New_York")
    assert [text[11:16] for text in found[:5]] == ["00:00", "01:00", "01:00", "02:00", "03:00"]
    assert found[25].startswith("2024-11-04T00")


def test_end_of_an_exclusion_is_where_the_offset_changes() -> None:
    spec = ScheduleSpec(
        interval=[IntervalSpec(10 * M)],
        exclude_calendar=[CalendarSpec(second="*", minute="*", hour="1")],
        timezone_name="America/New_York",
    )
    found = times(spec, "2024-11-03T04:45:00", 3, zone="America/New_York")
    assert [text[11:] for text in found] == ["00:50:00-04:00", "02:00:00-05:00", "02:10:00-05:00"]


def test_zone_of_data() -> None:
    found = [file for folder in TZPATH if (file := Path(folder, "Europe/Berlin")).is_file()]
    if not found:
        pytest.skip("this machine has no time zone files")
    spec = every_day(9, 0, "")
    spec.timezone_data = found[0].read_bytes()
    assert times(spec, "2024-03-30T00:00:00", 2) == ["2024-03-30T08:00:00", "2024-03-31T07:00:00"]


# ---- the twin

_CHANGES = {
    zone: [change for year in (2023, 2024) for change in Zone.named(zone)._changes_of(year)] or [1_700_000_000]
    for zone in ZONES
}


def _span_of(low: int, high: int) -> st.SearchStrategy[Range]:
    return st.builds(Range, st.integers(low, high), st.integers(low, high) | st.just(0), st.integers(0, 7))


def _field(low: int, high: int) -> st.SearchStrategy[list[Range]]:
    everything = st.just([Range(low, high)])
    return everything | st.lists(_span_of(low, high), min_size=1, max_size=2)


_CALENDARS = st.builds(
    StructuredCalendarSpec,
    second=st.just([Range(0)]) | _field(0, 59),
    minute=_field(0, 59),
    hour=_field(0, 23),
    day_of_month=st.just([Range(1, 31)]) | _field(1, 31),
    month=st.just([Range(1, 12)]),
    year=st.just([]) | st.just([Range(2023, 2024)]),
    day_of_week=st.just([Range(0, 6)]) | _field(0, 6),
)


@settings(max_examples=60, deadline=None)
@given(_CALENDARS, st.sampled_from(ZONES), st.data())
def test_next_time_is_the_twins(calendar: StructuredCalendarSpec, zone: str, data: st.DataObject) -> None:
    """Around changes of the clock, where mistakes would be."""
    after = data.draw(st.sampled_from(_CHANGES[zone])) + data.draw(st.integers(-4500, 4000))
    until = after + 6000
    found = Calendar(calendar, Zone.named(zone)).next_after(after)
    expected = twin.next_match(calendar, after, zone, until)
    assert (found if found is not None and found <= until else None) == expected


@settings(deadline=None)
@given(_CALENDARS, st.sampled_from(ZONES), st.integers(1_660_000_000, 1_740_000_000))
def test_next_time_is_later_and_matches(calendar: StructuredCalendarSpec, zone: str, after: int) -> None:
    compiled = Calendar(calendar, Zone.named(zone))
    found = compiled.next_after(after)
    if found is not None:
        assert found > after
        assert twin.matches(calendar, found, zone)
        assert compiled.matches(found)
        end = compiled.end_of_match(found)
        assert end >= found
        assert all(twin.matches(calendar, t, zone) for t in {*range(found, end, 701), end})
        assert compiled.next_after(found - 1) == found
