"""Temporal's ``temporal.api.history.v1``: the attributes of every history event."""

from __future__ import annotations

from perdure._native.events import HistoryEvent
from perdure.api._message import Message
from perdure.api.common import v1 as common_v1
from perdure.api.deployment import v1 as deployment_v1
from perdure.api.failure import v1 as failure_v1
from perdure.api.nexus import v1 as nexus_v1
from perdure.api.sdk import v1 as sdk_v1
from perdure.api.taskqueue import v1 as taskqueue_v1
from perdure.api.update import v1 as update_v1
from perdure.api.workflow import v1 as workflow_v1


class ActivityPropertiesModifiedExternallyEventAttributes(Message):
    """Temporal's ``temporal.api.history.v1.ActivityPropertiesModifiedExternallyEventAttributes``."""

    scheduled_event_id: int = 0
    new_retry_policy: common_v1.RetryPolicy | None = None


class ActivityTaskCancelRequestedEventAttributes(Message):
    """Temporal's ``temporal.api.history.v1.ActivityTaskCancelRequestedEventAttributes``."""

    scheduled_event_id: int = 0
    workflow_task_completed_event_id: int = 0


class ActivityTaskCanceledEventAttributes(Message):
    """Temporal's ``temporal.api.history.v1.ActivityTaskCanceledEventAttributes``."""

    details: common_v1.Payloads | None = None
    latest_cancel_requested_event_id: int = 0
    scheduled_event_id: int = 0
    started_event_id: int = 0
    identity: str = ""
    worker_version: common_v1.WorkerVersionStamp | None = None


class ActivityTaskCompletedEventAttributes(Message):
    """Temporal's ``temporal.api.history.v1.ActivityTaskCompletedEventAttributes``."""

    result: common_v1.Payloads | None = None
    scheduled_event_id: int = 0
    started_event_id: int = 0
    identity: str = ""
    worker_version: common_v1.WorkerVersionStamp | None = None


class ActivityTaskFailedEventAttributes(Message):
    """Temporal's ``temporal.api.history.v1.ActivityTaskFailedEventAttributes``."""

    failure: failure_v1.Failure | None = None
    scheduled_event_id: int = 0
    started_event_id: int = 0
    identity: str = ""
    retry_state: int = 0
    worker_version: common_v1.WorkerVersionStamp | None = None
    cause: int = 0


class ActivityTaskScheduledEventAttributes(Message):
    """Temporal's ``temporal.api.history.v1.ActivityTaskScheduledEventAttributes``."""

    activity_id: str = ""
    activity_type: common_v1.ActivityType | None = None
    task_queue: taskqueue_v1.TaskQueue | None = None
    header: common_v1.Header | None = None
    input: common_v1.Payloads | None = None
    schedule_to_close_timeout: int | None = None
    schedule_to_start_timeout: int | None = None
    start_to_close_timeout: int | None = None
    heartbeat_timeout: int | None = None
    workflow_task_completed_event_id: int = 0
    retry_policy: common_v1.RetryPolicy | None = None
    use_workflow_build_id: bool = False
    priority: common_v1.Priority | None = None


class ActivityTaskStartedEventAttributes(Message):
    """Temporal's ``temporal.api.history.v1.ActivityTaskStartedEventAttributes``."""

    scheduled_event_id: int = 0
    identity: str = ""
    request_id: str = ""
    attempt: int = 0
    last_failure: failure_v1.Failure | None = None
    worker_version: common_v1.WorkerVersionStamp | None = None
    build_id_redirect_counter: int = 0


class ActivityTaskTimedOutEventAttributes(Message):
    """Temporal's ``temporal.api.history.v1.ActivityTaskTimedOutEventAttributes``."""

    failure: failure_v1.Failure | None = None
    scheduled_event_id: int = 0
    started_event_id: int = 0
    retry_state: int = 0


