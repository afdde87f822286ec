"""Several nodes over one database: one sweeps, any deletes, and another goes on when one dies."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from perdure._native.events import HistoryEvent
from perdure.api.common import v1 as common_v1
from perdure.api.namespace import v1 as namespace_v1
from perdure.api.workflowservice import v1 as ws
from perdure.archival import ArchivedRun, open_archiver, register_archiver
from perdure.client import Client
from perdure.engine import archival
from perdure.engine.cluster_engine import ClusterEngine
from perdure.store.archive import _api
from tests.archival.programs import run_many, working
from tests.engine.fragile import abandon
from tests.postgres.conftest import Join, join, two

__all__ = ["join", "two"]

Two = tuple[ClusterEngine, ClusterEngine]
URI = "counted://it"


class Counted:
    """Counts what is written."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner
        self.written: list[str] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    async def archive_history(self, run: ArchivedRun, batches: AsyncIterator[list[HistoryEvent]]) -> bool:
        """As the inner one's."""
        is_new: bool = await self._inner.archive_history(run, batches)
        if is_new:
            self.written.append(run.workflow_id)
        return is_new


@pytest.fixture
def counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Counted:
    """What archives to ``counted://it`` go through; nodes sweep all the time."""
    monkeypatch.setattr(_api, "_factories", dict(_api._factories))
    monkeypatch.setattr(archival, "INTERVAL", 0.05)
    monkeypatch.setattr(archival, "SETTLED_NS", 0)
    found = Counted(open_archiver(f"file://{tmp_path}/archive"))
    register_archiver("counted", lambda uri, options: found)
    return found


async def enable(engine: ClusterEngine) -> None:
    """Archive, at any node."""
    config = namespace_v1.NamespaceConfig(
        history_archival_state=2, history_archival_uri=URI, visibility_archival_state=2, visibility_archival_uri=URI
    )
    await engine.update_namespace(ws.UpdateNamespaceRequest("default", config=config))


async def listed(engine: ClusterEngine, count: int) -> list[str]:
    """What the archive lists once it has so many, and the node knows of it."""
    async with asyncio.timeout(20):
        while True:
            if not engine.namespaces.archived:
                await asyncio.sleep(0.05)
                continue
            page = await engine.list_archived_workflow_executions(ws.ListArchivedWorkflowExecutionsRequest("default"))
            if len(page.executions) >= count:
                return sorted(info.execution.workflow_id for info in page.executions if info.execution is not None)
            await asyncio.sleep(0.05)


async def test_one_node_sweeps_what_all_close(two: Two, counted: Counted) -> None:
    a, b = two
    await enable(b)
    async with working(Client(a)), working(Client(b)):
        await asyncio.gather(run_many(Client(a), 5), run_many(Client(b), 5, 5))
    expected = sorted(f"w{number}" for number in range(10))
    assert await listed(b, 10) == expected
    assert sorted(counted.written) == expected
    assert {engine._archival._cursors != {} for engine in two} == {True, False}


async def test_another_node_sweeps_when_the_one_dies(two: Two, counted: Counted) -> None:
    a, b = two
    await enable(a)
    leader, other = (a, b) if a.cluster.is_leader else (b, a)
    await abandon(leader)
    leader.store._heart.cancel()  # type: ignore[attr-defined]
    async with working(Client(other)):
        await run_many(Client(other), 3)
    assert await listed(other, 3) == ["w0", "w1", "w2"]


async def test_a_run_that_one_node_closed_is_deleted_and_read_by_another(two: Two, counted: Counted) -> None:
    a, b = two
    await enable(a)
    async with working(Client(a)):
        await run_many(Client(a), 1)
    run_id = (await Client(b).get_workflow_handle("w0").describe()).run_id
    before = await Client(b).get_workflow_handle("w0").fetch_history()
    run = await b.core.current(b.namespaces.get("default").namespace_id, "w0")
    assert run is not None
    await asyncio.gather(b._archival.retire(run), return_exceptions=True)
    assert counted.written == ["w0"]
    for engine in two:
        assert await Client(engine).get_workflow_handle("w0", run_id=run_id).fetch_history() == before
    response = await a.get_workflow_execution_history(
        ws.GetWorkflowExecutionHistoryRequest("default", common_v1.WorkflowExecution("w0", run_id))
    )
    assert response.archived


async def test_a_node_that_joins_knows_the_archive(two: Two, counted: Counted, join: Join) -> None:
    await enable(two[0])
    third = await join()
    assert third.namespaces.get("default").history_archival_uri == URI
    assert third.namespaces.archived
