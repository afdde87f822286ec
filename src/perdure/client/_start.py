"""Starting a workflow: from the call's arguments to the request, and from the answer to the handle."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from perdure.api.common.v1 import Payload, Payloads, SearchAttributes, TimeSkippingConfig, WorkflowType
from perdure.api.enums.v1 import TaskQueueKind
from perdure.api.errordetails.v1 import WorkflowExecutionAlreadyStartedFailure
from perdure.api.taskqueue.v1 import TaskQueue
from perdure.api.workflowservice.v1 import (
    SignalWithStartWorkflowExecutionRequest,
    StartWorkflowExecutionRequest,
)
from perdure.client import _check
from perdure.client._nexus_context import current_operation
from perdure.client._workflow_handle import WorkflowHandle
from perdure.common import (
    Priority,
    RetryPolicy,
    TypedSearchAttributes,
    VersioningOverride,
    WorkflowIDConflictPolicy,
    WorkflowIDReusePolicy,
)
from perdure.common import SearchAttributes as UntypedSearchAttributes
from perdure.converter import encode_search_attributes
from perdure.exceptions import WorkflowAlreadyStartedError
from perdure.service import RPCError, RPCStatusCode

if TYPE_CHECKING:
    from datetime import timedelta

    from perdure.client._client import Client

_NORMAL = int(TaskQueueKind.TASK_QUEUE_KIND_NORMAL)
_WHERE = "start_workflow"
_SIGNAL_FIELDS = frozenset(SignalWithStartWorkflowExecutionRequest.__struct_fields__)
_SHARED_FIELDS = tuple(name for name in StartWorkflowExecutionRequest.__struct_fields__ if name in _SIGNAL_FIELDS)


async def start_workflow(
    client: Client,
    workflow: str,
    args: Sequence[Any],
    id: str,
    task_queue: str,
    execution_timeout: timedelta | None,
    run_timeout: timedelta | None,
    task_timeout: timedelta | None,
    id_reuse_policy: WorkflowIDReusePolicy,
    id_conflict_policy: WorkflowIDConflictPolicy,
    retry_policy: RetryPolicy | None,
    cron_schedule: str,
    memo: Mapping[str, Any] | None,
    search_attributes: TypedSearchAttributes | UntypedSearchAttributes | None,
    start_delay: timedelta | None,
    headers: Mapping[str, Payload],
    start_signal: str | None,
    start_signal_args: Sequence[Any],
    static_summary: str | None,
    static_details: str | None,
    ret_type: type | None,
    rpc_metadata: Mapping[str, str | bytes],
    rpc_timeout: timedelta | None,
    priority: Priority,
    versioning_override: VersioningOverride | None,
    time_skipping_config: TimeSkippingConfig | None,
    update: Callable[[StartWorkflowExecutionRequest], Awaitable[WorkflowHandle[Any, Any]]] | None = None,
    request_eager_start: bool = False,
) -> WorkflowHandle[Any, Any]:
    """Start a workflow, or signal or update it and start it if need be.

    Called once per workflow, so with positional arguments, and an argument at its default costs nothing.
    """
    _check.text(_WHERE, "id", id)
    _check.text(_WHERE, "task_queue", task_queue)
    _check.member(_WHERE, "id_reuse_policy", id_reuse_policy, WorkflowIDReusePolicy)
    _check.member(_WHERE, "id_conflict_policy", id_conflict_policy, WorkflowIDConflictPolicy)
    if rpc_metadata or rpc_timeout is not None:
        _check.rpc_options(_WHERE, rpc_metadata, rpc_timeout)
    conversion = client._conversion
    if conversion.plain is None:
        payloads = await conversion.encode(id, args, workflow_type=workflow)
    else:
        payloads = Payloads(conversion.plain.to_payloads(args)) if args else None
    request = StartWorkflowExecutionRequest(
        namespace=conversion.namespace,
        workflow_id=id,
        workflow_type=WorkflowType(workflow),
        task_queue=TaskQueue(task_queue, _NORMAL),
        input=payloads,
        identity=client.identity,
        request_id=client._new_request_id(),
        workflow_id_reuse_policy=int(id_reuse_policy),
        workflow_id_conflict_policy=int(id_conflict_policy),
        cron_schedule=cron_schedule,
        time_skipping_config=time_skipping_config,
    )
    if execution_timeout is not None:
        request.workflow_execution_timeout = _check.duration_ns(_WHERE, "execution_timeout", execution_timeout)
    if run_timeout is not None:
        request.workflow_run_timeout = _check.duration_ns(_WHERE, "run_timeout", run_timeout)
    if task_timeout is not None:
        request.workflow_task_timeout = _check.duration_ns(_WHERE, "task_timeout", task_timeout)
    if start_delay is not None:
        request.workflow_start_delay = _check.duration_ns(_WHERE, "start_delay", start_delay)
    if retry_policy is not None:
        _check.instance(_WHERE, "retry_policy", retry_policy, RetryPolicy)
        request.retry_policy = retry_policy._to_proto()
    if cron_schedule != "":
        _check.text(_WHERE, "cron_schedule", cron_schedule)
    if memo is not None:
        request.memo = await conversion.encode_memo(_WHERE, id, memo, workflow)
    if search_attributes is not None:
        _check.instance(_WHERE, "search_attributes", search_attributes, TypedSearchAttributes, Mapping)
        request.search_attributes = SearchAttributes()
        encode_search_attributes(search_attributes, request.search_attributes)
    if headers:
        request.header = await conversion.encode_headers(headers)
    if static_summary is not None or static_details is not None:
        request.user_metadata = await conversion.encode_user_metadata(_WHERE, id, static_summary, static_details)
    if priority is not Priority.default:
        _check.instance(_WHERE, "priority", priority, Priority)
        request.priority = priority._to_proto()
    if versioning_override is not None:
        _check.instance(_WHERE, "versioning_override", versioning_override, VersioningOverride)
        request.versioning_override = versioning_override._to_proto()
    operation = current_operation.get()
    if operation is not None:
        operation.prepare_start(request)
    try:
        if start_signal is not None:
            return await _signal_with_start(
                client, request, start_signal, start_signal_args, ret_type, rpc_metadata, rpc_timeout
            )
        if update is not None:
            return await update(request)
        if request_eager_start:
            return await _start_eagerly(client, request, ret_type, rpc_metadata, rpc_timeout)
        response = await client._service.start_workflow_execution(
            request, metadata=client._metadata(rpc_metadata), timeout=rpc_timeout
        )
    except RPCError as error:
        raise _already_started(error, id, workflow) from None
    handle: WorkflowHandle[Any, Any] = WorkflowHandle(
        client,
        id,
        result_run_id=response.run_id,
        first_execution_run_id=response.first_execution_run_id or response.run_id,
        result_type=ret_type,
        start_workflow_response=response,
    )
    if operation is not None:
        operation.started(handle)
    return handle


async def _start_eagerly(
    client: Client,
    request: StartWorkflowExecutionRequest,
    ret_type: type | None,
    rpc_metadata: Mapping[str, str | bytes],
    rpc_timeout: timedelta | None,
) -> WorkflowHandle[Any, Any]:
    """Start a workflow and give its first task to a worker of this connection, if one has that task queue."""
    assert request.task_queue is not None
    take = client.service_client._eager_workers.get((request.namespace, request.task_queue.name))
    request.request_eager_execution = take is not None
    response = await client._service.start_workflow_execution(
        request, metadata=client._metadata(rpc_metadata), timeout=rpc_timeout
    )
    task = response.eager_workflow_task
    if take is not None and task is not None:
        take(task)
    handle: WorkflowHandle[Any, Any] = WorkflowHandle(
        client,
        request.workflow_id,
        result_run_id=response.run_id,
        first_execution_run_id=response.first_execution_run_id or response.run_id,
        result_type=ret_type,
        start_workflow_response=response,
    )
    setattr(handle, "__temporal_eagerly_started", task is not None)
    return handle


async def _signal_with_start(
    client: Client,
    start: StartWorkflowExecutionRequest,
    signal: str,
    signal_args: Sequence[Any],
    ret_type: type | None,
    rpc_metadata: Mapping[str, str | bytes],
    rpc_timeout: timedelta | None,
) -> WorkflowHandle[Any, Any]:
    _check.text(_WHERE, "start_signal", signal)
    request = SignalWithStartWorkflowExecutionRequest(
        **{name: getattr(start, name) for name in _SHARED_FIELDS},
        signal_name=signal,
        signal_input=await client._conversion.encode(
            start.workflow_id,
            _check.arguments(_WHERE, _check.NO_ARGUMENT, signal_args, "start_signal_args"),
            workflow_type=start.workflow_type.name if start.workflow_type else None,
        ),
    )
    response = await client._service.signal_with_start_workflow_execution(
        request, metadata=client._metadata(rpc_metadata), timeout=rpc_timeout
    )
    handle: WorkflowHandle[Any, Any] = WorkflowHandle(
        client,
        start.workflow_id,
        result_run_id=response.run_id,
        first_execution_run_id=response.first_execution_run_id or (response.run_id if response.started else None),
        result_type=ret_type,
        start_workflow_response=response,
    )
    operation = current_operation.get()
    if operation is not None:
        operation.started(handle)
    return handle


def _already_started(error: RPCError, workflow_id: str, workflow_type: str) -> Exception:
    if error.status == RPCStatusCode.ALREADY_EXISTS:
        detail = error.detail(WorkflowExecutionAlreadyStartedFailure)
        if isinstance(detail, WorkflowExecutionAlreadyStartedFailure):
            return WorkflowAlreadyStartedError(
                workflow_id,
                workflow_type,
                run_id=detail.run_id,
                first_run_id=detail.first_execution_run_id or None,
            )
    return error
