"""The base of every API struct."""

from __future__ import annotations

import msgspec


class Message(msgspec.Struct, array_like=True, gc=False):
    """One Temporal message: encoded as an array in field order, never part of a reference cycle."""
