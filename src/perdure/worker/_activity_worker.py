"""The activity half of a worker: what most activities do without, around :mod:`~perdure.worker._attempt_runner`."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextvars
import logging
import threading
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any

from perdure import activity, exceptions
from perdure.activity import ActivityCancellationDetails, Info
from perdure.activity._context import CompleteAsyncError, OnceEvent
from perdure.api.common.v1 import Payloads
from perdure.api.failure.v1 import ApplicationFailureInfo, Failure
from perdure.api.workflowservice import v1 as ws
from perdure.common import HeaderCodecBehavior
from perdure.converter import (
    ActivitySerializationContext,
    CompositePayloadConverter,
    DataConverter,
    StorageDriverActivityInfo,
    StorageDriverStoreContext,
    StorageDriverWorkflowInfo,
    WithSerializationContext,
)
from perdure.exceptions import ApplicationError, ApplicationErrorCategory
from perdure.service import RPCError, RPCStatusCode, WorkflowService
from perdure.worker._activity_interceptor import (
    ActivityInboundInterceptor,
    ActivityOutboundInterceptor,
    ExecuteActivityInput,
)
from perdure.worker._activity_registry import ActivityRegistry
from perdure.worker._attempt_runner import AttemptRunner, arg_types_for
from perdure.worker._running_activity import RunningActivity
from perdure.worker._shared_state import SharedStateManager
from perdure.worker._sync_activity import ThreadExceptionRaiser, call_in_process, call_in_thread

if TYPE_CHECKING:
    from perdure.client import Client
    from perdure.common import MetricMeter
    from perdure.worker._interceptor import Interceptor

logger = logging.getLogger("perdure.worker")

_SWEEP_SECONDS = 1.0
_TIMEOUT_GRACE_SECONDS = 5.0
_RESPOND_RETRY_SECONDS = (0.05, 0.2, 1.0, 3.0)
_TRANSIENT = (
    RPCStatusCode.UNAVAILABLE,
    RPCStatusCode.RESOURCE_EXHAUSTED,
    RPCStatusCode.DEADLINE_EXCEEDED,
    RPCStatusCode.ABORTED,
    RPCStatusCode.INTERNAL,
    RPCStatusCode.UNKNOWN,
)
CANCELLATIONS = (asyncio.CancelledError, exceptions.CancelledError)


class ActivityWorker(AttemptRunner):
    """Runs the activity tasks of one task queue. Its attributes are what running activities need."""

    def __init__(
        self,
        *,
        client: Client,
        service: WorkflowService,
        namespace: str,
        identity: str,
        task_queue: str,
        registry: ActivityRegistry,
        executor: concurrent.futures.Executor | None,
        shared_state_manager: SharedStateManager | None,
        interceptors: Sequence[Interceptor],
        metric_meter: MetricMeter,
        max_heartbeat_interval: float,
        default_heartbeat_interval: float,
        on_fatal: Callable[[BaseException], None],
    ) -> None:
        client_config = client.config(active_config=True)
        converter = client_config["data_converter"]
        is_contextual = any(
            _takes_context(part)
            for part in (
                converter.payload_converter,
                converter.failure_converter,
                converter.payload_codec,
                converter.external_storage,
            )
        )
        super().__init__(
            service,
            namespace,
            identity,
            registry,
            converter.payload_converter,
            is_plain=not (converter._changes_payloads or is_contextual or interceptors),
        )
        self.client = client
        self.task_queue = task_queue
        self.metric_meter = metric_meter
        self.max_heartbeat_interval = max_heartbeat_interval
        self.default_heartbeat_interval = default_heartbeat_interval
        self.worker_shutdown = OnceEvent()
        self.data_converter = converter
        #: Whether something happens to payloads after the payload converter: a codec, or external storage.
        self.has_codec = converter._changes_payloads
        self._is_contextual = is_contextual
        self._encodes_headers = (
            self.has_codec and client_config.get("header_codec_behavior") == HeaderCodecBehavior.CODEC
        )
        self._executor = executor
        self._shared_state_manager = shared_state_manager
        self._interceptors = interceptors
        self._on_fatal = on_fatal
        self._background: set[asyncio.Task[Any]] = set()
        self.thread_id = 0
        #: Set by a worker that gives up: then no answer is tried again.
        self.has_failed = False

    def start(self) -> None:
        """Take the running loop and thread as the worker's."""
        self.loop = asyncio.get_running_loop()
        self.thread_id = threading.get_ident()

    def keep(self, task: asyncio.Task[Any]) -> None:
        """Hold a background task until it ends; a shutdown waits for it."""
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    def notify_shutdown(self) -> None:
        """Tell activities that the worker shuts down."""
        self.worker_shutdown.set()

    def cancel_all(self) -> None:
        """Cancel every running activity because the worker shuts down."""
        for running in tuple(self._running):
            running.cancel(ActivityCancellationDetails(worker_shutdown=True))

    async def close(self) -> None:
        """Wait for the last heartbeats; after every poller has ended."""
        if self._sweeper is not None:
            self._sweeper.cancel()
            self._sweeper = None
        while self._background:
            await asyncio.wait(self._background)

    def _start_sweeping(self) -> None:
        self._sweeper = self.loop.call_later(_SWEEP_SECONDS, self._sweep)

    async def _not_completed(
        self,
        task: ws.PollActivityTaskQueueResponse,
        request: ws.RespondActivityTaskCompletedRequest,
        error: RPCError,
    ) -> None:
        """The service did not take a result."""
        if error.status is RPCStatusCode.INVALID_ARGUMENT:  # the result itself: a retry would not cure it
            failure = Failure(
                message=f"The service refused the activity's result: {error}",
                application_failure_info=ApplicationFailureInfo(type="InvalidResult", non_retryable=True),
            )
            await self._fail(task, failure, None)
            return
        await self._answer_failed(task, error, lambda: self.service.respond_activity_task_completed(request))

    async def _execute_in_full(self, running: RunningActivity) -> Any:
        """Everything that most activities do without: codecs, contexts, heartbeat details, interceptors, threads."""
        task, definition = running.task, running.definition
        if self.has_codec or self._is_contextual:
            running.converter = self._converter_for(running)
            args = await self._decode_args_in_full(running)
        else:
            args = self._decode_args(running)
        if task.heartbeat_details is not None:
            try:
                running.heartbeat_details = await running.converter.decode(task.heartbeat_details.payloads)
            except Exception as error:
                raise ApplicationError("Failed decoding heartbeat details", non_retryable=True) from error
        if not self._interceptors:
            return await self.call(running, definition.fn, args, self._executor)
        headers = dict(task.header.fields) if task.header is not None else {}
        if self._encodes_headers and not running.is_local and running.converter.payload_codec is not None:
            for name, payload in headers.items():
                [headers[name]] = await running.converter.payload_codec.decode([payload])
        inbound: ActivityInboundInterceptor = _Innermost(self, running)
        for interceptor in reversed(self._interceptors):
            inbound = interceptor.intercept_activity(inbound)
        inbound.init(_Outbound(running))
        return await inbound.execute_activity(
            ExecuteActivityInput(
                fn=definition.fn,
                args=list(args),
                executor=None if definition.is_async else self._executor,
                headers=headers,
            )
        )

    async def _decode_args_in_full(self, running: RunningActivity) -> Sequence[Any]:
        payloads = running.task.input.payloads if running.task.input is not None else []
        try:
            args = await running.converter.decode(payloads, arg_types_for(running.definition, len(payloads)))
        except Exception as error:
            raise ApplicationError("Failed decoding arguments") from error
        return args if running.definition.name is not None else (args,)

    def _converter_for(self, running: RunningActivity) -> DataConverter:
        """The converter for an attempt. What a local activity takes and gives does not leave the process."""
        converter = self.data_converter.with_context(self._serialization_context(running))
        if running.is_local:
            return converter._replaced(payload_codec=None, external_storage=None)
        if converter.external_storage is None:
            return converter
        task, execution = running.task, running.task.workflow_execution
        namespace = task.workflow_namespace or self.namespace
        target: StorageDriverActivityInfo | StorageDriverWorkflowInfo
        if execution is not None and execution.workflow_id:
            target = StorageDriverWorkflowInfo(
                namespace=namespace,
                id=execution.workflow_id,
                run_id=execution.run_id or None,
                type=task.workflow_type.name if task.workflow_type is not None else None,
            )
        else:
            target = StorageDriverActivityInfo(
                namespace=namespace,
                id=task.activity_id or None,
                run_id=task.activity_run_id or None,
                type=task.activity_type.name if task.activity_type is not None else None,
            )
        return converter._with_store_context(StorageDriverStoreContext(target))

    def _serialization_context(self, running: RunningActivity) -> ActivitySerializationContext:
        task = running.task
        execution = task.workflow_execution
        return ActivitySerializationContext(
            namespace=task.workflow_namespace or self.namespace,
            activity_id=task.activity_id,
            activity_type=running.task.activity_type.name if running.task.activity_type else None,
            activity_task_queue=self.task_queue,
            workflow_id=(execution.workflow_id or None) if execution is not None else None,
            workflow_type=task.workflow_type.name if task.workflow_type is not None else None,
            is_local=running.is_local,
        )

    async def call(
        self,
        running: RunningActivity,
        fn: Callable[..., Any],
        args: Sequence[Any],
        executor: concurrent.futures.Executor | None,
    ) -> Any:
        """Call the activity's code where it belongs: here, in a thread, or in another process."""
        if running.is_async:
            return await fn(*args)
        assert running.context is not None
        if isinstance(executor, concurrent.futures.ThreadPoolExecutor):
            if not running.definition.no_thread_cancel_exception:
                running.raiser = raiser = ThreadExceptionRaiser()
                running.shield = raiser.shielded
            context = contextvars.copy_context()
            raiser_of_call = running.raiser
            return await self.loop.run_in_executor(
                executor, lambda: context.run(call_in_thread, raiser_of_call, fn, args)
            )
        manager = self._shared_state_manager
        assert manager is not None and executor is not None
        sender = await manager.register_heartbeater(
            running.task.task_token, running.outbound_heartbeat or running.heartbeat
        )
        try:
            return await self.loop.run_in_executor(
                executor,
                call_in_process,
                running.info(),
                sender,
                running.cancelled.use_thread_event(manager.new_event),
                self.worker_shutdown.use_thread_event(manager.new_event),
                type(running.payload_converter),
                fn,
                args,
            )
        finally:
            await manager.unregister_heartbeater(running.task.task_token)

    async def _refuse_unregistered(self, task: ws.PollActivityTaskQueueResponse) -> None:
        await self._fail(task, self.unregistered(task), None)

    def unregistered(self, task: ws.PollActivityTaskQueueResponse) -> Failure:
        """The failure of an attempt that this worker has no activity for."""
        workflow_id = task.workflow_execution.workflow_id if task.workflow_execution is not None else ""
        name = task.activity_type.name if task.activity_type is not None else ""
        message = (
            f"Activity function {name} for workflow {workflow_id} is not registered on this worker, "
            f"available activities: {self.registry.names()}"
        )
        logger.warning("%s (task queue %s)", message, self.task_queue)
        return Failure(message=message, application_failure_info=ApplicationFailureInfo(type="NotFoundError"))

    async def _answer_error(self, running: RunningActivity, error: BaseException) -> None:
        """Answer what the activity raised."""
        task, details = running.task, running.cancellation_details
        if isinstance(error, CompleteAsyncError):
            await running.flush_heartbeat()
            try:
                await self.service.detach_activity_task(task.task_token)
            except RPCError as refused:  # NOT_FOUND when whoever has the token was faster and completed it
                await self._answer_failed(task, refused, lambda: self.service.detach_activity_task(task.task_token))
            return
        if isinstance(error, CANCELLATIONS) and details is not None:
            if running.heartbeat_error is not None:
                error = running.heartbeat_error
            elif details.not_found:
                return  # the service has given this attempt up
            elif details.cancel_requested:
                request = ws.RespondActivityTaskCanceledRequest(
                    task_token=task.task_token, identity=self.identity, namespace=self.namespace
                )
                if isinstance(error, exceptions.CancelledError) and error.details:
                    request.details = Payloads(list(await running.converter.encode(error.details)))
                await self._answer(task, lambda: self.service.respond_activity_task_canceled(request))
                return
            else:
                error = stopped(details) or error
        assert running.context is not None
        running.context.run(log_failure, error)
        await self._fail(task, *await self.encode_failure(running, error))
        if isinstance(error, concurrent.futures.BrokenExecutor):
            failed = RuntimeError("Activity worker failed")
            failed.__cause__ = error
            self._on_fatal(failed)

    async def encode_failure(self, running: RunningActivity, error: BaseException) -> tuple[Failure, Payloads | None]:
        """The failure to answer with, and heartbeat details that the service may not have."""
        failure = Failure()
        try:
            if not isinstance(error, ApplicationError) and isinstance(error, exceptions.FailureError):
                # A service takes only application failures as an activity's outcome.
                wrapped = ApplicationError(str(error), type=type(error).__name__)
                wrapped.__cause__ = error
                error = wrapped
            await running.converter.encode_failure(error, failure)
            return failure, await running.last_heartbeat_details()
        except Exception as encoding_error:
            logger.exception("The failure of activity %s could not be encoded: %r", running.task.activity_id, error)
            return (
                Failure(
                    message=f"Failed building exception result: {encoding_error}",
                    application_failure_info=ApplicationFailureInfo(),
                ),
                None,
            )

    async def _fail(
        self, task: ws.PollActivityTaskQueueResponse, failure: Failure, last_heartbeat_details: Payloads | None
    ) -> None:
        request = ws.RespondActivityTaskFailedRequest(
            task_token=task.task_token,
            failure=failure,
            identity=self.identity,
            namespace=self.namespace,
            last_heartbeat_details=last_heartbeat_details,
        )
        await self._answer(task, lambda: self.service.respond_activity_task_failed(request))

    async def _answer(self, task: ws.PollActivityTaskQueueResponse, respond: Callable[[], Awaitable[Any]]) -> None:
        try:
            await respond()
        except RPCError as error:
            await self._answer_failed(task, error, respond)

    async def _answer_failed(
        self, task: ws.PollActivityTaskQueueResponse, error: RPCError, respond: Callable[[], Awaitable[Any]]
    ) -> None:
        """Try again what may work later; say what cannot be said any more. An unanswered attempt times out."""
        for delay in _RESPOND_RETRY_SECONDS:
            if self.has_failed or error.status not in _TRANSIENT:
                break
            await asyncio.sleep(delay)
            try:
                await respond()
                return
            except RPCError as again:
                error = again
        if error.status is RPCStatusCode.NOT_FOUND:
            logger.debug("Activity %s was over before its answer came: %s", task.activity_id, error)
            return
        logger.warning(
            "The answer of activity %s (type %s, attempt %d) was refused: %s",
            task.activity_id,
            task.activity_type.name if task.activity_type is not None else "",
            task.attempt,
            error,
        )

    def _sweep(self) -> None:
        """Cancel attempts that outlived their timeouts; runs only while attempts do."""
        now = self.loop.time()
        for running in tuple(self._running):
            running.check_timeouts(now, _TIMEOUT_GRACE_SECONDS)
        self._sweeper = self.loop.call_later(_SWEEP_SECONDS, self._sweep) if self._running else None


