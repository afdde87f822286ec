"""Temporal's ``temporal.api.workflowservice.v1``: requests and responses of WorkflowService, one pair per RPC."""

from __future__ import annotations

from perdure.api._message import Message
from perdure.api.activity import v1 as activity_v1
from perdure.api.batch import v1 as batch_v1
from perdure.api.command import v1 as command_v1
from perdure.api.common import v1 as common_v1
from perdure.api.compute import v1 as compute_v1
from perdure.api.deployment import v1 as deployment_v1
from perdure.api.failure import v1 as failure_v1
from perdure.api.filter import v1 as filter_v1
from perdure.api.history import v1 as history_v1
from perdure.api.namespace import v1 as namespace_v1
from perdure.api.nexus import v1 as nexus_v1
from perdure.api.nexusoperation import v1 as nexusoperation_v1
from perdure.api.protocol import v1 as protocol_v1
from perdure.api.query import v1 as query_v1
from perdure.api.replication import v1 as replication_v1
from perdure.api.schedule import v1 as schedule_v1
from perdure.api.sdk import v1 as sdk_v1
from perdure.api.taskqueue import v1 as taskqueue_v1
from perdure.api.update import v1 as update_v1
from perdure.api.worker import v1 as worker_v1
from perdure.api.workflow import v1 as workflow_v1


class CountActivityExecutionsRequest(Message):
    """Temporal's ``temporal.api.workflowservice.v1.CountActivityExecutionsRequest``."""

    namespace: str = ""
    query: str = ""


class CountActivityExecutionsResponse(Message):
    """Temporal's ``temporal.api.workflowservice.v1.CountActivityExecutionsResponse``."""

    count: int = 0
    groups: list[CountActivityExecutionsResponseAggregationGroup] = []


class CountActivityExecutionsResponseAggregationGroup(Message):
    """Temporal's ``temporal.api.workflowservice.v1.CountActivityExecutionsResponse.AggregationGroup``."""

    group_values: list[common_v1.Payload] = []
    count: int = 0


class CountNexusOperationExecutionsRequest(Message):
    """Temporal's ``temporal.api.workflowservice.v1.CountNexusOperationExecutionsRequest``."""

    namespace: str = ""
    query: str = ""


class CountNexusOperationExecutionsResponse(Message):
    """Temporal's ``temporal.api.workflowservice.v1.CountNexusOperationExecutionsResponse``."""

    count: int = 0
    groups: list[CountNexusOperationExecutionsResponseAggregationGroup] = []


class CountNexusOperationExecutionsResponseAggregationGroup(Message):
    """Temporal's ``temporal.api.workflowservice.v1.CountNexusOperationExecutionsResponse.AggregationGroup``."""

    group_values: list[common_v1.Payload] = []
    count: int = 0


class CountSchedulesRequest(Message):
    """Temporal's ``temporal.api.workflowservice.v1.CountSchedulesRequest``."""

    namespace: str = ""
    query: str = ""


class CountSchedulesResponse(Message):
    """Temporal's ``temporal.api.workflowservice.v1.CountSchedulesResponse``."""

    count: int = 0
    groups: list[CountSchedulesResponseAggregationGroup] = []


class CountSchedulesResponseAggregationGroup(Message):
    """Temporal's ``temporal.api.workflowservice.v1.CountSchedulesResponse.AggregationGroup``."""

    group_values: list[common_v1.Payload] = []
    count: int = 0


class CountWorkersRequest(Message):
    """Temporal's ``temporal.api.workflowservice.v1.CountWorkersRequest``."""

    namespace: str = ""
    query: str = ""
    include_system_workers: bool = False


class CountWorkersResponse(Message):
    """Temporal's ``temporal.api.workflowservice.v1.CountWorkersResponse``."""

    count: int = 0


class CountWorkflowExecutionsRequest(Message):
    """Temporal's ``temporal.api.workflowservice.v1.CountWorkflowExecutionsRequest``."""

    namespace: str = ""
    query: str = ""


class CountWorkflowExecutionsResponse(Message):
    """Temporal's ``temporal.api.workflowservice.v1.CountWorkflowExecutionsResponse``."""

    count: int = 0
    groups: list[CountWorkflowExecutionsResponseAggregationGroup] = []


class CountWorkflowExecutionsResponseAggregationGroup(Message):
    """Temporal's ``temporal.api.workflowservice.v1.CountWorkflowExecutionsResponse.AggregationGroup``."""

    group_values: list[common_v1.Payload] = []
    count: int = 0


class CreateScheduleRequest(Message):
    """Temporal's ``temporal.api.workflowservice.v1.CreateScheduleRequest``."""

    namespace: str = ""
    schedule_id: str = ""
    schedule: schedule_v1.Schedule | None = None
    initial_patch: schedule_v1.SchedulePatch | None = None
    identity: str = ""
    request_id: str = ""
    memo: common_v1.Memo | None = None
    search_attributes: common_v1.SearchAttributes | None = None


class CreateScheduleResponse(Message):
    """Temporal's ``temporal.api.workflowservice.v1.CreateScheduleResponse``."""

    conflict_token: bytes = b""


class CreateWorkerDeploymentRequest(Message):
    """Temporal's ``temporal.api.workflowservice.v1.CreateWorkerDeploymentRequest``."""

    namespace: str = ""
    deployment_name: str = ""
    identity: str = ""
    request_id: str = ""


class CreateWorkerDeploymentResponse(Message):
    """Temporal's ``temporal.api.workflowservice.v1.CreateWorkerDeploymentResponse``."""

    conflict_token: bytes = b""


class CreateWorkerDeploymentVersionRequest(Message):
    """Temporal's ``temporal.api.workflowservice.v1.CreateWorkerDeploymentVersionRequest``."""

    namespace: str = ""
    deployment_version: deployment_v1.WorkerDeploymentVersion | None = None
    compute_config: compute_v1.ComputeConfig | None = None
    identity: str = ""
    request_id: str = ""


class CreateWorkerDeploymentVersionResponse(Message):
    """Temporal's ``temporal.api.workflowservice.v1.CreateWorkerDeploymentVersionResponse``."""


class DeleteActivityExecutionRequest(Message):
    """Temporal's ``temporal.api.workflowservice.v1.DeleteActivityExecutionRequest``."""

    namespace: str = ""
    activity_id: str = ""
    run_id: str = ""


class DeleteActivityExecutionResponse(Message):
    """Temporal's ``temporal.api.workflowservice.v1.DeleteActivityExecutionResponse``."""


class DeleteNexusOperationExecutionRequest(Message):
    """Temporal's ``temporal.api.workflowservice.v1.DeleteNexusOperationExecutionRequest``."""

    namespace: str = ""
    operation_id: str = ""
    run_id: str = ""


class DeleteNexusOperationExecutionResponse(Message):
    """Temporal's ``temporal.api.workflowservice.v1.DeleteNexusOperationExecutionResponse``."""


class DeleteScheduleRequest(Message):
    """Temporal's ``temporal.api.workflowservice.v1.DeleteScheduleRequest``."""

    namespace: str = ""
    schedule_id: str = ""
    identity: str = ""


class DeleteScheduleResponse(Message):
    """Temporal's ``temporal.api.workflowservice.v1.DeleteScheduleResponse``."""


class DeleteWorkerDeploymentRequest(Message):
    """Temporal's ``temporal.api.workflowservice.v1.DeleteWorkerDeploymentRequest``."""

    namespace: str = ""
    deployment_name: str = ""
    identity: str = ""


class DeleteWorkerDeploymentResponse(Message):
    """Temporal's ``temporal.api.workflowservice.v1.DeleteWorkerDeploymentResponse``."""


class DeleteWorkerDeploymentVersionRequest(Message):
    """Temporal's ``temporal.api.workflowservice.v1.DeleteWorkerDeploymentVersionRequest``."""

    namespace: str = ""
    version: str = ""
    skip_drainage: bool = False
    identity: str = ""
    deployment_version: deployment_v1.WorkerDeploymentVersion | None = None


class DeleteWorkerDeploymentVersionResponse(Message):
    """Temporal's ``temporal.api.workflowservice.v1.DeleteWorkerDeploymentVersionResponse``."""


class DeleteWorkflowExecutionRequest(Message):
    """Temporal's ``temporal.api.workflowservice.v1.DeleteWorkflowExecutionRequest``."""

    namespace: str = ""
    workflow_execution: common_v1.WorkflowExecution | None = None


class DeleteWorkflowExecutionResponse(Message):
    """Temporal's ``temporal.api.workflowservice.v1.DeleteWorkflowExecutionResponse``."""


class DeprecateNamespaceRequest(Message):
    """Temporal's ``temporal.api.workflowservice.v1.DeprecateNamespaceRequest``."""

    namespace: str = ""
    security_token: str = ""


class DeprecateNamespaceResponse(Message):
    """Temporal's ``temporal.api.workflowservice.v1.DeprecateNamespaceResponse``."""


class DescribeActivityExecutionRequest(Message):
    """Temporal's ``temporal.api.workflowservice.v1.DescribeActivityExecutionRequest``."""

    namespace: str = ""
    activity_id: str = ""
    run_id: str = ""
    include_input: bool = False
    include_outcome: bool = False
    long_poll_token: bytes = b""
    include_heartbeat_details: bool = False
    include_last_failure: bool = False


class DescribeActivityExecutionResponse(Message):
    """Temporal's ``temporal.api.workflowservice.v1.DescribeActivityExecutionResponse``."""

    run_id: str = ""
    info: activity_v1.ActivityExecutionInfo | None = None
    input: common_v1.Payloads | None = None
    outcome: activity_v1.ActivityExecutionOutcome | None = None
    long_poll_token: bytes = b""
    callbacks: list[activity_v1.CallbackInfo] = []


