"""One workflow run on a worker: from a workflow task to its answer.

An activation is applied in Temporal's order: patches, then signals and updates, then everything else; the event loop
runs until nothing is ready after each of the three. Queries come last, when all history is applied.
"""

from __future__ import annotations

import asyncio
import logging
from asyncio.events import _get_running_loop, _set_running_loop
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from perdure._native import guard
from perdure._native.event_facts import HistoryMismatch
from perdure._native.machines import MachineKind
from perdure._native.matcher import JobKind, WorkflowCommand
from perdure.api.command import v1 as command_v1
from perdure.api.common import v1 as common_v1
from perdure.api.enums.v1 import QueryResultType, WorkflowTaskFailedCause
from perdure.api.failure.v1 import ApplicationFailureInfo, Failure
from perdure.api.query.v1 import WorkflowQueryResult
from perdure.api.taskqueue.v1 import TaskQueue
from perdure.api.workflowservice import v1 as ws
from perdure.common import VersioningBehavior
from perdure.converter import encode_search_attributes
from perdure.exceptions import CancelledError, is_cancelled_exception
from perdure.worker._interceptor import (
    ContinueAsNewInput,
    ExecuteWorkflowInput,
    HandleQueryInput,
    HandleSignalInput,
    HandleUpdateInput,
    WorkflowInboundInterceptor,
)
from perdure.worker._workflow_codec import WorkflowCodec
from perdure.worker._workflow_inbound import InboundEnd, OutboundEnd
from perdure.worker._workflow_local import LocalActivity, LocalActivityRunner, LocalOutcome
from perdure.worker._workflow_nexus import WorkflowNexus
from perdure.worker._workflow_operations import _ContinueAsNew, _optional_ns
from perdure.worker._workflow_queries import BUILT_IN_QUERIES, warn_unfinished
from perdure.worker._workflow_turn import Answer as Answer
from perdure.worker._workflow_updates import UpdateRun
from perdure.workflow import NondeterminismError

if TYPE_CHECKING:
    from perdure._native.events import HistoryEvent
    from perdure.api.history import v1 as history_v1
    from perdure.api.protocol.v1 import Message
    from perdure.api.query.v1 import WorkflowQuery
    from perdure.workflow._handlers import _HandlerDefinition, _SignalDefinition, _UpdateDefinition

logger = logging.getLogger("perdure.worker")

_COMPLETE = int(MachineKind.COMPLETE_WORKFLOW)
_FAIL = int(MachineKind.FAIL_WORKFLOW)
_CANCEL_WORKFLOW = int(MachineKind.CANCEL_WORKFLOW)
_CONTINUE_AS_NEW = int(MachineKind.CONTINUE_AS_NEW)
_C_COMPLETE = 4
_C_FAIL = 5
_C_CANCEL_WORKFLOW = 7
_C_CONTINUE_AS_NEW = 10

_ANSWERED = int(QueryResultType.QUERY_RESULT_TYPE_ANSWERED)
_FAILED = int(QueryResultType.QUERY_RESULT_TYPE_FAILED)
_NONDETERMINISM = int(WorkflowTaskFailedCause.WORKFLOW_TASK_FAILED_CAUSE_NON_DETERMINISTIC_ERROR)
_UNHANDLED = int(WorkflowTaskFailedCause.WORKFLOW_TASK_FAILED_CAUSE_WORKFLOW_WORKER_UNHANDLED_FAILURE)


class HandlerRun:
    """A signal or update handler that is running."""

    __slots__ = ("id", "name", "unfinished_policy")

    def __init__(self, name: str, defn: _HandlerDefinition, id: str | None = None) -> None:
        self.name = name
        self.unfinished_policy = defn.unfinished_policy
        self.id = id


