"""Nexus operations whose caller and handler are at different nodes."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import nexusrpc
import pytest
from nexusrpc.handler import StartOperationContext, service_handler, sync_operation

from perdure import nexus, workflow
from perdure.api.nexus.v1 import EndpointSpec, EndpointTarget, EndpointTargetWorker
from perdure.api.operatorservice.v1 import CreateNexusEndpointRequest
from perdure.client import Client
from perdure.engine.cluster_engine import ClusterEngine
from perdure.exceptions import NexusOperationError
from perdure.worker import Worker

Two = tuple[ClusterEngine, ClusterEngine]


@nexusrpc.service
class Words:
    say: nexusrpc.Operation[str, str]
    spell: nexusrpc.Operation[str, str]
    wait: nexusrpc.Operation[str, str]


@workflow.defn
class Spelling:
    @workflow.run
    async def run(self, word: str) -> str:
        if word == "forever":
            await asyncio.Event().wait()
        await workflow.sleep(0.05)
        return " ".join(word)


@service_handler(service=Words)
class WordsHandler:
    def __init__(self) -> None:
        self.failed = False

    @sync_operation
    async def say(self, ctx: StartOperationContext, word: str) -> str:
        if word == "again" and not self.failed:
            self.failed = True
            raise RuntimeError("not yet")
        return f"{word}!"

    @nexus.workflow_run_operation
    async def spell(self, ctx: nexus.WorkflowRunOperationContext, word: str) -> nexus.WorkflowHandle[str]:
        return await ctx.start_workflow(Spelling.run, word, id=f"spelling-{ctx.request_id}")

    @nexus.workflow_run_operation
    async def wait(self, ctx: nexus.WorkflowRunOperationContext, word: str) -> nexus.WorkflowHandle[str]:
        return await ctx.start_workflow(Spelling.run, "forever", id=f"waiting-{ctx.request_id}")


@workflow.defn
class Caller:
    @workflow.run
    async def run(self, word: str) -> list[str]:
        words = workflow.create_nexus_client(service=Words, endpoint="words")
        said = [await words.execute_operation(Words.say, word), await words.execute_operation(Words.spell, word)]
        handle = await words.start_operation(Words.wait, word, schedule_to_close_timeout=timedelta(seconds=50))
        handle.cancel()
        try:
            await handle
        except NexusOperationError as error:
            said.append(type(error.__cause__).__name__)
        return said


def caller(engine: ClusterEngine) -> Worker:
    return Worker(Client(engine), task_queue="callers", workflows=[Caller])


def handler(engine: ClusterEngine) -> Worker:
    return Worker(Client(engine), task_queue="words", workflows=[Spelling], nexus_service_handlers=[WordsHandler()])


async def add_endpoint(engine: ClusterEngine) -> None:
    target = EndpointTarget(worker=EndpointTargetWorker("default", "words"))
    await engine.create_nexus_endpoint(CreateNexusEndpointRequest(EndpointSpec("words", target=target)))


async def call(engine: ClusterEngine, word: str) -> Any:
    return await Client(engine).start_workflow(Caller.run, word, id=word, task_queue="callers")


@pytest.mark.parametrize("at", [0, 1])
async def test_a_call_finds_its_handler_at_another_node(two: Two, at: int) -> None:
    a, b = two
    await add_endpoint(two[at])
    async with handler(b), caller(a):
        words = ["ab", "cd", "again"]
        handles = [await call(a, word) for word in words]
        results = [await handle.result() for handle in handles]
    assert results == [
        ["ab!", "a b", "CancelledError"],
        ["cd!", "c d", "CancelledError"],
        ["again!", "a g a i n", "CancelledError"],
    ]


async def test_a_handler_that_comes_later_gets_what_waits(two: Two) -> None:
    a, b = two
    await add_endpoint(a)
    async with caller(a):
        handle = await call(a, "ab")
        async for event in handle.fetch_history_events(wait_new_event=True):
            if event.event_type == 48:  # NexusOperationScheduled
                break
        async with handler(b):
            assert await handle.result() == ["ab!", "a b", "CancelledError"]