class DescribeBatchOperationRequest(Message):
    """Temporal's ``temporal.api.workflowservice.v1.DescribeBatchOperationRequest``."""

    namespace: str = ""
    job_id: str = ""


class DescribeBatchOperationResponse(Message):
    """Temporal's ``temporal.api.workflowservice.v1.DescribeBatchOperationResponse``."""

    operation_type: int = 0
    job_id: str = ""
    state: int = 0
    start_time: int | None = None
    close_time: int | None = None
    total_operation_count: int = 0
    complete_operation_count: int = 0
    failure_operation_count: int = 0
    identity: str = ""
    reason: str = ""
    query: str = ""
    executions: list[common_v1.Execution] = []


class DescribeNamespaceRequest(Message):
    """Temporal's ``temporal.api.workflowservice.v1.DescribeNamespaceRequest``."""

    namespace: str = ""
    id: str = ""
    weak_consistency: bool = False


class DescribeNamespaceResponse(Message):
    """Temporal's ``temporal.api.workflowservice.v1.DescribeNamespaceResponse``."""

    namespace_info: namespace_v1.NamespaceInfo | None = None
    config: namespace_v1.NamespaceConfig | None = None
    replication_config: replication_v1.NamespaceReplicationConfig | None = None
    failover_version: int = 0
    is_global_namespace: bool = False
    failover_history: list[replication_v1.FailoverStatus] = []
    poller_group_infos: list[taskqueue_v1.PollerGroupInfo] = []
    poller_groups_info: taskqueue_v1.PollerGroupsInfo | None = None


class DescribeNexusOperationExecutionRequest(Message):
    """Temporal's ``temporal.api.workflowservice.v1.DescribeNexusOperationExecutionRequest``."""

    namespace: str = ""
    operation_id: str = ""
    run_id: str = ""
    include_input: bool = False
    include_outcome: bool = False
    long_poll_token: bytes = b""


class DescribeNexusOperationExecutionResponse(Message):
    """Temporal's ``temporal.api.workflowservice.v1.DescribeNexusOperationExecutionResponse``."""

    run_id: str = ""
    info: nexus_v1.NexusOperationExecutionInfo | None = None
    input: common_v1.Payload | None = None
    result: common_v1.Payload | None = None
    failure: failure_v1.Failure | None = None
    long_poll_token: bytes = b""
    completion_callbacks: list[nexusoperation_v1.CallbackInfo] = []


class DescribeScheduleRequest(Message):
    """Temporal's ``temporal.api.workflowservice.v1.DescribeScheduleRequest``."""

    namespace: str = ""
    schedule_id: str = ""


class DescribeScheduleResponse(Message):
    """Temporal's ``temporal.api.workflowservice.v1.DescribeScheduleResponse``."""

    schedule: schedule_v1.Schedule | None = None
    info: schedule_v1.ScheduleInfo | None = None
    memo: common_v1.Memo | None = None
    search_attributes: common_v1.SearchAttributes | None = None
    conflict_token: bytes = b""


class DescribeTaskQueueRequest(Message):
    """Temporal's ``temporal.api.workflowservice.v1.DescribeTaskQueueRequest``."""

    namespace: str = ""
    task_queue: taskqueue_v1.TaskQueue | None = None
    task_queue_type: int = 0
    include_task_queue_status: bool = False
    api_mode: int = 0
    versions: taskqueue_v1.TaskQueueVersionSelection | None = None
    task_queue_types: list[int] = []
    report_stats: bool = False
    report_pollers: bool = False
    report_task_reachability: bool = False
    report_config: bool = False


class DescribeTaskQueueResponse(Message):
    """Temporal's ``temporal.api.workflowservice.v1.DescribeTaskQueueResponse``."""

    pollers: list[taskqueue_v1.PollerInfo] = []
    task_queue_status: taskqueue_v1.TaskQueueStatus | None = None
    versions_info: dict[str, taskqueue_v1.TaskQueueVersionInfo] = {}
    versioning_info: taskqueue_v1.TaskQueueVersioningInfo | None = None
    stats: taskqueue_v1.TaskQueueStats | None = None
    config: taskqueue_v1.TaskQueueConfig | None = None
    effective_rate_limit: DescribeTaskQueueResponseEffectiveRateLimit | None = None
    stats_by_priority_key: dict[int, taskqueue_v1.TaskQueueStats] = {}


class DescribeTaskQueueResponseEffectiveRateLimit(Message):
    """Temporal's ``temporal.api.workflowservice.v1.DescribeTaskQueueResponse.EffectiveRateLimit``."""

    requests_per_second: float = 0.0
    rate_limit_source: int = 0


class DescribeWorkerDeploymentRequest(Message):
    """Temporal's ``temporal.api.workflowservice.v1.DescribeWorkerDeploymentRequest``."""

    namespace: str = ""
    deployment_name: str = ""


class DescribeWorkerDeploymentResponse(Message):
    """Temporal's ``temporal.api.workflowservice.v1.DescribeWorkerDeploymentResponse``."""

    conflict_token: bytes = b""
    worker_deployment_info: deployment_v1.WorkerDeploymentInfo | None = None


class DescribeWorkerDeploymentVersionRequest(Message):
    """Temporal's ``temporal.api.workflowservice.v1.DescribeWorkerDeploymentVersionRequest``."""

    namespace: str = ""
    version: str = ""
    deployment_version: deployment_v1.WorkerDeploymentVersion | None = None
    report_task_queue_stats: bool = False


class DescribeWorkerDeploymentVersionResponse(Message):
    """Temporal's ``temporal.api.workflowservice.v1.DescribeWorkerDeploymentVersionResponse``."""

    worker_deployment_version_info: deployment_v1.WorkerDeploymentVersionInfo | None = None
    version_task_queues: list[DescribeWorkerDeploymentVersionResponseVersionTaskQueue] = []


class DescribeWorkerDeploymentVersionResponseVersionTaskQueue(Message):
    """Temporal's ``temporal.api.workflowservice.v1.DescribeWorkerDeploymentVersionResponse.VersionTaskQueue``."""

    name: str = ""
    type: int = 0
    stats: taskqueue_v1.TaskQueueStats | None = None
    stats_by_priority_key: dict[int, taskqueue_v1.TaskQueueStats] = {}


class DescribeWorkerRequest(Message):
    """Temporal's ``temporal.api.workflowservice.v1.DescribeWorkerRequest``."""

    namespace: str = ""
    worker_instance_key: str = ""


class DescribeWorkerResponse(Message):
    """Temporal's ``temporal.api.workflowservice.v1.DescribeWorkerResponse``."""

    worker_info: worker_v1.WorkerInfo | None = None


class DescribeWorkflowExecutionRequest(Message):
    """Temporal's ``temporal.api.workflowservice.v1.DescribeWorkflowExecutionRequest``."""

    namespace: str = ""
    execution: common_v1.WorkflowExecution | None = None


class DescribeWorkflowExecutionResponse(Message):
    """Temporal's ``temporal.api.workflowservice.v1.DescribeWorkflowExecutionResponse``."""

    execution_config: workflow_v1.WorkflowExecutionConfig | None = None
    workflow_execution_info: workflow_v1.WorkflowExecutionInfo | None = None
    pending_activities: list[workflow_v1.PendingActivityInfo] = []
    pending_children: list[workflow_v1.PendingChildExecutionInfo] = []
    pending_workflow_task: workflow_v1.PendingWorkflowTaskInfo | None = None
    callbacks: list[workflow_v1.CallbackInfo] = []
    pending_nexus_operations: list[workflow_v1.PendingNexusOperationInfo] = []
    workflow_extended_info: workflow_v1.WorkflowExecutionExtendedInfo | None = None


class ExecuteMultiOperationRequest(Message):
    """Temporal's ``temporal.api.workflowservice.v1.ExecuteMultiOperationRequest``."""

    namespace: str = ""
    operations: list[ExecuteMultiOperationRequestOperation] = []
    resource_id: str = ""


class ExecuteMultiOperationRequestOperation(Message):
    """Temporal's ``temporal.api.workflowservice.v1.ExecuteMultiOperationRequest.Operation``: one of its fields is set."""

    start_workflow: StartWorkflowExecutionRequest | None = None
    update_workflow: UpdateWorkflowExecutionRequest | None = None


class ExecuteMultiOperationResponse(Message):
    """Temporal's ``temporal.api.workflowservice.v1.ExecuteMultiOperationResponse``."""

    responses: list[ExecuteMultiOperationResponseResponse] = []


class ExecuteMultiOperationResponseResponse(Message):
    """Temporal's ``temporal.api.workflowservice.v1.ExecuteMultiOperationResponse.Response``: one of its fields is set."""

    start_workflow: StartWorkflowExecutionResponse | None = None
    update_workflow: UpdateWorkflowExecutionResponse | None = None


class GetClusterInfoRequest(Message):
    """Temporal's ``temporal.api.workflowservice.v1.GetClusterInfoRequest``."""


class GetClusterInfoResponse(Message):
    """Temporal's ``temporal.api.workflowservice.v1.GetClusterInfoResponse``."""

    supported_clients: dict[str, str] = {}
    server_version: str = ""
    cluster_id: str = ""
    cluster_name: str = ""
    history_shard_count: int = 0
    persistence_store: str = ""
    visibility_store: str = ""
    initial_failover_version: int = 0
    failover_version_increment: int = 0


class GetSearchAttributesRequest(Message):
    """Temporal's ``temporal.api.workflowservice.v1.GetSearchAttributesRequest``."""


