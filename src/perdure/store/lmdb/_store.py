"""The store over an LMDB environment: rows and ranges here, transactions in :mod:`perdure.store.lmdb._lmdb`."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import msgspec

from perdure.store.api import (
    Capability,
    Document,
    Durability,
    HistoryPage,
    NamespaceRecord,
    RunKey,
    RunUpdate,
    StaleRunError,
    StoreClosedError,
    StoredRun,
    StoreError,
    TaskRow,
    VisibilityPage,
    VisibilityRecord,
)
from perdure.store.keys import check_document, document_key, is_run_id, ordered_text
from perdure.store.lmdb import _batch as rows
from perdure.store.lmdb._api import store_error
from perdure.store.lmdb._batch import Batch, Names
from perdure.store.lmdb._lmdb import OUTCOME_COMMITTED, OUTCOME_STALE, Environment
from perdure.store.lmdb._owner import Owner
from perdure.store.lmdb._sealing import Sealing
from perdure.store.lmdb._visibility import Visibility
from perdure.store.visibility import Query

#: The map a new store starts with; it doubles as needed. Only what is used takes memory or disk.
DEFAULT_MAP_SIZE = 1 << 30

META, NAMESPACE, WORKFLOW, RUN, HISTORY, TIMER, TASK, VISIBILITY, DOCUMENT, BUCKET, TERM, COLUMN, MARK = range(
    len(rows.DATABASE_NAMES)
)

_AFTER_TIMES = b"\xff" * 25
_RECORD_KEY_SIZE = 20
_decode_record = msgspec.msgpack.Decoder(VisibilityRecord).decode
_decode_document = msgspec.msgpack.Decoder(Document).decode
_decode_namespace = msgspec.msgpack.Decoder(NamespaceRecord).decode

# What Environment tells of a batch that ended: see there.
_Ended = tuple[Any, int, int, Batch, int]


class LMDBStore:
    """Everything in one folder of a local disk, owned by this process while open.

    A crash at any instant, of the process or (with ``Durability.FULL``) of the machine, leaves every acknowledged
    commit and no part of any other; opening needs no repair.
    """

    name = "lmdb"
    capabilities = Capability.PERSISTENT | Capability.EXCLUSIVE

    def __init__(self, folder: Path, durability: Durability, owner: Owner, map_size: int) -> None:
        self.durability = durability
        self.epoch = 0
        self._folder = folder
        self._owner = owner
        self._loop = asyncio.get_running_loop()
        self._pid = os.getpid()
        self._closing = False
        #: Namespaces by their number in keys; those not known to be stored yet are written along with each commit.
        self._numbers: dict[str, int] = {}
        self._namespace_ids: dict[int, str] = {}
        self._unstored: set[str] = set()
        self._names = Names()
        self._sealing: Sealing | None = None
        self._idle: asyncio.Future[None] | None = None
        self._wake_read, self._wake_write = os.pipe()
        os.set_blocking(self._wake_read, False)
        os.set_blocking(self._wake_write, False)
        try:
            self._environment = Environment(folder, map_size, durability is Durability.FULL, self._wake_write)
        except BaseException:
            self._close_pipe()
            raise
        self._loop.add_reader(self._wake_read, self._drain)

    @classmethod
    async def open(
        cls,
        path: str | os.PathLike[str],
        *,
        durability: Durability = Durability.FULL,
        map_size: int = DEFAULT_MAP_SIZE,
    ) -> LMDBStore:
        """Open the store in a folder of a local disk, creating both if need be.

        The calling event loop is the one all methods are for.

        Args:
            map_size: bytes of address space to start with; grows by itself.
        Raises:
            StoreOwnedError: another process owns it; the message has its pid.
            StoreUnavailableError: no permission, no room.
            StoreCorruptError: the folder holds something else, or the store of a newer perdure.
        """
        folder = Path(path)
        owner = Owner.acquire(folder)
        try:
            store = cls(folder, durability, owner, map_size)
        except BaseException:
            owner.release()
            raise
        try:
            await store._start()
        except BaseException:
            await store.close()
            raise
        return store

    async def _start(self) -> None:
        for key, number in self._environment.scan(NAMESPACE, b"n", b"o", 1 << 31)[0]:
            namespace_id = key[1:].decode()
            self._numbers[namespace_id] = int.from_bytes(number, "little")
            self._namespace_ids[self._numbers[namespace_id]] = namespace_id
        self._names = Names(self._environment.scan(NAMESPACE, b"i", b"j", 1 << 31, False, 1 << 62)[0])
        if self._environment.get(META, b"unindexed") is not None:
            await self._index()
        epoch = int.from_bytes(self._environment.get(META, b"epoch") or b"", "little") + 1
        batch = Batch(self._names)
        batch.put(META, b"epoch", epoch.to_bytes(8, "little"))
        await self._submit(batch)
        self.epoch = epoch
        self._sealing = Sealing(self._environment, self._names, self._submit)
        await self._sealing.start(epoch, self._namespace_ids)

    async def _index(self) -> None:
        """Give a store of format 1 its indexes. Begins again where it was interrupted."""
        low = b""
        while True:
            found, more = self._environment.scan(VISIBILITY, low, b"", 10_000)
            batch = Batch(self._names)
            for key, value in found:
                low = key + b"\0"
                if len(key) != _RECORD_KEY_SIZE:
                    batch.delete(VISIBILITY, key)
                    batch.show(_decode_record(value), int.from_bytes(key[:4]))
            if not more:
                batch.delete(META, b"unindexed")
            await self._submit(batch)
            if not more:
                return

    # Writes

    async def commit(self, updates: Sequence[RunUpdate], documents: Sequence[Document] = ()) -> None:
        if self._closing:
            raise StoreClosedError(f"the store in {self._folder} is closed")
        if not updates and not documents:
            return
        batch = Batch(self._names)
        versions: dict[tuple[int, str], int] = {}
        for update in updates:
            key = update.key
            number = self._numbers.get(key.namespace_id) or self._new_number(key.namespace_id)
            expected = versions.get((number, key.run_id))
            if expected is not None and expected != update.version - 1:
                raise StaleRunError(key, update.version - 1, expected)
            batch.update(update, number, expected)
            versions[number, key.run_id] = 0 if update.delete else update.version
        for document in documents:
            check_document(document)
            number = self._numbers.get(document.namespace_id) or self._new_number(document.namespace_id)
            name = number.to_bytes(4) + document_key(document.kind, document.id)
            if document.body:
                batch.put(DOCUMENT, name, msgspec.msgpack.encode(document))
            else:
                batch.delete(DOCUMENT, name)
        await self._submit(batch)

    async def put_namespace(self, record: NamespaceRecord) -> None:
        if self._closing:
            raise StoreClosedError(f"the store in {self._folder} is closed")
        if record.namespace_id not in self._numbers:
            self._new_number(record.namespace_id)
        batch = Batch(self._names)
        batch.put(NAMESPACE, b"r" + record.namespace_id.encode(), msgspec.msgpack.encode(record))
        await self._submit(batch)

    async def delete_namespace(self, namespace_id: str) -> None:
        if self._closing:
            raise StoreClosedError(f"the store in {self._folder} is closed")
        batch = Batch(self._names)
        batch.delete(NAMESPACE, b"r" + namespace_id.encode())
        await self._submit(batch)

    async def _submit(self, batch: Batch) -> None:
        carried = tuple(self._unstored)
        names = tuple(self._names.unstored)
        for key in names:
            batch.put(NAMESPACE, key, self._names.unstored[key])
        for namespace_id in carried:
            number = self._numbers[namespace_id]
            batch.put(NAMESPACE, b"n" + namespace_id.encode(), number.to_bytes(4, "little"))
        future: asyncio.Future[None] = self._loop.create_future()
        ended = self._environment.submit(batch, future)
        if ended is None:
            await future
        elif (error := self._error(ended)) is not None:
            raise error
        if carried:
            self._unstored.difference_update(carried)
        for key in names:
            self._names.unstored.pop(key, None)

    def _drain(self) -> None:
        with contextlib.suppress(BlockingIOError):
            os.read(self._wake_read, 4096)
        self._settle(self._environment.drain())
        if self._idle is not None and not self._environment.pending and not self._idle.done():
            self._idle.set_result(None)

    def _settle(self, results: Iterable[_Ended]) -> None:
        for ended in results:
            future: asyncio.Future[None] = ended[0]
            if future.done():
                continue
            error = None if ended[1] == OUTCOME_COMMITTED else self._error(ended)
            if error is None:
                future.set_result(None)
            else:
                future.set_exception(error)

    def _error(self, ended: _Ended) -> StoreError | None:
        _, outcome, detail, batch, stale = ended
        if outcome == OUTCOME_COMMITTED:
            return None
        if outcome == OUTCOME_STALE:
            key, expected = batch.keys[stale]
            return StaleRunError(key, expected, detail)
        error: StoreError = store_error(detail, f"cannot write to the store in {self._folder}")
        return error

    def _new_number(self, namespace_id: str) -> int:
        if not is_run_id(namespace_id):
            raise ValueError(f"namespace_id {namespace_id!r} is not a UUID in lower case with dashes")
        number = len(self._numbers) + 1
        self._numbers[namespace_id] = number
        self._namespace_ids[number] = namespace_id
        self._unstored.add(namespace_id)
        return number

    # Reads

    async def load_run(self, key: RunKey) -> StoredRun | None:
        row = self._run_row(key.namespace_id, key.run_id)
        if row is None:
            return None
        version, workflow_id, state = row
        return StoredRun(version, state) if workflow_id == key.workflow_id else None

    async def current_run(self, namespace_id: str, workflow_id: str) -> str | None:
        number = self._number(namespace_id)
        value = None if number is None else self._environment.get(WORKFLOW, rows.current_key(number, workflow_id))
        if value is None or (len(value) > 16 and value[16:] != workflow_id.encode()):
            return None
        return rows.run_id_text(value)

    async def find_run(self, namespace_id: str, run_id: str) -> RunKey | None:
        row = self._run_row(namespace_id, run_id)
        return None if row is None else RunKey(namespace_id, row[1], run_id)

    def _run_row(self, namespace_id: str, run_id: str) -> tuple[int, str, bytes] | None:
        number = self._number(namespace_id)
        key = None if number is None else rows.run_key(number, run_id)
        row = None if key is None else self._environment.get(RUN, key)
        return None if row is None else rows.decode_run(row)

    async def read_history(
        self, key: RunKey, first_event_id: int = 1, next_event_id: int = 0, *, max_events: int = 0
    ) -> HistoryPage:
        prefix = self._history_prefix(key)
        if prefix is None:
            return HistoryPage([], 0)
        low = prefix + first_event_id.to_bytes(4)
        if first_event_id > 1:
            before, _ = self._environment.scan(HISTORY, prefix, prefix + (first_event_id + 1).to_bytes(4), 1, True)
            if before:
                first, count, _ = rows.decode_history(*before[0])
                if first + count > first_event_id:
                    low = before[0][0]
        high = prefix + (next_event_id.to_bytes(4) if next_event_id else _AFTER_TIMES)
        batches: list[bytes] = []
        events = 0
        more = True
        while more:
            found, more = self._environment.scan(HISTORY, low, high, _history_rows(max_events, events))
            for row in found:
                first, count, batch = rows.decode_history(*row)
                events += count
                if max_events and batches and events > max_events:
                    return HistoryPage(batches, first)
                batches.append(batch)
                low = row[0] + b"\0"
        return HistoryPage(batches, 0)

    async def read_history_reverse(self, key: RunKey, last_event_id: int = 0, *, max_events: int = 0) -> HistoryPage:
        prefix = self._history_prefix(key)
        if prefix is None:
            return HistoryPage([], 0)
        high = prefix + ((last_event_id + 1).to_bytes(4) if last_event_id else _AFTER_TIMES)
        batches: list[bytes] = []
        events = 0
        more = True
        while more:
            found, more = self._environment.scan(HISTORY, prefix, high, _history_rows(max_events, events), True)
            for row in found:
                first, count, batch = rows.decode_history(*row)
                events += count
                if max_events and batches and events > max_events:
                    return HistoryPage(batches, first + count - 1)
                batches.append(batch)
                high = row[0]
        return HistoryPage(batches, 0)

    def _history_prefix(self, key: RunKey) -> bytes | None:
        number = self._number(key.namespace_id)
        return None if number is None else rows.run_key(number, key.run_id)

    async def due_runs(
        self, until_ms: int, limit: int, after: tuple[int, RunKey] | None = None
    ) -> list[tuple[int, RunKey]]:
        low = b""
        if after is not None:
            due, key = after
            low = rows.timer_key(due, self._numbers.get(key.namespace_id, 0), key.run_id) + b"\0"
        high = (until_ms + 1).to_bytes(8)
        entries: list[tuple[int, RunKey]] = []
        more = True
        while more and len(entries) < limit:
            found, more = self._environment.scan(TIMER, low, high, limit - len(entries))
            entries += [rows.decode_timer(key, value, self._namespace_ids) for key, value in found]
            low = found[-1][0] + b"\0" if found else low
        return entries

    async def pending_tasks(self, limit: int, after: TaskRow | None = None) -> list[TaskRow]:
        low = b""
        if after is not None:
            low = rows.task_key(self._numbers.get(after.key.namespace_id, 0), after) + b"\0"
        tasks: list[TaskRow] = []
        more = True
        while more and len(tasks) < limit:
            found, more = self._environment.scan(TASK, low, b"", limit - len(tasks))
            tasks += [rows.decode_task(key, value, self._namespace_ids) for key, value in found]
            low = found[-1][0] + b"\0" if found else low
        return tasks

    async def load_document(self, namespace_id: str, kind: str, id: str) -> Document | None:
        number = self._number(namespace_id)
        value = None if number is None else self._environment.get(DOCUMENT, number.to_bytes(4) + document_key(kind, id))
        return None if value is None else _decode_document(value)

    async def list_documents(self, namespace_id: str, kind: str, limit: int, after: str = "") -> list[Document]:
        number = self._number(namespace_id)
        if number is None:
            return []
        prefix = number.to_bytes(4) + ordered_text(kind)
        low = number.to_bytes(4) + document_key(kind, after) + b"\0" if after else prefix
        documents: list[Document] = []
        more = True
        while more and len(documents) < limit:
            found, more = self._environment.scan(DOCUMENT, low, prefix + b"\xff", limit - len(documents))
            documents += [_decode_document(value) for _, value in found]
            low = found[-1][0] + b"\0" if found else low
        return documents

    async def load_namespaces(self) -> list[NamespaceRecord]:
        found, _ = self._environment.scan(NAMESPACE, b"r", b"s", 1 << 31, False, 1 << 62)
        records = [_decode_namespace(value) for _, value in found]
        return sorted(records, key=lambda record: self._numbers[record.namespace_id])

    # Visibility

    async def list_runs(
        self, namespace_id: str, query: Query | None, page_size: int, next_page_token: bytes = b""
    ) -> VisibilityPage:
        return await self._visibility(namespace_id).list_runs(query, page_size, next_page_token)

    async def count_runs(self, namespace_id: str, query: Query | None) -> dict[tuple[str, ...], int]:
        return await self._visibility(namespace_id).count_runs(query)

    def _visibility(self, namespace_id: str) -> Visibility:
        number = self._number(namespace_id) or 0
        assert self._sealing is not None
        return Visibility(self._environment, self._names, number, self._sealing)

    # The end

    async def close(self) -> None:
        if self._wake_read < 0 or self._pid != os.getpid():
            return  # closed, or a forked child: pipe, event loop and environment are the owner's
        self._closing = True
        if self._sealing is not None:
            await self._sealing.close()
        while self._environment.pending:
            self._idle = self._loop.create_future()
            await self._idle
        self._loop.remove_reader(self._wake_read)
        self._settle(self._environment.close())
        self._close_pipe()
        self._owner.release()

    def _close_pipe(self) -> None:
        os.close(self._wake_read)
        os.close(self._wake_write)
        self._wake_read = self._wake_write = -1

    def _number(self, namespace_id: str) -> int | None:
        if self._closing:
            raise StoreClosedError(f"the store in {self._folder} is closed")
        return self._numbers.get(namespace_id)


def _history_rows(max_events: int, events: int) -> int:
    """How many rows are worth reading for what is left of a page."""
    return max_events - events + 1 if max_events > events else 512
