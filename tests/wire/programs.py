"""Workflows and activities of the wire tests: ordinary code that does not know its home."""

from __future__ import annotations

import asyncio
from datetime import timedelta

from perdure import activity, workflow
from perdure.common import RetryPolicy, SearchAttributeKey
from perdure.exceptions import ActivityError, ApplicationError, is_cancelled_exception

SECONDS = timedelta(seconds=20)
KEYWORD = SearchAttributeKey.for_keyword("WireKeyword")
tokens: list[bytes] = []
attempts: dict[str, int] = {}


@activity.defn
async def greet(name: str) -> str:
    return f"Hello, {name}!"


@activity.defn
async def fail_once(key: str) -> int:
    attempts[key] = attempts.get(key, 0) + 1
    if attempts[key] == 1:
        raise ApplicationError("once", "details", type="Once")
    return activity.info().attempt


@activity.defn
async def wait_for_cancel() -> str:
    try:
        while True:
            activity.heartbeat("alive")
            await asyncio.sleep(0.05)
    except asyncio.CancelledError:
        return "cancelled" if activity.cancellation_details() is not None else "?"


@activity.defn
async def complete_elsewhere() -> str:
    tokens.append(activity.info().task_token)
    activity.raise_complete_async()


@workflow.defn
class Hello:
    @workflow.run
    async def run(self, name: str) -> str:
        return await workflow.execute_activity(greet, name, start_to_close_timeout=SECONDS)


@workflow.defn
class Counter:
    """Signals, queries, updates and a condition."""

    def __init__(self) -> None:
        self.total = 0
        self.done = False

    @workflow.run
    async def run(self) -> int:
        await workflow.wait_condition(lambda: self.done)
        return self.total

    @workflow.signal
    def add(self, number: int) -> None:
        self.total += number

    @workflow.signal
    def finish(self) -> None:
        self.done = True

    @workflow.query
    def now(self) -> int:
        return self.total

    @workflow.query
    def broken(self) -> int:
        raise ApplicationError("no answer")

    @workflow.update
    async def add_and_greet(self, number: int) -> str:
        self.total += number
        return await workflow.execute_activity(greet, str(self.total), start_to_close_timeout=SECONDS)

    @add_and_greet.validator
    def check(self, number: int) -> None:
        if number < 0:
            raise ApplicationError("negative")


@workflow.defn
class ManyThings:
    """Timers, parallel activities, local activities, children, side effects, retries."""

    @workflow.run
    async def run(self) -> list[object]:
        await asyncio.sleep(0.01)
        greetings = await asyncio.gather(
            *(workflow.execute_activity(greet, str(i), start_to_close_timeout=SECONDS) for i in range(5))
        )
        local = await workflow.execute_local_activity(greet, "local", start_to_close_timeout=SECONDS)
        child = await workflow.execute_child_workflow(Hello.run, "child", id=f"{workflow.info().workflow_id}-child")
        tried = await workflow.execute_activity(
            fail_once,
            workflow.info().workflow_id,
            start_to_close_timeout=SECONDS,
            retry_policy=RetryPolicy(initial_interval=timedelta(milliseconds=10)),
        )
        return [len(greetings), local, child, tried, workflow.patched("a-change"), str(workflow.uuid4())[14]]


@workflow.defn
class Again:
    @workflow.run
    async def run(self, left: int) -> str:
        if left:
            workflow.continue_as_new(left - 1)
        return workflow.info().continued_run_id or ""


@workflow.defn
class Cancellable:
    @workflow.run
    async def run(self) -> str:
        try:
            return await workflow.execute_activity(
                wait_for_cancel,
                start_to_close_timeout=SECONDS,
                heartbeat_timeout=timedelta(seconds=1),
                cancellation_type=workflow.ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
            )
        except ActivityError as error:
            assert is_cancelled_exception(error)
            raise


@workflow.defn
class Async:
    @workflow.run
    async def run(self) -> str:
        return await workflow.execute_activity(complete_elsewhere, start_to_close_timeout=SECONDS)


@workflow.defn
class Failing:
    @workflow.run
    async def run(self) -> None:
        raise ApplicationError("as planned", {"a": 1}, type="Planned", non_retryable=True)


@workflow.defn
class Searchable:
    @workflow.run
    async def run(self) -> str:
        workflow.upsert_search_attributes([KEYWORD.value_set("changed")])
        workflow.upsert_memo({"note": "new"})
        return str(workflow.info().typed_search_attributes[KEYWORD])


@workflow.defn
class Long:
    """A history of several pages."""

    @workflow.run
    async def run(self, rounds: int) -> int:
        for i in range(rounds):
            await workflow.execute_local_activity(greet, str(i), start_to_close_timeout=SECONDS)
            if i % 10 == 0:
                await asyncio.sleep(0.001)
        return rounds


@workflow.defn
class Signaller:
    """Signals and cancels other workflows."""

    @workflow.run
    async def run(self, other: str) -> None:
        handle = workflow.get_external_workflow_handle_for(Counter.run, other)
        await handle.signal(Counter.add, 5)
        await handle.signal(Counter.finish)


WORKFLOWS = [Hello, Counter, ManyThings, Again, Cancellable, Async, Failing, Searchable, Long, Signaller]
ACTIVITIES = [greet, fail_once, wait_for_cancel, complete_elsewhere]
