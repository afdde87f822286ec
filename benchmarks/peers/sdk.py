"""perdure and Temporal's Python SDK: the same names, so one adapter, written once."""

from __future__ import annotations

import asyncio
import os
import time
from importlib import import_module
from typing import Any
from uuid import uuid4

from ..long_history import activities_history
from . import Adapter, Where


class Sdk(Adapter):
    """What both SDKs do alike."""

    sdk = ""

    def __init__(self, where: Where) -> None:
        super().__init__(where)
        os.environ["BENCH_SDK"] = self.sdk
        self.defined = import_module("benchmarks.peers.sdk_workflows")
        self.queue = f"bench-{uuid4().hex[:8]}"
        self.number = 0
        self.client: Any = None
        self.worker: Any = None
        self.running: asyncio.Task[None] | None = None

    async def connect(self) -> Any:
        raise NotImplementedError

    def worker_options(self) -> dict[str, Any]:
        return {}

    async def open(self) -> None:
        self.client = await self.connect()
        worker = import_module(f"{self.sdk}.worker")
        self.worker = worker.Worker(
            self.client,
            task_queue=self.queue,
            workflows=self.defined.WORKFLOWS,
            activities=[self.defined.act],
            **self.worker_options(),
        )
        self.running = asyncio.create_task(self.worker.run())

    async def close(self) -> None:
        await self.worker.shutdown()
        if self.running is not None:
            await self.running

    def next_id(self) -> str:
        self.number += 1
        return f"{self.queue}-{self.number}"

    async def run(self, workflow: str, argument: int) -> Any:
        return await self.client.execute_workflow(
            getattr(self.defined, workflow).run, argument, id=self.next_id(), task_queue=self.queue
        )

    async def one_activity(self) -> None:
        await self.run("Chain", 1)

    async def chain(self, steps: int) -> None:
        await self.run("Chain", steps)

    async def fan_out(self, width: int) -> None:
        await self.run("FanOut", width)

    async def signals(self, count: int) -> None:
        counter = self.defined.Counter
        handle = await self.client.start_workflow(counter.run, count, id=self.next_id(), task_queue=self.queue)
        left = iter(range(count))

        async def send() -> None:
            for _ in left:
                await handle.signal(counter.add)

        await asyncio.gather(*(send() for _ in range(100)))
        await handle.result()

    async def sleeping(self, number: int) -> None:
        await self.client.start_workflow(self.defined.Sleeper.run, id=self.next_id(), task_queue=self.queue)

    async def replay(self, events: int) -> float:
        client, worker = import_module(f"{self.sdk}.client"), import_module(f"{self.sdk}.worker")
        history = client.WorkflowHistory.from_json("long", activities_history("Chain", "act", events))
        replayer = worker.Replayer(workflows=self.defined.WORKFLOWS, **self.worker_options())
        started = time.perf_counter()
        await replayer.replay_workflow(history)
        return time.perf_counter() - started


class Perdure(Sdk):
    """perdure, embedded: engine, worker and client in this process."""

    sdk = "perdure"

    async def connect(self) -> Any:
        url = (
            self.where.options["url"]
            .replace("{folder}", str(self.where.folder))
            .replace("{address}", self.where.address)
        )
        return await import_module("perdure.client").Client.connect(url)

    async def close(self) -> None:
        await super().close()
        await self.client.close()


class Temporal(Sdk):
    """Temporal's Python SDK against a server, without its sandbox: that is its best."""

    sdk = "temporalio"

    async def connect(self) -> Any:
        return await import_module("temporalio.client").Client.connect(self.where.address)

    def worker_options(self) -> dict[str, Any]:
        return {"workflow_runner": import_module("temporalio.worker").UnsandboxedWorkflowRunner()}
