"""The end of the interceptor chain for schedules: each call becomes the request of one RPC."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING

from perdure.api.common.v1 import SearchAttributes
from perdure.api.errordetails.v1 import WorkflowExecutionAlreadyStartedFailure
from perdure.api.schedule import v1 as schedule_v1
from perdure.api.workflowservice import v1 as ws
from perdure.client import _check
from perdure.client._exceptions import ScheduleAlreadyRunningError
from perdure.client._schedule_description import ScheduleDescription
from perdure.client._schedule_handle import (
    ScheduleAsyncIterator,
    ScheduleHandle,
    ScheduleUpdate,
    ScheduleUpdateInput,
)
from perdure.converter import encode_search_attributes
from perdure.service import RPCError, RPCStatusCode

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import timedelta

    from perdure.client._client import Client
    from perdure.client._schedule_inputs import (
        BackfillScheduleInput,
        CreateScheduleInput,
        DeleteScheduleInput,
        DescribeScheduleInput,
        ListSchedulesInput,
        PauseScheduleInput,
        TriggerScheduleInput,
        UnpauseScheduleInput,
        UpdateScheduleInput,
    )

_WHERE = "create_schedule"


class ScheduleClientImpl:
    """The part of :class:`~perdure.client._impl.ClientImpl` about schedules."""

    _client: Client

    async def create_schedule(self, input: CreateScheduleInput) -> ScheduleHandle:
        client = self._client
        state = input.schedule.state
        if state.limited_actions and not state.remaining_actions:
            raise ValueError("Must set limited actions to false if there are no remaining actions set")
        if not state.limited_actions and state.remaining_actions:
            raise ValueError("Must set limited actions to true if there are remaining actions set")
        request = ws.CreateScheduleRequest(
            namespace=client.namespace,
            schedule_id=input.id,
            schedule=await input.schedule._to_proto(client),
            identity=client.identity,
            request_id=client._new_request_id(),
        )
        if input.trigger_immediately or input.backfill:
            request.initial_patch = schedule_v1.SchedulePatch(
                trigger_immediately=schedule_v1.TriggerImmediatelyRequest(int(input.schedule.policy.overlap))
                if input.trigger_immediately
                else None,
                backfill_request=[backfill._to_proto() for backfill in input.backfill],
            )
        if input.memo:
            request.memo = await client._conversion.encode_memo(_WHERE, input.id, input.memo)
        if input.search_attributes is not None:
            request.search_attributes = SearchAttributes()
            encode_search_attributes(input.search_attributes, request.search_attributes)
        try:
            await client._service.create_schedule(
                request, metadata=client._metadata(input.rpc_metadata), timeout=input.rpc_timeout
            )
        except RPCError as error:
            if error.status == RPCStatusCode.ALREADY_EXISTS and error.detail(WorkflowExecutionAlreadyStartedFailure):
                raise ScheduleAlreadyRunningError from None
            raise
        return ScheduleHandle(client, input.id)

    def list_schedules(self, input: ListSchedulesInput) -> ScheduleAsyncIterator:
        return ScheduleAsyncIterator(self._client, input)

    async def backfill_schedule(self, input: BackfillScheduleInput) -> None:
        patch = schedule_v1.SchedulePatch(backfill_request=[backfill._to_proto() for backfill in input.backfills])
        await self._patch(input.id, patch, input.rpc_metadata, input.rpc_timeout)

    async def delete_schedule(self, input: DeleteScheduleInput) -> None:
        client = self._client
        await client._service.delete_schedule(
            ws.DeleteScheduleRequest(client.namespace, input.id, client.identity),
            metadata=client._metadata(input.rpc_metadata),
            timeout=input.rpc_timeout,
        )

    async def describe_schedule(self, input: DescribeScheduleInput) -> ScheduleDescription:
        return await self._describe(input.id, input.rpc_metadata, input.rpc_timeout)

    async def pause_schedule(self, input: PauseScheduleInput) -> None:
        patch = schedule_v1.SchedulePatch(pause=input.note or "Paused via Python SDK")
        await self._patch(input.id, patch, input.rpc_metadata, input.rpc_timeout)

    async def trigger_schedule(self, input: TriggerScheduleInput) -> None:
        patch = schedule_v1.SchedulePatch(schedule_v1.TriggerImmediatelyRequest(int(input.overlap or 0)))
        await self._patch(input.id, patch, input.rpc_metadata, input.rpc_timeout)

    async def unpause_schedule(self, input: UnpauseScheduleInput) -> None:
        patch = schedule_v1.SchedulePatch(unpause=input.note or "Unpaused via Python SDK")
        await self._patch(input.id, patch, input.rpc_metadata, input.rpc_timeout)

    async def update_schedule(self, input: UpdateScheduleInput) -> None:
        client = self._client
        while True:
            description = await self._describe(input.id, input.rpc_metadata, input.rpc_timeout)
            update = input.updater(ScheduleUpdateInput(description))
            if inspect.isawaitable(update):
                update = await update
            if update is None:
                return
            _check.instance("ScheduleHandle.update", "what the updater returns", update, ScheduleUpdate)
            request = ws.UpdateScheduleRequest(
                namespace=client.namespace,
                schedule_id=input.id,
                schedule=await update.schedule._to_proto(client),
                identity=client.identity,
                request_id=client._new_request_id(),
            )
            if client._service.in_process is True:
                # Elsewhere an update with an outdated token may be dropped without a word.
                request.conflict_token = description.raw_description.conflict_token
            if update.search_attributes is not None:
                request.search_attributes = SearchAttributes()
                encode_search_attributes(update.search_attributes, request.search_attributes)
            try:
                await client._service.update_schedule(
                    request, metadata=client._metadata(input.rpc_metadata), timeout=input.rpc_timeout
                )
                return
            except RPCError as error:
                if not request.conflict_token or error.status != RPCStatusCode.FAILED_PRECONDITION:
                    raise

    async def _describe(
        self, schedule_id: str, rpc_metadata: Mapping[str, str | bytes], rpc_timeout: timedelta | None
    ) -> ScheduleDescription:
        client = self._client
        response = await client._service.describe_schedule(
            ws.DescribeScheduleRequest(client.namespace, schedule_id),
            metadata=client._metadata(rpc_metadata),
            timeout=rpc_timeout,
        )
        return ScheduleDescription._from_proto(schedule_id, response, client.data_converter)

    async def _patch(
        self,
        schedule_id: str,
        patch: schedule_v1.SchedulePatch,
        rpc_metadata: Mapping[str, str | bytes],
        rpc_timeout: timedelta | None,
    ) -> None:
        client = self._client
        await client._service.patch_schedule(
            ws.PatchScheduleRequest(client.namespace, schedule_id, patch, client.identity, client._new_request_id()),
            metadata=client._metadata(rpc_metadata),
            timeout=rpc_timeout,
        )
