"""What a run lets its workflow code start and wait for: activities, timers, other workflows."""

from __future__ import annotations

import asyncio
import inspect
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NoReturn, cast

from perdure._cron import Cron
from perdure._native.machines import Effect, Input, MachineKind
from perdure._native.matcher import WorkflowCommand
from perdure._times import duration_to_ns
from perdure.api.command import v1 as command_v1
from perdure.api.common import v1 as common_v1
from perdure.api.taskqueue.v1 import TaskQueue
from perdure.client import _check
from perdure.common import Priority, RetryPolicy
from perdure.converter import encode_search_attributes
from perdure.worker._interceptor import (
    ContinueAsNewInput,
    SignalChildWorkflowInput,
    SignalExternalWorkflowInput,
    StartActivityInput,
    StartChildWorkflowInput,
    StartLocalActivityInput,
    WorkflowOutboundInterceptor,
)
from perdure.worker._workflow_handles import (
    CHILD_CANCELS,
    ChildWorkflowHandleImpl,
    ExternalWorkflowHandleImpl,
    LocalActivityHandleImpl,
)
from perdure.worker._workflow_local import LocalActivity, LocalOutcome, canceled, marker
from perdure.worker._workflow_runtime import WorkflowRuntime
from perdure.worker._workflow_turn import activity_names, check_encodable
from perdure.workflow import (
    ActivityCancellationType,
    ActivityHandle,
    ChildWorkflowCancellationType,
    ChildWorkflowHandle,
    ContinueAsNewError,
    EventGroup,
    ExternalWorkflowHandle,
    ParentClosePolicy,
    uuid4,
)
from perdure.workflow._definition import _Definition

_CHILD_WORKFLOW = int(MachineKind.CHILD_WORKFLOW)
_SIGNAL_EXTERNAL = int(MachineKind.SIGNAL_EXTERNAL)
_CANCEL_EXTERNAL = int(MachineKind.CANCEL_EXTERNAL)
_CANCEL = int(Input.CANCEL)
_EMIT_CANCEL = int(Effect.EMIT_CANCEL)

# CommandType
_C_CANCEL_TIMER = 6
_C_REQUEST_CANCEL_EXTERNAL = 8
_C_START_CHILD = 11
_C_SIGNAL_EXTERNAL = 12

# What a refusal names
_CHILD_CALL = "start_child_workflow"


class _ContinueAsNew(ContinueAsNewError):
    def __init__(self, input: ContinueAsNewInput) -> None:
        super().__init__("Continue as new")
        self.input = input


