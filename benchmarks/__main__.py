"""`python -m benchmarks`: measure perdure and every peer that is installed, on this machine, in one run."""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from . import machine, servers
from .long_history import activities_history
from .peers import PEERS, Peer
from .report import table
from .workloads import FULL, QUICK, Sizes, plan

ROOT = Path(__file__).parents[1]
GO_PROGRAM = Path(os.environ.get("BENCH_TEMPORAL_GO", ROOT / "build" / "benchmarks" / "temporal-go"))
OTHERS = ("start_up", "install_size")


def python_of(peer: Peer) -> str:
    """The interpreter that has the peer: ours has perdure, BENCH_PYTHON may name one with the others."""
    return sys.executable if peer.name == "perdure" else os.environ.get("BENCH_PYTHON", sys.executable)


def environment() -> dict[str, str]:
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep),
    }


def missing(peer: Peer) -> str:
    """What is not here that the peer needs, in words; "" if it can run."""
    if peer.server and servers.executable(peer.server) is None:
        return f"no {peer.server} server on the path"
    if peer.adapter == "go":
        return "" if GO_PROGRAM.exists() else f"{GO_PROGRAM} is not built"
    found = subprocess.run(
        [python_of(peer), "-c", f"import {peer.module}"], capture_output=True, check=False, env=environment()
    )
    return "" if found.returncode == 0 else f"no {peer.module.split('.')[0]} for {python_of(peer)}"


def version_of(peer: Peer) -> str:
    parts = [servers.version(peer.server)] if peer.server else []
    if peer.distribution:
        code = f"from importlib.metadata import version; print(version({peer.distribution!r}))"
        output = subprocess.run(
            [python_of(peer), "-c", code], capture_output=True, text=True, check=False, env=environment()
        )
        parts.append(f"{peer.distribution} {output.stdout.strip() or 'from its source tree'}")
    if peer.adapter == "go":
        output = subprocess.run(["go", "version", "-m", GO_PROGRAM], capture_output=True, text=True, check=False)
        sdk = next((line.split()[2] for line in output.stdout.splitlines() if "\tgo.temporal.io/sdk\t" in line), "")
        parts.append(f"go.temporal.io/sdk {sdk}")
    return ", ".join(parts)


