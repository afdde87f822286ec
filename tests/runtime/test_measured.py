"""What connections and workers measure by the names of Temporal's SDK metrics."""

from __future__ import annotations

import asyncio
import contextlib
from datetime import timedelta
from typing import Any

import nexusrpc
import pytest
from nexusrpc.handler import StartOperationContext, service_handler, sync_operation

from perdure import Client, Worker, activity, workflow
from perdure.client import WorkflowFailureError
from perdure.common import RetryPolicy
from perdure.exceptions import ActivityError, ApplicationError, ApplicationErrorCategory, NexusOperationError
from perdure.runtime import MetricBuffer, Runtime, TelemetryConfig
from perdure.service import RPCError
from perdure.service._measured import MeasuredRequests
from perdure.testing import WorkflowEnvironment

SOON = timedelta(seconds=20)
Found = dict[str, list[dict[str, Any]]]


def measuring() -> tuple[Runtime, MetricBuffer]:
    buffer = MetricBuffer(10_000)
    return Runtime(telemetry=TelemetryConfig(metrics=buffer, attach_service_name=False)), buffer


def found(buffer: MetricBuffer) -> Found:
    """The labels of every measurement, by the metric's name without its prefix."""
    names: Found = {}
    for update in buffer.retrieve_updates():
        names.setdefault(update.metric.name.removeprefix("temporal_"), []).append(dict(update.attributes))
    return names


async def test_a_connection_measures_its_requests() -> None:
    runtime, buffer = measuring()
    async with await Client.connect("memory:", runtime=runtime, lazy=True) as client:
        handle = await client.start_workflow("Waits", id="w", task_queue="q")
        with pytest.raises(RPCError):
            await client.get_workflow_handle("none").describe()
        await handle.terminate()
        with pytest.raises(WorkflowFailureError):
            await handle.result()
        assert await client.service_client.check_health()
    names = found(buffer)
    started = {"operation": "StartWorkflowExecution", "namespace": "default", "task_queue": "q"}
    described = {"operation": "DescribeWorkflowExecution", "namespace": "default"}
    waited = {"operation": "GetWorkflowExecutionHistory", "namespace": "default"}
    terminated = {"operation": "TerminateWorkflowExecution", "namespace": "default"}
    assert (
        names["request"] == names["request_latency"] == [started, described, terminated, {"operation": "GetSystemInfo"}]
    )
    assert names["request_failure"] == [described | {"status_code": "NOT_FOUND"}]
    assert names["long_request"] == names["long_request_latency"] == [waited]
    assert "long_request_failure" not in names


async def test_nobody_measures_where_nobody_wants_to_know() -> None:
    async with (
        await Client.connect("memory:measured") as plain,
        await Client.connect("memory:measured", runtime=Runtime(telemetry=TelemetryConfig())) as other,
        await Client.connect("memory:measured", runtime=measuring()[0]) as measured,
    ):
        assert not isinstance(plain.workflow_service, MeasuredRequests)
        assert not isinstance(other.workflow_service, MeasuredRequests)
        assert isinstance(measured.workflow_service, MeasuredRequests)
        async with Worker(measured, task_queue="q", workflows=[Keeps]) as worker:
            worker.client = Client(measured.service_client)  # the same home, whoever measures


@activity.defn
async def works() -> str:
    return "done"


@activity.defn
async def fails(how: str) -> None:
    category = ApplicationErrorCategory.BENIGN if how == "benign" else ApplicationErrorCategory.UNSPECIFIED
    raise ApplicationError("no", non_retryable=True, category=category)


@activity.defn
async def hangs() -> None:
    await asyncio.Event().wait()


@workflow.defn
class RunsLocally:
    @workflow.run
    async def run(self) -> None:
        await workflow.execute_local_activity(works, start_to_close_timeout=SOON)
        for how in ("benign", "bad"):
            with contextlib.suppress(ApplicationError):
                await workflow.execute_local_activity(fails, how, start_to_close_timeout=SOON)
        with contextlib.suppress(ActivityError):
            await workflow.execute_local_activity(
                hangs, start_to_close_timeout=timedelta(milliseconds=20), retry_policy=RetryPolicy(maximum_attempts=1)
            )
        handle = workflow.start_local_activity(hangs, start_to_close_timeout=SOON)
        await workflow.sleep(timedelta(milliseconds=1))
        handle.cancel()
        with contextlib.suppress(ActivityError):
            await handle


async def test_local_activities() -> None:
    runtime, buffer = measuring()
    async with (
        await Client.connect("memory:", runtime=runtime) as client,
        Worker(client, task_queue="q", workflows=[RunsLocally], activities=[works, fails, hangs]),
    ):
        await client.execute_workflow(RunsLocally.run, id="w", task_queue="q")
    names = found(buffer)

    def labels(name: str) -> list[str]:
        for labels in names[name]:
            assert labels.pop("workflow_type") == "RunsLocally"
            assert (labels.pop("namespace"), labels.pop("task_queue")) == ("default", "q")
        return [labels["activity_type"] for labels in names[name]]

    assert labels("local_activity_total") == ["works", "fails", "fails", "hangs", "hangs"]
    assert labels("local_activity_execution_latency") == ["works", "fails", "fails", "hangs", "hangs"]
    assert labels("local_activity_execution_failed") == ["fails", "hangs"]
    assert labels("local_activity_execution_cancelled") == ["hangs"]
    assert labels("local_activity_succeed_endtoend_latency") == ["works"]


