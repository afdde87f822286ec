"""The Nexus half of a worker: from a polled Nexus task to its answer.

A handler runs in its poller's task. What it raises becomes the operation's failure or, where the handler itself is at
fault, a handler error: the service asks again unless that says it is final. A request whose time is over is answered by
nobody: the service has given it up.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextvars
import functools
import logging
import re
import threading
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

import nexusrpc
import nexusrpc.handler
from nexusrpc import HandlerErrorType, LazyValue
from nexusrpc.handler import CancelOperationContext, Handler, StartOperationContext

from perdure.activity._context import OnceEvent
from perdure.api.failure.v1 import Failure, NexusHandlerFailureInfo
from perdure.api.nexus import v1 as nexus_v1
from perdure.api.workflowservice import v1 as ws
from perdure.client._nexus_context import current_operation
from perdure.converter import DataConverter, NexusSerializationContext
from perdure.exceptions import ApplicationError, CancelledError
from perdure.nexus._context import CancelingOperation, Info, StartingOperation, _current
from perdure.service import RPCError, RPCStatusCode, WorkflowService
from perdure.worker._nexus_errors import as_handler_error
from perdure.worker._nexus_input import InputSerializer
from perdure.worker._nexus_interceptor import (
    ExecuteNexusOperationCancelInput,
    ExecuteNexusOperationStartInput,
    NexusOperationInboundInterceptor,
)

if TYPE_CHECKING:
    from perdure.client import Client
    from perdure.common import MetricMeter
    from perdure.worker._interceptor import Interceptor

logger = logging.getLogger("perdure.worker")

_DURATION = re.compile(r"\s*(\d+(?:\.\d+)?)\s*(ms|s|m)\s*")
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0}
_P = ParamSpec("_P")
_T = TypeVar("_T")


class NexusWorker:
    """Handles the Nexus tasks of one task queue."""

    def __init__(
        self,
        *,
        client: Client,
        service: WorkflowService,
        namespace: str,
        identity: str,
        task_queue: str,
        service_handlers: Sequence[Any],
        interceptors: Sequence[Interceptor],
        metric_meter: MetricMeter,
        executor: concurrent.futures.Executor | None,
        on_fatal: Callable[[BaseException], None],
    ) -> None:
        self.client = client
        self.service = service
        self.namespace = namespace
        self.identity = identity
        self.task_queue = task_queue
        self.metric_meter = metric_meter
        self.worker_shutdown = OnceEvent()
        #: Told of a task that nobody answers, for it was cancelled.
        self.on_unanswered: Callable[[bytes], None] | None = None
        self._on_fatal = on_fatal
        self._handler = Handler(
            service_handlers,
            None if executor is None else _InContext(executor),
            middleware=[_Middleware(interceptors)] if interceptors else [],
        )
        converter: DataConverter = client.config(active_config=True)["data_converter"]
        self._converter = converter
        self._running: set[TaskCancellation] = set()

    def notify_shutdown(self) -> None:
        """Tell handlers that the worker shuts down."""
        self.worker_shutdown.set()

    def cancel_all(self) -> None:
        """Cancel what runs because the worker shuts down."""
        for running in tuple(self._running):
            running.cancel("WORKER_SHUTDOWN")

    async def handle(self, polled: ws.PollNexusTaskQueueResponse, loop_task: asyncio.Task[None]) -> None:
        """Handle one task in ``loop_task`` and answer it. Raises nothing that the handler raised."""
        request = polled.request or nexus_v1.Request()
        start, cancel = request.start_operation, request.cancel_operation
        target = start or cancel
        if target is None:
            return
        converter = self._converter.with_context(
            NexusSerializationContext(endpoint=request.endpoint, service=target.service, operation=target.operation)
        )
        cancellation = TaskCancellation()
        deadline = _deadline(request)
        work = asyncio.get_running_loop().create_task(self._attempt(request, converter, cancellation, deadline))
        cancellation.task = work
        self._running.add(cancellation)
        timer = None
        if deadline is not None:
            timer = asyncio.get_running_loop().call_later(
                max((deadline - datetime.now(UTC)).total_seconds(), 0), cancellation.cancel, "TIMED_OUT"
            )
        try:
            answer = await _outcome(work)
        finally:
            self._running.discard(cancellation)
            if timer is not None:
                timer.cancel()
        if answer is not None:
            await self._respond(polled.task_token, answer)
        elif self.on_unanswered is not None:
            self.on_unanswered(polled.task_token)

    async def _attempt(
        self,
        request: nexus_v1.Request,
        converter: DataConverter,
        cancellation: TaskCancellation,
        deadline: datetime | None,
    ) -> nexus_v1.Response | Failure | None:
        """Run the handler; returns its answer, or the failure to report; None when it was cancelled."""
        try:
            if request.start_operation is not None:
                response = await self._start(request, request.start_operation, converter, cancellation, deadline)
                return nexus_v1.Response(start_operation=response)
            assert request.cancel_operation is not None
            await self._cancel(request, request.cancel_operation, cancellation, deadline)
            return nexus_v1.Response(cancel_operation=nexus_v1.CancelOperationResponse())
        except asyncio.CancelledError:
            return None
        except (KeyboardInterrupt, GeneratorExit):
            raise
        except BaseException as error:
            target = request.start_operation or request.cancel_operation
            logger.warning(
                "Nexus operation %s/%s failed: %s",
                getattr(target, "service", ""),
                getattr(target, "operation", ""),
                error,
                exc_info=error,
            )
            if isinstance(error, concurrent.futures.BrokenExecutor):
                self._on_fatal(error)
            return await _encoded_failure(as_handler_error(error), converter)

    def _info(self, request: nexus_v1.Request) -> Info:
        return Info(request.endpoint, self.namespace, self.task_queue)

    async def _start(
        self,
        request: nexus_v1.Request,
        start: nexus_v1.StartOperationRequest,
        converter: DataConverter,
        cancellation: TaskCancellation,
        deadline: datetime | None,
    ) -> nexus_v1.StartOperationResponse:
        context = StartOperationContext(
            service=start.service,
            operation=start.operation,
            headers=dict(request.header),
            request_id=start.request_id,
            callback_url=start.callback,
            inbound_links=[nexusrpc.Link(url=link.url, type=link.type) for link in start.links],
            callback_headers=dict(start.callback_header),
            task_cancellation=cancellation,
            request_deadline=deadline,
        )
        running = StartingOperation(context, self.client, self._info(request), self.metric_meter, self.worker_shutdown)
        _current.set(running)
        current_operation.set(running)
        value = LazyValue(serializer=InputSerializer(converter, start.payload), headers={}, stream=None)
        try:
            result = await self._handler.start_operation(context, value)
            links = [nexus_v1.Link(link.url, link.type) for link in context.outbound_links]
            if isinstance(result, nexusrpc.handler.StartOperationResultAsync):
                return nexus_v1.StartOperationResponse(
                    async_success=nexus_v1.StartOperationResponseAsync(result.token, links, result.token)
                )
            if isinstance(result, nexusrpc.handler.StartOperationResultSync):
                [payload] = await converter.encode([result.value])
                return nexus_v1.StartOperationResponse(sync_success=nexus_v1.StartOperationResponseSync(payload, links))
            raise TypeError(
                "Operation start method must return either nexusrpc.handler.StartOperationResultSync or "
                "nexusrpc.handler.StartOperationResultAsync."
            )
        except nexusrpc.OperationError as error:
            return nexus_v1.StartOperationResponse(failure=await _encoded_failure(_operation_error(error), converter))

    async def _cancel(
        self,
        request: nexus_v1.Request,
        cancel: nexus_v1.CancelOperationRequest,
        cancellation: TaskCancellation,
        deadline: datetime | None,
    ) -> None:
        context = CancelOperationContext(
            service=cancel.service,
            operation=cancel.operation,
            headers=dict(request.header),
            task_cancellation=cancellation,
            request_deadline=deadline,
        )
        _current.set(
            CancelingOperation(context, self.client, self._info(request), self.metric_meter, self.worker_shutdown)
        )
        await self._handler.cancel_operation(context, cancel.operation_token or cancel.operation_id)

    async def _respond(self, task_token: bytes, answer: nexus_v1.Response | Failure) -> None:
        try:
            if isinstance(answer, Failure):
                await self.service.respond_nexus_task_failed(
                    ws.RespondNexusTaskFailedRequest(
                        namespace=self.namespace, identity=self.identity, task_token=task_token, failure=answer
                    )
                )
            else:
                await self.service.respond_nexus_task_completed(
                    ws.RespondNexusTaskCompletedRequest(
                        namespace=self.namespace, identity=self.identity, task_token=task_token, response=answer
                    )
                )
        except RPCError as error:
            # Whoever asked asks again, with the same request id.
            level = logging.DEBUG if error.status is RPCStatusCode.NOT_FOUND else logging.WARNING
            logger.log(level, "The answer to a Nexus task was not taken: %s", error)


async def _outcome(work: asyncio.Task[_T]) -> _T | None:
    """What a task comes to, None if it was cancelled; the caller's own cancellation is passed on and awaited."""
    try:
        await asyncio.wait([work])
    except asyncio.CancelledError:
        work.cancel()
        await asyncio.wait([work])
        raise
    return None if work.cancelled() else work.result()


