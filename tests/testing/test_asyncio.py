"""asyncio in workflows, end to end: results, what becomes of timers and activities, how groups fail, and replay."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import pytest

from perdure import activity, exceptions, workflow
from perdure.api.enums.v1 import EventType
from perdure.client import WorkflowFailureError
from perdure.testing import WorkflowEnvironment
from perdure.worker import Replayer, Worker

HOUR = 3600


async def after(hours: float, value: Any) -> Any:
    await asyncio.sleep(hours * HOUR)
    if isinstance(value, BaseException):
        raise value
    return value


def failure(text: str) -> exceptions.ApplicationError:
    return exceptions.ApplicationError(text, non_retryable=True)


class Cases:
    """Each returns what is compared with ``EXPECTED``."""

    async def gather(self) -> Any:
        good = await asyncio.gather(after(3, "a"), after(1, "b"), after(2, "c"))
        mixed = await asyncio.gather(after(2, failure("x")), after(1, "y"), return_exceptions=True)
        return [*good, str(mixed[0]), mixed[1]]

    async def wait(self) -> Any:
        tasks = [asyncio.create_task(after(hours, hours)) for hours in (3, 1, 2)]
        order = []
        pending: set[asyncio.Task[Any]] = set(tasks)
        while pending:
            done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
            order += [task.result() for task in done]
        _, late = await asyncio.wait([asyncio.create_task(after(9, "late"))], timeout=HOUR)
        for task in late:
            task.cancel()
        return [*order, len(late)]

    async def as_completed(self) -> Any:
        return [await each for each in asyncio.as_completed([after(3, 3), after(1, 1), after(2, 2)])]

    async def task_group(self) -> Any:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(after(hours, hours)) for hours in (2, 1)]
        try:
            async with asyncio.TaskGroup() as group:
                slow = group.create_task(after(100, "slow"))
                group.create_task(after(1, failure("fast")))
        except* exceptions.ApplicationError as errors:
            caught = [str(error) for error in errors.exceptions]
        return [[task.result() for task in tasks], caught, slow.cancelled()]

    async def timeout(self) -> Any:
        said = []
        async with asyncio.timeout(2 * HOUR) as scope:
            await after(1, "")
        said.append(scope.expired())
        try:
            async with asyncio.timeout(HOUR):
                async with asyncio.timeout(5 * HOUR):
                    await after(9, "")
        except TimeoutError:
            said.append(True)
        try:
            await asyncio.wait_for(after(9, ""), HOUR)
        except TimeoutError:
            said.append(True)
        return [*said, await asyncio.wait_for(after(1, "in time"), 2 * HOUR)]

    async def shield(self) -> Any:
        inner = asyncio.create_task(after(2, "inner"))
        outer = asyncio.ensure_future(asyncio.shield(inner))
        await after(1, "")
        outer.cancel()
        try:
            await outer
        except asyncio.CancelledError:
            return ["outer cancelled", await inner]

    async def queue(self) -> Any:
        queue: asyncio.Queue[int] = asyncio.Queue(2)
        got: list[int] = []

        async def take() -> None:
            while (item := await queue.get()) >= 0:
                await after(1, "")
                got.append(item)

        async with asyncio.TaskGroup() as group:
            for _ in range(2):
                group.create_task(take())
            for item in [*range(6), -1, -1]:
                await queue.put(item)
        first: asyncio.PriorityQueue[int] = asyncio.PriorityQueue()
        for item in (3, 1, 2):
            first.put_nowait(item)
        return [got, [await first.get() for _ in range(3)]]

    async def locks(self) -> Any:
        log: list[Any] = []
        lock, few, event, barrier = asyncio.Lock(), asyncio.BoundedSemaphore(2), asyncio.Event(), asyncio.Barrier(3)
        condition = asyncio.Condition()

        async def one(number: int) -> None:
            async with lock:
                await after(1, "")
                log.append(number)
            async with few:
                await after(1, "")
            await event.wait()
            async with condition:
                await condition.wait_for(lambda: len(log) > 4)
            await barrier.wait()
            log.append(f"end {number}")

        async with asyncio.TaskGroup() as group:
            for number in range(3):
                group.create_task(one(number))
            await after(9, "")
            event.set()
            await after(1, "")
            async with condition:
                log += ["go", "on"]
                condition.notify_all()
        return sorted(map(str, log))

    async def cancellation(self) -> Any:
        log = []

        async def worker() -> str:
            try:
                await after(100, "")
            except asyncio.CancelledError as error:
                log.append(str(error))
                await after(1, "")  # cleaning up takes time, too
                log.append("cleaned")
                current = asyncio.current_task()
                assert current is not None
                current.uncancel()
                return "went on"
            return "not cancelled"

        task = asyncio.create_task(worker())
        await asyncio.sleep(HOUR)
        task.cancel("enough")
        return [await task, *log]

    async def cancelled_scope(self) -> Any:
        """An activity and a child's timer end with the scope they are in."""
        async with asyncio.timeout(HOUR) as scope:
            try:
                await workflow.execute_activity("never", start_to_close_timeout=timedelta(days=1), task_queue="nobody")
            except exceptions.ActivityError as error:
                return [scope.when() is not None, exceptions.is_cancelled_exception(error)]


