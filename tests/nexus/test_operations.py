"""Nexus operations of workflows: from the command to the event that ends one."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from perdure.api.common import v1 as common_v1
from perdure.api.enums.v1 import (
    NexusOperationCancellationState,
    PendingNexusOperationState,
    TimeoutType,
    WorkflowTaskFailedCause,
)
from perdure.api.failure import v1 as failure_v1
from perdure.api.workflowservice import v1 as ws
from perdure.service import RPCError, RPCStatusCode
from tests.engine.driver import S, application_failure, complete, name, queue, start_timer
from tests.nexus.driver import TOKEN, URL, NexusDriver, call, cancel_call, handler_error, payload

BACKING_OFF = int(PendingNexusOperationState.PENDING_NEXUS_OPERATION_STATE_BACKING_OFF)
STARTED = int(PendingNexusOperationState.PENDING_NEXUS_OPERATION_STATE_STARTED)
SCHEDULED = int(PendingNexusOperationState.PENDING_NEXUS_OPERATION_STATE_SCHEDULED)
_Cancel = NexusOperationCancellationState
_BAD_SCHEDULE = WorkflowTaskFailedCause.WORKFLOW_TASK_FAILED_CAUSE_BAD_SCHEDULE_NEXUS_OPERATION_ATTRIBUTES
_BAD_CANCEL = WorkflowTaskFailedCause.WORKFLOW_TASK_FAILED_CAUSE_BAD_REQUEST_CANCEL_NEXUS_OPERATION_ATTRIBUTES


async def calling(d: NexusDriver, **options: Any) -> int:
    """A workflow that called the operation; returns the event's id."""
    await d.start()
    await d.turn(call(**options))
    return 5


async def failure_of(d: NexusDriver, kind: str) -> failure_v1.Failure:
    """The cause of the failure in the workflow's event of that kind."""
    event = next(event for event in await d.history() if name(event) == kind)
    failure = event.attributes.failure
    assert failure.message == "nexus operation completed unsuccessfully"
    info = failure.nexus_operation_execution_failure_info
    assert (info.scheduled_event_id, info.endpoint, info.service, info.operation) == (5, "ep", "s", "op")
    return failure.cause


# ---- what comes of a start request


async def test_a_handler_may_answer_at_once(d: NexusDriver) -> None:
    await calling(d, nexus_header={"k": "v"})
    scheduled = (await d.history())[-1].attributes
    assert (scheduled.endpoint, scheduled.service, scheduled.operation) == ("ep", "s", "op")
    assert (scheduled.endpoint_id != "", scheduled.request_id != "") == (True, True)
    [pending] = await d.pending()
    assert (pending.state, pending.attempt, pending.scheduled_event_id) == (SCHEDULED, 1, 5)
    task = await d.poll_nexus()
    request = task.request
    assert request is not None
    assert request.start_operation is not None
    start = request.start_operation
    assert (start.service, start.operation, start.payload, start.callback) == ("s", "op", payload(b"1"), URL)
    assert (start.request_id, TOKEN in start.callback_header) == (scheduled.request_id, True)
    assert (request.header["k"], request.endpoint) == ("v", "ep")
    assert request.header["request-timeout"] == "10000ms"
    [link] = start.links
    assert link.type == "temporal.api.common.v1.Link.WorkflowEvent"
    assert link.url.endswith("/history?eventID=5&eventType=NexusOperationScheduled&referenceType=EventReference")
    await d.answer_start(task)
    assert (await d.last()).result == payload(b"2")
    assert (await d.names())[-3:] == ["NexusOperationScheduled", "NexusOperationCompleted", "WorkflowTaskScheduled"]
    assert await d.pending() == []
    await d.turn(complete())


async def test_an_operation_may_go_on_as_a_workflow(d: NexusDriver) -> None:
    await calling(d)
    task = await d.poll_nexus()
    await d.run_behind(task)
    await d.answer_later(task)
    started = await d.last()
    assert (started.operation_token, started.operation_id, started.scheduled_event_id) == ("t", "t", 5)
    [pending] = await d.pending()
    assert (pending.state, pending.operation_token) == (STARTED, "t")
    await d.turn()
    await d.answer(await d.poll(queue("hq")), complete(b'"done"'))
    await d.settle()
    assert (await d.last()).result == payload(b'"done"')
    assert (await d.names())[-2:] == ["NexusOperationCompleted", "WorkflowTaskScheduled"]


async def test_a_handler_may_refuse_or_fail(d: NexusDriver) -> None:
    await calling(d)
    await d.answer_failed(await d.poll_nexus(), application_failure("broken"))
    assert (await failure_of(d, "NexusOperationFailed")).message == "broken"


