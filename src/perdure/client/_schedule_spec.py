"""When a schedule acts, and how: the parts of a schedule that are only data."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import IntEnum

from perdure._times import (
    duration_from_ns,
    duration_to_ns,
    optional_duration_from_ns,
    optional_duration_to_ns,
    optional_time_from_ns,
    optional_time_to_ns,
    time_to_ns,
)
from perdure.api.enums.v1 import ScheduleOverlapPolicy as _Overlap
from perdure.api.schedule import v1 as schedule_v1


class ScheduleOverlapPolicy(IntEnum):
    """What happens when an action's time comes and the workflow of an earlier one still runs."""

    SKIP = int(_Overlap.SCHEDULE_OVERLAP_POLICY_SKIP)
    """Nothing: the action is left out."""
    BUFFER_ONE = int(_Overlap.SCHEDULE_OVERLAP_POLICY_BUFFER_ONE)
    """The action waits for the workflow's end. One may wait; those that come meanwhile are left out."""
    BUFFER_ALL = int(_Overlap.SCHEDULE_OVERLAP_POLICY_BUFFER_ALL)
    """Actions wait, and are taken one after the other."""
    CANCEL_OTHER = int(_Overlap.SCHEDULE_OVERLAP_POLICY_CANCEL_OTHER)
    """The workflow is asked to cancel; the action is taken when it has ended."""
    TERMINATE_OTHER = int(_Overlap.SCHEDULE_OVERLAP_POLICY_TERMINATE_OTHER)
    """The workflow is terminated and the action is taken."""
    ALLOW_ALL = int(_Overlap.SCHEDULE_OVERLAP_POLICY_ALLOW_ALL)
    """The action is taken. Such workflows get no last result and no last failure: they do not follow one another."""


@dataclass(frozen=True)
class ScheduleRange:
    """Numbers from ``start`` to ``end``, both included, ``step`` apart."""

    start: int
    """The first number."""
    end: int = 0
    """The last number; one below ``start`` means ``start`` alone."""
    step: int = 0
    """The distance between numbers; 0 means 1."""

    def __post_init__(self) -> None:
        """Fill in what was left out."""
        if self.end < self.start:
            object.__setattr__(self, "end", self.start)
        if self.step == 0:
            object.__setattr__(self, "step", 1)

    @staticmethod
    def _from_protos(ranges: Sequence[schedule_v1.Range]) -> Sequence[ScheduleRange]:
        return tuple(ScheduleRange(span.start, span.end, span.step) for span in ranges)

    @staticmethod
    def _to_protos(ranges: Sequence[ScheduleRange]) -> list[schedule_v1.Range]:
        return [schedule_v1.Range(span.start, span.end, span.step) for span in ranges]


@dataclass
class ScheduleCalendarSpec:
    """Times of a calendar: those whose every part is in one of the part's ranges.

    No range matches nothing; only the year may be left empty, which means every year.
    """

    second: Sequence[ScheduleRange] = (ScheduleRange(0),)
    """0 to 59, by default 0."""
    minute: Sequence[ScheduleRange] = (ScheduleRange(0),)
    """0 to 59, by default 0."""
    hour: Sequence[ScheduleRange] = (ScheduleRange(0),)
    """0 to 23, by default 0."""
    day_of_month: Sequence[ScheduleRange] = (ScheduleRange(1, 31),)
    """1 to 31, by default every day."""
    month: Sequence[ScheduleRange] = (ScheduleRange(1, 12),)
    """1 to 12, by default every month."""
    year: Sequence[ScheduleRange] = ()
    """By default every year."""
    day_of_week: Sequence[ScheduleRange] = (ScheduleRange(0, 6),)
    """0 (Sunday) to 6, by default every day."""
    comment: str | None = None
    """What the calendar is about, at most 200 bytes."""

    @staticmethod
    def _from_proto(spec: schedule_v1.StructuredCalendarSpec) -> ScheduleCalendarSpec:
        return ScheduleCalendarSpec(
            **{name: ScheduleRange._from_protos(getattr(spec, name)) for name in _CALENDAR_FIELDS},
            comment=spec.comment or None,
        )

    def _to_proto(self) -> schedule_v1.StructuredCalendarSpec:
        return schedule_v1.StructuredCalendarSpec(
            **{name: ScheduleRange._to_protos(getattr(self, name)) for name in _CALENDAR_FIELDS},
            comment=self.comment or "",
        )


_CALENDAR_FIELDS = ("second", "minute", "hour", "day_of_month", "month", "year", "day_of_week")


@dataclass
class ScheduleIntervalSpec:
    """Times ``every`` so often, counted from the epoch."""

    every: timedelta
    """The distance between times, at least a second."""
    offset: timedelta | None = None
    """How much later than the epoch counting starts; less than ``every``."""

    @staticmethod
    def _from_proto(spec: schedule_v1.IntervalSpec) -> ScheduleIntervalSpec:
        return ScheduleIntervalSpec(duration_from_ns(spec.interval or 0), optional_duration_from_ns(spec.phase))

    def _to_proto(self) -> schedule_v1.IntervalSpec:
        return schedule_v1.IntervalSpec(duration_to_ns(self.every), optional_duration_to_ns(self.offset or None))


