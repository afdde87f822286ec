"""Requests and responses of the system Nexus endpoint, between workflow code's classes and API messages."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from perdure.api import system
from perdure.api.common import v1 as common_v1
from perdure.api.sdk.v1 import UserMetadata
from perdure.api.taskqueue.v1 import TaskQueue
from perdure.api.workflowservice import v1 as ws
from perdure.client import _check
from perdure.common import Priority, TypedSearchAttributes, WorkflowIDConflictPolicy, WorkflowIDReusePolicy
from perdure.converter import PayloadConverter, encode_search_attributes
from perdure.workflow._definition import _Definition
from perdure.workflow._handlers import _SignalDefinition
from perdure.workflow._signal_with_start import SignalWithStartWorkflowRequest, SignalWithStartWorkflowResponse

if TYPE_CHECKING:
    from perdure.worker._interceptor import StartNexusOperationInput

_CALL = "signal_with_start_workflow"


def check(input: StartNexusOperationInput[Any, Any]) -> SignalWithStartWorkflowRequest:
    """The request of an operation of the system endpoint; what it cannot be is refused."""
    if (input.service, input.operation_name) != (system.SERVICE, system.SIGNAL_WITH_START):
        raise ValueError(
            f"the system Nexus endpoint has no operation {input.operation_name!r} of service {input.service!r}; "
            f"it has {system.SIGNAL_WITH_START!r} of {system.SERVICE!r}"
        )
    request: object = input.input
    if not isinstance(request, SignalWithStartWorkflowRequest):
        raise TypeError(f"{system.SIGNAL_WITH_START} takes a SignalWithStartWorkflowRequest, not {request!r}")
    return request


def encode(request: SignalWithStartWorkflowRequest, converter: PayloadConverter) -> common_v1.Payload:
    """The operation's input."""
    _check.text(_CALL, "id", request.id)
    _check.text(_CALL, "task_queue", request.task_queue)
    _check.member(_CALL, "id_reuse_policy", request.id_reuse_policy, WorkflowIDReusePolicy)
    message = ws.SignalWithStartWorkflowExecutionRequest(
        namespace=request.namespace,
        workflow_id=request.id,
        workflow_type=common_v1.WorkflowType(_workflow_name(request.workflow)),
        task_queue=TaskQueue(request.task_queue),
        workflow_execution_timeout=_check.duration_ns(_CALL, "execution_timeout", request.execution_timeout),
        workflow_run_timeout=_check.duration_ns(_CALL, "run_timeout", request.run_timeout),
        workflow_task_timeout=_check.duration_ns(_CALL, "task_timeout", request.task_timeout),
        workflow_start_delay=_check.duration_ns(_CALL, "start_delay", request.start_delay),
        workflow_id_reuse_policy=int(request.id_reuse_policy),
        signal_name=_SignalDefinition.must_name_from_fn_or_str(request.signal),
        cron_schedule=request.cron_schedule or "",
    )
    if request.args is not None:
        message.input = common_v1.Payloads(converter.to_payloads(request.args))
    if request.signal_args is not None:
        message.signal_input = common_v1.Payloads(converter.to_payloads(request.signal_args))
    if request.id_conflict_policy is not None:
        _check.member(_CALL, "id_conflict_policy", request.id_conflict_policy, WorkflowIDConflictPolicy)
        message.workflow_id_conflict_policy = int(request.id_conflict_policy)
    if request.retry_policy is not None:
        message.retry_policy = request.retry_policy._to_proto()
    if request.memo is not None:
        message.memo = common_v1.Memo({key: converter.to_payload(value) for key, value in request.memo.items()})
    if request.search_attributes is not None:
        _check.instance(_CALL, "search_attributes", request.search_attributes, TypedSearchAttributes)
        message.search_attributes = common_v1.SearchAttributes({})
        encode_search_attributes(request.search_attributes, message.search_attributes)
    if request.priority is not None and request.priority is not Priority.default:
        message.priority = request.priority._to_proto()
    if request.versioning_override is not None:
        message.versioning_override = request.versioning_override._to_proto()
    if (about := request.user_metadata) is not None:
        message.user_metadata = UserMetadata(
            summary=None if about.static_summary is None else converter.to_payload(about.static_summary),
            details=None if about.static_details is None else converter.to_payload(about.static_details),
        )
    if request.headers is not None:
        message.header = common_v1.Header(
            {
                key: value if isinstance(value, common_v1.Payload) else converter.to_payload(value)
                for key, value in request.headers.items()
            }
        )
    return system.to_payload(message)


def _workflow_name(workflow: Any) -> str:
    if isinstance(workflow, str):
        return workflow
    name = _Definition.must_from_run_fn(workflow).name
    if not name:
        raise TypeError("Cannot invoke dynamic workflow explicitly: give the workflow type as a string")
    return name


def decode(result: common_v1.Payload | None) -> SignalWithStartWorkflowResponse:
    """The operation's result."""
    message = system.from_payload(result, ws.SignalWithStartWorkflowExecutionResponse)
    return SignalWithStartWorkflowResponse(message.run_id or None, message.started or None)
