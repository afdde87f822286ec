"""Interceptors around workflows, and the class that hands out all of them.

An interceptor wraps the next one. Inbound ones see what comes into a workflow (its start, signals, queries, updates),
outbound ones what goes out (activities, children, signals, continue-as-new). Without interceptors none of this exists:
the worker calls workflow code directly.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Generic, NoReturn, TypeVar

from perdure.api.common.v1 import Payload
from perdure.common import (
    Priority,
    RetryPolicy,
    SearchAttributes,
    TypedSearchAttributes,
    VersioningOverride,
    WorkflowIDReusePolicy,
)
from perdure.worker._activity_interceptor import ActivityInboundInterceptor
from perdure.worker._nexus_interceptor import NexusOperationInboundInterceptor
from perdure.workflow import (
    ActivityCancellationType,
    ActivityHandle,
    ChildWorkflowCancellationType,
    ChildWorkflowHandle,
    ContinueAsNewVersioningBehavior,
    EventGroup,
    Info,
    NexusOperationCancellationType,
    NexusOperationHandle,
    ParentClosePolicy,
    VersioningIntent,
)

if TYPE_CHECKING:
    import nexusrpc

    from perdure.workflow._signal_with_start import SignalWithStartWorkflowRequest, SignalWithStartWorkflowResponse

InputT = TypeVar("InputT")
OutputT = TypeVar("OutputT")


class Interceptor:
    """What ``Worker(interceptors=...)`` takes; override what you need."""

    def intercept_activity(self, next: ActivityInboundInterceptor) -> ActivityInboundInterceptor:
        """Wrap the execution of activities."""
        return next

    def intercept_nexus_operation(self, next: NexusOperationInboundInterceptor) -> NexusOperationInboundInterceptor:
        """Wrap the handling of Nexus operations."""
        return next

    def workflow_interceptor_class(
        self, input: WorkflowInterceptorClassInput
    ) -> type[WorkflowInboundInterceptor] | None:
        """The class to make an interceptor of for each workflow run, or None."""
        return None


@dataclass(frozen=True)
class WorkflowInterceptorClassInput:
    """What :meth:`Interceptor.workflow_interceptor_class` gets."""

    unsafe_extern_functions: MutableMapping[str, Callable[..., Any]]
    """Put functions here to call them from workflow code as ``workflow.extern_functions()[name]``."""


@dataclass
class ContinueAsNewInput:
    """What :meth:`WorkflowOutboundInterceptor.continue_as_new` gets."""

    workflow: str | None
    args: Sequence[Any]
    task_queue: str | None
    run_timeout: timedelta | None
    task_timeout: timedelta | None
    backoff_start_interval: timedelta | None
    retry_policy: RetryPolicy | None
    memo: Mapping[str, Any] | None
    search_attributes: SearchAttributes | TypedSearchAttributes | None
    headers: Mapping[str, Payload]
    versioning_intent: VersioningIntent | None
    initial_versioning_behavior: ContinueAsNewVersioningBehavior | None
    arg_types: list[type] | None
    event_groups: Sequence[EventGroup] | None = None


@dataclass
class ExecuteWorkflowInput:
    """What :meth:`WorkflowInboundInterceptor.execute_workflow` gets."""

    type: type
    run_fn: Callable[..., Awaitable[Any]]
    """The run method, unbound."""
    args: Sequence[Any]
    headers: Mapping[str, Payload]


@dataclass
class HandleSignalInput:
    """What :meth:`WorkflowInboundInterceptor.handle_signal` gets."""

    signal: str
    args: Sequence[Any]
    headers: Mapping[str, Payload]


@dataclass
class HandleQueryInput:
    """What :meth:`WorkflowInboundInterceptor.handle_query` gets."""

    id: str
    query: str
    args: Sequence[Any]
    headers: Mapping[str, Payload]


@dataclass
class HandleUpdateInput:
    """What the update methods of :class:`WorkflowInboundInterceptor` get."""

    id: str
    update: str
    args: Sequence[Any]
    headers: Mapping[str, Payload]


@dataclass
class SignalChildWorkflowInput:
    """What :meth:`WorkflowOutboundInterceptor.signal_child_workflow` gets."""

    signal: str
    args: Sequence[Any]
    child_workflow_id: str
    headers: Mapping[str, Payload]
    event_groups: Sequence[EventGroup] | None = None


@dataclass
class SignalExternalWorkflowInput:
    """What :meth:`WorkflowOutboundInterceptor.signal_external_workflow` gets."""

    signal: str
    args: Sequence[Any]
    namespace: str
    workflow_id: str
    workflow_run_id: str | None
    headers: Mapping[str, Payload]
    event_groups: Sequence[EventGroup] | None = None


@dataclass
class StartActivityInput:
    """What :meth:`WorkflowOutboundInterceptor.start_activity` gets."""

    activity: str
    args: Sequence[Any]
    activity_id: str | None
    task_queue: str | None
    schedule_to_close_timeout: timedelta | None
    schedule_to_start_timeout: timedelta | None
    start_to_close_timeout: timedelta | None
    heartbeat_timeout: timedelta | None
    retry_policy: RetryPolicy | None
    cancellation_type: ActivityCancellationType
    headers: Mapping[str, Payload]
    disable_eager_execution: bool
    versioning_intent: VersioningIntent | None
    summary: str | None
    priority: Priority
    arg_types: list[type] | None
    ret_type: type | None
    event_groups: Sequence[EventGroup] | None = None


@dataclass
class StartChildWorkflowInput:
    """What :meth:`WorkflowOutboundInterceptor.start_child_workflow` gets."""

    workflow: str
    args: Sequence[Any]
    id: str
    task_queue: str | None
    cancellation_type: ChildWorkflowCancellationType
    parent_close_policy: ParentClosePolicy
    execution_timeout: timedelta | None
    run_timeout: timedelta | None
    task_timeout: timedelta | None
    id_reuse_policy: WorkflowIDReusePolicy
    retry_policy: RetryPolicy | None
    cron_schedule: str
    memo: Mapping[str, Any] | None
    search_attributes: SearchAttributes | TypedSearchAttributes | None
    headers: Mapping[str, Payload]
    versioning_intent: VersioningIntent | None
    static_summary: str | None
    static_details: str | None
    priority: Priority
    arg_types: list[type] | None
    ret_type: type | None
    versioning_override: VersioningOverride | None = None
    event_groups: Sequence[EventGroup] | None = None


@dataclass
class StartNexusOperationInput(Generic[InputT, OutputT]):
    """What :meth:`WorkflowOutboundInterceptor.start_nexus_operation` gets."""

    endpoint: str
    service: str
    operation: nexusrpc.Operation[InputT, OutputT] | str | Callable[..., Any]
    input: InputT
    schedule_to_close_timeout: timedelta | None
    schedule_to_start_timeout: timedelta | None
    start_to_close_timeout: timedelta | None
    cancellation_type: NexusOperationCancellationType
    headers: Mapping[str, str] | None
    summary: str | None
    event_groups: Sequence[EventGroup] | None = None
    output_type: type[OutputT] | None = None

    def __post_init__(self) -> None:
        """Take the type of the output from the operation, where it says one."""
        if not isinstance(self.operation, str):
            self.output_type = self._definition().output_type

    @property
    def operation_name(self) -> str:
        """The operation's name."""
        return self.operation if isinstance(self.operation, str) else self._definition().name

    def _definition(self) -> nexusrpc.Operation[Any, Any]:
        from perdure.nexus._definitions import operation_of

        return operation_of(self.operation)