class WorkflowOperations(WorkflowRuntime):
    """The operations of a run: each becomes a command of the matcher."""

    _open_locals: deque[WorkflowCommand] | None = None
    """Local activities that had no outcome when they were asked for, oldest first; some may have one by now."""
    _untaken_locals: deque[WorkflowCommand] | None = None
    """Those of them that were not handed to the worker yet."""

    # --- activities

    def _start_activity_through(
        self,
        outbound: WorkflowOutboundInterceptor,
        name: str,
        args: Sequence[Any],
        arg_types: list[type] | None,
        ret_type: type | None,
        options: tuple[Any, ...],
    ) -> ActivityHandle[Any]:
        return outbound.start_activity(
            StartActivityInput(
                activity=name,
                args=args,
                activity_id=options[8],
                task_queue=options[0],
                schedule_to_close_timeout=options[2],
                schedule_to_start_timeout=options[3],
                start_to_close_timeout=options[4],
                heartbeat_timeout=options[5],
                retry_policy=options[6],
                cancellation_type=options[7],
                headers={},
                disable_eager_execution=self.options.disable_eager_activity_execution,
                versioning_intent=options[9],
                summary=options[10],
                priority=options[11],
                arg_types=arg_types,
                ret_type=ret_type,
                event_groups=options[12],
            )
        )

    def start_activity_of(self, input: StartActivityInput) -> ActivityHandle[Any]:
        """The end of the outbound interceptors."""
        self.assert_not_read_only("start activity")
        return self.schedule_activity(
            input.activity,
            input.args,
            input.ret_type,
            input.headers,
            input.disable_eager_execution,
            (
                input.task_queue,
                None,
                input.schedule_to_close_timeout,
                input.schedule_to_start_timeout,
                input.start_to_close_timeout,
                input.heartbeat_timeout,
                input.retry_policy,
                input.cancellation_type,
                input.activity_id,
                input.versioning_intent,
                input.summary,
                input.priority,
                input.event_groups,
            ),
        )

    # --- local activities

    def start_local_activity(self, activity: Any, args: Sequence[Any], *options: Any) -> ActivityHandle[Any]:
        self.assert_not_read_only("start local activity")
        name, arg_types, ret_type = activity_names(activity, options[0])
        input = StartLocalActivityInput(
            activity=name,
            args=args,
            activity_id=options[7],
            schedule_to_close_timeout=options[1],
            schedule_to_start_timeout=options[2],
            start_to_close_timeout=options[3],
            retry_policy=options[4],
            local_retry_threshold=options[5],
            cancellation_type=options[6],
            headers={},
            summary=options[8],
            arg_types=arg_types,
            ret_type=ret_type,
            event_groups=options[9],
        )
        if self.outbound is None:
            return self.start_local_activity_of(input)
        return self.outbound.start_local_activity(input)

    def start_local_activity_of(self, input: StartLocalActivityInput) -> ActivityHandle[Any]:
        """The end of the outbound interceptors."""
        self.assert_not_read_only("start local activity")
        if not input.start_to_close_timeout and not input.schedule_to_close_timeout:
            raise ValueError(
                f"Activity {input.activity} must have start_to_close_timeout or schedule_to_close_timeout: pass one"
            )
        if not self.options.knows_activity(input.activity):
            raise ValueError(
                f"Activity function {input.activity} is not registered on this worker, available activities: "
                f"{self.options.activity_names()}"
            )
        handle = LocalActivityHandleImpl(loop=self.loop)
        handle._input = input
        handle._event_group_markers = self._markers(input.event_groups)
        handle._start(self, input.ret_type, int(input.cancellation_type))
        self.send_local_activity(handle, 1, 0)
        return handle

    def send_local_activity(
        self, handle: LocalActivityHandleImpl, attempt: int, original_schedule_time_ns: int
    ) -> None:
        """Ask for a local activity; history may already have its outcome."""
        input = handle._input
        self._has_locals = True
        self._activity_seq += 1
        activity_id = input.activity_id or str(self._activity_seq)
        converter = self.converters_for_activity(input.activity, activity_id, None, is_local=True)[0]
        if input.args and self.is_replaying:
            check_encodable(converter, input.args)
        payloads = None
        if input.args and not self.is_replaying:
            payloads = common_v1.Payloads(converter.to_payloads(input.args))
        command = self.matcher.schedule_local(self._activity_seq, activity_id, input.activity, handle)
        handle._command = command
        if input.args and payloads is None and self.matcher.is_open_local(command):
            payloads = common_v1.Payloads(converter.to_payloads(input.args))
        command.detail = LocalActivity(
            command, input, payloads, attempt, original_schedule_time_ns, self.time_ns, handle._event_group_markers
        )
        if self.matcher.is_open_local(command):
            if self._open_locals is None or self._untaken_locals is None:
                self._open_locals, self._untaken_locals = deque(), deque()
            for commands in (self._open_locals, self._untaken_locals):
                self._drop_closed(commands)
                commands.append(command)

    def _drop_closed(self, commands: deque[WorkflowCommand]) -> None:
        """Drop local activities whose outcome is known from the front."""
        while commands and not self.matcher.is_open_local(commands[0]):
            commands.popleft()

    def _has_open_local(self) -> bool:
        if self._open_locals is None:
            return False
        self._drop_closed(self._open_locals)
        return bool(self._open_locals)

    def take_local_requests(self) -> tuple[list[LocalActivity], list[WorkflowCommand]]:
        """The local activities to start now, and those to cancel."""
        requests: list[LocalActivity] = []
        while self._untaken_locals:
            command = self._untaken_locals.popleft()
            if self.matcher.is_open_local(command):
                command.detail.is_taken = True
                requests.append(command.detail)
        cancels, self._local_cancels = self._local_cancels, ()
        return requests, list(cancels)

    def cancel_local_activity(self, command: WorkflowCommand, cancellation_type: int) -> None:
        """As the cancellation type says: ask the activity to stop, see it as cancelled at once, or both."""
        if self.is_replaying or not self.matcher.is_open_local(command):
            return  # its marker tells how it ended
        if cancellation_type != ActivityCancellationType.ABANDON:
            self._local_cancels = [*self._local_cancels, command]
        if cancellation_type != ActivityCancellationType.WAIT_CANCELLATION_COMPLETED or not command.detail.is_taken:
            self.record_local_activity(command.detail, canceled(command.detail), 0)

    def record_local_activity(self, activity: LocalActivity, outcome: LocalOutcome, complete_time_ns: int) -> None:
        """Record how a local activity ended; the workflow hears of it in its next activation."""
        index = self.matcher.activation_index + 1
        message = marker(activity, outcome, complete_time_ns, index)
        message.user_metadata = self._metadata(activity.input.summary)
        message.event_group_markers = activity.event_group_markers
        self.matcher.resolve_local(activity.command, outcome, complete_time_ns, message)

    # --- timers and conditions

    def cancel_timer(self, command: WorkflowCommand) -> None:
        """The timer is not waited for any more."""
        if self.is_evicted:
            return
        self.assert_not_read_only("cancel timer")
        if self.matcher.cancel(command, _CANCEL) == _EMIT_CANCEL:
            message = None
            if not self.is_replaying:
                message = command_v1.Command(
                    _C_CANCEL_TIMER, attributes=command_v1.CancelTimerCommandAttributes(command.identity)
                )
            self.matcher.push(command, _C_CANCEL_TIMER, message)

    async def sleep(
        self, seconds: float, summary: str | None, event_groups: Sequence[EventGroup] | None = None
    ) -> None:
        if not isinstance(seconds, (int, float)):
            raise TypeError(f"sleep: duration must be a number of seconds or a timedelta, not {_check.kind(seconds)}")
        if seconds < 0:
            raise ValueError(f"Cannot sleep for {seconds} seconds: the duration must be zero or more")
        future = self.loop.create_future()
        self._timer_summary = summary
        self._timer_groups = event_groups
        handle = self.loop.call_later(seconds, _set_if_pending, future)
        try:
            await future
        except asyncio.CancelledError:
            handle.cancel()
            raise

    async def wait_condition(
        self,
        fn: Callable[[], bool],
        timeout: float | None,
        timeout_summary: str | None,
        event_groups: Sequence[EventGroup] | None = None,
    ) -> None:
        if self.is_evicted:
            await self.loop.create_future()  # not an error at once: code that swallows it and waits again would spin
        self.assert_not_read_only("wait condition")
        if not callable(fn):
            raise TypeError(f"wait_condition: fn must be a function without parameters, not {_check.kind(fn)}")
        if inspect.iscoroutinefunction(fn):
            raise TypeError("wait_condition: fn must be a plain function; a coroutine it returns is always true")
        if timeout is not None and not isinstance(timeout, (int, float)):
            raise TypeError(
                f"wait_condition: timeout must be a number of seconds or a timedelta, not {_check.kind(timeout)}"
            )
        future = self.loop.create_future()
        if self._conditions is None:
            self._conditions = []
        self._conditions.append((fn, future))
        if timeout is None:
            await future
            return
        if timeout > 0:
            self._timer_summary = timeout_summary  # wait_for makes its timer before it first waits
            self._timer_groups = event_groups
        await asyncio.wait_for(future, timeout)

    # --- child and other workflows

    async def start_child_workflow(
        self, workflow: Any, args: Sequence[Any], options: dict[str, Any]
    ) -> ChildWorkflowHandle[Any, Any]:
        self.assert_not_read_only("start child workflow")
        arg_types: list[type] | None = None
        ret_type = options.pop("result_type")
        if isinstance(workflow, str):
            _check.text(_CHILD_CALL, "workflow", workflow)
            name = workflow
        elif isinstance(workflow, type):
            raise TypeError(f"{_CHILD_CALL}: pass the run method of {workflow.__qualname__}, not the class")
        elif callable(workflow):
            defn = _Definition.must_from_run_fn(cast("Any", workflow))
            if not defn.name:
                raise TypeError("Cannot invoke dynamic workflow explicitly: give the workflow type as a string")
            name, arg_types, ret_type = defn.name, defn.arg_types, defn.ret_type
        else:
            raise TypeError(f"Workflow must be a string or callable, not {type(workflow).__name__}")
        _check_child(options)
        options["id"] = options["id"] or str(uuid4())
        input = StartChildWorkflowInput(
            workflow=name, args=args, headers={}, arg_types=arg_types, ret_type=ret_type, **options
        )
        if self.outbound is None:
            return await self.start_child_workflow_of(input)
        return await self.outbound.start_child_workflow(input)

    async def start_child_workflow_of(self, input: StartChildWorkflowInput) -> ChildWorkflowHandle[Any, Any]:
        """The end of the outbound interceptors."""
        self.assert_not_read_only("start child workflow")
        command = self._start_child_command(input)
        message = None if self.is_replaying else command
        self._child_seq += 1
        handle = ChildWorkflowHandleImpl(loop=self.loop)
        handle._id = input.id
        handle._start_future = self.loop.create_future()
        handle._start(self, input.ret_type, CHILD_CANCELS[input.cancellation_type])
        handle._command = self.matcher.schedule(
            _CHILD_WORKFLOW, _C_START_CHILD, self._child_seq, input.id, input.workflow, handle, message
        )
        await self._await_operation(handle._start_future, handle.request_cancel, reraise=True)
        return handle

    def _start_child_command(self, input: StartChildWorkflowInput) -> command_v1.Command:
        converter = self.converters_for_workflow(input.id)[0]
        attributes = command_v1.StartChildWorkflowExecutionCommandAttributes(
            namespace=self.options.namespace,
            workflow_id=input.id,
            workflow_type=common_v1.WorkflowType(input.workflow),
            task_queue=TaskQueue(input.task_queue or self.options.task_queue),
            input=common_v1.Payloads(converter.to_payloads(input.args)) if input.args else None,
            workflow_execution_timeout=_check.duration_ns(_CHILD_CALL, "execution_timeout", input.execution_timeout),
            workflow_run_timeout=_check.duration_ns(_CHILD_CALL, "run_timeout", input.run_timeout),
            workflow_task_timeout=_check.duration_ns(_CHILD_CALL, "task_timeout", input.task_timeout),
            parent_close_policy=int(input.parent_close_policy),
            workflow_id_reuse_policy=int(input.id_reuse_policy),
            retry_policy=None if input.retry_policy is None else input.retry_policy._to_proto(),
            cron_schedule=input.cron_schedule,
            header=common_v1.Header(dict(input.headers)) if input.headers else None,
        )
        if input.memo:
            attributes.memo = common_v1.Memo({key: converter.to_payload(value) for key, value in input.memo.items()})
        if input.search_attributes:
            attributes.search_attributes = common_v1.SearchAttributes({})
            encode_search_attributes(input.search_attributes, attributes.search_attributes)
        if input.priority is not Priority.default:
            attributes.priority = input.priority._to_proto()
        if input.versioning_override is not None:
            attributes.versioning_override = input.versioning_override._to_proto()
        return command_v1.Command(
            _C_START_CHILD,
            self._metadata(input.static_summary, input.static_details),
            self._markers(input.event_groups),
            attributes,
        )

    async def _await_operation(
        self, future: asyncio.Future[Any], request_cancel: Callable[[str], None], reraise: bool = False
    ) -> Any:
        """Await what a cancellation must not cut off: it is passed on as a command that decides the outcome."""
        while True:
            try:
                await asyncio.wait([future])
                return future.result()
            except asyncio.CancelledError as error:
                if self.is_evicted:
                    raise
                request_cancel(error.args[0] if error.args and isinstance(error.args[0], str) else "")
                task = asyncio.current_task()
                if task is not None:
                    task.uncancel()
                if reraise and self.cancel_reason is not None:
                    raise

    async def signal_child_workflow(self, input: SignalChildWorkflowInput) -> None:
        """The end of the outbound interceptors."""
        await self._signal(input.child_workflow_id, "", True, input)

    async def signal_external_workflow(self, input: SignalExternalWorkflowInput) -> None:
        """The end of the outbound interceptors."""
        await self._signal(input.workflow_id, input.workflow_run_id or "", False, input)

    async def _signal(
        self,
        workflow_id: str,
        run_id: str,
        is_child: bool,
        input: SignalChildWorkflowInput | SignalExternalWorkflowInput,
    ) -> None:
        self.assert_not_read_only("signal workflow")
        _check.text("signal", "signal", input.signal)
        message = None
        if not self.is_replaying:
            converter = self.converters_for_workflow(workflow_id)[0]
            message = command_v1.Command(
                _C_SIGNAL_EXTERNAL,
                event_group_markers=self._markers(input.event_groups),
                attributes=command_v1.SignalExternalWorkflowExecutionCommandAttributes(
                    namespace=self.options.namespace,
                    execution=common_v1.WorkflowExecution(workflow_id, run_id),
                    signal_name=input.signal,
                    input=common_v1.Payloads(converter.to_payloads(input.args)) if input.args else None,
                    child_workflow_only=is_child,
                    header=common_v1.Header(dict(input.headers)) if input.headers else None,
                ),
            )
        elif input.args:
            check_encodable(self.converter, input.args)
        self._signal_seq += 1
        future = self.loop.create_future()
        command = self.matcher.schedule(
            _SIGNAL_EXTERNAL, _C_SIGNAL_EXTERNAL, self._signal_seq, workflow_id, None, future, message
        )
        await self._await_operation(future, lambda _reason: self._cancel_signal(command))

    def _cancel_signal(self, command: WorkflowCommand) -> None:
        self.matcher.cancel(command, _CANCEL)

    def external_workflow_handle(self, workflow_id: str, run_id: str | None) -> ExternalWorkflowHandle[Any]:
        _check.text("get_external_workflow_handle", "workflow_id", workflow_id)
        _check.optional_text("get_external_workflow_handle", "run_id", run_id)
        return ExternalWorkflowHandleImpl(self, workflow_id, run_id)

    async def cancel_external_workflow(
        self, workflow_id: str, run_id: str | None, reason: str, event_groups: Sequence[EventGroup] | None = None
    ) -> None:
        """Ask another workflow to cancel; there is no cancelling of that."""
        message = None
        if not self.is_replaying:
            message = command_v1.Command(
                _C_REQUEST_CANCEL_EXTERNAL,
                event_group_markers=self._markers(event_groups),
                attributes=command_v1.RequestCancelExternalWorkflowExecutionCommandAttributes(
                    namespace=self.options.namespace,
                    workflow_id=workflow_id,
                    run_id=run_id or "",
                    reason=f"Cancel requested by workflow with run id {self.run_id} with reason: {reason}",
                ),
            )
        self._cancel_seq += 1
        future = self.loop.create_future()
        self.matcher.schedule(
            _CANCEL_EXTERNAL, _C_REQUEST_CANCEL_EXTERNAL, self._cancel_seq, workflow_id, None, future, message
        )
        await future

    def continue_as_new(self, workflow: Any, args: Sequence[Any], options: dict[str, Any]) -> NoReturn:
        self.assert_not_read_only("continue as new")
        name: str | None = None
        arg_types: list[type] | None = None
        if isinstance(workflow, str):
            name = workflow
        elif callable(workflow):
            defn = _Definition.must_from_run_fn(cast("Any", workflow))
            name, arg_types = defn.name, defn.arg_types
        elif workflow is not None:
            raise TypeError(f"Workflow must be None, a string, or callable, not {type(workflow).__name__}")
        _check_continue_as_new(name, options)
        input = ContinueAsNewInput(workflow=name, args=args, headers={}, arg_types=arg_types, **options)
        if self.outbound is not None:
            self.outbound.continue_as_new(input)
        self._last_markers = self._markers(input.event_groups)
        raise _ContinueAsNew(input)


