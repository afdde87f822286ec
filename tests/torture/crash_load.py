"""The mixed load of the kill -9 campaign: workflows, their activities, and the client's side of each.

Every workflow id starts with the name of its scenario, so the auditor knows how it has to end. Whatever an activity
does is one line in the ledger; whatever the engine acknowledges to the client is another.
"""

import asyncio
import json
import os
import random
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

from perdure import activity, workflow
from perdure.client import Client, WorkflowFailureError, WorkflowHandle
from perdure.common import RetryPolicy
from perdure.exceptions import ActivityError, ApplicationError, TimeoutError
from perdure.service import RPCError, RPCStatusCode
from perdure.worker import Worker

TASK_QUEUE = "torture"
#: An activity whose process died comes back after this.
PATIENCE = timedelta(seconds=2)
QUICK_RETRY = RetryPolicy(initial_interval=timedelta(milliseconds=20), backoff_coefficient=1.5)
ONLY_ONCE = RetryPolicy(maximum_attempts=1)


class Ledger:
    """The book outside the store: one JSON line a fact, appended with one write, which a kill cannot undo."""

    def __init__(self, path: Path) -> None:
        self._fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)

    def write(self, fact: str, workflow_id: str, **more: Any) -> None:
        """Append a fact. It outlives the process; a sync would only slow the load that is to be killed."""
        line = json.dumps({"fact": fact, "id": workflow_id, **more}, separators=(",", ":"))
        os.write(self._fd, line.encode() + b"\n")


class Book:
    """What activities reach: the ledger and the tokens that wait for an answer from outside."""

    ledger: Ledger
    tokens: asyncio.Queue[tuple[bytes, int]]


def _enter(*, once: bool = False) -> activity.Info:
    info = activity.info()
    Book.ledger.write(
        "activity",
        info.workflow_id,
        run=info.workflow_run_id,
        activity=info.activity_id,
        attempt=info.attempt,
        once=once,
    )
    return info


@activity.defn
async def add_one(value: int) -> int:
    _enter()
    await asyncio.sleep(0.002)
    return value + 1


@activity.defn
async def add_one_at_last(value: int) -> int:
    if _enter().attempt == 1:
        raise ApplicationError("not at the first attempt")
    return value + 1


@activity.defn
async def only_once(value: int) -> int:
    _enter(once=True)
    await asyncio.sleep(0.005)
    return value + 1


@activity.defn
def add_one_in_a_thread(value: int) -> int:
    _enter()
    time.sleep(0.003)
    return value + 1


@activity.defn
async def add_step_by_step(value: int) -> int:
    """Goes on from its last heartbeat."""
    info = _enter()
    done = int(info.heartbeat_details[0]) if info.heartbeat_details else 0
    for step in range(done, value):
        activity.heartbeat(step)
        await asyncio.sleep(0.01)
    return value


@activity.defn
async def answered_from_outside(value: int) -> int:
    info = _enter()
    Book.tokens.put_nowait((info.task_token, value + 1))
    activity.raise_complete_async()


@workflow.defn
class Steps:
    """A chain of activities, one of them flaky."""

    @workflow.run
    async def run(self, steps: int) -> int:
        value = 0
        for step in range(steps):
            value = await workflow.execute_activity(
                add_one_at_last if step == 1 else add_one,
                value,
                start_to_close_timeout=PATIENCE,
                retry_policy=QUICK_RETRY,
            )
        return value


@workflow.defn
class Once:
    """An activity that may run once at most: when its process dies it is lost, never repeated."""

    @workflow.run
    async def run(self, value: int) -> str:
        try:
            await workflow.execute_activity(only_once, value, start_to_close_timeout=PATIENCE, retry_policy=ONLY_ONCE)
        except ActivityError as error:
            if isinstance(error.cause, TimeoutError):
                return "lost"
            raise
        return "done"


@workflow.defn
class Timers:
    """Timers and activities side by side, one timer given up."""

    @workflow.run
    async def run(self, count: int) -> int:
        async def timed(number: int) -> int:
            await workflow.sleep(0.01 * (number + 1))
            return await workflow.execute_activity(
                add_one_in_a_thread, number, start_to_close_timeout=PATIENCE, retry_policy=QUICK_RETRY
            )

        waiting = asyncio.create_task(workflow.sleep(3600))
        values = await asyncio.gather(*[timed(number) for number in range(count)])
        waiting.cancel()
        return sum(values)


