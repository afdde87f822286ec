"""Workflow tasks: polls and answers.

What most tasks need is done without waiting, in typed functions; the coroutines around them wait where something must be
read or checked elsewhere. Compiled as it is by the native build; ``workflow_tasks.pxd`` declares the attributes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn

from perdure._cron import Cron
from perdure._native import commands, transitions
from perdure._native.commands import CLOSE_COMMANDS, CommandError, apply, check_sequence, leaves_buffered
from perdure._native.events import HistoryEvent
from perdure._native.mutable_state import RunState
from perdure._native.transitions import (
    complete_workflow_task,
    schedule_workflow_task,
    start_workflow_task,
    unwritten_events,
)
from perdure.api.command import v1 as command_v1
from perdure.api.common import v1 as common_v1
from perdure.api.enums.v1 import CommandType, WorkflowTaskFailedCause
from perdure.api.failure import v1 as failure_v1
from perdure.api.history import v1 as history_v1
from perdure.api.system import ENDPOINT as SYSTEM_ENDPOINT
from perdure.api.taskqueue import v1 as taskqueue_v1
from perdure.api.workflowservice import v1 as ws
from perdure.engine import limits
from perdure.engine.activity_tasks import ActivityTasks
from perdure.engine.closing import Closing, Successor
from perdure.engine.core import Core
from perdure.engine.deployments import Deployments
from perdure.engine.eager_activities import EagerStarts
from perdure.engine.errors import invalid_argument, not_found
from perdure.engine.histories import first_page
from perdure.engine.ids import decode_task, decode_token, encode_task
from perdure.engine.limits import NS_PER_MS
from perdure.engine.matching import Task, TaskQueue
from perdure.engine.namespaces import Namespaces
from perdure.engine.nexus_endpoints import NexusEndpoints
from perdure.engine.queries import Queries
from perdure.engine.routing import show_version, stated_version, version_stamps
from perdure.engine.run import Run
from perdure.engine.wiring import encode
from perdure.engine.workflow_updates import Plan, WorkflowUpdates, may_discard
from perdure.service import RPCError, RPCStatusCode
from perdure.store.api import RunKey, TaskKind

if TYPE_CHECKING:
    from perdure.engine.system_endpoint import SystemEndpoint

_LOST = "Workflow task not found."
_CLOSED = int(RunState.CLOSED)
_SHORT = limits.MAX_ID_LENGTH // 4
_WORKFLOW = TaskKind.WORKFLOW
_UNHANDLED_COMMAND = int(WorkflowTaskFailedCause.WORKFLOW_TASK_FAILED_CAUSE_UNHANDLED_COMMAND)
_BAD_START_CHILD = int(WorkflowTaskFailedCause.WORKFLOW_TASK_FAILED_CAUSE_BAD_START_CHILD_EXECUTION_ATTRIBUTES)
_START_CHILD = int(CommandType.COMMAND_TYPE_START_CHILD_WORKFLOW_EXECUTION)
_SCHEDULE_NEXUS_OPERATION = int(CommandType.COMMAND_TYPE_SCHEDULE_NEXUS_OPERATION)
_BAD_NEXUS_OPERATION = int(WorkflowTaskFailedCause.WORKFLOW_TASK_FAILED_CAUSE_BAD_SCHEDULE_NEXUS_OPERATION_ATTRIBUTES)
_CHECKED_HERE = frozenset(
    (
        _START_CHILD,
        _SCHEDULE_NEXUS_OPERATION,
        int(CommandType.COMMAND_TYPE_CONTINUE_AS_NEW_WORKFLOW_EXECUTION),
        int(CommandType.COMMAND_TYPE_UPSERT_WORKFLOW_SEARCH_ATTRIBUTES),
    )
)
_BAD_SEARCH_ATTRIBUTES = int(WorkflowTaskFailedCause.WORKFLOW_TASK_FAILED_CAUSE_BAD_SEARCH_ATTRIBUTES)
_STICKY = 2
#: A failed workflow task of a worker in this process comes back after this delay, doubled from attempt to attempt.
_FIRST_RETRY_MS = 100
_LAST_RETRY_MS = 10_000
_PROBLEMS = transitions.PROBLEMS


def _retry_delay(attempt: int, is_local: bool) -> int:
    if not is_local or attempt < 2:
        return 0
    return int(min(_FIRST_RETRY_MS << min(attempt - 2, 10), _LAST_RETRY_MS))


def cause_name(cause: int) -> str:
    """A WorkflowTaskFailedCause as Temporal writes it in reported problems: ``UnhandledCommand``."""
    try:
        name = WorkflowTaskFailedCause(cause).name
    except ValueError:
        return str(cause)
    return "".join(word.capitalize() for word in name.removeprefix("WORKFLOW_TASK_FAILED_CAUSE_").split("_"))


class WorkflowTasks:
    """The workflow half of what workers ask of the service."""

    #: Set when the engine is put together.
    deployments: Deployments
    activity_tasks: ActivityTasks
    nexus_endpoints: NexusEndpoints
    system_endpoint: SystemEndpoint

    def __init__(
        self, core: Core, namespaces: Namespaces, closing: Closing, queries: Queries, updates: WorkflowUpdates
    ) -> None:
        self._core = core
        self._namespaces = namespaces
        self._ids = namespaces.ids
        self._names = namespaces.names
        self._closing = closing
        self._queries = queries
        self._updates = updates

    # ---- polls

    async def poll(
        self, request: ws.PollWorkflowTaskQueueRequest, is_local: bool, timeout: float
    ) -> ws.PollWorkflowTaskQueueResponse:
        """Temporal's PollWorkflowTaskQueue."""
        core = self._core
        identity = request.identity
        queue = self._queue(request)
        if queue is None:
            queue = await self._versioned_queue(request)
        is_sticky = request.task_queue.kind == _STICKY  # type: ignore[union-attr]  # there is one: _queue
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
                    return ws.PollWorkflowTaskQueueResponse()
            assert isinstance(task, Task)
            run = core.at_hand(task.key)
            if run is None:
                try:
                    run = await core.load(task.key)
                except BaseException:
                    queue.put_back(task)
                    raise
                if run is None:
                    continue
            if task.query:
                response = await self._queries.query_task(run, task, is_sticky, is_local)
            elif is_sticky and run.state.sticky_queue != queue.name:
                continue  # what waits here was sent to the normal queue when the run left this one
            else:
                response = self._start(run, identity, is_sticky, is_local, True)
                if response is not None and response.history is None:
                    await self._add_history(run, response, is_sticky, is_local, True)
            if response is not None:
                return response

    def _queue(self, request: ws.PollWorkflowTaskQueueRequest) -> TaskQueue | None:
        """The queue a poll is for; None when that depends on the version of its worker."""
        message = request.task_queue
        name = "" if message is None else message.name
        if not 0 < len(name) <= _SHORT or name[0] == "/":
            limits.check_task_queue(message)
        if request.deployment_options is not None and message.kind != _STICKY:  # type: ignore[union-attr]  # named
            return None
        namespace_id = self._ids.get(request.namespace) or self._namespaces.get(request.namespace).namespace_id
        return self._core.matching.queue(namespace_id, _WORKFLOW, name)

    async def _versioned_queue(self, request: ws.PollWorkflowTaskQueueRequest) -> TaskQueue:
        name = limits.check_task_queue(request.task_queue)
        namespace_id = self._namespaces.get(request.namespace).namespace_id
        options = request.deployment_options
        assert options is not None
        part = await self.deployments.polled_by(namespace_id, TaskKind.WORKFLOW, name, options)
        return self._core.matching.queue(namespace_id, TaskKind.WORKFLOW, part)

    async def start(
        self, run: Run, identity: str, *, is_sticky: bool, is_local: bool, resend: bool = True
    ) -> ws.PollWorkflowTaskQueueResponse | None:
        """Hand the pending workflow task out; None when there is none. It becomes durable with the next commit.

        With ``resend`` it carries updates again that an earlier task carried in vain.
        """
        response = self._start(run, identity, is_sticky, is_local, resend)
        if response is not None and response.history is None:
            await self._add_history(run, response, is_sticky, is_local, resend)
        return response

    def _start(
        self, run: Run, identity: str, is_sticky: bool, is_local: bool, resend: bool
    ) -> ws.PollWorkflowTaskQueueResponse | None:
        """As :meth:`start`; without a history when that must be read from the store."""
        core = self._core
        s = run.state
        task_id = core.next_task_id()
        if core.is_routing:
            core.router.note_target(run)
        if not start_workflow_task(s, core.now(), str(task_id), identity, is_sticky, core.epoch if is_local else 0):
            return None
        core.absorb(run)
        core.timers.arm(run.key, s.task_deadline_ms)
        start = 0
        if s.speculative is not None:
            start = task_id
        elif not is_local:
            core.forming(run)  # a worker elsewhere holds its task also when this process starts anew
        response = ws.PollWorkflowTaskQueueResponse(
            encode_task(
                s.namespace_id, s.workflow_id, s.run_id, s.task_scheduled_id, s.task_started_id, s.task_attempt, start
            ),
            common_v1.WorkflowExecution(s.workflow_id, s.run_id),
            common_v1.WorkflowType(s.workflow_type),
            s.previous_started_id,
            s.task_started_id,
            s.task_attempt,
            0,
            None,
            b"",
            None,
            taskqueue_v1.TaskQueue(s.task_queue, 1),
            s.task_scheduled_ns,
            s.task_started_ns,
        )
        if run.queries:
            response.queries = {name: query.query for name, query in run.queries.items()}
        first = s.previous_started_id + 1 if is_sticky else 1
        end = s.next_event_id
        if not is_local:
            end, response.next_page_token = first_page(run, first)
        if is_local:
            events = run.tail_from(first)
            if events is not None:
                self._set_history(run, response, events[: end - first], resend)
        return response

    async def _add_history(
        self, run: Run, response: ws.PollWorkflowTaskQueueResponse, is_sticky: bool, is_local: bool, resend: bool
    ) -> None:
        """Give a task the history that memory does not have; the task is taken back when that fails."""
        s = run.state
        scheduled_id, started_id, attempt = s.task_scheduled_id, s.task_started_id, s.task_attempt
        first = s.previous_started_id + 1 if is_sticky else 1
        end = s.next_event_id if is_local else first_page(run, first)[0]
        try:
            events = await self._core.read_events(run, first, end)
        except BaseException:
            self._take_back(run, scheduled_id, started_id, attempt)
            raise
        self._set_history(run, response, events, resend)

    def _set_history(
        self, run: Run, response: ws.PollWorkflowTaskQueueResponse, events: list[HistoryEvent], resend: bool
    ) -> None:
        s = run.state
        if (s.task_attempt > 1 or s.speculative is not None) and not response.next_page_token:
            events = events + unwritten_events(s)
        response.history = history_v1.History(events)
        if run.updates is not None:
            response.messages = run.updates.messages(response.started_event_id, resend)

    def _take_back(self, run: Run, scheduled_id: int, started_id: int, attempt: int) -> None:
        """Hand a task out again that did not reach its worker: it counts as timed out."""
        s = run.state
        if (
            not run.is_gone
            and run.is_open
            and (s.task_scheduled_id, s.task_started_id, s.task_attempt) == (scheduled_id, started_id, attempt)
        ):
            transitions.time_out_workflow_task(s, self._core.now())
            self._core.touch(run)

    async def give_back(self, task_token: bytes) -> None:
        """Hand a task out again whose poll was answered, but not heard: its worker was gone."""
        if self._queries.give_back(task_token):
            return
        try:
            run = await self._held(task_token)
        except RPCError:
            return
        s = run.state
        self._take_back(run, s.task_scheduled_id, s.task_started_id, s.task_attempt)

    # ---- answers

    def _held_at_hand(self, task_token: bytes) -> Run | None:
        """The run whose started workflow task the token proves; None when it is not in memory."""
        namespace_id, workflow_id, run_id, scheduled_id, started_id, attempt, start = decode_task(task_token)
        run = self._core.find(namespace_id, workflow_id, run_id)
        if run is None:
            return None
        s = run.state
        if (
            s.state != _CLOSED
            and s.task_started_id != 0
            and s.task_started_id == started_id
            and s.task_scheduled_id == scheduled_id
            and s.task_attempt == attempt
            and ((s.speculative is None and start == 0) or s.task_request_id == str(start))
        ):
            return run
        raise not_found(_LOST)

    async def _held(self, task_token: bytes) -> Run:
        """The run whose started workflow task the token proves."""
        run = self._held_at_hand(task_token)
        if run is None:
            token = decode_token(task_token)
            await self._core.load(RunKey(token.namespace_id, token.workflow_id, token.run_id))
            run = self._held_at_hand(task_token)
            if run is None:
                raise not_found(_LOST)
        return run

    async def complete(
        self, request: ws.RespondWorkflowTaskCompletedRequest
    ) -> ws.RespondWorkflowTaskCompletedResponse:
        """Temporal's RespondWorkflowTaskCompleted.

        Atomic: WorkflowTaskCompleted, the events of every command, and the next workflow task, or none. Not waited
        for: what the commands set off waits for the commit by itself.
        """
        core = self._core
        run = self._held_at_hand(request.task_token)
        if run is None:
            run = await self._held(request.task_token)
        plan = endpoints = successor = None
        try:
            if not self._check(run, request):
                plan, endpoints, successor = await self._prepare(run, request)
        except CommandError as error:
            self._refuse(run, error, request.identity)
        s = run.state
        was_local = s.task_owner_epoch != 0
        eager: EagerStarts | None = None
        if not was_local and request.commands and not core.is_routing:
            eager = EagerStarts.of(request)
        response = self._apply(run, request, plan, endpoints, successor, eager)
        if request.return_new_workflow_task and s.task_scheduled_id and not s.task_started_id and not core.is_routing:
            response.workflow_task = await self.start(
                run,
                request.identity,
                is_sticky=True,
                is_local=was_local,
                resend=not request.force_create_new_workflow_task,
            )
        if eager is not None and eager.started:
            response.activity_tasks = await self.activity_tasks.hand_over(run, eager)
        return response

    def _check(self, run: Run, request: ws.RespondWorkflowTaskCompletedRequest) -> bool:
        """Check an answer; False when :meth:`_prepare` has more to look at. Raises CommandError."""
        s = run.state
        batch = request.commands
        problem = check_sequence(batch)
        if problem is not None:
            raise invalid_argument(problem)
        if not batch or request.messages or s.buffered or s.cron_schedule or s.retry is not None:
            return False
        for command in batch:
            if command.command_type in _CHECKED_HERE:
                return False
        commands.check(s, batch, self._names[s.namespace_id])
        return True

    async def _prepare(
        self, run: Run, request: ws.RespondWorkflowTaskCompletedRequest
    ) -> tuple[Plan | None, dict[str, str] | None, Successor | None]:
        """Check an answer that brings more than commands, or commands that name what is kept elsewhere.

        Returns what becomes of its messages, the ids of Nexus endpoints, and the run that follows.
        """
        core = self._core
        s = run.state
        batch = request.commands
        closes = bool(batch) and batch[-1].command_type in CLOSE_COMMANDS
        held = (s.task_started_id, s.task_attempt)
        if request.force_create_new_workflow_task and not batch and not request.messages:
            now = core.now()
            if now > s.task_original_ns + limits.WORKFLOW_TASK_HEARTBEAT_TIMEOUT:
                transitions.time_out_workflow_task(s, now)
                core.touch(run)
                raise not_found("workflow task heartbeat timeout")
        plan = sent = successor = None
        try:
            if closes and leaves_buffered(s, batch):
                raise CommandError(_UNHANDLED_COMMAND, "UnhandledCommand")
            if request.messages:
                plan = self._updates.plan(run, request, closes)
                sent = plan.sent
            commands.check(s, batch, self._names[s.namespace_id], sent)
            endpoints = await self._check_rest(run, batch)
            if closes:
                options = request.deployment_options
                stated = None if options is None else stated_version(request.versioning_behavior, options)
                successor = await self._closing.prepare(run, batch[-1], stated)
        except CommandError:
            if run.is_gone or (s.task_started_id, s.task_attempt) != held:
                raise not_found(_LOST) from None
            raise
        if run.is_gone or (s.task_started_id, s.task_attempt) != held:
            raise not_found(_LOST)
        if closes and leaves_buffered(s, batch):
            raise CommandError(_UNHANDLED_COMMAND, "UnhandledCommand")
        return plan, endpoints, successor

    def _apply(
        self,
        run: Run,
        request: ws.RespondWorkflowTaskCompletedRequest,
        plan: Plan | None,
        endpoints: dict[str, str] | None,
        successor: Successor | None,
        eager: EagerStarts | None,
    ) -> ws.RespondWorkflowTaskCompletedResponse:
        """Carry an answer out that was found right."""
        core = self._core
        s = run.state
        now = core.now()
        batch = request.commands
        forces_task = request.force_create_new_workflow_task
        original_ns = 0
        if forces_task and not batch and not request.messages:
            original_ns = s.task_original_ns
        stamps: dict[str, Any] | None = None
        if request.binary_checksum or request.worker_version_stamp is not None or request.metering_metadata is not None:
            stamps = {
                "binary_checksum": request.binary_checksum,
                "worker_version": request.worker_version_stamp,
                "metering_metadata": request.metering_metadata,
            }
        if request.versioning_behavior or request.deployment_options is not None:
            stamps = (stamps or {}) | version_stamps(request)
        response = ws.RespondWorkflowTaskCompletedResponse()
        completed_id = 0
        if s.speculative is not None and may_discard(run, request, plan):
            transitions.discard_speculative_task(s)
            response.reset_history_event_id = s.previous_started_id
        else:
            completed_id = complete_workflow_task(s, now, request.identity, request.sdk_metadata, stamps)
            if core.is_routing:
                show_version(run)
        if s.search_attributes and _PROBLEMS in s.search_attributes:
            del s.search_attributes[_PROBLEMS]
            run.visibility_changed = True
        sticky = request.sticky_attributes
        s.sticky_queue = ""
        if sticky is not None and sticky.worker_task_queue is not None:
            s.sticky_queue = sticky.worker_task_queue.name
            s.sticky_timeout_ms = (sticky.schedule_to_start_timeout or 0) // NS_PER_MS
        sent = None if plan is None else plan.sent
        close_command, needs_task = apply(s, batch, completed_id, now, self._names[s.namespace_id], sent, endpoints)
        if plan is not None or run.updates is not None:
            if plan is not None:
                for event_type, attributes in plan.rest:
                    commands.apply_message(s, event_type, attributes, now)
            self._updates.settle(run, plan, close_command is not None, forces_task)
        if close_command is not None:
            self._closing.by_command(run, close_command, completed_id, now, successor)
        else:
            s.is_close_attempted = False
            if forces_task or s.buffered or needs_task:
                schedule_workflow_task(s, now, original_ns)
            elif run.updates is not None and run.updates.admitted:
                if request.return_new_workflow_task:
                    transitions.schedule_speculative_task(s, now, False)
                else:
                    schedule_workflow_task(s, now)
        if eager is not None:
            self.activity_tasks.start_eagerly(run, eager)
        elif completed_id or s.new_events:
            core.touch(run)
        else:
            core.absorb(run)
        if request.query_results or run.queries:
            self._queries.answer(run, request.query_results)
        return response

    def _refuse(self, run: Run, error: CommandError, identity: str) -> NoReturn:
        """A completion with a bad command: the task fails (or the run ends), and the worker is told."""
        core = self._core
        s = run.state
        now = core.now()
        if error.terminate:
            self._closing.terminate(run, error.message, None, "history-service")
            core.touch(run)
            raise invalid_argument(error.message)
        if run.updates is not None:
            run.updates.task_refused()
        if s.task_attempt > 1 and error.cause != _UNHANDLED_COMMAND and not s.task_owner_epoch:
            raise invalid_argument(error.message)
        if error.cause == _UNHANDLED_COMMAND:
            s.is_close_attempted = True
        failure = failure_v1.Failure(
            message=f"{cause_name(error.cause)}: {error.message}",
            source="Server",
            server_failure_info=failure_v1.ServerFailureInfo(),
        )
        self._fail(run, error.cause, failure, identity, now)
        raise invalid_argument(error.message)

    def _fail(self, run: Run, cause: int, failure: failure_v1.Failure | None, identity: str, now: int) -> None:
        s = run.state
        delay = _retry_delay(s.task_attempt + 1, s.task_owner_epoch != 0)
        reason = f"category=WorkflowTaskFailed cause=WorkflowTaskFailedCause{cause_name(cause)}"
        if cause == _UNHANDLED_COMMAND:
            reason = ""
        else:
            s.search_attributes[_PROBLEMS] = encode(transitions.problems(reason))
            run.visibility_changed = True
        transitions.fail_workflow_task(s, now, cause, failure, identity, reason, delay)
        self._core.touch(run)

    async def fail(self, request: ws.RespondWorkflowTaskFailedRequest) -> ws.RespondWorkflowTaskFailedResponse:
        """Temporal's RespondWorkflowTaskFailed."""
        run = await self._held(request.task_token)
        if request.cause == int(WorkflowTaskFailedCause.WORKFLOW_TASK_FAILED_CAUSE_GRPC_MESSAGE_TOO_LARGE):
            self._closing.terminate(run, "Workflow task completion is too large.", None, "history-service")
            self._core.touch(run)
        else:
            self._fail(run, request.cause, request.failure, request.identity, self._core.now())
        return ws.RespondWorkflowTaskFailedResponse()

    async def _check_rest(self, run: Run, batch: list[command_v1.Command]) -> dict[str, str] | None:
        """What :func:`commands.check` leaves to Python: search attributes, cron schedules of children, Nexus endpoints.

        Returns the ids of the endpoints that are named.
        """
        endpoints: dict[str, str] | None = None
        for command in batch:
            if command.command_type not in _CHECKED_HERE:
                continue
            attributes: Any = command.attributes
            if command.command_type == _SCHEDULE_NEXUS_OPERATION:
                if attributes.endpoint == SYSTEM_ENDPOINT:
                    try:
                        self.system_endpoint.check(run.key.namespace_id, attributes)
                    except RPCError as error:
                        raise CommandError(_BAD_NEXUS_OPERATION, error.message) from None
                    endpoints = endpoints or {}
                    endpoints[attributes.endpoint] = ""
                    continue
                endpoint_id = self.nexus_endpoints.id_of(attributes.endpoint)
                if endpoint_id is None:
                    raise CommandError(_BAD_NEXUS_OPERATION, f"endpoint {attributes.endpoint!r} not found")
                endpoints = endpoints or {}
                endpoints[attributes.endpoint] = endpoint_id
                continue
            if command.command_type == _START_CHILD and attributes.cron_schedule:
                try:
                    Cron.parse(attributes.cron_schedule)
                except ValueError as error:
                    raise CommandError(_BAD_START_CHILD, f"cron_schedule of the child is not valid: {error}") from None
            if attributes.search_attributes is not None:
                text = limits.search_attributes_size_error(attributes.search_attributes)
                if text is not None:
                    raise CommandError(_BAD_SEARCH_ATTRIBUTES, text, True)
                text = limits.search_attributes_error(attributes.search_attributes)
                if text is not None:
                    raise CommandError(_BAD_SEARCH_ATTRIBUTES, text)
                namespace = self._namespaces.by_id(run.key.namespace_id)
                try:
                    if not run.state.task_owner_epoch:
                        self._namespaces.check_known(namespace, attributes.search_attributes)
                    await self._namespaces.learn(namespace, attributes.search_attributes)
                except RPCError as error:
                    if error.status is not RPCStatusCode.INVALID_ARGUMENT:
                        raise
                    raise CommandError(_BAD_SEARCH_ATTRIBUTES, error.message) from None
        return endpoints

    # ---- stickiness

    async def reset_sticky(self, request: ws.ResetStickyTaskQueueRequest) -> ws.ResetStickyTaskQueueResponse:
        """Temporal's ResetStickyTaskQueue."""
        execution = request.execution or common_v1.WorkflowExecution()
        namespace_id = self._namespaces.get(request.namespace).namespace_id
        run = await self._core.load(RunKey(namespace_id, execution.workflow_id, execution.run_id))
        if run is None or not run.is_open:
            raise not_found(f"workflow not found for ID: {execution.workflow_id}")
        s = run.state
        s.sticky_queue = ""
        if s.task_scheduled_id and not s.task_started_id:
            s.task_deadline_ms = 0
            self._core.dispatch_workflow_task(run)
        self._core.touch(run)
        return ws.ResetStickyTaskQueueResponse()

    async def shutdown_worker(self, request: ws.ShutdownWorkerRequest) -> ws.ShutdownWorkerResponse:
        """Temporal's ShutdownWorker: the sticky queue is gone, its tasks go to the normal ones."""
        namespace_id = self._namespaces.get(request.namespace).namespace_id
        if request.sticky_task_queue:
            waiting = self._core.matching.drop_queue(namespace_id, TaskKind.WORKFLOW, request.sticky_task_queue)
            for task in waiting:
                run = await self._core.load(task.key)
                if run is None:
                    continue
                if task.query:
                    self._core.matching.queue(namespace_id, TaskKind.WORKFLOW, run.state.task_queue).add(task)
                elif run.is_open:
                    self._core.dispatch_workflow_task(run)
        return ws.ShutdownWorkerResponse()
