"""The innermost interceptors: where a chain ends and the run takes over."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn

from perdure.worker._interceptor import (
    ContinueAsNewInput,
    ExecuteWorkflowInput,
    HandleQueryInput,
    HandleSignalInput,
    HandleUpdateInput,
    SignalChildWorkflowInput,
    SignalExternalWorkflowInput,
    StartActivityInput,
    StartChildWorkflowInput,
    StartLocalActivityInput,
    StartNexusOperationInput,
    WorkflowInboundInterceptor,
    WorkflowOutboundInterceptor,
)
from perdure.worker._workflow_operations import _ContinueAsNew

if TYPE_CHECKING:
    from perdure.worker._workflow_run import WorkflowRun
    from perdure.workflow import ActivityHandle, ChildWorkflowHandle, Info, NexusOperationHandle
    from perdure.workflow._signal_with_start import SignalWithStartWorkflowRequest, SignalWithStartWorkflowResponse


class InboundEnd(WorkflowInboundInterceptor):
    """Calls the workflow's own methods."""

    def __init__(self, run: WorkflowRun) -> None:
        self._run = run
        self.outbound: WorkflowOutboundInterceptor | None = None

    def init(self, outbound: WorkflowOutboundInterceptor) -> None:
        """Keep the outermost outbound interceptor."""
        self.outbound = outbound

    async def execute_workflow(self, input: ExecuteWorkflowInput) -> Any:
        """Call the run method."""
        return await input.run_fn(self._run.instance(), *input.args)

    async def handle_signal(self, input: HandleSignalInput) -> None:
        """Call the handler."""
        handlers = self._run.signals()
        await self._run._call_handler(handlers.get(input.signal) or handlers[None], input.args)

    async def handle_query(self, input: HandleQueryInput) -> Any:
        """Call the handler."""
        handlers = self._run.queries()
        return await self._run._call_handler(handlers.get(input.query) or handlers[None], input.args)

    def handle_update_validator(self, input: HandleUpdateInput) -> None:
        """Call the validator, if there is one."""
        handlers = self._run.updates()
        validator = (handlers.get(input.update) or handlers[None]).bind_validator(self._run.instance())
        if validator is not None:
            validator(*input.args)

    async def handle_update_handler(self, input: HandleUpdateInput) -> Any:
        """Call the handler."""
        handlers = self._run.updates()
        return await self._run._call_handler(handlers.get(input.update) or handlers[None], input.args)


class OutboundEnd(WorkflowOutboundInterceptor):
    """Makes the commands."""

    def __init__(self, run: WorkflowRun) -> None:
        self._run = run

    def continue_as_new(self, input: ContinueAsNewInput) -> NoReturn:
        """Leave the workflow."""
        raise _ContinueAsNew(input)

    def info(self) -> Info:
        """The run's info."""
        return self._run.own_info()

    async def signal_child_workflow(self, input: SignalChildWorkflowInput) -> None:
        """Send the signal."""
        await self._run.signal_child_workflow(input)

    async def signal_external_workflow(self, input: SignalExternalWorkflowInput) -> None:
        """Send the signal."""
        await self._run.signal_external_workflow(input)

    def start_activity(self, input: StartActivityInput) -> ActivityHandle[Any]:
        """Schedule the activity."""
        return self._run.start_activity_of(input)

    def start_local_activity(self, input: StartLocalActivityInput) -> ActivityHandle[Any]:
        """Start the local activity."""
        return self._run.start_local_activity_of(input)

    async def start_child_workflow(self, input: StartChildWorkflowInput) -> ChildWorkflowHandle[Any, Any]:
        """Start the child."""
        return await self._run.start_child_workflow_of(input)

    async def start_nexus_operation(self, input: StartNexusOperationInput[Any, Any]) -> NexusOperationHandle[Any]:
        """Start the operation."""
        return await self._run.start_nexus_operation_of(input)

    async def start_signal_with_start_workflow(
        self, request: SignalWithStartWorkflowRequest
    ) -> NexusOperationHandle[SignalWithStartWorkflowResponse]:
        """Start the operation through the interceptors of operations."""
        assert self._run.outbound is not None
        return await self._run.signal_with_start_through(self._run.outbound, request)

    async def start_system_nexus_operation(
        self, input: StartNexusOperationInput[Any, Any]
    ) -> NexusOperationHandle[Any]:
        """Start the operation."""
        return await self._run.start_nexus_operation_of(input)
