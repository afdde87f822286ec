"""The store's time index: entries may be early, but not for ever."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

from perdure import workflow
from perdure.testing import WorkflowEnvironment
from perdure.worker import Worker

END_OF_TIME = 1 << 46


@workflow.defn
class Sleeps:
    @workflow.run
    async def run(self) -> None:
        await asyncio.sleep(30 * 24 * 3600)


async def test_a_run_that_sleeps_is_looked_at_once_and_left_alone() -> None:
    async with await WorkflowEnvironment.start_time_skipping() as env:
        engine: Any = env.client.workflow_service
        core = engine.core
        async with Worker(env.client, task_queue="tq", workflows=[Sleeps]):
            await env.client.start_workflow(Sleeps.run, id="w", task_queue="tq")
            await env.sleep(timedelta(minutes=1))
            [(_, key)] = await core.store.due_runs(END_OF_TIME, 9)
            run = core.cached(key.run_id)
            versions = []
            for _ in range(5):
                await env.sleep(timedelta(minutes=3))
                await core.timers.load_horizon()
                core.timers.poke()
                await core.settle()
                versions.append(run.version)
            assert len(set(versions)) == 1
            assert await core.store.due_runs(END_OF_TIME, 9) == [(run.state.next_deadline(), key)]
