"""What single calls get: answers, refusals, deadlines, and tasks that are never lost."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import grpc.aio
import pytest

from perdure.api.common import v1 as common_v1
from perdure.api.errordetails import v1 as errordetails_v1
from perdure.api.taskqueue import v1 as taskqueue_v1
from perdure.api.workflowservice import v1 as ws
from perdure.server import Server
from perdure.wire.errors import from_wire
from perdure.wire.methods import HEALTH_SERVICE, OPERATOR_SERVICE, SERVICES, TEST_SERVICE, WORKFLOW_SERVICE
from tests.server.raw import Raw, connected


@pytest.fixture
async def raw(server: Server) -> AsyncIterator[Raw]:
    async with connected(server.address) as channel:
        yield channel


async def refusal(call: Any) -> grpc.aio.AioRpcError:
    """The error a call ends with."""
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await call
    return refused.value


async def until(condition: Callable[[], object]) -> None:
    while not condition():
        await asyncio.sleep(0.01)


def pollers(server: Server, queue: str = "q") -> int:
    """How many polls for workflow tasks wait in a queue."""
    known = server.service.core.matching.known(  # type: ignore[attr-defined]
        server.service.namespaces.get("default").namespace_id,
        1,
        queue,  # type: ignore[attr-defined]
    )
    return 0 if known is None else sum(not poller.future.done() for poller in known.pollers)


# ---- what does not fit


@pytest.mark.parametrize("service", [WORKFLOW_SERVICE, OPERATOR_SERVICE, "temporal.api.cloud.v1.CloudService"])
async def test_unknown_methods_are_unimplemented(raw: Raw, service: str) -> None:
    error = await refusal(raw.send(f"/{service}/NoSuchMethod", b""))
    assert error.code() is grpc.StatusCode.UNIMPLEMENTED
    assert service in (error.details() or "")


async def test_a_real_clock_has_no_test_service(raw: Raw) -> None:
    error = await refusal(raw.send(f"/{TEST_SERVICE}/UnlockTimeSkipping", b""))
    assert error.code() is grpc.StatusCode.UNIMPLEMENTED


@pytest.mark.parametrize("data", [b"\xff", b"\x0a\xff\xff\xff\xff\x0f", b"\x0a\x02\xff\xfe", b"\x00" * 50])
async def test_malformed_messages_are_refused(raw: Raw, data: bytes) -> None:
    error = await refusal(raw.send(f"/{WORKFLOW_SERVICE}/StartWorkflowExecution", data))
    assert error.code() is grpc.StatusCode.INTERNAL
    assert "unmarshalling" in (error.details() or "")


@pytest.mark.parametrize("size", [5, 40])
async def test_oversized_messages_are_refused(raw: Raw, size: int) -> None:
    error = await refusal(raw.send(f"/{WORKFLOW_SERVICE}/StartWorkflowExecution", b"\x0a" * (size * 1024 * 1024)))
    assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert "larger than max" in (error.details() or "")
    await raw.start()


async def test_a_refusal_carries_temporals_details(raw: Raw) -> None:
    run_id = await raw.start()
    error = await refusal(
        raw.call(
            "start_workflow_execution",
            ws.StartWorkflowExecutionRequest(
                namespace="default",
                workflow_id="w",
                workflow_type=common_v1.WorkflowType("W"),
                task_queue=taskqueue_v1.TaskQueue("q", 1),
                request_id="another",
            ),
        )
    )
    assert error.code() is grpc.StatusCode.ALREADY_EXISTS
    known = from_wire(error.code(), error.details(), error.trailing_metadata())
    detail = known.detail(errordetails_v1.WorkflowExecutionAlreadyStartedFailure)
    assert isinstance(detail, errordetails_v1.WorkflowExecutionAlreadyStartedFailure)
    assert detail.run_id == run_id


# ---- long polls


async def test_a_poll_ends_empty_before_its_deadline(raw: Raw) -> None:
    response = await raw.poll(timeout=1.3)
    assert response.task_token == b""


async def test_a_wait_for_events_ends_empty_before_its_deadline(raw: Raw) -> None:
    run_id = await raw.start()
    response = await raw.call(
        "get_workflow_execution_history",
        ws.GetWorkflowExecutionHistoryRequest(
            "default", common_v1.WorkflowExecution("w", run_id), wait_new_event=True, history_event_filter_type=2
        ),
        timeout=1.3,
    )
    assert response.next_page_token and response.history is not None and not response.history.events


async def test_a_cancelled_poll_takes_no_task(server: Server, raw: Raw) -> None:
    poll = raw.poll()
    await until(lambda: pollers(server))
    poll.cancel()
    await until(lambda: not pollers(server))
    await raw.start()
    assert (await raw.poll()).attempt == 1


async def test_tasks_of_workers_that_vanish_come_back(server: Server, raw: Raw) -> None:
    """Connections break while tasks are on their way; every task reaches somebody who stays."""
    count = 30
    for _ in range(3):
        async with connected(server.address) as vanishing:
            polls = [vanishing.poll() for _ in range(count // 3)]
            for number, poll in enumerate(polls):
                asyncio.ensure_future(_swallow(poll))
                if number % 2:
                    await asyncio.sleep(0)
    seen = set()
    await asyncio.gather(*(raw.start(f"w{number}") for number in range(count)))
    while len(seen) < count:
        task = await raw.poll()
        seen.add(task.workflow_execution.workflow_id)
        await raw.call(
            "respond_workflow_task_completed",
            ws.RespondWorkflowTaskCompletedRequest(task.task_token, namespace="default"),
        )


class TooLate:
    """A service that answers a poll just when its caller has gone."""

    in_process = False

    def __init__(self) -> None:
        self.polled = asyncio.Event()
        self.returned: asyncio.Future[object] = asyncio.get_running_loop().create_future()

    async def poll_workflow_task_queue(self, request: object, **_: object) -> ws.PollWorkflowTaskQueueResponse:
        self.polled.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            pass
        return ws.PollWorkflowTaskQueueResponse(task_token=b"token")

    async def give_back(self, response: object) -> None:
        self.returned.set_result(response)


async def test_an_answer_that_nobody_waits_for_is_given_back() -> None:
    service = TooLate()
    async with (
        Server(service, port=0, namespaces=(), drain_seconds=1) as server,  # type: ignore[arg-type]
        connected(server.address) as raw,
    ):
        poll = raw.poll()
        await service.polled.wait()
        poll.cancel()
        returned = await asyncio.wait_for(service.returned, 20)
    assert returned == ws.PollWorkflowTaskQueueResponse(task_token=b"token")


async def _swallow(call: Any) -> None:
    try:
        await call
    except (asyncio.CancelledError, grpc.aio.AioRpcError):
        pass


async def test_a_thousand_idle_pollers(server: Server) -> None:
    async with connected(server.address) as many:
        polls = [many.poll(timeout=50, queue=f"q{number % 100}") for number in range(1000)]
        waiting = [asyncio.ensure_future(_swallow(poll)) for poll in polls]
        await until(lambda: sum(pollers(server, f"q{number}") for number in range(100)) == 1000)
        async with connected(server.address) as other:
            await other.start()
            task = await other.poll()
            assert task.workflow_execution.workflow_id == "w"
        for poll in polls:
            poll.cancel()
        await asyncio.gather(*waiting)
        await until(lambda: not any(pollers(server, f"q{number}") for number in range(100)))


# ---- stopping


async def test_stopping_ends_polls_empty_and_other_waits_with_unavailable(server: Server, raw: Raw) -> None:
    run_id = await raw.start("other")
    await raw.poll()
    poll = asyncio.ensure_future(raw.poll())
    wait = asyncio.ensure_future(
        refusal(
            raw.call(
                "get_workflow_execution_history",
                ws.GetWorkflowExecutionHistoryRequest(
                    "default", common_v1.WorkflowExecution("other", run_id), wait_new_event=True,
                    history_event_filter_type=2,
                ),
            )
        )
    )  # fmt: skip
    await until(lambda: pollers(server))
    await asyncio.sleep(0.05)
    await server.stop()
    assert (await poll).task_token == b""
    assert (await wait).code() is grpc.StatusCode.UNAVAILABLE


async def test_a_server_starts_again_where_it_stopped(tmp_path: Any) -> None:
    url = f"lmdb:{tmp_path}/store"
    async with Server(url, port=0, drain_seconds=1) as server, connected(server.address) as raw:
        await raw.start()
        task = await raw.poll()
    async with Server(url, port=0, drain_seconds=1) as server, connected(server.address) as raw:
        await raw.call(
            "respond_workflow_task_completed",
            ws.RespondWorkflowTaskCompletedRequest(task.task_token, namespace="default"),
        )


# ---- health


async def health(raw: Raw, service: str) -> int:
    check, _ = SERVICES[HEALTH_SERVICE]
    from perdure.wire.codec import decode, encode

    answer = await raw.send(check.path, encode(check.request(service=service)))  # type: ignore[call-arg]
    status: int = decode(check.response, answer).status  # type: ignore[attr-defined]
    return status


@pytest.mark.parametrize("service", ["", WORKFLOW_SERVICE, OPERATOR_SERVICE, HEALTH_SERVICE])
async def test_the_services_are_healthy(raw: Raw, service: str) -> None:
    assert await health(raw, service) == 1


async def test_the_health_of_an_unknown_service_is_not_found(raw: Raw) -> None:
    for service in ("nobody", TEST_SERVICE):
        assert (await refusal(health(raw, service))).code() is grpc.StatusCode.NOT_FOUND


async def test_watching_health_ends_with_not_serving(server: Server, raw: Raw) -> None:
    _, watch = SERVICES[HEALTH_SERVICE]
    from perdure.wire.codec import decode

    seen = []
    stream = raw.channel.unary_stream(watch.path)(b"")
    seen.append(decode(watch.response, await stream.read()).status)  # type: ignore[attr-defined]
    stopping = asyncio.ensure_future(server.stop())
    seen.append(decode(watch.response, await stream.read()).status)  # type: ignore[attr-defined]
    await stopping
    assert seen == [1, 2]
