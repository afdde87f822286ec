"""Restate's server with its Python SDK: service and client in this process, over HTTP on loopback."""

from __future__ import annotations

import asyncio
import json
from typing import Any
from uuid import uuid4

from hypercorn.asyncio import serve
from hypercorn.config import Config

from ..servers import free_port
from . import Adapter
from .restate_service import app


class Http:
    """Just enough of HTTP/1.1 to cost little: POSTs over connections that are kept."""

    def __init__(self, address: str) -> None:
        self.host, port = address.split(":")
        self.port = int(port)
        self.idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []

    async def post(self, path: str, body: Any) -> Any:
        """POST JSON, return JSON."""
        if self.idle:
            reader, writer = self.idle.pop()
        else:
            reader, writer = await asyncio.open_connection(self.host, self.port)
        data = b"" if body is None else json.dumps(body).encode()
        kind = "" if body is None else "content-type: application/json\r\n"
        head = f"POST {path} HTTP/1.1\r\nhost: {self.host}\r\n{kind}content-length: {len(data)}\r\n\r\n"
        writer.write(head.encode() + data)
        lines = (await reader.readuntil(b"\r\n\r\n")).decode().lower().split("\r\n")
        status = int(lines[0].split()[1])
        headers = dict(line.split(": ", 1) for line in lines[1:] if line)
        if headers.get("transfer-encoding") == "chunked":
            content = b""
            while size := int(await reader.readline(), 16):
                content += await reader.readexactly(size)
                await reader.readline()
            await reader.readline()
        else:
            content = await reader.readexactly(int(headers.get("content-length", 0)))
        self.idle.append((reader, writer))
        if status >= 400:
            raise RuntimeError(f"{path} answered {status}: {content.decode(errors='replace')}")
        return json.loads(content) if content else None

    def close(self) -> None:
        for _, writer in self.idle:
            writer.close()


class Restate(Adapter):
    """Handlers of a service stand for workflows, `ctx.run` for activities, an object for a signalled workflow."""

    async def open(self) -> None:
        ingress, admin = self.where.address.split(",")
        port = free_port()
        config = Config()
        config.bind = [f"127.0.0.1:{port}"]
        config.h2_max_concurrent_streams = 2147483647
        config.keep_alive_max_requests = 2147483647
        config.accesslog = None
        self.stop = asyncio.Event()
        self.server = asyncio.create_task(serve(app, config, shutdown_trigger=self.stop.wait))  # type: ignore[arg-type]
        self.http = Http(ingress)
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                await asyncio.sleep(0.01)
            else:
                writer.close()
                break
        await Http(admin).post("/deployments", {"uri": f"http://127.0.0.1:{port}", "force": True})

    async def close(self) -> None:
        """Sleepers do not end: the process does."""
        self.http.close()

    async def one_activity(self) -> None:
        await self.http.post("/Bench/chain", 1)

    async def chain(self, steps: int) -> None:
        await self.http.post("/Bench/chain", steps)

    async def fan_out(self, width: int) -> None:
        await self.http.post("/Bench/fan_out", width)

    async def signals(self, count: int) -> None:
        key = uuid4().hex
        left = iter(range(count))

        async def send() -> None:
            for _ in left:
                await self.http.post(f"/Counter/{key}/add", None)

        await asyncio.gather(*(send() for _ in range(100)))

    async def sleeping(self, number: int) -> None:
        await self.http.post("/Bench/sleeper/send", None)
