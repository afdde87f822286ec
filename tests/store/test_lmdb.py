"""What only a folder on a disk can do: be owned, reopened, damaged, full, forked, killed."""

from __future__ import annotations

import asyncio
import os
import resource
import signal
import subprocess
import sys
import uuid
from pathlib import Path

import msgspec
import pytest

from perdure.store.api import (
    NamespaceRecord,
    RunUpdate,
    StaleRunError,
    StoreCorruptError,
    StoredRun,
    StoreUnavailableError,
)
from perdure.store.lmdb import LMDBStore
from perdure.store.lmdb._store import META
from perdure.store.visibility import parse_query
from tests.store.backends import Backend
from tests.store.builders import NAMESPACE, OTHER_NAMESPACE, contents, first, record, run_key, search_attributes, task


async def test_reopening_finds_everything(persistent: Backend, tmp_path: Path) -> None:
    keys = [run_key(1), run_key(2, "w" * 900), run_key(3, namespace_id=OTHER_NAMESPACE)]
    store = await persistent.open(tmp_path)
    await store.put_namespace(NamespaceRecord(NAMESPACE, "default", b"body"))
    for key in keys:
        await store.commit(
            [first(key, timer=(0, 9), put_tasks=[task(key, 1, "q" * 700)], visibility=(None, record(key)))]
        )
    before = await contents(store, *keys)
    await store.close()
    again = await persistent.open(tmp_path)
    assert await contents(again, *keys) == before
    assert await again.load_namespaces() == [NamespaceRecord(NAMESPACE, "default", b"body")]
    await again.commit([RunUpdate(keys[0], 2)])
    with pytest.raises(StaleRunError):
        await again.commit([RunUpdate(keys[0], 2)])
    await again.close()


async def test_each_opening_is_a_new_epoch(persistent: Backend, tmp_path: Path) -> None:
    for epoch in (1, 2, 3):
        store = await persistent.open(tmp_path)
        assert store.epoch == epoch
        await store.close()


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_both_event_loops(loop: str, tmp_path: Path) -> None:
    async def use() -> StoredRun | None:
        store = await LMDBStore.open(tmp_path)
        await asyncio.gather(*(store.commit([first(run_key(number))]) for number in range(100)))
        found = await store.load_run(run_key(99))
        await store.close()
        return found

    factory = asyncio.new_event_loop if loop == "asyncio" else pytest.importorskip("uvloop").new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        assert runner.run(use()) == StoredRun(1, b"state 1")


async def test_one_owner_in_this_process(tmp_path: Path) -> None:
    store = await LMDBStore.open(tmp_path)
    with pytest.raises(StoreUnavailableError, match=f"{tmp_path} is in use by process {os.getpid()} "):
        await LMDBStore.open(tmp_path)
    await store.commit([first(run_key())])
    await store.close()
    await (await LMDBStore.open(tmp_path)).close()


_HOLD = """
import asyncio, sys
from perdure.store.lmdb import LMDBStore

async def main():
    await LMDBStore.open(sys.argv[1])
    print("open", flush=True)
    await asyncio.sleep(3600)

asyncio.run(main())
"""


