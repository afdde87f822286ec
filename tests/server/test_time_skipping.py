"""Temporal's TestService: the SDK's time-skipping environment against the server."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import cast

from temporalio import workflow
from temporalio.client import Client
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

from perdure.server import Server
from perdure.service import WorkflowService
from perdure.testing._service import TimeSkippingService
from perdure.wire.codec import decode, encode
from perdure.wire.methods import SERVICES, TEST_SERVICE
from tests.server.raw import connected

METHODS = {method.attribute: method for method in SERVICES[TEST_SERVICE]}


@workflow.defn
class Sleep:
    @workflow.run
    async def run(self) -> float:
        began = workflow.now()
        await asyncio.sleep(100 * 24 * 3600)
        return (workflow.now() - began).total_seconds()


async def test_a_workflow_sleeps_for_days_in_no_time() -> None:
    service = await TimeSkippingService.open(timedelta(days=36_500))
    async with Server(cast("WorkflowService", service), port=0, drain_seconds=1) as server:
        client = await Client.connect(server.address)
        async with Worker(client, task_queue="q", workflows=[Sleep], workflow_runner=UnsandboxedWorkflowRunner()):
            assert await client.execute_workflow(Sleep.run, id="w", task_queue="q") >= 100 * 24 * 3600
    await service.close()


async def test_sleeping_by_hand() -> None:
    service = await TimeSkippingService.open(timedelta(days=36_500))
    async with Server(cast("WorkflowService", service), port=0, drain_seconds=1) as server:
        async with connected(server.address) as raw:

            async def call(name: str, **fields: object) -> object:
                method = METHODS[name]
                return decode(method.response, await raw.send(method.path, encode(method.request(**fields))))

            before = (await call("get_current_time")).time  # type: ignore[attr-defined]
            await call("unlock_time_skipping_with_sleep", duration=3600 * 10**9)
            after = (await call("get_current_time")).time  # type: ignore[attr-defined]
            assert after - before >= 3600 * 10**9
            await call("lock_time_skipping")
            await call("unlock_time_skipping")
    await service.close()
