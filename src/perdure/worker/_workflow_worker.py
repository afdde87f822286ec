"""The workflow half of a worker: from a polled workflow task to its answer.

Between two tasks a run stays in memory (sticky execution): the service then sends only the new events, over a queue
that this worker alone polls. A run that is not in memory any more is replayed from its history.

Activation and answer happen in one step of the event loop. Nothing of a workflow task waits for anything but a history
page that is missing, or a payload codec.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from perdure._native import guard
from perdure._times import duration_to_ns
from perdure.api.common.v1 import WorkerVersionStamp, WorkflowExecution
from perdure.api.deployment.v1 import WorkerDeploymentOptions
from perdure.api.enums.v1 import QueryResultType, TaskQueueKind, WorkflowTaskFailedCause
from perdure.api.failure.v1 import ApplicationFailureInfo, Failure
from perdure.api.taskqueue.v1 import StickyExecutionAttributes, TaskQueue
from perdure.api.workflowservice import v1 as ws
from perdure.service import RPCError, RPCStatusCode, WorkflowService
from perdure.worker import _watchdog
from perdure.worker._interceptor import WorkflowInterceptorClassInput
from perdure.worker._restricted import RestrictedWorkflowAccessError
from perdure.worker._run_cache import CachedRun, RunCache
from perdure.worker._workflow_codec import activate_through_codec
from perdure.worker._workflow_metrics import MeasuredRun, MeasuredRunCache
from perdure.worker._workflow_registry import WorkflowRegistry as WorkflowRegistry
from perdure.worker._workflow_runtime import RunOptions
from perdure.worker._workflow_task_runner import WorkflowTaskRunner
from perdure.worker._workflow_turn import Answer

if TYPE_CHECKING:
    from perdure._native.events import HistoryEvent
    from perdure.runtime._named_metrics import NamedMetrics
    from perdure.worker._config import WorkerConfig
    from perdure.worker._interceptor import Interceptor, WorkflowInboundInterceptor

logger = logging.getLogger("perdure.worker")

_UNHANDLED = int(WorkflowTaskFailedCause.WORKFLOW_TASK_FAILED_CAUSE_WORKFLOW_WORKER_UNHANDLED_FAILURE)
_QUERY_FAILED = int(QueryResultType.QUERY_RESULT_TYPE_FAILED)


class WorkflowWorker(WorkflowTaskRunner):
    """Runs the workflow tasks of one task queue."""

    def __init__(
        self,
        *,
        config: WorkerConfig,
        service: WorkflowService,
        options: RunOptions,
        deployment_options: WorkerDeploymentOptions | None,
        sticky_queue_name: str,
        metrics: NamedMetrics | None,
    ) -> None:
        max_runs = config["max_cached_workflows"]
        max_bytes = config["max_cached_workflow_bytes"]
        deployment = config.get("deployment_config")
        is_versioned = deployment is not None and deployment.use_worker_versioning
        default_behavior = 0 if deployment is None else int(deployment.default_versioning_behavior)
        self.sticky_task_queue = TaskQueue(
            name=sticky_queue_name, kind=TaskQueueKind.TASK_QUEUE_KIND_STICKY, normal_name=options.task_queue
        )
        super().__init__(
            service,
            options,
            WorkflowRegistry(config["workflows"]),
            RunCache(max_runs, max_bytes) if metrics is None else MeasuredRunCache(max_runs, max_bytes, metrics),
            StickyExecutionAttributes(
                worker_task_queue=self.sticky_task_queue,
                schedule_to_start_timeout=duration_to_ns(config["sticky_queue_schedule_to_start_timeout"]),
            )
            if max_runs > 0
            else None,
            config.get("build_id") or "",
            deployment_options if is_versioned else None,
            default_behavior,
        )
        if metrics is not None:
            self.run_class = MeasuredRun
        if is_versioned and not default_behavior:
            self._registry.require_versioning_behavior()
        self._namespace = options.namespace
        self._task_queue = options.task_queue
        self.is_sticky = max_runs > 0
        self._version_stamp: WorkerVersionStamp | None = None
        if config.get("use_worker_versioning"):
            self._version_stamp = WorkerVersionStamp(config.get("build_id") or "", use_versioning=True)
        self._is_watched = False
        self._local_waits: set[asyncio.Task[Any]] = set()

    def start(self) -> None:
        """Guard workflow code from now on, and watch that it yields."""
        if self._options.is_guarded:
            guard.install(RestrictedWorkflowAccessError)
        if self._options.deadlock_timeout:
            _watchdog.start()
            self._is_watched = True

    async def close(self) -> None:
        """Put every run out of memory and give the sticky queue back; after every poller has ended."""
        self._cache.clear()
        if self._is_watched:
            _watchdog.stop()
            self._is_watched = False
        if not self.is_sticky:
            return
        try:
            await self.service.shutdown_worker(
                ws.ShutdownWorkerRequest(
                    namespace=self._namespace,
                    sticky_task_queue=self.sticky_task_queue.name,
                    identity=self._options.identity,
                    reason="graceful shutdown",
                    task_queue=self._task_queue,
                )
            )
        except RPCError as error:
            logger.debug("The service was not told of the worker's shutdown: %s", error)

    async def _handle_otherwise(
        self, task: ws.PollWorkflowTaskQueueResponse
    ) -> ws.PollWorkflowTaskQueueResponse | None:
        """A task that :meth:`_turn` left alone."""
        execution = task.workflow_execution
        assert execution is not None
        run_id = execution.run_id
        while run_id in self._busy:
            await self._busy[run_id]
        events: list[HistoryEvent] = task.history.events if task.history is not None else []
        cached = self._known(task, run_id, events)
        self._busy[run_id] = asyncio.get_running_loop().create_future()
        # Out of the cache, so that nothing puts the run out of memory while its task waits for something.
        self._cache.pop(run_id)
        try:
            return await self._handle_slowly(task, execution, cached, events)
        except BaseException:
            if cached is not None:
                self._evict(run_id, cached)
            raise
        finally:
            self._busy.pop(run_id).set_result(None)

    async def _handle_slowly(
        self,
        task: ws.PollWorkflowTaskQueueResponse,
        execution: WorkflowExecution,
        cached: CachedRun | None,
        events: list[HistoryEvent],
    ) -> ws.PollWorkflowTaskQueueResponse | None:
        """A task whose history is incomplete, or whose payloads go through a codec."""
        if cached is None and (not events or events[0].event_id != 1):
            try:
                events = await self._fetch_history(execution, events)
            except RPCError as error:
                logger.warning("The history of workflow %s is not to be had: %s", execution.workflow_id, error)
                return None
        if task.next_page_token:
            events = [*events, *await self._fetch_pages(execution, task.next_page_token)]
        was_cached = cached is not None
        if cached is None:
            cached = self._new_run(task, execution)
            if cached is None:
                await self._refuse_unregistered(task)
                return None
        cached.new_events = len(events)
        answer = await activate_through_codec(cached.run, task, events)
        if was_cached and isinstance(answer, ws.RespondQueryTaskCompletedRequest) and not self._is_leaving:
            self._cache.put(execution.run_id, cached, 0)
        return await self._respond(task, cached, answer)

    async def _run_local_activities(
        self, task: ws.PollWorkflowTaskQueueResponse, cached: CachedRun
    ) -> ws.PollWorkflowTaskQueueResponse | None:
        """A task that is answered when the local activities it started have ended, or when it takes too long.

        Meanwhile the run is not in the cache, so nothing can put it out of memory.
        """
        run = cached.run
        self._cache.pop(run.run_id)
        is_first = run.run_id not in self._busy
        if is_first:
            self._busy[run.run_id] = asyncio.get_running_loop().create_future()
        try:
            waiting = asyncio.get_running_loop().create_task(run.local_activity_runner().answer())
            self._local_waits.add(waiting)
            await asyncio.wait([waiting])
            self._local_waits.discard(waiting)
            # Cancelled: the worker leaves. The next task goes elsewhere, and runs again what has no marker yet.
            answer: Any = run.heartbeat() if waiting.cancelled() else waiting.result()
            try:
                answer = answer if run.codec is None else await run.codec.encode(answer)
            except Exception as error:
                answer = run.failed_task(task, error)
            return await self._respond(task, cached, answer)
        finally:
            if is_first:
                self._busy.pop(run.run_id).set_result(None)

    def leave_local_activities(self) -> None:
        """The worker shuts down and its grace is over: answer tasks that wait for local activities as they stand."""
        self._is_leaving = True
        for waiting in self._local_waits:
            waiting.cancel()

    async def _fetch_history(self, execution: WorkflowExecution, suffix: list[HistoryEvent]) -> list[HistoryEvent]:
        """All events before ``suffix``, which the task brought, and the suffix."""
        events = await self._fetch_pages(execution, b"")
        if not suffix:
            return events
        first = suffix[0].event_id
        return [event for event in events if event.event_id < first] + suffix

    async def _fetch_pages(self, execution: WorkflowExecution, token: bytes) -> list[HistoryEvent]:
        events: list[HistoryEvent] = []
        while True:
            response = await self.service.get_workflow_execution_history(
                ws.GetWorkflowExecutionHistoryRequest(
                    namespace=self._namespace, execution=execution, next_page_token=token
                )
            )
            if response.history is not None:
                events += response.history.events
            token = response.next_page_token
            if not token:
                return events

    async def _respond(
        self, task: ws.PollWorkflowTaskQueueResponse, cached: CachedRun, answer: Answer | None
    ) -> ws.PollWorkflowTaskQueueResponse | None:
        if answer is None:
            return await self._run_local_activities(task, cached)
        if isinstance(answer, ws.RespondWorkflowTaskCompletedRequest):
            return await self._complete(task, cached, answer)
        if isinstance(answer, ws.RespondQueryTaskCompletedRequest):
            await self._answer_query(task, cached, answer)
            return None
        self._evict(cached.run.run_id, cached)
        await self._fail(task, answer, cached.run.last_error)
        return None

    async def _send_eagerly(
        self, answer: ws.RespondWorkflowTaskCompletedRequest
    ) -> ws.RespondWorkflowTaskCompletedResponse:
        assert self.eager_activities is not None
        answer.worker_version_stamp = self._version_stamp
        permits: list[Any] = await self.eager_activities.reserve(answer.commands)
        started: Sequence[ws.PollActivityTaskQueueResponse] = ()
        try:
            response = await self.service.respond_workflow_task_completed(answer)
            started = response.activity_tasks
            return response
        finally:
            self.eager_activities.start(permits, started)

    async def _not_taken(self, task: ws.PollWorkflowTaskQueueResponse, cached: CachedRun, error: Exception) -> None:
        """The answer was refused: forget the run, whose code went on as if it had not been."""
        self._evict(cached.run.run_id, cached)
        if not isinstance(error, RPCError):
            failed = cached.run.failed_task(task, error)
            assert isinstance(failed, ws.RespondWorkflowTaskFailedRequest)
            await self._fail(task, failed, error)
        elif error.status is RPCStatusCode.NOT_FOUND:
            logger.debug("The task of workflow %s was over before its answer came: %s", _id(task), error)
        else:
            logger.error(
                "The answer of workflow %s (type %s, run %s, attempt %d) was refused: %s",
                _id(task),
                cached.run.workflow_type,
                cached.run.run_id,
                task.attempt,
                error,
            )

    async def _answer_query(
        self,
        task: ws.PollWorkflowTaskQueueResponse,
        cached: CachedRun,
        answer: ws.RespondQueryTaskCompletedRequest,
    ) -> None:
        run = cached.run
        if run.last_error is not None:
            _log_failure("Query task", task, run.last_error)
        if run.last_error is not None or self._cache.get(run.run_id) is not cached:
            self._evict(run.run_id, cached)
        try:
            await self.service.respond_query_task_completed(answer)
        except RPCError as error:
            logger.debug("The answer to a query of workflow %s came too late: %s", _id(task), error)

    async def _refuse_unregistered(self, task: ws.PollWorkflowTaskQueueResponse) -> None:
        name = task.workflow_type.name if task.workflow_type is not None else ""
        message = (
            f"Workflow class {name} is not registered on this worker, available workflows: {self._registry.names()}"
        )
        failure = Failure(message=message, application_failure_info=ApplicationFailureInfo(type="NotFoundError"))
        if task.query is not None:
            logger.error("A query of workflow %s failed: %s", _id(task), message)
            answer = ws.RespondQueryTaskCompletedRequest(
                task_token=task.task_token,
                completed_type=_QUERY_FAILED,
                error_message=message,
                namespace=self._namespace,
                failure=failure,
            )
            try:
                await self.service.respond_query_task_completed(answer)
            except RPCError as error:
                logger.debug("The answer to a query of workflow %s came too late: %s", _id(task), error)
            return
        await self._fail(
            task,
            ws.RespondWorkflowTaskFailedRequest(
                task_token=task.task_token,
                cause=_UNHANDLED,
                failure=failure,
                identity=self._options.identity,
                namespace=self._namespace,
            ),
            RuntimeError(message),
        )

    async def _fail(
        self,
        task: ws.PollWorkflowTaskQueueResponse,
        answer: ws.RespondWorkflowTaskFailedRequest,
        error: BaseException | None,
    ) -> None:
        """Say that a task failed, in the log and to the service.

        A service with a wire hears of the first attempt only and lets later ones time out, which spaces them; the
        service in this process hears of each and waits longer and longer between them.
        """
        _log_failure("Workflow task", task, error)
        if task.attempt > 1 and not self.service.in_process:
            return
        if self._build_id:
            answer.binary_checksum = self._build_id
        try:
            await self.service.respond_workflow_task_failed(answer)
        except RPCError as refused:
            logger.debug("The task of workflow %s was over before its failure came: %s", _id(task), refused)


def run_options_interceptors(
    interceptors: Sequence[Interceptor],
) -> tuple[list[type[WorkflowInboundInterceptor]], Mapping[str, Callable[..., Any]]]:
    """The workflow interceptor classes of a worker's interceptors, and the extern functions they offer."""
    extern_functions: dict[str, Callable[..., Any]] = {}
    classes = []
    for interceptor in interceptors:
        cls = interceptor.workflow_interceptor_class(
            WorkflowInterceptorClassInput(unsafe_extern_functions=extern_functions)
        )
        if cls is not None:
            classes.append(cls)
    return classes, extern_functions


def _id(task: ws.PollWorkflowTaskQueueResponse) -> str:
    return task.workflow_execution.workflow_id if task.workflow_execution is not None else ""


def _log_failure(what: str, task: ws.PollWorkflowTaskQueueResponse, error: BaseException | None) -> None:
    logger.error(
        "%s failed: workflow %s, run %s, type %s, attempt %d: %s",
        what,
        _id(task),
        task.workflow_execution.run_id if task.workflow_execution is not None else "",
        task.workflow_type.name if task.workflow_type is not None else "",
        task.attempt,
        error,
        exc_info=error,
    )
