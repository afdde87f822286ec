"""Behind a real PgBouncer, in both modes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from perdure.client import Client
from perdure.engine.cluster_engine import ClusterEngine
from perdure.store.postgres import SharedPostgresStore
from perdure.worker import Worker
from tests.postgres.cluster_workflows import WORKFLOWS, Collect, Double, Parent, Sleep, double
from tests.support.pgbouncer import PgBouncer
from tests.support.postgres import FAST, Server, own_server_or_skip, with_options

Two = tuple[ClusterEngine, ClusterEngine]


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    own_server_or_skip()
    server = Server(FAST)
    yield server
    server.remove()


@pytest.fixture(scope="module", params=["session", "transaction"])
def pooler(request: pytest.FixtureRequest, server: Server) -> Iterator[PgBouncer]:
    pooler = PgBouncer(server, request.param)
    pooler.mode = request.param  # type: ignore[attr-defined]
    yield pooler
    pooler.remove()


@pytest.fixture
async def two(pooler: Any, request: pytest.FixtureRequest) -> AsyncIterator[Two]:
    """Two nodes behind the pooler."""
    schema = f"b{abs(hash(request.node.nodeid)) % 10**12}"
    place = with_options(pooler.url, schema=schema, pooler=pooler.mode, lease=2, partitions=1)
    engines = [await ClusterEngine.open(await SharedPostgresStore.open(place)) for _ in range(2)]
    engines[0].core.live.add(engines[1].core.epoch)  # type: ignore[attr-defined]
    yield engines[0], engines[1]
    for engine in engines:
        await engine.close()


def worker(engine: ClusterEngine) -> Worker:
    return Worker(Client(engine), task_queue="q", workflows=WORKFLOWS, activities=[double])


async def test_a_client_of_one_node_and_a_worker_of_another(two: Two) -> None:
    a, b = two
    async with worker(b):
        results = await asyncio.gather(
            *(Client(a).execute_workflow(Double.run, n, id=f"w{n}", task_queue="q") for n in range(20))
        )
    assert results == [2 * n for n in range(20)]


async def test_messages_between_nodes(two: Two) -> None:
    a, b = two
    async with worker(b):
        handle = await Client(a).start_workflow(Collect.run, id="w", task_queue="q")
        for item in range(3):
            await handle.signal(Collect.add, item)
        assert await handle.query(Collect.count) == 3
        assert await handle.execute_update(Collect.insert, 21) == 4
        await handle.signal(Collect.stop)
        assert await handle.result() == [0, 1, 2, 42]


async def test_children_timers_and_listings(two: Two) -> None:
    a, b = two
    async with worker(a), worker(b):
        assert await Client(a).execute_workflow(Parent.run, 5, id="p", task_queue="q") == 20
        assert await Client(b).execute_workflow(Sleep.run, 0.1, id="s", task_queue="q") == "awake"
    assert {found.id async for found in Client(a).list_workflows("WorkflowType = 'Parent'")} == {"p"}


async def test_both_nodes_at_one_workflow(two: Two) -> None:
    async with worker(two[0]), worker(two[1]):
        handle = await Client(two[0]).start_workflow(Collect.run, id="w", task_queue="q")
        handles = [Client(engine).get_workflow_handle_for(Collect.run, "w") for engine in two]
        await asyncio.gather(*(handles[n % 2].signal(Collect.add, n) for n in range(40)))
        await handle.signal(Collect.stop)
        assert sorted(await handle.result()) == list(range(40))


async def test_a_namespace_changed_at_one_node_is_known_at_the_other(two: Two) -> None:
    from perdure.api.workflowservice import v1 as ws
    from perdure.service import RPCError

    a, b = two
    await a.register_namespace(ws.RegisterNamespaceRequest("shop", workflow_execution_retention_period=86_400 * 10**9))
    while True:
        try:
            await b.describe_namespace(ws.DescribeNamespaceRequest("shop"))
            return
        except RPCError:
            await asyncio.sleep(0.01)
