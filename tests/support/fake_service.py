"""A WorkflowService in memory for activity tasks: what is scheduled is handed out, what is answered is kept."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any

from perdure.api.common.v1 import ActivityType, Payload, Payloads, WorkflowExecution, WorkflowType
from perdure.api.workflowservice import v1 as ws
from perdure.converter import DataConverter
from perdure.service import RPCError, RPCStatusCode

NOW_NS = 1_700_000_000_000_000_000


class FakeActivity:
    """One scheduled attempt and its answer."""

    def __init__(self, task: ws.PollActivityTaskQueueResponse) -> None:
        self.task = task
        self.answered: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self.heartbeats: list[Payloads | None] = []
        self.heartbeat_came = asyncio.Event()
        #: What the next heartbeats are answered with, or raise.
        self.heartbeat_answer: ws.RecordActivityTaskHeartbeatResponse | RPCError = (
            ws.RecordActivityTaskHeartbeatResponse()
        )

    async def result(self) -> Any:
        """The value of a completed activity."""
        answer = await self.answered
        assert isinstance(answer, ws.RespondActivityTaskCompletedRequest), answer
        assert answer.result is not None
        [value] = await DataConverter.default.decode(answer.result.payloads)
        return value

    async def failure(self) -> ws.RespondActivityTaskFailedRequest:
        """The answer of a failed activity."""
        answer = await self.answered
        assert isinstance(answer, ws.RespondActivityTaskFailedRequest), answer
        return answer


class FakeService:
    """Hands out activities first in, first out."""

    def __init__(self, *, in_process: bool = True) -> None:
        self.in_process = in_process
        self.activities: dict[bytes, FakeActivity] = {}
        self.detached: list[bytes] = []
        self.polls = 0
        self.most_waiting = 0
        self.shut_down_workers: list[ws.ShutdownWorkerRequest] = []
        self.poll_error: Exception | None = None
        self.answer_errors: deque[RPCError] = deque()
        self._tasks: deque[ws.PollActivityTaskQueueResponse] = deque()
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._closed = False

    def schedule(
        self,
        activity: str | Callable[..., Any],
        *args: Any,
        payloads: list[Payload] | None = None,
        **fields: Any,
    ) -> FakeActivity:
        """Schedule an attempt; ``fields`` override those of the poll response."""
        from perdure.activity._definition import Definition

        name, _ = Definition.get_name_and_result_type(activity)
        token = f"token-{len(self.activities)}".encode()
        if payloads is None:
            payloads = DataConverter.default.payload_converter.to_payloads(args)
        task = ws.PollActivityTaskQueueResponse(
            task_token=token,
            workflow_namespace="default",
            workflow_type=WorkflowType("Flow"),
            workflow_execution=WorkflowExecution("flow-id", "run-id"),
            activity_type=ActivityType(name),
            activity_id=str(len(self.activities)),
            input=Payloads(payloads) if payloads else None,
            scheduled_time=NOW_NS,
            current_attempt_scheduled_time=NOW_NS,
            started_time=NOW_NS,
            attempt=1,
            start_to_close_timeout=60_000_000_000,
        )
        for field, value in fields.items():
            setattr(task, field, value)
        activity_run = self.activities[token] = FakeActivity(task)
        self._tasks.append(task)
        self._wake()
        return activity_run

    def _wake(self) -> None:
        for waiter in self._waiting:
            if not waiter.done():
                waiter.set_result(None)
                return

    async def poll_activity_task_queue(
        self, request: ws.PollActivityTaskQueueRequest, **_: Any
    ) -> ws.PollActivityTaskQueueResponse:
        self.polls += 1
        while not self._tasks:
            if self.poll_error is not None:
                raise self.poll_error
            if self._closed:
                raise RPCError("The service is closed.", RPCStatusCode.UNAVAILABLE)
            waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.append(waiter)
            self.most_waiting = max(self.most_waiting, len(self._waiting))
            try:
                await waiter
            finally:
                self._waiting.remove(waiter)
                if self._tasks:
                    self._wake()
        return self._tasks.popleft()

    async def record_activity_task_heartbeat(
        self, request: ws.RecordActivityTaskHeartbeatRequest, **_: Any
    ) -> ws.RecordActivityTaskHeartbeatResponse:
        activity = self.activities[request.task_token]
        activity.heartbeats.append(request.details)
        activity.heartbeat_came.set()
        if isinstance(activity.heartbeat_answer, RPCError):
            raise activity.heartbeat_answer
        return activity.heartbeat_answer

    async def respond_activity_task_completed(
        self, request: ws.RespondActivityTaskCompletedRequest, **_: Any
    ) -> ws.RespondActivityTaskCompletedResponse:
        self._answer(request)
        return ws.RespondActivityTaskCompletedResponse()

    async def respond_activity_task_failed(
        self, request: ws.RespondActivityTaskFailedRequest, **_: Any
    ) -> ws.RespondActivityTaskFailedResponse:
        self._answer(request)
        return ws.RespondActivityTaskFailedResponse()

    async def respond_activity_task_canceled(
        self, request: ws.RespondActivityTaskCanceledRequest, **_: Any
    ) -> ws.RespondActivityTaskCanceledResponse:
        self._answer(request)
        return ws.RespondActivityTaskCanceledResponse()

    def _answer(self, request: Any) -> None:
        if self.answer_errors:
            raise self.answer_errors.popleft()
        self.activities[request.task_token].answered.set_result(request)

    async def detach_activity_task(self, task_token: bytes) -> None:
        self.detached.append(task_token)
        self.activities[task_token].answered.set_result("detached")

    async def describe_namespace(self, request: ws.DescribeNamespaceRequest, **_: Any) -> ws.DescribeNamespaceResponse:
        if request.namespace != "default":
            raise RPCError(f"Namespace {request.namespace} is not found.", RPCStatusCode.NOT_FOUND)
        return ws.DescribeNamespaceResponse()

    async def shutdown_worker(self, request: ws.ShutdownWorkerRequest, **_: Any) -> ws.ShutdownWorkerResponse:
        self.shut_down_workers.append(request)
        return ws.ShutdownWorkerResponse()

    async def start_workflow_execution(self, request: Any, **_: Any) -> Any:
        raise NotImplementedError

    async def close(self) -> None:
        self._closed = True
        for waiter in self._waiting:
            if not waiter.done():
                waiter.set_result(None)
