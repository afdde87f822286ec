"""Nexus operations: done at once, going on as a workflow, failing, timing out, and cancelled in every way there is."""

import asyncio
from datetime import timedelta
from typing import Any

import nexusrpc
from nexusrpc.handler import StartOperationContext, service_handler, sync_operation
from sdk import exceptions, nexus, workflow

ENDPOINT = "replay-nexus"
SOON = timedelta(seconds=60)


@nexusrpc.service
class Words:
    greet: nexusrpc.Operation[str, str]
    fail: nexusrpc.Operation[str, str]
    refuse: nexusrpc.Operation[str, str]
    wait: nexusrpc.Operation[str, str]
    linger: nexusrpc.Operation[str, str]


@workflow.defn
class Waiting:
    """What the operation `wait` goes on as: until it is told, or cancelled."""

    def __init__(self) -> None:
        self.word = ""

    @workflow.run
    async def run(self, name: str) -> str:
        await workflow.wait_condition(lambda: bool(self.word))
        return f"{name} {self.word}"

    @workflow.signal
    def tell(self, word: str) -> None:
        self.word = word


@service_handler(service=Words)
class WordsHandler:
    @sync_operation
    async def greet(self, ctx: StartOperationContext, name: str) -> str:
        return f"hello {name}"

    @sync_operation
    async def fail(self, ctx: StartOperationContext, name: str) -> str:
        raise nexusrpc.OperationError(f"no {name}", state=nexusrpc.OperationErrorState.FAILED)

    @sync_operation
    async def refuse(self, ctx: StartOperationContext, name: str) -> str:
        raise nexusrpc.HandlerError(f"never {name}", type=nexusrpc.HandlerErrorType.BAD_REQUEST)

    @nexus.workflow_run_operation
    async def wait(self, ctx: nexus.WorkflowRunOperationContext, name: str) -> nexus.WorkflowHandle[str]:
        return await ctx.start_workflow(Waiting.run, name, id=name)

    @nexus.workflow_run_operation
    async def linger(self, ctx: nexus.WorkflowRunOperationContext, name: str) -> nexus.WorkflowHandle[str]:
        return await ctx.start_workflow(Waiting.run, name, id=name)


def seen(error: BaseException) -> str:
    cause = error.__cause__
    return f"{type(error).__name__} {type(cause).__name__}"


@workflow.defn
class Caller:
    """One operation after the other, and all that may come of each."""

    @workflow.run
    async def run(self) -> list[str]:
        words = workflow.create_nexus_client(service=Words, endpoint=ENDPOINT)
        said = [await words.execute_operation(Words.greet, "you")]
        for operation in (Words.fail, Words.refuse):
            try:
                await words.execute_operation(operation, "way", schedule_to_close_timeout=SOON)
            except exceptions.NexusOperationError as error:
                said.append(seen(error))
        return said


@workflow.defn
class Starter:
    """An operation that goes on as a workflow, next to a timer."""

    @workflow.run
    async def run(self, name: str) -> str:
        words = workflow.create_nexus_client(service=Words, endpoint=ENDPOINT)
        handle = await words.start_operation(Words.wait, name, schedule_to_close_timeout=SOON)
        await asyncio.sleep(0.01)
        assert handle.operation_token
        await workflow.get_external_workflow_handle_for(Waiting.run, name).signal(Waiting.tell, "told")
        return await handle


@workflow.defn
class Canceller:
    """Cancels an operation with a cancellation type, after it was started."""

    @workflow.run
    async def run(self, name: str, kind: str) -> str:
        words = workflow.create_nexus_client(service=Words, endpoint=ENDPOINT)
        handle = await words.start_operation(
            Words.wait, name, cancellation_type=workflow.NexusOperationCancellationType[kind]
        )
        handle.cancel()
        try:
            await handle
        except exceptions.NexusOperationError as error:
            return seen(error)
        return "not cancelled"


@workflow.defn
class Hasty:
    """Cancels an operation before it is even scheduled, and lets another time out."""

    @workflow.run
    async def run(self, name: str) -> list[str]:
        words = workflow.create_nexus_client(service=Words, endpoint=ENDPOINT)
        said = []
        task = asyncio.create_task(words.execute_operation(Words.wait, f"{name}-never"))
        await asyncio.sleep(0)
        task.cancel()
        try:
            await task
        except (exceptions.NexusOperationError, asyncio.CancelledError) as error:
            said.append(seen(error))
        try:
            await words.execute_operation(Words.linger, name, schedule_to_close_timeout=timedelta(seconds=2))
        except exceptions.NexusOperationError as error:
            said.append(seen(error))
        return said


WORKFLOWS = [Waiting, Caller, Starter, Canceller, Hasty]
CANCELLATION_TYPES = ["WAIT_COMPLETED", "WAIT_REQUESTED", "TRY_CANCEL", "ABANDON"]


async def drive(d: Any) -> None:
    await d.create_nexus_endpoint(ENDPOINT, d.task_queue)
    async with d.worker(nexus_service_handlers=[WordsHandler()]):
        assert await d.run(Caller.run) == [
            "hello you",
            "NexusOperationError ApplicationError",
            "NexusOperationError HandlerError",
        ]
        assert await d.run(Starter.run, "started", case="started") == "started told"
        d.keep("handler", d.client.get_workflow_handle("started"))
        for kind in CANCELLATION_TYPES:
            case = f"cancel-{kind.lower().replace('_', '-')}"
            assert await d.run(Canceller.run, case, kind, case=case) == "NexusOperationError CancelledError", kind
        assert await d.run(Hasty.run, "hasty", case="hasty") == [
            "NexusOperationError CancelledError",
            "NexusOperationError TimeoutError",
        ]
