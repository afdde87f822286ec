"""The log beside data.mdb: its records, and what opening makes of a folder that was not closed in order.

A copy of the folder of an open store is what ``kill -9`` leaves.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import struct
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perdure.store.api import Durability, RunUpdate, StoreCorruptError, StoredRun
from perdure.store.lmdb import LMDBStore
from perdure.store.lmdb._log import records
from tests.store.builders import first, run_key
from tests.store.lmdb_pages import check_pages

HEAD = 4096
Salt = st.integers(0, 2**64 - 1)


def crc32c(data: bytes) -> int:
    """CRC-32C, a bit at a time."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def segment_head(salt: int, before: int, number: int) -> bytes:
    head = b"perdlog1" + struct.pack("<QQQ", salt, before, number)
    return (head + struct.pack("<I", crc32c(head))).ljust(HEAD, b"\0")


def record(salt: int, number: int, payload: bytes) -> bytes:
    size, numbered = struct.pack("<I", len(payload)), struct.pack("<Q", number)
    checksum = crc32c(struct.pack("<Q", salt) + size + numbered + payload)
    whole = size + struct.pack("<I", checksum) + numbered + payload
    return whole + bytes(-len(whole) % 8)


def test_the_checksum_is_the_known_one() -> None:
    assert crc32c(b"123456789") == 0xE3069283


