"""Payload codecs in a row, and what a codec server does with a codec."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from typing import Any, Self

import msgspec

from perdure.api.common.v1 import Payload
from perdure.converter import PayloadCodec, SerializationContext, WithSerializationContext


class CodecChain(PayloadCodec, WithSerializationContext):
    """Several codecs as one: encodes with the first one first, decodes with the last one first.

    ``CodecChain(ZlibCodec(), AESGCMCodec(...))`` compresses and then encrypts; the other way round compresses nothing.
    """

    def __init__(self, *codecs: PayloadCodec) -> None:
        """Put the codecs in a row; at least one."""
        if not codecs:
            raise ValueError("CodecChain needs at least one codec.")
        self.codecs = codecs

    async def encode(self, payloads: Sequence[Payload]) -> list[Payload]:
        """Encode with every codec in turn."""
        for codec in self.codecs:
            payloads = await codec.encode(payloads)
        return list(payloads)

    async def decode(self, payloads: Sequence[Payload]) -> list[Payload]:
        """Decode with every codec, the last one first."""
        for codec in reversed(self.codecs):
            payloads = await codec.decode(payloads)
        return list(payloads)

    def with_context(self, context: SerializationContext) -> Self:
        """The chain with every codec told the context that wants to know it; itself when none does."""
        codecs = [
            codec.with_context(context) if isinstance(codec, WithSerializationContext) else codec
            for codec in self.codecs
        ]
        if all(new is old for new, old in zip(codecs, self.codecs, strict=True)):
            return self
        return type(self)(*codecs)


async def answer_codec_request(codec: PayloadCodec, operation: str, body: bytes) -> bytes:
    """The answer of a codec server: what Temporal's UI and CLI ask for to show payloads that only you can read.

    A codec server is a web server of yours, with your authentication, that hands the body of ``POST /encode`` and
    ``POST /decode`` to this function. Failures need nothing of their own: their encoded attributes are payloads.

    Args:
        codec: the codec of the namespace the request asks for.
        operation: ``"encode"`` or ``"decode"``, the last part of the path.
        body: the request's JSON, ``{"payloads": [{"metadata": {...}, "data": ...}]}`` with base64 values.

    Raises:
        ValueError: the operation or the body is none of these (a status of 400).
    """
    if operation not in ("encode", "decode"):
        raise ValueError(f"A codec server knows encode and decode, not {operation!r}.")
    try:
        payloads = [_from_json(fields) for fields in msgspec.json.decode(body)["payloads"]]
    except (msgspec.DecodeError, binascii.Error, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"The body is not JSON with payloads: {error}") from error
    changed = await (codec.encode(payloads) if operation == "encode" else codec.decode(payloads))
    return msgspec.json.encode({"payloads": [_to_json(payload) for payload in changed]})


def _from_json(fields: dict[str, Any]) -> Payload:
    metadata = {key: base64.b64decode(value) for key, value in fields.get("metadata", {}).items()}
    return Payload(metadata, base64.b64decode(fields.get("data", "")))


def _to_json(payload: Payload) -> dict[str, Any]:
    return {
        "metadata": {key: base64.b64encode(value).decode() for key, value in payload.metadata.items()},
        "data": base64.b64encode(payload.data).decode(),
    }
