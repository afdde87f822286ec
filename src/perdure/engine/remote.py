"""The engine as workers and clients of other processes see it, behind a wire."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable, Mapping
from datetime import timedelta
from time import monotonic
from typing import TYPE_CHECKING, Any

from perdure.api.common import v1 as common_v1
from perdure.api.taskqueue.v1 import PollerScalingDecision
from perdure.api.workflowservice import v1 as ws
from perdure.engine.activity_tasks import ActivityTasks
from perdure.engine.errors import invalid_argument
from perdure.engine.ids import NexusTaskToken, TaskToken, decode_nexus_task, decode_token
from perdure.engine.limits import long_poll
from perdure.engine.namespaces import activities_of
from perdure.engine.poller_scaling import PollerScaling
from perdure.engine.queries import Queries, is_query_token
from perdure.engine.starts import Starts
from perdure.engine.workflow_tasks import WorkflowTasks
from perdure.store.api import TaskKind

if TYPE_CHECKING:
    from perdure.engine.engine import Engine

Metadata = Mapping[str, str | bytes] | None

#: RPCs that prove with a task token what they are about, and how it is read.
_ANSWERS: dict[str, Callable[[bytes], TaskToken | NexusTaskToken]] = {
    "respond_workflow_task_completed": decode_token,
    "respond_workflow_task_failed": decode_token,
    "respond_activity_task_completed": decode_token,
    "respond_activity_task_failed": decode_token,
    "respond_activity_task_canceled": decode_token,
    "record_activity_task_heartbeat": decode_token,
    "respond_nexus_task_completed": decode_nexus_task,
    "respond_nexus_task_failed": decode_nexus_task,
}
_Attributes = common_v1.SearchAttributes | None


def _own(request: Any) -> Iterable[_Attributes]:
    return (request.search_attributes,)


def _of_schedule(request: Any) -> Iterable[_Attributes]:
    action = None if request.schedule is None else request.schedule.action
    start = None if action is None else action.start_workflow
    return (request.search_attributes, None if start is None else start.search_attributes)


def _of_operations(request: ws.ExecuteMultiOperationRequest) -> Iterable[_Attributes]:
    return [op.start_workflow.search_attributes for op in request.operations if op.start_workflow is not None]


#: RPCs that set search attributes, and where they have them; StartWorkflowExecution is a method below.
_WITH_SEARCH_ATTRIBUTES: dict[str, Callable[[Any], Iterable[_Attributes]]] = {
    "signal_with_start_workflow_execution": _own,
    "execute_multi_operation": _of_operations,
    "create_schedule": _of_schedule,
    "update_schedule": _of_schedule,
    "start_activity_execution": _own,
    "start_nexus_operation_execution": _own,
}


class RemoteService:
    """A service over an engine whose tasks outlive this process: their holders live elsewhere.

    Workflow tasks carry one page of history, and a page token for the rest. Closing it leaves the engine open.

    Args:
        is_strict: Search attributes must have been added, as on Temporal's server; else what is set is known from then
            on, as with a client in the engine's process.
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
        scaling: PollerScaling,
        *,
        is_strict: bool = True,
    ) -> None:
        self._engine = engine
        self._is_strict = is_strict
        self._check = check
        self._starts = starts
        self._workflow_tasks = workflow_tasks
        self._activity_tasks = activity_tasks
        self._queries = queries
        self._scaling = scaling
        for name, read_token in _ANSWERS.items():
            setattr(self, name, self._in_own_namespace(getattr(engine, name), read_token))
        for name, attributes_of in _WITH_SEARCH_ATTRIBUTES.items():
            setattr(self, name, self._with_known_attributes(getattr(engine, name), attributes_of))

    def _with_known_attributes(
        self, start: Callable[..., Coroutine[Any, Any, Any]], attributes_of: Callable[[Any], Iterable[_Attributes]]
    ) -> Callable[..., Any]:
        """An RPC that refuses search attributes which nobody has added."""

        async def call(request: Any, *, metadata: Metadata = None, timeout: timedelta | None = None) -> Any:
            self._check_attributes(request.namespace, attributes_of(request))
            return await start(request, metadata=metadata, timeout=timeout)

        return call

    def _check_attributes(self, namespace: str, found: Iterable[_Attributes]) -> None:
        self._check()
        if not self._is_strict:
            return
        namespaces = self._engine.namespaces
        for attributes in found:
            if attributes is not None:
                namespaces.check_known(namespaces.get(namespace), attributes)

    def _in_own_namespace(
        self, answer: Callable[..., Coroutine[Any, Any, Any]], read_token: Callable[[bytes], TaskToken | NexusTaskToken]
    ) -> Callable[..., Any]:
        """An RPC that refuses task tokens of other namespaces than the request's, for which the caller was allowed."""
        namespaces = self._engine.namespaces

        async def call(request: Any, *, metadata: Metadata = None, timeout: timedelta | None = None) -> Any:
            self._check()
            if request.namespace and not is_query_token(request.task_token):
                namespace_id = namespaces.get(request.namespace).namespace_id
                owner = read_token(request.task_token).namespace_id
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
        self._check_attributes(request.namespace, (request.search_attributes,))
        return await self._starts.start(request, is_local=False)

    async def poll_workflow_task_queue(
        self, request: ws.PollWorkflowTaskQueueRequest, *, metadata: Metadata = None, timeout: timedelta | None = None
    ) -> ws.PollWorkflowTaskQueueResponse:
        """Temporal's PollWorkflowTaskQueue."""
        self._check()
        began = monotonic()
        response = await self._workflow_tasks.poll(request, is_local=False, timeout=long_poll(timeout))
        if response.task_token and request.task_queue is not None:
            response.poller_scaling_decision = await self._advice(request, TaskKind.WORKFLOW, began)
        return response

    async def poll_activity_task_queue(
        self, request: ws.PollActivityTaskQueueRequest, *, metadata: Metadata = None, timeout: timedelta | None = None
    ) -> ws.PollActivityTaskQueueResponse:
        """Temporal's PollActivityTaskQueue."""
        self._check()
        began = monotonic()
        response = await self._activity_tasks.poll(request, is_local=False, timeout=long_poll(timeout))
        if response.task_token and request.task_queue is not None:
            response.poller_scaling_decision = await self._advice(request, TaskKind.ACTIVITY, began)
        return response

    async def _advice(
        self, request: ws.PollWorkflowTaskQueueRequest | ws.PollActivityTaskQueueRequest, kind: TaskKind, began: float
    ) -> PollerScalingDecision | None:
        assert request.task_queue is not None
        namespace_id = self._engine.namespaces.get(request.namespace).namespace_id
        return await self._scaling.decide(namespace_id, kind, request.task_queue.name, began)

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

    async def holder_died(self, task_token: bytes) -> None:
        """The process that held a task is dead: the task goes out again, the attempt has failed, now."""
        self._check()
        if is_query_token(task_token) or decode_token(task_token).started_event_id:
            await self._workflow_tasks.give_back(task_token)
        else:
            await self._activity_tasks.lose(task_token)
