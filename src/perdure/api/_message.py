"""The base of every API struct."""

from __future__ import annotations

import msgspec

from perdure._native import fields


class Message(msgspec.Struct, array_like=True, gc=False):
    """One Temporal message: encoded as an array in field order, never part of a reference cycle."""

    def __init_subclass__(cls) -> None:
        """Read the fields of every message fast."""
        fields.install(cls)

    def HasField(self, name: str) -> bool:
        """Whether a field that may be absent is set: a message, a member of a oneof, or an optional value."""
        return getattr(self, name) is not None
