"""The store contract.

A store keeps, per run, an opaque state, a history in batches, at most one entry in the time index, any number of task
rows and one visibility record; and per (namespace, workflow id) which run is the current one. Beside the runs it keeps
small documents by name. The engine decides, the store only remembers: it never looks inside a state, a batch or a
document.

The one write is :meth:`Store.commit`: a list of :class:`RunUpdate`\\ s and :class:`Document`\\ s that becomes durable as
a whole or not at all.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple, Protocol

import msgspec

if TYPE_CHECKING:
    from perdure.store.visibility import Query


class Durability(enum.Enum):
    """What an acknowledged write survives."""

    FULL = "full"
    """Power loss: a commit returns after the device has it."""
    PROCESS = "process"
    """The death of this process: a commit returns after the operating system has it.

    Power loss or a crash of the machine may lose the newest commits."""


class Capability(enum.Flag):
    """What the shared test suite may ask of a store."""

    PERSISTENT = enum.auto()
    """Reopening the same place finds what was committed."""
    EXCLUSIVE = enum.auto()
    """One process owns the place; a second one is refused with the owner's pid."""
    SHARED = enum.auto()
    """Several processes have the place at once, see ``engine/cluster.py``."""


class StoreError(Exception):
    """The root of what stores raise."""


class StaleRunError(StoreError):
    """Somebody else committed this run since it was read; nothing of the commit was kept."""

    def __init__(self, key: RunKey, expected: int, found: int) -> None:
        super().__init__(f"run {key.run_id} of workflow {key.workflow_id!r} is at version {found}, not {expected}")
        self.key = key
        self.expected = expected
        self.found = found


class StoreClosedError(StoreError):
    """The store was closed before or during the call."""


class StoreUnavailableError(StoreError):
    """The store cannot be opened or written now: owned by another process, no room, no permission."""


class StoreOwnedError(StoreUnavailableError):
    """Another process owns the store. ``pid`` is its id, 0 when it is not known."""

    def __init__(self, message: str, pid: int = 0) -> None:
        super().__init__(message)
        self.pid = pid


class FencedError(StoreUnavailableError):
    """This process was taken for dead: what it had of a shared store is others' now."""


class StoreCorruptError(StoreError):
    """Bytes in the store are not what any perdure wrote, or were written by a newer one."""


class RunKey(NamedTuple):
    """Which run. ``namespace_id`` and ``run_id`` are UUID texts."""

    namespace_id: str
    workflow_id: str
    run_id: str


class TaskKind(enum.IntEnum):
    """What a task row waits for."""

    WORKFLOW = 1
    ACTIVITY = 2
    TRANSFER = 3
    """Work of the engine itself for another run: start a child, signal or cancel a run, tell a parent, call back."""
    NEXUS = 4
    """A call of a Nexus operation; in memory only, what is owed is a transfer."""


