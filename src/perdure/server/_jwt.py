"""JSON Web Tokens: whose signature is right, and what they permit."""

from __future__ import annotations

import asyncio
import json
import logging
import time
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from perdure.server._auth import JWTAuth

logger = logging.getLogger("perdure.server")

#: Seconds after which an unknown key id may make the keys be read again.
_LOOK_AGAIN = 10.0
_FETCH_TIMEOUT = 10.0
_MAX_JWKS_BYTES = 1024 * 1024


class TokenReader:
    """Checks tokens against a set of keys, which it reads again now and then."""

    def __init__(self, config: JWTAuth) -> None:
        try:
            import jwt
        except ImportError:
            raise RuntimeError("JSON Web Tokens need PyJWT: pip install 'perdure[server]'") from None
        if any(not name.startswith(("RS", "ES", "PS", "Ed")) for name in config.algorithms):
            raise ValueError(
                f"jwt: algorithms {list(config.algorithms)} must be those of public keys: RS256, ES256, EdDSA, ..."
            )
        if config.jwks.startswith("http://"):
            raise ValueError(f"jwt: the keys at {config.jwks} could be changed on their way; use https or a file")
        self._jwt: Any = jwt
        self._config = config
        self._keys: dict[str, Any] = {}
        self._read_at = float("-inf")
        self._lock = asyncio.Lock()

    async def refresh(self) -> None:
        """Read the keys.

        Raises:
            ValueError: there are none to be had.
        """
        self._read_at = time.monotonic()
        try:
            text = await asyncio.to_thread(self._fetch)
            key_set = self._jwt.PyJWKSet.from_dict(json.loads(text))
        except (OSError, ValueError, self._jwt.PyJWTError) as error:
            raise ValueError(f"jwt: no keys from {self._config.jwks}: {error}") from None
        self._keys = {key.key_id: key for key in key_set.keys if key.key_id}

    def _fetch(self) -> bytes:
        source = self._config.jwks
        if not source.startswith("https://"):
            return Path(source).read_bytes()
        with urllib.request.urlopen(source, timeout=_FETCH_TIMEOUT) as response:
            data: bytes = response.read(_MAX_JWKS_BYTES)
        return data

    async def _key(self, key_id: str) -> Any:
        age = time.monotonic() - self._read_at
        if age > self._config.refresh_seconds or (key_id not in self._keys and age > _LOOK_AGAIN):
            async with self._lock:
                if time.monotonic() - self._read_at >= min(age, _LOOK_AGAIN):
                    try:
                        await self.refresh()
                    except ValueError as error:
                        logger.warning("%s; the keys known so far stay", error)
        return self._keys.get(key_id)

    async def read(self, token: str) -> tuple[str, Sequence[object]]:
        """Subject and permissions of a token.

        Raises:
            ValueError: it is none, or not valid now.
        """
        jwt, config = self._jwt, self._config
        try:
            key_id = jwt.get_unverified_header(token).get("kid")
            if not isinstance(key_id, str):
                raise ValueError("the token names no key: its header has no 'kid'")
            key = await self._key(key_id)
            if key is None:
                raise ValueError(f"the token's key {key_id!r} is not known")
            claims = jwt.decode(
                token,
                key,
                algorithms=list(config.algorithms),
                audience=config.audience,
                issuer=config.issuer,
                options={"require": ["exp", "sub"], "verify_aud": config.audience is not None},
            )
        except jwt.PyJWTError as error:
            raise ValueError(f"the token is not valid: {error}") from None
        permissions = claims.get(config.permissions_claim, [])
        if not isinstance(permissions, list):
            raise ValueError(f"the token's claim {config.permissions_claim!r} is not a list")
        return str(claims["sub"]), permissions
