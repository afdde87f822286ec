"""What clients are made from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Required, TypedDict

from perdure.client._interceptor import Interceptor
from perdure.client._plugin import Plugin
from perdure.common import HeaderCodecBehavior, QueryRejectCondition
from perdure.converter import DataConverter
from perdure.service import (
    DnsLoadBalancingConfig,
    GrpcCompression,
    HttpConnectProxyConfig,
    KeepAliveConfig,
    PayloadLimitsConfig,
    RetryConfig,
    ServiceClient,
    TLSConfig,
)

if TYPE_CHECKING:
    from datetime import timedelta


class ClientConfig(TypedDict, total=False):
    """What a client was made from: ``Client(**client.config())`` makes another like it."""

    service_client: Required[ServiceClient]
    namespace: Required[str]
    data_converter: Required[DataConverter]
    plugins: Required[Sequence[Plugin]]
    interceptors: Required[Sequence[Interceptor]]
    default_workflow_query_reject_condition: Required[QueryRejectCondition | None]
    header_codec_behavior: Required[HeaderCodecBehavior]


class ClientConnectConfig(TypedDict, total=False):
    """What :meth:`Client.connect` can be given: ``await Client.connect(**config)``."""

    target_host: Required[str]
    namespace: str
    api_key: str
    data_converter: DataConverter
    plugins: Sequence[Plugin]
    interceptors: Sequence[Interceptor]
    default_workflow_query_reject_condition: QueryRejectCondition | None
    tls: bool | TLSConfig
    retry_config: RetryConfig
    keep_alive_config: KeepAliveConfig | None
    connect_timeout: timedelta
    rpc_metadata: Mapping[str, str | bytes]
    identity: str
    lazy: bool
    runtime: object
    http_connect_proxy_config: HttpConnectProxyConfig
    dns_load_balancing_config: DnsLoadBalancingConfig | None
    grpc_compression: GrpcCompression
    payload_limits: PayloadLimitsConfig
    header_codec_behavior: HeaderCodecBehavior
    durability: str | None
