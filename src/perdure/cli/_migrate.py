"""``perdure migrate``: runs from one home to another."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

import click

from perdure import connect
from perdure._native.events import HistoryEvent
from perdure._native.mutable_state import RunState
from perdure.api import json
from perdure.api.common import v1 as common_v1
from perdure.api.enums.v1 import EventType, PendingWorkflowTaskState, WorkflowExecutionStatus
from perdure.api.history import v1 as history_v1
from perdure.api.workflow import v1 as workflow_v1
from perdure.api.workflowservice import v1 as ws
from perdure.engine.imports import (
    MOVED_BY,
    ImportWorkflowExecutionRequest,
    ImportWorkflowExecutionResponse,
    fold,
    obstacle,
    was_moved_away,
)
from perdure.service import RPCError, RPCStatusCode, WorkflowService
from perdure.store.api import StoreError

_RUNNING = int(WorkflowExecutionStatus.WORKFLOW_EXECUTION_STATUS_RUNNING)
_TERMINATED = int(EventType.EVENT_TYPE_WORKFLOW_EXECUTION_TERMINATED)
_TASK_STARTED = int(PendingWorkflowTaskState.PENDING_WORKFLOW_TASK_STATE_STARTED)
#: Events that the end of a run itself brings: of its workflow task, and the termination.
_OF_THE_END = frozenset(
    (
        int(EventType.EVENT_TYPE_WORKFLOW_TASK_SCHEDULED),
        int(EventType.EVENT_TYPE_WORKFLOW_TASK_STARTED),
        int(EventType.EVENT_TYPE_WORKFLOW_TASK_TIMED_OUT),
        int(EventType.EVENT_TYPE_WORKFLOW_TASK_FAILED),
        _TERMINATED,
    )
)
_PAGE = 500

Import = Callable[[ImportWorkflowExecutionRequest], Awaitable[ImportWorkflowExecutionResponse]]


class Source(NamedTuple):
    """A namespace of the home that runs come from, and which of them."""

    service: WorkflowService
    namespace: str
    query: str


@dataclass
class Report:
    """What became of the runs that were looked at."""

    copied: int = 0
    moved: int = 0
    already: int = 0
    closed: int = 0
    #: (workflow id, run id, why).
    refused: list[tuple[str, str, str]] = field(default_factory=list)


@click.command("migrate")
@click.option("--from", "source", required=True, metavar="URL", help="The home with the runs.")
@click.option("--to", "target", metavar="URL", help="The home that gets them: lmdb:PATH or postgresql://...")
@click.option("--export", type=click.Path(file_okay=False, path_type=Path), help="Write histories as JSON files here.")
@click.option("--namespace", "namespaces", multiple=True, default=("default",), help="May be repeated (default).")
@click.option("--query", default="", metavar="FILTER", help="Only the runs that this list filter finds.")
@click.option("--close-source", is_flag=True, help="Terminate open runs at the source once the target has them.")
@click.option("--dry-run", is_flag=True, help="Only say what would happen.")
@click.pass_context
def command(
    context: click.Context,
    source: str,
    target: str | None,
    export: Path | None,
    namespaces: tuple[str, ...],
    query: str,
    close_source: bool,
    dry_run: bool,
) -> None:
    """Copy closed runs, and move open ones of which nothing is under way, from one home to another.

    Ends with 1 when some runs could not be moved; their names and the reasons are printed. Safe to repeat.
    """
    if (target is None) is (export is None):
        raise click.UsageError("say where to: either --to URL or --export FOLDER.")
    if export is not None and close_source:
        raise click.UsageError("--close-source needs --to: files do not go on with a run.")
    try:
        if target is not None:
            _check_places(source, target)
        is_complete = asyncio.run(_migrate(source, target or export, namespaces, query, close_source, dry_run))
    except (ValueError, RuntimeError, OSError, ImportError, RPCError, StoreError) as error:
        raise click.ClickException(str(error)) from None
    if not is_complete:
        context.exit(1)


def _check_places(source: str, target: str) -> None:
    to = connect.parse(target)
    if to.scheme == "temporal":
        raise click.UsageError(
            f"a server cannot take runs in ({target}): name its store (lmdb:PATH, postgresql://...) instead, or write "
            "the histories as Temporal's JSON files with --export FOLDER."
        )
    of = connect.parse(source)
    if (of.scheme, of.place) == (to.scheme, to.place):
        raise click.UsageError(f"--from and --to are the same home: {target}.")


async def _migrate(
    source: str, target: str | Path | None, namespaces: tuple[str, ...], query: str, close_source: bool, dry_run: bool
) -> bool:
    async with AsyncExitStack() as stack:
        service = await connect.connect(source)
        stack.push_async_callback(service.close)
        to: WorkflowService | None = None
        if isinstance(target, str):
            to = await connect.connect(target)
            stack.push_async_callback(to.close)
        is_complete = True
        for namespace in namespaces:
            place = Source(service, namespace, query)
            if to is None:
                assert isinstance(target, Path)
                report = await export_runs(place, target, dry_run=dry_run)
            else:
                report = await migrate_runs(place, to, close_source=close_source, dry_run=dry_run)
            _print(namespace, report, to is None, dry_run)
            is_complete = is_complete and not report.refused
    return is_complete


def _print(namespace: str, report: Report, is_export: bool, dry_run: bool) -> None:
    for workflow_id, run_id, reason in report.refused:
        click.echo(f"not moved: {workflow_id} {run_id}: {reason}")
    would = "would be " if dry_run else ""
    parts = [f"{report.copied} {would}{'written' if is_export else 'copied'}"]
    if not is_export:
        parts.append(f"{report.moved} open ones {would}moved")
    if report.closed:
        parts.append(f"{report.closed} {would}terminated at the source")
    parts += [f"{report.already} there already", f"{len(report.refused)} not moved"]
    click.echo(f"{namespace}: {', '.join(parts)}")
    if report.moved > report.closed and not dry_run:
        click.echo(f"open at both homes now: {report.moved - report.closed}; --close-source ends those at the source")


async def migrate_runs(
    source: Source, target: WorkflowService, *, close_source: bool = False, dry_run: bool = False
) -> Report:
    """Copy or move a namespace's runs into a home of perdure's own. Each is taken in durably, as a whole, or not at all.

    A run that is there already changes nothing, so a migration that was cut short is completed by another one.
    """
    # What perdure's own homes have besides the RPCs of Temporal.
    take: Import = target.import_workflow_execution  # type: ignore[attr-defined]  # see above
    report = Report()
    infos = await _list(source)
    is_new = not await _has_namespace(source, target, make=not dry_run)
    for info in infos:
        workflow_id, run_id = _ids(info)
        try:
            await _take(source, take, info, report, close_source=close_source, dry_run=dry_run, is_new=is_new)
        except RPCError as error:
            if error.status in (RPCStatusCode.UNAVAILABLE, RPCStatusCode.UNAUTHENTICATED):
                raise
            report.refused.append((workflow_id, run_id, error.message))
    return report


async def _take(
    source: Source,
    take: Import,
    info: workflow_v1.WorkflowExecutionInfo,
    report: Report,
    *,
    close_source: bool,
    dry_run: bool,
    is_new: bool,
) -> None:
    workflow_id, run_id = _ids(info)
    described = await source.service.describe_workflow_execution(
        ws.DescribeWorkflowExecutionRequest(source.namespace, common_v1.WorkflowExecution(workflow_id, run_id))
    )
    pending = described.pending_workflow_task
    if pending is not None and pending.state == _TASK_STARTED:
        report.refused.append((workflow_id, run_id, "A worker has its workflow task."))
        return
    events = await _history(source, workflow_id, run_id)
    if was_moved_away(events[-1]):
        report.already += 1
        return
    request = ImportWorkflowExecutionRequest(
        source.namespace, workflow_id, run_id, events, info.start_time or 0, dry_run=dry_run
    )
    response = _would_take(request) if is_new and dry_run else await take(request)
    is_open = described.workflow_execution_info is not None and described.workflow_execution_info.status == _RUNNING
    if not response.imported:
        report.already += 1
    elif is_open:
        report.moved += 1
    else:
        report.copied += 1
    if is_open and close_source:
        if not dry_run:
            await _close(source, workflow_id, run_id, events)
        report.closed += 1


def _would_take(request: ImportWorkflowExecutionRequest) -> ImportWorkflowExecutionResponse:
    """What a namespace that is yet to be made would say."""
    state = fold(request, "")
    reason = obstacle(state) if state.state != RunState.CLOSED else ""
    if reason:
        raise RPCError(reason, RPCStatusCode.FAILED_PRECONDITION)
    return ImportWorkflowExecutionResponse(True)


async def _close(source: Source, workflow_id: str, run_id: str, copied: list[HistoryEvent]) -> None:
    """Terminate a run that the target has. Raises RPCError when the source's went on meanwhile."""
    if len(await _history(source, workflow_id, run_id)) != len(copied):
        raise RPCError(
            "It went on at the source while it was copied and was left open there; the target has it, too: terminate one.",
            RPCStatusCode.ABORTED,
        )
    await source.service.terminate_workflow_execution(
        ws.TerminateWorkflowExecutionRequest(
            source.namespace,
            common_v1.WorkflowExecution(workflow_id, run_id),
            "moved to another home",
            identity=MOVED_BY,
        )
    )
    late = [e for e in (await _history(source, workflow_id, run_id))[len(copied) :] if e.event_type not in _OF_THE_END]
    if late:
        names = ", ".join(EventType(event.event_type).name.removeprefix("EVENT_TYPE_") for event in late)
        raise RPCError(
            f"It was moved, but this reached the source alone at the last moment: {names}.", RPCStatusCode.ABORTED
        )


