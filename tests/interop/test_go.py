"""Temporal's Go SDK against the server, and at work beside perdure: runs where Go is, when PERDURE_INTEROP=1 asks for it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from perdure.client import Client
from perdure.server import Server
from tests.interop.programs import PyActivityElsewhere, PyChildElsewhere, working

GO = shutil.which("go")
pytestmark = [
    pytest.mark.skipif(
        GO is None or os.environ.get("PERDURE_INTEROP") != "1",
        reason="set PERDURE_INTEROP=1 on a machine with Go to run this; it may download Temporal's Go SDK",
    ),
    # The first build compiles the SDK.
    pytest.mark.timeout(120),
]


class Program:
    """The Go program, pointed at a server."""

    def __init__(self, path: Path, address: str) -> None:
        self._command = (str(path), "-address", address)

    async def run(self, *words: str, queue: str = "go") -> Any:
        """What a command prints, which must succeed."""
        process = await self._start(words, queue)
        output, errors = await process.communicate(b"")
        assert process.returncode == 0, f"{' '.join(words)}: {errors.decode()}"
        return json.loads(output)

    @contextlib.asynccontextmanager
    async def working(self, queue: str = "go") -> AsyncIterator[None]:
        """A Go worker while the block runs."""
        process = await self._start(("worker",), queue)
        assert process.stdout is not None
        said = await process.stdout.readline()
        try:
            if said == b"ready\n":
                yield
        finally:
            # At the end of its input it stops.
            _, errors = await process.communicate(b"")
        assert process.returncode == 0, f"the Go worker ended: {errors.decode()}"

    async def _start(self, words: tuple[str, ...], queue: str) -> asyncio.subprocess.Process:
        pipe = asyncio.subprocess.PIPE
        return await asyncio.create_subprocess_exec(
            *self._command, "-queue", queue, *words, stdin=pipe, stdout=pipe, stderr=pipe
        )


@pytest.fixture(scope="session")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Go program, built once."""
    path = tmp_path_factory.mktemp("go") / "interop"
    assert GO is not None
    built = subprocess.run(
        [GO, "build", "-C", str(Path(__file__).parent / "go"), "-buildvcs=false", "-o", str(path), "."],
        capture_output=True,
        text=True,
        check=False,
    )
    assert built.returncode == 0, built.stderr
    return path


@pytest.fixture
def go(program: Path, server: Server) -> Program:
    return Program(program, server.address)


SCENARIOS: dict[str, Any] = {
    "hello": "Hello, World, from Go!",
    "signals": 5,
    "queries": [0, 4, 4, True],
    "updates": [2, 2, "Negative", 2, 9],
    "timers": ["quick", "slow", "never"],
    "children": ["Hello, a, from Go!", "Hello, b, from Go!", 5],
    "continue-as-new": [3, True, True],
    "schedules": {
        "greeting": "Hello, schedule, from Go!",
        "note": "a rest",
        "paused": True,
        "every": "2h0m0s",
        "upcoming": True,
        "ids": ["hourly"],
        "deleted": True,
    },
    "cancel": [True, True],
    "history": ["Completed", 11, 11],
    "errors": [True, True, "Refused", True],
}


@pytest.mark.parametrize("scenario", SCENARIOS)
async def test_go_as_client_and_worker(go: Program, scenario: str) -> None:
    async with go.working():
        assert await go.run("scenario", scenario) == SCENARIOS[scenario]


async def test_a_second_go_worker_takes_over(go: Program, server: Server) -> None:
    async with await Client.connect(f"temporal://{server.address}") as client:
        handle = await client.start_workflow("GoCounter", id="w", task_queue="go")
        for number in (1, 2):
            async with go.working():
                await handle.execute_update("add", number)
        async with go.working():
            assert await handle.query("sum") == 3
            await handle.signal("finish")
            assert await handle.result() == 3


@pytest.mark.parametrize(
    ("name", "result"),
    [
        ("py_greet", "Hello, World, from Python!"),
        ("py_refuse", {"message": "Python refuses World", "type": "Refused", "name": "World", "number": 7}),
    ],
)
async def test_a_go_workflow_calls_a_python_activity(go: Program, client: Client, name: str, result: object) -> None:
    async with go.working(), working(client):
        words = ["python", name, "World"]
        assert await client.execute_workflow("GoActivityElsewhere", args=words, id="w", task_queue="go") == result


@pytest.mark.parametrize(
    ("name", "result"),
    [
        ("GoGreet", "Hello, World, from Go!"),
        ("GoRefuse", {"message": "Go refuses World", "type": "Refused", "name": "World", "number": 7}),
    ],
)
async def test_a_python_workflow_calls_a_go_activity(go: Program, client: Client, name: str, result: object) -> None:
    async with go.working(), working(client):
        words = ["go", name, "World"]
        outcome = await client.execute_workflow(PyActivityElsewhere.run, args=words, id="w", task_queue="python")
        assert outcome == result


@pytest.mark.parametrize(
    ("name", "result"),
    [
        ("PyHello", "Hello, World, from Python!"),
        ("PyFail", {"message": "Python refuses World", "type": "Refused", "name": "World", "number": 7}),
    ],
)
async def test_a_go_workflow_has_a_python_child(go: Program, client: Client, name: str, result: object) -> None:
    async with go.working(), working(client):
        words = ["python", name, "World"]
        assert await client.execute_workflow("GoChildElsewhere", args=words, id="w", task_queue="go") == result


@pytest.mark.parametrize(
    ("name", "result"),
    [
        ("GoHello", "Hello, World, from Go!"),
        ("GoFail", {"message": "Go refuses World", "type": "Refused", "name": "World", "number": 7}),
    ],
)
async def test_a_python_workflow_has_a_go_child(go: Program, client: Client, name: str, result: object) -> None:
    async with go.working(), working(client):
        words = ["go", name, "World"]
        outcome = await client.execute_workflow(PyChildElsewhere.run, args=words, id="w", task_queue="python")
        assert outcome == result


@pytest.mark.parametrize("scenario", ["signals", "queries", "updates"])
async def test_a_go_client_of_python_workflows(go: Program, client: Client, scenario: str) -> None:
    async with working(client):
        seen = await go.run("-counter", "PyCounter", "scenario", scenario, queue="python")
    assert seen == SCENARIOS[scenario]


async def test_go_replays_a_history_of_the_server(go: Program, client: Client, tmp_path: Path) -> None:
    async with go.working():
        handle = await client.start_workflow("GoEverything", id="w", task_queue="go")
        await handle.signal("go on", "go")
        greetings = "Hello, local, from Go! Hello, remote, from Go! Hello, child, from Go!"
        assert await handle.result() == f"2 4 {greetings} go"
    history = await handle.fetch_history()
    expected = {"events": len(history.events), "changed code is refused": True}
    assert await go.run("replay", "w") == expected
    path = tmp_path / "history.json"
    path.write_text(history.to_json())
    assert await go.run("replay-file", str(path)) == "replayed"
