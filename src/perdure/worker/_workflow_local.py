"""Local activities: run by the workflow's own worker while its workflow task is open, recorded as markers.

The worker answers the workflow task only when all local activities it started have ended. Should that take long, it
answers with what there is and asks for another task at once (a *heartbeat*); the activities run on meanwhile. Nothing
is recorded of one that is running, so after a crash it runs again.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from perdure._times import duration_to_ns
from perdure.api.command import v1 as command_v1
from perdure.api.common.v1 import ActivityType, Payload, Payloads
from perdure.api.enums.v1 import RetryState, TimeoutType
from perdure.api.failure.v1 import (
    ActivityFailureInfo,
    CanceledFailureInfo,
    Failure,
    TimeoutFailureInfo,
)
from perdure.common import RetryPolicy

if TYPE_CHECKING:
    from perdure._native.events import HistoryEvent
    from perdure._native.matcher import WorkflowCommand
    from perdure.api.sdk.v1 import EventGroupMarker
    from perdure.worker._interceptor import StartLocalActivityInput
    from perdure.worker._workflow_run import WorkflowRun
    from perdure.worker._workflow_turn import Answer

_SECOND = 1_000_000_000
_DEFAULT_THRESHOLD_NS = 60 * _SECOND
_HEARTBEAT_PART = 0.8
_C_RECORD_MARKER = 9
_START_TO_CLOSE = int(TimeoutType.TIMEOUT_TYPE_START_TO_CLOSE)
_SCHEDULE_TO_CLOSE = int(TimeoutType.TIMEOUT_TYPE_SCHEDULE_TO_CLOSE)
_CANCEL_REQUESTED = int(RetryState.RETRY_STATE_CANCEL_REQUESTED)


@dataclass(eq=False)
class LocalActivity:
    """One local activity a workflow asked for."""

    command: WorkflowCommand
    input: StartLocalActivityInput
    payloads: Payloads | None
    attempt: int
    #: When it was first asked for, by the worker's clock; 0 until it is started.
    original_schedule_time_ns: int
    #: The workflow's time when it was asked for.
    asked_at_ns: int
    event_group_markers: list[EventGroupMarker]
    #: Whether it was handed to the worker.
    is_taken: bool = False


@dataclass
class LocalOutcome:
    """How a local activity ended, this time."""

    attempt: int
    result: Payloads | None = None
    failure: Failure | None = None
    backoff_ns: int = 0
    runtime_ns: int = 0
    original_schedule_time_ns: int = 0


#: Runs one attempt: its result, or the failure it ended with.
Execute = Callable[[Any, LocalActivity, int], Awaitable[Payloads | Failure]]


# --- markers


def _time(ns: int) -> dict[str, int] | None:
    return {"seconds": ns // _SECOND, "nanos": ns % _SECOND} if ns else None


def _ns(time: dict[str, Any] | None) -> int:
    return 0 if not time else int(time.get("seconds", 0)) * _SECOND + int(time.get("nanos", 0))


def marker(activity: LocalActivity, outcome: LocalOutcome, complete_time_ns: int, index: int) -> command_v1.Command:
    """The command that records an outcome; form and names are those of Temporal's core."""
    data = {
        "seq": activity.command.seq,
        "attempt": outcome.attempt,
        "activity_id": activity.command.identity,
        "activity_type": activity.command.type_name,
        "complete_time": _time(complete_time_ns),
        "backoff": _time(outcome.backoff_ns),
        "original_schedule_time": _time(outcome.original_schedule_time_ns),
        "activation_index": index,
    }
    encoded = json.dumps(data, separators=(",", ":")).encode()
    details = {"data": Payloads([Payload({"encoding": b"json/plain"}, encoded)])}
    if outcome.result is not None:
        details["result"] = outcome.result
    return command_v1.Command(
        _C_RECORD_MARKER,
        attributes=command_v1.RecordMarkerCommandAttributes("core_local_activity", details, failure=outcome.failure),
    )


def recorded_outcome(event: HistoryEvent) -> LocalOutcome:
    """The outcome a marker holds."""
    attributes = event.attributes
    data = json.loads(attributes.details["data"].payloads[0].data)
    return LocalOutcome(
        attempt=data.get("attempt", 1),
        result=attributes.details.get("result"),
        failure=attributes.failure,
        backoff_ns=_ns(data.get("backoff")),
        original_schedule_time_ns=_ns(data.get("original_schedule_time")),
    )


def local_failure(command: WorkflowCommand, failure: Failure) -> Failure:
    """What the workflow sees: cancellations and timeouts come inside an activity failure, others as they are."""
    if failure.canceled_failure_info is not None:
        message = "Local Activity cancelled"
    elif failure.timeout_failure_info is not None:
        message = "Local Activity timed out"
    else:
        return failure
    return Failure(
        message=message,
        cause=failure,
        activity_failure_info=ActivityFailureInfo(
            activity_type=ActivityType(command.type_name), activity_id=command.identity, retry_state=_CANCEL_REQUESTED
        ),
    )


