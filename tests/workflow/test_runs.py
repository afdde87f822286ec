"""What a run knows of itself, and how it leaves memory."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from perdure import workflow
from tests.workflow.mini_server import SHORT, MiniServer, kinds


@workflow.defn
class Memos:
    @workflow.run
    async def run(self) -> dict[str, Any]:
        workflow.upsert_memo({"a": 1, "b": None})
        assert workflow.memo_value("a", type_hint=int) == 1
        with pytest.raises(KeyError):
            workflow.memo_value("b")
        return dict(workflow.memo())


def test_memo() -> None:
    server = MiniServer(Memos)
    server.turn()
    assert kinds(server) == ["modify_workflow_properties", "complete_workflow_execution"]
    assert server.result == {"a": 1}
    server.replay()


def test_eviction_makes_no_commands() -> None:
    server = MiniServer(WithFinally, 1)
    server.turn()
    assert server.run is not None
    run = server.run
    run.evict()
    run.evict()
    assert kinds(server) == ["schedule_activity_task"]
    server.run = None
    server.complete_activity()
    server.turn()
    assert server.is_closed


@workflow.defn
class WithFinally:
    @workflow.run
    async def run(self, _: int) -> None:
        try:
            await workflow.execute_activity("x", start_to_close_timeout=SHORT)
        finally:
            try:
                workflow.start_activity("cleanup", start_to_close_timeout=SHORT)
            except Exception:  # as careless code does
                pytest.fail("the eviction must pass through except Exception")


@workflow.defn
class Unclosable:
    @workflow.run
    async def run(self) -> None:
        self.task = asyncio.create_task(self.wait_for_ever())

    async def wait_for_ever(self) -> None:
        while True:
            try:
                await workflow.wait_condition(lambda: False)
            except BaseException:
                pass


def test_what_cannot_be_evicted_is_reported(caplog: pytest.LogCaptureFixture) -> None:
    server = MiniServer(Unclosable)
    server.turn()
    assert server.run is not None
    server.run.evict()
    assert f"Timed out running eviction job for run ID {server.run.run_id}" in caplog.text


@workflow.defn
class AboutItself:
    @workflow.run
    async def run(self) -> dict[str, Any]:
        info = workflow.info()
        assert workflow.in_workflow()
        assert isinstance(workflow.instance(), AboutItself)
        assert info.workflow_id == "workflow-1"
        assert info.attempt == 1
        assert info.parent is None
        return {
            "type": info.workflow_type,
            "length": info.get_current_history_length(),
            "size": info.get_current_history_size(),
            "uuid": str(workflow.uuid4()),
            "random": workflow.random().random(),
            "now": workflow.now().isoformat(),
            "seven": str(workflow.uuid7()),
        }


def test_what_a_workflow_knows_of_itself() -> None:
    server = MiniServer(AboutItself)
    server.turn()
    result = server.result
    assert result["type"] == "AboutItself"
    assert result["length"] == 3
    assert result["now"] == "1970-01-01T00:16:40.003000+00:00"
    server.replay()
    assert not workflow.in_workflow()
    with pytest.raises(Exception, match="Not in workflow event loop"):
        workflow.info()
