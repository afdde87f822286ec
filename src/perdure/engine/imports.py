"""Taking in runs of another home: their histories, and, where nothing of them is under way, the runs themselves."""

from __future__ import annotations

import uuid
from dataclasses import dataclass

from perdure._native import transitions
from perdure._native.events import HistoryEvent
from perdure._native.mutable_state import MutableState, RunState, Status
from perdure.api.common import v1 as common_v1
from perdure.api.enums.v1 import EventType
from perdure.engine import limits
from perdure.engine.core import Core
from perdure.engine.errors import already_started, invalid_argument
from perdure.engine.limits import NS_PER_MS
from perdure.engine.lookup import check_run_id
from perdure.engine.namespaces import Namespaces
from perdure.engine.run import Run
from perdure.engine.wiring import decode_payload
from perdure.service import RPCError, RPCStatusCode
from perdure.store.api import RunKey

_STARTED = int(EventType.EVENT_TYPE_WORKFLOW_EXECUTION_STARTED)
#: A workflow task ended so, and nothing says in the history that the next one is due.
_UNDONE = frozenset((int(EventType.EVENT_TYPE_WORKFLOW_TASK_FAILED), int(EventType.EVENT_TYPE_WORKFLOW_TASK_TIMED_OUT)))
_TASK_COMPLETED = int(EventType.EVENT_TYPE_WORKFLOW_TASK_COMPLETED)
_TERMINATED = int(EventType.EVENT_TYPE_WORKFLOW_EXECUTION_TERMINATED)
#: The identity that terminates a run because another home has it.
MOVED_BY = "perdure migrate"
_CLOSED = int(RunState.CLOSED)
_PAUSED = int(Status.PAUSED)
#: What of a run's extras its history brings along completely.
_RECORDED = frozenset(("priority", "override", "version", "used", "inherited", "declined", "first_behavior"))


@dataclass
class ImportWorkflowExecutionRequest:
    """A run of another home. No RPC of Temporal's WorkflowService: its servers have no such call for clients."""

    namespace: str
    workflow_id: str
    run_id: str
    #: The whole history so far.
    events: list[HistoryEvent]
    #: When the run started, nanoseconds since the epoch; later than its first event when a reset made it. 0: then.
    start_time: int = 0
    #: Only say what would happen.
    dry_run: bool = False


@dataclass
class ImportWorkflowExecutionResponse:
    """What came of it."""

    #: False: the run was here already, with this history or more of it.
    imported: bool


def fold(request: ImportWorkflowExecutionRequest, namespace_id: str) -> MutableState:
    """The state that a history leads to. Raises INVALID_ARGUMENT when it is none."""
    limits.check_id(request.workflow_id, "WorkflowId")
    check_run_id(request.run_id)
    events = request.events
    if not request.run_id or not events or events[0].event_type != _STARTED:
        raise invalid_argument("An imported run has a run id and a history that begins with WorkflowExecutionStarted.")
    state = MutableState(namespace_id, request.workflow_id, request.run_id)
    try:
        state.fold(events)
    except (ValueError, KeyError, AttributeError) as error:
        raise invalid_argument(f"The history does not fit together: {error}.") from None
    state.take_effects()
    if request.start_time > state.start_ns:
        state.start_ns = request.start_time
        if state.state != _CLOSED:
            state.refresh_deadlines(request.start_time)
    return state


def obstacle(state: MutableState) -> str:
    """Why an open run cannot be moved to another home, in a sentence; empty when it can."""
    if state.task_started_id:
        return "A worker has its workflow task."
    if state.activities:
        return "It has activities that have not ended."
    if state.children:
        return "It has child workflows that have not closed."
    if state.signals or state.cancels:
        return "It is signalling or cancelling another workflow."
    if state.open_updates:
        return "It has an update that has not completed."
    if state.parent_workflow_id:
        return "It has a parent workflow, which waits for it where it is."
    if state.status == _PAUSED:
        return "It is paused."
    extra = state.extra or {}
    if extra.get("nexus"):
        return "It has Nexus operations that have not ended."
    if extra.get("callbacks"):
        return "It owes somebody a callback when it closes."
    unknown = sorted(name for name in extra if name not in _RECORDED and extra[name])
    return f"Its history does not hold all of it ({', '.join(unknown)})." if unknown else ""


