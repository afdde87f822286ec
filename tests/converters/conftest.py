from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from perdure.client import Client
from tests.support.homes import STORES, home_url

Connect = Callable[..., Awaitable[Client]]


@pytest.fixture(params=STORES)
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return home_url(request.param, tmp_path, durability="full")


@pytest.fixture
async def connect(url: str) -> AsyncIterator[Connect]:
    """``await connect(data_converter=...)``: a client of this test's home."""
    clients: list[Client] = []

    async def connect(**options: Any) -> Client:
        clients.append(await Client.connect(url, **options))
        return clients[-1]

    yield connect
    for client in clients:
        await client.close()
