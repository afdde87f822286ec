"""The kill -9 campaign: is anything that was acknowledged ever lost, or done twice?

    python tests/torture/crash.py                        # 500 kills, durability full, about ten minutes
    python tests/torture/crash.py --kills 50 --seed 7 --durability process
    python tests/torture/crash.py --processes 3          # on one folder: its owner and two guests, any of which is killed

A child process runs worker and client over a mixed load (crash_load.py) on one ``lmdb:`` store; this process kills it
with SIGKILL at a random instant, most often under load, sometimes while it opens the store, and starts the next. A
ledger outside the store holds what the client was told and what activities did. After the last kill everything may
end, and the store is held against the ledger (crash_audit.py): no acknowledged start, signal or result lost, no
activity with ``maximum_attempts=1`` run twice, every history valid and replayable, every workflow ended as it should.

The same seed gives the same loads and the same delays; what the kill hits is the machine's choice.
"""

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

READY = b"ready\n"


@dataclass
class Campaign:
    """The options of a campaign, and what happened so far."""

    kills: int
    seed: str
    durability: str
    folder: Path
    concurrency: int
    load: int
    processes: int = 1
    early: int = 0
    ready_seconds: list[float] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)

    @property
    def ledger(self) -> Path:
        return self.folder / "ledger.jsonl"

    @property
    def url(self) -> str:
        return f"lmdb:{self.folder / 'store'}?durability={self.durability}"


def main() -> None:
    """Run the campaign (or, with --child, one of its processes); exit 1 when a promise was broken."""
    parser = argparse.ArgumentParser(description="Kill a loaded process again and again, then audit what is left.")
    parser.add_argument("--kills", type=int, default=500)
    parser.add_argument("--seed", default=str(random.randrange(10**6)))
    parser.add_argument("--durability", choices=["full", "process"], default="full")
    parser.add_argument("--folder", type=Path, help="where store and ledger go, and stay (default: a temporary folder)")
    parser.add_argument("--concurrency", type=int, default=20, help="scenarios at a time in each process")
    parser.add_argument("--load", type=int, default=100, help="workflows each process may start")
    parser.add_argument("--processes", type=int, default=1, help="how many share the store at a time")
    parser.add_argument("--child", metavar="ROUND", help=argparse.SUPPRESS)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="perdure-torture-") as temporary:
        folder: Path = options.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        campaign = Campaign(
            options.kills,
            options.seed,
            options.durability,
            folder,
            options.concurrency,
            options.load,
            options.processes,
        )
        if options.child is not None:
            asyncio.run(child(campaign, options.child))
        else:
            sys.exit(run(campaign))


async def child(campaign: Campaign, round_name: str) -> None:
    """Open the store, work off what is left, add new load, until killed."""
    import crash_load

    from perdure.client import Client

    logging.basicConfig(level=logging.WARNING)
    # activities that fail on purpose
    logging.getLogger("perdure.activity").setLevel(logging.ERROR)
    crash_load.Book.ledger = ledger = crash_load.Ledger(campaign.ledger)
    crash_load.Book.tokens = asyncio.Queue()
    client = await Client.connect(campaign.url)
    load = crash_load.Load(client, ledger, round_name, random.Random(f"{campaign.seed}/{round_name}/load"))
    with ThreadPoolExecutor(20) as threads:
        async with crash_load.worker(client, threads), asyncio.TaskGroup() as group:
            group.create_task(crash_load.answer_tokens(client))
            os.write(sys.stdout.fileno(), READY)
            group.create_task(load.run(campaign.concurrency, campaign.load))


def run(campaign: Campaign) -> int:
    """Kill, kill, kill; audit; print; give the exit code."""
    import crash_audit

    begun = time.monotonic()
    print(f"{campaign.kills} kills, seed {campaign.seed}, durability {campaign.durability}", flush=True)
    children: list[Child] = []
    for number in range(campaign.kills):
        children.append(Child(campaign, str(number)))
        if len(children) == campaign.processes:
            kill_one(campaign, str(number), children)
        if campaign.faults:
            break
        if number % 50 == 49:
            print(f"  {number + 1} kills, {time.monotonic() - begun:.0f} s", flush=True)
    for left in children:
        left.kill(campaign)
    report = asyncio.run(crash_audit.audit(campaign.url, campaign.ledger, seed=campaign.seed))
    faults = campaign.faults + report.faults
    ready = sorted(campaign.ready_seconds)
    print(
        f"kills: {campaign.kills}, of them {campaign.early} before the process was ready"
        + (f"; ready after {ready[len(ready) // 2]:.2f} s (median), {ready[-1]:.2f} s (worst)" if ready else "")
    )
    report.tell(crash_audit.read(campaign.ledger))
    kinds = Counter(fault.split(" ")[0].partition("-")[0] for fault in faults)
    for fault in faults[:50]:
        print(f"FAULT {fault}")
    print(f"{len(faults)} faults {dict(kinds) or ''} in {time.monotonic() - begun:.0f} s", flush=True)
    return 1 if faults else 0


class Child:
    """One process of the campaign, and what it says on stderr."""

    def __init__(self, campaign: Campaign, round_name: str) -> None:
        self.round_name = round_name
        self.begun = time.monotonic()
        self.log = campaign.folder / f"stderr-{round_name}.log"
        command = [
            sys.executable,
            __file__,
            *("--child", round_name),
            *("--seed", campaign.seed),
            *("--durability", campaign.durability),
            *("--folder", str(campaign.folder)),
            *("--concurrency", str(campaign.concurrency)),
            *("--load", str(campaign.load)),
        ]
        with self.log.open("wb") as stderr:
            self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=stderr)

    def kill(self, campaign: Campaign) -> None:
        """End it, and note what it should not have said or done."""
        alive = self.process.poll() is None
        self.process.send_signal(signal.SIGKILL)
        self.process.communicate()
        said = self.log.read_text(errors="replace")
        self.log.unlink()
        if not alive:
            campaign.faults.append(f"round {self.round_name}: the process ended by itself: {said[-3000:]}")
        elif "Traceback" in said:
            campaign.faults.append(f"round {self.round_name}: the process complained: {said[-3000:]}")


def kill_one(campaign: Campaign, round_name: str, children: list[Child]) -> None:
    """Kill one of the processes: usually some time after the newest is ready, else some time after it was started."""
    rng = random.Random(f"{campaign.seed}/{round_name}/kill")
    newest = children[-1]
    try:
        if rng.random() < 0.85:
            ready = wait_ready(newest.process, 60)
            time.sleep(rng.uniform(0, 0.6))
        else:
            ready = wait_ready(newest.process, rng.uniform(0, 0.8))
        if ready:
            campaign.ready_seconds.append(ready - newest.begun)
        else:
            campaign.early += 1
    finally:
        children.pop(rng.randrange(len(children))).kill(campaign)


def wait_ready(process: subprocess.Popen[bytes], seconds: float) -> float | None:
    """When the process said that it is ready, or None when it did not within that time."""
    assert process.stdout is not None
    readable, _, _ = select.select([process.stdout], [], [], seconds)
    if readable and process.stdout.readline() == READY:
        return time.monotonic()
    return None


if __name__ == "__main__":
    main()
