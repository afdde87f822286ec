"""Where to connect, from a TOML file and the environment: the file and the variables of Temporal's SDKs and CLI.

.. code-block:: python

    client = await Client.connect(**ClientConfig.load_client_connect_config())

The file is ``TEMPORAL_CONFIG_FILE``, or ``temporalio/temporal.toml`` in the user's configuration folder. It has profiles::

    [profile.default]
    address = "lmdb:./data"          # or the host:port of a Temporal server
    namespace = "default"
    api_key = "..."

    [profile.default.tls]            # disabled, server_name, and client_cert, client_key, server_ca_cert,
    client_cert_path = "cert.pem"    # each with _path or _data

    [profile.default.grpc_meta]
    some-header = "value"

``TEMPORAL_PROFILE`` names the profile, ``default`` otherwise. On top of it come ``TEMPORAL_ADDRESS``,
``TEMPORAL_NAMESPACE``, ``TEMPORAL_API_KEY``, ``TEMPORAL_TLS`` (true or false), ``TEMPORAL_TLS_CLIENT_CERT_PATH`` and
``..._DATA``, the same for ``CLIENT_KEY`` and ``SERVER_CA_CERT``, ``TEMPORAL_TLS_SERVER_NAME``, and
``TEMPORAL_GRPC_META_SOME_HEADER``, where an empty value takes the header away.
"""

from __future__ import annotations

import os
import sys
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self, TypeAlias, TypedDict, cast

from perdure.service import TLSConfig

DataSource: TypeAlias = Path | str | bytes
"""A file by its path, or what would be in it."""

_SOURCES = (
    ("server_root_ca_cert", "server_ca_cert", "SERVER_CA_CERT", "server CA cert"),
    ("client_cert", "client_cert", "CLIENT_CERT", "cert"),
    ("client_private_key", "client_key", "CLIENT_KEY", "key"),
)
_TLS_VARIABLES = (
    "TEMPORAL_TLS",
    "TEMPORAL_TLS_SERVER_NAME",
    "TEMPORAL_TLS_DISABLE_HOST_VERIFICATION",
    *(f"TEMPORAL_TLS_{variable}_{kind}" for _, _, variable, _ in _SOURCES for kind in ("PATH", "DATA")),
)
_META = "TEMPORAL_GRPC_META_"
_TLS_FIELDS: dict[str, type] = {
    "disabled": bool,
    "server_name": str,
    "disable_host_verification": bool,
    **{f"{key}_{kind}": str for _, key, _, _ in _SOURCES for kind in ("path", "data")},
}
_PROFILE_FIELDS: dict[str, type] = {
    "address": str,
    "namespace": str,
    "api_key": str,
    "tls": dict,
    "codec": dict,
    "grpc_meta": dict,
}


class ClientConfigTLSDict(TypedDict, total=False):
    """TLS settings as a dictionary."""

    disabled: bool | None
    server_name: str
    server_ca_cert: Mapping[str, str]
    client_cert: Mapping[str, str]
    client_key: Mapping[str, str]


class ClientConfigProfileDict(TypedDict, total=False):
    """A profile as a dictionary."""

    address: str
    namespace: str
    api_key: str
    tls: ClientConfigTLSDict
    grpc_meta: Mapping[str, str]


class ClientConnectConfig(TypedDict, total=False):
    """What a profile says to ``Client.connect``."""

    target_host: str
    namespace: str
    api_key: str
    tls: bool | TLSConfig
    rpc_metadata: Mapping[str, str]


