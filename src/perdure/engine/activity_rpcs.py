"""The service's RPCs about pausing and about activities as things of their own; part of the engine's facade."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta

from perdure.api.workflowservice import v1 as ws
from perdure.engine.activity_operations import ActivityOperations
from perdure.engine.closing import Closing
from perdure.engine.core import Core
from perdure.engine.namespaces import Namespaces
from perdure.engine.pausing import Pausing
from perdure.engine.standalone_activities import StandaloneActivities

Metadata = Mapping[str, str | bytes] | None


def _seconds(timeout: timedelta | None) -> float | None:
    return None if timeout is None else timeout.total_seconds()


class ActivityRpcs:
    """Every method checks that the engine is open and asks its component."""

    def _check(self) -> None:
        raise NotImplementedError  # the engine has it

    def _add_activity_rpcs(self, core: Core, namespaces: Namespaces, closing: Closing) -> None:
        self._activity_operations = ActivityOperations(core, namespaces)
        self._pausing = Pausing(core, namespaces)
        self._standalone = StandaloneActivities(core, namespaces, closing, self._activity_operations)

    async def pause_activity(
        self, request: ws.PauseActivityRequest, *, metadata: Metadata = None, timeout: timedelta | None = None
    ) -> ws.PauseActivityResponse:
        """Temporal's PauseActivity."""
        self._check()
        return await self._activity_operations.pause(request)

    async def unpause_activity(
        self, request: ws.UnpauseActivityRequest, *, metadata: Metadata = None, timeout: timedelta | None = None
    ) -> ws.UnpauseActivityResponse:
        """Temporal's UnpauseActivity."""
        self._check()
        return await self._activity_operations.unpause(request)

    async def reset_activity(
        self, request: ws.ResetActivityRequest, *, metadata: Metadata = None, timeout: timedelta | None = None
    ) -> ws.ResetActivityResponse:
        """Temporal's ResetActivity."""
        self._check()
        return await self._activity_operations.reset(request)

    async def update_activity_options(
        self, request: ws.UpdateActivityOptionsRequest, *, metadata: Metadata = None, timeout: timedelta | None = None
    ) -> ws.UpdateActivityOptionsResponse:
        """Temporal's UpdateActivityOptions."""
        self._check()
        return await self._activity_operations.update_options(request)

    async def pause_workflow_execution(
        self, request: ws.PauseWorkflowExecutionRequest, *, metadata: Metadata = None, timeout: timedelta | None = None
    ) -> ws.PauseWorkflowExecutionResponse:
        """Temporal's PauseWorkflowExecution."""
        self._check()
        return await self._pausing.pause(request)

    async def unpause_workflow_execution(
        self,
        request: ws.UnpauseWorkflowExecutionRequest,
        *,
        metadata: Metadata = None,
        timeout: timedelta | None = None,
    ) -> ws.UnpauseWorkflowExecutionResponse:
        """Temporal's UnpauseWorkflowExecution."""
        self._check()
        return await self._pausing.unpause(request)

    async def start_activity_execution(
        self, request: ws.StartActivityExecutionRequest, *, metadata: Metadata = None, timeout: timedelta | None = None
    ) -> ws.StartActivityExecutionResponse:
        """Temporal's StartActivityExecution."""
        self._check()
        return await self._standalone.start(request)

    async def describe_activity_execution(
        self,
        request: ws.DescribeActivityExecutionRequest,
        *,
        metadata: Metadata = None,
        timeout: timedelta | None = None,
    ) -> ws.DescribeActivityExecutionResponse:
        """Temporal's DescribeActivityExecution."""
        self._check()
        return await self._standalone.describe(request, _seconds(timeout))

    async def poll_activity_execution(
        self, request: ws.PollActivityExecutionRequest, *, metadata: Metadata = None, timeout: timedelta | None = None
    ) -> ws.PollActivityExecutionResponse:
        """Temporal's PollActivityExecution."""
        self._check()
        return await self._standalone.poll(request, _seconds(timeout))

    async def list_activity_executions(
        self, request: ws.ListActivityExecutionsRequest, *, metadata: Metadata = None, timeout: timedelta | None = None
    ) -> ws.ListActivityExecutionsResponse:
        """Temporal's ListActivityExecutions."""
        self._check()
        return await self._standalone.list_activities(request)

    async def count_activity_executions(
        self, request: ws.CountActivityExecutionsRequest, *, metadata: Metadata = None, timeout: timedelta | None = None
    ) -> ws.CountActivityExecutionsResponse:
        """Temporal's CountActivityExecutions."""
        self._check()
        return await self._standalone.count(request)

    async def request_cancel_activity_execution(
        self,
        request: ws.RequestCancelActivityExecutionRequest,
        *,
        metadata: Metadata = None,
        timeout: timedelta | None = None,
    ) -> ws.RequestCancelActivityExecutionResponse:
        """Temporal's RequestCancelActivityExecution."""
        self._check()
        return await self._standalone.request_cancel(request)

    async def terminate_activity_execution(
        self,
        request: ws.TerminateActivityExecutionRequest,
        *,
        metadata: Metadata = None,
        timeout: timedelta | None = None,
    ) -> ws.TerminateActivityExecutionResponse:
        """Temporal's TerminateActivityExecution."""
        self._check()
        return await self._standalone.terminate(request)

    async def delete_activity_execution(
        self, request: ws.DeleteActivityExecutionRequest, *, metadata: Metadata = None, timeout: timedelta | None = None
    ) -> ws.DeleteActivityExecutionResponse:
        """Temporal's DeleteActivityExecution."""
        self._check()
        return await self._standalone.delete(request)

    async def pause_activity_execution(
        self, request: ws.PauseActivityExecutionRequest, *, metadata: Metadata = None, timeout: timedelta | None = None
    ) -> ws.PauseActivityExecutionResponse:
        """Temporal's PauseActivityExecution."""
        self._check()
        return await self._standalone.pause(request)

    async def unpause_activity_execution(
        self,
        request: ws.UnpauseActivityExecutionRequest,
        *,
        metadata: Metadata = None,
        timeout: timedelta | None = None,
    ) -> ws.UnpauseActivityExecutionResponse:
        """Temporal's UnpauseActivityExecution."""
        self._check()
        return await self._standalone.unpause(request)

    async def reset_activity_execution(
        self, request: ws.ResetActivityExecutionRequest, *, metadata: Metadata = None, timeout: timedelta | None = None
    ) -> ws.ResetActivityExecutionResponse:
        """Temporal's ResetActivityExecution."""
        self._check()
        return await self._standalone.reset(request)

    async def update_activity_execution_options(
        self,
        request: ws.UpdateActivityExecutionOptionsRequest,
        *,
        metadata: Metadata = None,
        timeout: timedelta | None = None,
    ) -> ws.UpdateActivityExecutionOptionsResponse:
        """Temporal's UpdateActivityExecutionOptions."""
        self._check()
        return await self._standalone.update_options(request)
