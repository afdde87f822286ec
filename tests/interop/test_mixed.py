"""Workers of three SDKs and perdure's own on one namespace, each calling the others."""

from __future__ import annotations

import contextlib
import itertools
from pathlib import Path

import pytest

from perdure.client import Client
from perdure.server import Server
from tests.interop.builds import LANGUAGES, command
from tests.interop.programs import working
from tests.interop.sdk import Program, refusal

MISSING = " ".join(language.missing() for language in LANGUAGES).strip()
pytestmark = [pytest.mark.skipif(bool(MISSING), reason=MISSING), pytest.mark.timeout(300)]

#: Name, prefix and task queue; perdure's own activities have names of another style.
PARTIES = [*((it.name, it.prefix, it.name.lower()) for it in LANGUAGES), ("Python", "Py", "python")]
_ACTIVITIES = {"PyGreet": "py_greet", "PyRefuse": "py_refuse"}


@pytest.fixture
def home(tmp_path: Path) -> str:
    return f"lmdb:{tmp_path / 'store'}"


async def test_everybody_calls_everybody(
    server: Server, client: Client, tmp_path_factory: pytest.TempPathFactory
) -> None:
    async with contextlib.AsyncExitStack() as workers:
        for language in LANGUAGES:
            start = command(language, tmp_path_factory)
            program = Program(start, server.address, language.name.lower(), language.dashes)
            await workers.enter_async_context(program.working())
        await workers.enter_async_context(working(client))
        seen, expected = {}, {}
        for (_, prefix, queue), (name, other, elsewhere) in itertools.permutations(PARTIES, 2):
            greeting = f"Hello, World, from {name}!"
            for kind, called, outcome in (
                ("Activity", "Greet", greeting),
                ("Activity", "Refuse", refusal(name)),
                ("Child", "Hello", greeting),
                ("Child", "Fail", refusal(name)),
            ):
                called = other + called
                words = [elsewhere, _ACTIVITIES.get(called, called), "World"]
                id = f"{prefix} {called}"
                workflow = f"{prefix}{kind}Elsewhere"
                seen[id] = await client.execute_workflow(workflow, args=words, id=id, task_queue=queue)
                expected[id] = outcome
        assert seen == expected
        assert len(seen) == 48
