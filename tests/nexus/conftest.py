"""Every test of Nexus runs over every store."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from perdure.store.api import Durability, Store
from perdure.store.lmdb import LMDBStore
from perdure.store.memory import MemoryStore
from perdure.store.postgres import SharedPostgresStore
from tests.engine.driver import Clock
from tests.nexus.driver import NexusDriver, driving
from tests.support.homes import STORES, home_url
from tests.support.postgres import place_in

Open = Callable[[], Awaitable[Store]]


@pytest.fixture(params=STORES)
def open_store(request: pytest.FixtureRequest, tmp_path: Path) -> Open:
    """Opens the store under test; what a persistent one keeps is found again when it is opened twice."""

    if request.param == "temporal":
        pytest.skip("about the engine")

    async def open_it() -> Store:
        if request.param == "memory":
            return await MemoryStore.open()
        if request.param == "postgresql":
            return await SharedPostgresStore.open(place_in(tmp_path), durability=Durability.PROCESS)
        return await LMDBStore.open(tmp_path / "store", durability=Durability.PROCESS)

    return open_it


@pytest.fixture
async def d(open_store: Open) -> AsyncIterator[NexusDriver]:
    """A driven engine with the endpoint ``ep``, which leads to the queue ``nq``."""
    async with driving(await open_store()) as driver:
        await driver.create_endpoint()
        yield driver


@pytest.fixture(params=STORES)
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The home of a test that is about workers."""
    return home_url(request.param, tmp_path)


@pytest.fixture
def clock() -> Clock:
    """A clock for tests that open an engine more than once."""
    return Clock()
