"""Who calls: API keys, JSON Web Tokens and client certificates, each with roles per namespace."""

from __future__ import annotations

import hashlib
import hmac
import logging
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from perdure.server._access import Access, Role, access_of, allows, is_about_the_server
from perdure.server._jwt import TokenReader

logger = logging.getLogger("perdure.server")

_ROLES = {"read": Role.READER, "write": Role.WRITER, "worker": Role.WORKER, "admin": Role.ADMIN}
#: The namespace of a permission for the whole server, by Temporal's name and by ours.
_SYSTEM = ("temporal-system", "system")


class Refused(Exception):
    """The credentials are wrong. The message is for the log, not for the caller."""


@dataclass(frozen=True)
class ApiKey:
    """A secret that a client sends as its API key.

    ``permissions`` are Temporal's: ``orders:write``, ``orders:worker``, ``system:admin`` for all namespaces; the words
    are ``read``, ``write``, ``worker`` and ``admin``. Keep ``sha256``, the hexadecimal digest, where the secret itself
    should not be.
    """

    name: str
    permissions: Sequence[str]
    secret: str | None = field(default=None, repr=False)
    sha256: str | None = None

    def __post_init__(self) -> None:
        """Check it."""
        if (self.secret is None) == (self.sha256 is None):
            raise ValueError(f"API key {self.name!r}: give either its secret or its sha256")
        if self.secret is not None and len(self.secret) < 16:
            raise ValueError(f"API key {self.name!r}: a secret has 16 characters or more")
        if self.sha256 is not None and len(_bytes_of_hex(self.sha256)) != 32:
            raise ValueError(f"API key {self.name!r}: sha256 is the 64 hexadecimal digits of the secret's SHA-256")
        _Claims.of(self.name, self.permissions, strict=True)

    @property
    def digest(self) -> bytes:
        """SHA-256 of the secret."""
        if self.sha256 is not None:
            return _bytes_of_hex(self.sha256)
        assert self.secret is not None
        return hashlib.sha256(self.secret.encode()).digest()


@dataclass(frozen=True)
class JWTAuth:
    """JSON Web Tokens that somebody else issues.

    ``jwks`` is the file or the https URL with the keys that sign them. Tokens need ``sub`` and ``exp``, and list
    permissions such as ``orders:write`` in the claim ``permissions_claim``. ``audience`` and ``issuer`` are compared
    where they are given.
    """

    jwks: str
    permissions_claim: str = "permissions"
    audience: str | None = None
    issuer: str | None = None
    algorithms: Sequence[str] = ("RS256", "ES256")
    refresh_seconds: float = 300.0


