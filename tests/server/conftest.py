"""A server over every store, and the official Python SDK's client of it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

pytest.importorskip("grpc", reason="needs perdure[server]")

import temporalio.client
from temporalio.api.enums.v1 import IndexedValueType
from temporalio.api.operatorservice.v1 import AddSearchAttributesRequest

from perdure.server import Server
from tests.support.homes import STORES, home_url


@pytest.fixture(params=STORES)
def home(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of the home that is served."""
    return home_url(request.param, tmp_path)


@pytest.fixture
async def server(home: str) -> AsyncIterator[Server]:
    """A server on a free port."""
    async with Server(home, port=0, drain_seconds=1) as running:
        yield running


@pytest.fixture
async def client(server: Server) -> temporalio.client.Client:
    """Temporal's own client; the keyword ``Color`` may be searched for."""
    client = await temporalio.client.Client.connect(server.address)
    await client.operator_service.add_search_attributes(
        AddSearchAttributesRequest(
            namespace="default", search_attributes={"Color": IndexedValueType.INDEXED_VALUE_TYPE_KEYWORD}
        )
    )
    return client
