"""What a worker measures of its tasks and requests, by the names of Temporal's SDK metrics.

A worker whose client has a runtime with metrics calls its service through a :class:`MeasuredService`: everything is read
off the requests and the answers. Without metrics there is no such layer.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any, cast

from perdure.api.enums.v1 import CommandType, EventType, TaskQueueKind, WorkflowTaskFailedCause
from perdure.api.failure.v1 import Failure
from perdure.api.workflowservice import v1 as ws
from perdure.common import MetricCounter, MetricGauge, MetricHistogramTimedelta, MetricMeter
from perdure.service import RPCError, WorkflowService

_STARTED = int(EventType.EVENT_TYPE_WORKFLOW_EXECUTION_STARTED)
_STICKY = int(TaskQueueKind.TASK_QUEUE_KIND_STICKY)
_CLOSES = frozenset(
    (
        int(CommandType.COMMAND_TYPE_COMPLETE_WORKFLOW_EXECUTION),
        int(CommandType.COMMAND_TYPE_FAIL_WORKFLOW_EXECUTION),
        int(CommandType.COMMAND_TYPE_CANCEL_WORKFLOW_EXECUTION),
        int(CommandType.COMMAND_TYPE_CONTINUE_AS_NEW_WORKFLOW_EXECUTION),
    )
)
_NONDETERMINISM = int(WorkflowTaskFailedCause.WORKFLOW_TASK_FAILED_CAUSE_NON_DETERMINISTIC_ERROR)
_BENIGN = 1
#: Of so many open workflows it is remembered when they began.
_MAX_STARTS = 10_000
_WORKFLOWS, _ACTIVITIES = {"worker_type": "WorkflowWorker"}, {"worker_type": "ActivityWorker"}


class _Task:
    """A task that a worker has."""

    __slots__ = ("at", "kind", "run_id", "scheduled_ns")

    def __init__(self, kind: str, run_id: str, scheduled_ns: int) -> None:
        self.kind = kind
        self.run_id = run_id
        self.scheduled_ns = scheduled_ns
        self.at = time.perf_counter()


class MeasuredService:
    """A workflow service as it is, with what one worker does with it measured."""

    #: How many runs the worker has in memory, and how many tasks it may have at once; set when it is put together.
    cache_size: Callable[[], int] = staticmethod(lambda: 0)
    workflow_slots = activity_slots = 0

    def __init__(
        self, service: WorkflowService, meter: MetricMeter, prefix: str, namespace: str, task_queue: str
    ) -> None:
        self.service = service
        self._meter = meter.with_additional_attributes({"namespace": namespace, "task_queue": task_queue})
        self._prefix = prefix
        self._metrics: dict[str, Any] = {}
        self._workflow_tasks: dict[bytes, _Task] = {}
        self._activity_tasks: dict[bytes, _Task] = {}
        self._pollers: dict[str, int] = {}
        #: run id -> when it started, nanoseconds since the epoch.
        self._starts: OrderedDict[str, int] = OrderedDict()
        self._count("worker_start")

    def __getattr__(self, name: str) -> Any:
        return getattr(self.service, name)

    # ---- metrics

    def _count(self, name: str, **attributes: str | bool) -> None:
        counter = self._metrics.get(name)
        if counter is None:
            counter = self._metrics[name] = self._meter.create_counter(self._prefix + name)
        cast("MetricCounter", counter).add(1, attributes)

    def _time(self, name: str, seconds: float, **attributes: str) -> None:
        histogram = self._metrics.get(name)
        if histogram is None:
            histogram = self._metrics[name] = self._meter.create_histogram_timedelta(
                self._prefix + name, None, "duration"
            )
        cast("MetricHistogramTimedelta", histogram).record(timedelta(seconds=max(seconds, 0.0)), attributes)

    def _set(self, name: str, value: int, attributes: dict[str, str]) -> None:
        gauge = self._metrics.get(name)
        if gauge is None:
            gauge = self._metrics[name] = self._meter.create_gauge(self._prefix + name)
        cast("MetricGauge", gauge).set(max(value, 0), attributes)

    def _show_slots(self) -> None:
        for tasks, slots, kind in (
            (self._workflow_tasks, self.workflow_slots, _WORKFLOWS),
            (self._activity_tasks, self.activity_slots, _ACTIVITIES),
        ):
            if slots:
                self._set("worker_task_slots_used", len(tasks), kind)
                self._set("worker_task_slots_available", slots - len(tasks), kind)
        self._set("sticky_cache_size", self.cache_size(), {})

    async def _requested(self, operation: str, call: Awaitable[Any], kind: str = "request") -> Any:
        begin = time.perf_counter()
        try:
            return await call
        except RPCError as error:
            self._count(f"{kind}_failure", operation=operation, status_code=error.status.name)
            raise
        finally:
            self._count(kind, operation=operation)
            self._time(f"{kind}_latency", time.perf_counter() - begin, operation=operation)

    async def _polled(self, operation: str, poller_type: str, call: Awaitable[Any]) -> Any:
        self._pollers[poller_type] = self._pollers.get(poller_type, 0) + 1
        self._set("num_pollers", self._pollers[poller_type], {"poller_type": poller_type})
        try:
            return await self._requested(operation, call, "long_request")
        finally:
            self._pollers[poller_type] -= 1
            self._set("num_pollers", self._pollers[poller_type], {"poller_type": poller_type})

    # ---- workflow tasks

    async def poll_workflow_task_queue(
        self, request: ws.PollWorkflowTaskQueueRequest, **options: Any
    ) -> ws.PollWorkflowTaskQueueResponse:
        """A poll."""
        is_sticky = request.task_queue is not None and request.task_queue.kind == _STICKY
        task: ws.PollWorkflowTaskQueueResponse = await self._polled(
            "PollWorkflowTaskQueue",
            "sticky_workflow_task" if is_sticky else "workflow_task",
            self.service.poll_workflow_task_queue(request, **options),
        )
        if not task.task_token:
            self._count("workflow_task_queue_poll_empty")
            return task
        self._count("workflow_task_queue_poll_succeed")
        self._took_workflow_task(task)
        return task

    def _took_workflow_task(self, task: ws.PollWorkflowTaskQueueResponse) -> None:
        kind = "" if task.workflow_type is None else task.workflow_type.name
        run_id = "" if task.workflow_execution is None else task.workflow_execution.run_id
        if task.query is None:
            self._time(
                "workflow_task_schedule_to_start_latency",
                ((task.started_time or 0) - (task.scheduled_time or 0)) / 1e9,
                workflow_type=kind,
            )
            self._workflow_tasks[task.task_token] = _Task(kind, run_id, 0)
        events = task.history.events if task.history is not None else []
        is_whole = bool(events) and events[0].event_id == 1
        if is_whole and events[0].event_type == _STARTED:
            self._starts[run_id] = events[0].event_time or 0
            if len(self._starts) > _MAX_STARTS:
                self._starts.popitem(last=False)
        if task.previous_started_event_id:
            self._count("sticky_cache_miss" if is_whole else "sticky_cache_hit")
        self._show_slots()

    async def respond_workflow_task_completed(
        self, request: ws.RespondWorkflowTaskCompletedRequest, **options: Any
    ) -> ws.RespondWorkflowTaskCompletedResponse:
        """An answer, which may bring the next task."""
        task = self._workflow_tasks.pop(request.task_token, None)
        if task is not None:
            self._time("workflow_task_execution_latency", time.perf_counter() - task.at, workflow_type=task.kind)
        call = self.service.respond_workflow_task_completed(request, **options)
        response: ws.RespondWorkflowTaskCompletedResponse
        response = await self._requested("RespondWorkflowTaskCompleted", call)
        if task is not None and request.commands and int(request.commands[-1].command_type) in _CLOSES:
            began = self._starts.pop(task.run_id, 0)
            if began:
                self._time("workflow_endtoend_latency", (time.time_ns() - began) / 1e9, workflow_type=task.kind)
        if response.workflow_task is not None and response.workflow_task.task_token:
            self._took_workflow_task(response.workflow_task)
        for activity in response.activity_tasks:
            self._took_activity(activity, eager=True)
        self._show_slots()
        return response

    async def respond_workflow_task_failed(
        self, request: ws.RespondWorkflowTaskFailedRequest, **options: Any
    ) -> ws.RespondWorkflowTaskFailedResponse:
        """A failed task."""
        task = self._workflow_tasks.pop(request.task_token, None)
        self._count(
            "workflow_task_execution_failed",
            workflow_type="" if task is None else task.kind,
            failure_reason="NonDeterminismError" if request.cause == _NONDETERMINISM else "WorkflowError",
        )
        self._show_slots()
        call = self.service.respond_workflow_task_failed(request, **options)
        return cast("ws.RespondWorkflowTaskFailedResponse", await self._requested("RespondWorkflowTaskFailed", call))

    async def respond_query_task_completed(
        self, request: ws.RespondQueryTaskCompletedRequest, **options: Any
    ) -> ws.RespondQueryTaskCompletedResponse:
        """A query's answer."""
        call = self.service.respond_query_task_completed(request, **options)
        return cast("ws.RespondQueryTaskCompletedResponse", await self._requested("RespondQueryTaskCompleted", call))

    # ---- activity tasks

    async def poll_activity_task_queue(
        self, request: ws.PollActivityTaskQueueRequest, **options: Any
    ) -> ws.PollActivityTaskQueueResponse:
        """A poll."""
        task: ws.PollActivityTaskQueueResponse = await self._polled(
            "PollActivityTaskQueue", "activity_task", self.service.poll_activity_task_queue(request, **options)
        )
        if not task.task_token:
            self._count("activity_poll_no_task")
        else:
            self._took_activity(task, eager=False)
        return task

    def _took_activity(self, task: ws.PollActivityTaskQueueResponse, *, eager: bool) -> None:
        kind = "" if task.activity_type is None else task.activity_type.name
        workflow = "" if task.workflow_type is None else task.workflow_type.name
        self._count("activity_task_received", activity_type=kind, workflow_type=workflow, eager=eager)
        waited = (task.started_time or 0) - (task.current_attempt_scheduled_time or 0)
        self._time("activity_schedule_to_start_latency", waited / 1e9, activity_type=kind, workflow_type=workflow)
        self._activity_tasks[task.task_token] = _Task(kind, workflow, task.scheduled_time or 0)
        self._show_slots()

    def _left_activity(self, token: bytes) -> _Task | None:
        task = self._activity_tasks.pop(token, None)
        if task is not None:
            self._time(
                "activity_execution_latency",
                time.perf_counter() - task.at,
                activity_type=task.kind,
                workflow_type=task.run_id,
            )
        self._show_slots()
        return task

    async def respond_activity_task_completed(
        self, request: ws.RespondActivityTaskCompletedRequest, **options: Any
    ) -> ws.RespondActivityTaskCompletedResponse:
        """A result."""
        task = self._left_activity(request.task_token)
        call = self.service.respond_activity_task_completed(request, **options)
        response = await self._requested("RespondActivityTaskCompleted", call)
        if task is not None and task.scheduled_ns:
            self._time(
                "activity_succeed_endtoend_latency",
                (time.time_ns() - task.scheduled_ns) / 1e9,
                activity_type=task.kind,
                workflow_type=task.run_id,
            )
        return cast("ws.RespondActivityTaskCompletedResponse", response)

    async def respond_activity_task_failed(
        self, request: ws.RespondActivityTaskFailedRequest, **options: Any
    ) -> ws.RespondActivityTaskFailedResponse:
        """A failure."""
        task = self._left_activity(request.task_token)
        if task is not None and not _is_benign(request.failure):
            self._count("activity_execution_failed", activity_type=task.kind, workflow_type=task.run_id)
        call = self.service.respond_activity_task_failed(request, **options)
        return cast("ws.RespondActivityTaskFailedResponse", await self._requested("RespondActivityTaskFailed", call))

    async def respond_activity_task_canceled(
        self, request: ws.RespondActivityTaskCanceledRequest, **options: Any
    ) -> ws.RespondActivityTaskCanceledResponse:
        """A cancellation."""
        self._left_activity(request.task_token)
        call = self.service.respond_activity_task_canceled(request, **options)
        return cast(
            "ws.RespondActivityTaskCanceledResponse", await self._requested("RespondActivityTaskCanceled", call)
        )

    async def detach_activity_task(self, task_token: bytes) -> None:
        """An activity that is completed elsewhere."""
        self._left_activity(task_token)
        await self.service.detach_activity_task(task_token)

    async def record_activity_task_heartbeat(
        self, request: ws.RecordActivityTaskHeartbeatRequest, **options: Any
    ) -> ws.RecordActivityTaskHeartbeatResponse:
        """A heartbeat."""
        call = self.service.record_activity_task_heartbeat(request, **options)
        return cast(
            "ws.RecordActivityTaskHeartbeatResponse", await self._requested("RecordActivityTaskHeartbeat", call)
        )


def _is_benign(failure: Failure | None) -> bool:
    info = None if failure is None else failure.application_failure_info
    return info is not None and info.category == _BENIGN