def _set_if_pending(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


def _check_child(options: dict[str, Any]) -> None:
    for name in ("execution_timeout", "run_timeout", "task_timeout"):
        _check.duration_ns(_CHILD_CALL, name, options[name])
    for name in ("id", "task_queue"):
        if options[name] is not None:
            _check.text(_CHILD_CALL, name, options[name], empty=True)
    if type(options["cancellation_type"]) is not ChildWorkflowCancellationType:
        _check.member(_CHILD_CALL, "cancellation_type", options["cancellation_type"], ChildWorkflowCancellationType)
    if type(options["parent_close_policy"]) is not ParentClosePolicy:
        _check.member(_CHILD_CALL, "parent_close_policy", options["parent_close_policy"], ParentClosePolicy)
    if options["retry_policy"] is not None:
        _check.instance(_CHILD_CALL, "retry_policy", options["retry_policy"], RetryPolicy)
    if options["memo"] is not None:
        _check.instance(_CHILD_CALL, "memo", options["memo"], Mapping)
    _check.text(_CHILD_CALL, "cron_schedule", options["cron_schedule"], empty=True)
    if options["cron_schedule"] and "TZ=" not in options["cron_schedule"]:  # time zones are files
        try:
            Cron.parse(options["cron_schedule"])
        except ValueError as error:
            raise ValueError(f"{_CHILD_CALL}: cron_schedule is not valid: {error}") from None
    _check.instance(_CHILD_CALL, "priority", options["priority"], Priority)


def _check_continue_as_new(name: str | None, options: dict[str, Any]) -> None:
    where = "continue_as_new"
    if name is not None:
        _check.text(where, "workflow", name)
    if options["task_queue"] is not None:
        _check.text(where, "task_queue", options["task_queue"], empty=True)
    for timeout in ("run_timeout", "task_timeout", "backoff_start_interval"):
        _check.duration_ns(where, timeout, options[timeout])
    if options["retry_policy"] is not None:
        _check.instance(where, "retry_policy", options["retry_policy"], RetryPolicy)
    if options["memo"] is not None:
        _check.instance(where, "memo", options["memo"], Mapping)


def _optional_ns(duration: Any) -> int | None:
    return None if duration is None else duration_to_ns(duration)
