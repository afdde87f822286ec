"""The plain twin of the LMDB store's batch encoder: the entries of an update, from the layout that ``_batch`` tells."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any

import msgspec

from perdure.store.api import RunUpdate, TaskRow, VisibilityRecord
from perdure.store.keys import TEXT_LIMIT, ordered_text
from perdure.store.visibility import record_division, record_terms

Entry = tuple[str, str, bytes, bytes]


class Names:
    """Numbers of buckets and attributes, given as they are first met."""

    def __init__(self) -> None:
        self.numbers: dict[tuple[Any, ...], int] = {}
        #: Changes of records up to this time leave marks.
        self.horizon = -1
        self.marks = 0

    def number(self, *name: Any) -> bytes:
        """The number of a name, as it stands in keys."""
        return self.numbers.setdefault(name, len(self.numbers) + 1).to_bytes(4)


def entries(update: RunUpdate, number: int, names: Names) -> Iterator[Entry]:
    """What is done, to which database, with which key and value."""
    namespace = number.to_bytes(4)
    run_id = uuid.UUID(update.key.run_id).bytes
    run = namespace + run_id
    workflow_id = update.key.workflow_id.encode()
    current = namespace + ordered_text(update.key.workflow_id) + b"\0"
    removed, due = update.timer
    if update.delete:
        due = 0
    if removed and removed != due:
        yield "delete", "timer", removed.to_bytes(8) + run, b""
    if due:
        yield "put", "timer", due.to_bytes(8) + run, workflow_id
    for row in update.delete_tasks:
        yield "delete", "task", _task_key(namespace, row), b""
    before, after = update.visibility
    yield from _shown(namespace, number, names, before, None if update.delete else after)
    if update.delete:
        yield "delete", "run", run, b""
        yield "delete prefix", "history", run, b""
        yield "delete matching", "workflow", current, run_id
        return
    head = update.version.to_bytes(8, "little") + _sized(workflow_id)
    yield ("put" if update.state else "replace head"), "run", run, head + update.state
    for first, count, batch in update.history:
        yield "put", "history", run + first.to_bytes(4), count.to_bytes(4, "little") + batch
    if update.make_current:
        yield "put", "workflow", current, run_id + (workflow_id if len(workflow_id) > TEXT_LIMIT else b"")
    for row in update.put_tasks:
        body = uuid.UUID(row.key.run_id).bytes + row.scheduled_event_id.to_bytes(8, "little")
        body += row.owner_epoch.to_bytes(8, "little") + _sized(row.key.workflow_id.encode())
        yield "put", "task", _task_key(namespace, row), body + _sized(row.task_queue.encode()) + row.body


def _shown(
    namespace: bytes, number: int, names: Names, before: VisibilityRecord | None, after: VisibilityRecord | None
) -> Iterator[Entry]:
    old = None if before is None else _entry(number, names, before)
    new = None if after is None else _entry(number, names, after)
    if new is not None and after is not None:
        yield "put", "visibility", namespace + new[16:32], new + msgspec.msgpack.encode(after)
        if old is None:
            yield "put", "workflow", namespace + ordered_text(after.key.workflow_id) + b"\1" + new[16:32], b""
    elif old is not None and before is not None:
        yield "delete", "visibility", namespace + old[16:32], b""
        yield "delete", "workflow", namespace + ordered_text(before.key.workflow_id) + b"\1" + old[16:32], b""
    if old != new:
        if old is not None:
            yield "delete value", "bucket", namespace + old[32:], old[:32]
        if new is not None:
            yield "put", "bucket", namespace + new[32:], new[:32]
    marked = [
        entry[:32]
        if record is not None and entry is not None and (record.close_time or record.start_time) <= names.horizon
        else bytes(32)
        for record, entry in ((before, old), (after, new))
    ]
    if any(map(any, marked)):
        yield "put", "mark", namespace + names.marks.to_bytes(8), b"".join(marked)
        names.marks += 1
    had = {(*term, old) for term in record_terms(before)} if before is not None else set()
    has = {(*term, new) for term in record_terms(after)} if after is not None else set()
    for change, terms in (("delete value", had - has), ("put", has - had)):
        for attribute, term, entry in terms:
            assert entry is not None
            yield change, "term", namespace + names.number(number, *attribute) + term, entry


def _entry(number: int, names: Names, record: VisibilityRecord) -> bytes:
    most = (1 << 64) - 1
    division = record_division(record)
    return (
        (most - record.close_time if record.close_time else 0).to_bytes(8)
        + (most - record.start_time).to_bytes(8)
        + uuid.UUID(record.key.run_id).bytes
        + names.number(number, record.workflow_type, record.task_queue, division)
        + bytes([record.status])
    )


def _task_key(namespace: bytes, row: TaskRow) -> bytes:
    return namespace + bytes([row.kind]) + ordered_text(row.task_queue) + row.task_id.to_bytes(8)


def _sized(text: bytes) -> bytes:
    return len(text).to_bytes(2, "little") + text