class WorkflowRun(WorkflowNexus):
    """One run of one workflow, kept between its tasks."""

    codec: WorkflowCodec | None = None
    """What has to decode a task before :meth:`activate` and encode its answer after; None if nothing has to."""
    _local_runner: LocalActivityRunner | None = None

    def _set_up(self) -> None:
        super()._set_up()
        if self.options.data_converter._changes_payloads:
            self.codec = WorkflowCodec(self)
        if self.options.interceptor_classes:
            self._make_interceptors()

    def _make_interceptors(self) -> None:
        end = InboundEnd(self)
        inbound: WorkflowInboundInterceptor = end
        for interceptor_class in reversed(self.options.interceptor_classes):
            inbound = self._in_loop(interceptor_class, inbound)
        self._in_loop(inbound.init, OutboundEnd(self))
        self._inbound = inbound
        self.outbound = end.outbound

    # --- a task

    def replay(self, task: ws.PollWorkflowTaskQueueResponse, events: list[HistoryEvent]) -> None:
        """Apply events and give no answer; ``last_error`` says what went wrong."""
        self.last_error = None
        try:
            self._work(lambda: self._apply_task(task, events, {}))
        except BaseException as error:
            self.failed_task(task, error, events=events)

    def replay_commands(self, task: ws.PollWorkflowTaskQueueResponse, events: list[HistoryEvent]) -> None:
        """Apply events, without the queries, and raise what goes wrong."""

        def apply() -> None:
            self.matcher.feed(events, task.previous_started_event_id, task.messages)
            self._apply_activations()
            self.matcher.commands()

        self._work(apply)

    def is_guarded(self) -> bool:
        return self._is_guarded

    def _work(self, apply: Callable[[], None]) -> None:
        """Run workflow code, watched, and under the determinism guard if there is one."""
        guard.enter(self)
        try:
            if self._is_guarded:
                apply()
            else:
                with guard.passthrough():
                    apply()
        finally:
            was_interrupted = guard.leave()
        if was_interrupted:
            raise self._swallowed_deadlock()

    # --- a task that local activities keep open

    def local_activity_runner(self) -> LocalActivityRunner:
        """What runs this run's local activities; made when the first is met."""
        if self._local_runner is None:
            assert self.options.execute_local_activity is not None
            self._local_runner = LocalActivityRunner(self, self.options.execute_local_activity)
        return self._local_runner

    def resolve_local_activity(self, activity: LocalActivity, outcome: LocalOutcome) -> Answer | None:
        """A local activity ended: go on, and give the task's answer if no other is to be waited for."""
        if not self.matcher.is_open_local(activity.command):
            return None  # cancelled, and seen as such
        assert self._open_task is not None
        task, results = self._open_task
        try:
            self.record_local_activity(activity, outcome, activity.asked_at_ns + outcome.runtime_ns)
            self._work(self._apply_activations)
            return None if self._waits_for_local_activities() else self._completion(task, results)
        except BaseException as error:
            return self.failed_task(task, error)

    def heartbeat(self) -> Answer:
        """The open task's answer before it times out: what there is, and a request for the next task."""
        assert self._open_task is not None
        task, results = self._open_task
        answer = self._completion(task, results)
        answer.force_create_new_workflow_task = True
        return answer

    def _apply_other(self, kind: int, subject: Any, detail: Any) -> None:
        _APPLY[kind](self, subject, detail)

    def _in_loop(self, fn: Callable[..., Any], *args: Any) -> Any:
        """Call a function as workflow code, outside of any task."""
        outer = _get_running_loop()
        _set_running_loop(self.loop)
        try:
            return fn(*args)
        finally:
            _set_running_loop(outer)

    def _configure(self) -> None:
        assert self.definition.dynamic_config_fn is not None
        self.is_read_only = True
        try:
            config = self.definition.dynamic_config_fn(self._object)
        finally:
            self.is_read_only = False
        if config is not None:
            if config.failure_exception_types is not None:
                self._failure_exception_types = config.failure_exception_types
            if config.versioning_behavior != VersioningBehavior.UNSPECIFIED:
                self._versioning_behavior = int(config.versioning_behavior)

    def _loop_exception(self, context: dict[str, Any]) -> None:
        """A callback raised, or an exception was never retrieved: as asyncio, say so and go on."""
        message = context.get("message") or "Unhandled exception in event loop"
        if self.is_evicted or message.startswith("Task was destroyed"):
            return  # a run may be dropped in the middle
        error = context.get("exception")
        with guard.passthrough():
            logger.error("%s (workflow %s, run %s)", message, self.workflow_type, self.run_id, exc_info=error)

    # --- start and end

    async def _main(self) -> None:
        try:
            if self._inbound is None:
                result = await self.definition.run_fn(self._object, *self._args)
            else:
                result = await self._inbound.execute_workflow(
                    ExecuteWorkflowInput(
                        type=self.definition.cls,
                        run_fn=self.definition.run_fn,
                        args=self._args,
                        headers=self._headers,
                    )
                )
            self.assert_not_read_only("complete workflow")
            attributes = None
            if not self.is_replaying:
                attributes = command_v1.CompleteWorkflowExecutionCommandAttributes(
                    common_v1.Payloads(self.converter.to_payloads([result]))
                )
            self._close(_COMPLETE, _C_COMPLETE, list(self._last_markers), attributes)
        except BaseException as error:
            self._top_level_error(error)

    async def _handler_task(self, coroutine: Coroutine[Any, Any, Any]) -> None:
        try:
            await coroutine
        except BaseException as error:
            self._top_level_error(error)

    def _top_level_error(self, error: BaseException) -> None:
        """What leaves the run method or a signal handler ends the workflow, or fails the task."""
        if self.is_evicted or isinstance(error, GeneratorExit):
            raise error
        try:
            self._end_with(error)
        except Exception as unsayable:  # what it was to end with cannot be encoded
            try:
                if self.is_failure_exception(unsayable):
                    self._fail_workflow(unsayable)
                    return
            except Exception as again:
                unsayable = again
            self.loop.stop_with(unsayable)

    def _end_with(self, error: BaseException) -> None:
        if isinstance(error, BaseExceptionGroup):
            error = self._from_group(error)
        if isinstance(error, _ContinueAsNew):
            self._continue_as_new(error.input)
            return
        if isinstance(error, asyncio.CancelledError):
            cancelled = CancelledError(str(error) or "Workflow cancelled")
            cancelled.__cause__ = None
            cancelled.__traceback__ = error.__traceback__
            error = cancelled
        if self.cancel_reason is not None and is_cancelled_exception(error):
            self._close(
                _CANCEL_WORKFLOW,
                _C_CANCEL_WORKFLOW,
                list(self._last_markers),
                None if self.is_replaying else command_v1.CancelWorkflowExecutionCommandAttributes(),
            )
        elif self.is_failure_exception(error):
            self._fail_workflow(error)
        else:
            self.loop.stop_with(error)

    def _from_group(self, group: BaseExceptionGroup[BaseException]) -> BaseException:
        """The exception that decides for a group; the group itself when it is for the task to fail."""
        leaves = _leaves(group)
        for leaf in leaves:
            if isinstance(leaf, _ContinueAsNew):
                return leaf
        others = [leaf for leaf in leaves if not isinstance(leaf, asyncio.CancelledError)]
        if not others:
            return leaves[0]
        bugs = [leaf for leaf in others if not self.is_failure_exception(leaf)]
        if not bugs:
            return others[0]
        return bugs[0] if len(bugs) == 1 else group

    def _fail_workflow(self, error: BaseException) -> None:
        attributes = None
        if not self.is_replaying:
            failure = Failure()
            self.failures.to_failure(error, self.converter, failure)
            attributes = command_v1.FailWorkflowExecutionCommandAttributes(failure)
        self._close(_FAIL, _C_FAIL, list(self._last_markers), attributes)

    def _continue_as_new(self, input: ContinueAsNewInput) -> None:
        if self.is_replaying:
            self._close(_CONTINUE_AS_NEW, _C_CONTINUE_AS_NEW, list(self._last_markers), None)
            return
        started = self._started
        assert started is not None
        attributes = command_v1.ContinueAsNewWorkflowExecutionCommandAttributes(
            workflow_type=common_v1.WorkflowType(input.workflow or self.workflow_type),
            task_queue=TaskQueue(
                input.task_queue or (self.options.task_queue if started.task_queue is None else started.task_queue.name)
            ),
            input=common_v1.Payloads(self.converter.to_payloads(input.args)) if input.args else None,
            workflow_run_timeout=_optional_ns(input.run_timeout),
            workflow_task_timeout=_optional_ns(input.task_timeout),
            backoff_start_interval=_optional_ns(input.backoff_start_interval),
            retry_policy=started.retry_policy if input.retry_policy is None else input.retry_policy._to_proto(),
            header=common_v1.Header(dict(input.headers)) if input.headers else None,
        )
        if input.memo:
            attributes.memo = common_v1.Memo(
                {key: self.converter.to_payload(value) for key, value in input.memo.items()}
            )
        else:
            attributes.memo = started.memo
        if input.search_attributes is not None:
            attributes.search_attributes = common_v1.SearchAttributes({})
            encode_search_attributes(input.search_attributes, attributes.search_attributes)
        else:
            fields = {} if started.search_attributes is None else dict(started.search_attributes.indexed_fields)
            fields.update(self._upserted)
            if fields:
                attributes.search_attributes = common_v1.SearchAttributes(fields)
        if input.initial_versioning_behavior is not None:
            attributes.initial_versioning_behavior = int(input.initial_versioning_behavior)
        self._close(_CONTINUE_AS_NEW, _C_CONTINUE_AS_NEW, list(self._last_markers), attributes)

    def _apply_cancel(self, attributes: Any, _detail: Any) -> None:
        self.cancel_reason = attributes.cause
        if self._main_task is not None:
            # Not yet: the workflow may not have begun, and must be able to notice.
            self.loop.call_soon(self._main_task.cancel)

    def _apply_seed(self, seed: int, _detail: Any) -> None:
        self._seed = seed
        if self._random is not None:
            self._random.seed(seed)
        for callback in self._seed_callbacks:
            self._in_loop(callback, seed)

    # --- signals

    def all_handlers_finished(self) -> bool:
        return not self._signal_handlers and not self._update_handlers

    def signal_handler_set(self, name: str | None, defn: _SignalDefinition) -> None:
        buffered = self._buffered_signals
        if buffered is None:
            return
        if name is not None:
            waiting = buffered.pop(name, [])
        else:
            waiting = [signal for signals in buffered.values() for signal in signals]
            buffered.clear()
        for attributes in waiting:
            self._start_signal_handler(defn, attributes)

    def _handler_args(
        self, defn: _HandlerDefinition, name: str, payloads: Sequence[common_v1.Payload] | None
    ) -> list[Any]:
        if defn.name is not None:
            # Go's clients send a null where there is no argument.
            if defn.arg_types == [] and payloads and len(payloads) == 1 and _is_null(payloads[0]):
                return []
            return self._values(payloads, defn.arg_types)
        if defn.dynamic_vararg:
            return [name, *self._values(payloads, None)]
        return [name, self._raw_values(payloads)]

    def _start_signal_handler(
        self, defn: _SignalDefinition, attributes: history_v1.WorkflowExecutionSignaledEventAttributes
    ) -> None:
        name = attributes.signal_name
        try:
            args = self._handler_args(defn, name, None if attributes.input is None else attributes.input.payloads)
        except Exception:
            with guard.passthrough():
                logger.exception(
                    "Failed deserializing signal input for %s on workflow %s with ID %s and run ID %s, dropping the "
                    "signal",
                    name,
                    self.workflow_type,
                    self.workflow_id,
                    self.run_id,
                )
            return
        self._handled_signals += 1
        number = self._handled_signals
        if self._signal_handlers is None:
            self._signal_handlers = {}
        running = self._signal_handlers
        running[number] = HandlerRun(name, defn)
        if self._inbound is None:
            coroutine = self._call_handler(defn, args)
        else:
            headers = {} if attributes.header is None else attributes.header.fields
            coroutine = self._inbound.handle_signal(HandleSignalInput(signal=name, args=args, headers=headers))
        task = self.loop.create_task(self._handler_task(coroutine), name=f"signal: {name}")
        task.add_done_callback(lambda _task: running.pop(number, None))

    async def _call_handler(self, defn: _HandlerDefinition, args: Sequence[Any]) -> Any:
        handler = defn.bind_fn(self._object)
        if defn.is_async:
            return await handler(*args)
        return handler(*args)

    # --- updates

    def _apply_update(self, command: WorkflowCommand, request: Any) -> None:
        update = UpdateRun(self, command, request)
        self.loop.create_task(update.execute(not self.is_replaying), name=f"update: {request.input.name}")

    def update_started(self, update_id: str, name: str, defn: _UpdateDefinition) -> None:
        """Count a running update handler."""
        if self._update_handlers is None:
            self._update_handlers = {}
        self._update_handlers[update_id] = HandlerRun(name, defn, update_id)

    def update_finished(self, update_id: str) -> None:
        """Stop counting it."""
        if self._update_handlers is not None:
            self._update_handlers.pop(update_id, None)

    @contextmanager
    def read_only(self) -> Iterator[None]:
        """Refuse changes of the workflow meanwhile."""
        self.is_read_only = self._in_query_or_validator = True
        try:
            yield
        finally:
            self.is_read_only = self._in_query_or_validator = False

    def validate_update(self, defn: _UpdateDefinition, input: HandleUpdateInput) -> None:
        """Call the validator; what it raises refuses the update."""
        if self._inbound is not None:
            self._inbound.handle_update_validator(input)
            return
        validator = defn.bind_validator(self._object)
        if validator is not None:
            validator(*input.args)

    async def handle_update(self, defn: _UpdateDefinition, input: HandleUpdateInput) -> Any:
        """Call the handler."""
        if self._inbound is not None:
            return await self._inbound.handle_update_handler(input)
        return await self._call_handler(defn, input.args)

    def send_message(self, message: Message) -> None:
        """Add a protocol message to the answer."""
        if self._messages is None:
            self._messages = []
        self._messages.append(message)

    def update_input(self, defn: _HandlerDefinition, request: Any) -> HandleUpdateInput:
        """An update's arguments, converted anew."""
        input = request.input
        return HandleUpdateInput(
            id=request.meta.update_id,
            update=input.name,
            args=self._handler_args(defn, input.name, None if input.args is None else input.args.payloads),
            headers={} if input.header is None else input.header.fields,
        )

    # --- queries

    def _answer_queries(self, task: ws.PollWorkflowTaskQueueResponse, results: dict[str, WorkflowQueryResult]) -> None:
        if task.query is not None:
            self._answer_query("legacy_query", task.query, results)
            return
        for query_id, query in task.queries.items():
            self._answer_query(query_id, query, results)

    def _answer_query(self, query_id: str, query: WorkflowQuery, results: dict[str, WorkflowQueryResult]) -> None:
        self.time_ns = self.loop.time_ns = self.matcher.time_ns
        was_replaying = self.is_replaying
        self.is_replaying = True
        try:
            if not self._is_made:
                self._make()
            self.loop.create_task(self._query(query_id, query, results), name=f"query: {query.query_type}")
            self.loop.run_until_idle()
        finally:
            self.is_read_only = False
            self._in_query_or_validator = False
            self.is_replaying = was_replaying
        if query_id not in results:
            error = RuntimeError(f"Query {query.query_type} did not finish: a query handler must not wait for anything")
            results[query_id] = self._failed_query(error)

    async def _query(self, query_id: str, query: WorkflowQuery, results: dict[str, WorkflowQueryResult]) -> None:
        self.is_read_only = True
        self._in_query_or_validator = True
        try:
            answer = await self._run_query(query_id, query)
            payloads = self.converter.to_payloads([answer])
            results[query_id] = WorkflowQueryResult(_ANSWERED, common_v1.Payloads(payloads))
        except Exception as error:
            results[query_id] = self._failed_query(error)

    async def _run_query(self, query_id: str, query: WorkflowQuery) -> Any:
        name = query.query_type
        handlers = self.queries()
        defn = handlers.get(name)
        if defn is None and name in BUILT_IN_QUERIES:
            return BUILT_IN_QUERIES[name](self)
        defn = defn or handlers.get(None)
        if defn is None:
            known = " ".join(sorted([*BUILT_IN_QUERIES, *(known for known in handlers if known)]))
            raise RuntimeError(f"Query handler for '{name}' expected but not found, known queries: [{known}]")
        args = self._handler_args(defn, name, None if query.query_args is None else query.query_args.payloads)
        if self._inbound is None:
            return await self._call_handler(defn, args)
        headers = {} if query.header is None else query.header.fields
        return await self._inbound.handle_query(HandleQueryInput(id=query_id, query=name, args=args, headers=headers))

    def _failed_query(self, error: BaseException) -> WorkflowQueryResult:
        return WorkflowQueryResult(_FAILED, error_message=str(error), failure=self._to_failure(error))

    # --- the answer

    def _warn_unfinished(self) -> None:
        # Where the program turned these warnings into errors, they fail the task.
        warn_unfinished((self._signal_handlers or {}).values(), (self._update_handlers or {}).values())

    def _query_answer(
        self, task: ws.PollWorkflowTaskQueueResponse, result: WorkflowQueryResult
    ) -> ws.RespondQueryTaskCompletedRequest:
        return ws.RespondQueryTaskCompletedRequest(
            task_token=task.task_token,
            completed_type=result.result_type,
            query_result=result.answer,
            error_message=result.error_message,
            namespace=self.options.namespace,
            failure=result.failure,
        )

    def failed_task(
        self,
        task: ws.PollWorkflowTaskQueueResponse,
        error: BaseException,
        fails_workflow: bool = False,
        *,
        events: Sequence[HistoryEvent] = (),
    ) -> Answer:
        """The answer for a task that failed, and where told so the workflow with it."""
        cause = _UNHANDLED
        if isinstance(error, HistoryMismatch):
            from perdure.worker._nondeterminism import explain  # only when it happens

            mismatch = NondeterminismError(explain(self, task, events, error))
            mismatch.__cause__ = error
            error, cause = mismatch, _NONDETERMINISM
        elif isinstance(error, (SystemExit, KeyboardInterrupt)):
            error = _not_the_process(error)
        self.last_error = error
        if task.query is not None:
            return self._query_answer(task, self._failed_query(error))
        if fails_workflow or (cause == _NONDETERMINISM and self.is_failure_exception(error)):
            failure = command_v1.FailWorkflowExecutionCommandAttributes(self._to_failure(error))
            return ws.RespondWorkflowTaskCompletedRequest(
                task_token=task.task_token,
                commands=[command_v1.Command(_C_FAIL, attributes=failure)],
                identity=self.options.identity,
                namespace=self.options.namespace,
            )
        return ws.RespondWorkflowTaskFailedRequest(
            task_token=task.task_token,
            cause=cause,
            failure=self._to_failure(error),
            identity=self.options.identity,
            namespace=self.options.namespace,
        )

    def _to_failure(self, error: BaseException) -> Failure:
        failure = Failure()
        try:
            self.failures.to_failure(error, self.converter, failure)
        except Exception as inner:
            return Failure(
                message=f"Failed converting activation exception: {inner}",
                application_failure_info=ApplicationFailureInfo(),
            )
        return failure

    # --- the end

    def reset_to(self, started_event_id: int) -> None:
        """The service dropped the last, speculative task: its events never came to be."""
        self.matcher.reset_to(started_event_id)

    def _close_local_activities(self) -> None:
        if self._local_runner is not None:
            self._local_runner.close()

    def _report_stuck(self) -> None:
        logger.error(
            "Timed out running eviction job for run ID %s: a coroutine of its workflow goes on when it is closed. It "
            "stays in memory; let it re-raise what ends it.",
            self.run_id,
        )