async def test_an_operation_may_end_as_cancelled(d: NexusDriver) -> None:
    await calling(d)
    gone = failure_v1.Failure("gone", canceled_failure_info=failure_v1.CanceledFailureInfo())
    await d.answer_failed(await d.poll_nexus(), gone)
    assert (await failure_of(d, "NexusOperationCanceled")).message == "gone"


@pytest.mark.parametrize("kind", ["INTERNAL", "RESOURCE_EXHAUSTED", "UNAVAILABLE", "UPSTREAM_TIMEOUT"])
async def test_some_handler_errors_are_tried_again(d: NexusDriver, kind: str) -> None:
    await calling(d)
    first = await d.poll_nexus()
    await d.fail_nexus(first, handler_error(kind))
    [pending] = await d.pending()
    assert pending.last_attempt_failure is not None
    assert (pending.state, pending.attempt, pending.last_attempt_failure.message) == (BACKING_OFF, 2, "no")
    assert pending.next_attempt_schedule_time == d.clock.now + S
    await d.advance(0.9)
    assert not await d.has_nexus_task()
    await d.advance(0.1)
    second = await d.poll_nexus()
    assert first.request is not None
    assert second.request is not None
    assert first.request.start_operation == second.request.start_operation
    await d.answer_start(second)
    assert (await d.names())[-2:] == ["NexusOperationCompleted", "WorkflowTaskScheduled"]


@pytest.mark.parametrize(
    "kind", ["BAD_REQUEST", "UNAUTHENTICATED", "UNAUTHORIZED", "NOT_FOUND", "NOT_IMPLEMENTED", "CONFLICT"]
)
async def test_other_handler_errors_end_the_operation(d: NexusDriver, kind: str) -> None:
    await calling(d)
    await d.fail_nexus(await d.poll_nexus(), handler_error(kind))
    cause = await failure_of(d, "NexusOperationFailed")
    assert cause.nexus_handler_failure_info is not None
    assert cause.nexus_handler_failure_info.type == kind


@pytest.mark.parametrize(("kind", "behavior", "is_final"), [("INTERNAL", 2, True), ("BAD_REQUEST", 1, False)])
async def test_an_error_may_say_itself_whether_to_try_again(
    d: NexusDriver, kind: str, behavior: int, is_final: bool
) -> None:
    await calling(d)
    await d.fail_nexus(await d.poll_nexus(), handler_error(kind, retry_behavior=behavior))
    assert bool(await d.pending()) is not is_final


