"""What describe, list and count say of standalone activities."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import IntEnum
from typing import TYPE_CHECKING, Any

from perdure._times import optional_duration_from_ns, optional_time_from_ns
from perdure.api.activity.v1 import (
    ActivityExecutionInfo,
    ActivityExecutionListInfo,
    ActivityExecutionOutcome,
    CallbackInfo,
)
from perdure.api.common.v1 import Payloads
from perdure.api.common.v1 import SearchAttributes as SearchAttributesMessage
from perdure.api.enums.v1 import ActivityExecutionStatus as _Status
from perdure.api.enums.v1 import PendingActivityState as _State
from perdure.api.workflowservice import v1 as ws
from perdure.client import _check
from perdure.client._pages import PageIterator
from perdure.common import (
    Priority,
    RetryPolicy,
    SearchAttributeValue,
    TypedSearchAttributes,
    WorkerDeploymentVersion,
)
from perdure.converter import DataConverter, decode_typed_search_attributes
from perdure.converter._search_attributes import decode_search_attribute_value

if TYPE_CHECKING:
    from collections.abc import Sequence

    from perdure.client._activity_inputs import ListActivitiesInput
    from perdure.client._client import Client

_NO_ATTRIBUTES = SearchAttributesMessage()


class ActivityExecutionStatus(IntEnum):
    """Where a standalone activity stands."""

    UNSPECIFIED = int(_Status.ACTIVITY_EXECUTION_STATUS_UNSPECIFIED)
    RUNNING = int(_Status.ACTIVITY_EXECUTION_STATUS_RUNNING)
    COMPLETED = int(_Status.ACTIVITY_EXECUTION_STATUS_COMPLETED)
    FAILED = int(_Status.ACTIVITY_EXECUTION_STATUS_FAILED)
    CANCELED = int(_Status.ACTIVITY_EXECUTION_STATUS_CANCELED)
    TERMINATED = int(_Status.ACTIVITY_EXECUTION_STATUS_TERMINATED)
    TIMED_OUT = int(_Status.ACTIVITY_EXECUTION_STATUS_TIMED_OUT)
    PAUSED = int(_Status.ACTIVITY_EXECUTION_STATUS_PAUSED)


class PendingActivityState(IntEnum):
    """What an activity that has not closed is doing."""

    UNSPECIFIED = int(_State.PENDING_ACTIVITY_STATE_UNSPECIFIED)
    SCHEDULED = int(_State.PENDING_ACTIVITY_STATE_SCHEDULED)
    STARTED = int(_State.PENDING_ACTIVITY_STATE_STARTED)
    CANCEL_REQUESTED = int(_State.PENDING_ACTIVITY_STATE_CANCEL_REQUESTED)
    PAUSED = int(_State.PENDING_ACTIVITY_STATE_PAUSED)
    PAUSE_REQUESTED = int(_State.PENDING_ACTIVITY_STATE_PAUSE_REQUESTED)


@dataclass(frozen=True, kw_only=True)
class ActivityExecution:
    """One standalone activity, as a list shows it."""

    activity_id: str
    """Activity id."""
    activity_run_id: str | None
    """Run id: each use of an activity id has its own."""
    activity_type: str
    """Name of the activity's type."""
    close_time: datetime | None
    """When it closed; None while it is open."""
    execution_duration: timedelta | None
    """From its first scheduling to its close."""
    execution_time: datetime | None
    """When its first attempt could begin: later than ``schedule_time`` with a start delay."""
    namespace: str
    """Namespace."""
    schedule_time: datetime | None
    """When it was started by the client. Also ``scheduled_time``, as older versions of Temporal's SDK call it."""
    status: ActivityExecutionStatus
    """Where it stands."""
    task_queue: str
    """Where its attempts wait for a worker."""
    typed_search_attributes: TypedSearchAttributes
    """Search attributes."""
    raw_info: ActivityExecutionListInfo | ActivityExecutionInfo = field(repr=False)
    """The message this was made from."""

    @property
    def scheduled_time(self) -> datetime | None:
        """The same as :attr:`schedule_time`."""
        return self.schedule_time

    @classmethod
    def _from_raw_info(
        cls, info: ActivityExecutionListInfo | ActivityExecutionInfo, namespace: str, **additional_fields: Any
    ) -> Any:
        return cls(
            activity_id=info.activity_id,
            activity_run_id=info.run_id or None,
            activity_type=info.activity_type.name if info.activity_type is not None else "",
            close_time=optional_time_from_ns(info.close_time or None),
            execution_duration=optional_duration_from_ns(info.execution_duration),
            execution_time=optional_time_from_ns(info.execution_time or None),
            namespace=namespace,
            schedule_time=optional_time_from_ns(info.schedule_time or None),
            status=ActivityExecutionStatus(info.status),
            task_queue=info.task_queue,
            typed_search_attributes=decode_typed_search_attributes(info.search_attributes or _NO_ATTRIBUTES),
            raw_info=info,
            **additional_fields,
        )


