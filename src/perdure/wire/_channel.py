"""A gRPC channel to a Temporal server, as a :class:`ConnectConfig` asks for it."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qsl, quote, urlsplit

import grpc
import grpc.aio

from perdure.service import ConnectConfig, GrpcCompression, TLSConfig

DEFAULT_PORT = 7233
_MAX_MESSAGE_BYTES = 128 * 1024 * 1024
_CLOUD = (".tmprl.cloud", ".api.temporal.io")


def address_of(target_host: str) -> tuple[str, bool | None]:
    """``host:port`` of a URL (``temporal://host``, ``https://host:443``) or bare address, and whether it says TLS.

    Raises:
        ValueError: it names no host, or something beside host and port that perdure does not know.
    """
    scheme, separator, _ = target_host.partition("://")
    parts = urlsplit(target_host if separator else f"temporal://{target_host}")
    if separator and scheme not in ("temporal", "http", "https"):
        raise ValueError(f"{target_host!r}: a Temporal server is 'temporal://host:port' or 'host:port'")
    try:
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise ValueError(f"{target_host!r} has no port that exists: {error}") from None
    if not host or parts.path not in ("", "/") or parts.fragment or parts.username is not None:
        raise ValueError(f"{target_host!r} names no Temporal server: write 'temporal://host:port'")
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    says_tls: bool | None = True if scheme == "https" and separator else None
    tls = options.pop("tls", None)
    if tls is not None:
        if tls not in ("true", "false"):
            raise ValueError(f"{target_host!r}: tls is 'true' or 'false', not {tls!r}")
        says_tls = tls == "true"
    if options:
        raise ValueError(f"{target_host!r}: unknown option {min(options)!r}; the only one is 'tls'")
    default = 443 if scheme == "https" and separator else 80 if scheme == "http" and separator else DEFAULT_PORT
    name = f"[{host}]" if ":" in host else host
    return f"{name}:{port or default}", says_tls


def open_channel(config: ConnectConfig) -> grpc.aio.Channel:
    """The channel; it connects at its first call.

    Raises:
        ValueError: the address or the TLS settings contradict themselves.
    """
    address, says_tls = address_of(config.target_host)
    options: list[tuple[str, Any]] = [
        ("grpc.max_receive_message_length", _MAX_MESSAGE_BYTES),
        ("grpc.max_send_message_length", _MAX_MESSAGE_BYTES),
        ("grpc.primary_user_agent", "perdure"),
        # ours alone: connections of equal options would else share one, and with it its API key's fate
        ("grpc.use_local_subchannel_pool", 1),
        *_keep_alive(config),
        *_proxy(config),
    ]
    if config.dns_load_balancing_config is not None:
        interval = config.dns_load_balancing_config.resolution_interval_millis
        options += [("grpc.lb_policy_name", "round_robin"), ("grpc.dns_min_time_between_resolutions_ms", interval)]
    compression = grpc.Compression.Gzip if config.grpc_compression == GrpcCompression.GZIP else None
    tls = _tls(config, address, says_tls)
    if tls is None:
        return grpc.aio.insecure_channel(address, options=options, compression=compression)
    options += _names(tls)
    return grpc.aio.secure_channel(address, _credentials(tls), options=options, compression=compression)


def _keep_alive(config: ConnectConfig) -> list[tuple[str, Any]]:
    keep_alive = config.keep_alive_config
    if keep_alive is None:
        return []
    return [
        ("grpc.keepalive_time_ms", keep_alive.interval_millis),
        ("grpc.keepalive_timeout_ms", keep_alive.timeout_millis),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.max_pings_without_data", 0),
    ]


def _proxy(config: ConnectConfig) -> list[tuple[str, Any]]:
    """The proxy of the configuration; never one that the environment names."""
    proxy = config.http_connect_proxy_config
    if proxy is None:
        return [("grpc.enable_http_proxy", 0)]
    user = ""
    if proxy.basic_auth is not None:
        user = ":".join(quote(part, safe="") for part in proxy.basic_auth) + "@"
    return [("grpc.enable_http_proxy", 1), ("grpc.http_proxy", f"http://{user}{proxy.target_host}")]


def _tls(config: ConnectConfig, address: str, says_tls: bool | None) -> TLSConfig | None:
    """Whose settings to use, or None without TLS. An API key, or an address of Temporal Cloud, means TLS."""
    if isinstance(config.tls, TLSConfig):
        return config.tls
    wanted = says_tls if config.tls is None else config.tls
    if wanted is None:
        wanted = config.api_key is not None or address.rpartition(":")[0].endswith(_CLOUD)
    return TLSConfig() if wanted else None


def _credentials(tls: TLSConfig) -> grpc.ChannelCredentials:
    if (tls.client_cert is None) != (tls.client_private_key is None):
        raise ValueError("TLS: client_cert and client_private_key belong together; give both or neither")
    if tls.verification_server_name is not None and tls.server_root_ca_cert is None:
        raise ValueError("TLS: verification_server_name needs server_root_ca_cert")
    return grpc.ssl_channel_credentials(
        root_certificates=tls.server_root_ca_cert,
        private_key=tls.client_private_key,
        certificate_chain=tls.client_cert,
    )


def _names(tls: TLSConfig) -> list[tuple[str, Any]]:
    name = tls.verification_server_name or tls.domain
    options: list[tuple[str, Any]] = []
    if name is not None:
        options.append(("grpc.ssl_target_name_override", name))
    if tls.domain is not None:
        options.append(("grpc.default_authority", tls.domain))
    return options
