"""Traces go through Nexus operations."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import nexusrpc
import opentelemetry.trace
import pytest
from nexusrpc.handler import StartOperationContext, service_handler, sync_operation
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from perdure import Worker, nexus, workflow
from perdure.client import Client
from perdure.contrib.opentelemetry import OpenTelemetryInterceptor, TracingInterceptor, create_tracer_provider
from perdure.testing import WorkflowEnvironment
from tests.contrib.test_opentelemetry import tree


@nexusrpc.service
class Echo:
    say: nexusrpc.Operation[str, str]
    later: nexusrpc.Operation[str, str]


@workflow.defn
class Said:
    @workflow.run
    async def run(self, word: str) -> str:
        return word


@service_handler(service=Echo)
class EchoHandler:
    @sync_operation
    async def say(self, ctx: StartOperationContext, word: str) -> str:
        return word

    @nexus.workflow_run_operation
    async def later(self, ctx: nexus.WorkflowRunOperationContext, word: str) -> nexus.WorkflowHandle[str]:
        return await ctx.start_workflow(Said.run, word, id="said")


@workflow.defn
class Caller:
    @workflow.run
    async def run(self) -> None:
        echo = workflow.create_nexus_client(service=Echo, endpoint="echo")
        await echo.execute_operation(Echo.say, "a")
        await echo.execute_operation(Echo.later, "b")


@pytest.fixture
def exporter() -> InMemorySpanExporter:
    return InMemorySpanExporter()


@pytest.fixture
def replay_safe(exporter: InMemorySpanExporter, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    provider = create_tracer_provider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(opentelemetry.trace, "_TRACER_PROVIDER", provider)
    yield provider
    provider.shutdown()


async def call(interceptor: Any, tracer: Any) -> None:
    async with await WorkflowEnvironment.start_local() as env:
        await env.create_nexus_endpoint("echo", "q")
        client = Client(**{**env.client.config(), "interceptors": [interceptor]})
        async with Worker(client, task_queue="q", workflows=[Caller, Said], nexus_service_handlers=[EchoHandler()]):
            with tracer.start_as_current_span("caller"):
                await client.execute_workflow(Caller.run, id="c", task_queue="q")


async def test_tracing_interceptor(exporter: InMemorySpanExporter) -> None:
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    tracer = provider.get_tracer("test")
    await call(TracingInterceptor(tracer), tracer)
    assert tree(exporter.get_finished_spans()) == [
        "caller",
        "  StartWorkflow:Caller",
        "    CompleteWorkflow:Caller",
        "    RunWorkflow:Caller",
        "    StartNexusOperation:Echo/later",
        "      RunStartNexusOperationHandler:Echo/later",
        "        StartWorkflow:Said",
        "          CompleteWorkflow:Said",
        "          RunWorkflow:Said",
        "    StartNexusOperation:Echo/say",
        "      RunStartNexusOperationHandler:Echo/say",
    ]


async def test_plugin_interceptor(exporter: InMemorySpanExporter, replay_safe: Any) -> None:
    await call(OpenTelemetryInterceptor(add_temporal_spans=True), replay_safe.get_tracer("test"))
    spans = tree(exporter.get_finished_spans())
    assert spans[0] == "caller"
    lines = [line.strip() for line in spans]
    for name in ("say", "later"):
        at = lines.index(f"StartNexusOperation:Echo/{name}")
        assert lines[at + 1] == f"RunStartNexusOperationHandler:Echo/{name}"