def _operation_error(error: nexusrpc.OperationError) -> ApplicationError | CancelledError:
    """The error that says of an operation that it failed, or was cancelled."""
    said: ApplicationError | CancelledError
    if error.state is nexusrpc.OperationErrorState.CANCELED:
        said = CancelledError(error.message)
    else:
        said = ApplicationError(error.message, type="OperationError", non_retryable=True)
    said.__cause__ = error.__cause__
    said.__traceback__ = error.__traceback__
    return said


async def _encoded_failure(error: BaseException, converter: DataConverter) -> Failure:
    failure = Failure()
    try:
        await converter.encode_failure(error, failure)
    except Exception as problem:
        logger.exception("Failed building Nexus failure, original error: %s", error)
        return Failure(
            message=f"Failed building exception result: {problem}",
            nexus_handler_failure_info=NexusHandlerFailureInfo(HandlerErrorType.INTERNAL.name),
        )
    return failure


def _deadline(request: nexus_v1.Request) -> datetime | None:
    """When the answer is due, by the request's header."""
    for name, value in request.header.items():
        if name.lower() == "request-timeout":
            found = _DURATION.fullmatch(value)
            if found is not None:
                return datetime.now(UTC) + timedelta(seconds=float(found[1]) * _UNITS[found[2]])
    return None


