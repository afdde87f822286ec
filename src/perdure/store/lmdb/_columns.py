"""Filters answered from columns: segments made by :mod:`perdure.store.lmdb._sealing`, and the records they lack.

Of the records of a namespace, those up to a time (the *horizon*) are in segments: runs that closed by then, and runs that
started by then and are open. What changed of them since left marks: the old position is dead, and what is at the new one
is read from its record. These records and those beyond the horizon are the *tail*; a filter is evaluated on each of them.
Everything of an answer is read from one snapshot.
"""

from __future__ import annotations

import contextlib
import heapq
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import msgspec

from perdure.store.api import VisibilityPage, VisibilityRecord
from perdure.store.lmdb import _batch as rows
from perdure.store.lmdb import _gather as gather
from perdure.store.lmdb import _index as index
from perdure.store.lmdb._batch import Names
from perdure.store.lmdb._lmdb import Environment
from perdure.store.lmdb._program import Program
from perdure.store.lmdb._select import Segments
from perdure.store.visibility import (
    BUCKETS,
    EXACT_TEXT,
    Bucket,
    Compiler,
    Field,
    Page,
    PageToken,
    Query,
    UnsupportedError,
    add_counts,
    bucket_group,
    compiled,
    encode_value,
    field_value,
    group_key,
    text_of,
    write_token,
)

COLUMN, BUCKET = rows.DATABASE_NAMES.index("column"), rows.DATABASE_NAMES.index("bucket")
_MOST_TIME = (1 << 63) - 1
#: Beyond so many records the tail is no longer read at once.
_LONGEST_TAIL = 20_000
_MOST_FIELDS = 3
_INVERTED = bytes(255 - byte for byte in range(256))
_decode_record = msgspec.msgpack.Decoder(VisibilityRecord).decode


class Directory(NamedTuple):
    """What a namespace has in columns."""

    horizon: int
    #: The number of the next segment.
    next: int
    #: ``(number, rows)`` of each.
    segments: list[tuple[int, int]]


_decode_directory = msgspec.msgpack.Decoder(Directory).decode
encode_directory = msgspec.msgpack.Encoder().encode

# A place in an order: what each field says, whether it is unset first; then the position.
_Key = tuple[tuple[tuple[bool, Any], ...], bytes]


class _Order(NamedTuple):
    field: Field
    descending: bool
    attribute: int
    ranks_by_term: dict[bytes, int] | None
    ranks: dict[Any, int]


