"""A store without a disk: for unit tests and time skipping, and the oracle the other stores are compared with."""

from __future__ import annotations

import copy
from bisect import bisect_left, bisect_right
from collections.abc import Sequence

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
    TaskRow,
    VisibilityPage,
)
from perdure.store.keys import check_document, check_update, document_key, ordered_text
from perdure.store.visibility import Query, Records

_Run = tuple[str, str]
_TaskKey = tuple[int, int, str, int]
_DueEntry = tuple[int, int, str, RunKey]
#: Entries of the time index lie together by their time without its last bits: about a minute.
_DUE_BITS = 16


class _TimeIndex:
    """Runs by the time they are due, a minute at a time; a minute is put in order when somebody asks for it."""

    __slots__ = ("entries", "minutes", "order")

    def __init__(self) -> None:
        self.entries: dict[int, set[_DueEntry]] = {}
        self.order: dict[int, list[_DueEntry]] = {}
        self.minutes: list[int] | None = None

    def add(self, entry: _DueEntry) -> None:
        minute = entry[0] >> _DUE_BITS
        entries = self.entries.get(minute)
        if entries is None:
            entries = self.entries[minute] = set()
            self.minutes = None
        entries.add(entry)
        self.order.pop(minute, None)

    def remove(self, entry: _DueEntry) -> None:
        minute = entry[0] >> _DUE_BITS
        entries = self.entries.get(minute)
        if entries is not None:
            entries.discard(entry)
            self.order.pop(minute, None)
            if not entries:
                del self.entries[minute]
                self.minutes = None

    def read(self, until_ms: int, limit: int, after: tuple[int, int, str] | None) -> list[_DueEntry]:
        """The first entries due at or before a time, from just after a position."""
        if self.minutes is None:
            self.minutes = sorted(self.entries)
        start = 0 if after is None else bisect_left(self.minutes, after[0] >> _DUE_BITS)
        found: list[_DueEntry] = []
        for minute in self.minutes[start : bisect_right(self.minutes, until_ms >> _DUE_BITS)]:
            order = self.order.get(minute)
            if order is None:
                order = self.order[minute] = sorted(self.entries[minute])
            first = 0 if after is None else bisect_right(order, after, key=_due_order)
            end = bisect_right(order, until_ms, key=_first)
            found += order[first : min(end, first + limit - len(found))]
            if len(found) == limit:
                break
        return found


