"""Reset and delete: taking a run back to an earlier point, and forgetting runs."""

from __future__ import annotations

import uuid
from functools import partial
from typing import Any

import msgspec

from perdure._native import transitions
from perdure._native.events import HistoryEvent
from perdure._native.mutable_state import MutableState
from perdure.api.enums.v1 import (
    EventType,
    ResetReapplyExcludeType,
    ResetReapplyType,
    UpdateAdmittedEventOrigin,
    WorkflowTaskFailedCause,
)
from perdure.api.failure import v1 as failure_v1
from perdure.api.history import v1 as history_v1
from perdure.api.workflowservice import v1 as ws
from perdure.engine.closing import Closing
from perdure.engine.core import Core
from perdure.engine.errors import invalid_argument, unavailable
from perdure.engine.limits import NS_PER_MS
from perdure.engine.lookup import find_run
from perdure.engine.namespaces import Namespaces
from perdure.engine.nexus_state import operations
from perdure.engine.run import Run
from perdure.engine.workflow_options import change_options
from perdure.store.api import RunKey, RunUpdate, StoreError

_RESET = int(WorkflowTaskFailedCause.WORKFLOW_TASK_FAILED_CAUSE_RESET_WORKFLOW)
_SIGNALED = int(EventType.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED)
_ADMITTED = int(EventType.EVENT_TYPE_WORKFLOW_EXECUTION_UPDATE_ADMITTED)
_UPDATES = frozenset((_ADMITTED, int(EventType.EVENT_TYPE_WORKFLOW_EXECUTION_UPDATE_ACCEPTED)))
_REAPPLY = int(UpdateAdmittedEventOrigin.UPDATE_ADMITTED_EVENT_ORIGIN_REAPPLY)
_OPTIONS_UPDATED = int(EventType.EVENT_TYPE_WORKFLOW_EXECUTION_OPTIONS_UPDATED)
_CONTINUED = int(EventType.EVENT_TYPE_WORKFLOW_EXECUTION_CONTINUED_AS_NEW)
#: Started, completed, failed, canceled, timed out.
_OPERATION_EVENTS = range(
    int(EventType.EVENT_TYPE_NEXUS_OPERATION_STARTED), int(EventType.EVENT_TYPE_NEXUS_OPERATION_TIMED_OUT) + 1
)
_CHILD_STARTED = int(EventType.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_STARTED)
_CHILD_EVENTS = range(
    int(EventType.EVENT_TYPE_START_CHILD_WORKFLOW_EXECUTION_FAILED),
    int(EventType.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_TERMINATED) + 1,
)


