"""How long listing and counting take over many stored runs: ``python -m benchmarks.visibility [--runs N] [--store memory]``.

The store is filled directly: runs of ten workflow types on four task queues, one in twenty still open, started one second
apart; half of them with custom search attributes. Each filter is listed (one page of 100, the first and one from the
middle) and counted; the median of several calls is printed, and so is the time of a listing right after a commit. Local
stores answer in the calling thread, so its CPU time is what is measured: other work on the machine does not count.
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
from perdure.store.visibility import parse_query, write_token

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


def filters(runs: int) -> dict[str, list[str]]:
    """Filters by what they are about; the times are about the newest thousandth of the runs."""
    recent = (START + runs - runs // 1000) * SECOND
    middle = (START + runs // 2) * SECOND
    half, tenth = f"order-{runs // 2}", f"order-{str(runs // 2)[:-2]}"
    run_id = make_key(runs // 2).run_id
    numbers = {
        "HistoryLength": (11, 41, 95),
        "HistorySizeBytes": (1400, 5000, 12000),
        "StateTransitionCount": (3, 13, 31),
        "ExecutionDuration": ("'1s'", "'10m'", "'2h'"),
        "Amount": (10, 500, 990),
        "Price": (1.5, 500.0, 999.5),
    }
    times = {"StartTime": middle, "ExecutionTime": middle, "CloseTime": middle, "Due": (START + 5_000_000) * SECOND}
    many = ", ".join(f"'customer-{number}'" for number in range(0, 900, 3))
    return {
        "buckets": [
            "",
            "ExecutionStatus = 'Running'",
            "ExecutionStatus != 'Completed'",
            "ExecutionStatus = 'Failed' AND WorkflowType = 'Type3'",
            "WorkflowType IN ('Type1', 'Type2') AND TaskQueue = 'queue-1'",
            "WorkflowType STARTS_WITH 'Type' AND TaskQueue BETWEEN 'queue-1' AND 'queue-2'",
        ],
        "ids": [
            f"WorkflowId = '{half}'",
            f"WorkflowId != '{half}'",
            f"WorkflowId > '{half}'",
            f"WorkflowId STARTS_WITH '{tenth}'",
            "WorkflowId STARTS_WITH 'o'",
            "WorkflowId STARTS_WITH 'order-7'",
            f"RunId = '{run_id}'",
            f"RunId != '{run_id}'",
            f"RunId < '{run_id}'",
            f"ParentWorkflowId = 'order-{runs // 2}'",
            f"ParentRunId = '{run_id}'",
            "ParentWorkflowId IS NULL",
            "ParentRunId IS NOT NULL",
            f"RootWorkflowId = '{half}'",
            f"RootRunId = '{run_id}'",
            f"RootWorkflowId != '{half}'",
        ],
        "numbers": [
            test
            for name, (low, mid, high) in numbers.items()
            for test in (
                f"{name} = {mid}",
                f"{name} != {mid}",
                f"{name} < {low}",
                f"{name} > {low}",
                f"{name} > {high}",
                f"{name} BETWEEN {low} AND {mid}",
                f"{name} NOT BETWEEN {low} AND {mid}",
                f"{name} IN ({low}, {mid}, {high})",
                f"{name} IS NULL",
                f"{name} IS NOT NULL",
            )
        ],
        "times": [
            f"StartTime > {recent}",
            *(
                test
                for name, time in times.items()
                for test in (
                    f"{name} < {time}",
                    f"{name} >= {time}",
                    f"{name} BETWEEN {time} AND {time + 1000 * SECOND}",
                    f"{name} NOT BETWEEN {time} AND {time + 1000 * SECOND}",
                    f"{name} IS NULL",
                )
            ),
        ],
        "keywords": [
            "Customer = 'customer-77'",
            "Customer != 'customer-77'",
            "Customer > 'customer-5'",
            "Customer STARTS_WITH 'c'",
            "Customer STARTS_WITH 'customer-77'",
            "Customer NOT STARTS_WITH 'customer-7'",
            f"Customer IN ({many})",
            f"Customer NOT IN ({many})",
            "Customer IS NULL",
            "Customer IS NOT NULL",
            "Region = 'eu'",
            "Paid = true",
            "Paid != true",
            "Paid IS NULL",
            "Tags = 'tag-5'",
            "Tags IN ('tag-5', 'tag-6')",
            "Tags NOT IN ('tag-5', 'tag-6')",
            "Tags != 'all'",
            "Tags IS NULL",
            "Note = 'fragile'",
            "Note != 'fragile'",
            "Note IS NULL",
            "TemporalReportedProblems IS NOT NULL",
        ],
        "together": [
            f"WorkflowType = 'Type5' AND ExecutionStatus = 'Completed' AND CloseTime > {recent}",
            "Customer = 'customer-77' AND ExecutionStatus = 'Running'",
            "Region = 'eu' AND ExecutionStatus != 'Completed'",
            "Customer STARTS_WITH 'customer-77' AND Amount > 900",
            "Region = 'eu' AND Paid = true",
            "Region = 'eu' AND Paid = true AND Amount > 100 AND Tags = 'all'",
            "Region = 'eu' AND Amount = 5 AND HistoryLength > 30",
            "HistoryLength > 11 AND StateTransitionCount > 3 AND ExecutionDuration < '10m'",
            "NOT (ExecutionStatus = 'Completed' OR WorkflowType = 'Type3')",
            "NOT (Region = 'eu' OR Amount > 100)",
            "Customer = 'customer-77' OR WorkflowId = 'order-5'",
            "Customer = 'customer-77' OR HistoryLength > 95",
            "Region = 'us' OR ExecutionDuration > '1h' OR ParentWorkflowId IS NOT NULL",
            "(Region = 'eu' AND Price < 500.0) OR (Region = 'us' AND Price > 500.0 AND NOT Paid = false)",
        ],
    }


ORDERS = (
    "StartTime",
    "ExecutionTime",
    "CloseTime",
    "ExecutionDuration",
    "HistoryLength",
    "HistorySizeBytes",
    "StateTransitionCount",
    "WorkflowId",
    "WorkflowType",
    "TaskQueue",
    "ExecutionStatus",
    "ParentWorkflowId",
    "Customer",
    "Region",
    "Amount",
    "Price",
    "Paid",
    "Due",
)
GROUPS = (
    "ExecutionStatus",
    "WorkflowType",
    "TaskQueue",
    "Region",
    "Paid",
    "Customer",
    "ParentWorkflowId",
    "WorkflowId",
)


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
    """The median of several calls, in milliseconds of this thread; once is enough for a slow one."""
    times: list[float] = []
    while len(times) < calls and sum(times) < 2000:
        begin = time.thread_time()
        await call()
        times.append((time.thread_time() - begin) * 1000)
    return statistics.median(times)


class Table:
    """Measures filters and prints a row for each."""

    def __init__(self, store: Store, runs: int, calls: int, stored: int) -> None:
        self._store = store
        self._calls = calls
        self._rng = random.Random(2)
        self._extra = stored
        self._deep = make_record(runs // 2 - runs // 2 % 20 + 1, self._rng)
        self.worst = 0.0

    async def row(self, text: str, *, fresh: bool = False) -> None:
        """List the first and a deep page, list after a commit, count."""
        query = parse_query(text, TYPES)
        store = self._store
        listed = await median(self._calls, lambda: store.list_runs(NAMESPACE, query, 100))
        token = write_token(query, self._deep)
        deep = await median(self._calls, lambda: store.list_runs(NAMESPACE, query, 100, token))
        times = [listed, deep]
        if fresh:
            record = make_record(self._extra, self._rng)
            self._extra += 1
            await store.commit([RunUpdate(record.key, 1, b"state", visibility=(None, record))])
            times.append(await median(1, lambda: store.list_runs(NAMESPACE, query, 100)))
        counted = parse_query(text.partition("ORDER BY")[0], TYPES)
        matching = sum((await store.count_runs(NAMESPACE, counted)).values())
        times.append(await median(self._calls, lambda: store.count_runs(NAMESPACE, counted)))
        self._print(text, matching, times)

    async def group(self, text: str, name: str) -> None:
        """Count in groups."""
        query = parse_query(f"{text} GROUP BY {name}", TYPES)
        groups = len(await self._store.count_runs(NAMESPACE, query))
        self._print(
            f"{text} GROUP BY {name}",
            groups,
            [await median(self._calls, lambda: self._store.count_runs(NAMESPACE, query))],
        )

    def _print(self, text: str, matching: int, times: list[float]) -> None:
        self.worst = max(self.worst, *times)
        shown = text if len(text) <= 90 else text[:87] + "..."
        print(f"{shown or '(no filter)':90} {matching:9} " + " ".join(f"{each:9.2f}" for each in times), flush=True)


async def measure(store: Store, runs: int, calls: int) -> None:
    """Print the table."""
    table = Table(store, runs, calls, (await store.count_runs(NAMESPACE, None))[()])
    print(
        f"{'':90} {'matches':>9} " + " ".join(f"{name:>9}" for name in ("list ms", "deep ms", "fresh ms", "count ms"))
    )
    for about, texts in filters(runs).items():
        print(f"-- {about}")
        for text in texts:
            await table.row(text, fresh=True)
    for text in ("", "Region = 'eu'"):
        print(f"-- orders of {text or 'all runs'}: list, deep, count")
        for name in ORDERS:
            for direction in ("", " DESC"):
                await table.row(f"{text} ORDER BY {name}{direction}".strip())
    await table.row("ORDER BY Region, Amount DESC, StartTime")
    print("-- groups: count")
    for text in ("", "Amount > 100"):
        for name in GROUPS:
            await table.group(text, name)
    print(f"the slowest took {table.worst:.2f} ms")


async def main() -> None:
    """Fill a store and measure it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=1_000_000)
    parser.add_argument("--calls", type=int, default=5)
    parser.add_argument("--store", choices=("lmdb", "memory"), default="lmdb")
    parser.add_argument("--keep", type=Path, help="an LMDB store to fill if it is not there, and to leave there")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="perdure-visibility-") as folder:
        store: Store = (
            await MemoryStore.open()
            if arguments.store == "memory"
            else await LMDBStore.open(arguments.keep or Path(folder), durability=Durability.PROCESS)
        )
        if not (await store.count_runs(NAMESPACE, None))[()]:
            begin = time.perf_counter()
            await fill(store, arguments.runs)
            took = time.perf_counter() - begin
            print(f"{arguments.runs:,} runs stored in {took:.0f} s ({took / arguments.runs * 1e6:.0f} us each)")
        await measure(store, arguments.runs, arguments.calls)
        await store.close()


if __name__ == "__main__":
    asyncio.run(main())
