"""API structs to protobuf's wire bytes and back.

Exact both ways for every field that our structs have. Fields they do not have are skipped, except inside history
events, which keep the bytes they came in: an event that is read and written again is the same, whatever it holds.
"""

from __future__ import annotations

from typing import TypeVar, cast

from perdure._native import events
from perdure._native.protobuf import reader, tables, writer
from perdure._native.protobuf.reader import DecodeError
from perdure.api import system
from perdure.api._message import Message
from perdure.wire._tables import EmptyMessage, Tables, UnknownMessage

__all__ = ["DecodeError", "EmptyMessage", "UnknownMessage", "decode", "encode", "type_name"]

MessageT = TypeVar("MessageT", bound=Message)

_tables = Tables(tables)
events.configure_wire(reader.event_attributes)


def encode(message: Message) -> bytes:
    """The message as protobuf.

    Raises:
        ValueError: a field holds what protobuf cannot: an integer of too many bits, half of a surrogate pair.
        TypeError: a field holds a value of another type, or the struct is no message of Temporal's.
    """
    return writer.encode(_tables.of(type(message)), message)


def decode(message_type: type[MessageT], data: bytes) -> MessageT:
    """The message that protobuf bytes hold.

    Raises:
        DecodeError: (a ValueError) the bytes are cut off, malformed, nested too deeply or not UTF-8 where text is due.
    """
    return cast("MessageT", reader.decode(_tables.of(message_type), data))


def type_name(message_type: type[Message]) -> str:
    """Protobuf's full name of a struct, ``temporal.api.common.v1.Payload``."""
    return _tables.of(message_type).full_name


system.register(encode, decode)
