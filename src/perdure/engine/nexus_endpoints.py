"""Nexus endpoints: names under which workflows call operations, and where each leads.

An endpoint is a document of the store under an id that is no namespace's; all of them are in memory. A change waits for
its commit, and for the changes before it.
"""

from __future__ import annotations

import asyncio
import re
import uuid

import msgspec

from perdure.api.nexus import v1 as nexus_v1
from perdure.api.operatorservice import v1 as operatorservice_v1
from perdure.engine import limits
from perdure.engine.core import Core
from perdure.engine.errors import failed_precondition, invalid_argument, not_found
from perdure.engine.namespaces import Namespaces
from perdure.service import RPCError, RPCStatusCode
from perdure.store.api import Document

#: Where the store keeps endpoints, which belong to no namespace.
_HOME = "6d5cb1c0-53cf-4d58-8f66-0f1a1be4a4e1"
KIND = "nexus-endpoint"
_CHANGES = "nexus-endpoint-changes"
_PAGE = 1000
_NAME = re.compile(r"[a-zA-Z][a-zA-Z0-9\-]*[a-zA-Z0-9]")
MAX_NAME = 200
MAX_URL = 4096
MAX_DESCRIPTION = 20_000

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(nexus_v1.Endpoint).decode


class NexusEndpoints:
    """The endpoints of a store, and the operator's RPCs about them."""

    def __init__(self, core: Core, namespaces: Namespaces) -> None:
        self._core = core
        self._namespaces = namespaces
        self._by_id: dict[str, nexus_v1.Endpoint] = {}
        self._by_name: dict[str, nexus_v1.Endpoint] = {}
        #: How often any endpoint was changed: two engines of a cluster must not give one name away at the same time.
        self._changes = 0
        self._changing = asyncio.Lock()

    async def open(self) -> None:
        """Read them all; again, where another node of a cluster has changed one."""
        found: list[nexus_v1.Endpoint] = []
        after = ""
        async with self._changing:
            changes = await self._core.store.load_document(_HOME, _CHANGES, "")
            while True:
                page = await self._core.store.list_documents(_HOME, KIND, _PAGE, after)
                found += [_decode(document.body) for document in page]
                if len(page) < _PAGE:
                    break
                after = page[-1].id
            self._changes = 0 if changes is None else changes.version
            self._by_id = {endpoint.id: endpoint for endpoint in found}
            self._by_name = {_name(endpoint): endpoint for endpoint in found}

    def _take(self, endpoint: nexus_v1.Endpoint) -> None:
        before = self._by_id.get(endpoint.id)
        if before is not None:
            del self._by_name[_name(before)]
        self._by_id[endpoint.id] = endpoint
        self._by_name[_name(endpoint)] = endpoint

    def find(self, endpoint_id: str, name: str) -> nexus_v1.Endpoint | None:
        """The endpoint of that id, or of that name where it was made again since."""
        return self._by_id.get(endpoint_id) or self._by_name.get(name)

    def id_of(self, name: str) -> str | None:
        """The id of the endpoint of that name."""
        endpoint = self._by_name.get(name)
        return None if endpoint is None else endpoint.id

    async def _put(self, document: Document) -> None:
        core = self._core
        waiter: asyncio.Future[None] = core.loop.create_future()
        core.put_document(Document(_HOME, _CHANGES, "", b"1", self._changes + 1))
        core.put_document(document).waiters.append(waiter)
        await waiter
        self._changes += 1

    # ---- requests

    async def create(
        self, request: operatorservice_v1.CreateNexusEndpointRequest
    ) -> operatorservice_v1.CreateNexusEndpointResponse:
        """Temporal's CreateNexusEndpoint. The endpoint is durable, and can be called, when it is answered."""
        spec = self._check(request.spec)
        async with self._changing:
            if spec.name in self._by_name:
                raise RPCError(
                    f"error creating Nexus endpoint. Endpoint with name {spec.name} already registered",
                    RPCStatusCode.ALREADY_EXISTS,
                )
            endpoint_id = str(uuid.uuid4())
            endpoint = nexus_v1.Endpoint(
                1, endpoint_id, spec, self._core.now(), None, f"/nexus/endpoints/{endpoint_id}/services"
            )
            await self._put(Document(_HOME, KIND, endpoint_id, _encode(endpoint), 1))
            self._take(endpoint)
        return operatorservice_v1.CreateNexusEndpointResponse(endpoint)

    async def update(
        self, request: operatorservice_v1.UpdateNexusEndpointRequest
    ) -> operatorservice_v1.UpdateNexusEndpointResponse:
        """Temporal's UpdateNexusEndpoint: refused unless ``version`` is the endpoint's newest."""
        spec = self._check(request.spec)
        async with self._changing:
            before = self._existing(request.id)
            if request.version != before.version:
                raise failed_precondition(
                    f"nexus endpoint version mismatch. received: {request.version} expected {before.version}"
                )
            named = self._by_name.get(spec.name)
            if named is not None and named is not before:
                raise RPCError(
                    f"error updating Nexus endpoint. Endpoint with name {spec.name} already registered",
                    RPCStatusCode.ALREADY_EXISTS,
                )
            endpoint = msgspec.structs.replace(
                before, version=before.version + 1, spec=spec, last_modified_time=self._core.now()
            )
            await self._put(Document(_HOME, KIND, endpoint.id, _encode(endpoint), endpoint.version))
            self._take(endpoint)
        return operatorservice_v1.UpdateNexusEndpointResponse(endpoint)

    async def delete(
        self, request: operatorservice_v1.DeleteNexusEndpointRequest
    ) -> operatorservice_v1.DeleteNexusEndpointResponse:
        """Temporal's DeleteNexusEndpoint. Operations that were not started yet fail."""
        async with self._changing:
            endpoint = self._existing(request.id)
            if request.version and request.version != endpoint.version:
                raise failed_precondition(
                    f"nexus endpoint version mismatch. received: {request.version} expected {endpoint.version}"
                )
            await self._put(Document(_HOME, KIND, endpoint.id, b"", endpoint.version + 1))
            del self._by_id[endpoint.id]
            del self._by_name[_name(endpoint)]
        return operatorservice_v1.DeleteNexusEndpointResponse()

    def get(self, request: operatorservice_v1.GetNexusEndpointRequest) -> operatorservice_v1.GetNexusEndpointResponse:
        """Temporal's GetNexusEndpoint."""
        return operatorservice_v1.GetNexusEndpointResponse(self._existing(request.id))

    def list_endpoints(
        self, request: operatorservice_v1.ListNexusEndpointsRequest
    ) -> operatorservice_v1.ListNexusEndpointsResponse:
        """Temporal's ListNexusEndpoints, by id; ``name`` asks for one."""
        size = limits.check_page_size(request.page_size, default=100)
        after = request.next_page_token.decode(errors="replace")
        found = sorted(
            endpoint_id
            for endpoint_id, endpoint in self._by_id.items()
            if endpoint_id > after and request.name in ("", _name(endpoint))
        )
        token = found[size - 1].encode() if len(found) > size else b""
        return operatorservice_v1.ListNexusEndpointsResponse(token, [self._by_id[key] for key in found[:size]])

    def _existing(self, endpoint_id: str) -> nexus_v1.Endpoint:
        if not endpoint_id:
            raise invalid_argument("Nexus endpoint ID is not set on the request.")
        endpoint = self._by_id.get(endpoint_id)
        if endpoint is None:
            raise not_found(f"could not find Nexus endpoint with ID: {endpoint_id}")
        return endpoint

    def _check(self, spec: nexus_v1.EndpointSpec | None) -> nexus_v1.EndpointSpec:
        if spec is None or not spec.name:
            raise invalid_argument("Nexus endpoint name is not set on the request.")
        if len(spec.name) > MAX_NAME:
            raise invalid_argument(f"Nexus endpoint name is longer than {MAX_NAME} bytes.")
        if _NAME.fullmatch(spec.name) is None:
            raise invalid_argument(f"Nexus endpoint name not set or does not match {_NAME.pattern}: {spec.name!r}")
        if spec.description is not None and len(spec.description.data) > MAX_DESCRIPTION:
            raise invalid_argument(f"Nexus endpoint description is longer than {MAX_DESCRIPTION} bytes.")
        target = spec.target
        if target is not None and target.worker is not None:
            self._namespaces.get(target.worker.namespace)
            limits.check_id(target.worker.task_queue, "TaskQueue of the Nexus endpoint's target")
        elif target is not None and target.external is not None:
            url = target.external.url
            if not url.startswith(("http://", "https://")) or len(url) > MAX_URL:
                raise invalid_argument(f"Nexus endpoint target URL must be http or https, of at most {MAX_URL} bytes.")
        else:
            raise invalid_argument("Nexus endpoint target is not set on the request.")
        return spec


def _name(endpoint: nexus_v1.Endpoint) -> str:
    return "" if endpoint.spec is None else endpoint.spec.name
