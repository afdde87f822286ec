"""Stores that fail and processes that die at every single commit: all that was promised still happens, once."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path
from typing import Any

import pytest

from perdure.api.common import v1 as common_v1
from perdure.api.workflowservice import v1 as ws
from perdure.engine import Engine
from perdure.service import RPCError, RPCStatusCode
from perdure.store.api import Durability
from perdure.store.lmdb import LMDBStore
from perdure.store.memory import MemoryStore
from tests.engine.driver import (
    Driver,
    S,
    application_failure,
    cancel_external,
    complete,
    continue_as_new,
    name,
    payloads,
    queue,
    schedule_activity,
    signal_external,
    start_child,
    start_timer,
)
from tests.engine.fragile import FragileWorld, OpenStore
from tests.twins.history import HistoryTwin

ONCE = common_v1.RetryPolicy(maximum_attempts=1)


class World(FragileWorld):
    """Workflows that use everything, workers that answer from the history alone, and a client that repeats itself."""

    def __init__(self, open_store: OpenStore, fail_at: int = -1, die_at: int = -1) -> None:
        super().__init__(open_store, fail_at, die_at)
        self.d: Driver
        self.attempts: dict[tuple[str, str], int] = {}

    def drive(self, engine: Engine) -> None:
        self.d = Driver(engine, self.clock)

    async def attempt(self, work: Any) -> Any:
        try:
            return await work
        except RPCError as error:
            assert error.status in (
                RPCStatusCode.UNAVAILABLE,
                RPCStatusCode.NOT_FOUND,
                RPCStatusCode.INVALID_ARGUMENT,
            ), error
            return None

    async def insist(self, make: Any) -> None:
        """Ask until it is acknowledged, as a client does."""
        for _ in range(5):
            try:
                await make()
                return
            except RPCError as error:
                assert error.status is RPCStatusCode.UNAVAILABLE, error
                if self.store.is_dead:
                    await self.restart()
        raise AssertionError("never acknowledged")

    async def run(self) -> None:
        await self.open()
        await self.insist(lambda: self.d.start("sink", request_id="1"))
        await self.insist(lambda: self.d.start("victim", request_id="2"))
        await self.insist(lambda: self.d.start("main", request_id="3"))
        await self.insist(lambda: self.d.signal("main", request_id="4"))
        for _ in range(20):
            await self.step()
            if self.store.is_dead:
                await self.restart()
        await self.check()
        await self.d.engine.close()
        await self.inner.close()

    async def step(self) -> None:
        with contextlib.suppress(RPCError):
            await self.d.settle()
        while not self.store.is_dead and await self.d.has_workflow_task():
            try:
                task = await asyncio.wait_for(self.d.poll(), 0.01)
            except (TimeoutError, RPCError):
                break
            await self.attempt(self.d.answer(task, *self.decide(task)))
            with contextlib.suppress(RPCError):
                await self.d.settle()
        while not self.store.is_dead and await self.d.has_activity_task():
            try:
                activity = await asyncio.wait_for(self.d.poll_activity(), 0.01)
            except (TimeoutError, RPCError):
                break
            assert activity.workflow_execution is not None
            key = (activity.workflow_execution.run_id, activity.activity_id)
            self.attempts[key] = self.attempts.get(key, 0) + 1
            if activity.activity_id == "again" and activity.attempt < 3:
                await self.attempt(self.d.fail_activity(activity, application_failure()))
            else:
                await self.attempt(self.d.complete_activity(activity))
        with contextlib.suppress(RPCError):
            await self.d.advance(1)
        # Reloading after a failed commit waits on the loop's own clock.
        await asyncio.sleep(0)

    def decide(self, task: Any) -> list[Any]:
        """What each workflow does, from its history alone."""
        events = task.history.events
        names = [name(event) for event in events]
        started = events[0].attributes
        if started.workflow_type.name == "C":
            return [complete(b"1")] if started.continued_execution_run_id else [continue_as_new()]
        if started.workflow_id == "sink":
            return [complete()] if names.count("WorkflowExecutionSignaled") >= 1 else []
        if started.workflow_id == "victim":
            return [complete()] if "WorkflowExecutionCancelRequested" in names else []
        if "ActivityTaskScheduled" not in names:
            return [
                schedule_activity("once", retry_policy=ONCE),
                schedule_activity("again"),
                start_timer("t", 2),
                start_child("child", task_queue=queue("q")),
                signal_external("sink", input=payloads(b"1")),
                cancel_external("victim"),
            ]
        done = (
            names.count("ActivityTaskCompleted") + names.count("ActivityTaskTimedOut") == 2
            and "TimerFired" in names
            and "ChildWorkflowExecutionCompleted" in names
            and "ExternalWorkflowExecutionSignaled" in names
            and "ExternalWorkflowExecutionCancelRequested" in names
        )
        return [complete()] if done else []

    async def check(self) -> None:
        for workflow_id in ("main", "sink", "victim", "child"):
            events = await self.d.history(workflow_id)
            HistoryTwin(events)
            assert name(events[-1]) == "WorkflowExecutionCompleted", (workflow_id, [name(event) for event in events])
        main = await self.d.names("main")
        assert main.count("WorkflowExecutionSignaled") == 1
        assert (await self.d.names("sink")).count("WorkflowExecutionSignaled") == 1
        assert all(count == 1 for (_, activity_id), count in self.attempts.items() if activity_id == "once")
        assert not await self.inner.pending_tasks(100)
        due = await self.inner.due_runs(2**60, 1000)
        assert len({key for _, key in due}) == len(due), "each run has one entry in the time index"


async def test_any_failed_commit_and_any_death_is_got_over() -> None:
    quiet = World(MemoryStore.open)
    await quiet.run()
    assert quiet.store.commits > 20
    for at in range(1, quiet.store.commits + 1):
        await World(MemoryStore.open, fail_at=at).run()
        await World(MemoryStore.open, die_at=at).run()


@pytest.mark.parametrize("at", [2, 5, 8, 11, 14, 17, 20, 23])
async def test_failures_and_deaths_over_a_disk(tmp_path: Path, at: int) -> None:
    def opener(place: str) -> OpenStore:
        return lambda: LMDBStore.open(tmp_path / place, durability=Durability.PROCESS)

    await World(opener("a"), fail_at=at).run()
    await World(opener("b"), die_at=at).run()


async def test_what_each_kind_of_attempt_becomes_after_a_death(tmp_path: Path) -> None:
    world = World(lambda: LMDBStore.open(tmp_path / "store", durability=Durability.PROCESS))
    await world.open()
    d = world.d
    await d.start()
    await d.turn(
        schedule_activity("once", retry_policy=ONCE),
        schedule_activity("detached", retry_policy=ONCE),
        schedule_activity("again"),
        schedule_activity("backing off"),
        start_timer("t", 30),
    )
    tasks = {task.activity_id: task for task in [await d.poll_activity() for _ in range(4)]}
    await d.engine.record_activity_task_heartbeat(
        ws.RecordActivityTaskHeartbeatRequest(tasks["again"].task_token, payloads(b"7"))
    )
    await d.fail_activity(tasks["backing off"])
    await d.engine.detach_activity_task(tasks["detached"].task_token)
    await d.settle()
    await world.restart()
    d = world.d
    pending = {activity.activity_id: activity for activity in (await d.describe()).pending_activities}
    assert set(pending) == {"detached", "again", "backing off"}
    assert (pending["detached"].attempt, pending["again"].attempt, pending["backing off"].attempt) == (1, 2, 2)
    timed_out = [event for event in await d.history() if name(event) == "ActivityTaskTimedOut"]
    assert [event.attributes.retry_state for event in timed_out] == [4]
    await d.complete_activity(tasks["detached"])
    with pytest.raises(RPCError) as late:
        await d.complete_activity(tasks["again"])
    assert late.value.status is RPCStatusCode.NOT_FOUND
    await d.advance(1)
    again = {task.activity_id: task for task in [await d.poll_activity() for _ in range(2)]}
    assert again["again"].heartbeat_details == payloads(b"7")
    for task in again.values():
        await d.complete_activity(task)
    await d.advance(30)
    names = await d.names()
    assert names.count("ActivityTaskCompleted") == 3
    assert "TimerFired" in names
    await d.engine.close()
    await world.inner.close()


async def test_a_workflow_task_of_a_dead_process_is_handed_out_at_once(tmp_path: Path) -> None:
    world = World(lambda: LMDBStore.open(tmp_path / "store", durability=Durability.PROCESS))
    await world.open()
    await world.d.start()
    before = await world.d.poll()
    await world.d.signal()
    await world.restart()
    d = world.d
    with pytest.raises(RPCError) as late:
        await d.answer(before, complete())
    assert late.value.status is RPCStatusCode.NOT_FOUND
    task = await d.poll()
    assert task.attempt == 1
    assert (await d.names())[2:] == [
        "WorkflowTaskStarted",
        "WorkflowTaskTimedOut",
        "WorkflowExecutionSignaled",
        "WorkflowTaskScheduled",
        "WorkflowTaskStarted",
    ]
    await d.answer(task, complete())
    assert await d.status() == 2
    await d.engine.close()
    await world.inner.close()


async def test_what_came_due_while_nobody_lived_happens_at_the_start(tmp_path: Path) -> None:
    world = World(lambda: LMDBStore.open(tmp_path / "store", durability=Durability.PROCESS))
    await world.open()
    await world.d.start("timer")
    await world.d.turn(start_timer("t", 30))
    await world.d.start("delayed", workflow_start_delay=40 * S, task_queue=queue("dq"))
    await world.d.start("late", workflow_run_timeout=50 * S, task_queue=queue("lq"))
    world.clock.now += 3600 * S
    await world.restart()
    await world.d.advance(0.001)
    assert "TimerFired" in await world.d.names("timer")
    assert await world.d.has_workflow_task("dq")
    assert await world.d.status("late") == 7
    await world.d.engine.close()
    await world.inner.close()
