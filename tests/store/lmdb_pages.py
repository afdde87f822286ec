"""Is every page of a ``data.mdb`` used once, or free? Written against LMDB 0.9's file format."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path

_BRANCH, _LEAF, _OVERFLOW, _LEAF2 = 0x01, 0x02, 0x04, 0x20
_BIG, _SUB = 0x01, 0x02
_NONE = (1 << 64) - 1
_HEAD = 16


class _Pages:
    def __init__(self, data: bytes) -> None:
        self.data = data
        metas = [struct.unpack_from("<IIQQ48s48sQQ", data, _HEAD)]
        self.size = struct.unpack_from("<I", metas[0][4])[0]
        metas.append(struct.unpack_from("<IIQQ48s48sQQ", data, self.size + _HEAD))
        assert all(meta[:2] == (0xBEEFC0DE, 1) for meta in metas)
        newest = max(metas, key=lambda meta: meta[7])
        self.free_root, self.main_root = (struct.unpack_from("<Q", newest[item], 40)[0] for item in (4, 5))
        self.last = newest[6]
        self.used: set[int] = {0, 1}

    def take(self, number: int, count: int = 1) -> None:
        pages = set(range(number, number + count))
        assert number + count <= self.last + 1, f"page {number} is beyond the last, {self.last}"
        assert not pages & self.used, f"page {number} is used twice"
        self.used |= pages

    def walk(self, number: int) -> Iterator[bytes]:
        """The values below a page; every page on the way is taken."""
        if number == _NONE:
            return
        at = number * self.size
        found, _, flags, lower, _ = struct.unpack_from("<QHHHH", self.data, at)
        assert found == number and flags & (_BRANCH | _LEAF), f"page {number} says it is {found}, flags {flags:#x}"
        self.take(number)
        if flags & _LEAF2:
            return
        for place in struct.unpack_from(f"<{(lower - _HEAD) // 2}H", self.data, at + _HEAD):
            low, high, node, key_size = struct.unpack_from("<HHHH", self.data, at + place)
            if flags & _BRANCH:
                yield from self.walk(low | high << 16 | node << 32)
                continue
            start = at + place + 8 + key_size
            value = self.data[start : start + (8 if node & _BIG else low | high << 16)]
            if node & _BIG:
                (page,) = struct.unpack("<Q", value)
                found, _, kind, count = struct.unpack_from("<QHHI", self.data, page * self.size)
                assert found == page and kind & _OVERFLOW, f"page {page} is no overflow page"
                self.take(page, count)
                first = page * self.size + _HEAD
                value = self.data[first : first + (low | high << 16)]
            elif node & _SUB:
                list(self.walk(struct.unpack_from("<Q", value, 40)[0]))
            yield value


def check_pages(file: Path) -> None:
    """Walk all trees.

    Raises:
        AssertionError: a page is damaged, used twice, both used and free, or neither.
    """
    pages = _Pages(file.read_bytes())
    list(pages.walk(pages.main_root))
    free: set[int] = set()
    for value in pages.walk(pages.free_root):
        count, *numbers = struct.unpack(f"<{len(value) // 8}Q", value)
        assert count == len(numbers)
        assert not free & set(numbers), "a page is free twice"
        free |= set(numbers)
    assert not free & pages.used, f"pages {sorted(free & pages.used)[:5]} are used and free"
    assert free | pages.used == set(range(pages.last + 1)), "pages are neither used nor free"