class MemoryStore:
    """Keeps everything in dictionaries of this process.

    No method suspends. Nothing survives the process, so :attr:`durability` is only what the caller wants to be told.
    """

    name = "memory"
    capabilities = Capability(0)

    def __init__(self, durability: Durability = Durability.FULL) -> None:
        self.durability = durability
        self.epoch = 1
        self._closed = False
        self._namespace_numbers: dict[str, int] = {}
        self._namespaces: dict[int, NamespaceRecord] = {}
        self._runs: dict[_Run, tuple[StoredRun, str]] = {}
        self._histories: dict[_Run, list[tuple[int, int, bytes]]] = {}
        self._current: dict[tuple[str, str], str] = {}
        self._due = _TimeIndex()
        self._tasks: dict[_TaskKey, TaskRow] = {}
        self._documents: dict[str, dict[bytes, Document]] = {}
        self._visibility: dict[str, Records] = {}

    @classmethod
    async def open(cls, *, durability: Durability = Durability.FULL) -> MemoryStore:
        """A new, empty store."""
        return cls(durability)

    async def commit(self, updates: Sequence[RunUpdate], documents: Sequence[Document] = ()) -> None:
        self._check_open()
        for document in documents:
            check_document(document)
        versions: dict[_Run, int] = {}
        for update in updates:
            check_update(update)
            namespace_id, _, run_id = update.key
            run = (namespace_id, run_id)
            found = versions.get(run)
            if found is None:
                stored = self._runs.get(run)
                found = stored[0].version if stored is not None else 0
            if found != update.version - 1:
                raise StaleRunError(update.key, update.version - 1, found)
            versions[run] = 0 if update.delete else update.version
        for update in updates:
            self._apply(update)
        for document in documents:
            key = document_key(document.kind, document.id)
            if document.body:
                self._documents.setdefault(document.namespace_id, {})[key] = document
            else:
                self._documents.get(document.namespace_id, {}).pop(key, None)

    def _apply(self, update: RunUpdate) -> None:
        key = update.key
        namespace_id, workflow_id, run_id = key
        run = (namespace_id, run_id)
        number = self._number(namespace_id)
        removed_due, added_due = update.timer
        if removed_due:
            self._due.remove((removed_due, number, run_id, key))
        for row in update.delete_tasks:
            self._tasks.pop((number, row.kind, row.task_queue, row.task_id), None)
        removed, added = update.visibility
        if removed is not None or added is not None:
            # copy.copy() without its detours; that a struct has this method is not declared
            shown = None if added is None or update.delete else added.__copy__()  # type: ignore[attr-defined]
            self._records(namespace_id).change(removed, shown)
        if update.delete:
            self._runs.pop(run, None)
            self._histories.pop(run, None)
            if self._current.get((namespace_id, workflow_id)) == run_id:
                del self._current[namespace_id, workflow_id]
            return
        stored = self._runs.get(run)
        state = update.state if update.state or stored is None else stored[0].state
        self._runs[run] = (StoredRun(update.version, state), workflow_id)
        if update.history:
            history = self._histories.setdefault(run, [])
            for batch in update.history:
                if not history or history[-1][0] < batch[0]:
                    history.append(batch)
                    continue
                index = bisect_left(history, batch[0], key=_first)
                if history[index][0] == batch[0]:
                    history[index] = batch
                else:
                    history.insert(index, batch)
        if update.make_current:
            self._current[namespace_id, workflow_id] = run_id
        if added_due:
            self._due.add((added_due, number, run_id, key))
        for row in update.put_tasks:
            self._tasks[number, row.kind, row.task_queue, row.task_id] = row

    async def load_run(self, key: RunKey) -> StoredRun | None:
        self._check_open()
        stored = self._runs.get((key.namespace_id, key.run_id))
        return stored[0] if stored is not None and stored[1] == key.workflow_id else None

    async def current_run(self, namespace_id: str, workflow_id: str) -> str | None:
        self._check_open()
        return self._current.get((namespace_id, workflow_id))

    async def find_run(self, namespace_id: str, run_id: str) -> RunKey | None:
        self._check_open()
        stored = self._runs.get((namespace_id, run_id))
        return RunKey(namespace_id, stored[1], run_id) if stored is not None else None

    async def read_history(
        self, key: RunKey, first_event_id: int = 1, next_event_id: int = 0, *, max_events: int = 0
    ) -> HistoryPage:
        self._check_open()
        history = self._histories.get((key.namespace_id, key.run_id), [])
        index = bisect_right(history, first_event_id, key=_first) - 1
        if index < 0 or history[index][0] + history[index][1] <= first_event_id:
            index += 1
        end = bisect_left(history, next_event_id, key=_first) if next_event_id else len(history)
        return HistoryPage.of(history[index:end], max_events)

    async def read_history_reverse(self, key: RunKey, last_event_id: int = 0, *, max_events: int = 0) -> HistoryPage:
        self._check_open()
        history = self._histories.get((key.namespace_id, key.run_id), [])
        end = bisect_right(history, last_event_id, key=_first) if last_event_id else len(history)
        return HistoryPage.of(reversed(history[:end]), max_events, is_reverse=True)

    async def due_runs(
        self, until_ms: int, limit: int, after: tuple[int, RunKey] | None = None
    ) -> list[tuple[int, RunKey]]:
        self._check_open()
        position = None
        if after is not None:
            due, key = after
            position = (due, self._number(key.namespace_id), key.run_id)
        return [(entry[0], entry[3]) for entry in self._due.read(until_ms, limit, position)]

    async def pending_tasks(self, limit: int, after: TaskRow | None = None) -> list[TaskRow]:
        self._check_open()
        keys = sorted(self._tasks, key=_task_order)
        start = 0
        if after is not None:
            last = (self._number(after.key.namespace_id), after.kind, after.task_queue, after.task_id)
            start = bisect_right(keys, _task_order(last), key=_task_order)
        return [self._tasks[key] for key in keys[start : start + limit]]

    async def list_runs(
        self, namespace_id: str, query: Query | None, page_size: int, next_page_token: bytes = b""
    ) -> VisibilityPage:
        self._check_open()
        return self._records(namespace_id).list_runs(query, page_size, next_page_token)

    async def count_runs(self, namespace_id: str, query: Query | None) -> dict[tuple[str, ...], int]:
        self._check_open()
        return self._records(namespace_id).count_runs(query)

    async def load_document(self, namespace_id: str, kind: str, id: str) -> Document | None:
        self._check_open()
        return self._documents.get(namespace_id, {}).get(document_key(kind, id))

    async def list_documents(self, namespace_id: str, kind: str, limit: int, after: str = "") -> list[Document]:
        self._check_open()
        documents = self._documents.get(namespace_id, {})
        prefix = ordered_text(kind)
        low = document_key(kind, after) if after else prefix
        return [documents[key] for key in sorted(documents) if key > low and key.startswith(prefix)][:limit]

    async def load_namespaces(self) -> list[NamespaceRecord]:
        self._check_open()
        return [self._namespaces[number] for number in sorted(self._namespaces)]

    async def put_namespace(self, record: NamespaceRecord) -> None:
        self._check_open()
        self._namespaces[self._number(record.namespace_id)] = copy.copy(record)

    async def delete_namespace(self, namespace_id: str) -> None:
        self._check_open()
        self._namespaces.pop(self._number(namespace_id), None)

    async def close(self) -> None:
        self._closed = True

    def _check_open(self) -> None:
        if self._closed:
            raise StoreClosedError("the memory store is closed")

    def _number(self, namespace_id: str) -> int:
        """Namespaces count up from their first use, as in every store that keeps their ids short."""
        number = self._namespace_numbers.get(namespace_id)
        if number is None:
            number = self._namespace_numbers[namespace_id] = len(self._namespace_numbers) + 1
        return number

    def _records(self, namespace_id: str) -> Records:
        records = self._visibility.get(namespace_id)
        if records is None:
            records = self._visibility[namespace_id] = Records()
        return records


def _first(entry: tuple[int, int, bytes] | _DueEntry) -> int:
    return entry[0]


def _due_order(entry: _DueEntry) -> tuple[int, int, str]:
    return entry[:3]


def _task_order(key: _TaskKey) -> tuple[int, int, bytes, int]:
    return (key[0], key[1], ordered_text(key[2]), key[3])
