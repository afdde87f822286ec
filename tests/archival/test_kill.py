"""``kill -9``, again and again, of a process whose runs are archived and deleted as fast as they end."""

from __future__ import annotations

import asyncio
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from perdure.api.workflowservice import v1 as ws
from tests.archival.victim import open_home

ROOT = Path(__file__).parents[2]
KILLS = 6


def work_until_killed(home: str, uri: str, first: int, lines: int) -> list[tuple[str, str]]:
    """Start the victim, kill it after so many runs; returns those it said had ended."""
    command = [sys.executable, "-m", "tests.archival.victim", home, uri, str(first)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT, env=environment) as process:
        assert process.stdout is not None
        said = []
        for line in process.stdout:
            said.append(line)
            if len(said) == lines:
                process.kill()
        assert len(said) >= lines, "the victim ended by itself"
    ended = [line.split() for line in said if line.endswith("\n")]
    return [(workflow_id, run_id) for workflow_id, run_id in ended]


@pytest.mark.timeout(240)
async def test_no_run_is_lost_between_the_store_and_the_archive(tmp_path: Path) -> None:
    home, uri = f"lmdb:{tmp_path}/home?durability=process", f"file://{tmp_path}/archive"
    choice = random.Random(17)
    ended: list[tuple[str, str]] = []
    for number in range(KILLS):
        ended += await asyncio.to_thread(work_until_killed, home, uri, 10_000 * number, choice.randrange(20, 120))
    client = await open_home(home, uri)
    service = client.workflow_service
    async with asyncio.timeout(120):
        while True:
            listed = await service.list_workflow_executions(ws.ListWorkflowExecutionsRequest("default", 1))
            if not any(info.close_time for info in listed.executions):
                break
            await asyncio.sleep(0.1)
    histories = [await client.get_workflow_handle(one, run_id=run_id).fetch_history() for one, run_id in ended]
    assert all(history.events[-1].event_type == 2 for history in histories)  # completed
    archived = set()
    token = b""
    while True:
        page = await service.list_archived_workflow_executions(
            ws.ListArchivedWorkflowExecutionsRequest("default", 100, token)
        )
        archived |= {info.execution.run_id for info in page.executions if info.execution is not None}
        token = page.next_page_token
        if not token:
            break
    assert archived >= {run_id for _, run_id in ended}
    await client.close()
