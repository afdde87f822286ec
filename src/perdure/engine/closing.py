"""How runs end, and what follows: successors (retry, cron, continue-as-new), parents, children, retention.

Compiled as it is by the native build; ``closing.pxd`` declares the attributes.
"""

from __future__ import annotations

import uuid
from typing import Any

import msgspec

from perdure import _cron as cron
from perdure._native import transitions
from perdure._native.activities import decide_retry
from perdure._native.commands import CommandError, resolve_retry_policy
from perdure._native.mutable_state import MutableState
from perdure._native.transitions import close_run
from perdure.api.command import v1 as command_v1
from perdure.api.common import v1 as common_v1
from perdure.api.enums.v1 import CommandType, ContinueAsNewInitiator, EventType, RetryState, TimeoutType
from perdure.api.failure import v1 as failure_v1
from perdure.api.history import v1 as history_v1
from perdure.api.taskqueue import v1 as taskqueue_v1
from perdure.engine import limits
from perdure.engine.callbacks import Callbacks
from perdure.engine.core import Core
from perdure.engine.limits import NS_PER_MS
from perdure.engine.namespaces import Namespaces
from perdure.engine.nexus_state import callback_messages
from perdure.engine.reset_points import handed_down
from perdure.engine.routing import Version
from perdure.engine.run import CLOSE_TRANSFER, Run
from perdure.store.api import RunKey

_COMPLETE = int(CommandType.COMMAND_TYPE_COMPLETE_WORKFLOW_EXECUTION)
_FAIL = int(CommandType.COMMAND_TYPE_FAIL_WORKFLOW_EXECUTION)
_CANCEL = int(CommandType.COMMAND_TYPE_CANCEL_WORKFLOW_EXECUTION)
_COMPLETED = int(EventType.EVENT_TYPE_WORKFLOW_EXECUTION_COMPLETED)
_FAILED = int(EventType.EVENT_TYPE_WORKFLOW_EXECUTION_FAILED)
_CANCELED = int(EventType.EVENT_TYPE_WORKFLOW_EXECUTION_CANCELED)
_CONTINUED_AS_NEW = int(EventType.EVENT_TYPE_WORKFLOW_EXECUTION_CONTINUED_AS_NEW)
_NS_PER_MS = NS_PER_MS
_IN_PROGRESS = int(RetryState.RETRY_STATE_IN_PROGRESS)
_TIMEOUT = int(RetryState.RETRY_STATE_TIMEOUT)
_BAD_CONTINUE_AS_NEW = 11
_BY_WORKFLOW = int(ContinueAsNewInitiator.CONTINUE_AS_NEW_INITIATOR_WORKFLOW)
_BY_RETRY = int(ContinueAsNewInitiator.CONTINUE_AS_NEW_INITIATOR_RETRY)
_BY_CRON = int(ContinueAsNewInitiator.CONTINUE_AS_NEW_INITIATOR_CRON_SCHEDULE)
#: A next run's first workflow task waits until this long after the previous run's start.
MIN_RUN_LIFETIME_MS = 1000


class ChildToClose(msgspec.Struct, array_like=True):
    """A started child of a closed run, and its parent close policy."""

    workflow_id: str
    run_id: str
    policy: int


class CloseTransfer(msgspec.Struct, array_like=True):
    """What a closed run owes others."""

    notify_parent: bool
    children: list[ChildToClose]


class Successor:
    """The run that follows a closing one, planned before the close is written."""

    __slots__ = ("attributes", "retry_state", "run_id")

    def __init__(
        self, run_id: str, attributes: history_v1.WorkflowExecutionStartedEventAttributes, retry_state: int = 0
    ) -> None:
        self.run_id = run_id
        self.attributes = attributes
        self.retry_state = retry_state


