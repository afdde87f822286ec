"""Workflows whose histories are archived and exported."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

from perdure import activity, workflow
from perdure.client import Client
from perdure.worker import Worker

QUEUE = "q"


@activity.defn
async def double(number: int) -> int:
    """Twice as much."""
    return 2 * number


@workflow.defn
class Double:
    """Has a number doubled."""

    @workflow.run
    async def run(self, number: int) -> int:
        return await workflow.execute_activity(double, number, start_to_close_timeout=timedelta(seconds=10))


@workflow.defn(name="Double")
class Changed:
    """The same workflow, as a change of its code would break runs."""

    @workflow.run
    async def run(self, number: int) -> int:
        await workflow.sleep(1)
        return number


@workflow.defn
class Wait:
    """Does not end."""

    @workflow.run
    async def run(self) -> None:
        await workflow.wait_condition(lambda: False)


@asynccontextmanager
async def working(client: Client) -> AsyncIterator[None]:
    """A worker."""
    async with Worker(client, task_queue=QUEUE, workflows=[Double, Wait], activities=[double]):
        yield


async def run_many(client: Client, count: int, first: int = 0) -> list[str]:
    """Run workflows to their ends, one after the other; returns their ids."""
    ids = [f"w{number}" for number in range(first, first + count)]
    for number, workflow_id in enumerate(ids):
        await client.execute_workflow(Double.run, number, id=workflow_id, task_queue=QUEUE)
    return ids