@dataclass(frozen=True)
class ClientConfigTLS:
    """The TLS settings of a profile."""

    disabled: bool | None = None
    """True: no TLS. False: TLS. None: whatever the rest of the profile suggests."""
    server_name: str | None = None
    """The name that the server's certificate is for."""
    server_root_ca_cert: DataSource | None = None
    """Whom to trust."""
    client_cert: DataSource | None = None
    """The client's certificate."""
    client_private_key: DataSource | None = None
    """The key of the client's certificate."""

    def to_dict(self) -> ClientConfigTLSDict:
        """The settings as a dictionary, without those that are not set."""
        fields: dict[str, Any] = {}
        if self.disabled is not None:
            fields["disabled"] = self.disabled
        if self.server_name is not None:
            fields["server_name"] = self.server_name
        for attribute, key, _, _ in _SOURCES:
            source = getattr(self, attribute)
            if isinstance(source, Path):
                fields[key] = {"path": str(source)}
            elif source is not None:
                fields[key] = {"data": source.decode() if isinstance(source, bytes) else source}
        return cast("ClientConfigTLSDict", fields)

    @classmethod
    def from_dict(cls, d: ClientConfigTLSDict | None) -> Self | None:
        """The settings of a dictionary; None for an empty one."""
        if not d:
            return None
        sources: dict[str, DataSource] = {}
        for attribute, key, _, _ in _SOURCES:
            source = cast("Mapping[str, Mapping[str, str]]", d).get(key)
            if source:
                sources[attribute] = source["data"] if "data" in source else Path(source["path"])
        return cls(disabled=d.get("disabled"), server_name=d.get("server_name"), **cast("dict[str, Any]", sources))

    def to_connect_tls_config(self) -> bool | TLSConfig:
        """What ``Client.connect`` takes as ``tls``. Reads the files."""
        if self.disabled:
            return False
        return TLSConfig(
            domain=self.server_name,
            server_root_ca_cert=_read(self.server_root_ca_cert),
            client_cert=_read(self.client_cert),
            client_private_key=_read(self.client_private_key),
        )


@dataclass(frozen=True)
class ClientConfigProfile:
    """One profile."""

    address: str | None = None
    """The home: a URL, or the ``host:port`` of a Temporal server."""
    namespace: str | None = None
    """The namespace."""
    api_key: str | None = None
    """The API key."""
    tls: ClientConfigTLS | None = None
    """TLS settings."""
    grpc_meta: Mapping[str, str] = field(default_factory=dict)
    """Headers of every call."""

    @classmethod
    def from_dict(cls, d: ClientConfigProfileDict) -> Self:
        """The profile of a dictionary."""
        return cls(
            address=d.get("address"),
            namespace=d.get("namespace"),
            api_key=d.get("api_key"),
            tls=ClientConfigTLS.from_dict(d.get("tls")),
            grpc_meta=d.get("grpc_meta") or {},
        )

    def to_dict(self) -> ClientConfigProfileDict:
        """The profile as a dictionary, without what is not set."""
        fields: dict[str, Any] = {
            name: value
            for name, value in (("address", self.address), ("namespace", self.namespace), ("api_key", self.api_key))
            if value is not None
        }
        if self.tls is not None and (tls := self.tls.to_dict()):
            fields["tls"] = tls
        if self.grpc_meta:
            fields["grpc_meta"] = self.grpc_meta
        return cast("ClientConfigProfileDict", fields)

    def to_client_connect_config(self) -> ClientConnectConfig:
        """The arguments for ``Client.connect``. An API key switches TLS on unless the TLS settings say otherwise."""
        config: ClientConnectConfig = {}
        if self.address:
            config["target_host"] = self.address
        if self.namespace is not None:
            config["namespace"] = self.namespace
        if self.api_key is not None:
            config["api_key"] = self.api_key
            config["tls"] = True
        if self.tls is not None:
            config["tls"] = self.tls.to_connect_tls_config()
        if self.grpc_meta:
            config["rpc_metadata"] = self.grpc_meta
        return config

    @staticmethod
    def load(
        profile: str | None = None,
        *,
        config_source: DataSource | None = None,
        disable_file: bool = False,
        disable_env: bool = False,
        config_file_strict: bool = False,
        override_env_vars: Mapping[str, str] | None = None,
    ) -> ClientConfigProfile:
        """Load one profile from the file, then the environment on top of it.

        Args:
            profile: its name; ``TEMPORAL_PROFILE`` or ``default`` unless given. Only the last may be missing.
            config_source: the file, or its content, instead of the usual place.
            disable_file: read no file.
            disable_env: ignore the environment.
            config_file_strict: refuse keys that mean nothing.
            override_env_vars: the environment to use instead of the process's.

        Raises:
            RuntimeError: there is no such profile, or the configuration makes no sense; the message says why.
        """
        if disable_file and disable_env:
            raise RuntimeError("Invalid configuration: Cannot disable both file and environment loading")
        env = os.environ if override_env_vars is None else override_env_vars
        loaded = ClientConfigProfile()
        if not disable_file:
            profiles = ClientConfig.load(
                config_source=config_source, config_file_strict=config_file_strict, override_env_vars=env
            ).profiles
            name = profile if profile is not None else ("" if disable_env else env.get("TEMPORAL_PROFILE", ""))
            if profile is None and not name:
                loaded = profiles.get("default", loaded)
            elif name in profiles:
                loaded = profiles[name]
            else:
                raise RuntimeError(f"Profile '{name}' not found")
        return loaded if disable_env else _with_environment(loaded, env)