class GetSearchAttributesResponse(Message):
    """Temporal's ``temporal.api.workflowservice.v1.GetSearchAttributesResponse``."""

    keys: dict[str, int] = {}


class GetSystemInfoRequest(Message):
    """Temporal's ``temporal.api.workflowservice.v1.GetSystemInfoRequest``."""


class GetSystemInfoResponse(Message):
    """Temporal's ``temporal.api.workflowservice.v1.GetSystemInfoResponse``."""

    server_version: str = ""
    capabilities: GetSystemInfoResponseCapabilities | None = None


class GetSystemInfoResponseCapabilities(Message):
    """Temporal's ``temporal.api.workflowservice.v1.GetSystemInfoResponse.Capabilities``."""

    signal_and_query_header: bool = False
    internal_error_differentiation: bool = False
    activity_failure_include_heartbeat: bool = False
    supports_schedules: bool = False
    encoded_failure_attributes: bool = False
    build_id_based_versioning: bool = False
    upsert_memo: bool = False
    eager_workflow_start: bool = False
    sdk_metadata: bool = False
    count_group_by_execution_status: bool = False
    nexus: bool = False
    server_scaled_deployments: bool = False
    server_scaled_provider_cloud_run: bool = False


class GetWorkerBuildIdCompatibilityRequest(Message):
    """Temporal's ``temporal.api.workflowservice.v1.GetWorkerBuildIdCompatibilityRequest``."""

    namespace: str = ""
    task_queue: str = ""
    max_sets: int = 0


class GetWorkerBuildIdCompatibilityResponse(Message):
    """Temporal's ``temporal.api.workflowservice.v1.GetWorkerBuildIdCompatibilityResponse``."""

    major_version_sets: list[taskqueue_v1.CompatibleVersionSet] = []


class GetWorkerTaskReachabilityRequest(Message):
    """Temporal's ``temporal.api.workflowservice.v1.GetWorkerTaskReachabilityRequest``."""

    namespace: str = ""
    build_ids: list[str] = []
    task_queues: list[str] = []
    reachability: int = 0


class GetWorkerTaskReachabilityResponse(Message):
    """Temporal's ``temporal.api.workflowservice.v1.GetWorkerTaskReachabilityResponse``."""

    build_id_reachability: list[taskqueue_v1.BuildIdReachability] = []


class GetWorkflowExecutionHistoryRequest(Message):
    """Temporal's ``temporal.api.workflowservice.v1.GetWorkflowExecutionHistoryRequest``."""

    namespace: str = ""
    execution: common_v1.WorkflowExecution | None = None
    maximum_page_size: int = 0
    next_page_token: bytes = b""
    wait_new_event: bool = False
    history_event_filter_type: int = 0
    skip_archival: bool = False


class GetWorkflowExecutionHistoryResponse(Message):
    """Temporal's ``temporal.api.workflowservice.v1.GetWorkflowExecutionHistoryResponse``."""

    history: history_v1.History | None = None
    raw_history: list[common_v1.DataBlob] = []
    next_page_token: bytes = b""
    archived: bool = False
    propagated_nexus_serialization_context: nexus_v1.PropagatedSerializationContext | None = None


class GetWorkflowExecutionHistoryReverseRequest(Message):
    """Temporal's ``temporal.api.workflowservice.v1.GetWorkflowExecutionHistoryReverseRequest``."""

    namespace: str = ""
    execution: common_v1.WorkflowExecution | None = None
    maximum_page_size: int = 0
    next_page_token: bytes = b""


class GetWorkflowExecutionHistoryReverseResponse(Message):
    """Temporal's ``temporal.api.workflowservice.v1.GetWorkflowExecutionHistoryReverseResponse``."""

    history: history_v1.History | None = None
    next_page_token: bytes = b""


class ListActivityExecutionsRequest(Message):
    """Temporal's ``temporal.api.workflowservice.v1.ListActivityExecutionsRequest``."""

    namespace: str = ""
    page_size: int = 0
    next_page_token: bytes = b""
    query: str = ""


class ListActivityExecutionsResponse(Message):
    """Temporal's ``temporal.api.workflowservice.v1.ListActivityExecutionsResponse``."""

    executions: list[activity_v1.ActivityExecutionListInfo] = []
    next_page_token: bytes = b""


class ListArchivedWorkflowExecutionsRequest(Message):
    """Temporal's ``temporal.api.workflowservice.v1.ListArchivedWorkflowExecutionsRequest``."""

    namespace: str = ""
    page_size: int = 0
    next_page_token: bytes = b""
    query: str = ""


class ListArchivedWorkflowExecutionsResponse(Message):
    """Temporal's ``temporal.api.workflowservice.v1.ListArchivedWorkflowExecutionsResponse``."""

    executions: list[workflow_v1.WorkflowExecutionInfo] = []
    next_page_token: bytes = b""


class ListBatchOperationsRequest(Message):
    """Temporal's ``temporal.api.workflowservice.v1.ListBatchOperationsRequest``."""

    namespace: str = ""
    page_size: int = 0
    next_page_token: bytes = b""


class ListBatchOperationsResponse(Message):
    """Temporal's ``temporal.api.workflowservice.v1.ListBatchOperationsResponse``."""

    operation_info: list[batch_v1.BatchOperationInfo] = []
    next_page_token: bytes = b""


class ListClosedWorkflowExecutionsRequest(Message):
    """Temporal's ``temporal.api.workflowservice.v1.ListClosedWorkflowExecutionsRequest``."""

    namespace: str = ""
    maximum_page_size: int = 0
    next_page_token: bytes = b""
    start_time_filter: filter_v1.StartTimeFilter | None = None
    execution_filter: filter_v1.WorkflowExecutionFilter | None = None
    type_filter: filter_v1.WorkflowTypeFilter | None = None
    status_filter: filter_v1.StatusFilter | None = None


class ListClosedWorkflowExecutionsResponse(Message):
    """Temporal's ``temporal.api.workflowservice.v1.ListClosedWorkflowExecutionsResponse``."""

    executions: list[workflow_v1.WorkflowExecutionInfo] = []
    next_page_token: bytes = b""


class ListNamespacesRequest(Message):
    """Temporal's ``temporal.api.workflowservice.v1.ListNamespacesRequest``."""

    page_size: int = 0
    next_page_token: bytes = b""
    namespace_filter: namespace_v1.NamespaceFilter | None = None


class ListNamespacesResponse(Message):
    """Temporal's ``temporal.api.workflowservice.v1.ListNamespacesResponse``."""

    namespaces: list[DescribeNamespaceResponse] = []
    next_page_token: bytes = b""


class ListNexusOperationExecutionsRequest(Message):
    """Temporal's ``temporal.api.workflowservice.v1.ListNexusOperationExecutionsRequest``."""

    namespace: str = ""
    page_size: int = 0
    next_page_token: bytes = b""
    query: str = ""


class ListNexusOperationExecutionsResponse(Message):
    """Temporal's ``temporal.api.workflowservice.v1.ListNexusOperationExecutionsResponse``."""

    operations: list[nexus_v1.NexusOperationExecutionListInfo] = []
    next_page_token: bytes = b""


class ListOpenWorkflowExecutionsRequest(Message):
    """Temporal's ``temporal.api.workflowservice.v1.ListOpenWorkflowExecutionsRequest``."""

    namespace: str = ""
    maximum_page_size: int = 0
    next_page_token: bytes = b""
    start_time_filter: filter_v1.StartTimeFilter | None = None
    execution_filter: filter_v1.WorkflowExecutionFilter | None = None
    type_filter: filter_v1.WorkflowTypeFilter | None = None


class ListOpenWorkflowExecutionsResponse(Message):
    """Temporal's ``temporal.api.workflowservice.v1.ListOpenWorkflowExecutionsResponse``."""

    executions: list[workflow_v1.WorkflowExecutionInfo] = []
    next_page_token: bytes = b""


class ListScheduleMatchingTimesRequest(Message):
    """Temporal's ``temporal.api.workflowservice.v1.ListScheduleMatchingTimesRequest``."""

    namespace: str = ""
    schedule_id: str = ""
    start_time: int | None = None
    end_time: int | None = None


class ListScheduleMatchingTimesResponse(Message):
    """Temporal's ``temporal.api.workflowservice.v1.ListScheduleMatchingTimesResponse``."""

    start_time: list[int] = []


class ListSchedulesRequest(Message):
    """Temporal's ``temporal.api.workflowservice.v1.ListSchedulesRequest``."""

    namespace: str = ""
    maximum_page_size: int = 0
    next_page_token: bytes = b""
    query: str = ""


class ListSchedulesResponse(Message):
    """Temporal's ``temporal.api.workflowservice.v1.ListSchedulesResponse``."""

    schedules: list[schedule_v1.ScheduleListEntry] = []
    next_page_token: bytes = b""


class ListTaskQueuePartitionsRequest(Message):
    """Temporal's ``temporal.api.workflowservice.v1.ListTaskQueuePartitionsRequest``."""

    namespace: str = ""
    task_queue: taskqueue_v1.TaskQueue | None = None


class ListTaskQueuePartitionsResponse(Message):
    """Temporal's ``temporal.api.workflowservice.v1.ListTaskQueuePartitionsResponse``."""

    activity_task_queue_partitions: list[taskqueue_v1.TaskQueuePartitionMetadata] = []
    workflow_task_queue_partitions: list[taskqueue_v1.TaskQueuePartitionMetadata] = []


class ListWorkerDeploymentsRequest(Message):
    """Temporal's ``temporal.api.workflowservice.v1.ListWorkerDeploymentsRequest``."""

    namespace: str = ""
    page_size: int = 0
    next_page_token: bytes = b""


