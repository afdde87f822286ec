"""The client."""

from __future__ import annotations

import asyncio
import os
import threading
import uuid
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Self, cast

from perdure.client import _check
from perdure.client._activity_calls import ActivityCalls
from perdure.client._client_config import ClientConfig
from perdure.client._conversion import Conversion
from perdure.client._impl import ClientImpl
from perdure.client._interceptor import (
    Interceptor,
    OutboundInterceptor,
)
from perdure.client._nexus_calls import NexusCalls
from perdure.client._plugin import Plugin
from perdure.client._schedule_calls import ScheduleCalls
from perdure.client._start_calls import StartCalls
from perdure.client._update_with_start import UpdateWithStartMethods
from perdure.client._worker_versioning import WorkerVersioningCalls
from perdure.client._workflow_calls import WorkflowCalls
from perdure.common import (
    HeaderCodecBehavior,
    QueryRejectCondition,
)
from perdure.converter import DataConverter
from perdure.service import (
    ConnectConfig,
    DnsLoadBalancingConfig,
    GrpcCompression,
    HttpConnectProxyConfig,
    KeepAliveConfig,
    OperatorService,
    PayloadLimitsConfig,
    RetryConfig,
    ServiceClient,
    TestService,
    TLSConfig,
    WorkflowService,
)

if TYPE_CHECKING:
    from datetime import timedelta
    from types import TracebackType


_PAYLOAD_LIMITS = PayloadLimitsConfig()


