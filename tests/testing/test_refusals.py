"""What workflow code may not do, said in one sentence: the workflow task fails, the worker goes on."""

from __future__ import annotations

import asyncio
import math
import sys
from typing import Any

import pytest

from perdure import workflow
from perdure.api.enums.v1 import EventType
from perdure.client import WorkflowQueryFailedError
from perdure.testing import WorkflowEnvironment
from perdure.worker import UnsandboxedWorkflowRunner, Worker

EXIT = "Workflow code raised SystemExit, which does not end the worker: "
INTERRUPT = "Workflow code raised KeyboardInterrupt, which does not end the worker: "
ENDLESS = "it ends within 100 years; to wait without an end, await workflow.wait_condition()"
NEW_LOOP = "a workflow runs on the event loop it has; await what it is to run, or do this in an activity"


async def exit_in_a_task() -> None:
    await asyncio.sleep(0)
    sys.exit("bye")


def interrupt() -> None:
    raise KeyboardInterrupt


@workflow.defn
class Refused:
    @workflow.run
    async def run(self, what: str) -> None:
        match what:
            case "exit":
                sys.exit(3)
            case "exit in a task":
                await asyncio.gather(exit_in_a_task(), asyncio.sleep(5))
            case "exit in a group":
                async with asyncio.TaskGroup() as group:
                    group.create_task(exit_in_a_task())
            case "interrupt":
                interrupt()
            case "interrupt in a callback":
                asyncio.get_running_loop().call_soon(interrupt)
                await asyncio.sleep(5)
            case "sleep without end":
                await asyncio.sleep(math.inf)
            case "sleep too long":
                await workflow.sleep(4e9)
            case "timeout without end":
                async with asyncio.timeout(math.inf):
                    await asyncio.sleep(1)
            case "timeout of nothing":
                async with asyncio.timeout_at(math.nan):
                    await asyncio.sleep(1)
            case "new loop":
                asyncio.new_event_loop()
            case "runner":
                asyncio.Runner().get_loop()
            case "fine":
                return
            case "wait":
                await asyncio.sleep(1)
                return
        raise AssertionError(f"{what} was not refused")

    @workflow.signal
    async def exit(self) -> None:
        sys.exit(3)

    @workflow.query
    def exit_query(self) -> None:
        sys.exit(3)


@workflow.defn
class ExitsWhenMade:
    def __init__(self) -> None:
        sys.exit(3)

    @workflow.run
    async def run(self) -> None: ...


async def failure_of(env: WorkflowEnvironment, run: Any, *args: Any, signal: str | None = None) -> str:
    """How the first workflow task of a workflow fails."""
    handle = await env.client.start_workflow(run, args=args, id="refused", task_queue="tq", start_signal=signal)
    try:
        async for event in handle.fetch_history_events(wait_new_event=True):
            if event.event_type == EventType.EVENT_TYPE_WORKFLOW_TASK_FAILED:
                message: str = event.attributes.failure.message
                return message
        raise AssertionError("the workflow ended")
    finally:
        await handle.terminate()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("is_guarded", [True, False])
@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("exit", EXIT),
        ("exit in a task", EXIT),
        ("exit in a group", EXIT),
        ("interrupt", INTERRUPT),
        ("interrupt in a callback", INTERRUPT),
        ("sleep without end", ENDLESS),
        ("sleep too long", ENDLESS),
        ("timeout without end", ENDLESS),
        ("timeout of nothing", ENDLESS),
        ("new loop", NEW_LOOP),
        ("runner", NEW_LOOP),
    ],
)
async def test_one_sentence_and_the_worker_goes_on(what: str, message: str, is_guarded: bool) -> None:
    if message is NEW_LOOP and not is_guarded:
        pytest.skip("without the guard nothing looks")
    options: Any = {} if is_guarded else {"workflow_runner": UnsandboxedWorkflowRunner()}
    async with await WorkflowEnvironment.start_time_skipping() as env:
        async with Worker(env.client, task_queue="tq", workflows=[Refused, ExitsWhenMade], **options):
            assert message in await failure_of(env, Refused.run, what)
            await env.client.execute_workflow(Refused.run, "fine", id="fine", task_queue="tq")


async def test_leaving_from_init_a_signal_and_a_query() -> None:
    async with await WorkflowEnvironment.start_time_skipping() as env:
        async with Worker(env.client, task_queue="tq", workflows=[Refused, ExitsWhenMade]):
            assert EXIT in await failure_of(env, ExitsWhenMade.run)
            handle = await env.client.start_workflow(Refused.run, "wait", id="asked", task_queue="tq")
            with pytest.raises(WorkflowQueryFailedError, match="SystemExit"):
                await handle.query(Refused.exit_query)
            await handle.result()
            assert EXIT in await failure_of(env, Refused.run, "wait", signal="exit")
            await env.client.execute_workflow(Refused.run, "fine", id="fine", task_queue="tq")