def _is_null(payload: common_v1.Payload) -> bool:
    """Whether a payload is what every SDK makes of no value."""
    return payload.metadata.get("encoding") == b"binary/null"


def _not_the_process(error: BaseException) -> RuntimeError:
    """What stands for an attempt of workflow code to end the process."""
    name = type(error).__name__
    refused = RuntimeError(
        f"Workflow code raised {name}, which does not end the worker: to end the workflow return from its run method, "
        "to fail it raise an ApplicationError."
    )
    refused.__cause__ = error
    return refused


def _leaves(error: BaseException) -> list[BaseException]:
    """The exceptions in a group, however deep."""
    if not isinstance(error, BaseExceptionGroup):
        return [error]
    return [leaf for inner in error.exceptions for leaf in _leaves(inner)]


_APPLY: dict[int, Callable[[WorkflowRun, Any, Any], None]] = {
    int(JobKind.UPDATE_RANDOM_SEED): WorkflowRun._apply_seed,
    int(JobKind.CANCEL): WorkflowRun._apply_cancel,
    int(JobKind.RESOLVE_CHILD_START): WorkflowRun._apply_child_start,
    int(JobKind.RESOLVE_CHILD): WorkflowRun._apply_child,
    int(JobKind.RESOLVE_SIGNAL_EXTERNAL): WorkflowRun._apply_signal_external,
    int(JobKind.RESOLVE_CANCEL_EXTERNAL): WorkflowRun._apply_cancel_external,
    int(JobKind.RESOLVE_LOCAL_ACTIVITY): WorkflowRun._apply_local_activity,
    int(JobKind.RESOLVE_NEXUS_START): WorkflowRun._apply_nexus_start,
    int(JobKind.RESOLVE_NEXUS): WorkflowRun._apply_nexus,
}
