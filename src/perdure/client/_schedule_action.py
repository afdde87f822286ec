"""What a schedule does when its time comes."""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Concatenate, TypedDict, Unpack, overload

from perdure._times import optional_duration_from_ns
from perdure.api.common import v1 as common_v1
from perdure.api.enums.v1 import TaskQueueKind
from perdure.api.schedule import v1 as schedule_v1
from perdure.api.sdk.v1 import UserMetadata
from perdure.api.taskqueue.v1 import TaskQueue
from perdure.api.workflow.v1 import NewWorkflowExecutionInfo
from perdure.client import _check, _definitions
from perdure.client._schedule_spec import SchedulePolicy, ScheduleSpec, ScheduleState
from perdure.common import Priority, RetryPolicy, SearchAttributes, TypedSearchAttributes, _arg_unset
from perdure.converter import (
    decode_search_attributes,
    decode_typed_search_attributes,
    encode_search_attributes,
)
from perdure.types import MethodAsyncNoParam, MethodAsyncSingleParam, MultiParamSpec, ParamType, ReturnType, SelfType

if TYPE_CHECKING:
    from typing import Required

    from perdure.client._client import Client

_NORMAL = int(TaskQueueKind.TASK_QUEUE_KIND_NORMAL)
_WHERE = "ScheduleActionStartWorkflow"
_NO_ATTRIBUTES = common_v1.SearchAttributes()
_NO_UNTYPED: SearchAttributes = {}


class ScheduledWorkflowOptions(TypedDict, total=False):
    """Options of the workflows a schedule starts; see :meth:`Client.start_workflow`."""

    id: Required[str]
    task_queue: Required[str]
    execution_timeout: timedelta | None
    run_timeout: timedelta | None
    task_timeout: timedelta | None
    retry_policy: RetryPolicy | None
    memo: Mapping[str, Any] | None
    typed_search_attributes: TypedSearchAttributes
    static_summary: str | None
    static_details: str | None
    priority: Priority


class ScheduleAction(ABC):
    """Base of what a schedule can do; there is :class:`ScheduleActionStartWorkflow`."""

    @staticmethod
    def _from_proto(action: schedule_v1.ScheduleAction | None) -> ScheduleAction:
        if action is None or action.start_workflow is None:
            raise ValueError("the schedule does something that this version does not know")
        return ScheduleActionStartWorkflow("", raw_info=action.start_workflow)

    @abstractmethod
    async def _to_proto(self, client: Client) -> schedule_v1.ScheduleAction: ...


