"""Processes on one folder, killed one after the other."""

from __future__ import annotations

import asyncio
import signal
import sys
from pathlib import Path

import pytest

from perdure.client import Client
from perdure.store.api import StoreOwnedError
from perdure.store.lmdb import LMDBStore
from tests.sharing import worker


async def _start(url: str) -> asyncio.subprocess.Process:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.sharing.worker", url, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    assert await process.stdout.readline() == b"ready\n"
    return process


async def _kill(process: asyncio.subprocess.Process) -> None:
    process.send_signal(signal.SIGKILL)
    await process.wait()


async def test_whoever_dies_the_others_go_on(tmp_path: Path) -> None:
    url = f"lmdb:{tmp_path}/store?durability=process"
    first = await _start(url)  # the owner
    async with await Client.connect(url) as client:
        handle = await client.start_workflow(worker.Steps.run, 4, id="steps", task_queue=worker.QUEUE)
        await handle.signal(worker.Steps.go)
        second = await _start(url)
        await _kill(first)
        await handle.signal(worker.Steps.go)
        third = await _start(url)
        await _kill(second)
        await handle.signal(worker.Steps.go)
        await handle.signal(worker.Steps.go)
        assert set(await handle.result()) <= {first.pid, second.pid, third.pid}
        await _kill(third)
        assert [found.id async for found in client.list_workflows("ExecutionStatus = 'Completed'")] == ["steps"]


async def test_an_owner_without_guests_loads_nothing_for_them(tmp_path: Path) -> None:
    program = (
        "import asyncio, sys\n"
        "from perdure.client import Client\n"
        "async def main():\n"
        "    async with await Client.connect(sys.argv[1]):\n"
        "        print([name for name in sys.modules if name.startswith('perdure.wire')])\n"
        "asyncio.run(main())"
    )
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", program, f"lmdb:{tmp_path}/store", stdout=asyncio.subprocess.PIPE
    )
    assert (await process.communicate())[0] == b"[]\n"


async def test_an_owner_that_does_not_serve_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("perdure.connect.OWNER_STARTS_SECONDS", 0.01)
    program = (
        "import asyncio, sys; from perdure.store.lmdb import LMDBStore\n"
        "async def main():\n"
        "    await LMDBStore.open(sys.argv[1]); print('ready', flush=True); await asyncio.Event().wait()\n"
        "asyncio.run(main())"
    )
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", program, str(tmp_path / "store"), stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    await process.stdout.readline()
    try:
        with pytest.raises(StoreOwnedError, match=f"in use by process {process.pid} "):
            await Client.connect(f"lmdb:{tmp_path}/store")
    finally:
        await _kill(process)
    await (await LMDBStore.open(tmp_path / "store")).close()
