"""Pause, unpause, reset and change of options of pending activities, and of whole workflows."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import pytest

from perdure.api.activity import v1 as activity_v1
from perdure.api.common import v1 as common_v1
from perdure.api.query import v1 as query_v1
from perdure.api.taskqueue import v1 as taskqueue_v1
from perdure.api.update import v1 as update_v1
from perdure.api.workflow import v1 as workflow_v1
from perdure.api.workflowservice import v1 as ws
from perdure.service import RPCError, RPCStatusCode
from tests.engine.driver import Driver, S, complete, driving, payloads, schedule_activity, start_timer

W = common_v1.WorkflowExecution("w")
SLOW = common_v1.RetryPolicy(initial_interval=100 * S, backoff_coefficient=1.0)
PAUSED, PAUSE_REQUESTED = 4, 5


async def begin(d: Driver, **options: Any) -> None:
    await d.start()
    await d.turn(schedule_activity(**options))


async def pause(d: Driver, **which: Any) -> None:
    which = which or {"id": "1"}
    await d.engine.pause_activity(ws.PauseActivityRequest("default", W, "me", reason="because", **which))


async def unpause(d: Driver, **options: Any) -> None:
    options = {"id": "1", **options}
    await d.engine.unpause_activity(ws.UnpauseActivityRequest("default", W, **options))


async def heartbeat(d: Driver, task: ws.PollActivityTaskQueueResponse) -> ws.RecordActivityTaskHeartbeatResponse:
    return await d.engine.record_activity_task_heartbeat(
        ws.RecordActivityTaskHeartbeatRequest(task.task_token, payloads(b'"beat"'))
    )


async def pending(d: Driver) -> Any:
    return (await d.describe()).pending_activities[0]


async def test_a_paused_activity_is_not_handed_out_until_it_is_unpaused(d: Driver) -> None:
    await begin(d, schedule_to_start_timeout=5 * S)
    await pause(d)
    info = await pending(d)
    assert (info.state, info.paused, info.pause_info.manual.reason) == (PAUSED, True, "because")
    assert await d.list("TemporalPauseInfo = 'property:activityType=A'") == ["w"]
    await d.advance(60)  # no timeout counts while it is paused
    assert (await d.names())[-1] == "ActivityTaskScheduled"
    await unpause(d)
    task = await d.poll_activity()
    assert task.attempt == 1
    assert await d.list("TemporalPauseInfo = 'property:activityType=A'") == []
    await d.complete_activity(task)
    assert (await d.names())[-2:] == ["ActivityTaskCompleted", "WorkflowTaskScheduled"]


async def test_a_running_attempt_learns_of_the_pause_and_may_complete(d: Driver) -> None:
    await begin(d)
    task = await d.poll_activity()
    assert not (await heartbeat(d, task)).activity_paused
    await pause(d, type="A")
    assert (await heartbeat(d, task)).activity_paused
    assert (await pending(d)).state == PAUSE_REQUESTED
    await d.complete_activity(task)
    assert "ActivityTaskCompleted" in await d.names()


async def test_an_attempt_that_fails_while_paused_waits_for_the_unpause(d: Driver) -> None:
    await begin(d, retry_policy=common_v1.RetryPolicy(initial_interval=S, maximum_attempts=1))
    task = await d.poll_activity()
    await pause(d)
    await d.fail_activity(task)
    await d.advance(60)
    info = await pending(d)
    assert (info.state, info.attempt, info.last_failure.message) == (PAUSED, 2, "no")
    await unpause(d, reset_attempts=True)
    assert (await d.poll_activity()).attempt == 1


async def test_pausing_twice_is_refused_unless_it_is_the_same_request(d: Driver) -> None:
    await begin(d)
    await pause(d, id="1", request_id="r")
    await pause(d, id="1", request_id="r")
    with pytest.raises(RPCError) as refused:
        await pause(d)
    assert refused.value.status is RPCStatusCode.FAILED_PRECONDITION


@pytest.mark.parametrize(
    ("which", "status"),
    [
        ({"id": "2"}, RPCStatusCode.NOT_FOUND),
        ({"type": "B"}, RPCStatusCode.NOT_FOUND),
        ({"id": ""}, RPCStatusCode.INVALID_ARGUMENT),
    ],
)
async def test_what_names_no_activity_is_refused(d: Driver, which: dict[str, Any], status: RPCStatusCode) -> None:
    await begin(d)
    with pytest.raises(RPCError) as refused:
        await pause(d, **which)
    assert refused.value.status is status


async def test_a_reset_starts_over_at_once(d: Driver) -> None:
    await begin(d, retry_policy=SLOW)
    task = await d.poll_activity()
    await heartbeat(d, task)
    await d.fail_activity(task)
    assert (await pending(d)).attempt == 2
    await d.engine.reset_activity(ws.ResetActivityRequest("default", W, id="1", reset_heartbeat=True))
    task = await d.poll_activity()
    assert (task.attempt, task.heartbeat_details) == (1, None)


async def test_a_running_attempt_learns_of_the_reset_and_counts_as_the_first(d: Driver) -> None:
    await begin(d, retry_policy=common_v1.RetryPolicy(initial_interval=S, maximum_attempts=2))
    await d.fail_activity(await d.poll_activity())
    await d.advance(1)
    task = await d.poll_activity()
    await d.engine.reset_activity(ws.ResetActivityRequest("default", W, match_all=True))
    assert (await heartbeat(d, task)).activity_reset
    assert (await pending(d)).attempt == 1
    await d.fail_activity(task)
    await d.advance(1)
    task = await d.poll_activity()
    assert task.attempt == 2
    assert not (await heartbeat(d, task)).activity_reset
    await d.fail_activity(task)
    assert "ActivityTaskFailed" in await d.names()


async def test_a_reset_of_the_only_attempt_allowed_makes_no_other(d: Driver) -> None:
    await begin(d, retry_policy=common_v1.RetryPolicy(initial_interval=S, maximum_attempts=1))
    task = await d.poll_activity()
    await d.engine.reset_activity(ws.ResetActivityRequest("default", W, id="1"))
    await d.fail_activity(task)
    assert "ActivityTaskFailed" in await d.names()


async def test_a_reset_ends_a_pause_unless_told_otherwise(d: Driver) -> None:
    await begin(d)
    await pause(d)
    await d.engine.reset_activity(ws.ResetActivityRequest("default", W, id="1", keep_paused=True))
    assert (await pending(d)).paused
    await d.engine.reset_activity(ws.ResetActivityRequest("default", W, id="1"))
    assert (await d.poll_activity()).attempt == 1


async def test_changed_options_hold_for_the_next_attempt(d: Driver) -> None:
    await begin(d, retry_policy=SLOW)
    await d.fail_activity(await d.poll_activity())
    response = await d.engine.update_activity_options(
        ws.UpdateActivityOptionsRequest(
            "default",
            W,
            id="1",
            activity_options=activity_v1.ActivityOptions(
                task_queue=taskqueue_v1.TaskQueue("other"),
                start_to_close_timeout=3 * S,
                retry_policy=common_v1.RetryPolicy(initial_interval=2 * S),
            ),
            update_mask=["task_queue.name", "start_to_close_timeout", "retry_policy.initial_interval"],
        )
    )
    options = response.activity_options
    assert options is not None and options.retry_policy is not None
    assert options.retry_policy.backoff_coefficient == 1.0
    await d.advance(2)
    assert not await d.has_activity_task("q")
    task = await d.poll_activity("other")
    assert (task.attempt, task.start_to_close_timeout) == (2, 3 * S)
    await d.engine.update_activity_options(
        ws.UpdateActivityOptionsRequest("default", W, match_all=True, restore_original=True)
    )
    await d.fail_activity(task)
    await d.advance(100)
    task = await d.poll_activity("q")
    assert (task.attempt, task.start_to_close_timeout) == (3, 10 * S)


async def test_a_waiting_task_moves_with_its_queue(d: Driver) -> None:
    await begin(d)
    await d.engine.update_activity_options(
        ws.UpdateActivityOptionsRequest(
            "default",
            W,
            type="A",
            activity_options=activity_v1.ActivityOptions(task_queue=taskqueue_v1.TaskQueue("other")),
            update_mask=["task_queue"],
        )
    )
    assert (await d.poll_activity("other")).attempt == 1


@pytest.mark.parametrize("mask", [["nothing"], ["retry_policy.non_retryable_error_types"], ["task_queue"]])
async def test_bad_options_are_refused(d: Driver, mask: list[str]) -> None:
    await begin(d)
    with pytest.raises(RPCError) as refused:
        await d.engine.update_activity_options(
            ws.UpdateActivityOptionsRequest(
                "default", W, id="1", activity_options=activity_v1.ActivityOptions(), update_mask=mask
            )
        )
    assert refused.value.status is RPCStatusCode.INVALID_ARGUMENT


# ---- workflows


async def pause_workflow(d: Driver) -> None:
    await d.engine.pause_workflow_execution(
        ws.PauseWorkflowExecutionRequest("default", "w", identity="me", reason="because")
    )


async def unpause_workflow(d: Driver) -> None:
    await d.engine.unpause_workflow_execution(ws.UnpauseWorkflowExecutionRequest("default", "w", identity="me"))


async def test_a_paused_workflow_gets_no_task_until_it_is_unpaused(d: Driver) -> None:
    await d.start()
    await pause_workflow(d)
    description = await d.describe()
    assert description.workflow_execution_info is not None and description.workflow_extended_info is not None
    assert description.workflow_execution_info.status == 8
    pause_info = description.workflow_extended_info.pause_info
    assert pause_info is not None and pause_info.reason == "because"
    assert await d.list("ExecutionStatus = 'Paused'") == ["w"]
    await d.signal()
    assert (await d.names())[2:] == ["WorkflowExecutionPaused", "WorkflowTaskFailed", "WorkflowExecutionSignaled"]
    response = await d.query()
    assert response.query_rejected == query_v1.QueryRejected(8)
    with pytest.raises(RPCError):
        await pause_workflow(d)
    await unpause_workflow(d)
    assert (await d.names())[-2:] == ["WorkflowExecutionUnpaused", "WorkflowTaskScheduled"]
    await d.turn(complete())
    assert await d.status() == 2


async def test_a_started_workflow_task_may_complete_while_paused(d: Driver) -> None:
    await d.start()
    task = await d.poll()
    await pause_workflow(d)
    await d.answer(task, schedule_activity(), start_timer())
    await d.advance(5)
    assert (await d.names())[3:] == [
        "WorkflowTaskCompleted",
        "ActivityTaskScheduled",
        "TimerStarted",
        "WorkflowExecutionPaused",
        "TimerFired",
    ]
    await unpause_workflow(d)
    await d.complete_activity(await d.poll_activity())
    await d.turn(complete())
    assert await d.status() == 2


async def test_activities_wait_while_their_workflow_is_paused(d: Driver) -> None:
    await begin(d, retry_policy=common_v1.RetryPolicy(initial_interval=S))
    task = await d.poll_activity()
    await pause_workflow(d)
    await d.fail_activity(task)
    await d.advance(5)
    assert not await d.has_activity_task()
    await unpause_workflow(d)
    assert (await d.poll_activity()).attempt == 2


async def test_pauses_survive_a_restart(open_store: Any) -> None:
    async with driving(await open_store()) as d:
        if "PERSISTENT" not in str(d.engine.store.capabilities):
            pytest.skip("nothing survives in memory")
        await begin(d)
        await pause(d)
        clock = d.clock
    async with driving(await open_store(), clock) as d:
        await d.signal()
        await d.turn()
        assert (await pending(d)).pause_info.manual.identity == "me"
        await pause_workflow(d)
        await unpause(d)
    async with driving(await open_store(), clock) as d:
        assert await d.status() == 8
        await unpause_workflow(d)
        await d.complete_activity(await d.poll_activity())
        await d.turn(complete())
        assert await d.status() == 2


async def test_a_paused_workflow_takes_no_update_and_loses_none(d: Driver) -> None:
    await d.start()
    await d.turn()

    def update(update_id: str) -> Any:
        return d.engine.update_workflow_execution(
            ws.UpdateWorkflowExecutionRequest(
                "default",
                W,
                wait_policy=update_v1.WaitPolicy(3),
                request=update_v1.Request(update_v1.Meta(update_id), update_v1.Input(name="u")),
            )
        )

    waiting = asyncio.ensure_future(update("before"))
    await d.settle()
    await pause_workflow(d)
    with pytest.raises(RPCError) as refused:
        await update("during")
    assert refused.value.status is RPCStatusCode.FAILED_PRECONDITION
    await unpause_workflow(d)
    task = await d.poll()
    assert [message.protocol_instance_id for message in task.messages] == ["before"]
    waiting.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await waiting


# ---- options of a workflow, and resets


async def test_options_of_a_workflow_survive_a_reset(d: Driver) -> None:
    await d.start()
    await d.turn(start_timer())
    await d.engine.update_workflow_execution_options(
        ws.UpdateWorkflowExecutionOptionsRequest(
            "default",
            W,
            workflow_v1.WorkflowExecutionOptions(priority=common_v1.Priority(1, "tenant")),
            ["priority.priority_key", "priority.fairness_key"],
        )
    )
    await d.engine.reset_workflow_execution(
        ws.ResetWorkflowExecutionRequest(
            "default",
            W,
            workflow_task_finish_event_id=4,
            request_id="r",
            post_reset_operations=[
                workflow_v1.PostResetOperation(workflow_v1.PostResetOperationSignalWorkflow("s")),
                workflow_v1.PostResetOperation(
                    update_workflow_options=workflow_v1.PostResetOperationUpdateWorkflowOptions(
                        workflow_v1.WorkflowExecutionOptions(priority=common_v1.Priority(2)),
                        ["priority.priority_key"],
                    )
                ),
            ],
        )
    )
    info = (await d.describe()).workflow_execution_info
    assert info is not None and info.priority == common_v1.Priority(2, "tenant")
    assert "WorkflowExecutionSignaled" in await d.names()


@pytest.mark.parametrize("mask", [None, ["time_skipping_config"], ["priority.priority_key"]])
async def test_bad_options_of_a_workflow_are_refused(d: Driver, mask: list[str] | None) -> None:
    await d.start()
    with pytest.raises(RPCError) as refused:
        await d.engine.update_workflow_execution_options(
            ws.UpdateWorkflowExecutionOptionsRequest(
                "default", W, workflow_v1.WorkflowExecutionOptions(priority=common_v1.Priority(-1)), mask
            )
        )
    assert refused.value.status is RPCStatusCode.INVALID_ARGUMENT
