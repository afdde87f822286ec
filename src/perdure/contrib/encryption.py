"""A codec that encrypts: ``pip install "perdure[encryption]"``.

Only who has a key can read a payload: not the store, not a backup, not a user interface. What is left readable are names,
ids, times and search attributes; give the data converter ``DefaultFailureConverterWithEncodedAttributes`` so that error
messages and stack traces are encrypted as well.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from perdure.api.common.v1 import Payload
from perdure.converter import PayloadCodec

_ENCODING = b"binary/encrypted"
_KEY_ID = "encryption-key-id"
_NONCE_SIZE = 12


class AESGCMCodec(PayloadCodec):
    """Encrypts and authenticates each payload with AES-GCM, as the encryption codecs of Temporal's samples write it.

    A payload names its key. To rotate, give the new key beside the old one, everywhere; then name it as ``key_id``. An
    old key can go once no history, memo or schedule holds a payload of it: after the longest run and its retention.
    """

    def __init__(self, keys: Mapping[str, bytes], key_id: str, *, accepts_plain: bool = True) -> None:
        """Make the codec.

        Args:
            keys: the keys by their ids; 16, 24 or 32 random bytes each. A mapping of your own may look keys up.
            key_id: the key that encrypts.
            accepts_plain: Whether payloads that are not encrypted are decoded as they are. Needed while histories from
                before the encryption are around; without it whoever writes to the store cannot slip one in.

        Raises:
            ValueError: there is no key of that id, or it has another length.
        """
        self._keys = keys
        self._ciphers: dict[str, AESGCM] = {}
        self._key_id = key_id
        self._accepts_plain = accepts_plain
        if key_id not in keys:
            raise ValueError(f"AESGCMCodec: there is no key {key_id!r} in keys")
        self._cipher(key_id)

    @staticmethod
    def new_key() -> bytes:
        """A random key of 256 bits."""
        return AESGCM.generate_key(256)

    async def encode(self, payloads: Sequence[Payload]) -> list[Payload]:
        """Encrypt each payload, metadata and all."""
        cipher, key_id = self._cipher(self._key_id), self._key_id.encode()
        encoded = []
        for payload in payloads:
            nonce = os.urandom(_NONCE_SIZE)
            data = nonce + cipher.encrypt(nonce, payload.SerializeToString(), None)
            encoded.append(Payload({"encoding": _ENCODING, _KEY_ID: key_id}, data))
        return encoded

    async def decode(self, payloads: Sequence[Payload]) -> list[Payload]:
        """Decrypt what is encrypted.

        Raises RuntimeError for a key this codec does not have and for data that was changed.
        """
        return [self._decode_one(payload) for payload in payloads]

    def _decode_one(self, payload: Payload) -> Payload:
        if payload.metadata.get("encoding") != _ENCODING:
            if self._accepts_plain:
                return payload
            raise RuntimeError("A payload is not encrypted, and this codec accepts none that is not")
        key_id = payload.metadata.get(_KEY_ID, b"").decode(errors="replace")
        try:
            cipher = self._cipher(key_id)
        except KeyError:
            raise RuntimeError(f"A payload is encrypted with key {key_id!r}, which this codec does not have") from None
        nonce, data = payload.data[:_NONCE_SIZE], payload.data[_NONCE_SIZE:]
        try:
            return Payload.FromString(cipher.decrypt(nonce, data, None))
        except (InvalidTag, ValueError):
            raise RuntimeError(
                f"A payload cannot be decrypted with key {key_id!r}: it was changed, or that is another key"
            ) from None

    def _cipher(self, key_id: str) -> AESGCM:
        cipher = self._ciphers.get(key_id)
        if cipher is None:
            cipher = self._ciphers[key_id] = AESGCM(self._keys[key_id])
        return cipher
