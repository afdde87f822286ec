"""After the last kill: let everything end, then hold the store against the ledger."""

import asyncio
import json
import logging
import random
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import crash_load
import history_rules

from perdure.api.enums.v1 import EventType, WorkflowTaskFailedCause
from perdure.client import Client, WorkflowExecution, WorkflowExecutionStatus, WorkflowHistory
from perdure.service import RPCError, RPCStatusCode
from perdure.worker import Replayer

Status = WorkflowExecutionStatus

#: scenario -> (how its last run ends, its result; None: decided by the ledger)
ENDS: dict[str, tuple[Status, Any]] = {
    "steps": (Status.COMPLETED, 3),
    "once": (Status.COMPLETED, None),
    "timers": (Status.COMPLETED, 1 + 2 + 3 + 4),
    "signals": (Status.COMPLETED, None),
    "parent": (Status.COMPLETED, 2 + 2 + 7),
    "child": (Status.COMPLETED, 2),
    "heard": (Status.COMPLETED, [7]),
    "hops": (Status.COMPLETED, 3),
    "canceled": (Status.CANCELED, None),
    "terminated": (Status.TERMINATED, None),
    "timedout": (Status.TIMED_OUT, None),
    "heartbeats": (Status.COMPLETED, 6),
    "outside": (Status.COMPLETED, 2),
    "retried": (Status.COMPLETED, 2),
}
#: What runs before the last one of a chain may have ended as.
CHAINS = {"hops": Status.CONTINUED_AS_NEW, "retried": Status.FAILED}


@dataclass
class Books:
    """The ledger, read."""

    starting: set[str] = field(default_factory=set)
    started: set[str] = field(default_factory=set)
    results: dict[str, Any] = field(default_factory=dict)
    signaling: dict[str, list[int]] = field(default_factory=lambda: defaultdict(list))
    signaled: dict[str, list[int]] = field(default_factory=lambda: defaultdict(list))
    activities: Counter[tuple[str, str, str, bool]] = field(default_factory=Counter)
    other: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    faults: list[str] = field(default_factory=list)


def read(path: Path) -> Books:
    """Read the ledger; the last line of a killed process may be cut short."""
    books = Books()
    for line in path.read_text().splitlines():
        fact = json.loads(line)
        workflow_id = fact["id"]
        match fact["fact"]:
            case "starting":
                books.starting.add(workflow_id)
            case "started":
                books.started.add(workflow_id)
            case "result":
                books.results[workflow_id] = fact["value"]
            case "signaling":
                books.signaling[workflow_id].append(fact["number"])
            case "signaled":
                books.signaled[workflow_id].append(fact["number"])
            case "activity":
                books.activities[workflow_id, fact["run"], fact["activity"], fact["once"]] += 1
            case "stale query":
                books.faults.append(f"{workflow_id}: a query after signal {fact['number']} saw {fact['noted']}")
            case other:
                books.other[other].add(workflow_id)
    return books


@dataclass
class Report:
    """What the audit found."""

    workflows: int = 0
    runs: int = 0
    events: int = 0
    statuses: Counter[str] = field(default_factory=Counter)
    replayed: int = 0
    lost_once: int = 0
    drain_seconds: float = 0
    faults: list[str] = field(default_factory=list)

    def tell(self, books: Books) -> None:
        """Print what was acknowledged and what became of it."""
        print(
            f"acknowledged: {len(books.started)} starts, {sum(map(len, books.signaled.values()))} signals, "
            f"{len(books.results)} results; {sum(books.activities.values())} activity attempts"
        )
        print(
            f"store: {self.workflows} workflows, {self.runs} runs, {self.events} events; "
            f"{self.replayed} histories replayed; all ended {self.drain_seconds:.1f} s after the last start"
        )
        print("ended as: " + ", ".join(f"{count} {name}" for name, count in sorted(self.statuses.items())))


async def audit(url: str, ledger: Path, *, seed: str, patience: float = 180, replays: int = 1000) -> Report:
    """Open the store once more, let every workflow end, and check every promise.

    ``patience`` is how long the open workflows may take to end; ``replays`` how many histories are replayed.
    """
    books = read(ledger)
    report = Report(faults=books.faults)
    client = await Client.connect(url)
    try:
        await _drain(client, ledger, report, patience)
        # the drain's own activities are in the ledger too
        books = read(ledger)
        runs = [execution async for execution in client.list_workflows()]
        report.runs = len(runs)
        chains: dict[str, list[WorkflowExecution]] = defaultdict(list)
        for execution in runs:
            chains[execution.id].append(execution)
            report.statuses[execution.status.name if execution.status else "NONE"] += 1
        report.workflows = len(chains)
        lost = sorted(books.started - chains.keys())
        report.faults += [f"{workflow_id}: its start was acknowledged, then lost" for workflow_id in lost]
        report.faults += [f"{odd}: nobody started it" for odd in sorted(_strangers(books, chains.keys()))]
        for workflow_id, executions in chains.items():
            executions.sort(key=lambda execution: execution.start_time)
            report.faults += [f"{workflow_id}: {fault}" async for fault in _chain_faults(client, books, executions)]
        report.faults += list(_once_faults(books))
        await _histories(client, runs, report, random.Random(f"{seed}/audit"), replays)
        report.lost_once = sum(
            1 for workflow_id, value in books.results.items() if workflow_id.startswith("once-") and value == "lost"
        )
    finally:
        await client.close()
    return report


