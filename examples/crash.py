"""An order that is killed with ``kill -9`` in the middle, and finishes after the restart.

Run it with ``python examples/crash.py``. The script starts itself as a worker process, kills that while the parcel is
being shipped, starts another one, and counts at the end how often each step was really taken.
"""

import asyncio
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from datetime import timedelta
from pathlib import Path

from perdure import Client, Worker, activity, workflow
from perdure.common import WorkflowIDConflictPolicy

STEPS = ("reserve the goods", "charge the card", "ship the parcel", "send the receipt")
KILL_DURING = "ship the parcel"


@activity.defn
async def take(step: str) -> None:
    """Take one step in the outside world. An attempt that dies with its process is made again after the restart."""
    print(f"{step} (attempt {activity.info().attempt})", flush=True)
    await asyncio.sleep(0.3)
    change_the_world(step)


def change_the_world(step: str) -> None:
    """The outside world is a file here, so that it can be looked at afterwards."""
    with Path(os.environ["CRASH_EXAMPLE_WORLD"]).open("a") as world:
        world.write(step + "\n")
        world.flush()
        os.fsync(world.fileno())


@workflow.defn
class OrderWorkflow:
    """Takes the steps of an order one after the other."""

    @workflow.run
    async def run(self, order: str) -> str:
        for step in STEPS:
            await workflow.execute_activity(take, step, start_to_close_timeout=timedelta(seconds=10))
        return f"{order} is on its way"


async def work(folder: str) -> None:
    """The worker process: start the order, or go on with the one that is there."""
    async with (
        await Client.connect(f"lmdb:{folder}") as client,
        Worker(client, task_queue="orders", workflows=[OrderWorkflow], activities=[take]),
    ):
        result = await client.execute_workflow(
            OrderWorkflow.run,
            "order 17",
            id="order-17",
            task_queue="orders",
            id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
        )
        print(f"result: {result}", flush=True)


def tell(begin: float, who: str, what: str) -> None:
    """Print one line of the story."""
    print(f"{time.monotonic() - begin:6.2f} s  {who:12} {what}", flush=True)


def main() -> None:
    """The story: a first process, kill -9, a second process, and the count."""
    begin = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="perdure-crash-") as folder:
        world = Path(folder) / "world.txt"
        command = [sys.executable, __file__, "work", str(Path(folder) / "data")]
        environment = {**os.environ, "CRASH_EXAMPLE_WORLD": str(world)}
        for number in (1, 2):
            process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
            tell(begin, "script", f"started process {process.pid}")
            assert process.stdout is not None
            with process.stdout as lines:
                for line in lines:
                    tell(begin, f"process {number}", line.strip())
                    if number == 1 and KILL_DURING in line:
                        process.kill()
                        tell(begin, "script", f"kill -9 {process.pid}")
            tell(begin, "script", f"process {number} ended with code {process.wait()}")
        taken = Counter(world.read_text().splitlines())
        for step in STEPS:
            tell(begin, "count", f"{step}: {taken[step]} time{'' if taken[step] == 1 else 's'}")
        if set(taken) != set(STEPS) or process.returncode != 0:
            sys.exit("the order did not finish")


if __name__ == "__main__":
    if sys.argv[1:2] == ["work"]:
        asyncio.run(work(sys.argv[2]))
    else:
        main()
