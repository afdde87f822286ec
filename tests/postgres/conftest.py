from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from perdure.client import Client
from perdure.engine.cluster_engine import ClusterEngine
from perdure.store.postgres import SharedPostgresStore
from tests.support.postgres import place_in, with_options

Join = Callable[[], Awaitable[ClusterEngine]]


@pytest.fixture
async def join(tmp_path: Path) -> AsyncIterator[Join]:
    """Opens one more node over the same database."""
    engines: list[ClusterEngine] = []
    place = with_options(place_in(tmp_path), lease=1)

    async def one() -> ClusterEngine:
        engine = await ClusterEngine.open(await SharedPostgresStore.open(place))
        engines.append(engine)
        return engine

    yield one
    for engine in engines:
        await engine.close()
        await engine.store.close()  # of one that was abandoned


@pytest.fixture
async def two(join: Join) -> tuple[ClusterEngine, ClusterEngine]:
    """Two nodes that know of each other."""
    a, b = await join(), await join()
    a.core.live.add(b.core.epoch)  # type: ignore[attr-defined]
    return a, b


def client(engine: ClusterEngine) -> Client:
    """A client of a node."""
    return Client(engine)
