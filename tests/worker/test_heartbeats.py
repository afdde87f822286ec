"""Workers tell the service of themselves."""

from __future__ import annotations

import asyncio
from datetime import timedelta

from perdure import activity
from perdure.api.enums.v1 import WorkerStatus
from perdure.api.workflowservice import v1 as ws
from perdure.client import Client
from perdure.common import WorkerDeploymentVersion
from perdure.runtime import Runtime, TelemetryConfig
from perdure.worker import Worker, WorkerDeploymentConfig


@activity.defn
async def work() -> None: ...


async def workers(client: Client) -> list[ws.DescribeWorkerResponse]:
    service = client.workflow_service
    found = await service.list_workers(ws.ListWorkersRequest(client.namespace))
    return [
        await service.describe_worker(ws.DescribeWorkerRequest(client.namespace, worker.worker_instance_key))
        for worker in found.workers
    ]


async def listed(client: Client) -> ws.DescribeWorkerResponse:
    while not (found := await workers(client)):
        await asyncio.sleep(0)
    (one,) = found
    return one


async def test_a_worker_is_listed_while_it_runs() -> None:
    async with await Client.connect("memory:") as client:
        version = WorkerDeploymentVersion("shop", "1.0")
        async with Worker(
            client,
            task_queue="queue",
            activities=[work],
            identity="me",
            deployment_config=WorkerDeploymentConfig(version=version, use_worker_versioning=True),
        ):
            described = await listed(client)
            assert described.worker_info is not None
            told = described.worker_info.worker_heartbeat
            assert told is not None
            assert (told.worker_identity, told.task_queue, told.sdk_name) == ("me", "queue", "perdure-python")
            assert told.status == WorkerStatus.WORKER_STATUS_RUNNING
            assert told.deployment_version is not None
            assert (told.deployment_version.deployment_name, told.deployment_version.build_id) == ("shop", "1.0")
            assert told.host_info is not None
            assert told.host_info.host_name
            assert told.start_time
            assert told.heartbeat_time
        assert await workers(client) == []


async def test_a_worker_speaks_again_and_again() -> None:
    runtime = Runtime(telemetry=TelemetryConfig(), worker_heartbeat_interval=timedelta(milliseconds=1))
    async with await Client.connect("memory:", runtime=runtime) as client:
        async with Worker(client, task_queue="queue", activities=[work]):
            first = await listed(client)
            while True:
                again = await listed(client)
                assert first.worker_info is not None
                assert again.worker_info is not None
                if again.worker_info.worker_heartbeat != first.worker_info.worker_heartbeat:
                    break
                await asyncio.sleep(0)


async def test_a_runtime_may_forbid_it() -> None:
    runtime = Runtime(telemetry=TelemetryConfig(), worker_heartbeat_interval=None)
    async with await Client.connect("memory:", runtime=runtime) as client:
        async with Worker(client, task_queue="queue", activities=[work]):
            for _ in range(10):
                await asyncio.sleep(0)
            assert await workers(client) == []