class Resets:
    """Temporal's ResetWorkflowExecution and DeleteWorkflowExecution, and retention."""

    def __init__(self, core: Core, namespaces: Namespaces, closing: Closing) -> None:
        self._core = core
        self._namespaces = namespaces
        self._closing = closing
        core.on_delete_run = partial(delete_run, core)

    async def reset(self, request: ws.ResetWorkflowExecutionRequest) -> ws.ResetWorkflowExecutionResponse:
        """Temporal's ResetWorkflowExecution.

        Atomic: the new run with the copied part of the history, the reapplied signals and updates, and the end of the current run.
        """
        core = self._core
        if not request.request_id:
            raise invalid_argument("RequestId is not set on the request.")
        namespace_id = self._namespaces.get(request.namespace).namespace_id
        base = await find_run(core, namespace_id, request.workflow_execution)
        current = await core.current(namespace_id, base.key.workflow_id) or base
        if current.state.create_request_id == request.request_id:
            await core.durable(current)
            return ws.ResetWorkflowExecutionResponse(current.key.run_id)
        finish_id = request.workflow_task_finish_event_id
        if finish_id <= 1 or finish_id >= base.state.next_event_id:
            raise invalid_argument(
                f"Workflow task finish ID must be > 1 && < next event ID ({base.state.next_event_id}): {finish_id}."
            )
        seen = 0
        events: list[HistoryEvent] = []
        chain: list[HistoryEvent] = []
        chain_end = base
        while seen != base.state.next_event_id + current.state.next_event_id:
            # Again, if a run moved on while its history was read.
            seen = base.state.next_event_id + current.state.next_event_id
            events = await core.read_events(base, 1, base.state.next_event_id)
            chain, chain_end = await self._continued(base, events)
            current = await core.current(namespace_id, base.key.workflow_id) or base
        key = RunKey(namespace_id, base.key.workflow_id, core.run_ids.new(core.now()))
        run = self._rebuild(key, events[: finish_id - 1], finish_id)
        self._fail_task(run, request, base)
        for activity in run.state.activities.values():
            # What was under way belongs to the base run; here it is scheduled anew.
            activity.scheduled_ns = activity.first_scheduled_ns = core.now()
            core.on_dispatch_activity(run, activity.scheduled_event_id)
        own = events[finish_id - 1 :]
        if current.is_open and current is chain_end:
            if current is base:
                own = own + current.state.buffered
            else:
                chain = chain + current.state.buffered
        self._reapply_children(run, own)
        if run.state.extra is not None and not _excludes_nexus(request):
            self._reapply_operations(run, own)
        excluded = _excluded(request)
        self._reapply_messages(run, [event for event in own + chain if event.event_type not in excluded])
        transitions.schedule_workflow_task(run.state, core.now())
        self._operate(run, request)
        base.state.reset_run_id = key.run_id
        core.touch(base)
        if current.is_open:
            self._closing.terminate(current, request.reason, None, "history-resetter", by_reset=True)
            core.touch(current)
        core.add(run)
        core.touch(run)
        self._carry_out(run)
        await core.durable(run)
        return ws.ResetWorkflowExecutionResponse(key.run_id)

    async def _continued(self, base: Run, events: list[HistoryEvent]) -> tuple[list[HistoryEvent], Run]:
        """The events of the runs that continued the base run, and the last of them (the base run, if none did)."""
        chain: list[HistoryEvent] = []
        end = base
        last = events[-1]
        while last.event_type == _CONTINUED:
            key = RunKey(base.key.namespace_id, base.key.workflow_id, last.attributes.new_execution_run_id)
            run = await self._core.load(key)
            if run is None:
                break
            more = await self._core.read_events(run, 1, run.state.next_event_id)
            chain += more
            last = more[-1]
            end = run
        return chain, end

    def _rebuild(self, key: RunKey, prefix: list[HistoryEvent], finish_id: int) -> Run:
        state = MutableState(*key)
        state.fold(prefix)
        if not state.task_scheduled_id:
            raise invalid_argument(
                "Can only reset workflow to event ID in range [WorkflowTaskScheduled +1, WorkflowTaskStarted + 1]: "
                f"{finish_id}"
            )
        # The prefix becomes this run's own history; its bytes are copied as they are.
        run = Run(key, state, 0)
        run.tail = list(prefix)
        run.unwritten = list(prefix)
        state.history_size = 0
        state.refresh_deadlines(self._core.now())
        return run

    def _fail_task(self, run: Run, request: ws.ResetWorkflowExecutionRequest, base: Run) -> None:
        core = self._core
        s = run.state
        now = core.now()
        s.create_request_id = request.request_id
        if not s.task_started_id:
            transitions.start_workflow_task(s, now, str(uuid.uuid4()), "history-service", False)
        failure = failure_v1.Failure(
            message=request.reason or "reset",
            source="Server",
            reset_workflow_failure_info=failure_v1.ResetWorkflowFailureInfo(),
        )
        transitions.write(
            s,
            int(EventType.EVENT_TYPE_WORKFLOW_TASK_FAILED),
            history_v1.WorkflowTaskFailedEventAttributes(
                scheduled_event_id=s.task_scheduled_id,
                started_event_id=s.task_started_id,
                cause=_RESET,
                failure=failure,
                identity="history-service",
                base_run_id=base.key.run_id,
                new_run_id=run.key.run_id,
            ),
            now,
        )
        s.task_attempt = 1
        s.sticky_queue = ""
        core.absorb(run)

    def _operate(self, run: Run, request: ws.ResetWorkflowExecutionRequest) -> None:
        """What the caller wants done to the new run before it goes on."""
        for operation in request.post_reset_operations:
            signal, update = operation.signal_workflow, operation.update_workflow_options
            if signal is not None:
                attributes = history_v1.WorkflowExecutionSignaledEventAttributes(
                    signal_name=signal.signal_name,
                    input=signal.input,
                    identity=request.identity,
                    header=signal.header,
                )
                transitions.signal(run.state, self._core.now(), attributes)
            elif update is not None:
                change_options(run, update.workflow_execution_options, update.update_mask, request.identity, self._core)
            else:
                raise invalid_argument("A post-reset operation is neither a signal nor a change of options.")

    def _reapply_messages(self, run: Run, events: list[HistoryEvent]) -> None:
        """Signals that came and updates that were accepted after the reset point hold in the new run, too."""
        s = run.state
        for event in events:
            attributes: Any = event.attributes
            if event.event_type == _SIGNALED:
                transitions.signal(s, self._core.now(), attributes, False, event.extras)
            elif event.event_type == _OPTIONS_UPDATED:
                transitions.note(s, self._core.now(), _OPTIONS_UPDATED, attributes)
            elif event.event_type in _UPDATES:
                request = attributes.request if event.event_type == _ADMITTED else attributes.accepted_request
                if request is not None and (s.updates is None or request.meta.update_id not in s.updates):
                    admitted = history_v1.WorkflowExecutionUpdateAdmittedEventAttributes(request, _REAPPLY)
                    transitions.write(s, _ADMITTED, admitted, self._core.now())

    def _reapply_children(self, run: Run, events: list[HistoryEvent]) -> None:
        """So do the fates of children that the copied part of the history started."""
        s = run.state
        for event in events:
            if event.event_type in _CHILD_EVENTS:
                attributes: Any = event.attributes
                if attributes.initiated_event_id in s.children:
                    attributes = msgspec.structs.replace(attributes)
                    if event.event_type > _CHILD_STARTED:
                        attributes.started_event_id = s.children[attributes.initiated_event_id].started_event_id
                    transitions.record(s, self._core.now(), event.event_type, attributes)

    def _reapply_operations(self, run: Run, events: list[HistoryEvent]) -> None:
        """And what came of Nexus operations that it scheduled."""
        s = run.state
        for event in events:
            if event.event_type in _OPERATION_EVENTS:
                links = None if event.extras is None else event.extras.links
                transitions.record_nexus(s, self._core.now(), event.event_type, event.attributes, links)

    def _carry_out(self, run: Run) -> None:
        """What the copied part of the history asked of other runs, and no event of it answers, is asked by this run."""
        s = run.state
        asked = [child.initiated_event_id for child in s.children.values() if not child.run_id]
        for scheduled_id, operation in operations(s).items():
            cancel = operation["cancel"]
            if not operation["started_ns"]:
                asked.append(scheduled_id)
            elif cancel is not None and not cancel["outcome"]:
                asked.append(cancel["requested_id"])
        for event_id in asked + list(s.signals) + list(s.cancels):
            self._core.add_transfer(run, event_id)

    # ---- deletion

    async def delete(self, request: ws.DeleteWorkflowExecutionRequest) -> ws.DeleteWorkflowExecutionResponse:
        """Temporal's DeleteWorkflowExecution: an open run is terminated first."""
        core = self._core
        namespace_id = self._namespaces.get(request.namespace).namespace_id
        run = await find_run(core, namespace_id, request.workflow_execution)
        await end_and_delete(core, self._closing, run, "Delete workflow execution")
        return ws.DeleteWorkflowExecutionResponse()