@workflow.defn
class Keeps:
    @workflow.run
    async def run(self) -> None:
        await workflow.wait_condition(lambda: self.is_over)

    is_over = False

    @workflow.signal
    def end(self) -> None:
        self.is_over = True


async def test_runs_that_have_to_make_room() -> None:
    runtime, buffer = measuring()
    async with (
        await Client.connect("memory:", runtime=runtime) as client,
        Worker(client, task_queue="q", workflows=[Keeps], max_cached_workflows=1),
    ):
        handles = [await client.start_workflow(Keeps.run, id=id, task_queue="q") for id in ("a", "b", "c")]
        for handle in handles:
            while (await handle.describe()).history_length < 4:  # until its first task is answered
                await asyncio.sleep(0)
        assert len(found(buffer)["sticky_cache_total_forced_eviction"]) == 2
        for handle in handles:
            await handle.signal(Keeps.end)
            await handle.result()


async def test_how_long_replay_takes() -> None:
    runtime, buffer = measuring()
    async with (
        await Client.connect("memory:", runtime=runtime) as client,
        Worker(client, task_queue="q", workflows=[Keeps], max_cached_workflows=0),
    ):
        handle = await client.start_workflow(Keeps.run, id="w", task_queue="q")
        while (await handle.describe()).history_length < 4:
            await asyncio.sleep(0)
        assert "workflow_task_replay_latency" not in found(buffer)
        await handle.signal(Keeps.end)
        await handle.result()
        labels = {"workflow_type": "Keeps", "namespace": "default", "task_queue": "q"}
        assert found(buffer)["workflow_task_replay_latency"] == [labels]
        await handle.query("__stack_trace")
        assert found(buffer)["workflow_task_replay_latency"] == [labels]


@nexusrpc.service
class Shop:
    greet: nexusrpc.Operation[str, str]
    refuse: nexusrpc.Operation[str, str]
    broken: nexusrpc.Operation[str, str]
    block: nexusrpc.Operation[str, str]


@service_handler(service=Shop)
class ShopHandler:
    @sync_operation
    async def greet(self, ctx: StartOperationContext, name: str) -> str:
        return f"hello {name}"

    @sync_operation
    async def refuse(self, ctx: StartOperationContext, name: str) -> str:
        raise nexusrpc.OperationError("closed", state=nexusrpc.OperationErrorState.FAILED)

    @sync_operation
    async def broken(self, ctx: StartOperationContext, name: str) -> str:
        raise nexusrpc.HandlerError("bad", type=nexusrpc.HandlerErrorType.BAD_REQUEST)

    @sync_operation
    async def block(self, ctx: StartOperationContext, name: str) -> str:
        await asyncio.Event().wait()
        return ""


@workflow.defn
class Calls:
    @workflow.run
    async def run(self) -> None:
        shop = workflow.create_nexus_client(service=Shop, endpoint="ep")
        await shop.execute_operation(Shop.greet, "you")
        for operation in (Shop.refuse, Shop.broken):
            with contextlib.suppress(NexusOperationError):
                await shop.execute_operation(operation, "you", schedule_to_close_timeout=SOON)
        with contextlib.suppress(NexusOperationError):
            await shop.execute_operation(Shop.block, "you", schedule_to_close_timeout=timedelta(milliseconds=100))


async def test_nexus_tasks() -> None:
    runtime, buffer = measuring()
    async with await Client.connect("memory:", runtime=runtime) as client:
        await WorkflowEnvironment.from_client(client).create_nexus_endpoint("ep", "q")
        names: Found = {}
        failed: list[str] = []
        async with Worker(client, task_queue="q", workflows=[Calls], nexus_service_handlers=[ShopHandler()]):
            await client.execute_workflow(Calls.run, id="w", task_queue="q")
            while "timeout" not in failed:
                await asyncio.sleep(0)
                for name, labels in found(buffer).items():
                    names.setdefault(name, []).extend(labels)
                failed = [labels["failure_reason"] for labels in names.get("nexus_task_execution_failed", ())]
    assert failed == ["operation_failed", "handler_error_BAD_REQUEST", "timeout"]
    assert len(names["nexus_task_schedule_to_start_latency"]) == 4
    assert len(names["nexus_task_execution_latency"]) == 4
    assert len(names["nexus_task_endtoend_latency"]) == 3
    assert {"poller_type": "nexus_task", "namespace": "default", "task_queue": "q"} in names["num_pollers"]
    assert any(labels["worker_type"] == "NexusWorker" for labels in names["worker_task_slots_used"])
