"""Running one attempt of a local activity with the worker's activities."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from perdure._times import optional_duration_to_ns
from perdure.activity import ActivityCancellationDetails
from perdure.activity._context import CompleteAsyncError
from perdure.api.common.v1 import ActivityType, Header, Payloads, WorkflowExecution, WorkflowType
from perdure.api.failure.v1 import CanceledFailureInfo, Failure
from perdure.api.workflowservice.v1 import PollActivityTaskQueueResponse
from perdure.exceptions import ApplicationError
from perdure.worker._activity_worker import CANCELLATIONS, log_failure, stopped
from perdure.worker._running_activity import RunningActivity
from perdure.worker._workflow_metrics import measured_attempt
from perdure.workflow import ActivityCancellationType

if TYPE_CHECKING:
    from perdure.runtime._named_metrics import NamedMetrics
    from perdure.worker._activity_worker import ActivityWorker
    from perdure.worker._workflow_local import LocalActivity
    from perdure.worker._workflow_run import WorkflowRun


class LocalActivityExecutor:
    """Runs local activities as the worker runs others, without a service in between."""

    def __init__(self, worker: ActivityWorker, max_concurrent: int, metrics: NamedMetrics | None) -> None:
        self._worker = worker
        self._slots = asyncio.Semaphore(max_concurrent)
        self._metrics = metrics

    def knows(self, name: str) -> bool:
        """Whether the worker has an activity for that type."""
        return self._worker.registry.find(name) is not None

    async def execute(self, run: WorkflowRun, local: LocalActivity, attempt: int) -> Payloads | Failure:
        """Run one attempt; gives its result or its failure.

        The attempt has a task of its own. Cancelling this call tells the attempt so, and waits for its end only if the
        workflow wants that; an attempt that outlived its timeout is never waited for.
        """
        worker = self._worker
        task = _task(run, local, attempt)
        definition = worker.registry.find(local.input.activity)
        if definition is None:
            return worker.unregistered(task)
        async with self._slots:
            own_task = asyncio.current_task()
            assert own_task is not None
            running = RunningActivity(worker, task, definition, own_task, worker.loop.time())
            running.is_local = True
            ending = self._ended(local, running)
            if self._metrics is None:
                return await ending
            return await measured_attempt(self._metrics, run.workflow_type, local, ending)

    async def _ended(self, local: LocalActivity, running: RunningActivity) -> Payloads | Failure:
        worker = self._worker
        running.loop_task = inner = worker.loop.create_task(self._run(running))
        worker.keep(inner)
        try:
            return await asyncio.shield(inner)
        except asyncio.CancelledError:
            if inner.done():
                raise
            timeout = local.input.start_to_close_timeout
            timed_out = timeout is not None and worker.loop.time() - running.started >= timeout.total_seconds()
            running.cancel(ActivityCancellationDetails(cancel_requested=not timed_out, timed_out=timed_out))
            waits = local.input.cancellation_type == ActivityCancellationType.WAIT_CANCELLATION_COMPLETED
            if timed_out or not waits:
                raise
            return await asyncio.shield(inner)

    async def _run(self, running: RunningActivity) -> Payloads | Failure:
        worker = self._worker
        ended = await worker.run_attempt(running)
        if not isinstance(ended, BaseException):
            return Payloads(list(ended))
        error: BaseException = ended
        details = running.cancellation_details
        if isinstance(error, CANCELLATIONS) and details is not None:
            if details.cancel_requested:
                return Failure(message="Activity cancelled", canceled_failure_info=CanceledFailureInfo())
            error = stopped(details) or error
        if isinstance(error, CompleteAsyncError):
            error = ApplicationError("A local activity cannot be completed asynchronously", non_retryable=True)
        if running.context is not None:
            running.context.run(log_failure, error)
        return (await worker.encode_failure(running, error))[0]


def _task(run: WorkflowRun, local: LocalActivity, attempt: int) -> PollActivityTaskQueueResponse:
    """The attempt in the form that activities are handed out in."""
    options = local.input
    now = time.time_ns()
    if not local.original_schedule_time_ns:
        local.original_schedule_time_ns = now
    return PollActivityTaskQueueResponse(
        task_token=f"local {run.run_id} {local.command.identity} {attempt}".encode(),
        workflow_namespace=run.options.namespace,
        workflow_type=WorkflowType(run.workflow_type),
        workflow_execution=WorkflowExecution(run.workflow_id, run.run_id),
        activity_type=ActivityType(options.activity),
        activity_id=local.command.identity,
        header=Header(dict(options.headers)) if options.headers else None,
        input=local.payloads,
        scheduled_time=local.original_schedule_time_ns,
        current_attempt_scheduled_time=now,
        started_time=now,
        attempt=attempt,
        schedule_to_close_timeout=optional_duration_to_ns(options.schedule_to_close_timeout),
        start_to_close_timeout=optional_duration_to_ns(options.start_to_close_timeout),
        retry_policy=None if options.retry_policy is None else options.retry_policy._to_proto(),
    )