@dataclass
class ScheduleSpec:
    """The times at which a schedule acts: all of its calendars, intervals and cron expressions but ``skip``."""

    calendars: Sequence[ScheduleCalendarSpec] = dataclasses.field(default_factory=list)
    """Times of calendars."""
    intervals: Sequence[ScheduleIntervalSpec] = dataclasses.field(default_factory=list)
    """Times at a fixed distance."""
    cron_expressions: Sequence[str] = dataclasses.field(default_factory=list)
    """Times of cron strings; a description shows them as calendars and intervals."""
    skip: Sequence[ScheduleCalendarSpec] = dataclasses.field(default_factory=list)
    """Times that are left out."""
    start_at: datetime | None = None
    """Times before this one are left out."""
    end_at: datetime | None = None
    """Times after this one are left out."""
    jitter: timedelta | None = None
    """Each action is late by some part of this, always the same for the same time, and never as late as the next."""
    time_zone_name: str | None = None
    """The zone of calendars and cron expressions, such as ``Europe/Berlin``; by default UTC."""

    @staticmethod
    def _from_proto(spec: schedule_v1.ScheduleSpec) -> ScheduleSpec:
        return ScheduleSpec(
            calendars=[ScheduleCalendarSpec._from_proto(calendar) for calendar in spec.structured_calendar],
            intervals=[ScheduleIntervalSpec._from_proto(interval) for interval in spec.interval],
            cron_expressions=list(spec.cron_string),
            skip=[ScheduleCalendarSpec._from_proto(calendar) for calendar in spec.exclude_structured_calendar],
            start_at=optional_time_from_ns(spec.start_time),
            end_at=optional_time_from_ns(spec.end_time),
            jitter=optional_duration_from_ns(spec.jitter),
            time_zone_name=spec.timezone_name or None,
        )

    def _to_proto(self) -> schedule_v1.ScheduleSpec:
        return schedule_v1.ScheduleSpec(
            structured_calendar=[calendar._to_proto() for calendar in self.calendars],
            cron_string=list(self.cron_expressions),
            interval=[interval._to_proto() for interval in self.intervals],
            exclude_structured_calendar=[calendar._to_proto() for calendar in self.skip],
            start_time=optional_time_to_ns(self.start_at),
            end_time=optional_time_to_ns(self.end_at),
            jitter=optional_duration_to_ns(self.jitter or None),
            timezone_name=self.time_zone_name or "",
        )


@dataclass
class ScheduleBackfill:
    """A period whose actions are taken now."""

    start_at: datetime
    """Its start; an action exactly then is taken."""
    end_at: datetime
    """Its end; an action exactly then is taken."""
    overlap: ScheduleOverlapPolicy | None = None
    """Overrules the schedule's policy."""

    def _to_proto(self) -> schedule_v1.BackfillRequest:
        return schedule_v1.BackfillRequest(
            start_time=time_to_ns(self.start_at),
            end_time=time_to_ns(self.end_at),
            overlap_policy=int(self.overlap or 0),
        )


@dataclass
class SchedulePolicy:
    """How a schedule acts."""

    overlap: ScheduleOverlapPolicy = dataclasses.field(default_factory=lambda: ScheduleOverlapPolicy.SKIP)
    """What happens while a workflow of an earlier action runs."""
    catchup_window: timedelta = timedelta(days=365)
    """Actions whose time passed while nobody was there are made up for when they are late by less; at least 10 s."""
    pause_on_failure: bool = False
    """Pause the schedule when a workflow it started fails or times out, its retries done."""

    @staticmethod
    def _from_proto(policies: schedule_v1.SchedulePolicies) -> SchedulePolicy:
        return SchedulePolicy(
            overlap=ScheduleOverlapPolicy(policies.overlap_policy or ScheduleOverlapPolicy.SKIP),
            catchup_window=duration_from_ns(policies.catchup_window or 0),
            pause_on_failure=policies.pause_on_failure,
        )

    def _to_proto(self) -> schedule_v1.SchedulePolicies:
        return schedule_v1.SchedulePolicies(
            overlap_policy=int(self.overlap),
            catchup_window=duration_to_ns(self.catchup_window),
            pause_on_failure=self.pause_on_failure,
        )


@dataclass
class ScheduleState:
    """Whether a schedule acts."""

    note: str | None = None
    """What people, or the schedule itself when it pauses, say about it."""
    paused: bool = False
    """Whether its times pass without actions."""
    limited_actions: bool = False
    """Whether ``remaining_actions`` counts; when creating, exactly if there are some."""
    remaining_actions: int = 0
    """How many actions are still to be taken. Triggers and backfills do not count."""

    @staticmethod
    def _from_proto(state: schedule_v1.ScheduleState) -> ScheduleState:
        return ScheduleState(state.notes or None, state.paused, state.limited_actions, state.remaining_actions)

    def _to_proto(self) -> schedule_v1.ScheduleState:
        return schedule_v1.ScheduleState(self.note or "", self.paused, self.limited_actions, self.remaining_actions)
