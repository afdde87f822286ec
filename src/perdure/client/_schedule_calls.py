"""The calls of a client about schedules."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from perdure._search_attributes import _warn_on_deprecated_search_attributes
from perdure.client import _check
from perdure.client._schedule_action import Schedule
from perdure.client._schedule_handle import ScheduleAsyncIterator, ScheduleHandle
from perdure.client._schedule_inputs import CreateScheduleInput, ListSchedulesInput
from perdure.client._schedule_spec import ScheduleBackfill
from perdure.common import SearchAttributes, TypedSearchAttributes

if TYPE_CHECKING:
    from datetime import timedelta

    from perdure.client._client import Client
    from perdure.client._interceptor import OutboundInterceptor


class ScheduleCalls:
    """The part of :class:`~perdure.client.Client` about schedules."""

    _impl: OutboundInterceptor

    def _check_usable(self) -> None:
        raise NotImplementedError

    async def create_schedule(
        self,
        id: str,
        schedule: Schedule,
        *,
        trigger_immediately: bool = False,
        backfill: Sequence[ScheduleBackfill] = [],
        memo: Mapping[str, Any] | None = None,
        search_attributes: TypedSearchAttributes | SearchAttributes | None = None,
        rpc_metadata: Mapping[str, str | bytes] = {},
        rpc_timeout: timedelta | None = None,
    ) -> ScheduleHandle:
        """Create a schedule, durably. It acts by itself from now on, and each action is taken exactly once.

        Args:
            id: The schedule's id.
            schedule: What it does, when and how.
            trigger_immediately: Act once now.
            backfill: Periods whose actions are taken now.
            memo: Of the schedule; that of the workflows belongs to the action.
            search_attributes: Of the schedule; those of the workflows belong to the action.
            rpc_metadata: Headers of the call.
            rpc_timeout: Bounds the call.
        Raises:
            ScheduleAlreadyRunningError: There is a schedule of that id.
        """
        where = "create_schedule"
        _check.text(where, "id", id)
        _check.instance(where, "schedule", schedule, Schedule)
        for period in backfill:
            _check.instance(where, "backfill", period, ScheduleBackfill)
        if search_attributes is not None:
            _check.instance(where, "search_attributes", search_attributes, TypedSearchAttributes, Mapping)
            _warn_on_deprecated_search_attributes(search_attributes)
        _check.rpc_options(where, rpc_metadata, rpc_timeout)
        self._check_usable()
        return await self._impl.create_schedule(
            CreateScheduleInput(
                id, schedule, trigger_immediately, backfill, memo, search_attributes, rpc_metadata, rpc_timeout
            )
        )

    def get_schedule_handle(self: Client, id: str) -> ScheduleHandle:  # type: ignore[misc]  # part of one
        """A handle of a schedule by its id. Asks nobody: whether there is one shows at the first call."""
        _check.text("get_schedule_handle", "id", id)
        return ScheduleHandle(self, id)

    async def list_schedules(
        self,
        query: str | None = None,
        *,
        page_size: int = 1000,
        next_page_token: bytes | None = None,
        rpc_metadata: Mapping[str, str | bytes] = {},
        rpc_timeout: timedelta | None = None,
    ) -> ScheduleAsyncIterator:
        """Schedules, newest first. Fetched as they are iterated: ``async for s in await client.list_schedules()``.

        Args:
            query: Which ones, in Temporal's list filter language; None means all.
            page_size: Fetch so many at a time, at most 1000.
            next_page_token: Go on where an earlier iterator's ``next_page_token`` was.
            rpc_metadata: Headers of the calls.
            rpc_timeout: Bounds each call.
        """
        where = "list_schedules"
        if query is not None:
            _check.text(where, "query", query, empty=True, limit=_check.MAX_TEXT_BYTES)
        _check.count(where, "page_size", page_size, least=1)
        if next_page_token is not None:
            _check.instance(where, "next_page_token", next_page_token, bytes)
        _check.rpc_options(where, rpc_metadata, rpc_timeout)
        return self._impl.list_schedules(
            ListSchedulesInput(page_size, next_page_token, rpc_metadata, rpc_timeout, query)
        )
