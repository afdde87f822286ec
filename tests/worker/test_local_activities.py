"""Local activities of workflows on a worker over the embedded engine."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import pytest

from perdure import activity, workflow
from perdure.client import Client, WorkflowFailureError
from perdure.common import RetryPolicy
from perdure.exceptions import ActivityError, ApplicationError, TimeoutError
from perdure.worker import Worker

SOON = timedelta(seconds=20)
MOMENT = timedelta(milliseconds=20)
SEEN: list[Any] = []
_local = workflow.execute_local_activity


@activity.defn
async def double(value: int) -> int:
    info = activity.info()
    assert info.is_local and info.workflow_id is not None
    activity.heartbeat("is ignored")
    return value * 2


@activity.defn
def in_thread(value: int) -> int:
    return value + 1


@activity.defn
async def flaky(until: int) -> int:
    attempt = activity.info().attempt
    SEEN.append(attempt)
    if attempt < until:
        raise ApplicationError("again", type="Flaky")
    return attempt


@activity.defn
async def wait() -> str:
    SEEN.append("in")
    try:
        await asyncio.Event().wait()
    except asyncio.CancelledError:
        SEEN.append(activity.cancellation_details())
        if len(SEEN) > 2 and SEEN[0] == "tidy":
            return "tidied up"
        raise
    return "never"


@activity.defn
async def leave() -> None:
    activity.raise_complete_async()


ACTIVITIES = [double, in_thread, flaky, wait, leave]


@workflow.defn
class Calculates:
    @workflow.run
    async def run(self, value: int) -> list[int]:
        first = await _local(double, value, start_to_close_timeout=SOON)
        both = await asyncio.gather(
            _local(double, first, start_to_close_timeout=SOON), _local(in_thread, first, start_to_close_timeout=SOON)
        )
        return [first, *both]


@workflow.defn
class Retries:
    @workflow.run
    async def run(self, until: int) -> int:
        policy = RetryPolicy(initial_interval=timedelta(milliseconds=1), maximum_attempts=3)
        return await _local(flaky, until, start_to_close_timeout=SOON, retry_policy=policy)


@workflow.defn
class WaitsLong:
    @workflow.run
    async def run(self, until: int) -> int:
        policy = RetryPolicy(initial_interval=MOMENT)
        return await _local(
            flaky, until, start_to_close_timeout=SOON, retry_policy=policy, local_retry_threshold=timedelta(0)
        )


@workflow.defn
class TimesOut:
    @workflow.run
    async def run(self) -> str:
        policy = RetryPolicy(maximum_attempts=1)
        return await _local(wait, start_to_close_timeout=MOMENT, retry_policy=policy)


@workflow.defn
class Cancels:
    @workflow.run
    async def run(self, waits: bool) -> str:
        kind = workflow.ActivityCancellationType
        handle = workflow.start_local_activity(
            wait,
            start_to_close_timeout=SOON,
            cancellation_type=kind.WAIT_CANCELLATION_COMPLETED if waits else kind.TRY_CANCEL,
        )
        await _local(double, 1, start_to_close_timeout=SOON)
        handle.cancel()
        try:
            return await handle
        except ActivityError as error:
            return type(error.cause).__name__


@workflow.defn
class Refused:
    """Goes on after a call whose argument cannot be encoded, over a second workflow task."""

    @workflow.run
    async def run(self) -> list[int]:
        try:
            await _local(double, object(), start_to_close_timeout=SOON)  # type: ignore[arg-type]
        except TypeError as error:
            SEEN.append(type(error))
        first = await _local(double, 1, start_to_close_timeout=SOON)
        await workflow.sleep(0.001)
        return [first, await _local(double, first, start_to_close_timeout=SOON)]


@workflow.defn(failure_exception_types=[ValueError])
class Unknown:
    @workflow.run
    async def run(self) -> None:
        await _local("nobody", start_to_close_timeout=SOON)


@workflow.defn
class Waits:
    @workflow.run
    async def run(self) -> str:
        return await _local(wait, start_to_close_timeout=SOON)


@workflow.defn
class Leaves:
    @workflow.run
    async def run(self) -> None:
        await _local(leave, start_to_close_timeout=SOON)


@pytest.fixture
async def client() -> AsyncIterator[Client]:
    SEEN.clear()
    async with await Client.connect("memory:") as client:
        yield client


@asynccontextmanager
async def worker(client: Client, **options: Any) -> AsyncIterator[Worker]:
    workflows = [Calculates, Retries, WaitsLong, TimesOut, Cancels, Refused, Unknown, Waits, Leaves]
    async with Worker(client, task_queue="tq", workflows=workflows, activities=ACTIVITIES, **options) as worker:
        yield worker


async def execute(client: Client, run: Any, *args: Any, **options: Any) -> Any:
    return await client.execute_workflow(run, args=args, id=f"wf-{uuid.uuid4()}", task_queue="tq", **options)


@pytest.mark.parametrize("cached", [1000, 1, 0])
async def test_results(client: Client, cached: int) -> None:
    async with worker(client, max_cached_workflows=cached, max_concurrent_local_activities=2):
        results = await asyncio.gather(*(execute(client, Calculates.run, n) for n in range(5)))
    assert results == [[2 * n, 4 * n, 2 * n + 1] for n in range(5)]


async def test_retries_in_the_worker(client: Client) -> None:
    async with worker(client):
        assert await execute(client, Retries.run, 3) == 3
        assert SEEN == [1, 2, 3]
        with pytest.raises(WorkflowFailureError) as caught:
            await execute(client, Retries.run, 9)
    error = caught.value.cause
    assert isinstance(error, ApplicationError | ActivityError) and "again" in str(error.cause or error)


async def test_retries_after_a_timer_of_the_workflow(client: Client) -> None:
    async with worker(client):
        assert await execute(client, WaitsLong.run, 3) == 3
    assert SEEN == [1, 2, 3]


async def test_arguments_that_cannot_be_encoded_fail_the_same_on_replay(client: Client) -> None:
    async with worker(client, max_cached_workflows=0):
        assert await execute(client, Refused.run) == [2, 4]
    assert len(SEEN) > 1
    assert set(SEEN) == {TypeError}


async def test_timeout(client: Client) -> None:
    async with worker(client):
        with pytest.raises(WorkflowFailureError) as caught:
            await execute(client, TimesOut.run)
    assert isinstance(caught.value.cause, ActivityError)
    assert isinstance(caught.value.cause.cause, TimeoutError)
    assert ["in", activity.ActivityCancellationDetails(timed_out=True)] == SEEN


async def test_cancellation(client: Client) -> None:
    async with worker(client):
        assert await execute(client, Cancels.run, False) == "CancelledError"
        assert ["in", activity.ActivityCancellationDetails(cancel_requested=True)] == SEEN
        SEEN[:] = ["tidy"]
        assert await execute(client, Cancels.run, True) == "tidied up"


async def test_asynchronous_completion_is_refused(client: Client) -> None:
    async with worker(client):
        with pytest.raises(WorkflowFailureError) as caught:
            await execute(client, Leaves.run)
    assert "cannot be completed asynchronously" in str(caught.value.cause)


async def test_an_unknown_one_is_refused_with_those_there_are(client: Client) -> None:
    text = "Activity function nobody is not registered on this worker, available activities: double, "
    async with worker(client):
        with pytest.raises(WorkflowFailureError) as caught:
            await execute(client, Unknown.run)
    assert str(caught.value.cause).startswith(f"ValueError: {text}")


async def test_a_slow_one_outlives_its_workflow_task(client: Client) -> None:
    async with worker(client):
        handle = await client.start_workflow(Waits.run, id="slow", task_queue="tq", task_timeout=timedelta(seconds=1))
        while sum(event.event_type == 7 for event in (await handle.fetch_history()).events) < 2:
            await asyncio.sleep(0.01)
        await handle.terminate()
    assert SEEN.count("in") == 1


async def test_a_worker_that_leaves_does_not_wait_for_local_activities(client: Client) -> None:
    async with worker(client):
        handle = await client.start_workflow(Waits.run, id="left", task_queue="tq")
        while "in" not in SEEN:
            await asyncio.sleep(0)
    assert (await handle.describe()).close_time is None
    SEEN.clear()
    async with worker(client):
        while "in" not in SEEN:
            await asyncio.sleep(0)
        await handle.terminate()
