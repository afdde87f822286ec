"""Updates as the arrays that ``commit_1`` takes: a column of a table is an array, a row has the same place in each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from perdure.store.api import Document, RunKey, RunUpdate, TaskRow, VisibilityRecord
from perdure.store.keys import document_key, ordered_text
from perdure.store.postgres._text import attributes_json, escape, unescape

#: The columns of each group of arrays, in the order of the function's parameters, by letters of :data:`_CASTS`.
_COLUMNS = {
    "c": "utuiib",
    "u": "utuiiiib",
    "d": "utuii",
    "s": "utu",
    "n": "utu",
    "x": "utuu",
    "h": "utuiib",
    "g": "utsib",
    "t": "utusibtiiib",
    "w": "utu",
    "v": "ututtsiiiiiittttbbj",
    "e": "utbii",
    "o": "utbtb",
    "m": "utbtb",
    "k": "utbiib",
}
#: UUIDs and numbers go as the text of an array: the driver looks at each element of a list, which costs much more.
_CASTS = {"u": "::text::uuid[]", "i": "::text::bigint[]", "s": "::text::smallint[]", "t": "", "b": "", "j": ""}


def places(first: int) -> str:
    """The SQL of the function's parameters after ``first - 1`` others."""
    letters = "".join(_COLUMNS.values())
    return ", ".join(f"${first + index}{_CASTS[letter]}" for index, letter in enumerate(letters))


class Rows:
    """The arrays of one call. A run may be in it once."""

    def __init__(self, epoch: int) -> None:
        self._epoch = epoch
        self._groups: dict[str, list[tuple[Any, ...]]] = {name: [] for name in _COLUMNS}
        self._documents: dict[tuple[str, str, str], Document] = {}

    def add(self, update: RunUpdate) -> None:
        """Take an update in."""
        groups = self._groups
        namespace_id, workflow, run_id = update.key
        key = (namespace_id, escape(workflow), run_id)
        removed_due, added_due = update.timer
        if update.delete:
            groups["d"].append((*key, update.version, update.base))
        elif update.version == 1:
            groups["c"].append((*key, 1, added_due, update.state))
        else:
            groups["u"].append((*key, update.version, update.base, added_due, removed_due, update.state or None))
        if not update.delete:
            for first, count, batch in update.history:
                groups["h"].append((*key, first, count, batch))
            if update.make_current:
                if update.replaces is None:
                    groups["s"].append(key)
                elif update.replaces:
                    groups["x"].append((*key, update.replaces))
                else:
                    groups["n"].append(key)
            for row in update.put_tasks:
                groups["t"].append(self._task(row))
        for row in update.delete_tasks:
            groups["g"].append((row.key[0], escape(row.key[1]), row.kind, row.task_id, ordered_text(row.task_queue)))
        removed, added = update.visibility
        if added is not None and not update.delete:
            groups["v"].append(_visibility(added))
        elif removed is not None:
            groups["w"].append((removed.key[0], escape(removed.key[1]), removed.key[2]))

    def _task(self, row: TaskRow) -> tuple[Any, ...]:
        namespace_id, workflow, run_id = row.key
        return (
            namespace_id,
            escape(workflow),
            run_id,
            row.kind,
            row.task_id,
            ordered_text(row.task_queue),
            escape(row.task_queue),
            row.scheduled_event_id,
            row.owner_epoch,
            self._epoch,
            row.body,
        )

    def put(self, document: Document) -> None:
        """Take a document in; the last one of a name counts."""
        self._documents[document.namespace_id, document.kind, document.id] = document

    def arrays(self) -> list[Any]:
        """The function's parameters after the first five."""
        groups = self._groups
        for document in self._documents.values():
            key = (document.namespace_id, document.kind, document_key(document.kind, document.id))
            if not document.body:
                groups["e"].append((*key, document.version, document.base))
            elif document.version > 1:
                groups["k"].append((*key, document.version, document.base, document.body))
            else:
                groups["m" if document.version else "o"].append((*key, escape(document.id), document.body))
        arrays: list[Any] = []
        for name, letters in _COLUMNS.items():
            rows = groups[name]
            if not rows:
                arrays += _EMPTY[name]
                continue
            if len(rows) > 1 and name != "h":
                # Every node locks rows in the same order, so that none waits for another in a circle.
                rows.sort(key=_key)
            for letter, column in zip(letters, zip(*rows, strict=True), strict=True):
                if letter == "u":
                    arrays.append("{" + ",".join(column) + "}")
                elif letter in "is":
                    arrays.append("{" + ",".join(map(str, column)) + "}")
                else:
                    arrays.append(column)
        return arrays


_EMPTY: dict[str, list[Any]] = {
    name: ["{}" if _CASTS[letter] else [] for letter in letters] for name, letters in _COLUMNS.items()
}


def _key(row: tuple[Any, ...]) -> Any:
    return row[:3]


def _visibility(record: VisibilityRecord) -> tuple[Any, ...]:
    namespace_id, workflow, run_id = record.key
    return (
        namespace_id,
        escape(workflow),
        run_id,
        escape(record.workflow_type),
        escape(record.task_queue),
        record.status,
        record.start_time,
        record.execution_time,
        record.close_time,
        record.history_length,
        record.history_size_bytes,
        record.state_transition_count,
        escape(record.parent_workflow_id),
        record.parent_run_id,
        escape(record.root_workflow_id),
        record.root_run_id,
        record.memo,
        record.search_attributes,
        attributes_json(record.search_attributes) if record.search_attributes else None,
    )


VISIBILITY_COLUMNS = (
    "namespace_id::text, workflow_id, run_id::text, workflow_type, task_queue, status, start_time, execution_time, "
    "close_time, history_length, history_size_bytes, state_transition_count, parent_workflow_id, parent_run_id, "
    "root_workflow_id, root_run_id, memo, search_attributes"
)


def visibility_record(row: Sequence[Any]) -> VisibilityRecord:
    """The record of a row of :data:`VISIBILITY_COLUMNS`."""
    values = list(row)
    for index in (1, 3, 4, 12, 14):
        values[index] = unescape(values[index])
    return VisibilityRecord(RunKey(*values[:3]), *values[3:])


TASK_COLUMNS = (
    "namespace_id::text, workflow_id, run_id::text, kind, task_queue, task_id, scheduled_event_id, owner_epoch, body"
)


def task_row(row: Sequence[Any]) -> TaskRow:
    """The task row of a row of :data:`TASK_COLUMNS`."""
    namespace_id, workflow, run_id, kind, queue, *rest = row
    return TaskRow(RunKey(namespace_id, unescape(workflow), run_id), kind, unescape(queue), *rest)
