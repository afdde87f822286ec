"""A short campaign; the long one is ``python tests/postgres/torture.py``."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.postgres import binaries


@pytest.mark.timeout(300)
def test_nothing_acknowledged_is_lost(tmp_path: Path) -> None:
    if binaries() is None or os.environ.get("PERDURE_POSTGRES_URL"):
        pytest.skip("needs a PostgreSQL of its own on this machine, to stop it")
    script = Path(__file__).with_name("torture.py")
    campaign = subprocess.run(
        [sys.executable, script, "--faults", "10", "--processes", "2", "--seed", "1", "--folder", tmp_path,
         "--concurrency", "2", "--pause", "0.3"],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
    )  # fmt: skip
    assert campaign.returncode == 0, campaign.stdout
