"""The service's RPCs about workers that say they live; part of the facade."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import timedelta

from perdure.api.workflowservice import v1 as ws
from perdure.engine.namespaces import Namespaces
from perdure.engine.worker_registry import WorkerRegistry

Metadata = Mapping[str, str | bytes] | None


class WorkerRpcs:
    """Every method checks that the engine is open and asks the registry."""

    def _check(self) -> None:
        raise NotImplementedError  # the engine has it

    def _add_worker_rpcs(self, namespaces: Namespaces, clock: Callable[[], int]) -> None:
        self._worker_registry = WorkerRegistry(namespaces, clock)

    async def record_worker_heartbeat(
        self, request: ws.RecordWorkerHeartbeatRequest, *, metadata: Metadata = None, timeout: timedelta | None = None
    ) -> ws.RecordWorkerHeartbeatResponse:
        """Temporal's RecordWorkerHeartbeat."""
        self._check()
        return self._worker_registry.record(request)

    async def list_workers(
        self, request: ws.ListWorkersRequest, *, metadata: Metadata = None, timeout: timedelta | None = None
    ) -> ws.ListWorkersResponse:
        """Temporal's ListWorkers."""
        self._check()
        return self._worker_registry.page(request)

    async def count_workers(
        self, request: ws.CountWorkersRequest, *, metadata: Metadata = None, timeout: timedelta | None = None
    ) -> ws.CountWorkersResponse:
        """Temporal's CountWorkers."""
        self._check()
        return self._worker_registry.count(request)

    async def describe_worker(
        self, request: ws.DescribeWorkerRequest, *, metadata: Metadata = None, timeout: timedelta | None = None
    ) -> ws.DescribeWorkerResponse:
        """Temporal's DescribeWorker."""
        self._check()
        return self._worker_registry.describe(request)
