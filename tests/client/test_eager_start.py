"""Eager starts: the first workflow task comes with the answer to the start."""

from __future__ import annotations

from typing import Any

from perdure import Client, Worker, workflow
from perdure.client import WorkflowHandle


@workflow.defn
class Doubling:
    @workflow.run
    async def run(self, number: int) -> int:
        return 2 * number


async def start(client: Client, **options: Any) -> WorkflowHandle[Any, int]:
    return await client.start_workflow(Doubling.run, 4, id="eager", task_queue="q", **options)


async def was_accepted(handle: WorkflowHandle[Any, int]) -> bool:
    history = await handle.fetch_history()
    accepted: bool = history.events[0].workflow_execution_started_event_attributes.eager_execution_accepted
    return accepted


def eagerly_started(handle: WorkflowHandle[Any, Any]) -> bool | None:
    return getattr(handle, "__temporal_eagerly_started", None)


async def test_a_worker_of_the_connection_takes_the_first_task() -> None:
    async with await Client.connect("memory:") as client:
        async with Worker(client, task_queue="q", workflows=[Doubling]):
            handle = await start(client, request_eager_start=True)
            assert eagerly_started(handle) is True
            assert await handle.result() == 8
            assert await was_accepted(handle)
        handle = await start(client, request_eager_start=True)
        assert eagerly_started(handle) is False, "the worker has shut down"
        assert not await was_accepted(handle)


async def test_nobody_asked() -> None:
    async with await Client.connect("memory:") as client, Worker(client, task_queue="q", workflows=[Doubling]):
        handle = await start(client)
        assert await handle.result() == 8
        assert eagerly_started(handle) is None
        assert not await was_accepted(handle)
