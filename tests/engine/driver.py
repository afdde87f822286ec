"""Drives an engine by hand: every request a client or a worker would send, with the clock in the test's hand."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any

from perdure.api.command import v1 as command_v1
from perdure.api.common import v1 as common_v1
from perdure.api.enums.v1 import CommandType, EventType
from perdure.api.failure import v1 as failure_v1
from perdure.api.query import v1 as query_v1
from perdure.api.taskqueue import v1 as taskqueue_v1
from perdure.api.workflowservice import v1 as ws
from perdure.engine import Engine
from perdure.engine.cluster_engine import ClusterEngine
from perdure.store.api import Capability, Store

S = 1_000_000_000
T0 = 1_800_000_000 * S


def payloads(*values: bytes) -> common_v1.Payloads:
    """JSON payloads of ready-made JSON."""
    return common_v1.Payloads([common_v1.Payload({"encoding": b"json/plain"}, value) for value in values])


def name(event: Any) -> str:
    """``WorkflowTaskScheduled`` for an event of that type."""
    words = EventType(event.event_type).name.removeprefix("EVENT_TYPE_").split("_")
    return "".join(word.capitalize() for word in words)


def queue(name: str = "q", kind: int = 1, normal: str = "") -> taskqueue_v1.TaskQueue:
    """A task queue."""
    return taskqueue_v1.TaskQueue(name, kind, normal)


# ---- commands


def command(kind: str, attributes: Any) -> command_v1.Command:
    """A command by its name without prefix."""
    return command_v1.Command(int(CommandType[f"COMMAND_TYPE_{kind}"]), attributes=attributes)


def schedule_activity(activity_id: str = "1", **options: Any) -> command_v1.Command:
    """ScheduleActivityTask with a start-to-close timeout of 10 s unless told otherwise."""
    if not {"start_to_close_timeout", "schedule_to_close_timeout"} & options.keys():
        options["start_to_close_timeout"] = 10 * S
    return command(
        "SCHEDULE_ACTIVITY_TASK",
        command_v1.ScheduleActivityTaskCommandAttributes(activity_id, common_v1.ActivityType("A"), **options),
    )


def cancel_activity(scheduled_event_id: int) -> command_v1.Command:
    """RequestCancelActivityTask."""
    return command(
        "REQUEST_CANCEL_ACTIVITY_TASK", command_v1.RequestCancelActivityTaskCommandAttributes(scheduled_event_id)
    )


def start_timer(timer_id: str = "1", seconds: float = 1.0) -> command_v1.Command:
    """StartTimer."""
    return command("START_TIMER", command_v1.StartTimerCommandAttributes(timer_id, int(seconds * S)))


def cancel_timer(timer_id: str = "1") -> command_v1.Command:
    """CancelTimer."""
    return command("CANCEL_TIMER", command_v1.CancelTimerCommandAttributes(timer_id))


def complete(result: bytes | None = None) -> command_v1.Command:
    """CompleteWorkflowExecution."""
    return command(
        "COMPLETE_WORKFLOW_EXECUTION",
        command_v1.CompleteWorkflowExecutionCommandAttributes(None if result is None else payloads(result)),
    )


def application_failure(message: str = "no", kind: str = "Boom", **options: Any) -> failure_v1.Failure:
    """An ApplicationFailure."""
    return failure_v1.Failure(
        message, "test", application_failure_info=failure_v1.ApplicationFailureInfo(kind, **options)
    )


def fail(failure: failure_v1.Failure | None = None) -> command_v1.Command:
    """FailWorkflowExecution."""
    return command(
        "FAIL_WORKFLOW_EXECUTION",
        command_v1.FailWorkflowExecutionCommandAttributes(failure or application_failure()),
    )


def cancel() -> command_v1.Command:
    """CancelWorkflowExecution."""
    return command("CANCEL_WORKFLOW_EXECUTION", command_v1.CancelWorkflowExecutionCommandAttributes())


def continue_as_new(**options: Any) -> command_v1.Command:
    """ContinueAsNewWorkflowExecution."""
    return command(
        "CONTINUE_AS_NEW_WORKFLOW_EXECUTION",
        command_v1.ContinueAsNewWorkflowExecutionCommandAttributes(**options),
    )


def start_child(workflow_id: str = "child", **options: Any) -> command_v1.Command:
    """StartChildWorkflowExecution on queue ``cq``."""
    options.setdefault("task_queue", queue("cq"))
    return command(
        "START_CHILD_WORKFLOW_EXECUTION",
        command_v1.StartChildWorkflowExecutionCommandAttributes(
            workflow_id=workflow_id, workflow_type=common_v1.WorkflowType("C"), **options
        ),
    )


def signal_external(workflow_id: str, signal: str = "s", **options: Any) -> command_v1.Command:
    """SignalExternalWorkflowExecution."""
    return command(
        "SIGNAL_EXTERNAL_WORKFLOW_EXECUTION",
        command_v1.SignalExternalWorkflowExecutionCommandAttributes(
            execution=common_v1.WorkflowExecution(workflow_id), signal_name=signal, **options
        ),
    )


def cancel_external(workflow_id: str, **options: Any) -> command_v1.Command:
    """RequestCancelExternalWorkflowExecution."""
    return command(
        "REQUEST_CANCEL_EXTERNAL_WORKFLOW_EXECUTION",
        command_v1.RequestCancelExternalWorkflowExecutionCommandAttributes(workflow_id=workflow_id, **options),
    )


class Driver:
    """One engine, and what tests ask of it."""

    def __init__(self, engine: Engine, clock: Clock) -> None:
        self.engine = engine
        self.clock = clock
        #: Background work that never ends.
        self.lasting_tasks = 4 if Capability.SHARED in engine.store.capabilities else 1

    # ---- time

    async def advance(self, seconds: float) -> None:
        """Move the clock and let all that is due happen, durably."""
        self.clock.now += int(seconds * S)
        self.engine.poke()
        await self.settle()

    async def settle(self) -> None:
        """Wait until background work and commits are done."""
        core = self.engine._core
        # A store that suspends takes as long as it takes; what never ends is not waited for either way.
        end = core.loop.time() + (2 if core.store.name == "postgresql" else 0)
        turns = 0
        while turns < 50 or core.loop.time() < end:
            turns += 1
            await core.settle()
            await asyncio.sleep(0)
            if core.is_settled and len(core._tasks) <= self.lasting_tasks:
                return

    # ---- client

    async def start(self, workflow_id: str = "w", **options: Any) -> str:
        """Start a workflow of type W on queue q; returns its run id."""
        return (await self.start_full(workflow_id, **options)).run_id

    async def start_full(self, workflow_id: str = "w", **options: Any) -> ws.StartWorkflowExecutionResponse:
        """Start a workflow; returns the whole response."""
        options.setdefault("workflow_type", common_v1.WorkflowType("W"))
        options.setdefault("task_queue", queue())
        options.setdefault("namespace", "default")
        return await self.engine.start_workflow_execution(
            ws.StartWorkflowExecutionRequest(workflow_id=workflow_id, **options)
        )

    async def signal(self, workflow_id: str = "w", signal: str = "s", run_id: str = "", **options: Any) -> None:
        """Signal a workflow."""
        await self.engine.signal_workflow_execution(
            ws.SignalWorkflowExecutionRequest(
                "default", common_v1.WorkflowExecution(workflow_id, run_id), signal, **options
            )
        )

    async def request_cancel(self, workflow_id: str = "w", **options: Any) -> None:
        """Ask a workflow to cancel."""
        await self.engine.request_cancel_workflow_execution(
            ws.RequestCancelWorkflowExecutionRequest("default", common_v1.WorkflowExecution(workflow_id), **options)
        )

    async def terminate(self, workflow_id: str = "w", **options: Any) -> None:
        """Terminate a workflow."""
        await self.engine.terminate_workflow_execution(
            ws.TerminateWorkflowExecutionRequest("default", common_v1.WorkflowExecution(workflow_id), **options)
        )

    async def describe(self, workflow_id: str = "w", run_id: str = "") -> ws.DescribeWorkflowExecutionResponse:
        """Describe a run."""
        return await self.engine.describe_workflow_execution(
            ws.DescribeWorkflowExecutionRequest("default", common_v1.WorkflowExecution(workflow_id, run_id))
        )

    async def status(self, workflow_id: str = "w", run_id: str = "") -> int:
        """The status number of a run."""
        info = (await self.describe(workflow_id, run_id)).workflow_execution_info
        assert info is not None
        return info.status

    async def history(self, workflow_id: str = "w", run_id: str = "") -> list[Any]:
        """All events of a run."""
        events: list[Any] = []
        token = b""
        while True:
            response = await self.engine.get_workflow_execution_history(
                ws.GetWorkflowExecutionHistoryRequest(
                    "default", common_v1.WorkflowExecution(workflow_id, run_id), 0, token
                )
            )
            assert response.history is not None
            events += response.history.events
            token = response.next_page_token
            if not token:
                return events

    async def reverse_ids(self, page_size: int, workflow_id: str = "w") -> list[int]:
        """The event ids of a run, newest first, read in pages."""
        seen: list[int] = []
        token = b""
        while True:
            page = await self.engine.get_workflow_execution_history_reverse(
                ws.GetWorkflowExecutionHistoryReverseRequest(
                    "default", common_v1.WorkflowExecution(workflow_id), page_size, token
                )
            )
            assert page.history is not None
            seen += [event.event_id for event in page.history.events]
            token = page.next_page_token
            if not token:
                return seen

    async def names(self, workflow_id: str = "w", run_id: str = "") -> list[str]:
        """The event type names of a run."""
        return [name(event) for event in await self.history(workflow_id, run_id)]

    async def list(self, query: str = "", **options: Any) -> list[str]:
        """The workflow ids a list filter finds."""
        response = await self.engine.list_workflow_executions(
            ws.ListWorkflowExecutionsRequest("default", query=query, **options)
        )
        return [info.execution.workflow_id for info in response.executions if info.execution is not None]

    async def query(self, workflow_id: str = "w", **options: Any) -> ws.QueryWorkflowResponse:
        """Query a workflow."""
        return await self.engine.query_workflow(
            ws.QueryWorkflowRequest(
                "default", common_v1.WorkflowExecution(workflow_id), query_v1.WorkflowQuery("state"), **options
            )
        )

    # ---- workflow worker

    async def poll(self, task_queue: taskqueue_v1.TaskQueue | None = None) -> ws.PollWorkflowTaskQueueResponse:
        """The next workflow task."""
        return await asyncio.wait_for(
            self.engine.poll_workflow_task_queue(
                ws.PollWorkflowTaskQueueRequest("default", task_queue or queue(), "worker")
            ),
            5,
        )

    async def has_workflow_task(self, task_queue: str = "q") -> bool:
        """Whether a workflow task waits in a queue."""
        response = await self.engine.describe_task_queue(
            ws.DescribeTaskQueueRequest("default", queue(task_queue), 1, include_task_queue_status=True)
        )
        assert response.task_queue_status is not None
        return bool(response.task_queue_status.backlog_count_hint)

    async def answer(
        self, task: ws.PollWorkflowTaskQueueResponse, *commands: command_v1.Command, **options: Any
    ) -> ws.RespondWorkflowTaskCompletedResponse:
        """Complete a workflow task."""
        return await self.engine.respond_workflow_task_completed(
            ws.RespondWorkflowTaskCompletedRequest(task.task_token, list(commands), "worker", **options)
        )

    async def turn(self, *commands: command_v1.Command, **options: Any) -> ws.PollWorkflowTaskQueueResponse:
        """Poll and complete the next workflow task."""
        task = await self.poll()
        await self.answer(task, *commands, **options)
        return task

    async def fail_task(self, task: ws.PollWorkflowTaskQueueResponse, cause: int = 14) -> None:
        """Fail a workflow task as a worker does."""
        await self.engine.respond_workflow_task_failed(
            ws.RespondWorkflowTaskFailedRequest(task.task_token, cause, application_failure(), "worker")
        )

    # ---- activity worker

    async def poll_activity(self, task_queue: str = "q") -> ws.PollActivityTaskQueueResponse:
        """The next activity task."""
        return await asyncio.wait_for(
            self.engine.poll_activity_task_queue(
                ws.PollActivityTaskQueueRequest("default", queue(task_queue), "activity worker")
            ),
            5,
        )

    async def has_activity_task(self, task_queue: str = "q") -> bool:
        """Whether an activity task waits in a queue."""
        response = await self.engine.describe_task_queue(
            ws.DescribeTaskQueueRequest("default", queue(task_queue), 2, include_task_queue_status=True)
        )
        assert response.task_queue_status is not None
        return bool(response.task_queue_status.backlog_count_hint)

    async def complete_activity(self, task: ws.PollActivityTaskQueueResponse, result: bytes = b"1") -> None:
        """Complete an activity task."""
        await self.engine.respond_activity_task_completed(
            ws.RespondActivityTaskCompletedRequest(task.task_token, payloads(result), "activity worker")
        )

    async def fail_activity(
        self, task: ws.PollActivityTaskQueueResponse, failure: failure_v1.Failure | None = None
    ) -> None:
        """Fail an activity task."""
        await self.engine.respond_activity_task_failed(
            ws.RespondActivityTaskFailedRequest(task.task_token, failure or application_failure(), "activity worker")
        )


class Clock:
    """A clock that only tests move."""

    def __init__(self) -> None:
        self.now = T0

    def __call__(self) -> int:
        return self.now


StoreOpener = Callable[[], Any]


@contextlib.asynccontextmanager
async def driving(store: Store, clock: Clock | None = None) -> AsyncIterator[Driver]:
    """An engine over a store, closed at the end."""
    clock = clock or Clock()
    kind = ClusterEngine if Capability.SHARED in store.capabilities else Engine
    engine = await kind.open(store, clock=clock)
    try:
        yield Driver(engine, clock)
    finally:
        await engine.close()
