"""The hot half of a run: an activation from the matcher's jobs to the commands, for what most workflows do.

A :class:`WorkflowTurn` applies jobs, runs the loop, starts activities and timers, hands their outcomes over and writes
the answer. What is rare (queries, updates, children, failures of a task) it asks of the class that is built on it,
:class:`~perdure.worker._workflow_run.WorkflowRun`.

Compiled as it is by the native build; ``_workflow_turn.pxd`` declares the attributes.
"""

from __future__ import annotations

from asyncio.events import _get_running_loop, _set_running_loop
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from perdure import __version__
from perdure._native import guard
from perdure._native.event_facts import HistoryMismatch, InvalidHistory
from perdure._native.loop import WorkflowLoop
from perdure._native.machines import MachineKind, State
from perdure._native.matcher import JobKind
from perdure.api.command import v1 as command_v1
from perdure.api.common import v1 as common_v1
from perdure.api.sdk.v1 import WorkflowTaskCompletedMetadata
from perdure.api.taskqueue.v1 import TaskQueue
from perdure.api.workflowservice import v1 as ws
from perdure.client import _check
from perdure.common import Priority, RetryPolicy
from perdure.exceptions import FailureError
from perdure.worker._watchdog import PotentialDeadlockError
from perdure.worker._workflow_failures import activity_failure
from perdure.worker._workflow_handles import ACTIVITY_CANCELS, ActivityHandleImpl
from perdure.workflow import ActivityCancellationType, ReadOnlyContextError, _event_groups

if TYPE_CHECKING:
    import asyncio
    from random import Random

    from perdure._native.events import HistoryEvent
    from perdure._native.loop import TimerHandle
    from perdure._native.matcher import Matcher, WorkflowCommand
    from perdure.api.history import v1 as history_v1
    from perdure.api.query.v1 import WorkflowQueryResult
    from perdure.converter import FailureConverter, PayloadConverter
    from perdure.worker._interceptor import WorkflowInboundInterceptor, WorkflowOutboundInterceptor
    from perdure.worker._workflow_messages import HandlerRun
    from perdure.worker._workflow_runtime import RunOptions
    from perdure.workflow import ActivityHandle
    from perdure.workflow._definition import _Definition
    from perdure.workflow._handlers import _SignalDefinition

Answer = (
    ws.RespondWorkflowTaskCompletedRequest | ws.RespondWorkflowTaskFailedRequest | ws.RespondQueryTaskCompletedRequest
)

SDK_NAME = "perdure-python"
_VERSION = __version__

_ACTIVITY = int(MachineKind.ACTIVITY)
_TIMER = int(MachineKind.TIMER)
_C_SCHEDULE_ACTIVITY = 1
_C_START_TIMER = 3
_E_ACTIVITY_COMPLETED = 12

_INITIALIZE = int(JobKind.INITIALIZE)
_SIGNAL = int(JobKind.SIGNAL)
_FIRE_TIMER = int(JobKind.FIRE_TIMER)
_RESOLVE_ACTIVITY = int(JobKind.RESOLVE_ACTIVITY)

_ACTIVITY_CALL = "start_activity"  # what a refusal names
_PENDING = (int(State.REQUESTED), int(State.OPEN), int(State.STARTED))
_ALWAYS_ENCODABLE = frozenset((bool, bytes, float, int, str, type(None)))
_DEFAULT_PRIORITY = Priority.default
_CAPABILITIES = ws.RespondWorkflowTaskCompletedRequestCapabilities(discard_speculative_workflow_task_with_events=True)
_NO_HEADERS: Mapping[str, common_v1.Payload] = MappingProxyType({})
_NO_PATCHES: frozenset[str] = frozenset()
_NOTHING_TO_NOTE = WorkflowTaskCompletedMetadata([], [])


class EvictedError(BaseException):
    """Workflow code asked for something while its run is put out of memory; ends the code, nothing else."""