async def test_the_owner_in_another_process_is_named_and_its_death_frees_the_folder(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", _HOLD, str(tmp_path)], stdout=subprocess.PIPE) as owner:
        assert owner.stdout is not None
        assert owner.stdout.readline() == b"open\n"
        with pytest.raises(StoreUnavailableError, match=f"in use by process {owner.pid} "):
            await LMDBStore.open(tmp_path)
        owner.kill()
        owner.wait()
    store = await LMDBStore.open(tmp_path)
    assert store.epoch == 2
    await store.close()


async def test_folders_are_made(tmp_path: Path) -> None:
    await (await LMDBStore.open(tmp_path / "a" / "b")).close()
    assert (tmp_path / "a" / "b" / "data.mdb").exists()


async def test_a_file_in_the_way(tmp_path: Path) -> None:
    (tmp_path / "store").write_text("not a folder")
    for path in (tmp_path / "store", tmp_path / "store" / "below"):
        with pytest.raises(StoreUnavailableError, match="file in the way"):
            await LMDBStore.open(path)


@pytest.mark.skipif(os.geteuid() == 0, reason="permissions do not bind root")
async def test_no_permission(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(StoreUnavailableError, match="no permission"):
        await LMDBStore.open(tmp_path / "store")


async def test_not_an_lmdb_file(tmp_path: Path) -> None:
    (tmp_path / "data.mdb").write_bytes(b"something else" * 1000)
    with pytest.raises(StoreCorruptError, match="not an LMDB file"):
        await LMDBStore.open(tmp_path)
    assert (tmp_path / "data.mdb").read_bytes() == b"something else" * 1000


async def test_another_programs_environment_is_left_alone(tmp_path: Path) -> None:
    import lmdb

    with lmdb.open(str(tmp_path)) as environment, environment.begin(write=True) as transaction:
        transaction.put(b"theirs", b"value")
    with pytest.raises(StoreCorruptError, match="another program"):
        await LMDBStore.open(tmp_path)
    with lmdb.open(str(tmp_path)) as environment, environment.begin() as transaction:
        assert list(transaction.cursor()) == [(b"theirs", b"value")]


async def test_a_newer_format_is_refused(tmp_path: Path) -> None:
    import lmdb

    await (await LMDBStore.open(tmp_path)).close()
    with lmdb.open(str(tmp_path), max_dbs=16) as environment, environment.begin(write=True) as transaction:
        transaction.put(b"format", (5).to_bytes(8, "little"), db=environment.open_db(b"meta", transaction))
    with pytest.raises(StoreCorruptError, match="has format 5, this perdure reads up to 4"):
        await LMDBStore.open(tmp_path)


async def test_a_cut_off_file_is_refused(tmp_path: Path) -> None:
    store = await LMDBStore.open(tmp_path)
    await store.commit([first(run_key(), state=bytes(100_000))])
    await store.close()
    os.truncate(tmp_path / "data.mdb", 40_960)
    with pytest.raises(StoreCorruptError, match="cut off"):
        await LMDBStore.open(tmp_path)


async def test_the_map_grows(tmp_path: Path) -> None:
    store = await LMDBStore.open(tmp_path, map_size=1 << 16)
    keys = [run_key(number) for number in range(200)]
    commits = [store.commit([first(key, state=bytes(50_000))]) for key in keys]
    reader = asyncio.ensure_future(asyncio.gather(*commits))
    while not reader.done():
        await asyncio.sleep(0)
        for key in keys[::50]:
            assert await store.load_run(key) in (None, StoredRun(1, bytes(50_000)))
    await reader
    assert all([await store.load_run(key) == StoredRun(1, bytes(50_000)) for key in keys])
    assert store._environment.stat()["map_size"] > 200 * 50_000
    await store.close()
    again = await LMDBStore.open(tmp_path, map_size=1 << 16)
    assert await again.load_run(keys[-1]) == StoredRun(1, bytes(50_000))
    await again.commit([first(run_key(500), state=bytes(1_000_000))])
    await again.close()


async def test_commits_under_way_share_transactions_and_syncs(tmp_path: Path) -> None:
    store = await LMDBStore.open(tmp_path)
    before = store._environment.stat()
    await asyncio.gather(*(store.commit([first(run_key(number))]) for number in range(1000)))
    after = store._environment.stat()
    assert after["transactions"] - before["transactions"] < 500
    assert after["syncs"] - before["syncs"] < 500
    await store.close()


async def test_a_full_disk_fails_commits_until_there_is_room(in_folder: Backend, tmp_path: Path) -> None:
    store = await in_folder.open(tmp_path)
    await store.commit([first(run_key(1))])
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    size = (tmp_path / "store" / "data.mdb").stat().st_size
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        for _ in range(3):
            with pytest.raises(StoreUnavailableError, match="no room is left"):
                await store.commit([first(run_key(2), state=bytes(5_000_000))])
        assert await store.load_run(run_key(2)) is None
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    await store.commit([first(run_key(2), state=bytes(5_000_000))])
    assert await store.load_run(run_key(2)) == StoredRun(1, bytes(5_000_000))
    await store.close()
    again = await in_folder.open(tmp_path)
    assert await again.load_run(run_key(1)) == StoredRun(1, b"state 1")
    await again.close()


async def _in_child(store: LMDBStore) -> str:
    messages = []
    for call in (store.load_run(run_key()), store.commit([first(run_key(9))])):
        try:
            await call
            messages.append("no error")
        except StoreUnavailableError as error:
            messages.append(str(error))
    return "\n".join(messages)


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
async def test_a_forked_child_is_told_and_harms_nothing(persistent: Backend, tmp_path: Path) -> None:
    store = await persistent.open(tmp_path)
    await store.commit([first(run_key())])
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            coroutine = _in_child(store)
            try:
                coroutine.send(None)
            except StopIteration as stop:
                os.write(write, stop.value.encode())
        finally:
            os.kill(os.getpid(), signal.SIGKILL)
    os.close(write)
    with os.fdopen(read) as pipe:
        messages = pipe.read()
    os.waitpid(child, 0)
    assert messages.count("was opened before this process was forked") == 2
    await store.commit([RunUpdate(run_key(), 2)])
    assert await store.load_run(run_key()) == StoredRun(2, b"state 1")
    await store.close()


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
async def test_a_forked_child_does_not_keep_the_folder(tmp_path: Path) -> None:
    store = await LMDBStore.open(tmp_path)
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(write)
        os.read(read, 1)
        os.kill(os.getpid(), signal.SIGKILL)
    try:
        await store.close()
        await (await LMDBStore.open(tmp_path)).close()
    finally:
        os.close(write)
        os.close(read)
        os.waitpid(child, 0)


async def test_opening_fails_cleanly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail(store: LMDBStore) -> None:
        raise RuntimeError("on purpose")

    monkeypatch.setattr(LMDBStore, "_start", fail)
    with pytest.raises(RuntimeError, match="on purpose"):
        await LMDBStore.open(tmp_path)
    monkeypatch.undo()
    await (await LMDBStore.open(tmp_path)).close()


async def test_a_store_of_format_1_gets_its_indexes(tmp_path: Path) -> None:
    import lmdb

    open_run = record(run_key(1), 7, search_attributes=search_attributes(Customer=("Keyword", "bob")))
    closed_run = record(run_key(2, "w" * 900), 7, close_time=9)
    store = await LMDBStore.open(tmp_path)
    await store.commit([first(item.key, visibility=(None, item)) for item in (open_run, closed_run)])
    await store.close()
    with lmdb.open(str(tmp_path), max_dbs=16) as environment, environment.begin(write=True) as transaction:
        tables = {name: environment.open_db(name, transaction) for name in (b"meta", b"visibility", b"namespace")}
        for name in (b"bucket", b"term"):
            transaction.drop(environment.open_db(name, transaction, dupsort=True, dupfixed=True))
        transaction.drop(tables[b"visibility"], delete=False)
        number = (1).to_bytes(4)
        for item in (open_run, closed_run):
            inverse = [(2**64 - 1 - time).to_bytes(8) for time in (item.close_time, item.start_time)]
            times = b"\1" + b"".join(inverse) if item.close_time else b"\0" + inverse[1]
            key = number + times + uuid.UUID(item.key.run_id).bytes
            transaction.put(key, msgspec.msgpack.encode(item), db=tables[b"visibility"])
        for row in range(1, 4):
            transaction.delete(b"i" + row.to_bytes(4), db=tables[b"namespace"])
        transaction.put(b"format", (1).to_bytes(8, "little"), db=tables[b"meta"])
    (tmp_path / "checkpoint").unlink()
    for _ in range(2):
        store = await LMDBStore.open(tmp_path)
        assert store._environment.get(META, b"format") == (4).to_bytes(8, "little")
        assert store._environment.get(META, b"unindexed") is None
        assert (await store.list_runs(NAMESPACE, None, 10)).records == [open_run, closed_run]
        bob = parse_query("Customer = 'bob'", {"Customer": "Keyword"})
        assert (await store.list_runs(NAMESPACE, bob, 10)).records == [open_run]
        await store.close()


async def test_format_and_epoch_rows(tmp_path: Path) -> None:
    store = await LMDBStore.open(tmp_path)
    rows, _ = store._environment.scan(META, b"", b"", 10)
    assert rows[:2] == [(b"epoch", (1).to_bytes(8, "little")), (b"format", (4).to_bytes(8, "little"))]
    assert [key for key, _ in rows[2:]] == [b"log"]
    await store.close()