class ListWorkerDeploymentsResponse(Message):
    """Temporal's ``temporal.api.workflowservice.v1.ListWorkerDeploymentsResponse``."""

    next_page_token: bytes = b""
    worker_deployments: list[ListWorkerDeploymentsResponseWorkerDeploymentSummary] = []


class ListWorkerDeploymentsResponseWorkerDeploymentSummary(Message):
    """Temporal's ``temporal.api.workflowservice.v1.ListWorkerDeploymentsResponse.WorkerDeploymentSummary``."""

    name: str = ""
    create_time: int | None = None
    routing_config: deployment_v1.RoutingConfig | None = None
    latest_version_summary: deployment_v1.WorkerDeploymentInfoWorkerDeploymentVersionSummary | None = None
    current_version_summary: deployment_v1.WorkerDeploymentInfoWorkerDeploymentVersionSummary | None = None
    ramping_version_summary: deployment_v1.WorkerDeploymentInfoWorkerDeploymentVersionSummary | None = None


class ListWorkersRequest(Message):
    """Temporal's ``temporal.api.workflowservice.v1.ListWorkersRequest``."""

    namespace: str = ""
    page_size: int = 0
    next_page_token: bytes = b""
    query: str = ""
    include_system_workers: bool = False


class ListWorkersResponse(Message):
    """Temporal's ``temporal.api.workflowservice.v1.ListWorkersResponse``."""

    workers_info: list[worker_v1.WorkerInfo] = []
    workers: list[worker_v1.WorkerListInfo] = []
    next_page_token: bytes = b""


class ListWorkflowExecutionsRequest(Message):
    """Temporal's ``temporal.api.workflowservice.v1.ListWorkflowExecutionsRequest``."""

    namespace: str = ""
    page_size: int = 0
    next_page_token: bytes = b""
    query: str = ""


class ListWorkflowExecutionsResponse(Message):
    """Temporal's ``temporal.api.workflowservice.v1.ListWorkflowExecutionsResponse``."""

    executions: list[workflow_v1.WorkflowExecutionInfo] = []
    next_page_token: bytes = b""


class PatchScheduleRequest(Message):
    """Temporal's ``temporal.api.workflowservice.v1.PatchScheduleRequest``."""

    namespace: str = ""
    schedule_id: str = ""
    patch: schedule_v1.SchedulePatch | None = None
    identity: str = ""
    request_id: str = ""


class PatchScheduleResponse(Message):
    """Temporal's ``temporal.api.workflowservice.v1.PatchScheduleResponse``."""


class PauseActivityExecutionRequest(Message):
    """Temporal's ``temporal.api.workflowservice.v1.PauseActivityExecutionRequest``."""

    namespace: str = ""
    workflow_id: str = ""
    activity_id: str = ""
    run_id: str = ""
    identity: str = ""
    reason: str = ""
    resource_id: str = ""
    request_id: str = ""


class PauseActivityExecutionResponse(Message):
    """Temporal's ``temporal.api.workflowservice.v1.PauseActivityExecutionResponse``."""


class PauseActivityRequest(Message):
    """Temporal's ``temporal.api.workflowservice.v1.PauseActivityRequest``."""

    namespace: str = ""
    execution: common_v1.WorkflowExecution | None = None
    identity: str = ""
    id: str | None = None
    type: str | None = None
    reason: str = ""
    request_id: str = ""


class PauseActivityResponse(Message):
    """Temporal's ``temporal.api.workflowservice.v1.PauseActivityResponse``."""


class PauseWorkflowExecutionRequest(Message):
    """Temporal's ``temporal.api.workflowservice.v1.PauseWorkflowExecutionRequest``."""

    namespace: str = ""
    workflow_id: str = ""
    run_id: str = ""
    identity: str = ""
    reason: str = ""
    request_id: str = ""


class PauseWorkflowExecutionResponse(Message):
    """Temporal's ``temporal.api.workflowservice.v1.PauseWorkflowExecutionResponse``."""


class PollActivityExecutionRequest(Message):
    """Temporal's ``temporal.api.workflowservice.v1.PollActivityExecutionRequest``."""

    namespace: str = ""
    activity_id: str = ""
    run_id: str = ""


class PollActivityExecutionResponse(Message):
    """Temporal's ``temporal.api.workflowservice.v1.PollActivityExecutionResponse``."""

    run_id: str = ""
    outcome: activity_v1.ActivityExecutionOutcome | None = None
    propagated_nexus_serialization_context: nexus_v1.PropagatedSerializationContext | None = None


class PollActivityTaskQueueRequest(Message):
    """Temporal's ``temporal.api.workflowservice.v1.PollActivityTaskQueueRequest``."""

    namespace: str = ""
    task_queue: taskqueue_v1.TaskQueue | None = None
    identity: str = ""
    task_queue_metadata: taskqueue_v1.TaskQueueMetadata | None = None
    worker_version_capabilities: common_v1.WorkerVersionCapabilities | None = None
    deployment_options: deployment_v1.WorkerDeploymentOptions | None = None
    worker_instance_key: str = ""
    worker_control_task_queue: str = ""
    poller_group_id: str = ""


class PollActivityTaskQueueResponse(Message):
    """Temporal's ``temporal.api.workflowservice.v1.PollActivityTaskQueueResponse``."""

    task_token: bytes = b""
    workflow_namespace: str = ""
    workflow_type: common_v1.WorkflowType | None = None
    workflow_execution: common_v1.WorkflowExecution | None = None
    activity_type: common_v1.ActivityType | None = None
    activity_id: str = ""
    header: common_v1.Header | None = None
    input: common_v1.Payloads | None = None
    heartbeat_details: common_v1.Payloads | None = None
    scheduled_time: int | None = None
    current_attempt_scheduled_time: int | None = None
    started_time: int | None = None
    attempt: int = 0
    schedule_to_close_timeout: int | None = None
    start_to_close_timeout: int | None = None
    heartbeat_timeout: int | None = None
    retry_policy: common_v1.RetryPolicy | None = None
    poller_scaling_decision: taskqueue_v1.PollerScalingDecision | None = None
    priority: common_v1.Priority | None = None
    activity_run_id: str = ""
    poller_group_infos: list[taskqueue_v1.PollerGroupInfo] = []
    poller_groups_info: taskqueue_v1.PollerGroupsInfo | None = None
    propagated_nexus_serialization_context: nexus_v1.PropagatedSerializationContext | None = None


class PollNexusOperationExecutionRequest(Message):
    """Temporal's ``temporal.api.workflowservice.v1.PollNexusOperationExecutionRequest``."""

    namespace: str = ""
    operation_id: str = ""
    run_id: str = ""
    wait_stage: int = 0


class PollNexusOperationExecutionResponse(Message):
    """Temporal's ``temporal.api.workflowservice.v1.PollNexusOperationExecutionResponse``."""

    run_id: str = ""
    wait_stage: int = 0
    operation_token: str = ""
    result: common_v1.Payload | None = None
    failure: failure_v1.Failure | None = None
    propagated_nexus_serialization_context: nexus_v1.PropagatedSerializationContext | None = None


class PollNexusTaskQueueRequest(Message):
    """Temporal's ``temporal.api.workflowservice.v1.PollNexusTaskQueueRequest``."""

    namespace: str = ""
    identity: str = ""
    task_queue: taskqueue_v1.TaskQueue | None = None
    worker_version_capabilities: common_v1.WorkerVersionCapabilities | None = None
    deployment_options: deployment_v1.WorkerDeploymentOptions | None = None
    worker_heartbeat: list[worker_v1.WorkerHeartbeat] = []
    worker_instance_key: str = ""
    poller_group_id: str = ""


class PollNexusTaskQueueResponse(Message):
    """Temporal's ``temporal.api.workflowservice.v1.PollNexusTaskQueueResponse``."""

    task_token: bytes = b""
    request: nexus_v1.Request | None = None
    poller_scaling_decision: taskqueue_v1.PollerScalingDecision | None = None
    poller_group_id: str = ""
    poller_group_infos: list[taskqueue_v1.PollerGroupInfo] = []
    poller_groups_info: taskqueue_v1.PollerGroupsInfo | None = None


class PollWorkflowExecutionUpdateRequest(Message):
    """Temporal's ``temporal.api.workflowservice.v1.PollWorkflowExecutionUpdateRequest``."""

    namespace: str = ""
    update_ref: update_v1.UpdateRef | None = None
    identity: str = ""
    wait_policy: update_v1.WaitPolicy | None = None


class PollWorkflowExecutionUpdateResponse(Message):
    """Temporal's ``temporal.api.workflowservice.v1.PollWorkflowExecutionUpdateResponse``."""

    outcome: update_v1.Outcome | None = None
    stage: int = 0
    update_ref: update_v1.UpdateRef | None = None


class PollWorkflowTaskQueueRequest(Message):
    """Temporal's ``temporal.api.workflowservice.v1.PollWorkflowTaskQueueRequest``."""

    namespace: str = ""
    task_queue: taskqueue_v1.TaskQueue | None = None
    identity: str = ""
    binary_checksum: str = ""
    worker_version_capabilities: common_v1.WorkerVersionCapabilities | None = None
    deployment_options: deployment_v1.WorkerDeploymentOptions | None = None
    worker_instance_key: str = ""
    worker_control_task_queue: str = ""
    poller_group_id: str = ""