class Run:
    """One run of the benchmark: its sizes, limits and rows."""

    def __init__(self, sizes: Sizes, timeout: float) -> None:
        self.sizes = sizes
        self.timeout = timeout
        self.rows: list[dict[str, Any]] = []

    def row(
        self, peer: Peer, workload: str, status: str, note: str = "", metrics: dict[str, Any] | None = None
    ) -> None:
        row = {
            "title": peer.title,
            "workload": workload,
            "durability": peer.durability,
            "status": status,
            "note": note,
            "metrics": metrics or {},
        }
        self.rows.append(row)
        shown = " ".join(
            f"{name}={value:.4g}" if isinstance(value, float) else f"{name}={value}"
            for name, value in row["metrics"].items()
        )
        print(f"{peer.title}: {workload}: {status} {note} {shown}".rstrip(), file=sys.stderr, flush=True)

    def measure(self, peer: Peer, workloads: list[str]) -> None:
        """All the workloads on one peer, with one server if it needs any."""
        reason = missing(peer)
        if reason:
            for workload in workloads:
                self.row(peer, workload, "not installed", reason)
            return
        timed = [workload for workload in workloads if workload not in OTHERS]
        with tempfile.TemporaryDirectory(prefix="bench-", ignore_cleanup_errors=True) as folder:
            if timed:
                with servers.running(peer, Path(folder)) as (address, pid):
                    for index, workload in enumerate(timed):
                        own = Path(folder) / str(index)
                        own.mkdir()
                        self.one(peer, workload, own, address, pid)
        if "start_up" in workloads:
            self.start_up(peer)
        if "install_size" in workloads:
            self.install_size(peer)

    def one(self, peer: Peer, workload: str, folder: Path, address: str, pid: int) -> None:
        try:
            result = self.ask(peer, workload, folder, address, pid)
        except subprocess.TimeoutExpired:
            self.row(peer, workload, "too slow", f"not done in {self.timeout:.0f} s")
        except RuntimeError as error:
            self.row(peer, workload, "failed", str(error))
        else:
            if "not_offered" in result:
                self.row(peer, workload, "not offered", result["not_offered"])
            else:
                self.row(peer, workload, "ok", metrics=result["metrics"])

    def ask(self, peer: Peer, workload: str, folder: Path, address: str, pid: int) -> dict[str, Any]:
        """Run the workload in a process of its own and read the metrics that it prints."""
        if peer.adapter == "go":
            command, text = self.go_command(workload, address, pid), None
            if workload == "replay":
                text = activities_history("Chain", "act", self.sizes.events, go=True)
        else:
            task = {
                "adapter": peer.adapter,
                "workload": workload,
                "folder": str(folder),
                "address": address,
                "server_pid": pid,
                "options": dict(peer.options),
                "sizes": dataclasses.asdict(self.sizes),
            }
            command, text = [python_of(peer), "-m", "benchmarks.measure", json.dumps(task)], None
        done = subprocess.run(
            command,
            input=text,
            capture_output=True,
            text=True,
            check=False,
            timeout=self.timeout,
            cwd=folder,
            env=environment(),
        )
        if done.returncode != 0:
            last = (done.stderr.strip().splitlines() or ["no output"])[-1]
            raise RuntimeError(f"exit status {done.returncode}: {last}")
        last = done.stdout.strip().splitlines()[-1]
        result: dict[str, Any] = json.loads(last)
        return {"metrics": result} if peer.adapter == "go" else result

    def go_command(self, workload: str, address: str, pid: int) -> list[str]:
        counts = {"fan_out": self.sizes.width, "signals": self.sizes.signals, "sleeping": self.sizes.sleeping}
        count = counts.get(workload) or (int(workload.rsplit("_", 1)[1]) if workload[-1].isdigit() else 1)
        options = {
            "address": address,
            "workload": workload,
            "count": count,
            "seconds": self.sizes.seconds,
            "sleeping-seconds": self.sizes.sleeping_seconds,
            "server-pid": pid,
        }
        return [str(GO_PROGRAM), *(f"-{name}={value}" for name, value in options.items())]

    def start_up(self, peer: Peer) -> None:
        """Importing it; and from nothing to the first result, the server's own start included."""
        metrics: dict[str, Any] = {}
        if peer.module:
            metrics["import_s"] = machine.import_seconds(python_of(peer), peer.module, self.sizes.starts)
        taken = []
        for _ in range(self.sizes.starts):
            with tempfile.TemporaryDirectory(prefix="bench-", ignore_cleanup_errors=True) as folder:
                started = time.perf_counter()
                try:
                    with servers.running(peer, Path(folder)) as (address, pid):
                        self.ask(peer, "first_result", Path(folder), address, pid)
                        taken.append(time.perf_counter() - started)
                except (RuntimeError, subprocess.TimeoutExpired) as error:
                    self.row(peer, "start_up", "failed", str(error))
                    return
        metrics["first_result_s"] = min(taken)
        self.row(peer, "start_up", "ok", metrics=metrics)

    def install_size(self, peer: Peer) -> None:
        """What has to be on the disk: Python packages with all that they require, and the server's program."""
        total = GO_PROGRAM.stat().st_size if peer.adapter == "go" else 0
        if peer.distribution:
            output = subprocess.run(
                [python_of(peer), "-m", "benchmarks.machine", peer.distribution],
                capture_output=True,
                text=True,
                check=True,
                env=environment(),
            )
            total += int(output.stdout)
        if peer.server:
            total += os.stat(os.path.realpath(servers.executable(peer.server) or "")).st_size
        if not total:
            self.row(peer, "install_size", "not installed", "runs from its source tree")
            return
        self.row(peer, "install_size", "ok", metrics={"installed_mib": total / 2**20})


def chosen(words: list[str], names: list[str]) -> list[str]:
    """The names that contain one of the words, or that one alone which a word is; all where no word is given."""

    def meant(word: str, name: str) -> bool:
        return name.lower() == word.lower() if word.lower() in lowered else word.lower() in name.lower()

    lowered = {name.lower() for name in names}
    return [name for name in names if not words or any(meant(word, name) for word in words)]


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--peers", nargs="+", default=[], help="only those whose title contains one of these")
    parser.add_argument("--workloads", nargs="+", default=[], help="only those whose name contains one of these")
    parser.add_argument("--quick", action="store_true", help="tiny sizes and perdure alone: does everything still run?")
    parser.add_argument("--timeout", type=float, default=150, help="seconds until one workload counts as too slow")
    parser.add_argument("--seconds", type=float, help="for how long one_activity starts new workflows")
    parser.add_argument("--output", type=Path, help="write the results here as JSON")
    parser.add_argument("--table", type=Path, help="print the table of earlier results and measure nothing")
    options = parser.parse_args(arguments)
    # Ended from outside, it still stops the servers that it started.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    if options.table:
        print(table(json.loads(options.table.read_text())))
        return 0
    sizes = QUICK if options.quick else FULL
    if options.seconds:
        sizes = dataclasses.replace(sizes, seconds=options.seconds)
    titles = chosen(options.peers or (["perdure"] if options.quick else []), [peer.title for peer in PEERS])
    workloads = chosen(options.workloads, [*plan(sizes), *OTHERS])
    peers = [peer for peer in PEERS if peer.title in titles]
    run = Run(sizes, options.timeout)
    for peer in peers:
        run.measure(peer, workloads)
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        facts = machine.facts(Path(folder))
    results = {
        "machine": facts,
        "sizes": dataclasses.asdict(sizes),
        "versions": {peer.title: version_of(peer) for peer in peers if not missing(peer)},
        "rows": run.rows,
    }
    if options.output:
        options.output.write_text(json.dumps(results, indent=1) + "\n")
    print(table(results))
    return 1 if any(row["status"] == "failed" for row in run.rows) else 0


if __name__ == "__main__":
    raise SystemExit(main())
