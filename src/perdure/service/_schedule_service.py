"""The part of the service protocol about schedules."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Protocol

from perdure.api.workflowservice import v1 as ws


class ScheduleService(Protocol):
    """RPCs of Temporal's WorkflowService; see :class:`~perdure.service.WorkflowService`."""

    async def create_schedule(
        self,
        request: ws.CreateScheduleRequest,
        *,
        metadata: Mapping[str, str | bytes] | None = None,
        timeout: timedelta | None = None,
    ) -> ws.CreateScheduleResponse:
        """Temporal's CreateSchedule."""
        ...

    async def describe_schedule(
        self,
        request: ws.DescribeScheduleRequest,
        *,
        metadata: Mapping[str, str | bytes] | None = None,
        timeout: timedelta | None = None,
    ) -> ws.DescribeScheduleResponse:
        """Temporal's DescribeSchedule."""
        ...

    async def update_schedule(
        self,
        request: ws.UpdateScheduleRequest,
        *,
        metadata: Mapping[str, str | bytes] | None = None,
        timeout: timedelta | None = None,
    ) -> ws.UpdateScheduleResponse:
        """Temporal's UpdateSchedule."""
        ...

    async def patch_schedule(
        self,
        request: ws.PatchScheduleRequest,
        *,
        metadata: Mapping[str, str | bytes] | None = None,
        timeout: timedelta | None = None,
    ) -> ws.PatchScheduleResponse:
        """Temporal's PatchSchedule."""
        ...

    async def list_schedules(
        self,
        request: ws.ListSchedulesRequest,
        *,
        metadata: Mapping[str, str | bytes] | None = None,
        timeout: timedelta | None = None,
    ) -> ws.ListSchedulesResponse:
        """Temporal's ListSchedules."""
        ...

    async def count_schedules(
        self,
        request: ws.CountSchedulesRequest,
        *,
        metadata: Mapping[str, str | bytes] | None = None,
        timeout: timedelta | None = None,
    ) -> ws.CountSchedulesResponse:
        """Temporal's CountSchedules."""
        ...

    async def list_schedule_matching_times(
        self,
        request: ws.ListScheduleMatchingTimesRequest,
        *,
        metadata: Mapping[str, str | bytes] | None = None,
        timeout: timedelta | None = None,
    ) -> ws.ListScheduleMatchingTimesResponse:
        """Temporal's ListScheduleMatchingTimes."""
        ...

    async def delete_schedule(
        self,
        request: ws.DeleteScheduleRequest,
        *,
        metadata: Mapping[str, str | bytes] | None = None,
        timeout: timedelta | None = None,
    ) -> ws.DeleteScheduleResponse:
        """Temporal's DeleteSchedule."""
        ...
