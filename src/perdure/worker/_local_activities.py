"""Local activities: attempts that run inside the worker of their workflow, without a task queue.

The workflow task that started them stays open meanwhile. What came of one is recorded in a marker, so a replay does not
run it again; a worker that dies before the marker is stored runs it once more.

Retries happen here while the wait between attempts is short. A longer wait is the workflow's: the outcome then says how
long, the workflow starts a timer and schedules the activity again with the next attempt number.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from perdure.activity import ActivityCancellationDetails
from perdure.api.common.v1 import ActivityType, Header, Payloads, RetryPolicy, WorkflowExecution, WorkflowType
from perdure.api.failure.v1 import CanceledFailureInfo, Failure, TimeoutFailureInfo
from perdure.api.workflowservice.v1 import PollActivityTaskQueueResponse

if TYPE_CHECKING:
    from perdure.worker._activity_worker import ActivityWorker
    from perdure.worker._running_activity import RunningActivity

_SECOND = 1_000_000_000
_DEFAULT_RETRY = RetryPolicy(initial_interval=_SECOND, backoff_coefficient=2.0)
_START_TO_CLOSE, _SCHEDULE_TO_START, _SCHEDULE_TO_CLOSE = 1, 2, 3
_TIMEOUT_NAMES = {
    _START_TO_CLOSE: "StartToClose",
    _SCHEDULE_TO_START: "ScheduleToStart",
    _SCHEDULE_TO_CLOSE: "ScheduleToClose",
}


@dataclass(slots=True)
class LocalActivityRequest:
    """One local activity as the workflow asked for it. Times and durations are nanoseconds."""

    activity_id: str
    activity_type: str
    input: Payloads | None
    header: Header | None
    workflow_execution: WorkflowExecution
    workflow_type: str
    #: The attempt to begin with; more than 1 after a wait in the workflow.
    attempt: int
    #: When the workflow first asked; ``schedule_to_close_timeout`` counts from here.
    original_schedule_time: int
    schedule_to_close_timeout: int | None
    schedule_to_start_timeout: int | None
    start_to_close_timeout: int | None
    retry_policy: RetryPolicy | None
    #: The longest wait between attempts that happens in the worker.
    local_retry_threshold: int


@dataclass(slots=True)
class LocalActivityOutcome:
    """What came of a local activity: a result, a failure, or a wait that the workflow has to make."""

    #: The last attempt; with ``backoff`` the one to come.
    attempt: int
    result: Payloads | None = None
    failure: Failure | None = None
    is_cancelled: bool = False
    #: How long to wait before ``attempt``.
    backoff: int | None = None


class LocalActivity:
    """A local activity that is running or waits for its next attempt."""

    def __init__(self, request: LocalActivityRequest, done: Callable[[LocalActivityOutcome], None]) -> None:
        self.request = request
        self._done = done
        self._is_finished = False
        self._is_cancelled = asyncio.Event()
        self.running: RunningActivity | None = None

    def cancel(self) -> None:
        """Ask it to stop; it still finishes, usually as cancelled."""
        self._is_cancelled.set()
        if self.running is not None:
            self.running.cancel(ActivityCancellationDetails(cancel_requested=True))

    @property
    def is_cancelled(self) -> bool:
        """Whether it was asked to stop."""
        return self._is_cancelled.is_set()

    async def wait_cancelled(self, seconds: float) -> bool:
        """Wait, and return whether it was asked to stop meanwhile."""
        try:
            await asyncio.wait_for(self._is_cancelled.wait(), seconds)
        except TimeoutError:
            return False
        return True

    def finish(self, outcome: LocalActivityOutcome) -> None:
        """Tell the workflow, once."""
        if not self._is_finished:
            self._is_finished = True
            self._done(outcome)


class LocalActivities:
    """The local activities of one worker."""

    def __init__(self, worker: ActivityWorker, slots: int, now: Callable[[], int]) -> None:
        self._worker = worker
        self._slots = asyncio.Semaphore(slots)
        self._now = now
        self._tasks: dict[asyncio.Task[None], LocalActivity] = {}

    def start(self, request: LocalActivityRequest, done: Callable[[LocalActivityOutcome], None]) -> LocalActivity:
        """Start a local activity; ``done`` is called on the loop, never before this returns."""
        local = LocalActivity(request, done)
        task = asyncio.get_running_loop().create_task(
            self._drive(local), name=f"local activity {request.activity_type}"
        )
        self._tasks[task] = local
        task.add_done_callback(self._tasks.pop)
        return local

    def cancel_all(self) -> None:
        """The worker shuts down: tell every attempt so."""
        for local in self._tasks.values():
            if local.running is not None:
                local.running.cancel(ActivityCancellationDetails(worker_shutdown=True))

    async def wait(self) -> None:
        """Wait for every local activity that runs."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    async def _drive(self, local: LocalActivity) -> None:
        request = local.request
        attempt = request.attempt
        while True:
            outcome = await self._attempt(local, attempt)
            if outcome.failure is None or outcome.is_cancelled:
                break
            delay = self._retry_delay(request, attempt, outcome.failure)
            if delay is None:
                break
            attempt += 1
            if delay > request.local_retry_threshold:
                outcome = LocalActivityOutcome(attempt, backoff=delay)
                break
            if await local.wait_cancelled(delay / 1e9):
                outcome = LocalActivityOutcome(attempt - 1, failure=_cancelled(), is_cancelled=True)
                break
        local.finish(outcome)

    async def _attempt(self, local: LocalActivity, attempt: int) -> LocalActivityOutcome:
        request = local.request
        remaining = self._remaining(request)
        to_start = request.schedule_to_start_timeout
        limits = [limit for limit in (to_start, remaining) if limit is not None]
        try:
            await asyncio.wait_for(self._slots.acquire(), min(limits) / 1e9 if limits else None)
        except TimeoutError:
            kind = _SCHEDULE_TO_START if to_start is not None and to_start == min(limits) else _SCHEDULE_TO_CLOSE
            return LocalActivityOutcome(attempt, failure=_timed_out(kind))
        try:
            if local.is_cancelled:
                return LocalActivityOutcome(attempt, failure=_cancelled(), is_cancelled=True)
            return await self._run(local, attempt)
        finally:
            self._slots.release()

    async def _run(self, local: LocalActivity, attempt: int) -> LocalActivityOutcome:
        """One attempt within its timeouts; an attempt that outlives them is cancelled and not waited for."""
        remaining = self._remaining(local.request)
        start_to_close = local.request.start_to_close_timeout or None
        limits = [limit for limit in (start_to_close, remaining) if limit is not None]
        task = asyncio.get_running_loop().create_task(
            self._worker.run_locally(self._task(local.request, attempt), local), name="local attempt"
        )
        self._worker.keep(task)
        await asyncio.wait([task], timeout=min(limits) / 1e9 if limits else None)
        if task.done():
            return task.result()
        if local.running is not None:
            local.running.cancel(ActivityCancellationDetails(timed_out=True))
        kind = _START_TO_CLOSE if start_to_close == min(limits) else _SCHEDULE_TO_CLOSE
        return LocalActivityOutcome(attempt, failure=_timed_out(kind))

    def _task(self, request: LocalActivityRequest, attempt: int) -> PollActivityTaskQueueResponse:
        now = self._now()
        return PollActivityTaskQueueResponse(
            task_token=f"local {request.workflow_execution.run_id} {request.activity_id} {attempt}".encode(),
            workflow_namespace=self._worker.namespace,
            workflow_type=WorkflowType(request.workflow_type),
            workflow_execution=request.workflow_execution,
            activity_type=ActivityType(request.activity_type),
            activity_id=request.activity_id,
            header=request.header,
            input=request.input,
            scheduled_time=request.original_schedule_time,
            current_attempt_scheduled_time=now,
            started_time=now,
            attempt=attempt,
            schedule_to_close_timeout=request.schedule_to_close_timeout,
            start_to_close_timeout=request.start_to_close_timeout,
            retry_policy=request.retry_policy,
        )

    def _remaining(self, request: LocalActivityRequest) -> int | None:
        if not request.schedule_to_close_timeout:
            return None
        return max(0, request.original_schedule_time + request.schedule_to_close_timeout - self._now())

    def _retry_delay(self, request: LocalActivityRequest, attempt: int, failure: Failure) -> int | None:
        """How long to wait before the next attempt; None: there is none."""
        policy = request.retry_policy or _DEFAULT_RETRY
        info, timeout = failure.application_failure_info, failure.timeout_failure_info
        if timeout is not None and timeout.timeout_type != _START_TO_CLOSE:
            return None
        if info is not None and (
            info.non_retryable or info.type.lower() in (kind.lower() for kind in policy.non_retryable_error_types)
        ):
            return None
        if policy.maximum_attempts and attempt >= policy.maximum_attempts:
            return None
        initial = policy.initial_interval or _SECOND
        delay = int(initial * (policy.backoff_coefficient or 2.0) ** min(attempt - 1, 64))
        delay = min(delay, policy.maximum_interval or initial * 100)
        if info is not None and info.next_retry_delay:
            delay = info.next_retry_delay
        remaining = self._remaining(request)
        return None if remaining is not None and delay > remaining else delay


def _timed_out(kind: int) -> Failure:
    return Failure(
        message=f"activity {_TIMEOUT_NAMES[kind]} timeout",
        source="perdure",
        timeout_failure_info=TimeoutFailureInfo(timeout_type=kind),
    )


def _cancelled() -> Failure:
    return Failure(message="Activity cancelled", canceled_failure_info=CanceledFailureInfo())
