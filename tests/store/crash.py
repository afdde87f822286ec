"""A writer to be killed and the check of what it leaves: every run whole, no acknowledged commit lost.

Each update of a run brings everything a run has in step with its version: state, one batch, timer, task, visibility.
So a stored run says of itself what its other rows must be.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
from pathlib import Path

from perdure.store.api import Durability, RunKey, RunUpdate, TaskRow
from perdure.store.lmdb import LMDBStore
from tests.store.builders import NAMESPACE, record, run_key, task

RUNS = 24
_LINE = 16


def _state(key: RunKey, version: int) -> bytes:
    return f"{key.run_id} {version} ".encode() * (1 + version % 7 * 40)


def _batch(key: RunKey, version: int) -> bytes:
    return f"{version} {key.run_id} ".encode() * (1 + version % 5 * 60)


def _task(key: RunKey, version: int) -> TaskRow:
    # Task ids are of the queue, not of the run.
    task_id = version << 16 | int(key.run_id[-4:], 16)
    return task(key, task_id, "q" * (1 + version % 3 * 300))


def update(key: RunKey, version: int) -> RunUpdate:
    last = version - 1
    return RunUpdate(
        key,
        version,
        _state(key, version),
        [(version, 1, _batch(key, version))],
        make_current=True,
        timer=(last, version),
        put_tasks=[_task(key, version)],
        delete_tasks=[_task(key, last)] if last else [],
        visibility=(record(key, last) if last else None, record(key, version)),
    )


async def write_until_killed(folder: Path, durability: Durability, seed: int, acknowledgements: int) -> None:
    """Commit random runs, alone and together, several at once, writing ``run version`` for each acknowledged one."""
    rng = random.Random(seed)
    store = await LMDBStore.open(folder, durability=durability, map_size=1 << 18)
    versions = {number: await version(store, number) for number in range(RUNS)}

    async def work(numbers: list[int]) -> None:
        while True:
            chosen = rng.sample(numbers, rng.randint(1, len(numbers)))
            for number in chosen:
                versions[number] += 1
            await store.commit([update(run_key(number), versions[number]) for number in chosen])
            text = b"".join(b"%4d %10d\n" % (number, versions[number]) for number in chosen)
            os.write(acknowledgements, text)

    await asyncio.gather(*(work(list(range(part, RUNS, 4))) for part in range(4)))


async def version(store: LMDBStore, number: int) -> int:
    stored = await store.load_run(run_key(number))
    return 0 if stored is None else stored.version


async def check(folder: Path, durability: Durability, acknowledged: dict[int, int]) -> None:
    """Reopen what a killed writer left.

    Raises:
        AssertionError: something acknowledged is missing, or a run's rows are not of one version.
    """
    store = await LMDBStore.open(folder, durability=durability, map_size=1 << 18)
    timers, tasks, shown = [], [], []
    for number in range(RUNS):
        key = run_key(number)
        stored = await store.load_run(key)
        version = 0 if stored is None else stored.version
        assert version >= acknowledged.get(number, 0), (
            f"run {number}: {acknowledged[number]} acknowledged, has {version}"
        )
        batches = (await store.read_history(key)).batches
        assert batches == [_batch(key, n) for n in range(1, version + 1)], f"run {number}: history"
        if stored is None:
            assert await store.current_run(NAMESPACE, key.workflow_id) is None
            continue
        assert stored.state == _state(key, version), f"run {number}: state"
        assert await store.current_run(NAMESPACE, key.workflow_id) == key.run_id
        assert await store.find_run(NAMESPACE, key.run_id) == key
        timers.append((version, key))
        tasks.append(_task(key, version))
        shown.append(record(key, version))
    assert sorted(await store.due_runs(1 << 60, 1000)) == sorted(timers)
    assert set(await store.pending_tasks(1000)) == set(tasks)
    page = await store.list_runs(NAMESPACE, None, 1000)
    assert sorted(page.records, key=lambda item: item.key) == sorted(shown, key=lambda item: item.key)
    await store.close()


def round_of(folder: Path, durability: Durability, seed: int, acknowledged: dict[int, int]) -> int:
    """Fork a writer, kill it after a random number of acknowledgements, check what is left; gives that number."""
    rng = random.Random(seed)
    wanted = rng.randint(0, 120)
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(read)
        try:
            asyncio.run(write_until_killed(folder, durability, seed, write))
        finally:
            os._exit(1)
    os.close(write)
    seen = 0
    with os.fdopen(read, "rb") as lines:
        while seen < wanted:
            line = lines.readline()
            assert len(line) == _LINE, "the writer failed"
            _note(line, acknowledged)
            seen += 1
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        # What was acknowledged before the kill took effect counts too; the last line may be cut.
        for line in lines:
            if len(line) == _LINE:
                _note(line, acknowledged)
    asyncio.run(check(folder, durability, acknowledged))
    return seen


def _note(line: bytes, acknowledged: dict[int, int]) -> None:
    number, version = line.split()
    acknowledged[int(number)] = max(int(version), acknowledged.get(int(number), 0))