class PollWorkflowTaskQueueResponse(Message):
    """Temporal's ``temporal.api.workflowservice.v1.PollWorkflowTaskQueueResponse``."""

    task_token: bytes = b""
    workflow_execution: common_v1.WorkflowExecution | None = None
    workflow_type: common_v1.WorkflowType | None = None
    previous_started_event_id: int = 0
    started_event_id: int = 0
    attempt: int = 0
    backlog_count_hint: int = 0
    history: history_v1.History | None = None
    next_page_token: bytes = b""
    query: query_v1.WorkflowQuery | None = None
    workflow_execution_task_queue: taskqueue_v1.TaskQueue | None = None
    scheduled_time: int | None = None
    started_time: int | None = None
    queries: dict[str, query_v1.WorkflowQuery] = {}
    messages: list[protocol_v1.Message] = []
    poller_scaling_decision: taskqueue_v1.PollerScalingDecision | None = None
    poller_group_id: str = ""
    poller_group_infos: list[taskqueue_v1.PollerGroupInfo] = []
    poller_groups_info: taskqueue_v1.PollerGroupsInfo | None = None


class QueryWorkflowRequest(Message):
    """Temporal's ``temporal.api.workflowservice.v1.QueryWorkflowRequest``."""

    namespace: str = ""
    execution: common_v1.WorkflowExecution | None = None
    query: query_v1.WorkflowQuery | None = None
    query_reject_condition: int = 0


class QueryWorkflowResponse(Message):
    """Temporal's ``temporal.api.workflowservice.v1.QueryWorkflowResponse``."""

    query_result: common_v1.Payloads | None = None
    query_rejected: query_v1.QueryRejected | None = None
    link: common_v1.Link | None = None


class RecordActivityTaskHeartbeatByIdRequest(Message):
    """Temporal's ``temporal.api.workflowservice.v1.RecordActivityTaskHeartbeatByIdRequest``."""

    namespace: str = ""
    workflow_id: str = ""
    run_id: str = ""
    activity_id: str = ""
    details: common_v1.Payloads | None = None
    identity: str = ""
    resource_id: str = ""


class RecordActivityTaskHeartbeatByIdResponse(Message):
    """Temporal's ``temporal.api.workflowservice.v1.RecordActivityTaskHeartbeatByIdResponse``."""

    cancel_requested: bool = False
    activity_paused: bool = False
    activity_reset: bool = False


class RecordActivityTaskHeartbeatRequest(Message):
    """Temporal's ``temporal.api.workflowservice.v1.RecordActivityTaskHeartbeatRequest``."""

    task_token: bytes = b""
    details: common_v1.Payloads | None = None
    identity: str = ""
    namespace: str = ""
    resource_id: str = ""


class RecordActivityTaskHeartbeatResponse(Message):
    """Temporal's ``temporal.api.workflowservice.v1.RecordActivityTaskHeartbeatResponse``."""

    cancel_requested: bool = False
    activity_paused: bool = False
    activity_reset: bool = False


class RecordWorkerHeartbeatRequest(Message):
    """Temporal's ``temporal.api.workflowservice.v1.RecordWorkerHeartbeatRequest``."""

    namespace: str = ""
    identity: str = ""
    worker_heartbeat: list[worker_v1.WorkerHeartbeat] = []
    resource_id: str = ""


class RecordWorkerHeartbeatResponse(Message):
    """Temporal's ``temporal.api.workflowservice.v1.RecordWorkerHeartbeatResponse``."""


class RegisterNamespaceRequest(Message):
    """Temporal's ``temporal.api.workflowservice.v1.RegisterNamespaceRequest``."""

    namespace: str = ""
    description: str = ""
    owner_email: str = ""
    workflow_execution_retention_period: int | None = None
    clusters: list[replication_v1.ClusterReplicationConfig] = []
    active_cluster_name: str = ""
    data: dict[str, str] = {}
    security_token: str = ""
    is_global_namespace: bool = False
    history_archival_state: int = 0
    history_archival_uri: str = ""
    visibility_archival_state: int = 0
    visibility_archival_uri: str = ""


class RegisterNamespaceResponse(Message):
    """Temporal's ``temporal.api.workflowservice.v1.RegisterNamespaceResponse``."""


class RequestCancelActivityExecutionRequest(Message):
    """Temporal's ``temporal.api.workflowservice.v1.RequestCancelActivityExecutionRequest``."""

    namespace: str = ""
    activity_id: str = ""
    run_id: str = ""
    identity: str = ""
    request_id: str = ""
    reason: str = ""


class RequestCancelActivityExecutionResponse(Message):
    """Temporal's ``temporal.api.workflowservice.v1.RequestCancelActivityExecutionResponse``."""


class RequestCancelNexusOperationExecutionRequest(Message):
    """Temporal's ``temporal.api.workflowservice.v1.RequestCancelNexusOperationExecutionRequest``."""

    namespace: str = ""
    operation_id: str = ""
    run_id: str = ""
    identity: str = ""
    request_id: str = ""
    reason: str = ""


class RequestCancelNexusOperationExecutionResponse(Message):
    """Temporal's ``temporal.api.workflowservice.v1.RequestCancelNexusOperationExecutionResponse``."""


class RequestCancelWorkflowExecutionRequest(Message):
    """Temporal's ``temporal.api.workflowservice.v1.RequestCancelWorkflowExecutionRequest``."""

    namespace: str = ""
    workflow_execution: common_v1.WorkflowExecution | None = None
    identity: str = ""
    request_id: str = ""
    first_execution_run_id: str = ""
    reason: str = ""
    links: list[common_v1.Link] = []


class RequestCancelWorkflowExecutionResponse(Message):
    """Temporal's ``temporal.api.workflowservice.v1.RequestCancelWorkflowExecutionResponse``."""


class ResetActivityExecutionRequest(Message):
    """Temporal's ``temporal.api.workflowservice.v1.ResetActivityExecutionRequest``."""

    namespace: str = ""
    workflow_id: str = ""
    activity_id: str = ""
    run_id: str = ""
    identity: str = ""
    keep_paused: bool = False
    jitter: int | None = None
    restore_original_options: bool = False
    resource_id: str = ""
    request_id: str = ""
    reset_heartbeat: bool = False


class ResetActivityExecutionResponse(Message):
    """Temporal's ``temporal.api.workflowservice.v1.ResetActivityExecutionResponse``."""


class ResetActivityRequest(Message):
    """Temporal's ``temporal.api.workflowservice.v1.ResetActivityRequest``."""

    namespace: str = ""
    execution: common_v1.WorkflowExecution | None = None
    identity: str = ""
    id: str | None = None
    type: str | None = None
    reset_heartbeat: bool = False
    keep_paused: bool = False
    jitter: int | None = None
    restore_original_options: bool = False
    match_all: bool | None = None


class ResetActivityResponse(Message):
    """Temporal's ``temporal.api.workflowservice.v1.ResetActivityResponse``."""


class ResetStickyTaskQueueRequest(Message):
    """Temporal's ``temporal.api.workflowservice.v1.ResetStickyTaskQueueRequest``."""

    namespace: str = ""
    execution: common_v1.WorkflowExecution | None = None


class ResetStickyTaskQueueResponse(Message):
    """Temporal's ``temporal.api.workflowservice.v1.ResetStickyTaskQueueResponse``."""


class ResetWorkflowExecutionRequest(Message):
    """Temporal's ``temporal.api.workflowservice.v1.ResetWorkflowExecutionRequest``."""

    namespace: str = ""
    workflow_execution: common_v1.WorkflowExecution | None = None
    reason: str = ""
    workflow_task_finish_event_id: int = 0
    request_id: str = ""
    reset_reapply_type: int = 0
    reset_reapply_exclude_types: list[int] = []
    post_reset_operations: list[workflow_v1.PostResetOperation] = []
    identity: str = ""


class ResetWorkflowExecutionResponse(Message):
    """Temporal's ``temporal.api.workflowservice.v1.ResetWorkflowExecutionResponse``."""

    run_id: str = ""


class RespondActivityTaskCanceledByIdRequest(Message):
    """Temporal's ``temporal.api.workflowservice.v1.RespondActivityTaskCanceledByIdRequest``."""

    namespace: str = ""
    workflow_id: str = ""
    run_id: str = ""
    activity_id: str = ""
    details: common_v1.Payloads | None = None
    identity: str = ""
    deployment_options: deployment_v1.WorkerDeploymentOptions | None = None
    resource_id: str = ""


class RespondActivityTaskCanceledByIdResponse(Message):
    """Temporal's ``temporal.api.workflowservice.v1.RespondActivityTaskCanceledByIdResponse``."""


class RespondActivityTaskCanceledRequest(Message):
    """Temporal's ``temporal.api.workflowservice.v1.RespondActivityTaskCanceledRequest``."""

    task_token: bytes = b""
    details: common_v1.Payloads | None = None
    identity: str = ""
    namespace: str = ""
    worker_version: common_v1.WorkerVersionStamp | None = None
    deployment: deployment_v1.Deployment | None = None
    deployment_options: deployment_v1.WorkerDeploymentOptions | None = None
    resource_id: str = ""


class RespondActivityTaskCanceledResponse(Message):
    """Temporal's ``temporal.api.workflowservice.v1.RespondActivityTaskCanceledResponse``."""


class RespondActivityTaskCompletedByIdRequest(Message):
    """Temporal's ``temporal.api.workflowservice.v1.RespondActivityTaskCompletedByIdRequest``."""

    namespace: str = ""
    workflow_id: str = ""
    run_id: str = ""
    activity_id: str = ""
    result: common_v1.Payloads | None = None
    identity: str = ""
    resource_id: str = ""


class RespondActivityTaskCompletedByIdResponse(Message):
    """Temporal's ``temporal.api.workflowservice.v1.RespondActivityTaskCompletedByIdResponse``."""


