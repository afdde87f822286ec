"""Runs that come from another home."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from perdure.api.common import v1 as common_v1
from perdure.api.workflowservice import v1 as ws
from perdure.engine.imports import ImportWorkflowExecutionRequest
from perdure.service import RPCError, RPCStatusCode
from perdure.store.lmdb import LMDBStore
from perdure.store.memory import MemoryStore
from tests.engine.driver import (
    Clock,
    Driver,
    S,
    complete,
    continue_as_new,
    driving,
    payloads,
    schedule_activity,
    start_child,
    start_timer,
)


@pytest.fixture
async def source(d: Driver) -> AsyncIterator[Driver]:
    """The home that runs come from; its clock is the target's."""
    async with driving(await MemoryStore.open(), d.clock) as driver:
        yield driver


async def taken(source: Driver, target: Driver, run_id: str, **options: Any) -> bool:
    """Import a run of workflow ``w``."""
    request = ImportWorkflowExecutionRequest("default", "w", run_id, await source.history("w", run_id), **options)
    return (await target.engine.import_workflow_execution(request)).imported


async def test_a_closed_run_is_the_same_here(source: Driver, d: Driver) -> None:
    attributes = common_v1.SearchAttributes(
        {"Color": common_v1.Payload({"encoding": b"json/plain", "type": b"Keyword"}, b'"red"')}
    )
    run_id = await source.start(input=payloads(b"1"), search_attributes=attributes)
    await source.turn(complete(b"2"))
    assert await taken(source, d, run_id, dry_run=True)
    assert await d.list() == []
    assert await taken(source, d, run_id)
    assert await d.history("w", run_id) == await source.history("w", run_id)
    assert await d.status("w") == await source.status("w")
    assert await d.list("Color = 'red'") == ["w"]
    assert not await taken(source, d, run_id)


async def test_a_closed_run_is_kept_for_the_retention_from_now_on(source: Driver, d: Driver) -> None:
    await d.engine.namespaces.set_retention("default", 60_000)
    run_id = await source.start()
    await source.turn(complete())
    events = await source.history("w", run_id)
    d.clock.now += 30 * 24 * 3600 * S
    await d.engine.import_workflow_execution(ImportWorkflowExecutionRequest("default", "w", run_id, events))
    await d.advance(59)
    assert await d.list() == ["w"]
    await d.advance(2)
    await d.settle()
    assert await d.list() == []


async def test_the_newest_run_is_current_in_whatever_order_they_come(source: Driver, d: Driver) -> None:
    first = await source.start()
    await source.turn(continue_as_new())
    await source.advance(2)
    second = (await source.describe()).workflow_execution_info.execution.run_id  # type: ignore[union-attr]
    await source.turn(start_timer(seconds=100))
    assert await taken(source, d, second)
    assert await taken(source, d, first)
    described = (await d.describe()).workflow_execution_info
    assert described is not None
    assert described.execution is not None
    assert described.execution.run_id == second
    assert await d.names("w", first) == await source.names("w", first)


async def test_a_sleeping_run_goes_on_when_its_timer_is_due(source: Driver, d: Driver) -> None:
    run_id = await source.start()
    await source.turn(start_timer(seconds=100))
    await source.advance(40)
    assert await taken(source, d, run_id)
    await d.advance(59)
    assert not await d.has_workflow_task()
    await d.advance(1.1)
    await d.turn(complete())
    assert (await d.names())[-4:] == [
        "WorkflowTaskScheduled",
        "WorkflowTaskStarted",
        "WorkflowTaskCompleted",
        "WorkflowExecutionCompleted",
    ]
    assert not await taken(source, d, run_id)


async def test_a_signal_nobody_has_seen_is_seen_here(source: Driver, d: Driver) -> None:
    run_id = await source.start()
    await source.turn()
    await source.signal()
    assert await taken(source, d, run_id)
    task = await d.poll()
    assert task.history is not None
    assert "s" in [getattr(event.attributes, "signal_name", "") for event in task.history.events]
    await d.answer(task, complete())
    assert (await d.names())[-1] == "WorkflowExecutionCompleted"


