"""Activity tasks: dispatch, polls, heartbeats and answers.

Compiled as it is by the native build; ``activity_tasks.pxd`` declares the attributes.
"""

from __future__ import annotations

import asyncio

from perdure._native import activities
from perdure._native.activities import complete_activity, start_activity
from perdure._native.commands import size_of
from perdure._native.mutable_state import ActivityInfo, Status
from perdure.api.common import v1 as common_v1
from perdure.api.failure import v1 as failure_v1
from perdure.api.workflowservice import v1 as ws
from perdure.engine import limits
from perdure.engine.activity_operations import overlay
from perdure.engine.backlog import DEFAULT_RANK
from perdure.engine.core import Batch, Core
from perdure.engine.deployments import Deployments
from perdure.engine.eager_activities import EagerStarts
from perdure.engine.errors import invalid_argument, not_found
from perdure.engine.ids import decode_task, decode_token, encode_task
from perdure.engine.matching import LocalPoller, StartedActivity, Task, TaskQueue
from perdure.engine.namespaces import Namespaces, activities_of
from perdure.engine.pausing import PAUSED
from perdure.engine.queue_limits import QueueLimits
from perdure.engine.routing import Router, merged, priority_of_run
from perdure.engine.run import Run
from perdure.engine.wiring import decode_payloads, encode
from perdure.service import RPCError
from perdure.store.api import RunKey, TaskKind

_ACTIVITY = TaskKind.ACTIVITY
_PAUSED = int(Status.PAUSED)
_SHORT = limits.MAX_ID_LENGTH // 4
_MAX_BLOB_SIZE = limits.MAX_BLOB_SIZE
_GONE = "invalid activityID or activity already timed out or invoking workflow is completed"


def _too_large(message: str) -> failure_v1.Failure:
    """What takes the place of an answer that no event may hold; it ends the activity."""
    return failure_v1.Failure(
        message=message, source="Server", server_failure_info=failure_v1.ServerFailureInfo(non_retryable=True)
    )