class ChildWorkflowExecutionCanceledEventAttributes(Message):
    """Temporal's ``temporal.api.history.v1.ChildWorkflowExecutionCanceledEventAttributes``."""

    details: common_v1.Payloads | None = None
    namespace: str = ""
    workflow_execution: common_v1.WorkflowExecution | None = None
    workflow_type: common_v1.WorkflowType | None = None
    initiated_event_id: int = 0
    started_event_id: int = 0
    namespace_id: str = ""


class ChildWorkflowExecutionCompletedEventAttributes(Message):
    """Temporal's ``temporal.api.history.v1.ChildWorkflowExecutionCompletedEventAttributes``."""

    result: common_v1.Payloads | None = None
    namespace: str = ""
    workflow_execution: common_v1.WorkflowExecution | None = None
    workflow_type: common_v1.WorkflowType | None = None
    initiated_event_id: int = 0
    started_event_id: int = 0
    namespace_id: str = ""


class ChildWorkflowExecutionFailedEventAttributes(Message):
    """Temporal's ``temporal.api.history.v1.ChildWorkflowExecutionFailedEventAttributes``."""

    failure: failure_v1.Failure | None = None
    namespace: str = ""
    workflow_execution: common_v1.WorkflowExecution | None = None
    workflow_type: common_v1.WorkflowType | None = None
    initiated_event_id: int = 0
    started_event_id: int = 0
    retry_state: int = 0
    namespace_id: str = ""


class ChildWorkflowExecutionStartedEventAttributes(Message):
    """Temporal's ``temporal.api.history.v1.ChildWorkflowExecutionStartedEventAttributes``."""

    namespace: str = ""
    initiated_event_id: int = 0
    workflow_execution: common_v1.WorkflowExecution | None = None
    workflow_type: common_v1.WorkflowType | None = None
    header: common_v1.Header | None = None
    namespace_id: str = ""


class ChildWorkflowExecutionTerminatedEventAttributes(Message):
    """Temporal's ``temporal.api.history.v1.ChildWorkflowExecutionTerminatedEventAttributes``."""

    namespace: str = ""
    workflow_execution: common_v1.WorkflowExecution | None = None
    workflow_type: common_v1.WorkflowType | None = None
    initiated_event_id: int = 0
    started_event_id: int = 0
    namespace_id: str = ""


class ChildWorkflowExecutionTimedOutEventAttributes(Message):
    """Temporal's ``temporal.api.history.v1.ChildWorkflowExecutionTimedOutEventAttributes``."""

    namespace: str = ""
    workflow_execution: common_v1.WorkflowExecution | None = None
    workflow_type: common_v1.WorkflowType | None = None
    initiated_event_id: int = 0
    started_event_id: int = 0
    retry_state: int = 0
    namespace_id: str = ""


class DeclinedTargetVersionUpgrade(Message):
    """Temporal's ``temporal.api.history.v1.DeclinedTargetVersionUpgrade``."""

    deployment_version: deployment_v1.WorkerDeploymentVersion | None = None
    revision_number: int = 0


class ExternalWorkflowExecutionCancelRequestedEventAttributes(Message):
    """Temporal's ``temporal.api.history.v1.ExternalWorkflowExecutionCancelRequestedEventAttributes``."""

    initiated_event_id: int = 0
    namespace: str = ""
    workflow_execution: common_v1.WorkflowExecution | None = None
    namespace_id: str = ""


class ExternalWorkflowExecutionSignaledEventAttributes(Message):
    """Temporal's ``temporal.api.history.v1.ExternalWorkflowExecutionSignaledEventAttributes``."""

    initiated_event_id: int = 0
    namespace: str = ""
    workflow_execution: common_v1.WorkflowExecution | None = None
    control: str = ""
    namespace_id: str = ""


class MarkerRecordedEventAttributes(Message):
    """Temporal's ``temporal.api.history.v1.MarkerRecordedEventAttributes``."""

    marker_name: str = ""
    details: dict[str, common_v1.Payloads] = {}
    workflow_task_completed_event_id: int = 0
    header: common_v1.Header | None = None
    failure: failure_v1.Failure | None = None


