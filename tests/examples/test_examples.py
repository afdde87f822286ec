"""The examples do what they say, each as one command in a process of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


def run(name: str, *arguments: str) -> str:
    ran = subprocess.run(
        [sys.executable, "-W", "error", str(EXAMPLES / name), *arguments], capture_output=True, text=True, timeout=50
    )
    assert ran.returncode == 0, ran.stderr
    assert ran.stderr == ""
    return ran.stdout


def test_hello() -> None:
    told = run("hello.py")
    assert "result    ['Hello, World!', 'Hello, Ada!']" in told
    for event in (
        "Timer fired",
        "Workflow execution signaled",
        "Activity task completed",
        "Workflow execution completed",
    ):
        assert event in told


def test_hello_can_be_run_again_on_its_folder(tmp_path: Path) -> None:
    for _ in range(2):
        assert "COMPLETED" in run("hello.py", str(tmp_path / "data"))


def test_crash() -> None:
    told = run("crash.py")
    assert "kill -9" in told
    assert "ship the parcel (attempt 2)" in told
    assert told.count("charge the card (attempt 1)") == 1
    assert "result: order 17 is on its way" in told
    for step in ("reserve the goods", "charge the card", "ship the parcel", "send the receipt"):
        assert f"{step}: 1 time\n" in told
