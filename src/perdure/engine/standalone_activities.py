"""Standalone activities: activities that no workflow scheduled.

Such an activity is a run without a workflow. Its history is the activity's own (scheduled, started, closed), its state
has ``is_activity`` set and one pending activity, so attempts, timeouts, retries, heartbeats, recovery and retention are
those of every other activity. The store keeps these runs under an id of the namespace's own
(:func:`~perdure.engine.namespaces.activities_of`), so that ids and lists of activities and workflows do not mix.
"""

from __future__ import annotations

import asyncio
import uuid
from typing import Any

import msgspec

from perdure._native import activities, transitions
from perdure._native.commands import resolve_retry_policy
from perdure._native.mutable_state import ActivityInfo, Effect, MutableState, RunState, Status
from perdure.api.activity import v1 as activity_v1
from perdure.api.common import v1 as common_v1
from perdure.api.enums.v1 import ActivityExecutionStatus, ActivityIdConflictPolicy, ActivityIdReusePolicy, EventType
from perdure.api.failure import v1 as failure_v1
from perdure.api.history import v1 as history_v1
from perdure.api.sdk import v1 as sdk_v1
from perdure.api.taskqueue import v1 as taskqueue_v1
from perdure.api.workflowservice import v1 as ws
from perdure.engine import limits
from perdure.engine.activity_operations import ActivityOperations, options_of
from perdure.engine.activity_tasks import ActivityTasks
from perdure.engine.callbacks import Callbacks
from perdure.engine.closing import Closing
from perdure.engine.core import Core
from perdure.engine.eager_activities import EagerStarts
from perdure.engine.errors import activity_already_started, invalid_argument, not_found
from perdure.engine.listing import count_runs, groups_of, list_page, read_query, search_attributes_of
from perdure.engine.lookup import changed
from perdure.engine.namespaces import Namespaces, activities_of
from perdure.engine.nexus_describing import callback_state
from perdure.engine.nexus_state import Callback, callbacks
from perdure.engine.pending import pending_state
from perdure.engine.resets import end_and_delete
from perdure.engine.run import Run, activity_status
from perdure.engine.standalone import find_by_id, may_start, search_attributes
from perdure.engine.wiring import decode_failure, decode_payloads, encode
from perdure.store.api import RunKey, VisibilityRecord

_SCHEDULED = int(EventType.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED)
_STARTED = int(EventType.EVENT_TYPE_ACTIVITY_TASK_STARTED)
_COMPLETED = int(EventType.EVENT_TYPE_ACTIVITY_TASK_COMPLETED)
_FAILED = int(EventType.EVENT_TYPE_ACTIVITY_TASK_FAILED)
_TIMED_OUT = int(EventType.EVENT_TYPE_ACTIVITY_TASK_TIMED_OUT)
_CANCEL_REQUESTED = int(EventType.EVENT_TYPE_ACTIVITY_TASK_CANCEL_REQUESTED)
_CANCELED = int(EventType.EVENT_TYPE_ACTIVITY_TASK_CANCELED)
_REUSE = frozenset(map(int, ActivityIdReusePolicy))
_CONFLICT = frozenset(map(int, ActivityIdConflictPolicy))
_RUNNING = int(ActivityExecutionStatus.ACTIVITY_EXECUTION_STATUS_RUNNING)
_PAUSED = int(ActivityExecutionStatus.ACTIVITY_EXECUTION_STATUS_PAUSED)
_DISPATCH_ACTIVITY = int(Effect.DISPATCH_ACTIVITY)
#: Status of a run -> status of the activity; the numbers are not the same.
_STATUSES = {
    int(Status.STATUS_RUNNING): _RUNNING,
    int(Status.COMPLETED): int(ActivityExecutionStatus.ACTIVITY_EXECUTION_STATUS_COMPLETED),
    int(Status.FAILED): int(ActivityExecutionStatus.ACTIVITY_EXECUTION_STATUS_FAILED),
    int(Status.CANCELED): int(ActivityExecutionStatus.ACTIVITY_EXECUTION_STATUS_CANCELED),
    int(Status.TERMINATED): int(ActivityExecutionStatus.ACTIVITY_EXECUTION_STATUS_TERMINATED),
    int(Status.TIMED_OUT): int(ActivityExecutionStatus.ACTIVITY_EXECUTION_STATUS_TIMED_OUT),
    int(Status.PAUSED): _PAUSED,
}
#: What list filters about activities call the columns of runs.
COLUMNS = {
    "ActivityId": "WorkflowId",
    "ActivityType": "WorkflowType",
    "ActivityStatus": "ExecutionStatus",
    "ActivityTaskQueue": "TaskQueue",
    "ScheduleTime": "StartTime",
}
_decode_metadata = msgspec.msgpack.Decoder(sdk_v1.UserMetadata).decode
_GONE = "activity execution already completed"