class RespondActivityTaskCompletedRequest(Message):
    """Temporal's ``temporal.api.workflowservice.v1.RespondActivityTaskCompletedRequest``."""

    task_token: bytes = b""
    result: common_v1.Payloads | None = None
    identity: str = ""
    namespace: str = ""
    worker_version: common_v1.WorkerVersionStamp | None = None
    deployment: deployment_v1.Deployment | None = None
    deployment_options: deployment_v1.WorkerDeploymentOptions | None = None
    resource_id: str = ""


class RespondActivityTaskCompletedResponse(Message):
    """Temporal's ``temporal.api.workflowservice.v1.RespondActivityTaskCompletedResponse``."""


class RespondActivityTaskFailedByIdRequest(Message):
    """Temporal's ``temporal.api.workflowservice.v1.RespondActivityTaskFailedByIdRequest``."""

    namespace: str = ""
    workflow_id: str = ""
    run_id: str = ""
    activity_id: str = ""
    failure: failure_v1.Failure | None = None
    identity: str = ""
    last_heartbeat_details: common_v1.Payloads | None = None
    resource_id: str = ""
    cause: int = 0


class RespondActivityTaskFailedByIdResponse(Message):
    """Temporal's ``temporal.api.workflowservice.v1.RespondActivityTaskFailedByIdResponse``."""

    failures: list[failure_v1.Failure] = []


class RespondActivityTaskFailedRequest(Message):
    """Temporal's ``temporal.api.workflowservice.v1.RespondActivityTaskFailedRequest``."""

    task_token: bytes = b""
    failure: failure_v1.Failure | None = None
    identity: str = ""
    namespace: str = ""
    last_heartbeat_details: common_v1.Payloads | None = None
    worker_version: common_v1.WorkerVersionStamp | None = None
    deployment: deployment_v1.Deployment | None = None
    deployment_options: deployment_v1.WorkerDeploymentOptions | None = None
    resource_id: str = ""
    cause: int = 0


class RespondActivityTaskFailedResponse(Message):
    """Temporal's ``temporal.api.workflowservice.v1.RespondActivityTaskFailedResponse``."""

    failures: list[failure_v1.Failure] = []


class RespondNexusTaskCompletedRequest(Message):
    """Temporal's ``temporal.api.workflowservice.v1.RespondNexusTaskCompletedRequest``."""

    namespace: str = ""
    identity: str = ""
    task_token: bytes = b""
    response: nexus_v1.Response | None = None
    poller_group_id: str = ""


class RespondNexusTaskCompletedResponse(Message):
    """Temporal's ``temporal.api.workflowservice.v1.RespondNexusTaskCompletedResponse``."""


class RespondNexusTaskFailedRequest(Message):
    """Temporal's ``temporal.api.workflowservice.v1.RespondNexusTaskFailedRequest``."""

    namespace: str = ""
    identity: str = ""
    task_token: bytes = b""
    error: nexus_v1.HandlerError | None = None
    failure: failure_v1.Failure | None = None
    poller_group_id: str = ""


class RespondNexusTaskFailedResponse(Message):
    """Temporal's ``temporal.api.workflowservice.v1.RespondNexusTaskFailedResponse``."""


class RespondQueryTaskCompletedRequest(Message):
    """Temporal's ``temporal.api.workflowservice.v1.RespondQueryTaskCompletedRequest``."""

    task_token: bytes = b""
    completed_type: int = 0
    query_result: common_v1.Payloads | None = None
    error_message: str = ""
    namespace: str = ""
    failure: failure_v1.Failure | None = None
    cause: int = 0
    poller_group_id: str = ""


class RespondQueryTaskCompletedResponse(Message):
    """Temporal's ``temporal.api.workflowservice.v1.RespondQueryTaskCompletedResponse``."""


class RespondWorkflowTaskCompletedRequest(Message):
    """Temporal's ``temporal.api.workflowservice.v1.RespondWorkflowTaskCompletedRequest``."""

    task_token: bytes = b""
    commands: list[command_v1.Command] = []
    identity: str = ""
    sticky_attributes: taskqueue_v1.StickyExecutionAttributes | None = None
    return_new_workflow_task: bool = False
    force_create_new_workflow_task: bool = False
    binary_checksum: str = ""
    query_results: dict[str, query_v1.WorkflowQueryResult] = {}
    namespace: str = ""
    worker_version_stamp: common_v1.WorkerVersionStamp | None = None
    messages: list[protocol_v1.Message] = []
    sdk_metadata: sdk_v1.WorkflowTaskCompletedMetadata | None = None
    metering_metadata: common_v1.MeteringMetadata | None = None
    capabilities: RespondWorkflowTaskCompletedRequestCapabilities | None = None
    deployment: deployment_v1.Deployment | None = None
    versioning_behavior: int = 0
    deployment_options: deployment_v1.WorkerDeploymentOptions | None = None
    resource_id: str = ""
    worker_instance_key: str = ""
    worker_control_task_queue: str = ""
    page_number: int = 0
    intermediate_page: bool = False


class RespondWorkflowTaskCompletedRequestCapabilities(Message):
    """Temporal's ``temporal.api.workflowservice.v1.RespondWorkflowTaskCompletedRequest.Capabilities``."""

    discard_speculative_workflow_task_with_events: bool = False


class RespondWorkflowTaskCompletedResponse(Message):
    """Temporal's ``temporal.api.workflowservice.v1.RespondWorkflowTaskCompletedResponse``."""

    workflow_task: PollWorkflowTaskQueueResponse | None = None
    activity_tasks: list[PollActivityTaskQueueResponse] = []
    reset_history_event_id: int = 0


class RespondWorkflowTaskFailedRequest(Message):
    """Temporal's ``temporal.api.workflowservice.v1.RespondWorkflowTaskFailedRequest``."""

    task_token: bytes = b""
    cause: int = 0
    failure: failure_v1.Failure | None = None
    identity: str = ""
    binary_checksum: str = ""
    namespace: str = ""
    messages: list[protocol_v1.Message] = []
    worker_version: common_v1.WorkerVersionStamp | None = None
    deployment: deployment_v1.Deployment | None = None
    deployment_options: deployment_v1.WorkerDeploymentOptions | None = None
    resource_id: str = ""


class RespondWorkflowTaskFailedResponse(Message):
    """Temporal's ``temporal.api.workflowservice.v1.RespondWorkflowTaskFailedResponse``."""


class ScanWorkflowExecutionsRequest(Message):
    """Temporal's ``temporal.api.workflowservice.v1.ScanWorkflowExecutionsRequest``."""

    namespace: str = ""
    page_size: int = 0
    next_page_token: bytes = b""
    query: str = ""


class ScanWorkflowExecutionsResponse(Message):
    """Temporal's ``temporal.api.workflowservice.v1.ScanWorkflowExecutionsResponse``."""

    executions: list[workflow_v1.WorkflowExecutionInfo] = []
    next_page_token: bytes = b""


class SetWorkerDeploymentCurrentVersionRequest(Message):
    """Temporal's ``temporal.api.workflowservice.v1.SetWorkerDeploymentCurrentVersionRequest``."""

    namespace: str = ""
    deployment_name: str = ""
    version: str = ""
    conflict_token: bytes = b""
    identity: str = ""
    ignore_missing_task_queues: bool = False
    build_id: str = ""
    allow_no_pollers: bool = False


class SetWorkerDeploymentCurrentVersionResponse(Message):
    """Temporal's ``temporal.api.workflowservice.v1.SetWorkerDeploymentCurrentVersionResponse``."""

    conflict_token: bytes = b""
    previous_version: str = ""
    previous_deployment_version: deployment_v1.WorkerDeploymentVersion | None = None


class SetWorkerDeploymentManagerRequest(Message):
    """Temporal's ``temporal.api.workflowservice.v1.SetWorkerDeploymentManagerRequest``."""

    namespace: str = ""
    deployment_name: str = ""
    manager_identity: str | None = None
    self: bool | None = None
    conflict_token: bytes = b""
    identity: str = ""


class SetWorkerDeploymentManagerResponse(Message):
    """Temporal's ``temporal.api.workflowservice.v1.SetWorkerDeploymentManagerResponse``."""

    conflict_token: bytes = b""
    previous_manager_identity: str = ""


class SetWorkerDeploymentRampingVersionRequest(Message):
    """Temporal's ``temporal.api.workflowservice.v1.SetWorkerDeploymentRampingVersionRequest``."""

    namespace: str = ""
    deployment_name: str = ""
    version: str = ""
    percentage: float = 0.0
    conflict_token: bytes = b""
    identity: str = ""
    ignore_missing_task_queues: bool = False
    build_id: str = ""
    allow_no_pollers: bool = False


class SetWorkerDeploymentRampingVersionResponse(Message):
    """Temporal's ``temporal.api.workflowservice.v1.SetWorkerDeploymentRampingVersionResponse``."""

    conflict_token: bytes = b""
    previous_version: str = ""
    previous_percentage: float = 0.0
    previous_deployment_version: deployment_v1.WorkerDeploymentVersion | None = None


class ShutdownWorkerRequest(Message):
    """Temporal's ``temporal.api.workflowservice.v1.ShutdownWorkerRequest``."""

    namespace: str = ""
    sticky_task_queue: str = ""
    identity: str = ""
    reason: str = ""
    worker_heartbeat: worker_v1.WorkerHeartbeat | None = None
    worker_instance_key: str = ""
    task_queue: str = ""
    task_queue_types: list[int] = []


class ShutdownWorkerResponse(Message):
    """Temporal's ``temporal.api.workflowservice.v1.ShutdownWorkerResponse``."""


