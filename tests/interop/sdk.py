"""What every SDK's program can do, and what it must see when it does it.

A program is started as ``PROGRAM -address HOST:PORT -queue QUEUE worker`` or ``... scenario NAME``; its workflows and
activities have the names of :mod:`tests.interop.programs`, with another prefix than ``Py``.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

import pytest

from perdure.client import Client
from perdure.server import Server
from tests.interop.programs import PyActivityElsewhere, PyChildElsewhere, working


class Program:
    """A program of another SDK, pointed at a server."""

    def __init__(self, command: Sequence[str], address: str, queue: str, dashes: str = "-") -> None:
        self._command = command
        self._address = address
        self._dashes = dashes
        self.queue = queue

    async def run(self, *words: str, queue: str | None = None, counter: str | None = None) -> Any:
        """What a command prints, which must succeed."""
        process = await self._start(words, queue or self.queue, counter)
        output, errors = await process.communicate(b"")
        assert process.returncode == 0, f"{' '.join(words)}: {errors.decode()}"
        return json.loads(output)

    @contextlib.asynccontextmanager
    async def working(self) -> AsyncIterator[None]:
        """A worker of the program while the block runs."""
        process = await self._start(("worker",), self.queue, None)
        assert process.stdout is not None
        said = await process.stdout.readline()
        try:
            if said == b"ready\n":
                yield
        finally:
            # At the end of its input it stops.
            _, errors = await process.communicate(b"")
        assert process.returncode == 0, f"the worker on {self.queue} ended: {errors.decode()}"

    async def _start(self, words: tuple[str, ...], queue: str, counter: str | None) -> asyncio.subprocess.Process:
        options = {"address": self._address, "queue": queue} | ({"counter": counter} if counter else {})
        pairs = (word for name, value in options.items() for word in (f"{self._dashes}{name}", value))
        pipe = asyncio.subprocess.PIPE
        return await asyncio.create_subprocess_exec(
            *self._command, *pairs, *words, stdin=pipe, stdout=pipe, stderr=pipe
        )


def scenarios(language: str) -> dict[str, Any]:
    """What a client of the language sees of workflows of the language."""
    return {
        "hello": f"Hello, World, from {language}!",
        "signals": 5,
        "queries": [0, 4, 4, True],
        "updates": [2, 2, "Negative", 2, 9],
        "timers": ["quick", "slow", "never"],
        "children": [f"Hello, a, from {language}!", f"Hello, b, from {language}!", 5],
        "continue-as-new": [3, True, True],
        "schedules": {
            "greeting": f"Hello, schedule, from {language}!",
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


def refusal(language: str) -> Mapping[str, Any]:
    """What a workflow of any language sees of a failure of this one."""
    return {"message": f"{language} refuses World", "type": "Refused", "name": "World", "number": 7}


class SDKSuite:
    """The tests that are the same for every SDK. Each has the fixture ``program``."""

    language: str
    prefix: str
    #: The type of the failure with which a validator refuses, as clients see it.
    rejection = "Negative"

    @pytest.mark.parametrize("scenario", scenarios(""))
    async def test_client_and_worker(self, program: Program, scenario: str) -> None:
        async with program.working():
            outcome = await program.run("scenario", scenario)
        expected = scenarios(self.language)[scenario]
        if scenario == "updates":
            expected[2] = self.rejection
        if scenario == "history":
            outcome = [outcome[0].title(), *outcome[1:]]
        assert outcome == expected

    async def test_a_second_worker_takes_over(self, program: Program, server: Server) -> None:
        async with await Client.connect(f"temporal://{server.address}") as client:
            handle = await client.start_workflow(f"{self.prefix}Counter", id="w", task_queue=program.queue)
            for number in (1, 2):
                async with program.working():
                    await handle.execute_update("add", number)
            async with program.working():
                assert await handle.query("sum") == 3
                await handle.signal("finish")
                assert await handle.result() == 3

    async def test_a_workflow_calls_python_activities(self, program: Program, client: Client) -> None:
        async with program.working(), working(client):
            for name, result in (("py_greet", "Hello, World, from Python!"), ("py_refuse", refusal("Python"))):
                words = ["python", name, "World"]
                workflow = f"{self.prefix}ActivityElsewhere"
                outcome = await client.execute_workflow(workflow, args=words, id=name, task_queue=program.queue)
                assert outcome == result

    async def test_a_python_workflow_calls_its_activities(self, program: Program, client: Client) -> None:
        greeting = f"Hello, World, from {self.language}!"
        async with program.working(), working(client):
            for name, result in (("Greet", greeting), ("Refuse", refusal(self.language))):
                words = [program.queue, self.prefix + name, "World"]
                workflow = PyActivityElsewhere.run
                assert await client.execute_workflow(workflow, args=words, id=name, task_queue="python") == result

    async def test_a_workflow_has_python_children(self, program: Program, client: Client) -> None:
        async with program.working(), working(client):
            for name, result in (("PyHello", "Hello, World, from Python!"), ("PyFail", refusal("Python"))):
                words = ["python", name, "World"]
                workflow = f"{self.prefix}ChildElsewhere"
                outcome = await client.execute_workflow(workflow, args=words, id=name, task_queue=program.queue)
                assert outcome == result

    async def test_a_python_workflow_has_its_children(self, program: Program, client: Client) -> None:
        greeting = f"Hello, World, from {self.language}!"
        async with program.working(), working(client):
            for name, result in (("Hello", greeting), ("Fail", refusal(self.language))):
                words = [program.queue, self.prefix + name, "World"]
                workflow = PyChildElsewhere.run
                assert await client.execute_workflow(workflow, args=words, id=name, task_queue="python") == result

    @pytest.mark.parametrize("scenario", ["signals", "queries", "updates"])
    async def test_a_client_of_python_workflows(self, program: Program, client: Client, scenario: str) -> None:
        async with working(client):
            seen = await program.run("scenario", scenario, queue="python", counter="PyCounter")
        assert seen == scenarios("Python")[scenario]