class StandaloneActivities:
    """Temporal's ...ActivityExecution RPCs."""

    #: Set when the engine is put together.
    callbacks: Callbacks

    def __init__(self, core: Core, namespaces: Namespaces, closing: Closing, operations: ActivityOperations) -> None:
        self._core = core
        self._namespaces = namespaces
        self._closing = closing
        self._operations = operations
        #: Set when the engine is put together.
        self.activity_tasks: ActivityTasks
        core.matching.aliases = namespaces.activity_ids

    # ---- start

    async def start(self, request: ws.StartActivityExecutionRequest) -> ws.StartActivityExecutionResponse:
        """Temporal's StartActivityExecution. The activity is durable before the answer.

        A caller that asks for eager execution gets the first attempt with the answer, unless a delay comes before it.
        """
        core = self._core
        event = _scheduled(request)
        if request.completion_callbacks:
            self.callbacks.check(request.completion_callbacks)
        namespace = self._namespaces.get(request.namespace)
        if request.search_attributes is not None:
            await self._namespaces.learn(namespace, request.search_attributes)
        namespace_id = activities_of(namespace.namespace_id)
        current = await core.current(namespace_id, request.activity_id)
        if current is not None:
            s = current.state
            if request.request_id and s.create_request_id == request.request_id:
                await core.durable(current)
                return ws.StartActivityExecutionResponse(current.key.run_id, True)
            may = may_start(current, request)
            if may is None:
                raise activity_already_started(*current.key[1:], s.create_request_id, current.is_open)
            if not may:
                options = request.on_conflict_options
                if options is not None and options.attach_completion_callbacks:
                    self.callbacks.register(current, request.completion_callbacks, request.request_id)
                    core.forming(current)
                await core.durable(current)
                return ws.StartActivityExecutionResponse(current.key.run_id, False)
        key = RunKey(namespace_id, request.activity_id, core.run_ids.new(core.now()))
        run = self._create(key, request, event, namespace.retention_ms)
        response = ws.StartActivityExecutionResponse(key.run_id, True)
        if request.request_eager_execution and not request.start_delay:
            eager = EagerStarts(request.identity, {request.activity_id})
            run.state.effects.append((_DISPATCH_ACTIVITY, 1))
            self.activity_tasks.start_eagerly(run, eager)
            [response.eager_activity_task] = await self.activity_tasks.hand_over(run, eager)
        else:
            core.touch(run)
            await core.durable(run)
        return response

    def _create(
        self,
        key: RunKey,
        request: ws.StartActivityExecutionRequest,
        event: history_v1.ActivityTaskScheduledEventAttributes,
        retention_ms: int,
    ) -> Run:
        core = self._core
        now = core.now()
        s = MutableState(*key)
        s.is_activity = True
        s.is_first_task_held = True  # there is no workflow that a task could go to
        s.state = RunState.RUNNING
        s.create_request_id = request.request_id or str(uuid.uuid4())
        s.workflow_type = event.activity_type.name if event.activity_type is not None else ""
        s.task_queue = event.task_queue.name if event.task_queue is not None else ""
        delay = limits.check_duration(request.start_delay, "StartDelay")
        s.first_run_id = key.run_id
        s.start_ns = now
        s.execution_ns = now + delay
        s.extra = {"retention_ms": retention_ms, "start_delay": delay}
        if request.user_metadata is not None:
            s.extra["user_metadata"] = encode(request.user_metadata)
        if request.search_attributes is not None:
            s.search_attributes = {
                name: encode(payload) for name, payload in request.search_attributes.indexed_fields.items()
            }
        run = Run(key, s, 0)
        transitions.write(s, _SCHEDULED, event, now)
        [activity] = s.activities.values()
        if request.completion_callbacks:
            self.callbacks.register(run, request.completion_callbacks, s.create_request_id)
        core.add(run)
        if delay:
            activity.scheduled_ns = activity.first_scheduled_ns = now + delay
            activity.is_backing_off = True
        elif not request.request_eager_execution:
            core.on_dispatch_activity(run, activity.scheduled_event_id)
        return run

    # ---- results

    async def poll(
        self, request: ws.PollActivityExecutionRequest, timeout: float | None
    ) -> ws.PollActivityExecutionResponse:
        """Temporal's PollActivityExecution: waits for the outcome, and answers without one after a long poll."""
        run = await self._find(request.namespace, request.activity_id, request.run_id)
        if run.is_open:
            waiter: asyncio.Future[None] = self._core.loop.create_future()
            run.close_waiters.append(waiter)
            try:
                await self._core.deadlines.wait(waiter, limits.long_read(timeout))
            finally:
                if waiter in run.close_waiters:
                    run.close_waiters.remove(waiter)
        if run.is_open:
            return ws.PollActivityExecutionResponse(run.key.run_id)
        await self._core.durable(run)
        return ws.PollActivityExecutionResponse(run.key.run_id, await self._outcome(run))

    async def _outcome(self, run: Run) -> activity_v1.ActivityExecutionOutcome:
        event = await self._core.event(run, run.state.close_event_id)
        a: Any = event.attributes
        kind = event.event_type
        if kind == _COMPLETED:
            return activity_v1.ActivityExecutionOutcome(result=a.result or common_v1.Payloads())
        if kind in (_FAILED, _TIMED_OUT):
            return activity_v1.ActivityExecutionOutcome(failure=a.failure, retry_state=a.retry_state)
        if kind == _CANCELED:
            failure = failure_v1.Failure(
                message="Activity canceled",
                source="Server",
                canceled_failure_info=failure_v1.CanceledFailureInfo(a.details, a.identity),
            )
        else:
            failure = failure_v1.Failure(
                message=a.reason or "Activity terminated",
                source="Server",
                terminated_failure_info=failure_v1.TerminatedFailureInfo(a.identity),
            )
        return activity_v1.ActivityExecutionOutcome(failure=failure)

    async def describe(
        self, request: ws.DescribeActivityExecutionRequest, timeout: float | None
    ) -> ws.DescribeActivityExecutionResponse:
        """Temporal's DescribeActivityExecution. With a token of an earlier answer it waits for a change."""
        core = self._core
        run = await self._find(request.namespace, request.activity_id, request.run_id)
        if request.long_poll_token:
            seen = _read_token(request.long_poll_token)
            if run.is_open and run.state.transition_count <= seen:
                await changed(core, run, limits.long_read(timeout))
                if run.is_open and run.state.transition_count <= seen:
                    return ws.DescribeActivityExecutionResponse(long_poll_token=request.long_poll_token)
        await core.durable(run)
        scheduled = await core.event(run, 1)
        response = ws.DescribeActivityExecutionResponse(run.key.run_id, _info(run, scheduled.attributes, request))
        assert response.info is not None
        if not run.is_open:
            last = await core.event(run, run.state.close_event_id - 1)
            if last.event_type == _STARTED:
                response.info.attempt = last.attributes.attempt
                response.info.last_worker_identity = last.attributes.identity
                response.info.last_started_time = last.event_time
        if request.include_input:
            response.input = scheduled.attributes.input
        response.callbacks = [_callback_info(callback) for callback in callbacks(run.state)]
        if run.is_open:
            response.long_poll_token = b"%d" % run.state.transition_count
        elif request.include_outcome:
            response.outcome = await self._outcome(run)
        return response

    async def list_activities(self, request: ws.ListActivityExecutionsRequest) -> ws.ListActivityExecutionsResponse:
        """Temporal's ListActivityExecutions; it sees everything acknowledged before the call."""
        namespace = self._namespaces.get(request.namespace)
        query = read_query(request.query, namespace.search_attributes, COLUMNS)
        namespace_id = activities_of(namespace.namespace_id)
        page = await list_page(self._core, namespace_id, query, request.page_size, request.next_page_token)
        return ws.ListActivityExecutionsResponse([_listed(record) for record in page.records], page.next_page_token)

    async def count(self, request: ws.CountActivityExecutionsRequest) -> ws.CountActivityExecutionsResponse:
        """Temporal's CountActivityExecutions."""
        namespace = self._namespaces.get(request.namespace)
        query = read_query(request.query, namespace.search_attributes, COLUMNS)
        counts = await count_runs(self._core, activities_of(namespace.namespace_id), query)
        groups = [ws.CountActivityExecutionsResponseAggregationGroup(*group) for group in groups_of(counts)]
        return ws.CountActivityExecutionsResponse(sum(counts.values()), groups)

    # ---- ends

    async def request_cancel(
        self, request: ws.RequestCancelActivityExecutionRequest
    ) -> ws.RequestCancelActivityExecutionResponse:
        """Temporal's RequestCancelActivityExecution: at once where no attempt runs, else the next heartbeat tells."""
        core = self._core
        run, activity = await self._find_open(request.namespace, request.activity_id, request.run_id)
        s = run.state
        assert s.extra is not None
        if not activity.cancel_requested_id:
            s.extra["cancel_reason"] = request.reason
            transitions.write(
                s,
                _CANCEL_REQUESTED,
                history_v1.ActivityTaskCancelRequestedEventAttributes(activity.scheduled_event_id),
                core.now(),
            )
            if not activity.started_ns:
                details = common_v1.Payload({"encoding": b"json/plain"}, msgspec.json.encode(request.reason))
                activities.cancel_activity(
                    s,
                    activity,
                    core.now(),
                    common_v1.Payloads([details]) if request.reason else None,
                    request.identity,
                )
            run.touched.add(activity.scheduled_event_id)
            core.touch(run)
        await core.durable(run)
        return ws.RequestCancelActivityExecutionResponse()

    async def terminate(self, request: ws.TerminateActivityExecutionRequest) -> ws.TerminateActivityExecutionResponse:
        """Temporal's TerminateActivityExecution: the activity closes now, whatever its attempt does."""
        run, _ = await self._find_open(request.namespace, request.activity_id, request.run_id)
        self._closing.terminate(run, request.reason, None, request.identity)
        self._core.touch(run)
        await self._core.durable(run)
        return ws.TerminateActivityExecutionResponse()

    async def delete(self, request: ws.DeleteActivityExecutionRequest) -> ws.DeleteActivityExecutionResponse:
        """Temporal's DeleteActivityExecution: an open activity is terminated first."""
        run = await self._find(request.namespace, request.activity_id, request.run_id)
        await end_and_delete(self._core, self._closing, run, "Delete activity execution")
        return ws.DeleteActivityExecutionResponse()

    # ---- operations; with a workflow id they concern an activity of that workflow

    async def pause(self, request: ws.PauseActivityExecutionRequest) -> ws.PauseActivityExecutionResponse:
        """Temporal's PauseActivityExecution."""
        run, activity = await self._operated(request)
        await self._operations.pause_all(run, [activity], request.identity, request.reason, request.request_id)
        return ws.PauseActivityExecutionResponse()

    async def unpause(self, request: ws.UnpauseActivityExecutionRequest) -> ws.UnpauseActivityExecutionResponse:
        """Temporal's UnpauseActivityExecution."""
        jitter = limits.check_duration(request.jitter, "Jitter")
        run, activity = await self._operated(request)
        await self._operations.unpause_all(run, [activity], False, False, jitter)
        return ws.UnpauseActivityExecutionResponse()

    async def reset(self, request: ws.ResetActivityExecutionRequest) -> ws.ResetActivityExecutionResponse:
        """Temporal's ResetActivityExecution."""
        jitter = limits.check_duration(request.jitter, "Jitter")
        run, activity = await self._operated(request)
        await self._operations.reset_all(
            run, [activity], request.reset_heartbeat, request.keep_paused, request.restore_original_options, jitter
        )
        return ws.ResetActivityExecutionResponse()

    async def update_options(
        self, request: ws.UpdateActivityExecutionOptionsRequest
    ) -> ws.UpdateActivityExecutionOptionsResponse:
        """Temporal's UpdateActivityExecutionOptions."""
        run, activity = await self._operated(request)
        options = await self._operations.update_all(
            run, [activity], request.activity_options, request.update_mask, request.restore_original
        )
        return ws.UpdateActivityExecutionOptionsResponse(options)

    # ---- lookup

    async def _operated(
        self,
        request: ws.PauseActivityExecutionRequest
        | ws.UnpauseActivityExecutionRequest
        | ws.ResetActivityExecutionRequest
        | ws.UpdateActivityExecutionOptionsRequest,
    ) -> tuple[Run, ActivityInfo]:
        if not request.workflow_id:
            return await self._find_open(request.namespace, request.activity_id, request.run_id)
        return await self._operations.find_one(
            request.namespace, request.workflow_id, request.run_id, request.activity_id
        )

    async def _find(self, namespace: str, activity_id: str, run_id: str) -> Run:
        limits.check_id(activity_id, "ActivityId")
        namespace_id = activities_of(self._namespaces.get(namespace).namespace_id)
        return await find_by_id(self._core, namespace_id, activity_id, run_id, "activity")

    async def _find_open(self, namespace: str, activity_id: str, run_id: str) -> tuple[Run, ActivityInfo]:
        run = await self._find(namespace, activity_id, run_id)
        if not run.is_open:
            raise not_found(_GONE)
        [activity] = run.state.activities.values()
        return run, activity


