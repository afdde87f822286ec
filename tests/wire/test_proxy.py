"""An HTTP CONNECT proxy on the way."""

from __future__ import annotations

import asyncio
import base64

import pytest

from perdure.client import Client
from perdure.service import HttpConnectProxyConfig
from tests.wire.conftest import ScriptedServer


async def _pipe(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    try:
        while data := await source.read(4096):
            sink.write(data)
            await sink.drain()
    except ConnectionError:
        pass
    finally:
        sink.close()


async def test_calls_go_through_the_proxy(server: ScriptedServer, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("no_proxy", "NO_PROXY", "no_grpc_proxy"):
        monkeypatch.delenv(name, raising=False)
    heads: list[str] = []
    pipes: list[asyncio.Task[None]] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        heads.append(head)
        host, _, port = head.split()[1].rpartition(":")
        there_reader, there_writer = await asyncio.open_connection(host, int(port))
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        pipes.append(asyncio.create_task(_pipe(reader, there_writer)))
        pipes.append(asyncio.create_task(_pipe(there_reader, writer)))

    proxy = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = proxy.sockets[0].getsockname()[1]
    config = HttpConnectProxyConfig(f"127.0.0.1:{port}", basic_auth=("me", "p@ss:word"))
    async with await Client.connect(server.address, http_connect_proxy_config=config) as client:
        await client.count_workflows()
    await asyncio.gather(*pipes)
    proxy.close()
    assert heads and heads[0].startswith(f"CONNECT {server.address} HTTP/1.")
    expected = base64.b64encode(b"me:p@ss:word").decode()
    assert f"proxy-authorization: basic {expected.lower()}" in heads[0].lower()


async def test_a_proxy_of_the_environment_is_not_asked(server: ScriptedServer, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "grpc_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    async with await Client.connect(server.address) as client:
        await client.count_workflows()
