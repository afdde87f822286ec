"""`python -m benchmarks.instructions`: how many instructions a workflow costs, against a stored count.

Runs each load under valgrind's callgrind with few and with many workflows; the difference, divided, is what one costs,
without imports and start-up. Times vary from run to run and machine to machine, instructions hardly do: so a change that
makes workflows 5% dearer is found, and fails.

    python -m benchmarks.instructions               # compare with instructions.json
    python -m benchmarks.instructions --store       # these counts are what to compare with from now on
    python -m benchmarks.instructions --load engine # one load alone
"""

from __future__ import annotations

import argparse
import asyncio
import json
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path

from perdure import Client, Worker, activity, workflow
from perdure.api.command import v1 as command_v1
from perdure.api.common import v1 as common_v1
from perdure.api.enums.v1 import CommandType, HistoryEventFilterType
from perdure.api.taskqueue import v1 as taskqueue_v1
from perdure.api.workflowservice import v1 as ws
from perdure.engine import Engine
from perdure.store.memory import MemoryStore

ROOT = Path(__file__).parents[1]
STORED = Path(__file__).with_suffix(".json")
FEW, MANY = 200, 700
IN_FLIGHT = 50
#: How much more than the stored count is a failure.
TOLERANCE = 0.05

_SCHEDULE = int(CommandType.COMMAND_TYPE_SCHEDULE_ACTIVITY_TASK)
_COMPLETE = int(CommandType.COMMAND_TYPE_COMPLETE_WORKFLOW_EXECUTION)
_CLOSE_EVENT = int(HistoryEventFilterType.HISTORY_EVENT_FILTER_TYPE_CLOSE_EVENT)


@activity.defn
async def echo(text: str) -> str:
    """An activity that does nothing."""
    return text


@workflow.defn
class OneActivity:
    """A workflow of one activity."""

    @workflow.run
    async def run(self, text: str) -> str:
        """Run it."""
        return await workflow.execute_activity(echo, text, start_to_close_timeout=timedelta(seconds=10))


async def whole(count: int) -> None:
    """Client, worker and engine in one process, runs in memory."""
    async with (
        await Client.connect("memory:") as client,
        Worker(client, task_queue="q", workflows=[OneActivity], activities=[echo]),
    ):

        async def one_after_the_other(number: int) -> None:
            for step in range(count // IN_FLIGHT):
                await client.execute_workflow(OneActivity.run, "x", id=f"{number}-{step}", task_queue="q")

        await asyncio.gather(*map(one_after_the_other, range(IN_FLIGHT)))


async def engine(count: int) -> None:
    """The engine and a store in memory alone: the RPCs of the same workflows."""
    service = await Engine.open(await MemoryStore.open())
    queue = taskqueue_v1.TaskQueue("q", 1)
    sticky_queue = taskqueue_v1.TaskQueue("sticky", 2, "q")
    sticky = taskqueue_v1.StickyExecutionAttributes(sticky_queue, 5_000_000_000)
    kind, value = common_v1.ActivityType("echo"), common_v1.Payloads([common_v1.Payload({}, b'"x"')])

    async def take_workflow_tasks(polled: taskqueue_v1.TaskQueue) -> None:
        request = ws.PollWorkflowTaskQueueRequest("default", polled, "worker")
        while True:
            task = await service.poll_workflow_task_queue(request)
            if task.previous_started_event_id == 0:
                attributes = command_v1.ScheduleActivityTaskCommandAttributes(
                    "1", kind, queue, None, value, start_to_close_timeout=10_000_000_000
                )
                command = command_v1.Command(_SCHEDULE, attributes=attributes)
            else:
                command = command_v1.Command(
                    _COMPLETE, attributes=command_v1.CompleteWorkflowExecutionCommandAttributes(value)
                )
            answer = ws.RespondWorkflowTaskCompletedRequest(task.task_token, [command], "worker", sticky)
            await service.respond_workflow_task_completed(answer)

    async def take_activities() -> None:
        request = ws.PollActivityTaskQueueRequest("default", queue, "worker")
        while True:
            task = await service.poll_activity_task_queue(request)
            await service.respond_activity_task_completed(
                ws.RespondActivityTaskCompletedRequest(task.task_token, value, "worker")
            )

    async def one_after_the_other(number: int) -> None:
        for step in range(count // IN_FLIGHT):
            started = await service.start_workflow_execution(
                ws.StartWorkflowExecutionRequest(
                    "default", f"{number}-{step}", common_v1.WorkflowType("OneActivity"), queue, value, request_id="r"
                )
            )
            await service.get_workflow_execution_history(
                ws.GetWorkflowExecutionHistoryRequest(
                    "default",
                    common_v1.WorkflowExecution(f"{number}-{step}", started.run_id),
                    wait_new_event=True,
                    history_event_filter_type=_CLOSE_EVENT,
                )
            )

    takers = [take_workflow_tasks(polled) for polled in (queue, sticky_queue) for _ in range(5)]
    tasks = [asyncio.create_task(taker) for taker in (*takers, *(take_activities() for _ in range(IN_FLIGHT)))]
    await asyncio.gather(*map(one_after_the_other, range(IN_FLIGHT)))
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    await service.close()


LOADS: dict[str, Callable[[int], Awaitable[None]]] = {"whole": whole, "engine": engine}


def collected(load: str, count: int) -> int:
    """Instructions of a process that runs so many workflows."""
    with tempfile.TemporaryDirectory() as folder:
        command = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={folder}/out", sys.executable]
        command += ["-m", "benchmarks.instructions", "--run", load, "--count", str(count)]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    found = re.search(r"Collected : (\d+)", done.stderr)
    if done.returncode or found is None:
        raise SystemExit(f"{' '.join(command)} failed:\n{done.stderr[-2000:]}")
    return int(found[1])


def measured(load: str) -> int:
    """Instructions a workflow."""
    return (collected(load, MANY) - collected(load, FEW)) // (MANY - FEW)


def main() -> None:
    """Measure, compare, and fail where a load has become dearer."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.instructions", description=__doc__)
    parser.add_argument("--load", choices=LOADS, help="this load alone")
    parser.add_argument("--store", action="store_true", help="keep the counts")
    parser.add_argument("--run", choices=LOADS, help=argparse.SUPPRESS)
    parser.add_argument("--count", type=int, default=FEW, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.run:
        asyncio.run(LOADS[options.run](options.count))  # type: ignore[arg-type]
        return
    if shutil.which("valgrind") is None:
        raise SystemExit("valgrind is not on the path: install it to count instructions")
    version = ".".join(platform.python_version_tuple()[:2])
    stored: dict[str, dict[str, int]] = json.loads(STORED.read_text()) if STORED.exists() else {}
    before = stored.setdefault(version, {})
    is_dearer = False
    for load in [options.load] if options.load else LOADS:
        now = measured(load)
        text = f"{load}: {now:,} instructions a workflow"
        if load in before:
            ratio = now / before[load]
            is_dearer |= ratio > 1 + TOLERANCE
            text += f", {ratio:.3f} of the stored {before[load]:,}"
        print(text, flush=True)
        if options.store:
            before[load] = now
    if options.store:
        STORED.write_text(json.dumps(stored, indent=2, sort_keys=True) + "\n")
    elif not before:
        raise SystemExit(f"no count is stored for Python {version}: --store keeps these")
    elif is_dearer:
        raise SystemExit(f"a workflow costs more than {TOLERANCE:.0%} more instructions than the stored count")


if __name__ == "__main__":
    main()
