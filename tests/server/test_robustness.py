"""Clients that misbehave: the server serves everybody else, and nothing is lost."""

from __future__ import annotations

import asyncio
import os
import random
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc.aio
import pytest

from perdure.api.common import v1 as common_v1
from perdure.api.taskqueue import v1 as taskqueue_v1
from perdure.api.workflowservice import v1 as ws
from perdure.server import Server
from perdure.wire.codec import encode
from perdure.wire.methods import OPERATOR_SERVICE, SERVICES, WORKFLOW_SERVICE
from tests.server.raw import Raw, connected

S = 1_000_000_000


class Proxy:
    """Stands between a client and the server, and can stop reading from either, or vanish."""

    def __init__(self, target: str) -> None:
        self._host, _, port = target.rpartition(":")
        self._port = int(port)
        self.may_read = asyncio.Event()
        self.may_read.set()
        self._writers: set[asyncio.StreamWriter] = set()
        self.address = ""

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection(self._host, self._port)
        self._writers |= {writer, far_writer}
        try:
            await asyncio.gather(
                self._copy(reader, far_writer, is_answer=False), self._copy(far_reader, writer, is_answer=True)
            )
        except OSError:
            pass
        finally:
            for one in (writer, far_writer):
                one.transport.abort()
                self._writers.discard(one)

    async def _copy(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, is_answer: bool) -> None:
        while data := await reader.read(16 * 1024):
            if is_answer:
                await self.may_read.wait()
            writer.write(data)
            await writer.drain()
        raise ConnectionResetError

    def vanish(self) -> None:
        """Break every connection in the middle."""
        for writer in self._writers:
            writer.transport.abort()


@asynccontextmanager
async def proxied(server: Server) -> AsyncIterator[Proxy]:
    proxy = Proxy(server.address)
    listener = await asyncio.start_server(proxy.handle, "127.0.0.1", 0, limit=64 * 1024)
    proxy.address = f"127.0.0.1:{listener.sockets[0].getsockname()[1]}"
    try:
        yield proxy
    finally:
        proxy.vanish()
        proxy.may_read.set()
        listener.close()
        await asyncio.sleep(0.05)


async def start(raw: Raw, workflow_id: str, size: int = 0, task_timeout: int = 1) -> None:
    await raw.call(
        "start_workflow_execution",
        ws.StartWorkflowExecutionRequest(
            namespace="default",
            workflow_id=workflow_id,
            workflow_type=common_v1.WorkflowType("W"),
            task_queue=taskqueue_v1.TaskQueue("q", 1),
            request_id=workflow_id,
            input=common_v1.Payloads([common_v1.Payload({}, os.urandom(size))]) if size else None,
            workflow_task_timeout=task_timeout * S,
        ),
    )


