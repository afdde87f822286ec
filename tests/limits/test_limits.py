"""Limits hold, give back what they gave, and survive what happens to those who take part."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perdure import activity, limits, workflow
from perdure.client import Client, WorkflowExecutionStatus, WorkflowFailureError, WorkflowHandle
from perdure.exceptions import ApplicationError, CancelledError
from perdure.limits._concurrency import Semaphore, semaphore_id
from perdure.limits._rate_limit import RateLimiter
from perdure.worker import Replayer, Worker

SECOND = timedelta(seconds=1)


class World:
    """Who is inside, as the outside sees it."""

    def __init__(self) -> None:
        self.inside = 0
        self.most = 0
        self.order: list[str] = []
        self.open = asyncio.Event()


world = World()


@pytest.fixture(autouse=True)
def _new_world() -> None:
    global world
    world = World()


@activity.defn
async def work(name: str) -> None:
    world.inside += 1
    world.most = max(world.most, world.inside)
    world.order.append(name)
    await asyncio.sleep(0)
    world.inside -= 1


@workflow.defn
class Limited:
    """Works, or stays, in a place of key k."""

    def __init__(self) -> None:
        self.inside = False
        self.may_leave = False

    @workflow.run
    async def run(
        self, limit: int, what: str = "work", on_conflict: Literal["queue", "cancel_new", "cancel_old"] = "queue"
    ) -> None:
        async with limits.concurrency("k", limit=limit, on_conflict=on_conflict):
            self.inside = True
            if what == "work":
                await workflow.execute_activity(work, workflow.info().workflow_id, start_to_close_timeout=SECOND * 10)
            elif what == "fail":
                raise ApplicationError("no")
            elif what == "again":
                workflow.continue_as_new(args=[limit, "work"])
            else:
                await workflow.wait_condition(lambda: self.may_leave)

    @workflow.signal
    def leave(self) -> None:
        self.may_leave = True

    @workflow.query
    def is_inside(self) -> bool:
        return self.inside


@workflow.defn
class Impatient:
    @workflow.run
    async def run(self) -> str:
        try:
            async with asyncio.timeout(0.01), limits.concurrency("k", limit=1):
                return "inside"
        except TimeoutError:
            return "gave up"


def working(client: Client, **options: Any) -> Worker:
    workflows = [Limited, Impatient, Paced, Indexing]
    return Worker(client, task_queue="q", workflows=workflows, activities=[work], **options)


async def start(client: Client, id: str, *args: Any) -> WorkflowHandle[Any, Any]:
    return await client.start_workflow(Limited.run, args=args, id=id, task_queue="q")


async def until(condition: Callable[[], Any]) -> None:
    while not await condition():
        await asyncio.sleep(0)


async def places(client: Client) -> tuple[int, int]:
    """How many hold a place and how many wait, by the semaphore's word."""
    semaphore = client.get_workflow_handle_for(Semaphore.run, semaphore_id("k"))
    if (await semaphore.describe()).status != WorkflowExecutionStatus.RUNNING:
        return 0, 0
    return len(await semaphore.query(Semaphore.holders)), len(await semaphore.query(Semaphore.waiters))


@pytest.mark.parametrize("cached", [1000, 0], ids=["cached", "replayed"])
async def test_no_more_are_inside_than_the_limit(cached: int) -> None:
    async with await Client.connect("memory:") as client, working(client, max_cached_workflows=cached):
        handles = [await start(client, f"w{n}", 3) for n in range(20)]
        for handle in handles:
            await handle.result()
        assert 1 <= world.most <= 3
        assert len(world.order) == 20
        await until(lambda: _closed(client, semaphore_id("k")))
        await Replayer(workflows=[Limited]).replay_workflow(await handles[7].fetch_history())


async def _closed(client: Client, workflow_id: str) -> bool:
    return (await client.get_workflow_handle(workflow_id).describe()).status != WorkflowExecutionStatus.RUNNING


@pytest.mark.parametrize("ending", ["terminate", "cancel", "fail", "again", "leave"])
async def test_a_place_is_given_back_however_its_holder_closes(ending: str) -> None:
    async with await Client.connect("memory:") as client, working(client):
        holder = await start(client, "holder", 1, ending if ending in ("fail", "again") else "stay")
        if ending not in ("fail", "again"):
            await until(lambda: holder.query(Limited.is_inside))
        other = await start(client, "other", 1)
        if ending == "terminate":
            await until(lambda: _is(places(client), (1, 1)))
            await holder.terminate()
        elif ending == "cancel":
            await holder.cancel()
        elif ending == "leave":
            await holder.signal(Limited.leave)
        await other.result()
        await until(lambda: _is(places(client), (0, 0)))


