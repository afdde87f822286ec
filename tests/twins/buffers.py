"""The plain twin of the byte cursors: varints, zigzagged numbers, blocks."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any


def pack(parts: Iterable[tuple[str, Any]]) -> bytes:
    """Bytes of parts: ``byte``, ``varint``, ``zigzag``, ``block``."""
    out = bytearray()
    for kind, value in parts:
        if kind == "byte":
            out.append(value)
        elif kind == "block":
            out += _varint(len(value)) + value
        else:
            out += _varint(value if kind == "varint" else 2 * value if value >= 0 else -2 * value - 1)
    return bytes(out)


def unpack(data: bytes, kinds: Iterable[str]) -> list[Any]:
    """What parts of those kinds say, at the beginning of some bytes; ValueError: the bytes end, or are no such parts."""
    found: list[Any] = []
    at = 0
    for kind in kinds:
        if kind == "byte":
            if at >= len(data):
                raise ValueError("no byte")
            found.append(data[at])
            at += 1
            continue
        value, shift = 0, 0
        while True:
            if at >= len(data) or shift > 63:
                raise ValueError("no end")
            value |= (data[at] & 0x7F) << shift
            shift += 7
            at += 1
            if data[at - 1] < 0x80:
                break
        value &= (1 << 64) - 1
        if kind == "varint":
            found.append(value)
        elif kind == "zigzag":
            found.append(value >> 1 if value & 1 == 0 else -(value >> 1) - 1)
        else:
            if value > len(data) - at:
                raise ValueError("no room")
            found.append(data[at : at + value])
            at += value
    return found


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)
