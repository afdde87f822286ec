"""Listing and counting runs: plans from :mod:`perdure.store.visibility`, entries from :mod:`perdure.store.lmdb._index`."""

from __future__ import annotations

import asyncio
import heapq
from bisect import bisect_left
from collections.abc import AsyncIterator, Iterable, Iterator
from typing import cast

import msgspec

from perdure.store.api import VisibilityPage, VisibilityRecord
from perdure.store.lmdb import _batch as rows
from perdure.store.lmdb import _entries as sets
from perdure.store.lmdb import _index as index
from perdure.store.lmdb._batch import Names
from perdure.store.lmdb._columns import token_position
from perdure.store.lmdb._lmdb import Environment
from perdure.store.lmdb._sealing import Sealing
from perdure.store.visibility import (
    EXACT_TEXT,
    RUN_FIELDS,
    Access,
    Attribute,
    Bucket,
    Group,
    Page,
    PageToken,
    Part,
    Query,
    RunId,
    Term,
    TermRange,
    WorkflowIds,
    add_counts,
    bucket_group,
    compiled,
    encode_value,
    group_key,
    order_records,
    plan,
    read_page,
    text_of,
    write_token,
)

WORKFLOW, VISIBILITY, BUCKET, TERM = (
    rows.DATABASE_NAMES.index(name) for name in ("workflow", "visibility", "bucket", "term")
)
_ENTRY_SIZE = 37
#: How many records are read at once, and after how many the event loop gets a turn.
_FIRST_ROWS = 128
_MOST_ROWS = 1024
_BREATH = 4096
#: A GROUP BY over more values than this reads the records.
_MOST_VALUES = 10_000
_decode_record = msgspec.msgpack.Decoder(VisibilityRecord).decode

#: How many index entries are looked at before the event loop gets a turn.
_SCAN = 50_000
_ANY = (1 << 62) - 1
_MOST_TIME = (1 << 64) - 1
#: The latest time that bounds say when they say nothing.
_LAST = (1 << 63) - 1
#: So few entries are read without more ado.
_FEW = 500
_PAUSE = object()
# A position and the record there; None: it does not match; _PAUSE: the event loop is due for a turn.
_Found = tuple[bytes, object]


