"""Updates of one run: their stages, what they leave in history, who hears of them."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from perdure.api.protocol import v1 as protocol_v1
from perdure.api.workflowservice import v1 as ws
from perdure.service import RPCError, RPCStatusCode
from tests.engine.driver import Driver, complete, payloads, queue, schedule_activity, start_timer
from tests.engine.update_driver import (
    ACCEPTED,
    ADMITTED,
    COMPLETED,
    IDLE,
    STICKY,
    TASK,
    Updating,
    accept,
    accept_and_complete,
    acceptance,
    be_there,
    idle_run,
    reject,
    rejection,
    response,
    said,
    sticky_poll,
    update_request,
)

ACCEPTED_EVENT = "WorkflowExecutionUpdateAccepted"
COMPLETED_EVENT = "WorkflowExecutionUpdateCompleted"


@pytest.fixture
def u(d: Driver) -> Updating:
    """The driven engine, for updates."""
    return Updating(d)


# ---- the speculative workflow task


async def test_an_accepted_update_makes_its_speculative_task_part_of_history(d: Driver, u: Updating) -> None:
    await idle_run(d)
    asked = await u.update()
    assert await d.names() == IDLE
    task = await sticky_poll(d)
    assert [event.event_id for event in task.history.events] == [4, 5, 6]
    assert task.started_event_id == 6
    assert [(m.id, m.protocol_instance_id, m.event_id) for m in task.messages] == [("u/request", "u", 5)]
    assert await d.names() == IDLE
    await accept_and_complete(d, task)
    answer = await asked
    assert answer.stage == COMPLETED
    assert answer.outcome is not None
    assert answer.outcome.success == payloads(b"2")
    assert answer.link is not None
    assert answer.link.workflow_event is not None
    assert answer.link.workflow_event.request_id_ref is not None
    assert answer.link.workflow_event.request_id_ref.event_type == 41
    assert await d.names() == [*IDLE, *TASK, ACCEPTED_EVENT, COMPLETED_EVENT]
    accepted, completed = (await d.history())[-2:]
    assert accepted.attributes.protocol_instance_id == "u"
    assert accepted.attributes.accepted_request_message_id == "u/request"
    assert accepted.attributes.accepted_request_sequencing_event_id == 5
    assert accepted.attributes.accepted_request.input.name == "set"
    assert completed.attributes.accepted_event_id == accepted.event_id
    assert completed.attributes.meta.update_id == "u"


async def test_a_refused_update_leaves_no_trace(d: Driver, u: Updating) -> None:
    await idle_run(d)
    for _ in range(3):
        asked = await u.update()
        task = await sticky_poll(d)
        assert task.started_event_id == 6
        answer = await reject(d, task)
        assert answer.reset_history_event_id == 3
        result = await asked
        assert result.stage == COMPLETED
        assert result.outcome is not None
        assert result.outcome.failure is not None
        assert result.outcome.failure.message == "refused"
        assert result.link is not None
        assert result.link.workflow is not None
        assert result.link.workflow.reason == "Update rejected"
    assert await d.names() == IDLE
    with pytest.raises(RPCError, match="update 'u' not found"):
        await u.poll()


async def test_a_refusal_is_written_when_the_task_made_commands(d: Driver, u: Updating) -> None:
    await idle_run(d)
    asked = await u.update()
    task = await sticky_poll(d)
    await d.answer(task, schedule_activity(), messages=[rejection(task.messages[0])], **STICKY)
    assert (await asked).stage == COMPLETED
    assert await d.names() == [*IDLE, *TASK, "ActivityTaskScheduled"]


@pytest.mark.parametrize(
    ("timers", "bears_it", "is_discarded"), [(1, False, False), (1, True, True), (10, True, True), (11, True, False)]
)
async def test_events_in_between_are_sent_again_to_workers_that_bear_it(
    d: Driver, u: Updating, timers: int, bears_it: bool, is_discarded: bool
) -> None:
    await d.start()
    await be_there(d)
    await d.turn(*[start_timer(str(number), 100) for number in range(timers)], **STICKY)
    asked = await u.update()
    task = await sticky_poll(d)
    assert len(task.history.events) == timers + 3
    answer = await reject(d, task, **({} if bears_it else {"capabilities": None}))
    assert (await asked).stage == COMPLETED
    assert answer.reset_history_event_id == (3 if is_discarded else 0)
    assert await d.names() == [*IDLE, *["TimerStarted"] * timers, *([] if is_discarded else TASK)]


async def test_a_signal_makes_a_waiting_speculative_task_a_normal_one(d: Driver, u: Updating) -> None:
    await idle_run(d)
    asked = await u.update()
    await d.signal()
    assert await d.names() == [*IDLE, "WorkflowTaskScheduled", "WorkflowExecutionSignaled"]
    task = await sticky_poll(d)
    await reject(d, task)
    assert (await asked).stage == COMPLETED
    assert await d.names() == [*IDLE, "WorkflowTaskScheduled", "WorkflowExecutionSignaled", *TASK[1:]]


async def test_a_signal_makes_a_started_speculative_task_a_normal_one(d: Driver, u: Updating) -> None:
    await idle_run(d)
    asked = await u.update()
    task = await sticky_poll(d)
    await d.signal()
    assert await d.names() == [*IDLE, *TASK[:2]]
    answer = await reject(d, task)
    assert (await asked).stage == COMPLETED
    assert answer.reset_history_event_id == 0
    assert await d.names() == [*IDLE, *TASK, "WorkflowExecutionSignaled", *TASK[:2]]
    assert answer.workflow_task.history.events[-3].event_id == 8
    await d.answer(answer.workflow_task)
    assert (await d.names())[-1] == "WorkflowTaskCompleted"


async def test_a_change_without_events_leaves_a_speculative_task_as_it_is(d: Driver, u: Updating) -> None:
    await d.start()
    await be_there(d)
    await d.turn(schedule_activity(), **STICKY)
    asked = await u.update()
    task = await sticky_poll(d)
    await d.poll_activity()
    await d.settle()
    await reject(d, task)
    await asked
    assert await d.names() == [*IDLE, "ActivityTaskScheduled"]


async def test_a_speculative_task_that_fails_is_written_and_its_updates_are_sent_again(d: Driver, u: Updating) -> None:
    await idle_run(d)
    asked = await u.update()
    task = await sticky_poll(d)
    await d.fail_task(task)
    assert await d.names() == [*IDLE, *TASK[:2], "WorkflowTaskFailed", "WorkflowTaskScheduled"]
    task = await d.poll()
    assert [message.id for message in task.messages] == ["u/request"]
    await accept_and_complete(d, task)
    assert (await asked).stage == COMPLETED


async def test_a_speculative_task_that_times_out_is_written(d: Driver, u: Updating) -> None:
    await idle_run(d)
    asked = await u.update()
    await sticky_poll(d)
    await d.advance(11)
    assert await d.names() == [*IDLE, *TASK[:2], "WorkflowTaskTimedOut", "WorkflowTaskScheduled"]
    await accept_and_complete(d, await d.poll())
    assert (await asked).stage == COMPLETED


@pytest.mark.parametrize(("is_sticky", "seconds"), [(True, 10.1), (False, 5.1)])
async def test_a_speculative_task_nobody_takes_times_out_and_goes_to_the_normal_queue(
    d: Driver, u: Updating, is_sticky: bool, seconds: float
) -> None:
    await idle_run(d, **({} if is_sticky else {"sticky_attributes": None}))
    asked = await u.update()
    await d.advance(seconds)
    assert await d.names() == [*IDLE, "WorkflowTaskScheduled", "WorkflowTaskTimedOut", "WorkflowTaskScheduled"]
    await accept_and_complete(d, await d.poll())
    assert (await asked).stage == COMPLETED


async def test_a_late_answer_to_a_discarded_task_is_not_taken_for_the_next_one(d: Driver, u: Updating) -> None:
    await idle_run(d)
    first = await u.update("a")
    early = await sticky_poll(d)
    await reject(d, early)
    await first
    second = await u.update("b")
    late = await sticky_poll(d)
    assert late.started_event_id == early.started_event_id
    with pytest.raises(RPCError, match="Workflow task not found"):
        await reject(d, early)
    await accept_and_complete(d, late)
    assert (await second).stage == COMPLETED


# ---- delivery


async def test_an_update_rides_along_with_a_waiting_task(d: Driver, u: Updating) -> None:
    await d.start()
    asked = await u.update()
    task = await d.poll()
    assert [message.event_id for message in task.messages] == [2]
    await accept_and_complete(d, task)
    await asked
    assert await d.names() == [*IDLE, ACCEPTED_EVENT, COMPLETED_EVENT]


async def test_an_update_that_comes_while_a_task_is_out_gets_the_next_one(d: Driver, u: Updating) -> None:
    await d.start()
    task = await d.poll()
    asked = await u.update()
    answer = await d.answer(task, **STICKY)
    assert [message.id for message in answer.workflow_task.messages] == ["u/request"]
    answer = await reject(d, answer.workflow_task)
    assert (await asked).stage == COMPLETED
    assert answer.workflow_task is None
    assert await d.names() == IDLE


async def test_without_a_cache_the_task_after_is_a_normal_one(d: Driver, u: Updating) -> None:
    await d.start()
    task = await d.poll()
    asked = await u.update()
    await d.answer(task)
    assert await d.names() == [*IDLE, "WorkflowTaskScheduled"]
    await reject(d, await d.poll())
    assert (await asked).stage == COMPLETED


async def test_updates_are_sent_in_the_order_they_came(d: Driver, u: Updating) -> None:
    await idle_run(d)
    for name in "cab":
        (await u.update(name)).cancel()
    task = await sticky_poll(d)
    assert [message.protocol_instance_id for message in task.messages] == ["c", "a", "b"]


async def test_an_update_of_a_delayed_run_waits_for_its_first_task(d: Driver, u: Updating) -> None:
    await d.start(workflow_start_delay=60_000_000_000)
    asked = await u.update()
    assert await d.names() == IDLE[:1]
    await d.advance(61)
    await accept_and_complete(d, await d.poll())
    assert (await asked).stage == COMPLETED


async def test_an_update_comes_after_the_events_of_its_task(d: Driver, u: Updating) -> None:
    await d.start()
    task = await d.poll()
    await d.signal()
    asked = await u.update()
    await d.signal()
    answer = await d.answer(task, **STICKY)
    events = [event.event_id for event in answer.workflow_task.history.events]
    assert answer.workflow_task.messages[0].event_id == events[-2]
    await accept_and_complete(d, answer.workflow_task)
    assert (await asked).stage == COMPLETED


async def test_an_unanswered_update_is_rejected_by_the_service(d: Driver, u: Updating) -> None:
    await idle_run(d)
    asked = await u.update()
    await d.answer(await sticky_poll(d), **STICKY)
    outcome = (await asked).outcome
    assert outcome is not None
    assert outcome.failure is not None
    assert outcome.failure.application_failure_info is not None
    assert outcome.failure.application_failure_info.type == "UnprocessedUpdate"
    assert outcome.failure.application_failure_info.non_retryable


async def test_a_heartbeat_leaves_its_updates_with_the_worker(d: Driver, u: Updating) -> None:
    await idle_run(d)
    asked = await u.update()
    answer = await d.answer(await sticky_poll(d), force_create_new_workflow_task=True, **STICKY)
    assert answer.workflow_task.messages == []
    assert await d.names() == [*IDLE, *TASK, *TASK[:2]]
    task = answer.workflow_task
    messages = [response("u")]
    accepted = acceptance(protocol_v1.Message("u/request", "u", task.started_event_id - 1))
    await d.answer(task, *said(accepted, *messages), messages=[accepted, *messages], **STICKY)
    assert (await asked).stage == COMPLETED


# ---- waiting


async def test_who_waits_for_acceptance_hears_of_it_alone(d: Driver, u: Updating) -> None:
    await idle_run(d)
    early = await u.update(stage=ACCEPTED)
    patient = await u.update()
    await accept(d, await sticky_poll(d))
    answer = await early
    assert (answer.stage, answer.outcome) == (ACCEPTED, None)
    assert answer.update_ref is not None
    assert answer.update_ref.update_id == "u"
    assert answer.update_ref.workflow_execution is not None
    assert answer.update_ref.workflow_execution.run_id
    assert not patient.done()
    assert (await u.poll()).stage == ACCEPTED
    await d.signal()
    await d.answer(await sticky_poll(d), *said(response()), messages=[response()])
    assert (await patient).stage == COMPLETED
    assert (await u.poll(stage=COMPLETED)).outcome == (await patient).outcome


async def test_acceptance_brings_the_outcome_that_came_with_it(d: Driver, u: Updating) -> None:
    await idle_run(d)
    asked = await u.update(stage=ACCEPTED)
    await accept_and_complete(d, await sticky_poll(d))
    answer = await asked
    assert answer.stage == COMPLETED
    assert answer.outcome is not None


async def test_the_callers_own_deadline_is_an_error(d: Driver, u: Updating) -> None:
    await idle_run(d)
    asked = await u.update(timeout=0.01)
    with pytest.raises(RPCError) as error:
        await asked
    assert error.value.status is RPCStatusCode.DEADLINE_EXCEEDED
    again = await u.update()
    await accept_and_complete(d, await sticky_poll(d))
    assert (await again).stage == COMPLETED


async def test_a_long_poll_ends_with_the_stage_reached(d: Driver, u: Updating, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("perdure.engine.limits.LONG_POLL", 0.02)
    await idle_run(d)
    answer = await (await u.update())
    assert (answer.stage, answer.outcome) == (ADMITTED, None)
    await accept(d, await sticky_poll(d))
    answer = await (await u.update())
    assert (answer.stage, answer.outcome) == (ACCEPTED, None)
    polled = await u.poll(stage=COMPLETED)
    assert (polled.stage, polled.outcome) == (ACCEPTED, None)


async def test_a_cancelled_caller_leaves_the_update_under_way(d: Driver, u: Updating) -> None:
    await idle_run(d)
    asked = await u.update()
    asked.cancel()
    await asyncio.gather(asked, return_exceptions=True)
    assert (await u.poll()).stage == ADMITTED
    await accept_and_complete(d, await sticky_poll(d))
    assert (await u.poll()).stage == COMPLETED


# ---- one id, one update


async def test_an_id_names_one_update_for_the_life_of_the_run(d: Driver, u: Updating) -> None:
    await idle_run(d)
    first, second = await u.update(), await u.update()
    task = await sticky_poll(d)
    assert len(task.messages) == 1
    await accept_and_complete(d, task)
    assert (await first).outcome == (await second).outcome
    assert (await (await u.update())).outcome == (await first).outcome
    await d.signal()
    await d.answer(await sticky_poll(d), complete())
    assert (await (await u.update())).outcome == (await first).outcome
    assert (await u.poll()).outcome == (await first).outcome
    with pytest.raises(RPCError, match="workflow execution already completed"):
        await (await u.update("other"))


async def test_an_id_is_made_up_when_none_is_given(d: Driver, u: Updating) -> None:
    await idle_run(d)
    asked = await u.update("")
    await accept_and_complete(d, await sticky_poll(d))
    answer = await asked
    assert answer.update_ref is not None
    assert len(answer.update_ref.update_id) == 36


# ---- what is refused


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda r: setattr(r, "request", None), "Update meta is not set"),
        (lambda r: setattr(r.request, "meta", None), "Update meta is not set"),
        (lambda r: setattr(r.request.meta, "update_id", "x" * 1001), "UpdateId is longer"),
        (lambda r: setattr(r.request, "input", None), "Update input is not set"),
        (lambda r: setattr(r.request.input, "name", ""), "Update name is not set"),
        (lambda r: setattr(r.request.input, "args", payloads(b"x" * 2_100_000)), "more than the limit"),
        (lambda r: setattr(r, "workflow_execution", None), "WorkflowId is not set"),
        (lambda r: setattr(r.wait_policy, "lifecycle_stage", ADMITTED), "waiting on update admitted"),
        (lambda r: setattr(r, "first_execution_run_id", "other"), "workflow execution not found"),
    ],
)
async def test_bad_requests(d: Driver, change: Any, text: str) -> None:
    await d.start()
    request = update_request()
    change(request)
    with pytest.raises(RPCError, match=text):
        await d.engine.update_workflow_execution(request)


async def test_at_most_ten_are_in_flight(d: Driver, u: Updating) -> None:
    await idle_run(d)
    asked = [await u.update(f"u{number}", stage=ACCEPTED) for number in range(10)]
    await accept(d, await sticky_poll(d))
    await asyncio.gather(*asked)
    with pytest.raises(RPCError, match="concurrent in-flight updates") as error:
        await (await u.update("more"))
    assert error.value.status is RPCStatusCode.RESOURCE_EXHAUSTED
    await d.signal()
    await d.answer(await sticky_poll(d), *said(response("u3")), messages=[response("u3")], **STICKY)
    more = await u.update("more")
    await accept_and_complete(d, await sticky_poll(d))
    assert (await more).stage == COMPLETED


async def test_payloads_in_flight_are_bounded(d: Driver, u: Updating, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("perdure.engine.limits.MAX_UPDATES_SIZE", 1000)
    await idle_run(d)
    (await u.update("a", arguments=payloads(b"x" * 700))).cancel()
    with pytest.raises(RPCError, match="payload size of in-flight updates"):
        await (await u.update("b", arguments=payloads(b"x" * 300)))


async def test_a_run_takes_so_many_updates(d: Driver, u: Updating, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("perdure.engine.limits.MAX_UPDATES", 3)
    await idle_run(d)
    for number in range(3):
        asked = await u.update(f"u{number}")
        await accept_and_complete(d, await sticky_poll(d))
        await asked
    with pytest.raises(RPCError, match="total number of distinct updates") as error:
        await (await u.update("more"))
    assert error.value.status is RPCStatusCode.FAILED_PRECONDITION
    assert (await (await u.update("u1"))).stage == COMPLETED


async def test_many_updates_suggest_to_continue_as_new(d: Driver, u: Updating) -> None:
    await idle_run(d)
    execution = (await d.describe()).workflow_execution_info.execution
    run = d.engine._core.cached(execution.run_id)
    run.state.updates = {f"u{number}": (0, 1, 2) for number in range(1800)}
    await d.signal()
    await sticky_poll(d)
    started = (await d.history())[-1].attributes
    assert started.suggest_continue_as_new
    assert started.suggest_continue_as_new_reasons == [3]


async def test_a_run_whose_tasks_fail_takes_no_update(d: Driver, u: Updating) -> None:
    await d.start()
    await d.fail_task(await d.poll())
    await d.advance(1)
    await d.fail_task(await d.poll())
    with pytest.raises(RPCError, match="Workflow Task in failed state") as error:
        await (await u.update())
    assert error.value.status is RPCStatusCode.FAILED_PRECONDITION


async def test_a_paused_run_takes_no_update(d: Driver, u: Updating) -> None:
    await idle_run(d)
    pause = ws.PauseWorkflowExecutionRequest("default", "w")
    await d.engine.pause_workflow_execution(pause)
    with pytest.raises(RPCError, match="Workflow is paused") as error:
        await (await u.update())
    assert error.value.status is RPCStatusCode.FAILED_PRECONDITION


async def test_a_run_that_tries_to_close_takes_no_update(d: Driver, u: Updating) -> None:
    await d.start()
    task = await d.poll()
    await d.signal()
    with pytest.raises(RPCError, match="UnhandledCommand"):
        await d.answer(task, complete())
    await d.poll()
    with pytest.raises(RPCError, match="workflow is closing") as error:
        await (await u.update())
    assert error.value.status is RPCStatusCode.RESOURCE_EXHAUSTED


async def test_polling_what_is_not_there(d: Driver, u: Updating) -> None:
    with pytest.raises(RPCError, match="UpdateRef is not set"):
        await d.engine.poll_workflow_execution_update(ws.PollWorkflowExecutionUpdateRequest("default"))
    with pytest.raises(RPCError, match="workflow not found"):
        await u.poll()
    await d.start()
    with pytest.raises(RPCError, match="update 'u' not found"):
        await u.poll()


async def test_a_task_carries_updates_in_the_normal_queue_too(d: Driver, u: Updating) -> None:
    await idle_run(d, sticky_attributes=None)
    asked = await u.update()
    task = await d.poll(queue("q"))
    assert [event.event_id for event in task.history.events] == [1, 2, 3, 4, 5, 6]
    await accept_and_complete(d, task)
    assert (await asked).stage == COMPLETED
