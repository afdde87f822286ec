"""Where callers of a server may have namespaces archived to: archives are files of its machine, say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any
from urllib.parse import unquote, urlsplit

from perdure.api.namespace import v1 as namespace_v1
from perdure.api.workflowservice import v1 as ws
from perdure.service import RPCError, RPCStatusCode

Metadata = Mapping[str, str | bytes] | None


class ArchivalPlaces:
    """A service that refuses archives elsewhere than at some places. What a namespace has already stays."""

    def __init__(self, service: Any, places: Sequence[str]) -> None:
        self._service = service
        self._places = places

    def __getattr__(self, name: str) -> Any:
        """Every other RPC is the service's."""
        return getattr(self._service, name)

    async def register_namespace(
        self, request: ws.RegisterNamespaceRequest, *, metadata: Metadata = None, timeout: timedelta | None = None
    ) -> ws.RegisterNamespaceResponse:
        """Temporal's RegisterNamespace."""
        self._check(request, ())
        response: ws.RegisterNamespaceResponse = await self._service.register_namespace(
            request, metadata=metadata, timeout=timeout
        )
        return response

    async def update_namespace(
        self, request: ws.UpdateNamespaceRequest, *, metadata: Metadata = None, timeout: timedelta | None = None
    ) -> ws.UpdateNamespaceResponse:
        """Temporal's UpdateNamespace."""
        config = request.config
        if config is not None and (config.history_archival_uri or config.visibility_archival_uri):
            described = await self._service.describe_namespace(ws.DescribeNamespaceRequest(request.namespace))
            has = described.config
            self._check(config, (has.history_archival_uri, has.visibility_archival_uri))
        response: ws.UpdateNamespaceResponse = await self._service.update_namespace(
            request, metadata=metadata, timeout=timeout
        )
        return response

    def _check(self, request: ws.RegisterNamespaceRequest | namespace_v1.NamespaceConfig, known: Sequence[str]) -> None:
        for uri in (request.history_archival_uri, request.visibility_archival_uri):
            if uri and uri not in known and not any(is_below(uri, place) for place in self._places):
                raise RPCError(
                    f"This server does not archive to {uri!r}: whoever runs it names the places (perdure server "
                    "--archival-uri URI).",
                    RPCStatusCode.PERMISSION_DENIED,
                )


def is_below(uri: str, place: str) -> bool:
    """Whether an archive is at a place or below it: the same options, and a path that does not leave it."""
    try:
        wanted, allowed = urlsplit(uri), urlsplit(place)
    except ValueError:
        return False
    if (wanted.scheme, wanted.netloc, wanted.query) != (allowed.scheme, allowed.netloc, allowed.query):
        return False
    path, top = unquote(wanted.path).rstrip("/"), unquote(allowed.path).rstrip("/")
    return ".." not in path.split("/") and (path == top or path.startswith(f"{top}/"))
