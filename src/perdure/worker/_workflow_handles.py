"""Handles that workflow code holds: activities, child workflows, other workflows.

Temporal's Python SDK makes a task of each activity and child. Ours are futures that take the very same number of turns
of the event loop from an event to whoever awaits them, because the order in which concurrent code wakes up decides the
order of its commands, and histories must replay on either.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from perdure._native.loop import Future as _LoopFuture
from perdure._native.machines import Effect, Input, MachineKind
from perdure._native.matcher import WorkflowCommand
from perdure._native.operations import Backoff, Operation
from perdure.api.command import v1 as command_v1
from perdure.common import _arg_or_args, _arg_unset
from perdure.worker._interceptor import (
    SignalChildWorkflowInput,
    SignalExternalWorkflowInput,
    StartLocalActivityInput,
)
from perdure.workflow import ActivityHandle, ChildWorkflowHandle, EventGroup, ExternalWorkflowHandle
from perdure.workflow._handlers import _SignalDefinition

if TYPE_CHECKING:
    from perdure.api.sdk.v1 import EventGroupMarker
    from perdure.worker._workflow_operations import WorkflowOperations

_REQUEST_CANCEL_ACTIVITY = 2
_REQUEST_CANCEL_EXTERNAL = 8
_CANCEL_IS_SENT = (int(Effect.EMIT_CANCEL), int(Effect.EMIT_CANCEL_RESOLVE))
_CANCEL_EXTERNAL = int(MachineKind.CANCEL_EXTERNAL)

# What cancelling means, by ActivityCancellationType and by ChildWorkflowCancellationType.
ACTIVITY_CANCELS = (int(Input.TRY_CANCEL), int(Input.WAIT_CANCEL), int(Input.ABANDON))
CHILD_CANCELS = (int(Input.ABANDON), int(Input.TRY_CANCEL), int(Input.WAIT_CANCEL), int(Input.WAIT_CANCEL))


class _OperationFuture:
    """What activities and children have in common; mixed into a future."""

    _run: WorkflowOperations
    _command: WorkflowCommand
    _ret_type: type | None
    _cancel_input: int
    _operation: Operation

    def _start(self, run: Any, ret_type: type | None, cancel_input: int) -> None:
        self._run = run
        self._ret_type = ret_type
        self._cancel_input = cancel_input
        self._operation = Operation(run.loop, self)

    def cancel(self, msg: Any | None = None) -> bool:
        """Request cancellation, as the cancellation type says. False when the operation is over."""
        return self._operation.cancel(msg)

    def _cancel_before_begin(self) -> None:
        """A task cancelled before its first step never runs, so it cannot notice."""

    def _cancel_wins(self) -> bool:
        """Whether a cancellation that comes in the same moment as the outcome is what the workflow sees."""
        return False

    def _finish_canceled(self, message: Any) -> None:
        _LoopFuture.cancel(self, msg=message)  # type: ignore[arg-type]  # whatever its result is

    def _request_cancel(self) -> None:
        raise NotImplementedError


class ActivityHandleImpl(_OperationFuture, ActivityHandle[Any]):
    """A started activity."""

    __slots__ = ("_cancel_input", "_command", "_operation", "_ret_type", "_run")

    _task_queue: str | None = None
    """Its task queue, where converters want to know it and it is not the workflow's."""

    def _cancel_before_begin(self) -> None:
        if not self._run.is_evicted:
            self._run.assert_not_read_only("cancel activity handle")
            self._request_cancel()

    def _cancel_wins(self) -> bool:
        return self._run.matcher.use_lang_flag(1)

    def _request_cancel(self) -> None:
        run = self._run
        if run.is_evicted:
            return
        effect = run.matcher.cancel(self._command, self._cancel_input)
        if effect in _CANCEL_IS_SENT:
            message = None
            if not run.is_replaying:
                message = command_v1.Command(
                    _REQUEST_CANCEL_ACTIVITY,
                    attributes=command_v1.RequestCancelActivityTaskCommandAttributes(self._command.event_id),
                )
            run.matcher.push(self._command, _REQUEST_CANCEL_ACTIVITY, message)


class LocalActivityHandleImpl(_OperationFuture, ActivityHandle[Any]):
    """A started local activity, over all its attempts."""

    _input: StartLocalActivityInput
    _event_group_markers: list[EventGroupMarker]

    def _cancel_before_begin(self) -> None:
        if not self._run.is_evicted:
            self._run.assert_not_read_only("cancel activity handle")
            self._request_cancel()

    def _cancel_wins(self) -> bool:
        return self._run.matcher.use_lang_flag(1)

    def _request_cancel(self) -> None:
        if not self._run.is_evicted:
            self._run.cancel_local_activity(self._command, self._cancel_input)

    def _try_again(self, backoff: Backoff) -> None:
        """The backoff is over: ask for the next attempt, as a local activity of its own."""
        if not self._run.is_evicted:
            self._run.send_local_activity(self, backoff.attempt, backoff.original_schedule_time_ns)