class SignalWithStartWorkflowExecutionRequest(Message):
    """Temporal's ``temporal.api.workflowservice.v1.SignalWithStartWorkflowExecutionRequest``."""

    namespace: str = ""
    workflow_id: str = ""
    workflow_type: common_v1.WorkflowType | None = None
    task_queue: taskqueue_v1.TaskQueue | None = None
    input: common_v1.Payloads | None = None
    workflow_execution_timeout: int | None = None
    workflow_run_timeout: int | None = None
    workflow_task_timeout: int | None = None
    identity: str = ""
    request_id: str = ""
    workflow_id_reuse_policy: int = 0
    signal_name: str = ""
    signal_input: common_v1.Payloads | None = None
    control: str = ""
    retry_policy: common_v1.RetryPolicy | None = None
    cron_schedule: str = ""
    memo: common_v1.Memo | None = None
    search_attributes: common_v1.SearchAttributes | None = None
    header: common_v1.Header | None = None
    workflow_start_delay: int | None = None
    workflow_id_conflict_policy: int = 0
    user_metadata: sdk_v1.UserMetadata | None = None
    links: list[common_v1.Link] = []
    versioning_override: workflow_v1.VersioningOverride | None = None
    priority: common_v1.Priority | None = None
    time_skipping_config: common_v1.TimeSkippingConfig | None = None


class SignalWithStartWorkflowExecutionResponse(Message):
    """Temporal's ``temporal.api.workflowservice.v1.SignalWithStartWorkflowExecutionResponse``."""

    run_id: str = ""
    started: bool = False
    signal_link: common_v1.Link | None = None
    first_execution_run_id: str = ""


class SignalWorkflowExecutionRequest(Message):
    """Temporal's ``temporal.api.workflowservice.v1.SignalWorkflowExecutionRequest``."""

    namespace: str = ""
    workflow_execution: common_v1.WorkflowExecution | None = None
    signal_name: str = ""
    input: common_v1.Payloads | None = None
    identity: str = ""
    request_id: str = ""
    control: str = ""
    header: common_v1.Header | None = None
    links: list[common_v1.Link] = []


class SignalWorkflowExecutionResponse(Message):
    """Temporal's ``temporal.api.workflowservice.v1.SignalWorkflowExecutionResponse``."""

    link: common_v1.Link | None = None


class StartActivityExecutionRequest(Message):
    """Temporal's ``temporal.api.workflowservice.v1.StartActivityExecutionRequest``."""

    namespace: str = ""
    identity: str = ""
    request_id: str = ""
    activity_id: str = ""
    activity_type: common_v1.ActivityType | None = None
    task_queue: taskqueue_v1.TaskQueue | None = None
    schedule_to_close_timeout: int | None = None
    schedule_to_start_timeout: int | None = None
    start_to_close_timeout: int | None = None
    heartbeat_timeout: int | None = None
    retry_policy: common_v1.RetryPolicy | None = None
    input: common_v1.Payloads | None = None
    id_reuse_policy: int = 0
    id_conflict_policy: int = 0
    search_attributes: common_v1.SearchAttributes | None = None
    header: common_v1.Header | None = None
    user_metadata: sdk_v1.UserMetadata | None = None
    priority: common_v1.Priority | None = None
    completion_callbacks: list[common_v1.Callback] = []
    links: list[common_v1.Link] = []
    on_conflict_options: common_v1.OnConflictOptions | None = None
    start_delay: int | None = None
    propagated_nexus_serialization_context: nexus_v1.PropagatedSerializationContext | None = None
    request_eager_execution: bool = False


class StartActivityExecutionResponse(Message):
    """Temporal's ``temporal.api.workflowservice.v1.StartActivityExecutionResponse``."""

    run_id: str = ""
    started: bool = False
    link: common_v1.Link | None = None
    eager_activity_task: PollActivityTaskQueueResponse | None = None


class StartBatchOperationRequest(Message):
    """Temporal's ``temporal.api.workflowservice.v1.StartBatchOperationRequest``."""

    namespace: str = ""
    visibility_query: str = ""
    job_id: str = ""
    reason: str = ""
    executions: list[common_v1.WorkflowExecution] = []
    target_executions: list[common_v1.Execution] = []
    max_operations_per_second: float = 0.0
    termination_operation: batch_v1.BatchOperationTermination | None = None
    signal_operation: batch_v1.BatchOperationSignal | None = None
    cancellation_operation: batch_v1.BatchOperationCancellation | None = None
    deletion_operation: batch_v1.BatchOperationDeletion | None = None
    reset_operation: batch_v1.BatchOperationReset | None = None
    update_workflow_options_operation: batch_v1.BatchOperationUpdateWorkflowExecutionOptions | None = None
    unpause_activities_operation: batch_v1.BatchOperationUnpauseActivities | None = None
    reset_activities_operation: batch_v1.BatchOperationResetActivities | None = None
    update_activity_options_operation: batch_v1.BatchOperationUpdateActivityOptions | None = None
    cancel_activities_operation: batch_v1.BatchOperationCancelActivities | None = None
    terminate_activities_operation: batch_v1.BatchOperationTerminateActivities | None = None
    delete_activities_operation: batch_v1.BatchOperationDeleteActivities | None = None


class StartBatchOperationResponse(Message):
    """Temporal's ``temporal.api.workflowservice.v1.StartBatchOperationResponse``."""


class StartNexusOperationExecutionRequest(Message):
    """Temporal's ``temporal.api.workflowservice.v1.StartNexusOperationExecutionRequest``."""

    namespace: str = ""
    identity: str = ""
    request_id: str = ""
    operation_id: str = ""
    endpoint: str = ""
    service: str = ""
    operation: str = ""
    schedule_to_close_timeout: int | None = None
    schedule_to_start_timeout: int | None = None
    start_to_close_timeout: int | None = None
    input: common_v1.Payload | None = None
    id_reuse_policy: int = 0
    id_conflict_policy: int = 0
    search_attributes: common_v1.SearchAttributes | None = None
    nexus_header: dict[str, str] = {}
    user_metadata: sdk_v1.UserMetadata | None = None
    on_conflict_options: nexusoperation_v1.OnConflictOptions | None = None
    completion_callbacks: list[common_v1.Callback] = []
    links: list[common_v1.Link] = []


class StartNexusOperationExecutionResponse(Message):
    """Temporal's ``temporal.api.workflowservice.v1.StartNexusOperationExecutionResponse``."""

    run_id: str = ""
    started: bool = False


class StartWorkflowExecutionRequest(Message):
    """Temporal's ``temporal.api.workflowservice.v1.StartWorkflowExecutionRequest``."""

    namespace: str = ""
    workflow_id: str = ""
    workflow_type: common_v1.WorkflowType | None = None
    task_queue: taskqueue_v1.TaskQueue | None = None
    input: common_v1.Payloads | None = None
    workflow_execution_timeout: int | None = None
    workflow_run_timeout: int | None = None
    workflow_task_timeout: int | None = None
    identity: str = ""
    request_id: str = ""
    workflow_id_reuse_policy: int = 0
    retry_policy: common_v1.RetryPolicy | None = None
    cron_schedule: str = ""
    memo: common_v1.Memo | None = None
    search_attributes: common_v1.SearchAttributes | None = None
    header: common_v1.Header | None = None
    request_eager_execution: bool = False
    continued_failure: failure_v1.Failure | None = None
    last_completion_result: common_v1.Payloads | None = None
    workflow_start_delay: int | None = None
    completion_callbacks: list[common_v1.Callback] = []
    workflow_id_conflict_policy: int = 0
    user_metadata: sdk_v1.UserMetadata | None = None
    links: list[common_v1.Link] = []
    versioning_override: workflow_v1.VersioningOverride | None = None
    on_conflict_options: workflow_v1.OnConflictOptions | None = None
    priority: common_v1.Priority | None = None
    eager_worker_deployment_options: deployment_v1.WorkerDeploymentOptions | None = None
    time_skipping_config: common_v1.TimeSkippingConfig | None = None
    propagated_nexus_serialization_context: nexus_v1.PropagatedSerializationContext | None = None


class StartWorkflowExecutionResponse(Message):
    """Temporal's ``temporal.api.workflowservice.v1.StartWorkflowExecutionResponse``."""

    run_id: str = ""
    eager_workflow_task: PollWorkflowTaskQueueResponse | None = None
    started: bool = False
    link: common_v1.Link | None = None
    status: int = 0
    first_execution_run_id: str = ""


class StopBatchOperationRequest(Message):
    """Temporal's ``temporal.api.workflowservice.v1.StopBatchOperationRequest``."""

    namespace: str = ""
    job_id: str = ""
    reason: str = ""
    identity: str = ""


class StopBatchOperationResponse(Message):
    """Temporal's ``temporal.api.workflowservice.v1.StopBatchOperationResponse``."""


class TerminateActivityExecutionRequest(Message):
    """Temporal's ``temporal.api.workflowservice.v1.TerminateActivityExecutionRequest``."""

    namespace: str = ""
    activity_id: str = ""
    run_id: str = ""
    identity: str = ""
    request_id: str = ""
    reason: str = ""


class TerminateActivityExecutionResponse(Message):
    """Temporal's ``temporal.api.workflowservice.v1.TerminateActivityExecutionResponse``."""


class TerminateNexusOperationExecutionRequest(Message):
    """Temporal's ``temporal.api.workflowservice.v1.TerminateNexusOperationExecutionRequest``."""

    namespace: str = ""
    operation_id: str = ""
    run_id: str = ""
    identity: str = ""
    request_id: str = ""
    reason: str = ""


class TerminateNexusOperationExecutionResponse(Message):
    """Temporal's ``temporal.api.workflowservice.v1.TerminateNexusOperationExecutionResponse``."""


