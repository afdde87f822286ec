"""The operator service protocol. Requests and responses are the structs of ``perdure.api.operatorservice.v1``."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Protocol

from perdure.api.operatorservice import v1 as operatorservice_v1


class OperatorService(Protocol):
    """Temporal's OperatorService, as far as there is one cluster. Errors and options are those of WorkflowService."""

    async def add_search_attributes(
        self,
        request: operatorservice_v1.AddSearchAttributesRequest,
        *,
        metadata: Mapping[str, str | bytes] | None = None,
        timeout: timedelta | None = None,
    ) -> operatorservice_v1.AddSearchAttributesResponse:
        """Temporal's AddSearchAttributes."""
        ...

    async def remove_search_attributes(
        self,
        request: operatorservice_v1.RemoveSearchAttributesRequest,
        *,
        metadata: Mapping[str, str | bytes] | None = None,
        timeout: timedelta | None = None,
    ) -> operatorservice_v1.RemoveSearchAttributesResponse:
        """Temporal's RemoveSearchAttributes."""
        ...

    async def list_search_attributes(
        self,
        request: operatorservice_v1.ListSearchAttributesRequest,
        *,
        metadata: Mapping[str, str | bytes] | None = None,
        timeout: timedelta | None = None,
    ) -> operatorservice_v1.ListSearchAttributesResponse:
        """Temporal's ListSearchAttributes."""
        ...

    async def delete_namespace(
        self,
        request: operatorservice_v1.DeleteNamespaceRequest,
        *,
        metadata: Mapping[str, str | bytes] | None = None,
        timeout: timedelta | None = None,
    ) -> operatorservice_v1.DeleteNamespaceResponse:
        """Temporal's DeleteNamespace."""
        ...

    async def create_nexus_endpoint(
        self,
        request: operatorservice_v1.CreateNexusEndpointRequest,
        *,
        metadata: Mapping[str, str | bytes] | None = None,
        timeout: timedelta | None = None,
    ) -> operatorservice_v1.CreateNexusEndpointResponse:
        """Temporal's CreateNexusEndpoint."""
        ...

    async def update_nexus_endpoint(
        self,
        request: operatorservice_v1.UpdateNexusEndpointRequest,
        *,
        metadata: Mapping[str, str | bytes] | None = None,
        timeout: timedelta | None = None,
    ) -> operatorservice_v1.UpdateNexusEndpointResponse:
        """Temporal's UpdateNexusEndpoint."""
        ...

    async def delete_nexus_endpoint(
        self,
        request: operatorservice_v1.DeleteNexusEndpointRequest,
        *,
        metadata: Mapping[str, str | bytes] | None = None,
        timeout: timedelta | None = None,
    ) -> operatorservice_v1.DeleteNexusEndpointResponse:
        """Temporal's DeleteNexusEndpoint."""
        ...

    async def get_nexus_endpoint(
        self,
        request: operatorservice_v1.GetNexusEndpointRequest,
        *,
        metadata: Mapping[str, str | bytes] | None = None,
        timeout: timedelta | None = None,
    ) -> operatorservice_v1.GetNexusEndpointResponse:
        """Temporal's GetNexusEndpoint."""
        ...

    async def list_nexus_endpoints(
        self,
        request: operatorservice_v1.ListNexusEndpointsRequest,
        *,
        metadata: Mapping[str, str | bytes] | None = None,
        timeout: timedelta | None = None,
    ) -> operatorservice_v1.ListNexusEndpointsResponse:
        """Temporal's ListNexusEndpoints."""
        ...
