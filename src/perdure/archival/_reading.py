"""Histories of archives and exports, for a replayer."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping

from perdure._native.events import HistoryEvent
from perdure.archival._files import read_file
from perdure.client import WorkflowHistory
from perdure.store.archive import Archiver, open_archiver, open_place
from perdure.store.archive import parse_archive_query as parse_query

#: Where the files of an export are, below its URI.
FOLDER = "temporal-workflow-history/export"
_PAGE = 100
_EVENTS = 10_000


async def archived_histories(
    uri: str, *, namespace_id: str = "", query: str = "", search_attributes: Mapping[str, str] | None = None
) -> AsyncIterator[WorkflowHistory]:
    """The histories of an archive, one after the other: ``replayer.replay_workflows(archived_histories(uri))``.

    Args:
        uri: the archive.
        namespace_id: only those of this namespace (``DescribeNamespace`` tells its id).
        query: only those that this list filter finds. It needs the namespace id, and visibility records at ``uri``.
        search_attributes: names and types of custom search attributes in the query.

    Raises:
        ValueError: the URI or the query is wrong, in a sentence.
        ArchiveError: the archive cannot be read.
    """
    if query and not namespace_id:
        raise ValueError("a query needs the namespace_id: an archive lists the runs of one namespace at a time")
    archiver = open_archiver(uri)
    try:
        if not query:
            async for history in archiver.histories(namespace_id):
                yield WorkflowHistory(history.workflow_id, history.events)
            return
        parsed = parse_query(query, search_attributes or {})
        token = b""
        while True:
            page = await archiver.list_executions(namespace_id, parsed, _PAGE, token)
            for execution in page.executions:
                events = await _read(archiver, namespace_id, execution.workflow_id, execution.run_id)
                yield WorkflowHistory(execution.workflow_id, events)
            token = page.next_page_token
            if not token:
                return
    finally:
        await archiver.close()


async def _read(archiver: Archiver, namespace_id: str, workflow_id: str, run_id: str) -> list[HistoryEvent]:
    events: list[HistoryEvent] = []
    token = b""
    while True:
        page = await archiver.read_history(namespace_id, workflow_id, run_id, _EVENTS, token)
        events += page.events
        token = page.next_page_token
        if not token:
            return events


async def exported_histories(uri: str, *, namespace: str = "") -> AsyncIterator[WorkflowHistory]:
    """The histories of an export, of one namespace or of all; a history may come twice, as an export may.

    Reads the files of Temporal Cloud's export as well.

    Raises:
        ValueError: the URI is wrong, in a sentence.
        ArchiveError: the place cannot be read.
    """
    place = open_place(uri)
    async for name in place.names(f"{FOLDER}/{namespace}" if namespace else FOLDER):
        if name.endswith((".proto", ".json")) and not name.endswith("/cursor.json"):
            for events in read_file(name, await place.get(name)):
                started = events[0].attributes
                yield WorkflowHistory(started.workflow_id or started.original_execution_run_id, events)
