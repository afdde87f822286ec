"""What several processes over one database need beside a store: see ``docs/postgresql.md``.

A task row names the node in whose memory the task is, a run the node that watches its timers. Both are only hints of
who does the work: what counts is the version of the run when the work is committed.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import uuid
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import msgspec

from perdure.store.api import (
    Capability,
    Document,
    Durability,
    NamespaceRecord,
    RunKey,
    RunUpdate,
    StoreClosedError,
    StoredRun,
    StoreError,
    TaskRow,
)
from perdure.store.keys import check_document, check_update, document_key, is_run_id, ordered_text
from perdure.store.postgres._connections import (
    Backoff,
    close_connection,
    first_connection,
    open_connection,
    store_error,
)
from perdure.store.postgres._nodes import Lease
from perdure.store.postgres._rows import TASK_COLUMNS, task_row
from perdure.store.postgres._settings import Settings
from perdure.store.postgres._store import PostgresStore
from perdure.store.postgres._text import escape, unescape
from perdure.store.postgres._writer import DocumentName, document_name

logger = logging.getLogger("perdure.store")

_KEY = "task_id, namespace_id, workflow_id, kind, queue_key"
_SAME = " AND ".join(f"t.{name} = f.{name}" for name in _KEY.split(", "))
_COLUMNS = ", ".join(f"t.{name}" for name in TASK_COLUMNS.split(", "))


class Message(NamedTuple):
    """What a node says to another one."""

    id: str
    sender: int
    kind: str
    body: bytes


class SharedPostgresStore(PostgresStore):
    """The store as one of several processes has it."""

    capabilities = Capability.PERSISTENT | Capability.SHARED

    def __init__(self, settings: Settings, durability: Durability, lease: Lease) -> None:
        super().__init__(settings, durability, lease)
        #: Run id -> the epoch that committed what :meth:`load_run` gave.
        self.writers: dict[str, int] = {}
        #: Document -> the epoch that made the version that was read, or that this process built the newest one as.
        self._document_writers: dict[DocumentName, int] = {}

    @classmethod
    async def open(
        cls, url: str, *, durability: Durability = Durability.FULL, is_alone: bool = False
    ) -> SharedPostgresStore:
        """As :meth:`PostgresStore.open`, beside others."""
        store = await super().open(url, durability=durability, is_alone=is_alone)
        assert isinstance(store, SharedPostgresStore)
        return store

    def submit(self, updates: Sequence[RunUpdate], documents: Sequence[Document], epoch: int) -> asyncio.Future[None]:
        """As :meth:`commit`, but the outcome comes with a future. What was decided under an epoch ends with it."""
        self._check_open()
        for update in updates:
            check_update(update)
        for document in documents:
            check_document(document)
        if not updates and not documents:
            done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            done.set_result(None)
            return done
        if documents:
            documents = [self._based(document, epoch) if document.version else document for document in documents]
        return self.writer.submit(updates, documents, epoch)

    def _based(self, document: Document, epoch: int) -> Document:
        name = document_name(document)
        base = self._document_writers.get(name, 0)
        self._document_writers[name] = epoch
        return msgspec.structs.replace(document, base=base)

    async def load_document(self, namespace_id: str, kind: str, id: str) -> Document | None:
        """As :meth:`Store.load_document`; remembers whose version it is for the one that follows."""
        self._check_open()
        row = await self.connections.fetchrow(
            f"SELECT body, version, writer FROM {self._schema}.document "
            "WHERE namespace_id = $1 AND kind = $2 AND id_key = $3",
            namespace_id,
            kind,
            document_key(kind, id),
        )
        return None if row is None else self._remembered(Document(namespace_id, kind, id, row[0], row[1]), row[2])

    async def list_documents(self, namespace_id: str, kind: str, limit: int, after: str = "") -> list[Document]:
        """As :meth:`Store.list_documents`; remembers as :meth:`load_document`."""
        self._check_open()
        rows = await self.connections.fetch(
            f"SELECT id, body, version, writer FROM {self._schema}.document WHERE namespace_id = $1 AND kind = $2 "
            "AND id_key > $3 ORDER BY id_key LIMIT $4",
            namespace_id,
            kind,
            document_key(kind, after) if after else b"",
            limit,
        )
        return [
            self._remembered(Document(namespace_id, kind, unescape(id), body, version), writer)
            for id, body, version, writer in rows
        ]

    def _remembered(self, document: Document, writer: int) -> Document:
        if document.version:
            self._document_writers[document_name(document)] = writer
        return document

    async def document_marks(self) -> dict[str, int]:
        """By kind of document that has versions, and "" for namespaces: a number that changes when any of them does."""
        self._check_open()
        rows = await self.connections.fetch(
            "SELECT kind, sum(hashtextextended(id || encode(body, 'base64'), version))::text "
            f"FROM {self._schema}.document WHERE version > 0 GROUP BY kind UNION ALL "
            "SELECT '', sum(hashtextextended(namespace_id::text || encode(body, 'base64'), version))::text "
            f"FROM {self._schema}.namespace"
        )
        return {kind: int(mark or 0) for kind, mark in rows}

    async def replace_namespace(self, record: NamespaceRecord, version: int) -> bool:
        """Make a version of a namespace from the one before (1: there is none); False when another node did."""
        self._check_open()
        namespace = f"{self._schema}.namespace"
        if version == 1:
            change = (
                f"INSERT INTO {namespace} (namespace_id, name, body, version) VALUES ($1, $2, $3, $4) "
                "ON CONFLICT DO NOTHING"
            )
        else:
            change = (
                f"UPDATE {namespace} SET name = $2, body = $3, version = $4 "
                "WHERE namespace_id = $1 AND version = $4 - 1"
            )
        rows = await self.connections.fetch(
            f"WITH made AS ({change} RETURNING 1) SELECT 1 FROM made UNION ALL "
            # Asked again because the answer was lost.
            f"SELECT 1 FROM {namespace} WHERE namespace_id = $1 AND version = $4 AND body = $3",
            record.namespace_id,
            escape(record.name),
            record.body,
            version,
        )
        return bool(rows)

    async def rejoin(self) -> None:
        """Become a node again, under a new epoch, after this one was taken for dead."""
        connection = await first_connection(self.settings)
        try:
            lease = await Lease.take(connection, self.settings, is_alone=False)
        except StoreError:
            raise
        except Exception as error:
            raise store_error(error, self.settings.place, "join") from error
        finally:
            await close_connection(connection)
        self.lease.forget()
        self.lease, self.epoch = lease, lease.epoch
        self._heart.cancel()
        self._heart = asyncio.get_running_loop().create_task(self._beat())
        await self.writer.renew(lease)

    async def load_run(self, key: RunKey) -> StoredRun | None:
        """As :meth:`Store.load_run`; remembers whose version it is for the update that follows."""
        self._check_open()
        if not is_run_id(key.run_id) or not is_run_id(key.namespace_id):
            return None
        row = await self.connections.fetchrow(
            f"SELECT version, state, writer FROM {self._schema}.run "
            "WHERE run_id = $1 AND namespace_id = $2 AND workflow_id = $3",
            key.run_id,
            key.namespace_id,
            escape(key.workflow_id),
        )
        if row is None:
            return None
        self.writers[key.run_id] = row[2]
        return StoredRun(row[0], row[1])

    # Reads of what is this node's

    @property
    def _watched(self) -> str:
        """As :attr:`PostgresStore._watched`: those that this node watches."""
        return f"due_ms > 0 AND node = {self.epoch}"

    async def pending_tasks(self, limit: int, after: TaskRow | None = None) -> list[TaskRow]:
        """None: a node that opens claims what nobody has."""
        return []

    async def versions(self, keys: Sequence[RunKey]) -> list[tuple[int, str, int]]:
        """Of each run its version (0: it is not there), the current run of its workflow id, and its node."""
        self._check_open()
        rows = await self.connections.fetch(
            "SELECT coalesce(r.version, 0), coalesce(c.run_id::text, ''), coalesce(r.node, 0) "
            "FROM unnest($1::uuid[], $2::text[], $3::uuid[]) WITH ORDINALITY AS t(a, b, c, i) "
            f"LEFT JOIN {self._schema}.run r ON r.run_id = t.c AND r.namespace_id = t.a AND r.workflow_id = t.b "
            f"LEFT JOIN {self._schema}.current_run c ON c.namespace_id = t.a AND c.workflow_id = t.b ORDER BY t.i",
            [key.namespace_id for key in keys],
            [escape(key.workflow_id) for key in keys],
            [key.run_id for key in keys],
        )
        return [(row[0], row[1], row[2]) for row in rows]

    # Nodes

    async def sweep(self) -> tuple[set[int], int]:
        """The epochs of the nodes that live, and how many were found dead: those may commit no more."""
        self._check_open()
        dead = await self.connections.fetch(
            f"DELETE FROM {self._schema}.node WHERE epoch IN (SELECT epoch FROM {self._schema}.node "
            "WHERE lease_until < clock_timestamp() AND epoch <> $1 FOR UPDATE SKIP LOCKED) "
            # Nobody could renew a lease while the database was away.
            "AND lease_until < clock_timestamp() AND pg_postmaster_start_time() + 2 * $2::interval < clock_timestamp() "
            "RETURNING epoch",
            self.epoch,
            self.lease.duration,
        )
        rows = await self.connections.fetch(f"SELECT epoch FROM {self._schema}.node")
        return {row[0] for row in rows}, len(dead)

    # Tasks

    async def claim_tasks(self, namespace_ids: Sequence[str], kind: int, task_queue: str, limit: int) -> list[TaskRow]:
        """Take tasks of a queue that are in nobody's memory, oldest first."""
        return await self._claim(
            "node = 0 AND owner_epoch = 0 AND namespace_id = ANY($3::uuid[]) AND kind = $4 AND queue_key = $5",
            limit,
            list(namespace_ids),
            kind,
            ordered_text(task_queue),
        )

    async def claim_orphans(self, live: Iterable[int], limit: int) -> list[TaskRow]:
        """Take tasks that were in the memory of nodes that are gone."""
        return await self._claim("node <> 0 AND node <> ALL($3::bigint[])", limit, list(live))

    async def _claim(self, where: str, limit: int, *arguments: Any) -> list[TaskRow]:
        self._check_open()
        task = f"{self._schema}.task"
        rows = await self.connections.fetch(
            f"WITH f AS MATERIALIZED (SELECT {_KEY} FROM {task} WHERE {where} ORDER BY task_id LIMIT $1 "
            f"FOR UPDATE SKIP LOCKED) UPDATE {task} t SET node = $2 FROM f WHERE {_SAME} RETURNING {_COLUMNS}",
            limit,
            self.epoch,
            *arguments,
        )
        return sorted((task_row(row) for row in rows), key=lambda row: row.task_id)

    async def hold_tasks(self, rows: Sequence[TaskRow], live: Iterable[int]) -> set[int]:
        """Of these, the ids of those that are this node's, or are now because their node is gone."""
        return await self._move(rows, self.epoch, "AND (t.node = $6 OR t.node <> ALL($7::bigint[]))", list(live))

    async def give_away(self, rows: Sequence[TaskRow]) -> set[int]:
        """Let anybody claim these tasks of this node; the ids of those that were still its own to give."""
        return await self._move(rows, 0, "AND t.node = $6 AND t.owner_epoch = 0 AND $7::bigint[] IS NOT NULL", [])

    async def _move(self, rows: Sequence[TaskRow], node: int, where: str, live: list[int]) -> set[int]:
        self._check_open()
        if not rows:
            return set()
        found = await self.connections.fetch(
            f"UPDATE {self._schema}.task t SET node = $5 "
            f"FROM unnest($1::bigint[], $2::uuid[], $3::text[], $4::bytea[]) "
            "AS f(task_id, namespace_id, workflow_id, queue_key) WHERE t.task_id = f.task_id "
            "AND t.namespace_id = f.namespace_id AND t.workflow_id = f.workflow_id AND t.queue_key = f.queue_key "
            f"{where} RETURNING t.task_id",
            [row.task_id for row in rows],
            [row.key.namespace_id for row in rows],
            [escape(row.key.workflow_id) for row in rows],
            [ordered_text(row.task_queue) for row in rows],
            node,
            self.epoch,
            live,
        )
        return {row[0] for row in found}

    # Timers

    async def claim_timers(self, live: Iterable[int], until_ms: int, limit: int) -> list[tuple[int, RunKey]]:
        """Take over the timers, up to a time, of nodes that are gone."""
        self._check_open()
        run = f"{self._schema}.run"
        rows = await self.connections.fetch(
            f"WITH f AS MATERIALIZED (SELECT run_id, namespace_id, workflow_id FROM {run} WHERE due_ms > 0 "
            "AND due_ms <= $1 AND node <> ALL($2::bigint[]) ORDER BY due_ms LIMIT $3 FOR UPDATE SKIP LOCKED) "
            f"UPDATE {run} t SET node = $4 FROM f WHERE t.run_id = f.run_id AND t.namespace_id = f.namespace_id "
            "AND t.workflow_id = f.workflow_id RETURNING due_ms, t.namespace_id::text, t.workflow_id, t.run_id::text",
            until_ms,
            list(live),
            limit,
            self.epoch,
        )
        return [(due, RunKey(namespace_id, unescape(workflow), run_id)) for due, namespace_id, workflow, run_id in rows]

    # Messages

    async def send(self, node: int, kind: str, body: bytes, id: str = "") -> str:
        """Leave a message for a node; returns its id. The node is told by :meth:`notify`."""
        self._check_open()
        name = id or str(uuid.uuid4())
        await self.connections.fetch(
            f"INSERT INTO {self._schema}.message (id, node, sender, kind, body) VALUES ($1, $2, $3, $4, $5) "
            "ON CONFLICT (id) DO NOTHING",
            name,
            node,
            self.epoch,
            kind,
            body,
        )
        return name

    async def take_messages(self) -> list[Message]:
        """The messages for this node; they are gone then."""
        self._check_open()
        rows = await self.connections.fetch(
            f"DELETE FROM {self._schema}.message WHERE node = $1 OR sent_at < now() - interval '10 minutes' "
            "RETURNING id::text, sender, kind, body, node, sent_at",
            self.epoch,
        )
        rows.sort(key=lambda row: row[5])
        return [Message(*row[:4]) for row in rows if row[4] == self.epoch]

    # What transactions of users ask for

    async def read_outbox(self, limit: int) -> list[tuple[int, str, str, bytes]]:
        """What waits to be carried out, oldest first: number, workflow id, method, request."""
        self._check_open()
        rows = await self.connections.fetch(
            f"SELECT id, workflow_id, method, body FROM {self._schema}.outbox WHERE error IS NULL ORDER BY id LIMIT $1",
            limit,
        )
        return [(row[0], row[1], row[2], row[3]) for row in rows]

    async def finish_outbox(self, entries: Sequence[tuple[int, str]]) -> None:
        """Take out what was carried out, and note errors (other than "") of the rest."""
        self._check_open()
        await self.connections.fetch(
            "WITH e AS (SELECT * FROM unnest($1::bigint[], $2::text[]) AS t(id, error)), "
            f"gone AS (DELETE FROM {self._schema}.outbox o USING e WHERE o.id = e.id AND e.error = '') "
            f"UPDATE {self._schema}.outbox o SET error = e.error FROM e WHERE o.id = e.id AND e.error <> ''",
            [number for number, _ in entries],
            [error.replace("\0", "") for _, error in entries],
        )

    # News

    async def notify(self, payloads: Sequence[str], nodes: Iterable[int], kind: str) -> None:
        """Tell every node that listens; where none can, leave these nodes a message of that kind, a payload a line."""
        self._check_open()
        if self.settings.is_pooled:
            others = list(nodes)
            await self.connections.fetch(
                f"INSERT INTO {self._schema}.message (id, node, sender, kind, body) "
                "SELECT a, b, $3, $4, $5 FROM unnest($1::uuid[], $2::bigint[]) AS t(a, b) ON CONFLICT (id) DO NOTHING",
                [str(uuid.uuid4()) for _ in others],
                others,
                self.epoch,
                kind,
                "\n".join(payloads).encode(),
            )
            return
        await self.connections.fetch(
            "SELECT pg_notify($1, p) FROM unnest($2::text[]) AS t(p)", self._schema, list(payloads)
        )

    async def listen(self, hear: Callable[[str], None], lost: Callable[[], None]) -> None:
        """Hear what nodes tell, for ever.

        Args:
            lost: called whenever news may have been missed.
        """
        if self.settings.is_pooled:
            return  # a pooler of transactions tells no news
        while not self._is_closed:
            connection = None
            backoff = Backoff(1e9)
            try:
                connection = await open_connection(self.settings)
                gone = asyncio.get_running_loop().create_future()

                def ended(_: Any, gone: asyncio.Future[None] = gone) -> None:
                    if not gone.done():
                        gone.set_result(None)

                connection.add_termination_listener(ended)
                await connection.add_listener(self._schema, lambda _c, _p, _n, payload: hear(payload))
                lost()
                await gone
            except StoreClosedError:
                return
            except (StoreError, OSError, Exception) as error:
                logger.debug("listening to %s failed: %s", self.settings.place, error)
                await backoff.wait()
            finally:
                if connection is not None:
                    with contextlib.suppress(Exception):
                        await close_connection(connection)
