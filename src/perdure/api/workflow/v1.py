"""Temporal's ``temporal.api.workflow.v1``: what describe and list say of an execution."""

from __future__ import annotations

from perdure.api._message import Message
from perdure.api.activity import v1 as activity_v1
from perdure.api.common import v1 as common_v1
from perdure.api.deployment import v1 as deployment_v1
from perdure.api.failure import v1 as failure_v1
from perdure.api.nexus import v1 as nexus_v1
from perdure.api.sdk import v1 as sdk_v1
from perdure.api.taskqueue import v1 as taskqueue_v1


class CallbackInfo(Message):
    """Temporal's ``temporal.api.workflow.v1.CallbackInfo``."""

    callback: common_v1.Callback | None = None
    trigger: CallbackInfoTrigger | None = None
    registration_time: int | None = None
    state: int = 0
    attempt: int = 0
    last_attempt_complete_time: int | None = None
    last_attempt_failure: failure_v1.Failure | None = None
    next_attempt_schedule_time: int | None = None
    blocked_reason: str = ""
    request_id: str = ""


class CallbackInfoTrigger(Message):
    """Temporal's ``temporal.api.workflow.v1.CallbackInfo.Trigger``."""

    workflow_closed: CallbackInfoWorkflowClosed | None = None
    update_workflow_execution_completed: CallbackInfoUpdateWorkflowExecutionCompleted | None = None


class CallbackInfoUpdateWorkflowExecutionCompleted(Message):
    """Temporal's ``temporal.api.workflow.v1.CallbackInfo.UpdateWorkflowExecutionCompleted``."""

    update_id: str = ""


class CallbackInfoWorkflowClosed(Message):
    """Temporal's ``temporal.api.workflow.v1.CallbackInfo.WorkflowClosed``."""


class DeploymentTransition(Message):
    """Temporal's ``temporal.api.workflow.v1.DeploymentTransition``."""

    deployment: deployment_v1.Deployment | None = None


class DeploymentVersionTransition(Message):
    """Temporal's ``temporal.api.workflow.v1.DeploymentVersionTransition``."""

    version: str = ""
    deployment_version: deployment_v1.WorkerDeploymentVersion | None = None


class NewWorkflowExecutionInfo(Message):
    """Temporal's ``temporal.api.workflow.v1.NewWorkflowExecutionInfo``."""

    workflow_id: str = ""
    workflow_type: common_v1.WorkflowType | None = None
    task_queue: taskqueue_v1.TaskQueue | None = None
    input: common_v1.Payloads | None = None
    workflow_execution_timeout: int | None = None
    workflow_run_timeout: int | None = None
    workflow_task_timeout: int | None = None
    workflow_id_reuse_policy: int = 0
    retry_policy: common_v1.RetryPolicy | None = None
    cron_schedule: str = ""
    memo: common_v1.Memo | None = None
    search_attributes: common_v1.SearchAttributes | None = None
    header: common_v1.Header | None = None
    user_metadata: sdk_v1.UserMetadata | None = None
    versioning_override: VersioningOverride | None = None
    priority: common_v1.Priority | None = None


class NexusOperationCancellationInfo(Message):
    """Temporal's ``temporal.api.workflow.v1.NexusOperationCancellationInfo``."""

    requested_time: int | None = None
    state: int = 0
    attempt: int = 0
    last_attempt_complete_time: int | None = None
    last_attempt_failure: failure_v1.Failure | None = None
    next_attempt_schedule_time: int | None = None
    blocked_reason: str = ""


class OnConflictOptions(Message):
    """Temporal's ``temporal.api.workflow.v1.OnConflictOptions``."""

    attach_request_id: bool = False
    attach_completion_callbacks: bool = False
    attach_links: bool = False


