"""A Temporal server as a home: the seam over gRPC.

Every RPC that :data:`SERVICES` lists is a method of :class:`TemporalService`. A call is a struct turned into bytes, one
``grpc.aio`` call, and bytes turned into a struct; in between are the connection's headers, a deadline, and retries.

Long polls end at the server after about a minute; their deadline is a little later, and a poll that reaches it has
found nothing. Whoever polls, polls again.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Mapping
from datetime import timedelta
from typing import Any, cast

import grpc
import grpc.aio

import perdure
from perdure.api._message import Message
from perdure.api.workflowservice.v1 import GetSystemInfoRequest, GetSystemInfoResponse
from perdure.service import ConnectConfig, RetryConfig, RPCError, RPCStatusCode, ServiceClosedError, WorkflowService
from perdure.service._loops import refuse_loop
from perdure.wire import codec, errors
from perdure.wire._channel import address_of, open_channel
from perdure.wire._retry import Backoff
from perdure.wire._tables import HealthCheckRequest, HealthCheckResponse
from perdure.wire.methods import HEALTH_SERVICE, SERVICES, TEST_SERVICE, Method

_SECONDS = 30.0
_LONG_POLL_SECONDS = 70.0
#: Whoever calls these has its own way to go on after an error.
_TASK_POLLS = frozenset(("poll_workflow_task_queue", "poll_activity_task_queue", "poll_nexus_task_queue"))
_LONG_POLLS = _TASK_POLLS | {
    "get_workflow_execution_history",
    "poll_workflow_execution_update",
    "update_workflow_execution",
    "execute_multi_operation",
    "poll_activity_execution",
    "poll_nexus_operation_execution",
    "query_workflow",
}
#: Long polls that have an empty answer.
_EMPTY_AT_DEADLINE = _TASK_POLLS | {"poll_activity_execution", "poll_nexus_operation_execution"}
_CLIENT = (("client-name", "perdure"), ("client-version", perdure.__version__))
_SERVING = 1


async def connect(config: ConnectConfig) -> WorkflowService:
    """Connect to the Temporal server that ``config.target_host`` names, and ask it who it is.

    Raises:
        ValueError: the address or the TLS settings are wrong.
        RuntimeError: nobody answers there, or it refuses us.
    """
    service = TemporalService(config)
    try:
        await service.say_hello()
    except RPCError as error:
        await service.close()
        raise RuntimeError(f"Failed client connect: {address_of(config.target_host)[0]}: {error}") from error
    except BaseException:
        await service.close()
        raise
    return cast("WorkflowService", service)


class TemporalService:
    """The services of a Temporal server. Belongs to the event loop it was made on."""

    in_process = False

    def __init__(self, config: ConnectConfig) -> None:
        """Make the channel; it connects at the first call."""
        self._config = config
        self._retry = config.retry_config or RetryConfig()
        self._channel = open_channel(config)
        self._loop = asyncio.get_running_loop()
        self._thread_id = threading.get_ident()
        self._time = self._loop.time
        self._is_closed = False
        #: What the server said it can do.
        self.system_info = GetSystemInfoResponse()
        for service, methods in SERVICES.items():
            if service != HEALTH_SERVICE:
                for method in methods:
                    setattr(self, method.attribute, self._caller(service, method))
        self._check = self._channel.unary_unary(SERVICES[HEALTH_SERVICE][0].path)

    def _caller(self, service: str, method: Method) -> Callable[..., Awaitable[Any]]:
        call = self._channel.unary_unary(method.path)
        name = method.attribute
        response = method.response
        attempt, retry = self._attempt, name not in _TASK_POLLS
        default_seconds = _LONG_POLL_SECONDS if name in _LONG_POLLS else _SECONDS
        is_empty_at_deadline = name in _EMPTY_AT_DEADLINE

        async def rpc(
            request: Message,
            *,
            metadata: Mapping[str, str | bytes] | None = None,
            timeout: timedelta | None = None,
        ) -> Any:
            if asyncio._get_running_loop() is not self._loop:
                refuse_loop(self._thread_id)
            data = codec.encode(request)
            headers = self._headers(request, metadata)
            seconds = default_seconds if timeout is None else timeout.total_seconds()
            try:
                if retry:
                    answer = await self._with_retries(call, data, headers, seconds, timeout is not None)
                else:
                    answer = await attempt(call, data, headers, seconds)
            except RPCError as error:
                if is_empty_at_deadline and timeout is None and error.status is RPCStatusCode.DEADLINE_EXCEEDED:
                    return response()
                raise
            return codec.decode(response, answer)

        if service != TEST_SERVICE:
            return rpc

        async def test_rpc(
            req: Message | None = None,
            retry: bool = False,
            metadata: Mapping[str, str | bytes] | None = None,
            timeout: timedelta | None = None,
        ) -> Any:
            # Sleeping takes its time: bounded only by who asks for it.
            limit = timeout or timedelta(days=365)
            return await rpc(method.request() if req is None else req, metadata=metadata, timeout=limit)

        return test_rpc

    async def _with_retries(
        self, call: Any, data: bytes, headers: list[tuple[str, str | bytes]], seconds: float, is_total: bool
    ) -> bytes:
        """``seconds`` bound each attempt, or all of them if ``is_total``."""
        started = self._time()
        try:
            return await self._attempt(call, data, headers, seconds)
        except RPCError as error:
            refused = error
        backoff = Backoff(self._retry, started)
        while True:
            now = self._time()
            delay = backoff.delay(refused, now)
            if delay is None or self._is_closed:
                raise refused
            if is_total and now + delay - started >= seconds:
                raise refused
            await asyncio.sleep(delay)
            left = seconds - (self._time() - started) if is_total else seconds
            try:
                return await self._attempt(call, data, headers, left)
            except RPCError as error:
                refused = error

    async def _attempt(self, call: Any, data: bytes, headers: list[tuple[str, str | bytes]], seconds: float) -> bytes:
        if self._is_closed:
            raise ServiceClosedError
        try:
            return cast("bytes", await call(data, timeout=seconds, metadata=headers))
        except grpc.aio.AioRpcError as error:
            if self._is_closed:
                raise ServiceClosedError from error
            raise errors.from_wire(error.code(), error.details(), error.trailing_metadata()) from error
        except asyncio.CancelledError:
            if self._is_closed and not _is_cancelled():
                raise ServiceClosedError from None
            raise

    def _headers(self, request: Message, metadata: Mapping[str, str | bytes] | None) -> list[tuple[str, str | bytes]]:
        headers: list[tuple[str, str | bytes]] = list(_CLIENT)
        config = self._config
        namespace = getattr(request, "namespace", None)
        if namespace:
            headers.append(("temporal-namespace", namespace))
        own = {**config.rpc_metadata, **metadata} if metadata else config.rpc_metadata
        if config.api_key is not None and "authorization" not in own:
            headers.append(("authorization", f"Bearer {config.api_key}"))
        if own:
            headers += [(key.lower(), value) for key, value in own.items()]
        return headers

    async def say_hello(self) -> None:
        """Learn what the server can do. Raises RPCError when nobody answers in time."""
        seconds = _SECONDS if self._config.connect_timeout is None else self._config.connect_timeout.total_seconds()
        request = GetSystemInfoRequest()
        call = self._channel.unary_unary(_path("get_system_info"))
        try:
            answer = await self._with_retries(call, codec.encode(request), self._headers(request, None), seconds, True)
        except RPCError as error:
            if error.status is RPCStatusCode.UNIMPLEMENTED:
                return  # an old server, which can do nothing of what would be said here
            raise
        self.system_info = codec.decode(GetSystemInfoResponse, answer)

    async def check_health(
        self, service: str, *, metadata: Mapping[str, str | bytes] | None = None, timeout: timedelta | None = None
    ) -> bool:
        """What the server's health service says of one of its services."""
        request = HealthCheckRequest(service)
        seconds = _SECONDS if timeout is None else timeout.total_seconds()
        answer = await self._attempt(self._check, codec.encode(request), self._headers(request, metadata), seconds)
        return codec.decode(HealthCheckResponse, answer).status == _SERVING

    async def detach_activity_task(self, task_token: bytes) -> None:
        """Nothing: a Temporal server does not know which process runs an attempt."""

    async def close(self) -> None:
        """Close the connection. Polls end with UNAVAILABLE."""
        if not self._is_closed:
            self._is_closed = True
            await self._channel.close()


def _path(attribute: str) -> str:
    return next(method.path for methods in SERVICES.values() for method in methods if method.attribute == attribute)


def _is_cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
