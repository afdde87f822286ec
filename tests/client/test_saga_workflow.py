"""Sagas inside workflows, on an engine in memory."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from perdure import Client, Saga, Worker, activity, workflow
from perdure.api.enums.v1 import EventType
from perdure.client import WorkflowFailureError, WorkflowHandle
from perdure.common import RetryPolicy
from perdure.exceptions import ActivityError, ApplicationError, CancelledError
from perdure.worker._replayer import Replayer

QUEUE = "sagas"
SECONDS = timedelta(seconds=10)


class World:
    """What activities did. ``gate`` holds compensations up."""

    def __init__(self) -> None:
        self.did: list[str] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.undoing = asyncio.Event()

    @activity.defn
    async def do(self, step: str) -> None:
        if step == "fail":
            raise ApplicationError("no luck", type="NoLuck", non_retryable=True)
        self.did.append(step)

    @activity.defn
    async def undo(self, step: str) -> None:
        self.undoing.set()
        await self.gate.wait()
        self.did.append(f"undo {step}")
        if step == "sticky":
            raise ApplicationError("cannot be undone", non_retryable=True)


@workflow.defn
class BookingWorkflow:
    """Takes steps; three of them are special."""

    def __init__(self) -> None:
        self.noted: list[str] = []

    @workflow.run
    async def run(self, steps: list[str], parallel: bool = False) -> list[str]:
        async with Saga(parallel=parallel, start_to_close_timeout=SECONDS) as saga:
            for step in steps:
                if step == "wait":
                    await workflow.wait_condition(lambda: False)
                elif step == "again":
                    workflow.continue_as_new(args=[[], False])
                elif step == "bug":
                    raise KeyError("a bug")
                else:
                    saga.add(World.undo, step) if step != "named" else saga.add("undo", step, summary="by name")
                    saga.add(self.note, step)
                    await workflow.execute_activity_method(World.do, args=[step], start_to_close_timeout=SECONDS)
        return self.noted

    async def note(self, step: str) -> None:
        self.noted.append(step)

    @workflow.query
    def notes(self) -> list[str]:
        return self.noted


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
async def client(world: World) -> AsyncIterator[Client]:
    async with (
        await Client.connect("memory:") as client,
        Worker(client, task_queue=QUEUE, workflows=[BookingWorkflow], activities=[world.do, world.undo]),
    ):
        yield client


async def start(client: Client, *steps: str, parallel: bool = False) -> WorkflowHandle[BookingWorkflow, list[str]]:
    return await client.start_workflow(
        BookingWorkflow.run,
        args=[list(steps), parallel],
        id="booking",
        task_queue=QUEUE,
        retry_policy=RetryPolicy(maximum_attempts=1),
    )


async def failure(handle: WorkflowHandle[BookingWorkflow, list[str]]) -> BaseException:
    with pytest.raises(WorkflowFailureError) as caught:
        await handle.result()
    return caught.value.cause


async def test_a_failure_undoes_newest_first_and_replays(client: Client, world: World) -> None:
    handle = await start(client, "flight", "named", "fail")
    cause = await failure(handle)
    assert isinstance(cause, ActivityError)
    assert isinstance(cause.cause, ApplicationError)
    assert cause.cause.type == "NoLuck"
    assert world.did == ["flight", "named", "undo fail", "undo named", "undo flight"]
    assert await handle.query(BookingWorkflow.notes) == ["fail", "named", "flight"]
    await Replayer(workflows=[BookingWorkflow]).replay_workflow(await handle.fetch_history())


async def test_nothing_is_undone_when_all_goes_well(client: Client, world: World) -> None:
    assert await (await start(client, "flight", "hotel")).result() == []
    assert world.did == ["flight", "hotel"]


async def test_at_once(client: Client, world: World) -> None:
    handle = await start(client, "flight", "hotel", "fail", parallel=True)
    await failure(handle)
    assert world.did[:2] == ["flight", "hotel"]
    assert sorted(world.did[2:]) == ["undo fail", "undo flight", "undo hotel"]


async def test_cancellation_undoes_and_stays_a_cancellation(client: Client, world: World) -> None:
    handle = await start(client, "flight", "wait")
    await handle.cancel()
    assert isinstance(await failure(handle), CancelledError)
    assert world.did == ["flight", "undo flight"]


async def test_a_cancellation_meanwhile_waits_for_the_compensations(client: Client, world: World) -> None:
    world.gate.clear()
    handle = await start(client, "flight", "fail")
    await world.undoing.wait()
    await handle.cancel()
    assert await handle.query(BookingWorkflow.notes) == ["fail"]
    world.gate.set()
    assert isinstance(await failure(handle), CancelledError)
    assert world.did == ["flight", "undo fail", "undo flight"]


async def test_what_could_not_be_undone_fails_the_workflow(client: Client, world: World) -> None:
    handle = await start(client, "flight", "sticky", "fail")
    cause = await failure(handle)
    assert isinstance(cause, ApplicationError)
    assert cause.type == "SagaCompensationError"
    assert "1 of 6 compensations failed: ActivityError" in cause.message
    assert isinstance(cause.cause, ActivityError)
    assert world.did == ["flight", "sticky", "undo fail", "undo sticky", "undo flight"]


async def test_continuing_as_new_undoes_nothing(client: Client, world: World) -> None:
    assert await (await start(client, "flight", "again")).result() == []
    assert world.did == ["flight"]


async def test_a_bug_undoes_nothing(client: Client, world: World, caplog: pytest.LogCaptureFixture) -> None:
    handle = await start(client, "flight", "bug")
    async for event in handle.fetch_history_events(wait_new_event=True):
        if event.event_type == EventType.EVENT_TYPE_WORKFLOW_TASK_FAILED:
            break
    assert "a bug" in caplog.text
    await handle.terminate()
    assert world.did == ["flight"]
