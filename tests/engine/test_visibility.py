"""The index rows of a store follow what runs do, whatever they do and whenever the process dies."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest

from perdure.api.command import v1 as command_v1
from perdure.api.common import v1 as common_v1
from perdure.api.workflowservice import v1 as ws
from perdure.store.api import Store
from perdure.store.visibility import record_terms
from tests.engine.driver import Clock, Driver, command, complete, continue_as_new, driving, start_child


def _attributes(**values: bytes) -> common_v1.SearchAttributes:
    return common_v1.SearchAttributes(
        {
            name: common_v1.Payload(
                {"encoding": b"json/plain", "type": b"KeywordList" if data.startswith(b"[") else b"Keyword"}, data
            )
            for name, data in values.items()
        }
    )


def _upsert(**values: bytes) -> command_v1.Command:
    return command(
        "UPSERT_WORKFLOW_SEARCH_ATTRIBUTES",
        command_v1.UpsertWorkflowSearchAttributesCommandAttributes(_attributes(**values)),
    )


async def _check(d: Driver) -> None:
    """The rows that LMDB has are those of the records it lists."""
    store = d.engine.store
    records = (await store.list_runs(d.engine.namespaces.get("default").namespace_id, None, 1000)).records
    if store.name == "lmdb":
        rows = store._environment.stat()["rows"]  # type: ignore[attr-defined]
        assert rows["visibility"] == rows["bucket"] == rows["run"] == len(records)
        assert rows["term"] == sum(len(record_terms(record)) for record in records)


async def test_rows_follow_the_runs(open_store: Callable[[], Awaitable[Store]], request: pytest.FixtureRequest) -> None:
    clock = Clock()
    store = await open_store()
    async with driving(store, clock) as d:
        await d.start("w", search_attributes=_attributes(Customer=b'"bob"', Tags=b'["a","b"]'))
        await _check(d)
        assert await d.list("Customer = 'bob' AND Tags = 'b'") == ["w"]
        await d.turn(_upsert(Customer=b'"eve"', Tags=b'["b","c"]'), start_child())
        await d.settle()
        await _check(d)
        assert await d.list("Customer = 'bob' OR Tags = 'a'") == []
        assert await d.list("Customer = 'eve' AND Tags = 'c'") == ["w"]
        assert await d.list("ParentWorkflowId = 'w'") == ["child"]
        assert sorted(await d.list("RootWorkflowId = 'w'")) == ["child", "w"]
        await d.fail_task(await d.poll())
        await d.settle()
        assert await d.list("TemporalReportedProblems IS NOT NULL") == ["w"]
        await _check(d)
        if "memory" not in request.node.name:
            await d.engine.close()
            d = Driver(await type(d.engine).open(await open_store(), clock=clock), clock)
        await d.advance(30)
        await d.turn(_upsert(Customer=b"null", Tags=b'["c"]'))
        await d.settle()
        await _check(d)
        assert await d.list("TemporalReportedProblems IS NOT NULL") == []
        assert sorted(await d.list("Customer IS NULL")) == ["child", "w"]
        await d.signal("w")
        await d.turn(continue_as_new(search_attributes=_attributes(Customer=b'"zoe"')))
        await d.settle()
        await _check(d)
        assert await d.list("Tags = 'c'") == ["w"]
        assert await d.list("Customer = 'zoe' AND ExecutionStatus = 'Running'") == ["w"]
        await d.turn(complete())
        await d.settle()
        assert await d.list("CloseTime IS NULL") == []
        assert await d.list("Customer = 'zoe' AND ExecutionStatus = 'Completed'") == ["w"]
        await _check(d)
        for workflow_id in ("w", "w", "child"):
            [found] = (
                await d.engine.list_workflow_executions(
                    ws.ListWorkflowExecutionsRequest("default", 1, query=f"WorkflowId = '{workflow_id}'")
                )
            ).executions
            await d.engine.delete_workflow_execution(ws.DeleteWorkflowExecutionRequest("default", found.execution))
            await _check(d)
        assert await d.list() == []
        await d.engine.close()
