"""Temporal's TypeScript SDK against the server, and at work beside perdure: runs where Node is, when PERDURE_INTEROP=1."""

from __future__ import annotations

from pathlib import Path

import pytest

from perdure.client import Client
from perdure.server import Server
from tests.interop.builds import TYPESCRIPT, command
from tests.interop.sdk import Program, SDKSuite

pytestmark = [
    pytest.mark.skipif(bool(TYPESCRIPT.missing()), reason=TYPESCRIPT.missing()),
    # The first test installs the SDK.
    pytest.mark.timeout(300),
]


@pytest.fixture
def home(tmp_path: Path) -> str:
    return f"lmdb:{tmp_path / 'store'}"


@pytest.fixture
def program(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Program:
    return Program(command(TYPESCRIPT, tmp_path_factory), server.address, "typescript", TYPESCRIPT.dashes)


class TestTypeScript(SDKSuite):
    language = TYPESCRIPT.name
    prefix = TYPESCRIPT.prefix


async def test_it_replays_a_history_of_the_server(program: Program, client: Client) -> None:
    async with program.working():
        assert await client.execute_workflow("TsParent", id="w", task_queue=program.queue)
    history = await client.get_workflow_handle("w").fetch_history()
    assert await program.run("replay", "w") == {"events": len(history.events)}
