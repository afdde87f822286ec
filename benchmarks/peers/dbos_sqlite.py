"""DBOS in this process, on a SQLite file or on PostgreSQL."""

from __future__ import annotations

import asyncio
import sqlite3
from typing import Any

from dbos import DBOS

from . import Adapter


@DBOS.step()
async def act(number: int) -> int:
    return number


@DBOS.workflow()
async def chain(steps: int) -> int:
    total = 0
    for step in range(steps):
        total += await act(step)
    return total


@DBOS.workflow()
async def fan_out(width: int) -> int:
    return sum(await asyncio.gather(*(act(number) for number in range(width))))


@DBOS.workflow()
async def counter(count: int) -> int:
    for _ in range(count):
        await DBOS.recv_async("add", timeout_seconds=600)
    return count


@DBOS.workflow()
async def sleeper() -> None:
    await DBOS.sleep_async(3600)


class Dbos(Adapter):
    """Its asyncio API; `wal` says whether the file is put into SQLite's WAL mode, which syncs once a commit."""

    async def open(self) -> None:
        path = self.where.folder / "dbos.sqlite"
        if self.where.options.get("wal"):
            connection = sqlite3.connect(path)
            connection.execute("PRAGMA journal_mode=WAL")
            connection.close()
        # Its notifications are polled: once a second by default.
        url = self.where.options.get("url", "").replace("{address}", self.where.address)
        config: Any = {"name": "bench", "system_database_url": url or f"sqlite:///{path}", "log_level": "ERROR"}
        if self.where.options.get("wal"):
            config["notification_listener_polling_interval_sec"] = 0.001
        DBOS(config=config)
        DBOS.launch()

    async def close(self) -> None:
        """Sleepers do not end: the process does."""

    async def run(self, workflow: Any, argument: int) -> None:
        handle = await DBOS.start_workflow_async(workflow, argument)
        await handle.get_result()

    async def one_activity(self) -> None:
        await self.run(chain, 1)

    async def chain(self, steps: int) -> None:
        await self.run(chain, steps)

    async def fan_out(self, width: int) -> None:
        await self.run(fan_out, width)

    async def signals(self, count: int) -> None:
        handle = await DBOS.start_workflow_async(counter, count)
        left = iter(range(count))

        async def send() -> None:
            for _ in left:
                await DBOS.send_async(handle.workflow_id, "signal", "add")

        await asyncio.gather(*(send() for _ in range(100)))
        await handle.get_result()

    async def sleeping(self, number: int) -> None:
        await DBOS.start_workflow_async(sleeper)
