"""A service of one workflow run, small enough to read: commands in, events out, tasks when there is something new.

It records the events Temporal's server records for the commands a workflow makes. Tests decide when and how activities,
children and timers end.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

from perdure._native.events import HistoryEvent
from perdure.api.command import v1 as command_v1
from perdure.api.common import v1 as common_v1
from perdure.api.enums.v1 import CommandType
from perdure.api.failure import v1 as failure_v1
from perdure.api.history import v1 as history_v1
from perdure.api.protocol import v1 as protocol_v1
from perdure.api.query import v1 as query_v1
from perdure.api.taskqueue.v1 import TaskQueue
from perdure.api.update import v1 as update_v1
from perdure.api.workflowservice import v1 as ws
from perdure.converter import DataConverter
from perdure.worker._workflow_run import Answer, WorkflowRun
from perdure.worker._workflow_runtime import RunOptions
from perdure.workflow._definition import _Definition

SECOND = 1_000_000_000
SHORT = timedelta(seconds=5)
_converter = DataConverter.default.payload_converter


def payloads(*values: Any) -> common_v1.Payloads:
    """Values as the default converter writes them."""
    return common_v1.Payloads(_converter.to_payloads(values))


class MiniServer:
    """One run's history, and the tasks made of it."""

    def __init__(
        self,
        workflow: type,
        *args: Any,
        run_id: str = "run-1",
        options: RunOptions | None = None,
        **started: Any,
    ) -> None:
        self.definition = _Definition.must_from_class(workflow)
        self.options = options or RunOptions(namespace="default", task_queue="queue", is_guarded=False)
        self.events: list[HistoryEvent] = []
        self.now = 1_000 * SECOND
        self.run_id = run_id
        self.run: WorkflowRun | None = None
        self.previous_started = 0
        self.started = 0
        self.is_closed = False
        self.queries: dict[str, query_v1.WorkflowQuery] = {}
        self.messages: list[protocol_v1.Message] = []
        #: Every task's answer, oldest first.
        self.answers: list[Answer] = []
        self.add(
            1,
            history_v1.WorkflowExecutionStartedEventAttributes(
                workflow_type=common_v1.WorkflowType(self.definition.name or "Dynamic"),
                task_queue=TaskQueue("queue"),
                input=payloads(*args) if args else None,
                original_execution_run_id=run_id,
                first_execution_run_id=run_id,
                workflow_id="workflow-1",
                attempt=1,
                workflow_task_timeout=10 * SECOND,
                **started,
            ),
        )

    def close(self) -> None:
        """Put the run out of memory: left to the garbage collector, its code would be ended in another's turn."""
        if self.run is not None:
            self.run.evict()
            self.run = None

    # --- events

    def add(self, event_type: int, attributes: Any, extras: Any = None) -> int:
        """Append an event; a millisecond passes with each."""
        self.now += 1_000_000
        event_id = len(self.events) + 1
        self.events.append(HistoryEvent(event_id, event_type, self.now, attributes, extras=extras))
        return event_id

    def find(self, event_type: int, predicate: Callable[[Any], bool] = lambda _: True) -> int:
        """The id of the last event of a type."""
        for event in reversed(self.events):
            if event.event_type == event_type and predicate(event.attributes):
                return event.event_id
        raise AssertionError(f"no event of type {event_type}")

    def schedule_task(self) -> int:
        """WorkflowTaskScheduled and WorkflowTaskStarted."""
        scheduled = self.add(5, history_v1.WorkflowTaskScheduledEventAttributes(TaskQueue("queue"), 10 * SECOND, 1))
        return self.add(6, history_v1.WorkflowTaskStartedEventAttributes(scheduled_event_id=scheduled))

    def signal(self, name: str, *args: Any) -> None:
        self.add(26, history_v1.WorkflowExecutionSignaledEventAttributes(name, payloads(*args) if args else None))

    def cancel(self, reason: str = "") -> None:
        self.add(20, history_v1.WorkflowExecutionCancelRequestedEventAttributes(cause=reason))

    def complete_activity(self, result: Any = None, activity_id: str | None = None, scheduled: int = 0) -> None:
        scheduled = scheduled or self.find(10, lambda a: activity_id is None or a.activity_id == activity_id)
        started = self.add(11, history_v1.ActivityTaskStartedEventAttributes(scheduled))
        self.add(12, history_v1.ActivityTaskCompletedEventAttributes(payloads(result), scheduled, started))

    def fail_activity(self, message: str = "failed", activity_id: str | None = None) -> None:
        scheduled = self.find(10, lambda a: activity_id is None or a.activity_id == activity_id)
        started = self.add(11, history_v1.ActivityTaskStartedEventAttributes(scheduled))
        failure = failure_v1.Failure(
            message=message, application_failure_info=failure_v1.ApplicationFailureInfo(type="Oops")
        )
        self.add(13, history_v1.ActivityTaskFailedEventAttributes(failure, scheduled, started, retry_state=5))

    def cancel_activity(self, activity_id: str | None = None) -> None:
        scheduled = self.find(10, lambda a: activity_id is None or a.activity_id == activity_id)
        self.add(16, history_v1.ActivityTaskCanceledEventAttributes(scheduled_event_id=scheduled))

    def fire_timer(self, timer_id: str | None = None) -> None:
        started = self.find(17, lambda a: timer_id is None or a.timer_id == timer_id)
        attributes = self.events[started - 1].attributes
        self.now += attributes.start_to_fire_timeout
        self.add(18, history_v1.TimerFiredEventAttributes(attributes.timer_id, started))

    def start_child(self, workflow_id: str | None = None) -> None:
        initiated, attributes = self._child(workflow_id)
        self.add(
            31,
            history_v1.ChildWorkflowExecutionStartedEventAttributes(
                "default",
                initiated,
                common_v1.WorkflowExecution(attributes.workflow_id, "child-run"),
                attributes.workflow_type,
            ),
        )

    def _child(self, workflow_id: str | None) -> tuple[int, Any]:
        initiated = self.find(29, lambda a: workflow_id is None or a.workflow_id == workflow_id)
        return initiated, self.events[initiated - 1].attributes

    def complete_child(self, result: Any = None, workflow_id: str | None = None) -> None:
        initiated, _ = self._child(workflow_id)
        self.add(
            32,
            history_v1.ChildWorkflowExecutionCompletedEventAttributes(payloads(result), initiated_event_id=initiated),
        )

    def fail_child_start(self, cause: int = 1) -> None:
        initiated, attributes = self._child(None)
        self.add(
            30,
            history_v1.StartChildWorkflowExecutionFailedEventAttributes(
                workflow_id=attributes.workflow_id, cause=cause, initiated_event_id=initiated
            ),
        )

    def external_signaled(self) -> None:
        self.add(39, history_v1.ExternalWorkflowExecutionSignaledEventAttributes(initiated_event_id=self.find(37)))

    def query(self, name: str, *args: Any) -> query_v1.WorkflowQueryResult:
        """Ask a query of the cached run, by a task of its own."""
        assert self.run is not None
        task = self._task([])
        task.query = query_v1.WorkflowQuery(name, payloads(*args) if args else None)
        answer = self.run.activate(task, [])
        assert isinstance(answer, ws.RespondQueryTaskCompletedRequest)
        return query_v1.WorkflowQueryResult(
            answer.completed_type, answer.query_result, answer.error_message, answer.failure
        )

    def update(self, update_id: str, name: str, *args: Any) -> None:
        """An update request for the next task."""
        self.messages.append(
            protocol_v1.Message(
                id=f"{update_id}/request",
                protocol_instance_id=update_id,
                body=update_v1.Request(
                    update_v1.Meta(update_id), update_v1.Input(name=name, args=payloads(*args) if args else None)
                ),
            )
        )

    # --- tasks

    def _task(self, events: list[HistoryEvent]) -> ws.PollWorkflowTaskQueueResponse:
        return ws.PollWorkflowTaskQueueResponse(
            task_token=b"token",
            workflow_execution=common_v1.WorkflowExecution("workflow-1", self.run_id),
            workflow_type=common_v1.WorkflowType(self.definition.name or "Dynamic"),
            previous_started_event_id=self.previous_started,
            started_event_id=self.started,
            attempt=1,
            queries=self.queries,
            messages=self.messages,
        )

    def new_run(self) -> WorkflowRun:
        return WorkflowRun(self.definition, self.options, "workflow-1", self.run_id, self.definition.name or "Dynamic")

    def turn(self, *, cached: bool = True) -> Answer:
        """One workflow task: on the run in memory, or replayed by a new one. Its commands become events."""
        self.started = self.schedule_task()
        for message in self.messages:
            message.event_id = self.started - 1
        if self.run is None or not cached:
            if self.run is not None:
                self.run.evict()
            self.run = self.new_run()
            events = list(self.events)
        else:
            events = self.events[self.previous_started :]
        answer = self.run.activate(self._task(events), events)
        assert answer is not None, "local activities need their runner"
        return self.record(answer)

    def record(self, answer: Answer) -> Answer:
        """What becomes of a task's answer."""
        self.queries, self.messages = {}, []
        self.answers.append(answer)
        if isinstance(answer, ws.RespondWorkflowTaskFailedRequest):
            self.add(9, history_v1.WorkflowTaskFailedEventAttributes(self.started - 1, self.started, answer.cause))
            self.close()
            return answer
        assert isinstance(answer, ws.RespondWorkflowTaskCompletedRequest)
        self.previous_started = self.started
        completed = self.add(
            7,
            history_v1.WorkflowTaskCompletedEventAttributes(
                self.started - 1, self.started, sdk_metadata=answer.sdk_metadata
            ),
        )
        messages = {message.id: message for message in answer.messages}
        for command in answer.commands:
            self._record(command, completed, messages)
        return answer

    def _record(self, command: command_v1.Command, completed: int, messages: dict[str, protocol_v1.Message]) -> None:
        a: Any = command.attributes
        match command.command_type:
            case 1:
                self.add(
                    10,
                    history_v1.ActivityTaskScheduledEventAttributes(
                        a.activity_id,
                        a.activity_type,
                        a.task_queue,
                        a.header,
                        a.input,
                        start_to_close_timeout=a.start_to_close_timeout,
                        workflow_task_completed_event_id=completed,
                    ),
                )
            case 2:
                self.add(15, history_v1.ActivityTaskCancelRequestedEventAttributes(a.scheduled_event_id, completed))
            case 3:
                self.add(17, history_v1.TimerStartedEventAttributes(a.timer_id, a.start_to_fire_timeout, completed))
            case 4:
                self.add(2, history_v1.WorkflowExecutionCompletedEventAttributes(a.result, completed))
            case 5:
                self.add(3, history_v1.WorkflowExecutionFailedEventAttributes(a.failure))
            case 6:
                started = self.find(17, lambda s: s.timer_id == a.timer_id)
                self.add(19, history_v1.TimerCanceledEventAttributes(a.timer_id, started, completed))
            case 7:
                self.add(21, history_v1.WorkflowExecutionCanceledEventAttributes(completed))
            case 8:
                self.add(
                    22,
                    history_v1.RequestCancelExternalWorkflowExecutionInitiatedEventAttributes(
                        completed,
                        a.namespace,
                        common_v1.WorkflowExecution(a.workflow_id, a.run_id),
                        child_workflow_only=a.child_workflow_only,
                        reason=a.reason,
                    ),
                )
            case 9:
                self.add(
                    25,
                    history_v1.MarkerRecordedEventAttributes(a.marker_name, a.details, completed, failure=a.failure),
                )
            case 10:
                self.add(
                    28,
                    history_v1.WorkflowExecutionContinuedAsNewEventAttributes(
                        "run-2", a.workflow_type, a.task_queue, a.input, memo=a.memo
                    ),
                )
            case 11:
                self.add(
                    29,
                    history_v1.StartChildWorkflowExecutionInitiatedEventAttributes(
                        a.namespace, a.workflow_id, a.workflow_type, a.task_queue, a.input
                    ),
                )
            case 12:
                self.add(
                    37,
                    history_v1.SignalExternalWorkflowExecutionInitiatedEventAttributes(
                        completed, a.namespace, a.execution, a.signal_name, a.input
                    ),
                )
            case 13:
                self.add(40, history_v1.UpsertWorkflowSearchAttributesEventAttributes(completed, a.search_attributes))
            case 14:
                self._record_message(messages[a.message_id])
            case 16:
                self.add(46, history_v1.WorkflowPropertiesModifiedEventAttributes(completed, a.upserted_memo))
            case other:
                raise AssertionError(f"command type {other}")
        if command.command_type in (4, 5, 7, 10):
            self.is_closed = True

    def _record_message(self, message: protocol_v1.Message) -> None:
        body: Any = message.body
        if isinstance(body, update_v1.Acceptance):
            self.add(
                41,
                history_v1.WorkflowExecutionUpdateAcceptedEventAttributes(
                    message.protocol_instance_id,
                    body.accepted_request_message_id,
                    body.accepted_request_sequencing_event_id,
                    body.accepted_request,
                ),
            )
        else:
            accepted = self.find(41, lambda a: a.protocol_instance_id == message.protocol_instance_id)
            self.add(43, history_v1.WorkflowExecutionUpdateCompletedEventAttributes(body.meta, body.outcome, accepted))

    def replay(self, events: list[HistoryEvent] | None = None) -> None:
        """Replay the whole history; raises what went wrong."""
        events = list(self.events) if events is None else events
        run = self.new_run()
        task = self._task(events)
        task.queries, task.messages = {}, []
        task.previous_started_event_id = events[-1].event_id
        try:
            run.replay(task, events)
            if run.last_error is not None:
                raise run.last_error
        finally:
            run.evict()

    @property
    def commands(self) -> list[command_v1.Command]:
        """The commands of the last task."""
        answer = self.answers[-1]
        assert isinstance(answer, ws.RespondWorkflowTaskCompletedRequest), answer
        return answer.commands

    @property
    def result(self) -> Any:
        """What the workflow gave."""
        attributes: Any = self.events[-1].attributes
        assert self.events[-1].event_type == 2, self.events[-1]
        return _converter.from_payload(attributes.result.payloads[0])


def kinds(server: MiniServer) -> list[str]:
    """The last task's commands by name."""
    return [CommandType(command.command_type).name.removeprefix("COMMAND_TYPE_").lower() for command in server.commands]