@dataclass(frozen=True, kw_only=True)
class ActivityExecutionDescription(ActivityExecution):
    """One standalone activity, with all that is known of it."""

    attempt: int
    """The attempt that runs or comes next."""
    canceled_reason: str | None
    """Why its cancellation was requested, if it was."""
    current_retry_interval: timedelta | None
    """How long the next attempt is held back after the last one."""
    expiration_time: datetime | None
    """When its schedule-to-close timeout is over."""
    heartbeat_timeout: timedelta | None
    """Longest silence between heartbeats."""
    last_attempt_complete_time: datetime | None
    """When the last attempt ended."""
    last_deployment_version: WorkerDeploymentVersion | None
    """The worker deployment version that was last given an attempt."""
    last_heartbeat_time: datetime | None
    """When the last heartbeat came."""
    last_started_time: datetime | None
    """When the last attempt began."""
    last_worker_identity: str | None
    """Who was last given an attempt."""
    next_attempt_schedule_time: datetime | None
    """When the next attempt is due."""
    priority: Priority
    """Among the tasks of its queue."""
    retry_policy: RetryPolicy | None
    """When a failed attempt is tried again."""
    run_state: PendingActivityState | None
    """What it is doing while its status is RUNNING."""
    schedule_to_close_timeout: timedelta | None
    """Limit over all attempts."""
    schedule_to_start_timeout: timedelta | None
    """Limit of waiting for a worker."""
    start_to_close_timeout: timedelta | None
    """Limit of one attempt."""
    start_delay: timedelta | None
    """How long the first attempt was held back."""
    total_heartbeat_count: int
    """Heartbeats over all attempts; 0 where they are not counted."""
    raw_callbacks: Sequence[CallbackInfo] = field(repr=False)
    """Completion callbacks."""
    raw_input: Payloads | None = field(repr=False)
    """The arguments, if they were asked for; see :meth:`input`."""
    raw_outcome: ActivityExecutionOutcome | None = field(repr=False)
    """How it closed, if that was asked for; see :meth:`result` and :meth:`outcome_failure`."""
    data_converter: DataConverter = field(repr=False)
    """Decodes the raw payloads."""

    @classmethod
    def _from_resp(
        cls, response: ws.DescribeActivityExecutionResponse, namespace: str, converter: DataConverter
    ) -> ActivityExecutionDescription:
        info = response.info or ActivityExecutionInfo()
        version = info.last_deployment_version
        description: ActivityExecutionDescription = cls._from_raw_info(
            info,
            namespace,
            attempt=info.attempt,
            canceled_reason=info.canceled_reason or None,
            current_retry_interval=optional_duration_from_ns(info.current_retry_interval),
            expiration_time=optional_time_from_ns(info.expiration_time or None),
            heartbeat_timeout=optional_duration_from_ns(info.heartbeat_timeout or None),
            last_attempt_complete_time=optional_time_from_ns(info.last_attempt_complete_time or None),
            last_deployment_version=(
                None if version is None else WorkerDeploymentVersion(version.deployment_name, version.build_id)
            ),
            last_heartbeat_time=optional_time_from_ns(info.last_heartbeat_time or None),
            last_started_time=optional_time_from_ns(info.last_started_time or None),
            last_worker_identity=info.last_worker_identity or None,
            next_attempt_schedule_time=optional_time_from_ns(info.next_attempt_schedule_time or None),
            priority=Priority._from_proto(info.priority),
            retry_policy=None if info.retry_policy is None else RetryPolicy.from_proto(info.retry_policy),
            run_state=PendingActivityState(info.run_state) if info.run_state else None,
            schedule_to_close_timeout=optional_duration_from_ns(info.schedule_to_close_timeout or None),
            schedule_to_start_timeout=optional_duration_from_ns(info.schedule_to_start_timeout or None),
            start_to_close_timeout=optional_duration_from_ns(info.start_to_close_timeout or None),
            start_delay=optional_duration_from_ns(info.start_delay or None),
            total_heartbeat_count=info.total_heartbeat_count,
            raw_callbacks=response.callbacks,
            raw_input=response.input,
            raw_outcome=response.outcome,
            data_converter=converter,
        )
        return description

    @property
    def _info(self) -> ActivityExecutionInfo:
        assert isinstance(self.raw_info, ActivityExecutionInfo)
        return self.raw_info

    def has_heartbeat_details(self) -> bool:
        """Whether there are heartbeat details, and they were asked for."""
        return self._info.heartbeat_details is not None

    async def heartbeat_details(self, type_hints: list[type] | None = None) -> list[Any] | None:
        """The details of the last heartbeat; None when there are none or they were not asked for."""
        details = self._info.heartbeat_details
        return None if details is None else await self.data_converter.decode(details.payloads, type_hints)

    def has_last_failure(self) -> bool:
        """Whether an attempt has failed, and the failure was asked for."""
        return self._info.last_failure is not None

    async def last_failure(self) -> BaseException | None:
        """What the last failed attempt raised; None when none failed or it was not asked for."""
        failure = self._info.last_failure
        return None if failure is None else await self.data_converter.decode_failure(failure)

    def has_input(self) -> bool:
        """Whether the arguments are here."""
        return self.raw_input is not None

    async def input(self, type_hints: list[type] | None = None) -> list[Any] | None:
        """The arguments; None when they were not asked for."""
        if self.raw_input is None:
            return None
        return await self.data_converter.decode(self.raw_input.payloads, type_hints)

    def has_result(self) -> bool:
        """Whether it completed, and the outcome was asked for."""
        return self.raw_outcome is not None and self.raw_outcome.result is not None

    async def result(self, type_hint: type | None = None) -> Any | None:
        """What it returned; None when it has not completed or the outcome was not asked for."""
        if self.raw_outcome is None or self.raw_outcome.result is None:
            return None
        return await one_result(self.data_converter, self.raw_outcome.result, type_hint)

    def has_outcome_failure(self) -> bool:
        """Whether it closed with a failure, and the outcome was asked for."""
        return self.raw_outcome is not None and self.raw_outcome.failure is not None

    async def outcome_failure(self) -> BaseException | None:
        """What it failed with; None when it did not or the outcome was not asked for."""
        if self.raw_outcome is None or self.raw_outcome.failure is None:
            return None
        return await self.data_converter.decode_failure(self.raw_outcome.failure)


