"""Time skipping: when time jumps, where to, and when it must not."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import pytest

from perdure import activity, exceptions, workflow
from perdure.client import WorkflowFailureError, WorkflowHandle
from perdure.service import RPCError, RPCStatusCode
from perdure.testing import WorkflowEnvironment
from perdure.worker import Worker
from tests.support.homes import memory_only
from tests.testing import workflows
from tests.testing.workflows import DAY

HOUR = timedelta(hours=1)


@asynccontextmanager
async def running(*activities: Callable[..., Any], **options: Any) -> AsyncIterator[WorkflowEnvironment]:
    async with await WorkflowEnvironment.start_time_skipping(**options.pop("environment", {})) as env:
        async with Worker(env.client, task_queue="tq", workflows=workflows.ALL, activities=activities, **options):
            yield env


async def start(env: WorkflowEnvironment, run: Any, *args: Any, **options: Any) -> WorkflowHandle[Any, Any]:
    return await env.client.start_workflow(run, args=args, id="w", task_queue="tq", **options)


async def turns(count: int = 500) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def test_waiting_for_a_result_skips_what_the_workflow_sleeps() -> None:
    async with running() as env:
        assert env.supports_time_skipping
        before = await env.get_current_time()
        handle = await start(env, workflows.Sleeper.run, 100)
        assert await handle.result() >= 100 * DAY.total_seconds()
        assert await env.get_current_time() - before >= 100 * DAY


async def test_time_stays_while_nobody_waits() -> None:
    async with running() as env:
        before = await env.get_current_time()
        handle = await start(env, workflows.Sleeper.run, 1)
        await turns()
        assert await env.get_current_time() - before < HOUR
        assert await handle.query(workflows.Sleeper.slept) == 0


async def test_sleep_skips_by_hand_and_stops_at_its_end() -> None:
    async with running() as env:
        before = await env.get_current_time()
        handle = await start(env, workflows.Sleeper.run, 10)
        await env.sleep(2 * DAY + HOUR)
        assert await handle.query(workflows.Sleeper.slept) == 2
        assert 2 * DAY + HOUR <= await env.get_current_time() - before < 2 * DAY + 2 * HOUR
        await env.sleep(DAY.total_seconds())
        assert await handle.query(workflows.Sleeper.slept) == 3


async def test_sleeps_at_once_end_in_their_order() -> None:
    async with running() as env:
        ended: list[int] = []

        async def sleep(days: int) -> None:
            await env.sleep(days * DAY)
            ended.append(days)

        await asyncio.gather(sleep(3), sleep(1), sleep(2), sleep(0))
        assert ended == [0, 1, 2, 3]


@pytest.mark.parametrize("is_local", [False, True])
async def test_time_stays_while_an_activity_runs(is_local: bool) -> None:
    is_started, may_end = asyncio.Event(), asyncio.Event()

    @activity.defn
    async def step() -> None:
        is_started.set()
        await may_end.wait()

    async with running(step) as env:
        before = await env.get_current_time()
        handle = await start(env, workflows.ActivityBesideTimer.run, is_local)
        result = asyncio.create_task(handle.result())
        await is_started.wait()
        await turns()
        assert await env.get_current_time() - before < HOUR
        may_end.set()
        assert await result == "activity"
        assert await env.get_current_time() - before >= DAY


async def test_time_stays_while_a_thread_runs_an_activity() -> None:
    is_started, may_end = threading.Event(), threading.Event()

    @activity.defn
    def step() -> None:
        is_started.set()
        may_end.wait(30)

    with ThreadPoolExecutor(1) as pool:
        async with running(step, activity_executor=pool) as env:
            before = await env.get_current_time()
            handle = await start(env, workflows.ActivityBesideTimer.run, False)
            result = asyncio.create_task(handle.result())
            await asyncio.to_thread(is_started.wait, 30)
            await turns()
            assert await env.get_current_time() - before < HOUR
            may_end.set()
            assert await result == "activity"


async def test_a_sleep_waits_for_an_activity_at_the_pace_of_the_clock() -> None:
    is_started, may_end = asyncio.Event(), asyncio.Event()

    @activity.defn
    async def step() -> None:
        is_started.set()
        await may_end.wait()

    async with running(step) as env:
        await start(env, workflows.ActivityBesideTimer.run, False)
        await is_started.wait()
        sleep = asyncio.create_task(env.sleep(HOUR))
        await turns()
        assert not sleep.done()
        may_end.set()
        await sleep


async def test_an_activity_that_is_completed_from_outside_holds_time() -> None:
    tokens: asyncio.Queue[bytes] = asyncio.Queue()

    @activity.defn
    async def step() -> None:
        tokens.put_nowait(activity.info().task_token)
        activity.raise_complete_async()

    async with running(step) as env:
        before = await env.get_current_time()
        handle = await start(env, workflows.ActivityBesideTimer.run, False)
        result = asyncio.create_task(handle.result())
        token = await tokens.get()
        await turns()
        assert await env.get_current_time() - before < HOUR
        await env.client.get_async_activity_handle(task_token=token).complete()
        assert await result == "activity"


async def test_backoffs_of_retries_are_skipped() -> None:
    @activity.defn
    async def flaky() -> int:
        if activity.info().attempt < 5:
            raise RuntimeError("not yet")
        return activity.info().attempt

    async with running(flaky) as env:
        assert await (await start(env, workflows.Retries.run)).result() == 5


async def test_an_activity_that_nobody_polls_for_times_out() -> None:
    async with running() as env:
        handle = await start(env, workflows.NobodyWorks.run)
        with pytest.raises(WorkflowFailureError) as failure:
            await handle.result()
        assert isinstance(failure.value.cause, exceptions.ActivityError)
        assert isinstance(failure.value.cause.cause, exceptions.TimeoutError)


async def test_a_workflow_without_a_worker_waits_for_one() -> None:
    async with await WorkflowEnvironment.start_time_skipping() as env:
        before = await env.get_current_time()
        handle = await start(env, workflows.Counts.run, execution_timeout=DAY)
        result = asyncio.create_task(handle.result())
        await turns()
        async with Worker(env.client, task_queue="tq", workflows=workflows.ALL):
            assert await result == 1
        assert await env.get_current_time() - before < HOUR


async def test_a_timeout_of_the_workflow_is_reached() -> None:
    async with running() as env:
        handle = await start(env, workflows.WaitsForSignal.run, False, execution_timeout=365 * DAY)
        with pytest.raises(WorkflowFailureError) as failure:
            await handle.result()
        assert isinstance(failure.value.cause, exceptions.TimeoutError)


@pytest.mark.parametrize("is_timer_cancelled", [False, True])
async def test_time_stays_when_nothing_is_due(is_timer_cancelled: bool) -> None:
    async with running() as env:
        handle = await start(env, workflows.WaitsForSignal.run, is_timer_cancelled)
        result = asyncio.create_task(handle.result())
        await turns()
        assert not result.done()
        await handle.signal(workflows.WaitsForSignal.release)
        assert await result < HOUR.total_seconds()


async def test_a_start_delay_is_skipped() -> None:
    async with running() as env:
        before = await env.get_current_time()
        assert await (await start(env, workflows.Counts.run, start_delay=7 * DAY)).result() == 1
        assert await env.get_current_time() - before > 7 * DAY - HOUR


async def test_cron_follows_the_clock() -> None:
    async with running() as env:
        handle = await start(env, workflows.Counts.run, cron_schedule="0 12 * * *")
        await env.sleep(5 * DAY)
        closed = [run async for run in env.client.list_workflows("ExecutionStatus != 'Running'")]
        assert len(closed) == 5
        await handle.terminate()


async def test_runs_that_follow_one_another_are_skipped_through() -> None:
    async with running() as env:
        before = await env.get_current_time()
        assert await (await start(env, workflows.Generations.run, 9)).result() == "done"
        assert await env.get_current_time() - before >= 10 * DAY


async def test_children_are_skipped_through() -> None:
    async with running() as env:
        slept = await (await start(env, workflows.Parent.run)).result()
        assert [round(seconds / DAY.total_seconds()) for seconds in slept] == [1, 30]


async def test_blocks_without_skipping_nest() -> None:
    async with running() as env:
        handle = await start(env, workflows.Sleeper.run, 3)
        with env.auto_time_skipping_disabled():
            result = asyncio.create_task(handle.result())
            with env.auto_time_skipping_disabled():
                await turns()
            await turns()
            assert not result.done()
            assert await handle.query(workflows.Sleeper.slept) == 0
            await env.sleep(DAY + HOUR)
            assert await handle.query(workflows.Sleeper.slept) == 1
        assert await result >= 3 * DAY.total_seconds()


async def test_two_wait_at_once_and_one_gives_up() -> None:
    async with running() as env:
        handle = await start(env, workflows.WaitsForSignal.run, False)
        given_up = asyncio.create_task(handle.result())
        await turns(10)
        given_up.cancel()
        other = await env.client.start_workflow(workflows.Sleeper.run, 1, id="other", task_queue="tq")
        await turns()
        assert await other.query(workflows.Sleeper.slept) == 0
        first, second = await asyncio.gather(other.result(), env.client.get_workflow_handle("other").result())
        assert first == second >= DAY.total_seconds()


async def test_closed_workflows_stay_unless_a_retention_says_otherwise() -> None:
    async with running() as env:
        handle = await start(env, workflows.Counts.run)
        await handle.result()
        await env.sleep(3650 * DAY)
        assert await handle.result() == 1
    async with running(environment={"retention": DAY}) as env:
        handle = await start(env, workflows.Counts.run)
        await handle.result()
        await env.sleep(2 * DAY)
        await turns()
        with pytest.raises(RPCError) as gone:
            await handle.describe()
        assert gone.value.status is RPCStatusCode.NOT_FOUND


async def test_time_stays_while_a_workflow_task_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workflows.Broken, "is_broken", True)
    async with running() as env:
        before = await env.get_current_time()
        handle = await start(env, workflows.Broken.run)
        result = asyncio.create_task(handle.result())
        await turns(2000)
        assert await env.get_current_time() - before < HOUR
        monkeypatch.setattr(workflows.Broken, "is_broken", False)
        assert await result >= DAY.total_seconds()


async def test_an_assertion_that_fails_in_a_workflow_fails_it() -> None:
    async with running() as env:
        with pytest.raises(WorkflowFailureError) as failure:
            await (await start(env, workflows.Asserts.run)).result()
        cause = failure.value.cause
        assert isinstance(cause, exceptions.ApplicationError)
        assert (cause.type, cause.non_retryable) == ("AssertionError", True)
        assert "sums" in cause.message


async def test_another_client_skips_the_same_time() -> None:
    async with running() as env, await env.connect_client() as other:
        assert other.namespace == env.client.namespace
        await start(env, workflows.Sleeper.run, 2)
        assert await other.get_workflow_handle("w").result() >= 2 * DAY.total_seconds()


async def test_shutting_down_ends_what_waits() -> None:
    env = await WorkflowEnvironment.start_time_skipping()
    async with Worker(env.client, task_queue="tq", workflows=workflows.ALL):
        handle = await start(env, workflows.WaitsForSignal.run, False)
        waiting = asyncio.create_task(handle.result())
        await turns(20)
    await env.shutdown()
    with pytest.raises(RPCError):
        await waiting
    await env.shutdown()


@workflow.defn
class Staggered:
    @workflow.run
    async def run(self, hours: int) -> int:
        for _ in range(3):
            await asyncio.sleep(hours * 3600)
        return hours


async def test_many_workflows_share_the_time() -> None:
    async with await WorkflowEnvironment.start_time_skipping() as env:
        before = await env.get_current_time()
        async with Worker(env.client, task_queue="tq", workflows=[Staggered]):
            results = await asyncio.gather(
                *(
                    env.client.execute_workflow(Staggered.run, hours, id=f"w{hours}", task_queue="tq")
                    for hours in range(1, 101)
                )
            )
        assert results == list(range(1, 101))
        assert 300 * HOUR <= await env.get_current_time() - before < 301 * HOUR


@memory_only
async def test_two_hundred_environments_at_once_share_nothing() -> None:
    @activity.defn
    async def flaky() -> int:
        if activity.info().attempt < 3:
            raise RuntimeError("not yet")
        return activity.info().attempt

    async def one(number: int) -> timedelta:
        async with running(flaky) as env:
            before = await env.get_current_time()
            sleeper = await start(env, workflows.Sleeper.run, number % 7 + 1)
            retries = await env.client.start_workflow(workflows.Retries.run, id=f"r{number}", task_queue="tq")
            assert round(await sleeper.result() / DAY.total_seconds()) == number % 7 + 1
            assert await retries.result() == 3
            assert {run.id async for run in env.client.list_workflows()} == {"w", f"r{number}"}
            return await env.get_current_time() - before

    passed = await asyncio.gather(*(one(number) for number in range(200)))
    for number, time in enumerate(passed):
        assert (number % 7 + 1) * DAY <= time < (number % 7 + 2) * DAY