class _Timer:
    """A Temporal timer behind a handle of the event loop."""

    def __init__(self, run: WorkflowTurn, command: WorkflowCommand) -> None:
        self.run = run
        self.command = command

    def cancel(self) -> None:
        """Called by the handle when it is cancelled before it fired."""
        self.run.cancel_timer(self.command)


class WorkflowTurn:
    """A run's state between its turns, and what each turn does with it."""

    def __init__(
        self, definition: _Definition, options: RunOptions, workflow_id: str, run_id: str, workflow_type: str
    ) -> None:
        self.definition = definition
        self.options = options
        self.workflow_id = workflow_id
        self.run_id = run_id
        self.workflow_type = workflow_type
        self.matcher: Matcher = self._new_matcher()
        self.loop = WorkflowLoop(self)
        self.converter: PayloadConverter = options.data_converter.payload_converter
        self.failures: FailureConverter = options.data_converter.failure_converter
        self.takes_context = options.takes_context
        self.time_ns: int = 0
        self.is_replaying: bool = False
        self.is_read_only: bool = False
        self.is_evicted = False
        self.outbound: WorkflowOutboundInterceptor | None = None
        self._inbound: WorkflowInboundInterceptor | None = None
        self._started: history_v1.WorkflowExecutionStartedEventAttributes | None = None
        self._start_time_ns = 0
        self._first_task_time_ns = 0
        self._object: Any = None
        self._is_made = False
        self._is_guarded = options.is_guarded and definition.sandboxed
        self._has_locals = False
        self._args: Sequence[Any] = ()
        self._headers: Mapping[str, common_v1.Payload] = _NO_HEADERS
        self._main_task: asyncio.Task[None] | None = None
        # None until the first comes, for most runs have none.
        self._conditions: list[tuple[Callable[[], bool], asyncio.Future[Any]]] | None = None
        self._buffered_signals: dict[str, list[history_v1.WorkflowExecutionSignaledEventAttributes]] | None = None
        self._signal_handlers: dict[int, HandlerRun] | None = None
        self._update_handlers: dict[str, HandlerRun] | None = None
        self._messages: list[Any] | None = None
        self._handled_signals = 0
        self._patches: frozenset[str] = _NO_PATCHES
        self._activity_seq = 0
        #: Activities whose id the code chose, by that id; None while there is none.
        self._named_activities: dict[str, Any] | None = None
        self._timer_seq = 0
        self._timer_summary: str | None = None
        self._timer_groups: Any = None
        self._open_task: tuple[ws.PollWorkflowTaskQueueResponse, dict[str, WorkflowQueryResult]] | None = None
        self._versioning_behavior = int(definition.versioning_behavior or 0)
        #: When the replay at hand began, where that is measured; else 0.
        self.replay_began: float = 0.0
        self.last_error: BaseException | None = None
        """What failed the last task, None when it did not fail."""
        if self.takes_context or options.needs_setup:
            self._set_up()

    def evict(self) -> None:
        """Leave memory: coroutines are closed on this thread, their ``finally`` blocks cannot make commands."""
        if self.is_evicted:
            return
        self.is_evicted = True
        self.is_replaying = True
        loop = self.loop
        if self._has_locals:
            self._close_local_activities()
        if self._is_guarded:
            guard.enter(self)
            try:
                loop.close()
            finally:
                guard.leave()
        else:
            loop.close()
        if loop.is_stuck:
            self._report_stuck()

    # --- asked of the run, which is not compiled: ``WorkflowRun`` (a compiled class cannot have abstract methods)

    def _close_local_activities(self) -> None:
        raise NotImplementedError

    def _has_open_local(self) -> bool:
        """Whether the outcome of a local activity is unknown."""
        raise NotImplementedError

    def _report_stuck(self) -> None:
        """A coroutine goes on however often it is closed."""
        raise NotImplementedError

    def _loop_exception(self, context: dict[str, Any]) -> None:
        """A callback of the event loop raised, or an exception was never retrieved."""
        raise NotImplementedError

    def guard_random(self) -> Random:
        """The run's random numbers."""
        raise NotImplementedError

    def _replayed(self) -> None:
        """A replay that is measured is over."""
        raise NotImplementedError

    def _new_matcher(self) -> Any:
        raise NotImplementedError

    def _set_up(self) -> None:
        """What runs need that have interceptors, a codec, or converters that want to know their workflow."""
        raise NotImplementedError

    def _configure(self) -> None:
        """The settings of a dynamic workflow; its object was just made."""
        raise NotImplementedError

    async def _main(self) -> None:
        raise NotImplementedError

    def _fail_workflow(self, error: BaseException) -> None:
        raise NotImplementedError

    def _apply_other(self, kind: int, subject: Any, detail: Any) -> None:
        """A job of a kind that is not dealt with here."""
        raise NotImplementedError

    def _apply_update(self, command: WorkflowCommand, request: Any) -> None:
        raise NotImplementedError

    def _start_signal_handler(
        self, defn: _SignalDefinition, attributes: history_v1.WorkflowExecutionSignaledEventAttributes
    ) -> None:
        raise NotImplementedError

    def _answer_queries(self, task: ws.PollWorkflowTaskQueueResponse, results: dict[str, WorkflowQueryResult]) -> None:
        raise NotImplementedError

    def _query_answer(
        self, task: ws.PollWorkflowTaskQueueResponse, result: WorkflowQueryResult
    ) -> ws.RespondQueryTaskCompletedRequest:
        raise NotImplementedError

    def _warn_unfinished(self) -> None:
        raise NotImplementedError

    def failed_task(
        self,
        task: ws.PollWorkflowTaskQueueResponse,
        error: BaseException,
        fails_workflow: bool = False,
        *,
        events: Sequence[HistoryEvent] = (),
    ) -> Answer:
        raise NotImplementedError

    def is_failure_exception(self, err: BaseException) -> bool:
        raise NotImplementedError

    def converters_for_activity(
        self, activity: str | None, activity_id: str, task_queue: str | None, is_local: bool = False
    ) -> tuple[PayloadConverter, FailureConverter]:
        raise NotImplementedError

    def _metadata(self, summary: str | None, details: str | None = None) -> Any:
        raise NotImplementedError

    def cancel_timer(self, command: WorkflowCommand) -> None:
        raise NotImplementedError

    def _start_activity_through(
        self,
        outbound: WorkflowOutboundInterceptor,
        name: str,
        args: Sequence[Any],
        arg_types: list[type] | None,
        ret_type: type | None,
        options: tuple[Any, ...],
    ) -> ActivityHandle[Any]:
        raise NotImplementedError

    # --- a task

    def activate(self, task: ws.PollWorkflowTaskQueueResponse, events: list[HistoryEvent]) -> Answer | None:
        """Apply a task's events and give the answer. Never raises: what goes wrong is the answer.

        None: local activities have to be run first, by :meth:`local_activity_runner`.

        ``events`` are all of the task's: from the run's first, or from the one after the last this run has seen.
        When the answer is that the task failed, the run is spoiled: evict it and replay it for its next task.
        """
        if self.is_evicted:
            raise RuntimeError(f"run {self.run_id} has left memory: make a new WorkflowRun for its next task")
        self.last_error = None
        results: dict[str, WorkflowQueryResult] = {}
        try:
            guard.enter(self)
            try:
                if self._is_guarded:
                    self._apply_task(task, events, results)
                else:
                    with guard.passthrough():
                        self._apply_task(task, events, results)
            finally:
                was_interrupted = guard.leave()
            if was_interrupted:
                raise self._swallowed_deadlock()
            if task.query is not None:
                return self._query_answer(task, results["legacy_query"])
            if self._has_locals and self._waits_for_local_activities():
                self._open_task = (task, results)
                return None
            return self._completion(task, results)
        except BaseException as error:
            return self.failed_task(task, error, events=events)

    def _swallowed_deadlock(self) -> BaseException:
        return PotentialDeadlockError(
            f"{self.guard_name()} did not yield in time and swallowed the exception that should have ended it."
        )

    def guard_time_ns(self) -> int:
        """The run's time, for the determinism guard."""
        return self.time_ns

    def guard_name(self) -> str:
        """The run in words, for the watchdog."""
        return f"workflow {self.workflow_type} (workflow id {self.workflow_id}, run id {self.run_id})"

    def _waits_for_local_activities(self) -> bool:
        if self.matcher.is_closing or self.matcher.is_replaying:
            return False
        return self._has_open_local()

    def _apply_task(
        self,
        task: ws.PollWorkflowTaskQueueResponse,
        events: list[HistoryEvent],
        results: dict[str, WorkflowQueryResult],
    ) -> None:
        self.matcher.feed(events, task.previous_started_event_id, task.messages)
        self._apply_activations()
        if task.query is not None or task.queries:
            self._answer_queries(task, results)

    def _apply_activations(self) -> None:
        matcher = self.matcher
        activation = matcher.next_activation()
        while activation is not None:
            try:
                self._apply(activation[0], activation[1], activation[2])
            except Exception as error:
                # A failure while applying jobs, of a payload for instance, may be one that fails the workflow.
                if isinstance(error, (HistoryMismatch, InvalidHistory)) or not self.is_failure_exception(error):
                    raise
                self._fail_workflow(error)
            activation = matcher.next_activation()
        self.is_replaying = matcher.is_replaying

    def _apply(
        self, patches: list[str], signals: list[tuple[int, Any, Any]], others: list[tuple[int, Any, Any]]
    ) -> None:
        matcher = self.matcher
        self.time_ns = self.loop.time_ns = matcher.time_ns
        self.is_replaying = matcher.is_replaying
        if self.replay_began != 0.0 and not self.is_replaying:
            self._replayed()
        if others:
            job = others[0]
            if job[0] == _INITIALIZE:
                self._initialize(job[1], job[2])
        if patches:
            self._patches = self._patches.union(patches)
            self._run(False)
        if signals:
            for job in signals:
                if job[0] == _SIGNAL:
                    self._apply_signal(job[1])
                else:
                    self._apply_update(job[1], job[2])
            self._run(True)
        if others:
            for job in others:
                kind = job[0]
                if kind == _RESOLVE_ACTIVITY:
                    self._apply_activity(job[1], job[2])
                elif kind == _FIRE_TIMER:
                    job[1].target.fire()
                elif kind == _INITIALIZE:
                    self._main_task = self.loop.create_task(self._main(), name="run")
                else:
                    self._apply_other(kind, job[1], job[2])
            self._run(True)

    def _run(self, check_conditions: bool) -> None:
        """Run the loop until nothing is ready, conditions included."""
        if not self._is_made:
            self._make()
        loop = self.loop
        while loop.has_ready():
            loop.run_until_idle()
            if not check_conditions or not self._conditions:
                return
            outer = _get_running_loop()
            _set_running_loop(loop)
            try:
                self._check_conditions()
            finally:
                _set_running_loop(outer)

    def _check_conditions(self) -> None:
        waiting: list[tuple[Callable[[], bool], asyncio.Future[Any]]] = []
        for condition in self._conditions or ():
            future = condition[1]
            if future.done():
                continue
            if condition[0]():
                future.set_result(True)
            else:
                waiting.append(condition)
        self._conditions = waiting

    def _make(self) -> None:
        """Make the workflow's object; as workflow code, outside of any task."""
        definition = self.definition
        outer = _get_running_loop()
        _set_running_loop(self.loop)
        try:
            self._object = definition.cls(*self._args) if definition.has_init else definition.cls()
            if definition.name is None and definition.dynamic_config_fn is not None:
                self._configure()
        finally:
            _set_running_loop(outer)
        self._is_made = True

    def _initialize(self, attributes: history_v1.WorkflowExecutionStartedEventAttributes, event: HistoryEvent) -> None:
        self._started = attributes
        self._start_time_ns = event.event_time
        self._first_task_time_ns = self.time_ns
        if attributes.header is not None:
            self._headers = attributes.header.fields
        if attributes.workflow_id:
            self.workflow_id = attributes.workflow_id
        definition = self.definition
        input = attributes.input
        payloads = None if input is None else input.payloads
        if definition.name is None:
            self._args = [self._raw_values(payloads)]
        else:
            self._args = self._values(payloads, definition.arg_types)

    def _raw_values(self, payloads: Sequence[common_v1.Payload] | None) -> list[Any]:
        raise NotImplementedError

    # --- signals

    def _apply_signal(self, attributes: history_v1.WorkflowExecutionSignaledEventAttributes) -> None:
        handlers = self.signals()
        defn = handlers.get(attributes.signal_name) or handlers.get(None)
        if defn is None:
            if self._buffered_signals is None:
                self._buffered_signals = {}
            self._buffered_signals.setdefault(attributes.signal_name, []).append(attributes)
        else:
            self._start_signal_handler(defn, attributes)

    def signals(self) -> Mapping[str | None, _SignalDefinition]:
        raise NotImplementedError

    # --- values

    def _values(self, payloads: Sequence[common_v1.Payload] | None, hints: list[type] | None) -> list[Any]:
        if not payloads:
            return []
        if hints is not None and len(hints) != len(payloads):
            hints = None
        return self._decode(self.converter, payloads, hints)

    def _decode(self, converter: Any, payloads: Sequence[common_v1.Payload], hints: list[type] | None) -> list[Any]:
        try:
            values: list[Any] = converter.from_payloads(payloads, hints)
        except FailureError:
            raise
        except Exception as error:
            if self.is_failure_exception(error):
                raise
            raise RuntimeError("Failed decoding arguments") from error
        return values

    def assert_not_read_only(self, action: str) -> None:
        """Refuse to change the workflow from a query or a validator, or while it is evicted."""
        if self.is_evicted:
            raise EvictedError(f"Ignoring {action} while evicting workflow. This is not an error.")
        if self.is_read_only:
            raise ReadOnlyContextError(f"While in read-only function, action attempted: {action}")

    # --- activities

    def start_activity(self, activity: Any, args: Sequence[Any], *options: Any) -> ActivityHandle[Any]:
        """Schedule an activity, through the interceptors; ``options`` in the order of ``workflow.start_activity``."""
        if self.is_read_only or self.is_evicted:
            self.assert_not_read_only("start activity")
        name, arg_types, ret_type = activity_names(activity, options[1])
        if self.outbound is not None:
            return self._start_activity_through(self.outbound, name, args, arg_types, ret_type, options)
        return self.schedule_activity(
            name, args, ret_type, None, self.options.disable_eager_activity_execution, options
        )

    def schedule_activity(
        self,
        name: str,
        args: Sequence[Any],
        ret_type: type | None,
        headers: Mapping[str, common_v1.Payload] | None,
        disable_eager: bool,
        options: tuple[Any, ...],
    ) -> ActivityHandle[Any]:
        """Make the command and its handle."""
        (
            queue,
            _,
            to_close,
            to_start,
            start_to_close,
            heartbeat,
            retry,
            cancellation,
            activity_id,
            _,
            summary,
            priority,
            event_groups,
        ) = options
        if not start_to_close and not to_close:
            raise ValueError(
                f"Activity {name} must have start_to_close_timeout or schedule_to_close_timeout: pass one of them"
            )
        # Refused on replay too: workflow code may have caught the error and gone on.
        to_close_ns = to_start_ns = start_to_close_ns = heartbeat_ns = None
        if to_close is not None:
            to_close_ns = _check.duration_ns(_ACTIVITY_CALL, "schedule_to_close_timeout", to_close)
        if to_start is not None:
            to_start_ns = _check.duration_ns(_ACTIVITY_CALL, "schedule_to_start_timeout", to_start)
        if start_to_close is not None:
            start_to_close_ns = _check.duration_ns(_ACTIVITY_CALL, "start_to_close_timeout", start_to_close)
        if heartbeat is not None:
            heartbeat_ns = _check.duration_ns(_ACTIVITY_CALL, "heartbeat_timeout", heartbeat)
        if type(cancellation) is not ActivityCancellationType:
            _check.member(_ACTIVITY_CALL, "cancellation_type", cancellation, ActivityCancellationType)
        if isinstance(args, (str, bytes)):
            raise TypeError(f"{_ACTIVITY_CALL}: args must be a list or tuple of arguments, not {_check.kind(args)}")
        if queue is not None:
            _check.text(_ACTIVITY_CALL, "task_queue", queue, empty=True)
        if retry is not None:
            _check.instance(_ACTIVITY_CALL, "retry_policy", retry, RetryPolicy)
            retry._validate()
        if priority is _DEFAULT_PRIORITY:
            priority = None
        elif priority is not None:
            _check.instance(_ACTIVITY_CALL, "priority", priority, Priority)
        if activity_id is not None:
            _check.text(_ACTIVITY_CALL, "activity_id", activity_id)
            self._refuse_pending(activity_id)
        is_named = activity_id is not None
        self._activity_seq += 1
        if activity_id is None:
            activity_id = str(self._activity_seq)
        message = None
        if not self.is_replaying:
            converter = self.converter
            if self.takes_context:
                converter = self.converters_for_activity(name, activity_id, queue)[0]
            own_queue = self.options.task_queue
            message = command_v1.Command(
                _C_SCHEDULE_ACTIVITY,
                self._metadata(summary) if summary else None,
                [],
                command_v1.ScheduleActivityTaskCommandAttributes(
                    activity_id,
                    common_v1.ActivityType(name),
                    TaskQueue(queue or own_queue),
                    common_v1.Header(dict(headers)) if headers else None,
                    common_v1.Payloads(converter.to_payloads(args)) if args else None,
                    to_close_ns,
                    to_start_ns,
                    start_to_close_ns,
                    heartbeat_ns,
                    None if retry is None else retry._to_proto(),
                    not disable_eager and (queue is None or queue == own_queue),
                    False,
                    None if priority is None else priority._to_proto(),
                ),
            )
            if event_groups or _event_groups.in_use:
                message.event_group_markers = _event_groups.markers(event_groups)
        elif args:
            check_encodable(self.converter, args)
        handle = ActivityHandleImpl(loop=self.loop)
        if queue and self.takes_context:
            handle._task_queue = queue
        handle._start(self, ret_type, ACTIVITY_CANCELS[cancellation])
        handle._command = self.matcher.schedule(
            _ACTIVITY, _C_SCHEDULE_ACTIVITY, self._activity_seq, activity_id, name, handle, message
        )
        if is_named:
            if self._named_activities is None:
                self._named_activities = {}
            self._named_activities[activity_id] = handle._command
        return handle

    def _refuse_pending(self, activity_id: str) -> None:
        """Refuse an id that the service would refuse: of an activity that nothing but its end can have ended."""
        other = None if self._named_activities is None else self._named_activities.get(activity_id)
        if other is not None and other.state in _PENDING:
            raise ValueError(
                f"{_ACTIVITY_CALL}: an activity with id {activity_id!r} is pending already in this workflow: give this one "
                "another activity_id"
            )

    def _apply_activity(self, command: WorkflowCommand, event: HistoryEvent | None) -> None:
        handle = command.target
        command.target = None
        payloads = self.converter
        if self.takes_context:
            payloads = self.converters_for_activity(command.type_name, command.identity, handle._task_queue)[0]
        if event is not None and event.event_type == _E_ACTIVITY_COMPLETED:
            result = event.attributes.result
            if result is not None and result.payloads:
                hint = handle._ret_type
                result = self._decode(payloads, result.payloads, None if hint is None else [hint])[0]
            else:
                result = None
            handle._operation.resolve(result, None)
        else:
            failures = self.failures
            if self.takes_context:
                failures = self.converters_for_activity(command.type_name, command.identity, handle._task_queue)[1]
            error = failures.from_failure(activity_failure(command, event), payloads)
            handle._operation.resolve(None, error)

    # --- timers

    def _loop_timer(self, delay_ns: int, handle: TimerHandle) -> _Timer:
        """The event loop needs a timer."""
        self.assert_not_read_only("schedule timer")
        summary, self._timer_summary = self._timer_summary, None
        groups, self._timer_groups = self._timer_groups, None
        self._timer_seq += 1
        timer_id = str(self._timer_seq)
        message = None
        if not self.is_replaying:
            message = command_v1.Command(
                _C_START_TIMER,
                self._metadata(summary) if summary else None,
                [],
                command_v1.StartTimerCommandAttributes(timer_id, delay_ns),
            )
            if groups or _event_groups.in_use:
                message.event_group_markers = _event_groups.markers(groups)
        return _Timer(
            self, self.matcher.schedule(_TIMER, _C_START_TIMER, self._timer_seq, timer_id, None, handle, message)
        )

    # --- the answer

    def _close(self, kind: int, command_type: int, markers: list[Any], attributes: Any) -> None:
        message = None
        if not self.is_replaying:
            message = command_v1.Command(command_type, None, markers, attributes)
        self.matcher.schedule(kind, command_type, 0, None, None, None, message)

    def _completion(
        self, task: ws.PollWorkflowTaskQueueResponse, results: dict[str, WorkflowQueryResult]
    ) -> ws.RespondWorkflowTaskCompletedRequest:
        matcher = self.matcher
        options = self.options
        commands = matcher.commands()
        if matcher.is_closing:
            if self._signal_handlers or self._update_handlers:
                self._warn_unfinished()
            if options.run_metrics is not None:
                options.run_metrics.closed(commands[-1].command_type, self.workflow_type)
        metadata = _NOTHING_TO_NOTE
        if not matcher.has_noted(SDK_NAME, _VERSION):
            core_flags, lang_flags = matcher.take_flags()
            metadata = WorkflowTaskCompletedMetadata(core_flags, lang_flags)
            if matcher.last_sdk_name != SDK_NAME:
                metadata.sdk_name = SDK_NAME
            if matcher.last_sdk_version != _VERSION:
                metadata.sdk_version = _VERSION
            matcher.note_sdk(SDK_NAME, _VERSION)
        messages, self._messages = self._messages, None
        return ws.RespondWorkflowTaskCompletedRequest(
            task.task_token,
            commands,
            options.identity,
            None,
            False,
            False,
            "",
            results,
            options.namespace,
            None,
            [] if messages is None else messages,
            metadata,
            None,
            _CAPABILITIES,
            None,
            self._versioning_behavior,
        )


def check_encodable(converter: PayloadConverter, args: Sequence[Any]) -> None:
    """While replaying nothing is sent, but a value that cannot be encoded must fail as it did the first time."""
    for arg in args:
        if type(arg) not in _ALWAYS_ENCODABLE:
            converter.to_payloads(args)
            return


def activity_names(activity: Any, result_type: type | None) -> tuple[str, list[type] | None, type | None]:
    """An activity's type, and the types of its arguments and result where they are known."""
    if isinstance(activity, str):
        _check.text("start_activity", "activity", activity)
        return activity, None, result_type
    defn = getattr(activity, "__temporal_activity_definition", None)
    if defn is None:
        if not callable(activity):
            raise TypeError(f"Activity must be a string or callable, not {type(activity).__name__}")
        raise ValueError(
            f"Activity {getattr(activity, '__qualname__', activity)} missing attributes, was it decorated with "
            "@activity.defn?"
        )
    if not defn.name:
        raise ValueError("Cannot invoke dynamic activity explicitly: give the activity type as a string")
    return defn.name, defn.arg_types, defn.ret_type
