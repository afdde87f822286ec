"""Requests about schedules: checked, carried out, answered."""

from __future__ import annotations

from typing import TypeVar

import msgspec

from perdure.api._message import Message
from perdure.api.common import v1 as common_v1
from perdure.api.errordetails import v1 as errordetails_v1
from perdure.api.schedule import v1 as schedule_v1
from perdure.api.workflowservice import v1 as ws
from perdure.engine import limits
from perdure.engine.core import Core
from perdure.engine.errors import failed_precondition, invalid_argument, not_found
from perdure.engine.listing import groups_of, read_query
from perdure.engine.namespaces import Namespace, Namespaces
from perdure.engine.schedule_listing import WORKFLOW_ID_PREFIX, count_schedules, list_schedules, schedule_id_of
from perdure.engine.schedule_record import ScheduleRecord
from perdure.engine.schedule_rules import MAX_NOTES, MAX_REQUEST_IDS, with_defaults
from perdure.engine.schedules import Schedule, Schedules, start_request
from perdure.engine.starts import check_start
from perdure.service import RPCError, RPCStatusCode


class ScheduleRequests:
    """Answers what clients ask of schedules."""

    def __init__(self, core: Core, namespaces: Namespaces, schedules: Schedules) -> None:
        self._core = core
        self._namespaces = namespaces
        self._schedules = schedules

    def _find(self, namespace: str, schedule_id: str) -> Schedule:
        found = self._schedules.find(self._namespaces.get(namespace).namespace_id, schedule_id)
        if found is None:
            raise _unknown(schedule_id)
        return found

    async def create(self, request: ws.CreateScheduleRequest) -> ws.CreateScheduleResponse:
        """Temporal's CreateSchedule. The schedule is durable before the answer, and so is what it starts at once."""
        limits.check_id(request.schedule_id, "ScheduleId")
        limits.check_id(WORKFLOW_ID_PREFIX + request.schedule_id, "WorkflowId")
        limits.check_id(request.request_id, "RequestId")
        limits.check_memo(request.memo)
        namespace = self._namespaces.get(request.namespace)
        schedule = self._checked(request.schedule)
        if request.initial_patch is not None:
            _check_patch(request.initial_patch)
        await self._learn(namespace, schedule, request.search_attributes)
        existing = self._schedules.find(namespace.namespace_id, request.schedule_id)
        if existing is not None:
            async with existing.lock:  # whoever creates it may not be done
                if not existing.is_deleted:
                    if existing.rules.record.request_ids[0] == request.request_id:
                        return ws.CreateScheduleResponse(_token(existing))
                    raise _exists(request.schedule_id)
        now = self._core.now()
        created = Schedule(
            namespace.namespace_id,
            request.schedule_id,
            ScheduleRecord(
                schedule_id=request.schedule_id,
                schedule=schedule,
                info=schedule_v1.ScheduleInfo(create_time=now),
                last_processed=now,
                memo=request.memo,
                search_attributes=request.search_attributes,
                request_ids=[request.request_id],
            ),
        )
        if self._schedules.find(namespace.namespace_id, request.schedule_id) is not None:
            raise _exists(request.schedule_id)
        async with self._schedules.creating(created):
            if request.initial_patch is not None:
                created.rules.patch(_copied(request.initial_patch, schedule_v1.SchedulePatch), now)
            await self._schedules.save(created)
        token = _token(created)
        await self._schedules.act(created)
        return ws.CreateScheduleResponse(token)

    async def describe(self, request: ws.DescribeScheduleRequest) -> ws.DescribeScheduleResponse:
        """Temporal's DescribeSchedule."""
        found = self._find(request.namespace, request.schedule_id)
        async with found.lock:
            if found.is_deleted:
                raise _unknown(request.schedule_id)
            schedule, info = found.rules.describe(self._core.now())
            record = found.rules.record
            assert schedule.action is not None and schedule.action.start_workflow is not None
            self._add_types(request.namespace, schedule.action.start_workflow.search_attributes)
            return ws.DescribeScheduleResponse(
                schedule=schedule,
                info=info,
                memo=_memo(record),
                search_attributes=_attributes(record),
                conflict_token=_token(found),
            )

    async def update(self, request: ws.UpdateScheduleRequest) -> ws.UpdateScheduleResponse:
        """Temporal's UpdateSchedule: the whole schedule is replaced. Times that passed before are not made up for."""
        limits.check_id(request.request_id, "RequestId", required=False)
        limits.check_memo(request.memo)
        namespace = self._namespaces.get(request.namespace)
        schedule = self._checked(request.schedule)
        await self._learn(namespace, schedule, request.search_attributes)
        found = self._find(request.namespace, request.schedule_id)
        async with self._schedules.changing(found):
            record = self._open_for(found, request.request_id)
            if record is None:
                return ws.UpdateScheduleResponse()
            if request.conflict_token and request.conflict_token != _token(found):
                raise failed_precondition("mismatched conflict token: the schedule was changed since it was described")
            found.rules.replace(schedule, self._core.now())
            if request.search_attributes is not None:
                record.search_attributes = request.search_attributes
            if request.memo is not None:
                record.memo = request.memo
            await self._schedules.save(found)
        await self._schedules.act(found)
        return ws.UpdateScheduleResponse()

    async def patch(self, request: ws.PatchScheduleRequest) -> ws.PatchScheduleResponse:
        """Temporal's PatchSchedule: trigger, backfill, pause, unpause."""
        limits.check_id(request.request_id, "RequestId", required=False)
        if request.patch is None:
            raise invalid_argument("Patch is not set on the request.")
        _check_patch(request.patch)
        found = self._find(request.namespace, request.schedule_id)
        async with self._schedules.changing(found):
            if self._open_for(found, request.request_id) is None:
                return ws.PatchScheduleResponse()
            found.rules.patch(_copied(request.patch, schedule_v1.SchedulePatch), self._core.now())
            await self._schedules.save(found)
        await self._schedules.act(found)
        return ws.PatchScheduleResponse()

    async def delete(self, request: ws.DeleteScheduleRequest) -> ws.DeleteScheduleResponse:
        """Temporal's DeleteSchedule. Workflows it started go on."""
        found = self._find(request.namespace, request.schedule_id)
        async with self._schedules.changing(found):
            if found.is_deleted:
                raise _unknown(request.schedule_id)
            await self._schedules.delete(found)
        return ws.DeleteScheduleResponse()

    async def matching_times(
        self, request: ws.ListScheduleMatchingTimesRequest
    ) -> ws.ListScheduleMatchingTimesResponse:
        """Temporal's ListScheduleMatchingTimes: when the spec acts within bounds, were it not paused."""
        found = self._find(request.namespace, request.schedule_id)
        if request.start_time is None or request.end_time is None:
            raise invalid_argument("StartTime and EndTime must be set on the request.")
        try:
            times = found.rules.matching_times(request.start_time, request.end_time)
        except ValueError as error:
            raise invalid_argument(str(error)) from None
        return ws.ListScheduleMatchingTimesResponse(times)

    async def list(self, request: ws.ListSchedulesRequest) -> ws.ListSchedulesResponse:
        """Temporal's ListSchedules; it sees everything acknowledged before the call."""
        namespace = self._namespaces.get(request.namespace)
        query = read_query(request.query, namespace.search_attributes)
        size = request.maximum_page_size
        if size <= 0 or size > limits.MAX_PAGE_SIZE:
            size = limits.MAX_PAGE_SIZE
        await self._core.settle()
        try:
            page = list_schedules(self._schedules.of(namespace.namespace_id), query, size, request.next_page_token)
        except ValueError as error:
            raise invalid_argument(str(error)) from None
        now = self._core.now()
        response = ws.ListSchedulesResponse(next_page_token=page.next_page_token)
        for shown in page.records:
            schedule = self._schedules.find(namespace.namespace_id, schedule_id_of(shown))
            assert schedule is not None  # the page was made of these
            record = schedule.rules.record
            response.schedules.append(
                schedule_v1.ScheduleListEntry(
                    schedule_id=schedule.id,
                    memo=_memo(record),
                    search_attributes=_attributes(record),
                    info=schedule.rules.list_info(now),
                )
            )
        return response

    async def count(self, request: ws.CountSchedulesRequest) -> ws.CountSchedulesResponse:
        """Temporal's CountSchedules."""
        namespace = self._namespaces.get(request.namespace)
        query = read_query(request.query, namespace.search_attributes)
        await self._core.settle()
        counts = count_schedules(self._schedules.of(namespace.namespace_id), query)
        groups = [ws.CountSchedulesResponseAggregationGroup(*group) for group in groups_of(counts)]
        return ws.CountSchedulesResponse(sum(counts.values()), groups)

    # ---- checks

    def _checked(self, schedule: schedule_v1.Schedule | None) -> schedule_v1.Schedule:
        """A copy of a schedule that came in, as it will be kept. Raises INVALID_ARGUMENT."""
        schedule = _copied(schedule or schedule_v1.Schedule(), schedule_v1.Schedule)
        action = None if schedule.action is None else schedule.action.start_workflow
        if action is None:
            raise invalid_argument("Only StartWorkflow action is supported for schedules: Action is not set.")
        checked = start_request(action)
        check_start(checked)
        for name in ("workflow_execution_timeout", "workflow_run_timeout", "workflow_task_timeout"):
            if getattr(action, name) is not None:
                setattr(action, name, getattr(checked, name))
        if action.cron_schedule:
            raise invalid_argument("CronSchedule is not allowed in the action of a schedule: its spec says when.")
        if action.workflow_id_reuse_policy not in (0, 1):
            raise invalid_argument("WorkflowIdReusePolicy of a schedule's action is not set or ALLOW_DUPLICATE.")
        state = schedule.state
        if state is not None and len(state.notes.encode()) > MAX_NOTES:
            raise invalid_argument(f"the notes of the schedule are longer than {MAX_NOTES} bytes.")
        if state is not None and state.remaining_actions < 0:
            raise invalid_argument("RemainingActions is negative.")
        try:
            return with_defaults(schedule)
        except ValueError as error:
            raise invalid_argument(f"Invalid schedule spec: {error}") from None

    async def _learn(
        self, namespace: Namespace, schedule: schedule_v1.Schedule, attributes: common_v1.SearchAttributes | None
    ) -> None:
        limits.check_search_attributes(attributes)
        assert schedule.action is not None and schedule.action.start_workflow is not None
        for found in (attributes, schedule.action.start_workflow.search_attributes):
            if found is not None:
                await self._namespaces.learn(namespace, found)

    def _add_types(self, namespace: str, attributes: common_v1.SearchAttributes | None) -> None:
        """State the types of search attributes that came without and are known."""
        types = self._namespaces.get(namespace).search_attributes
        for name, payload in attributes.indexed_fields.items() if attributes is not None else ():
            if "type" not in payload.metadata and name in types:
                payload.metadata["type"] = types[name].encode()

    def _open_for(self, schedule: Schedule, request_id: str) -> ScheduleRecord | None:
        """The record that a request may change; None: it did already. Raises NOT_FOUND. The lock is held."""
        if schedule.is_deleted:
            raise _unknown(schedule.id)
        record = schedule.rules.record
        if request_id:
            if request_id in record.request_ids[1:]:
                return None
            record.request_ids = [record.request_ids[0], *record.request_ids[1:][1 - MAX_REQUEST_IDS :], request_id]
        return record


