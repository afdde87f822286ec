"""The service's RPCs about namespaces, their search attributes and batch operations; part of the engine's facade."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import TYPE_CHECKING

from perdure.api.operatorservice import v1 as operatorservice_v1
from perdure.api.workflowservice import v1 as ws
from perdure.engine.archival import Archival
from perdure.engine.batches import Batches
from perdure.engine.core import Core
from perdure.engine.describing import Describing
from perdure.engine.histories import Histories
from perdure.engine.namespace_requests import NamespaceRequests
from perdure.engine.namespaces import Namespaces

if TYPE_CHECKING:
    from perdure.service import WorkflowService

Metadata = Mapping[str, str | bytes] | None


class NamespaceRpcs:
    """Every method checks that the engine is open and asks its component."""

    _describing: Describing
    _histories: Histories

    def _check(self) -> None:
        raise NotImplementedError  # the engine has it

    def _add_namespace_rpcs(self, core: Core, namespaces: Namespaces, service: WorkflowService) -> None:
        self._batches = Batches(core, namespaces, service)
        self._namespace_requests = NamespaceRequests(core, namespaces, service)
        self._archival = Archival(core, namespaces, self._histories)

    async def _open_namespace_rpcs(self) -> None:
        self._namespace_requests.open()
        await self._batches.open()

    async def register_namespace(
        self, request: ws.RegisterNamespaceRequest, *, metadata: Metadata = None, timeout: timedelta | None = None
    ) -> ws.RegisterNamespaceResponse:
        """Temporal's RegisterNamespace."""
        self._check()
        return await self._namespace_requests.register(request)

    async def describe_namespace(
        self, request: ws.DescribeNamespaceRequest, *, metadata: Metadata = None, timeout: timedelta | None = None
    ) -> ws.DescribeNamespaceResponse:
        """Temporal's DescribeNamespace."""
        self._check()
        return self._namespace_requests.describe(request)

    async def list_namespaces(
        self, request: ws.ListNamespacesRequest, *, metadata: Metadata = None, timeout: timedelta | None = None
    ) -> ws.ListNamespacesResponse:
        """Temporal's ListNamespaces."""
        self._check()
        return self._namespace_requests.list_namespaces(request)

    async def update_namespace(
        self, request: ws.UpdateNamespaceRequest, *, metadata: Metadata = None, timeout: timedelta | None = None
    ) -> ws.UpdateNamespaceResponse:
        """Temporal's UpdateNamespace."""
        self._check()
        return await self._namespace_requests.update(request)

    async def deprecate_namespace(
        self, request: ws.DeprecateNamespaceRequest, *, metadata: Metadata = None, timeout: timedelta | None = None
    ) -> ws.DeprecateNamespaceResponse:
        """Temporal's DeprecateNamespace."""
        self._check()
        return await self._namespace_requests.deprecate(request)

    async def get_cluster_info(
        self, request: ws.GetClusterInfoRequest, *, metadata: Metadata = None, timeout: timedelta | None = None
    ) -> ws.GetClusterInfoResponse:
        """Temporal's GetClusterInfo."""
        self._check()
        return self._namespace_requests.cluster()

    async def list_task_queue_partitions(
        self, request: ws.ListTaskQueuePartitionsRequest, *, metadata: Metadata = None, timeout: timedelta | None = None
    ) -> ws.ListTaskQueuePartitionsResponse:
        """Temporal's ListTaskQueuePartitions."""
        self._check()
        return self._namespace_requests.partitions(request)

    async def get_search_attributes(
        self, request: ws.GetSearchAttributesRequest, *, metadata: Metadata = None, timeout: timedelta | None = None
    ) -> ws.GetSearchAttributesResponse:
        """Temporal's GetSearchAttributes."""
        self._check()
        return self._namespace_requests.search_attributes()

    async def scan_workflow_executions(
        self, request: ws.ScanWorkflowExecutionsRequest, *, metadata: Metadata = None, timeout: timedelta | None = None
    ) -> ws.ScanWorkflowExecutionsResponse:
        """Temporal's ScanWorkflowExecutions."""
        self._check()
        return await self._describing.scan(request)

    async def list_open_workflow_executions(
        self,
        request: ws.ListOpenWorkflowExecutionsRequest,
        *,
        metadata: Metadata = None,
        timeout: timedelta | None = None,
    ) -> ws.ListOpenWorkflowExecutionsResponse:
        """Temporal's ListOpenWorkflowExecutions."""
        self._check()
        return await self._describing.list_open(request)

    async def list_closed_workflow_executions(
        self,
        request: ws.ListClosedWorkflowExecutionsRequest,
        *,
        metadata: Metadata = None,
        timeout: timedelta | None = None,
    ) -> ws.ListClosedWorkflowExecutionsResponse:
        """Temporal's ListClosedWorkflowExecutions."""
        self._check()
        return await self._describing.list_closed(request)

    async def list_archived_workflow_executions(
        self,
        request: ws.ListArchivedWorkflowExecutionsRequest,
        *,
        metadata: Metadata = None,
        timeout: timedelta | None = None,
    ) -> ws.ListArchivedWorkflowExecutionsResponse:
        """Temporal's ListArchivedWorkflowExecutions."""
        self._check()
        return await self._archival.list_executions(request)

    async def start_batch_operation(
        self, request: ws.StartBatchOperationRequest, *, metadata: Metadata = None, timeout: timedelta | None = None
    ) -> ws.StartBatchOperationResponse:
        """Temporal's StartBatchOperation."""
        self._check()
        return await self._batches.start(request)

    async def stop_batch_operation(
        self, request: ws.StopBatchOperationRequest, *, metadata: Metadata = None, timeout: timedelta | None = None
    ) -> ws.StopBatchOperationResponse:
        """Temporal's StopBatchOperation."""
        self._check()
        return await self._batches.stop(request)

    async def describe_batch_operation(
        self, request: ws.DescribeBatchOperationRequest, *, metadata: Metadata = None, timeout: timedelta | None = None
    ) -> ws.DescribeBatchOperationResponse:
        """Temporal's DescribeBatchOperation."""
        self._check()
        return await self._batches.describe(request)

    async def list_batch_operations(
        self, request: ws.ListBatchOperationsRequest, *, metadata: Metadata = None, timeout: timedelta | None = None
    ) -> ws.ListBatchOperationsResponse:
        """Temporal's ListBatchOperations."""
        self._check()
        return await self._batches.list_jobs(request)

    # ---- operator service

    async def add_search_attributes(
        self,
        request: operatorservice_v1.AddSearchAttributesRequest,
        *,
        metadata: Metadata = None,
        timeout: timedelta | None = None,
    ) -> operatorservice_v1.AddSearchAttributesResponse:
        """Temporal's AddSearchAttributes."""
        self._check()
        return await self._namespace_requests.add_search_attributes(request)

    async def remove_search_attributes(
        self,
        request: operatorservice_v1.RemoveSearchAttributesRequest,
        *,
        metadata: Metadata = None,
        timeout: timedelta | None = None,
    ) -> operatorservice_v1.RemoveSearchAttributesResponse:
        """Temporal's RemoveSearchAttributes."""
        self._check()
        return await self._namespace_requests.remove_search_attributes(request)

    async def list_search_attributes(
        self,
        request: operatorservice_v1.ListSearchAttributesRequest,
        *,
        metadata: Metadata = None,
        timeout: timedelta | None = None,
    ) -> operatorservice_v1.ListSearchAttributesResponse:
        """Temporal's ListSearchAttributes."""
        self._check()
        return self._namespace_requests.list_search_attributes(request)

    async def delete_namespace(
        self,
        request: operatorservice_v1.DeleteNamespaceRequest,
        *,
        metadata: Metadata = None,
        timeout: timedelta | None = None,
    ) -> operatorservice_v1.DeleteNamespaceResponse:
        """Temporal's DeleteNamespace."""
        self._check()
        return await self._namespace_requests.delete(request)
