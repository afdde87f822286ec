"""Continuous export: every closed history as part of a file, soon after it closed.

An export goes through time in windows. A window begins where the last one ended and ends a little before now, so that
every close in it is visible; its runs are listed page by page, and each page becomes one file or more. When those are
durable, the cursor beside them is moved on: an export that was interrupted goes on there, and may write a page again, but
leaves none out.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import logging
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import msgspec

from perdure._native.events import HistoryEvent
from perdure.api.common import v1 as common_v1
from perdure.api.json._scalars import encode_timestamp
from perdure.api.workflow import v1 as workflow_v1
from perdure.api.workflowservice import v1 as ws
from perdure.archival._files import format_of
from perdure.archival._reading import FOLDER
from perdure.client import Client
from perdure.service import RPCError, RPCStatusCode
from perdure.store.archive import ArchiveCorruptError, ArchiveError, ArchiveNotFoundError, open_place

logger = logging.getLogger("perdure.archival")

PAGE = 200
#: Histories are read so many at once.
_AT_ONCE = 8
#: A file ends with the history that brings it to this many bytes.
FILE_BYTES = 32 * 1024 * 1024
_MAX_DELAY = 60.0
_NS = 1_000_000_000
_PASSING = frozenset(
    (
        RPCStatusCode.UNAVAILABLE,
        RPCStatusCode.DEADLINE_EXCEEDED,
        RPCStatusCode.RESOURCE_EXHAUSTED,
        RPCStatusCode.ABORTED,
        RPCStatusCode.INTERNAL,
        RPCStatusCode.UNKNOWN,
    )
)


@dataclass
class ExportReport:
    """What an export did."""

    exported: int = 0
    """Histories written."""
    files: int = 0
    gone: int = 0
    """Runs that were deleted after they were listed and before they were read."""


class _Cursor(msgspec.Struct, rename="camel"):
    """How far an export came; times are nanoseconds since the epoch."""

    namespace_id: str
    query: str = ""
    before: int = 0
    until: int = 0
    next_page_token: str = ""


class HistoryExport:
    """Copies the histories of a namespace's closed runs to a folder or a bucket.

    The files are Temporal Cloud's: ``temporal-workflow-history/export/NAMESPACE/YEAR/MONTH/DAY/HOUR/MINUTE/*.proto``, each
    a ``temporal.api.export.v1.WorkflowExecutions``. Every history is there at least once, as long as the export keeps up
    with retention. Works against every home, a Temporal server among them, and costs it one listing each time.

    Args:
        client: whose namespace is exported.
        uri: where to: ``file:///FOLDER`` or ``s3://BUCKET/PREFIX?region=...``.
        query: only runs that this list filter finds.
        format: ``proto``, or ``json`` for the same message in JSON.
        settle: how long after its close a run is exported: by then every node has shown it, or was taken for dead.
        now: nanoseconds since the epoch, by the clock of the home.

    Raises:
        ValueError: the URI or the format is wrong, in a sentence.
        ModuleNotFoundError: ``perdure[s3]`` or ``perdure[temporal]`` is needed.
    """

    def __init__(
        self,
        client: Client,
        uri: str,
        *,
        query: str = "",
        format: str = "proto",
        settle: timedelta = timedelta(seconds=30),
        now: Callable[[], int] = time.time_ns,
    ) -> None:
        self._service = client.workflow_service
        self._namespace = client.namespace
        self._uri = uri
        self._place = open_place(uri)
        self._query = query
        self._format = format_of(format)
        self._settle_ns = int(settle.total_seconds() * _NS)
        self._now = now
        self._folder = f"{FOLDER}/{self._namespace}"
        self._cursor: _Cursor | None = None

    async def run(self) -> ExportReport:
        """Export what has closed and was not exported before. Safe to repeat, and to interrupt.

        Raises:
            ArchiveError: the place cannot be written now.
            ValueError: it never can, or has an export of something else.
            RPCError: the home refused.
        """
        cursor = self._cursor or await self._open()
        report = ExportReport()
        is_new = not cursor.until
        while True:
            if not cursor.until:
                cursor.until = self._now() - self._settle_ns
                is_new = True
            if cursor.until > cursor.before:
                await self._window(cursor, report)
            cursor.before, cursor.until = max(cursor.until, cursor.before), 0
            if is_new:
                return report

    async def follow(self, interval: timedelta = timedelta(seconds=10)) -> None:
        """Export what closes, again and again, until cancelled. What passes (an outage, say) is waited for."""
        failures = 0
        while True:
            delay = interval.total_seconds()
            try:
                report = await self.run()
            except (ArchiveError, RPCError) as error:
                if isinstance(error, RPCError) and error.status not in _PASSING:
                    raise
                failures += 1
                delay = min(2.0 ** min(failures, 10), _MAX_DELAY)
                logger.warning(
                    "the export of namespace %s waits %.0f s after an error: %s", self._namespace, delay, error
                )
            else:
                failures = 0
                if report.exported:
                    logger.info("exported %d histories of namespace %s", report.exported, self._namespace)
            await asyncio.sleep(delay)

    # ---- the cursor

    async def _open(self) -> _Cursor:
        await self._place.validate()
        described = await self._service.describe_namespace(ws.DescribeNamespaceRequest(self._namespace))
        info = described.namespace_info
        namespace_id = "" if info is None else info.id
        try:
            cursor = msgspec.json.decode(await self._place.get(f"{self._folder}/cursor.json"), type=_Cursor)
        except ArchiveNotFoundError:
            cursor = _Cursor(namespace_id, self._query)
        except msgspec.MsgspecError as error:
            raise ArchiveCorruptError(f"{self._folder}/cursor.json at {self._uri} is no cursor: {error}") from None
        if (cursor.namespace_id, cursor.query) != (namespace_id, self._query):
            raise ValueError(
                f"{self._uri} has an export of another namespace of that name, or with another filter "
                f"({cursor.query!r}): export to a place of its own"
            )
        self._cursor = cursor
        return cursor

    async def _save(self, cursor: _Cursor) -> None:
        await self._place.put(f"{self._folder}/cursor.json", msgspec.json.encode(cursor))

    # ---- one window

    async def _window(self, cursor: _Cursor, report: ExportReport) -> None:
        low, high = encode_timestamp(cursor.before), encode_timestamp(cursor.until)
        query = f"CloseTime >= '{low}' AND CloseTime < '{high}'"
        if self._query:
            query += f" AND ({self._query})"
        while True:
            try:
                token = base64.b64decode(cursor.next_page_token)
            except binascii.Error as error:
                raise ArchiveCorruptError(f"the cursor at {self._uri} is damaged: {error}") from None
            page = await self._service.list_workflow_executions(
                ws.ListWorkflowExecutionsRequest(self._namespace, PAGE, token, query)
            )
            if page.executions:
                await self._write(page.executions, cursor.until, report)
            cursor.next_page_token = base64.b64encode(page.next_page_token).decode()
            is_last = not page.next_page_token
            if page.executions:
                done = msgspec.structs.replace(cursor, before=cursor.until, until=0) if is_last else cursor
                await self._save(done)
            if is_last:
                return

    async def _write(
        self, executions: list[workflow_v1.WorkflowExecutionInfo], until: int, report: ExportReport
    ) -> None:
        items: list[bytes] = []
        size = 0
        for start in range(0, len(executions), _AT_ONCE):
            for events in await asyncio.gather(*map(self._read, executions[start : start + _AT_ONCE])):
                if events is None:
                    report.gone += 1
                    continue
                items.append(self._format.encode_item(events))
                size += len(items[-1])
                if size >= FILE_BYTES:
                    await self._put(items, until, report)
                    items, size = [], 0
        if items:
            await self._put(items, until, report)

    async def _put(self, items: list[bytes], until: int, report: ExportReport) -> None:
        moment = datetime.fromtimestamp(until // _NS, UTC)
        # A name of its own: what is written again must not take the place of what was there.
        name = f"{self._folder}/{moment:%Y/%m/%d/%H/%M}/{until}-{uuid.uuid4().hex[:12]}{self._format.suffix}"
        await self._place.put(name, self._format.join(items))
        report.exported += len(items)
        report.files += 1

    async def _read(self, info: workflow_v1.WorkflowExecutionInfo) -> list[HistoryEvent] | None:
        """A run's history; None when the run was deleted meanwhile."""
        execution = info.execution or common_v1.WorkflowExecution()
        events: list[HistoryEvent] = []
        token = b""
        while True:
            try:
                page = await self._service.get_workflow_execution_history(
                    ws.GetWorkflowExecutionHistoryRequest(self._namespace, execution, next_page_token=token)
                )
            except RPCError as error:
                if error.status is not RPCStatusCode.NOT_FOUND:
                    raise
                logger.warning("run %s was deleted before it could be exported", execution.run_id)
                return None
            if page.history is not None:
                events += page.history.events
            token = page.next_page_token
            if not token:
                return events
