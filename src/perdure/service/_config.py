"""How to connect: data only. A home reads the fields that concern it and ignores the rest."""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import timedelta


@dataclass
class TLSConfig:
    """TLS towards a Temporal server. Without ``server_root_ca_cert`` the system's roots are trusted."""

    server_root_ca_cert: bytes | None = None
    domain: str | None = None
    client_cert: bytes | None = None
    client_private_key: bytes | None = None
    verification_server_name: str | None = None


@dataclass
class RetryConfig:
    """Backoff between attempts of a call to a remote service."""

    initial_interval_millis: int = 100
    randomization_factor: float = 0.2
    multiplier: float = 1.5
    max_interval_millis: int = 5000
    max_elapsed_time_millis: int | None = 10000
    max_retries: int = 10


@dataclass(frozen=True)
class KeepAliveConfig:
    """Pings on an idle connection to a remote service."""

    interval_millis: int = 30000
    timeout_millis: int = 15000
    default: ClassVar[KeepAliveConfig]


KeepAliveConfig.default = KeepAliveConfig()


@dataclass(frozen=True)
class HttpConnectProxyConfig:
    """An HTTP CONNECT proxy in front of a remote service."""

    target_host: str
    basic_auth: tuple[str, str] | None = None


@dataclass(frozen=True)
class DnsLoadBalancingConfig:
    """How often a remote service's name is resolved again."""

    resolution_interval_millis: int = 30000
    default: ClassVar[DnsLoadBalancingConfig]


DnsLoadBalancingConfig.default = DnsLoadBalancingConfig()


@dataclass(frozen=True)
class GrpcCompression:
    """Compression of the messages to a remote service: one of the constants of this class."""

    name: str
    NONE: ClassVar[GrpcCompression]
    GZIP: ClassVar[GrpcCompression]


GrpcCompression.NONE = GrpcCompression("none")
GrpcCompression.GZIP = GrpcCompression("gzip")


@dataclass(frozen=True)
class PayloadLimitsConfig:
    """Sizes in bytes from which a client warns about what it sends; 0 switches a warning off."""

    payloads_warn_size: int = 512 * 1024
    memo_warn_size: int = 2 * 1024


@dataclass
class ConnectConfig:
    """Everything that can be said about a connection.

    ``target_host`` is a URL (``memory:``, ``lmdb:PATH``, ...) or the ``host:port`` of a Temporal server.
    ``durability`` is ours: what an acknowledged write of an embedded home survives, ``"full"`` (a power loss, the
    default) or ``"process"`` (the death of the process).
    """

    target_host: str
    api_key: str | None = None
    tls: bool | TLSConfig | None = None
    retry_config: RetryConfig | None = None
    keep_alive_config: KeepAliveConfig | None = KeepAliveConfig.default
    rpc_metadata: Mapping[str, str | bytes] = field(default_factory=dict)
    identity: str = ""
    lazy: bool = False
    runtime: object | None = None
    http_connect_proxy_config: HttpConnectProxyConfig | None = None
    dns_load_balancing_config: DnsLoadBalancingConfig | None = None
    grpc_compression: GrpcCompression = GrpcCompression.GZIP
    payload_limits: PayloadLimitsConfig = field(default_factory=PayloadLimitsConfig)
    connect_timeout: timedelta | None = None
    durability: str | None = None

    def __post_init__(self) -> None:
        """Name the client after its process when it has no identity."""
        if not self.identity:
            self.identity = f"{os.getpid()}@{socket.gethostname()}"
