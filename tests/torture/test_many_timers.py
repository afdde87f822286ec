"""A small store of sleeping workflows opens and weighs nothing; the large one is ``python tests/torture/many_timers.py``."""

import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.timeout(120)
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads /proc")
def test_sleeping_workflows_are_still_there_when_the_store_is_opened_again() -> None:
    script = Path(__file__).with_name("many_timers.py")
    measured = subprocess.run(
        [sys.executable, script, "--workflows", "300"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert "300 workflows asleep" in measured.stdout, measured.stdout
