"""Temporal's Python SDK, as it comes from the package index, against the server."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from datetime import timedelta
from typing import Any

import pytest
from temporalio import activity, workflow
from temporalio.client import (
    Client,
    Schedule,
    ScheduleActionStartWorkflow,
    ScheduleIntervalSpec,
    ScheduleSpec,
    WorkflowExecutionStatus,
    WorkflowFailureError,
    WorkflowUpdateFailedError,
)
from temporalio.common import RetryPolicy, SearchAttributeKey, SearchAttributePair, TypedSearchAttributes
from temporalio.exceptions import ApplicationError, CancelledError, WorkflowAlreadyStartedError
from temporalio.service import RPCError, RPCStatusCode
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

SECOND = timedelta(seconds=1)
SOON = timedelta(seconds=20)
COLOR = SearchAttributeKey.for_keyword("Color")

_heartbeats: list[Any] = []
_tokens: list[bytes] = []


@activity.defn
async def greet(name: str) -> str:
    return f"Hello, {name}!"


@activity.defn
async def fail_twice() -> int:
    attempt = activity.info().attempt
    if attempt < 3:
        raise ApplicationError(f"attempt {attempt}")
    return attempt


@activity.defn
async def heartbeat_until_cancelled() -> None:
    activity.heartbeat("beating")
    try:
        while True:
            activity.heartbeat("beating")
            await asyncio.sleep(0.05)
    except asyncio.CancelledError:
        _heartbeats.append("cancelled")
        raise


@activity.defn
async def resume_from_heartbeat() -> str:
    if activity.info().attempt == 1:
        activity.heartbeat("halfway")
        raise ApplicationError("again")
    return str(activity.info().heartbeat_details[0])


@activity.defn
async def completed_elsewhere() -> str:
    _tokens.append(activity.info().task_token)
    activity.raise_complete_async()


@workflow.defn
class Greet:
    @workflow.run
    async def run(self, name: str) -> str:
        return await workflow.execute_activity(greet, name, start_to_close_timeout=SOON)


@workflow.defn
class Counter:
    """Signals, queries, updates, a timer, a search attribute."""

    def __init__(self) -> None:
        self.count = 0
        self.is_done = False

    @workflow.run
    async def run(self) -> int:
        await workflow.sleep(0.01)
        workflow.upsert_search_attributes([COLOR.value_set("blue")])
        await workflow.wait_condition(lambda: self.is_done)
        return self.count

    @workflow.signal
    def add(self, number: int) -> None:
        self.count += number

    @workflow.signal
    def finish(self) -> None:
        self.is_done = True

    @workflow.query
    def current(self) -> int:
        return self.count

    @workflow.update
    async def add_and_tell(self, number: int) -> int:
        await workflow.sleep(0.01)
        self.count += number
        return self.count

    @add_and_tell.validator
    def refuse_negative(self, number: int) -> None:
        if number < 0:
            raise ValueError("no")


@workflow.defn
class Chain:
    """Continues as new."""

    @workflow.run
    async def run(self, left: int) -> str:
        if left:
            workflow.continue_as_new(left - 1)
        return workflow.info().run_id


@workflow.defn
class Parent:
    @workflow.run
    async def run(self) -> list[str]:
        children = [
            workflow.execute_child_workflow(Greet.run, name, id=f"{workflow.info().workflow_id}-{name}")
            for name in ("a", "b")
        ]
        return list(await asyncio.gather(*children))


@workflow.defn
class Activities:
    @workflow.run
    async def run(self, what: str) -> Any:
        match what:
            case "retry":
                return await workflow.execute_activity(
                    fail_twice,
                    start_to_close_timeout=SOON,
                    retry_policy=RetryPolicy(initial_interval=timedelta(milliseconds=1)),
                )
            case "local":
                return await workflow.execute_local_activity(greet, "local", start_to_close_timeout=SOON)
            case "resume":
                return await workflow.execute_activity(
                    resume_from_heartbeat,
                    start_to_close_timeout=SOON,
                    heartbeat_timeout=SOON,
                    retry_policy=RetryPolicy(initial_interval=timedelta(milliseconds=1)),
                )
            case "elsewhere":
                return await workflow.execute_activity(completed_elsewhere, start_to_close_timeout=SOON)
            case "many":
                results = await asyncio.gather(
                    *(workflow.execute_activity(greet, str(i), start_to_close_timeout=SOON) for i in range(20))
                )
                return len(set(results))
            case _:
                handle = workflow.start_activity(
                    heartbeat_until_cancelled,
                    start_to_close_timeout=SOON,
                    heartbeat_timeout=timedelta(seconds=5),
                    cancellation_type=workflow.ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
                )
                return await handle


WORKFLOWS = [Greet, Counter, Chain, Parent, Activities]
ACTIVITIES: list[Callable[..., Awaitable[Any]]] = [
    greet,
    fail_twice,
    heartbeat_until_cancelled,
    resume_from_heartbeat,
    completed_elsewhere,
]


def working(client: Client, **options: Any) -> AbstractAsyncContextManager[Any]:
    """A worker for everything here."""
    options.setdefault("workflow_runner", UnsandboxedWorkflowRunner())
    return Worker(client, task_queue="q", workflows=WORKFLOWS, activities=ACTIVITIES, **options)


def new_id() -> str:
    return str(uuid.uuid4())


async def test_hello(client: Client) -> None:
    async with working(client):
        result = await client.execute_workflow(Greet.run, "World", id=new_id(), task_queue="q")
    assert result == "Hello, World!"


async def test_signals_queries_updates_and_a_search_attribute(client: Client) -> None:
    async with working(client):
        handle = await client.start_workflow(Counter.run, id=new_id(), task_queue="q")
        await handle.signal(Counter.add, 2)
        assert await handle.query(Counter.current) == 2
        assert await handle.execute_update(Counter.add_and_tell, 3) == 5
        with pytest.raises(WorkflowUpdateFailedError):
            await handle.execute_update(Counter.add_and_tell, -1)
        await handle.signal(Counter.finish)
        assert await handle.result() == 5
        description = await handle.describe()
        assert description.status is WorkflowExecutionStatus.COMPLETED
        assert description.typed_search_attributes[COLOR] == "blue"
        found = [execution.id async for execution in client.list_workflows('Color = "blue"')]
        assert found == [handle.id]
        assert (await client.count_workflows('Color = "blue"')).count == 1


async def test_children_and_continue_as_new(client: Client) -> None:
    async with working(client):
        assert await client.execute_workflow(Parent.run, id="p", task_queue="q") == ["Hello, a!", "Hello, b!"]
        handle = await client.start_workflow(Chain.run, 2, id=new_id(), task_queue="q")
        assert await handle.result() != handle.first_execution_run_id


@pytest.mark.parametrize(
    ("what", "result"), [("retry", 3), ("local", "Hello, local!"), ("resume", "halfway"), ("many", 20)]
)
async def test_activities(client: Client, what: str, result: object) -> None:
    async with working(client):
        assert await client.execute_workflow(Activities.run, what, id=new_id(), task_queue="q") == result


async def test_an_activity_completed_elsewhere(client: Client) -> None:
    async with working(client):
        handle = await client.start_workflow(Activities.run, "elsewhere", id=new_id(), task_queue="q")
        while not _tokens:
            await asyncio.sleep(0.01)
        token = _tokens.pop()
        await client.get_async_activity_handle(task_token=token).heartbeat("still")
        await client.get_async_activity_handle(task_token=token).complete("from afar")
        assert await handle.result() == "from afar"


async def test_cancelling_a_workflow_cancels_its_heartbeating_activity(client: Client) -> None:
    _heartbeats.clear()
    async with working(client, max_heartbeat_throttle_interval=timedelta(milliseconds=50)):
        handle = await client.start_workflow(Activities.run, "cancel", id=new_id(), task_queue="q")
        while not (await handle.describe()).raw_description.pending_activities:
            await asyncio.sleep(0.01)
        await handle.cancel()
        with pytest.raises(WorkflowFailureError) as failure:
            await handle.result()
    assert isinstance(failure.value.cause, CancelledError)
    assert _heartbeats == ["cancelled"]


async def test_a_worker_without_a_cache_replays(client: Client) -> None:
    async with working(client, max_cached_workflows=0):
        handle = await client.start_workflow(Counter.run, id=new_id(), task_queue="q")
        for number in range(5):
            await handle.execute_update(Counter.add_and_tell, number)
        await handle.signal(Counter.finish)
        assert await handle.result() == 10


async def test_another_worker_takes_over(client: Client) -> None:
    handle = await client.start_workflow(Counter.run, id=new_id(), task_queue="q")
    async with working(client):
        assert await handle.execute_update(Counter.add_and_tell, 1) == 1
    async with working(client):
        assert await handle.query(Counter.current) == 1
        await handle.signal(Counter.finish)
        assert await handle.result() == 1


async def test_schedules(client: Client) -> None:
    async with working(client):
        schedule = Schedule(
            action=ScheduleActionStartWorkflow(Greet.run, "schedule", id="scheduled", task_queue="q"),
            spec=ScheduleSpec(intervals=[ScheduleIntervalSpec(every=timedelta(hours=1))]),
        )
        handle = await client.create_schedule("hourly", schedule, trigger_immediately=True)
        while not (description := await handle.describe()).info.recent_actions:
            await asyncio.sleep(0.01)
        started = description.info.recent_actions[0].action
        result = await client.get_workflow_handle(started.workflow_id).result()  # type: ignore[union-attr]
        assert result == "Hello, schedule!"
        await handle.pause(note="for now")
        assert (await handle.describe()).schedule.state.paused
        await handle.delete()


async def test_typed_search_attributes_at_the_start(client: Client) -> None:
    attributes = TypedSearchAttributes([SearchAttributePair(COLOR, "red")])
    handle = await client.start_workflow(
        Counter.run, id=new_id(), task_queue="q", search_attributes=attributes, memo={"why": "test"}
    )
    description = await handle.describe()
    assert description.typed_search_attributes[COLOR] == "red"
    assert await description.memo_value("why") == "test"


async def test_refusals_come_with_their_details(client: Client) -> None:
    await client.start_workflow(Counter.run, id="taken", task_queue="q")
    with pytest.raises(WorkflowAlreadyStartedError) as taken:
        await client.start_workflow(Counter.run, id="taken", task_queue="q")
    assert taken.value.workflow_id == "taken"
    assert taken.value.run_id
    with pytest.raises(RPCError) as missing:
        await client.get_workflow_handle("nobody").describe()
    assert missing.value.status is RPCStatusCode.NOT_FOUND


async def test_terminate_and_history(client: Client) -> None:
    handle = await client.start_workflow(Counter.run, id=new_id(), task_queue="q")
    await handle.terminate("enough")
    events = [event.event_type async for event in handle.fetch_history_events()]
    assert len(events) == 3
    with pytest.raises(WorkflowFailureError):
        await handle.result()
