"""Workflow tasks: polls and answers."""

from __future__ import annotations

from typing import Any, NoReturn

from perdure._cron import Cron
from perdure._native import commands, transitions
from perdure._native.commands import CLOSE_COMMANDS, CommandError
from perdure.api.command import v1 as command_v1
from perdure.api.common import v1 as common_v1
from perdure.api.enums.v1 import CommandType, WorkflowTaskFailedCause
from perdure.api.failure import v1 as failure_v1
from perdure.api.history import v1 as history_v1
from perdure.api.taskqueue import v1 as taskqueue_v1
from perdure.api.workflowservice import v1 as ws
from perdure.engine import limits
from perdure.engine.activity_tasks import ActivityTasks
from perdure.engine.closing import Closing
from perdure.engine.core import Core
from perdure.engine.deployments import Deployments
from perdure.engine.eager_activities import EagerStarts
from perdure.engine.errors import invalid_argument, not_found
from perdure.engine.histories import first_page
from perdure.engine.ids import TaskToken, decode_token, encode_token
from perdure.engine.limits import NS_PER_MS
from perdure.engine.matching import Poller, Task
from perdure.engine.namespaces import Namespaces
from perdure.engine.nexus_endpoints import NexusEndpoints
from perdure.engine.queries import Queries
from perdure.engine.routing import show_version, stated_version, version_stamps
from perdure.engine.run import Run
from perdure.engine.wiring import encode
from perdure.engine.workflow_updates import WorkflowUpdates, may_discard
from perdure.service import RPCError, RPCStatusCode
from perdure.store.api import RunKey, TaskKind