async def test_noise_on_the_port(server: Server) -> None:
    noise = random.Random(7)
    host, _, port = server.address.rpartition(":")
    for kind in range(40):
        reader, writer = await asyncio.open_connection(host, int(port))
        if kind % 3 == 0:
            writer.write(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
        writer.write(noise.randbytes(noise.randrange(1, 5000)))
        if kind % 2:
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        writer.close()
        del reader
    async with connected(server.address) as raw:
        await raw.start()


async def test_nonsense_for_every_rpc(server: Server) -> None:
    """Random bytes, nothing at all, and nothing but a namespace: a refusal that blames the request, or an answer."""
    noise = random.Random(11)
    refused = {grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.NOT_FOUND, grpc.StatusCode.FAILED_PRECONDITION,
               grpc.StatusCode.PERMISSION_DENIED, grpc.StatusCode.UNIMPLEMENTED}  # fmt: skip
    wrong = []
    async with connected(server.address) as raw:
        await raw.call(
            "register_namespace",
            ws.RegisterNamespaceRequest("nonsense", workflow_execution_retention_period=86_400 * S),
        )
        for service in (WORKFLOW_SERVICE, OPERATOR_SERVICE):
            for method in SERVICES[service]:
                requests = [noise.randbytes(40), b""]
                if hasattr(method.request, "namespace"):
                    requests.append(encode(method.request(namespace="nonsense")))  # type: ignore[call-arg]
                for data in requests:
                    try:
                        await raw.send(method.path, data)
                    except grpc.aio.AioRpcError as error:
                        if error.code() not in refused and "unmarshalling" not in (error.details() or ""):
                            wrong.append((method.path, data, error.code(), error.details()))
        assert not wrong
        await raw.start()


async def test_compressed_messages(server: Server) -> None:
    async with grpc.aio.insecure_channel(
        server.address, compression=grpc.Compression.Gzip, options=(("grpc.max_send_message_length", -1),)
    ) as channel:
        raw = Raw(channel)
        await start(raw, "w", 100_000)
        for megabytes in (5, 200):
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await raw.send(f"/{WORKFLOW_SERVICE}/StartWorkflowExecution", bytes(megabytes * 1024 * 1024))
            assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


async def test_slow_readers_hold_nobody_up(server: Server) -> None:
    async with connected(server.address) as quick, proxied(server) as proxy, connected(proxy.address) as slow:
        await start(quick, "big", 1024 * 1024)
        request = ws.GetWorkflowExecutionHistoryRequest("default", common_v1.WorkflowExecution("big"))
        await slow.call("get_workflow_execution_history", request)
        proxy.may_read.clear()
        calls = [asyncio.ensure_future(_answer(slow, request)) for _ in range(40)]
        for number in range(20):
            await start(quick, f"w{number}")
        assert not any(call.done() for call in calls)
        proxy.may_read.set()
        sizes = await asyncio.gather(*calls)
        assert sizes == [1] * 40


async def _answer(raw: Raw, request: Any) -> int:
    response = await raw.call("get_workflow_execution_history", request, timeout=50)
    return sum(event.event_type == 1 for event in response.history.events)


async def test_tasks_sent_to_a_broken_connection_time_out_and_come_back(server: Server) -> None:
    """They were on their way when the worker's machine vanished; nobody knows that it did not get them."""
    async with connected(server.address) as quick, proxied(server) as proxy, connected(proxy.address) as lost:
        await start(quick, "warm-up")
        await lost.poll()
        poll = asyncio.ensure_future(_quiet(lost.poll()))
        while not _waiting(server):
            await asyncio.sleep(0.01)
        proxy.may_read.clear()
        await start(quick, "w")
        while _waiting(server):
            await asyncio.sleep(0.01)
        proxy.vanish()
        await poll
        seen = set()
        while "w" not in seen:
            task = await quick.poll(timeout=30)
            seen.add(task.workflow_execution.workflow_id)


async def _quiet(call: Any) -> None:
    with pytest.raises(grpc.aio.AioRpcError):
        await call


def _waiting(server: Server) -> int:
    engine: Any = server.service
    queue = engine.core.matching.known(engine.namespaces.get("default").namespace_id, 1, "q")
    return 0 if queue is None else sum(not poller.future.done() for poller in queue.pollers)


async def test_connections_come_and_go(server: Server) -> None:
    async with connected(server.address) as steady:
        for round_ in range(10):
            async with proxied(server) as proxy, connected(proxy.address) as flighty:
                calls = [asyncio.ensure_future(_either(start(flighty, f"w{round_}-{n}"))) for n in range(10)]
                if round_ % 2:
                    await asyncio.sleep(0.005 * (round_ % 4))
                    proxy.vanish()
                done = await asyncio.gather(*calls)
            for number, was_acknowledged in enumerate(done):
                if was_acknowledged:
                    request = ws.DescribeWorkflowExecutionRequest(
                        "default", common_v1.WorkflowExecution(f"w{round_}-{number}")
                    )
                    await steady.call("describe_workflow_execution", request)


async def _either(call: Any) -> bool:
    try:
        await call
    except grpc.aio.AioRpcError:
        return False
    return True
