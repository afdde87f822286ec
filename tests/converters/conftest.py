from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from perdure.client import Client

Connect = Callable[..., Awaitable[Client]]


@pytest.fixture(params=["memory", "lmdb"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return "memory:" if request.param == "memory" else f"lmdb:{tmp_path / 'home'}"


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
