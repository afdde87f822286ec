"""What a worker measures of its workflows beside their tasks, by the names of Temporal's SDK metrics."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable
from typing import TYPE_CHECKING

from perdure.api.common.v1 import Payloads
from perdure.api.enums.v1 import CommandType
from perdure.api.failure.v1 import Failure
from perdure.runtime._named_metrics import NamedMetrics
from perdure.worker._run_cache import CachedRun, RunCache
from perdure.worker._service_metrics import is_benign
from perdure.worker._workflow_run import WorkflowRun

if TYPE_CHECKING:
    from perdure._native.events import HistoryEvent
    from perdure.api.query import v1 as query_v1
    from perdure.api.workflowservice import v1 as ws
    from perdure.worker._workflow_local import LocalActivity

_CLOSES = {
    int(CommandType.COMMAND_TYPE_COMPLETE_WORKFLOW_EXECUTION): "workflow_completed",
    int(CommandType.COMMAND_TYPE_FAIL_WORKFLOW_EXECUTION): "workflow_failed",
    int(CommandType.COMMAND_TYPE_CANCEL_WORKFLOW_EXECUTION): "workflow_canceled",
    int(CommandType.COMMAND_TYPE_CONTINUE_AS_NEW_WORKFLOW_EXECUTION): "workflow_continue_as_new",
}


class RunMetrics:
    """What is measured of the runs of a worker."""

    def __init__(self, metrics: NamedMetrics) -> None:
        self._metrics = metrics

    def closed(self, command_type: int, workflow_type: str) -> None:
        """A workflow of that type closes with that command."""
        name = _CLOSES.get(command_type)
        if name is not None:
            self._metrics.count(name, workflow_type=workflow_type)

    def replayed(self, seconds: float, workflow_type: str) -> None:
        """A run of that type was brought back to where its history ends."""
        self._metrics.time("workflow_task_replay_latency", seconds, workflow_type=workflow_type)


class MeasuredRun(WorkflowRun):
    """A run that tells how long it took to replay its history."""

    def _apply_task(
        self,
        task: ws.PollWorkflowTaskQueueResponse,
        events: list[HistoryEvent],
        results: dict[str, query_v1.WorkflowQueryResult],
    ) -> None:
        if task.previous_started_event_id and events and events[0].event_id == 1:
            self.replay_began = time.perf_counter()
        super()._apply_task(task, events, results)
        if self.replay_began:  # nothing came after what was replayed
            self._replayed()

    def _replayed(self) -> None:
        assert self.options.run_metrics is not None
        self.options.run_metrics.replayed(time.perf_counter() - self.replay_began, self.workflow_type)
        self.replay_began = 0.0


class MeasuredRunCache(RunCache):
    """Counts the runs that it puts out of memory for want of room."""

    def __init__(self, max_runs: int, max_bytes: int, metrics: NamedMetrics) -> None:
        super().__init__(max_runs, max_bytes)
        self._metrics = metrics

    def put(self, run_id: str, cached: CachedRun, events: int) -> None:
        """As :meth:`RunCache.put`."""
        before = len(self) + (self.get(run_id) is None)
        super().put(run_id, cached, events)
        for _ in range(before - len(self)):
            self._metrics.count("sticky_cache_total_forced_eviction")


async def measured_attempt(
    metrics: NamedMetrics, workflow_type: str, local: LocalActivity, attempt: Awaitable[Payloads | Failure]
) -> Payloads | Failure:
    """An attempt of a local activity, counted and timed."""
    labels = {"activity_type": local.input.activity, "workflow_type": workflow_type}
    metrics.count("local_activity_total", **labels)
    begin = time.perf_counter()
    try:
        ended = await attempt
    except asyncio.CancelledError:
        seconds = time.perf_counter() - begin
        limit = local.input.start_to_close_timeout
        is_timeout = limit is not None and seconds >= limit.total_seconds()
        metrics.time("local_activity_execution_latency", seconds, **labels)
        metrics.count(f"local_activity_execution_{'failed' if is_timeout else 'cancelled'}", **labels)
        raise
    metrics.time("local_activity_execution_latency", time.perf_counter() - begin, **labels)
    if isinstance(ended, Payloads):
        seconds = (time.time_ns() - local.original_schedule_time_ns) / 1e9
        metrics.time("local_activity_succeed_endtoend_latency", seconds, **labels)
    elif ended.canceled_failure_info is not None:
        metrics.count("local_activity_execution_cancelled", **labels)
    elif not is_benign(ended):
        metrics.count("local_activity_execution_failed", **labels)
    return ended
