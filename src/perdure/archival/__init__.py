"""Archives of closed histories, and their continuous export.

*Archival* is an engine's own work: a namespace names an archive, closed runs go there before retention deletes them, and
histories of deleted runs are read from there. :func:`archived_histories` hands an archive to a
:class:`~perdure.worker.Replayer`; an :class:`Archiver` of your own keeps histories where you like.

*Export* (:class:`HistoryExport`, ``perdure export``) copies every history soon after it closes, as files in the form of
Temporal Cloud's workflow history export, from any home.
"""

from perdure.archival._export import ExportReport, HistoryExport
from perdure.archival._reading import archived_histories, exported_histories
from perdure.store.archive import (
    ArchiveCorruptError,
    ArchivedExecution,
    ArchivedExecutionPage,
    ArchivedHistory,
    ArchivedHistoryPage,
    ArchivedRun,
    ArchiveError,
    ArchiveNotFoundError,
    ArchiveQuery,
    Archiver,
    ArchiverFactory,
    open_archiver,
    register_archiver,
)

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
    "ExportReport",
    "HistoryExport",
    "archived_histories",
    "exported_histories",
    "open_archiver",
    "register_archiver",
]
