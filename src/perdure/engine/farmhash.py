"""FarmHash's 32-bit fingerprint: the hash Temporal spreads jitter with.

Source: Google's FarmHash, the ``mk`` variant; checked against values of Temporal's Go implementation.
"""

from __future__ import annotations

import struct

_MASK = 0xFFFFFFFF
_C1 = 0xCC9E2D51
_C2 = 0x1B873593
_C3 = 0xE6546B64
_BLOCK = 20
_FIVE_WORDS = struct.Struct("<5I").unpack_from


def fingerprint32(data: bytes) -> int:
    """The fingerprint of some bytes, as an unsigned number."""
    size = len(data)
    if size <= 4:
        return _tiny(data)
    if size <= 12:
        return _short(data)
    if size <= 24:
        return _medium(data)
    return _long(data)


def _word(data: bytes, at: int) -> int:
    return int.from_bytes(data[at : at + 4], "little")


def _rotate(value: int, by: int) -> int:
    """To the right."""
    return (value >> by | value << (32 - by)) & _MASK


def _step(h: int) -> int:
    return ((h >> 19 | h << 13) & _MASK) * 5 + _C3 & _MASK


def _scramble(a: int) -> int:
    a = a * _C1 & _MASK
    return ((a >> 17 | a << 15) & _MASK) * _C2 & _MASK


def _mur(a: int, h: int) -> int:
    a = a * _C1 & _MASK
    h ^= ((a >> 17 | a << 15) & _MASK) * _C2 & _MASK
    return ((h >> 19 | h << 13) & _MASK) * 5 + _C3 & _MASK


def _finish(h: int) -> int:
    h = (h ^ h >> 16) * 0x85EBCA6B & _MASK
    h = (h ^ h >> 13) * 0xC2B2AE35 & _MASK
    return h ^ h >> 16


def _tiny(data: bytes) -> int:
    b, c = 0, 9
    for byte in data:
        b = (b * _C1 + (byte - 256 if byte > 127 else byte)) & _MASK
        c ^= b
    return _finish(_mur(b, _mur(len(data), c)))


def _short(data: bytes) -> int:
    size = len(data)
    a = (size + _word(data, 0)) & _MASK
    b = (size * 5 + _word(data, size - 4)) & _MASK
    c = (9 + _word(data, size >> 1 & 4)) & _MASK
    return _finish(_mur(c, _mur(b, _mur(a, size * 5))))


def _medium(data: bytes) -> int:
    size = len(data)
    half = size >> 1
    c, d, f = _word(data, size - 8), _word(data, half), _word(data, size - 4)
    h = (d * _C1 + size) & _MASK
    a = (_rotate(_word(data, half - 4), 12) + f) & _MASK
    h = (_mur(c, h) + a) & _MASK
    a = (_rotate(a, 3) + c) & _MASK
    h = (_mur(_word(data, 0), h) + a) & _MASK
    a = (_rotate((a + f) & _MASK, 12) + d) & _MASK
    return _finish((_mur(_word(data, 4), h) + a) & _MASK)


def _long(data: bytes) -> int:
    size = len(data)
    g = f = _C1 * size & _MASK
    e, d, c, b, a = _FIVE_WORDS(data, size - _BLOCK)
    h = _step(_step(size ^ _scramble(a)) ^ _scramble(d))
    g = _step(_step(g ^ _scramble(b)) ^ _scramble(c))
    f = (_rotate((f + _scramble(e)) & _MASK, 19) + 113) & _MASK
    for at in range(0, (size - 1) // _BLOCK * _BLOCK, _BLOCK):
        a, b, c, d, e = _FIVE_WORDS(data, at)
        h = (_mur(d, h + a & _MASK) + e) & _MASK
        f = (_mur(b + e * _C1 & _MASK, f + c & _MASK) + d) & _MASK
        g = (_mur(c, g + b & _MASK) + a) & _MASK
        f = (f + g) & _MASK
        g = (g + f) & _MASK
    for by in (11, 17):
        g = _rotate(g, by) * _C1 & _MASK
        f = _rotate(f, by) * _C1 & _MASK
    for part in (g, f):
        h = _rotate(_step((h + part) & _MASK), 17) * _C1 & _MASK
    return h