async def test_backoffs_double_up_to_an_hour(d: NexusDriver) -> None:
    await calling(d)
    waits = []
    for _ in range(14):
        await d.fail_nexus(await d.poll_nexus(), handler_error())
        [pending] = await d.pending()
        assert pending.next_attempt_schedule_time is not None
        waits.append((pending.next_attempt_schedule_time - d.clock.now) // S)
        await d.advance(waits[-1])
    assert waits == [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 3600, 3600]


async def test_a_worker_that_never_answers_costs_an_attempt(d: NexusDriver) -> None:
    await calling(d)
    lost = await d.poll_nexus()
    await d.advance(10)
    [pending] = await d.pending()
    assert pending.last_attempt_failure is not None
    info = pending.last_attempt_failure.nexus_handler_failure_info
    assert info is not None
    assert (pending.state, info.type) == (BACKING_OFF, "UPSTREAM_TIMEOUT")
    with pytest.raises(RPCError, match="not found") as caught:
        await d.answer_start(lost)
    assert caught.value.status is RPCStatusCode.NOT_FOUND
    await d.advance(1)
    await d.answer_start(await d.poll_nexus())
    assert await d.pending() == []


async def test_waiting_for_a_worker_costs_none(d: NexusDriver) -> None:
    await calling(d)
    await d.advance(100_000)
    [pending] = await d.pending()
    assert (pending.state, pending.attempt) == (SCHEDULED, 1)
    assert await d.has_nexus_task()


async def test_an_answer_counts_once(d: NexusDriver) -> None:
    await calling(d)
    task = await d.poll_nexus()
    await d.answer_start(task)
    with pytest.raises(RPCError, match="not found"):
        await d.answer_start(task)
    assert (await d.names()).count("NexusOperationCompleted") == 1


async def test_a_result_may_be_too_large(d: NexusDriver) -> None:
    await calling(d)
    await d.answer_start(await d.poll_nexus(), b"1" * (2 * 1024 * 1024 + 1))
    assert (await failure_of(d, "NexusOperationFailed")).message == "http: response body too large"


async def test_a_token_may_be_too_long(d: NexusDriver) -> None:
    await calling(d)
    await d.answer_later(await d.poll_nexus(), "t" * 4097)
    assert "invalid operation token" in (await failure_of(d, "NexusOperationFailed")).message


# ---- endpoints


async def test_an_endpoint_must_exist(d: NexusDriver) -> None:
    await d.start()
    task = await d.poll()
    with pytest.raises(RPCError, match="endpoint"):
        await d.answer(task, call(endpoint="nowhere"))
    history = await d.history()
    assert name(history[-1]) == "WorkflowTaskFailed"
    assert history[-1].attributes.cause == _BAD_SCHEDULE


async def test_an_endpoint_may_lead_to_another_namespace(d: NexusDriver) -> None:
    await d.engine.register_namespace(
        ws.RegisterNamespaceRequest("there", workflow_execution_retention_period=86_400 * S)
    )
    await d.create_endpoint("far", "fq", "there")
    await calling(d, endpoint="far")
    request = ws.PollNexusTaskQueueRequest("there", "handler", queue("fq"))
    task = await asyncio.wait_for(d.engine.poll_nexus_task_queue(request), 5)
    await d.answer_start(task)
    assert (await d.names())[-2:] == ["NexusOperationCompleted", "WorkflowTaskScheduled"]


# ---- timeouts


@pytest.mark.parametrize(
    ("option", "kind", "seconds"),
    [
        ("schedule_to_close_timeout", TimeoutType.TIMEOUT_TYPE_SCHEDULE_TO_CLOSE, 5),
        ("schedule_to_start_timeout", TimeoutType.TIMEOUT_TYPE_SCHEDULE_TO_START, 5),
    ],
)
async def test_an_operation_must_be_started_in_time(
    d: NexusDriver, option: str, kind: TimeoutType, seconds: int
) -> None:
    await calling(d, **{option: seconds * S})
    await d.advance(seconds - 0.1)
    assert await d.pending()
    await d.advance(0.1)
    cause = await failure_of(d, "NexusOperationTimedOut")
    assert cause.timeout_failure_info is not None
    assert (cause.message, cause.timeout_failure_info.timeout_type) == ("operation timed out", kind)
    assert not await d.has_nexus_task() or (await d.pending()) == []


async def test_a_void_task_is_not_handed_out(d: NexusDriver) -> None:
    await calling(d, schedule_to_close_timeout=S)
    await d.settle()
    await d.advance(1)
    poll = asyncio.ensure_future(d.poll_nexus())
    await d.turn(call("second"))
    task = await poll
    assert task.request is not None
    assert task.request.start_operation is not None
    assert task.request.start_operation.operation == "second"


@pytest.mark.parametrize(
    ("option", "kind"),
    [
        ("schedule_to_close_timeout", TimeoutType.TIMEOUT_TYPE_SCHEDULE_TO_CLOSE),
        ("start_to_close_timeout", TimeoutType.TIMEOUT_TYPE_START_TO_CLOSE),
    ],
)
async def test_what_was_started_must_end_in_time(d: NexusDriver, option: str, kind: TimeoutType) -> None:
    await calling(d, **{option: 8 * S})
    task = await d.poll_nexus()
    assert task.request is not None
    assert task.request.header["operation-timeout"] == "8000ms"
    await d.answer_later(task)
    await d.advance(8)
    cause = await failure_of(d, "NexusOperationTimedOut")
    assert cause.timeout_failure_info is not None
    assert cause.timeout_failure_info.timeout_type == kind


async def test_a_start_ends_the_wait_for_a_start(d: NexusDriver) -> None:
    await calling(d, schedule_to_start_timeout=5 * S)
    task = await d.poll_nexus()
    assert task.request is not None
    assert task.request.header["request-timeout"] == "5000ms"
    await d.answer_later(task)
    await d.advance(50)
    assert (await d.pending())[0].state == STARTED


async def test_an_operation_never_outlives_its_workflow(d: NexusDriver) -> None:
    await d.start(workflow_run_timeout=20 * S)
    await d.turn(call(schedule_to_close_timeout=100 * S))
    assert (await d.history())[-1].attributes.schedule_to_close_timeout == 20 * S


async def test_backing_off_does_not_pass_the_timeout(d: NexusDriver) -> None:
    await calling(d, schedule_to_close_timeout=3 * S)
    for wait in (1, 2):
        await d.fail_nexus(await d.poll_nexus(), handler_error())
        await d.advance(wait)
    await failure_of(d, "NexusOperationTimedOut")


# ---- cancellation


async def cancelling(d: NexusDriver) -> None:
    """A workflow whose operation was started and then asked to cancel."""
    await calling(d)
    await d.answer_later(await d.poll_nexus())
    await d.turn(cancel_call(5))


async def test_a_started_operation_is_asked_to_cancel(d: NexusDriver) -> None:
    await cancelling(d)
    assert (await d.names())[-1] == "NexusOperationCancelRequested"
    task = await d.poll_nexus()
    assert task.request is not None
    assert task.request.cancel_operation is not None
    cancel = task.request.cancel_operation
    assert (cancel.service, cancel.operation, cancel.operation_token) == ("s", "op", "t")
    await d.answer_cancel(task)
    assert (await d.names())[-2:] == ["NexusOperationCancelRequestCompleted", "WorkflowTaskScheduled"]
    [pending] = await d.pending()
    assert pending.cancellation_info is not None
    assert pending.cancellation_info.state == _Cancel.NEXUS_OPERATION_CANCELLATION_STATE_SUCCEEDED


async def test_a_request_to_cancel_is_tried_again(d: NexusDriver) -> None:
    await cancelling(d)
    await d.fail_nexus(await d.poll_nexus(), handler_error())
    [pending] = await d.pending()
    assert pending.cancellation_info is not None
    assert pending.cancellation_info.state == _Cancel.NEXUS_OPERATION_CANCELLATION_STATE_BACKING_OFF
    await d.advance(1)
    await d.answer_cancel(await d.poll_nexus())
    assert "NexusOperationCancelRequestCompleted" in await d.names()


async def test_a_request_to_cancel_may_be_refused(d: NexusDriver) -> None:
    await cancelling(d)
    await d.fail_nexus(await d.poll_nexus(), handler_error("NOT_IMPLEMENTED"))
    assert (await d.names())[-2:] == ["NexusOperationCancelRequestFailed", "WorkflowTaskScheduled"]
    [pending] = await d.pending()
    assert pending.cancellation_info is not None
    assert (pending.state, pending.cancellation_info.state) == (
        STARTED,
        _Cancel.NEXUS_OPERATION_CANCELLATION_STATE_FAILED,
    )


async def test_what_has_no_token_yet_is_cancelled_later(d: NexusDriver) -> None:
    await calling(d)
    start = await d.poll_nexus()
    await d.signal()
    await d.turn(cancel_call(5))
    await d.settle()
    assert not await d.has_nexus_task()
    await d.answer_later(start)
    task = await d.poll_nexus()
    assert task.request is not None
    assert task.request.cancel_operation is not None


async def test_what_ended_needs_no_cancellation(d: NexusDriver) -> None:
    await calling(d)
    start = await d.poll_nexus()
    await d.signal()
    await d.turn(cancel_call(5))
    await d.answer_start(start)
    await d.settle()
    assert not await d.has_nexus_task()
    assert (await d.names())[-2:] == ["NexusOperationCompleted", "WorkflowTaskScheduled"]


async def test_an_operation_is_asked_to_cancel_once(d: NexusDriver) -> None:
    await cancelling(d)
    await d.signal()
    task = await d.poll()
    with pytest.raises(RPCError):
        await d.answer(task, cancel_call(5))


async def test_nobody_cancels_what_is_not_there(d: NexusDriver) -> None:
    await d.start()
    task = await d.poll()
    with pytest.raises(RPCError, match="5"):
        await d.answer(task, cancel_call(5))
    assert (await d.history())[-1].attributes.cause == _BAD_CANCEL


# ---- the workflow's own end


async def test_a_closed_workflow_takes_no_answer(d: NexusDriver) -> None:
    await calling(d)
    task = await d.poll_nexus()
    await d.terminate()
    await d.answer_start(task)
    assert (await d.names())[-1] == "WorkflowExecutionTerminated"
    assert await d.pending() == []


async def test_a_closing_workflow_leaves_what_it_started(d: NexusDriver) -> None:
    await calling(d)
    task = await d.poll_nexus()
    await d.run_behind(task)
    await d.answer_later(task)
    await d.turn(complete())
    assert await d.status("h") == 1
    await d.answer(await d.poll(queue("hq")), complete())
    await d.settle()
    [callback] = await d.callbacks("h")
    assert callback.last_attempt_failure is not None
    assert (callback.state, "not found" in callback.last_attempt_failure.message) == (4, True)


async def test_a_reset_takes_the_operation_along(d: NexusDriver) -> None:
    await d.start()
    await d.turn(start_timer(seconds=100))
    await d.signal()
    await d.turn(call())
    task = await d.poll_nexus()
    await d.run_behind(task)
    await d.answer_later(task)
    await d.turn()
    await d.engine.reset_workflow_execution(
        ws.ResetWorkflowExecutionRequest(
            "default",
            common_v1.WorkflowExecution("w"),
            "because",
            (await d.history())[-1].event_id,
            "reset",
        )
    )
    await d.settle()
    [pending] = await d.pending()
    assert pending.state == STARTED
    await d.answer(await d.poll(queue("hq")), complete(b"7"))
    await d.settle()
    assert "NexusOperationCompleted" in await d.names()