async def _is(found: Any, wanted: Any) -> bool:
    return bool(await found == wanted)


async def test_who_waits_no_more_leaves_the_line() -> None:
    async with await Client.connect("memory:") as client, working(client):
        holder = await start(client, "holder", 1, "stay")
        await until(lambda: holder.query(Limited.is_inside))
        assert await client.execute_workflow(Impatient.run, id="i", task_queue="q") == "gave up"
        await until(lambda: _is(places(client), (1, 0)))
        await holder.signal(Limited.leave)
        await holder.result()
        assert await client.execute_workflow(Impatient.run, id="i2", task_queue="q") in ("inside", "gave up")


async def test_a_new_one_may_be_refused() -> None:
    async with await Client.connect("memory:") as client, working(client):
        holder = await start(client, "holder", 1, "stay")
        await until(lambda: holder.query(Limited.is_inside))
        with pytest.raises(WorkflowFailureError) as caught:
            await (await start(client, "new", 1, "work", "cancel_new")).result()
        assert isinstance(caught.value.cause, ApplicationError)
        assert (caught.value.cause.type, caught.value.cause.message) == (
            "LimitExceeded",
            "all 1 places of 'k' are taken",
        )
        assert await places(client) == (1, 0)
        await holder.signal(Limited.leave)
        await holder.result()
        await until(lambda: _is(places(client), (0, 0)))
        await (await start(client, "new", 1, "work", "cancel_new")).result()
        assert world.order == ["new"]


async def test_an_old_one_may_be_cancelled() -> None:
    async with await Client.connect("memory:") as client, working(client):
        handles = [await start(client, "w0", 2, "stay")]
        await until(lambda: handles[0].query(Limited.is_inside))
        for number in range(1, 6):
            handles.append(await start(client, f"w{number}", 2, "stay", "cancel_old"))
            await until(lambda: handles[-1].query(Limited.is_inside))
        for handle in handles[:4]:
            with pytest.raises(WorkflowFailureError) as caught:
                await handle.result()
            assert isinstance(caught.value.cause, CancelledError)
        for handle in handles[4:]:
            await handle.signal(Limited.leave)
            await handle.result()
        await Replayer(workflows=[Limited]).replay_workflow(await handles[2].fetch_history())


async def test_a_terminated_semaphore_or_lease_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("perdure.limits._concurrency.ASK_AGAIN", timedelta(milliseconds=50))
    async with await Client.connect("memory:") as client, working(client):
        holder = await start(client, "holder", 1, "stay")
        await until(lambda: holder.query(Limited.is_inside))
        (lease,) = await client.get_workflow_handle(semaphore_id("k")).query(Semaphore.holders)
        other = await start(client, "other", 1)
        await until(lambda: _is(places(client), (1, 1)))
        await client.get_workflow_handle(lease).terminate()
        await other.result()
        third = await start(client, "third", 1, "stay")
        await until(lambda: third.query(Limited.is_inside))
        fourth = await start(client, "fourth", 1)
        await until(lambda: _is(places(client), (1, 1)))
        await client.get_workflow_handle(semaphore_id("k")).terminate()
        await fourth.result()


async def test_places_and_line_survive_a_restart(tmp_path: Path) -> None:
    url = f"lmdb:{tmp_path / 'data'}?durability=process"
    async with await Client.connect(url) as client, working(client):
        holder = await start(client, "holder", 1, "stay")
        await until(lambda: holder.query(Limited.is_inside))
        await start(client, "other", 1)
        await until(lambda: _is(places(client), (1, 1)))
    async with await Client.connect(url) as client, working(client):
        assert await places(client) == (1, 1)
        assert world.order == []
        await client.get_workflow_handle_for(Limited.run, "holder").signal(Limited.leave)
        await client.get_workflow_handle("other").result()
        assert world.order == ["other"]


@workflow.defn
class Paced:
    @workflow.run
    async def run(self, per: float) -> float:
        await limits.rate_limit("k", limit=3, per=timedelta(seconds=per))
        return workflow.time()


