"""Updates of runs that close, continue, are reset, lose their process; and workers that answer nonsense."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from perdure.api.common import v1 as common_v1
from perdure.api.protocol import v1 as protocol_v1
from perdure.api.update import v1 as update_v1
from perdure.api.workflowservice import v1 as ws
from perdure.engine import Engine
from perdure.service import RPCError, RPCStatusCode
from perdure.store.api import Capability, Store
from tests.engine.driver import (
    Clock,
    Driver,
    complete,
    continue_as_new,
    driving,
    fail,
    payloads,
    schedule_activity,
)
from tests.engine.fragile import FragileStore, abandon
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
    protocol_message,
    rejection,
    response,
    said,
    sticky_poll,
)

ACCEPTED_EVENT = "WorkflowExecutionUpdateAccepted"
COMPLETED_EVENT = "WorkflowExecutionUpdateCompleted"


@pytest.fixture
def u(d: Driver) -> Updating:
    """The driven engine, for updates."""
    return Updating(d)


def failure_type(outcome: update_v1.Outcome | None) -> str:
    """The type of the ApplicationFailure an update ended with."""
    assert outcome is not None
    assert outcome.failure is not None
    assert outcome.failure.application_failure_info is not None
    return outcome.failure.application_failure_info.type


async def any_poll(d: Driver) -> ws.PollWorkflowTaskQueueResponse:
    """The next task, whichever queue it is in."""
    return await (d.poll() if await d.has_workflow_task() else sticky_poll(d))


# ---- the run closes


@pytest.mark.parametrize("is_sent", [False, True])
async def test_an_update_the_workflow_never_took_ends_with_it(d: Driver, u: Updating, is_sent: bool) -> None:
    await idle_run(d)
    asked = await u.update()
    if is_sent:
        await sticky_poll(d)
    await d.terminate()
    with pytest.raises(RPCError, match="aborted by closing workflow") as error:
        await asked
    assert error.value.status is RPCStatusCode.NOT_FOUND
    assert await d.names() == [*IDLE, "WorkflowExecutionTerminated"]


@pytest.mark.parametrize("end", ["terminate", "time out", "complete", "continue as new"])
async def test_an_accepted_update_fails_with_the_end_of_its_workflow(d: Driver, u: Updating, end: str) -> None:
    await idle_run(d) if end != "time out" else await _short_run(d)
    run_id = (await d.describe()).workflow_execution_info.execution.run_id  # type: ignore[union-attr]
    waiting = await u.update()
    await accept(d, await sticky_poll(d))
    assert (await u.poll()).stage == ACCEPTED
    if end == "terminate":
        await d.terminate()
    elif end == "time out":
        await d.advance(31)
    else:
        await d.signal()
        await d.answer(await sticky_poll(d), complete() if end == "complete" else continue_as_new())
    answer = await waiting
    assert answer.stage == COMPLETED
    assert failure_type(answer.outcome) == "AcceptedUpdateCompletedWorkflow"
    polled = await u.poll(run_id=run_id)
    assert polled.stage == COMPLETED
    assert failure_type(polled.outcome) == "AcceptedUpdateCompletedWorkflow"
    assert failure_type((await (await u.update(run_id=run_id))).outcome) == "AcceptedUpdateCompletedWorkflow"


async def _short_run(d: Driver) -> None:
    await d.start(workflow_run_timeout=30_000_000_000)
    await be_there(d)
    await d.turn(**STICKY)


async def test_a_workflow_may_accept_and_close_at_once(d: Driver, u: Updating) -> None:
    await idle_run(d)
    early, late = await u.update(stage=ACCEPTED), await u.update()
    await accept(d, await sticky_poll(d), complete())
    for asked in (early, late):
        answer = await asked
        assert answer.stage == COMPLETED
        assert failure_type(answer.outcome) == "AcceptedUpdateCompletedWorkflow"
    assert await d.names() == [*IDLE, *TASK, ACCEPTED_EVENT, "WorkflowExecutionCompleted"]


async def test_a_workflow_may_complete_an_update_and_close_at_once(d: Driver, u: Updating) -> None:
    await idle_run(d)
    asked = await u.update()
    await accept_and_complete(d, await sticky_poll(d), complete())
    answer = await asked
    assert answer.outcome is not None
    assert answer.outcome.success == payloads(b"2")
    assert await d.names() == [*IDLE, *TASK, ACCEPTED_EVENT, COMPLETED_EVENT, "WorkflowExecutionCompleted"]


async def test_a_workflow_may_refuse_an_update_and_close_at_once(d: Driver, u: Updating) -> None:
    await idle_run(d)
    asked = await u.update()
    task = await sticky_poll(d)
    await d.answer(task, complete(), messages=[rejection(task.messages[0])])
    assert (await asked).stage == COMPLETED
    assert await d.names() == [*IDLE, *TASK, "WorkflowExecutionCompleted"]


async def test_messages_behind_the_close_command_come_too_late(d: Driver, u: Updating) -> None:
    await idle_run(d)
    asked = await u.update()
    task = await sticky_poll(d)
    await d.answer(task, complete(), messages=[acceptance(task.messages[0]), response()])
    with pytest.raises(RPCError, match="aborted by closing workflow"):
        await asked
    assert await d.names() == [*IDLE, *TASK, "WorkflowExecutionCompleted"]


async def test_messages_without_commands_come_behind_all_commands(d: Driver, u: Updating) -> None:
    await idle_run(d)
    asked = await u.update()
    task = await sticky_poll(d)
    await d.answer(task, schedule_activity(), messages=[acceptance(task.messages[0]), response()])
    assert (await asked).stage == COMPLETED
    assert await d.names() == [*IDLE, *TASK, "ActivityTaskScheduled", ACCEPTED_EVENT, COMPLETED_EVENT]


async def test_an_update_goes_to_the_run_that_continues(d: Driver, u: Updating) -> None:
    await d.start()
    task = await d.poll()
    asked = await u.update()
    d.clock.now += 2_000_000_000
    await d.answer(task, continue_as_new())
    await accept_and_complete(d, await d.poll())
    answer = await asked
    assert answer.stage == COMPLETED
    assert answer.update_ref is not None
    assert answer.update_ref.workflow_execution is not None
    assert answer.update_ref.workflow_execution.run_id != task.workflow_execution.run_id  # type: ignore[union-attr]


async def test_an_update_of_that_very_run_does_not(d: Driver, u: Updating) -> None:
    run_id = await d.start()
    task = await d.poll()
    asked = await u.update(run_id=run_id)
    await d.answer(task, continue_as_new())
    with pytest.raises(RPCError, match="workflow execution already completed"):
        await asked


async def test_a_poll_of_an_update_that_went_on_does_not_find_it(d: Driver, u: Updating) -> None:
    await d.start()
    task = await d.poll()
    (await u.update()).cancel()
    polling = asyncio.create_task(u.poll(stage=COMPLETED))
    await asyncio.sleep(0)
    d.clock.now += 2_000_000_000
    await d.answer(task, continue_as_new())
    with pytest.raises(RPCError, match="update 'u' not found"):
        await polling


async def test_an_update_goes_to_the_next_attempt_of_a_failed_run(d: Driver, u: Updating) -> None:
    await d.start(retry_policy=common_v1.RetryPolicy(initial_interval=1_000_000_000))
    task = await d.poll()
    asked = await u.update()
    await d.answer(task, fail())
    await d.advance(2)
    await accept_and_complete(d, await d.poll())
    assert (await asked).stage == COMPLETED


# ---- what workers may not say


async def _said(d: Driver, task: ws.PollWorkflowTaskQueueResponse, *messages: protocol_v1.Message) -> None:
    await d.answer(task, *said(*messages), messages=list(messages), **STICKY)


def _without(message: protocol_v1.Message, **changes: Any) -> protocol_v1.Message:
    for field, value in changes.items():
        setattr(message.body, field, value)
    return message


@pytest.mark.parametrize(
    ("answers", "text"),
    [
        (lambda m: [acceptance(m), acceptance(m)], "absent message ID"),
        (lambda m: [response()], "received Response message while in state Admitted"),
        (lambda m: [acceptance(m), response(), response()], "absent message ID"),
        (lambda m: [acceptance(m), rejection(m)], "received Rejection message while in state Accepted"),
        (lambda m: [response("other")], "update other wasn't found on the server"),
        (lambda m: [_without(acceptance(m), accepted_request_message_id="")], "accepted_request_message_id is not set"),
        (
            lambda m: [_without(acceptance(m), accepted_request_sequencing_event_id=0)],
            "accepted_request_sequencing_event_id is not set",
        ),
        (lambda m: [acceptance(m), _without(response(), meta=None)], "meta.update_id is not u"),
        (lambda m: [acceptance(m), _without(response(), outcome=None)], "outcome is not set"),
        (lambda m: [protocol_v1.Message("x", "u", body=None)], "Message type NoneType not supported"),
    ],
)
async def test_nonsense_fails_the_task_and_the_updates_it_carried(
    d: Driver, u: Updating, answers: Callable[[Any], list[protocol_v1.Message]], text: str
) -> None:
    await idle_run(d)
    asked = await u.update()
    task = await sticky_poll(d)
    with pytest.raises(RPCError, match=text) as error:
        await _said(d, task, *answers(task.messages[0]))
    assert error.value.status is RPCStatusCode.INVALID_ARGUMENT
    with pytest.raises(RPCError, match="unexpected workflow task failure") as refused:
        await asked
    assert refused.value.status is RPCStatusCode.FAILED_PRECONDITION
    assert await d.names() == [*IDLE, *TASK[:2], "WorkflowTaskFailed", "WorkflowTaskScheduled"]
    assert (await d.history())[-2].attributes.cause == 30
    task = await d.poll()
    assert task.messages == []
    await d.answer(task)


async def test_a_command_for_a_message_that_is_not_there(d: Driver, u: Updating) -> None:
    await d.start()
    with pytest.raises(RPCError, match="referenced absent message ID x"):
        await d.answer(await d.poll(), protocol_message("x"))
    assert await d.names() == [*IDLE[:3], "WorkflowTaskFailed"]
    assert (await d.history())[-1].attributes.cause == 30


async def test_updates_that_came_meanwhile_outlive_a_bad_answer(d: Driver, u: Updating) -> None:
    await idle_run(d)
    first = await u.update("first")
    task = await sticky_poll(d)
    second = await u.update("second")
    with pytest.raises(RPCError, match="absent"):
        await d.answer(task, protocol_message("x"))
    with pytest.raises(RPCError, match="unexpected workflow task failure"):
        await first
    task = await d.poll()
    assert [message.protocol_instance_id for message in task.messages] == ["second"]
    await accept_and_complete(d, task)
    assert (await second).stage == COMPLETED


async def test_an_unhandled_close_fails_the_updates_it_carried(d: Driver, u: Updating) -> None:
    await idle_run(d)
    asked = await u.update()
    task = await sticky_poll(d)
    await d.signal()
    with pytest.raises(RPCError, match="UnhandledCommand"):
        await accept(d, task, complete())
    with pytest.raises(RPCError, match="unexpected workflow task failure"):
        await asked
    assert ACCEPTED_EVENT not in await d.names()


async def test_an_outcome_that_is_too_large_ends_the_workflow(d: Driver, u: Updating) -> None:
    await idle_run(d)
    asked = await u.update()
    task = await sticky_poll(d)
    with pytest.raises(RPCError, match="outcome of an update has"):
        await _said(d, task, acceptance(task.messages[0]), response("u", b"x" * 2_100_000))
    with pytest.raises(RPCError, match="aborted by closing workflow"):
        await asked
    assert (await d.names())[-1] == "WorkflowExecutionTerminated"


async def test_a_worker_brings_back_an_update_the_service_forgot(d: Driver, u: Updating) -> None:
    await idle_run(d)
    asked = await u.update()
    task = await sticky_poll(d)
    request = task.messages[0]
    await d.fail_task(task)
    asked.cancel()
    await d.terminate()
    await d.start()
    task = await d.poll()
    request.event_id = 2
    await _said(d, task, acceptance(request), response())
    assert await d.names() == [*IDLE, ACCEPTED_EVENT, COMPLETED_EVENT]
    assert (await u.poll()).stage == COMPLETED


async def test_a_worker_may_refuse_an_update_the_service_forgot(d: Driver, u: Updating) -> None:
    await d.start()
    task = await d.poll()
    request = protocol_v1.Message("u/request", "u", 2, body=update_v1.Request(update_v1.Meta("u")))
    await d.answer(task, messages=[rejection(request)])
    assert await d.names() == IDLE


# ---- reset


async def _reset(d: Driver, finish_id: int, **options: Any) -> str:
    answer = await d.engine.reset_workflow_execution(
        ws.ResetWorkflowExecutionRequest(
            "default",
            common_v1.WorkflowExecution("w"),
            workflow_task_finish_event_id=finish_id,
            request_id="reset",
            **options,
        )
    )
    return answer.run_id


async def test_a_reset_run_is_asked_again_for_the_updates_it_accepted(d: Driver, u: Updating) -> None:
    await idle_run(d)
    asked = await u.update()
    await accept_and_complete(d, await sticky_poll(d))
    first = await asked
    await _reset(d, 4)
    reset = [*IDLE[:3], "WorkflowTaskFailed", "WorkflowExecutionUpdateAdmitted", "WorkflowTaskScheduled"]
    assert await d.names() == reset
    admitted = (await d.history())[-2].attributes
    assert (admitted.origin, admitted.request.meta.update_id) == (1, "u")
    again = await u.update()
    assert (await u.poll()).stage == ADMITTED
    task = await d.poll()
    assert task.messages == []  # the event says it all
    request = protocol_v1.Message("u/request", "u", 5, body=admitted.request)
    await _said(d, task, acceptance(request), response("u", b"3"))
    answer = await again
    assert answer.outcome is not None
    assert answer.outcome.success == payloads(b"3")
    assert first.outcome is not None
    assert first.outcome.success == payloads(b"2")
    accepted = (await d.history())[-2]
    assert accepted.attributes.accepted_request is None


async def test_a_reset_run_may_refuse_what_it_accepted_before(d: Driver, u: Updating) -> None:
    await idle_run(d)
    asked = await u.update()
    await accept_and_complete(d, await sticky_poll(d))
    await asked
    await _reset(d, 4)
    again = await u.update()
    task = await d.poll()
    request = protocol_v1.Message("u/request", "u", 5, body=(await d.history())[4].attributes.request)
    await d.answer(task, messages=[rejection(request)], **STICKY)
    assert (await again).stage == COMPLETED
    with pytest.raises(RPCError, match="not found"):
        await u.poll()


@pytest.mark.parametrize(
    "options", [{"reset_reapply_exclude_types": [2]}, {"reset_reapply_type": 1}, {"reset_reapply_type": 2}]
)
async def test_a_reset_may_leave_updates_out(d: Driver, u: Updating, options: dict[str, Any]) -> None:
    await idle_run(d)
    asked = await u.update()
    await accept_and_complete(d, await sticky_poll(d))
    await asked
    await d.signal()
    await _reset(d, 4, **options)
    names = await d.names()
    assert "WorkflowExecutionUpdateAdmitted" not in names
    assert ("WorkflowExecutionSignaled" in names) is (options.get("reset_reapply_type") != 2)


async def test_a_reset_keeps_the_updates_before_its_point(d: Driver, u: Updating) -> None:
    await idle_run(d)
    asked = await u.update()
    await accept_and_complete(d, await sticky_poll(d))
    first = await asked
    await d.signal()
    await d.answer(await sticky_poll(d), **STICKY)
    await _reset(d, 12)
    assert (await (await u.update())).outcome == first.outcome


# ---- the process ends


@pytest.fixture
async def reopen(
    open_store: Callable[[], Awaitable[Store]],
) -> Callable[[Callable[[Driver], Awaitable[None]], Callable[[Driver], Awaitable[None]]], Awaitable[None]]:
    """Does one thing with an engine, and another with the one that opens the same place after it."""

    async def run(before: Callable[[Driver], Awaitable[None]], after: Callable[[Driver], Awaitable[None]]) -> None:
        clock = Clock()
        store = await open_store()
        if Capability.PERSISTENT not in store.capabilities:
            await store.close()
            pytest.skip("nothing outlives a store in memory")
        async with driving(store, clock) as d:
            await before(d)
        async with driving(await open_store(), clock) as d:
            await after(d)

    return run


async def test_outcomes_outlive_the_process(reopen: Any) -> None:
    async def before(d: Driver) -> None:
        u = Updating(d)
        await idle_run(d)
        asked = await u.update()
        await accept_and_complete(d, await sticky_poll(d))
        await asked

    async def after(d: Driver) -> None:
        u = Updating(d)
        answer = await (await u.update())
        assert answer.outcome is not None
        assert answer.outcome.success == payloads(b"2")
        await d.terminate()
        assert (await u.poll()).outcome == answer.outcome

    await reopen(before, after)


async def test_an_accepted_update_is_completed_by_the_next_process(reopen: Any) -> None:
    async def before(d: Driver) -> None:
        await idle_run(d)
        asked = await Updating(d).update(stage=ACCEPTED)
        await accept(d, await sticky_poll(d))
        assert (await asked).stage == ACCEPTED

    async def after(d: Driver) -> None:
        u = Updating(d)
        waiting = await u.update()
        assert (await u.poll()).stage == ACCEPTED
        await d.signal()
        await d.answer(await any_poll(d), *said(response()), messages=[response()])
        assert (await waiting).stage == COMPLETED

    await reopen(before, after)


async def test_an_admitted_update_ends_with_the_process_and_may_be_asked_for_again(reopen: Any) -> None:
    async def before(d: Driver) -> None:
        await idle_run(d)
        asked = await Updating(d).update()
        await sticky_poll(d)
        await d.engine.close()
        with pytest.raises(RPCError) as error:
            await asked
        assert error.value.status is RPCStatusCode.UNAVAILABLE

    async def after(d: Driver) -> None:
        assert await d.names() == IDLE
        asked = await Updating(d).update()
        await accept_and_complete(d, await any_poll(d))
        assert (await asked).stage == COMPLETED

    await reopen(before, after)


@pytest.mark.parametrize("commit", [3, 4])
async def test_nobody_hears_of_an_outcome_that_was_not_kept(
    open_store: Callable[[], Awaitable[Store]], commit: int
) -> None:
    inner = await open_store()
    store = FragileStore(inner, inner.epoch, fail_at=commit)
    d = Driver(await Engine.open(store, clock=Clock()), Clock())
    try:
        u = Updating(d)
        await idle_run(d)
        await d.settle()
        assert store.commits == 2
        asked = await u.update(stage=ACCEPTED)
        task = await sticky_poll(d)
        await accept(d, task)
        if commit == 4:
            assert (await asked).stage == ACCEPTED
            asked = await u.update()
            for lost in (d.signal(), asked):
                with pytest.raises(RPCError, match="did not keep"):
                    await lost
            assert (await u.poll()).stage == ACCEPTED
        else:
            with pytest.raises(RPCError, match="did not keep"):
                await asked
            await d.settle()
            with pytest.raises(RPCError, match="update 'u' not found"):
                await u.poll()
            assert await d.names() == IDLE
    finally:
        await abandon(d.engine)
        await inner.close()
