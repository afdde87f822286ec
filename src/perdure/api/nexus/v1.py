"""Temporal's ``temporal.api.nexus.v1``: nexus failures."""

from __future__ import annotations

from perdure.api._message import Message


class PropagatedSerializationContext(Message):
    """Temporal's ``temporal.api.nexus.v1.PropagatedSerializationContext``."""

    endpoint: str = ""
    service: str = ""
    operation: str = ""
