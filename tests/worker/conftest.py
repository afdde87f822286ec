from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import pytest

from perdure.client import Client
from perdure.worker import Worker
from tests.support.fake_service import FakeService


@pytest.fixture
async def service() -> FakeService:
    return FakeService()


@pytest.fixture
async def fake_client(service: FakeService) -> Client:
    return Client(service)  # type: ignore[arg-type]


@pytest.fixture
def running(fake_client: Client) -> Callable[..., AbstractAsyncContextManager[Worker]]:
    """``async with running(activity, ...) as worker`` over the fake service."""

    @asynccontextmanager
    async def run(*activities: Any, **options: Any) -> AsyncIterator[Worker]:
        async with Worker(
            options.pop("client", fake_client), task_queue="tq", activities=activities, **options
        ) as worker:
            yield worker

    return run
