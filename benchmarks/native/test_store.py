"""Stores alone: what a commit takes, and how many puts a second there are. The baseline is the lmdb package's own API.

    pytest benchmarks/native/test_store.py --benchmark-only

A commit's latency with ``full`` is the disk's: compare it with the baseline's in the same run, not across machines.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import lmdb
import pytest

from perdure.store.api import Durability, RunKey, RunUpdate, TaskRow, VisibilityRecord
from perdure.store.lmdb import LMDBStore
from perdure.store.memory import MemoryStore

NAMESPACE = str(uuid.UUID(int=1))
BATCH = 2000
#: What one run of BATCH updates puts: run, batch, current, timer, task, record, pointer.
PUTS_PER_UPDATE = 7


def _new_run() -> RunKey:
    run_id = str(uuid.uuid4())
    return RunKey(NAMESPACE, f"workflow-{run_id}", run_id)


def _full_update(number: int) -> RunUpdate:
    key = _new_run()
    return RunUpdate(
        key,
        1,
        b"s" * 120,
        [(1, 3, b"h" * 300)],
        make_current=True,
        timer=(0, 1_000 + number),
        put_tasks=[TaskRow(key, 1, "queue", number, 2)],
        visibility=(None, VisibilityRecord(key, "Order", "queue", 1, 1_000 + number, 1_000)),
    )


@pytest.fixture
def runner() -> Iterator[asyncio.Runner]:
    uvloop = pytest.importorskip("uvloop")
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        yield runner


async def _open(name: str, folder: Path) -> Any:
    if name == "memory":
        return await MemoryStore.open()
    return await LMDBStore.open(folder / "store", durability=Durability(name))


STORES = ("memory", "process", "full")


@pytest.mark.parametrize("name", STORES)
def test_commit_alone(benchmark: Any, runner: asyncio.Runner, tmp_path: Path, name: str) -> None:
    """One small update at a time: state and a batch."""
    store = runner.run(_open(name, tmp_path))
    key = _new_run()
    version = 0

    async def many(count: int) -> None:
        nonlocal version
        for _ in range(count):
            version += 1
            await store.commit([RunUpdate(key, version, b"s" * 120, [(version, 1, b"h" * 200)])])

    benchmark.extra_info["commits_per_round"] = 50
    benchmark.pedantic(lambda: runner.run(many(50)), rounds=20, warmup_rounds=1)
    runner.run(store.close())


@pytest.mark.parametrize("sync", [False, True], ids=["process", "full"])
def test_baseline_transaction_alone(benchmark: Any, tmp_path: Path, sync: bool) -> None:
    """The same two puts through the lmdb package, its own syncing."""
    environment = lmdb.open(str(tmp_path), map_size=1 << 30, max_dbs=2, sync=sync)
    run, history = environment.open_db(b"run"), environment.open_db(b"history")
    version = 0

    def many() -> None:
        nonlocal version
        for _ in range(50):
            version += 1
            with environment.begin(write=True) as transaction:
                transaction.put(b"k" * 20, b"s" * 150, db=run)
                transaction.put(b"k" * 20 + version.to_bytes(4, "big"), b"h" * 204, db=history)

    benchmark.extra_info["commits_per_round"] = 50
    benchmark.pedantic(many, rounds=20, warmup_rounds=1)
    environment.close()


@pytest.mark.parametrize("name", STORES)
def test_many_updates(benchmark: Any, runner: asyncio.Runner, tmp_path: Path, name: str) -> None:
    """Updates of new runs in commits of 50, all under way at once: encoding, writing, and the way back."""
    store = runner.run(_open(name, tmp_path))

    def fresh() -> tuple[tuple[list[RunUpdate]], dict[str, Any]]:
        return ([_full_update(number) for number in range(BATCH)],), {}

    async def commit_all(updates: list[RunUpdate]) -> None:
        commits: list[Awaitable[None]] = [store.commit(updates[at : at + 50]) for at in range(0, BATCH, 50)]
        await asyncio.gather(*commits)

    benchmark.extra_info["puts_per_round"] = BATCH * PUTS_PER_UPDATE
    benchmark.pedantic(lambda updates: runner.run(commit_all(updates)), setup=fresh, rounds=15, warmup_rounds=1)
    runner.run(store.close())


@pytest.mark.parametrize("sync", [False, True], ids=["process", "full"])
def test_baseline_many_puts(benchmark: Any, tmp_path: Path, sync: bool) -> None:
    """As many puts of like sizes in one transaction through the lmdb package."""
    environment = lmdb.open(str(tmp_path), map_size=1 << 32, max_dbs=2, sync=sync)
    rows = environment.open_db(b"rows")

    def fresh() -> tuple[tuple[list[bytes]], dict[str, Any]]:
        return ([uuid.uuid4().bytes for _ in range(BATCH * PUTS_PER_UPDATE)],), {}

    def put_all(keys: list[bytes]) -> None:
        with environment.begin(write=True) as transaction:
            for key in keys:
                transaction.put(key, b"v" * 150, db=rows)

    benchmark.extra_info["puts_per_round"] = BATCH * PUTS_PER_UPDATE
    benchmark.pedantic(put_all, setup=fresh, rounds=15, warmup_rounds=1)
    environment.close()


@pytest.mark.parametrize("name", STORES)
def test_load_run(benchmark: Any, runner: asyncio.Runner, tmp_path: Path, name: str) -> None:
    """One run's state out of ten thousand."""
    store = runner.run(_open(name, tmp_path))
    updates = [_full_update(number) for number in range(10_000)]
    runner.run(store.commit(updates))
    key = updates[5_000].key

    async def many() -> None:
        load: Callable[[RunKey], Awaitable[Any]] = store.load_run
        for _ in range(1000):
            await load(key)

    benchmark.extra_info["reads_per_round"] = 1000
    benchmark.pedantic(lambda: runner.run(many()), rounds=10, warmup_rounds=1)
    runner.run(store.close())
