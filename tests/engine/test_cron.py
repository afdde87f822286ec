"""Cron schedules: slots, zones, daylight saving, backoff."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings

from perdure._cron import Cron, backoff_ms

NS = 1_000_000_000


def at(text: str, zone: str = "UTC") -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).timestamp()) * NS


def slots(cron: str, start: str, count: int, zone: str = "UTC") -> list[str]:
    t: int | None = at(start, zone)
    found = []
    for _ in range(count):
        assert t is not None
        t = Cron.parse(cron).next_after(t)
        assert t is not None
        found.append(datetime.fromtimestamp(t // NS, ZoneInfo(zone)).strftime("%Y-%m-%dT%H:%M"))
    return found


@pytest.mark.parametrize(
    ("cron", "start", "expected"),
    [
        ("*/15 * * * *", "2026-01-01T00:00:30", ["2026-01-01T00:15", "2026-01-01T00:30"]),
        ("5/20 3 * * *", "2026-01-01T00:00", ["2026-01-01T03:05", "2026-01-01T03:25", "2026-01-01T03:45"]),
        ("0 12 * * MON-FRI", "2026-01-02T12:00", ["2026-01-05T12:00", "2026-01-06T12:00"]),
        ("0 0 31 * *", "2026-02-01T00:00", ["2026-03-31T00:00", "2026-05-31T00:00"]),
        ("0 0 13 * fri", "2026-01-31T00:00", ["2026-02-06T00:00", "2026-02-13T00:00", "2026-02-20T00:00"]),
        ("0 0 1-7 * */2", "2026-01-01T00:00", ["2026-01-02T00:00", "2026-01-03T00:00"]),
        ("0 0 29 feb ?", "2026-01-01T00:00", ["2028-02-29T00:00"]),
        ("@hourly", "2026-01-01T00:59:59", ["2026-01-01T01:00", "2026-01-01T02:00"]),
        ("@monthly", "2026-12-15T00:00", ["2027-01-01T00:00", "2027-02-01T00:00"]),
        ("@every 90m", "2026-01-01T00:00", ["2026-01-01T01:30", "2026-01-01T03:00"]),
    ],
)
def test_slots(cron: str, start: str, expected: list[str]) -> None:
    assert slots(cron, start, len(expected)) == expected


def test_a_slot_in_the_gap_is_skipped() -> None:
    found = slots("CRON_TZ=America/New_York 30 2 * * *", "2026-03-07T00:00", 2, "America/New_York")
    assert found == ["2026-03-07T02:30", "2026-03-09T02:30"]


def test_a_slot_in_the_repeated_hour_comes_twice() -> None:
    found = slots("TZ=America/New_York 30 1 * * *", "2026-10-31T12:00", 3, "America/New_York")
    assert found == ["2026-11-01T01:30", "2026-11-01T01:30", "2026-11-02T01:30"]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "* * * *",
        "* * * * * *",
        "60 * * * *",
        "* 24 * * *",
        "* * 0 * *",
        "* * * 13 *",
        "* * * * 7",
        "a * * * *",
        "5-1 * * * *",
        "*/0 * * * *",
        "*/x * * * *",
        "@never",
        "@every",
        "@every x",
        "TZ=Mars/X * * * * *",
        "1,,2 * * * *",
    ],
)
def test_bad_text_is_one_sentence(text: str) -> None:
    with pytest.raises(ValueError) as refused:
        Cron.parse(text)
    assert str(refused.value)


def test_a_day_that_never_comes() -> None:
    assert Cron.parse("0 0 31 2 *").next_after(at("2026-01-01T00:00")) is None
    assert backoff_ms(Cron.parse("0 0 31 2 *"), 0, 0) is None


def test_backoff_skips_what_passed_and_rounds_up() -> None:
    cron = Cron.parse("*/10 * * * *")
    start = at("2026-01-01T00:00")
    assert backoff_ms(cron, start, start) == 600_000
    assert backoff_ms(cron, start, at("2026-01-01T00:25") + 1) == 300_000
    assert backoff_ms(cron, start, at("2026-01-01T00:25") + NS // 2) == 300_000
    assert backoff_ms(cron, start, at("2026-01-01T00:30")) == 0
    assert backoff_ms(cron, start, start - NS // 2) == 1000, "its own slot has not come yet"
    every = Cron.parse("@every 7s")
    assert backoff_ms(every, start, start) == 7000
    assert backoff_ms(every, start, start + 15 * NS) == 6000


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 59), st.integers(0, 23), st.integers(10**9, 2 * 10**9))
def test_the_next_slot_is_the_first_that_matches(minute: int, hour: int, start: int) -> None:
    found = Cron.parse(f"{minute} {hour} * * *").next_after(start * NS)
    assert found is not None
    moment = datetime.fromtimestamp(found // NS, UTC)
    assert (moment.minute, moment.hour, moment.second) == (minute, hour, 0)
    assert 0 < found // NS - start <= 86400