@dataclass
class ClientConfig:
    """All profiles of a file."""

    profiles: Mapping[str, ClientConfigProfile]
    """By name."""

    def to_dict(self) -> Mapping[str, ClientConfigProfileDict]:
        """The profiles as dictionaries."""
        return {name: profile.to_dict() for name, profile in self.profiles.items()}

    @classmethod
    def from_dict(cls, d: Mapping[str, Mapping[str, Any]]) -> Self:
        """The profiles of dictionaries."""
        return cls(
            {name: ClientConfigProfile.from_dict(cast("ClientConfigProfileDict", fields)) for name, fields in d.items()}
        )

    @staticmethod
    def load(
        *,
        config_source: DataSource | None = None,
        config_file_strict: bool = False,
        override_env_vars: Mapping[str, str] | None = None,
    ) -> ClientConfig:
        """Load every profile of the file; none if there is no file. The environment only says where the file is.

        Raises:
            RuntimeError: the file is not TOML, or its content makes no sense.
        """
        if config_source is None:
            env = os.environ if override_env_vars is None else override_env_vars
            config_source = Path(env.get("TEMPORAL_CONFIG_FILE") or _default_file())
        if isinstance(config_source, Path) and not config_source.exists():
            return ClientConfig({})
        content = _read(config_source) or b""
        try:
            document = tomllib.loads(content.decode())
        except ValueError as error:
            raise RuntimeError(f"Configuration loading error: TOML parse error: {error}") from error
        _check_fields(document, {"profile": dict}, "the file", config_file_strict)
        return ClientConfig(
            {name: _profile(name, fields, config_file_strict) for name, fields in document.get("profile", {}).items()}
        )

    @staticmethod
    def load_client_connect_config(
        profile: str | None = None,
        *,
        config_file: str | None = None,
        disable_file: bool = False,
        disable_env: bool = False,
        config_file_strict: bool = False,
        override_env_vars: Mapping[str, str] | None = None,
    ) -> ClientConnectConfig:
        """The arguments for ``Client.connect`` that :meth:`ClientConfigProfile.load` finds.

        ``config_file`` is the path of the file. The rest is as there.
        """
        return ClientConfigProfile.load(
            profile,
            config_source=Path(config_file) if config_file and not disable_file else None,
            disable_file=disable_file,
            disable_env=disable_env,
            config_file_strict=config_file_strict,
            override_env_vars=override_env_vars,
        ).to_client_connect_config()


def _read(source: DataSource | None) -> bytes | None:
    if isinstance(source, Path):
        return source.read_bytes()
    if isinstance(source, str):
        return source.encode()
    if source is None or isinstance(source, bytes):
        return source
    raise TypeError(f"A configuration source must be a pathlib.Path, str or bytes, not {type(source).__name__}")


def _default_file() -> Path:
    if sys.platform == "win32":
        folder = Path(os.environ.get("APPDATA", Path.home() / "AppData" / "Roaming"))
    elif sys.platform == "darwin":
        folder = Path.home() / "Library" / "Application Support"
    else:
        folder = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")
    return folder / "temporalio" / "temporal.toml"


