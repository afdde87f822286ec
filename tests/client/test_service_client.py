"""The connection itself, and the errors that come over it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from perdure import Client, Worker, workflow
from perdure.api.common.v1 import WorkflowExecution
from perdure.api.errordetails.v1 import NotFoundFailure
from perdure.api.operatorservice.v1 import ListSearchAttributesRequest
from perdure.api.taskqueue.v1 import TaskQueue
from perdure.api.workflowservice import v1 as ws
from perdure.client import WorkflowFailureError
from perdure.exceptions import ApplicationError
from perdure.service import GrpcStatus, RPCError, RPCStatusCode
from perdure.testing import WorkflowEnvironment

CALLS: list[Callable[[Client], Awaitable[Any]]] = [
    lambda client: client.workflow_service.signal_workflow_execution(
        ws.SignalWorkflowExecutionRequest("default", WorkflowExecution("w"), "s")
    ),
    lambda client: client.workflow_service.reset_activity(
        ws.ResetActivityRequest("default", WorkflowExecution("w"), id="1")
    ),
    lambda client: client.workflow_service.poll_workflow_task_queue(
        ws.PollWorkflowTaskQueueRequest("default", TaskQueue("q"))
    ),
    lambda client: client.workflow_service.list_schedules(ws.ListSchedulesRequest("default")),
    lambda client: client.operator_service.list_search_attributes(ListSearchAttributesRequest("default")),
]
calls = pytest.mark.parametrize("call", CALLS, ids=["signal", "activity", "poll", "schedules", "operator"])
raw_client: Client


async def awaited(call: Callable[[Client], Awaitable[Any]], client: Client) -> None:
    await call(client)


@workflow.defn
class CallsTheService:
    @workflow.run
    async def run(self) -> None:
        try:
            await CALLS[0](raw_client)
        except RuntimeError as error:
            raise ApplicationError(str(error)) from None


async def test_health_and_settings() -> None:
    async with await Client.connect("memory:") as client:
        service_client = client.service_client
        assert await service_client.check_health()
        assert service_client.worker_service_client is service_client
        service_client.update_rpc_metadata({"a": "b"})
        service_client.update_api_key("key")
        assert (client.rpc_metadata, client.api_key) == ({"a": "b"}, "key")


async def test_an_error_has_its_details_and_a_status() -> None:
    async with await Client.connect("memory:") as client:
        with pytest.raises(RPCError) as caught:
            await client.get_workflow_handle("nobody").describe()
    error = caught.value
    assert error.detail(NotFoundFailure) is error.details[0]
    assert error.grpc_status == GrpcStatus(5, error.message, error.details)
    again = RPCError(error.message, error.status, error.raw_grpc_status)
    assert again.grpc_status == GrpcStatus(5, error.message, [])
    assert again.details == ()


def test_a_status_from_the_wire() -> None:
    raw = b"\x08\x05\x12\x04gone\x1a\x07\x0a\x05type/"
    error = RPCError("gone", RPCStatusCode.NOT_FOUND, raw)
    assert error.raw_grpc_status == raw
    assert error.grpc_status == GrpcStatus(5, "gone", [b"\x0a\x05type/"])


# ---- raw calls from elsewhere


@calls
async def test_a_raw_call_from_another_thread_is_refused(call: Callable[[Client], Awaitable[Any]]) -> None:
    async with await Client.connect("memory:") as client:
        with pytest.raises(RuntimeError, match="event loop of another thread; call it from there, or hand"):
            await asyncio.to_thread(lambda: asyncio.run(awaited(call, client)))


@calls
async def test_time_skipping_changes_nothing_about_that(call: Callable[[Client], Awaitable[Any]]) -> None:
    async with await WorkflowEnvironment.start_time_skipping() as env:
        with pytest.raises(RuntimeError, match="event loop of another thread"):
            await asyncio.to_thread(lambda: asyncio.run(awaited(call, env.client)))


@calls
def test_a_raw_call_from_another_loop_is_refused(call: Callable[[Client], Awaitable[Any]]) -> None:
    with asyncio.Runner() as home, asyncio.Runner() as other:
        client = home.run(Client.connect("memory:"))
        with pytest.raises(RuntimeError, match="opened on another event loop"):
            other.run(awaited(call, client))
        home.run(client.close())


async def test_a_raw_call_handed_over_is_answered() -> None:
    async with await Client.connect("memory:") as client:
        loop = asyncio.get_running_loop()

        def call() -> ws.ListSchedulesResponse:
            request = ws.ListSchedulesRequest("default")
            return asyncio.run_coroutine_threadsafe(client.workflow_service.list_schedules(request), loop).result()

        assert not (await asyncio.to_thread(call)).schedules


async def test_a_workflow_cannot_call_the_service() -> None:
    global raw_client
    async with (
        await Client.connect("memory:") as raw_client,
        Worker(raw_client, task_queue="q", workflows=[CallsTheService]),
    ):
        with pytest.raises(WorkflowFailureError) as failed:
            await raw_client.execute_workflow(CallsTheService.run, id="w", task_queue="q")
    assert "a workflow cannot call the service" in str(failed.value.cause)
