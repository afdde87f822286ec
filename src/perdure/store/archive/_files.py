"""Archives in a folder, by the names that Temporal's filestore archiver gives.

::

    <hash of namespace id><hash of workflow id><hash of run id>_<version>.history    a list of History messages
    <namespace id>/<close time in ns>_<hash of run id>.visibility                    a VisibilityRecord

A file gets its name once its contents are on the device, so there is none in part.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import BinaryIO, TypeVar
from urllib.parse import SplitResult

import msgspec

from perdure._native.events import HistoryEvent
from perdure.store.archive import _records
from perdure.store.archive._api import (
    VERSION,
    ArchivedExecution,
    ArchivedExecutionPage,
    ArchivedHistory,
    ArchivedHistoryPage,
    ArchivedRun,
    ArchiveNotFoundError,
)
from perdure.store.archive._hash import fingerprint64
from perdure.store.archive._places import Folder, append, finish, in_thread
from perdure.store.archive._query import ArchiveQuery

#: Histories are written in pieces of about this many bytes.
_PIECE = 4 * 1024 * 1024
_READ_AT_ONCE = 64
#: Seconds after which a file that a process left half-written is taken away.
_ABANDONED = 86_400
_T = TypeVar("_T")


class _HistoryToken(msgspec.Struct):
    CloseFailoverVersion: int
    NextBatchIdx: int


class _ListToken(msgspec.Struct):
    LastCloseTime: int
    LastRun: str


class FileArchiver:
    """Archives in one folder, which is made when it is needed."""

    def __init__(self, place: Folder) -> None:
        self._place = place
        self.folder = place.path
        #: The history that was read last and has more pages: its file and its batches.
        self._read: tuple[Path, list[msgspec.Raw]] | None = None
        self._is_tidy = False

    @classmethod
    def of(cls, uri: SplitResult, options: dict[str, str]) -> FileArchiver:
        """The archiver of a ``file://`` URI."""
        return cls(Folder.of(uri, options))

    async def validate(self) -> None:
        """As :meth:`Archiver.validate`: the folder can be made, or is there and can be written."""
        await self._place.validate()

    async def close(self) -> None:
        """As :meth:`Archiver.close`."""
        self._read = None

    # ---- histories

    async def archive_history(self, run: ArchivedRun, batches: AsyncIterator[list[HistoryEvent]]) -> bool:
        """As :meth:`Archiver.archive_history`."""
        target = self.folder / f"{_prefix(run.namespace_id, run.workflow_id, run.run_id)}_{VERSION}.history"
        if await in_thread(target.exists):
            return False
        part = self._place.part(target.name)
        parts, size, is_first = [b"["], 1, True
        file: BinaryIO | None = None
        try:
            async for batch in batches:
                encoded = _records.encode_batch(batch)
                parts += (encoded,) if is_first else (b",", encoded)
                size, is_first = size + len(encoded), False
                if size >= _PIECE:
                    file = await in_thread(append, file, part, parts)
                    parts, size = [], 0
                await asyncio.sleep(0)  # a long history is encoded in many turns of the loop
            await in_thread(finish, file, part, [*parts, b"]"], target)
        except BaseException:
            if file is not None:
                file.close()
                part.unlink(missing_ok=True)
            raise
        return True

    async def read_history(
        self, namespace_id: str, workflow_id: str, run_id: str, page_size: int, next_page_token: bytes = b""
    ) -> ArchivedHistoryPage:
        """As :meth:`Archiver.read_history`."""
        prefix = _prefix(namespace_id, workflow_id, run_id)
        if next_page_token:
            token = _token(next_page_token, _HistoryToken)
        else:
            token = _HistoryToken(await in_thread(self._newest_version, prefix), 0)
        path = self.folder / f"{prefix}_{token.CloseFailoverVersion}.history"
        batches = await self._batches(path)
        events: list[HistoryEvent] = []
        number = token.NextBatchIdx
        while number < len(batches) and len(events) < max(page_size, 1):
            events += _records.decode_batch(batches[number])
            number += 1
        if number >= len(batches):
            self._read = None
            return ArchivedHistoryPage(events, b"")
        self._read = (path, batches)
        return ArchivedHistoryPage(events, msgspec.json.encode(_HistoryToken(token.CloseFailoverVersion, number)))

    async def _batches(self, path: Path) -> list[msgspec.Raw]:
        if self._read is not None and self._read[0] == path:
            return self._read[1]
        try:
            data = await in_thread(path.read_bytes)
        except ArchiveNotFoundError:
            raise ArchiveNotFoundError("requested workflow history does not exist") from None
        return _records.split_batches(data)

    def _newest_version(self, prefix: str) -> int:
        if (self.folder / f"{prefix}_{VERSION}.history").exists():
            return VERSION
        found = [path.name[len(prefix) + 1 : -len(".history")] for path in self.folder.glob(f"{prefix}_*.history")]
        return max((int(text) for text in found if text.isdecimal()), default=0)

    async def histories(self, namespace_id: str = "") -> AsyncIterator[ArchivedHistory]:
        """As :meth:`Archiver.histories`; the names do not tell the namespace, so it comes back as it was given."""
        start = str(fingerprint64(namespace_id)) if namespace_id else ""
        for name in await in_thread(self._names, self.folder, ".history"):
            if not name.startswith(start):
                continue
            data = await in_thread((self.folder / name).read_bytes)
            events = [event for batch in _records.split_batches(data) for event in _records.decode_batch(batch)]
            started = events[0].attributes
            yield ArchivedHistory(
                namespace_id,
                started.workflow_id or started.original_execution_run_id,
                started.original_execution_run_id,
                events,
            )

    @staticmethod
    def _names(folder: Path, suffix: str) -> list[str]:
        try:
            with os.scandir(folder) as entries:
                return sorted(e.name for e in entries if e.name.endswith(suffix) and not e.name.startswith("."))
        except FileNotFoundError:
            return []

    # ---- visibility

    async def archive_visibility(self, execution: ArchivedExecution) -> bool:
        """As :meth:`Archiver.archive_visibility`."""
        folder = self.folder / execution.namespace_id
        target = folder / f"{execution.close_time}_{fingerprint64(execution.run_id)}.visibility"
        if await in_thread(target.exists):
            return False
        await in_thread(finish, None, self._place.part(target.name), [_records.encode_execution(execution)], target)
        if not self._is_tidy:
            self._is_tidy = True
            await in_thread(self._tidy)
        return True

    async def list_executions(
        self, namespace_id: str, query: ArchiveQuery, page_size: int, next_page_token: bytes = b""
    ) -> ArchivedExecutionPage:
        """As :meth:`Archiver.list_executions`: the newest close first."""
        token = _token(next_page_token, _ListToken) if next_page_token else None
        folder = self.folder / namespace_id
        names = await in_thread(self._in_order, folder, query, token)
        found: list[ArchivedExecution] = []
        for start in range(0, len(names), _READ_AT_ONCE):
            chunk = names[start : start + _READ_AT_ONCE]
            for data in await in_thread(_read_all, folder, chunk):
                execution = _records.decode_execution(data)
                if not query.holds(execution):
                    continue
                if len(found) == page_size:
                    last = found[-1]
                    run = str(fingerprint64(last.run_id))
                    return ArchivedExecutionPage(found, msgspec.json.encode(_ListToken(last.close_time, run)))
                found.append(execution)
        return ArchivedExecutionPage(found, b"")

    def _in_order(self, folder: Path, query: ArchiveQuery, token: _ListToken | None) -> list[str]:
        """The records that may match, from just after a token."""
        after = None if token is None else (-token.LastCloseTime, token.LastRun)
        found = []
        for name in self._names(folder, ".visibility"):
            time_text, _, run = name.removesuffix(".visibility").partition("_")
            if not time_text.isdecimal() or not query.close_low <= int(time_text) <= query.close_high:
                continue
            position = (-int(time_text), run)
            if after is None or position > after:
                found.append((position, name))
        return [name for _, name in sorted(found)]

    def _tidy(self) -> None:
        """Take away what processes left half-written that died long ago."""
        oldest = time.time() - _ABANDONED
        for path in self.folder.glob(".*.part"):
            try:
                if path.stat().st_mtime < oldest:
                    path.unlink()
            except FileNotFoundError:
                continue


def _prefix(namespace_id: str, workflow_id: str, run_id: str) -> str:
    return "".join(str(fingerprint64(text)) for text in (namespace_id, workflow_id, run_id))


def _read_all(folder: Path, names: list[str]) -> list[bytes]:
    return [(folder / name).read_bytes() for name in names]


def _token(data: bytes, kind: type[_T]) -> _T:
    try:
        return msgspec.json.decode(data, type=kind)
    except msgspec.MsgspecError:
        raise ValueError("next page token is corrupted") from None
