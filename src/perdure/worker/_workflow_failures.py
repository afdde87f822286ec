"""Failures that a worker makes of history events; messages and shape are Temporal's."""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING, Any

from perdure.api.common.v1 import ActivityType, WorkflowExecution, WorkflowType
from perdure.api.enums.v1 import (
    CancelExternalWorkflowExecutionFailedCause,
    RetryState,
    SignalExternalWorkflowExecutionFailedCause,
)
from perdure.api.failure.v1 import (
    ActivityFailureInfo,
    ApplicationFailureInfo,
    CanceledFailureInfo,
    ChildWorkflowExecutionFailureInfo,
    Failure,
    TerminatedFailureInfo,
    TimeoutFailureInfo,
)

if TYPE_CHECKING:
    from perdure._native.events import HistoryEvent
    from perdure._native.matcher import WorkflowCommand

_ACTIVITY_FAILED = 13
_ACTIVITY_TIMED_OUT = 14
_CHILD_FAILED = 33
_CHILD_TIMED_OUT = 35
_CHILD_TERMINATED = 36
_START_TO_CLOSE = 1
_CANCEL_REQUESTED = int(RetryState.RETRY_STATE_CANCEL_REQUESTED)
_NON_RETRYABLE = int(RetryState.RETRY_STATE_NON_RETRYABLE_FAILURE)

_SIGNAL_REASONS = {1: "it was not found", 2: "it was not found", 3: "The per-workflow signal limit was exceeded"}
_CANCEL_REASONS = {1: "not found", 2: "not found"}


def activity_failure(command: WorkflowCommand, event: HistoryEvent | None) -> Failure:
    """How an activity failed, by its closing event; None when it was cancelled without waiting for one."""
    attributes: Any = None if event is None else event.attributes
    info = ActivityFailureInfo(
        activity_type=ActivityType(command.type_name), activity_id=command.identity, retry_state=_CANCEL_REQUESTED
    )
    if attributes is not None:
        info.scheduled_event_id = attributes.scheduled_event_id
        info.started_event_id = attributes.started_event_id
    if event is not None and attributes is not None and event.event_type in (_ACTIVITY_FAILED, _ACTIVITY_TIMED_OUT):
        info.retry_state = attributes.retry_state
        if event.event_type == _ACTIVITY_FAILED:
            info.identity = attributes.identity
        message = "Activity task failed" if event.event_type == _ACTIVITY_FAILED else "Activity task timed out"
        return Failure(message=message, cause=attributes.failure, activity_failure_info=info)
    details = None
    if attributes is not None:
        info.identity = attributes.identity
        details = attributes.details
    return Failure(
        message="Activity cancelled",
        cause=Failure(canceled_failure_info=CanceledFailureInfo(details=details)),
        activity_failure_info=info,
    )


def child_failure(command: WorkflowCommand, event: HistoryEvent | None, namespace: str, run_id: str) -> Failure:
    """How a child workflow failed, by its closing event; None when it was cancelled without waiting for one."""
    attributes: Any = None if event is None else event.attributes
    info = ChildWorkflowExecutionFailureInfo(
        namespace=namespace,
        workflow_execution=WorkflowExecution(command.identity, run_id),
        workflow_type=WorkflowType(command.type_name),
        initiated_event_id=command.event_id,
        started_event_id=command.started_event_id,
        retry_state=_NON_RETRYABLE,
    )
    kind = 0 if event is None else event.event_type
    if kind == _CHILD_FAILED:
        info.retry_state = attributes.retry_state
        message, cause = "Child Workflow execution failed", attributes.failure
    elif kind == _CHILD_TIMED_OUT:
        info.retry_state = attributes.retry_state
        message = "Child Workflow execution timed out"
        cause = Failure(message="Timed out", timeout_failure_info=TimeoutFailureInfo(_START_TO_CLOSE))
    elif kind == _CHILD_TERMINATED:
        message = "Child Workflow execution terminated"
        cause = Failure(message="Terminated", terminated_failure_info=TerminatedFailureInfo())
    else:
        message = "Child Workflow execution cancelled"
        cause = Failure(canceled_failure_info=CanceledFailureInfo())
    return Failure(message=message, cause=cause, child_workflow_execution_failure_info=info)


def child_not_sent_failure(command: WorkflowCommand, namespace: str, reason: str) -> Failure:
    """The failure of a child that was cancelled before its start was sent."""
    failure = child_failure(command, None, namespace, "")
    failure.message = f"Child Workflow Execution cancelled before scheduled: {reason}"
    return failure


def signal_failure(event: HistoryEvent | None) -> Failure:
    """Why another workflow could not be signaled; None when the signal was cancelled before it was sent."""
    if event is None:
        return Failure(message="Signal was cancelled before being sent", canceled_failure_info=CanceledFailureInfo())
    cause = event.attributes.cause
    return Failure(
        message=f"Unable to signal external workflow because {_SIGNAL_REASONS.get(cause, 'unknown')}",
        application_failure_info=ApplicationFailureInfo(
            type=_cause_name(SignalExternalWorkflowExecutionFailedCause, cause)
        ),
    )


def cancel_failure(event: HistoryEvent) -> Failure:
    """Why another workflow could not be asked to cancel."""
    cause = event.attributes.cause
    return Failure(
        message=f"Unable to cancel external workflow because {_CANCEL_REASONS.get(cause, 'unknown')}",
        application_failure_info=ApplicationFailureInfo(
            type=_cause_name(CancelExternalWorkflowExecutionFailedCause, cause)
        ),
    )


def _cause_name(causes: type[IntEnum], cause: int) -> str:
    try:
        words = causes(cause).name.split("_FAILED_CAUSE_", 1)[1].split("_")
    except ValueError:
        return str(cause)
    return "".join(word.capitalize() for word in words)