def _strangers(books: Books, found: Any) -> set[str]:
    return {
        workflow_id
        for workflow_id in found
        if workflow_id not in books.starting and not workflow_id.startswith(("child-", "heard-"))
    }


async def _drain(client: Client, ledger: Path, report: Report, patience: float) -> None:
    """Run a worker until nothing is open, telling those who wait for a client what it had no time to say."""
    begun = time.monotonic()
    logging.getLogger("perdure.activity").setLevel(logging.ERROR)
    crash_load.Book.ledger = crash_load.Ledger(ledger)
    crash_load.Book.tokens = asyncio.Queue()
    answering = asyncio.create_task(crash_load.answer_tokens(client))
    told: set[str] = set()
    with ThreadPoolExecutor(20) as threads:
        async with crash_load.worker(client, threads):
            while True:
                waiting = [each async for each in client.list_workflows('ExecutionStatus = "Running"')]
                if not waiting or time.monotonic() - begun > patience:
                    break
                for execution in waiting:
                    if execution.id not in told:
                        told.add(execution.id)
                        await _tell(client, execution.id)
                await asyncio.sleep(0.2)
    answering.cancel()
    report.drain_seconds = time.monotonic() - begun
    for execution in waiting:
        described = await client.get_workflow_handle(execution.id).describe()
        report.faults.append(f"{execution.id}: still open after {patience:.0f} s: {described.raw_description}")


async def _tell(client: Client, workflow_id: str) -> None:
    handle = client.get_workflow_handle(workflow_id)
    try:
        match workflow_id.partition("-")[0]:
            case "signals":
                await handle.signal("finish")
            case "canceled":
                await handle.cancel()
            case "terminated":
                await handle.terminate("enough")
    except RPCError as error:
        if error.status != RPCStatusCode.NOT_FOUND:
            raise


async def _chain_faults(client: Client, books: Books, executions: list[WorkflowExecution]) -> Any:
    """What is wrong with a workflow's runs, oldest first, and its result."""
    workflow_id = executions[0].id
    scenario = workflow_id.partition("-")[0]
    status, expected = ENDS[scenario]
    statuses = [execution.status for execution in executions]
    before = CHAINS.get(scenario)
    if statuses[-1] != status or any(each != before for each in statuses[:-1]):
        yield f"ended as {[each and each.name for each in statuses]}, not as {status.name}"
        return
    if status != Status.COMPLETED:
        return
    result = await client.get_workflow_handle(workflow_id).result()
    if workflow_id in books.results and books.results[workflow_id] != result:
        yield f"the client was given the result {books.results[workflow_id]}, the store has {result}"
    if expected is not None and result != expected:
        yield f"its result is {result}, not {expected}"
    if scenario == "signals":
        for fault in _signal_faults(books, workflow_id, result):
            yield fault
    if scenario == "once":
        run = executions[-1].run_id
        entered = sum(count for key, count in books.activities.items() if key[1] == run)
        if entered > 1 or (result == "done" and entered != 1):
            yield f"its activity ran {entered} times and the result is {result!r}"


def _signal_faults(books: Books, workflow_id: str, result: list[int]) -> Iterator[str]:
    lost = sorted(set(books.signaled[workflow_id]) - set(result))
    if lost:
        yield f"signals {lost} were acknowledged, then lost"
    if len(set(result)) != len(result):
        yield f"signals came twice: {result}"
    if result != sorted(result):
        yield f"signals came out of order: {result}"
    strange = set(result) - set(books.signaling[workflow_id]) - {0}
    if strange:
        yield f"signals that nobody sent: {sorted(strange)}"


def _once_faults(books: Books) -> Iterator[str]:
    for (workflow_id, run, activity_id, once), count in books.activities.items():
        if once and count > 1:
            yield f"{workflow_id} run {run}: activity {activity_id} with maximum_attempts=1 ran {count} times"


async def _histories(
    client: Client, runs: list[WorkflowExecution], report: Report, rng: random.Random, replays: int
) -> None:
    """Check the rules of every history, and replay a sample."""
    sample = set(rng.sample(range(len(runs)), min(replays, len(runs))))
    chosen: list[WorkflowHistory] = []
    for number, execution in enumerate(runs):
        handle = client.get_workflow_handle(execution.id, run_id=execution.run_id)
        history = await handle.fetch_history()
        report.events += len(history.events)
        named = f"{execution.id} run {execution.run_id}"
        report.faults += [f"{named}: {fault}" for fault in history_rules.faults(history.events)]
        report.faults += [
            f"{named}: event {event.event_id} is WorkflowTaskFailed: {event.attributes.failure}"
            for event in history.events
            if event.event_type == EventType.EVENT_TYPE_WORKFLOW_TASK_FAILED
            # A run that is terminated while another process has its workflow task, as in Temporal's histories.
            and event.attributes.cause != WorkflowTaskFailedCause.WORKFLOW_TASK_FAILED_CAUSE_FORCE_CLOSE_COMMAND
        ]
        if number in sample:
            chosen.append(history)
    replayer = Replayer(workflows=crash_load.WORKFLOWS)
    for history in chosen:
        replayed = await replayer.replay_workflow(history, raise_on_replay_failure=False)
        report.replayed += 1
        if replayed.replay_failure is not None:
            report.faults.append(f"{history.workflow_id}: does not replay: {replayed.replay_failure!r}")
