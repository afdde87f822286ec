"""Waiting for a workflow's close event, and what each one means for the caller."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from perdure.api.common.v1 import WorkflowExecution
from perdure.api.enums.v1 import EventType
from perdure.api.workflowservice.v1 import (
    DescribeWorkflowExecutionRequest,
    GetWorkflowExecutionHistoryRequest,
    GetWorkflowExecutionHistoryReverseRequest,
)
from perdure.client import _check
from perdure.client._exceptions import WorkflowContinuedAsNewError, WorkflowFailureError
from perdure.client._interceptor import FetchWorkflowHistoryEventsInput
from perdure.client._workflow_history import WorkflowHistoryEventFilterType
from perdure.exceptions import CancelledError, TerminatedError, TimeoutType
from perdure.exceptions import TimeoutError as WorkflowTimeoutError
from perdure.service import RPCError, RPCStatusCode, logger

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import timedelta

    from perdure._native.events import HistoryEvent
    from perdure.client._workflow_handle import WorkflowHandle

_COMPLETED = int(EventType.EVENT_TYPE_WORKFLOW_EXECUTION_COMPLETED)
_FAILED = int(EventType.EVENT_TYPE_WORKFLOW_EXECUTION_FAILED)
_TIMED_OUT = int(EventType.EVENT_TYPE_WORKFLOW_EXECUTION_TIMED_OUT)
_CANCELED = int(EventType.EVENT_TYPE_WORKFLOW_EXECUTION_CANCELED)
_TERMINATED = int(EventType.EVENT_TYPE_WORKFLOW_EXECUTION_TERMINATED)
_CONTINUED_AS_NEW = int(EventType.EVENT_TYPE_WORKFLOW_EXECUTION_CONTINUED_AS_NEW)
_HAS_SUCCESSOR = frozenset((_COMPLETED, _FAILED, _TIMED_OUT, _CONTINUED_AS_NEW))
_CLOSE_EVENT = WorkflowHistoryEventFilterType.CLOSE_EVENT
_CLOSE_FILTER = int(_CLOSE_EVENT)
_REVERSE_PAGE_SIZE = 64


async def result(
    handle: WorkflowHandle[Any, Any],
    follow_runs: bool,
    rpc_metadata: Mapping[str, str | bytes],
    rpc_timeout: timedelta | None,
) -> Any:
    """The result of a handle's workflow, or the error it closed with."""
    if rpc_metadata or rpc_timeout is not None:
        _check.rpc_options("result", rpc_metadata, rpc_timeout)
    client = handle._client
    client._check_usable()
    run_id = handle._result_run_id or ""
    wait = _wait_for_close_event if client._is_direct else _wait_through_interceptors
    while True:
        event = await wait(handle, run_id, rpc_metadata, rpc_timeout)
        if follow_runs and event.event_type in _HAS_SUCCESSOR:
            next_run_id = event.attributes.new_execution_run_id
            if next_run_id:
                run_id = next_run_id
                continue
        if event.event_type == _COMPLETED:
            conversion, payloads, hint = client._conversion, event.attributes.result, handle._result_type
            if conversion.plain is not None and payloads is not None and len(payloads.payloads) == 1:
                return conversion.plain.from_payloads(payloads.payloads, None if hint is None else [hint])[0]
            return await conversion.decode(handle._id, payloads, hint, "the result")
        raise await _error(handle, event)


async def _wait_for_close_event(
    handle: WorkflowHandle[Any, Any],
    run_id: str,
    rpc_metadata: Mapping[str, str | bytes],
    rpc_timeout: timedelta | None,
) -> HistoryEvent:
    client = handle._client
    request = GetWorkflowExecutionHistoryRequest(
        client.namespace, WorkflowExecution(handle._id, run_id), 0, b"", True, _CLOSE_FILTER, True
    )
    metadata = client._metadata(rpc_metadata)
    has_warned = False
    while True:
        response = await client._service.get_workflow_execution_history(request, metadata=metadata, timeout=rpc_timeout)
        if response.history is not None and response.history.events:
            return response.history.events[-1]
        if not response.next_page_token:
            raise _no_close_event(handle)
        request.next_page_token = response.next_page_token
        if not has_warned:
            has_warned = await _warn_if_stuck(handle, run_id)