def _check_fields(fields: Any, known: Mapping[str, type], where: str, is_strict: bool) -> None:
    for name, value in fields.items():
        wanted = known.get(name)
        if wanted is None:
            if is_strict:
                raise RuntimeError(f"Configuration loading error: unknown field `{name}` in {where}")
        elif not isinstance(value, wanted):
            kind = "a table" if wanted is dict else wanted.__name__
            raise RuntimeError(f"Configuration loading error: `{name}` in {where} must be {kind}, not {value!r}")


def _profile(name: str, fields: Any, is_strict: bool) -> ClientConfigProfile:
    where = f"profile '{name}'"
    _check_fields({name: fields}, {name: dict}, "the file", is_strict)
    _check_fields(fields, _PROFILE_FIELDS, where, is_strict)
    meta = fields.get("grpc_meta", {})
    _check_fields(meta, dict.fromkeys(meta, str), f"grpc_meta of {where}", is_strict)
    return ClientConfigProfile(
        address=fields.get("address"),
        namespace=fields.get("namespace"),
        api_key=fields.get("api_key"),
        tls=_tls(fields["tls"], f"tls of {where}", is_strict) if "tls" in fields else None,
        grpc_meta={_header(key): value for key, value in meta.items()},
    )


def _tls(fields: Any, where: str, is_strict: bool) -> ClientConfigTLS:
    _check_fields(fields, _TLS_FIELDS, where, is_strict)
    sources: dict[str, Any] = {}
    for attribute, key, _, _ in _SOURCES:
        path, data = fields.get(f"{key}_path"), fields.get(f"{key}_data")
        if path is not None and data is not None:
            raise RuntimeError(f"Invalid configuration: Cannot specify both {key}_path and {key}_data")
        if path is not None:
            sources[attribute] = Path(path)
        elif data:
            sources[attribute] = data.encode()
    return ClientConfigTLS(disabled=fields.get("disabled"), server_name=fields.get("server_name"), **sources)


def _header(name: str) -> str:
    return name.lower().replace("_", "-")


def _boolean(text: str) -> bool | None:
    return {"true": True, "1": True, "false": False, "0": False}.get(text.lower())


def _with_environment(profile: ClientConfigProfile, env: Mapping[str, str]) -> ClientConfigProfile:
    meta = dict(profile.grpc_meta)
    for name, value in env.items():
        if name.startswith(_META):
            header = _header(name.removeprefix(_META))
            if value:
                meta[header] = value
            else:
                meta.pop(header, None)
    tls = profile.tls
    if any(name in env for name in _TLS_VARIABLES):
        tls = _tls_with_environment(tls or ClientConfigTLS(), env)
    return ClientConfigProfile(
        address=env.get("TEMPORAL_ADDRESS", profile.address),
        namespace=env.get("TEMPORAL_NAMESPACE", profile.namespace),
        api_key=env.get("TEMPORAL_API_KEY", profile.api_key),
        tls=tls,
        grpc_meta=meta,
    )


def _tls_with_environment(tls: ClientConfigTLS, env: Mapping[str, str]) -> ClientConfigTLS:
    enabled = _boolean(env.get("TEMPORAL_TLS", ""))
    sources: dict[str, Any] = {}
    for attribute, _, variable, name in _SOURCES:
        before = sources[attribute] = getattr(tls, attribute)
        path_name, data_name = f"TEMPORAL_TLS_{variable}_PATH", f"TEMPORAL_TLS_{variable}_DATA"
        path, data = env.get(path_name), env.get(data_name)
        if path is not None and data is not None:
            raise RuntimeError(f"Invalid configuration: Cannot specify both {path_name} and {data_name}")
        if path is not None:
            if before is not None and not isinstance(before, Path):
                raise RuntimeError(
                    f"Invalid configuration: Cannot specify {name} path via {path_name} "
                    f"when {name} data is already specified"
                )
            sources[attribute] = Path(path)
        elif data is not None:
            if isinstance(before, Path):
                raise RuntimeError(
                    f"Invalid configuration: Cannot specify {name} data via {data_name} "
                    f"when {name} path is already specified"
                )
            sources[attribute] = data.encode()
    return ClientConfigTLS(
        disabled=tls.disabled if enabled is None else not enabled,
        server_name=env.get("TEMPORAL_TLS_SERVER_NAME", tls.server_name),
        **sources,
    )
