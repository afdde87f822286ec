"""Workers of other processes: what they hold outlives the engine, and what does not reach them comes back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any, cast

import pytest

from perdure.api.command import v1 as command_v1
from perdure.api.common import v1 as common_v1
from perdure.api.operatorservice import v1 as operatorservice_v1
from perdure.api.query import v1 as query_v1
from perdure.api.taskqueue import v1 as taskqueue_v1
from perdure.api.workflowservice import v1 as ws
from perdure.engine import Engine
from perdure.engine.matching import Matching
from perdure.service import RPCError, RPCStatusCode
from perdure.store.api import Durability, Store
from perdure.store.lmdb import LMDBStore
from tests.engine.driver import Clock, Driver, S, command, complete, driving, name, payloads, queue, schedule_activity


@pytest.fixture
async def r(open_store: Callable[[], Awaitable[Store]]) -> AsyncIterator[Driver]:
    """An engine driven from afar."""
    async with driving(await open_store()) as driver:
        yield Driver(cast("Any", driver.engine.remote), driver.clock)


def sticky(seconds: int = 5) -> taskqueue_v1.StickyExecutionAttributes:
    """A worker's own queue."""
    return taskqueue_v1.StickyExecutionAttributes(queue("sticky", 2, "q"), seconds * S)


async def poll_sticky(r: Driver) -> ws.PollWorkflowTaskQueueResponse:
    return await r.poll(queue("sticky", 2, "q"))


async def test_a_worker_elsewhere_keeps_its_tasks_over_a_restart(tmp_path: Path) -> None:
    clock = Clock()

    async def open_engine() -> Engine:
        return await Engine.open(await LMDBStore.open(tmp_path / "store", durability=Durability.PROCESS), clock=clock)

    engine = await open_engine()
    r = Driver(cast("Any", engine.remote), clock)
    assert not r.engine.in_process
    await r.start()
    task = await r.poll()
    await r.engine.close()
    await engine.close()

    engine = await open_engine()
    r = Driver(cast("Any", engine.remote), clock)
    await r.answer(task, schedule_activity())
    activity = await r.poll_activity()
    await engine.close()

    engine = await open_engine()
    r = Driver(cast("Any", engine.remote), clock)
    await r.complete_activity(activity)
    await r.turn(complete())
    assert await r.names() == [
        "WorkflowExecutionStarted",
        "WorkflowTaskScheduled",
        "WorkflowTaskStarted",
        "WorkflowTaskCompleted",
        "ActivityTaskScheduled",
        "ActivityTaskStarted",
        "ActivityTaskCompleted",
        "WorkflowTaskScheduled",
        "WorkflowTaskStarted",
        "WorkflowTaskCompleted",
        "WorkflowExecutionCompleted",
    ]
    await engine.close()


async def test_a_worker_that_went_away_loses_its_task_to_the_timeout(r: Driver) -> None:
    await r.start()
    lost = await r.poll()
    await r.advance(9)
    assert not await r.has_workflow_task()
    await r.advance(2)
    task = await r.poll()
    assert task.attempt == 2
    with pytest.raises(RPCError) as refused:
        await r.answer(lost, complete())
    assert refused.value.status is RPCStatusCode.NOT_FOUND
    await r.answer(task, complete())


async def test_a_sticky_task_that_nobody_takes_goes_to_the_normal_queue(r: Driver) -> None:
    await r.start()
    await r.turn(sticky_attributes=sticky())
    first = asyncio.create_task(poll_sticky(r))
    for _ in range(5):
        await asyncio.sleep(0)
    await r.signal()
    await r.answer(await first, sticky_attributes=sticky())
    await r.signal()
    assert not await r.has_workflow_task()
    await r.advance(6)
    task = await r.poll()
    assert task.history is not None
    assert task.history.events[0].event_id == 1
    assert "WorkflowTaskTimedOut" in [name(event) for event in task.history.events]


async def test_an_undelivered_workflow_task_comes_back_at_once(r: Driver) -> None:
    await r.start()
    task = await r.poll()
    await r.engine.give_back(task)  # type: ignore[attr-defined]
    again = await r.poll()
    assert again.attempt == 2
    await r.engine.give_back(task)  # type: ignore[attr-defined]
    await r.answer(again, complete())
    await r.engine.give_back(again)  # type: ignore[attr-defined]


async def test_an_undelivered_activity_comes_back_as_the_same_attempt(r: Driver) -> None:
    await r.start()
    await r.turn(schedule_activity())
    activity = await r.poll_activity()
    await r.engine.give_back(activity)  # type: ignore[attr-defined]
    again = await r.poll_activity()
    assert again.attempt == 1
    await r.complete_activity(again)
    await r.engine.give_back(again)  # type: ignore[attr-defined]
    await r.turn(complete())


