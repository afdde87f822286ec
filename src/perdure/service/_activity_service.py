"""The part of the service protocol about pausing and about activities as things of their own."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Protocol

from perdure.api.workflowservice import v1 as ws


class ActivityService(Protocol):
    """RPCs of Temporal's WorkflowService; see :class:`~perdure.service.WorkflowService`."""

    async def pause_activity(
        self,
        request: ws.PauseActivityRequest,
        *,
        metadata: Mapping[str, str | bytes] | None = None,
        timeout: timedelta | None = None,
    ) -> ws.PauseActivityResponse:
        """Temporal's PauseActivity."""
        ...

    async def unpause_activity(
        self,
        request: ws.UnpauseActivityRequest,
        *,
        metadata: Mapping[str, str | bytes] | None = None,
        timeout: timedelta | None = None,
    ) -> ws.UnpauseActivityResponse:
        """Temporal's UnpauseActivity."""
        ...

    async def reset_activity(
        self,
        request: ws.ResetActivityRequest,
        *,
        metadata: Mapping[str, str | bytes] | None = None,
        timeout: timedelta | None = None,
    ) -> ws.ResetActivityResponse:
        """Temporal's ResetActivity."""
        ...

    async def update_activity_options(
        self,
        request: ws.UpdateActivityOptionsRequest,
        *,
        metadata: Mapping[str, str | bytes] | None = None,
        timeout: timedelta | None = None,
    ) -> ws.UpdateActivityOptionsResponse:
        """Temporal's UpdateActivityOptions."""
        ...

    async def pause_workflow_execution(
        self,
        request: ws.PauseWorkflowExecutionRequest,
        *,
        metadata: Mapping[str, str | bytes] | None = None,
        timeout: timedelta | None = None,
    ) -> ws.PauseWorkflowExecutionResponse:
        """Temporal's PauseWorkflowExecution."""
        ...

    async def unpause_workflow_execution(
        self,
        request: ws.UnpauseWorkflowExecutionRequest,
        *,
        metadata: Mapping[str, str | bytes] | None = None,
        timeout: timedelta | None = None,
    ) -> ws.UnpauseWorkflowExecutionResponse:
        """Temporal's UnpauseWorkflowExecution."""
        ...

    async def start_activity_execution(
        self,
        request: ws.StartActivityExecutionRequest,
        *,
        metadata: Mapping[str, str | bytes] | None = None,
        timeout: timedelta | None = None,
    ) -> ws.StartActivityExecutionResponse:
        """Temporal's StartActivityExecution."""
        ...

    async def describe_activity_execution(
        self,
        request: ws.DescribeActivityExecutionRequest,
        *,
        metadata: Mapping[str, str | bytes] | None = None,
        timeout: timedelta | None = None,
    ) -> ws.DescribeActivityExecutionResponse:
        """Temporal's DescribeActivityExecution."""
        ...

    async def poll_activity_execution(
        self,
        request: ws.PollActivityExecutionRequest,
        *,
        metadata: Mapping[str, str | bytes] | None = None,
        timeout: timedelta | None = None,
    ) -> ws.PollActivityExecutionResponse:
        """Temporal's PollActivityExecution."""
        ...

    async def list_activity_executions(
        self,
        request: ws.ListActivityExecutionsRequest,
        *,
        metadata: Mapping[str, str | bytes] | None = None,
        timeout: timedelta | None = None,
    ) -> ws.ListActivityExecutionsResponse:
        """Temporal's ListActivityExecutions."""
        ...

    async def count_activity_executions(
        self,
        request: ws.CountActivityExecutionsRequest,
        *,
        metadata: Mapping[str, str | bytes] | None = None,
        timeout: timedelta | None = None,
    ) -> ws.CountActivityExecutionsResponse:
        """Temporal's CountActivityExecutions."""
        ...

    async def request_cancel_activity_execution(
        self,
        request: ws.RequestCancelActivityExecutionRequest,
        *,
        metadata: Mapping[str, str | bytes] | None = None,
        timeout: timedelta | None = None,
    ) -> ws.RequestCancelActivityExecutionResponse:
        """Temporal's RequestCancelActivityExecution."""
        ...

    async def terminate_activity_execution(
        self,
        request: ws.TerminateActivityExecutionRequest,
        *,
        metadata: Mapping[str, str | bytes] | None = None,
        timeout: timedelta | None = None,
    ) -> ws.TerminateActivityExecutionResponse:
        """Temporal's TerminateActivityExecution."""
        ...

    async def delete_activity_execution(
        self,
        request: ws.DeleteActivityExecutionRequest,
        *,
        metadata: Mapping[str, str | bytes] | None = None,
        timeout: timedelta | None = None,
    ) -> ws.DeleteActivityExecutionResponse:
        """Temporal's DeleteActivityExecution."""
        ...

    async def pause_activity_execution(
        self,
        request: ws.PauseActivityExecutionRequest,
        *,
        metadata: Mapping[str, str | bytes] | None = None,
        timeout: timedelta | None = None,
    ) -> ws.PauseActivityExecutionResponse:
        """Temporal's PauseActivityExecution."""
        ...

    async def unpause_activity_execution(
        self,
        request: ws.UnpauseActivityExecutionRequest,
        *,
        metadata: Mapping[str, str | bytes] | None = None,
        timeout: timedelta | None = None,
    ) -> ws.UnpauseActivityExecutionResponse:
        """Temporal's UnpauseActivityExecution."""
        ...

    async def reset_activity_execution(
        self,
        request: ws.ResetActivityExecutionRequest,
        *,
        metadata: Mapping[str, str | bytes] | None = None,
        timeout: timedelta | None = None,
    ) -> ws.ResetActivityExecutionResponse:
        """Temporal's ResetActivityExecution."""
        ...

    async def update_activity_execution_options(
        self,
        request: ws.UpdateActivityExecutionOptionsRequest,
        *,
        metadata: Mapping[str, str | bytes] | None = None,
        timeout: timedelta | None = None,
    ) -> ws.UpdateActivityExecutionOptionsResponse:
        """Temporal's UpdateActivityExecutionOptions."""
        ...
