"""What a nondeterminism error tells: which lines of code, why probably, and the patch to write.

Nothing is kept for this while workflows run. When a history and the code disagree, the code is run once more against the
same events, this time with its call sites noted; what it did last before the disagreement is what the error shows. The
other side, the line that wrote the history, is gone; in its place stands where the code asks for the same thing now.
"""

from __future__ import annotations

import ast
import asyncio
import inspect
import json
import linecache
import logging
import os
import re
import sys
import sysconfig
from dataclasses import dataclass
from types import FrameType
from typing import TYPE_CHECKING, Any

from perdure._native.event_facts import HistoryMismatch, describe_event
from perdure._native.matcher import Matcher, WorkflowCommand

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from perdure._native.events import HistoryEvent
    from perdure.api.workflowservice import v1 as ws
    from perdure.worker._workflow_run import WorkflowRun

logger = logging.getLogger("perdure.worker")

_OURS = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep
_STANDARD = sysconfig.get_paths()["stdlib"] + os.sep
_SITE = sysconfig.get_paths()["purelib"] + os.sep
_BOUNDARY = os.path.join(_OURS, "worker", "_workflow_run.py")
_ORIGIN_DEPTH = 16

# Command type -> (event type that records it, what a patch is called after it)
_COMMANDS = {
    1: (10, "activity"),
    2: (15, "cancel-activity"),
    3: (17, "timer"),
    4: (2, "complete"),
    5: (3, "fail"),
    6: (19, "cancel-timer"),
    7: (21, "cancel"),
    8: (22, "cancel-workflow"),
    9: (25, "marker"),
    10: (28, "continue-as-new"),
    11: (29, "child-workflow"),
    12: (37, "signal"),
    13: (40, "search-attributes"),
    16: (46, "memo"),
    20: (41, "update"),
}
_EVENTS = {event: (command, name) for command, (event, name) in _COMMANDS.items()}

# Event type -> functions that make it, for those that name what they start.
_MAKERS = {
    10: re.compile(r"(start|execute)_(local_)?activity(_class|_method)?|map|add"),
    25: re.compile(r"(start|execute)_local_activity(_class|_method)?|map"),
    29: re.compile(r"(start|execute)_child_workflow|map"),
    17: re.compile(r"sleep|wait_for|timeout|wait_condition"),
    28: re.compile(r"continue_as_new"),
    37: re.compile(r"signal"),
    40: re.compile(r"upsert_search_attributes"),
    46: re.compile(r"upsert_memo"),
}


@dataclass(frozen=True)
class Place:
    """A line of somebody's code."""

    file: str
    line: int
    function: str

    def __str__(self) -> str:
        """File and line as editors and terminals know them, and the code there."""
        where = f"{self.shown_file}:{self.line}" + (f" in {self.function}" if self.function else "")
        code = linecache.getline(self.file, self.line).strip()
        return f"{where}: {code}" if code else where

    @property
    def shown_file(self) -> str:
        """The file, relative when it lies below the working directory."""
        below = os.path.join(os.getcwd(), "")
        return self.file.removeprefix(below)


class _TracingMatcher(Matcher):
    """A matcher that notes from which line each command came."""

    def __init__(self, run_id: str, workflow_type: str) -> None:
        super().__init__(run_id, workflow_type)
        self.places: dict[tuple[WorkflowCommand, int], Place | None] = {}

    def schedule(
        self,
        kind: int,
        command_type: int,
        seq: int,
        identity: Any,
        type_name: Any,
        target: Any,
        message: Any,
    ) -> WorkflowCommand:
        command = super().schedule(kind, command_type, seq, identity, type_name, target, message)
        self.places[command, command_type] = _call_site()
        return command

    def schedule_local(self, seq: int, identity: Any, type_name: Any, target: Any) -> WorkflowCommand:
        command = super().schedule_local(seq, identity, type_name, target)
        self.places[command, 9] = _call_site()
        return command

    def push(self, command: WorkflowCommand, command_type: int, message: Any) -> None:
        super().push(command, command_type, message)
        self.places[command, command_type] = _call_site()

    def last_match(self) -> tuple[WorkflowCommand, Place | None] | None:
        """The command with the last event, and its line."""
        found = [(command, place) for (command, _), place in self.places.items() if command.event_id]
        return max(found, key=lambda pair: pair[0].event_id, default=None)


def _call_site() -> Place | None:
    """The line of workflow code that is being executed, or that made the coroutine being executed."""
    frame: FrameType | None = sys._getframe(2)
    while frame is not None and frame.f_code.co_filename != _BOUNDARY:
        if _is_users(frame.f_code.co_filename):
            return Place(frame.f_code.co_filename, frame.f_lineno, frame.f_code.co_qualname)
        frame = frame.f_back
    try:
        task = asyncio.current_task()
    except RuntimeError:
        return None
    origin = getattr(None if task is None else task.get_coro(), "cr_origin", None) or ()
    return next((Place(*place) for place in origin if _is_users(place[0])), None)


def _is_users(file: str) -> bool:
    if file.startswith((_OURS, "<")):
        return False
    return file.startswith(_SITE) or not file.startswith(_STANDARD)


