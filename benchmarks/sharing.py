"""Several processes on one ``lmdb:`` folder: workflows a second, and what each process spends on one.

    python -m benchmarks.sharing                      # durability full
    python -m benchmarks.sharing --durability process --count 20000

One process owns the store, the others are its guests. Measured are: everything in the owner; the owner and a guest, each
with half of the clients and a worker for them; an owner that only serves, with one and with two guests that have the
clients and the workers. Each process starts its own workflows on a task queue of its own.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from typing import Any

from benchmarks.instructions import OneActivity, echo
from perdure.client import Client
from perdure.worker import Worker


@dataclass(frozen=True)
class Set:
    """How the work is shared: whether the owner has clients and a worker too, and how many guests there are."""

    title: str
    is_owner_loaded: bool
    guests: int


SETS = (
    Set("the owner alone", True, 0),
    Set("the owner and a guest", True, 1),
    Set("an owner that only serves, one guest", False, 1),
    Set("an owner that only serves, two guests", False, 2),
)


async def child(url: str, count: int, clients: int) -> None:
    """One process: connects and says so; at a line begins, and tells what it took; at another it ends."""
    async with await Client.connect(url) as client:
        queue = f"bench-{os.getpid()}"
        async with Worker(client, task_queue=queue, workflows=[OneActivity], activities=[echo]):

            async def one(name: str) -> float:
                began = time.perf_counter()
                await client.execute_workflow(OneActivity.run, "x", id=f"{queue}-{name}", task_queue=queue)
                return time.perf_counter() - began

            alone = [await one(f"alone-{number}") for number in range(200)] if count else [0.0]
            print("ready", flush=True)
            await asyncio.to_thread(sys.stdin.readline)
            processor, left = time.process_time(), iter(range(count))

            async def loop() -> None:
                for number in left:
                    await one(str(number))

            await asyncio.gather(*(loop() for _ in range(clients)))
            print("done", flush=True)
            await asyncio.to_thread(sys.stdin.readline)
            print(statistics.median(alone), time.process_time() - processor, flush=True)
            await asyncio.to_thread(sys.stdin.readline)


def measure(shape: Set, durability: str, count: int, clients: int) -> float:
    """Run one set; prints it and returns workflows a second."""
    loaded = shape.guests + shape.is_owner_loaded
    running: list[subprocess.Popen[str]] = []
    with tempfile.TemporaryDirectory(prefix="perdure-sharing-") as folder:
        url = f"lmdb:{folder}/store?durability={durability}"
        for number in range(shape.guests + 1):
            is_loaded = number > 0 or shape.is_owner_loaded
            command = [sys.executable, "-m", "benchmarks.sharing", "--child", url]
            command += [
                "--count",
                str(count // loaded if is_loaded else 0),
                "--clients",
                str(max(clients // loaded, 1)),
            ]
            pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
            running.append(subprocess.Popen(command, **pipes))
            _hear(running[-1], "ready")
        began = time.perf_counter()
        for process in running:
            _say(process)
        for process in running:
            _hear(process, "done")
        seconds = time.perf_counter() - began
        told = []
        for process in running:
            _say(process)
            assert process.stdout is not None
            told.append([float(word) for word in process.stdout.readline().split()])
        for process in reversed(running):
            _say(process)
            process.wait()
    spent = ", ".join(f"{each[1] / count * 1e6:.0f}" for each in told)
    alone = next(each[0] for each in reversed(told) if each[0])
    print(
        f"{shape.title}: {count / seconds:.0f} workflows/s, alone p50 {alone * 1000:.2f} ms; "
        f"processor time of each process for a workflow: {spent} us",
        flush=True,
    )
    return count / seconds


def _say(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()


def _hear(process: subprocess.Popen[str], word: str) -> None:
    assert process.stdout is not None
    heard = process.stdout.readline()
    if heard != f"{word}\n":
        raise RuntimeError(f"a process of the benchmark ended without {word!r}")


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="Several processes on one LMDB store.")
    parser.add_argument("--durability", choices=["full", "process"], default="full")
    parser.add_argument("--count", type=int, default=10_000, help="workflows in each run")
    parser.add_argument("--clients", type=int, default=100, help="in flight, over all processes")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        import uvloop

        uvloop.run(child(options.child, options.count, options.clients))
        return
    print(f"lmdb:, durability {options.durability}, {options.clients} in flight")
    base = 0.0
    for shape in SETS:
        rate = measure(shape, options.durability, options.count, options.clients)
        base = base or rate
        print(f"  {rate / base:.2f} times the owner alone")


if __name__ == "__main__":
    main()