class Columns:
    """The columns of one namespace, and what was learnt of the marks so far."""

    def __init__(self, environment: Environment, names: Names, number: int) -> None:
        self._environment = environment
        self._names = names
        self._number = number
        self.prefix = number.to_bytes(4)
        self._stored: bytes | None = None
        self.directory = Directory(-1, 1, [])
        self.segments = Segments(self.prefix, [])
        self.next_mark = 0
        #: Positions up to the horizon where records were put since.
        self.changed: set[bytes] = set()
        self._alive = 0

    @contextlib.contextmanager
    def snapshot(self) -> Iterator[None]:
        """Within: one snapshot, and everything known of it. Nothing may be awaited."""
        self._environment.hold()
        try:
            self._refresh()
            yield
        finally:
            self._environment.let_go()

    def _refresh(self) -> None:
        stored = self._environment.get(COLUMN, self.prefix + bytes(4))
        if stored != self._stored:
            self._stored = None
            self.directory = Directory(-1, 1, []) if stored is None else _decode_directory(stored)
            self.segments = Segments(self.prefix, self.directory.segments)
            self.segments.load(self._environment)
            self.next_mark = 0
            self.changed = set()
            self._count_alive()
            self._stored = stored
        olds, news, after = gather.marks(self._environment, self.prefix, self.next_mark)
        if olds or news:
            self.segments.kill(self._environment, olds)
            self.changed.difference_update(olds)
            self.changed.update(news)
            # A mark that was left while columns were made may tell of a time beyond the horizon.
            self.changed = {position for position in self.changed if _time(position) <= self.directory.horizon}
            self._count_alive()
        self.next_mark = after

    def _count_alive(self) -> None:
        self._alive = sum(self.segments.alive(place) for place in range(self.segments.count))

    def unsealed(self) -> int:
        """How many records are not in columns, as of now."""
        with self.snapshot():
            return self._unsealed()

    def _unsealed(self) -> int:
        stored = sum(size for _, size in index.keys(self._environment, BUCKET, self.prefix, _after(self.prefix)))
        return stored - self._alive

    def changed_positions(self) -> list[bytes]:
        """The changed positions where there still is a record."""
        return [position for position, _ in self._changed_records()]

    def _changed_records(self) -> list[tuple[bytes, VisibilityRecord]]:
        found = []
        for position, row in index.records_at(self._environment, self.prefix, list(self.changed)):
            record = _decode_record(row)
            if rows.position(record.start_time, record.close_time, record.key.run_id) == position:
                found.append((position, record))
        return found

    # Answers. Each is None when the columns do not have it.

    def list_runs(self, query: Query, page: Page) -> VisibilityPage | None:
        """A page of a listing."""
        with self.snapshot():
            if not self._is_useful():
                return None
            try:
                return self._ordered(query, page) if query.order_by else self._listed(query, page)
            except UnsupportedError:
                return None

    def count_runs(self, query: Query) -> dict[tuple[str, ...], int] | None:
        """The counts of a filter."""
        with self.snapshot():
            if not self._is_useful():
                return None
            try:
                return self._counted(query)
            except UnsupportedError:
                return None

    def _is_useful(self) -> bool:
        return bool(self.directory.segments) and self._unsealed() <= _LONGEST_TAIL

    def _compiler(self) -> Compiler:
        return Compiler(self._attribute, self._buckets())

    def _attribute(self, attribute: tuple[str, str]) -> int | None:
        return self._names.find((self._number, *attribute))

    def _buckets(self) -> list[tuple[Bucket, bytes]]:
        found = []
        for key, size in index.keys(self._environment, BUCKET, self.prefix, _after(self.prefix)):
            _, workflow_type, task_queue, division = self._names.by_number[int.from_bytes(key[4:8])]
            found.append((Bucket(workflow_type, task_queue, division, key[8], size, key), key[4:]))
        return found

    def _tail(self, query: Query) -> list[tuple[bytes, VisibilityRecord]]:
        """What matches of the records that are not in columns, in no order."""
        fresh = gather.positions(self._environment, self.prefix, self.directory.horizon, _MOST_TIME)
        positions = [fresh[at : at + 32] for at in range(0, len(fresh), 32)]
        found = [
            (position, _decode_record(row))
            for position, row in index.records_at(self._environment, self.prefix, positions)
        ]
        found += self._changed_records()
        if query.where is None:
            return found
        holds = compiled(query.where)
        return [item for item in found if holds(item[1]) is True]

    def _records(self, positions: Iterable[bytes]) -> list[VisibilityRecord]:
        return [_decode_record(row) for _, row in index.records_at(self._environment, self.prefix, list(positions))]

    def _listed(self, query: Query, page: Page) -> VisibilityPage:
        program = Program(self._compiler().program(query.where))
        after = None if page.after is None else token_position(page.after)
        found = self.segments.positions(self._environment, program, after, page.size + 1)
        found += [position for position, _ in self._tail(query) if after is None or position > after]
        found.sort()
        records = self._records(found[: page.size])
        return VisibilityPage(records, write_token(query, records[-1]) if len(found) > page.size else b"")

    def _counted(self, query: Query) -> dict[tuple[str, ...], int]:
        compiler = self._compiler()
        program = Program(compiler.program(query.where))
        counts: dict[tuple[str, ...], int] = {}
        if query.group_by is None:
            counts[()] = self.segments.matching(self._environment, program) + len(self._tail(query))
            return counts
        add_counts(counts, self._groups(query, query.group_by, compiler, program))
        add_counts(counts, ((group_key(query, record), 1) for _, record in self._tail(query)))
        return counts

    def _groups(
        self, query: Query, field: Field, compiler: Compiler, program: Program
    ) -> Iterable[tuple[tuple[str, ...] | None, int]]:
        by_bucket = {term: bucket_group(query, bucket) for bucket, term in self._buckets()}
        is_of_buckets = None not in by_bucket.values()
        number = BUCKETS if is_of_buckets else compiler.number(field)
        if number is None:
            return [(("",), self.segments.matching(self._environment, program))]
        found = self.segments.groups(self._environment, program, number)
        if found is None:
            raise UnsupportedError
        counts, without = found
        if is_of_buckets:
            return [(by_bucket[term], several) for term, several in counts.items()]
        groups: list[tuple[tuple[str, ...] | None, int]] = [(("",), without)]
        for term, several in counts.items():
            text = text_of(term) if field.type == "Keyword" else "true" if term == b"\1" else "false"
            if text is None:
                raise UnsupportedError
            groups.append(((text,), several))
        return groups

    # ORDER BY

    def _ordered(self, query: Query, page: Page) -> VisibilityPage:
        if len(query.order_by) > _MOST_FIELDS:
            raise UnsupportedError
        compiler = self._compiler()
        program = Program(compiler.program(query.where))
        orders = [_Order(field, descending, *compiler.order(field, descending)) for field, descending in query.order_by]
        values = (None,) * len(orders) if page.after is None else page.after.values
        terms = [_term(order, value) for order, value in zip(orders, values, strict=True)]
        after = None if page.after is None else token_position(page.after)
        fields = [
            (order.attribute, order.descending, order.ranks_by_term, *term)
            for order, term in zip(orders, terms, strict=True)
        ]
        wanted = page.size + 1
        found = self.segments.ordered(self._environment, program, fields, after, wanted)
        if found is None:
            raise UnsupportedError
        tail = [(_key(orders, record), position) for position, record in self._tail(query)]
        if after is not None:
            begin = (tuple(_part(*each) for each in zip(orders, terms, strict=True)), after)
            tail = [each for each in tail if each > begin]
        tail.sort()

        def keys(place: int, items: list[int]) -> Iterator[_Key]:
            for item in items:
                terms, position = self.segments.key_of(self._environment, place, fields, item)
                yield tuple(_part_of_column(*each) for each in zip(orders, terms, strict=True)), position

        merged = heapq.merge(*(keys(place, items) for place, items in enumerate(found) if items), tail)
        positions = [position for _, (_, position) in zip(range(wanted), merged, strict=False)]
        records = self._records(positions[: page.size])
        return VisibilityPage(records, write_token(query, records[-1]) if len(positions) > page.size else b"")


