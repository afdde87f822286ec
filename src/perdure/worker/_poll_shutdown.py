"""The end of a worker's polls at a service with a wire.

Whoever cancels a poll may lose the task that is on its way to it; it then runs into a timeout. A service that can end
the polls of a worker by itself is asked to, and what they still bring is handled. The others' polls are cancelled.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from perdure.api.enums.v1 import TaskQueueType
from perdure.api.workflowservice.v1 import DescribeNamespaceResponse, ShutdownWorkerRequest
from perdure.service import RPCError, WorkflowService

if TYPE_CHECKING:
    from collections.abc import Sequence

    from perdure.worker._pollers import PollerGroup

logger = logging.getLogger("perdure.worker")

_WAIT_SECONDS = 5.0
_QUEUE_TYPES = [
    int(TaskQueueType.TASK_QUEUE_TYPE_WORKFLOW),
    int(TaskQueueType.TASK_QUEUE_TYPE_ACTIVITY),
    int(TaskQueueType.TASK_QUEUE_TYPE_NEXUS),
]


def ends_polls(described: DescribeNamespaceResponse) -> bool:
    """Whether the service ends the polls of a worker that says that it shuts down."""
    info = described.namespace_info
    return info is not None and info.capabilities is not None and info.capabilities.worker_poll_complete_on_shutdown


async def end_polls(service: WorkflowService, groups: Sequence[PollerGroup], *, request: ShutdownWorkerRequest) -> None:
    """Say that the worker shuts down and wait until its polls have ended; those that have not in time are cancelled."""
    for group in groups:
        group.finish()
    request.task_queue_types = _QUEUE_TYPES
    request.reason = "graceful shutdown"
    try:
        await service.shutdown_worker(request)
    except RPCError as error:
        logger.debug("The service was not told of the worker's shutdown: %s", error)
    else:
        polls = asyncio.gather(*(group.wait_for_polls() for group in groups))
        await asyncio.wait([polls], timeout=_WAIT_SECONDS)
        polls.cancel()