async def _wait_through_interceptors(
    handle: WorkflowHandle[Any, Any],
    run_id: str,
    rpc_metadata: Mapping[str, str | bytes],
    rpc_timeout: timedelta | None,
) -> HistoryEvent:
    events = handle._client._impl.fetch_workflow_history_events(
        FetchWorkflowHistoryEventsInput(
            handle._id, run_id or None, None, None, True, _CLOSE_EVENT, True, rpc_metadata, rpc_timeout
        )
    )
    async for event in events:
        return event
    raise _no_close_event(handle)


def _no_close_event(handle: WorkflowHandle[Any, Any]) -> Exception:
    return RuntimeError(f"the history of workflow {handle._id!r} ended without an event that closes it")


async def _warn_if_stuck(handle: WorkflowHandle[Any, Any], run_id: str) -> bool:
    """Log that the workflow waited for is failing its workflow task. True when it said so."""
    client = handle._client
    try:
        description = await client._service.describe_workflow_execution(
            DescribeWorkflowExecutionRequest(client.namespace, WorkflowExecution(handle._id, run_id))
        )
    except RPCError:
        return False
    task = description.pending_workflow_task
    if task is None or task.attempt <= 1:
        return False
    logger.warning(
        "Waiting for the result of workflow %r, whose workflow task keeps failing (attempt %d): "
        "see the worker's log for the error",
        handle._id,
        task.attempt,
    )
    return True


async def _error(handle: WorkflowHandle[Any, Any], event: HistoryEvent) -> Exception:
    attributes = event.attributes
    conversion = handle._client._conversion
    cause: BaseException
    if event.event_type == _FAILED:
        cause = await conversion.decode_failure(handle._id, attributes.failure)
    elif event.event_type == _CANCELED:
        cause = CancelledError("Workflow cancelled", *await conversion.decode_all(handle._id, attributes.details))
    elif event.event_type == _TERMINATED:
        details = await conversion.decode_all(handle._id, attributes.details)
        cause = TerminatedError(attributes.reason or "Workflow terminated", *details)
    elif event.event_type == _TIMED_OUT:
        cause = WorkflowTimeoutError("Workflow timed out", type=TimeoutType.START_TO_CLOSE, last_heartbeat_details=[])
    elif event.event_type == _CONTINUED_AS_NEW:
        return WorkflowContinuedAsNewError(attributes.new_execution_run_id)
    else:
        return _no_close_event(handle)
    return WorkflowFailureError(cause=cause)


async def last_workflow_task_completed(
    handle: WorkflowHandle[Any, Any], rpc_metadata: Mapping[str, str | bytes], rpc_timeout: timedelta | None
) -> int:
    """The id of the newest WorkflowTaskCompleted of a handle's run."""
    client = handle._client
    request = GetWorkflowExecutionHistoryReverseRequest(
        client.namespace, WorkflowExecution(handle._id, handle._run_id or ""), _REVERSE_PAGE_SIZE
    )
    while True:
        response = await client._service.get_workflow_execution_history_reverse(
            request, metadata=client._metadata(rpc_metadata), timeout=rpc_timeout
        )
        for event in response.history.events if response.history else ():
            if event.event_type == EventType.EVENT_TYPE_WORKFLOW_TASK_COMPLETED:
                return event.event_id
        if not response.next_page_token:
            raise RPCError(
                f"workflow {handle._id!r} has completed no workflow task yet, so there is no point to reset it to",
                RPCStatusCode.INVALID_ARGUMENT,
            )
        request.next_page_token = response.next_page_token