@workflow.defn
class Signals:
    """Collects numbers until told to finish."""

    def __init__(self) -> None:
        self.numbers: list[int] = []
        self.finished = False

    @workflow.run
    async def run(self) -> list[int]:
        await workflow.wait_condition(lambda: self.finished)
        return self.numbers

    @workflow.signal
    def note(self, number: int) -> None:
        self.numbers.append(number)

    @workflow.signal
    def finish(self) -> None:
        self.finished = True

    @workflow.query
    def noted(self) -> list[int]:
        return self.numbers


@workflow.defn
class Parent:
    """Children with activities; a signal to one of them from outside its parent-child bond."""

    @workflow.run
    async def run(self, children: int) -> int:
        name = workflow.info().workflow_id.partition("-")[2]
        listener = await workflow.start_child_workflow(Signals.run, id=f"heard-{name}")
        values = await asyncio.gather(
            *[workflow.execute_child_workflow(Steps.run, 2, id=f"child-{name}-{number}") for number in range(children)]
        )
        outside = workflow.get_external_workflow_handle(listener.id)
        await outside.signal("note", 7)
        await listener.signal("finish")
        return sum(values) + sum(await listener)


@workflow.defn
class Hops:
    """Continues as new until nothing remains."""

    @workflow.run
    async def run(self, remaining: int, total: int) -> int:
        total = await workflow.execute_activity(
            add_one, total, start_to_close_timeout=PATIENCE, retry_policy=QUICK_RETRY
        )
        if remaining > 1:
            workflow.continue_as_new(args=[remaining - 1, total])
        return total


@workflow.defn
class Canceled:
    """Waits to be canceled and cleans up."""

    @workflow.run
    async def run(self) -> None:
        try:
            await workflow.wait_condition(lambda: False)
        except asyncio.CancelledError:
            await workflow.execute_activity(add_one, 0, start_to_close_timeout=PATIENCE, retry_policy=QUICK_RETRY)
            raise


@workflow.defn
class Sleeper:
    """Never ends by itself."""

    @workflow.run
    async def run(self) -> None:
        await workflow.sleep(timedelta(days=1))


@workflow.defn
class Heartbeats:
    @workflow.run
    async def run(self, steps: int) -> int:
        return await workflow.execute_activity(
            add_step_by_step,
            steps,
            start_to_close_timeout=timedelta(seconds=30),
            heartbeat_timeout=timedelta(seconds=1),
            retry_policy=QUICK_RETRY,
        )


@workflow.defn
class Outside:
    """An activity that somebody else completes by its token."""

    @workflow.run
    async def run(self, value: int) -> int:
        return await workflow.execute_activity(
            answered_from_outside, value, start_to_close_timeout=PATIENCE, retry_policy=QUICK_RETRY
        )


@workflow.defn
class SecondTry:
    """Fails as a workflow once, and is retried as a workflow."""

    @workflow.run
    async def run(self) -> int:
        attempt = workflow.info().attempt
        await workflow.sleep(0.01)
        if attempt == 1:
            raise ApplicationError("not at the first attempt")
        return attempt


WORKFLOWS = [Steps, Once, Timers, Signals, Parent, Hops, Canceled, Sleeper, Heartbeats, Outside, SecondTry]
ACTIVITIES = [add_one, add_one_at_last, only_once, add_one_in_a_thread, add_step_by_step, answered_from_outside]


