"""The cluster's torture: is anything that was acknowledged ever lost, or done twice, whatever fails?

    python tests/postgres/torture.py                      # 200 faults, 4 processes
    python tests/postgres/torture.py --faults 50 --seed 7

Several processes run workers and clients over the mixed load of the kill -9 campaign (tests/torture/crash_load.py) on one
PostgreSQL, which this process starts for itself with everything durable. At random instants it kills a process with
SIGKILL and starts another one, ends the connections of some (pg_terminate_backend), restarts or crashes the database, or lets
a process stand still for 100 ms, now and then for longer than its lease. A ledger outside the database holds what
clients were told and what activities did; after the last fault everything may end, and the database is held against
the ledger (tests/torture/crash_audit.py).
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import random
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parents[1]), str(HERE.parent / "torture")]

READY = b"ready\n"
LEASE = 3.0
#: What happens, and how often.
FAULTS = {"kill": 40, "disconnect": 25, "stall": 25, "restart": 5, "crash": 3, "long stall": 2}


@dataclass
class Campaign:
    """The options of a campaign, and what happened so far."""

    count: int
    processes: int
    seed: str
    folder: Path
    url: str
    concurrency: int
    pause: float
    children: list[subprocess.Popen[bytes]] = field(default_factory=list)
    started: int = 0
    happened: Counter[str] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)

    @property
    def ledger(self) -> Path:
        return self.folder / "ledger.jsonl"

    def log(self, number: int) -> Path:
        return self.folder / f"process-{number}.log"


def main() -> None:
    """Run the campaign (or, with --child, one of its processes); exit 1 when a promise was broken."""
    parser = argparse.ArgumentParser(description="Break processes, connections and the database, then audit.")
    parser.add_argument("--faults", type=int, default=200)
    parser.add_argument("--processes", type=int, default=4)
    parser.add_argument("--seed", default=str(random.randrange(10**6)))
    parser.add_argument("--concurrency", type=int, default=5, help="scenarios at a time in each process")
    parser.add_argument("--pause", type=float, default=0.5, help="seconds between faults, on average")
    parser.add_argument("--folder", type=Path, help="where ledger and logs go, and stay (default: a temporary folder)")
    parser.add_argument("--child", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--url", default="", help=argparse.SUPPRESS)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="perdure-torture-") as temporary:
        folder: Path = options.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        campaign = Campaign(
            options.faults, options.processes, options.seed, folder, options.url, options.concurrency, options.pause
        )
        if options.child is not None:
            asyncio.run(child(campaign, options.child))
        else:
            sys.exit(run(campaign))


async def child(campaign: Campaign, number: int) -> None:
    """Join the cluster and add load, for ever."""
    import crash_load

    from perdure.client import Client

    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(name)s %(message)s")
    logging.getLogger("perdure.activity").setLevel(logging.ERROR)
    crash_load.Book.ledger = ledger = crash_load.Ledger(campaign.ledger)
    crash_load.Book.tokens = asyncio.Queue()
    client = await Client.connect(campaign.url)
    load = crash_load.Load(client, ledger, str(number), random.Random(f"{campaign.seed}/{number}/load"))
    with ThreadPoolExecutor(20) as threads:
        async with crash_load.worker(client, threads), asyncio.TaskGroup() as group:
            group.create_task(crash_load.answer_tokens(client))
            os.write(sys.stdout.fileno(), READY)
            group.create_task(load.run(campaign.concurrency, 1_000_000))


def run(campaign: Campaign) -> int:
    """Break things; audit; print; give the exit code."""
    import crash_audit

    from tests.support.postgres import Server, with_options

    begun = time.monotonic()
    server = Server({"synchronous_commit": "on"})
    campaign.url = with_options(server.url, lease=LEASE, pool_max=4)
    rng = random.Random(f"{campaign.seed}/faults")
    print(f"{campaign.count} faults, {campaign.processes} processes, seed {campaign.seed}", flush=True)
    try:
        for _ in range(campaign.processes):
            start_child(campaign)
        for number in range(campaign.count):
            time.sleep(rng.uniform(0.2, 1.8) * campaign.pause)
            fault = rng.choices(list(FAULTS), list(FAULTS.values()))[0]
            campaign.happened[fault] += 1
            inflict(campaign, server, fault, rng)
            if campaign.problems:
                break
            if number % 25 == 24:
                print(f"  {number + 1} faults, {time.monotonic() - begun:.0f} s", flush=True)
        for process in campaign.children:
            process.kill()
            process.wait()
        report = asyncio.run(crash_audit.audit(campaign.url, campaign.ledger, seed=campaign.seed, replays=300))
    finally:
        for process in campaign.children:
            process.kill()
        server.remove()
    problems = campaign.problems + report.faults
    print("faults: " + ", ".join(f"{count} {name}" for name, count in campaign.happened.most_common()))
    report.tell(crash_audit.read(campaign.ledger))
    for problem in problems[:50]:
        print(f"PROBLEM {problem}")
    print(f"{len(problems)} problems in {time.monotonic() - begun:.0f} s", flush=True)
    return 1 if problems else 0


def start_child(campaign: Campaign) -> None:
    """Start one more process and wait until it works."""
    number = campaign.started
    campaign.started += 1
    command = [sys.executable, __file__, "--child", str(number), "--seed", campaign.seed, "--url", campaign.url]
    command += ["--folder", str(campaign.folder), "--concurrency", str(campaign.concurrency)]
    with campaign.log(number).open("wb") as log:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log)
    campaign.children.append(process)
    assert process.stdout is not None
    readable, _, _ = select.select([process.stdout], [], [], 90)
    if not readable or process.stdout.readline() != READY:
        campaign.problems.append(f"process {number} did not come up: {said(campaign, number)}")


def said(campaign: Campaign, number: int) -> str:
    return campaign.log(number).read_text(errors="replace")[-4000:]


def inflict(campaign: Campaign, server: object, fault: str, rng: random.Random) -> None:
    """Let one thing go wrong."""
    from tests.support.postgres import Server

    assert isinstance(server, Server)
    index = rng.randrange(len(campaign.children))
    process = campaign.children[index]
    for other in campaign.children:
        if other.poll() is not None:
            number = int(other.args[other.args.index("--child") + 1])  # type: ignore[union-attr, index, arg-type]
            campaign.problems.append(f"process {number} ended by itself: {said(campaign, number)}")
            return
    if fault == "kill":
        process.kill()
        process.wait()
        number = int(process.args[process.args.index("--child") + 1])  # type: ignore[union-attr, index, arg-type]
        if "Traceback" in said(campaign, number):
            campaign.problems.append(f"process {number} complained: {said(campaign, number)}")
        del campaign.children[index]
        start_child(campaign)
    elif fault == "disconnect":
        share = rng.choice((0.2, 0.5, 1.0))
        asyncio.run(disconnect(server.url, share))
    elif fault == "restart":
        server.restart()
    elif fault == "crash":
        server.restart(signal.SIGQUIT)
    else:
        process.send_signal(signal.SIGSTOP)
        time.sleep(0.1 if fault == "stall" else LEASE * 1.7)
        process.send_signal(signal.SIGCONT)


async def disconnect(url: str, share: float) -> None:
    import asyncpg

    connection = await asyncpg.connect(url)
    await connection.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        "WHERE application_name = 'perdure' AND random() < $1::float8".replace("$1", str(share))
    )
    await connection.close()


if __name__ == "__main__":
    main()
