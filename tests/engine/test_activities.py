"""Activities: attempts, timeouts, retries, heartbeats, cancellation, completion by id."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from perdure.api.common import v1 as common_v1
from perdure.api.workflowservice import v1 as ws
from perdure.service import RPCError, RPCStatusCode
from tests.engine.driver import (
    Driver,
    S,
    application_failure,
    cancel_activity,
    complete,
    name,
    payloads,
    schedule_activity,
    start_timer,
)

ONCE = common_v1.RetryPolicy(maximum_attempts=1)
TWICE = common_v1.RetryPolicy(initial_interval=S, maximum_attempts=2)


async def begin(d: Driver, **options: Any) -> None:
    await d.start()
    await d.turn(schedule_activity(**options))


async def last(d: Driver, kind: str) -> Any:
    return [event for event in await d.history() if name(event) == kind][-1].attributes


async def test_the_started_event_is_written_with_the_close(d: Driver) -> None:
    await begin(d)
    task = await d.poll_activity()
    assert (await d.names())[-1] == "ActivityTaskScheduled"
    await d.complete_activity(task)
    assert (await d.names())[5:] == ["ActivityTaskStarted", "ActivityTaskCompleted", "WorkflowTaskScheduled"]
    with pytest.raises(RPCError) as late:
        await d.complete_activity(task)
    assert late.value.status is RPCStatusCode.NOT_FOUND


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"schedule_to_close_timeout": 20 * S}, (20, 20, 20)),
        ({"schedule_to_close_timeout": 20 * S, "start_to_close_timeout": 30 * S}, (20, 20, 20)),
        ({"schedule_to_close_timeout": 20 * S, "schedule_to_start_timeout": 5 * S}, (20, 5, 20)),
        ({"start_to_close_timeout": 5 * S}, (100, 100, 5)),
        ({"start_to_close_timeout": 500 * S}, (100, 100, 100)),
    ],
)
async def test_timeouts_are_derived(d: Driver, given: dict[str, int], expected: tuple[int, int, int]) -> None:
    await d.start(workflow_run_timeout=100 * S)
    await d.turn(schedule_activity(**given))
    a = await last(d, "ActivityTaskScheduled")
    resolved = (a.schedule_to_close_timeout, a.schedule_to_start_timeout, a.start_to_close_timeout)
    assert tuple(value // S for value in resolved) == expected
    assert a.retry_policy.initial_interval == S
    assert a.retry_policy.maximum_interval == 100 * S


async def test_a_waiting_poll_gets_the_activity_in_the_transition_that_schedules_it(d: Driver) -> None:
    await d.start()
    waiting = asyncio.ensure_future(d.poll_activity())
    await asyncio.sleep(0)
    await d.turn(schedule_activity(input=payloads(b'"x"')))
    task = await waiting
    assert task.input == payloads(b'"x"')
    assert task.attempt == 1
    info = (await d.describe()).workflow_execution_info
    assert info is not None
    await d.complete_activity(task)
    assert (await d.names())[-1] == "WorkflowTaskScheduled"


async def test_a_cancelled_poll_loses_no_activity(d: Driver) -> None:
    await d.start()
    waiting = asyncio.ensure_future(d.poll_activity())
    await asyncio.sleep(0)
    task = await d.poll()
    answering = asyncio.ensure_future(d.answer(task, schedule_activity()))
    await answering
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    await d.settle()
    activity = await d.poll_activity()
    assert activity.attempt == 1


async def test_retries_leave_no_events_and_keep_the_last_failure(d: Driver) -> None:
    await begin(d, retry_policy=TWICE)
    await d.fail_activity(await d.poll_activity(), application_failure("first"))
    assert (await d.names())[-1] == "ActivityTaskScheduled"
    pending = (await d.describe()).pending_activities[0]
    assert pending.attempt == 2
    assert pending.last_failure is not None and pending.last_failure.message == "first"
    assert not await d.has_activity_task()
    await d.advance(1)
    second = await d.poll_activity()
    assert second.attempt == 2
    await d.fail_activity(second, application_failure("second"))
    started = await last(d, "ActivityTaskStarted")
    assert (started.attempt, started.last_failure.message) == (2, "first")
    failed = await last(d, "ActivityTaskFailed")
    assert (failed.failure.message, failed.retry_state) == ("second", 4)


@pytest.mark.parametrize(
    ("failure", "policy", "retry_state"),
    [
        (application_failure(non_retryable=True), None, 2),
        (application_failure(kind="Bad"), common_v1.RetryPolicy(non_retryable_error_types=["Bad"]), 2),
        (application_failure(), ONCE, 4),
    ],
)
async def test_what_is_not_retried(d: Driver, failure: Any, policy: Any, retry_state: int) -> None:
    await begin(d, retry_policy=policy)
    await d.fail_activity(await d.poll_activity(), failure)
    assert (await last(d, "ActivityTaskFailed")).retry_state == retry_state


async def test_backoff_grows_to_its_maximum(d: Driver) -> None:
    policy = common_v1.RetryPolicy(initial_interval=S, backoff_coefficient=3.0, maximum_interval=5 * S)
    await begin(d, retry_policy=policy)
    for interval in (1, 3, 5, 5):
        await d.fail_activity(await d.poll_activity())
        pending = (await d.describe()).pending_activities[0]
        assert pending.current_retry_interval == interval * S
        await d.advance(interval)


async def test_next_retry_delay_replaces_the_interval(d: Driver) -> None:
    await begin(d, retry_policy=common_v1.RetryPolicy(initial_interval=S, maximum_interval=2 * S))
    await d.fail_activity(await d.poll_activity(), application_failure(next_retry_delay=30 * S))
    assert (await d.describe()).pending_activities[0].current_retry_interval == 30 * S


async def test_schedule_to_start_timeout(d: Driver) -> None:
    await begin(d, schedule_to_start_timeout=2 * S, start_to_close_timeout=10 * S)
    await d.advance(2)
    timed_out = await last(d, "ActivityTaskTimedOut")
    assert timed_out.failure.timeout_failure_info.timeout_type == 2
    assert (timed_out.started_event_id, timed_out.retry_state) == (0, 3)
    assert "ActivityTaskStarted" not in await d.names()


async def test_start_to_close_timeout_is_retried_then_final(d: Driver) -> None:
    await begin(d, start_to_close_timeout=3 * S, retry_policy=TWICE)
    await d.poll_activity()
    await d.advance(3)
    assert (await d.names())[-1] == "ActivityTaskScheduled"
    await d.advance(1)
    await d.poll_activity()
    await d.advance(3)
    timed_out = await last(d, "ActivityTaskTimedOut")
    assert timed_out.failure.message == "activity StartToClose timeout"
    assert timed_out.failure.timeout_failure_info.timeout_type == 1
    assert timed_out.failure.cause is not None
    assert timed_out.retry_state == 4


async def test_heartbeats_keep_an_attempt_alive_and_their_details_survive(d: Driver) -> None:
    await begin(d, heartbeat_timeout=2 * S, retry_policy=TWICE)
    task = await d.poll_activity()
    for beat in range(3):
        await d.advance(1.5)
        answer = await d.engine.record_activity_task_heartbeat(
            ws.RecordActivityTaskHeartbeatRequest(task.task_token, payloads(b"%d" % beat), "w")
        )
        assert not answer.cancel_requested
    await d.advance(2)
    await d.advance(1)
    second = await d.poll_activity()
    assert second.attempt == 2
    assert second.heartbeat_details == payloads(b"2")
    with pytest.raises(RPCError):
        await d.engine.record_activity_task_heartbeat(ws.RecordActivityTaskHeartbeatRequest(task.task_token))
    await d.advance(2)
    timed_out = await last(d, "ActivityTaskTimedOut")
    assert timed_out.failure.timeout_failure_info.timeout_type == 4
    assert timed_out.failure.timeout_failure_info.last_heartbeat_details == payloads(b"2")


async def test_schedule_to_close_covers_all_attempts(d: Driver) -> None:
    await begin(d, schedule_to_close_timeout=10 * S, retry_policy=common_v1.RetryPolicy(initial_interval=6 * S))
    await d.fail_activity(await d.poll_activity(), application_failure("one"))
    await d.advance(6)
    await d.fail_activity(await d.poll_activity(), application_failure("two"))
    failed = await last(d, "ActivityTaskFailed")
    assert (failed.retry_state, failed.failure.message) == (3, "two")


async def test_no_time_for_another_attempt_becomes_schedule_to_close(d: Driver) -> None:
    await begin(
        d,
        schedule_to_close_timeout=10 * S,
        start_to_close_timeout=6 * S,
        retry_policy=common_v1.RetryPolicy(initial_interval=6 * S),
    )
    await d.poll_activity()
    await d.advance(6)
    failure = (await last(d, "ActivityTaskTimedOut")).failure
    assert failure.timeout_failure_info.timeout_type == 3
    assert failure.message.startswith("Not enough time to schedule next retry")
    assert failure.cause.timeout_failure_info.timeout_type == 1


async def test_cancel_before_start_is_immediate(d: Driver) -> None:
    await begin(d)
    await d.signal()
    await d.turn(cancel_activity(5))
    assert (await d.names())[-3:] == ["ActivityTaskCancelRequested", "ActivityTaskCanceled", "WorkflowTaskScheduled"]
    canceled = await last(d, "ActivityTaskCanceled")
    assert canceled.started_event_id == 0
    assert canceled.details.payloads[0].data == b'"ACTIVITY_ID_NOT_STARTED"'


async def test_cancel_of_a_started_activity_is_heard_by_heartbeat(d: Driver) -> None:
    await begin(d)
    task = await d.poll_activity()
    with pytest.raises(RPCError) as refused:
        await d.engine.respond_activity_task_canceled(ws.RespondActivityTaskCanceledRequest(task.task_token))
    assert refused.value.status is RPCStatusCode.INVALID_ARGUMENT
    await d.signal()
    await d.turn(cancel_activity(5))
    answer = await d.engine.record_activity_task_heartbeat(ws.RecordActivityTaskHeartbeatRequest(task.task_token))
    assert answer.cancel_requested
    await d.engine.respond_activity_task_canceled(
        ws.RespondActivityTaskCanceledRequest(task.task_token, payloads(b'"bye"'), "w")
    )
    canceled = await last(d, "ActivityTaskCanceled")
    assert canceled.details == payloads(b'"bye"')
    assert canceled.latest_cancel_requested_event_id == 10
    assert canceled.started_event_id


async def test_a_cancelled_activity_is_not_retried(d: Driver) -> None:
    await begin(d)
    task = await d.poll_activity()
    await d.signal()
    await d.turn(cancel_activity(5))
    await d.fail_activity(task)
    assert (await last(d, "ActivityTaskFailed")).retry_state == 7


async def test_cancel_request_against_a_buffered_completion(d: Driver) -> None:
    await begin(d)
    activity = await d.poll_activity()
    await d.signal()
    task = await d.poll()
    await d.complete_activity(activity)
    await d.answer(task, cancel_activity(5))
    assert (await d.names())[-4:] == [
        "ActivityTaskCancelRequested",
        "ActivityTaskStarted",
        "ActivityTaskCompleted",
        "WorkflowTaskScheduled",
    ]


async def test_by_id(d: Driver) -> None:
    await d.start()
    await d.turn(schedule_activity("a"), schedule_activity("b"), schedule_activity("c"))
    await d.engine.respond_activity_task_completed_by_id(
        ws.RespondActivityTaskCompletedByIdRequest("default", "w", "", "a", payloads(b"1"), "me")
    )
    assert (await d.names())[-3:] == ["ActivityTaskStarted", "ActivityTaskCompleted", "WorkflowTaskScheduled"]
    with pytest.raises(RPCError) as refused:
        await d.engine.respond_activity_task_failed_by_id(
            ws.RespondActivityTaskFailedByIdRequest("default", "w", "", "b", application_failure())
        )
    assert refused.value.status is RPCStatusCode.NOT_FOUND
    await d.poll_activity()
    await d.engine.record_activity_task_heartbeat_by_id(
        ws.RecordActivityTaskHeartbeatByIdRequest("default", "w", "", "b", payloads(b"5"))
    )
    assert (await d.describe()).pending_activities[0].heartbeat_details == payloads(b"5")
    await d.engine.respond_activity_task_failed_by_id(
        ws.RespondActivityTaskFailedByIdRequest("default", "w", "", "b", application_failure(non_retryable=True))
    )
    assert (await d.names())[-1] == "ActivityTaskFailed"


async def test_a_wrong_kind_of_failure_is_refused(d: Driver) -> None:
    from perdure.api.failure import v1 as failure_v1

    await begin(d)
    task = await d.poll_activity()
    with pytest.raises(RPCError) as refused:
        await d.fail_activity(task, failure_v1.Failure("x", canceled_failure_info=failure_v1.CanceledFailureInfo()))
    assert refused.value.status is RPCStatusCode.INVALID_ARGUMENT
    await d.complete_activity(task)


async def test_oversize_results_and_heartbeats_fail_the_activity(d: Driver) -> None:
    big = common_v1.Payloads([common_v1.Payload(data=b"x" * (2 * 1024 * 1024 + 1))])
    await d.start()
    await d.turn(schedule_activity("a"), schedule_activity("b"))
    first, second = await d.poll_activity(), await d.poll_activity()
    await d.engine.respond_activity_task_completed(ws.RespondActivityTaskCompletedRequest(first.task_token, big))
    assert (await last(d, "ActivityTaskFailed")).failure.message == "Complete result exceeds size limit."
    answer = await d.engine.record_activity_task_heartbeat(
        ws.RecordActivityTaskHeartbeatRequest(second.task_token, big)
    )
    assert answer.cancel_requested
    assert (await last(d, "ActivityTaskFailed")).failure.message == "Heartbeat details exceed size limit."


async def test_activities_of_a_closed_run_are_gone(d: Driver) -> None:
    await begin(d)
    task = await d.poll_activity()
    await d.signal()
    await d.turn(complete())
    with pytest.raises(RPCError) as late:
        await d.complete_activity(task)
    assert late.value.status is RPCStatusCode.NOT_FOUND


async def test_a_thousand_activities_in_one_task(d: Driver) -> None:
    await d.start()
    await d.turn(*(schedule_activity(str(i)) for i in range(1000)), start_timer())
    for _ in range(1000):
        await d.complete_activity(await d.poll_activity())
    assert (await d.names()).count("ActivityTaskCompleted") == 1000


async def test_too_many_pending_activities(d: Driver) -> None:
    await d.start()
    task = await d.poll()
    with pytest.raises(RPCError):
        await d.answer(task, *(schedule_activity(str(i)) for i in range(2001)))
    assert (await d.history())[3].attributes.cause == 27


async def test_an_oversize_failure_is_replaced_and_final(d: Driver) -> None:
    await begin(d)
    await d.fail_activity(await d.poll_activity(), application_failure("x" * (2 * 1024 * 1024 + 1)))
    failed = await last(d, "ActivityTaskFailed")
    assert failed.failure.message == "Failure exceeds size limit."
    assert failed.retry_state == 2


async def test_polls_that_ended_leave_nothing_in_their_queue(d: Driver) -> None:
    for _ in range(3):
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(d.poll_activity("empty"), 0.001)
    queue = d.engine._core.matching._queues
    assert sum(len(q.pollers) for q in queue.values() if q.name == "empty") <= 1
