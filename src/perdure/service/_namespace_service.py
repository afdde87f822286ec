"""The part of the service protocol about namespaces, listing as of old, and batch operations."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Protocol

from perdure.api.workflowservice import v1 as ws


class NamespaceService(Protocol):
    """RPCs of Temporal's WorkflowService; see :class:`~perdure.service.WorkflowService`."""

    async def register_namespace(
        self,
        request: ws.RegisterNamespaceRequest,
        *,
        metadata: Mapping[str, str | bytes] | None = None,
        timeout: timedelta | None = None,
    ) -> ws.RegisterNamespaceResponse:
        """Temporal's RegisterNamespace."""
        ...

    async def list_namespaces(
        self,
        request: ws.ListNamespacesRequest,
        *,
        metadata: Mapping[str, str | bytes] | None = None,
        timeout: timedelta | None = None,
    ) -> ws.ListNamespacesResponse:
        """Temporal's ListNamespaces."""
        ...

    async def update_namespace(
        self,
        request: ws.UpdateNamespaceRequest,
        *,
        metadata: Mapping[str, str | bytes] | None = None,
        timeout: timedelta | None = None,
    ) -> ws.UpdateNamespaceResponse:
        """Temporal's UpdateNamespace."""
        ...

    async def deprecate_namespace(
        self,
        request: ws.DeprecateNamespaceRequest,
        *,
        metadata: Mapping[str, str | bytes] | None = None,
        timeout: timedelta | None = None,
    ) -> ws.DeprecateNamespaceResponse:
        """Temporal's DeprecateNamespace."""
        ...

    async def get_cluster_info(
        self,
        request: ws.GetClusterInfoRequest,
        *,
        metadata: Mapping[str, str | bytes] | None = None,
        timeout: timedelta | None = None,
    ) -> ws.GetClusterInfoResponse:
        """Temporal's GetClusterInfo."""
        ...

    async def list_task_queue_partitions(
        self,
        request: ws.ListTaskQueuePartitionsRequest,
        *,
        metadata: Mapping[str, str | bytes] | None = None,
        timeout: timedelta | None = None,
    ) -> ws.ListTaskQueuePartitionsResponse:
        """Temporal's ListTaskQueuePartitions."""
        ...

    async def get_search_attributes(
        self,
        request: ws.GetSearchAttributesRequest,
        *,
        metadata: Mapping[str, str | bytes] | None = None,
        timeout: timedelta | None = None,
    ) -> ws.GetSearchAttributesResponse:
        """Temporal's GetSearchAttributes."""
        ...

    async def scan_workflow_executions(
        self,
        request: ws.ScanWorkflowExecutionsRequest,
        *,
        metadata: Mapping[str, str | bytes] | None = None,
        timeout: timedelta | None = None,
    ) -> ws.ScanWorkflowExecutionsResponse:
        """Temporal's ScanWorkflowExecutions."""
        ...

    async def list_open_workflow_executions(
        self,
        request: ws.ListOpenWorkflowExecutionsRequest,
        *,
        metadata: Mapping[str, str | bytes] | None = None,
        timeout: timedelta | None = None,
    ) -> ws.ListOpenWorkflowExecutionsResponse:
        """Temporal's ListOpenWorkflowExecutions."""
        ...

    async def list_archived_workflow_executions(
        self,
        request: ws.ListArchivedWorkflowExecutionsRequest,
        *,
        metadata: Mapping[str, str | bytes] | None = None,
        timeout: timedelta | None = None,
    ) -> ws.ListArchivedWorkflowExecutionsResponse:
        """Temporal's ListArchivedWorkflowExecutions."""
        ...

    async def list_closed_workflow_executions(
        self,
        request: ws.ListClosedWorkflowExecutionsRequest,
        *,
        metadata: Mapping[str, str | bytes] | None = None,
        timeout: timedelta | None = None,
    ) -> ws.ListClosedWorkflowExecutionsResponse:
        """Temporal's ListClosedWorkflowExecutions."""
        ...

    async def start_batch_operation(
        self,
        request: ws.StartBatchOperationRequest,
        *,
        metadata: Mapping[str, str | bytes] | None = None,
        timeout: timedelta | None = None,
    ) -> ws.StartBatchOperationResponse:
        """Temporal's StartBatchOperation."""
        ...

    async def stop_batch_operation(
        self,
        request: ws.StopBatchOperationRequest,
        *,
        metadata: Mapping[str, str | bytes] | None = None,
        timeout: timedelta | None = None,
    ) -> ws.StopBatchOperationResponse:
        """Temporal's StopBatchOperation."""
        ...

    async def describe_batch_operation(
        self,
        request: ws.DescribeBatchOperationRequest,
        *,
        metadata: Mapping[str, str | bytes] | None = None,
        timeout: timedelta | None = None,
    ) -> ws.DescribeBatchOperationResponse:
        """Temporal's DescribeBatchOperation."""
        ...

    async def list_batch_operations(
        self,
        request: ws.ListBatchOperationsRequest,
        *,
        metadata: Mapping[str, str | bytes] | None = None,
        timeout: timedelta | None = None,
    ) -> ws.ListBatchOperationsResponse:
        """Temporal's ListBatchOperations."""
        ...
