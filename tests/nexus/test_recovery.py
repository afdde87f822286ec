"""Stores that fail and processes that die at every single commit: every operation still ends, once."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from perdure.api.enums.v1 import CallbackState
from perdure.api.workflowservice import v1 as ws
from perdure.engine import Engine
from perdure.service import RPCError, RPCStatusCode
from perdure.store.api import Durability, Store
from perdure.store.lmdb import LMDBStore
from perdure.store.memory import MemoryStore
from tests.engine.driver import complete, name, queue
from tests.engine.fragile import FragileWorld, OpenStore
from tests.nexus.driver import NexusDriver, call, cancel_call, handler_error


class World(FragileWorld):
    """A workflow that calls three operations, handlers that fail at first, and a client that repeats itself."""

    def __init__(self, open_store: OpenStore, fail_at: int = -1, die_at: int = -1) -> None:
        super().__init__(open_store, fail_at, die_at)
        self.d: NexusDriver
        self.asked: Counter[str] = Counter()

    def drive(self, engine: Engine) -> None:
        self.d = NexusDriver(engine, self.clock)

    async def insist(self, make: Callable[[], Awaitable[Any]]) -> None:
        """Ask until it is acknowledged, as a client does."""
        for _ in range(5):
            try:
                await make()
                return
            except RPCError as error:
                if error.status is RPCStatusCode.ALREADY_EXISTS:
                    return
                assert error.status is RPCStatusCode.UNAVAILABLE, error
                if self.store.is_dead:
                    await self.restart()
        raise AssertionError("never acknowledged")

    async def run(self) -> None:
        await self.open()
        await self.insist(lambda: self.d.create_endpoint())
        await self.insist(lambda: self.d.start(request_id="1"))
        for _ in range(25):
            await self.step()
            if self.store.is_dead:
                await self.restart()
        await self.check()
        await self.d.engine.close()
        await self.inner.close()

    async def step(self) -> None:
        with contextlib.suppress(RPCError):
            await self.d.settle()
        for name_of_queue in ("q", "hq"):
            while not self.store.is_dead and await self.d.has_workflow_task(name_of_queue):
                with contextlib.suppress(RPCError, TimeoutError):
                    task = await asyncio.wait_for(self.d.poll(queue(name_of_queue)), 0.05)
                    await self.d.answer(task, *self.decide(task))
        while not self.store.is_dead and await self.has_nexus_task():
            with contextlib.suppress(RPCError, TimeoutError):
                await self.handle(await asyncio.wait_for(self.d.poll_nexus(), 0.05))
        with contextlib.suppress(RPCError):
            await self.d.advance(11)
        await asyncio.sleep(0)

    async def has_nexus_task(self) -> bool:
        with contextlib.suppress(RPCError):
            return await self.d.has_nexus_task()
        return False

    def decide(self, task: ws.PollWorkflowTaskQueueResponse) -> list[Any]:
        """What each workflow does, from its history alone."""
        assert task.history is not None
        assert task.workflow_execution is not None
        names = Counter(name(event) for event in task.history.events)
        if task.workflow_execution.workflow_id == "h":
            return [complete(b"9")]
        if task.workflow_execution.workflow_id == "stays":
            return []
        if not names["NexusOperationScheduled"]:
            return [call("sync"), call("async"), call("stays")]
        ended = names["NexusOperationCompleted"]
        if ended == 2 and names["NexusOperationStarted"] == 2 and not names["NexusOperationCancelRequested"]:
            return [cancel_call(7)]
        if names["NexusOperationCancelRequestCompleted"]:
            return [complete()]
        return []

    async def handle(self, task: ws.PollNexusTaskQueueResponse) -> None:
        """Handlers fail at the first attempt of each request."""
        assert task.request is not None
        start = task.request.start_operation
        which = "cancel" if start is None else start.operation
        self.asked[which] += 1
        if self.asked[which] == 1:
            await self.d.fail_nexus(task, handler_error())
        elif start is None:
            await self.d.answer_cancel(task)
        elif which == "sync":
            await self.d.answer_start(task)
        else:
            await self.d.run_behind(task, "h" if which == "async" else "stays")
            await self.d.answer_later(task)

    async def check(self) -> None:
        counts = Counter(await self.d.names())
        assert {what: count for what, count in counts.items() if what.startswith("Nexus")} == {
            "NexusOperationScheduled": 3,
            "NexusOperationStarted": 2,
            "NexusOperationCompleted": 2,
            "NexusOperationCancelRequested": 1,
            "NexusOperationCancelRequestCompleted": 1,
        }
        assert counts["WorkflowExecutionCompleted"] == 1
        [callback] = await self.d.callbacks("h")
        # A process may die between the end of the operation and its note of that: then nobody waits any more.
        assert callback.state in (CallbackState.CALLBACK_STATE_SUCCEEDED, CallbackState.CALLBACK_STATE_FAILED)
        assert await self.d.status("stays") == 1
        assert sorted(await self.d.list()) == ["h", "stays", "w"]


async def commits() -> int:
    world = World(MemoryStore.open)
    await world.run()
    return world.store.commits


async def test_any_failed_commit_and_any_death_is_got_over() -> None:
    for at in range(1, await commits() + 1):
        await World(MemoryStore.open, fail_at=at).run()
        await World(MemoryStore.open, die_at=at).run()


@pytest.mark.parametrize("offset", range(4))
async def test_deaths_over_a_disk(tmp_path: Path, offset: int) -> None:
    for at in range(1 + offset, await commits() + 1, 4):
        place = tmp_path / str(at)

        async def open_store(place: Path = place) -> Store:
            return await LMDBStore.open(place, durability=Durability.PROCESS)

        await World(open_store, die_at=at).run()


async def test_a_task_that_a_dead_process_had_is_handed_out_again(tmp_path: Path) -> None:
    async def open_store() -> Store:
        return await LMDBStore.open(tmp_path, durability=Durability.PROCESS)

    world = World(open_store)
    await world.open()
    await world.d.create_endpoint()
    await world.d.start()
    await world.d.turn(call())
    lost = await world.d.poll_nexus()
    await world.restart()
    again = await world.d.poll_nexus()
    assert lost.request is not None
    assert again.request is not None
    assert lost.request.start_operation == again.request.start_operation
    with pytest.raises(RPCError):
        await world.d.answer_start(lost)
    await world.d.answer_start(again)
    assert await world.d.pending() == []
    await world.d.engine.close()
    await world.inner.close()


async def test_backoffs_and_timeouts_outlive_the_process(tmp_path: Path) -> None:
    async def open_store() -> Store:
        return await LMDBStore.open(tmp_path, durability=Durability.PROCESS)

    world = World(open_store)
    await world.open()
    await world.d.create_endpoint()
    await world.d.start()
    await world.d.turn(call(schedule_to_close_timeout=20_000_000_000))
    await world.d.fail_nexus(await world.d.poll_nexus(), handler_error())
    before = await world.d.pending()
    await world.restart()
    assert await world.d.pending() == before
    assert not await world.d.has_nexus_task()
    await world.d.advance(1)
    assert await world.d.has_nexus_task()
    await world.restart()
    await world.d.advance(19)
    assert "NexusOperationTimedOut" in await world.d.names()
    await world.d.engine.close()
    await world.inner.close()
