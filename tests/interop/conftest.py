"""A server over a home in which this process works, too."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

pytest.importorskip("grpc", reason="needs perdure[server]")

from perdure.client import Client
from perdure.server import Server
from tests.support.homes import STORES, home_url


@pytest.fixture(params=STORES)
def home(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of the home that is served; everybody in the process who opens it gets the same one."""
    return f"memory:{uuid.uuid4().hex}" if request.param == "memory" else home_url(request.param, tmp_path)


@pytest.fixture
async def server(home: str) -> AsyncIterator[Server]:
    """A server on a free port."""
    async with Server(home, port=0, drain_seconds=1) as running:
        yield running


@pytest.fixture(params=["in the server", "over the wire"])
async def client(request: pytest.FixtureRequest, server: Server, home: str) -> AsyncIterator[Client]:
    """perdure's own client: of the server's process, and one that reaches the server as a Temporal server."""
    url = home if request.param == "in the server" else f"temporal://{server.address}"
    async with await Client.connect(url) as connected:
        yield connected
