"""The one connection that commits: what waits while a commit travels goes out together with the next one.

A commit whose answer was lost is looked up: its number is in our row of ``node`` if it was kept. So a connection that
breaks, or a database that restarts, makes commits slow and not uncertain.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from typing import Any, NamedTuple

from perdure.store.api import (
    Document,
    Durability,
    FencedError,
    RunKey,
    RunUpdate,
    StaleRunError,
    StoreClosedError,
    StoreError,
)
from perdure.store.keys import document_key
from perdure.store.postgres._connections import (
    Backoff,
    Connection,
    close_connection,
    is_passing,
    open_connection,
    sqlstate,
    statement,
    store_error,
)
from perdure.store.postgres._nodes import Lease
from perdure.store.postgres._rows import Rows, places
from perdure.store.postgres._settings import Settings
from perdure.store.postgres._text import escape

#: Updates of one call, more or less: a commit is never split.
MAX_UPDATES = 1000
_STALE = "PD409"
_FENCED = "PD410"

RunName = tuple[str, str]
DocumentName = tuple[str, str, str]


class Found(NamedTuple):
    """What the database has of what a group is about."""

    #: Of each run its version and who made it; (0, 0): it is not there.
    versions: dict[RunKey, tuple[int, int]]
    #: The current runs of workflow ids; "": none.
    currents: dict[RunName, str]
    #: The same of documents.
    documents: dict[DocumentName, tuple[int, int]]


def document_name(document: Document) -> DocumentName:
    """What identifies a document."""
    return document.namespace_id, document.kind, document.id


class Commit:
    """A commit that waits or travels."""

    __slots__ = ("documents", "epoch", "future", "updates")

    def __init__(
        self, updates: Sequence[RunUpdate], documents: Sequence[Document], epoch: int, future: asyncio.Future[None]
    ) -> None:
        self.epoch = epoch
        self.updates = updates
        self.documents = documents
        self.future = future

    def names(self) -> set[Any]:
        """What may be in a call once."""
        names: set[Any] = {update.key.run_id for update in self.updates}
        if self.documents:
            names.update(document_name(document) for document in self.documents if document.version)
        return names


class Writer:
    """Sends commits, in the order they came."""

    def __init__(self, settings: Settings, lease: Lease, durability: Durability) -> None:
        self._settings = settings
        self._lease = lease
        self._is_durable = durability is Durability.FULL
        self._loop = asyncio.get_running_loop()
        self._waiting: deque[Commit] = deque()
        self._work: asyncio.Task[None] | None = None
        self._connection: Connection | None = None
        self._statement: Any = None
        self._sql = ""
        self.is_closed = False
        #: Round trips that committed, and updates in them.
        self.calls = 0
        self.updates = 0

    def submit(self, updates: Sequence[RunUpdate], documents: Sequence[Document], epoch: int) -> asyncio.Future[None]:
        """Make a commit durable, some time; the future tells. It is of an epoch, and fails when that is over."""
        if self.is_closed:
            raise StoreClosedError(f"the store in {self._settings.place} is closed")
        future: asyncio.Future[None] = self._loop.create_future()
        self._waiting.append(Commit(updates, documents, epoch, future))
        if self._work is None:
            self._work = self._loop.create_task(self._run())
        return future

    async def _run(self) -> None:
        try:
            while self._waiting:
                group = self._next_group()
                try:
                    await self._commit(group)
                except BaseException as error:
                    failure: BaseException = error
                    if not isinstance(error, StoreError):
                        failure = store_error(error, self._settings.place, "write to")
                    for commit in group:
                        if not commit.future.done():
                            commit.future.set_exception(failure)
                    if not isinstance(error, Exception):
                        raise
        finally:
            self._work = None

    def _next_group(self) -> list[Commit]:
        """The commits of the next call: a run, or a version of a document, is in at most one of them."""
        group = [self._waiting.popleft()]
        runs = group[0].names()
        while self._waiting and len(runs) < MAX_UPDATES:
            commit = self._waiting[0]
            more = commit.names()
            if not runs.isdisjoint(more):
                break
            runs |= more
            group.append(self._waiting.popleft())
        return group

    async def _commit(self, group: list[Commit]) -> None:
        """Commit a group; those of it that are stale fail, the others do not."""
        while group:
            for commit in [commit for commit in group if commit.epoch != self._lease.epoch]:
                if not commit.future.done():
                    commit.future.set_exception(self._lost())
                group.remove(commit)
            if not group:
                return
            try:
                await self._send(group)
            except Exception as error:
                if sqlstate(error) not in (_STALE, "23505"):
                    raise
                stale = await self._stale(group)
                for commit, failure in stale:
                    if not commit.future.done():
                        commit.future.set_exception(failure)
                    group.remove(commit)
                if not stale and sqlstate(error) == "23505":
                    raise
                continue
            for commit in group:
                if not commit.future.done():
                    commit.future.set_result(None)
            return

    async def _send(self, group: list[Commit]) -> None:
        """The call, repeated until its outcome is known."""
        lease = self._lease
        calls = self._calls(group)
        number = lease.number = lease.number + 1
        backoff: Backoff | None = None
        is_unknown = False
        while True:
            if lease is not self._lease:
                if is_unknown and await self._was_kept(group, lease.epoch):
                    return
                raise self._lost()
            try:
                is_new = self._connection is None or self._connection.is_closed()
                if is_new and await self._connect(lease) >= number:
                    return
                await self._call(lease, number, calls)
            except Exception as error:
                if sqlstate(error) == _FENCED or isinstance(error, FencedError):
                    await self._hang_up()
                    if is_unknown and await self._was_kept(group, lease.epoch):
                        return
                    raise self._lost() from None
                if not is_passing(error):
                    raise
                is_unknown = True
                if not sqlstate(error).startswith("40"):
                    await self._hang_up()
                backoff = backoff or Backoff(self._settings.reconnect_timeout)
                if not await backoff.wait():
                    raise store_error(error, self._settings.place, "write to") from error
                continue
            self.calls += 1
            return

    def _calls(self, group: list[Commit]) -> list[list[Any]]:
        """The arrays of the calls that make the group up: one, unless a commit moves a run more than once."""
        epoch = self._lease.epoch
        rounds = [Rows(epoch)]
        seen: dict[str, int] = {}
        currents: dict[RunName, int] = {}
        for commit in group:
            for update in commit.updates:
                place = seen.get(update.key.run_id, 0)
                if update.make_current:
                    place = max(place, currents.get(update.key[:2], 0))
                    currents[update.key[:2]] = place + 1
                seen[update.key.run_id] = place + 1
                if place == len(rounds):
                    rounds.append(Rows(epoch))
                rounds[place].add(update)
            for document in commit.documents:
                rounds[-1].put(document)
            self.updates += len(commit.updates)
        return [rows.arrays() for rows in rounds]

    async def _call(self, lease: Lease, number: int, calls: list[list[Any]]) -> None:
        connection = self._connection
        assert connection is not None
        head = (lease.epoch, lease.generation, number, lease.duration, self._is_durable)
        if not self._sql:
            first = ", ".join(f"${index + 1}" for index in range(len(head)))
            self._sql = f"SELECT {self._settings.schema}.commit_1({first}, {places(len(head) + 1)})"
        if len(calls) == 1 and not self._settings.is_pooled:
            await connection.fetchval(self._sql, *head, *calls[0])
            return
        async with connection.transaction():
            for arrays in calls:
                await connection.fetchval(self._sql, *head, *arrays)

    async def _connect(self, lease: Lease) -> int:
        """A new connection that may commit; the number of the newest commit that the database kept."""
        await self._hang_up()
        connection = await open_connection(self._settings)
        try:
            kept = await lease.next_generation(connection)
        except BaseException:
            connection.terminate()
            raise
        if kept is None:
            await close_connection(connection)
            raise self._lost()
        self._connection = connection
        return kept

    def _lost(self) -> StoreError:
        return FencedError(
            f"the store in {self._settings.place} was taken over by another process while this one did not answer; "
            "connect again"
        )

    async def _was_kept(self, group: list[Commit], epoch: int) -> bool:
        """Whether a call was kept whose outcome nobody told, by an epoch that is over and so commits no more.

        It was if any of its updates was: a run that is there since, or that is at the version and of the epoch.
        """
        keys = [update.key for commit in group for update in commit.updates if not update.delete]
        backoff = Backoff(self._settings.reconnect_timeout)
        while True:
            connection = None
            try:
                connection = await open_connection(self._settings)
                async with statement(connection, self._settings):
                    versions = (await self._found(group, connection)).versions
                break
            except Exception as error:
                if not is_passing(error) or not await backoff.wait():
                    return False
            finally:
                await close_connection(connection)
        wanted = {update.key: update.version for commit in group for update in commit.updates}
        return any(versions[key] == (wanted[key], epoch) or (wanted[key] == 1 and versions[key][0] > 0) for key in keys)

    async def renew(self, lease: Lease) -> None:
        """Go on under a new lease; what travels under the old one fails."""
        self._lease = lease
        await self._hang_up()

    async def _hang_up(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.terminate()

    async def _stale(self, group: list[Commit]) -> list[tuple[Commit, StaleRunError]]:
        """Which commits of a group do not fit what the database has, and why."""
        found = await self._found_by_writer(group)
        epoch = self._lease.epoch
        stale = []
        for commit in group:
            later = Found(dict(found.versions), dict(found.currents), dict(found.documents))
            failure = _fits(commit, later, epoch)
            if failure is not None:
                stale.append((commit, failure))
                continue
            found = later
        return stale

    async def _found_by_writer(self, group: list[Commit]) -> Found:
        """The same as :meth:`_found` over the connection that commits, or a new one."""
        backoff = Backoff(self._settings.reconnect_timeout)
        while True:
            try:
                if self._connection is None or self._connection.is_closed():
                    await self._connect(self._lease)
                assert self._connection is not None
                async with statement(self._connection, self._settings):
                    return await self._found(group, self._connection)
            except Exception as error:
                if not is_passing(error) or not await backoff.wait():
                    raise
                await self._hang_up()

    async def _found(self, group: list[Commit], connection: Connection) -> Found:
        """What the database has of what a group is about."""
        keys = list({update.key for commit in group for update in commit.updates})
        columns: list[list[str]] = [list(column) for column in zip(*keys, strict=True)] if keys else [[], [], []]
        columns[1] = [escape(workflow) for workflow in columns[1]]
        schema = self._settings.schema
        rows = await connection.fetch(
            "SELECT t.i, r.version, r.writer, c.run_id::text FROM unnest($1::uuid[], $2::text[], $3::uuid[]) "
            "WITH ORDINALITY AS t(a, b, c, i) "
            f"LEFT JOIN {schema}.run r ON r.run_id = t.c AND r.namespace_id = t.a AND r.workflow_id = t.b "
            f"LEFT JOIN {schema}.current_run c ON c.namespace_id = t.a AND c.workflow_id = t.b",
            *columns,
        )
        versions = {keys[place - 1]: (version or 0, writer or 0) for place, version, writer, _ in rows}
        currents = {keys[place - 1][:2]: run_id or "" for place, _, _, run_id in rows}
        names = list({document_name(document) for commit in group for document in commit.documents if document.version})
        documents = {}
        if names:
            rows = await connection.fetch(
                "SELECT t.i, r.version, r.writer FROM unnest($1::uuid[], $2::text[], $3::bytea[]) WITH ORDINALITY AS t(a, b, c, i) "
                f"LEFT JOIN {schema}.document r ON r.namespace_id = t.a AND r.kind = t.b AND r.id_key = t.c",
                [namespace_id for namespace_id, _, _ in names],
                [kind for _, kind, _ in names],
                [document_key(kind, id) for _, kind, id in names],
            )
            documents = {names[place - 1]: (version or 0, writer or 0) for place, version, writer in rows}
        return Found(versions, currents, documents)

    async def close(self) -> Connection | None:
        """Finish what waits; gives the connection back, for the lease's release."""
        self.is_closed = True
        if self._work is not None:
            await asyncio.wait([self._work])
        connection, self._connection = self._connection, None
        return connection