class Load:
    """One process's part of the load."""

    def __init__(self, client: Client, ledger: Ledger, round_name: str, rng: random.Random) -> None:
        self._client = client
        self._ledger = ledger
        self._round = round_name
        self._rng = rng
        self._started = 0

    async def run(self, concurrency: int, limit: int) -> None:
        """Start up to ``limit`` workflows, at most ``concurrency`` scenarios at a time."""

        async def one_after_another() -> None:
            while self._started < limit:
                self._started += 1
                name, scenario = self._rng.choice(list(SCENARIOS.items()))
                await scenario(self, f"{name}-{self._round}-{self._started}")
                await asyncio.sleep(self._rng.uniform(0, 0.03))

        await asyncio.gather(*[one_after_another() for _ in range(concurrency)])

    async def _start(self, workflow_id: str, run: Any, *args: Any, **options: Any) -> WorkflowHandle[Any, Any]:
        self._ledger.write("starting", workflow_id)
        handle = await self._client.start_workflow(
            run, args=list(args), id=workflow_id, task_queue=TASK_QUEUE, **options
        )
        self._ledger.write("started", workflow_id)
        return handle

    async def _result(self, handle: WorkflowHandle[Any, Any]) -> None:
        result = await handle.result()
        self._ledger.write("result", handle.id, value=result)

    async def steps(self, workflow_id: str) -> None:
        await self._result(await self._start(workflow_id, Steps.run, 3))

    async def once(self, workflow_id: str) -> None:
        await self._result(await self._start(workflow_id, Once.run, 1))

    async def timers(self, workflow_id: str) -> None:
        await self._result(await self._start(workflow_id, Timers.run, 4))

    async def signals(self, workflow_id: str) -> None:
        """Some begin with signal-with-start; the last number is asked for before the end."""
        begin = self._rng.random() < 0.5
        more = {"start_signal": "note", "start_signal_args": [0]} if begin else {}
        handle = await self._start(workflow_id, Signals.run, **more)
        if begin:
            self._ledger.write("signaled", workflow_id, number=0)
        for number in range(1, self._rng.randrange(2, 8)):
            self._ledger.write("signaling", workflow_id, number=number)
            await handle.signal(Signals.note, number)
            self._ledger.write("signaled", workflow_id, number=number)
            if self._rng.random() < 0.3:
                noted = await handle.query(Signals.noted)
                if noted[-1] != number:
                    self._ledger.write("stale query", workflow_id, number=number, noted=noted)
        await handle.signal(Signals.finish)
        self._ledger.write("finished", workflow_id)
        await self._result(handle)

    async def parent(self, workflow_id: str) -> None:
        await self._result(await self._start(workflow_id, Parent.run, 2))

    async def hops(self, workflow_id: str) -> None:
        await self._result(await self._start(workflow_id, Hops.run, 3, 0))

    async def canceled(self, workflow_id: str) -> None:
        handle = await self._start(workflow_id, Canceled.run)
        await asyncio.sleep(self._rng.uniform(0, 0.02))
        await handle.cancel()
        self._ledger.write("cancel requested", workflow_id)
        with suppress(WorkflowFailureError):
            await handle.result()

    async def terminated(self, workflow_id: str) -> None:
        handle = await self._start(workflow_id, Sleeper.run)
        await asyncio.sleep(self._rng.uniform(0, 0.02))
        try:
            await handle.terminate("enough")
        except RPCError as error:
            # Made again at the next owner of the store, after one that did it and died before it said so.
            if error.status is not RPCStatusCode.NOT_FOUND:
                raise
        self._ledger.write("terminated", workflow_id)

    async def timedout(self, workflow_id: str) -> None:
        await self._start(workflow_id, Sleeper.run, run_timeout=timedelta(milliseconds=500))

    async def heartbeats(self, workflow_id: str) -> None:
        await self._result(await self._start(workflow_id, Heartbeats.run, 6))

    async def outside(self, workflow_id: str) -> None:
        await self._result(await self._start(workflow_id, Outside.run, 1))

    async def retried(self, workflow_id: str) -> None:
        policy = RetryPolicy(initial_interval=timedelta(milliseconds=20), maximum_attempts=3)
        await self._result(await self._start(workflow_id, SecondTry.run, retry_policy=policy))


SCENARIOS: dict[str, Callable[[Load, str], Awaitable[None]]] = {
    name: getattr(Load, name)
    for name in (
        "steps",
        "once",
        "timers",
        "signals",
        "parent",
        "hops",
        "canceled",
        "terminated",
        "timedout",
        "heartbeats",
        "outside",
        "retried",
    )
}


async def answer_tokens(client: Client) -> None:
    """Complete the activities that wait for somebody outside."""
    while True:
        token, value = await Book.tokens.get()
        await asyncio.sleep(0.002)
        try:
            await client.get_async_activity_handle(task_token=token).complete(value)
        except RPCError as error:
            # late: the attempt has timed out, the next one will ask again
            if error.status != RPCStatusCode.NOT_FOUND:
                raise


def worker(client: Client, threads: ThreadPoolExecutor) -> Worker:
    """The worker of every round. Its cache is small, so runs are evicted and replayed all the time."""
    return Worker(
        client,
        task_queue=TASK_QUEUE,
        workflows=WORKFLOWS,
        activities=ACTIVITIES,
        activity_executor=threads,
        max_cached_workflows=20,
    )
