"""The engine as workers and clients of other processes see it, behind a wire."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from perdure.api.workflowservice import v1 as ws
from perdure.engine.activity_tasks import ActivityTasks
from perdure.engine.errors import invalid_argument
from perdure.engine.ids import decode_token
from perdure.engine.limits import long_poll
from perdure.engine.namespaces import activities_of
from perdure.engine.queries import Queries, is_query_token
from perdure.engine.starts import Starts
from perdure.engine.workflow_tasks import WorkflowTasks

if TYPE_CHECKING:
    from perdure.engine.engine import Engine

Metadata = Mapping[str, str | bytes] | None

#: RPCs that prove with a task token what they are about.
_ANSWERS = (
    "respond_workflow_task_completed",
    "respond_workflow_task_failed",
    "respond_activity_task_completed",
    "respond_activity_task_failed",
    "respond_activity_task_canceled",
    "record_activity_task_heartbeat",
)


class RemoteService:
    """A service over an engine whose tasks outlive this process: their holders live elsewhere.

    Workflow tasks carry one page of history, and a page token for the rest. Closing it leaves the engine open.
    """

    in_process = False

    def __init__(
        self,
        engine: Engine,
        check: Callable[[], None],
        starts: Starts,
        workflow_tasks: WorkflowTasks,
        activity_tasks: ActivityTasks,
        queries: Queries,
    ) -> None:
        self._engine = engine
        self._check = check
        self._starts = starts
        self._workflow_tasks = workflow_tasks
        self._activity_tasks = activity_tasks
        self._queries = queries
        for name in _ANSWERS:
            setattr(self, name, self._in_own_namespace(getattr(engine, name)))

    def _in_own_namespace(self, answer: Callable[..., Coroutine[Any, Any, Any]]) -> Callable[..., Any]:
        """An RPC that refuses task tokens of other namespaces than the request's, for which the caller was allowed."""
        namespaces = self._engine.namespaces

        async def call(request: Any, *, metadata: Metadata = None, timeout: timedelta | None = None) -> Any:
            self._check()
            if request.namespace and not is_query_token(request.task_token):
                namespace_id = namespaces.get(request.namespace).namespace_id
                owner = decode_token(request.task_token).namespace_id
                if owner != namespace_id and owner != activities_of(namespace_id):
                    raise invalid_argument("Operation requested with a token from a different namespace.")
            return await answer(request, metadata=metadata, timeout=timeout)

        return call

    def __getattr__(self, name: str) -> Any:
        """Every other RPC is the engine's."""
        return getattr(self._engine, name)

    async def close(self) -> None:
        """Nothing: the engine belongs to who opened it."""

    async def start_workflow_execution(
        self, request: ws.StartWorkflowExecutionRequest, *, metadata: Metadata = None, timeout: timedelta | None = None
    ) -> ws.StartWorkflowExecutionResponse:
        """Temporal's StartWorkflowExecution."""
        self._check()
        return await self._starts.start(request, is_local=False)

    async def poll_workflow_task_queue(
        self, request: ws.PollWorkflowTaskQueueRequest, *, metadata: Metadata = None, timeout: timedelta | None = None
    ) -> ws.PollWorkflowTaskQueueResponse:
        """Temporal's PollWorkflowTaskQueue."""
        self._check()
        return await self._workflow_tasks.poll(request, is_local=False, timeout=long_poll(timeout))

    async def poll_activity_task_queue(
        self, request: ws.PollActivityTaskQueueRequest, *, metadata: Metadata = None, timeout: timedelta | None = None
    ) -> ws.PollActivityTaskQueueResponse:
        """Temporal's PollActivityTaskQueue."""
        self._check()
        return await self._activity_tasks.poll(request, is_local=False, timeout=long_poll(timeout))

    async def query_workflow(
        self, request: ws.QueryWorkflowRequest, *, metadata: Metadata = None, timeout: timedelta | None = None
    ) -> ws.QueryWorkflowResponse:
        """Temporal's QueryWorkflow; of those that wait for a workflow task, one at a time for a run."""
        self._check()
        await self._queries.check_room(request)
        return await self._engine.query_workflow(request, metadata=metadata, timeout=timeout)

    async def give_back(self, response: object) -> None:
        """Hand out again what an answer carried that did not reach its worker."""
        self._check()
        if isinstance(response, ws.PollWorkflowTaskQueueResponse):
            await self._workflow_tasks.give_back(response.task_token)
        elif isinstance(response, ws.PollActivityTaskQueueResponse):
            await self._activity_tasks.give_back(response.task_token)
        elif isinstance(response, ws.RespondWorkflowTaskCompletedResponse):
            await self.give_back(response.workflow_task)
            for task in response.activity_tasks:
                await self.give_back(task)
        elif isinstance(response, ws.StartWorkflowExecutionResponse):
            await self.give_back(response.eager_workflow_task)
        elif isinstance(response, ws.StartActivityExecutionResponse):
            await self.give_back(response.eager_activity_task)
