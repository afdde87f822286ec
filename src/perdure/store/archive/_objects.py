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
import re
from collections.abc import AsyncIterator, Awaitable
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar, cast
from urllib.parse import SplitResult, quote, unquote

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
    ArchiveError,
    ArchiveNotFoundError,
    check_options,
)
from perdure.store.archive._query import ArchiveQuery

if TYPE_CHECKING:
    from obstore.store import S3Config, S3Store

#: A blob ends with the batch that brings it to this many bytes, as Temporal's do.
BLOB_BYTES = 2 * 1024 * 1024
_OPTIONS = ("region", "endpoint", "path_style")
_BOOLS = {"true": True, "1": True, "false": False, "0": False}
_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9.\-_]{1,62}")
_SECOND = 1_000_000_000
_AT_ONCE = 16
#: Records that one page looks at, so that a call ends in time: a page may be short.
_LOOKED_AT = 2_000
_KEY_PART = 700
_BY_TYPE, _BY_WORKFLOW_ID = "workflowTypeName", "workflowID"
_CLOSED, _STARTED = "closeTimeout", "startTimeout"
_T = TypeVar("_T")


class _HistoryToken(msgspec.Struct):
    CloseFailoverVersion: int
    BatchIdx: int


class S3Archiver:
    """Archives in one bucket, below a prefix. Credentials come from the environment, as AWS's tools take them."""

    def __init__(self, store: S3Store, prefix: str, uri: str) -> None:
        self._store = store
        self._prefix = prefix
        self._uri = uri

    @classmethod
    def of(cls, uri: SplitResult, options: dict[str, str]) -> S3Archiver:
        """The archiver of an ``s3://`` URI."""
        check_options(uri, options, _OPTIONS)
        text = uri.geturl()
        if not _BUCKET.fullmatch(uri.netloc):
            raise ValueError(f"archival URI {text!r} names no bucket; write 's3://bucket/prefix?region=eu-central-1'")
        prefix = unquote(uri.path).strip("/")
        if prefix != key_part(prefix):
            raise ValueError(f"archival URI {text!r} has a prefix that is no object name: {prefix!r}")
        return cls(open_s3(uri, options), prefix, text)

    async def validate(self) -> None:
        """As :meth:`Archiver.validate`: the bucket can be listed."""
        try:
            async for _ in self._keys(f"{self._prefix}/history" if self._prefix else "history"):
                break
        except ArchiveError as error:
            raise ValueError(f"archival URI {self._uri!r} cannot be used: {error}") from None

    async def close(self) -> None:
        """As :meth:`Archiver.close`."""

    def _key(self, *parts: str) -> str:
        return "/".join((self._prefix, *parts) if self._prefix else parts)

    # ---- histories

    async def archive_history(self, run: ArchivedRun, batches: AsyncIterator[list[HistoryEvent]]) -> bool:
        """As :meth:`Archiver.archive_history`."""
        folder = self._history_folder(run.namespace_id, run.workflow_id, run.run_id)
        first_key = f"{folder}/{VERSION}/0"
        if await self._has(first_key):
            return False
        first_blob = b""
        number, first_id, next_id, size = 0, 1, 1, 0
        parts: list[bytes] = []
        async for batch in batches:
            if size >= BLOB_BYTES:
                blob = _records.encode_blob(run, parts, first_id, next_id - 1, False)
                if number:
                    await self._put(f"{folder}/{VERSION}/{number}", blob)
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
            await self._put(f"{folder}/{VERSION}/{number}", blob)
        await self._put(first_key, first_blob or blob)
        return True

    def _history_folder(self, namespace_id: str, workflow_id: str, run_id: str) -> str:
        return self._key(namespace_id, "history", key_part(workflow_id), key_part(run_id))

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
                blob = _records.decode_blob(await self._get(f"{folder}/{version}/{number}"))
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
        if await self._has(f"{folder}/{VERSION}/0"):
            return VERSION
        versions = [key.split("/")[-2] async for key in self._keys(folder)]
        return max((int(text) for text in versions if text.isdecimal()), default=0)

    async def histories(self, namespace_id: str = "") -> AsyncIterator[ArchivedHistory]:
        """As :meth:`Archiver.histories`."""
        below = self._key(namespace_id, "history") if namespace_id else self._prefix
        async for key in self._keys(below):
            if not key.endswith("/0") or "/history/" not in f"/{key}":
                continue
            folder = key.removesuffix("/0")
            events: list[HistoryEvent] = []
            header: dict[str, Any] = {}
            number, is_last = 0, False
            while not is_last:
                blob = _records.decode_blob(await self._get(f"{folder}/{number}"))
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
        if await self._has(keys[-1]):
            return False
        data = _records.encode_execution(execution)
        await asyncio.gather(*(self._put(key, data) for key in keys[:-1]))
        await self._put(keys[-1], data)
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
            self._key(e.namespace_id, "visibility", index, key_part(value), which, _seconds(time), run)
            for index, value, which, time in folders
        ]

    async def list_executions(
        self, namespace_id: str, query: ArchiveQuery, page_size: int, next_page_token: bytes = b""
    ) -> ArchivedExecutionPage:
        """As :meth:`Archiver.list_executions`: in the order of the keys, so by workflow type, the oldest close first."""
        folder = self._key(namespace_id, "visibility")
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
            for data in await asyncio.gather(*map(self._get, waiting)):
                if len(found) == page_size:
                    return
                execution = _records.decode_execution(data)
                last = waiting.pop(0)
                looked_at += 1
                if query.holds(execution):
                    found.append(execution)

        async for key in self._keys(folder, after):
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

    # ---- objects

    async def _has(self, key: str) -> bool:
        from obstore import head_async

        try:
            await _asked(head_async(self._store, key))
        except ArchiveNotFoundError:
            return False
        return True

    async def _get(self, key: str) -> bytes:
        from obstore import get_async

        result = await _asked(get_async(self._store, key))
        return bytes(await _asked(result.bytes_async()))

    async def _put(self, key: str, data: bytes) -> None:
        from obstore import put_async

        await _asked(put_async(self._store, key, data))

    async def _keys(self, folder: str, after: str = "") -> AsyncIterator[str]:
        """Keys below a folder in their order, from just after one."""
        from obstore import list as list_objects

        stream = list_objects(self._store, folder or None, offset=after or None, chunk_size=1000)
        while True:
            try:
                chunk = await _asked(anext(stream))
            except StopAsyncIteration:
                return
            for entry in chunk:
                yield entry["path"]


