"""Nexus tasks: calls of operations on their way to the workers that handle them, and what those answer.

Tasks live in memory only. What is owed is a transfer of the calling run; after a crash it is called again with the same
request id. A task that waits for a worker costs no attempt; one that a worker took must be answered within
``REQUEST_TIMEOUT``.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from perdure.api.common import v1 as common_v1
from perdure.api.enums.v1 import EventType
from perdure.api.nexus import links as nexus_links
from perdure.api.nexus import v1 as nexus_v1
from perdure.api.system import ENDPOINT
from perdure.api.workflowservice import v1 as ws
from perdure.engine import limits, nexus_failures
from perdure.engine.core import Core
from perdure.engine.errors import not_found
from perdure.engine.external_endpoints import CALLBACK_TOKEN, ExternalEndpoints
from perdure.engine.ids import (
    NexusCompletionToken,
    NexusTaskToken,
    decode_nexus_task,
    encode_nexus_completion,
    encode_nexus_task,
)
from perdure.engine.matching import Task
from perdure.engine.namespaces import Namespaces
from perdure.engine.nexus_endpoints import NexusEndpoints
from perdure.engine.nexus_operations import NexusOperations
from perdure.engine.nexus_state import REQUEST_TIMEOUT, Cancellation, Operation, by_transfer, in_ms
from perdure.engine.run import Run
from perdure.service import RPCError, RPCStatusCode
from perdure.store.api import RunKey, TaskKind

if TYPE_CHECKING:
    from perdure._native.events import HistoryEvent
    from perdure.engine.system_endpoint import SystemEndpoint

_SCHEDULED = int(EventType.EVENT_TYPE_NEXUS_OPERATION_SCHEDULED)
#: Where handlers send completions: a run of this very service is told.
SYSTEM_CALLBACK = "temporal://system"
_LOST = "Nexus task not found or already expired"
#: Seconds after which no answer to a task is expected any more.
_FORGET_AFTER = 60.0


class NexusTask:
    """A call on its way: waiting in a queue, or with a worker."""

    __slots__ = ("ended", "is_held", "key", "namespace_id", "task_id", "task_queue", "transfer_id")

    def __init__(self, task_id: str, key: RunKey, transfer_id: int, namespace_id: str, task_queue: str) -> None:
        self.task_id = task_id
        self.key = key
        self.transfer_id = transfer_id
        self.namespace_id = namespace_id
        self.task_queue = task_queue
        self.is_held = False
        #: Done when the answer was taken, or none is expected any more; made for who waits for it.
        self.ended: asyncio.Future[None] | None = None


class NexusTasks:
    """Hands calls to workers."""

    def __init__(
        self,
        core: Core,
        namespaces: Namespaces,
        endpoints: NexusEndpoints,
        operations: NexusOperations,
        system: SystemEndpoint,
        external: ExternalEndpoints,
    ) -> None:
        self._core = core
        self._system = system
        self._external = external
        self._namespaces = namespaces
        self._endpoints = endpoints
        self._operations = operations
        core.is_calling_nexus = self.is_held
        operations.start_under_way = self.start_under_way
        self._tasks: dict[str, NexusTask] = {}
        #: (run id, transfer id) -> the task under way for it.
        self._under_way: dict[tuple[str, int], NexusTask] = {}

    def is_held(self) -> bool:
        """Whether a worker, or a handler outside, has a task that somebody waits for."""
        return self._external.is_calling() or any(
            task.is_held and self._is_wanted(task) for task in self._tasks.values()
        )

    def _is_wanted(self, task: NexusTask) -> bool:
        run = self._core.cached(task.key.run_id)
        return run is not None and run.is_open and by_transfer(run.state, task.transfer_id) is not None

    # ---- calls

    async def call(self, run: Run, transfer_id: int) -> None:
        """Make the call that a transfer owes, unless it is under way or backs off."""
        core = self._core
        current = await core.load(run.key)
        if current is None:
            return
        run = current
        found = by_transfer(run.state, transfer_id)
        if found is None or not run.is_open:
            core.finish_transfer(run, transfer_id)
            return
        _, operation, cancel = found
        call = operation["call"] if cancel is None else cancel
        before = self._under_way.get((run.key.run_id, transfer_id))
        if call["next_ns"] > core.now() or (before is not None and (before.is_held and call["due_ns"])):
            return
        if before is not None:
            if not before.is_held:
                return
            self._drop(before)
        call["due_ns"] = 0  # whoever had it, of an earlier process or too slow, has it no more
        if operation["endpoint"] == ENDPOINT:
            await self._system.carry_out(run, transfer_id, self.link(run, found[0]))
            return
        endpoint = self._endpoints.find(operation["endpoint_id"], operation["endpoint"])
        target = None if endpoint is None or endpoint.spec is None else endpoint.spec.target
        if target is None:
            failure = nexus_failures.handler_failure("NOT_FOUND", "endpoint not registered")
            self._operations.call_failed(run, transfer_id, failure)
            return
        if target.worker is None:
            await self._call_out(run, transfer_id, found, "" if target.external is None else target.external.url)
            return
        try:
            namespace_id = self._namespaces.get(target.worker.namespace).namespace_id
        except RPCError as error:
            self._operations.call_failed(run, transfer_id, nexus_failures.handler_failure("NOT_FOUND", error.message))
            return
        task = NexusTask(str(core.next_task_id()), run.key, transfer_id, namespace_id, target.worker.task_queue)
        self._tasks[task.task_id] = task
        self._under_way[run.key.run_id, transfer_id] = task
        queue = core.matching.queue(namespace_id, TaskKind.NEXUS, task.task_queue)
        queue.add(Task(run.key, transfer_id, query=task.task_id))

    async def _call_out(
        self, run: Run, transfer_id: int, found: tuple[int, Operation, Cancellation | None], url: str
    ) -> None:
        scheduled_id, operation, cancel = found
        scheduled = await self._core.event(run, scheduled_id)
        timeout = _time_left(operation, self._core.now(), is_start=cancel is None)
        request = self._request(run, scheduled, scheduled_id, operation, cancel is not None, timeout)
        await self._external.call(run, transfer_id, url, request, timeout)

    def _drop(self, task: NexusTask) -> None:
        self._tasks.pop(task.task_id, None)
        name = (task.key.run_id, task.transfer_id)
        if self._under_way.get(name) is task:
            del self._under_way[name]
        if task.ended is not None and not task.ended.done():
            task.ended.set_result(None)

    def give_up(self, task_id: str) -> NexusTask | None:
        """Forget a task that waits, for another node to make the call; None when it does not wait."""
        task = self._tasks.get(task_id)
        if task is None or task.is_held:
            return None
        self._drop(task)
        queue = self._core.matching.queue(task.namespace_id, TaskKind.NEXUS, task.task_queue)
        for waiting in [waiting for waiting in queue.tasks if waiting.query == task_id]:
            queue.tasks.remove(waiting)
        return task

    def start_under_way(self, run: Run, scheduled_id: int) -> asyncio.Future[None] | None:
        """What to wait for while a worker is about to answer a start request."""
        task = self._under_way.get((run.key.run_id, scheduled_id))
        if task is None or not task.is_held:
            return None
        if task.ended is None:
            task.ended = self._core.loop.create_future()
        return task.ended

    # ---- polls

    async def poll(self, request: ws.PollNexusTaskQueueRequest, timeout: float) -> ws.PollNexusTaskQueueResponse:
        """Temporal's PollNexusTaskQueue."""
        core = self._core
        name = limits.check_task_queue(request.task_queue)
        namespace_id = self._namespaces.get(request.namespace).namespace_id
        queue = core.matching.queue(namespace_id, TaskKind.NEXUS, name)
        deadline = core.loop.time() + timeout
        while True:
            waiting = await core.matching.poll(queue, request.identity, deadline - core.loop.time())
            if waiting is None:
                return ws.PollNexusTaskQueueResponse()
            assert isinstance(waiting, Task)
            try:
                response = await self._take(waiting.query)
            except BaseException:
                if waiting.query in self._tasks:
                    self._tasks[waiting.query].is_held = False
                    queue.put_back(waiting)
                raise
            if response is not None:
                return response

    async def _take(self, task_id: str) -> ws.PollNexusTaskQueueResponse | None:
        """Hand a waiting task out; None when it is void."""
        core = self._core
        task = self._tasks.get(task_id)
        if task is None:
            return None
        run = await core.load(task.key)
        found = None if run is None else by_transfer(run.state, task.transfer_id)
        if run is None or found is None or not run.is_open:
            self._drop(task)
            return None
        scheduled = await core.event(run, found[0])
        found = by_transfer(run.state, task.transfer_id)
        if found is None or not run.is_open or run.is_gone:
            self._drop(task)
            return None
        scheduled_id, operation, cancel = found
        now = core.now()
        timeout = _time_left(operation, now, is_start=cancel is None)
        call = operation["call"] if cancel is None else cancel
        call["due_ns"] = now + timeout
        core.timers.arm(run.key, in_ms(call["due_ns"]))
        task.is_held = True
        core.loop.call_later(_FORGET_AFTER, self._drop, task)  # where the run closed, nobody else forgets it
        request = self._request(run, scheduled, scheduled_id, operation, cancel is not None, timeout)
        proof = NexusTaskToken(task.namespace_id, task.task_queue, task.task_id)
        return ws.PollNexusTaskQueueResponse(encode_nexus_task(proof), request)

    def _request(
        self, run: Run, scheduled: HistoryEvent, scheduled_id: int, operation: Operation, is_cancel: bool, timeout: int
    ) -> nexus_v1.Request:
        """What a handler is asked, whose time to answer is ``timeout`` nanoseconds."""
        now = self._core.now()
        attributes = scheduled.attributes
        header = dict(attributes.nexus_header)
        header["request-timeout"] = f"{timeout // limits.NS_PER_MS}ms"
        whole = _operation_time(operation, now)
        if not is_cancel and whole and "operation-timeout" not in header:
            header["operation-timeout"] = f"{whole // limits.NS_PER_MS}ms"
        request = nexus_v1.Request(
            header,
            now,
            endpoint=operation["endpoint"],
            capabilities=nexus_v1.RequestCapabilities(temporal_failure_responses=True),
        )
        if not is_cancel:
            token = NexusCompletionToken(*run.key, scheduled_id, operation["request_id"])
            request.start_operation = nexus_v1.StartOperationRequest(
                operation["service"],
                operation["operation"],
                operation["request_id"],
                SYSTEM_CALLBACK,
                attributes.input,
                {CALLBACK_TOKEN: encode_nexus_completion(token)},
                nexus_links.all_to_nexus([self.link(run, scheduled_id)]),
            )
        else:
            request.cancel_operation = nexus_v1.CancelOperationRequest(
                operation["service"], operation["operation"], operation["token"], operation["token"]
            )
        return request

    def link(self, run: Run, scheduled_id: int) -> common_v1.Link:
        """What of the caller the handler's side is to point at."""
        namespace = self._namespaces.by_id(run.key.namespace_id).name
        if run.state.extra is not None and "operation" in run.state.extra:
            operation = common_v1.LinkNexusOperation(namespace, run.key.workflow_id, run.key.run_id)
            return common_v1.Link(nexus_operation=operation)
        return common_v1.Link(
            workflow_event=common_v1.LinkWorkflowEvent(
                namespace,
                run.key.workflow_id,
                run.key.run_id,
                common_v1.LinkWorkflowEventEventReference(scheduled_id, _SCHEDULED),
            )
        )

    # ---- answers

    async def _held(self, task_token: bytes) -> tuple[NexusTask, Run | None]:
        """The task that the token proves, which is over with this answer, and its run."""
        token = decode_nexus_task(task_token)
        task = self._tasks.get(token.task_id)
        if task is None or not task.is_held or task.namespace_id != token.namespace_id:
            raise not_found(_LOST)
        del self._tasks[token.task_id]
        run = await self._core.load(task.key)
        found = None if run is None else by_transfer(run.state, task.transfer_id)
        if run is None or found is None or not run.is_open:
            self._drop(task)
            return task, None  # it closed meanwhile: nobody wants the answer any more
        call = found[1]["call"] if found[2] is None else found[2]
        self._drop(task)
        if not call["due_ns"]:
            raise not_found(_LOST)
        call["due_ns"] = 0
        return task, run

    async def completed(self, request: ws.RespondNexusTaskCompletedRequest) -> ws.RespondNexusTaskCompletedResponse:
        """Temporal's RespondNexusTaskCompleted. What the caller's history says of it is durable before the answer."""
        task, run = await self._held(request.task_token)
        if run is None:
            return ws.RespondNexusTaskCompletedResponse()
        found = by_transfer(run.state, task.transfer_id)
        assert found is not None
        scheduled_id, operation, cancel = found
        response = request.response or nexus_v1.Response()
        if cancel is not None:
            self._operations.cancel_succeeded(run, scheduled_id, cancel)
        else:
            start = response.start_operation or nexus_v1.StartOperationResponse()
            self._operations.answered(run, scheduled_id, operation, start)
        await self._core.durable(run)
        return ws.RespondNexusTaskCompletedResponse()

    async def failed(self, request: ws.RespondNexusTaskFailedRequest) -> ws.RespondNexusTaskFailedResponse:
        """Temporal's RespondNexusTaskFailed."""
        failure = request.failure
        if failure is None:
            if request.error is None:
                raise RPCError("neither Failure nor Error is set on the request.", RPCStatusCode.INVALID_ARGUMENT)
            failure = nexus_failures.from_handler_error(request.error)
        task, run = await self._held(request.task_token)
        if run is not None:
            self._operations.call_failed(run, task.transfer_id, failure)
            await self._core.durable(run)
        return ws.RespondNexusTaskFailedResponse()


def _time_left(operation: Operation, now: int, *, is_start: bool) -> int:
    """How long a handler has to answer."""
    timeout = REQUEST_TIMEOUT
    since_schedule = now - operation["scheduled_ns"]
    if is_start and operation["schedule_to_start_ns"]:
        timeout = min(timeout, operation["schedule_to_start_ns"] - since_schedule)
    elif not is_start and operation["start_to_close_ns"]:
        timeout = min(timeout, operation["start_to_close_ns"] - (now - operation["started_ns"]))
    if operation["schedule_to_close_ns"]:
        timeout = min(timeout, operation["schedule_to_close_ns"] - since_schedule)
    return max(timeout, limits.NS_PER_MS)


def _operation_time(operation: Operation, now: int) -> int:
    """How long the whole operation may take from now on, 0: as long as it likes."""
    whole = operation["start_to_close_ns"]
    if operation["schedule_to_close_ns"]:
        left = max(operation["schedule_to_close_ns"] - (now - operation["scheduled_ns"]), limits.NS_PER_MS)
        whole = min(whole, left) if whole else left
    return whole
