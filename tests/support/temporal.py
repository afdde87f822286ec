"""A Temporal server as the home that a test gets: a namespace of its own, which it knows as ``default``.

``PERDURE_TEMPORAL`` is the ``host:port`` of a server that runs. Nexus endpoints, which belong to all of a server, are
deleted at the end of the test that made them.
"""

from __future__ import annotations

import dataclasses
import inspect
import os
import uuid
from datetime import timedelta
from typing import Any, cast

import msgspec
import pytest

from perdure import connect
from perdure.api._message import Message
from perdure.api.operatorservice.v1 import DeleteNexusEndpointRequest, ListNexusEndpointsRequest
from perdure.api.workflowservice.v1 import RegisterNamespaceRequest
from perdure.service import ConnectConfig, RPCError, WorkflowService

ADDRESS = "PERDURE_TEMPORAL"
_THREE_DAYS = int(timedelta(days=3).total_seconds()) * 1_000_000_000
_FIELDS = ("namespace", "workflow_namespace")
#: Methods whose argument is no request.
_UNNAMED = ("check_health", "detach_activity_task")


def _address() -> str:
    address = os.environ.get(ADDRESS)
    if not address:
        raise pytest.UsageError(f"PERDURE_STORES=temporal needs {ADDRESS}: the host:port of a server that runs")
    return address


def _renamed(value: Any, name: str, to: str) -> Any:
    """The same request, with another name for one namespace wherever a message names it."""
    if isinstance(value, list):
        return [_renamed(item, name, to) for item in value]
    if not isinstance(value, Message):
        return value
    changes = {}
    for field in value.__struct_fields__:
        held = getattr(value, field)
        if held == name and field in _FIELDS:
            changes[field] = to
        elif isinstance(held, Message | list):
            changes[field] = _renamed(held, name, to)
    return msgspec.structs.replace(value, **changes) if changes else value


class _Namespaced:
    """A connection to a server that has another name for its namespace ``default``."""

    in_process = False

    def __init__(self, service: WorkflowService, namespace: str) -> None:
        self._service = service
        self._namespace = namespace

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._service, name)
        if name in _UNNAMED or not inspect.iscoroutinefunction(method):
            return method

        async def call(request: Any, *args: Any, **options: Any) -> Any:
            return await method(_renamed(request, "default", self._namespace), *args, **options)

        setattr(self, name, call)
        return call

    async def close(self) -> None:
        await self._service.close()


class TemporalHomes:
    """The namespaces of one test. ``memory:NAME`` is the same one each time, ``memory:`` another each time."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._names: dict[str, str] = {}
        self._connect = connect.connect
        self._endpoints: set[str] | None = None
        monkeypatch.setattr(connect, "connect", self._connected)

    async def _connected(
        self, url: str, *, durability: str | None = None, config: ConnectConfig | None = None
    ) -> WorkflowService:
        target = connect.parse(url, durability=durability)
        if target.scheme == "temporal" or ("memory", target.place) in connect._registry:
            return await self._connect(url, durability=durability, config=config)
        if target.scheme != "memory":
            pytest.skip(f"about {target.scheme}:")
        asked = dataclasses.replace(config or ConnectConfig(url), target_host=f"temporal://{_address()}")
        service = await self._connect(asked.target_host, config=asked)
        try:
            return cast("WorkflowService", _Namespaced(service, await self._namespace(service, target.place)))
        except BaseException:
            await service.close()
            raise

    async def _namespace(self, service: WorkflowService, place: str) -> str:
        if self._endpoints is None:
            self._endpoints = {endpoint.id for endpoint in await _endpoints(service)}
        if place in self._names:
            return self._names[place]
        name = f"test-{uuid.uuid4().hex}"
        await service.register_namespace(
            RegisterNamespaceRequest(namespace=name, workflow_execution_retention_period=_THREE_DAYS)
        )
        if place:
            self._names[place] = name
        return name

    async def close(self) -> None:
        """Delete the endpoints that the test made."""
        if self._endpoints is None:
            return
        service = await self._connect(f"temporal://{_address()}")
        try:
            for endpoint in await _endpoints(service):
                if endpoint.id not in self._endpoints:
                    await cast("Any", service).delete_nexus_endpoint(
                        DeleteNexusEndpointRequest(endpoint.id, endpoint.version)
                    )
        finally:
            await service.close()


async def _endpoints(service: WorkflowService) -> list[Any]:
    try:
        return list(
            (await cast("Any", service).list_nexus_endpoints(ListNexusEndpointsRequest(page_size=1000))).endpoints
        )
    except RPCError:
        return []
