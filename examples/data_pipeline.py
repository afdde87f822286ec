"""A pipeline over files: each stage hands file names on, and a long stage goes on where it broke off.

Run it with ``python examples/data_pipeline.py``.
"""

import asyncio
import json
import tempfile
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from home import run

from perdure import Client, Worker, activity, workflow
from perdure.common import RetryPolicy


@dataclass
class Job:
    """Where the data lies. Data itself goes by file: what activities return is kept in the history for ever."""

    folder: str
    rows: int


@activity.defn
def extract(job: Job) -> str:
    """Write the raw rows. A plain function: it runs in a thread."""
    path = Path(job.folder, "raw.jsonl")
    path.write_text("".join(json.dumps({"id": n, "value": n % 7}) + "\n" for n in range(job.rows)))
    print(f"  extract    {job.rows} rows to {path.name}")
    return str(path)


@activity.defn
async def transform(raw: str) -> str:
    """Work on the rows one by one, and say by heartbeats how far it is.

    The first attempt dies in the middle. The next one learns from the last heartbeat where to go on.
    """
    info = activity.info()
    path = Path(raw).with_name("clean.jsonl")
    done = info.heartbeat_details[0] if info.heartbeat_details else 0
    lines = Path(raw).read_text().splitlines()
    kept = path.read_text().splitlines()[:done] if done else []
    print(f"  transform  attempt {info.attempt} begins at row {done}")
    for number, line in enumerate(lines[done:], done):
        if info.attempt == 1 and number == 60:
            raise OSError("the disk is full")
        row = json.loads(line)
        kept.append(json.dumps({**row, "square": row["value"] ** 2}))
        if (number + 1) % 25 == 0:
            path.write_text("\n".join(kept) + "\n")
            activity.heartbeat(number + 1)
            await asyncio.sleep(0)
    path.write_text("\n".join(kept) + "\n")
    return str(path)


@activity.defn
def validate(clean: str) -> int:
    """Count the rows, and refuse what is broken."""
    rows = [json.loads(line) for line in Path(clean).read_text().splitlines()]
    assert [row["id"] for row in rows] == list(range(len(rows)))
    print(f"  validate   {len(rows)} rows are good")
    return sum(row["square"] for row in rows)


@workflow.defn
class Pipeline:
    """The stages, in order."""

    def __init__(self) -> None:
        self._stage = "waiting"

    @workflow.run
    async def run(self, job: Job) -> int:
        options = workflow.ActivityConfig(
            start_to_close_timeout=timedelta(minutes=10),
            heartbeat_timeout=timedelta(seconds=10),  # a stage that dies is noticed after this
            retry_policy=RetryPolicy(initial_interval=timedelta(milliseconds=100)),
        )
        self._stage = "extract"
        raw = await workflow.execute_activity(extract, job, **options)
        self._stage = "transform"
        clean = await workflow.execute_activity(transform, raw, **options)
        self._stage = "validate"
        return await workflow.execute_activity(validate, clean, **options)

    @workflow.query
    def stage(self) -> str:
        """What is being done."""
        return self._stage


async def main(url: str) -> None:
    """Run the pipeline over a hundred rows."""
    with tempfile.TemporaryDirectory(prefix="perdure-pipeline-") as folder:
        async with (
            await Client.connect(url) as client,
            Worker(client, task_queue="pipeline", workflows=[Pipeline], activities=[extract, transform, validate]),
        ):
            total = await client.execute_workflow(
                Pipeline.run, Job(folder, 100), id="pipeline-monday", task_queue="pipeline"
            )
            print(f"sum of squares: {total}")


if __name__ == "__main__":
    run(main)
