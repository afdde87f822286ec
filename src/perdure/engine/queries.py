"""Queries: answered with the next workflow task where one is pending, else by a query task of their own."""

from __future__ import annotations

import asyncio
import uuid

from perdure.api.common import v1 as common_v1
from perdure.api.enums.v1 import QueryRejectCondition, QueryResultType, WorkflowExecutionStatus
from perdure.api.errordetails import v1 as errordetails_v1
from perdure.api.history import v1 as history_v1
from perdure.api.query import v1 as query_v1
from perdure.api.taskqueue import v1 as taskqueue_v1
from perdure.api.workflowservice import v1 as ws
from perdure.engine import limits
from perdure.engine.core import Core
from perdure.engine.errors import (
    BUSY_WORKFLOW,
    deadline_exceeded,
    failed_precondition,
    invalid_argument,
    not_found,
    not_ready,
    resource_exhausted,
)
from perdure.engine.histories import first_page
from perdure.engine.lookup import find_run
from perdure.engine.matching import Task, TaskQueue
from perdure.engine.namespaces import Namespaces
from perdure.engine.pausing import PAUSED
from perdure.engine.routing import Router
from perdure.engine.run import PendingQuery, Run
from perdure.service import RPCError, RPCStatusCode
from perdure.store.api import TaskKind

_NOT_OPEN = int(QueryRejectCondition.QUERY_REJECT_CONDITION_NOT_OPEN)
_NOT_CLEAN = int(QueryRejectCondition.QUERY_REJECT_CONDITION_NOT_COMPLETED_CLEANLY)
_FAILED = int(QueryResultType.QUERY_RESULT_TYPE_FAILED)
_RUNNING = int(WorkflowExecutionStatus.WORKFLOW_EXECUTION_STATUS_RUNNING)
_COMPLETED = int(WorkflowExecutionStatus.WORKFLOW_EXECUTION_STATUS_COMPLETED)
_STUCK_FROM_ATTEMPT = 3
_QUERY_TIMEOUT = 30.0
#: How many queries from afar may wait for one run's next workflow task, as on Temporal's server.
MAX_BUFFERED = 1
#: Seconds without a poll after which a query that nobody took is told so, this long before its time is over.
_POLLER_WINDOW, _NOTICE = 20.0, 1.0
_TOKEN_PREFIX = b"query:"
_CLOSED_TOO_SOON = "Workflow execution closed before WorkflowTaskStarted event"


def is_query_token(task_token: bytes) -> bool:
    """Whether a task token is a query's."""
    return task_token.startswith(_TOKEN_PREFIX)


