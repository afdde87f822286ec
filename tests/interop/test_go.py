"""Temporal's Go SDK against the server, and at work beside perdure: runs where Go is, when PERDURE_INTEROP=1 asks for it."""

from __future__ import annotations

from pathlib import Path

import pytest

from perdure.client import Client
from perdure.server import Server
from tests.interop.builds import GO, command
from tests.interop.sdk import Program, SDKSuite

pytestmark = [
    pytest.mark.skipif(bool(GO.missing()), reason=GO.missing()),
    # The first build compiles the SDK.
    pytest.mark.timeout(120),
]


@pytest.fixture
def program(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Program:
    return Program(command(GO, tmp_path_factory), server.address, "go", GO.dashes)


class TestGo(SDKSuite):
    language = GO.name
    prefix = GO.prefix


async def test_go_replays_a_history_of_the_server(program: Program, client: Client, tmp_path: Path) -> None:
    async with program.working():
        handle = await client.start_workflow("GoEverything", id="w", task_queue="go")
        await handle.signal("go on", "go")
        greetings = "Hello, local, from Go! Hello, remote, from Go! Hello, child, from Go!"
        assert await handle.result() == f"2 4 {greetings} go"
    history = await handle.fetch_history()
    expected = {"events": len(history.events), "changed code is refused": True}
    assert await program.run("replay", "w") == expected
    path = tmp_path / "history.json"
    path.write_text(history.to_json())
    assert await program.run("replay-file", str(path)) == "replayed"
