"""The benchmark runs from end to end, so that it does not rot. What it measures here means nothing."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is read from /proc")


def run(*arguments: str, output: Path) -> tuple[dict[str, Any], str]:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks", "--quick", "--output", str(output), *arguments],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        env={**os.environ, "BENCH_PYTHON": sys.executable, "TEMPORAL": "there-is-no-such-program"},
    )
    assert done.returncode == 0, done.stderr
    return json.loads(output.read_text()), done.stdout


@pytest.mark.timeout(120)
def test_every_workload_runs_on_perdure(tmp_path: Path) -> None:
    results, shown = run("--peers", "perdure, lmdb full", output=tmp_path / "results.json")
    rows = {row["workload"]: row for row in results["rows"]}
    assert set(rows) == {
        "one_activity_1",
        "one_activity_10",
        "chain_10",
        "fan_out",
        "signals",
        "replay",
        "sleeping",
        "start_up",
        "install_size",
    }
    assert {row["status"] for name, row in rows.items() if name != "install_size"} == {"ok"}
    assert {row["durability"] for row in rows.values()} == {"power loss"}
    assert rows["sleeping"]["metrics"]["workflows"] == 50
    assert results["machine"]["cores"] > 0
    assert "perdure" in results["versions"]["perdure, lmdb full"]
    assert "workflows/s" in shown


def test_a_peer_that_is_not_there_says_so(tmp_path: Path) -> None:
    results, shown = run("--peers", "python sdk, dev server", "--workloads", "chain", output=tmp_path / "results.json")
    assert {(row["status"], row["note"]) for row in results["rows"]} == {
        ("not installed", "no temporal server on the path")
    }
    assert "not installed: no temporal server on the path" in shown