class Queries:
    """Queries of runs, open or closed."""

    #: Set when the engine is put together.
    router: Router

    def __init__(self, core: Core, namespaces: Namespaces) -> None:
        self._core = core
        self._namespaces = namespaces
        #: query task id -> who asked
        self._direct: dict[str, PendingQuery] = {}
        #: query task id -> the run that was asked
        self._asked: dict[str, Run] = {}
        core.on_forced_close = self.release

    async def query(self, request: ws.QueryWorkflowRequest, timeout: float | None) -> ws.QueryWorkflowResponse:
        """Temporal's QueryWorkflow: the answer reflects every event acknowledged before the call."""
        core = self._core
        if request.query is None or not request.query.query_type:
            raise invalid_argument("QueryType is not set on the request.")
        limits.check_payloads(request.query.query_args, "QueryArgs")
        namespace_id = self._namespaces.get(request.namespace).namespace_id
        run = await find_run(core, namespace_id, request.execution)
        s = run.state
        condition = request.query_reject_condition
        if (condition == _NOT_OPEN and s.status != _RUNNING) or (
            condition == _NOT_CLEAN and s.status not in (_RUNNING, _COMPLETED)
        ):
            return ws.QueryWorkflowResponse(query_rejected=query_v1.QueryRejected(s.status))
        if s.status == PAUSED:
            return ws.QueryWorkflowResponse(query_rejected=query_v1.QueryRejected(PAUSED))
        seconds = _QUERY_TIMEOUT if timeout is None else timeout
        if not s.previous_started_id:
            if not run.is_open:
                raise not_ready(_CLOSED_TOO_SOON)
            if s.backoff_until_ms and s.backoff_until_ms - core.now() // limits.NS_PER_MS > seconds * 1000:
                raise not_ready("Workflow task is not scheduled yet.")
        if s.task_scheduled_id and s.task_attempt >= _STUCK_FROM_ATTEMPT:
            raise not_ready("Unable to query workflow due to Workflow Task in failed state.")
        pending = PendingQuery(request.query, core.loop.create_future())
        name = str(uuid.uuid4())
        if s.task_scheduled_id or not s.previous_started_id:
            run.queries[name] = pending
        else:
            self._ask(run, name, pending)
        try:
            async with asyncio.timeout(seconds):
                if seconds > _NOTICE:
                    await asyncio.wait((pending.future,), timeout=seconds - _NOTICE)
                    if not pending.future.done() and name in self._direct and not self._is_polled(run):
                        raise failed_precondition(
                            "no poller seen for task queue recently, worker may be down: start a worker for task queue "
                            f"{s.task_queue!r}"
                        )
                result = await pending.future
        except TimeoutError:
            raise deadline_exceeded("query timed out before a worker could process it") from None
        finally:
            run.queries.pop(name, None)
            self._direct.pop(name, None)
            self._asked.pop(name, None)
        assert isinstance(result, query_v1.WorkflowQueryResult)
        await core.durable(run)
        if result.result_type == _FAILED:
            message = result.error_message or "query failed"
            raise RPCError(
                message, RPCStatusCode.INVALID_ARGUMENT, [errordetails_v1.QueryFailedFailure(result.failure)]
            )
        try:
            limits.check_payloads(result.answer, "The query's answer")
        except RPCError as error:
            raise RPCError(
                error.message, RPCStatusCode.INVALID_ARGUMENT, [errordetails_v1.QueryFailedFailure()]
            ) from None
        return ws.QueryWorkflowResponse(query_result=result.answer)

    async def check_room(self, request: ws.QueryWorkflowRequest) -> None:
        """Refuse a query when too many wait for the run's next workflow task already; clients try it again."""
        run = await find_run(self._core, self._namespaces.get(request.namespace).namespace_id, request.execution)
        if len(run.queries) >= MAX_BUFFERED and (run.state.task_scheduled_id or not run.state.previous_started_id):
            raise resource_exhausted(
                "consistent query buffer is full, this may be caused by too many queries and workflow not able to "
                "process query fast enough",
                BUSY_WORKFLOW,
            )

    def _is_polled(self, run: Run) -> bool:
        """Whether a worker that may answer a query of its own has polled lately."""
        now = self._core.loop.time()
        queues = [self._query_queue(run)]
        if run.state.sticky_queue:
            sticky = self._core.matching.known(run.key.namespace_id, TaskKind.WORKFLOW, run.state.sticky_queue)
            queues += [] if sticky is None else [sticky]
        return any(queue.has_recent_poller(now) or now - queue.last_poll < _POLLER_WINDOW for queue in queues)

    def _query_queue(self, run: Run) -> TaskQueue:
        if self._core.is_routing:
            return self.router.query_queue(run)
        return self._core.matching.queue(run.key.namespace_id, TaskKind.WORKFLOW, run.state.task_queue)

    def _ask(self, run: Run, name: str, pending: PendingQuery) -> None:
        """Send a query task: to the worker that has the run cached, if it still polls."""
        core = self._core
        self._direct[name] = pending
        self._asked[name] = run
        s = run.state
        task = Task(run.key, 0, 0, name)
        if s.sticky_queue:
            queue = core.matching.known(run.key.namespace_id, TaskKind.WORKFLOW, s.sticky_queue)
            if queue is not None and queue.has_recent_poller(core.loop.time()):
                queue.add(task)
                # A worker that went away without a word: after the time a workflow task would wait, anybody may answer.
                core.loop.call_later(s.sticky_timeout_ms / 1000, self._fall_back, run, task)
                return
        self._query_queue(run).add(task)

    def _fall_back(self, run: Run, task: Task) -> None:
        sticky = self._core.matching.known(run.key.namespace_id, TaskKind.WORKFLOW, run.state.sticky_queue)
        if task.query in self._direct and sticky is not None and task in sticky.tasks:
            sticky.tasks.remove(task)
            if run.state.task_started_id == 0:
                run.state.sticky_queue = ""
                if run.state.task_scheduled_id:
                    self._core.dispatch_workflow_task(run)
            self._core.matching.queue(run.key.namespace_id, TaskKind.WORKFLOW, run.state.task_queue).add(task)

    def give_back(self, task_token: bytes) -> bool:
        """Ask again what did not reach the worker that was asked; whether the token is a query's."""
        if not is_query_token(task_token):
            return False
        name = task_token[len(_TOKEN_PREFIX) :].decode(errors="replace")
        pending, run = self._direct.get(name), self._asked.get(name)
        if pending is not None and run is not None and not run.is_gone:
            self._ask(run, name, pending)
        return True

    async def query_task(
        self, run: Run, task: Task, is_sticky: bool, is_local: bool
    ) -> ws.PollWorkflowTaskQueueResponse | None:
        """The poll answer for a direct query; None when nobody waits for it any more."""
        pending = self._direct.get(task.query)
        if pending is None:
            return None
        s = run.state
        page_token = b""
        try:
            if is_sticky:
                events = []
            elif is_local:
                events = await self._core.read_events(run, 1, s.next_event_id)
            else:
                end, page_token = first_page(run, 1)
                events = await self._core.read_events(run, 1, end)
        except BaseException:
            if task.query in self._direct and not run.is_gone:
                self._ask(run, task.query, pending)
            raise
        return ws.PollWorkflowTaskQueueResponse(
            task_token=_TOKEN_PREFIX + task.query.encode(),
            workflow_execution=common_v1.WorkflowExecution(run.key.workflow_id, run.key.run_id),
            workflow_type=common_v1.WorkflowType(s.workflow_type),
            previous_started_event_id=s.previous_started_id,
            started_event_id=0,
            attempt=1,
            history=history_v1.History(events),
            next_page_token=page_token,
            query=pending.query,
            workflow_execution_task_queue=taskqueue_v1.TaskQueue(s.task_queue, 1),
        )

    def answer(self, run: Run, results: dict[str, query_v1.WorkflowQueryResult]) -> None:
        """Take the answers that came with a completed workflow task; send the rest by themselves if none follows."""
        for name, result in results.items():
            pending = run.queries.pop(name, None)
            if pending is not None and not pending.future.done():
                pending.future.set_result(result)
        self.release(run)

    def release(self, run: Run) -> None:
        """No workflow task is pending any more: queries that waited for one go out by themselves."""
        if run.queries and not run.state.task_scheduled_id:
            waiting, run.queries = run.queries, {}
            for name, pending in waiting.items():
                if run.state.previous_started_id:
                    self._ask(run, name, pending)
                elif not pending.future.done():
                    pending.future.set_exception(not_ready(_CLOSED_TOO_SOON))

    async def complete(self, request: ws.RespondQueryTaskCompletedRequest) -> ws.RespondQueryTaskCompletedResponse:
        """Temporal's RespondQueryTaskCompleted."""
        if not request.task_token.startswith(_TOKEN_PREFIX):
            raise invalid_argument("error deserializing task token: these bytes are not a query's task token.")
        pending = self._direct.pop(request.task_token[len(_TOKEN_PREFIX) :].decode(errors="replace"), None)
        if pending is None or pending.future.done():
            raise not_found("query task not found, or already expired")
        pending.future.set_result(
            query_v1.WorkflowQueryResult(
                request.completed_type, request.query_result, request.error_message, request.failure
            )
        )
        return ws.RespondQueryTaskCompletedResponse()