_LOST = "Workflow task not found."
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

    def __init__(
        self, core: Core, namespaces: Namespaces, closing: Closing, queries: Queries, updates: WorkflowUpdates
    ) -> None:
        self._core = core
        self._namespaces = namespaces
        self._closing = closing
        self._queries = queries
        self._updates = updates

    # ---- polls

    async def poll(
        self, request: ws.PollWorkflowTaskQueueRequest, *, is_local: bool, timeout: float
    ) -> ws.PollWorkflowTaskQueueResponse:
        """Temporal's PollWorkflowTaskQueue."""
        core = self._core
        name = limits.check_task_queue(request.task_queue)
        namespace_id = self._namespaces.get(request.namespace).namespace_id
        is_sticky = request.task_queue is not None and request.task_queue.kind == _STICKY
        part = name
        if request.deployment_options is not None and not is_sticky:
            part = await self.deployments.polled_by(namespace_id, TaskKind.WORKFLOW, name, request.deployment_options)
        queue = core.matching.queue(namespace_id, TaskKind.WORKFLOW, part)
        deadline = core.loop.time() + timeout
        while True:
            task = await core.matching.poll(queue, request.identity, deadline - core.loop.time(), Poller)
            if task is None:
                return ws.PollWorkflowTaskQueueResponse()
            assert isinstance(task, Task)
            try:
                run = await core.load(task.key)
            except BaseException:
                queue.put_back(task)
                raise
            if run is None:
                continue
            if task.query:
                response = await self._queries.query_task(run, task, is_sticky, is_local)
            elif is_sticky and run.state.sticky_queue != name:
                continue  # what waits here was sent to the normal queue when the run left this one
            else:
                response = await self.start(run, request.identity, is_sticky=is_sticky, is_local=is_local)
            if response is not None:
                return response

    async def start(
        self, run: Run, identity: str, *, is_sticky: bool, is_local: bool, resend: bool = True
    ) -> ws.PollWorkflowTaskQueueResponse | None:
        """Hand the pending workflow task out; None when there is none. It becomes durable with the next commit.

        With ``resend`` it carries updates again that an earlier task carried in vain.
        """
        core = self._core
        s = run.state
        owner_epoch = core.epoch if is_local else 0
        now = core.now()
        task_id = core.next_task_id()
        if core.is_routing:
            core.router.note_target(run)
        if not transitions.start_workflow_task(s, now, str(task_id), identity, is_sticky, owner_epoch):
            return None
        core.absorb(run)
        core.timers.arm_workflow_task(run)
        first = s.previous_started_id + 1 if is_sticky else 1
        started_id = s.task_started_id
        attempt = s.task_attempt
        scheduled_id = s.task_scheduled_id
        is_speculative = s.speculative is not None
        suffix = transitions.unwritten_events(s) if attempt > 1 or is_speculative else None
        end, page_token = s.next_event_id, b""
        if not is_local:
            if not is_speculative:
                core.forming(run)  # a worker elsewhere holds its task also when this process starts anew
            end, page_token = first_page(run, first)
        try:
            events = await core.read_events(run, first, end)
        except BaseException:
            self._take_back(run, scheduled_id, started_id, attempt)
            raise
        if suffix is not None and not page_token:
            events = events + suffix
        key = run.key
        token = TaskToken(key.namespace_id, key.workflow_id, key.run_id, scheduled_id, started_id, attempt)
        if is_speculative:
            token = token._replace(start=task_id)
        return ws.PollWorkflowTaskQueueResponse(
            task_token=encode_token(token),
            workflow_execution=common_v1.WorkflowExecution(key.workflow_id, key.run_id),
            workflow_type=common_v1.WorkflowType(s.workflow_type),
            previous_started_event_id=s.previous_started_id,
            started_event_id=started_id,
            attempt=attempt,
            history=history_v1.History(events),
            next_page_token=page_token,
            workflow_execution_task_queue=taskqueue_v1.TaskQueue(s.task_queue, 1),
            scheduled_time=s.task_scheduled_ns,
            started_time=s.task_started_ns,
            queries={name: query.query for name, query in run.queries.items()} if run.queries else {},
            messages=[] if run.updates is None else run.updates.messages(started_id, resend),
        )

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

    async def _held(self, task_token: bytes) -> Run:
        """The run whose started workflow task the token proves."""
        token = decode_token(task_token)
        run = await self._core.load(RunKey(token.namespace_id, token.workflow_id, token.run_id))
        if run is not None:
            s = run.state
            if (
                run.is_open
                and s.task_started_id
                and s.task_started_id == token.started_event_id
                and s.task_scheduled_id == token.scheduled_event_id
                and s.task_attempt == token.attempt
                and ((s.speculative is None and not token.start) or s.task_request_id == str(token.start))
            ):
                return run
        raise not_found(_LOST)

    async def complete(
        self, request: ws.RespondWorkflowTaskCompletedRequest
    ) -> ws.RespondWorkflowTaskCompletedResponse:
        """Temporal's RespondWorkflowTaskCompleted.

        Atomic: WorkflowTaskCompleted, the events of every command, and the next workflow task, or none. Not waited
        for: what the commands set off waits for the commit by itself.
        """
        core = self._core
        run = await self._held(request.task_token)
        s = run.state
        problem = commands.check_sequence(request.commands)
        if problem is not None:
            raise invalid_argument(problem)
        closes = bool(request.commands) and request.commands[-1].command_type in CLOSE_COMMANDS
        is_heartbeat = request.force_create_new_workflow_task and not request.commands and not request.messages
        original_ns = s.task_original_ns
        held = (s.task_started_id, s.task_attempt)
        now = core.now()
        if is_heartbeat and now > original_ns + limits.WORKFLOW_TASK_HEARTBEAT_TIMEOUT:
            transitions.time_out_workflow_task(s, now)
            core.touch(run)
            raise not_found("workflow task heartbeat timeout")
        namespace = self._namespaces.by_id(run.key.namespace_id).name
        plan = sent = None
        try:
            if closes and commands.leaves_buffered(s, request.commands):
                raise CommandError(_UNHANDLED_COMMAND, "UnhandledCommand")
            if request.messages:
                plan = self._updates.plan(run, request, closes)
                sent = plan.sent
            commands.check(s, request.commands, namespace, sent)
            endpoints = await self._check_rest(run, request.commands)
            if closes:
                options = request.deployment_options
                stated = None if options is None else stated_version(request.versioning_behavior, options)
                successor = await self._closing.prepare(run, request.commands[-1], stated)
            else:
                successor = None
        except CommandError as error:
            if run.is_gone or (s.task_started_id, s.task_attempt) != held:
                raise not_found(_LOST) from None
            await self._refuse(run, error, request.identity)
        if run.is_gone or (s.task_started_id, s.task_attempt) != held:
            raise not_found(_LOST)
        if closes and commands.leaves_buffered(s, request.commands):
            await self._refuse(run, CommandError(_UNHANDLED_COMMAND, "UnhandledCommand"), request.identity)

        was_local = s.task_owner_epoch != 0
        eager: EagerStarts | None = None
        if not was_local and request.commands and not core.is_routing:
            eager = EagerStarts.of(request)
        identity = request.identity
        stamps: dict[str, Any] = {}
        if request.binary_checksum or request.worker_version_stamp is not None or request.metering_metadata is not None:
            stamps = {
                "binary_checksum": request.binary_checksum,
                "worker_version": request.worker_version_stamp,
                "metering_metadata": request.metering_metadata,
            }
        if request.versioning_behavior or request.deployment_options is not None:
            stamps.update(version_stamps(request))
        response = ws.RespondWorkflowTaskCompletedResponse()
        completed_id = 0
        if s.speculative is not None and may_discard(run, request, plan):
            transitions.discard_speculative_task(s)
            response.reset_history_event_id = s.previous_started_id
        else:
            completed_id = transitions.complete_workflow_task(s, now, identity, request.sdk_metadata, stamps)
            if core.is_routing:
                show_version(run)
        if _PROBLEMS in s.search_attributes:
            del s.search_attributes[_PROBLEMS]
            run.visibility_changed = True
        sticky = request.sticky_attributes
        if sticky is not None and sticky.worker_task_queue is not None and sticky.worker_task_queue.name:
            s.sticky_queue = sticky.worker_task_queue.name
            s.sticky_timeout_ms = (sticky.schedule_to_start_timeout or 0) // NS_PER_MS
        else:
            s.sticky_queue = ""
        close_command, needs_task = commands.apply(s, request.commands, completed_id, now, namespace, sent, endpoints)
        if plan is not None or run.updates is not None:
            if plan is not None:
                for event_type, attributes in plan.rest:
                    commands.apply_message(s, event_type, attributes, now)
            self._updates.settle(run, plan, close_command is not None, request.force_create_new_workflow_task)
        if close_command is not None:
            self._closing.by_command(run, close_command, completed_id, now, successor)
        else:
            s.is_close_attempted = False
            if request.force_create_new_workflow_task or s.buffered or needs_task:
                transitions.schedule_workflow_task(s, now, original_ns if is_heartbeat else 0)
            elif run.updates is not None and run.updates.admitted:
                if request.return_new_workflow_task:
                    transitions.schedule_speculative_task(s, now, False)
                else:
                    transitions.schedule_workflow_task(s, now)
        if eager is not None:
            self.activity_tasks.start_eagerly(run, eager)
        elif completed_id or s.new_events:
            core.touch(run)
        else:
            core.absorb(run)
        if request.query_results or run.queries:
            self._queries.answer(run, request.query_results)
        if request.return_new_workflow_task and s.task_scheduled_id and not s.task_started_id and not core.is_routing:
            response.workflow_task = await self.start(
                run, identity, is_sticky=True, is_local=was_local, resend=not request.force_create_new_workflow_task
            )
        if eager is not None and eager.started:
            response.activity_tasks = await self.activity_tasks.hand_over(run, eager)
        return response

    async def _refuse(self, run: Run, error: CommandError, identity: str) -> NoReturn:
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
