"""What describe and list say of schedules."""

from __future__ import annotations

from abc import ABC
from dataclasses import dataclass
from typing import TYPE_CHECKING

from perdure._times import optional_time_from_ns, time_from_ns
from perdure.api.common import v1 as common_v1
from perdure.api.schedule import v1 as schedule_v1
from perdure.api.workflowservice.v1 import DescribeScheduleResponse
from perdure.client._memo import WithMemo
from perdure.client._schedule_action import Schedule
from perdure.client._schedule_spec import ScheduleSpec
from perdure.common import SearchAttributes, TypedSearchAttributes
from perdure.converter import DataConverter, decode_search_attributes, decode_typed_search_attributes

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime


_NO_ATTRIBUTES = common_v1.SearchAttributes()


class ScheduleActionExecution(ABC):  # noqa: B024  (a base of what a schedule's actions leave, as in Temporal)
    """Base of what an action became; there is :class:`ScheduleActionExecutionStartWorkflow`."""


@dataclass
class ScheduleActionExecutionStartWorkflow(ScheduleActionExecution):
    """A workflow that was started."""

    workflow_id: str
    """Its id."""
    first_execution_run_id: str
    """The run that was started; retries and continue-as-new may have followed."""

    @staticmethod
    def _from_proto(execution: common_v1.WorkflowExecution | None) -> ScheduleActionExecutionStartWorkflow:
        execution = execution or common_v1.WorkflowExecution()
        return ScheduleActionExecutionStartWorkflow(execution.workflow_id, execution.run_id)


@dataclass
class ScheduleActionResult:
    """An action that was taken."""

    scheduled_at: datetime
    """When its time was, jitter included."""
    started_at: datetime
    """When it was taken."""
    action: ScheduleActionExecution
    """What it became."""

    @staticmethod
    def _from_proto(result: schedule_v1.ScheduleActionResult) -> ScheduleActionResult:
        return ScheduleActionResult(
            scheduled_at=time_from_ns(result.schedule_time or 0),
            started_at=time_from_ns(result.actual_time or 0),
            action=ScheduleActionExecutionStartWorkflow._from_proto(result.start_workflow_result),
        )


@dataclass
class ScheduleInfo:
    """What a schedule did and will do."""

    num_actions: int
    """How many actions were taken."""
    num_actions_missed_catchup_window: int
    """How many were too late to be made up for."""
    num_actions_skipped_overlap: int
    """How many were left out because an earlier one's workflow ran."""
    running_actions: Sequence[ScheduleActionExecution]
    """Those whose workflows run; not those that may overlap."""
    recent_actions: Sequence[ScheduleActionResult]
    """The newest ten, oldest first."""
    next_action_times: Sequence[datetime]
    """The next ten times."""
    created_at: datetime
    """When it was created."""
    last_updated_at: datetime | None
    """When it was updated last."""

    @staticmethod
    def _from_proto(info: schedule_v1.ScheduleInfo) -> ScheduleInfo:
        return ScheduleInfo(
            num_actions=info.action_count,
            num_actions_missed_catchup_window=info.missed_catchup_window,
            num_actions_skipped_overlap=info.overlap_skipped,
            running_actions=[
                ScheduleActionExecutionStartWorkflow._from_proto(running) for running in info.running_workflows
            ],
            recent_actions=[ScheduleActionResult._from_proto(result) for result in info.recent_actions],
            next_action_times=[time_from_ns(time) for time in info.future_action_times],
            created_at=time_from_ns(info.create_time or 0),
            last_updated_at=optional_time_from_ns(info.update_time),
        )


