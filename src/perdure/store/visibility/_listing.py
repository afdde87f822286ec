"""Pages, orders and counts over records."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from functools import cmp_to_key
from typing import Any, NamedTuple

import msgspec

from perdure.store.api import VisibilityPage, VisibilityRecord
from perdure.store.keys import MAX_TIME, is_run_id, visibility_position
from perdure.store.visibility._evaluate import field_value
from perdure.store.visibility._plan import Bucket
from perdure.store.visibility._query import STATUS_NAMES, Field, Query

MAX_PAGE_SIZE = 1000
Position = tuple[int, int, int, str]


class PageToken(NamedTuple):
    """Where a listing goes on: after a position of the default order, or after ORDER BY values and a position."""

    position: Position
    values: tuple[Any, ...] = ()


class Page(NamedTuple):
    """What a listing was asked for, checked."""

    size: int
    after: PageToken | None


def read_page(query: Query | None, page_size: int, next_page_token: bytes) -> Page:
    """Check what :meth:`Store.list_runs` was given.

    Raises:
        ValueError: the query groups, or the token is not one of a listing with this order.
    """
    if query is not None and query.group_by is not None:
        raise ValueError("GROUP BY is for counting, a listing cannot group")
    size = min(page_size, MAX_PAGE_SIZE) if page_size > 0 else MAX_PAGE_SIZE
    return Page(size, read_token(query, next_page_token))


def read_token(query: Query | None, token: bytes) -> PageToken | None:
    """The token of :func:`write_token`; None for b""."""
    if not token:
        return None
    try:
        position, values = msgspec.msgpack.decode(token, type=tuple[Position, tuple[Any, ...]])
    except (msgspec.DecodeError, msgspec.ValidationError):
        raise ValueError("next_page_token is not one that a listing gave") from None
    closed, first, second, run_id = position
    if closed not in (0, 1) or max(first, second) > 0 or min(first, second) < -MAX_TIME or not is_run_id(run_id):
        raise ValueError("next_page_token is not one that a listing gave")
    if len(values) != (len(query.order_by) if query is not None else 0):
        raise ValueError("next_page_token is of a listing with another ORDER BY")
    return PageToken(position, tuple(_unpacked(value) for value in values))


def write_token(query: Query | None, last: VisibilityRecord) -> bytes:
    """The token that goes on after a record."""
    values = () if query is None else tuple(_packed(field_value(field, last)) for field, _ in query.order_by)
    return msgspec.msgpack.encode((visibility_position(last), values))


def _packed(value: Any) -> Any:
    """A value as MessagePack takes it: times may need more than 64 bits."""
    if isinstance(value, int) and not isinstance(value, bool) and value.bit_length() > 63:
        return value.to_bytes(value.bit_length() // 8 + 1, signed=True)
    return value


def _unpacked(value: Any) -> Any:
    return int.from_bytes(value, signed=True) if isinstance(value, bytes) else value


def order_records(records: list[VisibilityRecord], query: Query, page: Page) -> VisibilityPage:
    """One page of all matching records by the query's ORDER BY; unset values come last in either direction."""
    records.sort(key=visibility_position)
    for field, descending in reversed(query.order_by):
        records.sort(key=lambda record: _sortable(field, record, descending), reverse=descending)
    start = 0
    if page.after is not None:
        wanted = (*page.after.values, page.after.position)
        orders = [descending for _, descending in query.order_by]

        def place(record: VisibilityRecord) -> Any:
            values = [field_value(field, record) for field, _ in query.order_by]
            return cmp_to_key(compare)((*values, visibility_position(record)))

        def compare(left: tuple[Any, ...], right: tuple[Any, ...]) -> int:
            for one, other, descending in zip(left, right, [*orders, False], strict=True):
                if one == other:
                    continue
                if one is None or other is None:
                    return 1 if one is None else -1
                return 1 if (one > other) is not descending else -1
            return 0

        try:
            start = bisect_right(records, cmp_to_key(compare)(wanted), key=place)
        except TypeError:
            raise ValueError("next_page_token is not one that this listing gave") from None
    found = records[start : start + page.size]
    more = start + page.size < len(records)
    return VisibilityPage(found, write_token(query, found[-1]) if more else b"")


def _sortable(field: Field, record: VisibilityRecord, descending: bool) -> tuple[bool, Any]:
    value = field_value(field, record)
    return ((value is None) is not descending, 0 if value is None else value)


def add_counts(counts: dict[tuple[str, ...], int], more: Iterable[tuple[tuple[str, ...] | None, int]]) -> None:
    """Add counts of groups up."""
    for key, count in more:
        if key is not None and count:
            counts[key] = counts.get(key, 0) + count


def bucket_group(query: Query | None, bucket: Bucket) -> tuple[str, ...] | None:
    """The group that all records of a bucket count in; None when it takes the records to tell."""
    field = None if query is None else query.group_by
    if field is None:
        return ()
    match field.name:
        case "ExecutionStatus":
            return (_status_name(bucket.status),)
        case "WorkflowType":
            return (bucket.workflow_type,)
        case "TaskQueue":
            return (bucket.task_queue,)
        case "TemporalNamespaceDivision":
            return (bucket.division or "",)
        case _:
            return None


def group_key(query: Query | None, record: VisibilityRecord) -> tuple[str, ...]:
    """The group a record counts in: ``()`` without GROUP BY, an empty text for an unset value."""
    if query is None or query.group_by is None:
        return ()
    return group_name(query.group_by, field_value(query.group_by, record))


def group_name(field: Field, value: Any) -> tuple[str, ...]:
    """The group that a value of a field counts in: an empty text for an unset one."""
    if field.name == "ExecutionStatus":
        return (_status_name(value),)
    if isinstance(value, bool):
        return ("true" if value else "false",)
    return ("" if value is None else str(value),)


def _status_name(status: int) -> str:
    return STATUS_NAMES[status] if 0 <= status < len(STATUS_NAMES) else str(status)
