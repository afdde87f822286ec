"""The stores the shared suite runs over: one entry per backend, and that is all a backend adds."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from perdure.store.api import Capability, Durability, Store
from perdure.store.lmdb import LMDBStore
from perdure.store.memory import MemoryStore


@dataclass(frozen=True)
class Backend:
    """How the suite opens a store. ``fail_commits(store, n)`` makes the next ``n`` device writes fail."""

    name: str
    open: Callable[[Path], Awaitable[Any]]
    capabilities: Capability
    fail_commits: Callable[[Any, int], None] | None = None


async def _memory(folder: Path) -> Store:
    return await MemoryStore.open()


async def _lmdb_full(folder: Path) -> Store:
    return await LMDBStore.open(folder / "store", map_size=1 << 20)


async def _lmdb_process(folder: Path) -> Store:
    return await LMDBStore.open(folder / "store", durability=Durability.PROCESS, map_size=1 << 20)


def _fail_lmdb(store: LMDBStore, count: int) -> None:
    store._environment.fail_commits(count, 28)  # ENOSPC


BACKENDS = (
    Backend("memory", _memory, MemoryStore.capabilities),
    Backend("lmdb-full", _lmdb_full, LMDBStore.capabilities, _fail_lmdb),
    Backend("lmdb-process", _lmdb_process, LMDBStore.capabilities, _fail_lmdb),
)