async def one_result(converter: DataConverter, payloads: Payloads, hint: type | None) -> Any:
    """The one value of a result, None for none."""
    if not payloads.payloads:
        return None
    values = await converter.decode(payloads.payloads, None if hint is None else [hint])
    if len(values) > 1:
        warnings.warn(f"The activity's result has {len(values)} values; only the first is used", stacklevel=3)
    return values[0] if values else None


class ActivityExecutionAsyncIterator(PageIterator[ActivityExecution]):
    """Standalone activities one by one; made by :meth:`Client.list_activities`."""

    def __init__(self, client: Client, input: ListActivitiesInput) -> None:
        super().__init__(client, input.next_page_token)
        self._input = input
        self._left = input.limit

    async def fetch_next_page(self, *, page_size: int | None = None) -> None:
        """Fetch the next page, of at most ``page_size`` items where that is given."""
        given, client = self._input, self._client
        size = page_size or given.page_size
        _check.count("fetch_next_page", "page_size", size, least=1)
        client._check_usable()
        response = await client._service.list_activity_executions(
            ws.ListActivityExecutionsRequest(
                client.namespace,
                size if self._left is None else min(size, max(self._left, 1)),
                self._next_page_token or b"",
                given.query or "",
            ),
            metadata=client._metadata(given.rpc_metadata),
            timeout=given.rpc_timeout,
        )
        page = [ActivityExecution._from_raw_info(info, client.namespace) for info in response.executions]
        self._turn_to(page, response.next_page_token)

    async def __anext__(self) -> ActivityExecution:
        """The next one, until there are no more or the limit is reached."""
        if self._left is None:
            return await super().__anext__()
        if self._left <= 0:
            raise StopAsyncIteration
        item = await super().__anext__()
        self._left -= 1
        return item


@dataclass
class ActivityExecutionCountAggregationGroup:
    """How many in one group."""

    count: int
    """How many."""
    group_values: Sequence[SearchAttributeValue]
    """The values they have in common."""


@dataclass
class ActivityExecutionCount:
    """How many standalone activities match."""

    count: int
    """How many in all."""
    groups: Sequence[ActivityExecutionCountAggregationGroup]
    """By group, when the query says GROUP BY."""

    @staticmethod
    def _from_raw(response: ws.CountActivityExecutionsResponse) -> ActivityExecutionCount:
        return ActivityExecutionCount(
            response.count,
            [
                ActivityExecutionCountAggregationGroup(
                    group.count, [decode_search_attribute_value(value) for value in group.group_values]
                )
                for group in response.groups
            ],
        )
