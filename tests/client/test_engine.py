"""The client over a real engine: what the fake service cannot show."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest

from perdure import Client, Worker, activity, workflow
from perdure.client import (
    AsyncActivityCancelledError,
    WorkflowExecutionStatus,
    WorkflowFailureError,
    WorkflowHistory,
    WorkflowQueryFailedError,
    WorkflowQueryRejectedError,
)
from perdure.common import QueryRejectCondition, WorkflowIDConflictPolicy, WorkflowIDReusePolicy
from perdure.exceptions import CancelledError, TerminatedError, WorkflowAlreadyStartedError
from perdure.service import RPCError, RPCStatusCode

QUEUE = "queue"
tokens: asyncio.Queue[bytes]
loop: asyncio.AbstractEventLoop
completed: threading.Event


@activity.defn
async def elsewhere() -> str:
    await tokens.put(activity.info().task_token)
    activity.raise_complete_async()


@activity.defn
def completed_before_it_left() -> str:
    loop.call_soon_threadsafe(tokens.put_nowait, activity.info().task_token)
    assert completed.wait(30)
    activity.raise_complete_async()


@workflow.defn
class Counter:
    """Adds what is signalled until it is told to stop."""

    def __init__(self) -> None:
        self.total = 0
        self.stopped = False

    @workflow.run
    async def run(self, begin: int) -> int:
        self.total += begin
        await workflow.wait_condition(lambda: self.stopped)
        return self.total

    @workflow.signal
    def add(self, amount: int) -> None:
        self.total += amount

    @workflow.signal
    def stop(self) -> None:
        self.stopped = True

    @workflow.query
    def value(self) -> int:
        return self.total


@workflow.defn
class Delegating:
    @workflow.run
    async def run(self, name: str = "elsewhere") -> str:
        return await workflow.execute_activity(
            name, result_type=str, start_to_close_timeout=timedelta(seconds=30), activity_id="there"
        )


@workflow.defn(failure_exception_types=[Exception])
class UsesAClient:
    client: Client

    @workflow.run
    async def run(self) -> int:
        return (await self.client.count_workflows()).count


@pytest.fixture
async def client() -> AsyncIterator[Client]:
    global tokens, loop, completed
    tokens = asyncio.Queue()
    loop = asyncio.get_running_loop()
    completed = threading.Event()
    async with (
        await Client.connect("memory:") as client,
        Worker(
            client,
            task_queue=QUEUE,
            workflows=[Counter, Delegating, UsesAClient],
            activities=[elsewhere, completed_before_it_left],
        ),
    ):
        yield client


async def test_a_conversation(client: Client) -> None:
    handle = await client.start_workflow(
        Counter.run, 5, id="c", task_queue=QUEUE, memo={"why": "test"}, static_summary="counts"
    )
    await handle.signal(Counter.add, 7)
    assert await handle.query(Counter.value) == 12
    await handle.signal(Counter.stop)
    assert await handle.result() == 12
    description = await handle.describe()
    assert description.status is WorkflowExecutionStatus.COMPLETED
    assert await description.memo() == {"why": "test"}
    assert await description.static_summary() == "counts"
    history = await handle.fetch_history()
    assert description.history_length == len(history.events)
    assert history.run_id == handle.result_run_id
    assert list(WorkflowHistory.from_json("c", history.to_json()).events) == list(history.events)
    assert await handle.query(Counter.value) == 12
    with pytest.raises(WorkflowQueryRejectedError) as rejected:
        await handle.query(Counter.value, reject_condition=QueryRejectCondition.NOT_OPEN)
    assert rejected.value.status is WorkflowExecutionStatus.COMPLETED
    with pytest.raises(WorkflowQueryFailedError, match="nothing"):
        await handle.query("nothing")
    with pytest.raises(RPCError) as refused:
        await handle.signal(Counter.stop)
    assert refused.value.status is RPCStatusCode.NOT_FOUND


async def test_taken_ids(client: Client) -> None:
    first = await client.start_workflow(Counter.run, 1, id="c", task_queue=QUEUE)
    with pytest.raises(WorkflowAlreadyStartedError) as taken:
        await client.start_workflow(Counter.run, 2, id="c", task_queue=QUEUE)
    assert taken.value.run_id == first.result_run_id
    same = await client.start_workflow(
        Counter.run, 2, id="c", task_queue=QUEUE, id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING
    )
    assert same.result_run_id == first.result_run_id
    signalled = await client.start_workflow(
        Counter.run, 2, id="c", task_queue=QUEUE, start_signal="add", start_signal_args=[10]
    )
    assert signalled.result_run_id == first.result_run_id
    await first.signal(Counter.stop)
    assert await signalled.result() == 11
    with pytest.raises(WorkflowAlreadyStartedError):
        await client.start_workflow(
            Counter.run, 2, id="c", task_queue=QUEUE, id_reuse_policy=WorkflowIDReusePolicy.REJECT_DUPLICATE
        )


async def test_ends_that_were_asked_for(client: Client) -> None:
    cancelled = await client.start_workflow(Counter.run, 1, id="cancelled", task_queue=QUEUE)
    await cancelled.cancel(reason="enough")
    with pytest.raises(WorkflowFailureError) as failed:
        await cancelled.result()
    assert isinstance(failed.value.cause, CancelledError)
    terminated = await client.start_workflow(Counter.run, 1, id="terminated", task_queue=QUEUE)
    await terminated.terminate("detail", reason="now")
    with pytest.raises(WorkflowFailureError) as failed:
        await terminated.result()
    assert isinstance(failed.value.cause, TerminatedError)
    assert (failed.value.cause.message, failed.value.cause.details) == ("now", ("detail",))


async def test_lists_and_counts(client: Client) -> None:
    for number in range(5):
        handle = await client.start_workflow(Counter.run, number, id=f"c{number}", task_queue=QUEUE)
        if number % 2:
            await handle.terminate()
    running = [execution.id async for execution in client.list_workflows("ExecutionStatus = 'Running'", page_size=2)]
    assert sorted(running) == ["c0", "c2", "c4"]
    assert (await client.count_workflows("WorkflowType = 'Counter'")).count == 5
    groups = (await client.count_workflows("GROUP BY ExecutionStatus")).groups
    assert {(group.group_values[0], group.count) for group in groups} == {("Running", 3), ("Terminated", 2)}
    assert len([history async for history in client.list_workflows(limit=2).map_histories()]) == 2
    with pytest.raises(RPCError, match="invalid query"):
        await client.count_workflows("Nothing = 5")


async def test_reset_and_delete(client: Client) -> None:
    handle = await client.start_workflow(Counter.run, 1, id="c", task_queue=QUEUE)
    await handle.signal(Counter.add, 2)
    assert await handle.query(Counter.value) == 3
    again = await handle.reset(reason="once more")
    assert again.run_id != handle.result_run_id
    with pytest.raises(WorkflowFailureError) as failed:
        await handle.result()
    assert isinstance(failed.value.cause, TerminatedError)
    await again.signal(Counter.stop)
    assert await again.result() == 3
    await again.delete()
    with pytest.raises(RPCError) as refused:
        await again.describe()
    assert refused.value.status is RPCStatusCode.NOT_FOUND


@pytest.mark.parametrize("by_id", [True, False])
async def test_activities_completed_from_outside(client: Client, by_id: bool) -> None:
    workflow_handle = await client.start_workflow(Delegating.run, id="d", task_queue=QUEUE)
    token = await tokens.get()
    handle = (
        client.get_async_activity_handle(workflow_id="d", run_id=None, activity_id="there")
        if by_id
        else client.get_async_activity_handle(task_token=token)
    )
    await handle.heartbeat("half")
    await handle.complete("done")
    assert await workflow_handle.result() == "done"
    with pytest.raises(RPCError) as refused:
        await handle.complete("again")
    assert refused.value.status is RPCStatusCode.NOT_FOUND


async def test_an_activity_completed_before_it_left(client: Client) -> None:
    for number in range(2):  # the second shows that the worker goes on
        completed.clear()
        handle = await client.start_workflow(
            Delegating.run, "completed_before_it_left", id=f"d{number}", task_queue=QUEUE
        )
        activity_handle = client.get_async_activity_handle(task_token=await tokens.get())
        await activity_handle.complete("early")
        assert await handle.result() == "early"
        completed.set()


async def test_activities_learn_of_their_cancellation_outside(client: Client) -> None:
    workflow_handle = await client.start_workflow(Delegating.run, id="d", task_queue=QUEUE)
    handle = client.get_async_activity_handle(task_token=await tokens.get())
    await workflow_handle.terminate()
    with pytest.raises((RPCError, AsyncActivityCancelledError)):
        await handle.heartbeat()


async def test_a_workflow_cannot_use_a_client(client: Client) -> None:
    UsesAClient.client = client
    with pytest.raises(WorkflowFailureError) as failed:
        await client.execute_workflow(UsesAClient.run, id="u", task_queue=QUEUE)
    assert "a workflow cannot use a client: that would not replay" in str(failed.value.cause)


async def test_waiting_for_an_unknown_workflow_fails_at_once(client: Client) -> None:
    with pytest.raises(RPCError) as refused:
        await client.get_workflow_handle("nobody").result()
    assert refused.value.status is RPCStatusCode.NOT_FOUND


async def test_closing_ends_those_who_wait() -> None:
    client = await Client.connect("memory:")
    handle = await client.start_workflow("Nobody", id="n", task_queue=QUEUE)
    waiting = asyncio.ensure_future(handle.result())
    await asyncio.sleep(0)
    await client.close()
    with pytest.raises(RPCError) as refused:
        await waiting
    assert refused.value.status is RPCStatusCode.UNAVAILABLE


@pytest.mark.parametrize("durability", ["full", "process"])
async def test_what_was_acknowledged_is_there_after_reopening(tmp_path: Path, durability: str) -> None:
    url = f"lmdb:{tmp_path / 'data'}"
    async with (
        await Client.connect(url, durability=durability) as first,
        await Client.connect(url, durability=durability),
    ):
        handle = await first.start_workflow(Counter.run, 1, id="c", task_queue=QUEUE)
        await handle.signal(Counter.add, 2)
    async with (
        await Client.connect(f"{url}?durability={durability}") as client,
        Worker(client, task_queue=QUEUE, workflows=[Counter]),
    ):
        again = client.get_workflow_handle_for(Counter.run, "c")
        assert await again.query(Counter.value) == 3
        await again.signal(Counter.stop)
        assert await again.result() == 3
        assert await client.get_workflow_handle("c", run_id=handle.result_run_id).result() == 3


async def test_health() -> None:
    async with await Client.connect("memory:") as client:
        assert await client.service_client.check_health()
        with pytest.raises(RPCError, match="unknown service 'other'") as refused:
            await client.service_client.check_health(service="other")
        assert refused.value.status is RPCStatusCode.NOT_FOUND