class Visibility:
    """The records of one namespace, read."""

    def __init__(self, environment: Environment, names: Names, number: int, sealing: Sealing) -> None:
        self._environment = environment
        self._names = names
        self._number = number
        self._prefix = number.to_bytes(4)
        self._sealing = sealing

    async def list_runs(self, query: Query | None, page_size: int, next_page_token: bytes) -> VisibilityPage:
        """As :meth:`Store.list_runs`."""
        page = read_page(query, page_size, next_page_token)
        groups: list[Group] | None = None
        if query is not None and (query.order_by or query.where is not None):
            groups = plan(query, self._buckets(), _Capped(self), more=True)
            if query.order_by or not self._is_quick(groups):
                answer = self._sealing.columns(self._number).list_runs(query, page)
                self._sealing.asked(self._number)
                if answer is not None:
                    return answer
                groups = None
        if query is not None and query.order_by:
            groups = plan(query, self._buckets(), self, whole=True, more=True)
            ordered = self._first_by_time(query, page, groups) or self._first_by_value(query, page, groups)
            if ordered is not None:
                return ordered
            return order_records([record async for record in self._records(groups, None)], query, page)
        found: list[VisibilityRecord] = []
        seen: set[str] = set()
        if groups is None:
            groups = plan(query, self._buckets(), self, more=True)
        async for record in self._records(groups, page.after, page.size + 1):
            if record.key.run_id in seen:
                continue  # it moved between two looks at the index
            if len(found) == page.size:
                return VisibilityPage(found, write_token(query, found[-1]))
            seen.add(record.key.run_id)
            found.append(record)
        return VisibilityPage(found, b"")

    async def count_runs(self, query: Query | None) -> dict[tuple[str, ...], int]:
        """As :meth:`Store.count_runs`."""
        groups = plan(query, self._buckets(), _Capped(self), whole=True, more=True)
        if query is not None and not all(self._is_counted(query, group) for group in groups):
            answer = self._sealing.columns(self._number).count_runs(query)
            self._sealing.asked(self._number)
            if answer is not None:
                return answer
            groups = plan(query, self._buckets(), self, whole=True, more=True)
        counts: dict[tuple[str, ...], int] = {}
        for group in groups:
            counted = None if group.residual is not None else await self._counts(query, group)
            if counted is not None:
                add_counts(counts, counted.items())
            else:
                async for record in self._records([group], None):
                    add_counts(counts, ((group_key(query, record), 1),))
        if not counts and (query is None or query.group_by is None):
            counts[()] = 0
        return counts

    def _is_quick(self, groups: list[Group]) -> bool:
        """Whether a page comes from the first entries that are looked at."""
        for group in groups:
            if group.residual is not None or group.exclusions or group.numbers:
                return False
            if not group.accesses and (group.bounds.start_high, group.bounds.close_high) != (_LAST, _LAST):
                return False
            if group.accesses and not self._is_small(group.accesses[0]):
                return False
        return True

    def _is_counted(self, query: Query, group: Group) -> bool:
        """Whether the sizes of buckets, or a few entries, tell how many records a group has."""
        if group.residual is not None or group.exclusions or group.numbers:
            return False
        if group.accesses:
            return self._is_small(group.accesses[0])
        return group.bounds.is_all and all(bucket_group(query, bucket) is not None for bucket in group.buckets)

    def _is_small(self, access: Access) -> bool:
        return sum(self.size(part, _FEW) for part in access.parts) <= _FEW

    # ORDER BY from the index

    def _first_by_time(self, query: Query, page: Page, groups: list[Group]) -> VisibilityPage | None:
        """A page by start or close time, from positions alone; None when it takes the records."""
        [(field, descending), *others] = query.order_by
        if others or field.name not in ("StartTime", "CloseTime"):
            return None
        if any(group.residual is not None or group.numbers for group in groups):
            return None
        by_close = field.name == "CloseTime"
        after = None
        if page.after is not None:
            [value] = page.after.values
            if not isinstance(value, int | None):
                raise ValueError("next_page_token is not one that this listing gave")
            rank = _MOST_TIME if value is None else _MOST_TIME - value if descending else value
            after = rank.to_bytes(8) + token_position(page.after)
        items: list[bytes] = []
        for group in groups:
            keys = self._keys(group)
            allowed = _allowed(group.buckets) if group.accesses else None
            entries = b""
            if keys is None:
                entries = self._collect(group, allowed)
            elif group.exclusions:
                return None
            items += sets.first(
                self._environment, keys, entries, group.bounds, allowed, by_close, descending, after, page.size + 1
            )
        items.sort()
        rows_found = index.records_at(self._environment, self._prefix, [item[8:] for item in items[: page.size]])
        found = [_decode_record(row) for _, row in rows_found]
        more = len(items) > page.size
        return VisibilityPage(found, write_token(query, found[-1]) if more and found else b"")

    def _first_by_value(self, query: Query, page: Page, groups: list[Group]) -> VisibilityPage | None:
        """A page by the value of an attribute, value after value; None when it takes the records."""
        [(field, descending), *others] = query.order_by
        if others or field.is_of_every_run or field.type in ("Text", "KeywordList") or len(groups) != 1:
            return None
        [group] = groups
        if group.residual is not None or group.accesses or group.exclusions or group.numbers:
            return None
        attribute = (field.name, field.type)
        all_values = self._range(TermRange(attribute, b"", b""))
        if field.name in RUN_FIELDS or all_values is None:
            return None
        keys = [key for key, _ in index.keys(self._environment, *all_values)]
        prefix = len(self._attribute(attribute) or b"")
        if any(len(key) - prefix >= EXACT_TEXT for key in keys):
            return None
        keys.sort(reverse=descending)
        after: bytes | None = None
        begin = 0
        if page.after is not None:
            [value] = page.after.values
            after = token_position(page.after)
            try:
                term = None if value is None else encode_value(field.type, value)
            except AssertionError:
                raise ValueError("next_page_token is not one that this listing gave") from None
            begin = len(keys) if term is None else _place(keys, all_values[1][:prefix] + term, descending)
            if term is not None and (begin == len(keys) or keys[begin][prefix:] != term):
                after = None  # its value is gone
        found: list[VisibilityRecord] = []
        allowed = _allowed(group.buckets)
        for key in keys[begin:]:
            wanted = page.size + 1 - len(found)
            rows_found, _ = index.merge(
                self._environment, self._prefix, [(TERM, key)], group.bounds, allowed, after, wanted
            )
            after = None
            found += [_decode_record(row) for _, row in rows_found]
            if len(found) > page.size:
                return VisibilityPage(found[: page.size], write_token(query, found[page.size - 1]))
        without = Group(group.buckets, group.bounds, [], None, [Access((TermRange(attribute, b"", b""),), True)])
        rows_found, _ = index.merge(
            self._environment,
            self._prefix,
            self._keys(without) or [],
            group.bounds,
            None,
            after,
            page.size + 1 - len(found),
            self._excluded(without),
        )
        found += [_decode_record(row) for _, row in rows_found]
        more = len(found) > page.size
        return VisibilityPage(found[: page.size], write_token(query, found[page.size - 1]) if more else b"")

    def size(self, part: Part, limit: int) -> int:
        """Entries of a part, or a number greater than the limit."""
        if isinstance(part, RunId) or (isinstance(part, WorkflowIds) and part.is_one):
            return 1
        found = self._range(part)
        if found is None:
            return 0
        return index.size(self._environment, *found, limit)

    # What plans say, as keys

    def _buckets(self) -> Iterator[Bucket]:
        for key, size in index.keys(self._environment, BUCKET, self._prefix, _after(self._prefix)):
            _, workflow_type, task_queue, division = self._names.by_number[int.from_bytes(key[4:8])]
            yield Bucket(workflow_type, task_queue, division, key[8], size, key)

    def _attribute(self, attribute: Attribute) -> bytes | None:
        number = self._names.find((self._number, *attribute))
        return None if number is None else self._prefix + number.to_bytes(4)

    def _range(self, part: Part) -> tuple[int, bytes, bytes] | None:
        match part:
            case WorkflowIds(low, high):
                return WORKFLOW, self._prefix + low, self._prefix + high if high else _after(self._prefix)
            case RunId(run_id):
                key = rows.run_key(self._number, run_id)
                return None if key is None else (VISIBILITY, key, b"")
            case Term(attribute, term):
                prefix = self._attribute(attribute)
                return None if prefix is None else (TERM, prefix + term, prefix + term + b"\0")
            case TermRange(attribute, low, high):
                prefix = self._attribute(attribute)
                return None if prefix is None else (TERM, prefix + low, prefix + high if high else _after(prefix))

    def _keys(self, group: Group) -> list[tuple[int, bytes]] | None:
        """The keys whose entries come in order and are the group's; None when they have to be collected."""
        if not group.accesses:
            return [(BUCKET, cast("bytes", bucket.place)) for bucket in group.buckets]
        if len(group.accesses) > 1 or not group.accesses[0].is_streamed:
            return None
        found = (self._range(part) for part in group.accesses[0].parts)
        return [(TERM, part[1]) for part in found if part is not None]

    def _collect(self, group: Group, allowed: bytes | None) -> bytes:
        entries = self._union(group.accesses[0], group, allowed)
        for access in group.accesses[1:]:
            entries = sets.intersect(entries, self._union(access, group, allowed))
        if group.exclusions:
            entries = sets.subtract(entries, self._excluded(group))
        if group.numbers:
            entries = sets.narrow(self._environment, self._prefix, entries, group.numbers)
        return entries

    def _excluded(self, group: Group) -> bytes:
        """The entries of all exclusions of a group."""
        if not group.exclusions:
            return b""
        every = Access(tuple(part for access in group.exclusions for part in access.parts), True)
        return self._union(every, group, _allowed(group.buckets))

    def _union(self, access: Access, group: Group, allowed: bytes | None) -> bytes:
        parts = [part for part in map(self._range, access.parts) if part is not None]
        return sets.collect(self._environment, parts, group.bounds, allowed)

    # Counting and reading

    async def _counts(self, query: Query | None, group: Group) -> dict[tuple[str, ...], int] | None:
        """Counts from the index alone; None when it takes the records."""
        shares: dict[tuple[str, ...], list[Bucket]] = {}
        for bucket in group.buckets:
            key = bucket_group(query, bucket)
            if key is None:
                return await self._counts_by_value(query, group)
            shares.setdefault(key, []).append(bucket)
        return {key: await self._count(_part(group, share)) for key, share in shares.items()}

    async def _counts_by_value(self, query: Query | None, group: Group) -> dict[tuple[str, ...], int] | None:
        field = None if query is None else query.group_by
        if (
            field is None
            or group.accesses
            or group.exclusions
            or group.numbers
            or field.is_of_every_run
            or field.type not in ("Keyword", "Bool")
        ):
            return None
        attribute = (field.name, field.type)
        found = self._range(TermRange(attribute, b"", b""))
        values = [] if found is None else index.keys(self._environment, *found)
        if len(values) > _MOST_VALUES:
            return None
        counts: dict[tuple[str, ...], int] = {}
        # Where no bucket is left out, what the index holds of a value is what is asked for.
        is_all = group.bounds.is_all and self._is_all(group)
        for key, several in values:
            term = key[8:]
            text = text_of(term) if field.type == "Keyword" else "true" if term == b"\1" else "false"
            if text is None:
                return None
            having = Access((Term(attribute, term),), True)
            several = several if is_all else await self._count(Group(group.buckets, group.bounds, [having]))
            counts[(text,)] = several
        unset = await self._count(group) - sum(counts.values())
        counts[("",)] = counts.get(("",), 0) + unset
        return counts

    async def _count(self, group: Group) -> int:
        keys = self._keys(group)
        known = self._known(group)
        if known is not None:
            return known
        allowed = _allowed(group.buckets) if group.accesses else None
        if keys is None:
            return len(self._collect(group, allowed)) // _ENTRY_SIZE
        if not group.exclusions and not group.numbers:
            return index.count(self._environment, keys, group.bounds, allowed)
        excluded = self._excluded(group)
        total = 0
        after = None
        while True:
            more, after = index.count_slowly(
                self._environment,
                self._prefix,
                keys,
                group.bounds,
                allowed,
                after,
                _SCAN,
                excluded,
                group.numbers,
            )
            total += more
            if after is None:
                return total
            await asyncio.sleep(0)

    def _known(self, group: Group) -> int | None:
        """A count of what the index says by itself: of all records those that have, or lack, values of an attribute."""
        accesses = group.accesses + group.exclusions
        if len(accesses) != 1 or group.numbers or not group.bounds.is_all or not self._is_all(group):
            return None
        having = 0
        for part in accesses[0].parts:
            if not isinstance(part, TermRange) or part.attribute[1] in ("Text", "KeywordList"):
                return None
            having += self.size(part, _ANY)
        return having if group.accesses else group.size - having

    def _is_all(self, group: Group) -> bool:
        return len(group.buckets) == len(list(self._buckets()))

    async def _records(
        self, groups: list[Group], after: PageToken | None, rows_wanted: int = _MOST_ROWS
    ) -> AsyncIterator[VisibilityRecord]:
        """Matching records in the default order; a long scan lets the event loop breathe."""
        read = [self._read(group, after, rows_wanted) for group in groups]
        found: Iterable[_Found] = read[0] if len(read) == 1 else heapq.merge(*read, key=_position)
        for scanned, (_, record) in enumerate(found, 1):
            if isinstance(record, VisibilityRecord):
                yield record
            if record is _PAUSE or scanned % _BREATH == 0:
                await asyncio.sleep(0)

    def _read(self, group: Group, token: PageToken | None, rows_wanted: int) -> Iterator[_Found]:
        environment = self._environment
        keys = self._keys(group)
        allowed = _allowed(group.buckets) if group.accesses else None
        entries = self._collect(group, allowed) if keys is None else b""
        excluded = self._excluded(group) if keys is not None else b""
        holds = None if group.residual is None else compiled(group.residual)
        after = None if token is None else token_position(token)
        size = min(rows_wanted, _MOST_ROWS) if holds is None else _FIRST_ROWS
        while True:
            if keys is None:
                found = index.records(environment, self._prefix, entries, after, size)
                last = found[-1][0] if len(found) == size else None
            else:
                found, last = index.merge(
                    environment,
                    self._prefix,
                    keys,
                    group.bounds,
                    allowed,
                    after,
                    size,
                    excluded,
                    group.numbers,
                    _SCAN,
                )
            for position, row in found:
                record = _decode_record(row)
                yield position, record if holds is None or holds(record) is True else None
            if last is None:
                return
            if len(found) < size:
                yield last, _PAUSE  # it has looked at enough for now
            after = last
            size = min(2 * size, _MOST_ROWS)


