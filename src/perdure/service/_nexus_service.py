"""The part of the service protocol about Nexus."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Protocol

from perdure.api.workflowservice import v1 as ws


class NexusService(Protocol):
    """RPCs of Temporal's WorkflowService; see :class:`~perdure.service.WorkflowService`."""

    async def poll_nexus_task_queue(
        self,
        request: ws.PollNexusTaskQueueRequest,
        *,
        metadata: Mapping[str, str | bytes] | None = None,
        timeout: timedelta | None = None,
    ) -> ws.PollNexusTaskQueueResponse:
        """Temporal's PollNexusTaskQueue."""
        ...

    async def respond_nexus_task_completed(
        self,
        request: ws.RespondNexusTaskCompletedRequest,
        *,
        metadata: Mapping[str, str | bytes] | None = None,
        timeout: timedelta | None = None,
    ) -> ws.RespondNexusTaskCompletedResponse:
        """Temporal's RespondNexusTaskCompleted."""
        ...

    async def respond_nexus_task_failed(
        self,
        request: ws.RespondNexusTaskFailedRequest,
        *,
        metadata: Mapping[str, str | bytes] | None = None,
        timeout: timedelta | None = None,
    ) -> ws.RespondNexusTaskFailedResponse:
        """Temporal's RespondNexusTaskFailed."""
        ...
