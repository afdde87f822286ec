"""The service's RPCs about Nexus: tasks of workers, endpoints; part of the engine's facade."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta

from perdure.api.operatorservice import v1 as operatorservice_v1
from perdure.api.workflowservice import v1 as ws
from perdure.engine.callbacks import Callbacks
from perdure.engine.core import Core
from perdure.engine.limits import TASK_LONG_POLL
from perdure.engine.namespaces import Namespaces
from perdure.engine.nexus_endpoints import NexusEndpoints
from perdure.engine.nexus_operations import NexusOperations
from perdure.engine.nexus_tasks import NexusTasks

Metadata = Mapping[str, str | bytes] | None


def _long_poll(timeout: timedelta | None) -> float:
    return TASK_LONG_POLL if timeout is None else min(TASK_LONG_POLL, max(timeout.total_seconds() - 1, 0.01))


class NexusRpcs:
    """Every method checks that the engine is open and asks its component."""

    def _check(self) -> None:
        raise NotImplementedError

    def _add_nexus_rpcs(self, core: Core, namespaces: Namespaces, callback_addresses: Sequence[str]) -> None:
        self._nexus_endpoints = NexusEndpoints(core, namespaces)
        self._nexus_operations = NexusOperations(core)
        self._nexus_tasks = NexusTasks(core, namespaces, self._nexus_endpoints, self._nexus_operations)
        self._callbacks = Callbacks(core, namespaces, self._nexus_operations, callback_addresses)

    async def poll_nexus_task_queue(
        self, request: ws.PollNexusTaskQueueRequest, *, metadata: Metadata = None, timeout: timedelta | None = None
    ) -> ws.PollNexusTaskQueueResponse:
        """Temporal's PollNexusTaskQueue."""
        self._check()
        return await self._nexus_tasks.poll(request, _long_poll(timeout))

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