def open_s3(uri: SplitResult, options: dict[str, str]) -> S3Store:
    """The bucket of an ``s3://`` URI. Raises ValueError, or ModuleNotFoundError without ``perdure[s3]``."""
    try:
        from obstore.exceptions import BaseError
        from obstore.store import S3Store
    except ModuleNotFoundError as error:
        if error.name != "obstore":
            raise
        raise ModuleNotFoundError("archives in S3 need obstore: pip install 'perdure[s3]'", name=error.name) from None
    config: dict[str, Any] = {}
    if "region" in options:
        config["region"] = options["region"]
    endpoint = options.get("endpoint", "")
    if endpoint:
        if not endpoint.startswith(("http://", "https://")):
            raise ValueError(f"archival URI {uri.geturl()!r}: endpoint is {endpoint!r}, not an http:// or https:// URL")
        config["endpoint"] = endpoint
    # What stands in for S3 has no host name for each bucket, as a rule.
    path_style = options.get("path_style", "true" if endpoint else "false").lower()
    if path_style not in _BOOLS:
        raise ValueError(f"archival URI {uri.geturl()!r}: path_style is 'true' or 'false', not {path_style!r}")
    config["virtual_hosted_style_request"] = not _BOOLS[path_style]
    try:
        return S3Store(
            uri.netloc,
            config=cast("S3Config", config),
            client_options={"allow_http": endpoint.startswith("http://"), "timeout": timedelta(seconds=60)},
            retry_config={"max_retries": 3, "retry_timeout": timedelta(seconds=30)},
        )
    except BaseError as error:
        raise ValueError(f"archival URI {uri.geturl()!r} cannot be used: {_sentence(error)}") from None


async def _asked(call: Awaitable[_T]) -> _T:
    """The store's answer, and its errors as an archive's."""
    from obstore.exceptions import BaseError

    try:
        return await call
    except FileNotFoundError as error:
        if "NoSuchBucket" in str(error):
            raise ArchiveError("the bucket does not exist") from None
        raise ArchiveNotFoundError(_sentence(error)) from None
    except (BaseError, OSError) as error:
        raise ArchiveError("the bucket does not exist" if "NoSuchBucket" in str(error) else _sentence(error)) from None


def _sentence(error: BaseException) -> str:
    """What an error says before it goes into its own structure."""
    return " ".join(str(error).partition("Debug source:")[0].split())[:500]


def key_part(text: str) -> str:
    """A text as part of a key: as it is, as Temporal has it, unless no such key can be.

    Keys have no empty part, none that is ``.`` or ``..``, no control characters, and at most 1024 bytes.
    """
    parts = text.split("/")
    if any(part in ("", ".", "..") for part in parts) or any(ord(char) < 32 or ord(char) == 127 for char in text):
        text = quote(text, safe="").replace(".", "%2E")
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