@dataclass
class ScheduleActionStartWorkflow(ScheduleAction):
    """Start a workflow. Its id is ``id``, a dash and the action's time: ``report-2026-01-31T12:00:00Z``."""

    workflow: str
    """Name of the workflow's type."""
    args: Sequence[Any] | Sequence[common_v1.Payload]
    """Its arguments: payloads in a description, which may go back as they are."""
    id: str
    """What its id begins with."""
    task_queue: str
    """Task queue of its workflow tasks."""
    execution_timeout: timedelta | None
    run_timeout: timedelta | None
    task_timeout: timedelta | None
    retry_policy: RetryPolicy | None
    memo: Mapping[str, Any] | Mapping[str, common_v1.Payload] | None
    """Its memo: payloads in a description."""
    typed_search_attributes: TypedSearchAttributes
    """Its search attributes."""
    untyped_search_attributes: SearchAttributes
    """Search attributes whose type is not known: only in a description, so that an update keeps them."""
    static_summary: str | common_v1.Payload | None
    static_details: str | common_v1.Payload | None
    priority: Priority
    headers: Mapping[str, common_v1.Payload] | None
    """Headers, as interceptors left them."""
    _from_raw: bool = dataclasses.field(compare=False, init=False)

    @overload
    def __init__(
        self, workflow: MethodAsyncNoParam[SelfType, ReturnType], **options: Unpack[ScheduledWorkflowOptions]
    ) -> None: ...

    @overload
    def __init__(
        self,
        workflow: MethodAsyncSingleParam[SelfType, ParamType, ReturnType],
        arg: ParamType,
        **options: Unpack[ScheduledWorkflowOptions],
    ) -> None: ...

    @overload
    def __init__(
        self,
        workflow: Callable[Concatenate[SelfType, MultiParamSpec], Awaitable[ReturnType]],
        *,
        args: Sequence[Any],
        **options: Unpack[ScheduledWorkflowOptions],
    ) -> None: ...

    @overload
    def __init__(
        self,
        workflow: str,
        arg: Any = _arg_unset,
        *,
        args: Sequence[Any] = [],
        **options: Unpack[ScheduledWorkflowOptions],
    ) -> None: ...

    @overload
    def __init__(self, workflow: str, *, raw_info: NewWorkflowExecutionInfo) -> None: ...

    def __init__(
        self,
        workflow: str | Callable[..., Awaitable[Any]],
        arg: Any = _arg_unset,
        *,
        args: Sequence[Any] = [],
        id: str | None = None,
        task_queue: str | None = None,
        execution_timeout: timedelta | None = None,
        run_timeout: timedelta | None = None,
        task_timeout: timedelta | None = None,
        retry_policy: RetryPolicy | None = None,
        memo: Mapping[str, Any] | None = None,
        typed_search_attributes: TypedSearchAttributes = TypedSearchAttributes.empty,
        untyped_search_attributes: SearchAttributes = _NO_UNTYPED,
        static_summary: str | None = None,
        static_details: str | None = None,
        headers: Mapping[str, common_v1.Payload] | None = None,
        raw_info: NewWorkflowExecutionInfo | None = None,
        priority: Priority = Priority.default,
    ) -> None:
        """State what to start; the arguments are those of :meth:`Client.start_workflow`.

        Args:
            raw_info: A message to take everything from; then the other arguments do not count.
        """
        super().__init__()
        if raw_info is not None:
            self._take(raw_info)
            return
        if not id:
            raise ValueError("ID required")
        if not task_queue:
            raise ValueError("Task queue required")
        _check.text(_WHERE, "id", id)
        _check.text(_WHERE, "task_queue", task_queue)
        self._from_raw = False
        self.workflow, _ = _definitions.workflow(_WHERE, workflow)
        self.args = _check.arguments(_WHERE, arg, args)
        self.id = id
        self.task_queue = task_queue
        self.execution_timeout = execution_timeout
        self.run_timeout = run_timeout
        self.task_timeout = task_timeout
        self.retry_policy = retry_policy
        self.memo = memo
        self.typed_search_attributes = typed_search_attributes
        self.untyped_search_attributes = untyped_search_attributes
        self.static_summary = static_summary
        self.static_details = static_details
        self.priority = priority
        self.headers = headers

    def _take(self, info: NewWorkflowExecutionInfo) -> None:
        """Become what a message says; payloads stay as they are."""
        attributes = info.search_attributes or _NO_ATTRIBUTES
        metadata = info.user_metadata or UserMetadata()
        self._from_raw = True
        self.workflow = "" if info.workflow_type is None else info.workflow_type.name
        self.args = [] if info.input is None else info.input.payloads
        self.id = info.workflow_id
        self.task_queue = "" if info.task_queue is None else info.task_queue.name
        self.execution_timeout = optional_duration_from_ns(info.workflow_execution_timeout)
        self.run_timeout = optional_duration_from_ns(info.workflow_run_timeout)
        self.task_timeout = optional_duration_from_ns(info.workflow_task_timeout)
        self.retry_policy = None if info.retry_policy is None else RetryPolicy.from_proto(info.retry_policy)
        self.memo = info.memo.fields if info.memo is not None and info.memo.fields else None
        self.typed_search_attributes = decode_typed_search_attributes(attributes)
        typed = {pair.key.name for pair in self.typed_search_attributes}
        self.untyped_search_attributes = {
            name: values for name, values in decode_search_attributes(attributes).items() if name not in typed
        }
        self.static_summary = metadata.summary
        self.static_details = metadata.details
        self.priority = Priority._from_proto(info.priority)
        self.headers = info.header.fields if info.header is not None and info.header.fields else None

    async def _to_proto(self, client: Client) -> schedule_v1.ScheduleAction:
        conversion = client._conversion
        converter = conversion.for_workflow(self.id, workflow_type=self.workflow)

        async def payload(value: Any) -> common_v1.Payload:
            return value if isinstance(value, common_v1.Payload) else (await converter.encode([value]))[0]

        info = NewWorkflowExecutionInfo(
            workflow_id=self.id,
            workflow_type=common_v1.WorkflowType(self.workflow),
            task_queue=TaskQueue(self.task_queue, _NORMAL),
            input=common_v1.Payloads([await payload(value) for value in self.args]) if self.args else None,
            workflow_execution_timeout=_check.duration_ns(_WHERE, "execution_timeout", self.execution_timeout),
            workflow_run_timeout=_check.duration_ns(_WHERE, "run_timeout", self.run_timeout),
            workflow_task_timeout=_check.duration_ns(_WHERE, "task_timeout", self.task_timeout),
            retry_policy=None if self.retry_policy is None else self.retry_policy._to_proto(),
            priority=self.priority._to_proto() if self.priority != Priority.default else None,
        )
        if self.memo:
            info.memo = await conversion.encode_memo(_WHERE, self.id, self.memo, self.workflow)
        if self.static_summary is not None or self.static_details is not None:
            info.user_metadata = UserMetadata(
                summary=None if self.static_summary is None else await payload(self.static_summary),
                details=None if self.static_details is None else await payload(self.static_details),
            )
        typed = {pair.key.name for pair in self.typed_search_attributes}
        untyped = {name: values for name, values in self.untyped_search_attributes.items() if name not in typed}
        if untyped or typed:
            info.search_attributes = common_v1.SearchAttributes()
            encode_search_attributes(untyped, info.search_attributes)
            encode_search_attributes(self.typed_search_attributes, info.search_attributes)
        if self.headers:
            headers = dict(self.headers)
            info.header = common_v1.Header(headers) if self._from_raw else await conversion.encode_headers(headers)
        return schedule_v1.ScheduleAction(info)


@dataclass
class Schedule:
    """What is done, when, and how."""

    action: ScheduleAction
    """What is done."""
    spec: ScheduleSpec
    """When."""
    policy: SchedulePolicy = dataclasses.field(default_factory=SchedulePolicy)
    """How."""
    state: ScheduleState = dataclasses.field(default_factory=ScheduleState)
    """Whether."""

    @staticmethod
    def _from_proto(schedule: schedule_v1.Schedule) -> Schedule:
        return Schedule(
            action=ScheduleAction._from_proto(schedule.action),
            spec=ScheduleSpec._from_proto(schedule.spec or schedule_v1.ScheduleSpec()),
            policy=SchedulePolicy._from_proto(schedule.policies or schedule_v1.SchedulePolicies()),
            state=ScheduleState._from_proto(schedule.state or schedule_v1.ScheduleState()),
        )

    async def _to_proto(self, client: Client) -> schedule_v1.Schedule:
        return schedule_v1.Schedule(
            spec=self.spec._to_proto(),
            action=await self.action._to_proto(client),
            policies=self.policy._to_proto(),
            state=self.state._to_proto(),
        )
