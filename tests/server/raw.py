"""Plain gRPC calls, without any SDK's retries."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc.aio

from perdure.api.common import v1 as common_v1
from perdure.api.taskqueue import v1 as taskqueue_v1
from perdure.api.workflowservice import v1 as ws
from perdure.wire.codec import decode, encode
from perdure.wire.methods import SERVICES, WORKFLOW_SERVICE, Method

METHODS: dict[str, Method] = {method.attribute: method for method in SERVICES[WORKFLOW_SERVICE]}


class Raw:
    """Calls by the seam's names."""

    def __init__(self, channel: Any, metadata: tuple[tuple[str, str], ...] = ()) -> None:
        self.channel = channel
        self.metadata = metadata

    def call(self, rpc: str, request: Any, timeout: float = 20.0) -> Any:
        """A call under way: await it, or cancel it."""
        method = METHODS[rpc]
        multicallable = self.channel.unary_unary(
            method.path, request_serializer=encode, response_deserializer=lambda data: decode(method.response, data)
        )
        return multicallable(request, timeout=timeout, metadata=self.metadata)

    def send(self, path: str, data: bytes) -> Any:
        """A call of any path with any bytes."""
        return self.channel.unary_unary(path)(data, timeout=20.0, metadata=self.metadata)

    async def start(self, workflow_id: str = "w") -> str:
        """Start a workflow on queue ``q``; returns its run id."""
        response = await self.call(
            "start_workflow_execution",
            ws.StartWorkflowExecutionRequest(
                namespace="default",
                workflow_id=workflow_id,
                workflow_type=common_v1.WorkflowType("W"),
                task_queue=taskqueue_v1.TaskQueue("q", 1),
                request_id=workflow_id,
            ),
        )
        run_id: str = response.run_id
        return run_id

    def poll(self, timeout: float = 20.0, queue: str = "q", namespace: str = "default") -> Any:
        """A poll for workflow tasks, under way."""
        return self.call(
            "poll_workflow_task_queue",
            ws.PollWorkflowTaskQueueRequest(namespace, taskqueue_v1.TaskQueue(queue, 1), "worker"),
            timeout,
        )


@asynccontextmanager
async def connected(address: str, *metadata: tuple[str, str], credentials: Any = None) -> AsyncIterator[Raw]:
    """A channel of its own."""
    options = (("grpc.use_local_subchannel_pool", 1), ("grpc.enable_retries", 0), ("grpc.max_send_message_length", -1))
    if credentials is None:
        channel = grpc.aio.insecure_channel(address, options=options)
    else:
        channel = grpc.aio.secure_channel(address, credentials, options=options)
    async with channel:
        yield Raw(channel, metadata)
