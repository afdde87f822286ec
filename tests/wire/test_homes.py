"""The whole API at homes with a wire: ``perdure server``, and a Temporal dev server where there is one.

The latter needs the environment variable PERDURE_TEMPORAL_SERVER: a ``temporal`` binary, or the host:port of a server.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from datetime import timedelta
from typing import Any

import pytest

from perdure.api.enums.v1 import IndexedValueType
from perdure.api.operatorservice.v1 import AddSearchAttributesRequest
from perdure.client import (
    BuildIdOpAddNewDefault,
    Client,
    Schedule,
    ScheduleActionStartWorkflow,
    ScheduleSpec,
    WithStartWorkflowOperation,
    WorkflowExecutionStatus,
    WorkflowFailureError,
    WorkflowQueryFailedError,
    WorkflowUpdateFailedError,
    WorkflowUpdateStage,
)
from perdure.common import SearchAttributePair, TypedSearchAttributes, WorkflowIDConflictPolicy
from perdure.exceptions import ApplicationError, CancelledError, WorkflowAlreadyStartedError
from perdure.server import Server
from perdure.service import RPCError
from perdure.worker import Replayer, Worker
from tests.wire.programs import (
    ACTIVITIES,
    KEYWORD,
    WORKFLOWS,
    Again,
    Async,
    Cancellable,
    Counter,
    Failing,
    Hello,
    Long,
    ManyThings,
    Searchable,
    Signaller,
    tokens,
)


@pytest.fixture(params=["perdure", "temporal"])
async def client(request: pytest.FixtureRequest) -> AsyncIterator[Client]:
    async with AsyncExitStack() as stack:
        if request.param == "perdure":
            server = await stack.enter_async_context(Server("memory:", port=0, drain_seconds=1))
            address = server.address
        else:
            address = request.getfixturevalue("dev_server")
        client = await Client.connect(f"temporal://{address}")
        stack.push_async_callback(client.close)
        yield client


@pytest.fixture
def task_queue() -> str:
    return f"wire-{uuid.uuid4()}"


@pytest.fixture
async def worker(client: Client, task_queue: str) -> AsyncIterator[Worker]:
    async with Worker(
        client,
        task_queue=task_queue,
        workflows=WORKFLOWS,
        activities=ACTIVITIES,
        default_heartbeat_throttle_interval=timedelta(milliseconds=100),
        max_heartbeat_throttle_interval=timedelta(milliseconds=100),
    ) as worker:
        yield worker


@pytest.fixture
def options(worker: Worker, task_queue: str) -> dict[str, Any]:
    return {"id": f"w-{uuid.uuid4()}", "task_queue": task_queue}


async def test_hello(client: Client, options: dict[str, Any]) -> None:
    assert await client.execute_workflow(Hello.run, "wire", **options) == "Hello, wire!"
    description = await client.get_workflow_handle(options["id"]).describe()
    assert description.status is WorkflowExecutionStatus.COMPLETED
    assert description.workflow_type == "Hello"


async def test_many_things_and_their_replay(client: Client, options: dict[str, Any]) -> None:
    handle = await client.start_workflow(ManyThings.run, **options)
    assert await handle.result() == [5, "Hello, local!", "Hello, child!", 2, True, "4"]
    history = await handle.fetch_history()
    await Replayer(workflows=WORKFLOWS).replay_workflow(history)


async def test_signals_queries_and_updates(client: Client, options: dict[str, Any]) -> None:
    handle = await client.start_workflow(Counter.run, **options)
    await handle.signal(Counter.add, 2)
    assert await handle.query(Counter.now) == 2
    with pytest.raises(WorkflowQueryFailedError, match="no answer"):
        await handle.query(Counter.broken)
    assert await handle.execute_update(Counter.add_and_greet, 3) == "Hello, 5!"
    with pytest.raises(WorkflowUpdateFailedError) as rejected:
        await handle.execute_update(Counter.add_and_greet, -1)
    assert "negative" in str(rejected.value.cause)
    update = await handle.start_update(Counter.add_and_greet, 1, wait_for_stage=WorkflowUpdateStage.ACCEPTED)
    assert await update.result() == "Hello, 6!"
    await handle.signal(Counter.finish)
    assert await handle.result() == 6
    assert await handle.query(Counter.now) == 6


async def test_update_with_start_and_signal_with_start(client: Client, options: dict[str, Any]) -> None:
    start = WithStartWorkflowOperation(Counter.run, id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING, **options)
    assert (
        await client.execute_update_with_start_workflow(Counter.add_and_greet, 4, start_workflow_operation=start)
        == "Hello, 4!"
    )
    handle = await client.start_workflow(Counter.run, **options, start_signal="finish")
    assert await handle.result() == 4


async def test_workflows_signal_each_other(client: Client, options: dict[str, Any]) -> None:
    handle = await client.start_workflow(Counter.run, **options)
    await client.execute_workflow(
        Signaller.run, options["id"], id=options["id"] + "-signaller", task_queue=options["task_queue"]
    )
    assert await handle.result() == 5


async def test_continue_as_new(client: Client, options: dict[str, Any]) -> None:
    assert await client.execute_workflow(Again.run, 2, **options)


async def test_cancellation(client: Client, options: dict[str, Any]) -> None:
    handle = await client.start_workflow(Cancellable.run, **options)
    while not (await handle.describe()).raw_description.pending_activities:
        await asyncio.sleep(0.01)
    await handle.cancel()
    assert await handle.result() == "cancelled"
    waiting = await client.start_workflow(Counter.run, id=options["id"] + "2", task_queue=options["task_queue"])
    await waiting.query(Counter.now)
    await waiting.cancel()
    with pytest.raises(WorkflowFailureError) as cancelled:
        await waiting.result()
    assert isinstance(cancelled.value.cause, CancelledError)


async def test_completion_elsewhere(client: Client, options: dict[str, Any]) -> None:
    handle = await client.start_workflow(Async.run, **options)
    while not tokens:
        await asyncio.sleep(0.01)
    activity = client.get_async_activity_handle(task_token=tokens.pop())
    await activity.heartbeat("still there")
    await activity.complete("done elsewhere")
    assert await handle.result() == "done elsewhere"


async def test_failures_travel(client: Client, options: dict[str, Any]) -> None:
    with pytest.raises(WorkflowFailureError) as failed:
        await client.execute_workflow(Failing.run, **options)
    cause = failed.value.cause
    assert isinstance(cause, ApplicationError)
    assert (cause.message, cause.type, cause.non_retryable, cause.details) == (
        "as planned",
        "Planned",
        True,
        ({"a": 1},),
    )
    with pytest.raises(RPCError, match="not found"):
        await client.get_workflow_handle("nobody").describe()
    await client.start_workflow(Counter.run, id=options["id"] + "2", task_queue=options["task_queue"])
    with pytest.raises(WorkflowAlreadyStartedError):
        await client.start_workflow(Counter.run, id=options["id"] + "2", task_queue=options["task_queue"])


async def test_search_attributes_and_lists(client: Client, options: dict[str, Any]) -> None:
    try:
        await client.operator_service.add_search_attributes(
            AddSearchAttributesRequest(
                {KEYWORD.name: int(IndexedValueType.INDEXED_VALUE_TYPE_KEYWORD)}, namespace=client.namespace
            )
        )
    except RPCError as error:
        assert "already" in error.message
    handle = await client.start_workflow(
        Searchable.run,
        **options,
        memo={"note": "old"},
        search_attributes=TypedSearchAttributes([SearchAttributePair(KEYWORD, "first")]),
    )
    assert await handle.result() == "changed"
    description = await handle.describe()
    assert await description.memo() == {"note": "new"}
    query = f"{KEYWORD.name} = 'changed' AND WorkflowId = '{options['id']}'"
    while not (found := [execution async for execution in client.list_workflows(query)]):
        await asyncio.sleep(0.05)
    assert [execution.id for execution in found] == [options["id"]]
    assert (await client.count_workflows(query)).count == 1


async def test_schedules(client: Client, options: dict[str, Any]) -> None:
    handle = await client.create_schedule(
        options["id"],
        Schedule(
            action=ScheduleActionStartWorkflow(
                Hello.run, "schedule", id=options["id"] + "-run", task_queue=options["task_queue"]
            ),
            spec=ScheduleSpec(cron_expressions=["0 0 1 1 *"]),
        ),
    )
    await handle.trigger()
    while not (actions := (await handle.describe()).info.recent_actions):
        await asyncio.sleep(0.05)
    started: Any = actions[0].action
    assert await client.get_workflow_handle(started.workflow_id).result() == "Hello, schedule!"
    await handle.pause(note="enough")
    assert (await handle.describe()).schedule.state.paused
    await handle.delete()


async def test_histories_of_several_pages(client: Client, task_queue: str) -> None:
    """A worker without a cache fetches the whole history, page by page, for every task."""
    async with Worker(
        client, task_queue=task_queue, workflows=WORKFLOWS, activities=ACTIVITIES, max_cached_workflows=0
    ):
        handle = await client.start_workflow(Long.run, 60, id=f"w-{uuid.uuid4()}", task_queue=task_queue)
        assert await handle.result() == 60
        events = [event async for event in handle.fetch_history_events(page_size=7)]
        assert [event.event_id for event in events] == list(range(1, len(events) + 1))


async def test_another_worker_takes_over(client: Client, task_queue: str) -> None:
    """A run leaves the sticky queue of a worker that has gone, and is replayed by the next."""
    everything: dict[str, Any] = {"task_queue": task_queue, "workflows": WORKFLOWS, "activities": ACTIVITIES}
    async with Worker(client, **everything):
        handle = await client.start_workflow(Counter.run, id=f"w-{uuid.uuid4()}", task_queue=task_queue)
        assert await handle.execute_update(Counter.add_and_greet, 1) == "Hello, 1!"
    async with Worker(client, **everything):
        await handle.signal(Counter.add, 1)
        assert await handle.query(Counter.now) == 2
        await handle.signal(Counter.finish)
        assert await handle.result() == 2


async def test_a_worker_changes_its_connection(client: Client, worker: Worker, options: dict[str, Any]) -> None:
    config = client.service_client.config
    other = await Client.connect(config.target_host)
    worker.client = other
    assert await other.execute_workflow(Hello.run, "again", **options) == "Hello, again!"
    worker.client = client
    await other.close()


async def test_a_worker_whose_client_closes_says_so(client: Client, task_queue: str) -> None:
    other = await Client.connect(client.service_client.config.target_host)
    worker = Worker(other, task_queue=task_queue, workflows=WORKFLOWS, activities=ACTIVITIES)
    run = asyncio.create_task(worker.run())
    await client.execute_workflow(Hello.run, "you", id=f"w-{uuid.uuid4()}", task_queue=task_queue)
    await other.close()
    with pytest.raises(RuntimeError, match=r"shut the worker down .* before you close the client"):
        await run


async def test_build_id_sets_of_a_temporal_server(dev_server: str, task_queue: str) -> None:
    """The versioning before deployments, which in-process homes do not have."""
    async with await Client.connect(dev_server) as client:
        await client.update_worker_build_id_compatibility(task_queue, BuildIdOpAddNewDefault("1.0"))
        options: dict[str, Any] = {"task_queue": task_queue, "workflows": WORKFLOWS, "activities": ACTIVITIES}
        async with (
            Worker(client, build_id="0.9", use_worker_versioning=True, identity="old", **options),
            Worker(client, build_id="1.0", use_worker_versioning=True, identity="new", **options),
        ):
            handle = await client.start_workflow(Hello.run, "sets", id=f"w-{uuid.uuid4()}", task_queue=task_queue)
            assert await handle.result() == "Hello, sets!"
            workers = {
                event.attributes.identity
                async for event in handle.fetch_history_events()
                if event.HasField("workflow_task_completed_event_attributes")
            }
            assert workers == {"new"}
