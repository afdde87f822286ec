"""What one run owes another: child starts, signals and cancels across runs, news for parents, close policies.

A transfer is recorded with the commit of the run that owes it and repeated until it is done, also after a crash. Its
effect on the other run and the note in the owing run go into one commit, or can be repeated without harm.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import msgspec

from perdure._native import transitions
from perdure.api.common import v1 as common_v1
from perdure.api.enums.v1 import (
    CancelExternalWorkflowExecutionFailedCause,
    EventType,
    ParentClosePolicy,
    SignalExternalWorkflowExecutionFailedCause,
    StartChildWorkflowExecutionFailedCause,
)
from perdure.api.history import v1 as history_v1
from perdure.api.workflowservice import v1 as ws
from perdure.engine import limits
from perdure.engine.callbacks import Callbacks
from perdure.engine.closing import ChildToClose, CloseTransfer, Closing
from perdure.engine.core import Core
from perdure.engine.namespaces import Namespaces
from perdure.engine.nexus_state import by_transfer
from perdure.engine.nexus_tasks import NexusTasks
from perdure.engine.routing import merged, priority_of_run
from perdure.engine.run import CLOSE_TRANSFER, Run
from perdure.engine.starts import Parent, Starts, check_start
from perdure.service import RPCError, RPCStatusCode
from perdure.store.api import RunKey, StoreError, TaskRow

logger = logging.getLogger("perdure.engine")

_SERVICE = "history-service"
_Event = EventType
_CHILD_STARTED = int(_Event.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_STARTED)
_CHILD_FAILED_TO_START = int(_Event.EVENT_TYPE_START_CHILD_WORKFLOW_EXECUTION_FAILED)
_SIGNALED = int(_Event.EVENT_TYPE_EXTERNAL_WORKFLOW_EXECUTION_SIGNALED)
_SIGNAL_FAILED = int(_Event.EVENT_TYPE_SIGNAL_EXTERNAL_WORKFLOW_EXECUTION_FAILED)
_CANCEL_REQUESTED = int(_Event.EVENT_TYPE_EXTERNAL_WORKFLOW_EXECUTION_CANCEL_REQUESTED)
_CANCEL_FAILED = int(_Event.EVENT_TYPE_REQUEST_CANCEL_EXTERNAL_WORKFLOW_EXECUTION_FAILED)
_ALREADY_EXISTS = int(
    StartChildWorkflowExecutionFailedCause.START_CHILD_WORKFLOW_EXECUTION_FAILED_CAUSE_WORKFLOW_ALREADY_EXISTS
)
_SIGNAL_TARGET_UNKNOWN = int(
    SignalExternalWorkflowExecutionFailedCause.SIGNAL_EXTERNAL_WORKFLOW_EXECUTION_FAILED_CAUSE_EXTERNAL_WORKFLOW_EXECUTION_NOT_FOUND
)
_SIGNAL_LIMIT = int(
    SignalExternalWorkflowExecutionFailedCause.SIGNAL_EXTERNAL_WORKFLOW_EXECUTION_FAILED_CAUSE_SIGNAL_COUNT_LIMIT_EXCEEDED
)
_CANCEL_TARGET_UNKNOWN = int(
    CancelExternalWorkflowExecutionFailedCause.CANCEL_EXTERNAL_WORKFLOW_EXECUTION_FAILED_CAUSE_EXTERNAL_WORKFLOW_EXECUTION_NOT_FOUND
)
_TERMINATE = int(ParentClosePolicy.PARENT_CLOSE_POLICY_TERMINATE)
_REQUEST_CANCEL = int(ParentClosePolicy.PARENT_CLOSE_POLICY_REQUEST_CANCEL)
_MAX_RESET_HOPS = 100


class Transfers:
    """Carries transfers out."""

    #: Set when the engine is put together.
    nexus_tasks: NexusTasks
    callbacks: Callbacks

    def __init__(self, core: Core, namespaces: Namespaces, starts: Starts, closing: Closing) -> None:
        self._core = core
        self._namespaces = namespaces
        self._starts = starts
        self._closing = closing
        core.on_transfer = self.carry_out

    async def carry_out(self, run: Run, row: TaskRow) -> None:
        """Do it, again and again until it is done."""
        delay = 0.05
        while not self._core.is_closed:
            try:
                current = await self._core.load(run.key)
                if current is None or row.scheduled_event_id not in current.transfers:
                    return
                await self._once(current, row)
                return
            except (RPCError, StoreError) as error:
                logger.warning("transfer of run %s is tried again: %s", run.key.run_id, error)
            await asyncio.sleep(delay)
            delay = min(delay * 2, 10.0)

    async def _once(self, run: Run, row: TaskRow) -> None:
        event_id = row.scheduled_event_id
        s = run.state
        if event_id == CLOSE_TRANSFER:
            await self._after_close(run, msgspec.msgpack.decode(row.body, type=CloseTransfer))
        elif event_id in s.children:
            await self._start_child(run, event_id)
            return
        elif event_id in s.signals:
            await self._signal(run, event_id)
        elif event_id in s.cancels:
            await self._cancel(run, event_id)
        elif event_id < 0:
            await self.callbacks.carry_out(run, event_id)
            return
        elif s.extra is not None and by_transfer(s, event_id) is not None:
            await self.nexus_tasks.call(run, event_id)
            return
        self._core.finish_transfer(run, event_id)

    # ---- children

    async def _start_child(self, run: Run, initiated_id: int) -> None:
        core = self._core
        attributes: Any = (await core.event(run, initiated_id)).attributes
        info = run.state.children.get(initiated_id)
        if info is None or not run.is_open:
            core.finish_transfer(run, initiated_id)
            return
        if info.started_event_id or info.run_id:
            child = await core.load(RunKey(run.key.namespace_id, info.workflow_id, info.run_id))
            self._release(child)
            core.finish_transfer(run, initiated_id)
            return
        namespace = attributes.namespace
        request = ws.StartWorkflowExecutionRequest(
            namespace=namespace,
            workflow_id=attributes.workflow_id,
            workflow_type=attributes.workflow_type,
            task_queue=attributes.task_queue,
            input=attributes.input,
            workflow_execution_timeout=attributes.workflow_execution_timeout,
            workflow_run_timeout=attributes.workflow_run_timeout,
            workflow_task_timeout=attributes.workflow_task_timeout,
            request_id=f"{run.key.run_id}:{initiated_id}:0",
            workflow_id_reuse_policy=attributes.workflow_id_reuse_policy,
            retry_policy=attributes.retry_policy,
            cron_schedule=attributes.cron_schedule,
            memo=attributes.memo,
            search_attributes=attributes.search_attributes,
            header=attributes.header,
            user_metadata=(await core.event(run, initiated_id)).user_metadata,
            priority=attributes.priority,
        )
        try:
            child = await self._create_child(run, initiated_id, request)
        except RPCError as error:
            if error.status is not RPCStatusCode.ALREADY_EXISTS:
                raise
            failed = history_v1.StartChildWorkflowExecutionFailedEventAttributes(
                namespace=namespace,
                namespace_id=run.key.namespace_id,
                workflow_id=attributes.workflow_id,
                workflow_type=attributes.workflow_type,
                cause=_ALREADY_EXISTS,
                control=attributes.control,
                initiated_event_id=initiated_id,
                workflow_task_completed_event_id=attributes.workflow_task_completed_event_id,
            )
            transitions.record(run.state, core.now(), _CHILD_FAILED_TO_START, failed)
        else:
            started = history_v1.ChildWorkflowExecutionStartedEventAttributes(
                namespace=namespace,
                namespace_id=run.key.namespace_id,
                initiated_event_id=initiated_id,
                workflow_execution=common_v1.WorkflowExecution(child.key.workflow_id, child.key.run_id),
                workflow_type=attributes.workflow_type,
                header=attributes.header,
            )
            if transitions.record(run.state, core.now(), _CHILD_STARTED, started):
                self._release(child)
        core.finish_transfer(run, initiated_id)
        core.touch(run)

    async def _create_child(self, run: Run, initiated_id: int, request: ws.StartWorkflowExecutionRequest) -> Run:
        core = self._core
        check_start(request)
        s = run.state
        namespace_id = run.key.namespace_id
        current = await core.current(namespace_id, request.workflow_id)
        run_id = core.run_ids.new(core.now())
        if current is not None:
            if current.state.create_request_id == request.request_id:
                return current
            self._starts.check_may_start(current, request, run_id)
        root = common_v1.WorkflowExecution(s.root_workflow_id or s.workflow_id, s.root_run_id or s.run_id)
        key = RunKey(namespace_id, request.workflow_id, run_id)
        parent = Parent(run.key, request.namespace, initiated_id, root)
        if s.extra is not None:
            request.priority = merged(request.priority, priority_of_run(run))
            parent.pinned = core.router.inherited(run, "" if request.task_queue is None else request.task_queue.name)
        return self._starts.create(key, request, parent=parent)

    def _release(self, child: Run | None) -> None:
        """The parent has recorded the start: the child's first workflow task may come."""
        if child is None or not child.state.is_first_task_held:
            return
        child.state.is_first_task_held = False
        if child.state.backoff_until_ms == 0:
            transitions.schedule_workflow_task(child.state, self._core.now())
        self._core.touch(child)

    # ---- signals and cancels

    async def _target(self, run: Run, execution: common_v1.WorkflowExecution, child_only: bool) -> Run | None:
        core = self._core
        namespace_id = run.key.namespace_id
        if execution.workflow_id == run.key.workflow_id and execution.run_id in ("", run.key.run_id):
            return None
        if execution.run_id:
            target = await core.load(RunKey(namespace_id, execution.workflow_id, execution.run_id))
        else:
            target = await core.current(namespace_id, execution.workflow_id)
        if target is not None and child_only and target.state.parent_workflow_id != run.key.workflow_id:
            return None
        return target

    async def _signal(self, run: Run, initiated_id: int) -> None:
        core = self._core
        event = await core.event(run, initiated_id)
        attributes: Any = event.attributes
        target = await self._target(run, attributes.workflow_execution, attributes.child_workflow_only)
        info = run.state.signals.get(initiated_id)
        if info is None:
            return
        cause = 0
        if target is None or not target.is_open:
            cause = _SIGNAL_TARGET_UNKNOWN
        elif target.state.signal_count >= limits.MAX_SIGNALS:
            cause = _SIGNAL_LIMIT
        elif info.request_id not in target.state.signal_request_ids:
            transitions.signal(
                target.state,
                core.now(),
                history_v1.WorkflowExecutionSignaledEventAttributes(
                    signal_name=attributes.signal_name,
                    input=attributes.input,
                    identity=_SERVICE,
                    header=attributes.header,
                    external_workflow_execution=common_v1.WorkflowExecution(run.key.workflow_id, run.key.run_id),
                    request_id=info.request_id,
                ),
            )
            core.touch(target)
        outcome: Any
        if cause:
            outcome = history_v1.SignalExternalWorkflowExecutionFailedEventAttributes(
                cause=cause, **_about(attributes, initiated_id, failed=True)
            )
        else:
            outcome = history_v1.ExternalWorkflowExecutionSignaledEventAttributes(
                control=attributes.control, **_about(attributes, initiated_id)
            )
        transitions.record(run.state, core.now(), _SIGNAL_FAILED if cause else _SIGNALED, outcome)
        core.touch(run)

    async def _cancel(self, run: Run, initiated_id: int) -> None:
        core = self._core
        attributes: Any = (await core.event(run, initiated_id)).attributes
        target = await self._target(run, attributes.workflow_execution, attributes.child_workflow_only)
        if initiated_id not in run.state.cancels:
            return
        if target is not None and target.is_open:
            self._request_cancel(target, run, initiated_id, attributes.reason)
        outcome: Any
        if target is None:
            outcome = history_v1.RequestCancelExternalWorkflowExecutionFailedEventAttributes(
                cause=_CANCEL_TARGET_UNKNOWN, **_about(attributes, initiated_id, failed=True)
            )
        else:
            outcome = history_v1.ExternalWorkflowExecutionCancelRequestedEventAttributes(
                **_about(attributes, initiated_id)
            )
        transitions.record(run.state, core.now(), _CANCEL_FAILED if target is None else _CANCEL_REQUESTED, outcome)
        core.touch(run)

    def _request_cancel(self, target: Run, source: Run, initiated_id: int, reason: str) -> None:
        if transitions.request_cancel(
            target.state,
            self._core.now(),
            history_v1.WorkflowExecutionCancelRequestedEventAttributes(
                cause=reason,
                external_initiated_event_id=initiated_id,
                external_workflow_execution=common_v1.WorkflowExecution(source.key.workflow_id, source.key.run_id),
                identity=_SERVICE,
            ),
        ):
            self._core.touch(target)

    # ---- after a close

    async def _after_close(self, run: Run, owed: CloseTransfer) -> None:
        if owed.notify_parent:
            await self._notify_parent(run)
        for child in owed.children:
            await self._apply_close_policy(run, child)

    async def _notify_parent(self, run: Run) -> None:
        core = self._core
        s = run.state
        close: Any = await core.event(run, s.close_event_id)
        parent = await core.load(RunKey(s.parent_namespace_id, s.parent_workflow_id, s.parent_run_id))
        for _ in range(_MAX_RESET_HOPS):
            if parent is None or not parent.state.reset_run_id:
                break
            parent = await core.load(RunKey(s.parent_namespace_id, s.parent_workflow_id, parent.state.reset_run_id))
        if parent is None or not parent.is_open:
            return
        child = parent.state.children.get(s.parent_initiated_id)
        if child is None or child.workflow_id != s.workflow_id or child.run_id not in ("", s.first_run_id):
            return
        event_type, attributes = _child_event(close)
        attributes.namespace = self._namespaces.by_id(run.key.namespace_id).name
        attributes.namespace_id = run.key.namespace_id
        attributes.workflow_execution = common_v1.WorkflowExecution(run.key.workflow_id, run.key.run_id)
        attributes.workflow_type = common_v1.WorkflowType(s.workflow_type)
        attributes.initiated_event_id = child.initiated_event_id
        attributes.started_event_id = child.started_event_id
        if transitions.record(parent.state, core.now(), event_type, attributes):
            core.touch(parent)

    async def _apply_close_policy(self, run: Run, child: ChildToClose) -> None:
        if child.policy not in (_TERMINATE, _REQUEST_CANCEL):
            return
        core = self._core
        target = await core.current(run.key.namespace_id, child.workflow_id)
        if target is None or not target.is_open or target.state.first_run_id != child.run_id:
            return
        if target.state.parent_workflow_id != run.key.workflow_id:
            return
        if child.policy == _TERMINATE:
            self._closing.terminate(target, "by parent close policy", None, _SERVICE)
            core.touch(target)
        else:
            self._request_cancel(target, run, 0, "by parent close policy")


