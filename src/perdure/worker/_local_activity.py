"""Running one attempt of a local activity with the worker's activities."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

from perdure._times import duration_to_ns
from perdure.api.common.v1 import ActivityType, Header, Payloads, WorkflowExecution, WorkflowType
from perdure.api.failure.v1 import Failure
from perdure.api.workflowservice.v1 import PollActivityTaskQueueResponse
from perdure.worker._running_activity import RunningActivity

if TYPE_CHECKING:
    from perdure.worker._activity_worker import ActivityWorker
    from perdure.worker._workflow_local import LocalActivity
    from perdure.worker._workflow_run import WorkflowRun


class RunningLocalActivity(RunningActivity):
    """One attempt of a local activity: it has no heartbeats to send."""

    is_local = True

    def heartbeat(self, *details: Any) -> None:
        """Nothing hears of it."""


class LocalActivityExecutor:
    """Runs local activities as the worker runs others, without a service in between."""

    def __init__(self, worker: ActivityWorker, max_concurrent: int) -> None:
        self._worker = worker
        self._slots = asyncio.Semaphore(max_concurrent)

    def knows(self, name: str) -> bool:
        """Whether the worker has an activity for that type."""
        return self._worker.registry.find(name) is not None

    async def execute(self, run: WorkflowRun, activity: LocalActivity, attempt: int) -> Payloads | Failure:
        """Run one attempt; gives its result or its failure. A cancellation goes through the activity and comes out."""
        async with self._slots:
            worker, loop_task = self._worker, asyncio.current_task()
            definition = worker.registry.find(activity.input.activity)
            assert definition is not None and loop_task is not None
            running = RunningLocalActivity(
                worker, _task(run, activity, attempt), definition, loop_task, worker.loop.time()
            )
            try:
                result = await worker.run_attempt(running)
                return Payloads(list(await running.converter.encode((result,))))
            except asyncio.CancelledError:
                if loop_task.cancelling():
                    raise
                failure, _ = await worker._encode_failure(running, asyncio.CancelledError())
                return failure
            except Exception as error:
                failure, _ = await worker._encode_failure(running, error)
                return failure
            finally:
                running.done = True


def _task(run: WorkflowRun, activity: LocalActivity, attempt: int) -> PollActivityTaskQueueResponse:
    """The attempt in the form that activities are handed out in."""
    options = activity.input
    now = time.time_ns()
    if not activity.original_schedule_time_ns:
        activity.original_schedule_time_ns = now
    to_close, start_to_close = options.schedule_to_close_timeout, options.start_to_close_timeout
    return PollActivityTaskQueueResponse(
        workflow_namespace=run.options.namespace,
        workflow_type=WorkflowType(run.workflow_type),
        workflow_execution=WorkflowExecution(run.workflow_id, run.run_id),
        activity_type=ActivityType(options.activity),
        activity_id=activity.command.identity,
        header=Header(dict(options.headers)) if options.headers else None,
        input=activity.payloads,
        scheduled_time=activity.original_schedule_time_ns,
        current_attempt_scheduled_time=now,
        started_time=now,
        attempt=attempt,
        schedule_to_close_timeout=None if to_close is None else duration_to_ns(to_close),
        start_to_close_timeout=None if start_to_close is None else duration_to_ns(start_to_close),
        retry_policy=None if options.retry_policy is None else options.retry_policy._to_proto(),
    )
