"""A home, a worker, and what says that bad input left nothing behind."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from perdure.client import Client
from perdure.worker import Worker
from tests.badinput.programs import ACTIVITIES, QUEUE, WORKFLOWS


@pytest.fixture
async def client() -> AsyncIterator[Client]:
    async with (
        await Client.connect("memory:") as client,
        Worker(client, task_queue=QUEUE, workflows=WORKFLOWS, activities=ACTIVITIES),  # type: ignore[arg-type]
    ):
        yield client


async def started(client: Client) -> list[str]:
    """The ids of all workflows there are."""
    return sorted([execution.id async for execution in client.list_workflows()])
