"""One schedule, by its id, and those that a list finds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, overload

from perdure.api.workflowservice.v1 import ListSchedulesRequest
from perdure.client import _check
from perdure.client._pages import PageIterator
from perdure.client._schedule_action import Schedule
from perdure.client._schedule_description import ScheduleDescription, ScheduleListDescription
from perdure.client._schedule_inputs import (
    BackfillScheduleInput,
    DeleteScheduleInput,
    DescribeScheduleInput,
    ListSchedulesInput,
    PauseScheduleInput,
    TriggerScheduleInput,
    UnpauseScheduleInput,
    UpdateScheduleInput,
)
from perdure.client._schedule_spec import ScheduleBackfill, ScheduleOverlapPolicy
from perdure.common import TypedSearchAttributes

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping
    from datetime import timedelta

    from perdure.client._client import Client


@dataclass
class ScheduleUpdateInput:
    """What :meth:`ScheduleHandle.update` gives the function that updates."""

    description: ScheduleDescription
    """The schedule as it is."""


@dataclass
class ScheduleUpdate:
    """What a function that updates returns."""

    schedule: Schedule
    """The schedule as it shall be: all of it."""
    search_attributes: TypedSearchAttributes | None = None
    """Its search attributes from now on; None: as they are."""


class ScheduleHandle:
    """A schedule, by its id."""

    def __init__(self, client: Client, id: str) -> None:
        """Made by :meth:`Client.create_schedule` and :meth:`Client.get_schedule_handle`."""
        self._client = client
        self.id = id

    def _check(self, call: str, rpc_metadata: Mapping[str, str | bytes], rpc_timeout: timedelta | None) -> str:
        where = f"ScheduleHandle.{call}"
        _check.rpc_options(where, rpc_metadata, rpc_timeout)
        self._client._check_usable()
        return where

    async def backfill(
        self,
        *backfill: ScheduleBackfill,
        rpc_metadata: Mapping[str, str | bytes] = {},
        rpc_timeout: timedelta | None = None,
    ) -> None:
        """Take the actions of some periods now. Durable when it returns; long backfills go on after it."""
        where = self._check("backfill", rpc_metadata, rpc_timeout)
        if not backfill:
            raise ValueError("At least one backfill required")
        for period in backfill:
            _check.instance(where, "backfill", period, ScheduleBackfill)
        await self._client._impl.backfill_schedule(BackfillScheduleInput(self.id, backfill, rpc_metadata, rpc_timeout))

    async def delete(
        self, *, rpc_metadata: Mapping[str, str | bytes] = {}, rpc_timeout: timedelta | None = None
    ) -> None:
        """Delete the schedule. Workflows it started go on."""
        self._check("delete", rpc_metadata, rpc_timeout)
        await self._client._impl.delete_schedule(DeleteScheduleInput(self.id, rpc_metadata, rpc_timeout))

    async def describe(
        self, *, rpc_metadata: Mapping[str, str | bytes] = {}, rpc_timeout: timedelta | None = None
    ) -> ScheduleDescription:
        """The schedule, what it did and what it will do."""
        self._check("describe", rpc_metadata, rpc_timeout)
        return await self._client._impl.describe_schedule(DescribeScheduleInput(self.id, rpc_metadata, rpc_timeout))

    async def pause(
        self,
        *,
        note: str | None = None,
        rpc_metadata: Mapping[str, str | bytes] = {},
        rpc_timeout: timedelta | None = None,
    ) -> None:
        """Take no actions, until it is unpaused. What is not done meanwhile is not made up for.

        Args:
            note: Why, for whoever describes the schedule.
        """
        _check_note(self._check("pause", rpc_metadata, rpc_timeout), note)
        await self._client._impl.pause_schedule(PauseScheduleInput(self.id, note, rpc_metadata, rpc_timeout))

    async def trigger(
        self,
        *,
        overlap: ScheduleOverlapPolicy | None = None,
        rpc_metadata: Mapping[str, str | bytes] = {},
        rpc_timeout: timedelta | None = None,
    ) -> None:
        """Act now, also when the schedule is paused.

        Args:
            overlap: Overrules the schedule's policy.
        """
        where = self._check("trigger", rpc_metadata, rpc_timeout)
        if overlap is not None:
            _check.member(where, "overlap", overlap, ScheduleOverlapPolicy)
        await self._client._impl.trigger_schedule(TriggerScheduleInput(self.id, overlap, rpc_metadata, rpc_timeout))

    async def unpause(
        self,
        *,
        note: str | None = None,
        rpc_metadata: Mapping[str, str | bytes] = {},
        rpc_timeout: timedelta | None = None,
    ) -> None:
        """Act again at the times that come.

        Args:
            note: Why, for whoever describes the schedule.
        """
        _check_note(self._check("unpause", rpc_metadata, rpc_timeout), note)
        await self._client._impl.unpause_schedule(UnpauseScheduleInput(self.id, note, rpc_metadata, rpc_timeout))

    @overload
    async def update(
        self,
        updater: Callable[[ScheduleUpdateInput], ScheduleUpdate | None],
        *,
        rpc_metadata: Mapping[str, str | bytes] = {},
        rpc_timeout: timedelta | None = None,
    ) -> None: ...

    @overload
    async def update(
        self,
        updater: Callable[[ScheduleUpdateInput], Awaitable[ScheduleUpdate | None]],
        *,
        rpc_metadata: Mapping[str, str | bytes] = {},
        rpc_timeout: timedelta | None = None,
    ) -> None: ...

    async def update(
        self,
        updater: Callable[[ScheduleUpdateInput], Any],
        *,
        rpc_metadata: Mapping[str, str | bytes] = {},
        rpc_timeout: timedelta | None = None,
    ) -> None:
        """Change the schedule by a function of its description.

        Args:
            updater: Gets the description and returns the schedule as it shall be; None leaves it as it is. It is
                called again when somebody else changed the schedule in between.
        """
        where = self._check("update", rpc_metadata, rpc_timeout)
        if not callable(updater):
            raise TypeError(f"{where}: updater must be a function of a ScheduleUpdateInput, not {_check.kind(updater)}")
        await self._client._impl.update_schedule(UpdateScheduleInput(self.id, updater, rpc_metadata, rpc_timeout))


def _check_note(where: str, note: str | None) -> None:
    if note is not None:
        _check.text(where, "note", note, empty=True)


class ScheduleAsyncIterator(PageIterator[ScheduleListDescription]):
    """Schedules that match a query, fetched page by page. Use ``async for``."""

    def __init__(self, client: Client, input: ListSchedulesInput) -> None:
        """Made by :meth:`Client.list_schedules`."""
        super().__init__(client, input.next_page_token)
        self._input = input

    async def fetch_next_page(self, *, page_size: int | None = None) -> None:
        """Fetch the next page, of at most ``page_size`` schedules where that is given."""
        _check.count("fetch_next_page", "page_size", page_size, least=1)
        client = self._client
        client._check_usable()
        response = await client._service.list_schedules(
            ListSchedulesRequest(
                namespace=client.namespace,
                maximum_page_size=page_size or self._input.page_size,
                next_page_token=self._next_page_token or b"",
                query=self._input.query or "",
            ),
            metadata=client._metadata(self._input.rpc_metadata),
            timeout=self._input.rpc_timeout,
        )
        self._turn_to(
            [ScheduleListDescription._from_proto(entry, client.data_converter) for entry in response.schedules],
            response.next_page_token,
        )