def _fits(commit: Commit, found: Found, epoch: int) -> StaleRunError | None:
    """Why a commit does not fit; what was found gets to say what it changes."""
    versions, currents, documents = found
    for update in commit.updates:
        key = update.key
        version, writer = versions.get(key, (0, 0))
        if version != update.version - 1 or (version and update.base not in (0, writer)):
            return StaleRunError(key, update.version - 1, version)
        versions[key] = (0, 0) if update.delete else (update.version, epoch)
        name = key[:2]
        if update.make_current:
            expected = update.replaces
            if expected is not None and currents.get(name, "") != expected:
                return StaleCurrentError(key, expected, currents.get(name, ""))
            currents[name] = key.run_id
        elif update.delete and currents.get(name) == key.run_id:
            currents[name] = ""
    for document in commit.documents:
        if document.version:
            version, writer = documents.get(document_name(document), (0, 0))
            if version != document.version - 1 or (version and document.base not in (0, writer)):
                return StaleDocumentError(document, version)
            documents[document_name(document)] = (document.version, epoch) if document.body else (0, 0)
    return None


class StaleDocumentError(StaleRunError):
    """Another node changed the document meanwhile."""

    def __init__(self, document: Document, found: int) -> None:
        super().__init__(RunKey(document.namespace_id, "", ""), document.version - 1, found)
        self.args = (f"{document.kind} {document.id!r} is at version {found}, not {document.version - 1}",)


class StaleCurrentError(StaleRunError):
    """Another run became the current one of the workflow id meanwhile."""

    def __init__(self, key: RunKey, expected: str, found: str) -> None:
        super().__init__(key, 0, 0)
        self.args = (f"the current run of workflow {key.workflow_id!r} is {found or 'none'}, not {expected or 'none'}",)
