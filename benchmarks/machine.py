"""The machine under the numbers: what it is, what its disk commits, who holds how much memory."""

from __future__ import annotations

import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path


def facts(folder: Path) -> dict[str, str | int | float]:
    """What a reader must know to compare: processor, memory, system, and the price of a durable 4 KiB here."""
    return {
        "processor": _processor(),
        "cores": os.cpu_count() or 0,
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "fdatasync_4k_ms": round(_fdatasync(folder), 4),
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())


def _fdatasync(folder: Path, times: int = 200) -> float:
    path = folder / "fdatasync"
    sync = getattr(os, "fdatasync", os.fsync)
    taken = []
    with path.open("wb", buffering=0) as file:
        for _ in range(times):
            started = time.perf_counter()
            file.write(bytes(4096))
            sync(file.fileno())
            taken.append(time.perf_counter() - started)
    path.unlink()
    return statistics.median(taken) * 1000


def resident(pids: Iterable[int]) -> int:
    """Resident bytes of these processes and their descendants."""
    total = 0
    for pid in family(pids):
        try:
            fields = Path(f"/proc/{pid}/statm").read_text().split()
            total += int(fields[1]) * os.sysconf("SC_PAGE_SIZE")
        except (OSError, IndexError):
            total += _resident_by_ps(pid)
    return total


def _resident_by_ps(pid: int) -> int:
    output = subprocess.run(["ps", "-o", "rss=", "-p", str(pid)], capture_output=True, text=True, check=False).stdout
    return int(output.strip() or 0) * 1024


def family(pids: Iterable[int]) -> set[int]:
    """These processes and all below them."""
    output = subprocess.run(["ps", "-A", "-o", "pid=,ppid="], capture_output=True, text=True, check=False).stdout
    children: dict[int, list[int]] = {}
    for line in output.splitlines():
        pid, parent = map(int, line.split())
        children.setdefault(parent, []).append(pid)
    found: set[int] = set()
    todo = list(pids)
    while todo:
        pid = todo.pop()
        if pid not in found:
            found.add(pid)
            todo += children.get(pid, [])
    return found


def installed_bytes(distribution: str) -> int:
    """What `pip install` of this brings: its own files and those of everything it requires."""
    seen: set[str] = set()
    todo, total = [distribution], 0
    while todo:
        name = todo.pop().lower().replace("_", "-")
        if name in seen:
            continue
        seen.add(name)
        try:
            found = metadata.distribution(name)
        except metadata.PackageNotFoundError:
            continue
        total += sum(_size(Path(str(found.locate_file(file)))) for file in found.files or [])
        for requirement in found.requires or []:
            head, _, marker = requirement.partition(";")
            if "extra ==" not in marker:
                todo.append(_name(head))
    return total


def _name(requirement: str) -> str:
    for index, letter in enumerate(requirement):
        if letter in " <>=!~[(":
            return requirement[:index]
    return requirement.strip()


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def import_seconds(python: str, module: str, times: int) -> float:
    """The best of a few fresh interpreters that import it, less one that imports nothing."""

    def best(code: str) -> float:
        taken = []
        for _ in range(times):
            started = time.perf_counter()
            subprocess.run([python, "-c", code], check=True, env={**os.environ, "PYTHONWARNINGS": "ignore"})
            taken.append(time.perf_counter() - started)
        return min(taken)

    return max(0.0, best(f"import {module}") - best("pass"))


if __name__ == "__main__":
    print(installed_bytes(sys.argv[1]))