@given(Salt, Salt, st.integers(1, 2**63), st.lists(st.binary(min_size=1, max_size=80), max_size=6), st.data())
def test_the_first_record_that_does_not_count_ends_the_log(
    salt: int, before: int, number: int, payloads: list[bytes], data: st.DataObject
) -> None:
    parts = [record(salt, number + index, payload) for index, payload in enumerate(payloads)]
    whole = segment_head(salt, before, number) + b"".join(parts)
    assert records(whole) == (salt, before, number, payloads)
    assert records(whole + bytes(64)) == (salt, before, number, payloads)
    # What an earlier use of the segment left there does not count.
    stale = record(salt ^ 1, number + len(payloads), b"stale") + record(salt, number + len(payloads) + 1, b"stale")
    assert records(whole + stale) == (salt, before, number, payloads)

    cut = data.draw(st.integers(0, len(whole)))
    ends = [HEAD + sum(map(len, parts[: index + 1])) for index in range(len(parts))]
    sizes = [HEAD + sum(map(len, parts[:index])) + 16 + len(payload) for index, payload in enumerate(payloads)]
    found = records(whole[:cut])
    assert found == (None if cut < HEAD else (salt, before, number, payloads[: sum(size <= cut for size in sizes)]))

    bit = data.draw(st.integers(0, len(whole) * 8 - 1))
    damaged = bytearray(whole)
    damaged[bit // 8] ^= 1 << bit % 8
    found = records(bytes(damaged))
    if bit // 8 < 36:
        assert found is None
    else:
        hit = next((index for index, end in enumerate(ends) if HEAD <= bit // 8 < end), len(parts))
        if hit < len(parts) and bit // 8 >= sizes[hit]:
            hit = len(parts)  # padding
        assert found == (salt, before, number, payloads[:hit])


async def opened(folder: Path, durability: Durability = Durability.FULL) -> LMDBStore:
    return await LMDBStore.open(folder, durability=durability, map_size=1 << 20)


async def killed(tmp_path: Path, count: int = 20, durability: Durability = Durability.FULL) -> Path:
    """A folder with ``count`` runs, each committed alone, that was not closed."""
    store = await opened(tmp_path / "store", durability)
    for number in range(count):
        await store.commit([first(run_key(number))])
    shutil.copytree(tmp_path / "store", tmp_path / "left")
    await store.close()
    return tmp_path / "left"


async def stored(folder: Path, count: int = 20) -> list[bool]:
    store = await opened(folder)
    found = [await store.load_run(run_key(number)) == StoredRun(1, b"state 1") for number in range(count)]
    await store.close()
    check_pages(folder / "data.mdb")
    return found


@pytest.mark.parametrize("durability", Durability, ids=lambda durability: durability.value)
async def test_a_killed_process_leaves_everything_in_the_log(durability: Durability, tmp_path: Path) -> None:
    left = await killed(tmp_path, 150, durability)
    assert all(await stored(left, 150))
    assert all(await stored(left, 150))


async def test_a_damaged_record_ends_what_is_there(tmp_path: Path) -> None:
    left = await killed(tmp_path)
    log = (left / "log-0").read_bytes()
    found = records(log)
    assert found is not None
    assert len(found[3]) == 21  # the epoch's is the first
    place = HEAD + sum(len(record(0, 0, payload)) for payload in found[3][:11])
    (left / "log-0").write_bytes(log[: place + 20] + b"\xff" + log[place + 21 :])
    assert await stored(left) == [True] * 10 + [False] * 10
    assert await stored(left) == [True] * 10 + [False] * 10


async def test_a_cut_off_log_ends_where_it_is_cut(tmp_path: Path) -> None:
    left = await killed(tmp_path)
    os.truncate(left / "log-0", HEAD)
    assert not any(await stored(left))
    store = await opened(left)
    assert store.epoch == 2  # that of the killed process was in the log
    await store.close()


def _without_log(left: Path) -> None:
    (left / "log-0").unlink()


def _other_log(left: Path) -> None:
    data = (left / "log-0").read_bytes()
    (left / "log-0").write_bytes(segment_head(5, 0, 1) + data[HEAD:])


@pytest.mark.parametrize("harm", [_without_log, _other_log])
async def test_a_log_that_is_not_there_is_refused(harm: Callable[[Path], None], tmp_path: Path) -> None:
    left = await killed(tmp_path)
    harm(left)
    with pytest.raises(StoreCorruptError, match=r"the log .* is missing or damaged"):
        await opened(left)


async def test_data_without_its_checkpoint_is_refused(tmp_path: Path) -> None:
    left = await killed(tmp_path)
    (left / "checkpoint").unlink()
    with pytest.raises(StoreCorruptError, match="copy the whole folder"):
        await opened(left)


async def test_data_of_another_store_is_refused_and_left_alone(tmp_path: Path) -> None:
    left = await killed(tmp_path)
    other = await opened(tmp_path / "other")
    for number in range(300):
        await other.commit([first(run_key(number))])
    await other.close()
    before = (tmp_path / "other" / "data.mdb").read_bytes()
    shutil.copy(tmp_path / "other" / "data.mdb", left / "data.mdb")
    with pytest.raises(StoreCorruptError):
        await opened(left)
    assert (left / "data.mdb").read_bytes() == before


async def test_a_store_closed_in_order_is_its_data_file(tmp_path: Path) -> None:
    await killed(tmp_path)
    (tmp_path / "copy").mkdir()
    shutil.copy(tmp_path / "store" / "data.mdb", tmp_path / "copy" / "data.mdb")
    assert all(await stored(tmp_path / "copy"))


async def test_durability_may_change_between_openings(tmp_path: Path) -> None:
    left = await killed(tmp_path, 5, Durability.PROCESS)
    for turn, durability in enumerate((Durability.FULL, Durability.PROCESS, Durability.FULL)):
        store = await opened(left, durability)
        for number in range(5):
            assert await store.load_run(run_key(number)) == StoredRun(turn + 1, b"state 1")
            await store.commit([RunUpdate(run_key(number), turn + 2)])
        shutil.copytree(left, tmp_path / f"turn-{turn}")
        await store.close()
        left = tmp_path / f"turn-{turn}"


@pytest.mark.parametrize("durability", Durability, ids=lambda durability: durability.value)
async def test_checkpoints_are_taken_while_commits_go_on(durability: Durability, tmp_path: Path) -> None:
    store = await opened(tmp_path / "store", durability)
    store._environment.checkpoint_after(100_000, 1 << 30)
    key = run_key(1)
    await store.commit([first(key, state=bytes(4000))])
    version = 1
    while store._environment.stat()["checkpoints"] < 4:
        version += 1
        await store.commit([RunUpdate(key, version, bytes(4000))])
    shutil.copytree(tmp_path / "store", tmp_path / "left")
    await store.close()
    again = await opened(tmp_path / "left", durability)
    assert await again.load_run(key) == StoredRun(version, bytes(4000))
    await again.close()


async def test_commits_that_fill_a_segment_or_do_not_fit_one(tmp_path: Path) -> None:
    store = await opened(tmp_path / "store")
    store._environment.checkpoint_after(1 << 40, 1 << 40)
    sizes = [3_000_000] * 7 + [6_000_000, 100, 3_000_000]
    for number, size in enumerate(sizes):
        await store.commit([first(run_key(number), state=bytes(size))])
    assert store._environment.stat()["checkpoints"] >= 3
    shutil.copytree(tmp_path / "store", tmp_path / "left")
    await store.close()
    again = await opened(tmp_path / "left")
    for number, size in enumerate(sizes):
        assert await again.load_run(run_key(number)) == StoredRun(1, bytes(size))
    await again.close()


def test_an_event_loop_may_move_to_another_thread(tmp_path: Path) -> None:
    loop = asyncio.new_event_loop()

    async def open_and_commit() -> LMDBStore:
        store = await opened(tmp_path / "store")
        for number in range(3):
            await store.commit([first(run_key(number))])
        return store

    async def go_on(store: LMDBStore) -> None:
        assert await store.load_run(run_key(2)) == StoredRun(1, b"state 1")
        await store.commit([first(run_key(3))])
        await store.close()

    stores: list[LMDBStore] = []
    thread = threading.Thread(target=lambda: stores.append(loop.run_until_complete(open_and_commit())))
    thread.start()
    thread.join()
    loop.run_until_complete(go_on(stores[0]))
    assert loop.run_until_complete(stored(tmp_path / "store", 4)) == [True] * 4
    loop.close()
