"""Making columns, in the background, of records that are not in any: *sealing* them.

A namespace's directory says up to which time its records are in segments, and which segments there are. Sealing moves that
time (the horizon) on:

1. From now on changes of records up to the new horizon leave marks. What was submitted before is waited for.
2. The records between the horizons are found, and those that marks tell of; small segments, and segments of which half is
   dead, are taken apart and made again with them.
3. The columns of each new segment are made, one commit for each, with room for other work in between. They are read from
   later snapshots than the one of step 2; whatever changed since has left a mark.
4. One commit publishes the new directory, says which rows are dead, and removes the marks of step 2 and the old segments.

A crash in between leaves columns that no directory names, which the next opening removes.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Collection
from functools import partial

from perdure.store.api import StoreError
from perdure.store.lmdb import _batch as rows
from perdure.store.lmdb import _gather as gather
from perdure.store.lmdb._batch import Batch, Names
from perdure.store.lmdb._columns import Columns, Directory, encode_directory
from perdure.store.lmdb._gather import Segment, Terms
from perdure.store.lmdb._lmdb import Environment

META, COLUMN, MARK = (rows.DATABASE_NAMES.index(name) for name in ("meta", "column", "mark"))
POSITIONS, BUCKETS, DEAD = 0, 0x7FFFFFFE, 0x7FFFFFFF
#: What records have of themselves, by place in a segment to be.
NUMBERS = (
    ("StartTime", "Datetime"),
    ("ExecutionTime", "Datetime"),
    ("CloseTime", "Datetime"),
    ("ExecutionDuration", "Int"),
    ("HistoryLength", "Int"),
    ("HistorySizeBytes", "Int"),
    ("StateTransitionCount", "Int"),
)
TEXTS = (("WorkflowId", "Keyword"), ("ParentRunId", "Keyword"), ("RootRunId", "Keyword"))
_OF_RECORDS = frozenset((*NUMBERS, *TEXTS))

SEGMENT_ROWS = 32768
#: So many records that are not in columns, or changed since, are worth sealing when somebody asks; and without being asked.
WORTH_IT = 4096
WORTH_IT_UNASKED = 16384
#: How often is looked, in seconds; a namespace that had new runs in between is left alone.
PERIOD = 15.0
#: How many records are read, and terms and entries looked up, before the event loop gets a turn.
_RECORDS = 2000
_TERMS = 10_000
#: For so many segments an attribute's terms are looked up at once.
_TOGETHER = 32
_logger = logging.getLogger("perdure.store")


class Sealing:
    """Seals namespaces, one at a time.

    Args:
        submit: commits a batch.
    """

    def __init__(self, environment: Environment, names: Names, submit: Callable[[Batch], Awaitable[None]]) -> None:
        self._environment = environment
        self._names = names
        self._submit = submit
        self._columns: dict[int, Columns] = {}
        self._asked: dict[int, None] = {}
        self._task: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._numbers: Collection[int] = ()
        #: How many records were not in columns when it was last looked.
        self._seen: dict[int, int] = {}
        #: At how many records sealing begins.
        self.worth_it = WORTH_IT

    def columns(self, number: int) -> Columns:
        """The columns of a namespace."""
        columns = self._columns.get(number)
        if columns is None:
            columns = self._columns[number] = Columns(self._environment, self._names, number)
        return columns

    async def start(self, epoch: int, numbers: Collection[int]) -> None:
        """Go on with what an earlier opening left.

        Args:
            epoch: this opening's.
            numbers: the namespaces', also those to come.
        """
        self._numbers = numbers
        self._names.next_mark = epoch << 40
        batch = Batch(self._names)
        for number in numbers:
            columns = self.columns(number)
            with columns.snapshot():
                directory = columns.directory
                known = {segment for segment, _ in directory.segments}
                for segment in gather.segments(self._environment, columns.prefix):
                    if segment not in known:
                        batch.delete_prefix(COLUMN, columns.prefix + segment.to_bytes(4))
            if directory.horizon >= 0:
                self._names.seal(number, directory.horizon)
        if batch.size:
            await self._submit(batch)
        self._watch()

    def _watch(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(PERIOD, self._look)

    def _look(self) -> None:
        try:
            for number in self._numbers:
                unsealed = self.columns(number).unsealed()
                if unsealed >= WORTH_IT_UNASKED and unsealed == self._seen.get(number):
                    self._begin(number)
                self._seen[number] = unsealed
        except StoreError as error:
            _logger.warning("cannot look for runs to index: %s", error)
        self._watch()

    def asked(self, number: int) -> None:
        """A filter was answered: see that the next one is fast."""
        if number in self._asked:
            return
        columns = self.columns(number)
        if columns.unsealed() >= self.worth_it:
            self._begin(number)

    def _begin(self, number: int) -> None:
        self._asked.setdefault(number)
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._run())

    async def _run(self) -> None:
        while self._asked:
            number = next(iter(self._asked))
            try:
                await self.seal(number)
            except StoreError as error:
                _logger.warning("cannot index the runs of a namespace for filters, the next one tries again: %s", error)
            finally:
                del self._asked[number]

    async def close(self) -> None:
        """Stop; what is under way is begun again another time."""
        if self._timer is not None:
            self._timer.cancel()
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def seal(self, number: int, horizon: int | None = None, rows: int = SEGMENT_ROWS) -> None:
        """Put a namespace's records into columns.

        Args:
            horizon: up to which time; None: all there are, but none of the future.
            rows: how many a segment has at most.
        """
        columns = self.columns(number)
        prefix = columns.prefix
        if horizon is None:
            horizon = min(time.time_ns(), gather.newest(self._environment, prefix))
        with columns.snapshot():
            old = columns.directory
        horizon = max(horizon, old.horizon)
        self._names.seal(number, horizon)
        await self._put(META, b"sealing", number.to_bytes(4))
        with columns.snapshot():
            first_mark, marks_end = 0, columns.next_mark
            found = [gather.positions(self._environment, prefix, old.horizon, horizon), *columns.changed_positions()]
            old = columns.directory
            kept, redone = self._choose(columns, sum(map(len, found)) // 32, rows)
            found += [columns.segments.alive_positions(self._environment, place) for place in redone]
        wanted = gather.merged(found)
        new: list[tuple[int, int, bytes]] = []
        for begin in range(0, len(wanted), rows * _TOGETHER * 32):
            new += await self._fill(number, old.next + len(new), wanted[begin : begin + rows * _TOGETHER * 32], rows)
        batch = Batch(self._names)
        segments = [old.segments[place] for place in kept]
        with columns.snapshot():
            for place in kept:
                batch.put(COLUMN, _column_key(prefix, old.segments[place][0], DEAD), columns.segments.dead(place))
        for place in redone:
            batch.delete_prefix(COLUMN, prefix + old.segments[place][0].to_bytes(4))
        for name, size, dead in new:
            batch.put(COLUMN, _column_key(prefix, name, DEAD), dead)
            segments.append((name, size))
        directory = Directory(horizon, old.next + len(new), segments)
        batch.put(COLUMN, prefix + bytes(4), encode_directory(directory))
        for key in self._marks(prefix, first_mark, marks_end):
            batch.delete(MARK, key)
        await self._submit(batch)

    def _marks(self, prefix: bytes, first: int, end: int) -> list[bytes]:
        found: list[bytes] = []
        more = True
        low = prefix + first.to_bytes(8)
        while more:
            some, more = self._environment.scan(MARK, low, prefix + end.to_bytes(8), 10_000)
            found += [key for key, _ in some]
            low = found[-1] + b"\0" if found else low
        return found

    def _choose(self, columns: Columns, fresh: int, most: int) -> tuple[list[int], list[int]]:
        """Places of segments to keep, and of segments to make again: small beside what is new, or half dead."""
        sizes = [(columns.segments.alive(place), place) for place in range(columns.segments.count)]
        kept, redone = [], []
        total = fresh
        for alive, place in sorted(sizes):
            is_small = alive <= 2 * total and total + alive <= most
            if is_small or 2 * alive < columns.directory.segments[place][1]:
                redone.append(place)
                total += alive
            else:
                kept.append(place)
        return sorted(kept), redone

    async def _fill(self, number: int, first: int, positions: bytes, rows: int) -> list[tuple[int, int, bytes]]:
        """Make and store segments; gives the number, the size and the dead rows of each."""
        prefix = number.to_bytes(4)
        made: list[tuple[int, int, bytes]] = []
        for begin in range(0, len(positions), rows * 32):
            name = first + len(made)
            some = positions[begin : begin + rows * 32]
            await self._put(COLUMN, _column_key(prefix, name, POSITIONS), some)
            segment = Segment(prefix, some)
            await _in_turns(partial(segment.read, self._environment, _RECORDS))
            for place, attribute in enumerate(NUMBERS):
                column = segment.number_column(place)
                await self._put_column(prefix, name, self._names.give((number, *attribute)), column)
            for place, attribute in enumerate(TEXTS):
                column = segment.text_column(place)
                await self._put_column(prefix, name, self._names.give((number, *attribute)), column)
            await self._put_column(prefix, name, BUCKETS, segment.bucket_column())
            made.append((name, segment.rows, segment.dead))
        for attribute_number, meaning in list(self._names.by_number.items()):
            if len(meaning) != 3 or meaning[0] != number or meaning[1:] in _OF_RECORDS:
                continue
            terms = Terms(prefix + attribute_number.to_bytes(4), positions, rows)
            await _in_turns(partial(terms.read, self._environment, _TERMS))
            for place, (name, _, _) in enumerate(made):
                await self._put_column(prefix, name, attribute_number, terms.column(place))
        return made

    async def _put_column(self, prefix: bytes, name: int, attribute: int, column: bytes | None) -> None:
        if column is not None:
            await self._put(COLUMN, _column_key(prefix, name, attribute), column)
        await asyncio.sleep(0)

    async def _put(self, database: int, key: bytes, value: bytes) -> None:
        batch = Batch(self._names)
        batch.put(database, key, value)
        await self._submit(batch)


async def _in_turns(read: Callable[[], bool]) -> None:
    """Read until there is no more; in between the event loop gets its turns."""
    more = True
    while more:
        more = read()
        await asyncio.sleep(0)


def _column_key(prefix: bytes, segment: int, attribute: int) -> bytes:
    return prefix + segment.to_bytes(4) + attribute.to_bytes(4)