def explain(
    run: WorkflowRun,
    task: ws.PollWorkflowTaskQueueResponse,
    events: Sequence[HistoryEvent],
    mismatch: HistoryMismatch,
) -> str:
    """The message of a nondeterminism error, with all that can be found out. Never raises."""
    try:
        return _Explanation(run, task, events, mismatch).text()
    except Exception:
        logger.debug("The nondeterminism of run %s could not be explained", run.run_id, exc_info=True)
        return mismatch.message


class _Explanation:
    def __init__(
        self,
        run: WorkflowRun,
        task: ws.PollWorkflowTaskQueueResponse,
        events: Sequence[HistoryEvent],
        mismatch: HistoryMismatch,
    ) -> None:
        self.run = run
        self.mismatch = mismatch
        self.events = {event.event_id: event for event in events}
        self.event = self.events.get(mismatch.event_id)
        self.command = mismatch.command
        self.command_type = mismatch.command_type
        self.place: Place | None = None
        self.last: tuple[WorkflowCommand, Place | None] | None = None
        if events and events[0].event_id == 1:
            self._run_again(task, list(events))
        self.source = _Source(run.definition.cls)

    def _run_again(self, task: ws.PollWorkflowTaskQueueResponse, events: list[HistoryEvent]) -> None:
        old = self.run
        run = type(old)(old.definition, old.options, old.workflow_id, old.run_id, old.workflow_type)
        matcher = run.matcher = _TracingMatcher(old.run_id, old.workflow_type)
        depth = sys.get_coroutine_origin_tracking_depth()
        sys.set_coroutine_origin_tracking_depth(_ORIGIN_DEPTH)
        try:
            run.replay_commands(task, events)
        except HistoryMismatch as again:
            if (again.event_id, again.command_type) == (self.mismatch.event_id, self.command_type):
                self.last = matcher.last_match()
                if again.command is not None:
                    self.command = again.command
                    self.place = matcher.places.get((again.command, again.command_type))
        finally:
            sys.set_coroutine_origin_tracking_depth(depth)
            run.evict()

    def text(self) -> str:
        recorded = self._recorded_place()
        lines = [self.mismatch.message]
        if self.command is not None:
            lines.append(f"  code now:       {self.place or 'line unknown'}")
        elif self.last is None or self.last[1] is None:
            lines.append("  code now:       makes no command there")
        else:
            lines.append(f"  code now:       makes no command after {self.last[1]}")
        if self.event is not None:
            where = f"; the code asks for that at {recorded}" if recorded else "; nothing in the code asks for that"
            lines.append(
                f"  history:        event {self.event.event_id}, {describe_event(self.event)}"
                f"{where if self._has_maker() else ''}"
            )
        if self.last is not None:
            command, place = self.last
            event = self.events.get(command.event_id)
            if event is not None:
                made = f", made at {place}" if place else ""
                lines.append(f"  last match:     event {event.event_id}, {describe_event(event)}{made}")
        cause, patch = self._advice(recorded)
        lines.append(f"  probable cause: {cause}")
        lines.append("  patch to write:")
        lines.extend(f"      {line}" for line in patch)
        return "\n".join(lines)

    def _has_maker(self) -> bool:
        return self.event is not None and self.event.event_type in _MAKERS and _patch_in(self.event) is None

    def _recorded_place(self) -> Place | None:
        """Where the code asks for what the event records, other than where it is now."""
        if self.event is None:
            return None
        places = self.source.places(self.event.event_type, _name_in(self.event))
        return next((place for place in places if self.place is None or place.line != self.place.line), None)

    def _advice(self, recorded: Place | None) -> tuple[str, list[str]]:
        """The probable cause, and the lines of a patch."""
        new = self.source.statement(self.place)
        old = self.source.statement(recorded) or [
            f"...  # as it was: {describe_event(self.event)}" if self.event else ""
        ]
        if self.event is None:
            code_name = self._command_name()
            return (
                f"{code_name} was added: the history ends its task without it.",
                [f'if workflow.patched("add-{code_name}"):', *_indented(new)],
            )
        patch_id = _patch_in(self.event)
        if patch_id is not None:
            return (
                f"the call workflow.patched({patch_id!r}) was removed while runs that recorded it are open.",
                [f"workflow.deprecate_patch({patch_id!r})  # where patched() was, until those runs are over"],
            )
        name = self._event_name()
        without = [f'if not workflow.patched("remove-{name}"):', *_indented(old)]
        if self.command is None:
            return f"{name} was removed, or a condition before it changed.", without
        code_name = self._command_name()
        if self._is_recorded_later(recorded is not None):
            if recorded is None:
                return f"{name} was removed: {code_name} comes after it in the history.", without
            return (
                f"{code_name} and {name} changed their order (or what decides it differs from run to run: a set, a "
                "global, the environment).",
                [
                    f'if workflow.patched("{code_name}-before-{name}"):',
                    *_indented([*new, *old]),
                    "else:",
                    *_indented([*old, *new]),
                ],
            )
        if recorded is not None:
            return (
                f"{code_name} was added before {name}.",
                [f'if workflow.patched("add-{code_name}"):', *_indented(new)],
            )
        return (
            f"{name} was replaced by {code_name}, or renamed.",
            [f'if workflow.patched("{name}-becomes-{code_name}"):', *_indented(new), "else:", *_indented(old)],
        )

    def _is_recorded_later(self, by_name: bool) -> bool:
        """Whether the history has an event of the code's command further down; if so told, only one with its name."""
        assert self.command is not None
        wanted = _COMMANDS.get(self.command_type, (0,))[0]
        return any(
            event_id > self.mismatch.event_id
            and event.event_type == wanted
            and _name_in(event) == self.command.type_name
            and not (by_name and self.command.type_name is None)
            for event_id, event in self.events.items()
        )

    def _command_name(self) -> str:
        assert self.command is not None
        if self.command_type == 9 and self.command.type_name is None:
            return f"patch-{self.command.identity}"
        return _slug(self.command.type_name or _COMMANDS.get(self.command_type, (0, "command"))[1])

    def _event_name(self) -> str:
        assert self.event is not None
        return _slug(_name_in(self.event) or _EVENTS.get(self.event.event_type, (0, "event"))[1])