class Imports:
    """Takes runs in."""

    def __init__(self, core: Core, namespaces: Namespaces) -> None:
        self._core = core
        self._namespaces = namespaces

    async def take(self, request: ImportWorkflowExecutionRequest) -> ImportWorkflowExecutionResponse:
        """Take a run in under its ids. Returns when it is durable; safe to repeat.

        A closed run is kept for the namespace's retention from now on, and owes nobody anything. An open one goes on:
        its timers and timeouts at the moments they had, its workflow task in its queue.

        Atomic: the whole run, or nothing.
        Raises:
            RPCError: INVALID_ARGUMENT, the history is none; FAILED_PRECONDITION, the run is open and cannot be moved
                now; ALREADY_EXISTS, another open run has the workflow id, or the run is here and went another way.
        """
        core = self._core
        namespace = self._namespaces.get_registered(request.namespace)
        key = RunKey(namespace.namespace_id, request.workflow_id, request.run_id)
        state = fold(request, namespace.namespace_id)
        found = await core.load(key)
        if found is not None:
            return await self._compare(found, request.events)
        is_open = state.state != _CLOSED
        reason = obstacle(state) if is_open else ""
        if reason:
            raise RPCError(reason, RPCStatusCode.FAILED_PRECONDITION)
        if not request.dry_run:
            fields = {name: decode_payload(value) for name, value in state.search_attributes.items()}
            await self._namespaces.learn(namespace, common_v1.SearchAttributes(fields))
        current = await core.current(namespace.namespace_id, request.workflow_id)
        if is_open and current is not None and current.is_open:
            s = current.state
            raise already_started(request.workflow_id, s.run_id, s.create_request_id, s.first_run_id, True)
        found = core.at_hand(key)
        if found is not None:  # somebody else's import came first
            return await self._compare(found, request.events)
        if request.dry_run:
            return ImportWorkflowExecutionResponse(True)
        run = self._add(key, state, request.events, current)
        await core.durable(run)
        return ImportWorkflowExecutionResponse(True)

    async def _compare(self, run: Run, events: list[HistoryEvent]) -> ImportWorkflowExecutionResponse:
        await self._core.durable(run)
        if await self._core.read_events(run, 1, len(events) + 1) != events:
            raise RPCError("The target has this run, but it went another way there.", RPCStatusCode.ALREADY_EXISTS)
        last = await self._core.event(run, run.state.next_event_id - 1)
        if was_moved_away(last) and not was_moved_away(events[-1]):
            raise RPCError("The target has this run as one that was moved away from it.", RPCStatusCode.ALREADY_EXISTS)
        return ImportWorkflowExecutionResponse(False)

    def _add(self, key: RunKey, state: MutableState, events: list[HistoryEvent], current: Run | None) -> Run:
        core = self._core
        now = core.now()
        state.create_request_id = str(uuid.uuid4())
        run = Run(key, state, 0)
        run.tail = list(events)
        run.unwritten = list(events)
        is_open = state.state != _CLOSED
        if not is_open:
            state.children.clear()
            state.delete_at_ms = now // NS_PER_MS + self._namespaces.retention(key.namespace_id, state.workflow_type)
        is_dispatched = is_open and state.task_scheduled_id
        if is_open and not is_dispatched and _is_task_undone(events):
            transitions.schedule_workflow_task(state, now)
        core.add(run)
        if not is_open and current is not None and (current.is_open or current.state.start_ns > state.start_ns):
            # An older run of the chain: what is current stays so.
            run.is_new_current = False
            was_new = current.is_new_current
            core.add(current)
            current.is_new_current = was_new
        core.touch(run)
        if is_dispatched:
            core.dispatch_workflow_task(run)
        return run


def was_moved_away(last: HistoryEvent) -> bool:
    """Whether the last event of a history says that the run goes on at another home."""
    return last.event_type == _TERMINATED and last.attributes.identity == MOVED_BY


def _is_task_undone(events: list[HistoryEvent]) -> bool:
    """Whether the last workflow task failed, so that another one is due."""
    for event in reversed(events):
        if event.event_type in _UNDONE:
            return True
        if event.event_type == _TASK_COMPLETED:
            return False
    return False