async def test_an_undelivered_query_is_asked_again(r: Driver) -> None:
    await r.start()
    await r.turn()
    asking = asyncio.create_task(r.query())
    await r.engine.give_back(await r.poll())  # type: ignore[attr-defined]
    task = await r.poll()
    assert task.query is not None
    await r.engine.respond_query_task_completed(
        ws.RespondQueryTaskCompletedRequest(task.task_token, 1, payloads(b"1"), namespace="default")
    )
    assert (await asking).query_result == payloads(b"1")


async def test_a_poll_cancelled_while_its_task_is_read_leaves_it_to_the_next(
    r: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    await r.start()
    reading = asyncio.Event()

    async def read_forever(*_: Any) -> Any:
        reading.set()
        await asyncio.Event().wait()

    core = r.engine.core
    with monkeypatch.context() as patch:
        patch.setattr(core, "read_events", read_forever)
        poll = asyncio.create_task(
            r.engine.poll_workflow_task_queue(ws.PollWorkflowTaskQueueRequest("default", queue(), "worker"))
        )
        await reading.wait()
        poll.cancel()
        with pytest.raises(asyncio.CancelledError):
            await poll
    task = await r.poll()
    assert task.attempt == 2
    await r.answer(task, complete())


async def test_a_long_history_comes_in_pages(r: Driver) -> None:
    await r.start()
    for number in range(300):
        await r.signal(signal=f"s{number}")
    task = await r.poll()
    assert task.history is not None and task.next_page_token
    events = list(task.history.events)
    assert len(events) == 256
    page = await r.engine.get_workflow_execution_history(
        ws.GetWorkflowExecutionHistoryRequest(
            "default", common_v1.WorkflowExecution("w"), next_page_token=task.next_page_token
        )
    )
    assert page.history is not None and not page.next_page_token
    events += page.history.events
    assert [event.event_id for event in events] == list(range(1, 304))
    assert name(events[-1]) == "WorkflowTaskStarted"


async def test_the_last_page_of_a_retry_ends_with_its_own_events(r: Driver) -> None:
    await r.start()
    for number in range(300):
        await r.signal(signal=f"s{number}")
    await r.fail_task(await r.poll())
    await r.signal()
    task = await r.poll()
    await r.fail_task(task)
    task = await r.poll()
    assert task.attempt > 1 and task.history is not None
    page = await r.engine.get_workflow_execution_history(
        ws.GetWorkflowExecutionHistoryRequest(
            "default", common_v1.WorkflowExecution("w"), next_page_token=task.next_page_token
        )
    )
    assert page.history is not None
    assert [name(event) for event in page.history.events[-2:]] == ["WorkflowTaskScheduled", "WorkflowTaskStarted"]
    assert page.history.events[-1].event_id == task.started_event_id


async def test_activities_a_worker_keeps_slots_for_come_with_the_answer(r: Driver) -> None:
    await r.start()
    answer = await r.answer(
        await r.poll(),
        schedule_activity("1", request_eager_execution=True, task_queue=queue("q")),
        schedule_activity("2", task_queue=queue("q")),
        schedule_activity("3", request_eager_execution=True, task_queue=queue("other")),
    )
    assert [task.activity_id for task in answer.activity_tasks] == ["1"]
    polled = await r.poll_activity()
    assert polled.activity_id == "2"
    await r.complete_activity(answer.activity_tasks[0])
    await r.turn()
    described = await r.describe()
    assert {pending.activity_id for pending in described.pending_activities} == {"2", "3"}


async def test_undelivered_eager_tasks_come_back(r: Driver) -> None:
    started = await r.start_full(request_eager_execution=True)
    assert started.eager_workflow_task is not None
    await r.engine.give_back(started)  # type: ignore[attr-defined]
    answer = await r.answer(await r.poll(), schedule_activity("1", request_eager_execution=True, task_queue=queue("q")))
    await r.engine.give_back(answer)  # type: ignore[attr-defined]
    assert (await r.poll_activity()).activity_id == "1"


async def test_queries_that_wait_for_a_task_come_one_at_a_time(r: Driver) -> None:
    await r.start()
    first = asyncio.create_task(r.query())
    await asyncio.sleep(0.01)
    with pytest.raises(RPCError, match="buffer is full") as refused:
        await r.query()
    assert refused.value.status is RPCStatusCode.RESOURCE_EXHAUSTED
    task = await r.poll()
    (query_id,) = task.queries
    await r.answer(task, query_results={query_id: query_v1.WorkflowQueryResult(1, payloads(b"1"))})
    assert (await first).query_result == payloads(b"1")
    others = [asyncio.create_task(r.query()) for _ in range(2)]  # no task is pending: they go out by themselves
    for number in (b"2", b"3"):
        task = await r.poll()
        await r.engine.respond_query_task_completed(
            ws.RespondQueryTaskCompletedRequest(task.task_token, 1, payloads(number))
        )
    assert [(await other).query_result for other in others] == [payloads(b"2"), payloads(b"3")]


async def test_a_query_of_a_long_history_comes_in_pages(r: Driver) -> None:
    await r.start()
    for number in range(300):
        await r.signal(signal=f"s{number}")
    await r.turn()
    asking = asyncio.create_task(r.query())
    task = await r.poll()
    assert task.query == query_v1.WorkflowQuery("state") and task.next_page_token
    asking.cancel()


async def test_a_token_is_of_use_in_its_own_namespace_only(r: Driver) -> None:
    await r.engine.register_namespace(
        ws.RegisterNamespaceRequest("other", workflow_execution_retention_period=3 * 86_400 * S)
    )
    await r.start()
    task = await r.poll()
    for name_, refused in (("other", True), ("nobody", True), ("default", False)):
        request = ws.RespondWorkflowTaskCompletedRequest(task.task_token, [complete()], namespace=name_)
        if refused:
            with pytest.raises(RPCError):
                await r.engine.respond_workflow_task_completed(request)
        else:
            await r.engine.respond_workflow_task_completed(request)


async def test_a_queue_by_versions(r: Driver) -> None:
    await r.start()
    described = await r.engine.describe_task_queue(
        ws.DescribeTaskQueueRequest("default", queue(), api_mode=1, report_stats=True, report_pollers=True)
    )
    assert not described.pollers
    types = described.versions_info[""].types_info
    assert set(types) == {1, 2}
    assert types[1].stats is not None and types[1].stats.approximate_backlog_count == 1


async def test_tools_are_not_shown_events_that_no_history_holds(r: Driver) -> None:
    await r.start()
    await r.fail_task(await r.poll())
    await r.fail_task(await r.poll())
    await r.poll()
    request = ws.GetWorkflowExecutionHistoryRequest("default", common_v1.WorkflowExecution("w"))
    counts = []
    for client in ("temporal-go", "temporal-cli"):
        page = await r.engine.get_workflow_execution_history(request, metadata={"client-name": client})
        assert page.history is not None
        counts.append(len(page.history.events))
    assert counts[0] == counts[1] + 2


async def test_search_attributes_must_have_been_added(r: Driver) -> None:
    color = common_v1.SearchAttributes(
        {"Color": common_v1.Payload({"encoding": b"json/plain", "type": b"Keyword"}, b'"red"')}
    )
    upsert = command(
        "UPSERT_WORKFLOW_SEARCH_ATTRIBUTES", command_v1.UpsertWorkflowSearchAttributesCommandAttributes(color)
    )
    with pytest.raises(RPCError, match="no mapping defined for search attribute Color"):
        await r.start(search_attributes=color)
    await r.start()
    task = await r.poll()
    with pytest.raises(RPCError, match="no mapping defined"):
        await r.answer(task, upsert)
    task = await r.poll()
    await r.engine.add_search_attributes(operatorservice_v1.AddSearchAttributesRequest({"Color": 2}, "default"))
    await r.answer(task, upsert)
    await r.start("other", search_attributes=color)
    assert set(await r.list('Color = "red"')) == {"w", "other"}


async def test_unused_queues_are_forgotten(d: Driver) -> None:
    core = d.engine.core
    await d.start()
    await d.answer(await d.poll(), sticky_attributes=sticky())
    await d.start("waiting", task_queue=queue("waiting"))
    polling = asyncio.create_task(d.poll(queue("polled")))
    for _ in range(5):
        await asyncio.sleep(0)
    for name_ in ("q", "waiting", "polled"):
        assert _known(core, name_)
    await d.settle()
    d.engine._idle_queues.forget(3600.0)
    assert _known(core, "q")
    d.engine._idle_queues.forget(-1.0)
    is_cluster = type(core.matching) is not Matching
    assert (_known(core, "q"), _known(core, "waiting"), _known(core, "polled")) == (is_cluster, True, True)
    assert (await d.poll(queue("waiting"))).attempt == 1
    polling.cancel()
    await d.signal()
    await d.answer(await d.poll(), complete())


def _known(core: Any, name_: str) -> bool:
    return any(key[2] == name_ for key in core.matching._queues)
