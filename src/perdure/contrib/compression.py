"""Codecs that make payloads smaller.

``ZlibCodec`` writes what the zlib codec of Temporal's Go SDK writes. ``ZstdCodec`` is faster and smaller; before Python
3.14 it needs ``pip install "perdure[zstd]"``. Both decode payloads of others as they are, so they can be switched on at
any time.
"""

from __future__ import annotations

import asyncio
import importlib
import zlib
from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import Any

from perdure.api.common.v1 import Payload
from perdure.converter import PayloadCodec

#: From this many bytes on the work is done in a thread.
_IN_A_THREAD = 64 * 1024
_MAX_SIZE = 256 * 1024 * 1024


class _CompressionCodec(PayloadCodec):
    _encoding: bytes

    def __init__(self, level: int, min_size: int, max_size: int) -> None:
        self._level = level
        self._min_size = min_size
        self._max_size = max_size

    async def encode(self, payloads: Sequence[Payload]) -> list[Payload]:
        """Compress each payload that gets smaller by it."""
        return await self._each(self._encode_one, payloads)

    async def decode(self, payloads: Sequence[Payload]) -> list[Payload]:
        """Decompress what this codec compressed; leave the rest.

        Raises RuntimeError for damaged data, and for data that would become larger than ``max_size``.
        """
        return await self._each(self._decode_one, payloads)

    async def _each(self, change: Callable[[Payload], Payload], payloads: Sequence[Payload]) -> list[Payload]:
        if sum(len(payload.data) for payload in payloads) < _IN_A_THREAD:
            return [change(payload) for payload in payloads]
        return await asyncio.to_thread(lambda: [change(payload) for payload in payloads])

    def _encode_one(self, payload: Payload) -> Payload:
        if len(payload.data) < self._min_size:
            return payload
        data = payload.SerializeToString()
        compressed = self._compress(data)
        return Payload({"encoding": self._encoding}, compressed) if len(compressed) < len(data) else payload

    def _decode_one(self, payload: Payload) -> Payload:
        if payload.metadata.get("encoding") != self._encoding:
            return payload
        return Payload.FromString(self._decompress(payload.data))

    def _damaged(self, error: Exception) -> RuntimeError:
        return RuntimeError(f"A payload of encoding {self._encoding.decode()} cannot be decompressed: {error}")

    def _too_large(self) -> RuntimeError:
        return RuntimeError(
            f"A payload of encoding {self._encoding.decode()} would decompress to more than max_size, "
            f"{self._max_size} bytes"
        )

    @abstractmethod
    def _compress(self, data: bytes) -> bytes: ...

    @abstractmethod
    def _decompress(self, data: bytes) -> bytes: ...


class ZlibCodec(_CompressionCodec):
    """Compresses with zlib, as ``binary/zlib``."""

    _encoding = b"binary/zlib"

    def __init__(self, *, level: int = -1, min_size: int = 128, max_size: int = _MAX_SIZE) -> None:
        """Make the codec.

        Args:
            level: zlib's, from 1 (fast) to 9 (small); -1 is zlib's own default.
            min_size: payloads with less data stay as they are.
            max_size: data that would become larger than this is refused.
        """
        super().__init__(level, min_size, max_size)

    def _compress(self, data: bytes) -> bytes:
        return zlib.compress(data, self._level)

    def _decompress(self, data: bytes) -> bytes:
        decompressor = zlib.decompressobj()
        try:
            result = decompressor.decompress(data, self._max_size + 1)
        except zlib.error as error:
            raise self._damaged(error) from error
        if len(result) > self._max_size:
            raise self._too_large()
        if not decompressor.eof:
            raise self._damaged(zlib.error("it ends too early"))
        return result


class ZstdCodec(_CompressionCodec):
    """Compresses with Zstandard, as ``binary/zstd``."""

    _encoding = b"binary/zstd"

    def __init__(self, *, level: int = 3, min_size: int = 128, max_size: int = _MAX_SIZE) -> None:
        """Make the codec.

        Args:
            level: Zstandard's, from 1 (fast) to 22 (small).
            min_size: payloads with less data stay as they are.
            max_size: data that would become larger than this is refused.

        Raises:
            RuntimeError: there is no Zstandard here.
        """
        super().__init__(level, min_size, max_size)
        self._zstd, self._is_standard = _zstd()

    def _compress(self, data: bytes) -> bytes:
        if self._is_standard:
            compressed: bytes = self._zstd.compress(data, self._level)
        else:
            compressed = self._zstd.ZstdCompressor(level=self._level).compress(data)
        return compressed

    def _decompress(self, data: bytes) -> bytes:
        result: bytes
        try:
            if self._is_standard:
                decompressor = self._zstd.ZstdDecompressor()
                result = decompressor.decompress(data, self._max_size + 1)
                is_whole = decompressor.eof
            else:
                decompressor = self._zstd.ZstdDecompressor().decompressobj(read_across_frames=False)
                if self._zstd.frame_content_size(data) > self._max_size:
                    raise self._too_large()
                result = decompressor.decompress(data)
                is_whole = decompressor.eof
        except self._zstd.ZstdError as error:
            raise self._damaged(error) from error
        if len(result) > self._max_size:
            raise self._too_large()
        if not is_whole:
            raise self._damaged(EOFError("it ends too early"))
        return result


def _zstd() -> tuple[Any, bool]:
    """The module, and whether it is the standard library's."""
    for name, is_standard in (("compression.zstd", True), ("zstandard", False)):
        try:
            return importlib.import_module(name), is_standard
        except ImportError:
            continue
    raise RuntimeError('ZstdCodec needs Python 3.14, or the zstandard package: pip install "perdure[zstd]"')
