"""Schedules as list filters see them: as the workflows that Temporal keeps them in."""

from __future__ import annotations

import functools
import uuid
from collections.abc import Iterable

import msgspec

from perdure.api.common import v1 as common_v1
from perdure.api.enums.v1 import WorkflowExecutionStatus
from perdure.engine.schedules import Schedule
from perdure.store.api import RunKey, VisibilityPage, VisibilityRecord
from perdure.store.keys import visibility_position
from perdure.store.visibility import Query, group_key, matches, order_records, read_page, write_token

WORKFLOW_ID_PREFIX = "temporal-sys-scheduler:"
_WORKFLOW_TYPE = "temporal-sys-scheduler-workflow"
_TASK_QUEUE = "temporal-sys-per-ns-tq"
_RUNNING = int(WorkflowExecutionStatus.WORKFLOW_EXECUTION_STATUS_RUNNING)
_BOOLS = {
    value: common_v1.Payload({"encoding": b"json/plain", "type": b"Bool"}, b"true" if value else b"false")
    for value in (False, True)
}


def list_schedules(
    schedules: Iterable[Schedule], query: Query | None, page_size: int, next_page_token: bytes
) -> VisibilityPage:
    """A page of records, newest schedule first where the query does not say otherwise. Raises ValueError."""
    page = read_page(query, page_size, next_page_token)
    records = _matching(schedules, query)
    if query is not None and query.order_by:
        return order_records(records, query, page)
    records.sort(key=visibility_position)
    if page.after is not None:
        after = page.after.position
        records = [record for record in records if visibility_position(record) > after]
    found = records[: page.size]
    return VisibilityPage(found, write_token(query, found[-1]) if len(records) > page.size else b"")


def count_schedules(schedules: Iterable[Schedule], query: Query | None) -> dict[tuple[str, ...], int]:
    """How many match, by the values of the query's GROUP BY field (key ``()`` when there is none)."""
    counts: dict[tuple[str, ...], int] = {}
    for record in _matching(schedules, query):
        key = group_key(query, record)
        counts[key] = counts.get(key, 0) + 1
    return counts


def schedule_id_of(record: VisibilityRecord) -> str:
    """The id of the schedule a record stands for."""
    return record.key.workflow_id.removeprefix(WORKFLOW_ID_PREFIX)


def _matching(schedules: Iterable[Schedule], query: Query | None) -> list[VisibilityRecord]:
    return [record for record in map(_record, schedules) if matches(query, record)]


def _record(schedule: Schedule) -> VisibilityRecord:
    record = schedule.rules.record
    attributes = {} if record.search_attributes is None else record.search_attributes.indexed_fields
    created = record.info.create_time or 0
    key = RunKey(schedule.namespace_id, WORKFLOW_ID_PREFIX + schedule.id, _run_id(schedule.namespace_id, schedule.id))
    return VisibilityRecord(
        key=key,
        workflow_type=_WORKFLOW_TYPE,
        task_queue=_TASK_QUEUE,
        status=_RUNNING,
        start_time=created,
        execution_time=created,
        root_workflow_id=key.workflow_id,
        root_run_id=key.run_id,
        search_attributes=msgspec.msgpack.encode(
            {**attributes, "TemporalSchedulePaused": _BOOLS[schedule.rules.state.paused]}
        ),
    )


@functools.lru_cache(maxsize=10_000)
def _run_id(namespace_id: str, schedule_id: str) -> str:
    """Some id that tells schedules of one time apart in pages."""
    return str(uuid.uuid5(uuid.UUID(namespace_id), schedule_id))