_M = TypeVar("_M", bound=Message)


def _copied(message: _M, kind: type[_M]) -> _M:
    """A message of its own: the caller may go on changing his."""
    return msgspec.msgpack.decode(msgspec.msgpack.encode(message), type=kind)


def _check_patch(patch: schedule_v1.SchedulePatch) -> None:
    for note in (patch.pause, patch.unpause):
        if len(note.encode()) > MAX_NOTES:
            raise invalid_argument(f"the notes of the patch are longer than {MAX_NOTES} bytes.")


def _token(schedule: Schedule) -> bytes:
    return schedule.rules.record.conflict_token.to_bytes(8)


def _memo(record: ScheduleRecord) -> common_v1.Memo | None:
    memo = record.memo
    return None if memo is None or not memo.fields else _copied(memo, common_v1.Memo)


def _attributes(record: ScheduleRecord) -> common_v1.SearchAttributes | None:
    attributes = record.search_attributes
    if attributes is None or not attributes.indexed_fields:
        return None
    return _copied(attributes, common_v1.SearchAttributes)


def _unknown(schedule_id: str) -> RPCError:
    return not_found(f"schedule not found: there is none with the id {schedule_id!r}.")


def _exists(schedule_id: str) -> RPCError:
    return RPCError(
        f"schedule {schedule_id!r} is already registered.",
        RPCStatusCode.ALREADY_EXISTS,
        [errordetails_v1.WorkflowExecutionAlreadyStartedFailure()],
    )