EXPECTED: dict[str, Any] = {
    "gather": ["a", "b", "c", "x", "y"],
    "wait": [1, 2, 3, 1],
    "as_completed": [1, 2, 3],
    "task_group": [[2, 1], ["fast"], True],
    "timeout": [False, True, True, "in time"],
    "shield": ["outer cancelled", "inner"],
    "queue": [[0, 1, 2, 3, 4, 5], [1, 2, 3]],
    "locks": ["0", "1", "2", "end 0", "end 1", "end 2", "go", "on"],
    "cancellation": ["went on", "enough", "cleaned"],
    "cancelled_scope": [True, True],
}


@workflow.defn
class Primitives:
    @workflow.run
    async def run(self, case: str) -> Any:
        return await getattr(Cases(), case)()


@workflow.defn
class Failing:
    @workflow.run
    async def run(self, how: str) -> None:
        match how:
            case "group":
                async with asyncio.TaskGroup() as group:
                    group.create_task(after(2, failure("second")))
                    group.create_task(after(1, failure("first")))
            case "nested":
                raise ExceptionGroup("outer", [ExceptionGroup("inner", [failure("deep")]), failure("flat")])
            case "bug":
                async with asyncio.TaskGroup() as group:
                    group.create_task(after(1, failure("fine")))
                    group.create_task(after(1, KeyError("a bug")))
            case "gather":
                await asyncio.gather(after(5, "late"), after(1, failure("first")))
            case "timeout":
                async with asyncio.timeout(HOUR):
                    await after(2, "")
            case "sleep":
                async with asyncio.TaskGroup() as group:
                    for hours in (1, 2, 3):
                        group.create_task(after(1000 * hours, ""))


@activity.defn
async def step() -> None: ...


@asynccontextmanager
async def environment() -> AsyncIterator[WorkflowEnvironment]:
    async with await WorkflowEnvironment.start_time_skipping() as env:
        async with Worker(env.client, task_queue="tq", workflows=[Primitives, Failing], activities=[step]):
            yield env


@pytest.mark.parametrize("case", EXPECTED)
async def test_primitives(case: str) -> None:
    async with environment() as env:
        handle = await env.client.start_workflow(Primitives.run, case, id=case, task_queue="tq")
        assert await handle.result() == EXPECTED[case]
        await Replayer(workflows=[Primitives]).replay_workflow(await handle.fetch_history())


@pytest.mark.parametrize(
    ("how", "message"), [("group", "first"), ("nested", "deep"), ("gather", "first"), ("timeout", "Application error")]
)
async def test_how_a_group_fails_the_workflow(how: str, message: str) -> None:
    async with environment() as env:
        handle = await env.client.start_workflow(Failing.run, how, id=how, task_queue="tq")
        with pytest.raises(WorkflowFailureError) as failed:
            await handle.result()
        assert isinstance(failed.value.cause, exceptions.ApplicationError)
        assert failed.value.cause.message == message
        await Replayer(workflows=[Failing]).replay_workflow(await handle.fetch_history())


async def test_a_bug_in_a_group_fails_the_task_and_not_the_workflow() -> None:
    async with environment() as env:
        handle = await env.client.start_workflow(Failing.run, "bug", id="bug", task_queue="tq")
        result = asyncio.create_task(handle.result())
        async for event in handle.fetch_history_events(wait_new_event=True):
            if event.event_type == EventType.EVENT_TYPE_WORKFLOW_TASK_FAILED:
                assert "a bug" in event.attributes.failure.message
                break
        assert not result.done()
        await handle.terminate()
        with pytest.raises(WorkflowFailureError):
            await result


async def test_cancelling_what_sleeps_cancels_its_timers() -> None:
    async with environment() as env:
        handle = await env.client.start_workflow(Failing.run, "sleep", id="sleep", task_queue="tq")
        await env.sleep(HOUR)
        await handle.cancel()
        with pytest.raises(WorkflowFailureError) as failed:
            await handle.result()
        assert isinstance(failed.value.cause, exceptions.CancelledError)
        history = await handle.fetch_history()
        kinds = [event.event_type for event in history.events]
        assert kinds.count(EventType.EVENT_TYPE_TIMER_STARTED) == 3
        assert kinds[-1] == EventType.EVENT_TYPE_WORKFLOW_EXECUTION_CANCELED
        assert kinds.count(EventType.EVENT_TYPE_TIMER_CANCELED) == 3
        await Replayer(workflows=[Failing]).replay_workflow(history)


async def test_timers_of_ended_scopes_are_cancelled() -> None:
    async with environment() as env:
        for case in ("timeout", "task_group", "wait"):
            handle = await env.client.start_workflow(Primitives.run, case, id=case, task_queue="tq")
            await handle.result()
            open_timers = set()
            for event in (await handle.fetch_history()).events:
                if event.event_type == EventType.EVENT_TYPE_TIMER_STARTED:
                    open_timers.add(event.attributes.timer_id)
                elif event.event_type in (EventType.EVENT_TYPE_TIMER_FIRED, EventType.EVENT_TYPE_TIMER_CANCELED):
                    open_timers.remove(event.attributes.timer_id)
            assert not open_timers