@dataclass
class StartLocalActivityInput:
    """What :meth:`WorkflowOutboundInterceptor.start_local_activity` gets."""

    activity: str
    args: Sequence[Any]
    activity_id: str | None
    schedule_to_close_timeout: timedelta | None
    schedule_to_start_timeout: timedelta | None
    start_to_close_timeout: timedelta | None
    retry_policy: RetryPolicy | None
    local_retry_threshold: timedelta | None
    cancellation_type: ActivityCancellationType
    headers: Mapping[str, Payload]
    summary: str | None
    arg_types: list[type] | None
    ret_type: type | None
    event_groups: Sequence[EventGroup] | None = None


class WorkflowInboundInterceptor:
    """Wraps what comes into a workflow; runs as workflow code, so it must be deterministic, too."""

    def __init__(self, next: WorkflowInboundInterceptor) -> None:
        """Wrap the next interceptor."""
        self.next = next

    def init(self, outbound: WorkflowOutboundInterceptor) -> None:
        """Called once; wrap ``outbound`` before passing it on to intercept what goes out."""
        self.next.init(outbound)

    async def execute_workflow(self, input: ExecuteWorkflowInput) -> Any:
        """Run the workflow."""
        return await self.next.execute_workflow(input)

    async def handle_signal(self, input: HandleSignalInput) -> None:
        """Handle a signal."""
        return await self.next.handle_signal(input)

    async def handle_query(self, input: HandleQueryInput) -> Any:
        """Answer a query."""
        return await self.next.handle_query(input)

    def handle_update_validator(self, input: HandleUpdateInput) -> None:
        """Validate an update; raising refuses it."""
        self.next.handle_update_validator(input)

    async def handle_update_handler(self, input: HandleUpdateInput) -> Any:
        """Handle an accepted update."""
        return await self.next.handle_update_handler(input)