def _term(order: _Order, value: Any) -> tuple[bytes | None, int]:
    """A value to begin after: its term, or its rank where these are given.

    Raises:
        UnsupportedError: it may have been cut.
        ValueError: it is not one of the attribute.
    """
    if order.ranks_by_term is not None:
        return None, _rank(order, value)
    if value is None:
        return None, 0
    try:
        term = encode_value(order.field.type, value)
    except (AssertionError, OverflowError):
        raise ValueError("next_page_token is not one that this listing gave") from None
    if term is None or (isinstance(value, str) and len(term) >= EXACT_TEXT):
        raise UnsupportedError
    return term, 0


def _rank(order: _Order, value: Any) -> int:
    rank = order.ranks.get(value)
    if rank is not None:
        return rank
    try:
        before = [known for known in order.ranks if known is not None and (known > value) is order.descending]
    except TypeError:
        raise ValueError("next_page_token is not one that this listing gave") from None
    return 2 * len(before)


def _key(orders: list[_Order], record: VisibilityRecord) -> tuple[tuple[bool, Any], ...]:
    return tuple(_part(order, _term(order, field_value(order.field, record))) for order in orders)


def _part(order: _Order, term: tuple[bytes | None, int]) -> tuple[bool, Any]:
    return _part_of_column(order, term[1] if order.ranks_by_term is not None else term[0])


def _part_of_column(order: _Order, term: bytes | int | None) -> tuple[bool, Any]:
    if term is None:
        return True, b""
    if isinstance(term, bytes) and order.descending:
        return False, term.translate(_INVERTED)
    return False, term


def _time(position: bytes) -> int:
    """When the run at a position closed, or started."""
    return ~int.from_bytes(position[:8] if any(position[:8]) else position[8:16]) & ((1 << 64) - 1)


def _after(prefix: bytes) -> bytes:
    return (int.from_bytes(prefix) + 1).to_bytes(4)


def token_position(token: PageToken) -> bytes:
    """The position that a listing goes on after."""
    closed, first, second, run_id = token.position
    return rows.position(-second, -first, run_id) if closed else rows.position(-first, 0, run_id)
