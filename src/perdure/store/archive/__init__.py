"""Archives: where closed histories and what listings know of them are kept after retention.

An :class:`Archiver` keeps them at a URI: ``file://`` a folder, ``s3://`` a bucket, other schemes what
:func:`register_archiver` or an entry point brings. Names and JSON are those of Temporal's own archivers, so that either
reads what the other wrote.
"""

from perdure.store.archive._api import (
    ArchiveCorruptError,
    ArchivedExecution,
    ArchivedExecutionPage,
    ArchivedHistory,
    ArchivedHistoryPage,
    ArchivedRun,
    ArchiveError,
    ArchiveNotFoundError,
    Archiver,
    ArchiverFactory,
    open_archiver,
    register_archiver,
)
from perdure.store.archive._places import Place, open_place
from perdure.store.archive._query import ArchiveQuery, parse_archive_query
from perdure.store.archive._records import archived_execution, search_attributes

__all__ = [
    "ArchiveCorruptError",
    "ArchiveError",
    "ArchiveNotFoundError",
    "ArchiveQuery",
    "ArchivedExecution",
    "ArchivedExecutionPage",
    "ArchivedHistory",
    "ArchivedHistoryPage",
    "ArchivedRun",
    "Archiver",
    "ArchiverFactory",
    "Place",
    "archived_execution",
    "open_archiver",
    "open_place",
    "parse_archive_query",
    "register_archiver",
    "search_attributes",
]