def _callback_info(callback: Callback) -> activity_v1.CallbackInfo:
    """What describe says of a callback of the activity's end."""
    trigger = activity_v1.CallbackInfoTrigger(activity_v1.CallbackInfoActivityClosed())
    return activity_v1.CallbackInfo(trigger, callback_state(callback))


def _read_token(token: bytes) -> int:
    try:
        return int(token)
    except ValueError:
        raise invalid_argument("Invalid LongPollToken: these bytes are not a token of this service.") from None


def _scheduled(request: ws.StartActivityExecutionRequest) -> history_v1.ActivityTaskScheduledEventAttributes:
    """The checked request as the event that schedules the activity, with the timeouts that will hold."""
    limits.check_id(request.activity_id, "ActivityId")
    limits.check_id("" if request.activity_type is None else request.activity_type.name, "ActivityType")
    limits.check_id(request.request_id, "RequestId", required=False)
    limits.check_id(request.identity, "Identity", required=False)
    queue = limits.check_task_queue(request.task_queue)
    limits.check_retry_policy(request.retry_policy)
    limits.check_payloads(request.input, "Input")
    limits.check_search_attributes(request.search_attributes)
    limits.check_user_metadata(request.user_metadata)
    if request.id_reuse_policy not in _REUSE or request.id_conflict_policy not in _CONFLICT:
        raise invalid_argument("IdReusePolicy or IdConflictPolicy is not one of the known policies.")
    to_close = limits.check_duration(request.schedule_to_close_timeout, "ScheduleToCloseTimeout")
    to_start = limits.check_duration(request.schedule_to_start_timeout, "ScheduleToStartTimeout")
    start = limits.check_duration(request.start_to_close_timeout, "StartToCloseTimeout")
    heartbeat = limits.check_duration(request.heartbeat_timeout, "HeartbeatTimeout")
    if not to_close and not start:
        raise invalid_argument("A valid StartToClose or ScheduleToCloseTimeout is not set on the request.")
    if to_close:
        to_start = min(to_start or to_close, to_close)
        start = min(start or to_close, to_close)
    return history_v1.ActivityTaskScheduledEventAttributes(
        activity_id=request.activity_id,
        activity_type=request.activity_type,
        task_queue=taskqueue_v1.TaskQueue(queue, 1),
        header=request.header,
        input=request.input,
        schedule_to_close_timeout=to_close,
        schedule_to_start_timeout=to_start,
        start_to_close_timeout=start,
        heartbeat_timeout=min(heartbeat, start),
        retry_policy=resolve_retry_policy(request.retry_policy),
        priority=request.priority,
    )