def canceled(activity: LocalActivity) -> LocalOutcome:
    """The outcome of one that was cancelled."""
    return LocalOutcome(
        attempt=activity.attempt,
        failure=Failure(canceled_failure_info=CanceledFailureInfo()),
        original_schedule_time_ns=activity.original_schedule_time_ns,
    )


# --- running them


class LocalActivityRunner:
    """The local activities of one run, between and during its workflow tasks."""

    def __init__(self, run: WorkflowRun, execute: Execute) -> None:
        self._run = run
        self._execute = execute
        self._tasks: dict[WorkflowCommand, asyncio.Task[None]] = {}
        #: What ended, and how; or the object that stands for the end of the time of one :meth:`answer`.
        self._ended: asyncio.Queue[tuple[LocalActivity, LocalOutcome] | object] = asyncio.Queue()

    async def answer(self) -> Answer:
        """Go on until the workflow task can be answered; at the latest shortly before it times out."""
        loop = asyncio.get_running_loop()
        time_is_up = object()
        seconds = self._run.task_timeout_ns() / _SECOND * _HEARTBEAT_PART
        deadline = loop.call_later(seconds, self._ended.put_nowait, time_is_up)
        try:
            while True:
                self._start_and_cancel()
                ended = await self._ended.get()
                if ended is time_is_up:
                    return self._run.heartbeat()
                if not isinstance(ended, tuple):
                    continue  # the time of an answer that was given before
                activity, outcome = ended
                self._tasks.pop(activity.command, None)
                answer = self._run.resolve_local_activity(activity, outcome)
                if answer is not None:
                    self._start_and_cancel()
                    return answer
        finally:
            deadline.cancel()

    def _start_and_cancel(self) -> None:
        requests, cancels = self._run.take_local_requests()
        for activity in requests:
            self._tasks[activity.command] = asyncio.create_task(self._work(activity))
        for command in cancels:
            task = self._tasks.get(command)
            if task is not None:
                task.cancel()

    def close(self) -> None:
        """Cancel what runs; nobody waits for it any more."""
        for task in self._tasks.values():
            task.cancel()
        self._tasks.clear()

    async def _work(self, activity: LocalActivity) -> None:
        loop = asyncio.get_running_loop()
        began = loop.time()
        try:
            outcome = await self._attempts(activity)
        except asyncio.CancelledError:
            outcome = canceled(activity)
        outcome.runtime_ns = int((loop.time() - began) * _SECOND)
        outcome.original_schedule_time_ns = activity.original_schedule_time_ns
        self._ended.put_nowait((activity, outcome))

    async def _attempts(self, activity: LocalActivity) -> LocalOutcome:
        """Attempts until one succeeds, no more are allowed, or the next is too far away."""
        options = activity.input
        policy = options.retry_policy or RetryPolicy()
        loop = asyncio.get_running_loop()
        until = None
        if options.schedule_to_close_timeout is not None:
            until = loop.time() + options.schedule_to_close_timeout.total_seconds()
        threshold = options.local_retry_threshold
        threshold_ns = _DEFAULT_THRESHOLD_NS if threshold is None else duration_to_ns(threshold)
        attempt = activity.attempt
        while True:
            ended = await self._one_attempt(activity, attempt, until)
            if not isinstance(ended, Failure):
                return LocalOutcome(attempt, result=ended)
            delay = retry_delay_ns(policy, ended, attempt)
            if delay is None or (until is not None and loop.time() + delay / _SECOND >= until):
                return LocalOutcome(attempt, failure=ended)
            if delay > threshold_ns:
                return LocalOutcome(attempt, failure=ended, backoff_ns=delay)
            await asyncio.sleep(delay / _SECOND)
            attempt += 1

    async def _one_attempt(self, activity: LocalActivity, attempt: int, until: float | None) -> Payloads | Failure:
        loop = asyncio.get_running_loop()
        start_to_close = activity.input.start_to_close_timeout
        deadline, kind = until, _SCHEDULE_TO_CLOSE
        if start_to_close is not None:
            ends = loop.time() + start_to_close.total_seconds()
            if until is None or ends < until:
                deadline, kind = ends, _START_TO_CLOSE
        try:
            async with asyncio.timeout_at(deadline):
                return await self._execute(self._run, activity, attempt)
        except TimeoutError:
            return Failure(message="Activity timed out", timeout_failure_info=TimeoutFailureInfo(kind))


def retry_delay_ns(policy: RetryPolicy, failure: Failure, attempt: int) -> int | None:
    """How long to wait for the next attempt; None when there is none."""
    if failure.canceled_failure_info is not None or (policy.maximum_attempts and attempt >= policy.maximum_attempts):
        return None
    timeout = failure.timeout_failure_info
    if timeout is not None and timeout.timeout_type == _SCHEDULE_TO_CLOSE:
        return None
    info = failure.application_failure_info
    if info is not None:
        if info.non_retryable or info.type in (policy.non_retryable_error_types or ()):
            return None
        if info.next_retry_delay:
            return info.next_retry_delay
    first = duration_to_ns(policy.initial_interval)
    longest = first * 100 if policy.maximum_interval is None else duration_to_ns(policy.maximum_interval)
    try:
        delay = int(first * policy.backoff_coefficient ** (attempt - 1))
    except OverflowError:
        return longest
    return min(delay, longest)
