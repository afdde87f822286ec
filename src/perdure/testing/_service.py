"""The service of a time-skipping environment: an engine, and who waits for it or works for it."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any, cast

from perdure.api.enums.v1 import HistoryEventFilterType
from perdure.api.workflowservice import v1 as ws
from perdure.service import WorkflowService
from perdure.testing._clock import SkippingClock
from perdure.testing._test_service import TestServiceRpcs
from perdure.testing._time_skipping import TimeSkipping

if TYPE_CHECKING:
    from perdure.engine import Engine

_CLOSE_EVENT = int(HistoryEventFilterType.HISTORY_EVENT_FILTER_TYPE_CLOSE_EVENT)
Metadata = Mapping[str, str | bytes] | None


class TimeSkippingService(TestServiceRpcs):
    """Passes every call on to the engine, and tells :class:`TimeSkipping` what matters to it."""

    def __init__(self, engine: Engine, clock: SkippingClock) -> None:
        self.in_process = True
        self._engine = engine
        self.skipping = TimeSkipping(engine, clock)

    @classmethod
    async def open(cls, retention: timedelta) -> TimeSkippingService:
        """A service over an engine of its own, in memory."""
        from perdure.engine import Engine
        from perdure.store.memory import MemoryStore

        clock = SkippingClock()
        return cls(await Engine.open(await MemoryStore.open(), clock=clock, retention=retention), clock)

    @property
    def remote(self) -> TimeSkippingService:
        """This service for workers and clients of other processes, with the same clock."""
        remote = TimeSkippingService.__new__(TimeSkippingService)
        remote.in_process = False
        remote._engine = cast("Engine", self._engine.remote)
        remote.skipping = self.skipping
        return remote

    def __getattr__(self, name: str) -> Any:
        """Another method of the engine's, such that its calls are noticed."""
        method = getattr(self._engine, name)
        if not inspect.iscoroutinefunction(method) and not hasattr(WorkflowService, name):
            return method
        skipping = self.skipping

        async def call(*args: Any, **options: Any) -> Any:
            skipping.change()
            try:
                return await method(*args, **options)
            finally:
                skipping.change()

        setattr(self, name, call)
        return call

    async def close(self) -> None:
        """Stop skipping time and close the engine."""
        self.skipping.close()
        await self._engine.close()

    async def get_workflow_execution_history(
        self,
        request: ws.GetWorkflowExecutionHistoryRequest,
        *,
        metadata: Metadata = None,
        timeout: timedelta | None = None,
    ) -> ws.GetWorkflowExecutionHistoryResponse:
        """Time skips while the caller waits for a workflow's end."""
        engine = self._engine
        if not request.wait_new_event or request.history_event_filter_type != _CLOSE_EVENT:
            return await engine.get_workflow_execution_history(request, metadata=metadata, timeout=timeout)
        with self.skipping.unlocked():
            return await engine.get_workflow_execution_history(request, metadata=metadata, timeout=timeout)

    async def start_workflow_execution(
        self, request: ws.StartWorkflowExecutionRequest, *, metadata: Metadata = None, timeout: timedelta | None = None
    ) -> ws.StartWorkflowExecutionResponse:
        """The first workflow task may come with the response."""
        self.skipping.change()
        response = await self._engine.start_workflow_execution(request, metadata=metadata, timeout=timeout)
        self._take(response.eager_workflow_task)
        self.skipping.change()
        return response

    async def poll_workflow_task_queue(
        self, request: ws.PollWorkflowTaskQueueRequest, *, metadata: Metadata = None, timeout: timedelta | None = None
    ) -> ws.PollWorkflowTaskQueueResponse:
        """The task holds time until it is answered."""
        skipping = self.skipping
        skipping.change()
        response = await self._engine.poll_workflow_task_queue(request, metadata=metadata, timeout=timeout)
        self._take(response)
        skipping.change()
        return response

    async def respond_workflow_task_completed(
        self,
        request: ws.RespondWorkflowTaskCompletedRequest,
        *,
        metadata: Metadata = None,
        timeout: timedelta | None = None,
    ) -> ws.RespondWorkflowTaskCompletedResponse:
        """Tasks may come with the response."""
        skipping = self.skipping
        skipping.change()
        response = await self._engine.respond_workflow_task_completed(request, metadata=metadata, timeout=timeout)
        self._take(response.workflow_task)
        for task in response.activity_tasks:
            self._take(task)
        skipping.change()
        return response

    async def poll_activity_task_queue(
        self, request: ws.PollActivityTaskQueueRequest, *, metadata: Metadata = None, timeout: timedelta | None = None
    ) -> ws.PollActivityTaskQueueResponse:
        """The task holds time until it is answered."""
        skipping = self.skipping
        skipping.change()
        response = await self._engine.poll_activity_task_queue(request, metadata=metadata, timeout=timeout)
        self._take(response)
        skipping.change()
        return response

    def _take(self, task: ws.PollWorkflowTaskQueueResponse | ws.PollActivityTaskQueueResponse | None) -> None:
        if task is not None and task.task_token:
            self.skipping.task_tokens.add(task.task_token)
