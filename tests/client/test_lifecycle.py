"""Making, sharing and closing clients, and refusing those who come from elsewhere."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from perdure.api.workflowservice import v1 as ws
from perdure.client import Client, ClientConfig, Interceptor, Plugin
from perdure.common import HeaderCodecBehavior
from perdure.converter import DataConverter
from perdure.service import ConnectConfig, ServiceClient
from tests.client.conftest import FakeService


@pytest.fixture
def home(service: FakeService, monkeypatch: pytest.MonkeyPatch) -> FakeService:
    """What every URL leads to."""

    async def connect(url: str, *, durability: str | None = None, config: object = None) -> FakeService:
        service.requests.append((url, durability))
        return service

    monkeypatch.setattr("perdure.connect.connect", connect)
    return service


async def test_connect_opens_and_leaving_closes(home: FakeService) -> None:
    async with await Client.connect("lmdb:./x", durability="process", identity="me", namespace="ns") as client:
        assert home.requests == [("lmdb:./x", "process")]
        assert client.workflow_service is home
        assert client.service_client.workflow_service is home
        assert (client.identity, client.namespace) == ("me", "ns")
        assert client.data_converter is DataConverter.default
    assert home.closed == 1
    with pytest.raises(RuntimeError, match="this client is closed"):
        await client.get_workflow_handle("id").result()
    with pytest.raises(RuntimeError, match="this client is closed"):
        await client.start_workflow("w", id="id", task_queue="q")
    with pytest.raises(RuntimeError, match="this client is closed"):
        _ = [execution async for execution in client.list_workflows()]
    await client.close()
    assert home.closed == 1


async def test_a_lazy_client_opens_at_its_first_call(home: FakeService) -> None:
    client = await Client.connect("memory:", lazy=True)
    assert home.requests == []
    home.answers["count_workflow_executions"] = ws.CountWorkflowExecutionsResponse(3)
    counts = await asyncio.gather(client.count_workflows(), client.count_workflows())
    assert [count.count for count in counts] == [3, 3]
    assert [name for name, _ in home.requests].count("memory:") == 1
    await client.close()
    assert home.closed == 1


async def test_a_lazy_client_that_was_never_used_opens_nothing(home: FakeService) -> None:
    async with await Client.connect("memory:", lazy=True) as client:
        service = client.workflow_service
    assert (home.requests, home.closed) == ([], 0)
    with pytest.raises(RuntimeError, match="closed before its first call"):
        await service.get_system_info(ws.GetSystemInfoRequest())


async def test_a_lazy_client_refuses_a_wrong_url_at_once() -> None:
    with pytest.raises(ValueError, match="not a home perdure knows"):
        await Client.connect("nowhere", lazy=True)


async def test_a_second_client_over_a_connection_leaves_it_open(home: FakeService) -> None:
    first = await Client.connect("memory:")
    config = first.config()
    config["namespace"] = "other"
    async with Client(**config) as second:
        assert (second.namespace, second.service_client) == ("other", first.service_client)
    assert home.closed == 0
    await first.close()
    assert home.closed == 1


async def test_a_client_that_cannot_be_made_leaves_nothing_open(home: FakeService) -> None:
    with pytest.raises(ValueError, match="namespace must not be empty"):
        await Client.connect("memory:", namespace="")
    assert home.closed == 1


async def test_client_headers_go_with_every_call(home: FakeService) -> None:
    home.answers["count_workflow_executions"] = ws.CountWorkflowExecutionsResponse()
    client = await Client.connect("memory:", rpc_metadata={"a": "1", "b": "1"})
    await client.count_workflows(rpc_metadata={"b": "2"})
    client.rpc_metadata = {"c": "3"}
    await client.count_workflows()
    assert [metadata for metadata, _ in home.options] == [{"a": "1", "b": "2"}, {"c": "3"}]
    with pytest.raises(TypeError, match="rpc_metadata"):
        client.rpc_metadata = {"c": 3}  # type: ignore[dict-item]
    client.api_key = "key"
    assert client.api_key == "key"


async def test_plugins_take_part(home: FakeService) -> None:
    order: list[str] = []

    class Naming(Plugin):
        def __init__(self, tag: str) -> None:
            self.tag = tag

        def configure_client(self, config: ClientConfig) -> ClientConfig:
            config["namespace"] += self.tag
            return config

        async def connect_service_client(
            self, config: ConnectConfig, next: Callable[[ConnectConfig], Awaitable[ServiceClient]]
        ) -> ServiceClient:
            order.append(self.tag)
            config.target_host += self.tag
            return await next(config)

    client = await Client.connect("memory:", plugins=[Naming("a"), Naming("b")])
    assert order == ["a", "b"]
    assert home.requests == [("memory:ab", None)]
    assert client.namespace == "defaultab"
    assert client.config()["namespace"] == "default"
    assert client.config(active_config=True)["namespace"] == "defaultab"
    assert Naming("a").name().endswith("Naming")


@pytest.mark.parametrize(
    ("options", "kind", "message"),
    [
        ({"namespace": 5}, TypeError, "namespace must be a str"),
        ({"data_converter": dict}, TypeError, "data_converter must be DataConverter"),
        ({"interceptors": [5]}, TypeError, "an interceptor must be Interceptor, not int"),
        ({"header_codec_behavior": 2}, TypeError, "header_codec_behavior must be one of"),
        ({"default_workflow_query_reject_condition": 2}, TypeError, "reject_condition must be one of"),
    ],
)
async def test_bad_settings(service: Any, options: dict[str, Any], kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        Client(service, **options)


@pytest.mark.parametrize(
    ("options", "message"),
    [({"plugins": [5]}, "a plugin must be Plugin"), ({"identity": 5}, "identity"), ({"rpc_metadata": 5}, "mapping")],
)
async def test_bad_connections(home: FakeService, options: dict[str, Any], message: str) -> None:
    with pytest.raises(TypeError, match=message):
        await Client.connect("memory:", **options)
    assert home.requests == []


async def test_a_url_is_no_service() -> None:
    with pytest.raises(TypeError, match=r"use await Client.connect\(...\) for a URL"):
        Client("memory:")  # type: ignore[arg-type]


async def test_config_is_a_copy(service: Any) -> None:
    interceptors = [Interceptor()]
    client = Client(service, interceptors=interceptors, header_codec_behavior=HeaderCodecBehavior.CODEC)
    config = client.config()
    assert config["header_codec_behavior"] is HeaderCodecBehavior.CODEC
    config["interceptors"] = []
    assert client.config()["interceptors"] == interceptors


async def test_another_thread_is_refused(client: Client) -> None:
    def call() -> None:
        asyncio.run(client.count_workflows())

    with pytest.raises(RuntimeError, match="event loop of another thread"):
        await asyncio.to_thread(call)


def test_another_loop_is_refused(service: Any) -> None:
    async def make() -> Client:
        return Client(service)

    client = asyncio.run(make())

    async def call() -> None:
        with pytest.raises(RuntimeError, match="connected on another event loop"):
            await client.count_workflows()
        with pytest.raises(RuntimeError, match="connected on another event loop"):
            await client.close()

    asyncio.run(call())


def test_a_client_made_outside_a_loop_belongs_to_the_first_one(service: FakeService) -> None:
    client = Client(service)  # type: ignore[arg-type]
    service.answers["count_workflow_executions"] = ws.CountWorkflowExecutionsResponse(1)
    assert asyncio.run(client.count_workflows()).count == 1
    with pytest.raises(RuntimeError, match="another event loop"):
        asyncio.run(client.count_workflows())


FORKING = """
import asyncio, os, sys
from perdure.client import Client
from tests.client.conftest import FakeService