class NexusOperationCancelRequestCompletedEventAttributes(Message):
    """Temporal's ``temporal.api.history.v1.NexusOperationCancelRequestCompletedEventAttributes``."""

    requested_event_id: int = 0
    workflow_task_completed_event_id: int = 0
    scheduled_event_id: int = 0


class NexusOperationCancelRequestFailedEventAttributes(Message):
    """Temporal's ``temporal.api.history.v1.NexusOperationCancelRequestFailedEventAttributes``."""

    requested_event_id: int = 0
    workflow_task_completed_event_id: int = 0
    failure: failure_v1.Failure | None = None
    scheduled_event_id: int = 0


class NexusOperationCancelRequestedEventAttributes(Message):
    """Temporal's ``temporal.api.history.v1.NexusOperationCancelRequestedEventAttributes``."""

    scheduled_event_id: int = 0
    workflow_task_completed_event_id: int = 0


class NexusOperationCanceledEventAttributes(Message):
    """Temporal's ``temporal.api.history.v1.NexusOperationCanceledEventAttributes``."""

    scheduled_event_id: int = 0
    failure: failure_v1.Failure | None = None
    request_id: str = ""


class NexusOperationCompletedEventAttributes(Message):
    """Temporal's ``temporal.api.history.v1.NexusOperationCompletedEventAttributes``."""

    scheduled_event_id: int = 0
    result: common_v1.Payload | None = None
    request_id: str = ""


class NexusOperationFailedEventAttributes(Message):
    """Temporal's ``temporal.api.history.v1.NexusOperationFailedEventAttributes``."""

    scheduled_event_id: int = 0
    failure: failure_v1.Failure | None = None
    request_id: str = ""


class NexusOperationScheduledEventAttributes(Message):
    """Temporal's ``temporal.api.history.v1.NexusOperationScheduledEventAttributes``."""

    endpoint: str = ""
    service: str = ""
    operation: str = ""
    input: common_v1.Payload | None = None
    schedule_to_close_timeout: int | None = None
    nexus_header: dict[str, str] = {}
    workflow_task_completed_event_id: int = 0
    request_id: str = ""
    endpoint_id: str = ""
    schedule_to_start_timeout: int | None = None
    start_to_close_timeout: int | None = None


class NexusOperationStartedEventAttributes(Message):
    """Temporal's ``temporal.api.history.v1.NexusOperationStartedEventAttributes``."""

    scheduled_event_id: int = 0
    operation_id: str = ""
    request_id: str = ""
    operation_token: str = ""


class NexusOperationTimedOutEventAttributes(Message):
    """Temporal's ``temporal.api.history.v1.NexusOperationTimedOutEventAttributes``."""

    scheduled_event_id: int = 0
    failure: failure_v1.Failure | None = None
    request_id: str = ""


class RequestCancelExternalWorkflowExecutionFailedEventAttributes(Message):
    """Temporal's ``temporal.api.history.v1.RequestCancelExternalWorkflowExecutionFailedEventAttributes``."""

    cause: int = 0
    workflow_task_completed_event_id: int = 0
    namespace: str = ""
    workflow_execution: common_v1.WorkflowExecution | None = None
    initiated_event_id: int = 0
    control: str = ""
    namespace_id: str = ""


class RequestCancelExternalWorkflowExecutionInitiatedEventAttributes(Message):
    """Temporal's ``temporal.api.history.v1.RequestCancelExternalWorkflowExecutionInitiatedEventAttributes``."""

    workflow_task_completed_event_id: int = 0
    namespace: str = ""
    workflow_execution: common_v1.WorkflowExecution | None = None
    control: str = ""
    child_workflow_only: bool = False
    reason: str = ""
    namespace_id: str = ""


