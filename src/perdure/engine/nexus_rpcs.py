"""The service's RPCs about Nexus: tasks of workers, endpoints, operations alone; part of the engine's facade."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta

from perdure.api.operatorservice import v1 as operatorservice_v1
from perdure.api.workflowservice import v1 as ws
from perdure.engine.callbacks import Callbacks
from perdure.engine.closing import Closing
from perdure.engine.core import Core
from perdure.engine.external_endpoints import ExternalEndpoints
from perdure.engine.limits import long_poll
from perdure.engine.namespaces import Namespaces
from perdure.engine.nexus_endpoints import NexusEndpoints
from perdure.engine.nexus_operations import NexusOperations
from perdure.engine.nexus_tasks import NexusTasks
from perdure.engine.standalone_operations import StandaloneOperations
from perdure.engine.system_endpoint import SystemEndpoint

Metadata = Mapping[str, str | bytes] | None


def _seconds(timeout: timedelta | None) -> float | None:
    return None if timeout is None else timeout.total_seconds()


class NexusRpcs:
    """Every method checks that the engine is open and asks its component."""

    def _check(self) -> None:
        raise NotImplementedError  # the engine has it

    def _add_nexus_rpcs(self, core: Core, namespaces: Namespaces, callback_addresses: Sequence[str]) -> None:
        self._nexus_endpoints = NexusEndpoints(core, namespaces)
        self._nexus_operations = NexusOperations(core)
        self._system_endpoint = SystemEndpoint(core, namespaces, self._nexus_operations)
        self._external_endpoints = ExternalEndpoints(core, self._nexus_operations)
        self._nexus_tasks = NexusTasks(
            core,
            namespaces,
            self._nexus_endpoints,
            self._nexus_operations,
            self._system_endpoint,
            self._external_endpoints,
        )
        self._callbacks = Callbacks(core, namespaces, self._nexus_operations, callback_addresses)

    def _add_standalone_operations(self, core: Core, namespaces: Namespaces, closing: Closing) -> None:
        self._standalone_operations = StandaloneOperations(
            core, namespaces, closing, self._nexus_endpoints, self._nexus_operations, self._callbacks
        )

    async def poll_nexus_task_queue(
        self, request: ws.PollNexusTaskQueueRequest, *, metadata: Metadata = None, timeout: timedelta | None = None
    ) -> ws.PollNexusTaskQueueResponse:
        """Temporal's PollNexusTaskQueue."""
        self._check()
        return await self._nexus_tasks.poll(request, long_poll(timeout))

    async def respond_nexus_task_completed(
        self,
        request: ws.RespondNexusTaskCompletedRequest,
        *,
        metadata: Metadata = None,
        timeout: timedelta | None = None,
    ) -> ws.RespondNexusTaskCompletedResponse:
        """Temporal's RespondNexusTaskCompleted."""
        self._check()
        return await self._nexus_tasks.completed(request)

    async def respond_nexus_task_failed(
        self, request: ws.RespondNexusTaskFailedRequest, *, metadata: Metadata = None, timeout: timedelta | None = None
    ) -> ws.RespondNexusTaskFailedResponse:
        """Temporal's RespondNexusTaskFailed."""
        self._check()
        return await self._nexus_tasks.failed(request)

    async def complete_nexus_operation(self, header: Mapping[str, str], body: bytes) -> None:
        """Take the completion of an operation from a handler outside; see :class:`ExternalEndpoints`."""
        self._check()
        await self._external_endpoints.complete(header, body)

    async def create_nexus_endpoint(
        self,
        request: operatorservice_v1.CreateNexusEndpointRequest,
        *,
        metadata: Metadata = None,
        timeout: timedelta | None = None,
    ) -> operatorservice_v1.CreateNexusEndpointResponse:
        """Temporal's CreateNexusEndpoint."""
        self._check()
        return await self._nexus_endpoints.create(request)

    async def update_nexus_endpoint(
        self,
        request: operatorservice_v1.UpdateNexusEndpointRequest,
        *,
        metadata: Metadata = None,
        timeout: timedelta | None = None,
    ) -> operatorservice_v1.UpdateNexusEndpointResponse:
        """Temporal's UpdateNexusEndpoint."""
        self._check()
        return await self._nexus_endpoints.update(request)

    async def delete_nexus_endpoint(
        self,
        request: operatorservice_v1.DeleteNexusEndpointRequest,
        *,
        metadata: Metadata = None,
        timeout: timedelta | None = None,
    ) -> operatorservice_v1.DeleteNexusEndpointResponse:
        """Temporal's DeleteNexusEndpoint."""
        self._check()
        return await self._nexus_endpoints.delete(request)

    async def get_nexus_endpoint(
        self,
        request: operatorservice_v1.GetNexusEndpointRequest,
        *,
        metadata: Metadata = None,
        timeout: timedelta | None = None,
    ) -> operatorservice_v1.GetNexusEndpointResponse:
        """Temporal's GetNexusEndpoint."""
        self._check()
        return self._nexus_endpoints.get(request)

    async def list_nexus_endpoints(
        self,
        request: operatorservice_v1.ListNexusEndpointsRequest,
        *,
        metadata: Metadata = None,
        timeout: timedelta | None = None,
    ) -> operatorservice_v1.ListNexusEndpointsResponse:
        """Temporal's ListNexusEndpoints."""
        self._check()
        return self._nexus_endpoints.list_endpoints(request)

    async def start_nexus_operation_execution(
        self,
        request: ws.StartNexusOperationExecutionRequest,
        *,
        metadata: Metadata = None,
        timeout: timedelta | None = None,
    ) -> ws.StartNexusOperationExecutionResponse:
        """Temporal's StartNexusOperationExecution."""
        self._check()
        return await self._standalone_operations.start(request)

    async def describe_nexus_operation_execution(
        self,
        request: ws.DescribeNexusOperationExecutionRequest,
        *,
        metadata: Metadata = None,
        timeout: timedelta | None = None,
    ) -> ws.DescribeNexusOperationExecutionResponse:
        """Temporal's DescribeNexusOperationExecution."""
        self._check()
        return await self._standalone_operations.describe(request, _seconds(timeout))

    async def poll_nexus_operation_execution(
        self,
        request: ws.PollNexusOperationExecutionRequest,
        *,
        metadata: Metadata = None,
        timeout: timedelta | None = None,
    ) -> ws.PollNexusOperationExecutionResponse:
        """Temporal's PollNexusOperationExecution."""
        self._check()
        return await self._standalone_operations.poll(request, _seconds(timeout))

    async def list_nexus_operation_executions(
        self,
        request: ws.ListNexusOperationExecutionsRequest,
        *,
        metadata: Metadata = None,
        timeout: timedelta | None = None,
    ) -> ws.ListNexusOperationExecutionsResponse:
        """Temporal's ListNexusOperationExecutions."""
        self._check()
        return await self._standalone_operations.list_operations(request)

    async def count_nexus_operation_executions(
        self,
        request: ws.CountNexusOperationExecutionsRequest,
        *,
        metadata: Metadata = None,
        timeout: timedelta | None = None,
    ) -> ws.CountNexusOperationExecutionsResponse:
        """Temporal's CountNexusOperationExecutions."""
        self._check()
        return await self._standalone_operations.count(request)

    async def request_cancel_nexus_operation_execution(
        self,
        request: ws.RequestCancelNexusOperationExecutionRequest,
        *,
        metadata: Metadata = None,
        timeout: timedelta | None = None,
    ) -> ws.RequestCancelNexusOperationExecutionResponse:
        """Temporal's RequestCancelNexusOperationExecution."""
        self._check()
        return await self._standalone_operations.request_cancel(request)

    async def terminate_nexus_operation_execution(
        self,
        request: ws.TerminateNexusOperationExecutionRequest,
        *,
        metadata: Metadata = None,
        timeout: timedelta | None = None,
    ) -> ws.TerminateNexusOperationExecutionResponse:
        """Temporal's TerminateNexusOperationExecution."""
        self._check()
        return await self._standalone_operations.terminate(request)

    async def delete_nexus_operation_execution(
        self,
        request: ws.DeleteNexusOperationExecutionRequest,
        *,
        metadata: Metadata = None,
        timeout: timedelta | None = None,
    ) -> ws.DeleteNexusOperationExecutionResponse:
        """Temporal's DeleteNexusOperationExecution."""
        self._check()
        return await self._standalone_operations.delete(request)
