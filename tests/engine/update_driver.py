"""What tests of updates ask of a driven engine, and what a worker says about the updates it was sent."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

from perdure.api.command import v1 as command_v1
from perdure.api.common import v1 as common_v1
from perdure.api.protocol import v1 as protocol_v1
from perdure.api.taskqueue import v1 as taskqueue_v1
from perdure.api.update import v1 as update_v1
from perdure.api.workflowservice import v1 as ws
from tests.engine.driver import Driver, application_failure, command, payloads, queue

ADMITTED, ACCEPTED, COMPLETED = 1, 2, 3

#: The history of a run whose first workflow task is done.
IDLE = ["WorkflowExecutionStarted", "WorkflowTaskScheduled", "WorkflowTaskStarted", "WorkflowTaskCompleted"]
TASK = IDLE[1:]
STICKY = {
    "sticky_attributes": taskqueue_v1.StickyExecutionAttributes(queue("sticky", 2, "q"), 10_000_000_000),
    "return_new_workflow_task": True,
    "capabilities": ws.RespondWorkflowTaskCompletedRequestCapabilities(True),
}


def update_request(update_id: str = "u", workflow_id: str = "w", **options: Any) -> ws.UpdateWorkflowExecutionRequest:
    """An update named ``set`` with one argument, whose caller waits for its completion unless told otherwise."""
    stage = options.pop("stage", COMPLETED)
    run_id = options.pop("run_id", "")
    arguments = options.pop("arguments", payloads(b"1"))
    return ws.UpdateWorkflowExecutionRequest(
        "default",
        common_v1.WorkflowExecution(workflow_id, run_id),
        wait_policy=update_v1.WaitPolicy(stage),
        request=update_v1.Request(update_v1.Meta(update_id, "client"), update_v1.Input(name="set", args=arguments)),
        **options,
    )


class Updating:
    """Calls that wait, as tasks of the event loop; the engine has admitted the update when the method returns."""

    def __init__(self, d: Driver) -> None:
        self.d = d

    async def update(
        self, update_id: str = "u", *, timeout: float | None = None, **options: Any
    ) -> asyncio.Task[ws.UpdateWorkflowExecutionResponse]:
        """Ask for an update."""
        task = asyncio.create_task(
            self.d.engine.update_workflow_execution(
                update_request(update_id, **options), timeout=None if timeout is None else timedelta(seconds=timeout)
            )
        )
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        return task

    async def poll(
        self, update_id: str = "u", stage: int = 0, **options: Any
    ) -> ws.PollWorkflowExecutionUpdateResponse:
        """Ask how far an update is."""
        execution = common_v1.WorkflowExecution(options.pop("workflow_id", "w"), options.pop("run_id", ""))
        return await self.d.engine.poll_workflow_execution_update(
            ws.PollWorkflowExecutionUpdateRequest(
                "default", update_v1.UpdateRef(execution, update_id), wait_policy=update_v1.WaitPolicy(stage)
            ),
            **options,
        )


# ---- what a worker says


def protocol_message(message_id: str) -> command_v1.Command:
    """The command that gives a message its place among the others."""
    return command("PROTOCOL_MESSAGE", command_v1.ProtocolMessageCommandAttributes(message_id))


def acceptance(request: protocol_v1.Message) -> protocol_v1.Message:
    """The worker accepts the update."""
    return protocol_v1.Message(
        id=f"{request.id}/accept",
        protocol_instance_id=request.protocol_instance_id,
        body=update_v1.Acceptance(request.id, request.event_id or 0, request.body),  # type: ignore[arg-type]
    )


def rejection(request: protocol_v1.Message) -> protocol_v1.Message:
    """The worker refuses the update."""
    return protocol_v1.Message(
        id=f"{request.id}/reject",
        protocol_instance_id=request.protocol_instance_id,
        body=update_v1.Rejection(
            request.id,
            request.event_id or 0,
            request.body,  # type: ignore[arg-type]
            application_failure("refused"),
        ),
    )


def response(update_id: str = "u", result: bytes = b"2") -> protocol_v1.Message:
    """The worker completes the update."""
    return protocol_v1.Message(
        id=f"{update_id}/request/complete",
        protocol_instance_id=update_id,
        body=update_v1.Response(update_v1.Meta(update_id, "client"), update_v1.Outcome(success=payloads(result))),
    )


def said(*messages: protocol_v1.Message) -> list[command_v1.Command]:
    """The commands that place those messages."""
    return [protocol_message(message.id) for message in messages]


async def idle_run(d: Driver, **options: Any) -> None:
    """A run that waits for nothing, whose worker has it cached."""
    await d.start()
    await be_there(d)
    await d.turn(**{**STICKY, **options})


async def be_there(d: Driver) -> None:
    """Let the sticky queue have been polled a moment ago."""
    waiting = asyncio.ensure_future(sticky_poll(d))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)


async def sticky_poll(d: Driver) -> ws.PollWorkflowTaskQueueResponse:
    """The next workflow task of the sticky queue."""
    return await d.poll(queue("sticky", 2, "q"))


async def accept(d: Driver, task: ws.PollWorkflowTaskQueueResponse, *more: command_v1.Command) -> Any:
    """Accept every update a task brought."""
    messages = [acceptance(message) for message in task.messages]
    return await d.answer(task, *said(*messages), *more, messages=messages, **STICKY)


async def accept_and_complete(d: Driver, task: ws.PollWorkflowTaskQueueResponse, *more: command_v1.Command) -> Any:
    """Accept and complete every update a task brought."""
    messages = []
    for message in task.messages:
        messages += [acceptance(message), response(message.protocol_instance_id)]
    return await d.answer(task, *said(*messages), *more, messages=messages, **STICKY)


async def reject(d: Driver, task: ws.PollWorkflowTaskQueueResponse, **options: Any) -> Any:
    """Refuse every update a task brought."""
    return await d.answer(task, messages=[rejection(message) for message in task.messages], **{**STICKY, **options})
