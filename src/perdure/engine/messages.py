"""Messages to runs from outside: signal, cancel, terminate."""

from __future__ import annotations

from perdure._native import transitions
from perdure.api.history import v1 as history_v1
from perdure.api.workflowservice import v1 as ws
from perdure.engine import limits
from perdure.engine.closing import Closing
from perdure.engine.core import Core
from perdure.engine.lookup import find_open_run, find_run
from perdure.engine.namespaces import Namespaces
from perdure.engine.starts import check_signal, signal_link


class Messages:
    """Signals, cancels and terminates."""

    def __init__(self, core: Core, namespaces: Namespaces, closing: Closing) -> None:
        self._core = core
        self._namespaces = namespaces
        self._closing = closing

    async def signal(self, request: ws.SignalWorkflowExecutionRequest) -> ws.SignalWorkflowExecutionResponse:
        """Temporal's SignalWorkflowExecution. Durable before the answer; a repeated request id changes nothing."""
        limits.check_id(request.signal_name, "SignalName")
        limits.check_id(request.request_id, "RequestId", required=False)
        limits.check_payloads(request.input, "Input")
        core = self._core
        namespace_id = self._namespaces.get(request.namespace).namespace_id
        run = await find_open_run(core, namespace_id, request.workflow_execution)
        if not request.request_id or request.request_id not in run.state.signal_request_ids:
            check_signal(run)
            extras = history_v1.EventExtras(links=request.links) if request.links else None
            transitions.signal(
                run.state,
                core.now(),
                history_v1.WorkflowExecutionSignaledEventAttributes(
                    signal_name=request.signal_name,
                    input=request.input,
                    identity=request.identity,
                    header=request.header,
                    request_id=request.request_id,
                ),
                False,
                extras,
            )
            core.touch(run)
        await core.durable(run)
        if request.links:
            return ws.SignalWorkflowExecutionResponse(signal_link(request.namespace, run, request.request_id))
        return ws.SignalWorkflowExecutionResponse()

    async def request_cancel(
        self, request: ws.RequestCancelWorkflowExecutionRequest
    ) -> ws.RequestCancelWorkflowExecutionResponse:
        """Temporal's RequestCancelWorkflowExecution. A closed or already cancelled run is left as it is."""
        core = self._core
        namespace_id = self._namespaces.get(request.namespace).namespace_id
        run = await find_run(core, namespace_id, request.workflow_execution, request.first_execution_run_id)
        if run.is_open and transitions.request_cancel(
            run.state,
            core.now(),
            history_v1.WorkflowExecutionCancelRequestedEventAttributes(cause=request.reason, identity=request.identity),
        ):
            core.touch(run)
        await core.durable(run)
        return ws.RequestCancelWorkflowExecutionResponse()

    async def terminate(self, request: ws.TerminateWorkflowExecutionRequest) -> ws.TerminateWorkflowExecutionResponse:
        """Temporal's TerminateWorkflowExecution."""
        limits.check_payloads(request.details, "Details")
        core = self._core
        namespace_id = self._namespaces.get(request.namespace).namespace_id
        run = await find_open_run(core, namespace_id, request.workflow_execution, request.first_execution_run_id)
        self._closing.terminate(run, request.reason, request.details, request.identity)
        core.touch(run)
        await core.durable(run)
        return ws.TerminateWorkflowExecutionResponse()
