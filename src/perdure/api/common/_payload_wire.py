"""One payload as protobuf bytes and back.

Storage drivers and codecs keep whole payloads; those of other SDKs read them as ``temporal.api.common.v1.Payload``.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from perdure.api.common.v1 import Payload

_METADATA, _DATA, _EXTERNAL_PAYLOADS = 1, 2, 3
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def field(number: int, value: int | bytes) -> bytes:
    """One field; nothing for a zero."""
    if isinstance(value, int):
        return _varint(number << 3 | _VARINT) + _varint(value) if value else b""
    return _varint(number << 3 | _BYTES) + _varint(len(value)) + value


def _block_size(size: int) -> int:
    """Bytes of a length-delimited field with a one-byte tag."""
    return 1 + max(1, (size.bit_length() + 6) // 7) + size


def payload_size(payload: Payload) -> int:
    """Length of :func:`payload_to_bytes`, without making the bytes."""
    size = 0
    for key, value in payload.metadata.items():
        size += _block_size(_block_size(len(key.encode())) + _block_size(len(value)))
    if payload.data:
        size += _block_size(len(payload.data))
    for details in payload.external_payloads:
        size += _block_size(1 + len(_varint(details.size_bytes)) if details.size_bytes else 0)
    return size


def payload_to_bytes(payload: Payload) -> bytes:
    """The payload as protobuf, its metadata in the order of their keys: equal payloads are equal bytes."""
    parts = [
        field(_METADATA, field(1, key.encode()) + field(2, value)) for key, value in sorted(payload.metadata.items())
    ]
    if payload.data:
        parts.append(field(_DATA, payload.data))
    for details in payload.external_payloads:
        size = details.size_bytes
        parts.append(field(_EXTERNAL_PAYLOADS, field(1, size)))
    return b"".join(parts)


def _read_varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        if at >= len(data) or shift > 63:
            raise ValueError("These bytes are not a payload: they end within a number.")
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7


def fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    """The fields of a message, in order: numbers and blocks. Raises ValueError for bytes that are no message."""
    at = 0
    while at < len(data):
        tag, at = _read_varint(data, at)
        kind = tag & 7
        if kind == _VARINT:
            number, at = _read_varint(data, at)
            yield tag >> 3, number
            continue
        if kind == _BYTES:
            size, at = _read_varint(data, at)
        elif kind in (_FIXED64, _FIXED32):
            size = 8 if kind == _FIXED64 else 4
        else:
            raise ValueError(f"These bytes are not a payload: there is no wire type {kind}.")
        if at + size > len(data):
            raise ValueError("These bytes are not a payload: they end within a field.")
        yield tag >> 3, data[at : at + size]
        at += size


def payload_fields(data: bytes) -> tuple[dict[str, bytes], bytes, list[int]]:
    """Metadata, data and the sizes of external payloads. Raises ValueError for bytes that are no payload."""
    metadata: dict[str, bytes] = {}
    body = b""
    sizes: list[int] = []
    for number, value in fields(data):
        if isinstance(value, int):
            continue
        if number == _METADATA:
            entry = {key: item for key, item in fields(value) if isinstance(item, bytes)}
            metadata[entry.get(1, b"").decode()] = entry.get(2, b"")
        elif number == _DATA:
            body = value
        elif number == _EXTERNAL_PAYLOADS:
            sizes.append(next((size for key, size in fields(value) if key == 1 and isinstance(size, int)), 0))
    return metadata, body, sizes
