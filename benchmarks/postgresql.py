"""perdure on PostgreSQL: workflows a second, and what each costs the database.

    python -m benchmarks.postgresql                        # on a server of its own, synchronous_commit=on
    python -m benchmarks.postgresql --processes 1 2 4      # that many processes share the load
    python -m benchmarks.postgresql --url postgresql://...

Printed are throughput at ``--clients`` in flight for each number of processes, the median alone, round trips that commit,
bytes of WAL and processor time for each workflow, and the *floor*: how often the same server commits rows of as many bytes
as fast as it can, one connection for each process, with nothing else to do.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import subprocess
import sys
import time
from datetime import timedelta
from typing import Any

import asyncpg

from perdure import activity, workflow
from perdure.client import Client
from perdure.store.postgres import Settings
from perdure.worker import Worker


@activity.defn
async def act(number: int) -> int:
    return number


@workflow.defn
class OneActivity:
    @workflow.run
    async def run(self, number: int) -> int:
        return await workflow.execute_activity(act, number, start_to_close_timeout=timedelta(seconds=30))


async def child(url: str, count: int, clients: int) -> None:
    """One process of the load: says that it is ready, waits for a line, runs, prints what it took."""
    client = await Client.connect(url)
    queue = f"bench-{os.getpid()}"
    async with Worker(client, task_queue=queue, workflows=[OneActivity], activities=[act]):

        async def one(name: str) -> float:
            began = time.perf_counter()
            await client.execute_workflow(OneActivity.run, 1, id=f"{queue}-{name}", task_queue=queue)
            return time.perf_counter() - began

        alone = [await one(f"alone-{number}") for number in range(60)]
        print("ready", flush=True)
        await asyncio.to_thread(sys.stdin.readline)
        store: Any = client.workflow_service.store  # type: ignore[attr-defined]
        calls, processor, left = store.writer.calls, time.process_time(), iter(range(count))

        async def loop() -> None:
            for number in left:
                await one(str(number))

        await asyncio.gather(*(loop() for _ in range(clients)))
        calls, processor = store.writer.calls - calls, time.process_time() - processor
        print(f"{statistics.median(alone[10:])} {calls} {processor}", flush=True)
    await client.close()


def measure(url: str, processes: int, count: int, clients: int) -> float:
    """Run the load in some processes; returns the bytes of WAL for each commit."""
    command = [sys.executable, "-m", "benchmarks.postgresql", "--child", "--url", url]
    command += ["--count", str(count // processes), "--clients", str(max(clients // processes, 1))]
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    running = [subprocess.Popen(command, **pipes) for _ in range(processes)]
    for process in running:
        assert process.stdout is not None and process.stdout.readline() == "ready\n"
    before, began = asyncio.run(_wal(url)), time.perf_counter()
    for process in running:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    told = [[float(word) for word in process.communicate()[0].split()] for process in running]
    seconds = time.perf_counter() - began
    written = asyncio.run(_wal(url)) - before
    calls = sum(each[1] for each in told)
    print(
        f"{processes} processes: {count / seconds:.0f} workflows/s; alone p50 {told[0][0] * 1000:.1f} ms; for each workflow "
        f"{calls / count:.2f} round trips that commit, {written / count:.0f} bytes of WAL, "
        f"{sum(each[2] for each in told) / count * 1e6:.0f} us of our processor time; {calls / seconds:.0f} commits/s",
        flush=True,
    )
    return written / max(calls, 1)


async def floor(url: str, connections: int, size: float, seconds: float = 5.0) -> None:
    """How many commits of so many bytes of WAL the server takes."""
    dsn = Settings.parse(url).dsn
    admin = await asyncpg.connect(dsn)
    await admin.execute("DROP TABLE IF EXISTS perdure_floor; CREATE TABLE perdure_floor (row bytea)")
    end = time.perf_counter() + seconds

    async def loop() -> int:
        connection = await asyncpg.connect(dsn)
        done = 0
        while time.perf_counter() < end:
            await connection.execute("INSERT INTO perdure_floor SELECT $1", os.urandom(max(int(size) - 150, 1)))
            done += 1
        await connection.close()
        return done

    done = sum(await asyncio.gather(*(loop() for _ in range(connections))))
    await admin.execute("DROP TABLE perdure_floor")
    await admin.close()
    print(f"floor: {done / seconds:.0f} commits/s of {size:.0f} bytes on {connections} connections", flush=True)


async def _wal(url: str) -> float:
    connection = await asyncpg.connect(Settings.parse(url).dsn)
    written = float(await connection.fetchval("SELECT pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')"))
    await connection.close()
    return written


def run(url: str, processes: list[int], count: int, clients: int) -> None:
    """Everything, printed."""
    for number in processes:
        size = measure(url, number, count, clients)
        asyncio.run(floor(url, number, size))


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="perdure on PostgreSQL, and what it costs the database.")
    parser.add_argument("--url", default="", help="a postgresql:// home (default: a server of its own)")
    parser.add_argument("--processes", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--count", type=int, default=5000, help="workflows in each run")
    parser.add_argument("--clients", type=int, default=100, help="in flight, over all processes")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        import uvloop

        uvloop.run(child(options.url, options.count, options.clients))
        return
    if options.url:
        run(options.url, options.processes, options.count, options.clients)
        return
    from tests.support.postgres import Server, with_options

    server = Server({"synchronous_commit": "on"})
    try:
        run(with_options(server.url, partitions=1), options.processes, options.count, options.clients)
    finally:
        server.remove()


if __name__ == "__main__":
    main()