async def make():
    return Client(FakeService())

client = asyncio.run(make())
child = os.fork()
if child == 0:
    try:
        asyncio.run(client.count_workflows())
    except AssertionError as error:
        print(error, flush=True)
    os._exit(0)
os.waitpid(child, 0)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this platform")
def test_a_forked_child_is_refused() -> None:
    ran = subprocess.run([sys.executable, "-c", FORKING], capture_output=True, text=True, check=True, cwd=os.getcwd())
    assert "Cannot use client across forks" in ran.stdout


FORKING_WORKERS = """
import asyncio, os, sys
from perdure import activity
from perdure.client import Client
from perdure.worker import Worker

@activity.defn
async def nothing() -> None: ...

async def make():
    client = await Client.connect("memory:")
    return client, Worker(client, task_queue="tq", activities=[nothing])

async def make_in_child():
    Worker(client, task_queue="tq", activities=[nothing])

loop = asyncio.new_event_loop()
client, worker = loop.run_until_complete(make())
child = os.fork()
if child == 0:
    for use in (make_in_child, worker.run):
        try:
            asyncio.run(use())
        except AssertionError as error:
            print(error, flush=True)
    os._exit(0)
os.waitpid(child, 0)
loop.run_until_complete(client.close())
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this platform")
def test_a_forked_child_may_not_use_its_parents_worker() -> None:
    code = [sys.executable, "-c", FORKING_WORKERS]
    ran = subprocess.run(code, capture_output=True, text=True, check=True, cwd=os.getcwd())
    assert "Cannot create worker across forks" in ran.stdout
    assert "Cannot use worker across forks" in ran.stdout