async def test_no_more_pass_in_a_period_than_the_limit() -> None:
    async with await Client.connect("memory:") as client, working(client):
        began = time.time()
        handles = [await client.start_workflow(Paced.run, 0.2, id=f"p{n}", task_queue="q") for n in range(10)]
        passed = [await handle.result() for handle in handles]
        assert max(passed) - began >= 3 * 0.2 - 0.01  # a timer fires late, never early
        await until(lambda: _closed(client, "perdure-limits/rate/k"))
        await Replayer(workflows=[Paced]).replay_workflow(await handles[9].fetch_history())


@given(
    limit=st.integers(1, 5),
    seconds=st.floats(0.01, 100),
    waits=st.lists(st.floats(0, 100), min_size=1, max_size=40),
)
def test_turns_keep_the_rate(limit: int, seconds: float, waits: list[float]) -> None:
    keeper = RateLimiter([], [])
    now, turns = 0.0, []
    for wait in waits:
        now += wait
        turns.append(keeper._next(now, limit, seconds))
        assert turns[-1] >= now
    assert turns == sorted(turns)
    assert all(later - earlier >= seconds * (1 - 1e-9) for earlier, later in zip(turns, turns[limit:], strict=False))
    assert len(keeper._turns) <= limit


@dataclass
class Document:
    id: int
    text: str


@workflow.defn
class Indexing:
    @workflow.run
    async def run(self, document: Document | None = None) -> str:
        assert document is None or isinstance(document, Document)
        await asyncio.sleep(0.02)
        return "nothing" if document is None else document.text


async def result_of(client: Client, workflow_id: str) -> Any:
    """The result of a workflow that is still to be started."""
    await until(lambda: _exists(client, workflow_id))
    return await client.get_workflow_handle(workflow_id).result()


async def _exists(client: Client, workflow_id: str) -> bool:
    return await client.count_workflows(f"WorkflowId = '{workflow_id}'") is not None and any(
        [run async for run in client.list_workflows(f"WorkflowId = '{workflow_id}'")]
    )


async def test_a_burst_becomes_one_run_with_the_last_argument() -> None:
    async with await Client.connect("memory:") as client, working(client):
        for number in range(10):
            handle = await limits.debounce(
                client,
                Indexing.run,
                Document(1, f"v{number}"),
                id="index",
                task_queue="q",
                period=timedelta(seconds=0.2),
            )
        assert await result_of(client, "index") == "v9"
        assert handle.id == "index"
        await until(lambda: _closed(client, "perdure-limits/debounce/index"))
        assert len([run async for run in client.list_workflows("WorkflowType = 'Indexing'")]) == 1


async def test_a_burst_is_cut_off_after_its_timeout() -> None:
    async with await Client.connect("memory:") as client, working(client):
        for _ in range(2):
            await limits.debounce(
                client,
                "Indexing",
                id="index",
                task_queue="q",
                period=timedelta(hours=1),
                timeout=timedelta(milliseconds=50),
            )
        assert await result_of(client, "index") == "nothing"


async def test_a_call_during_a_run_becomes_the_next_run(tmp_path: Path) -> None:
    url = f"lmdb:{tmp_path / 'data'}?durability=process"
    short = timedelta(milliseconds=30)
    async with await Client.connect(url) as client, working(client):
        await limits.debounce(client, Indexing.run, Document(1, "a"), id="index", task_queue="q", period=short)
        await until(lambda: _exists(client, "index"))
        await limits.debounce(client, Indexing.run, Document(1, "b"), id="index", task_queue="q", period=short)
    async with await Client.connect(url) as client, working(client):
        await until(lambda: _closed(client, "perdure-limits/debounce/index"))
        runs = [run async for run in client.list_workflows("WorkflowType = 'Indexing'")]
        results = [await client.get_workflow_handle("index", run_id=run.run_id).result() for run in runs]
        assert sorted(results) == ["a", "b"]


async def test_refusals() -> None:
    async with await Client.connect("memory:") as client:
        for period, message in ((timedelta(), "above zero"), (3, "must be a timedelta")):
            with pytest.raises(ValueError, match=message):
                await limits.debounce(client, "Indexing", id="i", task_queue="q", period=period)  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="key must be a text"):
            await limits.debounce(client, "Indexing", id="", task_queue="q", period=SECOND)
    with pytest.raises(ValueError, match="limit must be a whole number"):
        limits.concurrency("k", limit=0)
    with pytest.raises(ValueError, match="key must be a text"):
        limits.concurrency("", limit=1)
    with pytest.raises(ValueError, match="on_conflict must be"):
        limits.concurrency("k", limit=1, on_conflict="wait")  # type: ignore[arg-type]
