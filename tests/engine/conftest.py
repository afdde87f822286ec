"""Every engine test runs over every store."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from perdure.store.api import Durability, Store
from perdure.store.lmdb import LMDBStore
from perdure.store.memory import MemoryStore
from tests.engine.driver import Driver, driving


@pytest.fixture(params=["memory", "lmdb"])
def open_store(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], Awaitable[Store]]:
    """Opens the store under test; the persistent one finds its place again when opened twice."""

    async def open_it() -> Store:
        if request.param == "memory":
            return await MemoryStore.open()
        return await LMDBStore.open(tmp_path / "store", durability=Durability.PROCESS)

    return open_it


@pytest.fixture
async def d(open_store: Callable[[], Awaitable[Store]]) -> AsyncIterator[Driver]:
    """A driven engine."""
    async with driving(await open_store()) as driver:
        yield driver
