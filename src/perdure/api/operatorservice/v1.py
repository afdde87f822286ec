"""Temporal's ``temporal.api.operatorservice.v1``: requests and responses of OperatorService."""

from __future__ import annotations

from perdure.api._message import Message
from perdure.api.nexus import v1 as nexus_v1


class AddSearchAttributesRequest(Message):
    """Temporal's ``temporal.api.operatorservice.v1.AddSearchAttributesRequest``."""

    search_attributes: dict[str, int] = {}
    namespace: str = ""


class AddSearchAttributesResponse(Message):
    """Temporal's ``temporal.api.operatorservice.v1.AddSearchAttributesResponse``."""


class CreateNexusEndpointRequest(Message):
    """Temporal's ``temporal.api.operatorservice.v1.CreateNexusEndpointRequest``."""

    spec: nexus_v1.EndpointSpec | None = None


class CreateNexusEndpointResponse(Message):
    """Temporal's ``temporal.api.operatorservice.v1.CreateNexusEndpointResponse``."""

    endpoint: nexus_v1.Endpoint | None = None


class DeleteNamespaceRequest(Message):
    """Temporal's ``temporal.api.operatorservice.v1.DeleteNamespaceRequest``."""

    namespace: str = ""
    namespace_id: str = ""
    namespace_delete_delay: int | None = None


class DeleteNamespaceResponse(Message):
    """Temporal's ``temporal.api.operatorservice.v1.DeleteNamespaceResponse``."""

    deleted_namespace: str = ""


class DeleteNexusEndpointRequest(Message):
    """Temporal's ``temporal.api.operatorservice.v1.DeleteNexusEndpointRequest``."""

    id: str = ""
    version: int = 0


class DeleteNexusEndpointResponse(Message):
    """Temporal's ``temporal.api.operatorservice.v1.DeleteNexusEndpointResponse``."""


class GetNexusEndpointRequest(Message):
    """Temporal's ``temporal.api.operatorservice.v1.GetNexusEndpointRequest``."""

    id: str = ""


class GetNexusEndpointResponse(Message):
    """Temporal's ``temporal.api.operatorservice.v1.GetNexusEndpointResponse``."""

    endpoint: nexus_v1.Endpoint | None = None


class ListNexusEndpointsRequest(Message):
    """Temporal's ``temporal.api.operatorservice.v1.ListNexusEndpointsRequest``."""

    page_size: int = 0
    next_page_token: bytes = b""
    name: str = ""


class ListNexusEndpointsResponse(Message):
    """Temporal's ``temporal.api.operatorservice.v1.ListNexusEndpointsResponse``."""

    next_page_token: bytes = b""
    endpoints: list[nexus_v1.Endpoint] = []


class ListSearchAttributesRequest(Message):
    """Temporal's ``temporal.api.operatorservice.v1.ListSearchAttributesRequest``."""

    namespace: str = ""


class ListSearchAttributesResponse(Message):
    """Temporal's ``temporal.api.operatorservice.v1.ListSearchAttributesResponse``."""

    custom_attributes: dict[str, int] = {}
    system_attributes: dict[str, int] = {}
    storage_schema: dict[str, str] = {}


class RemoveSearchAttributesRequest(Message):
    """Temporal's ``temporal.api.operatorservice.v1.RemoveSearchAttributesRequest``."""

    search_attributes: list[str] = []
    namespace: str = ""


class RemoveSearchAttributesResponse(Message):
    """Temporal's ``temporal.api.operatorservice.v1.RemoveSearchAttributesResponse``."""


class UpdateNexusEndpointRequest(Message):
    """Temporal's ``temporal.api.operatorservice.v1.UpdateNexusEndpointRequest``."""

    id: str = ""
    version: int = 0
    spec: nexus_v1.EndpointSpec | None = None


class UpdateNexusEndpointResponse(Message):
    """Temporal's ``temporal.api.operatorservice.v1.UpdateNexusEndpointResponse``."""

    endpoint: nexus_v1.Endpoint | None = None
