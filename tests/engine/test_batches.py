"""Batch operations: what they do to which executions, their counts, and that a job outlives its process."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from perdure.api.batch import v1 as batch_v1
from perdure.api.common import v1 as common_v1
from perdure.api.deployment import v1 as deployment_v1
from perdure.api.enums.v1 import BatchOperationState, BatchOperationType, WorkflowExecutionStatus
from perdure.api.workflow import v1 as workflow_v1
from perdure.api.workflowservice import v1 as ws
from perdure.engine import batches
from perdure.engine.namespaces import DEFAULT_NAMESPACE
from perdure.service import RPCError, RPCStatusCode
from perdure.store.api import Store
from tests.engine.driver import Clock, Driver, S, complete, continue_as_new, driving, payloads, queue

_RUNNING = int(BatchOperationState.BATCH_OPERATION_STATE_RUNNING)
_COMPLETED = int(BatchOperationState.BATCH_OPERATION_STATE_COMPLETED)
_FAILED = int(BatchOperationState.BATCH_OPERATION_STATE_FAILED)
_TERMINATED = int(WorkflowExecutionStatus.WORKFLOW_EXECUTION_STATUS_TERMINATED)


async def _begin(d: Driver, job_id: str = "job", **options: Any) -> None:
    options.setdefault("reason", "because")
    if not options.keys() & {"visibility_query", "executions", "target_executions"}:
        options["visibility_query"] = "WorkflowType = 'W'"
    await d.engine.start_batch_operation(ws.StartBatchOperationRequest("default", job_id=job_id, **options))


async def _describe(d: Driver, job_id: str = "job") -> ws.DescribeBatchOperationResponse:
    return await d.engine.describe_batch_operation(ws.DescribeBatchOperationRequest("default", job_id))


async def _ended(d: Driver, job_id: str = "job") -> tuple[int, int, int, int]:
    """State, total, complete and failed of a job once it has ended."""
    while (found := await _describe(d, job_id)).state == _RUNNING:
        await d.settle()
    return found.state, found.total_operation_count, found.complete_operation_count, found.failure_operation_count


async def _runs(d: Driver, count: int, *, closed: int = 0) -> None:
    for number in range(count):
        await d.start(f"w{number}")
        if number < closed:
            await d.turn(complete())
    await d.advance(1)


async def test_terminate_by_query_takes_open_ones(d: Driver) -> None:
    await _runs(d, 250, closed=10)
    await _begin(
        d,
        termination_operation=batch_v1.BatchOperationTermination(payloads(b'"why"'), "me"),
    )
    assert await _ended(d) == (_COMPLETED, 240, 240, 0)
    assert len(await d.list("ExecutionStatus = 'Terminated'")) == 240
    assert len(await d.list("ExecutionStatus = 'Completed'")) == 10
    [*_, last] = await d.history("w77")
    assert (last.attributes.reason, last.attributes.identity) == ("because", "me")
    found = await _describe(d)
    assert found.operation_type == BatchOperationType.BATCH_OPERATION_TYPE_TERMINATE_WORKFLOW
    assert (found.identity, found.reason, found.query) == ("me", "because", "WorkflowType = 'W'")
    assert found.start_time == found.close_time == d.clock.now


async def test_signal_and_cancel_by_list(d: Driver) -> None:
    await _runs(d, 3)
    executions = [common_v1.WorkflowExecution(name) for name in ("w0", "w2", "missing")]
    await _begin(
        d,
        executions=executions,
        signal_operation=batch_v1.BatchOperationSignal("hello", payloads(b"1"), identity="me"),
    )
    assert await _ended(d) == (_COMPLETED, 3, 3, 0)
    assert [("WorkflowExecutionSignaled" in await d.names(f"w{number}")) for number in range(3)] == [True, False, True]
    await _begin(
        d,
        "second",
        target_executions=[common_v1.Execution(1, "w1")],
        cancellation_operation=batch_v1.BatchOperationCancellation("me"),
    )
    assert await _ended(d, "second") == (_COMPLETED, 1, 1, 0)
    assert "WorkflowExecutionCancelRequested" in await d.names("w1")
    described = await _describe(d)
    assert [execution.business_id for execution in described.executions] == ["w0", "w2", "missing"]


async def test_delete_takes_open_and_closed(d: Driver) -> None:
    await _runs(d, 120, closed=60)
    await d.start("other", workflow_type=common_v1.WorkflowType("Other"))
    await _begin(d, deletion_operation=batch_v1.BatchOperationDeletion("me"))
    assert await _ended(d) == (_COMPLETED, 120, 120, 0)
    assert await d.list() == ["other"]


@pytest.mark.parametrize("kind", [1, 2])
async def test_reset_by_type_takes_each_once(d: Driver, kind: int) -> None:
    await _runs(d, 20, closed=10)
    for _ in range(10):
        await d.turn()
    await _begin(d, reset_operation=batch_v1.BatchOperationReset("me", reset_type=kind))
    assert await _ended(d) == (_COMPLETED, 20, 20, 0)
    assert len(await d.list("ExecutionStatus = 'Running'")) == 20
    assert len(await d.list()) == 40


async def current_run(d: Driver) -> str:
    info = (await d.describe()).workflow_execution_info
    assert info is not None and info.execution is not None
    return info.execution.run_id


async def test_reset_by_build_id_goes_to_its_first_task(d: Driver) -> None:
    def worker(build_id: str) -> deployment_v1.WorkerDeploymentOptions:
        return deployment_v1.WorkerDeploymentOptions("shop", build_id, 1)

    await d.start()
    await d.turn(binary_checksum="1")
    for build_id in ("2", "2", "3"):
        await d.signal()
        await d.turn(deployment_options=worker(build_id), worker_version_stamp=common_v1.WorkerVersionStamp(build_id))
    await d.signal()
    await d.turn(continue_as_new())
    await d.advance(2)
    await d.turn(worker_version_stamp=common_v1.WorkerVersionStamp("4"))
    current = await current_run(d)
    for build_id, is_current_only, expected in (("2", True, 0), ("9", False, 0), ("4", True, 1), ("2", False, 1)):
        options = common_v1.ResetOptions(build_id=build_id, current_run_only=is_current_only)
        job = f"{build_id} {is_current_only}"
        await _begin(
            d,
            job,
            executions=[common_v1.WorkflowExecution("w", current)],
            reset_operation=batch_v1.BatchOperationReset("me", options=options),
        )
        assert await _ended(d, job) == (_COMPLETED, 1, expected, 1 - expected)
        before, current = current, await current_run(d)
        assert (current != before) == bool(expected)
    names = await d.names()
    assert names.count("WorkflowTaskCompleted") == 1 and names.count("WorkflowTaskFailed") == 1


async def test_what_is_refused_counts_as_failed(d: Driver) -> None:
    await _runs(d, 2)
    options = common_v1.ResetOptions(workflow_task_id=99)
    await _begin(d, reset_operation=batch_v1.BatchOperationReset(options=options))
    assert await _ended(d) == (_COMPLETED, 2, 0, 2)


async def test_standalone_activities(d: Driver) -> None:
    for number in range(3):
        await d.engine.start_activity_execution(
            ws.StartActivityExecutionRequest(
                "default",
                activity_id=f"a{number}",
                activity_type=common_v1.ActivityType("A"),
                task_queue=queue(),
                start_to_close_timeout=10 * S,
            )
        )
    await d.start("a0")
    await d.advance(1)
    await _begin(
        d,
        visibility_query="ActivityType = 'A'",
        terminate_activities_operation=batch_v1.BatchOperationTerminateActivities("me", "enough"),
    )
    assert await _ended(d) == (_COMPLETED, 3, 3, 0)
    assert await d.list("ExecutionStatus = 'Running'") == ["a0"]
    await _begin(
        d,
        "second",
        executions=[common_v1.WorkflowExecution("a1")],
        delete_activities_operation=batch_v1.BatchOperationDeleteActivities(),
    )
    assert await _ended(d, "second") == (_COMPLETED, 1, 1, 0)
    listed = await d.engine.list_activity_executions(ws.ListActivityExecutionsRequest("default"))
    assert sorted(found.activity_id for found in listed.executions) == ["a0", "a2"]


async def test_one_at_a_time_and_stop(d: Driver) -> None:
    await _runs(d, 5)
    slow = {"max_operations_per_second": 20.0, "cancellation_operation": batch_v1.BatchOperationCancellation()}
    await _begin(
        d, visibility_query="WorkflowType = 'W' OR WorkflowType = 'V'", **{**slow, "max_operations_per_second": 2}
    )
    with pytest.raises(RPCError, match="Max concurrent batch operations is reached") as caught:
        await _begin(d, "second", **slow)
    assert caught.value.status is RPCStatusCode.RESOURCE_EXHAUSTED
    with pytest.raises(RPCError, match="started before") as caught:
        await _begin(d, **slow)
    assert caught.value.status is RPCStatusCode.ALREADY_EXISTS
    await d.engine.stop_batch_operation(ws.StopBatchOperationRequest("default", "job", "enough"))
    state, total, done, failed = await _ended(d)
    assert (state, total, failed) == (_FAILED, 5, 0)
    assert done < 5
    with pytest.raises(RPCError, match="already ended"):
        await d.engine.stop_batch_operation(ws.StopBatchOperationRequest("default", "job", "enough"))
    await _begin(d, "second", **slow)
    assert await _ended(d, "second") == (_COMPLETED, 5, 5, 0)


async def test_listing_and_forgetting(d: Driver) -> None:
    await _runs(d, 1)
    for number in range(3):
        await _begin(d, f"job{number}", cancellation_operation=batch_v1.BatchOperationCancellation())
        await _ended(d, f"job{number}")
        await d.advance(1)

    async def listed(**options: Any) -> tuple[list[str], bytes]:
        page = await d.engine.list_batch_operations(ws.ListBatchOperationsRequest("default", **options))
        return [info.job_id for info in page.operation_info], page.next_page_token

    assert await listed() == (["job2", "job1", "job0"], b"")
    names, token = await listed(page_size=2)
    assert names == ["job2", "job1"]
    assert await listed(page_size=2, next_page_token=token) == (["job0"], b"")
    d.clock.now += 4 * 24 * 3600 * S
    assert await listed() == ([], b"")


_OPERATION = {"cancellation_operation": batch_v1.BatchOperationCancellation()}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"job_id": "", **_OPERATION}, "JobId is not set"),
        ({"reason": "", **_OPERATION}, "Reason is not set"),
        ({"visibility_query": "", **_OPERATION}, "must be set on request"),
        (
            {"executions": [common_v1.WorkflowExecution("w")], "visibility_query": "x", **_OPERATION},
            "mutually exclusive",
        ),
        ({}, "Batch operation is not set"),
        ({"visibility_query": "()", **_OPERATION}, "invalid query"),
        ({"visibility_query": "GROUP BY ExecutionStatus", **_OPERATION}, "no GROUP BY"),
        ({"signal_operation": batch_v1.BatchOperationSignal()}, "must provide signal name"),
        ({"reset_operation": batch_v1.BatchOperationReset()}, "unknown batch reset type 0"),
        ({"reset_operation": batch_v1.BatchOperationReset(options=common_v1.ResetOptions())}, "missing target"),
        ({"unpause_activities_operation": batch_v1.BatchOperationUnpauseActivities()}, "match all"),
        ({"executions": [common_v1.WorkflowExecution("w")] * 1001, **_OPERATION}, "limit of 1000"),
        ({"target_executions": [common_v1.Execution(2, "w")], **_OPERATION}, "has type 2"),
    ],
)
async def test_refusals(d: Driver, options: dict[str, Any], message: str) -> None:
    with pytest.raises(RPCError, match=message) as caught:
        await _begin(d, **options)
    assert caught.value.status is RPCStatusCode.INVALID_ARGUMENT
    with pytest.raises(RPCError, match="not found"):
        await _describe(d)


@pytest.mark.parametrize("pages", [0, 1, 2])
async def test_a_job_goes_on_after_a_crash(
    open_store: Callable[[], Awaitable[Store]],
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
    pages: int,
) -> None:
    """Between what a page did and its being written down, everything stops."""
    if "memory" in request.node.name:
        pytest.skip("nothing outlives the process")
    clock = Clock()
    reached = asyncio.Event()
    saves = 0
    save = batches.Batches._save

    async def stuck(self: batches.Batches, *arguments: Any) -> None:
        nonlocal saves
        saves += 1
        if saves > pages + 1:
            reached.set()
            await asyncio.Event().wait()
        await save(self, *arguments)

    async with driving(await open_store(), clock) as d:
        await _runs(d, 250)
        monkeypatch.setattr(batches.Batches, "_save", stuck)
        await _begin(d, signal_operation=batch_v1.BatchOperationSignal("hello"))
        await reached.wait()
    monkeypatch.setattr(batches.Batches, "_save", save)
    async with driving(await open_store(), clock) as d:
        assert await _ended(d) == (_COMPLETED, 250, 250, 0)
        for number in range(0, 250, 7):
            assert (await d.names(f"w{number}")).count("WorkflowExecutionSignaled") == 1


async def test_a_job_repeats_a_page_that_the_store_refused(d: Driver, monkeypatch: pytest.MonkeyPatch) -> None:
    await _runs(d, 30)
    save = batches.Batches._save
    failures = 1

    async def failing(self: batches.Batches, *arguments: Any) -> None:
        nonlocal failures
        if arguments[1].done and failures:
            failures -= 1
            raise RPCError("the disk is full", RPCStatusCode.UNAVAILABLE)
        await save(self, *arguments)

    monkeypatch.setattr(batches.Batches, "_save", failing)
    await _begin(d, signal_operation=batch_v1.BatchOperationSignal("hello"))
    while (await _describe(d)).state == _RUNNING:
        await asyncio.sleep(0.01)
    assert failures == 0
    assert (await d.names("w3")).count("WorkflowExecutionSignaled") == 1
    assert d.engine.namespaces.get(DEFAULT_NAMESPACE)


async def test_update_options(d: Driver) -> None:
    await _runs(d, 3)
    options = workflow_v1.WorkflowExecutionOptions(priority=common_v1.Priority(3))
    operation = batch_v1.BatchOperationUpdateWorkflowExecutionOptions("me", options, ["priority"])
    await _begin(d, update_workflow_options_operation=operation)
    assert await _ended(d) == (_COMPLETED, 3, 3, 0)
    assert "WorkflowExecutionOptionsUpdated" in await d.names("w1")
