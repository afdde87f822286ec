"""Workers that say they live: listing, filters, pages, silence."""

from __future__ import annotations

import pytest

from perdure.api.deployment.v1 import WorkerDeploymentVersion
from perdure.api.enums.v1 import WorkerStatus
from perdure.api.worker.v1 import PluginInfo, WorkerHeartbeat, WorkerHostInfo
from perdure.api.workflowservice import v1 as ws
from perdure.service import RPCError, RPCStatusCode
from tests.engine.driver import Driver, S

RUNNING = WorkerStatus.WORKER_STATUS_RUNNING


async def tell(d: Driver, *keys: str, status: int = RUNNING, queue: str = "shop", namespace: str = "default") -> None:
    heartbeats = [
        WorkerHeartbeat(
            worker_instance_key=key,
            worker_identity=f"{key}@host",
            host_info=WorkerHostInfo(host_name="host", process_id="7", worker_grouping_key="group"),
            task_queue=queue,
            deployment_version=WorkerDeploymentVersion("build", "deployment") if key == "a" else None,
            sdk_name="temporal-go",
            sdk_version="1.50.0",
            status=status,
            start_time=d.clock.now,
            heartbeat_time=d.clock.now,
            plugins=[PluginInfo("plugin", "1")],
        )
        for key in keys
    ]
    await d.engine.record_worker_heartbeat(ws.RecordWorkerHeartbeatRequest(namespace, "me", heartbeats))


async def listed(d: Driver, query: str = "", **options: object) -> list[str]:
    response = await d.engine.list_workers(ws.ListWorkersRequest("default", query=query, **options))  # type: ignore[arg-type]
    keys = [worker.worker_instance_key for worker in response.workers]
    assert keys == [
        info.worker_heartbeat and info.worker_heartbeat.worker_instance_key for info in response.workers_info
    ]
    count = await d.engine.count_workers(ws.CountWorkersRequest("default", query))
    assert count.count == len(keys)
    return keys


async def test_a_worker_is_listed_and_described(d: Driver) -> None:
    await tell(d, "b", "a")
    assert await listed(d) == ["a", "b"]
    (first, _) = (await d.engine.list_workers(ws.ListWorkersRequest("default"))).workers
    assert (first.worker_identity, first.task_queue, first.status) == ("a@host", "shop", RUNNING)
    assert (first.host_name, first.process_id, first.worker_grouping_key) == ("host", "7", "group")
    assert first.deployment_version == WorkerDeploymentVersion("build", "deployment")
    assert first.plugins == [PluginInfo("plugin", "1")]
    described = await d.engine.describe_worker(ws.DescribeWorkerRequest("default", "b"))
    assert described.worker_info is not None
    assert described.worker_info.worker_heartbeat is not None
    assert described.worker_info.worker_heartbeat.sdk_version == "1.50.0"
    with pytest.raises(RPCError, match="Worker c not found") as refused:
        await d.engine.describe_worker(ws.DescribeWorkerRequest("default", "c"))
    assert refused.value.status is RPCStatusCode.NOT_FOUND


@pytest.mark.parametrize(
    ("query", "keys"),
    [
        ("WorkerInstanceKey = 'a'", ["a"]),
        ("TaskQueue = 'shop' AND SdkName STARTS_WITH 'temporal'", ["a", "b"]),
        ("TaskQueue != 'shop'", []),
        ("BuildId IS NULL", ["b"]),
        ("DeploymentName = 'deployment' OR WorkerIdentity = 'b@host'", ["a", "b"]),
        ("HostName = 'host' AND (Status = 'Running')", ["a", "b"]),
        ("WorkerStatus = 'ShuttingDown'", []),
        ("HeartbeatTime > '2001-01-01T00:00:00Z' AND StartTime > '2001-01-01T00:00:00Z'", ["a", "b"]),
    ],
)
async def test_filters(d: Driver, query: str, keys: list[str]) -> None:
    await tell(d, "a", "b")
    assert await listed(d, query) == keys


async def test_a_filter_that_makes_no_sense(d: Driver) -> None:
    for query in ("Colour = 'red'", "TaskQueue ="):
        with pytest.raises(RPCError, match="invalid query") as refused:
            await d.engine.list_workers(ws.ListWorkersRequest("default", query=query))
        assert refused.value.status is RPCStatusCode.INVALID_ARGUMENT


async def test_pages(d: Driver) -> None:
    await tell(d, "c", "a", "b")
    first = await d.engine.list_workers(ws.ListWorkersRequest("default", 2))
    assert [worker.worker_instance_key for worker in first.workers] == ["a", "b"]
    second = await d.engine.list_workers(ws.ListWorkersRequest("default", 2, first.next_page_token))
    assert [worker.worker_instance_key for worker in second.workers] == ["c"]
    assert second.next_page_token == b""
    with pytest.raises(RPCError, match="NextPageToken"):
        await d.engine.list_workers(ws.ListWorkersRequest("default", 2, b"\x00"))


async def test_workers_go(d: Driver) -> None:
    await tell(d, "quiet", "stops", "leaves")
    await tell(d, "stops", status=WorkerStatus.WORKER_STATUS_SHUTDOWN)
    await d.engine.shutdown_worker(ws.ShutdownWorkerRequest("default", worker_instance_key="leaves"))
    assert await listed(d) == ["quiet"]
    d.clock.now += 200 * S
    await tell(d, "lively")
    assert await listed(d) == ["lively", "quiet"]
    d.clock.now += 101 * S
    assert await listed(d) == ["lively"]


async def test_namespaces_and_system_workers_are_apart(d: Driver) -> None:
    await d.engine.register_namespace(
        ws.RegisterNamespaceRequest("other", workflow_execution_retention_period=24 * 3600 * S)
    )
    await tell(d, "a", namespace="other")
    await tell(d, "system", queue="temporal-sys-batch")
    assert await listed(d) == []
    response = await d.engine.list_workers(ws.ListWorkersRequest("default", include_system_workers=True))
    assert [worker.worker_instance_key for worker in response.workers] == ["system"]
    with pytest.raises(RPCError) as refused:
        await tell(d, "a", namespace="nowhere")
    assert refused.value.status is RPCStatusCode.NOT_FOUND
