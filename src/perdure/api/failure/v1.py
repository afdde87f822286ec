"""Temporal's ``temporal.api.failure.v1``: the failure tree."""

from __future__ import annotations

from perdure.api._message import Message
from perdure.api.common import v1 as common_v1


class ActivityFailureInfo(Message):
    """Temporal's ``temporal.api.failure.v1.ActivityFailureInfo``."""

    scheduled_event_id: int = 0
    started_event_id: int = 0
    identity: str = ""
    activity_type: common_v1.ActivityType | None = None
    activity_id: str = ""
    retry_state: int = 0


class ApplicationFailureInfo(Message):
    """Temporal's ``temporal.api.failure.v1.ApplicationFailureInfo``."""

    type: str = ""
    non_retryable: bool = False
    details: common_v1.Payloads | None = None
    next_retry_delay: int | None = None
    category: int = 0


class CanceledFailureInfo(Message):
    """Temporal's ``temporal.api.failure.v1.CanceledFailureInfo``."""

    details: common_v1.Payloads | None = None
    identity: str = ""


class ChildWorkflowExecutionFailureInfo(Message):
    """Temporal's ``temporal.api.failure.v1.ChildWorkflowExecutionFailureInfo``."""

    namespace: str = ""
    workflow_execution: common_v1.WorkflowExecution | None = None
    workflow_type: common_v1.WorkflowType | None = None
    initiated_event_id: int = 0
    started_event_id: int = 0
    retry_state: int = 0


class Failure(Message):
    """Temporal's ``temporal.api.failure.v1.Failure``."""

    message: str = ""
    source: str = ""
    stack_trace: str = ""
    cause: Failure | None = None
    application_failure_info: ApplicationFailureInfo | None = None
    timeout_failure_info: TimeoutFailureInfo | None = None
    canceled_failure_info: CanceledFailureInfo | None = None
    terminated_failure_info: TerminatedFailureInfo | None = None
    server_failure_info: ServerFailureInfo | None = None
    reset_workflow_failure_info: ResetWorkflowFailureInfo | None = None
    activity_failure_info: ActivityFailureInfo | None = None
    child_workflow_execution_failure_info: ChildWorkflowExecutionFailureInfo | None = None
    nexus_operation_execution_failure_info: NexusOperationFailureInfo | None = None
    nexus_handler_failure_info: NexusHandlerFailureInfo | None = None
    encoded_attributes: common_v1.Payload | None = None


class MultiOperationExecutionAborted(Message):
    """Temporal's ``temporal.api.failure.v1.MultiOperationExecutionAborted``: another operation is at fault."""


class NexusHandlerFailureInfo(Message):
    """Temporal's ``temporal.api.failure.v1.NexusHandlerFailureInfo``."""

    type: str = ""
    retry_behavior: int = 0


class NexusOperationFailureInfo(Message):
    """Temporal's ``temporal.api.failure.v1.NexusOperationFailureInfo``."""

    scheduled_event_id: int = 0
    endpoint: str = ""
    service: str = ""
    operation: str = ""
    operation_id: str = ""
    operation_token: str = ""


class ResetWorkflowFailureInfo(Message):
    """Temporal's ``temporal.api.failure.v1.ResetWorkflowFailureInfo``."""

    last_heartbeat_details: common_v1.Payloads | None = None


class ServerFailureInfo(Message):
    """Temporal's ``temporal.api.failure.v1.ServerFailureInfo``."""

    non_retryable: bool = False


class TerminatedFailureInfo(Message):
    """Temporal's ``temporal.api.failure.v1.TerminatedFailureInfo``."""

    identity: str = ""


class TimeoutFailureInfo(Message):
    """Temporal's ``temporal.api.failure.v1.TimeoutFailureInfo``."""

    timeout_type: int = 0
    last_heartbeat_details: common_v1.Payloads | None = None
