"""Plugins of clients, workers and replayers, and the one that is made from what it adds."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from perdure import Client, Worker, activity, workflow
from perdure.client import Interceptor as ClientInterceptor
from perdure.client import OutboundInterceptor
from perdure.converter import DataConverter
from perdure.plugin import SimplePlugin
from perdure.worker import ActivityInboundInterceptor, Interceptor, Replayer


@activity.defn
async def act() -> str:
    return "acted"


@workflow.defn
class Flow:
    @workflow.run
    async def run(self) -> str:
        return "ran"


class Both(ClientInterceptor, Interceptor):
    def __init__(self) -> None:
        self.clients = 0
        self.activities = 0

    def intercept_client(self, next: OutboundInterceptor) -> OutboundInterceptor:
        self.clients += 1
        return super().intercept_client(next)

    def intercept_activity(self, next: ActivityInboundInterceptor) -> ActivityInboundInterceptor:
        self.activities += 1
        return super().intercept_activity(next)


class OfWorkers(Interceptor):
    pass


class Mine(DataConverter):
    pass


def plugin(log: list[str], both: Both, **more: Any) -> SimplePlugin:
    @asynccontextmanager
    async def context() -> AsyncIterator[None]:
        log.append("in")
        yield
        log.append("out")

    return SimplePlugin(
        "mine",
        data_converter=Mine(),
        interceptors=[both, OfWorkers()],
        activities=[act],
        workflows=[Flow],
        workflow_failure_exception_types=[ValueError],
        run_context=context,
        **more,
    )


async def test_a_client_plugin_reaches_its_workers_and_replayers() -> None:
    log: list[str] = []
    both = Both()
    mine = plugin(log, both)
    assert mine.name() == "mine"
    async with await Client.connect("memory:", plugins=[mine]) as client:
        assert isinstance(client.data_converter, Mine)
        worker = Worker(client, task_queue="q")
        config = worker.config(active_config=True)
        assert config["workflows"] == [Flow]
        assert config["activities"] == [act]
        assert config["workflow_failure_exception_types"] == [ValueError]
        assert [type(interceptor) for interceptor in config["interceptors"]] == [OfWorkers]
        async with worker:
            handle = await client.start_workflow(Flow.run, id="f", task_queue="q")
            assert await handle.result() == "ran"
            history = await handle.fetch_history()
        assert log == ["in", "out"]
        assert both.clients == 1
    replayer = Replayer(workflows=[], plugins=[mine])
    assert isinstance(replayer.config(active_config=True)["data_converter"], Mine)
    assert [type(interceptor) for interceptor in replayer.config(active_config=True)["interceptors"]] == [
        Both,
        OfWorkers,
    ]
    await replayer.replay_workflow(history)
    assert log == ["in", "out"] * 2


async def test_functions_change_what_there_is() -> None:
    seen: list[Any] = []

    def drop(existing: Any) -> Any:
        seen.append(existing)
        return [Flow]

    changing = SimplePlugin("changing", workflows=drop, data_converter=lambda existing: existing or Mine())
    async with await Client.connect("memory:", plugins=[changing]) as client:
        assert client.data_converter is DataConverter.default
        worker = Worker(client, task_queue="q", activities=[act])
        assert worker.config(active_config=True)["workflows"] == [Flow]
        assert seen == [[]]
        async with worker:
            assert await client.execute_workflow(Flow.run, id="f", task_queue="q") == "ran"