class TerminateWorkflowExecutionRequest(Message):
    """Temporal's ``temporal.api.workflowservice.v1.TerminateWorkflowExecutionRequest``."""

    namespace: str = ""
    workflow_execution: common_v1.WorkflowExecution | None = None
    reason: str = ""
    details: common_v1.Payloads | None = None
    identity: str = ""
    first_execution_run_id: str = ""
    links: list[common_v1.Link] = []


class TerminateWorkflowExecutionResponse(Message):
    """Temporal's ``temporal.api.workflowservice.v1.TerminateWorkflowExecutionResponse``."""


class UnpauseActivityExecutionRequest(Message):
    """Temporal's ``temporal.api.workflowservice.v1.UnpauseActivityExecutionRequest``."""

    namespace: str = ""
    workflow_id: str = ""
    activity_id: str = ""
    run_id: str = ""
    identity: str = ""
    reason: str = ""
    jitter: int | None = None
    resource_id: str = ""
    request_id: str = ""


class UnpauseActivityExecutionResponse(Message):
    """Temporal's ``temporal.api.workflowservice.v1.UnpauseActivityExecutionResponse``."""


class UnpauseActivityRequest(Message):
    """Temporal's ``temporal.api.workflowservice.v1.UnpauseActivityRequest``."""

    namespace: str = ""
    execution: common_v1.WorkflowExecution | None = None
    identity: str = ""
    id: str | None = None
    type: str | None = None
    unpause_all: bool | None = None
    reset_attempts: bool = False
    reset_heartbeat: bool = False
    jitter: int | None = None


class UnpauseActivityResponse(Message):
    """Temporal's ``temporal.api.workflowservice.v1.UnpauseActivityResponse``."""


class UnpauseWorkflowExecutionRequest(Message):
    """Temporal's ``temporal.api.workflowservice.v1.UnpauseWorkflowExecutionRequest``."""

    namespace: str = ""
    workflow_id: str = ""
    run_id: str = ""
    identity: str = ""
    reason: str = ""
    request_id: str = ""


class UnpauseWorkflowExecutionResponse(Message):
    """Temporal's ``temporal.api.workflowservice.v1.UnpauseWorkflowExecutionResponse``."""


class UpdateActivityExecutionOptionsRequest(Message):
    """Temporal's ``temporal.api.workflowservice.v1.UpdateActivityExecutionOptionsRequest``."""

    namespace: str = ""
    workflow_id: str = ""
    activity_id: str = ""
    run_id: str = ""
    identity: str = ""
    activity_options: activity_v1.ActivityOptions | None = None
    update_mask: list[str] | None = None
    restore_original: bool = False
    resource_id: str = ""
    request_id: str = ""


class UpdateActivityExecutionOptionsResponse(Message):
    """Temporal's ``temporal.api.workflowservice.v1.UpdateActivityExecutionOptionsResponse``."""

    activity_options: activity_v1.ActivityOptions | None = None


class UpdateActivityOptionsRequest(Message):
    """Temporal's ``temporal.api.workflowservice.v1.UpdateActivityOptionsRequest``."""

    namespace: str = ""
    execution: common_v1.WorkflowExecution | None = None
    identity: str = ""
    activity_options: activity_v1.ActivityOptions | None = None
    update_mask: list[str] | None = None
    id: str | None = None
    type: str | None = None
    restore_original: bool = False
    match_all: bool | None = None


class UpdateActivityOptionsResponse(Message):
    """Temporal's ``temporal.api.workflowservice.v1.UpdateActivityOptionsResponse``."""

    activity_options: activity_v1.ActivityOptions | None = None


class UpdateNamespaceRequest(Message):
    """Temporal's ``temporal.api.workflowservice.v1.UpdateNamespaceRequest``."""

    namespace: str = ""
    update_info: namespace_v1.UpdateNamespaceInfo | None = None
    config: namespace_v1.NamespaceConfig | None = None
    replication_config: replication_v1.NamespaceReplicationConfig | None = None
    security_token: str = ""
    delete_bad_binary: str = ""
    promote_namespace: bool = False


class UpdateNamespaceResponse(Message):
    """Temporal's ``temporal.api.workflowservice.v1.UpdateNamespaceResponse``."""

    namespace_info: namespace_v1.NamespaceInfo | None = None
    config: namespace_v1.NamespaceConfig | None = None
    replication_config: replication_v1.NamespaceReplicationConfig | None = None
    failover_version: int = 0
    is_global_namespace: bool = False


class UpdateScheduleRequest(Message):
    """Temporal's ``temporal.api.workflowservice.v1.UpdateScheduleRequest``."""

    namespace: str = ""
    schedule_id: str = ""
    schedule: schedule_v1.Schedule | None = None
    conflict_token: bytes = b""
    identity: str = ""
    request_id: str = ""
    search_attributes: common_v1.SearchAttributes | None = None
    memo: common_v1.Memo | None = None


class UpdateScheduleResponse(Message):
    """Temporal's ``temporal.api.workflowservice.v1.UpdateScheduleResponse``."""


class UpdateTaskQueueConfigRequest(Message):
    """Temporal's ``temporal.api.workflowservice.v1.UpdateTaskQueueConfigRequest``."""

    namespace: str = ""
    identity: str = ""
    task_queue: str = ""
    task_queue_type: int = 0
    update_queue_rate_limit: UpdateTaskQueueConfigRequestRateLimitUpdate | None = None
    update_fairness_key_rate_limit_default: UpdateTaskQueueConfigRequestRateLimitUpdate | None = None
    set_fairness_weight_overrides: dict[str, float] = {}
    unset_fairness_weight_overrides: list[str] = []


class UpdateTaskQueueConfigRequestRateLimitUpdate(Message):
    """Temporal's ``temporal.api.workflowservice.v1.UpdateTaskQueueConfigRequest.RateLimitUpdate``."""

    rate_limit: taskqueue_v1.RateLimit | None = None
    reason: str = ""


class UpdateTaskQueueConfigResponse(Message):
    """Temporal's ``temporal.api.workflowservice.v1.UpdateTaskQueueConfigResponse``."""

    config: taskqueue_v1.TaskQueueConfig | None = None


class UpdateWorkerBuildIdCompatibilityRequest(Message):
    """Temporal's ``temporal.api.workflowservice.v1.UpdateWorkerBuildIdCompatibilityRequest``."""

    namespace: str = ""
    task_queue: str = ""
    add_new_build_id_in_new_default_set: str | None = None
    add_new_compatible_build_id: UpdateWorkerBuildIdCompatibilityRequestAddNewCompatibleVersion | None = None
    promote_set_by_build_id: str | None = None
    promote_build_id_within_set: str | None = None
    merge_sets: UpdateWorkerBuildIdCompatibilityRequestMergeSets | None = None


class UpdateWorkerBuildIdCompatibilityRequestAddNewCompatibleVersion(Message):
    """Temporal's ``temporal.api.workflowservice.v1.UpdateWorkerBuildIdCompatibilityRequest.AddNewCompatibleVersion``."""

    new_build_id: str = ""
    existing_compatible_build_id: str = ""
    make_set_default: bool = False


class UpdateWorkerBuildIdCompatibilityRequestMergeSets(Message):
    """Temporal's ``temporal.api.workflowservice.v1.UpdateWorkerBuildIdCompatibilityRequest.MergeSets``."""

    primary_set_build_id: str = ""
    secondary_set_build_id: str = ""


class UpdateWorkerBuildIdCompatibilityResponse(Message):
    """Temporal's ``temporal.api.workflowservice.v1.UpdateWorkerBuildIdCompatibilityResponse``."""


class UpdateWorkerDeploymentVersionMetadataRequest(Message):
    """Temporal's ``temporal.api.workflowservice.v1.UpdateWorkerDeploymentVersionMetadataRequest``."""

    namespace: str = ""
    version: str = ""
    upsert_entries: dict[str, common_v1.Payload] = {}
    remove_entries: list[str] = []
    deployment_version: deployment_v1.WorkerDeploymentVersion | None = None
    identity: str = ""


class UpdateWorkerDeploymentVersionMetadataResponse(Message):
    """Temporal's ``temporal.api.workflowservice.v1.UpdateWorkerDeploymentVersionMetadataResponse``."""

    metadata: deployment_v1.VersionMetadata | None = None


class UpdateWorkflowExecutionOptionsRequest(Message):
    """Temporal's ``temporal.api.workflowservice.v1.UpdateWorkflowExecutionOptionsRequest``."""

    namespace: str = ""
    workflow_execution: common_v1.WorkflowExecution | None = None
    workflow_execution_options: workflow_v1.WorkflowExecutionOptions | None = None
    update_mask: list[str] | None = None
    identity: str = ""


class UpdateWorkflowExecutionOptionsResponse(Message):
    """Temporal's ``temporal.api.workflowservice.v1.UpdateWorkflowExecutionOptionsResponse``."""

    workflow_execution_options: workflow_v1.WorkflowExecutionOptions | None = None
    update_time: int | None = None


class UpdateWorkflowExecutionRequest(Message):
    """Temporal's ``temporal.api.workflowservice.v1.UpdateWorkflowExecutionRequest``."""

    namespace: str = ""
    workflow_execution: common_v1.WorkflowExecution | None = None
    first_execution_run_id: str = ""
    wait_policy: update_v1.WaitPolicy | None = None
    request: update_v1.Request | None = None


class UpdateWorkflowExecutionResponse(Message):
    """Temporal's ``temporal.api.workflowservice.v1.UpdateWorkflowExecutionResponse``."""

    update_ref: update_v1.UpdateRef | None = None
    outcome: update_v1.Outcome | None = None
    stage: int = 0
    link: common_v1.Link | None = None
