"""The service's RPCs about schedules; part of the engine's facade."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta

from perdure.api.workflowservice import v1 as ws
from perdure.engine.core import Core
from perdure.engine.messages import Messages
from perdure.engine.namespaces import Namespaces
from perdure.engine.schedule_requests import ScheduleRequests
from perdure.engine.schedules import Schedules
from perdure.engine.starts import Starts

Metadata = Mapping[str, str | bytes] | None


class ScheduleRpcs:
    """Every method checks that the engine is open and asks its component."""

    def _check(self) -> None:
        raise NotImplementedError  # the engine has it

    def _add_schedule_rpcs(self, core: Core, namespaces: Namespaces, starts: Starts, messages: Messages) -> None:
        self._schedules = Schedules(core, namespaces, starts, messages)
        self._schedule_requests = ScheduleRequests(core, namespaces, self._schedules)

    async def create_schedule(
        self, request: ws.CreateScheduleRequest, *, metadata: Metadata = None, timeout: timedelta | None = None
    ) -> ws.CreateScheduleResponse:
        """Temporal's CreateSchedule."""
        self._check()
        return await self._schedule_requests.create(request)

    async def describe_schedule(
        self, request: ws.DescribeScheduleRequest, *, metadata: Metadata = None, timeout: timedelta | None = None
    ) -> ws.DescribeScheduleResponse:
        """Temporal's DescribeSchedule."""
        self._check()
        return await self._schedule_requests.describe(request)

    async def update_schedule(
        self, request: ws.UpdateScheduleRequest, *, metadata: Metadata = None, timeout: timedelta | None = None
    ) -> ws.UpdateScheduleResponse:
        """Temporal's UpdateSchedule."""
        self._check()
        return await self._schedule_requests.update(request)

    async def patch_schedule(
        self, request: ws.PatchScheduleRequest, *, metadata: Metadata = None, timeout: timedelta | None = None
    ) -> ws.PatchScheduleResponse:
        """Temporal's PatchSchedule."""
        self._check()
        return await self._schedule_requests.patch(request)

    async def list_schedules(
        self, request: ws.ListSchedulesRequest, *, metadata: Metadata = None, timeout: timedelta | None = None
    ) -> ws.ListSchedulesResponse:
        """Temporal's ListSchedules."""
        self._check()
        return await self._schedule_requests.list(request)

    async def count_schedules(
        self, request: ws.CountSchedulesRequest, *, metadata: Metadata = None, timeout: timedelta | None = None
    ) -> ws.CountSchedulesResponse:
        """Temporal's CountSchedules."""
        self._check()
        return await self._schedule_requests.count(request)

    async def list_schedule_matching_times(
        self,
        request: ws.ListScheduleMatchingTimesRequest,
        *,
        metadata: Metadata = None,
        timeout: timedelta | None = None,
    ) -> ws.ListScheduleMatchingTimesResponse:
        """Temporal's ListScheduleMatchingTimes."""
        self._check()
        return await self._schedule_requests.matching_times(request)

    async def delete_schedule(
        self, request: ws.DeleteScheduleRequest, *, metadata: Metadata = None, timeout: timedelta | None = None
    ) -> ws.DeleteScheduleResponse:
        """Temporal's DeleteSchedule."""
        self._check()
        return await self._schedule_requests.delete(request)
