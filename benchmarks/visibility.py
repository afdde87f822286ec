"""How long listing and counting take over many stored runs: ``python -m benchmarks.visibility [--runs N] [--store memory]``.

The store is filled directly: runs of ten workflow types on four task queues, one in twenty still open, started one second
apart; half of them with custom search attributes. Each filter is listed (one page of 100) and counted; the median of
several calls is printed, and so is the median of a listing right after a commit.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import statistics
import tempfile
import time
import uuid
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec
import orjson

from perdure.api.common.v1 import Payload
from perdure.store.api import Durability, RunKey, RunUpdate, Store, VisibilityRecord
from perdure.store.lmdb import LMDBStore
from perdure.store.memory import MemoryStore
from perdure.store.visibility import parse_query

NAMESPACE = "00000000-0000-4000-8000-000000000001"
TYPES = {
    "Customer": "Keyword",
    "Region": "Keyword",
    "Amount": "Int",
    "Price": "Double",
    "Paid": "Bool",
    "Due": "Datetime",
    "Tags": "KeywordList",
    "Note": "Text",
}
START = 1_700_000_000
SECOND = 1_000_000_000
WORDS = [
    "please",
    "call",
    "before",
    "delivery",
    "leave",
    "at",
    "door",
    "ring",
    "twice",
    "fragile",
    "express",
    "gift",
    "wrapped",
    "return",
    "invoice",
]


def filters(runs: int) -> list[str]:
    """Typical filters; the times are about the newest thousandth of the runs."""
    recent = (START + runs - runs // 1000) * SECOND
    return [
        "",
        "ExecutionStatus = 'Running'",
        "ExecutionStatus = 'Failed' AND WorkflowType = 'Type3'",
        "WorkflowType IN ('Type1', 'Type2') AND TaskQueue = 'queue-1'",
        f"StartTime > {recent}",
        f"WorkflowType = 'Type5' AND ExecutionStatus = 'Completed' AND CloseTime > {recent}",
        f"WorkflowId = 'order-{runs // 2}'",
        f"WorkflowId STARTS_WITH 'order-{str(runs // 2)[:-2]}'",
        "Customer = 'customer-77'",
        "Customer = 'customer-77' AND ExecutionStatus = 'Running'",
        "Region = 'eu' AND ExecutionStatus != 'Completed'",
        "Amount BETWEEN 500 AND 510",
        "Customer STARTS_WITH 'customer-77' AND Amount > 900",
        "Region = 'eu' AND Paid = true",
        "Price < 1.5",
        "Due < '2023-11-14T23:00:00Z'",
        "Tags IN ('tag-5', 'tag-6')",
        "Note = 'fragile'",
        "NOT (ExecutionStatus = 'Completed' OR WorkflowType = 'Type3')",
        "Customer = 'customer-77' OR WorkflowId = 'order-5'",
        "TemporalReportedProblems IS NOT NULL",
    ]


def make_key(number: int) -> RunKey:
    """The key of the n-th run."""
    run_id = uuid.UUID(int=0x018F_0000_0000_7000_8000_0000_0000_0000 + number * 0x9E37_79B9 % 2**32)
    return RunKey(NAMESPACE, f"order-{number}", str(run_id))


def make_record(number: int, rng: random.Random) -> VisibilityRecord:
    """The record of the n-th run."""
    start = (START + number) * SECOND
    key = make_key(number)
    is_open = rng.random() < 0.05
    length = 0 if is_open else 5 + 6 * int(rng.expovariate(0.3))
    execution = start + (rng.randint(1, 600) * SECOND if rng.random() < 0.1 else 0)
    root = number // 1000 * 1000 if number % 10 == 9 else number
    parent = make_key(root) if root != number else RunKey("", "", "")
    return VisibilityRecord(
        key,
        f"Type{number % 10}",
        f"queue-{number % 4}",
        1 if is_open else rng.choices((2, 3, 5, 7), (90, 6, 2, 2))[0],
        start,
        execution,
        0 if is_open else execution + int(rng.expovariate(1 / 600) * SECOND) + 1,
        length,
        length * 120 + rng.randint(0, 99) if length else 0,
        length // 3,
        parent_workflow_id=parent.workflow_id,
        parent_run_id=parent.run_id,
        root_workflow_id=f"order-{root}",
        root_run_id=make_key(root).run_id,
        search_attributes=make_attributes(rng) if number % 2 else b"",
    )


def make_attributes(rng: random.Random) -> bytes:
    """A value of every custom attribute."""
    due = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(START + rng.randint(0, 10_000_000)))
    values: dict[str, Any] = {
        "Customer": f"customer-{rng.randint(0, 999)}",
        "Region": rng.choice(("eu", "us", "asia")),
        "Amount": rng.randint(0, 999),
        "Price": rng.random() * 1000,
        "Paid": rng.random() < 0.5,
        "Due": due,
        "Tags": [f"tag-{rng.randint(0, 999)}", "all"],
        "Note": " ".join(rng.sample(WORDS, 3)),
    }
    return msgspec.msgpack.encode(
        {
            name: Payload({"encoding": b"json/plain", "type": TYPES[name].encode()}, orjson.dumps(value))
            for name, value in values.items()
        }
    )


async def fill(store: Store, runs: int) -> None:
    """Start and close every run, a thousand per commit."""
    rng = random.Random(1)
    for begin in range(0, runs, 1000):
        records = [make_record(number, rng) for number in range(begin, min(begin + 1000, runs))]
        await store.commit(
            [RunUpdate(record.key, 1, b"state", make_current=True, visibility=(None, record)) for record in records]
        )


async def median(calls: int, call: Callable[[], Awaitable[object]]) -> float:
    """The median of several calls, in milliseconds."""
    times = []
    for _ in range(calls):
        begin = time.perf_counter()
        await call()
        times.append((time.perf_counter() - begin) * 1000)
    return statistics.median(times)


async def measure(store: Store, runs: int, calls: int) -> None:
    """Print the table."""
    rng = random.Random(2)
    extra = runs
    print(f"{'filter':78} {'matches':>9} {'list ms':>9} {'fresh ms':>9} {'count ms':>9}")
    for text in filters(runs):
        query = parse_query(text, TYPES)
        matching = (await store.count_runs(NAMESPACE, query))[()]
        listed = await median(calls, lambda query=query: store.list_runs(NAMESPACE, query, 100))
        counted = await median(calls, lambda query=query: store.count_runs(NAMESPACE, query))
        fresh = []
        for _ in range(3):
            record = make_record(extra, rng)
            extra += 1
            await store.commit([RunUpdate(record.key, 1, b"state", visibility=(None, record))])
            fresh.append(await median(1, lambda query=query: store.list_runs(NAMESPACE, query, 100)))
        print(f"{text or '(no filter)':78} {matching:9} {listed:9.2f} {statistics.median(fresh):9.2f} {counted:9.2f}")
    for group in ("ExecutionStatus", "WorkflowType", "Region", "Customer"):
        query = parse_query(f"GROUP BY {group}", TYPES)
        groups = len(await store.count_runs(NAMESPACE, query))
        counted = await median(calls, lambda query=query: store.count_runs(NAMESPACE, query))
        print(f"{'GROUP BY ' + group:78} {groups:9} {'':9} {'':9} {counted:9.2f}")


async def main() -> None:
    """Fill a store and measure it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=1_000_000)
    parser.add_argument("--calls", type=int, default=5)
    parser.add_argument("--store", choices=("lmdb", "memory"), default="lmdb")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="perdure-visibility-") as folder:
        store: Store = (
            await MemoryStore.open()
            if arguments.store == "memory"
            else await LMDBStore.open(Path(folder), durability=Durability.PROCESS)
        )
        begin = time.perf_counter()
        await fill(store, arguments.runs)
        took = time.perf_counter() - begin
        print(f"{arguments.runs:,} runs stored in {took:.0f} s ({took / arguments.runs * 1e6:.0f} us each)")
        await measure(store, arguments.runs, arguments.calls)
        await store.close()


if __name__ == "__main__":
    asyncio.run(main())
