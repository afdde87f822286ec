"""One workflow run on a worker: from a workflow task to its answer.

An activation is applied in Temporal's order: patches, then signals and updates, then everything else; the event loop
runs until nothing is ready after each of the three. Queries come last, when all history is applied.
"""

from __future__ import annotations

import asyncio
import logging
from asyncio.events import _get_running_loop, _set_running_loop
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from perdure._native import guard
from perdure._native.event_facts import HistoryMismatch
from perdure._native.machines import MachineKind
from perdure._native.matcher import JobKind
from perdure.api.command import v1 as command_v1
from perdure.api.common import v1 as common_v1
from perdure.api.enums.v1 import QueryResultType, WorkflowTaskFailedCause
from perdure.api.failure.v1 import Failure
from perdure.api.query.v1 import WorkflowQueryResult
from perdure.api.taskqueue.v1 import TaskQueue
from perdure.api.workflowservice import v1 as ws
from perdure.common import VersioningBehavior
from perdure.converter import encode_search_attributes
from perdure.exceptions import CancelledError, is_cancelled_exception
from perdure.worker._interceptor import (
    ContinueAsNewInput,
    ExecuteWorkflowInput,
    WorkflowInboundInterceptor,
)
from perdure.worker._workflow_codec import WorkflowCodec
from perdure.worker._workflow_inbound import InboundEnd, OutboundEnd
from perdure.worker._workflow_local import LocalActivity, LocalActivityRunner, LocalOutcome
from perdure.worker._workflow_messages import WorkflowMessages
from perdure.worker._workflow_operations import _ContinueAsNew, _optional_ns
from perdure.worker._workflow_queries import warn_unfinished
from perdure.worker._workflow_turn import Answer as Answer
from perdure.workflow import NondeterminismError

if TYPE_CHECKING:
    from perdure._native.events import HistoryEvent

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


class WorkflowRun(WorkflowMessages):
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
