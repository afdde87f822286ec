"""What operators do to pending activities: pause, unpause, reset, change options.

An attempt that runs is never interrupted: its next heartbeat says that it was paused or reset, and the worker decides.
What few activities have is in ``ActivityInfo.extra``: ``pause`` (time, identity, reason, request id), ``reset`` (the
attempt that runs counts as the first), ``reset_heartbeat``, ``options`` (they are no longer the scheduled event's),
``priority``.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

import msgspec

from perdure._native.mutable_state import ActivityInfo, Effect, RetryPolicy
from perdure.api.activity import v1 as activity_v1
from perdure.api.common import v1 as common_v1
from perdure.api.history import v1 as history_v1
from perdure.api.taskqueue import v1 as taskqueue_v1
from perdure.api.workflowservice import v1 as ws
from perdure.engine import limits
from perdure.engine.core import Core
from perdure.engine.errors import failed_precondition, invalid_argument, not_found
from perdure.engine.limits import NS_PER_MS
from perdure.engine.lookup import find_open_run
from perdure.engine.namespaces import Namespaces
from perdure.engine.pausing import show_pauses
from perdure.engine.run import Run
from perdure.engine.wiring import encode

if TYPE_CHECKING:
    from collections.abc import Callable

_DISPATCH_ACTIVITY = int(Effect.DISPATCH_ACTIVITY)
_NOT_FOUND = "activity not found"
_decode_priority = msgspec.msgpack.Decoder(common_v1.Priority).decode
_TIMEOUTS = {
    "schedule_to_close_timeout": "schedule_to_close_ms",
    "schedule_to_start_timeout": "schedule_to_start_ms",
    "start_to_close_timeout": "start_to_close_ms",
    "heartbeat_timeout": "heartbeat_ms",
}
_RETRY_FIELDS = ("initial_interval", "backoff_coefficient", "maximum_interval", "maximum_attempts")
_PRIORITY_FIELDS = ("priority_key", "fairness_key", "fairness_weight")


class ActivityOperations:
    """Temporal's PauseActivity, UnpauseActivity, ResetActivity and UpdateActivityOptions."""

    def __init__(self, core: Core, namespaces: Namespaces) -> None:
        self._core = core
        self._namespaces = namespaces

    async def pause(self, request: ws.PauseActivityRequest) -> ws.PauseActivityResponse:
        """Temporal's PauseActivity."""
        run, found = await self._find(request.namespace, request.execution, request.id, request.type, None)
        await self.pause_all(run, found, request.identity, request.reason, request.request_id)
        return ws.PauseActivityResponse()

    async def unpause(self, request: ws.UnpauseActivityRequest) -> ws.UnpauseActivityResponse:
        """Temporal's UnpauseActivity."""
        jitter = limits.check_duration(request.jitter, "Jitter")
        run, found = await self._find(
            request.namespace, request.execution, request.id, request.type, request.unpause_all
        )
        await self.unpause_all(run, found, request.reset_attempts, request.reset_heartbeat, jitter)
        return ws.UnpauseActivityResponse()

    async def reset(self, request: ws.ResetActivityRequest) -> ws.ResetActivityResponse:
        """Temporal's ResetActivity."""
        jitter = limits.check_duration(request.jitter, "Jitter")
        run, found = await self._find(request.namespace, request.execution, request.id, request.type, request.match_all)
        await self.reset_all(
            run, found, request.reset_heartbeat, request.keep_paused, request.restore_original_options, jitter
        )
        return ws.ResetActivityResponse()

    async def update_options(self, request: ws.UpdateActivityOptionsRequest) -> ws.UpdateActivityOptionsResponse:
        """Temporal's UpdateActivityOptions."""
        run, found = await self._find(request.namespace, request.execution, request.id, request.type, request.match_all)
        options = await self.update_all(
            run, found, request.activity_options, request.update_mask, request.restore_original
        )
        return ws.UpdateActivityOptionsResponse(options)

    async def _find(
        self,
        namespace: str,
        execution: common_v1.WorkflowExecution | None,
        activity_id: str | None,
        activity_type: str | None,
        match_all: bool | None,
    ) -> tuple[Run, list[ActivityInfo]]:
        """The run and those of its activities that a request names. Raises NOT_FOUND when there are none."""
        if not (activity_id or activity_type or match_all):
            raise invalid_argument("either activity id or activity type must be provided")
        namespace_id = self._namespaces.get(namespace).namespace_id
        run = await find_open_run(self._core, namespace_id, execution)
        chosen: Callable[[ActivityInfo], bool]
        if activity_id:
            chosen = lambda activity: activity.activity_id == activity_id  # noqa: E731
        elif activity_type:
            chosen = lambda activity: activity.activity_type == activity_type  # noqa: E731
        else:
            chosen = lambda _: True  # noqa: E731
        found = [activity for activity in run.state.activities.values() if chosen(activity)]
        if not found:
            raise not_found(_NOT_FOUND)
        return run, found

    async def find_one(
        self, namespace: str, workflow_id: str, run_id: str, activity_id: str
    ) -> tuple[Run, ActivityInfo]:
        """One activity of a workflow. Raises NOT_FOUND."""
        execution = common_v1.WorkflowExecution(workflow_id, run_id)
        run, [activity] = await self._find(namespace, execution, activity_id, None, None)
        return run, activity

    # ---- what is done to activities that were found

    async def pause_all(self, run: Run, found: list[ActivityInfo], identity: str, reason: str, request_id: str) -> None:
        """No further attempt of theirs starts."""
        limits.check_id(reason, "Reason", required=False)
        limits.check_id(request_id, "RequestId", required=False)
        now = self._core.now()
        for activity in found:
            if activity.is_paused and not (request_id and (activity.extra or {})["pause"][3] == request_id):
                raise failed_precondition("activity is already paused")
        for activity in found:
            if not activity.is_paused:
                activity.is_paused = True
                if not activity.started_ns:
                    activity.stamp += 1
                _extra(activity)["pause"] = (now, identity, reason, request_id)
        await self._commit(run, found)

    async def unpause_all(
        self, run: Run, found: list[ActivityInfo], reset_attempts: bool, reset_heartbeat: bool, jitter: int
    ) -> None:
        """Their attempts go on: one that does not run is due now."""
        for activity in found:
            if not activity.is_paused:
                continue
            _unpause(activity)
            if reset_attempts and not activity.started_ns:
                activity.attempt = 1
            if reset_heartbeat:
                activity.heartbeat_details = b""
                activity.heartbeat_ns = 0
            if not activity.started_ns:
                self._schedule(run, activity, self._core.now() + _some(jitter))
        await self._commit(run, found)

    async def reset_all(
        self,
        run: Run,
        found: list[ActivityInfo],
        reset_heartbeat: bool,
        keep_paused: bool,
        restore_original: bool,
        jitter: int,
    ) -> None:
        """They begin again with attempt 1, at once; an attempt that runs counts as the first from now on."""
        if restore_original:
            await self._restore(run, found)
        for activity in found:
            if activity.is_paused and not keep_paused:
                _unpause(activity)
            if activity.started_ns:
                extra = _extra(activity)
                extra["reset"] = True
                extra["reset_heartbeat"] = reset_heartbeat
                continue
            activity.attempt = 1
            if reset_heartbeat:
                activity.heartbeat_details = b""
                activity.heartbeat_ns = 0
            if not activity.is_paused:
                self._schedule(run, activity, self._core.now() + _some(jitter))
        await self._commit(run, found)

    async def update_all(
        self,
        run: Run,
        found: list[ActivityInfo],
        options: activity_v1.ActivityOptions | None,
        mask: list[str] | None,
        restore_original: bool,
    ) -> activity_v1.ActivityOptions:
        """Change options (or give them back); returns those that hold now."""
        if restore_original:
            if options is not None or mask:
                raise invalid_argument("RestoreOriginal cannot be combined with ActivityOptions or UpdateMask.")
            await self._restore(run, found)
        else:
            if options is None:
                raise invalid_argument("ActivityOptions are not provided")
            if mask is None:
                raise invalid_argument("UpdateMask is not provided")
            merged = [_merge(options_of(activity), options, mask) for activity in found]
            for activity, new in zip(found, merged, strict=True):
                _check(new)
                self._apply(run, activity, new)
        for activity in found:
            if not activity.started_ns and not activity.is_paused:
                self._schedule(run, activity, _next_time(activity))
        await self._commit(run, found)
        return options_of(found[-1])

    async def _restore(self, run: Run, found: list[ActivityInfo]) -> None:
        for activity in found:
            if activity.event is None:
                activity.event = await self._core.event(run, activity.scheduled_event_id)
            event: history_v1.ActivityTaskScheduledEventAttributes = activity.event.attributes
            self._apply(
                run,
                activity,
                activity_v1.ActivityOptions(
                    task_queue=event.task_queue,
                    schedule_to_close_timeout=event.schedule_to_close_timeout,
                    schedule_to_start_timeout=event.schedule_to_start_timeout,
                    start_to_close_timeout=event.start_to_close_timeout,
                    heartbeat_timeout=event.heartbeat_timeout,
                    retry_policy=event.retry_policy,
                    priority=event.priority,
                ),
            )

    def _apply(self, run: Run, activity: ActivityInfo, options: activity_v1.ActivityOptions) -> None:
        extra = _extra(activity)
        assert options.task_queue is not None
        if options.task_queue.name != activity.task_queue:
            activity.task_queue = options.task_queue.name
            activity.task_id = self._core.next_task_id()  # its row is written anew, in the new queue
        for name, field in _TIMEOUTS.items():
            setattr(activity, field, -(-(getattr(options, name) or 0) // NS_PER_MS))
        non_retryable = [] if activity.retry is None else list(activity.retry.non_retryable)
        policy = options.retry_policy
        if policy is not None:
            if not policy.non_retryable_error_types:
                policy = msgspec.structs.replace(policy, non_retryable_error_types=non_retryable)
            activity.retry = RetryPolicy.from_message(policy)
        extra["options"] = True
        extra["priority"] = b"" if options.priority is None else encode(options.priority)
        activity.stamp += 1
        run.touched.add(activity.scheduled_event_id)

    def _schedule(self, run: Run, activity: ActivityInfo, at_ns: int) -> None:
        """Let the next attempt start at a time, which may be now."""
        activity.stamp += 1
        activity.scheduled_ns = at_ns
        activity.is_backing_off = at_ns > self._core.now()
        if not activity.is_backing_off:
            run.state.effects.append((_DISPATCH_ACTIVITY, activity.scheduled_event_id))

    async def _commit(self, run: Run, found: list[ActivityInfo]) -> None:
        run.touched.update(activity.scheduled_event_id for activity in found)
        show_pauses(run)
        self._core.touch(run)
        await self._core.durable(run)


def _extra(activity: ActivityInfo) -> dict[str, Any]:
    if activity.extra is None:
        activity.extra = {}
    return activity.extra


def _some(jitter: int) -> int:
    return random.randrange(jitter) if jitter else 0


def _unpause(activity: ActivityInfo) -> None:
    activity.is_paused = False
    activity.stamp += 1
    _extra(activity).pop("pause", None)


def _next_time(activity: ActivityInfo) -> int:
    """When the next attempt is due under the options that hold now."""
    if activity.attempt <= 1 or activity.retry is None or not activity.last_ended_ns:
        return activity.scheduled_ns
    retry = activity.retry
    interval = min(retry.initial_ms * retry.coefficient ** (activity.attempt - 2), retry.maximum_ms)
    return activity.last_ended_ns + int(interval) * NS_PER_MS


def priority_of(activity: ActivityInfo) -> common_v1.Priority | None:
    """The priority it was given, by its options where they were changed; its event must be at hand."""
    extra = activity.extra
    if extra is not None and "priority" in extra:
        return _decode_priority(extra["priority"]) if extra["priority"] else None
    return None if activity.event is None else activity.event.attributes.priority


def options_of(activity: ActivityInfo) -> activity_v1.ActivityOptions:
    """The options that hold for the next attempt."""
    retry = activity.retry
    return activity_v1.ActivityOptions(
        task_queue=taskqueue_v1.TaskQueue(activity.task_queue, 1),
        schedule_to_close_timeout=activity.schedule_to_close_ms * NS_PER_MS,
        schedule_to_start_timeout=activity.schedule_to_start_ms * NS_PER_MS,
        start_to_close_timeout=activity.start_to_close_ms * NS_PER_MS,
        heartbeat_timeout=activity.heartbeat_ms * NS_PER_MS,
        retry_policy=None if retry is None else retry_message(retry),
        priority=priority_of(activity),
    )


def retry_message(retry: RetryPolicy) -> common_v1.RetryPolicy:
    """A retry policy as its message."""
    return common_v1.RetryPolicy(
        retry.initial_ms * NS_PER_MS,
        retry.coefficient,
        retry.maximum_ms * NS_PER_MS,
        retry.maximum_attempts,
        list(retry.non_retryable),
    )


def _merge(
    into: activity_v1.ActivityOptions, new: activity_v1.ActivityOptions, mask: list[str]
) -> activity_v1.ActivityOptions:
    """What ``mask`` names, from ``new``; nested names reach into the retry policy and the priority."""
    for path in mask:
        outer, _, inner = path.partition(".")
        if outer in _TIMEOUTS and not inner:
            setattr(into, outer, getattr(new, outer))
        elif outer == "task_queue" and inner in ("", "name"):
            into.task_queue = new.task_queue
        elif path == "retry_policy":
            into.retry_policy = new.retry_policy
        elif outer == "retry_policy" and inner in _RETRY_FIELDS:
            into.retry_policy = into.retry_policy or common_v1.RetryPolicy()
            setattr(into.retry_policy, inner, getattr(new.retry_policy or common_v1.RetryPolicy(), inner))
        elif path == "priority":
            into.priority = new.priority
        elif outer == "priority" and inner in _PRIORITY_FIELDS:
            into.priority = msgspec.structs.replace(into.priority or common_v1.Priority())
            setattr(into.priority, inner, getattr(new.priority or common_v1.Priority(), inner))
        else:
            raise invalid_argument(f"UpdateMask names {path!r}, which is not an option of an activity that can change.")
    return into


def _check(options: activity_v1.ActivityOptions) -> None:
    limits.check_task_queue(options.task_queue)
    limits.check_retry_policy(options.retry_policy)
    for name in _TIMEOUTS:
        setattr(options, name, limits.check_duration(getattr(options, name), name))
    to_close, start = options.schedule_to_close_timeout or 0, options.start_to_close_timeout or 0
    if not to_close and not start:
        raise invalid_argument("A valid StartToClose or ScheduleToCloseTimeout is not set on the activity.")
    if to_close:
        options.schedule_to_start_timeout = min(options.schedule_to_start_timeout or to_close, to_close)
        options.start_to_close_timeout = start = min(start or to_close, to_close)
    options.heartbeat_timeout = min(options.heartbeat_timeout or 0, start)


def overlay(activity: ActivityInfo, response: ws.PollActivityTaskQueueResponse) -> None:
    """Give a started attempt the options that were changed since it was scheduled."""
    if activity.extra is None or not activity.extra.get("options"):
        return
    options = options_of(activity)
    response.schedule_to_close_timeout = options.schedule_to_close_timeout
    response.start_to_close_timeout = options.start_to_close_timeout
    response.heartbeat_timeout = options.heartbeat_timeout
    response.retry_policy = options.retry_policy
    response.priority = options.priority
