"""A store full of sleeping workflows: what each costs in memory, and how long the store takes to open.

    python tests/torture/many_timers.py                      # 100,000 workflows, each waiting on a timer of 30 days
    python tests/torture/many_timers.py --workflows 10000 --durability full

Every phase is a process of its own. Memory is what the process gained per workflow: anonymous memory (its own), and
pages of the store's file that happen to be mapped (the operating system takes those back when it needs them). While
workflows are being started, the engine keeps those last used in a cache of a fixed size; *second half* is what each
workflow of the second half added, once the first half had filled that cache (it takes some 60,000 workflows to do so).
*reopened* is what they weigh in a process that has not touched them. The exit code is 1 when a limit was passed there.
"""

import argparse
import asyncio
import gc
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

from perdure import activity, workflow
from perdure.client import Client
from perdure.worker import Worker

TASK_QUEUE = "timers"
MOST_BYTES_EACH = 2048
MOST_SECONDS_TO_OPEN = 2.0

#: Counted by the workflows themselves: a workflow that sleeps is never run again here, so each counts once.
asleep = 0


@activity.defn
async def hello(name: str) -> str:
    """What a new workflow does to show that the store is open for business."""
    return f"Hello, {name}!"


@workflow.defn
class Sleeper:
    """Waits for a month."""

    @workflow.run
    async def run(self) -> None:
        global asleep
        asleep += 1
        await workflow.sleep(timedelta(days=30))


@workflow.defn
class Hello:
    """One activity."""

    @workflow.run
    async def run(self) -> str:
        return await workflow.execute_activity(hello, "world", start_to_close_timeout=timedelta(seconds=10))


def worker(client: Client) -> Worker:
    """A worker whose cache holds almost nothing, so that all sleepers are evicted."""
    return Worker(
        client, task_queue=TASK_QUEUE, workflows=[Sleeper, Hello], activities=[hello], max_cached_workflows=10
    )


def memory() -> tuple[int, int]:
    """Bytes of this process's own resident memory, and of resident file pages."""
    gc.collect()
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(status["RssAnon"].split()[0]) * 1024, int(status["RssFile"].split()[0]) * 1024


async def start(client: Client, numbers: range) -> None:
    """Start sleepers, 200 at a time, and come back when all of them sleep."""
    remaining = iter(numbers)

    async def one_after_another() -> None:
        for number in remaining:
            await client.start_workflow(Sleeper.run, id=f"sleeper-{number}", task_queue=TASK_QUEUE)

    await asyncio.gather(*[one_after_another() for _ in range(200)])
    while asleep < numbers.stop:
        await asyncio.sleep(0.05)


async def fill(url: str, count: int) -> dict[str, Any]:
    """Start the sleepers and measure what they weigh once they sleep."""
    client = await Client.connect(url)
    try:
        async with worker(client):
            await client.execute_workflow(Hello.run, id="first", task_queue=TASK_QUEUE)
            before = memory()
            begun = time.perf_counter()
            await start(client, range(count // 2))
            half, _ = memory()
            await start(client, range(count // 2, count))
            seconds = time.perf_counter() - begun
            # what follows a workflow task (commit, eviction) is over when another workflow has come all the way through
            await client.execute_workflow(Hello.run, id="last", task_queue=TASK_QUEUE)
            after = memory()
        return {
            "starts_per_second": count / seconds,
            "second_half_bytes_each": (after[0] - half) / (count - count // 2),
            "own_bytes_each": (after[0] - before[0]) / count,
            "file_bytes_each": (after[1] - before[1]) / count,
        }
    finally:
        await client.close()


async def reopen(url: str, count: int) -> dict[str, Any]:
    """Open the filled store, run one new workflow, look at one of the sleepers."""
    before = memory()
    begun = time.perf_counter()
    client = await Client.connect(url)
    opened = time.perf_counter() - begun
    try:
        async with worker(client):
            await client.execute_workflow(Hello.run, id="after", task_queue=TASK_QUEUE)
            first = time.perf_counter() - begun
            after = memory()
            open_count = (await client.count_workflows('ExecutionStatus = "Running"')).count
            if open_count != count:
                raise AssertionError(f"{open_count} workflows are open, not {count}")
            description = await client.get_workflow_handle(f"sleeper-{count // 2}").describe()
            if description.close_time is not None:
                raise AssertionError("a sleeper was closed")
        return {
            "open_seconds": opened,
            "first_result_seconds": first,
            "own_bytes_each": (after[0] - before[0]) / count,
            "file_bytes_each": (after[1] - before[1]) / count,
        }
    finally:
        await client.close()


PHASES: dict[str, Callable[[str, int], Any]] = {"fill": fill, "reopen": reopen}


def main() -> None:
    """Run the phases, print what they measured; exit 1 when a limit was passed."""
    parser = argparse.ArgumentParser(description="Memory and start-up time of a store full of sleeping workflows.")
    parser.add_argument("--workflows", type=int, default=100_000)
    parser.add_argument("--durability", choices=["full", "process"], default="process")
    parser.add_argument("--url", help=argparse.SUPPRESS)
    parser.add_argument("--phase", choices=list(PHASES), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.phase:
        print(json.dumps(asyncio.run(PHASES[options.phase](options.url, options.workflows))))
        return
    with tempfile.TemporaryDirectory(prefix="perdure-timers-") as folder:
        url = f"lmdb:{folder}/store?durability={options.durability}"
        measured = {name: run_phase(name, url, options.workflows) for name in PHASES}
        disk = sum(path.stat().st_blocks * 512 for path in Path(folder).rglob("*") if path.is_file())
    filled, reopened = measured["fill"], measured["reopen"]
    print(
        f"{options.workflows} workflows asleep, durability {options.durability}, {disk / options.workflows:.0f} bytes "
        f"each on disk, {filled['starts_per_second']:.0f} started a second"
    )
    for title, phase in (("running", filled), ("reopened", reopened)):
        own, file = phase["own_bytes_each"], phase["file_bytes_each"]
        print(f"{title:9} {own:6.0f} bytes of own memory each, {file:6.0f} bytes of mapped file each")
    print(f"          {filled['second_half_bytes_each']:6.0f} bytes of own memory each for the second half")
    print(f"opened in {reopened['open_seconds']:.3f} s, first result after {reopened['first_result_seconds']:.3f} s")
    heaviest = reopened["own_bytes_each"]
    if heaviest > MOST_BYTES_EACH or reopened["first_result_seconds"] > MOST_SECONDS_TO_OPEN:
        sys.exit(f"over the limit of {MOST_BYTES_EACH} bytes each or {MOST_SECONDS_TO_OPEN} s")


def run_phase(name: str, url: str, count: int) -> dict[str, Any]:
    """Run one phase in a process of its own."""
    command = [sys.executable, __file__, "--phase", name, "--url", url, "--workflows", str(count)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    result: dict[str, Any] = json.loads(done.stdout)
    return result


if __name__ == "__main__":
    main()