class Closing:
    """Closes runs and starts what follows them."""

    callbacks: Callbacks

    def __init__(self, core: Core, namespaces: Namespaces) -> None:
        self._core = core
        self._namespaces = namespaces
        core.on_run_timed_out = self.time_out
        core.on_limit_exceeded = self.exceed

    # ---- plans

    async def prepare(
        self, run: Run, command: command_v1.Command, stated: tuple[int, Version] | None = None
    ) -> Successor | None:
        """Plan the run after a close command; raises CommandError when the command cannot be carried out.

        ``stated`` is the versioning behavior and the version of the worker that answers.
        """
        s = run.state
        attributes: Any = command.attributes
        kind = command.command_type
        if kind == _COMPLETE:
            if not s.cron_schedule:
                return None
            previous = await self._started(run)
            return self._cron_successor(run, previous, attributes.result, None)
        if kind == _CANCEL:
            return None
        if kind == _FAIL:
            if s.retry is None and not s.cron_schedule:
                return None
            return await self._after_failure(run, attributes.failure, carry_result=False)
        if attributes.cron_schedule:
            _parse_cron(attributes.cron_schedule)
        return self._continue_as_new(run, await self._started(run), attributes, stated)

    async def _started(self, run: Run) -> history_v1.WorkflowExecutionStartedEventAttributes:
        started: history_v1.WorkflowExecutionStartedEventAttributes = (await self._core.event(run, 1)).attributes
        return started

    async def _after_failure(self, run: Run, failure: failure_v1.Failure, *, carry_result: bool) -> Successor | None:
        """The next attempt, else the next cron run; None when the chain ends."""
        s = run.state
        now = self._core.now()
        retry_state, backoff_ms = decide_retry(s.retry, failure, s.attempt, now // NS_PER_MS, s.expiration_ms, True)
        if retry_state == _IN_PROGRESS:
            previous = await self._started(run)
            attributes = self._carry_over(run, previous, backoff_ms, _BY_RETRY)
            attributes.attempt = s.attempt + 1
            attributes.continued_failure = failure
            attributes.last_completion_result = previous.last_completion_result if carry_result else None
            return Successor(attributes.original_execution_run_id, attributes, retry_state)
        if s.cron_schedule:
            previous = await self._started(run)
            successor = self._cron_successor(run, previous, previous.last_completion_result, failure)
            if successor is not None:
                successor.retry_state = retry_state
                return successor
        return None

    def _cron_successor(
        self,
        run: Run,
        previous: history_v1.WorkflowExecutionStartedEventAttributes,
        last_result: common_v1.Payloads | None,
        failure: failure_v1.Failure | None,
    ) -> Successor | None:
        s = run.state
        now = self._core.now()
        backoff_ms = cron.backoff_ms(cron.Cron.parse(s.cron_schedule), s.execution_ns, now)
        if backoff_ms is None:
            return None
        attributes = self._carry_over(run, previous, backoff_ms, _BY_CRON)
        attributes.last_completion_result = last_result
        attributes.continued_failure = failure
        return Successor(attributes.original_execution_run_id, attributes)

    def _carry_over(
        self, run: Run, previous: history_v1.WorkflowExecutionStartedEventAttributes, backoff_ms: int, initiator: int
    ) -> history_v1.WorkflowExecutionStartedEventAttributes:
        """The next run's Started with all that a chain inherits; memo and search attributes are the Started event's."""
        run_id = self._core.run_ids.new(self._core.now())
        s = run.state
        lived_ms = (self._core.now() - s.start_ns) // NS_PER_MS
        if lived_ms + backoff_ms < MIN_RUN_LIFETIME_MS:
            backoff_ms = MIN_RUN_LIFETIME_MS - lived_ms
        attributes = msgspec.structs.replace(
            previous,
            continued_execution_run_id=run.key.run_id,
            original_execution_run_id=run_id,
            first_execution_run_id=s.first_run_id,
            attempt=1,
            identity="",
            first_workflow_task_backoff=backoff_ms * NS_PER_MS,
            eager_execution_accepted=False,
            initiator=initiator,
        )
        if s.extra is not None:
            self._core.router.hand_down(run, attributes)
            attributes.completion_callbacks = callback_messages(s)
        return attributes

    def _continue_as_new(
        self,
        run: Run,
        previous: history_v1.WorkflowExecutionStartedEventAttributes,
        command: command_v1.ContinueAsNewWorkflowExecutionCommandAttributes,
        stated: tuple[int, Version] | None,
    ) -> Successor:
        s = run.state
        initiator = command.initiator or _BY_WORKFLOW
        backoff_ms = (command.backoff_start_interval or 0) // NS_PER_MS
        attributes = self._carry_over(run, previous, backoff_ms, initiator)
        if command.workflow_type is not None and command.workflow_type.name:
            attributes.workflow_type = command.workflow_type
        if command.task_queue is not None and command.task_queue.name:
            attributes.task_queue = taskqueue_v1.TaskQueue(command.task_queue.name, 1)
        run_timeout = command.workflow_run_timeout or previous.workflow_run_timeout or 0
        execution_timeout = previous.workflow_execution_timeout or 0
        if execution_timeout and (not run_timeout or run_timeout > execution_timeout):
            run_timeout = execution_timeout
        attributes.workflow_run_timeout = run_timeout
        if command.workflow_task_timeout:
            attributes.workflow_task_timeout = command.workflow_task_timeout
        attributes.input = command.input
        attributes.continued_failure = command.failure
        attributes.last_completion_result = command.last_completion_result
        attributes.retry_policy = None if command.retry_policy is None else resolve_retry_policy(command.retry_policy)
        attributes.cron_schedule = command.cron_schedule
        attributes.header = command.header
        attributes.memo = command.memo
        attributes.search_attributes = command.search_attributes
        if s.extra is not None or stated is not None:
            self._core.router.hand_down_version(run, attributes, command.initial_versioning_behavior, stated)
        if initiator == _BY_RETRY:
            attributes.attempt = s.attempt + 1
        return Successor(attributes.original_execution_run_id, attributes)

    # ---- ends

    def by_command(
        self, run: Run, command: command_v1.Command, completed_id: int, now: int, successor: Successor | None
    ) -> None:
        """Write the close event of a close command, and start the successor in the same commit."""
        s = run.state
        a: Any = command.attributes
        kind = command.command_type
        next_run_id = "" if successor is None else successor.run_id
        event: Any
        if kind == _COMPLETE:
            event = history_v1.WorkflowExecutionCompletedEventAttributes(a.result, completed_id, next_run_id)
            event_type = _COMPLETED
        elif kind == _FAIL:
            retry_state = self._final_retry_state(s, a.failure) if successor is None else successor.retry_state
            event = history_v1.WorkflowExecutionFailedEventAttributes(a.failure, retry_state, completed_id, next_run_id)
            event_type = _FAILED
        elif kind == _CANCEL:
            event = history_v1.WorkflowExecutionCanceledEventAttributes(completed_id, a.details)
            event_type = _CANCELED
        else:
            assert successor is not None
            n = successor.attributes
            event = history_v1.WorkflowExecutionContinuedAsNewEventAttributes(
                new_execution_run_id=next_run_id,
                workflow_type=n.workflow_type,
                task_queue=n.task_queue,
                input=n.input,
                workflow_run_timeout=n.workflow_run_timeout,
                workflow_task_timeout=n.workflow_task_timeout,
                workflow_task_completed_event_id=completed_id,
                backoff_start_interval=a.backoff_start_interval,
                initiator=n.initiator,
                failure=n.continued_failure,
                last_completion_result=n.last_completion_result,
                header=n.header,
                memo=n.memo,
                search_attributes=n.search_attributes,
            )
            event_type = _CONTINUED_AS_NEW
        groups = command.event_group_markers
        extras = history_v1.EventExtras(event_group_markers=groups) if groups else None
        close_run(s, event_type, event, now, extras)
        self._after_close(run, successor, False)

    def _final_retry_state(self, s: MutableState, failure: failure_v1.Failure) -> int:
        now_ms = self._core.now() // NS_PER_MS
        return int(decide_retry(s.retry, failure, s.attempt, now_ms, s.expiration_ms, True)[0])

    def terminate(
        self, run: Run, reason: str, details: common_v1.Payloads | None, identity: str, *, by_reset: bool = False
    ) -> None:
        """Close a run as terminated. The caller touches it."""
        transitions.force_close(
            run.state,
            int(EventType.EVENT_TYPE_WORKFLOW_EXECUTION_TERMINATED),
            history_v1.WorkflowExecutionTerminatedEventAttributes(reason, details, identity),
            self._core.now(),
        )
        self._after_close(run, None, by_reset)
        self._core.on_forced_close(run)

    async def exceed(self, run: Run) -> None:
        """A run grew beyond a limit: it is terminated."""
        if not run.is_open or run.is_gone:
            return
        what = "mutable state size"
        if run.state.next_event_id > limits.MAX_HISTORY_EVENTS + 1:
            what = "history count"
        elif run.state.history_size > limits.MAX_HISTORY_SIZE:
            what = "history size"
        self.terminate(run, f"Workflow {what} exceeds limit.", None, "history-service")
        self._core.touch(run)

    async def time_out(self, run: Run) -> None:
        """The run's or the whole execution's time is over."""
        s = run.state
        now_ms = self._core.now() // NS_PER_MS
        if not run.is_open or run.is_gone:
            return
        is_expired = bool(s.expiration_ms) and s.expiration_ms <= now_ms
        failure = failure_v1.Failure(
            message="workflow timeout",
            source="Server",
            timeout_failure_info=failure_v1.TimeoutFailureInfo(int(TimeoutType.TIMEOUT_TYPE_START_TO_CLOSE)),
        )
        successor = None if is_expired else await self._after_failure(run, failure, carry_result=True)
        if not run.is_open or run.is_gone:
            return
        if successor is not None:
            retry_state = successor.retry_state or _IN_PROGRESS
        else:
            retry_state = _TIMEOUT if is_expired else self._final_retry_state(s, failure)
        transitions.force_close(
            s,
            int(EventType.EVENT_TYPE_WORKFLOW_EXECUTION_TIMED_OUT),
            history_v1.WorkflowExecutionTimedOutEventAttributes(
                retry_state, "" if successor is None else successor.run_id
            ),
            self._core.now(),
        )
        self._after_close(run, successor, False)
        self._core.on_forced_close(run)
        self._core.touch(run)

    def _after_close(self, run: Run, successor: Successor | None, by_reset: bool) -> None:
        s = run.state
        s.delete_at_ms = s.close_ns // _NS_PER_MS + self._namespaces.retention(s.namespace_id, s.workflow_type)
        notify_parent = successor is None and bool(s.parent_workflow_id) and not by_reset
        if s.children or notify_parent:
            children = []
            if not by_reset:
                children = [
                    ChildToClose(child.workflow_id, child.run_id, child.parent_close_policy)
                    for child in s.children.values()
                    if child.started_event_id
                ]
            s.children.clear()
            if children or notify_parent:
                body = msgspec.msgpack.encode(CloseTransfer(notify_parent, children))
                self._core.add_transfer(run, CLOSE_TRANSFER, body)
        if run.transfers:
            for transfer_id in [key for key in run.transfers if key > CLOSE_TRANSFER]:  # below it are callbacks
                self._core.finish_transfer(run, transfer_id)
        if s.extra is not None and not by_reset:
            if successor is None:
                self._core.on_chain_closed(run)
            else:
                self.callbacks.owe_updates(run)
        if run.updates is not None:
            run.updates.close(is_continuing=successor is not None)
        if successor is not None:
            self.start_successor(run, successor)

    def start_successor(self, run: Run, successor: Successor) -> Run:
        """Create the next run of a chain, in the commit that closes this one."""
        core = self._core
        key = RunKey(run.key.namespace_id, run.key.workflow_id, successor.run_id)
        now = core.now()
        state = MutableState(*key)
        state.create_request_id = str(uuid.uuid4())
        new = Run(key, state, 0)
        if run.state.extra is not None:
            retention_ms = self._namespaces.retention(key.namespace_id, run.state.workflow_type)
            successor.attributes.prev_auto_reset_points = handed_down(run.state, now, retention_ms)
        transitions.start(state, successor.attributes, now)
        if not successor.attributes.first_workflow_task_backoff:
            transitions.schedule_workflow_task(state, now)
        core.add(new)
        core.touch(new)
        return new


def _parse_cron(text: str) -> cron.Cron:
    try:
        return cron.Cron.parse(text)
    except ValueError as error:
        raise CommandError(_BAD_CONTINUE_AS_NEW, f"cron_schedule is not valid: {error}") from None