class _Source:
    """The module a workflow is written in, as a tree."""

    def __init__(self, cls: type) -> None:
        self.file = inspect.getsourcefile(cls) or ""
        self.globals = vars(sys.modules.get(cls.__module__)) if cls.__module__ in sys.modules else {}
        try:
            self.tree = ast.parse("".join(linecache.getlines(self.file)))
        except (SyntaxError, ValueError):
            self.tree = ast.Module([], [])
        own = {base.__name__ for base in cls.__mro__}
        self.tree.body = [node for node in self.tree.body if not _is_other_workflow(node, own)]

    def places(self, event_type: int, name: str | None) -> list[Place]:
        """Calls that make such an event."""
        maker = _MAKERS.get(event_type)
        if maker is None:
            return []
        found = []
        for node in ast.walk(self.tree):
            if not isinstance(node, ast.Call) or not maker.fullmatch(_last_name(node.func)):
                continue
            if name is None or any(self._means(arg, event_type, name) for arg in node.args[:2]):
                found.append(Place(self.file, node.lineno, ""))
        return sorted(found, key=lambda place: place.line)

    def _means(self, node: ast.expr, event_type: int, name: str) -> bool:
        """Whether an argument is the activity or workflow of that type."""
        if isinstance(node, ast.Constant):
            return node.value == name
        if event_type == 29 and isinstance(node, ast.Attribute):
            node = node.value  # Class.run
        meant = self._object(node)
        for attribute in ("__temporal_activity_definition", "__temporal_workflow_definition"):
            definition = getattr(meant, attribute, None)
            if definition is not None:
                return bool(definition.name == name)
        return _last_name(node) == name

    def _object(self, node: ast.expr) -> Any:
        if isinstance(node, ast.Name):
            return self.globals.get(node.id)
        return getattr(self._object(node.value), node.attr, None) if isinstance(node, ast.Attribute) else None

    def statement(self, place: Place | None) -> list[str]:
        """The lines of the statement at a place, not indented; a compound one counts by its first line."""
        if place is None:
            return []
        if place.file == self.file:
            statements = [
                node
                for node in ast.walk(self.tree)
                if isinstance(node, ast.stmt) and node.lineno <= place.line <= (node.end_lineno or node.lineno)
            ]
            node = max(statements, key=lambda found: found.lineno, default=None)
            if node is not None and not hasattr(node, "body"):
                lines = [linecache.getline(self.file, n).rstrip() for n in range(node.lineno, _end(node) + 1)]
                indent = len(lines[0]) - len(lines[0].lstrip())
                return [line[indent:] for line in lines]
        line = linecache.getline(place.file, place.line).strip()
        return [line] if line else []


def _is_other_workflow(node: ast.stmt, own: set[str]) -> bool:
    if not isinstance(node, ast.ClassDef) or node.name in own:
        return False
    decorators = [found.func if isinstance(found, ast.Call) else found for found in node.decorator_list]
    return any(_last_name(decorator) == "defn" for decorator in decorators)


def _end(node: ast.stmt) -> int:
    return node.end_lineno or node.lineno


def _last_name(node: ast.expr) -> str:
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


def _patch_in(event: HistoryEvent) -> str | None:
    """The patch a marker records."""
    found = re.fullmatch(r"MarkerRecorded \(patch '(.*)'\)", describe_event(event))
    return None if found is None else found[1]


def _name_in(event: HistoryEvent) -> str | None:
    """The activity or workflow type an event names."""
    attributes = event.attributes
    if event.event_type == 25:
        data = attributes.details.get("data")
        return None if data is None else str(json.loads(data.payloads[0].data).get("activity_type"))
    kind = getattr(attributes, "activity_type", None) if event.event_type == 10 else None
    if event.event_type == 29:
        kind = attributes.workflow_type
    return None if kind is None else str(kind.name)


def _slug(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "-", name).lower()).strip("-")


def _indented(lines: Iterable[str]) -> list[str]:
    return [f"    {line}" for line in lines] or ["    ..."]
