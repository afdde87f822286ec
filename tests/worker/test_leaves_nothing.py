"""What has ended is freed at once: no reference cycle of ours waits for the garbage collector."""

from __future__ import annotations

import asyncio
import gc
from collections import Counter
from datetime import timedelta

import pytest

from perdure import activity, workflow
from perdure.client import Client
from perdure.worker import Worker


@activity.defn
async def at_once(text: str) -> str:
    return text


@activity.defn
async def in_a_while(text: str) -> str:
    await asyncio.sleep(0)
    activity.heartbeat(text)
    return text


_TIME = timedelta(seconds=10)


@workflow.defn
class Activities:
    @workflow.run
    async def run(self, text: str) -> str:
        await workflow.execute_activity(at_once, text, start_to_close_timeout=_TIME)
        first = workflow.start_activity(in_a_while, text, start_to_close_timeout=_TIME)
        second = workflow.start_activity(at_once, text, start_to_close_timeout=_TIME)
        await asyncio.gather(first, second)
        return text


@workflow.defn
class Waits:
    def __init__(self) -> None:
        self.text = ""

    @workflow.run
    async def run(self, text: str) -> str:
        await workflow.wait_condition(lambda: bool(self.text))
        await asyncio.sleep(0.001)
        return self.text

    @workflow.signal
    async def tell(self, text: str) -> None:
        self.text = text

    @workflow.query
    def told(self) -> str:
        return self.text


@pytest.mark.parametrize("kind", ["activities", "signals"])
async def test_a_workflow_leaves_no_cycles(kind: str) -> None:
    async with (
        await Client.connect("memory:") as client,
        Worker(client, task_queue="tq", workflows=[Activities, Waits], activities=[at_once, in_a_while]),
    ):

        async def one(number: int) -> None:
            workflow_id = f"{kind}-{number}"
            if kind == "activities":
                await client.execute_workflow(Activities.run, "x", id=workflow_id, task_queue="tq")
                return
            handle = await client.start_workflow(Waits.run, "x", id=workflow_id, task_queue="tq")
            await handle.signal(Waits.tell, "told")
            assert await handle.result() == "told"

        await one(0)  # what the first of a kind sets up
        gc.collect()
        gc.disable()
        gc.set_debug(gc.DEBUG_SAVEALL)
        try:
            for number in range(1, 6):
                await one(number)
            gc.collect()
            left = Counter(type(each).__qualname__ for each in gc.garbage)
        finally:
            gc.set_debug(0)
            gc.garbage.clear()
            gc.enable()
    assert {name: count for name, count in left.items() if count >= 5} == {}
