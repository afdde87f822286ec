"""Local activities: attempts, retries, timeouts and cancellation inside the worker."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest

from perdure import activity
from perdure.api.common.v1 import Payloads, RetryPolicy, WorkflowExecution
from perdure.client import Client
from perdure.converter import DataConverter
from perdure.exceptions import ApplicationError
from perdure.worker import Worker
from perdure.worker._local_activities import (
    LocalActivities,
    LocalActivity,
    LocalActivityOutcome,
    LocalActivityRequest,
)

MS = 1_000_000
SECOND = 1000 * MS
SEEN: list[Any] = []


@activity.defn
async def double(value: int) -> int:
    info = activity.info()
    assert info.is_local and info.workflow_id == "flow"
    activity.heartbeat("is ignored")
    return value * 2


@activity.defn
def in_thread(value: int) -> int:
    return value + 1


@activity.defn
async def fail(until: int) -> str:
    attempt = activity.info().attempt
    SEEN.append(attempt)
    if attempt < until:
        raise ApplicationError("again", type="Flaky")
    return "at last"


@activity.defn
async def wait() -> None:
    SEEN.append("in")
    try:
        await asyncio.Event().wait()
    finally:
        SEEN.append(activity.cancellation_details())


@activity.defn
async def leave() -> None:
    activity.raise_complete_async()


def request(kind: str, *args: Any, **changes: Any) -> LocalActivityRequest:
    values: dict[str, Any] = {
        "activity_id": "1",
        "activity_type": kind,
        "input": Payloads(DataConverter.default.payload_converter.to_payloads(args)),
        "header": None,
        "workflow_execution": WorkflowExecution("flow", "run"),
        "workflow_type": "Flow",
        "attempt": 1,
        "original_schedule_time": time.time_ns(),
        "schedule_to_close_timeout": None,
        "schedule_to_start_timeout": None,
        "start_to_close_timeout": 20 * SECOND,
        "retry_policy": RetryPolicy(initial_interval=MS, backoff_coefficient=1.0),
        "local_retry_threshold": 60 * SECOND,
    }
    return LocalActivityRequest(**{**values, **changes})


class Locals:
    def __init__(self, local: LocalActivities) -> None:
        self.local = local

    def start(self, request: LocalActivityRequest) -> tuple[LocalActivity, asyncio.Future[LocalActivityOutcome]]:
        done: asyncio.Future[LocalActivityOutcome] = asyncio.get_running_loop().create_future()
        return self.local.start(request, done.set_result), done

    async def run(self, request: LocalActivityRequest) -> LocalActivityOutcome:
        return await self.start(request)[1]


@pytest.fixture
async def local(fake_client: Client) -> AsyncIterator[Locals]:
    SEEN.clear()
    worker = Worker(fake_client, task_queue="tq", activities=[double, in_thread, fail, wait, leave])
    assert worker._activities is not None
    worker._activities.start()
    activities = LocalActivities(worker._activities, 2, time.time_ns)
    yield Locals(activities)
    activities.cancel_all()
    await activities.wait()
    await worker._activities.close()


def value(outcome: LocalActivityOutcome) -> Any:
    assert outcome.result is not None, outcome
    [result] = DataConverter.default.payload_converter.from_payloads(outcome.result.payloads)
    return result


async def test_results(local: Locals) -> None:
    assert value(await local.run(request("double", 4))) == 8
    assert value(await local.run(request("in_thread", 4))) == 5


async def test_retries(local: Locals) -> None:
    outcome = await local.run(request("fail", 3))
    assert value(outcome) == "at last" and outcome.attempt == 3 and SEEN == [1, 2, 3]


@pytest.mark.parametrize(
    "policy",
    [
        RetryPolicy(initial_interval=MS, maximum_attempts=1),
        RetryPolicy(initial_interval=MS, non_retryable_error_types=["flaky"]),
    ],
)
async def test_no_retry(local: Locals, policy: RetryPolicy) -> None:
    outcome = await local.run(request("fail", 3, retry_policy=policy))
    assert outcome.failure is not None and outcome.failure.message == "again" and outcome.attempt == 1


async def test_a_long_wait_is_the_workflows(local: Locals) -> None:
    policy = RetryPolicy(initial_interval=SECOND, backoff_coefficient=2.0)
    outcome = await local.run(request("fail", 9, attempt=3, retry_policy=policy, local_retry_threshold=2 * SECOND))
    assert (outcome.attempt, outcome.failure) == (4, None)
    assert outcome.backoff == 4 * SECOND


async def test_timeouts(local: Locals) -> None:
    no_retry = RetryPolicy(maximum_attempts=1)
    outcome = await local.run(request("wait", start_to_close_timeout=MS, retry_policy=no_retry))
    assert outcome.failure is not None and outcome.failure.message == "activity StartToClose timeout"
    outcome = await local.run(request("wait", start_to_close_timeout=None, schedule_to_close_timeout=5 * MS))
    assert outcome.failure is not None and outcome.failure.timeout_failure_info is not None
    assert outcome.failure.timeout_failure_info.timeout_type == 3
    holders = [local.start(request("wait")) for _ in range(2)]
    outcome = await local.run(request("double", 1, schedule_to_start_timeout=MS))
    assert outcome.failure is not None and outcome.failure.message == "activity ScheduleToStart timeout"
    for holder, done in holders:
        holder.cancel()
        assert (await done).is_cancelled


async def test_cancellation(local: Locals) -> None:
    started, done = local.start(request("wait"))
    while not SEEN:
        await asyncio.sleep(0)
    started.cancel()
    outcome = await done
    assert outcome.is_cancelled and outcome.failure is not None
    assert ["in", activity.ActivityCancellationDetails(cancel_requested=True)] == SEEN


async def test_cancellation_between_attempts(local: Locals) -> None:
    policy = RetryPolicy(initial_interval=30 * SECOND)
    started, done = local.start(request("fail", 9, retry_policy=policy))
    while not SEEN:
        await asyncio.sleep(0)
    started.cancel()
    assert (await done).is_cancelled


async def test_unregistered_and_async_completion(local: Locals) -> None:
    policy = RetryPolicy(maximum_attempts=1)
    outcome = await local.run(request("nope", retry_policy=policy))
    assert outcome.failure is not None and "is not registered on this worker" in outcome.failure.message
    outcome = await local.run(request("leave"))
    assert outcome.failure is not None and "cannot be completed asynchronously" in outcome.failure.message
