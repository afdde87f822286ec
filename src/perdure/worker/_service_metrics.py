"""What a worker measures of its tasks, by the names of Temporal's SDK metrics.

A worker whose client has a runtime with metrics calls its service through a :class:`MeasuredService`: everything is read
off the requests and the answers. Without metrics there is no such layer. Requests as such are measured by the
connection, ``service/_measured.py``.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Any

from perdure.api.enums.v1 import CommandType, EventType, TaskQueueKind, WorkflowTaskFailedCause
from perdure.api.failure.v1 import Failure
from perdure.api.workflowservice import v1 as ws
from perdure.runtime._named_metrics import NamedMetrics
from perdure.service import WorkflowService

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
    workflow_slots = activity_slots = nexus_slots = 0

    def __init__(self, service: WorkflowService, metrics: NamedMetrics) -> None:
        self.service = service
        self.metrics = metrics
        self._workflow_tasks: dict[bytes, _Task] = {}
        self._activity_tasks: dict[bytes, _Task] = {}
        self._nexus_tasks: dict[bytes, _Task] = {}
        self._pollers: dict[str, int] = {}
        #: run id -> when it started, nanoseconds since the epoch.
        self._starts: OrderedDict[str, int] = OrderedDict()
        metrics.count("worker_start")

    def __getattr__(self, name: str) -> Any:
        return getattr(self.service, name)

    def _show_slots(self) -> None:
        for tasks, slots, kind in (
            (self._workflow_tasks, self.workflow_slots, "WorkflowWorker"),
            (self._activity_tasks, self.activity_slots, "ActivityWorker"),
            (self._nexus_tasks, self.nexus_slots, "NexusWorker"),
        ):
            if slots:
                self.metrics.set("worker_task_slots_used", len(tasks), worker_type=kind)
                self.metrics.set("worker_task_slots_available", slots - len(tasks), worker_type=kind)
        self.metrics.set("sticky_cache_size", self.cache_size())

    async def _polled(self, poller_type: str, call: Awaitable[Any]) -> Any:
        self._pollers[poller_type] = self._pollers.get(poller_type, 0) + 1
        self.metrics.set("num_pollers", self._pollers[poller_type], poller_type=poller_type)
        try:
            return await call
        finally:
            self._pollers[poller_type] -= 1
            self.metrics.set("num_pollers", self._pollers[poller_type], poller_type=poller_type)

    # ---- workflow tasks

    async def poll_workflow_task_queue(
        self, request: ws.PollWorkflowTaskQueueRequest, **options: Any
    ) -> ws.PollWorkflowTaskQueueResponse:
        """A poll."""
        is_sticky = request.task_queue is not None and request.task_queue.kind == _STICKY
        task: ws.PollWorkflowTaskQueueResponse = await self._polled(
            "sticky_workflow_task" if is_sticky else "workflow_task",
            self.service.poll_workflow_task_queue(request, **options),
        )
        if not task.task_token:
            self.metrics.count("workflow_task_queue_poll_empty")
            return task
        self.metrics.count("workflow_task_queue_poll_succeed")
        self._took_workflow_task(task)
        return task

    def _took_workflow_task(self, task: ws.PollWorkflowTaskQueueResponse) -> None:
        kind = "" if task.workflow_type is None else task.workflow_type.name
        run_id = "" if task.workflow_execution is None else task.workflow_execution.run_id
        if task.query is None:
            self.metrics.time(
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
            self.metrics.count("sticky_cache_miss" if is_whole else "sticky_cache_hit")
        self._show_slots()

    async def respond_workflow_task_completed(
        self, request: ws.RespondWorkflowTaskCompletedRequest, **options: Any
    ) -> ws.RespondWorkflowTaskCompletedResponse:
        """An answer, which may bring the next task."""
        task = self._workflow_tasks.pop(request.task_token, None)
        if task is not None:
            self.metrics.time("workflow_task_execution_latency", time.perf_counter() - task.at, workflow_type=task.kind)
        response = await self.service.respond_workflow_task_completed(request, **options)
        if task is not None and request.commands and int(request.commands[-1].command_type) in _CLOSES:
            began = self._starts.pop(task.run_id, 0)
            if began:
                self.metrics.time("workflow_endtoend_latency", (time.time_ns() - began) / 1e9, workflow_type=task.kind)
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
        self.metrics.count(
            "workflow_task_execution_failed",
            workflow_type="" if task is None else task.kind,
            failure_reason="NonDeterminismError" if request.cause == _NONDETERMINISM else "WorkflowError",
        )
        self.metrics.count("sticky_cache_total_forced_eviction")  # the run is made again for its next task
        self._show_slots()
        return await self.service.respond_workflow_task_failed(request, **options)

    # ---- activity tasks

    async def poll_activity_task_queue(
        self, request: ws.PollActivityTaskQueueRequest, **options: Any
    ) -> ws.PollActivityTaskQueueResponse:
        """A poll."""
        task: ws.PollActivityTaskQueueResponse = await self._polled(
            "activity_task", self.service.poll_activity_task_queue(request, **options)
        )
        if not task.task_token:
            self.metrics.count("activity_poll_no_task")
        else:
            self._took_activity(task, eager=False)
        return task

    def _took_activity(self, task: ws.PollActivityTaskQueueResponse, *, eager: bool) -> None:
        kind = "" if task.activity_type is None else task.activity_type.name
        workflow = "" if task.workflow_type is None else task.workflow_type.name
        self.metrics.count("activity_task_received", activity_type=kind, workflow_type=workflow, eager=eager)
        waited = (task.started_time or 0) - (task.current_attempt_scheduled_time or 0)
        self.metrics.time(
            "activity_schedule_to_start_latency", waited / 1e9, activity_type=kind, workflow_type=workflow
        )
        self._activity_tasks[task.task_token] = _Task(kind, workflow, task.scheduled_time or 0)
        self._show_slots()

    def _left_activity(self, token: bytes) -> _Task | None:
        task = self._activity_tasks.pop(token, None)
        if task is not None:
            self.metrics.time(
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
        response = await self.service.respond_activity_task_completed(request, **options)
        if task is not None and task.scheduled_ns:
            self.metrics.time(
                "activity_succeed_endtoend_latency",
                (time.time_ns() - task.scheduled_ns) / 1e9,
                activity_type=task.kind,
                workflow_type=task.run_id,
            )
        return response

    async def respond_activity_task_failed(
        self, request: ws.RespondActivityTaskFailedRequest, **options: Any
    ) -> ws.RespondActivityTaskFailedResponse:
        """A failure."""
        task = self._left_activity(request.task_token)
        if task is not None and not is_benign(request.failure):
            self.metrics.count("activity_execution_failed", activity_type=task.kind, workflow_type=task.run_id)
        return await self.service.respond_activity_task_failed(request, **options)

    async def respond_activity_task_canceled(
        self, request: ws.RespondActivityTaskCanceledRequest, **options: Any
    ) -> ws.RespondActivityTaskCanceledResponse:
        """A cancellation."""
        self._left_activity(request.task_token)
        return await self.service.respond_activity_task_canceled(request, **options)

    async def detach_activity_task(self, task_token: bytes) -> None:
        """An activity that is completed elsewhere."""
        self._left_activity(task_token)
        await self.service.detach_activity_task(task_token)

    # ---- Nexus tasks

    async def poll_nexus_task_queue(
        self, request: ws.PollNexusTaskQueueRequest, **options: Any
    ) -> ws.PollNexusTaskQueueResponse:
        """A poll."""
        task: ws.PollNexusTaskQueueResponse = await self._polled(
            "nexus_task", self.service.poll_nexus_task_queue(request, **options)
        )
        if not task.task_token:
            self.metrics.count("nexus_poll_no_task")
            return task
        scheduled = 0 if task.request is None else task.request.scheduled_time or 0
        if scheduled:
            self.metrics.time("nexus_task_schedule_to_start_latency", (time.time_ns() - scheduled) / 1e9)
        self._nexus_tasks[task.task_token] = _Task("", "", scheduled)
        self._show_slots()
        return task

    def _left_nexus_task(self, token: bytes) -> _Task | None:
        task = self._nexus_tasks.pop(token, None)
        if task is not None:
            self.metrics.time("nexus_task_execution_latency", time.perf_counter() - task.at)
        self._show_slots()
        return task

    def _answered_nexus_task(self, task: _Task | None) -> None:
        if task is not None and task.scheduled_ns:
            self.metrics.time("nexus_task_endtoend_latency", (time.time_ns() - task.scheduled_ns) / 1e9)

    async def respond_nexus_task_completed(
        self, request: ws.RespondNexusTaskCompletedRequest, **options: Any
    ) -> ws.RespondNexusTaskCompletedResponse:
        """An answer, which may be that the operation failed or was canceled."""
        task = self._left_nexus_task(request.task_token)
        started = None if request.response is None else request.response.start_operation
        if started is not None and started.operation_error is not None:
            reason = f"operation_{started.operation_error.operation_state}"
            self.metrics.count("nexus_task_execution_failed", failure_reason=reason)
        elif started is not None and started.failure is not None:
            state = "failed" if started.failure.canceled_failure_info is None else "canceled"
            self.metrics.count("nexus_task_execution_failed", failure_reason=f"operation_{state}")
        response = await self.service.respond_nexus_task_completed(request, **options)
        self._answered_nexus_task(task)
        return response

    async def respond_nexus_task_failed(
        self, request: ws.RespondNexusTaskFailedRequest, **options: Any
    ) -> ws.RespondNexusTaskFailedResponse:
        """The handler failed."""
        task = self._left_nexus_task(request.task_token)
        info = None if request.failure is None else request.failure.nexus_handler_failure_info
        kind = info.type if info is not None else "" if request.error is None else request.error.error_type
        self.metrics.count("nexus_task_execution_failed", failure_reason=f"handler_error_{kind}")
        response = await self.service.respond_nexus_task_failed(request, **options)
        self._answered_nexus_task(task)
        return response

    def left_unanswered(self, task_token: bytes) -> None:
        """A Nexus task was cancelled, by its deadline as a rule: nobody waits for its answer."""
        self._left_nexus_task(task_token)
        self.metrics.count("nexus_task_execution_failed", failure_reason="timeout")


def is_benign(failure: Failure | None) -> bool:
    """Whether a failure is one that its thrower does not want counted."""
    info = None if failure is None else failure.application_failure_info
    return info is not None and info.category == _BENIGN