class TaskCancellation(nexusrpc.handler.OperationTaskCancellation):
    """Tells a handler that nobody waits for it any more."""

    def __init__(self) -> None:
        self.task: asyncio.Task[Any] | None = None
        self._thread_event = threading.Event()
        self._async_event = asyncio.Event()
        self._lock = threading.Lock()
        self._reason: str | None = None

    def is_cancelled(self) -> bool:
        """Whether the request was given up."""
        return self._thread_event.is_set()

    def cancellation_reason(self) -> str | None:
        """Why it was."""
        return self._reason

    def wait_until_cancelled_sync(self, timeout: float | None = None) -> bool:
        """Block this thread until it is, or for so many seconds."""
        return self._thread_event.wait(timeout)

    async def wait_until_cancelled(self) -> None:
        """Wait until it is."""
        await self._async_event.wait()

    def cancel(self, reason: str) -> bool:
        """Give it up; False when it was before."""
        with self._lock:
            if self._thread_event.is_set():
                return False
            self._reason = reason
            self._thread_event.set()
        self._async_event.set()
        if self.task is not None:
            self.task.cancel()
        return True


class _InContext(concurrent.futures.Executor):
    """Runs functions in an executor, in the context of whoever hands them over."""

    def __init__(self, executor: concurrent.futures.Executor) -> None:
        self._executor = executor

    def submit(self, fn: Callable[_P, _T], /, *args: _P.args, **kwargs: _P.kwargs) -> concurrent.futures.Future[_T]:
        """Hand a function over."""
        return self._executor.submit(contextvars.copy_context().run, functools.partial(fn, *args, **kwargs))

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """As the executor does."""
        self._executor.shutdown(wait=wait, cancel_futures=cancel_futures)


class _Middleware(nexusrpc.handler.OperationHandlerMiddleware):
    """Puts the worker's interceptors around handlers."""

    def __init__(self, interceptors: Sequence[Interceptor]) -> None:
        self._interceptors = interceptors

    def intercept(
        self, ctx: nexusrpc.handler.OperationContext, next: nexusrpc.handler.MiddlewareSafeOperationHandler
    ) -> nexusrpc.handler.MiddlewareSafeOperationHandler:
        """The outermost interceptor, as a handler."""
        inbound: NexusOperationInboundInterceptor = _Innermost(next)
        for interceptor in reversed(self._interceptors):
            inbound = interceptor.intercept_nexus_operation(inbound)
        return _Intercepted(inbound)


class _Innermost(NexusOperationInboundInterceptor):
    """Calls the handler."""

    def __init__(self, handler: nexusrpc.handler.MiddlewareSafeOperationHandler) -> None:
        self._handler = handler

    async def execute_nexus_operation_start(
        self, input: ExecuteNexusOperationStartInput
    ) -> nexusrpc.handler.StartOperationResultSync[Any] | nexusrpc.handler.StartOperationResultAsync:
        return await self._handler.start(input.ctx, input.input)

    async def execute_nexus_operation_cancel(self, input: ExecuteNexusOperationCancelInput) -> None:
        return await self._handler.cancel(input.ctx, input.token)


class _Intercepted(nexusrpc.handler.MiddlewareSafeOperationHandler):
    """Calls the outermost interceptor."""

    def __init__(self, inbound: NexusOperationInboundInterceptor) -> None:
        self._inbound = inbound

    async def start(
        self, ctx: StartOperationContext, input: Any
    ) -> nexusrpc.handler.StartOperationResultSync[Any] | nexusrpc.handler.StartOperationResultAsync:
        return await self._inbound.execute_nexus_operation_start(ExecuteNexusOperationStartInput(ctx, input))

    async def cancel(self, ctx: CancelOperationContext, token: str) -> None:
        return await self._inbound.execute_nexus_operation_cancel(ExecuteNexusOperationCancelInput(ctx, token))
