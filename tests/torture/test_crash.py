"""A short kill -9 campaign; the long one is ``python tests/torture/crash.py``."""

import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.timeout(180)
@pytest.mark.parametrize("durability", ["full", "process"])
def test_nothing_acknowledged_is_lost(durability: str, tmp_path: Path) -> None:
    script = Path(__file__).with_name("crash.py")
    campaign = subprocess.run(
        [sys.executable, script, "--kills", "10", "--seed", "1", "--durability", durability, "--folder", tmp_path],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert campaign.returncode == 0, campaign.stdout