class SignalExternalWorkflowExecutionFailedEventAttributes(Message):
    """Temporal's ``temporal.api.history.v1.SignalExternalWorkflowExecutionFailedEventAttributes``."""

    cause: int = 0
    workflow_task_completed_event_id: int = 0
    namespace: str = ""
    workflow_execution: common_v1.WorkflowExecution | None = None
    initiated_event_id: int = 0
    control: str = ""
    namespace_id: str = ""


class SignalExternalWorkflowExecutionInitiatedEventAttributes(Message):
    """Temporal's ``temporal.api.history.v1.SignalExternalWorkflowExecutionInitiatedEventAttributes``."""

    workflow_task_completed_event_id: int = 0
    namespace: str = ""
    workflow_execution: common_v1.WorkflowExecution | None = None
    signal_name: str = ""
    input: common_v1.Payloads | None = None
    control: str = ""
    child_workflow_only: bool = False
    header: common_v1.Header | None = None
    namespace_id: str = ""


class StartChildWorkflowExecutionFailedEventAttributes(Message):
    """Temporal's ``temporal.api.history.v1.StartChildWorkflowExecutionFailedEventAttributes``."""

    namespace: str = ""
    workflow_id: str = ""
    workflow_type: common_v1.WorkflowType | None = None
    cause: int = 0
    control: str = ""
    initiated_event_id: int = 0
    workflow_task_completed_event_id: int = 0
    namespace_id: str = ""


class StartChildWorkflowExecutionInitiatedEventAttributes(Message):
    """Temporal's ``temporal.api.history.v1.StartChildWorkflowExecutionInitiatedEventAttributes``."""

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
    workflow_task_completed_event_id: int = 0
    workflow_id_reuse_policy: int = 0
    retry_policy: common_v1.RetryPolicy | None = None
    cron_schedule: str = ""
    header: common_v1.Header | None = None
    memo: common_v1.Memo | None = None
    search_attributes: common_v1.SearchAttributes | None = None
    namespace_id: str = ""
    inherit_build_id: bool = False
    priority: common_v1.Priority | None = None
    time_skipping_config: common_v1.TimeSkippingConfig | None = None
    time_skipping_state_propagation: common_v1.TimeSkippingStatePropagation | None = None
    versioning_override: workflow_v1.VersioningOverride | None = None


class TimerCanceledEventAttributes(Message):
    """Temporal's ``temporal.api.history.v1.TimerCanceledEventAttributes``."""

    timer_id: str = ""
    started_event_id: int = 0
    workflow_task_completed_event_id: int = 0
    identity: str = ""


class TimerFiredEventAttributes(Message):
    """Temporal's ``temporal.api.history.v1.TimerFiredEventAttributes``."""

    timer_id: str = ""
    started_event_id: int = 0


class TimerStartedEventAttributes(Message):
    """Temporal's ``temporal.api.history.v1.TimerStartedEventAttributes``."""

    timer_id: str = ""
    start_to_fire_timeout: int | None = None
    workflow_task_completed_event_id: int = 0


class UpsertWorkflowSearchAttributesEventAttributes(Message):
    """Temporal's ``temporal.api.history.v1.UpsertWorkflowSearchAttributesEventAttributes``."""

    workflow_task_completed_event_id: int = 0
    search_attributes: common_v1.SearchAttributes | None = None


class WorkflowExecutionCancelRequestedEventAttributes(Message):
    """Temporal's ``temporal.api.history.v1.WorkflowExecutionCancelRequestedEventAttributes``."""

    cause: str = ""
    external_initiated_event_id: int = 0
    external_workflow_execution: common_v1.WorkflowExecution | None = None
    identity: str = ""


class WorkflowExecutionCanceledEventAttributes(Message):
    """Temporal's ``temporal.api.history.v1.WorkflowExecutionCanceledEventAttributes``."""

    workflow_task_completed_event_id: int = 0
    details: common_v1.Payloads | None = None


