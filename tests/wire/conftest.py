"""A small gRPC server whose answers a test scripts, and a Temporal dev server where one is to be had."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import grpc
import grpc.aio
import pytest

from perdure.api._message import Message
from perdure.service import RPCError
from perdure.wire import codec, errors
from perdure.wire.methods import SERVICES, Method

METHODS: dict[str, Method] = {method.path: method for methods in SERVICES.values() for method in methods}
Answer = Callable[..., Awaitable[Message]]


class Call:
    """One call as it arrived."""

    def __init__(self, method: Method, request: Message, metadata: dict[str, str | bytes], left: float | None) -> None:
        self.method = method.attribute
        self.request: Any = request
        self.metadata = metadata
        self.seconds_left = left


class ScriptedServer(grpc.GenericRpcHandler):  # type: ignore[misc]
    """Answers with what a test set for a method, else with an empty message of the right type."""

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.answers: dict[str, Callable[[Any], Any]] = {}
        self.address = ""

    def of(self, attribute: str) -> list[Call]:
        """The calls of one method."""
        return [call for call in self.calls if call.method == attribute]

    def service(self, details: Any) -> Any:
        """grpc's way to find a method."""
        method = METHODS.get(details.method)
        if method is None:
            return None

        async def handle(data: bytes, context: Any) -> bytes:
            request = codec.decode(method.request, data)
            metadata = dict(context.invocation_metadata())
            self.calls.append(Call(method, request, metadata, context.time_remaining()))
            answer = self.answers.get(method.attribute)
            try:
                response = method.response() if answer is None else answer(request)
                if asyncio.iscoroutine(response):
                    response = await response
            except RPCError as error:
                status = errors.to_wire(error)
                trailers = ((errors.STATUS_KEY, status.details),) if status.details else ()
                await context.abort(status.code, status.message, trailers)
                raise
            return codec.encode(response)

        return grpc.unary_unary_rpc_method_handler(handle)


@pytest.fixture
async def server() -> AsyncIterator[ScriptedServer]:
    """A scripted server on a port of its own."""
    scripted = ScriptedServer()
    running = grpc.aio.server()
    running.add_generic_rpc_handlers((scripted,))
    scripted.address = f"127.0.0.1:{running.add_insecure_port('127.0.0.1:0')}"
    await running.start()
    yield scripted
    await running.stop(None)


DEV_SERVER = "PERDURE_TEMPORAL_SERVER"


@pytest.fixture(scope="session")
def dev_server(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The address of a Temporal dev server: the binary that PERDURE_TEMPORAL_SERVER names, started in memory."""
    import subprocess
    import time

    binary = os.environ.get(DEV_SERVER)
    if not binary:
        pytest.skip(f"needs Temporal's dev server: set {DEV_SERVER} to a temporal binary, or to host:port of one")
    if not os.path.exists(binary):
        yield binary
        return
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    settings = [
        "history.transferProcessorMaxPollRPS=10000",
        "history.timerProcessorMaxPollRPS=10000",
        "system.forceSearchAttributesCacheRefreshOnRead=true",
        "system.enableEagerWorkflowStart=true",
        "frontend.workerVersioningWorkflowAPIs=true",
        "frontend.workerVersioningDataAPIs=true",
    ]
    log = (tmp_path_factory.mktemp("temporal") / "server.log").open("w")
    command = [binary, "server", "start-dev", "--headless", "--ip", "127.0.0.1", "--port", str(port)]
    command += ["--log-level", "error", *(part for value in settings for part in ("--dynamic-config-value", value))]
    process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        deadline = time.monotonic() + 30
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError:
                if time.monotonic() > deadline or process.poll() is not None:
                    raise RuntimeError(f"the dev server does not answer; see {log.name}") from None
                time.sleep(0.1)
        yield f"127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(10)
        log.close()
