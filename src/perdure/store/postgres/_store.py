"""The store over a PostgreSQL database."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from collections.abc import Sequence

from perdure.store.api import (
    Capability,
    Document,
    Durability,
    HistoryPage,
    NamespaceRecord,
    RunKey,
    RunUpdate,
    StoreClosedError,
    StoredRun,
    StoreError,
    StoreUnavailableError,
    TaskRow,
    VisibilityPage,
)
from perdure.store.keys import check_document, check_update, document_key, is_run_id, ordered_text
from perdure.store.postgres import _migrate
from perdure.store.postgres._connections import (
    Connections,
    close_connection,
    first_connection,
    open_connection,
    store_error,
)
from perdure.store.postgres._nodes import Lease
from perdure.store.postgres._rows import TASK_COLUMNS, task_row
from perdure.store.postgres._settings import Settings
from perdure.store.postgres._text import escape, unescape
from perdure.store.postgres._visibility import Visibility
from perdure.store.postgres._writer import Writer
from perdure.store.visibility import Query

logger = logging.getLogger("perdure.store")

_EVERY_EVENT = (1 << 62) - 1


class PostgresStore:
    """Everything in one schema of a PostgreSQL database.

    A process that dies, a connection that breaks, a database that restarts: each leaves every acknowledged commit and
    no part of any other. Calls wait while the database is away, up to ``reconnect_timeout``.
    """

    name = "postgresql"
    capabilities = Capability.PERSISTENT | Capability.EXCLUSIVE

    def __init__(self, settings: Settings, durability: Durability, lease: Lease) -> None:
        self.durability = durability
        self.epoch = lease.epoch
        self.settings = settings
        self.lease = lease
        self.writer = Writer(settings, lease, durability)
        self.connections = Connections(settings)
        self._replica = Connections(settings, settings.replica) if settings.replica else self.connections
        self._schema = settings.schema
        self._visibility = Visibility(self._replica, settings.schema)
        self._pid = os.getpid()
        self._is_closed = False
        self._heart = asyncio.get_running_loop().create_task(self._beat())

    @classmethod
    async def open(cls, url: str, *, durability: Durability = Durability.FULL, is_alone: bool = True) -> PostgresStore:
        """Open the store in a database, making or updating its tables where the URL allows that.

        The calling event loop is the one all methods are for.

        Args:
            url: see :mod:`perdure.store.postgres._settings`.
            durability: ``FULL`` commits with ``synchronous_commit=on`` (or what the database has beyond that),
                ``PROCESS`` with ``off``: a crash of the database may then lose the newest commits, never parts of one.
            is_alone: no other process may have the database; else others that say so, too, may.
        Raises:
            ValueError: the URL has an option that cannot be.
            StoreUnavailableError: no connection, no permission, or another process has it.
        """
        settings = Settings.parse(url)
        connection = await first_connection(settings)
        try:
            await _migrate.check(connection, settings)
            lease = await Lease.take(connection, settings, is_alone=is_alone)
        except StoreError:
            raise
        except Exception as error:
            raise store_error(error, settings.place, "open") from error
        finally:
            await close_connection(connection)
        return cls(settings, durability, lease)

    async def _beat(self) -> None:
        """Renew the lease again and again."""
        while True:
            await asyncio.sleep(self.settings.lease / 3)
            try:
                is_ours = await self.connections.run(self.lease.renew)
            except StoreError as error:
                logger.warning("the lease of the store in %s could not be renewed: %s", self.settings.place, error)
                continue
            if not is_ours:
                logger.error("the store in %s was taken over by another process", self.settings.place)
                return

    # Writes

    async def commit(self, updates: Sequence[RunUpdate], documents: Sequence[Document] = ()) -> None:
        self._check_open()
        for update in updates:
            check_update(update)
        for document in documents:
            check_document(document)
        if updates or documents:
            await self.writer.submit(updates, documents, self.epoch)

    async def put_namespace(self, record: NamespaceRecord) -> None:
        self._check_open()
        if not is_run_id(record.namespace_id):
            raise ValueError(f"namespace_id {record.namespace_id!r} is not a UUID in lower case with dashes")
        await self.connections.fetch(
            f"INSERT INTO {self._schema}.namespace (namespace_id, name, body) VALUES ($1, $2, $3) "
            "ON CONFLICT (namespace_id) DO UPDATE SET name = excluded.name, body = excluded.body",
            record.namespace_id,
            escape(record.name),
            record.body,
        )

    async def delete_namespace(self, namespace_id: str) -> None:
        self._check_open()
        await self.connections.fetch(f"DELETE FROM {self._schema}.namespace WHERE namespace_id = $1", namespace_id)

    # Reads

    async def load_run(self, key: RunKey) -> StoredRun | None:
        self._check_open()
        if not is_run_id(key.run_id) or not is_run_id(key.namespace_id):
            return None
        row = await self.connections.fetchrow(
            f"SELECT version, state FROM {self._schema}.run "
            "WHERE run_id = $1 AND namespace_id = $2 AND workflow_id = $3",
            key.run_id,
            key.namespace_id,
            escape(key.workflow_id),
        )
        return None if row is None else StoredRun(row[0], row[1])

    async def current_run(self, namespace_id: str, workflow_id: str) -> str | None:
        self._check_open()
        if not is_run_id(namespace_id):
            return None
        row = await self.connections.fetchrow(
            f"SELECT run_id::text FROM {self._schema}.current_run WHERE namespace_id = $1 AND workflow_id = $2",
            namespace_id,
            escape(workflow_id),
        )
        return None if row is None else row[0]

    async def find_run(self, namespace_id: str, run_id: str) -> RunKey | None:
        self._check_open()
        if not is_run_id(run_id) or not is_run_id(namespace_id):
            return None
        row = await self.connections.fetchrow(
            f"SELECT workflow_id FROM {self._schema}.run WHERE run_id = $1 AND namespace_id = $2", run_id, namespace_id
        )
        return None if row is None else RunKey(namespace_id, unescape(row[0]), run_id)

    async def read_history(
        self, key: RunKey, first_event_id: int = 1, next_event_id: int = 0, *, max_events: int = 0
    ) -> HistoryPage:
        self._check_open()
        if not is_run_id(key.run_id) or not is_run_id(key.namespace_id):
            return HistoryPage([], 0)
        run = "run_id = $1 AND namespace_id = $2 AND workflow_id = $3"
        rows = await self.connections.fetch(
            f"SELECT first_event_id, event_count, batch FROM {self._schema}.history WHERE {run} "
            "AND first_event_id >= coalesce((SELECT h.first_event_id FROM "
            f"{self._schema}.history h WHERE h.{run.replace(' AND ', ' AND h.')} AND h.first_event_id <= $4 "
            "ORDER BY h.first_event_id DESC LIMIT 1), 0) "
            "AND first_event_id + event_count > $4 AND first_event_id < $5 ORDER BY first_event_id LIMIT $6",
            key.run_id,
            key.namespace_id,
            escape(key.workflow_id),
            first_event_id,
            next_event_id or _EVERY_EVENT,
            max_events + 1 if max_events else None,
        )
        return HistoryPage.of(rows, max_events)

    async def read_history_reverse(self, key: RunKey, last_event_id: int = 0, *, max_events: int = 0) -> HistoryPage:
        self._check_open()
        if not is_run_id(key.run_id) or not is_run_id(key.namespace_id):
            return HistoryPage([], 0)
        rows = await self.connections.fetch(
            f"SELECT first_event_id, event_count, batch FROM {self._schema}.history "
            "WHERE run_id = $1 AND namespace_id = $2 AND workflow_id = $3 AND first_event_id <= $4 "
            "ORDER BY first_event_id DESC LIMIT $5",
            key.run_id,
            key.namespace_id,
            escape(key.workflow_id),
            last_event_id or _EVERY_EVENT,
            max_events + 1 if max_events else None,
        )
        return HistoryPage.of(rows, max_events, is_reverse=True)

    @property
    def _watched(self) -> str:
        """Which runs the time index has for this store."""
        return "due_ms > 0"

    async def due_runs(
        self, until_ms: int, limit: int, after: tuple[int, RunKey] | None = None
    ) -> list[tuple[int, RunKey]]:
        self._check_open()
        where = f"{self._watched} AND due_ms <= $1"
        arguments: list[object] = [until_ms, limit]
        if after is not None:
            where += " AND due_ms >= $3 AND (due_ms, namespace_id, run_id) > ($3, $4, $5)"
            arguments += [after[0], after[1].namespace_id, after[1].run_id]
        rows = await self.connections.fetch(
            f"SELECT due_ms, namespace_id::text, workflow_id, run_id::text FROM {self._schema}.run WHERE {where} "
            "ORDER BY due_ms, run.namespace_id, run.run_id LIMIT $2",
            *arguments,
        )
        return [(due, RunKey(namespace_id, unescape(workflow), run)) for due, namespace_id, workflow, run in rows]

    async def pending_tasks(self, limit: int, after: TaskRow | None = None) -> list[TaskRow]:
        self._check_open()
        where = "true"
        arguments: list[object] = [limit]
        if after is not None:
            where = "namespace_id >= $2 AND (namespace_id, kind, queue_key, task_id) > ($2, $3, $4, $5)"
            arguments += [after.key.namespace_id, after.kind, ordered_text(after.task_queue), after.task_id]
        rows = await self.connections.fetch(
            f"SELECT {TASK_COLUMNS} FROM {self._schema}.task WHERE {where} "
            "ORDER BY task.namespace_id, kind, queue_key, task_id LIMIT $1",
            *arguments,
        )
        return [task_row(row) for row in rows]

    async def list_runs(
        self, namespace_id: str, query: Query | None, page_size: int, next_page_token: bytes = b""
    ) -> VisibilityPage:
        self._check_open()
        return await self._visibility.list_runs(namespace_id, query, page_size, next_page_token)

    async def count_runs(self, namespace_id: str, query: Query | None) -> dict[tuple[str, ...], int]:
        self._check_open()
        return await self._visibility.count_runs(namespace_id, query)

    async def load_document(self, namespace_id: str, kind: str, id: str) -> Document | None:
        self._check_open()
        if not is_run_id(namespace_id):
            return None
        row = await self.connections.fetchrow(
            f"SELECT body, version FROM {self._schema}.document WHERE namespace_id = $1 AND kind = $2 AND id_key = $3",
            namespace_id,
            kind,
            document_key(kind, id),
        )
        return None if row is None else Document(namespace_id, kind, id, row[0], row[1])

    async def list_documents(self, namespace_id: str, kind: str, limit: int, after: str = "") -> list[Document]:
        self._check_open()
        rows = await self.connections.fetch(
            f"SELECT id, body, version FROM {self._schema}.document WHERE namespace_id = $1 AND kind = $2 AND id_key > $3 "
            "ORDER BY id_key LIMIT $4",
            namespace_id,
            kind,
            document_key(kind, after) if after else b"",
            limit,
        )
        return [Document(namespace_id, kind, unescape(id), body, version) for id, body, version in rows]

    async def load_namespaces(self) -> list[NamespaceRecord]:
        self._check_open()
        rows = await self.connections.fetch(
            f"SELECT namespace_id::text, name, body FROM {self._schema}.namespace ORDER BY number"
        )
        return [NamespaceRecord(namespace_id, unescape(name), body) for namespace_id, name, body in rows]

    # The end

    def _check_open(self) -> None:
        if self._pid != os.getpid():
            raise StoreUnavailableError(
                f"the store in {self.settings.place} was opened before this process was forked: open it again here"
            )
        if self._is_closed:
            raise StoreClosedError(f"the store in {self.settings.place} is closed")

    async def close(self) -> None:
        if self._is_closed or self._pid != os.getpid():
            return
        self._is_closed = True
        self._heart.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._heart
        connection = await self.writer.close()
        try:
            if connection is None or connection.is_closed():
                connection = await open_connection(self.settings)
            await self.lease.release(connection)
        except Exception as error:
            logger.warning("the lease of the store in %s runs out by itself: %s", self.settings.place, error)
        finally:
            self.lease.forget()
            await close_connection(connection)
            await self.connections.close()
            if self._replica is not self.connections:
                await self._replica.close()