def _info(
    run: Run,
    scheduled: history_v1.ActivityTaskScheduledEventAttributes,
    request: ws.DescribeActivityExecutionRequest,
) -> activity_v1.ActivityExecutionInfo:
    s = run.state
    extra = s.extra or {}
    activity = next(iter(s.activities.values()), None)
    to_close = scheduled.schedule_to_close_timeout or 0
    info = activity_v1.ActivityExecutionInfo(
        activity_id=run.key.workflow_id,
        run_id=run.key.run_id,
        activity_type=scheduled.activity_type,
        status=_STATUSES[activity_status(s)],
        task_queue=s.task_queue,
        schedule_to_close_timeout=to_close,
        schedule_to_start_timeout=scheduled.schedule_to_start_timeout,
        start_to_close_timeout=scheduled.start_to_close_timeout,
        heartbeat_timeout=scheduled.heartbeat_timeout,
        retry_policy=scheduled.retry_policy,
        execution_duration=s.close_ns - s.execution_ns if s.close_ns else None,
        schedule_time=s.start_ns,
        expiration_time=s.execution_ns + to_close if to_close else None,
        close_time=s.close_ns or None,
        priority=scheduled.priority,
        state_transition_count=s.transition_count,
        search_attributes=search_attributes(run),
        header=scheduled.header,
        user_metadata=_decode_metadata(extra["user_metadata"]) if "user_metadata" in extra else None,
        canceled_reason=extra.get("cancel_reason", ""),
        start_delay=extra.get("start_delay") or None,
        execution_time=s.execution_ns,
        attempt=1,
    )
    if activity is None:
        return info
    options = options_of(activity)
    info.run_state = pending_state(activity)
    info.task_queue = activity.task_queue
    info.schedule_to_close_timeout = options.schedule_to_close_timeout
    info.schedule_to_start_timeout = options.schedule_to_start_timeout
    info.start_to_close_timeout = options.start_to_close_timeout
    info.heartbeat_timeout = options.heartbeat_timeout
    info.retry_policy = options.retry_policy
    info.attempt = activity.attempt
    info.last_heartbeat_time = activity.heartbeat_ns or None
    info.last_started_time = activity.started_ns or None
    info.last_worker_identity = activity.identity
    info.last_attempt_complete_time = activity.last_ended_ns or None
    if activity.is_backing_off and activity.attempt > 1 and not activity.is_paused:
        info.next_attempt_schedule_time = activity.scheduled_ns
        info.current_retry_interval = activity.scheduled_ns - activity.last_ended_ns
    if request.include_heartbeat_details and activity.heartbeat_details:
        info.heartbeat_details = decode_payloads(activity.heartbeat_details)
    if request.include_last_failure and activity.last_failure:
        info.last_failure = decode_failure(activity.last_failure)
    return info


def _listed(record: VisibilityRecord) -> activity_v1.ActivityExecutionListInfo:
    return activity_v1.ActivityExecutionListInfo(
        activity_id=record.key.workflow_id,
        run_id=record.key.run_id,
        activity_type=common_v1.ActivityType(record.workflow_type),
        schedule_time=record.start_time,
        close_time=record.close_time or None,
        status=_STATUSES[record.status],
        search_attributes=search_attributes_of(record),
        task_queue=record.task_queue,
        state_transition_count=record.state_transition_count,
        execution_duration=record.close_time - record.execution_time if record.close_time else None,
        execution_time=record.execution_time,
    )
