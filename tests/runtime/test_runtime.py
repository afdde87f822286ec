"""Runtimes: what becomes of metrics and log records."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import urllib.error
import urllib.request
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from perdure import Client, Worker, activity, workflow
from perdure.common import MetricMeter
from perdure.exceptions import ActivityError, ApplicationError
from perdure.runtime import (
    BUFFERED_METRIC_KIND_COUNTER,
    BUFFERED_METRIC_KIND_GAUGE,
    BUFFERED_METRIC_KIND_HISTOGRAM,
    LogForwardingConfig,
    LoggingConfig,
    MetricBuffer,
    MetricBufferDurationFormat,
    OpenTelemetryConfig,
    PrometheusConfig,
    Runtime,
    TelemetryConfig,
    TelemetryFilter,
)


@activity.defn
async def measure() -> None:
    activity.metric_meter().create_counter("my-activity").add(1, {"more": True})


@workflow.defn
class Measures:
    @workflow.run
    async def run(self) -> None:
        counter = workflow.metric_meter().create_counter("my-workflow", "what it counts", "things")
        counter.add(2)
        await workflow.execute_activity(measure, start_to_close_timeout=timedelta(seconds=30))
        counter.add(3)


def record_all(meter: MetricMeter) -> None:
    meter.create_counter("counter").add(2)
    meter.create_histogram("histogram", "how long", "ms").record(70)
    meter.create_histogram_float("histogram-float").record(0.5)
    meter.create_histogram_timedelta("duration").record(timedelta(milliseconds=1500))
    labelled = meter.with_additional_attributes({"a": "b"})
    labelled.create_gauge("gauge").with_additional_attributes({"c": 1}).set(5, {"d": 'q"\n\\'})
    labelled.create_gauge_float("gauge-float").set(1.5)


async def test_a_buffer_gets_what_workflows_and_activities_measure_and_replay_measures_nothing() -> None:
    buffer = MetricBuffer(1000)
    with pytest.raises(RuntimeError, match="before runtime created"):
        buffer.retrieve_updates()
    runtime = Runtime(telemetry=TelemetryConfig(metrics=buffer, global_tags={"tag": "t"}))
    async with (
        await Client.connect("memory:", runtime=runtime) as client,
        Worker(client, task_queue="q", workflows=[Measures], activities=[measure], max_cached_workflows=0),
    ):
        await client.execute_workflow(Measures.run, id="m", task_queue="q")
    own = ("my-workflow", "my-activity", "temporal_workflow_completed")
    updates = [update for update in buffer.retrieve_updates() if update.metric.name in own]
    assert [(update.metric.name, update.value) for update in updates] == [
        ("my-workflow", 2),
        ("my-activity", 1),
        ("my-workflow", 3),
        ("temporal_workflow_completed", 1),
    ]
    assert updates[3].attributes == updates[3].attributes | {"task_queue": "q", "workflow_type": "Measures"}
    assert updates[0].metric is updates[2].metric
    assert (updates[0].metric.description, updates[0].metric.unit) == ("what it counts", "things")
    assert updates[0].attributes["workflow_type"] == "Measures"
    assert updates[1].attributes == updates[1].attributes | {"tag": "t", "activity_type": "measure", "more": True}
    assert not [update for update in buffer.retrieve_updates() if update.metric.name in own]


@activity.defn
async def break_down() -> None:
    raise ApplicationError("no", non_retryable=True)


@workflow.defn
class Breaks:
    @workflow.run
    async def run(self) -> None:
        with contextlib.suppress(ActivityError):
            await workflow.execute_activity(break_down, start_to_close_timeout=timedelta(seconds=30))
        await workflow.wait_condition(lambda: self.is_fixed)

    is_fixed = False

    @workflow.signal
    def fix(self) -> None:
        if not fixed:
            raise RuntimeError("not yet")
        self.is_fixed = True


fixed: list[bool] = []


async def test_a_worker_measures_its_tasks_by_temporals_names() -> None:
    buffer = MetricBuffer(10_000)
    runtime = Runtime(telemetry=TelemetryConfig(metrics=buffer))
    fixed.clear()
    async with (
        await Client.connect("memory:", runtime=runtime) as client,
        Worker(
            client,
            task_queue="q",
            workflows=[Measures, Breaks],
            activities=[measure, break_down],
            max_concurrent_activities=7,
            disable_eager_activity_execution=True,
        ),
    ):
        await client.execute_workflow(Measures.run, id="m", task_queue="q")
        handle = await client.start_workflow(Breaks.run, id="b", task_queue="q")
        await handle.signal(Breaks.fix)
        updates = []
        while not any(update.metric.name == "temporal_workflow_task_execution_failed" for update in updates):
            await asyncio.sleep(0.01)
            updates += buffer.retrieve_updates()
        fixed.append(True)
        await handle.result()
    updates += buffer.retrieve_updates()
    found: dict[str, list[Any]] = {}
    for update in updates:
        assert update.attributes.get("namespace", "default") == "default"
        found.setdefault(update.metric.name.removeprefix("temporal_"), []).append((update.value, update.attributes))

    def labels(name: str, label: str) -> set[Any]:
        return {attributes.get(label) for _, attributes in found[name]}

    assert len(found["worker_start"]) == 1
    assert labels("activity_task_received", "activity_type") == {"measure", "break_down"}
    assert labels("activity_task_received", "eager") == {False}
    for name in ("activity_schedule_to_start_latency", "activity_execution_latency"):
        assert labels(name, "activity_type") == {"measure", "break_down"}, name
    assert labels("activity_execution_failed", "activity_type") == {"break_down"}
    assert labels("activity_succeed_endtoend_latency", "activity_type") == {"measure"}
    for name in (
        "workflow_task_schedule_to_start_latency",
        "workflow_task_execution_latency",
        "workflow_endtoend_latency",
    ):
        assert labels(name, "workflow_type") == {"Measures", "Breaks"}, name
    assert labels("workflow_task_execution_failed", "failure_reason") == {"WorkflowError"}
    assert found["workflow_task_queue_poll_succeed"] and found["sticky_cache_hit"] and found["sticky_cache_miss"]
    assert labels("num_pollers", "poller_type") == {"workflow_task", "sticky_workflow_task", "activity_task"}
    assert found["num_pollers"][-1][0] == 0
    used = [
        value for value, attributes in found["worker_task_slots_used"] if attributes["worker_type"] == "ActivityWorker"
    ]
    free = [
        value
        for value, attributes in found["worker_task_slots_available"]
        if attributes["worker_type"] == "ActivityWorker"
    ]
    assert [one + other for one, other in zip(used, free, strict=True)] == [7] * len(used) and used[-1] == 0
    assert {value for value, _ in found["sticky_cache_size"]} >= {0, 1}
    assert {"RespondWorkflowTaskCompleted", "RespondActivityTaskFailed"} <= labels("request", "operation")
    assert labels("long_request", "operation") >= {"PollWorkflowTaskQueue", "PollActivityTaskQueue"}


def test_attributes_are_strings_numbers_and_booleans() -> None:
    meter = Runtime(telemetry=TelemetryConfig(metrics=MetricBuffer(1))).metric_meter
    wrong: dict[str, Any] = {"key": None}
    with pytest.raises(TypeError, match="Invalid value type for key key"):
        meter.with_additional_attributes(wrong)
    with pytest.raises(TypeError, match="Invalid value type for key key"):
        meter.create_counter("c").with_additional_attributes(wrong)


def test_kinds_and_durations(caplog: pytest.LogCaptureFixture) -> None:
    buffer = MetricBuffer(7, MetricBufferDurationFormat.SECONDS)
    runtime = Runtime(telemetry=TelemetryConfig(metrics=buffer, attach_service_name=False))
    record_all(runtime.metric_meter)
    updates = buffer.retrieve_updates()
    assert [(u.metric.kind, u.value) for u in updates] == [
        (BUFFERED_METRIC_KIND_COUNTER, 2),
        (BUFFERED_METRIC_KIND_HISTOGRAM, 70),
        (BUFFERED_METRIC_KIND_HISTOGRAM, 0.5),
        (BUFFERED_METRIC_KIND_HISTOGRAM, 1.5),
        (BUFFERED_METRIC_KIND_GAUGE, 5),
        (BUFFERED_METRIC_KIND_GAUGE, 1.5),
    ]
    assert updates[4].attributes == {"a": "b", "c": 1, "d": 'q"\n\\'}
    with pytest.raises(ValueError, match="cannot be negative"):
        runtime.metric_meter.create_counter("counter").add(-1)
    for _ in range(8):
        runtime.metric_meter.create_counter("counter").add(1)
    assert "The metric buffer is full" in caplog.text


async def test_prometheus_can_scrape() -> None:
    config = PrometheusConfig(
        "127.0.0.1:0",
        counters_total_suffix=True,
        unit_suffix=True,
        histogram_bucket_overrides={"duration": [1000, 2000]},
    )
    runtime = Runtime(telemetry=TelemetryConfig(metrics=config, attach_service_name=False))
    prometheus = runtime._prometheus
    assert prometheus is not None
    record_all(runtime.metric_meter)
    record_all(runtime.metric_meter)
    runtime.metric_meter.create_counter("flags").add(1, {"on": True})
    try:
        url = f"http://127.0.0.1:{prometheus.port}/metrics"
        text = await asyncio.to_thread(lambda: urllib.request.urlopen(url).read().decode())
        with pytest.raises(urllib.error.HTTPError):
            await asyncio.to_thread(urllib.request.urlopen, url.replace("metrics", "else"))
    finally:
        prometheus.close()
    for line in (
        "# TYPE counter_total counter",
        "counter_total 4",
        'flags_total{on="true"} 1',
        "# HELP histogram_ms how long",
        'histogram_ms_bucket{le="50"} 0',
        'histogram_ms_bucket{le="100"} 2',
        'histogram_ms_bucket{le="+Inf"} 2',
        "histogram_ms_sum 140",
        "histogram_ms_count 2",
        'duration_bucket{le="2000"} 2',
        r'gauge{a="b",c="1",d="q\"\n\\"} 5',
        'gauge_float{a="b"} 1.5',
    ):
        assert line in text.splitlines(), line


@pytest.fixture
def no_default() -> Iterator[None]:
    yield
    Runtime._default = None
    Runtime._is_default_prevented = False


def test_the_default(no_default: None) -> None:
    Runtime.prevent_default()
    with pytest.raises(RuntimeError, match=r"after Runtime\.prevent_default"):
        Runtime.default()
    mine = Runtime(telemetry=TelemetryConfig())
    Runtime.set_default(mine)
    assert Runtime.default() is mine
    assert mine.metric_meter is MetricMeter.noop
    with pytest.raises(RuntimeError, match="already set"):
        Runtime.set_default(mine)
    Runtime.set_default(mine, error_if_already_set=False)
    with pytest.raises(RuntimeError, match="called after default"):
        Runtime.prevent_default()
    with pytest.raises(ValueError, match="must be positive"):
        Runtime(telemetry=TelemetryConfig(), worker_heartbeat_interval=timedelta(0))


def test_log_records_are_forwarded(caplog: pytest.LogCaptureFixture) -> None:
    mine = logging.getLogger("mine")
    mine.setLevel(logging.DEBUG)
    perdure = logging.getLogger("perdure")
    before = list(perdure.handlers)
    forwarding = LogForwardingConfig(mine)
    try:
        Runtime(telemetry=TelemetryConfig(logging=LoggingConfig(TelemetryFilter("WARN", "ERROR"), forwarding)))
        Runtime(
            telemetry=TelemetryConfig(
                logging=LoggingConfig("perdure=ERROR", LogForwardingConfig(mine, False, False)), metrics=None
            )
        )
        logging.getLogger("perdure.worker").warning("careful, %s", "you")
        logging.getLogger("perdure.worker").error("oh")
    finally:
        perdure.handlers[:] = before
    assert [(r.name, r.getMessage()) for r in caplog.records if r.name.startswith("mine")] == [
        ("mine-perdure.worker", "[perdure.worker] careful, you"),
        ("mine-perdure.worker", "[perdure.worker] oh"),
        ("mine", "oh"),
    ]
    assert TelemetryFilter("WARN", "ERROR").formatted() == "ERROR,perdure=WARN"


def test_opentelemetry_says_what_is_missing() -> None:
    pytest.importorskip("opentelemetry.sdk")
    try:
        import opentelemetry.exporter.otlp.proto.grpc  # noqa: F401
    except ImportError:
        with pytest.raises(RuntimeError, match="pip install opentelemetry-exporter-otlp"):
            Runtime(telemetry=TelemetryConfig(metrics=OpenTelemetryConfig("http://localhost:4317")))
