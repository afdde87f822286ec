"""An engine that archives: the gate before retention, the sweep, and what is read back."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from perdure.api.common import v1 as common_v1
from perdure.api.enums.v1 import ArchivalState, HistoryEventFilterType
from perdure.api.namespace import v1 as namespace_v1
from perdure.api.workflowservice import v1 as ws
from perdure.service import RPCError, RPCStatusCode
from perdure.store.api import Store
from tests.engine.driver import Driver, complete, driving, payloads, schedule_activity

ENABLED = int(ArchivalState.ARCHIVAL_STATE_ENABLED)
DISABLED = int(ArchivalState.ARCHIVAL_STATE_DISABLED)
DAY = 86_400


async def enable(d: Driver, uri: str, *, namespace: str = "default") -> None:
    """Archive a namespace's histories and visibility records."""
    config = namespace_v1.NamespaceConfig(
        history_archival_state=ENABLED,
        history_archival_uri=uri,
        visibility_archival_state=ENABLED,
        visibility_archival_uri=uri,
    )
    await d.engine.update_namespace(ws.UpdateNamespaceRequest(namespace, config=config))


async def run_one(d: Driver, workflow_id: str = "w") -> str:
    """A workflow with one activity, to its end; returns its run id."""
    run_id = await d.start(workflow_id, input=payloads(b"17"))
    await d.turn(schedule_activity())
    await d.complete_activity(await d.poll_activity())
    await d.turn(complete(b'"done"'))
    await d.settle()
    return run_id


async def is_gone(d: Driver, run_id: str, workflow_id: str = "w") -> bool:
    """Whether the engine has forgotten a run."""
    try:
        await d.describe(workflow_id, run_id)
    except RPCError as error:
        assert error.status is RPCStatusCode.NOT_FOUND
        return True
    return False


async def until_gone(d: Driver, run_id: str, workflow_id: str = "w") -> None:
    """Wait for a deletion under way."""
    async with asyncio.timeout(20):
        while not await is_gone(d, run_id, workflow_id):
            await asyncio.sleep(0.01)


async def archived(d: Driver, query: str = "") -> list[str]:
    """The workflow ids that the archive lists."""
    found, token = [], b""
    while True:
        page = await d.engine.list_archived_workflow_executions(
            ws.ListArchivedWorkflowExecutionsRequest("default", 2, token, query)
        )
        found += [info.execution.workflow_id for info in page.executions if info.execution is not None]
        token = page.next_page_token
        if not token:
            return found


async def test_a_run_is_archived_before_retention_deletes_it(d: Driver, uri: str) -> None:
    await enable(d, uri)
    run_id = await run_one(d)
    before = await d.history("w", run_id)
    await d.advance(4 * DAY)
    await until_gone(d, run_id)
    assert await d.history("w", run_id) == before
    assert await archived(d) == ["w"]
    with pytest.raises(RPCError, match="workflow not found"):
        await d.history("w")  # the archive needs the run id
    with pytest.raises(RPCError, match="workflow not found"):
        await d.history("other", run_id)