async def export_runs(source: Source, folder: Path, *, dry_run: bool = False) -> Report:
    """Write each run's history as ``NAMESPACE/WORKFLOW_ID.RUN_ID.json``, in Temporal's JSON form.

    A file is there as a whole or not at all; one that has the history already stays as it is.
    """
    report = Report()
    for info in await _list(source):
        workflow_id, run_id = _ids(info)
        events = await _history(source, workflow_id, run_id)
        text = json.history_to_json(history_v1.History(list(events)))
        path = folder / quote(source.namespace, safe="") / f"{quote(workflow_id, safe='')[:180]}.{run_id}.json"
        if path.exists() and path.read_text("utf-8") == text:
            report.already += 1
            continue
        report.copied += 1
        if not dry_run:
            path.parent.mkdir(parents=True, exist_ok=True)
            part = path.with_name(f"{path.name}.part")
            part.write_text(text, "utf-8")
            os.replace(part, path)
    return report


def _ids(info: workflow_v1.WorkflowExecutionInfo) -> tuple[str, str]:
    assert info.execution is not None
    return info.execution.workflow_id, info.execution.run_id


async def _list(source: Source) -> list[workflow_v1.WorkflowExecutionInfo]:
    """All runs that the filter finds, the oldest first."""
    infos: list[workflow_v1.WorkflowExecutionInfo] = []
    token = b""
    while True:
        page = await source.service.list_workflow_executions(
            ws.ListWorkflowExecutionsRequest(source.namespace, _PAGE, token, source.query)
        )
        infos += page.executions
        token = page.next_page_token
        if not token:
            break
    return sorted(infos, key=lambda info: (info.start_time or 0, *_ids(info)))