class WorkflowExecutionCompletedEventAttributes(Message):
    """Temporal's ``temporal.api.history.v1.WorkflowExecutionCompletedEventAttributes``."""

    result: common_v1.Payloads | None = None
    workflow_task_completed_event_id: int = 0
    new_execution_run_id: str = ""


class WorkflowExecutionContinuedAsNewEventAttributes(Message):
    """Temporal's ``temporal.api.history.v1.WorkflowExecutionContinuedAsNewEventAttributes``."""

    new_execution_run_id: str = ""
    workflow_type: common_v1.WorkflowType | None = None
    task_queue: taskqueue_v1.TaskQueue | None = None
    input: common_v1.Payloads | None = None
    workflow_run_timeout: int | None = None
    workflow_task_timeout: int | None = None
    workflow_task_completed_event_id: int = 0
    backoff_start_interval: int | None = None
    initiator: int = 0
    failure: failure_v1.Failure | None = None
    last_completion_result: common_v1.Payloads | None = None
    header: common_v1.Header | None = None
    memo: common_v1.Memo | None = None
    search_attributes: common_v1.SearchAttributes | None = None
    inherit_build_id: bool = False
    initial_versioning_behavior: int = 0


class WorkflowExecutionFailedEventAttributes(Message):
    """Temporal's ``temporal.api.history.v1.WorkflowExecutionFailedEventAttributes``."""

    failure: failure_v1.Failure | None = None
    retry_state: int = 0
    workflow_task_completed_event_id: int = 0
    new_execution_run_id: str = ""


class WorkflowExecutionOptionsUpdatedEventAttributes(Message):
    """Temporal's ``temporal.api.history.v1.WorkflowExecutionOptionsUpdatedEventAttributes``."""

    versioning_override: workflow_v1.VersioningOverride | None = None
    unset_versioning_override: bool = False
    attached_request_id: str = ""
    attached_completion_callbacks: list[common_v1.Callback] = []
    identity: str = ""
    priority: common_v1.Priority | None = None
    time_skipping_config: common_v1.TimeSkippingConfig | None = None
    workflow_update_options: list[WorkflowExecutionOptionsUpdatedEventAttributesWorkflowUpdateOptionsUpdate] = []
    time_skipping_config_updated: bool = False


class WorkflowExecutionOptionsUpdatedEventAttributesWorkflowUpdateOptionsUpdate(Message):
    """Temporal's ``temporal.api.history.v1.WorkflowExecutionOptionsUpdatedEventAttributes.WorkflowUpdateOptionsUpdate``."""

    update_id: str = ""
    attached_request_id: str = ""
    attached_completion_callbacks: list[common_v1.Callback] = []


class WorkflowExecutionPausedEventAttributes(Message):
    """Temporal's ``temporal.api.history.v1.WorkflowExecutionPausedEventAttributes``."""

    identity: str = ""
    reason: str = ""
    request_id: str = ""


class WorkflowExecutionSignaledEventAttributes(Message):
    """Temporal's ``temporal.api.history.v1.WorkflowExecutionSignaledEventAttributes``."""

    signal_name: str = ""
    input: common_v1.Payloads | None = None
    identity: str = ""
    header: common_v1.Header | None = None
    skip_generate_workflow_task: bool = False
    external_workflow_execution: common_v1.WorkflowExecution | None = None
    request_id: str = ""


