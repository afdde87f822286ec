"""Every engine test runs over every store."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from perdure.store.api import Durability, Store
from perdure.store.lmdb import LMDBStore
from perdure.store.memory import MemoryStore
from perdure.store.postgres import PostgresStore, SharedPostgresStore
from tests.engine.driver import Driver, driving
from tests.engine.schedule_driver import ScheduleDriver
from tests.support.homes import STORES
from tests.support.postgres import place_in


@pytest.fixture(params=STORES)
def open_store(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], Awaitable[Store]]:
    """Opens the store under test; the persistent one finds its place again when opened twice."""

    async def open_it() -> Store:
        if request.param == "memory":
            return await MemoryStore.open()
        if request.param == "postgresql":
            return await PostgresStore.open(place_in(tmp_path), durability=Durability.PROCESS)
        return await LMDBStore.open(tmp_path / "store", durability=Durability.PROCESS)

    return open_it


@pytest.fixture
async def d(open_store: Callable[[], Awaitable[Store]], tmp_path: Path) -> AsyncIterator[Driver]:
    """A driven engine; over PostgreSQL one of a cluster."""
    store = await open_store()
    if isinstance(store, PostgresStore):
        await store.close()
        store = await SharedPostgresStore.open(place_in(tmp_path), durability=Durability.PROCESS)
    async with driving(store) as driver:
        yield driver


@pytest.fixture
def s(d: Driver) -> ScheduleDriver:
    """The schedules of a driven engine."""
    return ScheduleDriver(d)
