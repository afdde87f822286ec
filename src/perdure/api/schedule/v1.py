"""Temporal's ``temporal.api.schedule.v1``: schedules, when they act and what they did."""

from __future__ import annotations

from perdure.api._message import Message
from perdure.api.common import v1 as common_v1
from perdure.api.workflow import v1 as workflow_v1


class BackfillRequest(Message):
    """Temporal's ``temporal.api.schedule.v1.BackfillRequest``."""

    start_time: int | None = None
    end_time: int | None = None
    overlap_policy: int = 0


class CalendarSpec(Message):
    """Temporal's ``temporal.api.schedule.v1.CalendarSpec``."""

    second: str = ""
    minute: str = ""
    hour: str = ""
    day_of_month: str = ""
    month: str = ""
    year: str = ""
    day_of_week: str = ""
    comment: str = ""


class IntervalSpec(Message):
    """Temporal's ``temporal.api.schedule.v1.IntervalSpec``."""

    interval: int | None = None
    phase: int | None = None


class Range(Message):
    """Temporal's ``temporal.api.schedule.v1.Range``."""

    start: int = 0
    end: int = 0
    step: int = 0


class Schedule(Message):
    """Temporal's ``temporal.api.schedule.v1.Schedule``."""

    spec: ScheduleSpec | None = None
    action: ScheduleAction | None = None
    policies: SchedulePolicies | None = None
    state: ScheduleState | None = None


class ScheduleAction(Message):
    """Temporal's ``temporal.api.schedule.v1.ScheduleAction``."""

    start_workflow: workflow_v1.NewWorkflowExecutionInfo | None = None


class ScheduleActionResult(Message):
    """Temporal's ``temporal.api.schedule.v1.ScheduleActionResult``."""

    schedule_time: int | None = None
    actual_time: int | None = None
    start_workflow_result: common_v1.WorkflowExecution | None = None
    start_workflow_status: int = 0


class ScheduleInfo(Message):
    """Temporal's ``temporal.api.schedule.v1.ScheduleInfo``."""

    action_count: int = 0
    missed_catchup_window: int = 0
    overlap_skipped: int = 0
    buffer_dropped: int = 0
    buffer_size: int = 0
    running_workflows: list[common_v1.WorkflowExecution] = []
    recent_actions: list[ScheduleActionResult] = []
    future_action_times: list[int] = []
    create_time: int | None = None
    update_time: int | None = None
    invalid_schedule_error: str = ""
    state_size_bytes: int = 0


class ScheduleListEntry(Message):
    """Temporal's ``temporal.api.schedule.v1.ScheduleListEntry``."""

    schedule_id: str = ""
    memo: common_v1.Memo | None = None
    search_attributes: common_v1.SearchAttributes | None = None
    info: ScheduleListInfo | None = None


class ScheduleListInfo(Message):
    """Temporal's ``temporal.api.schedule.v1.ScheduleListInfo``."""

    spec: ScheduleSpec | None = None
    workflow_type: common_v1.WorkflowType | None = None
    notes: str = ""
    paused: bool = False
    recent_actions: list[ScheduleActionResult] = []
    future_action_times: list[int] = []
    state_size_bytes: int = 0


class SchedulePatch(Message):
    """Temporal's ``temporal.api.schedule.v1.SchedulePatch``."""

    trigger_immediately: TriggerImmediatelyRequest | None = None
    backfill_request: list[BackfillRequest] = []
    pause: str = ""
    unpause: str = ""


class SchedulePolicies(Message):
    """Temporal's ``temporal.api.schedule.v1.SchedulePolicies``."""

    overlap_policy: int = 0
    catchup_window: int | None = None
    pause_on_failure: bool = False
    keep_original_workflow_id: bool = False


class ScheduleSpec(Message):
    """Temporal's ``temporal.api.schedule.v1.ScheduleSpec``."""

    structured_calendar: list[StructuredCalendarSpec] = []
    cron_string: list[str] = []
    calendar: list[CalendarSpec] = []
    interval: list[IntervalSpec] = []
    exclude_calendar: list[CalendarSpec] = []
    exclude_structured_calendar: list[StructuredCalendarSpec] = []
    start_time: int | None = None
    end_time: int | None = None
    jitter: int | None = None
    timezone_name: str = ""
    timezone_data: bytes = b""


class ScheduleState(Message):
    """Temporal's ``temporal.api.schedule.v1.ScheduleState``."""

    notes: str = ""
    paused: bool = False
    limited_actions: bool = False
    remaining_actions: int = 0


class StructuredCalendarSpec(Message):
    """Temporal's ``temporal.api.schedule.v1.StructuredCalendarSpec``."""

    second: list[Range] = []
    minute: list[Range] = []
    hour: list[Range] = []
    day_of_month: list[Range] = []
    month: list[Range] = []
    year: list[Range] = []
    day_of_week: list[Range] = []
    comment: str = ""


class TriggerImmediatelyRequest(Message):
    """Temporal's ``temporal.api.schedule.v1.TriggerImmediatelyRequest``."""

    overlap_policy: int = 0
    scheduled_time: int | None = None