class _Innermost(ActivityInboundInterceptor):
    def __init__(self, worker: ActivityWorker, running: RunningActivity) -> None:
        self._worker = worker
        self._running = running

    def init(self, outbound: ActivityOutboundInterceptor) -> None:
        self._running.outbound_info = outbound.info
        self._running.outbound_heartbeat = outbound.heartbeat

    async def execute_activity(self, input: ExecuteActivityInput) -> Any:
        return await self._worker.call(self._running, input.fn, input.args, input.executor)


class _Outbound(ActivityOutboundInterceptor):
    def __init__(self, running: RunningActivity) -> None:
        self._running = running

    def info(self) -> Info:
        return self._running.info()

    def heartbeat(self, *details: Any) -> None:
        self._running.heartbeat(*details)


def _takes_context(part: object) -> bool:
    """Whether a part of a data converter wants to know what it converts for."""
    if not isinstance(part, CompositePayloadConverter):
        return isinstance(part, WithSerializationContext)
    is_default = type(part).with_context is CompositePayloadConverter.with_context
    return part._any_converter_takes_context if is_default else True


def stopped(details: ActivityCancellationDetails) -> ApplicationError | None:
    """The failure of an attempt that ended because it was told to stop, but not by a cancel request."""
    if details.paused:
        return ApplicationError("Unhandled activity cancel error produced by activity pause", type="ActivityPause")
    if details.reset:
        return ApplicationError("Unhandled activity cancel error produced by activity reset", type="ActivityReset")
    if details.worker_shutdown:
        return ApplicationError("The worker shut down and the activity did not complete in time", type="WorkerShutdown")
    if details.timed_out:
        return ApplicationError("The activity outlived its timeout", type="ActivityTimeout")
    return None


def log_failure(error: BaseException) -> None:
    """Log what an attempt failed with; in the attempt's context."""
    benign = isinstance(error, ApplicationError) and error.category == ApplicationErrorCategory.BENIGN
    activity.logger.log(
        logging.DEBUG if benign else logging.WARNING,
        "Completing activity as failed",
        exc_info=error,
        extra={"__temporal_error_identifier": "ActivityFailure"},
    )
