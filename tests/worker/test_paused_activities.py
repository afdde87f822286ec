"""What a running activity sees when operators pause, reset or cancel it; and that it goes on afterwards."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest

from perdure import Client, Worker, activity, workflow
from perdure.api.common import v1 as common_v1
from perdure.api.workflowservice import v1 as ws
from perdure.client import WorkflowExecutionStatus, WorkflowFailureError
from perdure.common import RetryPolicy
from perdure.exceptions import ActivityError, ApplicationError, CancelledError
from tests.support.homes import STORES, home_url

EXECUTION = common_v1.WorkflowExecution("w")
started: asyncio.Queue[int]
stopped: asyncio.Queue[activity.ActivityCancellationDetails | None]


@activity.defn
async def endless() -> str:
    info = activity.info()
    await started.put(info.attempt)
    if "enough" in info.heartbeat_details:
        return f"attempt {info.attempt}"
    try:
        while True:
            activity.heartbeat("enough")
            await asyncio.sleep(0.01)
    except asyncio.CancelledError:
        await stopped.put(activity.cancellation_details())
        raise


@workflow.defn
class Holds:
    @workflow.run
    async def run(self, maximum_attempts: int = 0) -> str:
        return await workflow.execute_activity(
            endless,
            activity_id="a",
            start_to_close_timeout=timedelta(seconds=60),
            retry_policy=RetryPolicy(initial_interval=timedelta(milliseconds=1), maximum_attempts=maximum_attempts),
        )


@pytest.fixture(params=STORES)
async def client(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Client]:
    global started, stopped
    started, stopped = asyncio.Queue(), asyncio.Queue()
    async with (
        await Client.connect(home_url(request.param, tmp_path)) as connected,
        Worker(
            connected,
            task_queue="q",
            workflows=[Holds],
            activities=[endless],
            max_heartbeat_throttle_interval=timedelta(milliseconds=10),
            default_heartbeat_throttle_interval=timedelta(milliseconds=10),
        ),
    ):
        yield connected


async def test_a_pause_is_seen_and_ended(client: Client) -> None:
    handle = await client.start_workflow(Holds.run, id="w", task_queue="q")
    await started.get()
    service = client.workflow_service
    await service.pause_activity(ws.PauseActivityRequest("default", EXECUTION, id="a"))
    details = await stopped.get()
    assert details is not None and details.paused and not details.cancel_requested
    await service.unpause_activity(ws.UnpauseActivityRequest("default", EXECUTION, id="a"))
    assert await handle.result() == "attempt 2"


async def test_a_reset_is_seen_and_another_attempt_follows(client: Client) -> None:
    handle = await client.start_workflow(Holds.run, id="w", task_queue="q")
    await started.get()
    await client.workflow_service.reset_activity(ws.ResetActivityRequest("default", EXECUTION, id="a"))
    details = await stopped.get()
    assert details is not None and details.reset
    assert await handle.result() == "attempt 2"


async def test_the_workflow_sees_the_reset_that_the_only_attempt_did_not_handle(client: Client) -> None:
    handle = await client.start_workflow(Holds.run, 1, id="w", task_queue="q")
    await started.get()
    await client.workflow_service.reset_activity(ws.ResetActivityRequest("default", EXECUTION, id="a"))
    with pytest.raises(WorkflowFailureError) as failed:
        await handle.result()
    assert isinstance(failed.value.cause, ActivityError)
    cause = failed.value.cause.cause
    assert isinstance(cause, ApplicationError)
    assert cause.type == "ActivityReset"
    assert cause.message == "Unhandled activity cancel error produced by activity reset"


async def test_a_paused_workflow_shows_its_status_and_goes_on(client: Client) -> None:
    service = client.workflow_service
    handle = await client.start_workflow(Holds.run, id="w", task_queue="q")
    await started.get()
    await service.pause_workflow_execution(ws.PauseWorkflowExecutionRequest("default", "w"))
    assert (await handle.describe()).status is WorkflowExecutionStatus.PAUSED
    await handle.cancel()
    await service.unpause_workflow_execution(ws.UnpauseWorkflowExecutionRequest("default", "w"))
    with pytest.raises(WorkflowFailureError) as cancelled:
        await handle.result()
    assert isinstance(cancelled.value.cause, CancelledError)
    assert await stopped.get() is not None
