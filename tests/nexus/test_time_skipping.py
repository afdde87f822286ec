"""Skipped time: operations that take days are over at once, and their timeouts come when they are due."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

import nexusrpc
from nexusrpc.handler import StartOperationContext, service_handler, sync_operation

from perdure import Worker, nexus, workflow
from perdure.exceptions import NexusOperationError, TimeoutError
from perdure.testing import WorkflowEnvironment


@nexusrpc.service
class Slow:
    sleep: nexusrpc.Operation[float, str]
    flaky: nexusrpc.Operation[int, int]


@workflow.defn
class Sleeper:
    @workflow.run
    async def run(self, days: float) -> str:
        await workflow.sleep(timedelta(days=days))
        return f"{days:g} days"


@service_handler(service=Slow)
class SlowHandler:
    def __init__(self) -> None:
        self.calls = 0

    @nexus.workflow_run_operation
    async def sleep(self, ctx: nexus.WorkflowRunOperationContext, days: float) -> nexus.WorkflowHandle[str]:
        return await ctx.start_workflow(Sleeper.run, days, id=f"sleeper-{ctx.request_id}")

    @sync_operation
    async def flaky(self, ctx: StartOperationContext, times: int) -> int:
        self.calls += 1
        if self.calls <= times:
            raise RuntimeError("not yet")
        return self.calls


@workflow.defn
class Caller:
    @workflow.run
    async def run(self, days: float) -> str:
        slow = workflow.create_nexus_client(service=Slow, endpoint="slow")
        try:
            return await slow.execute_operation(Slow.sleep, days, schedule_to_close_timeout=timedelta(days=10))
        except NexusOperationError as error:
            assert isinstance(error.__cause__, TimeoutError)
            return "too long"


@workflow.defn
class Persistent:
    @workflow.run
    async def run(self, times: int) -> int:
        slow = workflow.create_nexus_client(service=Slow, endpoint="slow")
        began = workflow.time()
        assert await slow.execute_operation(Slow.flaky, times) == times + 1
        return round(workflow.time() - began)


@asynccontextmanager
async def skipping() -> AsyncIterator[WorkflowEnvironment]:
    async with await WorkflowEnvironment.start_time_skipping() as env:
        await env.create_nexus_endpoint("slow", "q")
        async with Worker(
            env.client,
            task_queue="q",
            workflows=[Caller, Sleeper, Persistent],
            nexus_service_handlers=[SlowHandler()],
        ):
            yield env


async def test_an_operation_sleeps_for_days() -> None:
    async with skipping() as env:
        assert await env.client.execute_workflow(Caller.run, 3.0, id="c", task_queue="q") == "3 days"


async def test_an_operation_takes_too_long() -> None:
    async with skipping() as env:
        assert await env.client.execute_workflow(Caller.run, 30.0, id="c", task_queue="q") == "too long"


async def test_attempts_are_hours_apart() -> None:
    async with skipping() as env:
        took = await env.client.execute_workflow(Persistent.run, 14, id="p", task_queue="q")
        assert 2**12 - 1 + 2 * 3600 <= took <= 2**12 - 1 + 2 * 3600 + 5
