"""Archival: closed runs go to their namespace's archive, and are not deleted before they are there.

Two things lead to the archive. The *sweep* looks every ``INTERVAL`` seconds for runs that closed since it looked last, so
that they are in the archive soon; how far it came is a document, so it goes on there after a restart. The *gate* stands
before retention: a run whose time is over is archived unless it is there already, and only then deleted. The gate alone
is what the promise rests on; the sweep makes it cheap. Archiving a run again changes nothing, so a crash between the two,
or two nodes of a cluster at once, do no harm.

While the archive cannot be reached, runs whose time is over stay, and are looked at again after a while that grows with
the time the archive has been away. That they are is in their state, so it costs no memory and survives a restart.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence

import msgspec

from perdure._native.events import HistoryEvent, decode_batch
from perdure.api.common import v1 as common_v1
from perdure.api.enums.v1 import HistoryEventFilterType
from perdure.api.history import v1 as history_v1
from perdure.api.workflow import v1 as workflow_v1
from perdure.api.workflowservice import v1 as ws
from perdure.engine.archival_metrics import ArchivalMetrics
from perdure.engine.core import Core
from perdure.engine.errors import invalid_argument, unavailable
from perdure.engine.histories import Histories
from perdure.engine.limits import DEFAULT_PAGE_SIZE, NS_PER_MS, NS_PER_S
from perdure.engine.namespaces import ENABLED, Namespace, Namespaces
from perdure.engine.run import Run
from perdure.service import RPCError, RPCStatusCode
from perdure.store.api import Document, RunKey, StoreError, VisibilityRecord
from perdure.store.archive import (
    ArchiveCorruptError,
    ArchivedExecution,
    ArchivedRun,
    ArchiveError,
    ArchiveNotFoundError,
    Archiver,
    archived_execution,
    open_archiver,
    parse_archive_query,
    search_attributes,
)
from perdure.store.visibility import SYSTEM_TYPES, parse_query

logger = logging.getLogger("perdure.engine")

#: Seconds between two sweeps.
INTERVAL = 10.0
#: A sweep looks at what closed this long ago: until then a close of another node may become visible.
SETTLED_NS = 5 * NS_PER_S
#: How many runs are archived at once, and how many whose time is over may wait for that.
AT_ONCE = 16
MAX_WAITING = 1000
#: A run that is being archived counts as not due for so long: after a crash it is looked at again then.
ATTEMPT_MS = 10 * 60_000
#: Bounds of the time after which an archive that could not be reached is tried again.
RETRY_MS = 60_000
MAX_RETRY_MS = 3_600_000
MAX_LIST_PAGE = 10_000

CURSOR = "archival"
_SWEEP_PAGE = 100
_HISTORY_PAGE = 500
_TOKEN_PREFIX = b"archived:"
_CLOSE_EVENT = int(HistoryEventFilterType.HISTORY_EVENT_FILTER_TYPE_CLOSE_EVENT)


class Cursor(msgspec.Struct, array_like=True):
    """How far the sweep of a namespace came. Times are nanoseconds since the epoch."""

    #: Every run that closed before was archived.
    before: int = 0
    #: Where the listing under way ends, and where it stands; 0: none is.
    until: int = 0
    token: bytes = b""


class _Outage:
    """Since when an archive cannot be reached, and when it is tried again; milliseconds of the engine's clock."""

    def __init__(self, since: int) -> None:
        self.since = since
        self.retry_at = since + RETRY_MS

    def delay(self, now: int) -> int:
        """For how long to leave a run alone: no two come back at once."""
        away = min(max(now - self.since, RETRY_MS), MAX_RETRY_MS)
        return int(away * random.uniform(1, 1.5))


