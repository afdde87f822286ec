"""The part of the service protocol about Nexus."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Protocol

from perdure.api.workflowservice import v1 as ws


class NexusService(Protocol):
    """RPCs of Temporal's WorkflowService; see :class:`~perdure.service.WorkflowService`."""

    async def poll_nexus_task_queue(
        self,
        request: ws.PollNexusTaskQueueRequest,
        *,
        metadata: Mapping[str, str | bytes] | None = None,
        timeout: timedelta | None = None,
    ) -> ws.PollNexusTaskQueueResponse:
        """Temporal's PollNexusTaskQueue."""
        ...

    async def respond_nexus_task_completed(
        self,
        request: ws.RespondNexusTaskCompletedRequest,
        *,
        metadata: Mapping[str, str | bytes] | None = None,
        timeout: timedelta | None = None,
    ) -> ws.RespondNexusTaskCompletedResponse:
        """Temporal's RespondNexusTaskCompleted."""
        ...

    async def respond_nexus_task_failed(
        self,
        request: ws.RespondNexusTaskFailedRequest,
        *,
        metadata: Mapping[str, str | bytes] | None = None,
        timeout: timedelta | None = None,
    ) -> ws.RespondNexusTaskFailedResponse:
        """Temporal's RespondNexusTaskFailed."""
        ...

    async def start_nexus_operation_execution(
        self,
        request: ws.StartNexusOperationExecutionRequest,
        *,
        metadata: Mapping[str, str | bytes] | None = None,
        timeout: timedelta | None = None,
    ) -> ws.StartNexusOperationExecutionResponse:
        """Temporal's StartNexusOperationExecution."""
        ...

    async def describe_nexus_operation_execution(
        self,
        request: ws.DescribeNexusOperationExecutionRequest,
        *,
        metadata: Mapping[str, str | bytes] | None = None,
        timeout: timedelta | None = None,
    ) -> ws.DescribeNexusOperationExecutionResponse:
        """Temporal's DescribeNexusOperationExecution."""
        ...

    async def poll_nexus_operation_execution(
        self,
        request: ws.PollNexusOperationExecutionRequest,
        *,
        metadata: Mapping[str, str | bytes] | None = None,
        timeout: timedelta | None = None,
    ) -> ws.PollNexusOperationExecutionResponse:
        """Temporal's PollNexusOperationExecution."""
        ...

    async def list_nexus_operation_executions(
        self,
        request: ws.ListNexusOperationExecutionsRequest,
        *,
        metadata: Mapping[str, str | bytes] | None = None,
        timeout: timedelta | None = None,
    ) -> ws.ListNexusOperationExecutionsResponse:
        """Temporal's ListNexusOperationExecutions."""
        ...

    async def count_nexus_operation_executions(
        self,
        request: ws.CountNexusOperationExecutionsRequest,
        *,
        metadata: Mapping[str, str | bytes] | None = None,
        timeout: timedelta | None = None,
    ) -> ws.CountNexusOperationExecutionsResponse:
        """Temporal's CountNexusOperationExecutions."""
        ...

    async def request_cancel_nexus_operation_execution(
        self,
        request: ws.RequestCancelNexusOperationExecutionRequest,
        *,
        metadata: Mapping[str, str | bytes] | None = None,
        timeout: timedelta | None = None,
    ) -> ws.RequestCancelNexusOperationExecutionResponse:
        """Temporal's RequestCancelNexusOperationExecution."""
        ...

    async def terminate_nexus_operation_execution(
        self,
        request: ws.TerminateNexusOperationExecutionRequest,
        *,
        metadata: Mapping[str, str | bytes] | None = None,
        timeout: timedelta | None = None,
    ) -> ws.TerminateNexusOperationExecutionResponse:
        """Temporal's TerminateNexusOperationExecution."""
        ...

    async def delete_nexus_operation_execution(
        self,
        request: ws.DeleteNexusOperationExecutionRequest,
        *,
        metadata: Mapping[str, str | bytes] | None = None,
        timeout: timedelta | None = None,
    ) -> ws.DeleteNexusOperationExecutionResponse:
        """Temporal's DeleteNexusOperationExecution."""
        ...
