"""A worker, and a replayer, give workflow code asyncio's functions in a fixed order, whatever was imported before."""

from __future__ import annotations

import subprocess
import sys

import pytest

_PROGRAM = """
import asyncio
import sys
from asyncio import as_completed, wait

from perdure import workflow
from perdure.client import Client
from perdure.worker import Replayer, Worker
from perdure.worker.workflow_sandbox import SandboxedWorkflowRunner, SandboxRestrictions


@workflow.defn
class Starts:
    @workflow.run
    async def run(self) -> list[int]:
        started = []

        async def step(number: int) -> int:
            started.append(number)
            await asyncio.sleep(0.001)
            return number

        # Coroutines are ordered by where they lie in memory, unless somebody sees to it.
        keep = [bytearray(number % 7 * 100) for number in range(50)]
        for next_one in as_completed([step(number) for number in range(50)]):
            await next_one
        done, pending = await wait({asyncio.ensure_future(step(number)) for number in range(50, 100)})
        return started


async def main() -> None:
    async with await Client.connect("memory:") as client:
        if sys.argv[1] == "beside a restricted one":
            runner = SandboxedWorkflowRunner(restrictions=SandboxRestrictions.default)
            Worker(client, task_queue="r", workflows=[Starts], workflow_runner=runner)
        async with Worker(client, task_queue="q", workflows=[Starts]):
            handle = await client.start_workflow(Starts.run, id="starts", task_queue="q")
            assert await handle.result() == list(range(100)), await handle.result()
        await Replayer(workflows=[Starts]).replay_workflow(await handle.fetch_history())


asyncio.run(main())
"""


@pytest.mark.parametrize("worker", ["alone", "beside a restricted one"])
def test_asyncio_keeps_an_order_inside_workflows(worker: str) -> None:
    ran = subprocess.run([sys.executable, "-c", _PROGRAM, worker], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
