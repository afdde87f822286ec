"""What every node has in memory whole, changed at two nodes at once: no change is lost."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from perdure.api.common.v1 import Payload
from perdure.api.deployment.v1 import WorkerDeploymentVersion as Version
from perdure.api.namespace.v1 import UpdateNamespaceInfo
from perdure.api.nexus.v1 import EndpointSpec, EndpointTarget, EndpointTargetWorker
from perdure.api.operatorservice import v1 as operatorservice
from perdure.api.workflowservice import v1 as ws
from perdure.client import Client
from perdure.common import VersioningBehavior, WorkerDeploymentVersion
from perdure.engine.cluster_engine import ClusterEngine
from perdure.service import RPCError, RPCStatusCode
from perdure.store.api import Document, NamespaceRecord, StaleRunError
from perdure.store.postgres import SharedPostgresStore
from perdure.worker import Worker, WorkerDeploymentConfig
from tests.postgres.cluster_workflows import Double, double
from tests.store.builders import NAMESPACE, run_id
from tests.support.postgres import new_place

Two = tuple[ClusterEngine, ClusterEngine]
DAY = 86_400 * 10**9
NAMES = [f"{node}{number}" for number in range(10) for node in "ab"]


async def at_both(two: Two, change: Callable[[Any, str], Awaitable[Any]]) -> list[Any]:
    """Make the changes, every other one at the other node, all at once."""
    return await asyncio.gather(
        *(change(two[index % 2], name) for index, name in enumerate(NAMES)), return_exceptions=True
    )


async def seen(two: Two, read: Callable[[Any], Awaitable[Any]], expected: Any) -> None:
    """Wait until both nodes see the same; news between them take a moment."""
    for engine in two:
        while await read(engine) != expected:
            await asyncio.sleep(0.01)


async def test_what_both_nodes_add_to_a_namespace_stays(two: Two) -> None:
    async def add(engine: ClusterEngine, name: str) -> None:
        await engine.update_namespace(ws.UpdateNamespaceRequest("default", UpdateNamespaceInfo(data={name: "1"})))

    async def data(engine: ClusterEngine) -> set[str]:
        info = (await engine.describe_namespace(ws.DescribeNamespaceRequest("default"))).namespace_info
        assert info is not None
        return set(info.data)

    assert await at_both(two, add) == [None] * len(NAMES)
    await seen(two, data, set(NAMES))


async def test_a_namespace_is_registered_once(two: Two) -> None:
    async def register(engine: ClusterEngine, name: str) -> None:
        await engine.register_namespace(
            ws.RegisterNamespaceRequest("shop", name, workflow_execution_retention_period=DAY)
        )

    results = await at_both(two, register)
    assert results.count(None) == 1
    assert all(
        isinstance(result, RPCError) and result.status is RPCStatusCode.ALREADY_EXISTS
        for result in results
        if result is not None
    )

    async def count(engine: ClusterEngine) -> int:
        return len((await engine.list_namespaces(ws.ListNamespacesRequest())).namespaces)

    await seen(two, count, 2)


async def test_search_attributes_that_both_nodes_learn_stay(two: Two) -> None:
    async def add(engine: ClusterEngine, name: str) -> None:
        await engine.add_search_attributes(operatorservice.AddSearchAttributesRequest({name: 2}, "default"))

    async def known(engine: ClusterEngine) -> set[str]:
        request = operatorservice.ListSearchAttributesRequest("default")
        return set((await engine.list_search_attributes(request)).custom_attributes)

    assert await at_both(two, add) == [None] * len(NAMES)
    await seen(two, known, set(NAMES))


async def test_what_both_nodes_change_of_a_deployment_stays(two: Two) -> None:
    config = WorkerDeploymentConfig(
        version=WorkerDeploymentVersion("shop", "1"),
        use_worker_versioning=True,
        default_versioning_behavior=VersioningBehavior.AUTO_UPGRADE,
    )
    version = Version("1", "shop")

    async def change(engine: ClusterEngine, name: str) -> None:
        await engine.update_worker_deployment_version_metadata(
            ws.UpdateWorkerDeploymentVersionMetadataRequest(
                "default", upsert_entries={name: Payload({}, b"1")}, deployment_version=version
            )
        )

    async def metadata(engine: ClusterEngine) -> set[str]:
        try:
            described = await engine.describe_worker_deployment_version(
                ws.DescribeWorkerDeploymentVersionRequest("default", deployment_version=version)
            )
        except RPCError:
            return {"there is none yet"}
        info = described.worker_deployment_version_info
        assert info is not None
        return set() if info.metadata is None else set(info.metadata.entries)

    workers = [
        Worker(
            Client(engine), task_queue=f"q{index}", workflows=[Double], activities=[double], deployment_config=config
        )
        for index, engine in enumerate(two)
    ]
    async with workers[0], workers[1]:

        async def versions(engine: Any) -> tuple[int, list[int]]:
            kept = await engine.store.load_document(_default(engine), "deployment", "shop")
            return 0 if kept is None else kept.version, [
                record.revision for record in engine._deployments._by_name.values()
            ]

        # Each worker polls for workflow tasks and for activities.
        await seen(two, versions, (4, [4]))
        assert await at_both(two, change) == [None] * len(NAMES)
        await seen(two, metadata, set(NAMES))

        async def queues(engine: ClusterEngine) -> set[str]:
            described = await engine.describe_worker_deployment_version(
                ws.DescribeWorkerDeploymentVersionRequest("default", deployment_version=version)
            )
            return {queue.name for queue in described.version_task_queues}

        await seen(two, queues, {"q0", "q1"})


async def test_settings_of_a_queue_that_both_nodes_change_stay(two: Two) -> None:
    async def weigh(engine: ClusterEngine, name: str) -> None:
        await engine.update_task_queue_config(
            ws.UpdateTaskQueueConfigRequest(
                "default", "tests", "q", task_queue_type=2, set_fairness_weight_overrides={name: 2.0}
            )
        )

    assert await at_both(two, weigh) == [None] * len(NAMES)
    for engine in two:
        while len(engine._queue_limits.config(_default(engine), 2, "q").fairness_weight_overrides) < len(NAMES):
            await asyncio.sleep(0.01)


def _default(engine: ClusterEngine) -> str:
    return engine.namespaces.get("default").namespace_id


async def test_one_name_of_an_endpoint_is_given_once(two: Two) -> None:
    target = EndpointTarget(worker=EndpointTargetWorker("default", "q"))

    async def create(engine: ClusterEngine, name: str) -> None:
        await engine.create_nexus_endpoint(
            operatorservice.CreateNexusEndpointRequest(EndpointSpec("words", target=target))
        )

    results = await at_both(two, create)
    assert results.count(None) == 1
    assert all(
        isinstance(result, RPCError) and result.status is RPCStatusCode.ALREADY_EXISTS
        for result in results
        if result is not None
    )


async def test_a_document_has_one_next_version() -> None:
    place = new_place()
    a, b = await SharedPostgresStore.open(place), await SharedPostgresStore.open(place)
    first = Document(NAMESPACE, "kind", "one", b"1", 1)
    await a.commit([], [first])
    with pytest.raises(StaleRunError, match="kind 'one' is at version 1, not 0"):
        await b.commit([], [first])
    await b.commit([], [Document(NAMESPACE, "kind", "one", b"2", 2)])
    results = await asyncio.gather(
        *(a.commit([], [Document(NAMESPACE, "kind", "one", b"3", 3)]) for _ in range(3)),
        a.commit([], [Document(NAMESPACE, "kind", "two", b"1")]),
        return_exceptions=True,
    )
    assert [isinstance(result, StaleRunError) for result in results] == [False, True, True, False]
    assert await b.load_document(NAMESPACE, "kind", "one") == Document(NAMESPACE, "kind", "one", b"3", 3)
    with pytest.raises(StaleRunError):
        await b.commit([], [Document(NAMESPACE, "kind", "one", b"", 3)])
    await b.commit([], [Document(NAMESPACE, "kind", "one", b"", 4)])
    assert await a.load_document(NAMESPACE, "kind", "one") is None
    for store in (a, b):
        await store.close()


async def test_a_namespace_has_one_next_version() -> None:
    store = await SharedPostgresStore.open(new_place())
    one, two = NamespaceRecord(NAMESPACE, "n", b"1"), NamespaceRecord(NAMESPACE, "n", b"2")
    assert await store.replace_namespace(one, 1)
    assert await store.replace_namespace(one, 1)  # asked again after its answer was lost
    assert not await store.replace_namespace(two, 1)
    assert not await store.replace_namespace(NamespaceRecord(run_id(7), "n", b"1"), 1)
    assert await store.replace_namespace(two, 2)
    assert not await store.replace_namespace(one, 2)
    assert [record.body for record in await store.load_namespaces()] == [b"2"]
    await store.close()
