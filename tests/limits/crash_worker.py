"""A worker process to be killed: ``crash_worker.py FOLDER LOG``."""

import asyncio
import os
import sys
from datetime import timedelta

from perdure import activity, limits, workflow
from perdure.client import Client
from perdure.common import WorkflowIDConflictPolicy
from perdure.worker import Worker

COUNT = 6
LIMIT = 2


@activity.defn
async def note(line: str) -> None:
    """Write one line to the log."""
    with open(sys.argv[2], "a") as log:
        log.write(line + "\n")
        log.flush()
        os.fsync(log.fileno())
    await asyncio.sleep(0.03)


@workflow.defn
class Inside:
    """Comes in, stays a moment, leaves."""

    @workflow.run
    async def run(self, name: str) -> None:
        async with limits.concurrency("k", limit=LIMIT):
            for what in ("in", "out"):
                await workflow.execute_activity(note, f"{what} {name}", start_to_close_timeout=timedelta(seconds=10))


async def main() -> None:
    """Start the workflows, or go on with those that are there."""
    async with (
        await Client.connect(f"lmdb:{sys.argv[1]}?durability=process") as client,
        Worker(client, task_queue="q", workflows=[Inside], activities=[note]),
    ):
        handles = [
            await client.start_workflow(
                Inside.run,
                f"w{number}",
                id=f"w{number}",
                task_queue="q",
                id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
            )
            for number in range(COUNT)
            if not await is_over(client, f"w{number}")
        ]
        for handle in handles:
            await handle.result()


async def is_over(client: Client, workflow_id: str) -> bool:
    """Whether an earlier process has brought this one to its end."""
    query = f"WorkflowId = '{workflow_id}' AND ExecutionStatus = 'Completed'"
    return bool([run async for run in client.list_workflows(query)])


if __name__ == "__main__":
    asyncio.run(main())
