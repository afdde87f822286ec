"""Temporal's ``temporal.api.command.v1``: what a workflow task asks the service to do."""

from __future__ import annotations

from perdure.api._message import Message
from perdure.api.common import v1 as common_v1
from perdure.api.failure import v1 as failure_v1
from perdure.api.sdk import v1 as sdk_v1
from perdure.api.taskqueue import v1 as taskqueue_v1
from perdure.api.workflow import v1 as workflow_v1


class CancelTimerCommandAttributes(Message):
    """Temporal's ``temporal.api.command.v1.CancelTimerCommandAttributes``."""

    timer_id: str = ""


class CancelWorkflowExecutionCommandAttributes(Message):
    """Temporal's ``temporal.api.command.v1.CancelWorkflowExecutionCommandAttributes``."""

    details: common_v1.Payloads | None = None


class Command(Message):
    """Temporal's ``temporal.api.command.v1.Command``."""

    command_type: int = 0
    user_metadata: sdk_v1.UserMetadata | None = None
    event_group_markers: list[sdk_v1.EventGroupMarker] = []
    attributes: object | None = None


class CompleteWorkflowExecutionCommandAttributes(Message):
    """Temporal's ``temporal.api.command.v1.CompleteWorkflowExecutionCommandAttributes``."""

    result: common_v1.Payloads | None = None


class ContinueAsNewWorkflowExecutionCommandAttributes(Message):
    """Temporal's ``temporal.api.command.v1.ContinueAsNewWorkflowExecutionCommandAttributes``."""

    workflow_type: common_v1.WorkflowType | None = None
    task_queue: taskqueue_v1.TaskQueue | None = None
    input: common_v1.Payloads | None = None
    workflow_run_timeout: int | None = None
    workflow_task_timeout: int | None = None
    backoff_start_interval: int | None = None
    retry_policy: common_v1.RetryPolicy | None = None
    initiator: int = 0
    failure: failure_v1.Failure | None = None
    last_completion_result: common_v1.Payloads | None = None
    cron_schedule: str = ""
    header: common_v1.Header | None = None
    memo: common_v1.Memo | None = None
    search_attributes: common_v1.SearchAttributes | None = None
    inherit_build_id: bool = False
    initial_versioning_behavior: int = 0


class FailWorkflowExecutionCommandAttributes(Message):
    """Temporal's ``temporal.api.command.v1.FailWorkflowExecutionCommandAttributes``."""

    failure: failure_v1.Failure | None = None


class ModifyWorkflowPropertiesCommandAttributes(Message):
    """Temporal's ``temporal.api.command.v1.ModifyWorkflowPropertiesCommandAttributes``."""

    upserted_memo: common_v1.Memo | None = None


class ProtocolMessageCommandAttributes(Message):
    """Temporal's ``temporal.api.command.v1.ProtocolMessageCommandAttributes``."""

    message_id: str = ""


class RecordMarkerCommandAttributes(Message):
    """Temporal's ``temporal.api.command.v1.RecordMarkerCommandAttributes``."""

    marker_name: str = ""
    details: dict[str, common_v1.Payloads] = {}
    header: common_v1.Header | None = None
    failure: failure_v1.Failure | None = None


class RequestCancelActivityTaskCommandAttributes(Message):
    """Temporal's ``temporal.api.command.v1.RequestCancelActivityTaskCommandAttributes``."""

    scheduled_event_id: int = 0


class RequestCancelExternalWorkflowExecutionCommandAttributes(Message):
    """Temporal's ``temporal.api.command.v1.RequestCancelExternalWorkflowExecutionCommandAttributes``."""

    namespace: str = ""
    workflow_id: str = ""
    run_id: str = ""
    control: str = ""
    child_workflow_only: bool = False
    reason: str = ""


class RequestCancelNexusOperationCommandAttributes(Message):
    """Temporal's ``temporal.api.command.v1.RequestCancelNexusOperationCommandAttributes``."""

    scheduled_event_id: int = 0


class ScheduleActivityTaskCommandAttributes(Message):
    """Temporal's ``temporal.api.command.v1.ScheduleActivityTaskCommandAttributes``."""

    activity_id: str = ""
    activity_type: common_v1.ActivityType | None = None
    task_queue: taskqueue_v1.TaskQueue | None = None
    header: common_v1.Header | None = None
    input: common_v1.Payloads | None = None
    schedule_to_close_timeout: int | None = None
    schedule_to_start_timeout: int | None = None
    start_to_close_timeout: int | None = None
    heartbeat_timeout: int | None = None
    retry_policy: common_v1.RetryPolicy | None = None
    request_eager_execution: bool = False
    use_workflow_build_id: bool = False
    priority: common_v1.Priority | None = None


class ScheduleNexusOperationCommandAttributes(Message):
    """Temporal's ``temporal.api.command.v1.ScheduleNexusOperationCommandAttributes``."""

    endpoint: str = ""
    service: str = ""
    operation: str = ""
    input: common_v1.Payload | None = None
    schedule_to_close_timeout: int | None = None
    nexus_header: dict[str, str] = {}
    schedule_to_start_timeout: int | None = None
    start_to_close_timeout: int | None = None


class SignalExternalWorkflowExecutionCommandAttributes(Message):
    """Temporal's ``temporal.api.command.v1.SignalExternalWorkflowExecutionCommandAttributes``."""

    namespace: str = ""
    execution: common_v1.WorkflowExecution | None = None
    signal_name: str = ""
    input: common_v1.Payloads | None = None
    control: str = ""
    child_workflow_only: bool = False
    header: common_v1.Header | None = None


class StartChildWorkflowExecutionCommandAttributes(Message):
    """Temporal's ``temporal.api.command.v1.StartChildWorkflowExecutionCommandAttributes``."""

    namespace: str = ""
    workflow_id: str = ""
    workflow_type: common_v1.WorkflowType | None = None
    task_queue: taskqueue_v1.TaskQueue | None = None
    input: common_v1.Payloads | None = None
    workflow_execution_timeout: int | None = None
    workflow_run_timeout: int | None = None
    workflow_task_timeout: int | None = None
    parent_close_policy: int = 0
    control: str = ""
    workflow_id_reuse_policy: int = 0
    retry_policy: common_v1.RetryPolicy | None = None
    cron_schedule: str = ""
    header: common_v1.Header | None = None
    memo: common_v1.Memo | None = None
    search_attributes: common_v1.SearchAttributes | None = None
    inherit_build_id: bool = False
    priority: common_v1.Priority | None = None
    versioning_override: workflow_v1.VersioningOverride | None = None


class StartTimerCommandAttributes(Message):
    """Temporal's ``temporal.api.command.v1.StartTimerCommandAttributes``."""

    timer_id: str = ""
    start_to_fire_timeout: int | None = None


class UpsertWorkflowSearchAttributesCommandAttributes(Message):
    """Temporal's ``temporal.api.command.v1.UpsertWorkflowSearchAttributesCommandAttributes``."""

    search_attributes: common_v1.SearchAttributes | None = None
