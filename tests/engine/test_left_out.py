"""A run whose workflow task is about to be answered may be left for the next commit; whoever waits, waits for that one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from perdure.engine.core import MAX_LOOKS
from perdure.engine.matching import LocalPoller
from perdure.service import RPCError
from perdure.store.api import Durability, Store
from perdure.store.lmdb import LMDBStore
from perdure.store.memory import MemoryStore
from tests.engine.driver import Driver, driving
from tests.support.homes import STORES


@pytest.fixture(params=[store for store in STORES if store != "postgresql"])
async def d(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Driver]:
    """A driven engine that owns its store: one of a cluster leaves nothing out."""
    store: Store
    if request.param == "memory":
        store = await MemoryStore.open()
    else:
        store = await LMDBStore.open(tmp_path / "store", durability=Durability.PROCESS)
    async with driving(store) as driver:
        yield driver


async def started_and_taken(d: Driver) -> tuple[asyncio.Task[str], asyncio.Task[object]]:
    """A start whose batch forms yet, and the poll that is about to get its workflow task."""
    polling = asyncio.ensure_future(d.poll())
    core = d.engine.core
    while not any(
        isinstance(poller, LocalPoller) for _, queue in core.matching._queues.items() for poller in queue.pollers
    ):
        await asyncio.sleep(0)
    starting = asyncio.ensure_future(d.start())
    while core._forming is None:
        await asyncio.sleep(0)
    return starting, polling


def grown(d: Driver) -> None:
    """The forming batch has grown again and again, so it leaves now."""
    batch = d.engine.core._forming
    assert batch is not None
    batch.looks = MAX_LOOKS
    batch.marks += 1
    d.engine.core._flush()


async def test_it_goes_with_the_next_commit(d: Driver) -> None:
    starting, polling = await started_and_taken(d)
    grown(d)
    core = d.engine.core
    assert core._forming is not None
    (run,) = core._forming.runs
    assert run.is_dirty and not starting.done()
    await core.settle()
    assert not run.is_dirty
    assert await starting == run.key.run_id
    assert await core.store.load_run(run.key) is not None
    await polling


async def test_a_quiet_batch_leaves_nothing_out(d: Driver) -> None:
    starting, polling = await started_and_taken(d)
    await starting
    assert d.engine.core._forming is None
    await polling


async def test_who_waits_hears_of_a_failed_commit(d: Driver) -> None:
    starting, polling = await started_and_taken(d)
    grown(d)
    core = d.engine.core
    batch = core._forming
    assert batch is not None
    core._forming = None
    core._travelling.append(batch)
    core._failed(batch, RuntimeError("no room"))
    with pytest.raises(RPCError, match="no room"):
        await starting
    polling.cancel()
