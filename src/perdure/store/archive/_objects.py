"""Archives in S3 and what speaks its protocol, by the keys that Temporal's s3store archiver gives. Extra ``perdure[s3]``.

::

    <prefix>/<namespace id>/history/<workflow id>/<run id>/<version>/<number>             a HistoryBlob of about 2 MB
    <prefix>/<namespace id>/visibility/workflowTypeName/<type>/closeTimeout/<time>/<run id>    a VisibilityRecord
                                                              /startTimeout/...
                           .../workflowID/<workflow id>/...

The first blob of a history is written last: where it is, the others are.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import SplitResult

import msgspec

from perdure._native.events import HistoryEvent
from perdure.api.json._scalars import decode_timestamp, encode_timestamp
from perdure.store.archive import _records
from perdure.store.archive._api import (
    VERSION,
    ArchiveCorruptError,
    ArchivedExecution,
    ArchivedExecutionPage,
    ArchivedHistory,
    ArchivedHistoryPage,
    ArchivedRun,
    ArchiveNotFoundError,
)
from perdure.store.archive._places import Bucket, plain_name
from perdure.store.archive._query import ArchiveQuery

#: A blob ends with the batch that brings it to this many bytes, as Temporal's do.
BLOB_BYTES = 2 * 1024 * 1024
_SECOND = 1_000_000_000
_AT_ONCE = 16
#: Records that one page looks at, so that a call ends in time: a page may be short.
_LOOKED_AT = 2_000
_KEY_PART = 700
_BY_TYPE, _BY_WORKFLOW_ID = "workflowTypeName", "workflowID"
_CLOSED, _STARTED = "closeTimeout", "startTimeout"


class _HistoryToken(msgspec.Struct):
    CloseFailoverVersion: int
    BatchIdx: int


class S3Archiver:
    """Archives in one bucket, below a prefix. Credentials come from the environment, as AWS's tools take them."""

    def __init__(self, bucket: Bucket) -> None:
        self._bucket = bucket

    @classmethod
    def of(cls, uri: SplitResult, options: dict[str, str]) -> S3Archiver:
        """The archiver of an ``s3://`` URI."""
        return cls(Bucket.of(uri, options))

    async def validate(self) -> None:
        """As :meth:`Archiver.validate`: the bucket can be listed."""
        await self._bucket.validate()

    async def close(self) -> None:
        """As :meth:`Archiver.close`."""

    # ---- histories

    async def archive_history(self, run: ArchivedRun, batches: AsyncIterator[list[HistoryEvent]]) -> bool:
        """As :meth:`Archiver.archive_history`."""
        folder = self._history_folder(run.namespace_id, run.workflow_id, run.run_id)
        first_key = f"{folder}/{VERSION}/0"
        if await self._bucket.has(first_key):
            return False
        first_blob = b""
        number, first_id, next_id, size = 0, 1, 1, 0
        parts: list[bytes] = []
        async for batch in batches:
            if size >= BLOB_BYTES:
                blob = _records.encode_blob(run, parts, first_id, next_id - 1, False)
                if number:
                    await self._bucket.put(f"{folder}/{VERSION}/{number}", blob)
                else:
                    first_blob = blob
                number, first_id, size, parts = number + 1, next_id, 0, []
            encoded = _records.encode_batch(batch)
            parts.append(encoded)
            size += len(encoded)
            next_id = batch[-1].event_id + 1
            await asyncio.sleep(0)  # a long history is encoded in many turns of the loop
        blob = _records.encode_blob(run, parts, first_id, next_id - 1, True)
        if number:
            await self._bucket.put(f"{folder}/{VERSION}/{number}", blob)
        await self._bucket.put(first_key, first_blob or blob)
        return True

    def _history_folder(self, namespace_id: str, workflow_id: str, run_id: str) -> str:
        return "/".join((namespace_id, "history", key_part(workflow_id), key_part(run_id)))

    async def read_history(
        self, namespace_id: str, workflow_id: str, run_id: str, page_size: int, next_page_token: bytes = b""
    ) -> ArchivedHistoryPage:
        """As :meth:`Archiver.read_history`: whole blobs."""
        folder = self._history_folder(namespace_id, workflow_id, run_id)
        if next_page_token:
            try:
                token = msgspec.json.decode(next_page_token, type=_HistoryToken)
            except msgspec.MsgspecError:
                raise ValueError("next page token is corrupted") from None
            version, number = token.CloseFailoverVersion, token.BatchIdx
        else:
            version, number = await self._newest_version(folder), 0
        events: list[HistoryEvent] = []
        while True:
            try:
                blob = _records.decode_blob(await self._bucket.get(f"{folder}/{version}/{number}"))
            except ArchiveNotFoundError:
                raise ArchiveNotFoundError("requested workflow history does not exist") from None
            for batch in blob.body:
                events += _records.decode_batch(batch)
            if blob.is_last:
                return ArchivedHistoryPage(events, b"")
            number += 1
            if len(events) >= max(page_size, 1):
                return ArchivedHistoryPage(events, msgspec.json.encode(_HistoryToken(version, number)))

    async def _newest_version(self, folder: str) -> int:
        if await self._bucket.has(f"{folder}/{VERSION}/0"):
            return VERSION
        versions = [key.split("/")[-2] async for key in self._bucket.names(folder)]
        return max((int(text) for text in versions if text.isdecimal()), default=0)

    async def histories(self, namespace_id: str = "") -> AsyncIterator[ArchivedHistory]:
        """As :meth:`Archiver.histories`."""
        below = f"{namespace_id}/history" if namespace_id else ""
        async for key in self._bucket.names(below):
            if not key.endswith("/0") or "/history/" not in f"/{key}":
                continue
            folder = key.removesuffix("/0")
            events: list[HistoryEvent] = []
            header: dict[str, Any] = {}
            number, is_last = 0, False
            while not is_last:
                blob = _records.decode_blob(await self._bucket.get(f"{folder}/{number}"))
                for batch in blob.body:
                    events += _records.decode_batch(batch)
                header, is_last, number = blob.header, blob.is_last, number + 1
            yield ArchivedHistory(
                header.get("namespaceId", namespace_id), header["workflowId"], header["runId"], events
            )

    # ---- visibility

    async def archive_visibility(self, execution: ArchivedExecution) -> bool:
        """As :meth:`Archiver.archive_visibility`."""
        keys = self._index_keys(execution)
        if await self._bucket.has(keys[-1]):
            return False
        data = _records.encode_execution(execution)
        await asyncio.gather(*(self._bucket.put(key, data) for key in keys[:-1]))
        await self._bucket.put(keys[-1], data)
        return True

    def _index_keys(self, e: ArchivedExecution) -> list[str]:
        """The four keys of a record. The last one is what listings without a workflow id go by."""
        run = key_part(e.run_id)
        folders = (
            (_BY_WORKFLOW_ID, e.workflow_id, _CLOSED, e.close_time),
            (_BY_WORKFLOW_ID, e.workflow_id, _STARTED, e.start_time),
            (_BY_TYPE, e.workflow_type, _STARTED, e.start_time),
            (_BY_TYPE, e.workflow_type, _CLOSED, e.close_time),
        )
        return [
            "/".join((e.namespace_id, "visibility", index, key_part(value), which, _seconds(time), run))
            for index, value, which, time in folders
        ]

    async def list_executions(
        self, namespace_id: str, query: ArchiveQuery, page_size: int, next_page_token: bytes = b""
    ) -> ArchivedExecutionPage:
        """As :meth:`Archiver.list_executions`: in the order of the keys, so by workflow type, the oldest close first."""
        folder = f"{namespace_id}/visibility"
        which, low, high = _CLOSED, query.close_low, query.close_high
        if query.workflow_id is not None:
            folder += f"/{_BY_WORKFLOW_ID}/{key_part(query.workflow_id)}"
        elif query.workflow_type is not None:
            folder += f"/{_BY_TYPE}/{key_part(query.workflow_type)}"
        else:
            folder += f"/{_BY_TYPE}"
        is_one_index = not folder.endswith(_BY_TYPE)
        if is_one_index:
            folder += f"/{which}"
        after = ""
        if next_page_token:
            after = next_page_token.decode("utf-8", "replace")
            if not after.startswith(f"{folder}/"):
                raise ValueError("next page token is corrupted")
        if is_one_index and low:
            after = max(after, f"{folder}/{_seconds(low)}")
        return await self._matching(folder, which, (low, high), query, page_size, after, is_one_index)

    async def _matching(
        self,
        folder: str,
        which: str,
        bounds: tuple[int, int],
        query: ArchiveQuery,
        page_size: int,
        after: str,
        is_in_time_order: bool,
    ) -> ArchivedExecutionPage:
        low, high = bounds[0] // _SECOND * _SECOND, bounds[1]
        found: list[ArchivedExecution] = []
        waiting: list[str] = []
        looked_at = 0
        last = after

        async def look() -> None:
            """Read what waits, as far as the page has room."""
            nonlocal last, looked_at
            for data in await asyncio.gather(*map(self._bucket.get, waiting)):
                if len(found) == page_size:
                    return
                execution = _records.decode_execution(data)
                last = waiting.pop(0)
                looked_at += 1
                if query.holds(execution):
                    found.append(execution)

        async for key in self._bucket.names(folder, after):
            parts = key.rsplit("/", 3)
            if len(parts) < 4 or parts[1] != which:
                continue
            time = _time_of(parts[2])
            if time > high and is_in_time_order:
                break
            if not low <= time <= high:
                continue
            if len(found) == page_size or looked_at >= _LOOKED_AT:
                return ArchivedExecutionPage(found, last.encode())
            waiting.append(key)
            if len(waiting) == min(_AT_ONCE, page_size):
                await look()
        if len(found) < page_size:
            await look()
        return ArchivedExecutionPage(found, last.encode() if waiting else b"")


def key_part(text: str) -> str:
    """A text as part of a key: as it is, as Temporal has it, unless no such key can be. A key has at most 1024 bytes."""
    text = plain_name(text)
    data = text.encode("utf-8", "surrogatepass")
    if len(data) <= _KEY_PART:
        return text
    digest = hashlib.sha256(data).hexdigest()
    return f"{data[: _KEY_PART - 80].decode('utf-8', 'ignore').rstrip('/')}~{digest}"


def _seconds(ns: int) -> str:
    return encode_timestamp(ns // _SECOND * _SECOND)


def _time_of(text: str) -> int:
    try:
        return decode_timestamp(text)
    except ValueError:
        raise ArchiveCorruptError(f"a key of the archive has {text!r} where its time belongs") from None
