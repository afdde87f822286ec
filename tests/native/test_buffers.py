"""The byte cursors against their twin."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perdure._native.buffers import pack, unpack
from tests.twins import buffers as twin

_PARTS = st.one_of(
    st.tuples(st.just("byte"), st.integers(0, 255)),
    st.tuples(st.just("varint"), st.integers(0, 2**64 - 1)),
    st.tuples(st.just("zigzag"), st.integers(-(2**63) + 1, 2**63 - 1)),
    st.tuples(st.just("block"), st.binary(max_size=300)),
)
_KINDS = st.sampled_from(("byte", "varint", "zigzag", "block"))


@given(st.lists(_PARTS, max_size=12))
def test_what_is_written_is_read_again(parts: list[tuple[str, Any]]) -> None:
    data = pack(parts)
    assert data == twin.pack(parts)
    kinds = [kind for kind, _ in parts]
    assert unpack(data, kinds) == twin.unpack(data, kinds) == [value for _, value in parts]
    for size in range(len(data)):
        with pytest.raises(ValueError, match="damaged record"):
            unpack(data[:size], kinds)


@given(st.binary(max_size=30), st.lists(_KINDS, max_size=5))
def test_any_bytes_are_read_alike(data: bytes, kinds: list[str]) -> None:
    try:
        expected = twin.unpack(data, kinds)
    except ValueError:
        with pytest.raises(ValueError, match="damaged record"):
            unpack(data, kinds)
    else:
        assert unpack(data, kinds) == expected
