"""Nexus operations without a workflow."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from perdure.api.common import v1 as common_v1
from perdure.api.enums import v1 as enums
from perdure.api.enums.v1 import NexusOperationIdConflictPolicy as Conflict
from perdure.api.enums.v1 import NexusOperationIdReusePolicy as Reuse
from perdure.api.nexus import v1 as nexus_v1
from perdure.api.workflowservice import v1 as ws
from perdure.service import RPCError, RPCStatusCode
from tests.engine.driver import S, complete, queue
from tests.nexus.driver import NexusDriver, call, handler_error, payload

RUNNING, COMPLETED, FAILED, CANCELED, TERMINATED, TIMED_OUT = range(1, 7)


async def start(d: NexusDriver, operation_id: str = "o", **options: Any) -> ws.StartNexusOperationExecutionResponse:
    request = ws.StartNexusOperationExecutionRequest(
        "default",
        "me",
        operation_id=operation_id,
        endpoint=options.pop("endpoint", "ep"),
        service="s",
        operation="op",
        input=payload(b"1"),
        **options,
    )
    return await d.engine.start_nexus_operation_execution(request)


async def describe(d: NexusDriver, operation_id: str = "o") -> nexus_v1.NexusOperationExecutionInfo:
    response = await d.engine.describe_nexus_operation_execution(
        ws.DescribeNexusOperationExecutionRequest("default", operation_id)
    )
    assert response.info is not None
    return response.info


async def outcome(d: NexusDriver, operation_id: str = "o") -> ws.PollNexusOperationExecutionResponse:
    request = ws.PollNexusOperationExecutionRequest("default", operation_id)
    return await asyncio.wait_for(d.engine.poll_nexus_operation_execution(request), 5)


async def listed(d: NexusDriver, query: str = "") -> list[str]:
    request = ws.ListNexusOperationExecutionsRequest("default", query=query)
    found = await d.engine.list_nexus_operation_executions(request)
    return sorted(operation.operation_id for operation in found.operations)


async def test_an_operation_needs_no_workflow(d: NexusDriver) -> None:
    started = await start(d)
    assert started.started
    waiting = asyncio.ensure_future(outcome(d))
    info = await describe(d)
    assert (info.status, info.endpoint, info.service, info.operation) == (RUNNING, "ep", "s", "op")
    await d.answer_start(await d.poll_nexus())
    found = await waiting
    assert (found.run_id, found.result) == (started.run_id, payload(b"2"))
    assert (await describe(d)).status == COMPLETED
    with pytest.raises(RPCError):
        await d.describe("o")


async def test_it_may_go_on_as_a_workflow(d: NexusDriver) -> None:
    await start(d)
    task = await d.poll_nexus()
    assert task.request is not None
    assert task.request.start_operation is not None
    [link] = task.request.start_operation.links
    assert link.type == "temporal.api.common.v1.Link.NexusOperation"
    await d.run_behind(task)
    await d.answer_later(task)
    assert (await describe(d)).operation_token == "t"
    await d.answer(await d.poll(queue("hq")), complete(b"9"))
    assert (await outcome(d)).result == payload(b"9")


async def test_failures_are_tried_again_or_final(d: NexusDriver) -> None:
    await start(d)
    await d.fail_nexus(await d.poll_nexus(), handler_error())
    assert (await describe(d)).attempt == 2
    await d.advance(1)
    await d.fail_nexus(await d.poll_nexus(), handler_error("BAD_REQUEST", "bad"))
    failure = (await outcome(d)).failure
    assert failure is not None
    assert failure.message == "bad"
    assert (await describe(d)).status == FAILED


async def test_it_times_out(d: NexusDriver) -> None:
    await start(d, schedule_to_close_timeout=5 * S)
    await d.advance(5)
    assert (await describe(d)).status == TIMED_OUT
    failure = (await outcome(d)).failure
    assert failure is not None
    assert failure.timeout_failure_info is not None


async def test_it_is_asked_to_cancel(d: NexusDriver) -> None:
    await start(d)
    await d.answer_later(await d.poll_nexus())
    await d.engine.request_cancel_nexus_operation_execution(
        ws.RequestCancelNexusOperationExecutionRequest("default", "o", request_id="1", reason="because")
    )
    task = await d.poll_nexus()
    assert task.request is not None
    assert task.request.cancel_operation is not None
    await d.answer_cancel(task)
    info = await describe(d)
    assert info.cancellation_info is not None
    assert (info.status, info.cancellation_info.reason) == (RUNNING, "because")


async def test_it_is_terminated(d: NexusDriver) -> None:
    await start(d)
    await d.engine.terminate_nexus_operation_execution(
        ws.TerminateNexusOperationExecutionRequest("default", "o", request_id="1", reason="enough")
    )
    assert (await describe(d)).status == TERMINATED
    failure = (await outcome(d)).failure
    assert failure is not None
    assert failure.terminated_failure_info is not None


async def test_ids_are_taken_while_they_run(d: NexusDriver) -> None:
    first = await start(d, request_id="1")
    assert (await start(d, request_id="1")).run_id == first.run_id
    with pytest.raises(RPCError) as caught:
        await start(d, request_id="2")
    assert caught.value.status is RPCStatusCode.ALREADY_EXISTS
    existing = await start(
        d, request_id="2", id_conflict_policy=int(Conflict.NEXUS_OPERATION_ID_CONFLICT_POLICY_USE_EXISTING)
    )
    assert (existing.run_id, existing.started) == (first.run_id, False)


async def test_ids_may_be_used_again(d: NexusDriver) -> None:
    first = await start(d)
    await d.answer_start(await d.poll_nexus())
    with pytest.raises(RPCError):
        await start(d, id_reuse_policy=int(Reuse.NEXUS_OPERATION_ID_REUSE_POLICY_REJECT_DUPLICATE))
    second = await start(d)
    assert second.run_id != first.run_id


async def test_operations_are_listed_and_counted(d: NexusDriver) -> None:
    await start(d, "a")
    await start(d, "b")
    await d.answer_start(await d.poll_nexus())
    assert await listed(d) == ["a", "b"]
    count = await d.engine.count_nexus_operation_executions(ws.CountNexusOperationExecutionsRequest("default"))
    assert count.count == 2
    assert len(await listed(d, "ExecutionStatus = 'Running'")) == 1
    assert await listed(d, "OperationId = 'a'") == ["a"]
    assert await d.list() == []


async def test_a_closed_operation_is_deleted(d: NexusDriver) -> None:
    await start(d)
    await d.answer_start(await d.poll_nexus())
    await d.engine.delete_nexus_operation_execution(ws.DeleteNexusOperationExecutionRequest("default", "o"))
    await d.settle()
    with pytest.raises(RPCError) as caught:
        await describe(d)
    assert caught.value.status is RPCStatusCode.NOT_FOUND


async def test_who_started_it_may_be_called_back(d: NexusDriver) -> None:
    await d.start()
    await d.turn(call())
    task = await d.poll_nexus()
    assert task.request is not None
    assert task.request.start_operation is not None
    given = task.request.start_operation
    nexus = common_v1.CallbackNexus(given.callback, given.callback_header)
    await start(d, completion_callbacks=[common_v1.Callback(nexus=nexus)])
    await d.answer_later(task)
    await d.answer_start(await d.poll_nexus(), b"7")
    await d.settle()
    assert (await d.last()).result == payload(b"7")


async def test_an_endpoint_must_exist(d: NexusDriver) -> None:
    with pytest.raises(RPCError, match="endpoint not registered") as caught:
        await start(d, endpoint="nowhere")
    assert caught.value.status is RPCStatusCode.NOT_FOUND


def test_policies_of_activities_and_operations_have_the_same_numbers() -> None:
    for theirs, ours in (
        (enums.NexusOperationIdReusePolicy, enums.ActivityIdReusePolicy),
        (enums.NexusOperationIdConflictPolicy, enums.ActivityIdConflictPolicy),
    ):
        names = {member.name.removeprefix("NEXUS_OPERATION"): int(member) for member in theirs}
        assert names == {member.name.removeprefix("ACTIVITY"): int(member) for member in ours}