class ChildWorkflowHandleImpl(_OperationFuture, ChildWorkflowHandle[Any, Any]):
    """A child workflow, from the request to start it on."""

    _id: str
    _run_id = "<unknown>"
    _start_future: asyncio.Future[None]
    _cancel_reason = ""

    @property
    def id(self) -> str:
        """Its workflow id."""
        return self._id

    @property
    def first_execution_run_id(self) -> str | None:
        """The run id it was started with."""
        return self._run_id

    async def signal(
        self,
        signal: str | Callable[..., Any],
        arg: Any = _arg_unset,
        *,
        args: Sequence[Any] = (),
        event_groups: Sequence[EventGroup] | None = None,
    ) -> None:
        """Send it a signal."""
        run = self._run
        run.assert_not_read_only("signal child handle")
        input = SignalChildWorkflowInput(
            signal=_SignalDefinition.must_name_from_fn_or_str(signal),
            args=_arg_or_args(arg, args),
            child_workflow_id=self._id,
            headers={},
            event_groups=event_groups,
        )
        if run.outbound is None:
            await run.signal_child_workflow(input)
        else:
            await run.outbound.signal_child_workflow(input)

    def resolve_start(self, run_id: str, error: BaseException | None) -> None:
        """The start succeeded or failed."""
        if error is None:
            self._run_id = run_id
            if not self._start_future.done():
                self._start_future.set_result(None)
            return
        if not self._start_future.done():
            self._start_future.set_exception(error)
            self._operation.resolve(None, None)
        else:
            self._operation.resolve(None, error)

    def resolve(self, result: Any, error: BaseException | None) -> None:
        """The outcome is known; before the start is, it fails the start."""
        if error is not None and not self._start_future.done():
            self._start_future.set_exception(error)
            result, error = None, None
        self._operation.resolve(result, error)

    def cancel(self, msg: Any | None = None) -> bool:
        """Request cancellation; ``msg``, if a string, is the reason the child sees."""
        self._cancel_reason = msg if isinstance(msg, str) else ""
        return super().cancel(msg)

    def _request_cancel(self) -> None:
        self.request_cancel(self._cancel_reason)

    def request_cancel(self, reason: str) -> None:
        """Send the request, as the cancellation type says."""
        run = self._run
        if run.is_evicted:
            return
        run.assert_not_read_only("cancel child workflow")
        self._cancel_reason = reason
        effect = run.matcher.cancel(self._command, self._cancel_input)
        if effect in _CANCEL_IS_SENT:
            message = None
            if not run.is_replaying:
                message = command_v1.Command(
                    _REQUEST_CANCEL_EXTERNAL,
                    attributes=command_v1.RequestCancelExternalWorkflowExecutionCommandAttributes(
                        namespace=run.options.namespace,
                        workflow_id=self._id,
                        run_id="" if self._run_id == "<unknown>" else self._run_id,
                        child_workflow_only=True,
                        reason=reason,
                    ),
                )
            run.matcher.schedule(_CANCEL_EXTERNAL, _REQUEST_CANCEL_EXTERNAL, 0, self._id, None, None, message)


class ExternalWorkflowHandleImpl(ExternalWorkflowHandle[Any]):
    """Another workflow."""

    def __init__(self, run: WorkflowOperations, workflow_id: str, run_id: str | None) -> None:
        self._run = run
        self._id = workflow_id
        self._run_id = run_id

    @property
    def id(self) -> str:
        """Its workflow id."""
        return self._id

    @property
    def run_id(self) -> str | None:
        """The run meant, None for the current one."""
        return self._run_id

    async def signal(
        self,
        signal: str | Callable[..., Any],
        arg: Any = _arg_unset,
        *,
        args: Sequence[Any] = (),
        event_groups: Sequence[EventGroup] | None = None,
    ) -> None:
        """Send it a signal."""
        run = self._run
        run.assert_not_read_only("signal external handle")
        input = SignalExternalWorkflowInput(
            signal=_SignalDefinition.must_name_from_fn_or_str(signal),
            args=_arg_or_args(arg, args),
            namespace=run.options.namespace,
            workflow_id=self._id,
            workflow_run_id=self._run_id,
            headers={},
            event_groups=event_groups,
        )
        if run.outbound is None:
            await run.signal_external_workflow(input)
        else:
            await run.outbound.signal_external_workflow(input)

    async def cancel(self, *, reason: str = "", event_groups: Sequence[EventGroup] | None = None) -> None:
        """Ask it to cancel."""
        run = self._run
        run.assert_not_read_only("cancel external handle")
        await run.cancel_external_workflow(self._id, self._run_id, reason, event_groups)
