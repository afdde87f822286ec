"""What a worker tells the service of itself, again and again: so it is listed, and missed when it goes."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import time
from datetime import timedelta

import msgspec

from perdure import __version__
from perdure.api.deployment.v1 import WorkerDeploymentVersion
from perdure.api.enums.v1 import WorkerStatus
from perdure.api.worker.v1 import PluginInfo, WorkerHeartbeat, WorkerHostInfo
from perdure.api.workflowservice.v1 import DescribeNamespaceResponse, RecordWorkerHeartbeatRequest
from perdure.service import RPCError, WorkflowService
from perdure.worker._workflow_turn import SDK_NAME

logger = logging.getLogger("perdure.worker")

_DEFAULT_INTERVAL = timedelta(seconds=60)


def wants_heartbeats(described: DescribeNamespaceResponse) -> bool:
    """Whether the service takes down what workers say of themselves."""
    info = described.namespace_info
    return info is not None and info.capabilities is not None and info.capabilities.worker_heartbeats


def interval_of(runtime: object | None) -> timedelta | None:
    """How often a worker of this runtime is to speak; None: never."""
    interval: timedelta | None = getattr(runtime, "worker_heartbeat_interval", _DEFAULT_INTERVAL)
    return interval


class Heartbeats:
    """Tells a service of a worker from :meth:`start` to :meth:`stop`."""

    def __init__(
        self,
        service: WorkflowService,
        namespace: str,
        interval: timedelta,
        *,
        instance_key: str,
        identity: str,
        task_queue: str,
        version: WorkerDeploymentVersion | None,
        plugins: list[str],
    ) -> None:
        self._service = service
        self._namespace = namespace
        self._interval = interval.total_seconds()
        self._said = WorkerHeartbeat(
            worker_instance_key=instance_key,
            worker_identity=identity,
            host_info=WorkerHostInfo(
                host_name=socket.gethostname(),
                process_id=str(os.getpid()),
                worker_grouping_key=f"{socket.gethostname()}:{os.getpid()}",
            ),
            task_queue=task_queue,
            deployment_version=version,
            sdk_name=SDK_NAME,
            sdk_version=__version__,
            start_time=time.time_ns(),
            plugins=[PluginInfo(name) for name in plugins],
        )
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Speak for the first time soon, and go on."""
        self._task = asyncio.create_task(self._speak())

    async def stop(self) -> None:
        """Say that the worker has shut down, once."""
        if self._task is not None:
            self._task.cancel()
            self._task = None
            await self._tell(WorkerStatus.WORKER_STATUS_SHUTDOWN)

    async def _speak(self) -> None:
        while True:
            await self._tell(WorkerStatus.WORKER_STATUS_RUNNING)
            await asyncio.sleep(self._interval)

    async def _tell(self, status: WorkerStatus) -> None:
        now, before = time.time_ns(), self._said.heartbeat_time
        self._said.status = int(status)
        self._said.heartbeat_time = now
        self._said.elapsed_since_last_heartbeat = None if before is None else now - before
        # A service of this process keeps what it is given.
        heartbeat = msgspec.structs.replace(self._said)
        request = RecordWorkerHeartbeatRequest(self._namespace, self._said.worker_identity, [heartbeat])
        try:
            await self._service.record_worker_heartbeat(request)
        except RPCError as error:
            logger.debug("The service was not told of the worker: %s", error)
