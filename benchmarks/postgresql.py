"""perdure on PostgreSQL: workflows a second, and what each costs the database.

    python -m benchmarks.postgresql                        # on a server of its own, synchronous_commit=on
    python -m benchmarks.postgresql --processes 1 2 4      # that many processes share the load
    python -m benchmarks.postgresql --stored 10000 100000 1000000   # what a workflow costs where so many runs are stored
    python -m benchmarks.postgresql --url postgresql://...

For each number of processes: throughput at ``--clients`` in flight, the median alone, and for each workflow the round trips
that commit, the bytes of WAL and the processor time (ours, and the server's where it is the benchmark's own). Then the
*floor*: how often the same server commits rows of as many bytes as fast as it can, one connection for each process, with
nothing else to do, and which share of that the workflows' commits reached.

With ``--stored`` the tables are filled up, between measurements, with copies of a closed run: all of its rows, under ids of
their own.
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
from pathlib import Path
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


def processor_time(pid: int) -> float:
    """Seconds that a server and its sessions have used; 0 where that is not known."""
    ticks = 0
    for folder in Path("/proc").glob("[0-9]*") if pid else ():
        try:
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if pid in (int(folder.name), int(fields[1])):
            # Its own, and in the server's that of sessions that have ended.
            ticks += sum(map(int, fields[11 : 15 if int(folder.name) == pid else 13]))
    return ticks / os.sysconf("SC_CLK_TCK")


def measure(url: str, processes: int, count: int, clients: int, server: int = 0) -> tuple[float, float]:
    """Run the load in some processes; returns commits a second, and the bytes of WAL for each."""
    command = [sys.executable, "-m", "benchmarks.postgresql", "--child", "--url", url]
    command += ["--count", str(count // processes), "--clients", str(max(clients // processes, 1))]
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    running = [subprocess.Popen(command, **pipes) for _ in range(processes)]
    for process in running:
        assert process.stdout is not None and process.stdout.readline() == "ready\n"
    written, used, began = asyncio.run(_wal(url)), processor_time(server), time.perf_counter()
    for process in running:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    told = [[float(word) for word in process.stdout.readline().split()] for process in running if process.stdout]
    seconds, used = time.perf_counter() - began, processor_time(server) - used
    written = asyncio.run(_wal(url)) - written
    for process in running:
        process.communicate()
    calls = sum(each[1] for each in told)
    print(
        f"{processes} processes: {count / seconds:.0f} workflows/s; alone p50 {told[0][0] * 1000:.1f} ms; for each workflow "
        f"{calls / count:.3f} round trips that commit, {written / count:.0f} bytes of WAL, "
        f"{sum(each[2] for each in told) / count * 1e6:.0f} us of our processor time, {used / count * 1e6:.0f} us of the "
        f"server's; {calls / seconds:.0f} commits/s",
        flush=True,
    )
    return calls / seconds, written / max(calls, 1)


async def floor(url: str, connections: int, size: float, seconds: float = 5.0) -> float:
    """How many commits a second, of so many bytes of WAL, the server takes."""
    dsn = Settings.parse(url).dsn
    admin = await asyncpg.connect(dsn)
    await admin.execute("DROP TABLE IF EXISTS perdure_floor; CREATE TABLE perdure_floor (row bytea)")
    await admin.execute("ALTER TABLE perdure_floor ALTER row SET STORAGE EXTERNAL")
    end = time.perf_counter() + seconds

    async def loop() -> int:
        connection = await asyncpg.connect(dsn)
        row, done = os.urandom(max(int(size) - 150, 1)), 0
        while time.perf_counter() < end:
            await connection.execute("INSERT INTO perdure_floor SELECT $1", row)
            done += 1
        await connection.close()
        return done

    done = sum(await asyncio.gather(*(loop() for _ in range(connections))))
    await admin.execute("DROP TABLE perdure_floor")
    await admin.close()
    print(f"floor: {done / seconds:.0f} commits/s of {size:.0f} bytes on {connections} connections", flush=True)
    return done / seconds


async def _wal(url: str) -> float:
    connection = await asyncpg.connect(Settings.parse(url).dsn)
    written = float(await connection.fetchval("SELECT pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')"))
    await connection.close()
    return written


# ---- many stored runs

_COPY = 10_000
#: The tables of a run, and the columns in which a copy differs.
_TABLES = ("run", "history", "current_run", "visibility")


async def fill(url: str, runs: int) -> None:
    """Copy the closed run ``model`` until there are so many."""
    settings = Settings.parse(url)
    schema = settings.schema
    connection = await asyncpg.connect(settings.dsn)
    have = await connection.fetchval(f"SELECT count(*) FROM {schema}.run")
    model = await connection.fetchval(f"SELECT run_id FROM {schema}.current_run WHERE workflow_id = 'model'")
    for start in range(have, runs, _COPY):
        end = min(start + _COPY, runs) - 1
        async with connection.transaction():
            await connection.execute("SET LOCAL synchronous_commit = off")
            for table in _TABLES:
                names = await connection.fetch(
                    "SELECT attname FROM pg_attribute WHERE attrelid = $1::text::regclass AND attnum > 0 ORDER BY attnum",
                    f"{schema}.{table}",
                )
                new = {"workflow_id": "'stored-' || i", "run_id": "md5('stored-' || i)::uuid"}
                columns = ", ".join(new.get(name, name) for (name,) in names)
                await connection.execute(
                    f"INSERT INTO {schema}.{table} SELECT {columns} FROM {schema}.{table} t, "
                    f"generate_series({start}, {end}) AS i WHERE t.run_id = $1",
                    model,
                )
    for table in _TABLES:
        await connection.execute(f"VACUUM ANALYZE {schema}.{table}")
    await connection.execute("CHECKPOINT")
    size = await connection.fetchval("SELECT pg_size_pretty(pg_database_size(current_database()))")
    await connection.close()
    print(f"{max(runs, have)} stored runs, {size}:", flush=True)


async def page(url: str) -> None:
    """How long a page of the newest closed runs takes."""
    client = await Client.connect(url)
    times = []
    for _ in range(20):
        began = time.perf_counter()
        found = [run async for run in client.list_workflows("ExecutionStatus = 'Completed'", limit=100, page_size=100)]
        times.append(time.perf_counter() - began)
        assert len(found) == 100
    await client.close()
    print(f"a page of 100: {statistics.median(times) * 1000:.1f} ms", flush=True)


async def _model(url: str) -> None:
    client = await Client.connect(url)
    async with Worker(client, task_queue="model", workflows=[OneActivity], activities=[act]):
        await client.execute_workflow(OneActivity.run, 1, id="model", task_queue="model")
    await client.close()


def run(url: str, options: argparse.Namespace, server: int = 0) -> None:
    """Everything, printed."""
    if options.stored:
        asyncio.run(_model(url))
        for runs in options.stored:
            asyncio.run(fill(url, runs))
            measure(url, 1, options.count, options.clients, server)
            asyncio.run(page(url))
        return
    for number in options.processes:
        rate, size = measure(url, number, options.count, options.clients, server)
        print(f"{rate / asyncio.run(floor(url, number, size)):.0%} of the floor", flush=True)


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="perdure on PostgreSQL, and what it costs the database.")
    parser.add_argument("--url", default="", help="a postgresql:// home (default: a server of its own)")
    parser.add_argument("--processes", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument(
        "--stored", type=int, nargs="+", default=[], help="stored runs at which one process is measured"
    )
    parser.add_argument("--count", type=int, default=5000, help="workflows in each run")
    parser.add_argument("--clients", type=int, default=100, help="in flight, over all processes")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        import uvloop

        uvloop.run(child(options.url, options.count, options.clients))
        return
    if options.url:
        run(options.url, options)
        return
    from tests.support.postgres import Server, with_options

    server = Server({"synchronous_commit": "on", "max_wal_size": "8GB", "shared_buffers": "1GB"})
    try:
        run(with_options(server.url, partitions=1), options, server.pid)
    finally:
        server.remove()


if __name__ == "__main__":
    main()
