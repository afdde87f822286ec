"""Workflows that run out of time: run timeout, execution timeout, run timeout with a retry."""

import asyncio
from datetime import timedelta
from typing import Any

from sdk import common, workflow


@workflow.defn
class Sleeper:
    @workflow.run
    async def run(self) -> str:
        if workflow.info().attempt > 1:
            return "in time"
        await asyncio.sleep(600)
        return "never"


WORKFLOWS = [Sleeper]
SECOND = timedelta(seconds=1)


async def drive(d: Any) -> None:
    async with d.worker():
        await d.run(Sleeper.run, run_timeout=SECOND)
        await d.run(Sleeper.run, case="execution", execution_timeout=SECOND)
        retried = await d.start(
            Sleeper.run,
            case="retried",
            run_timeout=SECOND,
            retry_policy=common.RetryPolicy(initial_interval=timedelta(milliseconds=20), maximum_attempts=2),
        )
        assert await retried.result() == "in time"
        d.keep_run("retried", retried.id, retried.first_execution_run_id)