async def test_a_failed_workflow_task_is_tried_again_here(source: Driver, d: Driver) -> None:
    run_id = await source.start()
    await source.fail_task(await source.poll())
    assert await taken(source, d, run_id)
    await d.turn(complete())
    assert (await d.names())[-1] == "WorkflowExecutionCompleted"


async def test_a_run_that_has_not_begun_waits_for_its_delay(source: Driver, d: Driver) -> None:
    run_id = await source.start(workflow_start_delay=10 * S)
    await source.advance(4)
    assert await taken(source, d, run_id)
    await d.advance(5)
    assert not await d.has_workflow_task()
    await d.advance(1.1)
    await d.turn(complete())


async def test_a_cron_run_begins_at_its_minute(source: Driver, d: Driver) -> None:
    run_id = await source.start(cron_schedule="* * * * *")
    assert await taken(source, d, run_id)
    await d.advance(58)
    assert not await d.has_workflow_task()
    await d.advance(2.1)
    await d.turn(complete())
    assert (await d.describe()).workflow_execution_info.execution.run_id != run_id  # type: ignore[union-attr]


async def test_a_paused_run_stays_where_it_is(source: Driver, d: Driver) -> None:
    run_id = await source.start()
    await source.turn()
    await source.engine.pause_workflow_execution(ws.PauseWorkflowExecutionRequest("default", "w"))
    with pytest.raises(RPCError, match="paused"):
        await taken(source, d, run_id)


async def test_a_run_survives_the_restart_after_it_came(tmp_path: Path) -> None:
    clock = Clock()
    async with driving(await MemoryStore.open(), clock) as source:
        run_id = await source.start()
        await source.turn(start_timer(seconds=1000))
        await source.signal()
        async with driving(await LMDBStore.open(tmp_path / "target"), clock) as target:
            assert await taken(source, target, run_id)
    async with driving(await LMDBStore.open(tmp_path / "target"), clock) as target:
        await target.turn()
        await target.advance(1001)
        await target.engine.core.timers.load_horizon()
        await target.advance(0.1)
        await target.turn(complete())
        assert "TimerFired" in await target.names()


async def test_a_timeout_keeps_its_moment(source: Driver, d: Driver) -> None:
    run_id = await source.start(workflow_run_timeout=100 * S)
    await source.turn()
    await source.advance(90)
    assert await taken(source, d, run_id)
    await d.advance(10.1)
    assert (await d.names())[-1] == "WorkflowExecutionTimedOut"


@pytest.mark.parametrize(("command", "text"), [(schedule_activity(), "activities"), (start_child(), "child workflows")])
async def test_what_is_under_way_stays_where_it_is(source: Driver, d: Driver, command: Any, text: str) -> None:
    run_id = await source.start()
    await source.turn(command)
    with pytest.raises(RPCError, match=text) as refused:
        await taken(source, d, run_id)
    assert refused.value.status is RPCStatusCode.FAILED_PRECONDITION
    assert await d.list() == []


async def test_a_workflow_id_that_is_in_use_stays_in_use(source: Driver, d: Driver) -> None:
    run_id = await source.start()
    own = await d.start()
    with pytest.raises(RPCError, match="already started"):
        await taken(source, d, run_id)
    assert (await d.describe()).workflow_execution_info.execution.run_id == own  # type: ignore[union-attr]


async def test_a_run_that_went_two_ways_is_refused(source: Driver, d: Driver) -> None:
    run_id = await source.start()
    await source.turn(start_timer(seconds=100))
    assert await taken(source, d, run_id)
    await source.signal()
    with pytest.raises(RPCError, match="another way"):
        await taken(source, d, run_id)


async def test_what_is_no_history_is_refused(source: Driver, d: Driver) -> None:
    run_id = await source.start()
    events = await source.history("w", run_id)
    for broken in ([], events[1:], [events[0], events[0]]):
        with pytest.raises(RPCError) as refused:
            await d.engine.import_workflow_execution(ImportWorkflowExecutionRequest("default", "w", run_id, broken))
        assert refused.value.status is RPCStatusCode.INVALID_ARGUMENT
