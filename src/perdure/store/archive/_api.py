"""What an archive is to the engine, and which archiver a URI means."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple, Protocol
from urllib.parse import SplitResult, parse_qsl, urlsplit

from perdure._native.events import HistoryEvent
from perdure.api.common.v1 import Payload

if TYPE_CHECKING:
    from perdure.store.archive._query import ArchiveQuery

ENTRY_POINTS = "perdure.archivers"
#: The failover version in names of histories: there is one cluster.
VERSION = 0


class ArchiveError(Exception):
    """The archive could not be read or written now; it is safe to try again."""


class ArchiveNotFoundError(ArchiveError):
    """The archive does not have this history."""


class ArchiveCorruptError(ArchiveError):
    """What the archive has under a name is not what belongs there."""


class ArchivedRun(NamedTuple):
    """Which run. ``namespace_id`` and ``run_id`` are UUID texts."""

    namespace_id: str
    namespace: str
    workflow_id: str
    run_id: str


@dataclass(frozen=True)
class ArchivedExecution:
    """What an archive's listing knows of a closed run: the fields of Temporal's ``VisibilityRecord``.

    Times are nanoseconds since the epoch, the duration is nanoseconds. The values of search attributes are texts; their
    types are the namespace's.
    """

    namespace_id: str
    namespace: str
    workflow_id: str
    run_id: str
    workflow_type: str
    start_time: int
    execution_time: int
    close_time: int
    status: int
    history_length: int
    memo: dict[str, Payload] = field(default_factory=dict)
    search_attributes: dict[str, str] = field(default_factory=dict)
    history_archival_uri: str = ""
    execution_duration: int | None = None


class ArchivedHistory(NamedTuple):
    """A history as the archive has it. ``namespace_id`` is empty where the archive does not tell."""

    namespace_id: str
    workflow_id: str
    run_id: str
    events: list[HistoryEvent]


class ArchivedHistoryPage(NamedTuple):
    """Events of a history, and the token of the next page (b"": that was all)."""

    events: list[HistoryEvent]
    next_page_token: bytes


class ArchivedExecutionPage(NamedTuple):
    """Runs that match, and the token of the next page (b"": that was all). A page that is not the last may be short."""

    executions: list[ArchivedExecution]
    next_page_token: bytes


class Archiver(Protocol):
    """Keeps histories and visibility records of closed runs at one URI, for as long as whoever owns the place wants.

    All methods are called on one event loop. Whoever opened the archiver tries again after an :class:`ArchiveError`;
    any other exception is logged as a bug of the archiver and treated likewise.
    """

    async def validate(self) -> None:
        """See that the place can be used.

        Raises:
            ValueError: it cannot, and why, in a sentence.
        """
        ...

    async def archive_history(self, run: ArchivedRun, batches: AsyncIterator[list[HistoryEvent]]) -> bool:
        """Keep a history, given in batches, durably. Safe to repeat, also at the same time by another process.

        Returns:
            False: it was there already; then ``batches`` was not read.

        Atomic: a reader finds the whole history or none.
        """
        ...

    async def archive_visibility(self, execution: ArchivedExecution) -> bool:
        """Keep a visibility record durably. Safe to repeat. Returns False when it was there already."""
        ...

    async def read_history(
        self, namespace_id: str, workflow_id: str, run_id: str, page_size: int, next_page_token: bytes = b""
    ) -> ArchivedHistoryPage:
        """A page of about that many events: whole batches, and at least one.

        Raises:
            ArchiveNotFoundError: there is no such history.
            ValueError: the token is none of this archiver.
        """
        ...

    async def list_executions(
        self, namespace_id: str, query: ArchiveQuery, page_size: int, next_page_token: bytes = b""
    ) -> ArchivedExecutionPage:
        """Runs of a namespace that match.

        Raises:
            ValueError: the token is none of this archiver.
        """
        ...

    def histories(self, namespace_id: str = "") -> AsyncIterator[ArchivedHistory]:
        """Every history of a namespace, or of all of them."""
        ...

    async def close(self) -> None:
        """Give up connections. Safe to repeat."""
        ...


ArchiverFactory = Callable[[SplitResult, dict[str, str]], Archiver]
"""Makes an archiver for a split URI and the options of its query; raises ValueError when it is not one of its own."""


def _files(uri: SplitResult, options: dict[str, str]) -> Archiver:
    from perdure.store.archive._files import FileArchiver

    return FileArchiver.of(uri, options)


def _s3(uri: SplitResult, options: dict[str, str]) -> Archiver:
    from perdure.store.archive._objects import S3Archiver

    return S3Archiver.of(uri, options)


_factories: dict[str, ArchiverFactory] = {"file": _files, "s3": _s3}


def register_archiver(scheme: str, factory: ArchiverFactory) -> None:
    """Let URIs of a scheme mean archivers of your own, in this process.

    An installed package does the same for every process with an entry point of the group ``perdure.archivers``, named
    after the scheme, that points to the factory.

    Raises:
        ValueError: the scheme is taken.
    """
    if scheme in _factories and _factories[scheme] is not factory:
        raise ValueError(f"archives with the scheme {scheme!r} have an archiver already")
    _factories[scheme] = factory


def open_archiver(uri: str) -> Archiver:
    """The archiver of a URI; nothing is read or written yet.

    Raises:
        ValueError: the URI is wrong, and why, in a sentence.
        ModuleNotFoundError: the archiver needs a package that is not installed; the sentence says which.
    """
    parts, options = split_uri(uri)
    factory = _factory(parts.scheme)
    if factory is None:
        known = ", ".join(f"{scheme}://" for scheme in sorted(_factories))
        raise ValueError(f"archival URI {uri!r} has no scheme that an archiver knows ({known}); write for instance "
                         "'file:///var/lib/archive' or 's3://bucket/prefix?region=eu-central-1'")  # fmt: skip
    return factory(parts, options)


def split_uri(uri: str) -> tuple[SplitResult, dict[str, str]]:
    """A URI's parts, and the options of its query. Raises ValueError."""
    try:
        parts = urlsplit(uri)
    except ValueError as error:
        raise ValueError(f"archival URI {uri!r} is not a URI: {error}") from None
    pairs = parse_qsl(parts.query, keep_blank_values=True)
    if len(dict(pairs)) < len(pairs):
        raise ValueError(f"archival URI {uri!r} states an option twice")
    return parts, dict(pairs)


def _factory(scheme: str) -> ArchiverFactory | None:
    if scheme not in _factories and scheme:
        import importlib.metadata  # takes a while, and hardly anybody needs it

        for entry in importlib.metadata.entry_points(group=ENTRY_POINTS, name=scheme):
            _factories[scheme] = entry.load()
    return _factories.get(scheme)


def check_options(uri: SplitResult, options: dict[str, str], known: tuple[str, ...]) -> None:
    """Refuse options that an archiver does not have."""
    unknown = sorted(options.keys() - set(known))
    if unknown:
        has = f"it has {', '.join(known)}" if known else "it has none"
        raise ValueError(f"archival URI {uri.geturl()!r}: unknown option {unknown[0]!r}; {has}")
    if uri.fragment:
        raise ValueError(f"archival URI {uri.geturl()!r} has a fragment (#), which means nothing here")