class WorkflowExecutionStartedEventAttributes(Message):
    """Temporal's ``temporal.api.history.v1.WorkflowExecutionStartedEventAttributes``."""

    workflow_type: common_v1.WorkflowType | None = None
    parent_workflow_namespace: str = ""
    parent_workflow_execution: common_v1.WorkflowExecution | None = None
    parent_initiated_event_id: int = 0
    task_queue: taskqueue_v1.TaskQueue | None = None
    input: common_v1.Payloads | None = None
    workflow_execution_timeout: int | None = None
    workflow_run_timeout: int | None = None
    workflow_task_timeout: int | None = None
    continued_execution_run_id: str = ""
    initiator: int = 0
    continued_failure: failure_v1.Failure | None = None
    last_completion_result: common_v1.Payloads | None = None
    original_execution_run_id: str = ""
    identity: str = ""
    first_execution_run_id: str = ""
    retry_policy: common_v1.RetryPolicy | None = None
    attempt: int = 0
    workflow_execution_expiration_time: int | None = None
    cron_schedule: str = ""
    first_workflow_task_backoff: int | None = None
    memo: common_v1.Memo | None = None
    search_attributes: common_v1.SearchAttributes | None = None
    prev_auto_reset_points: workflow_v1.ResetPoints | None = None
    header: common_v1.Header | None = None
    parent_initiated_event_version: int = 0
    parent_workflow_namespace_id: str = ""
    workflow_id: str = ""
    source_version_stamp: common_v1.WorkerVersionStamp | None = None
    completion_callbacks: list[common_v1.Callback] = []
    root_workflow_execution: common_v1.WorkflowExecution | None = None
    inherited_build_id: str = ""
    versioning_override: workflow_v1.VersioningOverride | None = None
    parent_pinned_worker_deployment_version: str = ""
    priority: common_v1.Priority | None = None
    inherited_pinned_version: deployment_v1.WorkerDeploymentVersion | None = None
    eager_execution_accepted: bool = False
    inherited_auto_upgrade_info: deployment_v1.InheritedAutoUpgradeInfo | None = None
    declined_target_version_upgrade: DeclinedTargetVersionUpgrade | None = None
    time_skipping_config: common_v1.TimeSkippingConfig | None = None
    time_skipping_state_propagation: common_v1.TimeSkippingStatePropagation | None = None
    propagated_nexus_serialization_context: nexus_v1.PropagatedSerializationContext | None = None


class WorkflowExecutionTerminatedEventAttributes(Message):
    """Temporal's ``temporal.api.history.v1.WorkflowExecutionTerminatedEventAttributes``."""

    reason: str = ""
    details: common_v1.Payloads | None = None
    identity: str = ""


class WorkflowExecutionTimeSkippingTransitionedEventAttributes(Message):
    """Temporal's ``temporal.api.history.v1.WorkflowExecutionTimeSkippingTransitionedEventAttributes``."""

    target_time: int | None = None
    disabled_after_fast_forward: bool = False
    wall_clock_time: int | None = None


class WorkflowExecutionTimedOutEventAttributes(Message):
    """Temporal's ``temporal.api.history.v1.WorkflowExecutionTimedOutEventAttributes``."""

    retry_state: int = 0
    new_execution_run_id: str = ""


class WorkflowExecutionUnpausedEventAttributes(Message):
    """Temporal's ``temporal.api.history.v1.WorkflowExecutionUnpausedEventAttributes``."""

    identity: str = ""
    reason: str = ""
    request_id: str = ""


class WorkflowExecutionUpdateAcceptedEventAttributes(Message):
    """Temporal's ``temporal.api.history.v1.WorkflowExecutionUpdateAcceptedEventAttributes``."""

    protocol_instance_id: str = ""
    accepted_request_message_id: str = ""
    accepted_request_sequencing_event_id: int = 0
    accepted_request: update_v1.Request | None = None


class WorkflowExecutionUpdateAdmittedEventAttributes(Message):
    """Temporal's ``temporal.api.history.v1.WorkflowExecutionUpdateAdmittedEventAttributes``."""

    request: update_v1.Request | None = None
    origin: int = 0


class WorkflowExecutionUpdateCompletedEventAttributes(Message):
    """Temporal's ``temporal.api.history.v1.WorkflowExecutionUpdateCompletedEventAttributes``."""

    meta: update_v1.Meta | None = None
    outcome: update_v1.Outcome | None = None
    accepted_event_id: int = 0


