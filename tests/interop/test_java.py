"""Temporal's Java SDK against the server and beside perdure: runs where a JDK and Maven are, when PERDURE_INTEROP=1."""

from __future__ import annotations

from pathlib import Path

import pytest

from perdure.client import Client
from perdure.server import Server
from tests.interop.builds import JAVA, command
from tests.interop.sdk import Program, SDKSuite

pytestmark = [
    pytest.mark.skipif(bool(JAVA.missing()), reason=JAVA.missing()),
    # The first test fetches the SDK.
    pytest.mark.timeout(300),
]


@pytest.fixture
def home(tmp_path: Path) -> str:
    return f"lmdb:{tmp_path / 'store'}"


@pytest.fixture
def program(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Program:
    return Program(command(JAVA, tmp_path_factory), server.address, "java", JAVA.dashes)


class TestJava(SDKSuite):
    language = JAVA.name
    prefix = JAVA.prefix
    # The SDK wraps what a validator throws, and loses its type.
    rejection = "io.temporal.internal.worker.WorkflowExecutionException"


async def test_it_replays_a_history_of_the_server(program: Program, client: Client) -> None:
    async with program.working():
        assert await client.execute_workflow("JavaParent", id="w", task_queue=program.queue)
    history = await client.get_workflow_handle("w").fetch_history()
    assert await program.run("replay", "w") == {"events": len(history.events)}
