"""A limit holds over ``kill -9`` of everything."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

SCRIPT = Path(__file__).with_name("crash_worker.py")


def test_the_limit_holds_over_kill_9(tmp_path: Path) -> None:
    log = tmp_path / "log"
    command = [sys.executable, str(SCRIPT), str(tmp_path / "data"), str(log)]
    for lines in (1, 4, 7):
        process = subprocess.Popen(command)
        while process.poll() is None and len(read(log)) < lines:
            time.sleep(0.005)
        process.kill()
        process.wait()
    assert subprocess.run(command, timeout=50).returncode == 0
    inside: dict[str, None] = {}
    for line in read(log):
        what, name = line.split()
        if what == "in":
            inside[name] = None  # again, when the attempt died with its process
        else:
            inside.pop(name, None)
        assert len(inside) <= 2, read(log)
    assert inside == {}
    assert set(read(log)) == {f"{what} w{number}" for what in ("in", "out") for number in range(6)}


def read(log: Path) -> list[str]:
    return log.read_text().splitlines() if log.exists() else []
