"""Start, signal-with-start: policies, deduplication, delays."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from perdure.api.common import v1 as common_v1
from perdure.api.enums.v1 import WorkflowIdConflictPolicy as Conflict
from perdure.api.enums.v1 import WorkflowIdReusePolicy as Reuse
from perdure.api.errordetails.v1 import WorkflowExecutionAlreadyStartedFailure
from perdure.api.workflowservice import v1 as ws
from perdure.service import RPCError, RPCStatusCode
from tests.engine.driver import Driver, S, cancel, complete, fail, queue, start_child

ALLOW = int(Reuse.WORKFLOW_ID_REUSE_POLICY_ALLOW_DUPLICATE)
FAILED_ONLY = int(Reuse.WORKFLOW_ID_REUSE_POLICY_ALLOW_DUPLICATE_FAILED_ONLY)
REJECT = int(Reuse.WORKFLOW_ID_REUSE_POLICY_REJECT_DUPLICATE)
TERMINATE_IF_RUNNING = int(Reuse.WORKFLOW_ID_REUSE_POLICY_TERMINATE_IF_RUNNING)
FAIL = int(Conflict.WORKFLOW_ID_CONFLICT_POLICY_FAIL)
USE_EXISTING = int(Conflict.WORKFLOW_ID_CONFLICT_POLICY_USE_EXISTING)
TERMINATE_EXISTING = int(Conflict.WORKFLOW_ID_CONFLICT_POLICY_TERMINATE_EXISTING)

COMPLETED, FAILED, TERMINATED = 2, 3, 5


async def test_plain_start_writes_two_events(d: Driver) -> None:
    run_id = await d.start()
    assert await d.names() == ["WorkflowExecutionStarted", "WorkflowTaskScheduled"]
    started = (await d.history())[0].attributes
    assert started.original_execution_run_id == started.first_execution_run_id == run_id
    assert started.attempt == 1
    assert started.workflow_task_timeout == 10 * S


@pytest.mark.parametrize("reuse", [ALLOW, FAILED_ONLY, REJECT])
async def test_an_open_run_consults_the_conflict_policy_only(d: Driver, reuse: int) -> None:
    first = await d.start()
    with pytest.raises(RPCError) as refused:
        await d.start(workflow_id_reuse_policy=reuse)
    assert refused.value.status is RPCStatusCode.ALREADY_EXISTS
    detail = refused.value.detail(WorkflowExecutionAlreadyStartedFailure)
    assert isinstance(detail, WorkflowExecutionAlreadyStartedFailure)
    assert detail.run_id == first
    existing = await d.start_full(workflow_id_reuse_policy=reuse, workflow_id_conflict_policy=USE_EXISTING)
    assert (existing.run_id, existing.started) == (first, False)


@pytest.mark.parametrize(
    "policy", [{"workflow_id_conflict_policy": TERMINATE_EXISTING}, {"workflow_id_reuse_policy": TERMINATE_IF_RUNNING}]
)
async def test_terminate_existing_replaces_the_open_run(d: Driver, policy: dict[str, int]) -> None:
    first = await d.start()
    second = await d.start(**policy)
    assert second != first
    assert await d.status(run_id=first) == TERMINATED
    last = (await d.history(run_id=first))[-1].attributes
    assert last.reason == "TerminateIfRunning WorkflowIdReusePolicy"
    assert second in last.details.payloads[0].data.decode()
    assert await d.names(run_id=second) == ["WorkflowExecutionStarted", "WorkflowTaskScheduled"]


@pytest.mark.parametrize(
    ("reuse", "closing", "allowed"),
    [
        (ALLOW, complete, True),
        (ALLOW, fail, True),
        (FAILED_ONLY, complete, False),
        (FAILED_ONLY, fail, True),
        (FAILED_ONLY, cancel, True),
        (REJECT, complete, False),
        (REJECT, fail, False),
        (TERMINATE_IF_RUNNING, complete, True),
    ],
)
async def test_a_closed_run_consults_the_reuse_policy_only(d: Driver, reuse: int, closing: Any, allowed: bool) -> None:
    first = await d.start()
    await d.turn(closing())
    if allowed:
        assert await d.start(workflow_id_reuse_policy=reuse) != first
    else:
        with pytest.raises(RPCError) as refused:
            await d.start(workflow_id_reuse_policy=reuse)
        assert refused.value.status is RPCStatusCode.ALREADY_EXISTS


@pytest.mark.parametrize(
    "options",
    [
        {"workflow_id_reuse_policy": REJECT, "workflow_id_conflict_policy": TERMINATE_EXISTING},
        {"workflow_id_reuse_policy": TERMINATE_IF_RUNNING, "workflow_id_conflict_policy": FAIL},
        {"workflow_id": ""},
        {"workflow_id": "x" * 1001},
        {"workflow_id": "é" * 501},
        {"workflow_type": common_v1.WorkflowType("")},
        {"task_queue": queue("")},
        {"task_queue": queue("/_sys/x")},
        {"workflow_run_timeout": -1},
        {"workflow_start_delay": 5 * S, "cron_schedule": "* * * * *"},
        {"cron_schedule": "not cron"},
        {"retry_policy": common_v1.RetryPolicy(backoff_coefficient=0.5)},
        {"retry_policy": common_v1.RetryPolicy(maximum_attempts=-1)},
        {"retry_policy": common_v1.RetryPolicy(initial_interval=10 * S, maximum_interval=S)},
        {"retry_policy": common_v1.RetryPolicy(non_retryable_error_types=["TemporalTimeout:Nope"])},
        {"search_attributes": common_v1.SearchAttributes({"RunId": common_v1.Payload(data=b'"x"')})},
        {"input": common_v1.Payloads([common_v1.Payload(data=b"x" * (2 * 1024 * 1024 + 1))])},
    ],
)
async def test_bad_starts_are_refused_and_leave_nothing(d: Driver, options: dict[str, Any]) -> None:
    with pytest.raises(RPCError) as refused:
        await d.start(**options)
    assert refused.value.status is RPCStatusCode.INVALID_ARGUMENT
    assert refused.value.message
    assert await d.list() == []


async def test_unknown_namespace(d: Driver) -> None:
    with pytest.raises(RPCError) as refused:
        await d.start(namespace="nowhere")
    assert refused.value.status is RPCStatusCode.NOT_FOUND


async def test_request_id_deduplicates_even_after_the_close(d: Driver) -> None:
    first = await d.start(request_id="r1")
    again = await d.start_full(request_id="r1")
    assert (again.run_id, again.started) == (first, True)
    await d.turn(complete())
    after = await d.start_full(request_id="r1")
    assert (after.run_id, after.started, after.status) == (first, True, COMPLETED)


async def test_concurrent_starts_make_one_run(d: Driver) -> None:
    results = await asyncio.gather(*(d.start() for _ in range(10)), return_exceptions=True)
    assert sum(isinstance(result, str) for result in results) == 1
    assert all(isinstance(result, str) or result.status is RPCStatusCode.ALREADY_EXISTS for result in results)


async def test_start_delay_holds_the_first_task_and_signals_do_not_wake_it(d: Driver) -> None:
    await d.start(workflow_start_delay=60 * S)
    await d.signal()
    assert await d.names() == ["WorkflowExecutionStarted", "WorkflowExecutionSignaled"]
    await d.advance(59)
    assert not await d.has_workflow_task()
    await d.advance(1)
    assert (await d.names())[-1] == "WorkflowTaskScheduled"
    info = (await d.describe()).workflow_execution_info
    assert info is not None and info.start_time is not None and info.execution_time == info.start_time + 60 * S


async def test_cancel_and_signal_with_start_wake_a_delayed_run(d: Driver) -> None:
    await d.start("a", workflow_start_delay=60 * S)
    await d.request_cancel("a")
    assert (await d.names("a"))[-1] == "WorkflowTaskScheduled"
    await d.start("b", workflow_start_delay=60 * S)
    response = await signal_with_start(d, "b")
    assert response.started is False
    assert (await d.names("b"))[-2:] == ["WorkflowExecutionSignaled", "WorkflowTaskScheduled"]


async def signal_with_start(d: Driver, workflow_id: str, **options: Any) -> ws.SignalWithStartWorkflowExecutionResponse:
    return await d.engine.signal_with_start_workflow_execution(
        ws.SignalWithStartWorkflowExecutionRequest(
            "default", workflow_id, common_v1.WorkflowType("W"), queue(), signal_name="s", **options
        )
    )


async def test_signal_with_start_starts_or_signals(d: Driver) -> None:
    first = await signal_with_start(d, "w")
    assert first.started
    assert await d.names() == ["WorkflowExecutionStarted", "WorkflowExecutionSignaled", "WorkflowTaskScheduled"]
    second = await signal_with_start(d, "w", request_id="x")
    assert (second.run_id, second.started) == (first.run_id, False)
    await signal_with_start(d, "w", request_id="x")
    assert (await d.names()).count("WorkflowExecutionSignaled") == 2
    with pytest.raises(RPCError):
        await signal_with_start(d, "w", workflow_id_conflict_policy=FAIL)


async def test_timeouts_are_normalised(d: Driver) -> None:
    await d.start(workflow_execution_timeout=5 * S, workflow_run_timeout=60 * S, workflow_task_timeout=300 * S)
    started = (await d.history())[0].attributes
    assert started.workflow_run_timeout == 5 * S
    assert started.workflow_task_timeout == 5 * S
    assert started.workflow_execution_expiration_time == d.clock.now + 5 * S


async def test_eager_start_hands_the_first_task_over(d: Driver) -> None:
    response = await d.start_full(request_eager_execution=True)
    task = response.eager_workflow_task
    assert task is not None and task.history is not None
    assert [event.event_type for event in task.history.events] == [1, 5, 6]
    await d.answer(task, complete())
    assert await d.status() == COMPLETED


async def test_a_child_may_replace_an_open_run_where_its_policy_says_so(d: Driver) -> None:
    first = await d.start("child", task_queue=queue("other"))
    await d.start()
    await d.turn(start_child(workflow_id_reuse_policy=TERMINATE_IF_RUNNING))
    await d.settle()
    closed = (await d.history("child", first))[-1].attributes
    assert closed.reason == "TerminateIfRunning WorkflowIdReusePolicy"
    info = (await d.describe("child")).workflow_execution_info
    assert info is not None and info.execution is not None
    assert info.execution.run_id in closed.details.payloads[0].data.decode()


async def test_an_identity_is_no_longer_than_an_id(d: Driver) -> None:
    with pytest.raises(RPCError) as refused:
        await d.start(identity="x" * 1001)
    assert refused.value.status is RPCStatusCode.INVALID_ARGUMENT