class ActivityTasks:
    """The activity half of the service."""

    #: Set when the engine is put together.
    deployments: Deployments
    queue_limits: QueueLimits
    router: Router

    def __init__(self, core: Core, namespaces: Namespaces) -> None:
        self._core = core
        self._namespaces = namespaces
        self._ids = namespaces.ids
        self._names = namespaces.names
        #: Whose activities go back to the worker with the answer to its workflow task, while they are dispatched.
        self._eager: EagerStarts | None = None
        core.on_dispatch_activity = self.dispatch

    # ---- dispatch

    def dispatch(self, run: Run, scheduled_event_id: int) -> None:
        """Give an activity that is due to a waiting poll, in this very transition, or let it wait in its queue."""
        core = self._core
        s = run.state
        activity = s.activities.get(scheduled_event_id)
        if activity is None or activity.is_paused or s.status == _PAUSED:
            return  # it is dispatched when the pause ends
        activity.task_id = core.next_task_id()
        run.touched.add(scheduled_event_id)
        if self._eager is not None and self._eager.wants(run, activity):
            self._eager.started.append((activity, self._start(run, activity, self._eager.identity, False)))
            return
        if core.is_routing:
            queue = self.router.activity_queue(run, activity)
        else:
            queue = core.matching.queue(s.namespace_id, _ACTIVITY, activity.task_queue)
        batch = core.forming(run)
        if activity.event is not None and not queue.tasks:
            poller = queue.reserve()
            if poller is not None:
                response = self._start(run, activity, poller.identity, isinstance(poller, LocalPoller))
                batch.started.append(StartedActivity(self, run, activity, response, queue, poller))
                return
        self._let_wait(run, activity, queue, batch)

    def _let_wait(self, run: Run, activity: ActivityInfo, queue: TaskQueue, batch: Batch) -> None:
        """Put the activity into its queue once that is durable."""
        task = Task(run.key, activity.scheduled_event_id, activity.stamp)
        rank = self.router.activity_rank(run, activity)
        if rank is not DEFAULT_RANK:
            router = self.router
            batch.deliveries.append(lambda: router.add(queue, int(TaskKind.ACTIVITY), task, rank))
        else:
            batch.deliveries.append(lambda: queue.add(task))

    def start_eagerly(self, run: Run, eager: EagerStarts) -> None:
        """Touch the run; activities that its worker asked for are started at once, for that worker."""
        self._eager = eager
        try:
            self._core.touch(run)
        finally:
            self._eager = None

    async def hand_over(self, run: Run, eager: EagerStarts) -> list[ws.PollActivityTaskQueueResponse]:
        """The activities that were started eagerly, once that is durable."""
        try:
            await self._core.durable(run)
        except asyncio.CancelledError:
            for activity, _ in eager.started:
                self.release(run, activity)
            raise
        return [response for _, response in eager.started]

    async def give_back(self, task_token: bytes) -> None:
        """Hand an attempt out again whose poll was answered, but not heard: its worker was gone."""
        try:
            run, activity = await self._by_token(task_token)
        except RPCError:
            return
        self.release(run, activity)

    async def lose(self, task_token: bytes) -> None:
        """An attempt's worker process is known to be dead."""
        try:
            run, activity = await self._by_token(task_token)
        except RPCError:
            return
        activities.lose_activity(run.state, activity, self._core.now())
        run.touched.add(activity.scheduled_event_id)
        self._core.touch(run)

    def release(self, run: Run, activity: ActivityInfo) -> None:
        """Take back a started attempt that no worker has seen."""
        if not run.is_gone and run.state.activities.get(activity.scheduled_event_id) is activity:
            activities.release_activity(run.state, activity)
            self._core.touch(run)

    def _start(
        self, run: Run, activity: ActivityInfo, identity: str, is_local: bool
    ) -> ws.PollActivityTaskQueueResponse:
        core = self._core
        s = run.state
        now = core.now()
        start_activity(activity, now, str(activity.task_id), identity, core.epoch if is_local else 0)
        event_id = activity.scheduled_event_id
        run.touched.add(event_id)
        assert activity.event is not None
        scheduled = activity.event.attributes
        response = ws.PollActivityTaskQueueResponse(
            encode_task(s.namespace_id, s.workflow_id, s.run_id, event_id, 0, activity.attempt, 0),
            self._names[s.namespace_id],
            common_v1.WorkflowType(s.workflow_type),
            common_v1.WorkflowExecution(s.workflow_id, s.run_id),
            scheduled.activity_type,
            activity.activity_id,
            scheduled.header,
            scheduled.input,
            decode_payloads(activity.heartbeat_details) if activity.heartbeat_details else None,
            activity.first_scheduled_ns,
            activity.scheduled_ns,
            now,
            activity.attempt,
            scheduled.schedule_to_close_timeout,
            scheduled.start_to_close_timeout,
            scheduled.heartbeat_timeout,
            scheduled.retry_policy,
            None,
            scheduled.priority,
        )
        if activity.extra is not None:
            overlay(activity, response)
        if s.extra is not None:
            response.priority = merged(response.priority, priority_of_run(run))
        if s.is_activity:
            response.workflow_namespace = ""
            response.workflow_type = response.workflow_execution = None
            response.activity_run_id = s.run_id
        return response

    # ---- polls

    async def poll(
        self, request: ws.PollActivityTaskQueueRequest, is_local: bool, timeout: float
    ) -> ws.PollActivityTaskQueueResponse:
        """Temporal's PollActivityTaskQueue. The attempt's start is durable before the answer."""
        core = self._core
        identity = request.identity
        message = request.task_queue
        name = "" if message is None else message.name
        if not 0 < len(name) <= _SHORT or name[0] == "/":
            limits.check_task_queue(message)
        namespace_id = self._ids.get(request.namespace) or self._namespaces.get(request.namespace).namespace_id
        part = name
        if request.deployment_options is not None:
            part = await self.deployments.polled_by(namespace_id, TaskKind.ACTIVITY, name, request.deployment_options)
        if request.task_queue_metadata is not None and request.task_queue_metadata.max_tasks_per_second:
            self.queue_limits.worker_rate(namespace_id, name, request.task_queue_metadata.max_tasks_per_second)
        queue = core.matching.queue(namespace_id, _ACTIVITY, part)
        deadline = core.loop.time() + timeout
        while True:
            task = core.matching.take(queue, identity, is_local)
            if task is None:
                poller = core.matching.enter(queue, identity, deadline - core.loop.time(), is_local)
                try:
                    task = await poller.future
                except BaseException:
                    core.matching.abandon(queue, poller)
                    raise
                core.matching.leave(queue, poller, task)
                if task is None:
                    return ws.PollActivityTaskQueueResponse()
            if isinstance(task, StartedActivity):
                return task.response  # type: ignore[no-any-return]  # made for this poll
            assert isinstance(task, Task)
            try:
                response = await self._take(task, name, identity, is_local)
            except RPCError:
                run = core.cached(task.key.run_id)
                if run is None:
                    queue.put_back(task)
                raise
            if response is not None:
                return response

    async def _take(
        self, task: Task, queue: str, identity: str, is_local: bool
    ) -> ws.PollActivityTaskQueueResponse | None:
        """Start the attempt a waiting task stands for; None when it is void."""
        core = self._core
        run = await core.load(task.key)
        activity = None if run is None else run.state.activities.get(task.scheduled_event_id)
        if run is None or activity is None or activity.started_ns or activity.is_backing_off:
            return None
        if task.stamp not in (-1, activity.stamp):
            return None
        if activity.is_paused or run.state.status == PAUSED or activity.task_queue != queue:
            return None
        if activity.event is None:
            event = await core.event(run, activity.scheduled_event_id)
            if run.is_gone or run.state.activities.get(task.scheduled_event_id) is not activity or activity.started_ns:
                return None
            activity.event = event
        response = self._start(run, activity, identity, is_local)
        core.touch(run)
        try:
            await core.durable(run)
        except asyncio.CancelledError:
            if activity.request_id == str(activity.task_id) and activity.started_ns == response.started_time:
                self.release(run, activity)
            raise
        return response

    # ---- answers

    def _find(self, task_token: bytes) -> tuple[Run, ActivityInfo] | None:
        """The started attempt the token proves; None when its run is not in memory."""
        namespace_id, workflow_id, run_id, scheduled_id, _, attempt, _ = decode_task(task_token)
        run = self._core.find(namespace_id, workflow_id, run_id)
        if run is None:
            return None
        activity = run.state.activities.get(scheduled_id)
        if activity is None or activity.started_ns == 0 or activity.attempt != attempt:
            raise not_found(_GONE)
        return run, activity

    async def _by_token(self, task_token: bytes) -> tuple[Run, ActivityInfo]:
        token = decode_token(task_token)
        await self._core.load(RunKey(token.namespace_id, token.workflow_id, token.run_id))
        found = self._find(task_token)
        if found is None:
            raise not_found(_GONE)
        return found

    async def _by_id(
        self, namespace: str, workflow_id: str, run_id: str, activity_id: str, *, must_be_started: bool = True
    ) -> tuple[Run, ActivityInfo]:
        limits.check_id(activity_id, "ActivityId")
        namespace_id = self._namespaces.get(namespace).namespace_id
        if not workflow_id:
            # A standalone activity, which is its own run.
            workflow_id, namespace_id = activity_id, activities_of(namespace_id)
        limits.check_id(workflow_id, "WorkflowId")
        if run_id:
            run = await self._core.load(RunKey(namespace_id, workflow_id, run_id))
        else:
            run = await self._core.current(namespace_id, workflow_id)
        activity = None if run is None else run.state.activity_ids.get(activity_id)
        if run is None or activity is None or (must_be_started and not activity.started_ns):
            raise not_found(_GONE)
        return run, activity

    def _finish(self, run: Run, activity: ActivityInfo) -> None:
        run.touched.add(activity.scheduled_event_id)
        self._core.touch(run)

    def _complete(
        self, run: Run, activity: ActivityInfo, result: common_v1.Payloads | None, identity: str
    ) -> asyncio.Future[None] | None:
        """Complete an activity; returns what to wait for before the answer."""
        core = self._core
        if result is not None and size_of(result) > _MAX_BLOB_SIZE:
            failure = _too_large("Complete result exceeds size limit.")
            activities.fail_activity(run.state, activity, core.now(), failure, identity)
        else:
            complete_activity(run.state, activity, core.now(), result, identity)
        run.touched.add(activity.scheduled_event_id)
        core.touch_alone(run)
        return core.waiter(run)

    async def _fail(
        self,
        found: tuple[Run, ActivityInfo],
        failure: failure_v1.Failure | None,
        details: common_v1.Payloads | None,
        identity: str,
    ) -> None:
        run, activity = found
        if failure is not None and failure.application_failure_info is None and failure.server_failure_info is None:
            raise invalid_argument("Failure must be an ApplicationFailure: other kinds are the service's own.")
        if details is not None:
            activities.heartbeat(activity, self._core.now(), details)
        if failure is not None and len(encode(failure)) > limits.MAX_BLOB_SIZE:
            failure = _too_large("Failure exceeds size limit.")
        activities.fail_activity(run.state, activity, self._core.now(), failure, identity)
        self._finish(run, activity)
        await self._core.durable(run)

    async def _cancel(self, found: tuple[Run, ActivityInfo], details: common_v1.Payloads | None, identity: str) -> None:
        run, activity = found
        if not activity.cancel_requested_id:
            raise invalid_argument("unable to mark activity as canceled without activity being request canceled first")
        activities.cancel_activity(run.state, activity, self._core.now(), details, identity)
        self._finish(run, activity)
        await self._core.durable(run)

    async def _heartbeat(
        self, found: tuple[Run, ActivityInfo], details: common_v1.Payloads | None, identity: str
    ) -> tuple[bool, bool, bool]:
        """Keep the progress; returns whether the attempt was cancelled, paused, reset. Durable with the next commit."""
        run, activity = found
        if details is not None and size_of(details) > limits.MAX_BLOB_SIZE:
            failure = _too_large("Heartbeat details exceed size limit.")
            activities.fail_activity(run.state, activity, self._core.now(), failure, identity)
            self._finish(run, activity)
            return True, False, False
        activities.heartbeat(activity, self._core.now(), details)
        self._core.touch(run)
        is_reset = activity.extra is not None and bool(activity.extra.get("reset"))
        return bool(activity.cancel_requested_id), activity.is_paused, is_reset

    async def complete(
        self, request: ws.RespondActivityTaskCompletedRequest
    ) -> ws.RespondActivityTaskCompletedResponse:
        """Temporal's RespondActivityTaskCompleted."""
        run, activity = self._find(request.task_token) or await self._by_token(request.task_token)
        waiter = self._complete(run, activity, request.result, request.identity)
        if waiter is not None:
            await waiter
        return ws.RespondActivityTaskCompletedResponse()

    async def complete_by_id(
        self, request: ws.RespondActivityTaskCompletedByIdRequest
    ) -> ws.RespondActivityTaskCompletedByIdResponse:
        """Temporal's RespondActivityTaskCompletedById."""
        run, activity = await self._by_id(
            request.namespace, request.workflow_id, request.run_id, request.activity_id, must_be_started=False
        )
        waiter = self._complete(run, activity, request.result, request.identity)
        if waiter is not None:
            await waiter
        return ws.RespondActivityTaskCompletedByIdResponse()

    async def fail(self, request: ws.RespondActivityTaskFailedRequest) -> ws.RespondActivityTaskFailedResponse:
        """Temporal's RespondActivityTaskFailed."""
        found = await self._by_token(request.task_token)
        await self._fail(found, request.failure, request.last_heartbeat_details, request.identity)
        return ws.RespondActivityTaskFailedResponse()

    async def fail_by_id(
        self, request: ws.RespondActivityTaskFailedByIdRequest
    ) -> ws.RespondActivityTaskFailedByIdResponse:
        """Temporal's RespondActivityTaskFailedById."""
        found = await self._by_id(request.namespace, request.workflow_id, request.run_id, request.activity_id)
        await self._fail(found, request.failure, request.last_heartbeat_details, request.identity)
        return ws.RespondActivityTaskFailedByIdResponse()

    async def cancel(self, request: ws.RespondActivityTaskCanceledRequest) -> ws.RespondActivityTaskCanceledResponse:
        """Temporal's RespondActivityTaskCanceled."""
        await self._cancel(await self._by_token(request.task_token), request.details, request.identity)
        return ws.RespondActivityTaskCanceledResponse()

    async def cancel_by_id(
        self, request: ws.RespondActivityTaskCanceledByIdRequest
    ) -> ws.RespondActivityTaskCanceledByIdResponse:
        """Temporal's RespondActivityTaskCanceledById."""
        found = await self._by_id(request.namespace, request.workflow_id, request.run_id, request.activity_id)
        await self._cancel(found, request.details, request.identity)
        return ws.RespondActivityTaskCanceledByIdResponse()

    async def heartbeat(self, request: ws.RecordActivityTaskHeartbeatRequest) -> ws.RecordActivityTaskHeartbeatResponse:
        """Temporal's RecordActivityTaskHeartbeat."""
        found = await self._by_token(request.task_token)
        return ws.RecordActivityTaskHeartbeatResponse(*await self._heartbeat(found, request.details, request.identity))

    async def heartbeat_by_id(
        self, request: ws.RecordActivityTaskHeartbeatByIdRequest
    ) -> ws.RecordActivityTaskHeartbeatByIdResponse:
        """Temporal's RecordActivityTaskHeartbeatById."""
        found = await self._by_id(request.namespace, request.workflow_id, request.run_id, request.activity_id)
        return ws.RecordActivityTaskHeartbeatByIdResponse(
            *await self._heartbeat(found, request.details, request.identity)
        )

    async def detach(self, task_token: bytes) -> None:
        """The attempt goes on outside this process: it does not die with it."""
        run, activity = await self._by_token(task_token)
        activity.owner_epoch = 0
        self._finish(run, activity)
        await self._core.durable(run)