def _about(initiated: Any, initiated_id: int, *, failed: bool = False) -> dict[str, Any]:
    """What the outcome of a signal or cancel repeats of its Initiated event."""
    fields = {
        "namespace": initiated.namespace,
        "namespace_id": initiated.namespace_id,
        "workflow_execution": initiated.workflow_execution,
        "initiated_event_id": initiated_id,
    }
    if failed:
        fields["workflow_task_completed_event_id"] = initiated.workflow_task_completed_event_id
        fields["control"] = initiated.control
    return fields


def _child_event(close: Any) -> tuple[int, Any]:
    """The parent's event for a child's close event, with what it carries of it."""
    h = history_v1
    a = close.attributes
    kind = close.event_type
    if kind == _Event.EVENT_TYPE_WORKFLOW_EXECUTION_COMPLETED:
        return (
            int(_Event.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_COMPLETED),
            h.ChildWorkflowExecutionCompletedEventAttributes(result=a.result),
        )
    if kind == _Event.EVENT_TYPE_WORKFLOW_EXECUTION_FAILED:
        return (
            int(_Event.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_FAILED),
            h.ChildWorkflowExecutionFailedEventAttributes(failure=a.failure, retry_state=a.retry_state),
        )
    if kind == _Event.EVENT_TYPE_WORKFLOW_EXECUTION_CANCELED:
        return (
            int(_Event.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_CANCELED),
            h.ChildWorkflowExecutionCanceledEventAttributes(details=a.details),
        )
    if kind == _Event.EVENT_TYPE_WORKFLOW_EXECUTION_TIMED_OUT:
        return (
            int(_Event.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_TIMED_OUT),
            h.ChildWorkflowExecutionTimedOutEventAttributes(retry_state=a.retry_state),
        )
    return (
        int(_Event.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_TERMINATED),
        h.ChildWorkflowExecutionTerminatedEventAttributes(),
    )
