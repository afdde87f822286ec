"""A hundred branches at once, in random orders of completion: none gets another's result, replay commands the same.

Each round of a workflow is one order. ``PERDURE_ORDERS=10000 pytest tests/testing/test_orders.py`` takes more of them.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from perdure import exceptions, workflow
from perdure.api.workflowservice import v1 as ws
from tests.workflow.mini_server import MiniServer

BRANCHES = 100
ROUNDS = 4
ORDERS = int(os.environ.get("PERDURE_ORDERS", "70"))
MODES = ["gather", "group", "wait", "as_completed", "workers", "shield", "timeout"]
MINUTE = timedelta(minutes=1)


@workflow.defn
class Branches:
    """Runs the branches of each round in one of asyncio's ways; what a branch asks for depends on its turn."""

    def __init__(self) -> None:
        self.lock = asyncio.Lock()
        self.few = asyncio.Semaphore(9)
        self.turn = 0

    @workflow.run
    async def run(self, mode: str, rounds: int) -> int:
        for number in range(rounds):
            results = await getattr(self, mode)(number)
            assert results == [[number, branch] for branch in range(BRANCHES)], results
        return self.turn

    async def ask(self, name: str, *args: int) -> None:
        """An activity returns its arguments, unless it fails."""
        try:
            answer = await workflow.execute_activity(name, args=list(args), start_to_close_timeout=MINUTE)
        except exceptions.ActivityError as error:
            if exceptions.is_cancelled_exception(error):
                raise asyncio.CancelledError from None
            assert isinstance(error.cause, exceptions.ApplicationError)
            answer = json.loads(error.cause.message)
        assert answer == [name, *args], (answer, name, args)

    async def branch(self, number: int, branch: int) -> list[int]:
        await self.ask("first", number, branch)
        async with self.lock:
            self.turn += 1
            turn = self.turn
        async with self.few:
            await self.ask("second", turn, branch)
        return [number, branch]

    async def gather(self, number: int) -> list[Any]:
        return list(await asyncio.gather(*(self.branch(number, branch) for branch in range(BRANCHES))))

    async def group(self, number: int) -> list[Any]:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(self.branch(number, branch)) for branch in range(BRANCHES)]
        return [task.result() for task in tasks]

    async def wait(self, number: int) -> list[Any]:
        pending: Any = [asyncio.create_task(self.branch(number, branch)) for branch in range(BRANCHES)]
        results = []
        while pending:
            done, pending = await workflow.wait(pending, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                await self.ask("seen", *task.result())
                results.append(task.result())
        return sorted(results)

    async def as_completed(self, number: int) -> list[Any]:
        branches = [self.branch(number, branch) for branch in range(BRANCHES)]
        results = []
        for task in workflow.as_completed(branches):
            results.append(await task)
        return sorted(results)

    async def workers(self, number: int) -> list[Any]:
        queue: asyncio.Queue[int] = asyncio.Queue()
        results: list[Any] = []

        async def work() -> None:
            while True:
                results.append(await self.branch(number, await queue.get()))
                queue.task_done()

        tasks = [asyncio.create_task(work()) for _ in range(BRANCHES)]
        for branch in range(BRANCHES):
            queue.put_nowait(branch)
        await queue.join()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        return sorted(results)

    async def shield(self, number: int) -> list[Any]:
        started = asyncio.Event()

        async def shielded(branch: int) -> Any:
            inner = asyncio.ensure_future(self.branch(number, branch))
            try:
                await started.wait()
                return await asyncio.shield(inner)
            except asyncio.CancelledError:
                return await inner

        tasks = [asyncio.create_task(shielded(branch)) for branch in range(BRANCHES)]
        await self.ask("start", number)
        started.set()
        for task in tasks[::3]:
            task.cancel()
        return list(await asyncio.gather(*tasks))

    async def timeout(self, number: int) -> list[Any]:
        async def timed(branch: int) -> Any:
            try:
                async with asyncio.timeout(60 + branch):
                    return await self.branch(number, branch)
            except TimeoutError:
                await self.ask("late", number, branch)
                return [number, branch]

        return list(await asyncio.gather(*(timed(branch) for branch in range(BRANCHES))))


class Life:
    """Ends what the workflow waits for in random order, some at a time, and checks turns again by replay."""

    def __init__(self, mode: str, seed: int) -> None:
        self.random = random.Random(seed)
        self.server = MiniServer(Branches, mode, ROUNDS)
        self.open: list[tuple[int, int]] = []
        self.seen = 0
        self.turns: list[tuple[int, int, int]] = []

    def look(self) -> None:
        """Take note of new activities and timers, and of timers that were cancelled."""
        server = self.server
        for event in server.events[self.seen :]:
            if event.event_type in (10, 17):
                self.open.append((event.event_type, event.event_id))
            elif event.event_type == 19:
                self.open.remove((17, event.attributes.started_event_id))
        self.seen = len(server.events)

    def end(self, kind: int, event_id: int) -> None:
        server = self.server
        attributes: Any = server.events[event_id - 1].attributes
        if kind == 17:
            server.fire_timer(attributes.timer_id)
            return
        args = [json.loads(payload.data) for payload in attributes.input.payloads]
        answer = [attributes.activity_type.name, *args]
        if self.random.random() < 0.05:
            server.fail_activity(json.dumps(answer), attributes.activity_id)
        else:
            server.complete_activity(answer, scheduled=event_id)

    def live(self) -> None:
        server = self.server
        while True:
            before = server.previous_started
            answer = server.turn(cached=self.random.random() < 0.99)
            assert isinstance(answer, ws.RespondWorkflowTaskCompletedRequest), answer
            self.turns.append((len(server.answers) - 1, before, server.started))
            if server.is_closed:
                return
            self.look()
            activities = [pair for pair in self.open if pair[0] == 10]
            timers = [pair for pair in self.open if pair[0] == 17]
            some = self.random.sample(activities, self.random.randint(1, len(activities))) if activities else []
            some += self.random.sample(timers, min(len(timers), self.random.choice([0, 0, 0, 3])))
            self.random.shuffle(some)
            for pair in some:
                self.open.remove(pair)
                self.end(*pair)

    def check(self) -> None:
        """The whole history replays, and replayed turns give the commands they gave."""
        server = self.server
        server.replay()
        for index, before, started in self.random.sample(self.turns, 1):
            run = server.new_run()
            task = server._task([])
            task.previous_started_event_id, task.started_event_id = before, started
            again = run.activate(task, list(server.events[:started]))
            run.evict()
            first = server.answers[index]
            assert isinstance(again, ws.RespondWorkflowTaskCompletedRequest)
            assert isinstance(first, ws.RespondWorkflowTaskCompletedRequest)
            assert again.commands == first.commands


@pytest.mark.timeout(60 + ORDERS)
@pytest.mark.parametrize("mode", MODES)
def test_no_result_crosses_and_replay_commands_the_same(mode: str) -> None:
    @settings(
        max_examples=max(ORDERS // len(MODES) // ROUNDS, 1),
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(st.integers(0, 2**32))
    def orders(seed: int) -> None:
        life = Life(mode, seed)
        try:
            life.live()
            life.check()
            # An activity that timed out is not asked for its second part.
            assert life.server.result <= BRANCHES * ROUNDS if mode == "timeout" else BRANCHES * ROUNDS
        finally:
            life.server.close()

    orders()
