"""The server dies without a word, again and again; clients and workers of other processes never notice for long."""

from __future__ import annotations

import asyncio
import os
import sys
from datetime import timedelta
from pathlib import Path

import pytest
import temporalio.client
from temporalio import activity, workflow
from temporalio.service import RPCError
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

SOON = timedelta(seconds=20)
_ran: list[str] = []


@activity.defn
async def step(name: str) -> str:
    _ran.append(name)
    await asyncio.sleep(0.01)
    return name


@workflow.defn
class Steps:
    def __init__(self) -> None:
        self.signals: set[int] = set()

    @workflow.run
    async def run(self, name: str) -> list[str]:
        done = []
        for number in range(3):
            done.append(
                await workflow.execute_activity(step, f"{name}-{number}", start_to_close_timeout=timedelta(seconds=2))
            )
            await workflow.sleep(0.05)
        await workflow.wait_condition(lambda: len(self.signals) == 2)
        return [*done, str(sorted(self.signals))]

    @workflow.signal
    def hear(self, number: int) -> None:
        self.signals.add(number)


class Process:
    """``perdure server`` in a process of its own."""

    def __init__(self, store: Path) -> None:
        self.store = store
        self.port = 0

    async def start(self) -> None:
        self.process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "perdure.cli", "server", "--port", str(self.port), "--log-level", "error",
            "--store", f"lmdb:{self.store}?durability=process", stdout=asyncio.subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "PYTHONUNBUFFERED": "1"},
        )  # fmt: skip
        assert self.process.stdout is not None
        line = (await self.process.stdout.readline()).decode()
        self.port = int(line.split(" on ")[1].split()[0].rpartition(":")[2])

    async def kill(self) -> None:
        self.process.kill()
        await self.process.wait()


async def insist(call: object) -> None:
    """Call until it is acknowledged."""
    while True:
        try:
            await call()  # type: ignore[operator]
            return
        except RPCError:
            await asyncio.sleep(0.05)


@pytest.mark.timeout(120)
async def test_workflows_go_on_over_crashes_of_the_server(tmp_path: Path) -> None:
    _ran.clear()
    server = Process(tmp_path / "store")
    await server.start()
    client = await temporalio.client.Client.connect(f"127.0.0.1:{server.port}")
    count = 20
    async with Worker(
        client, task_queue="q", workflows=[Steps], activities=[step], workflow_runner=UnsandboxedWorkflowRunner()
    ):
        handles = [
            await client.start_workflow(
                Steps.run, f"w{n}", id=f"w{n}", task_queue="q", task_timeout=timedelta(seconds=2)
            )
            for n in range(count)
        ]
        for number in range(2):
            ran = len(_ran)
            while len(_ran) < ran + count // 2:
                await asyncio.sleep(0.01)
            await server.kill()
            await server.start()
            await asyncio.gather(*(insist(lambda h=h, n=number: h.signal(Steps.hear, n)) for h in handles))
        results = await asyncio.gather(*(_result(handle) for handle in handles))
    for number, result in enumerate(results):
        assert result[:3] == [f"w{number}-{step_}" for step_ in range(3)]
        assert result[3] == "[0, 1]"
    histories = await asyncio.gather(*(handle.fetch_history() for handle in handles))
    for history in histories:
        ids = [event.event_id for event in history.events]
        assert ids == list(range(1, len(ids) + 1))
    await server.kill()


async def _result(handle: temporalio.client.WorkflowHandle[Steps, list[str]]) -> list[str]:
    while True:
        try:
            return await handle.result()
        except RPCError:
            await asyncio.sleep(0.05)