class TaskRow(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A task that is pending: waiting in its queue, handed out and not answered, or still to be carried out.

    ``(namespace_id, kind, task_queue, task_id)`` identifies it; ``task_id`` grows, so a queue reads in order.
    """

    key: RunKey
    kind: int
    task_queue: str
    task_id: int
    scheduled_event_id: int
    #: The engine epoch that handed it to a worker of its own process; 0: not handed out, or to a remote worker.
    owner_epoch: int = 0
    #: Opaque to the store (a transfer's arguments).
    body: bytes = b""


class VisibilityRecord(msgspec.Struct, array_like=True, gc=False):
    """What listing knows of a run. Times are nanoseconds since the epoch, 0 when unset; no run closes before it starts."""

    key: RunKey
    workflow_type: str
    task_queue: str
    status: int
    start_time: int
    execution_time: int
    close_time: int = 0
    history_length: int = 0
    history_size_bytes: int = 0
    state_transition_count: int = 0
    parent_workflow_id: str = ""
    parent_run_id: str = ""
    root_workflow_id: str = ""
    root_run_id: str = ""
    #: msgpack of dict[str, Payload] (``perdure.api.common.v1.Payload``), b"" when empty.
    memo: bytes = b""
    search_attributes: bytes = b""


class RunUpdate(msgspec.Struct, gc=False):
    """One run's part of a commit. Fields left at their default change nothing.

    The engine merges the transitions a run made since its last commit, so one update may carry several batches.
    """

    key: RunKey
    #: The version this update brings. The stored run must be at ``version - 1`` (0: must not exist).
    version: int
    #: The run's state from now on.
    state: bytes = b""
    #: ``(first event id, event count, batch)``, in order; the ids continue the stored history.
    history: list[tuple[int, int, bytes]] = []
    #: Make this run the current one of its workflow id.
    make_current: bool = False
    #: Due time in the time index, milliseconds since the epoch: (entry to remove, entry to add); 0 for none.
    timer: tuple[int, int] = (0, 0)
    put_tasks: list[TaskRow] = []
    delete_tasks: list[TaskRow] = []
    #: (record to remove, record to add); the key fields and times of the removed one are those it was added with.
    visibility: tuple[VisibilityRecord | None, VisibilityRecord | None] = (None, None)
    #: Forget the run altogether: state, history, entries named above, and the current record if it points here.
    delete: bool = False
    #: With ``make_current``: the run that must be the current one until now ("": none), else the update is stale; None:
    #: any may be. Only a store that several processes share needs to look.
    replaces: str | None = None
    #: The epoch whose commit made ``version - 1``, else the update is stale; 0: any. For the same kind of store: what two
    #: processes make of one run has the same numbers, but only one of them is kept.
    base: int = 0


class StoredRun(NamedTuple):
    """A run as the store has it."""

    version: int
    state: bytes


class NamespaceRecord(msgspec.Struct, array_like=True):
    """A namespace. ``body`` is the engine's."""

    namespace_id: str
    name: str
    body: bytes = b""


class Document(msgspec.Struct, frozen=True, array_like=True):
    """Something small that is no run and lasts: a schedule, say. ``(namespace_id, kind, id)`` identifies it."""

    namespace_id: str
    #: A short word of the engine's, such as ``"schedule"``: at most :data:`perdure.store.keys.KIND_LIMIT` bytes.
    kind: str
    id: str
    #: Opaque to the store. In a commit ``b""`` forgets the document.
    body: bytes = b""
    #: In a shared store a commit with version n > 0 holds only if the document has version n - 1 (1: is not there), ...
    version: int = 0
    #: ... made by the process of this epoch; 0: by any. Not kept.
    base: int = 0


class HistoryPage(NamedTuple):
    """Batches of a history in the order asked for, and the event id to go on from (0: that was all)."""

    batches: list[bytes]
    next_event_id: int

    @classmethod
    def of(cls, batches: Iterable[tuple[int, int, bytes]], max_events: int, *, is_reverse: bool = False) -> HistoryPage:
        """The first of these (first event id, number of events, batch) with at most so many events, but at least one.

        All of them where ``max_events`` is 0; ``is_reverse`` when they come newest first.
        """
        page: list[bytes] = []
        events = 0
        for first, count, batch in batches:
            events += count
            if max_events and page and events > max_events:
                return cls(page, first + count - 1 if is_reverse else first)
            page.append(batch)
        return cls(page, 0)


class VisibilityPage(NamedTuple):
    """Records of a listing, and the token of the next page (b"": that was all)."""

    records: list[VisibilityRecord]
    next_page_token: bytes


class Store(Protocol):
    """What the engine needs of a store.

    All methods are called on the event loop the store was opened on. Reads see every commit that was acknowledged
    before them and may see later ones. Reads are coroutines so that a store may wait for a network; a local store
    returns without suspending.
    """

    name: str
    capabilities: Capability
    durability: Durability
    #: Grows by one each time the place is opened for ownership: what an earlier epoch held in memory is gone.
    epoch: int

    async def commit(self, updates: Sequence[RunUpdate], documents: Sequence[Document] = ()) -> None:
        """Make all of it durable. A document replaces the one of its name; of several with one name the last counts.

        Several commits may be under way; they become durable in the order of the calls.

        Atomic: every update and document, or none and an error.
        Raises:
            StaleRunError: a version did not match.
            StoreUnavailableError: the disk is full or failed; the commits after it fail too until one succeeds.
        """
        ...

    async def load_run(self, key: RunKey) -> StoredRun | None:
        """A run's version and state."""
        ...

    async def current_run(self, namespace_id: str, workflow_id: str) -> str | None:
        """The run id of the current run of a workflow id, open or closed."""
        ...

    async def find_run(self, namespace_id: str, run_id: str) -> RunKey | None:
        """The key of a run of which only the run id is known."""
        ...

    async def read_history(
        self, key: RunKey, first_event_id: int = 1, next_event_id: int = 0, *, max_events: int = 0
    ) -> HistoryPage:
        """Batches that hold events ``first_event_id <= id < next_event_id`` (0: to the end), oldest first.

        The first and last batch may hold events outside the range: batches are never split. At least one batch comes
        however small ``max_events`` (0: no bound) is.
        """
        ...

    async def read_history_reverse(self, key: RunKey, last_event_id: int = 0, *, max_events: int = 0) -> HistoryPage:
        """Batches newest first, starting with the one that holds ``last_event_id`` (0: the newest)."""
        ...

    async def due_runs(
        self, until_ms: int, limit: int, after: tuple[int, RunKey] | None = None
    ) -> list[tuple[int, RunKey]]:
        """Entries of the time index due at or before a time, earliest first, from just after ``after``."""
        ...

    async def pending_tasks(self, limit: int, after: TaskRow | None = None) -> list[TaskRow]:
        """Task rows in the order of (namespace, kind, task queue, task id), from just after ``after``."""
        ...

    async def list_runs(
        self, namespace_id: str, query: Query | None, page_size: int, next_page_token: bytes = b""
    ) -> VisibilityPage:
        """Records that match: open ones first, newest start first; then closed ones, newest close first."""
        ...

    async def count_runs(self, namespace_id: str, query: Query | None) -> dict[tuple[str, ...], int]:
        """How many match, by the values of the query's GROUP BY field (key ``()`` when there is none)."""
        ...

    async def load_document(self, namespace_id: str, kind: str, id: str) -> Document | None:
        """The document, if there is one."""
        ...

    async def list_documents(self, namespace_id: str, kind: str, limit: int, after: str = "") -> list[Document]:
        """Documents of one kind in the order of their ids, from just after ``after``."""
        ...

    async def load_namespaces(self) -> list[NamespaceRecord]:
        """Every namespace."""
        ...

    async def put_namespace(self, record: NamespaceRecord) -> None:
        """Create or replace a namespace, durably."""
        ...

    async def delete_namespace(self, namespace_id: str) -> None:
        """Forget a namespace, durably; its runs and documents are not touched."""
        ...

    async def close(self) -> None:
        """Finish the commits under way and give the place up. Safe to repeat."""
        ...
