"""Activities without a workflow."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from perdure.api.activity import v1 as activity_v1
from perdure.api.common import v1 as common_v1
from perdure.api.errordetails import v1 as errordetails_v1
from perdure.api.workflowservice import v1 as ws
from perdure.service import RPCError, RPCStatusCode
from tests.engine.driver import Driver, S, application_failure, driving, payloads, queue

RUNNING, COMPLETED, FAILED, CANCELED, TERMINATED, TIMED_OUT, PAUSED = range(1, 8)


async def start(d: Driver, activity_id: str = "a", **options: Any) -> ws.StartActivityExecutionResponse:
    options.setdefault("start_to_close_timeout", 10 * S)
    options.setdefault("input", payloads(b"1"))
    return await d.engine.start_activity_execution(
        ws.StartActivityExecutionRequest(
            "default",
            "me",
            activity_id=activity_id,
            activity_type=common_v1.ActivityType("A"),
            task_queue=queue(),
            **options,
        )
    )


async def describe(d: Driver, activity_id: str = "a", **options: Any) -> activity_v1.ActivityExecutionInfo:
    response = await d.engine.describe_activity_execution(
        ws.DescribeActivityExecutionRequest("default", activity_id, **options)
    )
    assert response.info is not None
    return response.info


async def outcome(d: Driver, activity_id: str = "a") -> Any:
    response = await d.engine.poll_activity_execution(ws.PollActivityExecutionRequest("default", activity_id))
    return response.outcome


async def test_an_activity_runs_without_a_workflow(d: Driver) -> None:
    started = await start(d)
    assert started.started
    waiting = asyncio.ensure_future(outcome(d))
    task = await d.poll_activity()
    assert (task.activity_id, task.attempt, task.input) == ("a", 1, payloads(b"1"))
    assert (task.workflow_execution, task.workflow_type, task.activity_run_id) == (None, None, started.run_id)
    assert (await describe(d)).status == RUNNING
    await d.complete_activity(task, b'"done"')
    assert (await waiting).result == payloads(b'"done"')
    info = await describe(d)
    assert (info.status, info.attempt, info.last_worker_identity) == (COMPLETED, 1, "activity worker")
    assert (await outcome(d)).result == payloads(b'"done"')


async def test_it_is_no_workflow(d: Driver) -> None:
    await start(d, "w")
    assert await d.list() == []
    with pytest.raises(RPCError):
        await d.describe("w")
    await d.start("w")
    assert await d.list() == ["w"]


async def test_failures_are_retried(d: Driver) -> None:
    await start(d, retry_policy=common_v1.RetryPolicy(initial_interval=S, maximum_attempts=2))
    await d.fail_activity(await d.poll_activity(), application_failure("first"))
    info = await describe(d, include_last_failure=True)
    assert info.last_failure is not None
    assert (info.attempt, info.last_failure.message) == (2, "first")
    await d.advance(1)
    await d.fail_activity(await d.poll_activity(), application_failure("second"))
    assert (await outcome(d)).failure.message == "second"
    info = await describe(d)
    assert (info.status, info.attempt) == (FAILED, 2)


async def test_timeouts_close_it(d: Driver) -> None:
    await start(d, schedule_to_start_timeout=3 * S)
    await d.advance(3)
    assert (await outcome(d)).failure.message == "activity ScheduleToStart timeout"
    assert (await describe(d)).status == TIMED_OUT


async def test_a_heartbeat_keeps_it_alive_and_carries_details(d: Driver) -> None:
    await start(d, heartbeat_timeout=2 * S, start_to_close_timeout=60 * S)
    task = await d.poll_activity()
    await d.advance(1.5)
    await d.engine.record_activity_task_heartbeat(
        ws.RecordActivityTaskHeartbeatRequest(task.task_token, payloads(b"5"))
    )
    await d.advance(1.5)
    assert (await describe(d, include_heartbeat_details=True)).heartbeat_details == payloads(b"5")
    await d.advance(2)
    await d.advance(1)
    again = await d.poll_activity()
    assert (again.attempt, again.heartbeat_details) == (2, payloads(b"5"))
    with pytest.raises(RPCError):
        await d.complete_activity(task)


@pytest.mark.parametrize("is_running", [False, True])
async def test_cancellation(d: Driver, is_running: bool) -> None:
    await start(d)
    task = await d.poll_activity() if is_running else None
    await d.engine.request_cancel_activity_execution(
        ws.RequestCancelActivityExecutionRequest("default", "a", identity="me", reason="enough")
    )
    if task is not None:
        answer = await d.engine.record_activity_task_heartbeat(ws.RecordActivityTaskHeartbeatRequest(task.task_token))
        assert answer.cancel_requested
        assert (await describe(d)).status == RUNNING
        await d.engine.respond_activity_task_canceled(ws.RespondActivityTaskCanceledRequest(task.task_token))
    assert (await outcome(d)).failure.canceled_failure_info is not None
    info = await describe(d)
    assert (info.status, info.canceled_reason) == (CANCELED, "enough")


async def test_termination_and_deletion(d: Driver) -> None:
    await start(d)
    task = await d.poll_activity()
    await d.engine.terminate_activity_execution(ws.TerminateActivityExecutionRequest("default", "a", reason="enough"))
    ended = await outcome(d)
    assert ended.failure.terminated_failure_info is not None and ended.failure.message == "enough"
    assert (await describe(d)).status == TERMINATED
    with pytest.raises(RPCError):
        await d.complete_activity(task)
    await d.engine.delete_activity_execution(ws.DeleteActivityExecutionRequest("default", "a"))
    with pytest.raises(RPCError) as gone:
        await describe(d)
    assert gone.value.status is RPCStatusCode.NOT_FOUND


async def test_id_policies(d: Driver) -> None:
    first = await start(d, request_id="r")
    assert (await start(d, request_id="r")).run_id == first.run_id
    with pytest.raises(RPCError) as taken:
        await start(d)
    assert taken.value.status is RPCStatusCode.ALREADY_EXISTS
    detail = taken.value.detail(errordetails_v1.ActivityExecutionAlreadyStartedFailure)
    assert isinstance(detail, errordetails_v1.ActivityExecutionAlreadyStartedFailure)
    assert detail.run_id == first.run_id
    existing = await start(d, id_conflict_policy=2)
    assert (existing.run_id, existing.started) == (first.run_id, False)
    await d.complete_activity(await d.poll_activity())
    for policy in (2, 3):
        with pytest.raises(RPCError):
            await start(d, id_reuse_policy=policy)
    assert (await start(d)).run_id != first.run_id
    await d.fail_activity(await d.poll_activity(), application_failure(non_retryable=True))
    assert (await start(d, id_reuse_policy=2)).started


async def test_a_start_delay_holds_it_back(d: Driver) -> None:
    await start(d, start_delay=5 * S, schedule_to_start_timeout=2 * S)
    await d.advance(4)
    assert not await d.has_activity_task()
    await d.advance(1)
    assert (await d.poll_activity()).attempt == 1


async def test_lists_and_counts(d: Driver) -> None:
    await start(d, "a")
    await start(d, "b")
    await d.complete_activity(await d.poll_activity())

    async def found(query: str) -> list[str]:
        response = await d.engine.list_activity_executions(ws.ListActivityExecutionsRequest("default", query=query))
        return [info.activity_id for info in response.executions]

    assert sorted(await found("")) == ["a", "b"]
    assert await found("ExecutionStatus = 'Running'") == ["b"]
    assert await found("ActivityId = 'a' AND ActivityType = 'A'") == ["a"]
    assert await found("ActivityId = 'ActivityId'") == []
    count = await d.engine.count_activity_executions(
        ws.CountActivityExecutionsRequest("default", "GROUP BY ExecutionStatus")
    )
    assert count.count == 2
    assert sorted((group.group_values[0].data, group.count) for group in count.groups) == [
        (b'"Completed"', 1),
        (b'"Running"', 1),
    ]
    with pytest.raises(RPCError):
        await found("Nonsense ==")


async def test_pause_and_options(d: Driver) -> None:
    await start(d)
    await d.engine.pause_activity_execution(ws.PauseActivityExecutionRequest("default", "", "a", reason="hold"))
    assert (await describe(d)).status == PAUSED
    await d.engine.update_activity_execution_options(
        ws.UpdateActivityExecutionOptionsRequest(
            "default",
            "",
            "a",
            activity_options=activity_v1.ActivityOptions(start_to_close_timeout=4 * S),
            update_mask=["start_to_close_timeout"],
        )
    )
    await d.engine.unpause_activity_execution(ws.UnpauseActivityExecutionRequest("default", "", "a"))
    assert (await d.poll_activity()).start_to_close_timeout == 4 * S


async def test_a_paused_one_is_listed_as_paused(d: Driver) -> None:
    async def listed(query: str = "") -> list[int]:
        response = await d.engine.list_activity_executions(ws.ListActivityExecutionsRequest("default", query=query))
        return [info.status for info in response.executions]

    async def pause() -> None:
        await d.engine.pause_activity_execution(ws.PauseActivityExecutionRequest("default", "", "a"))

    async def unpause() -> None:
        await d.engine.unpause_activity_execution(ws.UnpauseActivityExecutionRequest("default", "", "a"))

    await start(d)
    await pause()
    assert await listed() == await listed("ExecutionStatus = 'Paused'") == [PAUSED]
    assert await listed("ExecutionStatus = 'Running'") == []
    await unpause()
    assert await listed() == await listed("ActivityStatus = 'Running'") == [RUNNING]
    task = await d.poll_activity()
    await pause()
    assert await listed() == [RUNNING], "the attempt runs on"
    await d.fail_activity(task, application_failure())
    assert await listed() == [PAUSED]
    await unpause()
    await d.advance(2)
    await d.complete_activity(await d.poll_activity())
    assert await listed() == [COMPLETED]


async def test_the_first_attempt_may_come_with_the_start(d: Driver) -> None:
    started = await start(d, request_eager_execution=True)
    task = started.eager_activity_task
    assert task is not None
    assert (task.activity_id, task.attempt, task.input, task.activity_run_id) == (
        "a",
        1,
        payloads(b"1"),
        started.run_id,
    )
    assert not await d.has_activity_task()
    await d.complete_activity(task, b"2")
    assert (await outcome(d)).result == payloads(b"2")
    assert (await start(d, "later", request_eager_execution=True, start_delay=S)).eager_activity_task is None
    await start(d, "held")
    again = await start(d, "held", request_eager_execution=True, id_conflict_policy=2)
    assert not again.started and again.eager_activity_task is None
    await d.engine.remote.give_back(await start(d, "lost", request_eager_execution=True))
    assert {(await d.poll_activity()).activity_id for _ in range(2)} == {"held", "lost"}


async def test_completion_by_id(d: Driver) -> None:
    await start(d)
    await d.engine.respond_activity_task_completed_by_id(
        ws.RespondActivityTaskCompletedByIdRequest("default", "", "", "a", payloads(b"7"))
    )
    assert (await outcome(d)).result == payloads(b"7")


async def test_a_waiting_describe_sees_the_change(d: Driver) -> None:
    await start(d)
    first = await d.engine.describe_activity_execution(ws.DescribeActivityExecutionRequest("default", "a"))
    waiting = asyncio.ensure_future(
        d.engine.describe_activity_execution(
            ws.DescribeActivityExecutionRequest("default", "a", long_poll_token=first.long_poll_token)
        )
    )
    await d.poll_activity()
    changed = await waiting
    assert changed.info is not None and changed.info.last_started_time is not None


async def test_it_survives_a_restart(open_store: Any) -> None:
    async with driving(await open_store()) as d:
        if "PERSISTENT" not in str(d.engine.store.capabilities):
            pytest.skip("nothing survives in memory")
        await start(d, "waiting")
        await start(d, "delayed", start_delay=5 * S)
        await start(d, "lost", retry_policy=common_v1.RetryPolicy(initial_interval=S))
        await start(d, "done")
        await d.engine.respond_activity_task_completed_by_id(
            ws.RespondActivityTaskCompletedByIdRequest("default", "", "", "done", payloads(b"7"))
        )
        assert (await d.poll_activity()).activity_id == "waiting"
        await d.engine.delete_activity_execution(ws.DeleteActivityExecutionRequest("default", "waiting"))
        assert (await d.poll_activity()).activity_id == "lost"
        clock = d.clock
    async with driving(await open_store(), clock) as d:
        assert (await outcome(d, "done")).result == payloads(b"7")
        await d.advance(1)
        lost = await d.poll_activity()
        assert (lost.activity_id, lost.attempt) == ("lost", 2)
        await d.advance(4)
        delayed = await d.poll_activity()
        assert (delayed.activity_id, delayed.attempt) == ("delayed", 1)


async def test_closed_ones_go_when_their_retention_is_over(d: Driver) -> None:
    await start(d)
    await d.complete_activity(await d.poll_activity())
    await d.advance(3 * 86400 + 1)
    with pytest.raises(RPCError):
        await describe(d)


@pytest.mark.parametrize(
    "options",
    [{"start_to_close_timeout": 0}, {"activity_id": ""}, {"start_delay": -1}, {"id_reuse_policy": 9}],
)
async def test_bad_requests_are_refused(d: Driver, options: dict[str, Any]) -> None:
    with pytest.raises(RPCError) as refused:
        await start(d, **options)
    assert refused.value.status is RPCStatusCode.INVALID_ARGUMENT
