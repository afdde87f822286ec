"""The base of every API struct."""

from __future__ import annotations

import msgspec


class Message(msgspec.Struct, array_like=True, gc=False):
    """One Temporal message: encoded as an array in field order, never part of a reference cycle."""

    def HasField(self, name: str) -> bool:
        """Whether a field that may be absent is set: a message, a member of a oneof, or an optional value."""
        return getattr(self, name) is not None