class PendingActivityInfo(Message):
    """Temporal's ``temporal.api.workflow.v1.PendingActivityInfo``."""

    activity_id: str = ""
    activity_type: common_v1.ActivityType | None = None
    state: int = 0
    heartbeat_details: common_v1.Payloads | None = None
    last_heartbeat_time: int | None = None
    last_started_time: int | None = None
    attempt: int = 0
    maximum_attempts: int = 0
    scheduled_time: int | None = None
    expiration_time: int | None = None
    last_failure: failure_v1.Failure | None = None
    last_worker_identity: str = ""
    use_workflow_build_id: bool | None = None
    last_independently_assigned_build_id: str | None = None
    last_worker_version_stamp: common_v1.WorkerVersionStamp | None = None
    current_retry_interval: int | None = None
    last_attempt_complete_time: int | None = None
    next_attempt_schedule_time: int | None = None
    paused: bool = False
    last_deployment: deployment_v1.Deployment | None = None
    last_worker_deployment_version: str = ""
    priority: common_v1.Priority | None = None
    pause_info: PendingActivityInfoPauseInfo | None = None
    activity_options: activity_v1.ActivityOptions | None = None
    last_deployment_version: deployment_v1.WorkerDeploymentVersion | None = None


class PendingActivityInfoPauseInfo(Message):
    """Temporal's ``temporal.api.workflow.v1.PendingActivityInfo.PauseInfo``."""

    pause_time: int | None = None
    manual: PendingActivityInfoPauseInfoManual | None = None
    rule: PendingActivityInfoPauseInfoRule | None = None


class PendingActivityInfoPauseInfoManual(Message):
    """Temporal's ``temporal.api.workflow.v1.PendingActivityInfo.PauseInfo.Manual``."""

    identity: str = ""
    reason: str = ""


class PendingActivityInfoPauseInfoRule(Message):
    """Temporal's ``temporal.api.workflow.v1.PendingActivityInfo.PauseInfo.Rule``."""

    rule_id: str = ""
    identity: str = ""
    reason: str = ""


class PendingChildExecutionInfo(Message):
    """Temporal's ``temporal.api.workflow.v1.PendingChildExecutionInfo``."""

    workflow_id: str = ""
    run_id: str = ""
    workflow_type_name: str = ""
    initiated_id: int = 0
    parent_close_policy: int = 0


class PendingNexusOperationInfo(Message):
    """Temporal's ``temporal.api.workflow.v1.PendingNexusOperationInfo``."""

    endpoint: str = ""
    service: str = ""
    operation: str = ""
    operation_id: str = ""
    schedule_to_close_timeout: int | None = None
    scheduled_time: int | None = None
    state: int = 0
    attempt: int = 0
    last_attempt_complete_time: int | None = None
    last_attempt_failure: failure_v1.Failure | None = None
    next_attempt_schedule_time: int | None = None
    cancellation_info: NexusOperationCancellationInfo | None = None
    scheduled_event_id: int = 0
    blocked_reason: str = ""
    operation_token: str = ""
    schedule_to_start_timeout: int | None = None
    start_to_close_timeout: int | None = None


class PendingWorkflowTaskInfo(Message):
    """Temporal's ``temporal.api.workflow.v1.PendingWorkflowTaskInfo``."""

    state: int = 0
    scheduled_time: int | None = None
    original_scheduled_time: int | None = None
    started_time: int | None = None
    attempt: int = 0


class PostResetOperation(Message):
    """Temporal's ``temporal.api.workflow.v1.PostResetOperation``."""

    signal_workflow: PostResetOperationSignalWorkflow | None = None
    update_workflow_options: PostResetOperationUpdateWorkflowOptions | None = None


class PostResetOperationSignalWorkflow(Message):
    """Temporal's ``temporal.api.workflow.v1.PostResetOperation.SignalWorkflow``."""

    signal_name: str = ""
    input: common_v1.Payloads | None = None
    header: common_v1.Header | None = None
    links: list[common_v1.Link] = []


class PostResetOperationUpdateWorkflowOptions(Message):
    """Temporal's ``temporal.api.workflow.v1.PostResetOperation.UpdateWorkflowOptions``."""

    workflow_execution_options: WorkflowExecutionOptions | None = None
    update_mask: list[str] | None = None


class RequestIdInfo(Message):
    """Temporal's ``temporal.api.workflow.v1.RequestIdInfo``."""

    event_type: int = 0
    event_id: int = 0
    buffered: bool = False


class ResetPointInfo(Message):
    """Temporal's ``temporal.api.workflow.v1.ResetPointInfo``."""

    binary_checksum: str = ""
    run_id: str = ""
    first_workflow_task_completed_id: int = 0
    create_time: int | None = None
    expire_time: int | None = None
    resettable: bool = False
    build_id: str = ""


class ResetPoints(Message):
    """Temporal's ``temporal.api.workflow.v1.ResetPoints``."""

    points: list[ResetPointInfo] = []


