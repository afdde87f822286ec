"""Queries every workflow answers, and the warning about handlers that a closing workflow leaves behind."""

from __future__ import annotations

import collections
import json
import traceback
import warnings
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from perdure import __version__
from perdure._native import guard
from perdure.workflow import (
    HandlerUnfinishedPolicy,
    UnfinishedSignalHandlersWarning,
    UnfinishedUpdateHandlersWarning,
)

if TYPE_CHECKING:
    from types import FrameType

    from perdure.worker._workflow_messages import HandlerRun, WorkflowMessages

_HERE = str(Path(__file__).parent)


def _open_tasks(run: WorkflowMessages) -> list[Any]:
    return [task for task in run.loop.tasks() if not task.get_name().startswith("query: ")]


def _frames(task: Any) -> list[FrameType]:
    """Where a task waits: the frames from its coroutine down to what it awaits, the worker's own left out."""
    frames: list[FrameType] = []
    waiting: Any = task.get_coro()
    while waiting is not None:
        frame = getattr(waiting, "cr_frame", None) or getattr(waiting, "gi_frame", None)
        if frame is None:
            break
        frames.append(frame)
        waiting = getattr(waiting, "cr_await", None) or getattr(waiting, "gi_yieldfrom", None)
    return [frame for frame in frames if not frame.f_code.co_filename.startswith(_HERE)] or frames


def stack_trace(run: WorkflowMessages) -> str:
    """Where each task of the workflow waits."""
    stacks = []
    for task in _open_tasks(run):
        frames = [
            traceback.FrameSummary(frame.f_code.co_filename, frame.f_lineno, frame.f_code.co_name, lookup_line=False)
            for frame in _frames(task)
        ]
        with guard.passthrough():
            lines = "\n".join(traceback.format_list(frames))
        stacks.append(f"Stack for {task!r} (most recent call last):\n{lines}")
    return "\n\n".join(stacks)


def enhanced_stack_trace(run: WorkflowMessages) -> dict[str, Any]:
    """The same with the sources, in the JSON form of Temporal's EnhancedStackTrace."""
    sources: dict[str, Any] = {}
    stacks = []
    for task in _open_tasks(run):
        locations = []
        for frame in _frames(task):
            path = frame.f_code.co_filename
            if path not in sources:
                try:
                    with guard.passthrough():
                        content = Path(path).read_text(encoding="utf-8", errors="replace")
                except OSError as error:
                    content = f"Cannot access code.\n---\n{error.strerror}"
                sources[path] = {"lineOffset": 0, "content": content}
            locations.append(
                {"filePath": path, "line": frame.f_lineno, "column": -1, "functionName": frame.f_code.co_name}
            )
        stacks.append({"locations": locations})
    return {"sdk": {"name": "perdure-python", "version": __version__}, "sources": sources, "stacks": stacks}


def workflow_metadata(run: WorkflowMessages) -> dict[str, Any]:
    """The workflow's type, handlers and current details, in the JSON form of Temporal's WorkflowMetadata."""

    def interactions(definitions: Iterable[Any]) -> list[dict[str, str]]:
        found = sorted(((defn.name or "", defn.description or "") for defn in definitions), key=lambda item: item[0])
        return [{key: value for key, value in (("name", name), ("description", text)) if value} for name, text in found]

    built_in = [{"name": name} for name in BUILT_IN_QUERIES]
    definition = {
        "type": run.workflow_type,
        "queryDefinitions": sorted(
            built_in + interactions(run.queries().values()), key=lambda item: item.get("name", "")
        ),
        "signalDefinitions": interactions(run.signals().values()),
        "updateDefinitions": interactions(run.updates().values()),
    }
    metadata: dict[str, Any] = {"definition": {key: value for key, value in definition.items() if value}}
    if run.current_details():
        metadata["currentDetails"] = run.current_details()
    return metadata


BUILT_IN_QUERIES: dict[str, Callable[[WorkflowMessages], Any]] = {
    "__stack_trace": stack_trace,
    "__enhanced_stack_trace": enhanced_stack_trace,
    "__temporal_workflow_metadata": workflow_metadata,
}


def warn_unfinished(signals: Iterable[HandlerRun], updates: Iterable[HandlerRun]) -> None:
    """Warn of handlers that the workflow, now closing, does not let finish."""

    def left(handlers: Iterable[HandlerRun]) -> list[HandlerRun]:
        return [run for run in handlers if run.unfinished_policy is HandlerUnfinishedPolicy.WARN_AND_ABANDON]

    cure = (
        "Wait for them with `await workflow.wait_condition(workflow.all_handlers_finished)`, or say that they may be "
        "interrupted with `unfinished_policy=workflow.HandlerUnfinishedPolicy.ABANDON` in the handler's decorator."
    )
    unfinished = left(updates)
    if unfinished:
        listed = json.dumps([{"name": run.name, "id": run.id} for run in unfinished])
        warnings.warn(
            UnfinishedUpdateHandlersWarning(
                "[TMPRL1102] Workflow finished while update handlers are still running; their callers get an error in "
                f"place of the result. {cure} Unfinished: {listed}"
            ),
            stacklevel=2,
        )
    unfinished = left(signals)
    if unfinished:
        names = collections.Counter(run.name for run in unfinished)
        listed = json.dumps([{"name": name, "count": count} for name, count in names.most_common()])
        warnings.warn(
            UnfinishedSignalHandlersWarning(
                f"[TMPRL1102] Workflow finished while signal handlers are still running. {cure} Unfinished: {listed}"
            ),
            stacklevel=2,
        )
