"""The records of one namespace in memory, with the same indexes that stores on a disk keep."""

from __future__ import annotations

import heapq
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from itertools import chain

from perdure.store.api import VisibilityPage, VisibilityRecord
from perdure.store.keys import ordered_text, visibility_position
from perdure.store.visibility._evaluate import compiled
from perdure.store.visibility._listing import (
    Position,
    add_counts,
    bucket_group,
    group_key,
    order_records,
    read_page,
    write_token,
)
from perdure.store.visibility._plan import Access, Bucket, Group, Part, RunId, Term, TermRange, WorkflowIds, plan
from perdure.store.visibility._query import Query
from perdure.store.visibility._terms import Attribute, record_division, record_terms, text_of

_BucketKey = tuple[str, str, str | None, int]


class _Entries:
    """Records by position; put in order when somebody asks."""

    __slots__ = ("order", "records")

    def __init__(self) -> None:
        self.records: dict[Position, VisibilityRecord] = {}
        self.order: list[Position] | None = None

    def ordered(self) -> list[Position]:
        if self.order is None:
            self.order = sorted(self.records)
        return self.order


class Records:
    """Adds, removes, lists and counts records."""

    def __init__(self) -> None:
        self._runs: dict[str, VisibilityRecord] = {}
        self._buckets: dict[_BucketKey, _Entries] = {}
        self._terms: dict[Attribute, dict[bytes, dict[Position, VisibilityRecord]]] = {}
        #: Run ids by ordered workflow id; made when first asked for.
        self._by_workflow_id: dict[bytes, set[str]] | None = None

    def change(self, removed: VisibilityRecord | None, added: VisibilityRecord | None) -> None:
        """Take a record out, put one in."""
        if removed is not None:
            position = visibility_position(removed)
            key = _bucket_key(removed)
            bucket = self._buckets.get(key)
            if bucket is not None and bucket.records.pop(position, None) is not None:
                bucket.order = None
                if not bucket.records:
                    del self._buckets[key]
            if removed.search_attributes or removed.parent_workflow_id:
                self._remove_terms(removed, position)
            if added is None:
                self._runs.pop(removed.key.run_id, None)
                if self._by_workflow_id is not None:
                    self._by_workflow_id[ordered_text(removed.key.workflow_id)].discard(removed.key.run_id)
        if added is not None:
            position = visibility_position(added)
            key = _bucket_key(added)
            bucket = self._buckets.get(key)
            if bucket is None:
                bucket = self._buckets[key] = _Entries()
            bucket.records[position] = added
            bucket.order = None
            self._runs[added.key.run_id] = added
            if self._by_workflow_id is not None and removed is None:
                self._by_workflow_id.setdefault(ordered_text(added.key.workflow_id), set()).add(added.key.run_id)
            if added.search_attributes or added.parent_workflow_id:
                for attribute, term in record_terms(added):
                    self._terms.setdefault(attribute, {}).setdefault(term, {})[position] = added

    def _remove_terms(self, record: VisibilityRecord, position: Position) -> None:
        for attribute, term in record_terms(record):
            entries = self._terms.get(attribute, {}).get(term)
            if entries is not None:
                entries.pop(position, None)
                if not entries:
                    del self._terms[attribute][term]

    # Reading

    def list_runs(self, query: Query | None, page_size: int, next_page_token: bytes) -> VisibilityPage:
        """As :meth:`Store.list_runs`."""
        page = read_page(query, page_size, next_page_token)
        if query is not None and query.order_by:
            groups = plan(query, self._plan_buckets(), self, whole=True)
            return order_records([record for group in groups for _, record in self._read(group, None)], query, page)
        after = None if page.after is None else page.after.position
        groups = plan(query, self._plan_buckets(), self)
        found: list[VisibilityRecord] = []
        for _, record in heapq.merge(*(self._read(group, after) for group in groups), key=_position):
            if len(found) == page.size:
                return VisibilityPage(found, write_token(query, found[-1]))
            found.append(record)
        return VisibilityPage(found, b"")

    def count_runs(self, query: Query | None) -> dict[tuple[str, ...], int]:
        """As :meth:`Store.count_runs`."""
        counts: dict[tuple[str, ...], int] = {}
        for group in plan(query, self._plan_buckets(), self, whole=True):
            if not group.accesses and group.residual is None and group.bounds.is_all:
                keys = [bucket_group(query, bucket) for bucket in group.buckets]
                if None not in keys:
                    add_counts(counts, ((key, bucket.size) for key, bucket in zip(keys, group.buckets, strict=True)))
                    continue
            by_value = self._counts_by_value(query, group)
            if by_value is not None:
                add_counts(counts, by_value.items())
                continue
            add_counts(counts, ((group_key(query, record), 1) for record in self._unordered(group)))
        if not counts and (query is None or query.group_by is None):
            counts[()] = 0
        return counts

    def _counts_by_value(self, query: Query | None, group: Group) -> dict[tuple[str, ...], int] | None:
        """Counts by an attribute's value from the terms alone; None when it takes the records."""
        field = None if query is None else query.group_by
        is_all = group.bounds.is_all and len(group.buckets) == len(self._buckets)
        if field is None or field.is_of_every_run or group.accesses or group.residual is not None or not is_all:
            return None
        counts: dict[tuple[str, ...], int] = {}
        for term, entries in self._terms.get((field.name, field.type), {}).items():
            text = text_of(term) if field.type == "Keyword" else "true" if term == b"\1" else "false"
            if text is None:
                return None
            counts[(text,)] = len(entries)
        counts[("",)] = counts.get(("",), 0) + group.size - sum(counts.values())
        return counts

    def _unordered(self, group: Group) -> Iterator[VisibilityRecord]:
        """What a group holds, in any order."""
        if group.accesses:
            for _, record in self._read(group, None):
                yield record
            return
        bounds = group.bounds
        holds = None if group.residual is None else compiled(group.residual)
        for bucket in group.buckets:
            for record in self._buckets[bucket[:4]].records.values():
                if bounds.holds(record.start_time, record.close_time) and (holds is None or holds(record) is True):
                    yield record

    def _plan_buckets(self) -> Iterator[Bucket]:
        for key, entries in self._buckets.items():
            yield Bucket(*key, len(entries.records), key)

    def size(self, part: Part, limit: int) -> int:
        """Entries of a part, or a number greater than the limit."""
        total = 0
        for entries in self._entries(part):
            total += len(entries)
            if total > limit:
                break
        return total

    def _entries(self, part: Part) -> Iterator[dict[Position, VisibilityRecord]]:
        match part:
            case Term(attribute, term):
                entries = self._terms.get(attribute, {}).get(term)
                if entries is not None:
                    yield entries
            case TermRange(attribute, low, high):
                for term, entries in self._terms.get(attribute, {}).items():
                    if low <= term and (not high or term < high):
                        yield entries
            case WorkflowIds():
                for run_id in self._run_ids(part):
                    yield self._one(run_id)
            case RunId(run_id):
                if run_id in self._runs:
                    yield self._one(run_id)

    def _one(self, run_id: str) -> dict[Position, VisibilityRecord]:
        record = self._runs[run_id]
        return {visibility_position(record): record}

    def _run_ids(self, part: WorkflowIds) -> Iterable[str]:
        low, high = part
        if self._by_workflow_id is None:
            self._by_workflow_id = {}
            for run_id, record in self._runs.items():
                self._by_workflow_id.setdefault(ordered_text(record.key.workflow_id), set()).add(run_id)
        if part.is_one:
            return self._by_workflow_id.get(low, ())
        return chain.from_iterable(
            run_ids for text, run_ids in self._by_workflow_id.items() if low <= text and (not high or text < high)
        )

    def _read(self, group: Group, after: Position | None) -> Iterator[tuple[Position, VisibilityRecord]]:
        """What a group holds, in order, from just after a position."""
        bounds = group.bounds
        holds = None if group.residual is None else compiled(group.residual)
        for position, record in self._collected(group) if group.accesses else self._walked(group, after):
            if after is not None and position <= after:
                continue
            if not bounds.holds(record.start_time, record.close_time):
                continue
            if holds is None or holds(record) is True:
                yield position, record

    def _walked(self, group: Group, after: Position | None) -> Iterator[tuple[Position, VisibilityRecord]]:
        # No record after this one lies within the bounds: closed runs come last, the newest first.
        last: Position = (1, 1 - group.bounds.close_low, 0, "")

        def walk(entries: _Entries) -> Iterator[tuple[Position, VisibilityRecord]]:
            order = entries.ordered()
            for index in range(0 if after is None else bisect_right(order, after), len(order)):
                position = order[index]
                if position > last:
                    return
                yield position, entries.records[position]

        keys: list[_BucketKey] = [bucket[:4] for bucket in group.buckets]
        return heapq.merge(*(walk(self._buckets[key]) for key in keys), key=_position)

    def _collected(self, group: Group) -> Iterator[tuple[Position, VisibilityRecord]]:
        found = self._union(group.accesses[0])
        for access in group.accesses[1:]:
            other = self._union(access)
            found = {position: record for position, record in found.items() if position in other}
        keys = {bucket[:4] for bucket in group.buckets}
        for position in sorted(found):
            if _bucket_key(found[position]) in keys:
                yield position, found[position]

    def _union(self, access: Access) -> dict[Position, VisibilityRecord]:
        found: dict[Position, VisibilityRecord] = {}
        for part in access.parts:
            for entries in self._entries(part):
                found.update(entries)
        return found


def _position(entry: tuple[Position, VisibilityRecord]) -> Position:
    return entry[0]


def _bucket_key(record: VisibilityRecord) -> _BucketKey:
    division = record_division(record) if record.search_attributes else None
    return (record.workflow_type, record.task_queue, division, record.status)