class VersioningOverride(Message):
    """Temporal's ``temporal.api.workflow.v1.VersioningOverride``."""

    behavior: int = 0
    deployment: deployment_v1.Deployment | None = None
    pinned: VersioningOverridePinnedOverride | None = None
    auto_upgrade: bool | None = None
    one_time: VersioningOverrideOneTimeOverride | None = None
    pinned_version: str = ""


class VersioningOverrideOneTimeOverride(Message):
    """Temporal's ``temporal.api.workflow.v1.VersioningOverride.OneTimeOverride``."""

    target_deployment_version: deployment_v1.WorkerDeploymentVersion | None = None


class VersioningOverridePinnedOverride(Message):
    """Temporal's ``temporal.api.workflow.v1.VersioningOverride.PinnedOverride``."""

    behavior: int = 0
    version: deployment_v1.WorkerDeploymentVersion | None = None


class WorkflowExecutionConfig(Message):
    """Temporal's ``temporal.api.workflow.v1.WorkflowExecutionConfig``."""

    task_queue: taskqueue_v1.TaskQueue | None = None
    workflow_execution_timeout: int | None = None
    workflow_run_timeout: int | None = None
    default_workflow_task_timeout: int | None = None
    user_metadata: sdk_v1.UserMetadata | None = None


class WorkflowExecutionExtendedInfo(Message):
    """Temporal's ``temporal.api.workflow.v1.WorkflowExecutionExtendedInfo``."""

    execution_expiration_time: int | None = None
    run_expiration_time: int | None = None
    cancel_requested: bool = False
    last_reset_time: int | None = None
    original_start_time: int | None = None
    reset_run_id: str = ""
    request_id_infos: dict[str, RequestIdInfo] = {}
    pause_info: WorkflowExecutionPauseInfo | None = None
    time_skipping_info: common_v1.TimeSkippingInfo | None = None
    propagated_nexus_serialization_context: nexus_v1.PropagatedSerializationContext | None = None


class WorkflowExecutionInfo(Message):
    """Temporal's ``temporal.api.workflow.v1.WorkflowExecutionInfo``."""

    execution: common_v1.WorkflowExecution | None = None
    type: common_v1.WorkflowType | None = None
    start_time: int | None = None
    close_time: int | None = None
    status: int = 0
    history_length: int = 0
    parent_namespace_id: str = ""
    parent_execution: common_v1.WorkflowExecution | None = None
    execution_time: int | None = None
    memo: common_v1.Memo | None = None
    search_attributes: common_v1.SearchAttributes | None = None
    auto_reset_points: ResetPoints | None = None
    task_queue: str = ""
    state_transition_count: int = 0
    history_size_bytes: int = 0
    most_recent_worker_version_stamp: common_v1.WorkerVersionStamp | None = None
    execution_duration: int | None = None
    root_execution: common_v1.WorkflowExecution | None = None
    assigned_build_id: str = ""
    inherited_build_id: str = ""
    first_run_id: str = ""
    versioning_info: WorkflowExecutionVersioningInfo | None = None
    worker_deployment_name: str = ""
    priority: common_v1.Priority | None = None
    external_payload_size_bytes: int = 0
    external_payload_count: int = 0


class WorkflowExecutionOptions(Message):
    """Temporal's ``temporal.api.workflow.v1.WorkflowExecutionOptions``."""

    versioning_override: VersioningOverride | None = None
    priority: common_v1.Priority | None = None
    time_skipping_config: common_v1.TimeSkippingConfig | None = None


class WorkflowExecutionPauseInfo(Message):
    """Temporal's ``temporal.api.workflow.v1.WorkflowExecutionPauseInfo``."""

    identity: str = ""
    paused_time: int | None = None
    reason: str = ""


class WorkflowExecutionVersioningInfo(Message):
    """Temporal's ``temporal.api.workflow.v1.WorkflowExecutionVersioningInfo``."""

    behavior: int = 0
    deployment: deployment_v1.Deployment | None = None
    versioning_override: VersioningOverride | None = None
    deployment_transition: DeploymentTransition | None = None
    version: str = ""
    version_transition: DeploymentVersionTransition | None = None
    deployment_version: deployment_v1.WorkerDeploymentVersion | None = None
    revision_number: int = 0
    continue_as_new_initial_versioning_behavior: int = 0
