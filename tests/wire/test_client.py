"""``temporal://`` against a server whose answers the test scripts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest

from perdure.api.common.v1 import WorkflowExecution
from perdure.api.errordetails.v1 import WorkflowExecutionAlreadyStartedFailure
from perdure.api.workflowservice import v1 as ws
from perdure.client import Client
from perdure.exceptions import WorkflowAlreadyStartedError
from perdure.service import ConnectConfig, RetryConfig, RPCError, RPCStatusCode, TLSConfig
from perdure.wire._channel import address_of, open_channel
from perdure.wire._retry import Backoff
from perdure.wire.methods import WORKFLOW_SERVICE, HealthCheckResponse
from tests.wire.conftest import ScriptedServer

FAST = RetryConfig(initial_interval_millis=1, max_interval_millis=2, randomization_factor=0)


@pytest.fixture
async def client(server: ScriptedServer) -> AsyncIterator[Client]:
    client = await Client.connect(f"temporal://{server.address}", retry_config=FAST, identity="me")
    yield client
    await client.close()


def refuse(status: RPCStatusCode, message: str = "no", details: tuple[Any, ...] = ()) -> Any:
    def answer(request: Any) -> Any:
        raise RPCError(message, status, details)

    return answer


def fail_times(times: int, status: RPCStatusCode, response: Any) -> Any:
    left = [times]

    def answer(request: Any) -> Any:
        if left[0]:
            left[0] -= 1
            raise RPCError("not now", status)
        return response

    return answer


async def test_connecting_asks_the_server_who_it_is(server: ScriptedServer, client: Client) -> None:
    [call] = server.calls
    assert call.method == "get_system_info"
    assert call.metadata["client-name"] == "perdure"
    assert call.metadata["user-agent"].startswith("perdure")  # type: ignore[union-attr]


async def test_a_call_from_another_thread_is_refused(client: Client) -> None:
    def call() -> None:
        asyncio.run(client.workflow_service.get_system_info(ws.GetSystemInfoRequest()))

    with pytest.raises(RuntimeError, match="event loop of another thread; call it from there, or hand"):
        await asyncio.to_thread(call)


async def test_a_bare_address_is_a_temporal_server(server: ScriptedServer) -> None:
    async with await Client.connect(server.address) as client:
        assert not client.service_client.workflow_service.in_process


async def test_a_lazy_client_connects_at_its_first_call(server: ScriptedServer) -> None:
    client = await Client.connect(f"temporal://{server.address}", lazy=True)
    assert not server.calls
    await client.count_workflows()
    assert [call.method for call in server.calls] == ["get_system_info", "count_workflow_executions"]
    await client.close()


async def test_an_old_server_need_not_know_what_it_can_do(server: ScriptedServer) -> None:
    server.answers["get_system_info"] = refuse(RPCStatusCode.UNIMPLEMENTED)
    await (await Client.connect(server.address)).close()


async def test_nobody_there(unused_tcp_port_of: int) -> None:
    with pytest.raises(RuntimeError, match=f"Failed client connect: 127.0.0.1:{unused_tcp_port_of}: "):
        await Client.connect(
            f"127.0.0.1:{unused_tcp_port_of}",
            connect_timeout=timedelta(milliseconds=300),
            retry_config=FAST,
        )


@pytest.fixture
def unused_tcp_port_of() -> int:
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


async def test_headers_of_the_connection_and_of_the_call(server: ScriptedServer) -> None:
    client = await Client.connect(
        server.address, namespace="orders", api_key="secret", tls=False, rpc_metadata={"One": "1", "both": "connection"}
    )
    await client.count_workflows(rpc_metadata={"both": "call", "raw-bin": b"\x00\xff"})
    metadata = server.calls[-1].metadata
    assert metadata["authorization"] == "Bearer secret"
    assert metadata["temporal-namespace"] == "orders"
    assert (metadata["one"], metadata["both"], metadata["raw-bin"]) == ("1", "call", b"\x00\xff")
    client.api_key = "other"
    client.rpc_metadata = {"two": "2"}
    await client.count_workflows()
    metadata = server.calls[-1].metadata
    assert (metadata["authorization"], metadata["two"], metadata.get("one")) == ("Bearer other", "2", None)
    client.api_key = None
    client.rpc_metadata = {"authorization": "Basic x"}
    await client.count_workflows()
    assert server.calls[-1].metadata["authorization"] == "Basic x"
    await client.close()


async def test_errors_carry_status_details_and_bytes(server: ScriptedServer, client: Client) -> None:
    details = WorkflowExecutionAlreadyStartedFailure("request", "run")
    server.answers["start_workflow_execution"] = refuse(RPCStatusCode.ALREADY_EXISTS, "taken", (details,))
    with pytest.raises(WorkflowAlreadyStartedError) as raised:
        await client.start_workflow("W", id="w", task_queue="q")
    assert raised.value.run_id == "run"
    server.answers["count_workflow_executions"] = refuse(RPCStatusCode.INVALID_ARGUMENT, "bad query", (details,))
    with pytest.raises(RPCError, match="bad query") as refused:
        await client.count_workflows("bad")
    assert refused.value.status is RPCStatusCode.INVALID_ARGUMENT
    assert refused.value.details == (details,)
    status = refused.value.grpc_status
    assert (status.code, status.message, len(status.details)) == (3, "bad query", 1)


@pytest.mark.parametrize("status", [RPCStatusCode.UNAVAILABLE, RPCStatusCode.INTERNAL, RPCStatusCode.ABORTED])
async def test_what_may_pass_is_tried_again(server: ScriptedServer, client: Client, status: RPCStatusCode) -> None:
    answer = ws.CountWorkflowExecutionsResponse(count=7)
    server.answers["count_workflow_executions"] = fail_times(3, status, answer)
    assert (await client.count_workflows()).count == 7
    assert len(server.of("count_workflow_executions")) == 4


async def test_what_does_not_pass_is_not(server: ScriptedServer, client: Client) -> None:
    server.answers["count_workflow_executions"] = refuse(RPCStatusCode.PERMISSION_DENIED)
    with pytest.raises(RPCError):
        await client.count_workflows()
    assert len(server.of("count_workflow_executions")) == 1


async def test_retries_end(server: ScriptedServer, client: Client) -> None:
    server.answers["count_workflow_executions"] = refuse(RPCStatusCode.UNAVAILABLE)
    with pytest.raises(RPCError) as refused:
        await client.count_workflows()
    assert refused.value.status is RPCStatusCode.UNAVAILABLE
    assert len(server.of("count_workflow_executions")) == 10


async def test_polls_are_tried_again_by_who_polls(server: ScriptedServer, client: Client) -> None:
    server.answers["poll_workflow_task_queue"] = refuse(RPCStatusCode.UNAVAILABLE)
    with pytest.raises(RPCError):
        await client.workflow_service.poll_workflow_task_queue(ws.PollWorkflowTaskQueueRequest())
    assert len(server.of("poll_workflow_task_queue")) == 1


async def test_deadlines(server: ScriptedServer, client: Client) -> None:
    service = client.workflow_service
    await service.count_workflow_executions(ws.CountWorkflowExecutionsRequest())
    await service.poll_workflow_task_queue(ws.PollWorkflowTaskQueueRequest())
    await service.count_workflow_executions(ws.CountWorkflowExecutionsRequest(), timeout=timedelta(seconds=5))
    left = [call.seconds_left or 0 for call in server.calls[1:]]
    assert left[2] < 10 < left[0] < 40 < left[1] < 80

    async def never(request: Any) -> Any:
        await asyncio.Event().wait()

    server.answers["count_workflow_executions"] = never
    with pytest.raises(RPCError) as late:
        await service.count_workflow_executions(
            ws.CountWorkflowExecutionsRequest(), timeout=timedelta(milliseconds=100)
        )
    assert late.value.status is RPCStatusCode.DEADLINE_EXCEEDED


async def test_cancelling_a_call_cancels_it_at_the_server(server: ScriptedServer, client: Client) -> None:
    arrived, cancelled = asyncio.Event(), asyncio.Event()

    async def wait(request: Any) -> Any:
        arrived.set()
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    server.answers["poll_activity_task_queue"] = wait
    call = asyncio.ensure_future(client.workflow_service.poll_activity_task_queue(ws.PollActivityTaskQueueRequest()))
    await arrived.wait()
    call.cancel()
    await cancelled.wait()
    with pytest.raises(asyncio.CancelledError):
        await call


async def test_closing_ends_polls(server: ScriptedServer) -> None:
    client = await Client.connect(server.address)
    arrived = asyncio.Event()

    async def wait(request: Any) -> Any:
        arrived.set()
        await asyncio.Event().wait()

    server.answers["poll_workflow_task_queue"] = wait
    service = client.workflow_service
    poll = asyncio.ensure_future(service.poll_workflow_task_queue(ws.PollWorkflowTaskQueueRequest()))
    await arrived.wait()
    await client.close()
    with pytest.raises(RPCError) as ended:
        await poll
    assert ended.value.status is RPCStatusCode.UNAVAILABLE
    with pytest.raises(RPCError, match="closed"):
        await service.get_system_info(ws.GetSystemInfoRequest())
    await client.close()


async def test_health(server: ScriptedServer, client: Client) -> None:
    server.answers["check"] = lambda request: HealthCheckResponse(1 if request.service == WORKFLOW_SERVICE else 2)
    assert await client.service_client.check_health()
    assert not await client.service_client.check_health(service="another")


async def test_every_rpc_of_the_seam_arrives(server: ScriptedServer, client: Client) -> None:
    from perdure.wire.methods import SERVICES, TEST_SERVICE

    for service, methods in SERVICES.items():
        if service in (TEST_SERVICE, "grpc.health.v1.Health"):
            continue
        for method in methods:
            response = await getattr(client.workflow_service, method.attribute)(method.request())
            assert type(response) is method.response
            assert server.calls[-1].method == method.attribute
    test_service: Any = client.test_service
    await test_service.sleep(None)
    await test_service.get_current_time()
    assert server.calls[-1].method == "get_current_time"


async def test_a_value_no_wire_carries_is_refused_before_the_call(server: ScriptedServer, client: Client) -> None:
    request = ws.TerminateWorkflowExecutionRequest(workflow_execution=WorkflowExecution("\ud800"))
    with pytest.raises(ValueError, match=r"WorkflowExecution\.workflow_id"):
        await client.workflow_service.terminate_workflow_execution(request)


@pytest.mark.parametrize(
    ("target", "address", "tls"),
    [
        ("temporal://host:7000", "host:7000", None),
        ("temporal://host", "host:7233", None),
        ("host:1", "host:1", None),
        ("[::1]:1", "[::1]:1", None),
        ("https://host", "host:443", True),
        ("http://host:80", "host:80", None),
        ("temporal://host?tls=true", "host:7233", True),
        ("temporal://host?tls=false", "host:7233", False),
    ],
)
def test_addresses(target: str, address: str, tls: bool | None) -> None:
    assert address_of(target) == (address, tls)


async def test_half_a_client_certificate_is_refused() -> None:
    for tls, message in (
        (TLSConfig(client_cert=b"x"), "belong together"),
        (TLSConfig(verification_server_name="x"), "needs server_root_ca_cert"),
    ):
        with pytest.raises(ValueError, match=message):
            open_channel(ConnectConfig("h:1", tls=tls))


def test_backoff_follows_its_configuration() -> None:
    config = RetryConfig(100, 0.0, 2.0, 300, 2000, 5)
    error = RPCError("", RPCStatusCode.UNAVAILABLE)
    backoff = Backoff(config, started=0)
    assert [backoff.delay(error, now) for now in (0, 0.1, 0.3)] == [0.1, 0.2, 0.3]
    assert backoff.delay(error, 1.9) is None  # too late
    backoff = Backoff(config, started=0)
    assert [backoff.delay(error, 0) is None for _ in range(6)] == [False] * 4 + [True] * 2
    throttled = RPCError("", RPCStatusCode.RESOURCE_EXHAUSTED)
    assert Backoff(RetryConfig(max_elapsed_time_millis=None), 0).delay(throttled, 0) == 1.0
    too_large = RPCError("grpc: received message larger than max (9 vs. 4)", RPCStatusCode.RESOURCE_EXHAUSTED)
    assert Backoff(config, 0).delay(too_large, 0) is None