async def delete_run(core: Core, run: Run) -> None:
    """Forget a closed run once everything it owed others is done."""
    for row in list(run.transfers.values()):
        await core.on_transfer(run, row)
    if not run.is_gone:
        await core.durable(run)
    if run.is_gone:
        return  # forgotten meanwhile
    update = RunUpdate(
        run.key,
        run.version + 1,
        timer=(run.stored_timer, 0),
        delete_tasks=list(run.persisted.values()) + list(run.transfers.values()),
        visibility=(run.stored_visibility, None),
        delete=True,
    )
    core.forget(run)
    try:
        await core.store.commit([update])
    except StoreError as error:
        core.spawn(core.reload([run.key]))
        raise unavailable(f"The store did not forget the run: {error}. It is safe to try again.") from None


async def end_and_delete(core: Core, closing: Closing, run: Run, reason: str) -> None:
    """Delete a run, after terminating it where it is open. Somebody asked for it: it is not archived first."""
    if run.is_open:
        closing.terminate(run, reason, None, "history-service")
        core.touch(run)
    await core.durable(run)
    run.state.delete_at_ms = core.now() // NS_PER_MS
    await delete_run(core, run)


def _excludes_nexus(request: ws.ResetWorkflowExecutionRequest) -> bool:
    types = request.reset_reapply_exclude_types
    return int(ResetReapplyExcludeType.RESET_REAPPLY_EXCLUDE_TYPE_NEXUS) in types


def _excluded(request: ws.ResetWorkflowExecutionRequest) -> set[int]:
    """The types of events that are not to be reapplied."""
    excluded: set[int] = set()
    types = request.reset_reapply_exclude_types
    is_none = request.reset_reapply_type == int(ResetReapplyType.RESET_REAPPLY_TYPE_NONE)
    if is_none or int(ResetReapplyExcludeType.RESET_REAPPLY_EXCLUDE_TYPE_SIGNAL) in types:
        excluded.add(_SIGNALED)
    is_signal_only = request.reset_reapply_type == int(ResetReapplyType.RESET_REAPPLY_TYPE_SIGNAL)
    if is_none or is_signal_only or int(ResetReapplyExcludeType.RESET_REAPPLY_EXCLUDE_TYPE_UPDATE) in types:
        excluded |= _UPDATES
    return excluded