class WorkflowOutboundInterceptor:
    """Wraps what a workflow asks for."""

    def __init__(self, next: WorkflowOutboundInterceptor) -> None:
        """Wrap the next interceptor."""
        self.next = next

    def continue_as_new(self, input: ContinueAsNewInput) -> NoReturn:
        """Called for ``workflow.continue_as_new``."""
        self.next.continue_as_new(input)

    def info(self) -> Info:
        """Called for ``workflow.info``."""
        return self.next.info()

    async def signal_child_workflow(self, input: SignalChildWorkflowInput) -> None:
        """Called for ``ChildWorkflowHandle.signal``."""
        return await self.next.signal_child_workflow(input)

    async def signal_external_workflow(self, input: SignalExternalWorkflowInput) -> None:
        """Called for ``ExternalWorkflowHandle.signal``."""
        return await self.next.signal_external_workflow(input)

    def start_activity(self, input: StartActivityInput) -> ActivityHandle[Any]:
        """Called when an activity is started or executed."""
        return self.next.start_activity(input)

    def start_local_activity(self, input: StartLocalActivityInput) -> ActivityHandle[Any]:
        """Called when a local activity is started or executed."""
        return self.next.start_local_activity(input)

    async def start_child_workflow(self, input: StartChildWorkflowInput) -> ChildWorkflowHandle[Any, Any]:
        """Called when a child workflow is started or executed."""
        return await self.next.start_child_workflow(input)

    async def start_nexus_operation(
        self, input: StartNexusOperationInput[Any, OutputT]
    ) -> NexusOperationHandle[OutputT]:
        """Called when a Nexus operation is started or executed."""
        return await self.next.start_nexus_operation(input)

    async def start_system_nexus_operation(
        self, input: StartNexusOperationInput[Any, OutputT]
    ) -> NexusOperationHandle[OutputT]:
        """Called when an operation of the system Nexus endpoint is started or executed."""
        return await self.next.start_system_nexus_operation(input)

    async def start_signal_with_start_workflow(
        self, request: SignalWithStartWorkflowRequest
    ) -> NexusOperationHandle[SignalWithStartWorkflowResponse]:
        """Called for ``workflow.signal_with_start_workflow``, before :meth:`start_system_nexus_operation`."""
        return await self.next.start_signal_with_start_workflow(request)
