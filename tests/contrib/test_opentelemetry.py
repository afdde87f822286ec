"""Traces through client, workflow and activity, with both interceptors; nothing twice on replay."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import opentelemetry.trace
import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from perdure import Client, Worker, activity, workflow
from perdure.contrib.opentelemetry import (
    MetricsExporter,
    OpenTelemetryPlugin,
    ReplaySafeMeterProvider,
    ReplaySafeTracerProvider,
    TracingInterceptor,
    create_tracer_provider,
)
from perdure.contrib.opentelemetry.workflow import completed_span
from perdure.exceptions import ApplicationError
from perdure.runtime import MetricBuffer, Runtime, TelemetryConfig
from perdure.worker import Replayer

SOON = timedelta(seconds=30)
meter_reader = InMemoryMetricReader()
counted = ReplaySafeMeterProvider(MeterProvider([meter_reader])).get_meter("m").create_counter("counted")


@activity.defn
async def work(fails: bool) -> None:
    if fails:
        raise ApplicationError("no", non_retryable=True)


@workflow.defn
class Child:
    @workflow.run
    async def run(self) -> None:
        await workflow.execute_activity(work, False, start_to_close_timeout=SOON)


@workflow.defn
class Traced:
    def __init__(self) -> None:
        self.is_done = False

    @workflow.run
    async def run(self, fails: bool) -> None:
        counted.add(1)
        await workflow.execute_local_activity(work, False, start_to_close_timeout=SOON)
        await workflow.execute_child_workflow(Child.run)
        await workflow.wait_condition(lambda: self.is_done)
        await workflow.execute_activity(work, fails, start_to_close_timeout=SOON)

    @workflow.signal
    def finish(self) -> None:
        self.is_done = True

    @workflow.query
    def ask(self) -> bool:
        return self.is_done

    @workflow.update
    async def change(self) -> None:
        completed_span("custom", attributes={"a": 1})

    @change.validator
    def check(self) -> None: ...


@workflow.defn
class Spanned:
    @workflow.run
    async def run(self) -> None:
        tracer = opentelemetry.trace.get_tracer("mine")
        with tracer.start_as_current_span("outer"):
            await workflow.sleep(0.01)
            with tracer.start_as_current_span("inner"):
                await workflow.execute_activity(work, False, start_to_close_timeout=SOON)


def tree(spans: tuple[ReadableSpan, ...]) -> list[str]:
    """The spans as indented lines, children under their parents."""
    children: dict[int | None, list[ReadableSpan]] = {}
    ids = {span.context.span_id for span in spans}
    for span in spans:
        parent = span.parent.span_id if span.parent is not None and span.parent.span_id in ids else None
        children.setdefault(parent, []).append(span)

    def lines(parent: int | None, depth: int) -> Iterator[str]:
        for span in sorted(children.get(parent, []), key=lambda span: span.name):
            links = "".join(" -> link" for _ in span.links)
            yield "  " * depth + span.name + links
            yield from lines(span.context.span_id, depth + 1)

    return list(lines(None, 0))


async def test_tracing_interceptor() -> None:
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    tracer = provider.get_tracer("test")
    async with (
        await Client.connect("memory:", interceptors=[TracingInterceptor(tracer)]) as client,
        Worker(client, task_queue="q", workflows=[Traced, Child], activities=[work], max_cached_workflows=0),
    ):
        with tracer.start_as_current_span("caller"):
            handle = await client.start_workflow(Traced.run, False, id="t", task_queue="q")
            assert await handle.query(Traced.ask) is False
            await handle.execute_update(Traced.change)
            await handle.signal(Traced.finish)
            await handle.result()
        history = await handle.fetch_history()
    assert tree(exporter.get_finished_spans()) == [
        "caller",
        "  QueryWorkflow:ask",
        "    HandleQuery:ask -> link",
        "  SignalWorkflow:finish",
        "  StartWorkflow:Traced",
        "    CompleteWorkflow:Traced",
        "    HandleSignal:finish -> link",
        "    HandleUpdate:change -> link",
        "    RunWorkflow:Traced",
        "    StartActivity:work",
        "      RunActivity:work",
        "    StartActivity:work",
        "      RunActivity:work",
        "    StartChildWorkflow:Child",
        "      CompleteWorkflow:Child",
        "      RunWorkflow:Child",
        "      StartActivity:work",
        "        RunActivity:work",
        "    ValidateUpdate:change -> link",
        "    custom",
        "  StartWorkflowUpdate:change",
    ]
    exporter.clear()
    await Replayer(workflows=[Traced], interceptors=[TracingInterceptor(tracer)]).replay_workflow(history)
    assert exporter.get_finished_spans() == ()
    [metric] = meter_reader.get_metrics_data().resource_metrics[0].scope_metrics[0].metrics  # type: ignore[union-attr]
    assert [point.value for point in metric.data.data_points] == [1]  # type: ignore[union-attr]


async def test_workflow_spans_need_a_parent_unless_told_otherwise() -> None:
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    for always in (False, True):
        interceptor = TracingInterceptor(provider.get_tracer("test"), always_create_workflow_spans=always)
        async with (
            await Client.connect("memory:") as client,
            Worker(client, task_queue="q", workflows=[Child], activities=[work], interceptors=[interceptor]),
        ):
            await client.execute_workflow(Child.run, id="c", task_queue="q")
        names = {span.name for span in exporter.get_finished_spans()}
        assert names == (
            {"RunActivity:work"}
            | ({"RunWorkflow:Child", "StartActivity:work", "CompleteWorkflow:Child"} if always else set())
        )
        exporter.clear()


@pytest.fixture
def global_provider(monkeypatch: pytest.MonkeyPatch) -> tuple[ReplaySafeTracerProvider, InMemorySpanExporter]:
    exporter = InMemorySpanExporter()
    provider = create_tracer_provider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(opentelemetry.trace, "_TRACER_PROVIDER", provider)
    return provider, exporter


@pytest.mark.parametrize("cached", [0, 100])
async def test_plugin(global_provider: tuple[ReplaySafeTracerProvider, InMemorySpanExporter], cached: int) -> None:
    _, exporter = global_provider
    async with (
        await Client.connect("memory:", plugins=[OpenTelemetryPlugin(add_temporal_spans=True)]) as client,
        Worker(client, task_queue="q", workflows=[Spanned], activities=[work], max_cached_workflows=cached),
    ):
        with opentelemetry.trace.get_tracer("mine").start_as_current_span("caller"):
            handle = await client.start_workflow(Spanned.run, id="s", task_queue="q")
        await handle.result()
        history = await handle.fetch_history()
    spans = exporter.get_finished_spans()
    assert tree(spans) == [
        "caller",
        "  StartWorkflow:Spanned",
        "    RunWorkflow:Spanned",
        "      outer",
        "        inner",
        "          StartActivity:work",
        "            RunActivity:work",
    ]
    outer = next(span for span in spans if span.name == "outer")
    assert outer.end_time is not None and outer.start_time is not None
    assert outer.end_time - outer.start_time >= 10_000_000
    exporter.clear()
    await Replayer(workflows=[Spanned], plugins=[OpenTelemetryPlugin()]).replay_workflow(history)
    assert exporter.get_finished_spans() == ()


async def test_the_plugin_wants_a_replay_safe_provider(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opentelemetry.trace, "_TRACER_PROVIDER", TracerProvider())
    async with await Client.connect("memory:", plugins=[OpenTelemetryPlugin()]) as client:
        with pytest.raises(ValueError, match="Use create_tracer_provider"):
            Worker(client, task_queue="q", workflows=[Spanned], activities=[work])
    with pytest.raises(ValueError, match="TemporalIdGenerator"):
        ReplaySafeTracerProvider(TracerProvider(), create_tracer_provider().id_generator())


async def test_errors_mark_spans(global_provider: tuple[ReplaySafeTracerProvider, InMemorySpanExporter]) -> None:
    _, exporter = global_provider
    interceptor = TracingInterceptor()
    async with (
        await Client.connect("memory:", interceptors=[interceptor]) as client,
        Worker(client, task_queue="q", workflows=[Traced, Child], activities=[work]),
    ):
        handle = await client.start_workflow(Traced.run, True, id="t", task_queue="q", start_signal="finish")
        with pytest.raises(Exception, match="failed"):
            await handle.result()
    spans = exporter.get_finished_spans()
    failed = [span for span in spans if not span.status.is_ok and span.name == "RunActivity:work"]
    assert [span.status.description for span in failed] == ["ApplicationError: no"]
    [end] = [span for span in spans if span.name == "CompleteWorkflow:Traced"]
    assert end.events[0].name == "exception"


async def test_metrics_exporter() -> None:
    buffer = MetricBuffer(10)
    reader = InMemoryMetricReader()
    errors: list[Exception] = []
    exporter = MetricsExporter(buffer, MeterProvider([reader]), on_error=errors.append)
    with pytest.raises(RuntimeError, match="before runtime created"):
        await exporter.run()
    meter = Runtime(telemetry=TelemetryConfig(metrics=buffer, attach_service_name=False)).metric_meter
    async with exporter:
        meter.create_counter("c").add(2, {"a": "b"})
        meter.create_gauge("g").set(3)
        meter.create_histogram("h").record(4)
        meter.create_counter("not a name").add(1)
    data: Any = reader.get_metrics_data()
    metrics = {metric.name: metric.data.data_points[0] for metric in data.resource_metrics[0].scope_metrics[0].metrics}
    assert (metrics["c"].value, metrics["c"].attributes, metrics["g"].value, metrics["h"].sum) == (2, {"a": "b"}, 3, 4)
    assert len(errors) == 1
