"""ExecuteMultiOperation: a start and an update in one."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from perdure.api.common import v1 as common_v1
from perdure.api.errordetails import v1 as errordetails_v1
from perdure.api.failure import v1 as failure_v1
from perdure.api.workflowservice import v1 as ws
from perdure.service import RPCError, RPCStatusCode
from tests.engine.driver import Driver, complete, continue_as_new, queue
from tests.engine.update_driver import (
    ACCEPTED,
    COMPLETED,
    IDLE,
    Updating,
    accept,
    accept_and_complete,
    idle_run,
    reject,
    sticky_poll,
    update_request,
)

FAIL, USE_EXISTING, TERMINATE_EXISTING = 1, 2, 3


def operations(
    update_id: str = "u", conflict: int = FAIL, update: dict[str, Any] | None = None, **options: Any
) -> ws.ExecuteMultiOperationRequest:
    """A start of workflow w and an update of it."""
    start = ws.StartWorkflowExecutionRequest(
        "default",
        "w",
        common_v1.WorkflowType("W"),
        queue(),
        workflow_id_conflict_policy=conflict,
        **options,
    )
    return ws.ExecuteMultiOperationRequest(
        "default",
        [
            ws.ExecuteMultiOperationRequestOperation(start_workflow=start),
            ws.ExecuteMultiOperationRequestOperation(update_workflow=update_request(update_id, **(update or {}))),
        ],
    )


Answer = tuple[ws.StartWorkflowExecutionResponse, ws.UpdateWorkflowExecutionResponse]


async def ask(d: Driver, request: ws.ExecuteMultiOperationRequest) -> asyncio.Task[Answer]:
    """Send it; the engine has seen it when this returns."""

    async def call() -> Answer:
        response = await d.engine.execute_multi_operation(request)
        start, update = response.responses[0].start_workflow, response.responses[1].update_workflow
        assert start is not None
        assert update is not None
        return start, update

    task = asyncio.create_task(call())
    for _ in range(5):
        await asyncio.sleep(0)
    return task


def statuses(error: RPCError) -> list[Any]:
    """How each of the two operations ended."""
    detail = error.detail(errordetails_v1.MultiOperationExecutionFailure)
    assert isinstance(detail, errordetails_v1.MultiOperationExecutionFailure)
    assert error.message == "Update-with-Start could not be executed."
    return detail.statuses


def is_aborted(status: Any) -> bool:
    """Whether the operation is not at fault."""
    return status.code == RPCStatusCode.ABORTED and isinstance(
        status.details[0], failure_v1.MultiOperationExecutionAborted
    )


async def test_a_new_run_has_the_update_with_its_first_task(d: Driver) -> None:
    asked = await ask(d, operations())
    assert await d.names() == IDLE[:2]
    task = await d.poll()
    assert [message.id for message in task.messages] == ["u/request"]
    await accept_and_complete(d, task)
    start, update = await asked
    assert start.started
    assert update.stage == COMPLETED
    assert update.update_ref is not None
    assert update.update_ref.workflow_execution is not None
    assert update.update_ref.workflow_execution.run_id == start.run_id


async def test_a_refused_update_leaves_the_started_run(d: Driver) -> None:
    asked = await ask(d, operations())
    await reject(d, await d.poll())
    start, update = await asked
    assert start.started
    assert update.outcome is not None
    assert update.outcome.failure is not None
    assert await d.names() == IDLE


async def test_an_open_run_is_updated_where_the_policy_says_so(d: Driver) -> None:
    await idle_run(d)
    asked = await ask(d, operations(conflict=USE_EXISTING))
    await accept_and_complete(d, await sticky_poll(d))
    start, update = await asked
    assert not start.started
    assert start.status == 1
    assert update.stage == COMPLETED


async def test_an_open_run_is_an_error_where_the_policy_says_so(d: Driver) -> None:
    await idle_run(d)
    with pytest.raises(RPCError) as error:
        await (await ask(d, operations()))
    assert error.value.status is RPCStatusCode.ALREADY_EXISTS
    first, second = statuses(error.value)
    assert isinstance(first.details[0], errordetails_v1.WorkflowExecutionAlreadyStartedFailure)
    assert is_aborted(second)
    assert await d.names() == IDLE


async def test_an_open_run_is_replaced_where_the_policy_says_so(d: Driver) -> None:
    await idle_run(d)
    asked = await ask(d, operations(conflict=TERMINATE_EXISTING))
    await accept_and_complete(d, await d.poll())
    start, update = await asked
    assert start.started
    assert update.stage == COMPLETED


async def test_the_same_request_joins_the_run_and_the_update_it_made(d: Driver) -> None:
    first = await ask(d, operations(request_id="r"))
    second = await ask(d, operations(request_id="r"))
    third = await ask(d, operations())  # known by the id of its update
    await accept_and_complete(d, await d.poll())
    # Which of two requests at once comes first is a cluster's to say.
    assert sorted([(await first)[0].started, (await second)[0].started]) == [False, True]
    assert (await third)[1].outcome == (await first)[1].outcome
    later = await (await ask(d, operations()))
    assert later[1].outcome == (await first)[1].outcome
    await d.signal()
    await d.answer(await sticky_or_normal(d), complete())
    closed = await (await ask(d, operations()))
    assert not closed[0].started
    assert closed[0].status == 2
    assert closed[1].outcome == (await first)[1].outcome


async def sticky_or_normal(d: Driver) -> ws.PollWorkflowTaskQueueResponse:
    """The next task, whichever queue it is in."""
    return await (d.poll() if await d.has_workflow_task() else sticky_poll(d))


async def test_a_start_that_was_carried_out_before_does_not_start_again(d: Driver) -> None:
    await d.start(request_id="r")
    await d.turn(complete())
    with pytest.raises(RPCError, match="could not be executed") as error:
        await (await ask(d, operations(request_id="r")))
    assert error.value.status is RPCStatusCode.UNAVAILABLE


async def test_a_closed_run_is_followed_by_a_new_one(d: Driver) -> None:
    await d.start()
    await d.turn(complete())
    asked = await ask(d, operations(conflict=USE_EXISTING))
    await accept_and_complete(d, await d.poll())
    assert (await asked)[0].started


async def test_an_update_the_run_cannot_take_is_the_error(d: Driver) -> None:
    await d.start()
    await d.fail_task(await d.poll())
    await d.advance(1)
    await d.fail_task(await d.poll())
    with pytest.raises(RPCError) as error:
        await (await ask(d, operations(conflict=USE_EXISTING)))
    assert error.value.status is RPCStatusCode.FAILED_PRECONDITION
    first, second = statuses(error.value)
    assert is_aborted(first)
    assert "failed state" in second.message


async def test_a_run_that_closes_meanwhile_is_followed_by_a_new_one(d: Driver) -> None:
    await idle_run(d)
    asked = await ask(d, operations(conflict=USE_EXISTING))
    await d.terminate()
    await accept_and_complete(d, await d.poll())
    start, update = await asked
    assert start.started
    assert update.stage == COMPLETED


async def test_a_run_that_closes_again_and_again_is_an_error_to_try_again(d: Driver) -> None:
    await idle_run(d)
    asked = await ask(d, operations(conflict=USE_EXISTING))
    for _ in range(2):
        await d.start(workflow_id_conflict_policy=TERMINATE_EXISTING)
    with pytest.raises(RPCError) as error:
        await asked
    assert error.value.status is RPCStatusCode.ABORTED
    first, second = statuses(error.value)
    assert is_aborted(first)
    assert (second.code, second.message) == (10, "workflow update was aborted by closing workflow")


async def test_an_update_a_new_run_did_not_take_goes_to_its_successor(d: Driver) -> None:
    asked = await ask(d, operations())
    task = await d.poll()
    d.clock.now += 2_000_000_000
    await d.answer(task, continue_as_new())
    await accept_and_complete(d, await d.poll())
    start, update = await asked
    assert start.started
    assert update.stage == COMPLETED
    assert update.update_ref is not None
    assert update.update_ref.workflow_execution is not None
    assert update.update_ref.workflow_execution.run_id != start.run_id


@pytest.mark.parametrize(
    ("change", "index", "text"),
    [
        ({"cron_schedule": "* * * * *"}, 0, "CronSchedule is not allowed"),
        ({"request_eager_execution": True}, 0, "RequestEagerExecution is not supported"),
        ({"workflow_start_delay": 1_000_000_000}, 0, "WorkflowStartDelay is not supported"),
        ({"identity": "x" * 1001}, 0, "Identity"),
        ({"update": {"run_id": "01a20c60-943c-74bb-9a2d-3cf29033f4e0"}}, 1, "RunId is not allowed"),
        ({"update": {"first_execution_run_id": "x"}}, 1, "FirstExecutionRunId is not allowed"),
        ({"update": {"workflow_id": "other"}}, 1, "WorkflowId is not consistent"),
        ({"update": {"stage": 1}}, 1, "waiting on update admitted"),
    ],
)
async def test_bad_operations(d: Driver, change: dict[str, Any], index: int, text: str) -> None:
    with pytest.raises(RPCError) as error:
        await d.engine.execute_multi_operation(operations(**change))
    found = statuses(error.value)
    assert text in found[index].message
    assert is_aborted(found[1 - index])
    with pytest.raises(RPCError, match="workflow not found"):
        await d.describe()


async def test_other_operations_are_refused(d: Driver) -> None:
    for request in (
        ws.ExecuteMultiOperationRequest("default"),
        ws.ExecuteMultiOperationRequest("default", operations().operations[:1]),
        ws.ExecuteMultiOperationRequest("default", operations().operations[::-1]),
    ):
        with pytest.raises(RPCError, match=r"exactly \[Start, Update\]"):
            await d.engine.execute_multi_operation(request)
    other = operations()
    other.operations[0].start_workflow.namespace = "other"  # type: ignore[union-attr]
    with pytest.raises(RPCError) as error:
        await d.engine.execute_multi_operation(other)
    assert "namespace did not match" in statuses(error.value)[0].message


async def test_acceptance_is_enough_where_the_caller_says_so(d: Driver) -> None:
    await idle_run(d)
    u = Updating(d)
    asked = await ask(d, operations(conflict=USE_EXISTING, update={"stage": ACCEPTED}))
    await accept(d, await sticky_poll(d))
    assert (await asked)[1].stage == ACCEPTED
    assert (await u.poll()).stage == ACCEPTED