@dataclass(frozen=True)
class Auth:
    """Everybody who may call, and what they may do.

    ``client_certificates`` gives permissions to the common names of client certificates; it needs TLS with a CA.
    """

    api_keys: Sequence[ApiKey] = ()
    jwt: JWTAuth | None = None
    client_certificates: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Check it."""
        if not self.api_keys and self.jwt is None and not self.client_certificates:
            raise ValueError("auth: give API keys, JWT or client certificates; this configuration lets nobody in")
        for name, permissions in self.client_certificates.items():
            _Claims.of(name, permissions, strict=True)

    @classmethod
    def load(cls, path: str | Path) -> Auth:
        """Read a TOML file: ``[[api_keys]]``, ``[jwt]`` and ``[client_certificates]`` with the fields of the classes.

        Raises:
            ValueError: the file is not TOML, or says something that is not understood.
        """
        try:
            data = tomllib.loads(Path(path).read_text())
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise ValueError(f"{path}: not a TOML file: {error}") from None
        _known(path, data, {"api_keys", "jwt", "client_certificates"})
        try:
            keys = [ApiKey(**entry) for entry in data.get("api_keys", ())]
            jwt = JWTAuth(**data["jwt"]) if "jwt" in data else None
            return cls(keys, jwt, data.get("client_certificates", {}))
        except (TypeError, ValueError, AttributeError) as error:
            raise ValueError(f"{path}: {error}") from None


def _known(path: object, data: Mapping[str, Any], names: set[str]) -> None:
    unknown = sorted(data.keys() - names)
    if unknown:
        raise ValueError(f"{path}: unknown section {unknown[0]!r}; there are {', '.join(sorted(names))}")


def _bytes_of_hex(text: str) -> bytes:
    try:
        return bytes.fromhex(text)
    except ValueError:
        return b""


@dataclass
class _Claims:
    """What a caller may do."""

    subject: str
    system: Role = Role.NONE
    namespaces: dict[str, Role] = field(default_factory=dict)

    @classmethod
    def of(cls, subject: str, permissions: Iterable[object], *, strict: bool = False) -> _Claims:
        """From Temporal's permissions; those that mean nothing are left out, or refused."""
        if isinstance(permissions, str):
            raise ValueError(f"{subject!r}: permissions are a list, such as ['default:write']")
        claims = cls(subject)
        for permission in permissions:
            namespace, colon, word = str(permission).partition(":")
            role = _ROLES.get(word.lower())
            if not colon or not namespace or role is None:
                text = f"{subject!r}: {permission!r} is no permission; write NAMESPACE:ROLE, the role one of "
                if strict:
                    raise ValueError(text + ", ".join(_ROLES))
                logger.warning("ignored: %s%s", text, ", ".join(_ROLES))
            elif namespace in _SYSTEM:
                claims.system |= role
            else:
                claims.namespaces[namespace] = claims.namespaces.get(namespace, Role.NONE) | role
        return claims

    def role(self, path: str, namespace: str) -> Role:
        """The role in what an RPC is about."""
        if is_about_the_server(path):
            return self.system
        return self.system | self.namespaces.get(namespace, Role.NONE)


class Authorizer:
    """Applies an :class:`Auth` to calls."""

    def __init__(self, auth: Auth) -> None:
        self._keys = [(key.digest, _Claims.of(key.name, key.permissions)) for key in auth.api_keys]
        self._certificates = {name: _Claims.of(name, what) for name, what in auth.client_certificates.items()}
        self._tokens = None if auth.jwt is None else TokenReader(auth.jwt)

    async def open(self) -> None:
        """Read the keys that sign tokens."""
        if self._tokens is not None:
            await self._tokens.refresh()

    async def authenticate(self, path: str, authorization: str, common_names: Iterable[bytes]) -> _Claims | None:
        """Who calls; None where it does not matter.

        Raises:
            Refused: nobody who is known.
        """
        if access_of(path) is Access.OPEN:
            return None
        if authorization:
            word, _, token = authorization.partition(" ")
            if word.lower() != "bearer" or not token:
                raise Refused("the authorization header is not 'Bearer TOKEN'")
            return await self._of_token(token.strip())
        for name in common_names:
            claims = self._certificates.get(name.decode(errors="replace"))
            if claims is not None:
                return claims
        raise Refused("there are no credentials")

    async def _of_token(self, token: str) -> _Claims:
        digest = hashlib.sha256(token.encode(errors="replace")).digest()
        found = None
        for key, claims in self._keys:  # all of them, so that the time says nothing
            if hmac.compare_digest(key, digest):
                found = claims
        if found is not None:
            return found
        if self._tokens is None:
            raise Refused("no API key is that one")
        try:
            subject, permissions = await self._tokens.read(token)
        except ValueError as error:
            raise Refused(str(error)) from None
        return _Claims.of(subject, permissions)

    def authorize(self, claims: _Claims | None, path: str, namespace: str) -> None:
        """Refuse what the caller may not do.

        Raises:
            Refused: the role is not enough.
        """
        if claims is not None and not allows(claims.role(path, namespace), path):
            raise Refused(f"{claims.subject!r} may not call {path.rpartition('/')[2]} in namespace {namespace!r}")
