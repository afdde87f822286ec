"""Temporal's ``temporal.api.operatorservice.v1``: requests and responses of OperatorService."""

from __future__ import annotations

from perdure.api._message import Message


class AddSearchAttributesRequest(Message):
    """Temporal's ``temporal.api.operatorservice.v1.AddSearchAttributesRequest``."""

    search_attributes: dict[str, int] = {}
    namespace: str = ""


class AddSearchAttributesResponse(Message):
    """Temporal's ``temporal.api.operatorservice.v1.AddSearchAttributesResponse``."""


class DeleteNamespaceRequest(Message):
    """Temporal's ``temporal.api.operatorservice.v1.DeleteNamespaceRequest``."""

    namespace: str = ""
    namespace_id: str = ""
    namespace_delete_delay: int | None = None


class DeleteNamespaceResponse(Message):
    """Temporal's ``temporal.api.operatorservice.v1.DeleteNamespaceResponse``."""

    deleted_namespace: str = ""


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
