"""One gRPC call: bytes in, the seam's method, bytes out."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from datetime import timedelta
from typing import Any, NoReturn, TypeAlias

import grpc

from perdure.api._message import Message
from perdure.api.errordetails.v1 import PermissionDeniedFailure
from perdure.api.operatorservice.v1 import DeleteNamespaceRequest
from perdure.api.workflowservice.v1 import DescribeNamespaceRequest
from perdure.server._auth import Authorizer, Refused
from perdure.service import RPCError, RPCStatusCode
from perdure.wire import errors
from perdure.wire.codec import DecodeError, decode, encode
from perdure.wire.methods import SERVICES, TEST_SERVICE, WORKFLOW_SERVICE, Method

#: grpc's ServicerContext, which has no types.
Context: TypeAlias = Any

logger = logging.getLogger("perdure.server")

#: Bytes of a request, as with Temporal.
MAX_REQUEST_BYTES = 4 * 1024 * 1024
#: Polls that end with an empty answer when the server stops; other waits end with UNAVAILABLE.
_EMPTY = {"PollWorkflowTaskQueue", "PollActivityTaskQueue", "PollNexusTaskQueue"}
_WAITS = _EMPTY | {
    "GetWorkflowExecutionHistory", "PollWorkflowExecutionUpdate", "PollActivityExecution",
    "PollNexusOperationExecution", "DescribeActivityExecution", "DescribeNexusOperationExecution",
}  # fmt: skip
#: Answers that may carry tasks.
_WITH_TASKS = _EMPTY | {"StartWorkflowExecution", "RespondWorkflowTaskCompleted"}

_STOPPING = RPCError("The server is shutting down. It is safe to try again.", RPCStatusCode.UNAVAILABLE)
_UNAUTHORIZED = RPCError("Request unauthorized.", RPCStatusCode.PERMISSION_DENIED, [PermissionDeniedFailure()])
_INTERNAL = RPCError("The server failed to handle the request; its log says why.", RPCStatusCode.INTERNAL)


class Calls(grpc.GenericRpcHandler):  # type: ignore[misc]  # grpc has no types
    """Answers every RPC of a service, and refuses the others."""

    def __init__(
        self,
        service: Any,
        authorizer: Authorizer | None,
        others: dict[str, grpc.RpcMethodHandler],
    ) -> None:
        self._service = service
        self._authorizer = authorizer
        self._handlers = dict(others)
        self._waiting: set[asyncio.Task[Any]] = set()
        self._giving_back: set[asyncio.Task[None]] = set()
        self._is_stopping = False
        #: Full names of the services that are there.
        self.services: set[str] = set()
        for name, methods in SERVICES.items():
            for method in methods:
                call = getattr(service, method.attribute, None)
                if call is not None and (name != TEST_SERVICE or hasattr(service, "lock_time_skipping")):
                    self.services.add(name)
                    self._handlers[method.path] = grpc.unary_unary_rpc_method_handler(self._handler(method, call))

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler | None:
        """Who handles a call."""
        handler = self._handlers.get(handler_call_details.method)
        return handler or _unknown(handler_call_details.method)

    def implemented(self) -> set[str]:
        """The paths of all RPCs that are answered."""
        return set(self._handlers)

    def stop_waiting(self) -> None:
        """End every poll and wait, now and from now on."""
        self._is_stopping = True
        for task in self._waiting:
            task.cancel()

    def _handler(
        self, method: Method, call: Callable[..., Coroutine[Any, Any, Message]]
    ) -> Callable[[bytes, Context], Coroutine[Any, Any, bytes]]:
        path, request_type = method.path, method.request
        rpc = path.rpartition("/")[2]
        waits, has_tasks = rpc in _WAITS, rpc in _WITH_TASKS and path.startswith(f"/{WORKFLOW_SERVICE}/")
        authorizer = self._authorizer
        give_back = getattr(self._service, "give_back", None)

        async def handle(data: bytes, context: Context) -> bytes:
            if len(data) > MAX_REQUEST_BYTES:
                await _refuse(context, _too_large(len(data)))
            metadata = dict(context.invocation_metadata() or ())
            claims = None
            try:
                if authorizer is not None:
                    claims = await authorizer.authenticate(
                        path, str(metadata.get("authorization", "")), _names(context)
                    )
                request = decode(request_type, data)
                if authorizer is not None:
                    authorizer.authorize(claims, path, _namespace_of(request))
            except DecodeError as error:
                await _refuse(context, _malformed(error))
            except Refused as error:
                logger.info("refused a call of %s from %s: %s", rpc, context.peer(), error)
                await _refuse(context, _UNAUTHORIZED)
            seconds = context.time_remaining()
            timeout = None if seconds is None else timedelta(seconds=seconds)
            try:
                response = await call(request, metadata=metadata, timeout=timeout)
                answer = encode(response)
            except RPCError as error:
                await _refuse(context, error)
            except Exception:
                logger.exception("%s failed", rpc)
                await _refuse(context, _INTERNAL)
            if has_tasks and give_back is not None and len(answer) > 2:
                context.add_done_callback(self._returner(give_back, response))
            return answer

        if not waits:
            return handle

        async def handle_wait(data: bytes, context: Context) -> bytes:
            task = asyncio.current_task()
            assert task is not None
            if self._is_stopping:
                return await self._stopped(rpc, context)
            self._waiting.add(task)
            try:
                return await handle(data, context)
            except asyncio.CancelledError:
                if not self._is_stopping:
                    raise
                task.uncancel()
                return await self._stopped(rpc, context)
            finally:
                self._waiting.discard(task)

        return handle_wait

    async def _stopped(self, rpc: str, context: Context) -> bytes:
        if rpc not in _EMPTY:
            await _refuse(context, _STOPPING)
        return b""

    def _returner(
        self, give_back: Callable[[Message], Coroutine[Any, Any, None]], response: Message
    ) -> Callable[[Any], None]:
        """Hands the tasks of an answer out again if the client was gone before it could be sent."""
        call = asyncio.current_task()

        def done(context: Context) -> None:
            # The context says nothing of it, but a client that goes cancels the task of its call.
            if call is not None and call.cancelling():
                task = asyncio.get_running_loop().create_task(give_back(response))
                self._giving_back.add(task)
                task.add_done_callback(self._given_back)

        return done

    def _given_back(self, task: asyncio.Task[None]) -> None:
        self._giving_back.discard(task)
        if not task.cancelled() and task.exception() is not None:
            logger.warning(
                "a task that did not reach its worker comes back only when it times out: %s", task.exception()
            )


async def _refuse(context: Context, error: RPCError) -> NoReturn:
    code, message, details = errors.to_wire(error)
    await context.abort(code, message, ((errors.STATUS_KEY, details),) if details else ())
    raise AssertionError  # abort has raised


def _too_large(size: int) -> RPCError:
    # The SDKs know this error by grpc-go's words.
    return RPCError(
        f"grpc: received message larger than max ({size} vs. {MAX_REQUEST_BYTES})", RPCStatusCode.RESOURCE_EXHAUSTED
    )


def _malformed(error: DecodeError) -> RPCError:
    return RPCError(f"grpc: error unmarshalling request: {error}", RPCStatusCode.INTERNAL)


def _namespace_of(request: Message) -> str:
    """The namespace a caller needs a role in: none by name where an id says which one is meant."""
    if isinstance(request, DescribeNamespaceRequest) and request.id:
        return ""
    if isinstance(request, DeleteNamespaceRequest) and request.namespace_id:
        return ""
    namespace: str = getattr(request, "namespace", "")
    return namespace


def _names(context: Context) -> list[bytes]:
    """The common names of the client's certificate, which TLS has checked."""
    known: Any = context.auth_context()
    return list(known.get("x509_common_name", ()))


def _unknown(path: str) -> grpc.RpcMethodHandler:
    _, _, rest = path.partition("/")
    service, _, method = rest.partition("/")
    text = f"unknown method {method} for service {service}" if service in SERVICES else f"unknown service {service}"
    error = RPCError(text, RPCStatusCode.UNIMPLEMENTED)

    async def refuse(data: bytes, context: Context) -> bytes:
        await _refuse(context, error)

    return grpc.unary_unary_rpc_method_handler(refuse)
