"""``kill -9`` while one operation goes on and a handler has another: the next process ends both."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from perdure import Client
from tests.engine.driver import name
from tests.nexus.victim import Delivery, worker

ROOT = Path(__file__).resolve().parents[2]


async def test_operations_outlive_the_process(tmp_path: Path) -> None:
    url = f"lmdb:{tmp_path / 'home'}"
    with subprocess.Popen(
        [sys.executable, "-m", "tests.nexus.victim", url], cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as victim:
        assert victim.stdout is not None
        assert victim.stdout.readline() == "stamping\n"
        victim.kill()
    async with await Client.connect(url) as client, worker(client, is_doomed=False):
        await client.get_workflow_handle("delivery-a").signal(Delivery.arrive)
        sender = client.get_workflow_handle("s")
        assert await sender.result() == ["a stamped", "a delivered"]
        names = [name(event) async for event in sender.fetch_history_events()]
        assert (names.count("NexusOperationStarted"), names.count("NexusOperationCompleted")) == (1, 2)
        assert (await client.count_workflows("WorkflowType = 'Delivery'")).count == 1