async def _history(source: Source, workflow_id: str, run_id: str) -> list[HistoryEvent]:
    events: list[Any] = []
    token = b""
    while True:
        page = await source.service.get_workflow_execution_history(
            ws.GetWorkflowExecutionHistoryRequest(
                source.namespace, common_v1.WorkflowExecution(workflow_id, run_id), 0, token
            )
        )
        if page.history is not None:
            events += page.history.events
        token = page.next_page_token
        if not token:
            return events


async def _has_namespace(source: Source, target: WorkflowService, *, make: bool) -> bool:
    """Whether the target has the namespace; it may be made, with the source's retention."""
    try:
        await target.describe_namespace(ws.DescribeNamespaceRequest(source.namespace))
    except RPCError as error:
        if error.status is not RPCStatusCode.NOT_FOUND:
            raise
    else:
        return True
    if make:
        described = await source.service.describe_namespace(ws.DescribeNamespaceRequest(source.namespace))
        info, config = described.namespace_info, described.config
        await target.register_namespace(
            ws.RegisterNamespaceRequest(
                source.namespace,
                description="" if info is None else info.description,
                workflow_execution_retention_period=(
                    int(timedelta(days=3).total_seconds()) * 1_000_000_000
                    if config is None
                    else config.workflow_execution_retention_ttl
                ),
            )
        )
    return False