class WorkflowExecutionUpdateRejectedEventAttributes(Message):
    """Temporal's ``temporal.api.history.v1.WorkflowExecutionUpdateRejectedEventAttributes``."""

    protocol_instance_id: str = ""
    rejected_request_message_id: str = ""
    rejected_request_sequencing_event_id: int = 0
    rejected_request: update_v1.Request | None = None
    failure: failure_v1.Failure | None = None


class WorkflowPropertiesModifiedEventAttributes(Message):
    """Temporal's ``temporal.api.history.v1.WorkflowPropertiesModifiedEventAttributes``."""

    workflow_task_completed_event_id: int = 0
    upserted_memo: common_v1.Memo | None = None


class WorkflowPropertiesModifiedExternallyEventAttributes(Message):
    """Temporal's ``temporal.api.history.v1.WorkflowPropertiesModifiedExternallyEventAttributes``."""

    new_task_queue: str = ""
    new_workflow_task_timeout: int | None = None
    new_workflow_run_timeout: int | None = None
    new_workflow_execution_timeout: int | None = None
    upserted_memo: common_v1.Memo | None = None


class WorkflowTaskCompletedEventAttributes(Message):
    """Temporal's ``temporal.api.history.v1.WorkflowTaskCompletedEventAttributes``."""

    scheduled_event_id: int = 0
    started_event_id: int = 0
    identity: str = ""
    binary_checksum: str = ""
    worker_version: common_v1.WorkerVersionStamp | None = None
    sdk_metadata: sdk_v1.WorkflowTaskCompletedMetadata | None = None
    deployment: deployment_v1.Deployment | None = None
    versioning_behavior: int = 0
    worker_deployment_version: str = ""
    worker_deployment_name: str = ""
    deployment_version: deployment_v1.WorkerDeploymentVersion | None = None
    metering_metadata: common_v1.MeteringMetadata | None = None


class WorkflowTaskFailedEventAttributes(Message):
    """Temporal's ``temporal.api.history.v1.WorkflowTaskFailedEventAttributes``."""

    scheduled_event_id: int = 0
    started_event_id: int = 0
    cause: int = 0
    failure: failure_v1.Failure | None = None
    identity: str = ""
    base_run_id: str = ""
    new_run_id: str = ""
    fork_event_version: int = 0
    binary_checksum: str = ""
    worker_version: common_v1.WorkerVersionStamp | None = None


class WorkflowTaskScheduledEventAttributes(Message):
    """Temporal's ``temporal.api.history.v1.WorkflowTaskScheduledEventAttributes``."""

    task_queue: taskqueue_v1.TaskQueue | None = None
    start_to_close_timeout: int | None = None
    attempt: int = 0


class WorkflowTaskStartedEventAttributes(Message):
    """Temporal's ``temporal.api.history.v1.WorkflowTaskStartedEventAttributes``."""

    scheduled_event_id: int = 0
    identity: str = ""
    request_id: str = ""
    suggest_continue_as_new: bool = False
    history_size_bytes: int = 0
    worker_version: common_v1.WorkerVersionStamp | None = None
    build_id_redirect_counter: int = 0
    suggest_continue_as_new_reasons: list[int] = []
    target_worker_deployment_version_changed: bool = False


class WorkflowTaskTimedOutEventAttributes(Message):
    """Temporal's ``temporal.api.history.v1.WorkflowTaskTimedOutEventAttributes``."""

    scheduled_event_id: int = 0
    started_event_id: int = 0
    timeout_type: int = 0


class EventExtras(Message):
    """What few events carry besides their attributes; the last fields of ``temporal.api.history.v1.HistoryEvent``."""

    user_metadata: sdk_v1.UserMetadata | None = None
    links: list[common_v1.Link] = []
    event_group_markers: list[sdk_v1.EventGroupMarker] = []
    principal: common_v1.Principal | None = None


class History(Message):
    """Temporal's ``temporal.api.history.v1.History``; its events are :class:`HistoryEvent`\\ s of the native codec."""

    events: list[HistoryEvent] = []


from perdure.api.history import _registry  # noqa: E402  (needs every struct above)

_registry.install()