class Client(
    StartCalls, ActivityCalls, NexusCalls, ScheduleCalls, UpdateWithStartMethods, WorkerVersioningCalls, WorkflowCalls
):
    """Starts workflows and talks to them. Made by :meth:`connect`.

    A client belongs to the event loop it was connected on. From another thread, hand its coroutines over with
    ``asyncio.run_coroutine_threadsafe``; in another loop or after a fork, connect another client.
    """

    @classmethod
    async def connect(
        cls,
        target_host: str,
        *,
        namespace: str = "default",
        api_key: str | None = None,
        data_converter: DataConverter = DataConverter.default,
        plugins: Sequence[Plugin] = [],
        interceptors: Sequence[Interceptor] = [],
        default_workflow_query_reject_condition: QueryRejectCondition | None = None,
        tls: bool | TLSConfig | None = None,
        retry_config: RetryConfig | None = None,
        keep_alive_config: KeepAliveConfig | None = KeepAliveConfig.default,
        connect_timeout: timedelta | None = None,
        rpc_metadata: Mapping[str, str | bytes] = {},
        identity: str | None = None,
        lazy: bool = False,
        runtime: object | None = None,
        http_connect_proxy_config: HttpConnectProxyConfig | None = None,
        dns_load_balancing_config: DnsLoadBalancingConfig | None = None,
        grpc_compression: GrpcCompression = GrpcCompression.GZIP,
        payload_limits: PayloadLimitsConfig = _PAYLOAD_LIMITS,
        header_codec_behavior: HeaderCodecBehavior = HeaderCodecBehavior.NO_CODEC,
        durability: str | None = None,
    ) -> Self:
        """Open a home, or join the one this process has open there.

        ``async with await Client.connect("lmdb:./data") as client: ...`` closes it at the end.

        Args:
            target_host: ``lmdb:PATH``, ``memory:`` or ``memory:NAME``, where ``?durability=`` may follow; or a Temporal
                server, ``temporal://HOST:PORT`` or ``HOST:PORT``: a home with a wire.
            namespace: Namespace of every call.
            api_key: Goes with every call to a home with a wire, and means TLS unless ``tls`` is False.
            data_converter: Between values and payloads.
            plugins: Take part in making the client; earlier ones wrap later ones. Those that are worker plugins too
                reach the client's workers by themselves.
            interceptors: Are asked at every call; earlier ones wrap later ones. Those that are worker interceptors
                too reach the client's workers by themselves.
            default_workflow_query_reject_condition: For queries that state none.
            tls: For homes with a wire: True trusts the system's roots, a TLSConfig says more.
            retry_config: When calls over a wire that failed are made again.
            keep_alive_config: Pings on an idle connection of a home with a wire.
            connect_timeout: How long a home with a wire may take to answer first; 30 seconds unless given.
            rpc_metadata: Headers of every call, for homes with a wire.
            identity: Names this client in histories; ``pid@host`` unless given.
            lazy: Open the home at the first call instead of now.
            runtime: Accepted for source compatibility.
            http_connect_proxy_config: For homes with a wire.
            dns_load_balancing_config: For homes with a wire.
            grpc_compression: For homes with a wire.
            payload_limits: For homes with a wire.
            header_codec_behavior: Whether the payload codec applies to headers.
            durability: What an acknowledged write of an embedded home survives: ``"full"`` (a power loss; the
                default) or ``"process"`` (the death of the process).

        Raises:
            ValueError: the URL is not one perdure knows.
            RuntimeError: this version has no such home, another event loop of this process has it open, or no
                server answers.
            StoreError: the store cannot be opened; for instance, another process owns it.
        """
        for plugin in plugins:
            _check.instance("connect", "a plugin", plugin, Plugin)
        _check.optional_text("connect", "identity", identity)
        _check.rpc_options("connect", rpc_metadata, None)
        config = ConnectConfig(
            target_host=target_host,
            api_key=api_key,
            tls=tls,
            retry_config=retry_config,
            keep_alive_config=keep_alive_config,
            rpc_metadata=rpc_metadata,
            identity=identity or "",
            lazy=lazy,
            runtime=runtime,
            http_connect_proxy_config=http_connect_proxy_config,
            dns_load_balancing_config=dns_load_balancing_config,
            grpc_compression=grpc_compression,
            payload_limits=payload_limits,
            connect_timeout=connect_timeout,
            durability=durability,
        )
        connect: Callable[[ConnectConfig], Awaitable[ServiceClient]] = ServiceClient.connect
        for plugin in reversed(plugins):
            connect = _through(plugin, connect)
        service_client = await connect(config)
        try:
            client = cls(
                service_client,
                namespace=namespace,
                data_converter=data_converter,
                plugins=plugins,
                interceptors=interceptors,
                default_workflow_query_reject_condition=default_workflow_query_reject_condition,
                header_codec_behavior=header_codec_behavior,
            )
        except BaseException:
            await service_client.close()
            raise
        client._owns_service_client = True
        return client

    def __init__(
        self,
        service_client: ServiceClient | WorkflowService,
        *,
        namespace: str = "default",
        data_converter: DataConverter = DataConverter.default,
        plugins: Sequence[Plugin] = [],
        interceptors: Sequence[Interceptor] = [],
        default_workflow_query_reject_condition: QueryRejectCondition | None = None,
        header_codec_behavior: HeaderCodecBehavior = HeaderCodecBehavior.NO_CODEC,
    ) -> None:
        """Make another client over a connection there is, or over a service of your own. It is not closed with it."""
        if not isinstance(service_client, ServiceClient):
            if not hasattr(service_client, "start_workflow_execution"):
                raise TypeError(
                    f"Client: service_client must be a ServiceClient or a WorkflowService, not "
                    f"{_check.kind(service_client)}; use await Client.connect(...) for a URL"
                )
            service_client = ServiceClient(ConnectConfig(""), service_client)
        config = ClientConfig(
            service_client=service_client,
            namespace=namespace,
            data_converter=data_converter,
            plugins=plugins,
            interceptors=interceptors,
            default_workflow_query_reject_condition=default_workflow_query_reject_condition,
            header_codec_behavior=header_codec_behavior,
        )
        self._initial_config = config.copy()
        for plugin in plugins:
            config = plugin.configure_client(config)
        self._owns_service_client = False
        self._is_closed = False
        self._pid = os.getpid()
        self._thread_id = threading.get_ident()
        self._loop = asyncio._get_running_loop()
        self._request_id_prefix = uuid.uuid4().hex
        self._request_count = 0
        self._init_from_config(config)

    def _init_from_config(self, config: ClientConfig) -> None:
        where = "Client"
        self._namespace = config["namespace"]
        _check.text(where, "namespace", self._namespace)
        _check.instance(where, "data_converter", config["data_converter"], DataConverter)
        _check.member(where, "header_codec_behavior", config["header_codec_behavior"], HeaderCodecBehavior)
        self._default_reject_condition = config["default_workflow_query_reject_condition"]
        if self._default_reject_condition is not None:
            name = "default_workflow_query_reject_condition"
            _check.member(where, name, self._default_reject_condition, QueryRejectCondition)
        interceptors = list(config["interceptors"])
        for interceptor in interceptors:
            _check.instance(where, "an interceptor", interceptor, Interceptor)
        self._config = config
        self._service_client = config["service_client"]
        self._service = self._service_client.workflow_service
        self._conversion = Conversion(config["data_converter"], self._namespace, config["header_codec_behavior"])
        direct = ClientImpl(self)
        self._impl: OutboundInterceptor = direct
        for interceptor in reversed(interceptors):
            self._impl = interceptor.intercept_client(self._impl)
        self._is_direct = self._impl is direct

    async def __aenter__(self) -> Self:
        """The client itself."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close it."""
        await self.close()

    async def close(self) -> None:
        """Give the connection back. Everything that was acknowledged stays; calls after this are refused.

        An embedded engine is closed with the last client that has it open. Closing twice is fine.
        """
        if self._is_closed:
            return
        self._check_usable()
        self._is_closed = True
        self._loop = None
        if self._owns_service_client:
            await self._service_client.close()

    def _check_usable(self) -> None:
        """Refuse a call that would touch the engine from where it does not live. Costs one comparison when fine."""
        if self._loop is None or asyncio._get_running_loop() is not self._loop:
            self._check_usable_slowly()

    def _check_usable_slowly(self) -> None:
        if self._is_closed:
            raise RuntimeError("this client is closed; connect another one")
        if self._pid != os.getpid():
            raise AssertionError(
                f"Cannot use client across forks: it was connected in process {self._pid}; connect another one in the child"
            )
        loop = asyncio.get_running_loop()
        if hasattr(loop, "run_until_idle"):
            raise RuntimeError("a workflow cannot use a client: that would not replay; do it in an activity")
        if self._loop is None:
            self._loop = loop
            self._thread_id = threading.get_ident()
        elif self._thread_id != threading.get_ident():
            raise RuntimeError(
                "this client belongs to the event loop of another thread; call it from there, "
                "or hand the coroutine over with asyncio.run_coroutine_threadsafe(coroutine, loop)"
            )
        else:
            raise RuntimeError("this client was connected on another event loop; connect one on this loop")

    def _metadata(self, rpc_metadata: Mapping[str, str | bytes]) -> Mapping[str, str | bytes] | None:
        """A call's headers over the client's."""
        common = self._service_client.config.rpc_metadata
        if not common:
            return rpc_metadata or None
        return {**common, **rpc_metadata}

    def _new_request_id(self) -> str:
        self._request_count += 1
        return f"{self._request_id_prefix}-{self._request_count}"

    def config(self, *, active_config: bool = False) -> ClientConfig:
        """A copy of what this client was made from; with ``active_config``, as its plugins changed it."""
        config = (self._config if active_config else self._initial_config).copy()
        config["interceptors"] = list(config["interceptors"])
        return config

    @property
    def service_client(self) -> ServiceClient:
        """The connection."""
        return self._service_client

    @property
    def workflow_service(self) -> WorkflowService:
        """The service behind this client: Temporal's RPCs as methods."""
        return self._service

    @property
    def operator_service(self) -> OperatorService:
        """The operator service behind this client: Temporal's RPCs about search attributes and namespaces."""
        return self._service_client.operator_service

    @property
    def test_service(self) -> TestService:
        """The clock of a time-skipping environment: Temporal's RPCs about it.

        Raises:
            RuntimeError: the home is no time-skipping environment.
        """
        service: Any = self._service
        if not hasattr(service, "lock_time_skipping"):
            raise RuntimeError(
                "test_service: time cannot be skipped in this home; use "
                "perdure.testing.WorkflowEnvironment.start_time_skipping()"
            )
        return cast("TestService", service)

    @property
    def namespace(self) -> str:
        """Namespace of every call."""
        return self._namespace

    @property
    def identity(self) -> str:
        """Names this client in histories."""
        return self._service_client.config.identity

    @property
    def data_converter(self) -> DataConverter:
        """Between values and payloads."""
        return self._conversion.converter

    @property
    def rpc_metadata(self) -> Mapping[str, str | bytes]:
        """Headers of every call. Set another mapping instead of changing this one."""
        return self._service_client.config.rpc_metadata

    @rpc_metadata.setter
    def rpc_metadata(self, value: Mapping[str, str | bytes]) -> None:
        _check.instance("Client", "rpc_metadata", value, Mapping)
        _check.rpc_options("Client", value, None)
        self._service_client.config.rpc_metadata = value

    @property
    def api_key(self) -> str | None:
        """API key of every call."""
        return self._service_client.config.api_key

    @api_key.setter
    def api_key(self, value: str | None) -> None:
        self._service_client.config.api_key = value


def _through(
    plugin: Plugin, connect: Callable[[ConnectConfig], Awaitable[ServiceClient]]
) -> Callable[[ConnectConfig], Awaitable[ServiceClient]]:
    return lambda config: plugin.connect_service_client(config, connect)
