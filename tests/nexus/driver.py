"""Drives an engine's Nexus by hand."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from typing import Any

from perdure.api.command import v1 as command_v1
from perdure.api.common import v1 as common_v1
from perdure.api.failure import v1 as failure_v1
from perdure.api.nexus import v1 as nexus_v1
from perdure.api.operatorservice import v1 as operatorservice_v1
from perdure.api.workflow import v1 as workflow_v1
from perdure.api.workflowservice import v1 as ws
from perdure.engine import Engine
from perdure.engine.cluster_engine import ClusterEngine
from perdure.store.api import Capability, Store
from tests.engine.driver import Clock, Driver, command, queue

URL = "temporal://system"
TOKEN = "temporal-callback-token"


def payload(value: bytes) -> common_v1.Payload:
    """A JSON payload of ready-made JSON."""
    return common_v1.Payload({"encoding": b"json/plain"}, value)


def call(operation: str = "op", endpoint: str = "ep", **options: Any) -> command_v1.Command:
    """ScheduleNexusOperation of service ``s``."""
    attributes = command_v1.ScheduleNexusOperationCommandAttributes(endpoint, "s", operation, payload(b"1"), **options)
    return command("SCHEDULE_NEXUS_OPERATION", attributes)


def cancel_call(scheduled_event_id: int) -> command_v1.Command:
    """RequestCancelNexusOperation."""
    attributes = command_v1.RequestCancelNexusOperationCommandAttributes(scheduled_event_id)
    return command("REQUEST_CANCEL_NEXUS_OPERATION", attributes)


def handler_error(kind: str = "INTERNAL", message: str = "no", retry_behavior: int = 0) -> failure_v1.Failure:
    """What a worker says of a handler that raised."""
    info = failure_v1.NexusHandlerFailureInfo(kind, retry_behavior)
    return failure_v1.Failure(message=message, nexus_handler_failure_info=info)


def spec(name: str = "ep", task_queue: str = "nq", namespace: str = "default") -> nexus_v1.EndpointSpec:
    """An endpoint that leads to a queue of workers."""
    worker = nexus_v1.EndpointTargetWorker(namespace, task_queue)
    return nexus_v1.EndpointSpec(name, target=nexus_v1.EndpointTarget(worker))


class NexusDriver(Driver):
    """One engine, and what tests of Nexus ask of it."""

    async def create_endpoint(self, *args: Any, **options: Any) -> nexus_v1.Endpoint:
        """Create an endpoint; see :func:`spec`."""
        request = operatorservice_v1.CreateNexusEndpointRequest(spec(*args, **options))
        endpoint = (await self.engine.create_nexus_endpoint(request)).endpoint
        assert endpoint is not None
        return endpoint

    async def pending(self, workflow_id: str = "w") -> list[workflow_v1.PendingNexusOperationInfo]:
        """The pending operations of a run."""
        return (await self.describe(workflow_id)).pending_nexus_operations

    async def callbacks(self, workflow_id: str = "w") -> list[workflow_v1.CallbackInfo]:
        """The completion callbacks of a run."""
        return (await self.describe(workflow_id)).callbacks

    async def last(self, workflow_id: str = "w") -> Any:
        """The attributes of the newest event that is not about a workflow task."""
        history = await self.history(workflow_id)
        return next(event.attributes for event in reversed(history) if event.event_type not in (5, 6, 7, 8))

    # ---- handlers

    async def poll_nexus(self, task_queue: str = "nq") -> ws.PollNexusTaskQueueResponse:
        """The next Nexus task."""
        request = ws.PollNexusTaskQueueRequest("default", "handler", queue(task_queue))
        return await asyncio.wait_for(self.engine.poll_nexus_task_queue(request), 5)

    async def has_nexus_task(self, task_queue: str = "nq") -> bool:
        """Whether a Nexus task waits in a queue."""
        await self.settle()
        response = await self.engine.describe_task_queue(
            ws.DescribeTaskQueueRequest("default", queue(task_queue), 3, include_task_queue_status=True)
        )
        assert response.task_queue_status is not None
        return bool(response.task_queue_status.backlog_count_hint)

    async def answer_start(
        self, task: ws.PollNexusTaskQueueResponse, result: bytes = b"2", links: Sequence[nexus_v1.Link] = ()
    ) -> None:
        """The operation is done."""
        sync = nexus_v1.StartOperationResponseSync(payload(result), list(links))
        await self._answer(task, nexus_v1.Response(nexus_v1.StartOperationResponse(sync)))

    async def answer_later(
        self, task: ws.PollNexusTaskQueueResponse, token: str = "t", links: Sequence[nexus_v1.Link] = ()
    ) -> None:
        """The operation goes on."""
        later = nexus_v1.StartOperationResponseAsync(links=list(links), operation_token=token)
        await self._answer(task, nexus_v1.Response(nexus_v1.StartOperationResponse(async_success=later)))

    async def answer_failed(self, task: ws.PollNexusTaskQueueResponse, failure: failure_v1.Failure) -> None:
        """The operation failed, or was cancelled."""
        await self._answer(task, nexus_v1.Response(nexus_v1.StartOperationResponse(failure=failure)))

    async def answer_cancel(self, task: ws.PollNexusTaskQueueResponse) -> None:
        """The request to cancel was taken."""
        await self._answer(task, nexus_v1.Response(cancel_operation=nexus_v1.CancelOperationResponse()))

    async def _answer(self, task: ws.PollNexusTaskQueueResponse, response: nexus_v1.Response) -> None:
        await self.engine.respond_nexus_task_completed(
            ws.RespondNexusTaskCompletedRequest("default", "handler", task.task_token, response)
        )

    async def fail_nexus(self, task: ws.PollNexusTaskQueueResponse, failure: failure_v1.Failure) -> None:
        """The handler raised."""
        await self.engine.respond_nexus_task_failed(
            ws.RespondNexusTaskFailedRequest("default", "handler", task.task_token, failure=failure)
        )

    async def run_behind(
        self, task: ws.PollNexusTaskQueueResponse, workflow_id: str = "h", **options: Any
    ) -> ws.StartWorkflowExecutionResponse:
        """Start the workflow that the operation of a start task goes on as."""
        assert task.request is not None
        start = task.request.start_operation
        assert start is not None
        nexus = common_v1.CallbackNexus(start.callback, {**start.callback_header, "nexus-operation-token": "t"})
        return await self.start_full(
            workflow_id,
            task_queue=queue("hq"),
            request_id=start.request_id,
            completion_callbacks=[common_v1.Callback(nexus=nexus)],
            **options,
        )


@contextlib.asynccontextmanager
async def driving(store: Store, clock: Clock | None = None, **options: Any) -> AsyncIterator[NexusDriver]:
    """An engine over a store, closed at the end."""
    clock = clock or Clock()
    kind = ClusterEngine if Capability.SHARED in store.capabilities else Engine
    engine = await kind.open(store, clock=clock, **options)
    try:
        yield NexusDriver(engine, clock)
    finally:
        await engine.close()
