"""Temporal's ``temporal.api.protocol.v1``: the envelope updates travel in."""

from __future__ import annotations

from perdure.api import _message


class Message(_message.Message):
    """Temporal's ``temporal.api.protocol.v1.Message``."""

    id: str = ""
    protocol_instance_id: str = ""
    event_id: int | None = None
    command_index: int | None = None
    body: object | None = None
