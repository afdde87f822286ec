"""The service protocol. Requests and responses are the structs of ``perdure.api.workflowservice.v1``."""

from __future__ import annotations

from collections.abc import Coroutine, Mapping
from datetime import timedelta
from typing import Any, Protocol

from perdure.api.workflowservice import v1 as ws
from perdure.service._activity_service import ActivityService
from perdure.service._deployment_service import DeploymentService
from perdure.service._namespace_service import NamespaceService
from perdure.service._nexus_service import NexusService
from perdure.service._schedule_service import ScheduleService
from perdure.service._worker_service import WorkerService


class WorkflowService(
    ActivityService, DeploymentService, NamespaceService, NexusService, ScheduleService, WorkerService, Protocol
):
    """Temporal's WorkflowService. Every method raises :class:`RPCError`, and nothing else, for a refused request.

    ``timeout`` bounds the whole call (DEADLINE_EXCEEDED after it); long polls answer empty shortly before it ends.
    ``metadata`` are headers for homes that have a wire; in process they are ignored.
    A cancelled poll loses no task.

    The methods on the hot path are plain functions that return a coroutine, so that a home may save a frame.
    """

    #: True when tasks are handed over in this process's memory and need no poll round trips.
    in_process: bool

    def start_workflow_execution(
        self,
        request: ws.StartWorkflowExecutionRequest,
        *,
        metadata: Mapping[str, str | bytes] | None = None,
        timeout: timedelta | None = None,
    ) -> Coroutine[Any, Any, ws.StartWorkflowExecutionResponse]:
        """Temporal's StartWorkflowExecution."""
        ...

    async def signal_with_start_workflow_execution(
        self,
        request: ws.SignalWithStartWorkflowExecutionRequest,
        *,
        metadata: Mapping[str, str | bytes] | None = None,
        timeout: timedelta | None = None,
    ) -> ws.SignalWithStartWorkflowExecutionResponse:
        """Temporal's SignalWithStartWorkflowExecution."""
        ...

    async def signal_workflow_execution(
        self,
        request: ws.SignalWorkflowExecutionRequest,
        *,
        metadata: Mapping[str, str | bytes] | None = None,
        timeout: timedelta | None = None,
    ) -> ws.SignalWorkflowExecutionResponse:
        """Temporal's SignalWorkflowExecution."""
        ...

    async def query_workflow(
        self,
        request: ws.QueryWorkflowRequest,
        *,
        metadata: Mapping[str, str | bytes] | None = None,
        timeout: timedelta | None = None,
    ) -> ws.QueryWorkflowResponse:
        """Temporal's QueryWorkflow."""
        ...

    async def request_cancel_workflow_execution(
        self,
        request: ws.RequestCancelWorkflowExecutionRequest,
        *,
        metadata: Mapping[str, str | bytes] | None = None,
        timeout: timedelta | None = None,
    ) -> ws.RequestCancelWorkflowExecutionResponse:
        """Temporal's RequestCancelWorkflowExecution."""
        ...

    async def terminate_workflow_execution(
        self,
        request: ws.TerminateWorkflowExecutionRequest,
        *,
        metadata: Mapping[str, str | bytes] | None = None,
        timeout: timedelta | None = None,
    ) -> ws.TerminateWorkflowExecutionResponse:
        """Temporal's TerminateWorkflowExecution."""
        ...

    async def describe_workflow_execution(
        self,
        request: ws.DescribeWorkflowExecutionRequest,
        *,
        metadata: Mapping[str, str | bytes] | None = None,
        timeout: timedelta | None = None,
    ) -> ws.DescribeWorkflowExecutionResponse:
        """Temporal's DescribeWorkflowExecution."""
        ...

    async def list_workflow_executions(
        self,
        request: ws.ListWorkflowExecutionsRequest,
        *,
        metadata: Mapping[str, str | bytes] | None = None,
        timeout: timedelta | None = None,
    ) -> ws.ListWorkflowExecutionsResponse:
        """Temporal's ListWorkflowExecutions."""
        ...

    async def count_workflow_executions(
        self,
        request: ws.CountWorkflowExecutionsRequest,
        *,
        metadata: Mapping[str, str | bytes] | None = None,
        timeout: timedelta | None = None,
    ) -> ws.CountWorkflowExecutionsResponse:
        """Temporal's CountWorkflowExecutions."""
        ...

    def get_workflow_execution_history(
        self,
        request: ws.GetWorkflowExecutionHistoryRequest,
        *,
        metadata: Mapping[str, str | bytes] | None = None,
        timeout: timedelta | None = None,
    ) -> Coroutine[Any, Any, ws.GetWorkflowExecutionHistoryResponse]:
        """Temporal's GetWorkflowExecutionHistory."""
        ...

    async def get_workflow_execution_history_reverse(
        self,
        request: ws.GetWorkflowExecutionHistoryReverseRequest,
        *,
        metadata: Mapping[str, str | bytes] | None = None,
        timeout: timedelta | None = None,
    ) -> ws.GetWorkflowExecutionHistoryReverseResponse:
        """Temporal's GetWorkflowExecutionHistoryReverse."""
        ...

    async def reset_workflow_execution(
        self,
        request: ws.ResetWorkflowExecutionRequest,
        *,
        metadata: Mapping[str, str | bytes] | None = None,
        timeout: timedelta | None = None,
    ) -> ws.ResetWorkflowExecutionResponse:
        """Temporal's ResetWorkflowExecution."""
        ...

    async def delete_workflow_execution(
        self,
        request: ws.DeleteWorkflowExecutionRequest,
        *,
        metadata: Mapping[str, str | bytes] | None = None,
        timeout: timedelta | None = None,
    ) -> ws.DeleteWorkflowExecutionResponse:
        """Temporal's DeleteWorkflowExecution."""
        ...

    async def execute_multi_operation(
        self,
        request: ws.ExecuteMultiOperationRequest,
        *,
        metadata: Mapping[str, str | bytes] | None = None,
        timeout: timedelta | None = None,
    ) -> ws.ExecuteMultiOperationResponse:
        """Temporal's ExecuteMultiOperation."""
        ...

    async def update_workflow_execution(
        self,
        request: ws.UpdateWorkflowExecutionRequest,
        *,
        metadata: Mapping[str, str | bytes] | None = None,
        timeout: timedelta | None = None,
    ) -> ws.UpdateWorkflowExecutionResponse:
        """Temporal's UpdateWorkflowExecution."""
        ...

    async def poll_workflow_execution_update(
        self,
        request: ws.PollWorkflowExecutionUpdateRequest,
        *,
        metadata: Mapping[str, str | bytes] | None = None,
        timeout: timedelta | None = None,
    ) -> ws.PollWorkflowExecutionUpdateResponse:
        """Temporal's PollWorkflowExecutionUpdate."""
        ...

    def poll_workflow_task_queue(
        self,
        request: ws.PollWorkflowTaskQueueRequest,
        *,
        metadata: Mapping[str, str | bytes] | None = None,
        timeout: timedelta | None = None,
    ) -> Coroutine[Any, Any, ws.PollWorkflowTaskQueueResponse]:
        """Temporal's PollWorkflowTaskQueue."""
        ...

    def respond_workflow_task_completed(
        self,
        request: ws.RespondWorkflowTaskCompletedRequest,
        *,
        metadata: Mapping[str, str | bytes] | None = None,
        timeout: timedelta | None = None,
    ) -> Coroutine[Any, Any, ws.RespondWorkflowTaskCompletedResponse]:
        """Temporal's RespondWorkflowTaskCompleted."""
        ...

    async def respond_workflow_task_failed(
        self,
        request: ws.RespondWorkflowTaskFailedRequest,
        *,
        metadata: Mapping[str, str | bytes] | None = None,
        timeout: timedelta | None = None,
    ) -> ws.RespondWorkflowTaskFailedResponse:
        """Temporal's RespondWorkflowTaskFailed."""
        ...

    async def respond_query_task_completed(
        self,
        request: ws.RespondQueryTaskCompletedRequest,
        *,
        metadata: Mapping[str, str | bytes] | None = None,
        timeout: timedelta | None = None,
    ) -> ws.RespondQueryTaskCompletedResponse:
        """Temporal's RespondQueryTaskCompleted."""
        ...

    def poll_activity_task_queue(
        self,
        request: ws.PollActivityTaskQueueRequest,
        *,
        metadata: Mapping[str, str | bytes] | None = None,
        timeout: timedelta | None = None,
    ) -> Coroutine[Any, Any, ws.PollActivityTaskQueueResponse]:
        """Temporal's PollActivityTaskQueue."""
        ...

    async def record_activity_task_heartbeat(
        self,
        request: ws.RecordActivityTaskHeartbeatRequest,
        *,
        metadata: Mapping[str, str | bytes] | None = None,
        timeout: timedelta | None = None,
    ) -> ws.RecordActivityTaskHeartbeatResponse:
        """Temporal's RecordActivityTaskHeartbeat."""
        ...

    async def record_activity_task_heartbeat_by_id(
        self,
        request: ws.RecordActivityTaskHeartbeatByIdRequest,
        *,
        metadata: Mapping[str, str | bytes] | None = None,
        timeout: timedelta | None = None,
    ) -> ws.RecordActivityTaskHeartbeatByIdResponse:
        """Temporal's RecordActivityTaskHeartbeatById."""
        ...

    def respond_activity_task_completed(
        self,
        request: ws.RespondActivityTaskCompletedRequest,
        *,
        metadata: Mapping[str, str | bytes] | None = None,
        timeout: timedelta | None = None,
    ) -> Coroutine[Any, Any, ws.RespondActivityTaskCompletedResponse]:
        """Temporal's RespondActivityTaskCompleted."""
        ...

    async def respond_activity_task_completed_by_id(
        self,
        request: ws.RespondActivityTaskCompletedByIdRequest,
        *,
        metadata: Mapping[str, str | bytes] | None = None,
        timeout: timedelta | None = None,
    ) -> ws.RespondActivityTaskCompletedByIdResponse:
        """Temporal's RespondActivityTaskCompletedById."""
        ...

    async def respond_activity_task_failed(
        self,
        request: ws.RespondActivityTaskFailedRequest,
        *,
        metadata: Mapping[str, str | bytes] | None = None,
        timeout: timedelta | None = None,
    ) -> ws.RespondActivityTaskFailedResponse:
        """Temporal's RespondActivityTaskFailed."""
        ...

    async def respond_activity_task_failed_by_id(
        self,
        request: ws.RespondActivityTaskFailedByIdRequest,
        *,
        metadata: Mapping[str, str | bytes] | None = None,
        timeout: timedelta | None = None,
    ) -> ws.RespondActivityTaskFailedByIdResponse:
        """Temporal's RespondActivityTaskFailedById."""
        ...

    async def respond_activity_task_canceled(
        self,
        request: ws.RespondActivityTaskCanceledRequest,
        *,
        metadata: Mapping[str, str | bytes] | None = None,
        timeout: timedelta | None = None,
    ) -> ws.RespondActivityTaskCanceledResponse:
        """Temporal's RespondActivityTaskCanceled."""
        ...

    async def respond_activity_task_canceled_by_id(
        self,
        request: ws.RespondActivityTaskCanceledByIdRequest,
        *,
        metadata: Mapping[str, str | bytes] | None = None,
        timeout: timedelta | None = None,
    ) -> ws.RespondActivityTaskCanceledByIdResponse:
        """Temporal's RespondActivityTaskCanceledById."""
        ...

    async def reset_sticky_task_queue(
        self,
        request: ws.ResetStickyTaskQueueRequest,
        *,
        metadata: Mapping[str, str | bytes] | None = None,
        timeout: timedelta | None = None,
    ) -> ws.ResetStickyTaskQueueResponse:
        """Temporal's ResetStickyTaskQueue."""
        ...

    async def shutdown_worker(
        self,
        request: ws.ShutdownWorkerRequest,
        *,
        metadata: Mapping[str, str | bytes] | None = None,
        timeout: timedelta | None = None,
    ) -> ws.ShutdownWorkerResponse:
        """Temporal's ShutdownWorker."""
        ...

    async def describe_task_queue(
        self,
        request: ws.DescribeTaskQueueRequest,
        *,
        metadata: Mapping[str, str | bytes] | None = None,
        timeout: timedelta | None = None,
    ) -> ws.DescribeTaskQueueResponse:
        """Temporal's DescribeTaskQueue."""
        ...

    async def describe_namespace(
        self,
        request: ws.DescribeNamespaceRequest,
        *,
        metadata: Mapping[str, str | bytes] | None = None,
        timeout: timedelta | None = None,
    ) -> ws.DescribeNamespaceResponse:
        """Temporal's DescribeNamespace."""
        ...

    async def get_system_info(
        self,
        request: ws.GetSystemInfoRequest,
        *,
        metadata: Mapping[str, str | bytes] | None = None,
        timeout: timedelta | None = None,
    ) -> ws.GetSystemInfoResponse:
        """Temporal's GetSystemInfo."""
        ...

    async def detach_activity_task(self, task_token: bytes) -> None:
        """Say that an attempt goes on outside its worker process (``activity.raise_complete_async``).

        Ours, for in-process homes: an attempt that is not detached is known to be dead when its process is, and is
        retried at once on the next start. A home with remote workers does nothing here.
        """
        ...

    async def close(self) -> None:
        """Stop serving. What was acknowledged is durable; polls end with UNAVAILABLE."""
        ...
