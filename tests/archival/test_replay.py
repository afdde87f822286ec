"""Replaying what an archive holds."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from perdure.api.common import v1 as common_v1
from perdure.api.namespace import v1 as namespace_v1
from perdure.api.workflowservice import v1 as ws
from perdure.archival import archived_histories
from perdure.client import Client
from perdure.engine import Engine
from perdure.store.memory import MemoryStore
from perdure.worker import Replayer
from perdure.workflow import NondeterminismError
from tests.archival.programs import Changed, Double, run_many, working


@pytest.fixture
async def engine() -> AsyncIterator[Engine]:
    """An engine on its own."""
    opened = await Engine.open(await MemoryStore.open())
    yield opened
    await opened.close()


async def fill(engine: Engine, uri: str) -> str:
    """An archive of five runs; returns the namespace id."""
    config = namespace_v1.NamespaceConfig(
        history_archival_state=2, history_archival_uri=uri, visibility_archival_state=2, visibility_archival_uri=uri
    )
    client = Client(engine)
    await engine.update_namespace(ws.UpdateNamespaceRequest("default", config=config))
    async with working(client):
        await run_many(client, 5)
    namespace = engine.namespaces.get("default")
    records = (await engine.store.list_runs(namespace.namespace_id, None, 10)).records
    await asyncio.gather(*(engine._archival.archive(namespace, record) for record in records))
    return namespace.namespace_id


async def test_an_archive_is_replayed(engine: Engine, uri: str) -> None:
    namespace_id = await fill(engine, uri)
    results = await Replayer(workflows=[Double]).replay_workflows(archived_histories(uri))
    assert results.replay_failures == {}
    broken = await Replayer(workflows=[Changed]).replay_workflows(
        archived_histories(uri, namespace_id=namespace_id), raise_on_replay_failure=False
    )
    assert len(broken.replay_failures) == 5
    assert all(isinstance(error, NondeterminismError) for error in broken.replay_failures.values())


async def test_a_query_chooses_what_is_replayed(engine: Engine, uri: str) -> None:
    namespace_id = await fill(engine, uri)
    query = "WorkflowType = 'Double' AND WorkflowId IN ('w1', 'w3')"
    found = [history async for history in archived_histories(uri, namespace_id=namespace_id, query=query)]
    assert sorted(history.workflow_id for history in found) == ["w1", "w3"]
    with pytest.raises(ValueError, match="a query needs the namespace_id"):
        await anext(archived_histories(uri, query=query))


async def test_a_handle_fetches_from_the_archive(engine: Engine, uri: str) -> None:
    await fill(engine, uri)
    client = Client(engine)
    handle = client.get_workflow_handle("w2")
    run_id = (await handle.describe()).run_id
    before = await handle.fetch_history()
    await engine.delete_workflow_execution(
        ws.DeleteWorkflowExecutionRequest("default", common_v1.WorkflowExecution("w2", run_id))
    )
    assert await client.get_workflow_handle("w2", run_id=run_id).fetch_history() == before
