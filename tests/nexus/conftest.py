"""Every test of Nexus runs over the memory store and over LMDB."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from perdure.store.api import Durability, Store
from perdure.store.lmdb import LMDBStore
from perdure.store.memory import MemoryStore
from tests.engine.driver import Clock
from tests.nexus.driver import NexusDriver, driving

Open = Callable[[], Awaitable[Store]]


@pytest.fixture(params=["memory", "lmdb"])
def open_store(request: pytest.FixtureRequest, tmp_path: Path) -> Open:
    """Opens the store under test; LMDB's is found again when it is opened twice."""

    async def open_it() -> Store:
        if request.param == "memory":
            return await MemoryStore.open()
        return await LMDBStore.open(tmp_path / "store", durability=Durability.PROCESS)

    return open_it


@pytest.fixture
async def d(open_store: Open) -> AsyncIterator[NexusDriver]:
    """A driven engine with the endpoint ``ep``, which leads to the queue ``nq``."""
    async with driving(await open_store()) as driver:
        await driver.create_endpoint()
        yield driver


@pytest.fixture(params=["memory", "lmdb"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The home of a test that is about workers."""
    return "memory:" if request.param == "memory" else f"lmdb:{tmp_path / 'home'}"


@pytest.fixture
def clock() -> Clock:
    """A clock for tests that open an engine more than once."""
    return Clock()