class Archival:
    """Writes and reads the archives of an engine's namespaces."""

    def __init__(self, core: Core, namespaces: Namespaces, histories: Histories) -> None:
        self._core = core
        self._namespaces = namespaces
        self._histories = histories
        self._delete = core.on_delete_run
        core.on_delete_run = self.retire
        namespaces.on_archival = self._sweep_later
        self._archivers: dict[str, Archiver] = {}
        self._outages: dict[str, _Outage] = {}
        self._room = asyncio.Semaphore(AT_ONCE)
        #: Runs (their ids) whose time is over and that are being archived, or wait for that.
        self._under_way: set[str] = set()
        self._cursors: dict[str, Cursor] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._is_sweeping = False
        self._metrics = ArchivalMetrics()
        #: Whether this node is the one that sweeps.
        self.is_mine: Callable[[], bool] = lambda: True
        if namespaces.archived:
            self._sweep_later()

    def archiver(self, uri: str) -> Archiver:
        """The archiver of a URI that was found valid, by this process or another one. Raises ArchiveError."""
        found = self._archivers.get(uri)
        if found is None:
            try:
                found = self._archivers[uri] = open_archiver(uri)
            except (ValueError, ImportError) as error:
                raise ArchiveError(f"this process has no archiver for it: {error}") from None
        return found

    async def close(self) -> None:
        """Give the archives up."""
        if self._timer is not None:
            self._timer.cancel()
        archivers, self._archivers = list(self._archivers.values()), {}
        for archiver in archivers:
            try:
                await archiver.close()
            except Exception:
                logger.exception("an archiver could not be closed")

    # ---- writing

    async def archive(self, namespace: Namespace, record: VisibilityRecord) -> None:
        """Have the namespace's archives hold a closed run. Safe to repeat. Raises ArchiveError or StoreError."""
        key = record.key
        if namespace.history_archival_state == ENABLED:
            run = ArchivedRun(key.namespace_id, namespace.name, key.workflow_id, key.run_id)
            began = time.perf_counter()
            is_new = await self._tried(
                namespace,
                "history",
                self.archiver(namespace.history_archival_uri).archive_history(run, self._batches(key)),
            )
            self._metrics.archived("history", namespace.name, time.perf_counter() - began, is_new)
        if namespace.visibility_archival_state == ENABLED:
            types = {**SYSTEM_TYPES, **namespace.search_attributes}
            execution = archived_execution(record, namespace.name, types, namespace.history_archival_uri)
            began = time.perf_counter()
            archiver = self.archiver(namespace.visibility_archival_uri)
            is_new = await self._tried(namespace, "visibility", archiver.archive_visibility(execution))
            self._metrics.archived("visibility", namespace.name, time.perf_counter() - began, is_new)

    async def _batches(self, key: RunKey) -> AsyncIterator[list[HistoryEvent]]:
        first = 1
        while first:
            page = await self._core.store.read_history(key, first, max_events=_HISTORY_PAGE)
            for batch in page.batches:
                yield decode_batch(batch)
            first = page.next_event_id

    # ---- the gate

    async def retire(self, run: Run) -> None:
        """The time of a closed run is over: delete it, once its archive is written."""
        namespace = self._namespaces.archived.get(run.key[0])
        if namespace is None:
            await self._delete(run)
            return
        # Before anything is awaited: the commit that this deadline caused already names the next one.
        key = run.key
        if key.run_id in self._under_way:
            self._put_off(run, ATTEMPT_MS)
            return
        outage = self._outage(namespace)
        if outage is not None or len(self._under_way) >= MAX_WAITING:
            self._put_off(run, RETRY_MS if outage is None else outage.delay(self._now_ms()))
            return
        self._put_off(run, ATTEMPT_MS)
        self._under_way.add(key.run_id)
        try:
            await self._archive_and_delete(namespace, run)
        except RPCError as error:
            logger.info("run %s is archived and deleted later: %s", key.run_id, error)
        finally:
            self._under_way.discard(key.run_id)

    async def _archive_and_delete(self, namespace: Namespace, run: Run) -> None:
        core = self._core
        key = run.key
        try:
            await core.durable(run)
            async with self._room:
                await self.archive(namespace, run.visibility_record())
        except (ArchiveError, StoreError) as error:
            outage = self._failed(namespace, error)
            found = await core.load(key)
            if found is not None:
                self._put_off(found, outage.delay(self._now_ms()))
            return
        self._reached(namespace)
        found = await core.load(key)
        if found is not None:
            await self._delete(found)

    def _put_off(self, run: Run, delay_ms: int) -> None:
        if not run.is_gone:
            run.state.delete_at_ms = self._now_ms() + delay_ms
            self._core.touch(run)

    def _now_ms(self) -> int:
        return self._core.now() // NS_PER_MS

    # ---- outages

    def _outage(self, namespace: Namespace) -> _Outage | None:
        """What keeps the namespace's archive from being tried now."""
        outage = self._outages.get(namespace.namespace_id)
        return outage if outage is not None and self._now_ms() < outage.retry_at else None

    def _failed(self, namespace: Namespace, error: Exception) -> _Outage:
        now = self._now_ms()
        outage = self._outages.get(namespace.namespace_id)
        is_new = outage is None
        if outage is None:
            outage = self._outages[namespace.namespace_id] = _Outage(now)
        if is_new or now >= outage.retry_at:
            outage.retry_at = now + min(max(now - outage.since, RETRY_MS), MAX_RETRY_MS)
            logger.warning(
                "namespace %s cannot be archived, and keeps its closed runs until it can; next try in %d s: %s",
                namespace.name,
                (outage.retry_at - now) // 1000,
                error,
            )
        return outage

    def _reached(self, namespace: Namespace) -> None:
        outage = self._outages.pop(namespace.namespace_id, None)
        if outage is not None:
            logger.info(
                "namespace %s is archived again, after %d s", namespace.name, (self._now_ms() - outage.since) // 1000
            )

    async def _tried(self, namespace: Namespace, target: str, call: Awaitable[bool]) -> bool:
        """What an archiver says; whatever goes wrong in it is an ArchiveError."""
        try:
            return bool(await call)
        except (ArchiveError, StoreError):
            self._metrics.failed(target, namespace.name)
            raise
        except Exception as error:
            self._metrics.failed(target, namespace.name)
            logger.exception("the archiver of namespace %s failed", namespace.name)
            raise ArchiveError(f"the archiver failed: {error!r}") from error

    # ---- the sweep

    def _sweep_later(self) -> None:
        if self._timer is None and not self._core.is_closed:
            self._timer = self._core.loop.call_later(INTERVAL, self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        if self._core.is_closed or not self._namespaces.archived:
            return
        if self.is_mine() and not self._is_sweeping:
            self._core.spawn(self.sweep())
        self._sweep_later()

    async def sweep(self) -> None:
        """Archive what closed since the last time, of every namespace."""
        self._is_sweeping = True
        try:
            for namespace in list(self._namespaces.archived.values()):
                if self._outage(namespace) is not None:
                    continue
                try:
                    if await self._sweep(namespace):
                        self._reached(namespace)
                except (ArchiveError, StoreError) as error:
                    self._failed(namespace, error)
                except RPCError as error:
                    logger.debug("the sweep of namespace %s is done later: %s", namespace.name, error)
        finally:
            self._is_sweeping = False

    async def _sweep(self, namespace: Namespace) -> bool:
        """Archive what closed since the last time; whether there was anything."""
        core = self._core
        namespace_id = namespace.namespace_id
        cursor = await self._cursor(namespace_id)
        if not cursor.until:
            cursor.until = core.now() - SETTLED_NS
        await core.settle()  # what closed before that is durable now, and listed
        # In a namespace division are only runs of the service's own.
        query = parse_query(f"CloseTime >= {cursor.before} AND CloseTime < {cursor.until}", {})
        is_any = False
        while True:
            page = await core.store.list_runs(namespace_id, query, _SWEEP_PAGE, cursor.token)
            await self._archive_all(namespace, page.records)
            cursor.token = page.next_page_token
            if not cursor.token:
                cursor.before, cursor.until = cursor.until, 0
            if page.records:
                is_any = True
                body = msgspec.msgpack.encode(cursor)
                await core.store.commit([], [Document(namespace_id, CURSOR, CURSOR, body)])
            if not cursor.token:
                return is_any

    async def _cursor(self, namespace_id: str) -> Cursor:
        cursor = self._cursors.get(namespace_id)
        if cursor is None:
            document = await self._core.store.load_document(namespace_id, CURSOR, CURSOR)
            cursor = Cursor() if document is None else msgspec.msgpack.decode(document.body, type=Cursor)
            self._cursors[namespace_id] = cursor
        return cursor

    async def _archive_all(self, namespace: Namespace, records: Sequence[VisibilityRecord]) -> None:
        async def one(record: VisibilityRecord) -> None:
            async with self._room:
                await self.archive(namespace, record)

        results = await asyncio.gather(*(one(record) for record in records), return_exceptions=True)
        for result in results:
            if isinstance(result, BaseException):
                raise result

    # ---- reading

    async def read(
        self,
        request: ws.GetWorkflowExecutionHistoryRequest,
        timeout: float | None,
        metadata: Mapping[str, str | bytes] | None,
    ) -> ws.GetWorkflowExecutionHistoryResponse:
        """GetWorkflowExecutionHistory, of a run that is named and is not here any more from the archive."""
        if request.next_page_token.startswith(_TOKEN_PREFIX):
            return await self._read_archive(request)
        try:
            return await self._histories.read(request, timeout, metadata)
        except RPCError as error:
            is_one_run = request.execution is not None and request.execution.run_id and not request.next_page_token
            if error.status is not RPCStatusCode.NOT_FOUND or request.skip_archival or not is_one_run:
                raise
            if self._namespaces.ids.get(request.namespace) not in self._namespaces.with_archive:
                raise
            try:
                return await self._read_archive(request)
            except ArchiveNotFoundError:
                raise error from None

    async def _read_archive(
        self, request: ws.GetWorkflowExecutionHistoryRequest
    ) -> ws.GetWorkflowExecutionHistoryResponse:
        namespace = self._namespaces.get(request.namespace)
        execution = request.execution or common_v1.WorkflowExecution()
        size = min(request.maximum_page_size or DEFAULT_PAGE_SIZE, DEFAULT_PAGE_SIZE)
        token = request.next_page_token.removeprefix(_TOKEN_PREFIX)
        events: list[HistoryEvent] = []
        try:
            archiver = self.archiver(namespace.history_archival_uri)
            while True:
                page = await archiver.read_history(
                    namespace.namespace_id, execution.workflow_id, execution.run_id, size, token
                )
                events, token = page.events, page.next_page_token
                if request.history_event_filter_type != _CLOSE_EVENT:
                    break
                events = events[-1:]
                if not token:
                    break
        except ArchiveNotFoundError:
            raise
        except (ArchiveError, ValueError) as error:
            raise _unreadable(error) from None
        return ws.GetWorkflowExecutionHistoryResponse(
            history=history_v1.History(events), next_page_token=_TOKEN_PREFIX + token if token else b"", archived=True
        )

    async def list_executions(
        self, request: ws.ListArchivedWorkflowExecutionsRequest
    ) -> ws.ListArchivedWorkflowExecutionsResponse:
        """Temporal's ListArchivedWorkflowExecutions."""
        namespace = self._namespaces.get(request.namespace)
        if request.page_size > MAX_LIST_PAGE:
            raise invalid_argument(f"PageSize is larger than allowed {MAX_LIST_PAGE}.")
        if namespace.visibility_archival_state != ENABLED:
            raise invalid_argument("Namespace is not configured for visibility archival.")
        types = {**SYSTEM_TYPES, **namespace.search_attributes}
        try:
            query = parse_archive_query(request.query, namespace.search_attributes)
            page = await self.archiver(namespace.visibility_archival_uri).list_executions(
                namespace.namespace_id,
                query,
                request.page_size if request.page_size > 0 else MAX_LIST_PAGE,
                request.next_page_token,
            )
        except (ArchiveError, ValueError) as error:
            raise _unreadable(error) from None
        return ws.ListArchivedWorkflowExecutionsResponse(
            [_listed(execution, types) for execution in page.executions], page.next_page_token
        )


def _unreadable(error: Exception) -> RPCError:
    if isinstance(error, ArchiveCorruptError):
        return RPCError(f"The archive is damaged: {error}.", RPCStatusCode.DATA_LOSS)
    if isinstance(error, ArchiveError):
        return unavailable(f"The archive could not be read: {error}. It is safe to try again.")
    return invalid_argument(str(error))


def _listed(execution: ArchivedExecution, types: Mapping[str, str]) -> workflow_v1.WorkflowExecutionInfo:
    e = execution
    return workflow_v1.WorkflowExecutionInfo(
        execution=common_v1.WorkflowExecution(e.workflow_id, e.run_id),
        type=common_v1.WorkflowType(e.workflow_type),
        start_time=e.start_time,
        close_time=e.close_time,
        status=e.status,
        history_length=e.history_length,
        execution_time=e.execution_time or e.start_time,
        memo=common_v1.Memo(dict(e.memo)),
        search_attributes=common_v1.SearchAttributes(search_attributes(e, types)),
        execution_duration=e.execution_duration,
    )
