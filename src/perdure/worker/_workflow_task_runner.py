"""A worker's way with a workflow task: find the run or make it, activate it, send the answer, keep the run.

This is what happens to nearly every task, in one step of the event loop. What has to wait for something (pages of a
history, a codec, local activities) or is no completion is the business of the class that is built on this one,
:class:`~perdure.worker._workflow_worker.WorkflowWorker`.

Compiled as it is by the native build; ``_workflow_task_runner.pxd`` declares the attributes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from perdure.api.workflowservice import v1 as ws
from perdure.service import RPCError
from perdure.worker._run_cache import CachedRun, RunCache, evict
from perdure.worker._workflow_run import WorkflowRun

if TYPE_CHECKING:
    import asyncio

    from perdure._native.events import HistoryEvent
    from perdure.api.common.v1 import WorkflowExecution
    from perdure.api.deployment.v1 import WorkerDeploymentOptions
    from perdure.api.taskqueue.v1 import StickyExecutionAttributes
    from perdure.service import WorkflowService
    from perdure.worker._eager_activities import EagerActivities
    from perdure.worker._workflow_registry import WorkflowRegistry
    from perdure.worker._workflow_runtime import RunOptions
    from perdure.worker._workflow_turn import Answer

_CLOSE_COMMANDS = frozenset((4, 5, 7, 10))  # complete, fail, cancel, continue as new
_Completed = ws.RespondWorkflowTaskCompletedRequest


class WorkflowTaskRunner:
    """What :class:`~perdure.worker._workflow_worker.WorkflowWorker` is built on."""

    def __init__(
        self,
        service: WorkflowService,
        options: RunOptions,
        registry: WorkflowRegistry,
        cache: RunCache,
        sticky_attributes: StickyExecutionAttributes | None,
        build_id: str,
        deployment_options: WorkerDeploymentOptions | None,
        default_versioning_behavior: int,
    ) -> None:
        self.service = service
        self._options = options
        self._registry = registry
        self._cache = cache
        #: None: runs do not stay in memory between their tasks.
        self._sticky_attributes = sticky_attributes
        self._build_id = build_id
        #: None: the worker is not versioned.
        self._deployment_options = deployment_options
        self._default_versioning_behavior: int = default_versioning_behavior
        self._has_codec: bool = options.data_converter._changes_payloads
        self._is_leaving: bool = False
        #: Runs with a task that waits for something, and who waits for the end of that task.
        self._busy: dict[str, asyncio.Future[None]] = {}
        self.run_class: type[WorkflowRun] = WorkflowRun
        #: At a service with a wire: who runs the activities that come with an answer.
        self.eager_activities: EagerActivities | None = None

    # --- asked of the worker

    async def _handle_otherwise(
        self, task: ws.PollWorkflowTaskQueueResponse
    ) -> ws.PollWorkflowTaskQueueResponse | None:
        raise NotImplementedError

    async def _respond(
        self, task: ws.PollWorkflowTaskQueueResponse, cached: CachedRun, answer: Answer | None
    ) -> ws.PollWorkflowTaskQueueResponse | None:
        raise NotImplementedError

    async def _send_eagerly(
        self, answer: ws.RespondWorkflowTaskCompletedRequest
    ) -> ws.RespondWorkflowTaskCompletedResponse:
        """Send an answer, and start the activities that come back with the reply."""
        raise NotImplementedError

    async def _not_taken(self, task: ws.PollWorkflowTaskQueueResponse, cached: CachedRun, error: Exception) -> None:
        raise NotImplementedError

    # --- a task

    async def handle(self, task: ws.PollWorkflowTaskQueueResponse, _loop_task: asyncio.Task[None]) -> None:
        """Answer a workflow task, and those that come with its answer. Raises nothing that the workflow raised."""
        following: ws.PollWorkflowTaskQueueResponse | None = task
        while following is not None and following.task_token:
            turned = self._turn(following)
            if turned is None:
                following = await self._handle_otherwise(following)
                continue
            cached, answer = turned
            if isinstance(answer, ws.RespondWorkflowTaskCompletedRequest):
                following = await self._complete(following, cached, answer)
            else:
                following = await self._respond(following, cached, answer)

    def _turn(self, task: ws.PollWorkflowTaskQueueResponse) -> tuple[CachedRun, Answer | None] | None:
        """The run of a task and its answer, None if local activities come first.

        None altogether if the task has to wait for something, or has no workflow here.
        """
        execution = task.workflow_execution
        assert execution is not None
        run_id = execution.run_id
        if self._has_codec or task.next_page_token or run_id in self._busy:
            return None
        history = task.history
        events: list[HistoryEvent] = [] if history is None else history.events
        cached = self._known(task, run_id, events)
        if cached is None:
            if not events or events[0].event_id != 1:
                return None
            cached = self._new_run(task, execution)
            if cached is None:
                return None
        cached.new_events = len(events)
        return cached, cached.run.activate(task, events)

    def _known(
        self, task: ws.PollWorkflowTaskQueueResponse, run_id: str, events: list[HistoryEvent]
    ) -> CachedRun | None:
        """The task's run, if it is in memory and the task goes on where it stands."""
        cached = self._cache.get(run_id)
        if cached is None:
            return None
        if cached.started_event_id == task.previous_started_event_id and not (events and events[0].event_id == 1):
            return cached
        self._evict(run_id)
        return None

    def _new_run(self, task: ws.PollWorkflowTaskQueueResponse, execution: WorkflowExecution) -> CachedRun | None:
        workflow_type = task.workflow_type
        name = workflow_type.name if workflow_type is not None else ""
        definition = self._registry.find(name)
        if definition is None:
            return None
        return CachedRun(self.run_class(definition, self._options, execution.workflow_id, execution.run_id, name))

    async def _complete(
        self,
        task: ws.PollWorkflowTaskQueueResponse,
        cached: CachedRun,
        answer: ws.RespondWorkflowTaskCompletedRequest,
    ) -> ws.PollWorkflowTaskQueueResponse | None:
        run_id = cached.run.run_id
        cache = self._cache
        commands = answer.commands
        is_closed = bool(commands) and commands[-1].command_type in _CLOSE_COMMANDS
        if is_closed:
            cache.pop(run_id)
        else:
            cached.started_event_id = task.started_event_id
            if self._sticky_attributes is not None and not self._is_leaving:
                answer.sticky_attributes = self._sticky_attributes
                answer.return_new_workflow_task = True
                cache.put(run_id, cached, cached.new_events)
        if self._build_id:
            answer.binary_checksum = self._build_id
        if self._deployment_options is not None:
            answer.versioning_behavior = answer.versioning_behavior or self._default_versioning_behavior
            answer.deployment_options = self._deployment_options
        else:
            answer.versioning_behavior = 0
        following = None
        try:
            response = (
                await self.service.respond_workflow_task_completed(answer)
                if self.eager_activities is None
                else await self._send_eagerly(answer)
            )
        # The others: a command with a value of a type no service takes.
        except (RPCError, TypeError, ValueError, AttributeError) as error:
            await self._not_taken(task, cached, error)
        else:
            following = response.workflow_task
            if response.reset_history_event_id:
                cached.started_event_id = response.reset_history_event_id
                cached.run.reset_to(response.reset_history_event_id)
        if is_closed or cache.get(run_id) is not cached:
            evict(cached, run_id)
        return following

    def _evict(self, run_id: str, cached: CachedRun | None = None) -> None:
        """Put a run out of memory, and out of the cache if it is that very one."""
        held = self._cache.get(run_id)
        if held is not None and (cached is None or held is cached):
            self._cache.pop(run_id)
        victim = cached or held
        if victim is not None:
            evict(victim, run_id)