class _Capped:
    """Sizes that are told up to a few: enough to know what is quick."""

    def __init__(self, visibility: Visibility) -> None:
        self._visibility = visibility

    def size(self, part: Part, limit: int) -> int:
        """Entries of a part, or a number greater than the limit or than a few."""
        return self._visibility.size(part, min(limit, _FEW))


def _place(keys: list[bytes], key: bytes, descending: bool) -> int:
    """Where a key stands, or would, in sorted keys."""
    if not descending:
        return bisect_left(keys, key)
    return bisect_left(keys, True, key=lambda other: other <= key)


def _position(found: _Found) -> bytes:
    return found[0]


def _after(prefix: bytes) -> bytes:
    """The first key that no longer begins with a number of four bytes (which never reach their end)."""
    return prefix[:-4] + (int.from_bytes(prefix[-4:]) + 1).to_bytes(4)


def _part(group: Group, buckets: list[Bucket]) -> Group:
    """What a group without residual has in some of its buckets."""
    return Group(buckets, group.bounds, group.accesses, None, group.exclusions, group.numbers)


def _allowed(buckets: list[Bucket]) -> bytes:
    """Buckets, as entries of terms are held against them."""
    numbers = [(int.from_bytes(key[4:8]), key[8]) for key in (cast("bytes", bucket.place) for bucket in buckets)]
    allowed = bytearray(2 * max((number for number, _ in numbers), default=0) + 2)
    for number, status in numbers:
        allowed[2 * number + (status >> 3)] |= 1 << (status & 7)
    return bytes(allowed)
