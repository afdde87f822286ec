"""The part of the service protocol about workers that say they live."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Protocol

from perdure.api.workflowservice import v1 as ws


class WorkerService(Protocol):
    """RPCs of Temporal's WorkflowService; see :class:`~perdure.service.WorkflowService`."""

    async def record_worker_heartbeat(
        self,
        request: ws.RecordWorkerHeartbeatRequest,
        *,
        metadata: Mapping[str, str | bytes] | None = None,
        timeout: timedelta | None = None,
    ) -> ws.RecordWorkerHeartbeatResponse:
        """Temporal's RecordWorkerHeartbeat."""
        ...

    async def list_workers(
        self,
        request: ws.ListWorkersRequest,
        *,
        metadata: Mapping[str, str | bytes] | None = None,
        timeout: timedelta | None = None,
    ) -> ws.ListWorkersResponse:
        """Temporal's ListWorkers."""
        ...

    async def count_workers(
        self,
        request: ws.CountWorkersRequest,
        *,
        metadata: Mapping[str, str | bytes] | None = None,
        timeout: timedelta | None = None,
    ) -> ws.CountWorkersResponse:
        """Temporal's CountWorkers."""
        ...

    async def describe_worker(
        self,
        request: ws.DescribeWorkerRequest,
        *,
        metadata: Mapping[str, str | bytes] | None = None,
        timeout: timedelta | None = None,
    ) -> ws.DescribeWorkerResponse:
        """Temporal's DescribeWorker."""
        ...