@dataclass
class ScheduleDescription(WithMemo):
    """A schedule, what it did and what it will do."""

    id: str
    """Its id."""
    schedule: Schedule
    """The schedule; an update may change it and give it back."""
    info: ScheduleInfo
    """What it did and will do."""
    typed_search_attributes: TypedSearchAttributes
    """Its search attributes."""
    search_attributes: SearchAttributes
    """Its search attributes without types; prefer ``typed_search_attributes``."""
    data_converter: DataConverter
    """The converter of its memo."""
    raw_description: DescribeScheduleResponse
    """The message this was made from."""

    _kind = "schedule"

    @property
    def _memo(self) -> tuple[common_v1.Memo | None, DataConverter]:
        return self.raw_description.memo, self.data_converter

    @staticmethod
    def _from_proto(id: str, description: DescribeScheduleResponse, converter: DataConverter) -> ScheduleDescription:
        attributes = description.search_attributes or _NO_ATTRIBUTES
        return ScheduleDescription(
            id=id,
            schedule=Schedule._from_proto(description.schedule or schedule_v1.Schedule()),
            info=ScheduleInfo._from_proto(description.info or schedule_v1.ScheduleInfo()),
            typed_search_attributes=decode_typed_search_attributes(attributes),
            search_attributes=decode_search_attributes(attributes),
            data_converter=converter,
            raw_description=description,
        )


class ScheduleListAction(ABC):  # noqa: B024  (a base, as in Temporal)
    """Base of what a listed schedule does; there is :class:`ScheduleListActionStartWorkflow`."""


@dataclass
class ScheduleListActionStartWorkflow(ScheduleListAction):
    """It starts a workflow."""

    workflow: str
    """Name of the workflow's type."""


@dataclass
class ScheduleListState:
    """Whether a listed schedule acts."""

    note: str | None
    """What people, or the schedule itself when it pauses, say about it."""
    paused: bool
    """Whether its times pass without actions."""


@dataclass
class ScheduleListSchedule:
    """What a listed schedule does, when and whether."""

    action: ScheduleListAction
    """What it does."""
    spec: ScheduleSpec
    """When; at most ten of each kind of times."""
    state: ScheduleListState
    """Whether."""

    @staticmethod
    def _from_proto(info: schedule_v1.ScheduleListInfo) -> ScheduleListSchedule:
        if info.workflow_type is None:
            raise ValueError("the schedule does something that this version does not know")
        return ScheduleListSchedule(
            action=ScheduleListActionStartWorkflow(info.workflow_type.name),
            spec=ScheduleSpec._from_proto(info.spec or schedule_v1.ScheduleSpec()),
            state=ScheduleListState(info.notes or None, info.paused),
        )


@dataclass
class ScheduleListInfo:
    """What a listed schedule did and will do."""

    recent_actions: Sequence[ScheduleActionResult]
    """The newest five actions, oldest first."""
    next_action_times: Sequence[datetime]
    """The next five times."""

    @staticmethod
    def _from_proto(info: schedule_v1.ScheduleListInfo) -> ScheduleListInfo:
        return ScheduleListInfo(
            recent_actions=[ScheduleActionResult._from_proto(result) for result in info.recent_actions],
            next_action_times=[time_from_ns(time) for time in info.future_action_times],
        )


@dataclass
class ScheduleListDescription(WithMemo):
    """A schedule as a list shows it."""

    id: str
    """Its id."""
    schedule: ScheduleListSchedule | None
    """What it does, when and whether."""
    info: ScheduleListInfo | None
    """What it did and will do."""
    typed_search_attributes: TypedSearchAttributes
    """Its search attributes."""
    search_attributes: SearchAttributes
    """Its search attributes without types; prefer ``typed_search_attributes``."""
    data_converter: DataConverter
    """The converter of its memo."""
    raw_entry: schedule_v1.ScheduleListEntry
    """The message this was made from."""

    _kind = "schedule"

    @property
    def _memo(self) -> tuple[common_v1.Memo | None, DataConverter]:
        return self.raw_entry.memo, self.data_converter

    @staticmethod
    def _from_proto(entry: schedule_v1.ScheduleListEntry, converter: DataConverter) -> ScheduleListDescription:
        attributes = entry.search_attributes or _NO_ATTRIBUTES
        return ScheduleListDescription(
            id=entry.schedule_id,
            schedule=None if entry.info is None else ScheduleListSchedule._from_proto(entry.info),
            info=None if entry.info is None else ScheduleListInfo._from_proto(entry.info),
            typed_search_attributes=decode_typed_search_attributes(attributes),
            search_attributes=decode_search_attributes(attributes),
            data_converter=converter,
            raw_entry=entry,
        )
