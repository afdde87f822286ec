"""FarmHash's 64-bit fingerprint: Temporal's filestore names its files with it.

Source: Google's FarmHash, the ``na`` variant; checked against names that Temporal's tests have.
"""

from __future__ import annotations

from struct import Struct

_MASK = (1 << 64) - 1
_K0 = 0xC3A5C85C97CB3127
_K1 = 0xB492B66FBE98F273
_K2 = 0x9AE16A3B2F90404F
_BLOCK = 64
_WORDS = Struct("<8Q").unpack_from
_Pair = tuple[int, int]


def fingerprint64(text: str) -> int:
    """The fingerprint of a text's UTF-8 bytes, as an unsigned number."""
    data = text.encode("utf-8", "surrogatepass")
    size = len(data)
    if size <= 16:
        return _up_to_16(data)
    if size <= 32:
        return _up_to_32(data)
    return _up_to_64(data) if size <= _BLOCK else _long(data)


def _word(data: bytes, at: int) -> int:
    return int.from_bytes(data[at : at + 8], "little")


def _rotate(value: int, by: int) -> int:
    """To the right; of what is beyond 64 bits nothing counts."""
    value &= _MASK
    return (value >> by | value << (64 - by)) & _MASK


def _mix(value: int) -> int:
    return value ^ value >> 47


def _join(u: int, v: int, mul: int) -> int:
    a = _mix((u ^ v) * mul & _MASK)
    return _mix((v ^ a) * mul & _MASK) * mul & _MASK


def _up_to_16(data: bytes) -> int:
    size = len(data)
    mul = _K2 + 2 * size & _MASK
    if size >= 8:
        a = _word(data, 0) + _K2 & _MASK
        b = _word(data, size - 8)
        return _join(_rotate(b, 37) * mul + a & _MASK, (_rotate(a, 25) + b) * mul & _MASK, mul)
    if size >= 4:
        first, last = (int.from_bytes(data[at : at + 4], "little") for at in (0, size - 4))
        return _join(size + (first << 3) & _MASK, last, mul)
    if size:
        y = data[0] + (data[size >> 1] << 8)
        z = size + (data[-1] << 2)
        return _mix((y * _K2 ^ z * _K0) & _MASK) * _K2 & _MASK
    return _K2


def _up_to_32(data: bytes) -> int:
    size = len(data)
    mul = _K2 + 2 * size & _MASK
    a, b = _word(data, 0) * _K1 & _MASK, _word(data, 8)
    c, d = _word(data, size - 8) * mul & _MASK, _word(data, size - 16) * _K2 & _MASK
    return _join(_rotate(a + b, 43) + _rotate(c, 30) + d & _MASK, a + _rotate(b + _K2, 18) + c & _MASK, mul)


def _up_to_64(data: bytes) -> int:
    size = len(data)
    mul = _K2 + 2 * size & _MASK
    a, b = _word(data, 0) * _K2 & _MASK, _word(data, 8)
    c, d = _word(data, size - 8) * mul & _MASK, _word(data, size - 16) * _K2 & _MASK
    y = _rotate(a + b, 43) + _rotate(c, 30) + d & _MASK
    z = _join(y, a + _rotate(b + _K2, 18) + c & _MASK, mul)
    e, f = _word(data, 16) * mul & _MASK, _word(data, 24)
    g, h = (y + _word(data, size - 32)) * mul & _MASK, (z + _word(data, size - 24)) * mul & _MASK
    return _join(_rotate(e + f, 43) + _rotate(g, 30) + h & _MASK, e + _rotate(f + a, 18) + g & _MASK, mul)


def _weak(words: tuple[int, ...], a: int, b: int) -> _Pair:
    w, x, y, z = words
    a += w
    b = _rotate(b + a + z, 21)
    c = a
    a += x + y
    return a + z & _MASK, b + _rotate(a, 44) + c & _MASK


class _State:
    """What a long text is folded into, block by block."""

    def __init__(self, first: int) -> None:
        self.x = 81 * _K2 + first & _MASK
        self.y = 81 * _K1 + 113 & _MASK
        self.z = _mix(self.y * _K2 + 113 & _MASK) * _K2 & _MASK
        self.v: _Pair = (0, 0)
        self.w: _Pair = (0, 0)

    def fold(self, words: tuple[int, ...], mul: int, nine: int) -> None:
        """One block of eight words; ``nine`` is 9 in the last one."""
        v, w = self.v, self.w
        x = _rotate(self.x + self.y + v[0] + words[1], 37) * mul & _MASK
        y = _rotate(self.y + v[1] + words[6], 42) * mul & _MASK
        x ^= w[1] * nine & _MASK
        y = y + v[0] * nine + words[5] & _MASK
        z = _rotate(self.z + w[0], 33) * mul & _MASK
        self.v = _weak(words[:4], v[1] * mul & _MASK, x + w[0])
        self.w = _weak(words[4:], z + w[1], y + words[2])
        self.x, self.y, self.z = z, y, x


def _long(data: bytes) -> int:
    size = len(data)
    state = _State(_word(data, 0))
    for at in range(0, (size - 1) // _BLOCK * _BLOCK, _BLOCK):
        state.fold(_WORDS(data, at), _K1, 1)
    mul = _K1 + ((state.z & 0xFF) << 1) & _MASK
    w0 = state.w[0] + ((size - 1) & 63) & _MASK
    v0 = state.v[0] + w0 & _MASK
    state.v, state.w = (v0, state.v[1]), (w0 + v0 & _MASK, state.w[1])
    state.fold(_WORDS(data, size - _BLOCK), mul, 9)
    return _join(
        _join(state.v[0], state.w[0], mul) + _mix(state.y) * _K0 + state.z & _MASK,
        _join(state.v[1], state.w[1], mul) + state.x & _MASK,
        mul,
    )
