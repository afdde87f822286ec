"""Requests that are part of a user's transaction."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import asyncpg
import pytest

from perdure import activity, workflow
from perdure.client import Client
from perdure.engine.cluster_engine import ClusterEngine
from perdure.postgresql import in_transaction
from perdure.service import RPCError
from perdure.worker import Worker
from tests.postgres.cluster_workflows import Collect, Double, double
from tests.postgres.conftest import Join


@pytest.fixture
async def engine(join: Join) -> ClusterEngine:
    return await join()


@pytest.fixture
def schema(engine: ClusterEngine) -> str:
    return engine.store.settings.schema  # type: ignore[attr-defined, no-any-return]


@pytest.fixture
async def connection(engine: ClusterEngine, schema: str) -> AsyncIterator[Any]:
    connection = await asyncpg.connect(engine.store.settings.dsn)  # type: ignore[attr-defined]
    await connection.execute(f"CREATE TABLE IF NOT EXISTS {schema}.orders (id int)")
    await connection.execute(f"DELETE FROM {schema}.orders; DELETE FROM {schema}.outbox")
    yield connection
    await connection.close()


async def test_a_start_commits_with_the_rows(engine: ClusterEngine, connection: Any, schema: str) -> None:
    client = Client(engine)
    async with Worker(client, task_queue="q", workflows=[Double, Collect], activities=[double]):
        async with connection.transaction():
            await connection.execute(f"INSERT INTO {schema}.orders VALUES (1)")
            inside = in_transaction(client, connection, schema=schema)
            await inside.start_workflow(Double.run, 21, id="w", task_queue="q")
            handle = await inside.start_workflow(Collect.run, id="c", task_queue="q")
            for item in range(3):
                await handle.signal(Collect.add, item)
            await handle.signal(Collect.stop)
            with pytest.raises(RPCError):
                await client.get_workflow_handle("w").describe()
        while await connection.fetchval(f"SELECT count(*) FROM {schema}.outbox"):
            await asyncio.sleep(0.01)
        assert await client.get_workflow_handle("w").result() == 42
        assert await client.get_workflow_handle("c").result() == [0, 1, 2]


async def test_a_rollback_leaves_nothing(engine: ClusterEngine, connection: Any, schema: str) -> None:
    client = Client(engine)
    with pytest.raises(ZeroDivisionError):
        async with connection.transaction():
            await in_transaction(client, connection, schema=schema).start_workflow(
                Double.run, 1, id="w", task_queue="q"
            )
            raise ZeroDivisionError
    async with connection.transaction():
        await in_transaction(client, connection, schema=schema).start_workflow(Double.run, 1, id="x", task_queue="q")
    while await connection.fetchval(f"SELECT count(*) FROM {schema}.outbox"):
        await asyncio.sleep(0.01)
    await client.get_workflow_handle("x").describe()
    with pytest.raises(RPCError, match="not found"):
        await client.get_workflow_handle("w").describe()


async def test_what_is_refused_stays_with_its_error(engine: ClusterEngine, connection: Any, schema: str) -> None:
    inside = in_transaction(Client(engine), connection, schema=schema)
    await inside.get_workflow_handle("missing").signal("s")
    while (error := await connection.fetchval(f"SELECT error FROM {schema}.outbox")) is None:
        await asyncio.sleep(0.01)
    assert error.startswith("NOT_FOUND: ")
    with pytest.raises(RPCError, match="cannot be part of a transaction"):
        await inside.get_workflow_handle("missing").describe()


_connections: list[Any] = []


@activity.defn
async def pay(order: int) -> str:
    """Commits its result together with a row."""
    connection, client, schema = _connections
    async with connection.transaction():
        await connection.execute(f"INSERT INTO {schema}.orders VALUES ($1)", order)
        inside = in_transaction(client, connection, schema=schema)
        await inside.get_async_activity_handle(task_token=activity.info().task_token).complete("paid")
    activity.raise_complete_async()


@workflow.defn
class Pay:
    @workflow.run
    async def run(self, order: int) -> str:
        return await workflow.execute_activity(pay, order, start_to_close_timeout=timedelta(seconds=10))


async def test_an_activity_commits_its_result_with_rows(engine: ClusterEngine, connection: Any, schema: str) -> None:
    client = Client(engine)
    _connections[:] = [connection, client, schema]
    async with Worker(client, task_queue="q", workflows=[Pay], activities=[pay]):
        assert await client.execute_workflow(Pay.run, 7, id="w", task_queue="q") == "paid"
    assert await connection.fetchval(f"SELECT id FROM {schema}.orders") == 7
