"""The stores the shared suite runs over: one entry per backend, and that is all a backend adds."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg

from perdure.store.api import Capability, Durability, Store
from perdure.store.lmdb import LMDBStore
from perdure.store.memory import MemoryStore
from perdure.store.postgres import PostgresStore
from tests.support.postgres import place_in


@dataclass(frozen=True)
class Backend:
    """How the suite opens a store. ``fail_commits(store, n)`` makes the next ``n`` device writes fail."""

    name: str
    open: Callable[[Path], Awaitable[Any]]
    capabilities: Capability
    fail_commits: Callable[[Any, int], None] | None = None
    is_folder: bool = False


async def _memory(folder: Path) -> Store:
    return await MemoryStore.open()


async def _lmdb_full(folder: Path) -> Store:
    return await LMDBStore.open(folder / "store", map_size=1 << 20)


async def _lmdb_process(folder: Path) -> Store:
    return await LMDBStore.open(folder / "store", durability=Durability.PROCESS, map_size=1 << 20)


async def _postgres(folder: Path) -> Store:
    return await PostgresStore.open(place_in(folder))


def _fail_lmdb(store: LMDBStore, count: int) -> None:
    store._environment.fail_commits(count, 28)  # ENOSPC


def _fail_postgres(store: PostgresStore, count: int) -> None:
    writer = store.writer
    call = writer._call
    left = count

    async def fail(*arguments: Any) -> None:
        nonlocal left
        if left:
            left -= 1
            raise asyncpg.exceptions.DiskFullError("no space left on device")
        await call(*arguments)

    writer._call = fail  # type: ignore[method-assign]


BACKENDS = (
    Backend("memory", _memory, MemoryStore.capabilities),
    Backend("lmdb-full", _lmdb_full, LMDBStore.capabilities, _fail_lmdb, is_folder=True),
    Backend("lmdb-process", _lmdb_process, LMDBStore.capabilities, _fail_lmdb, is_folder=True),
    Backend("postgres", _postgres, PostgresStore.capabilities, _fail_postgres),
)
