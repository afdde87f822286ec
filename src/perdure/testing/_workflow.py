"""An engine for a test."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, NoReturn, Self, cast

from perdure import connect
from perdure._times import duration_to_ns
from perdure.api.nexus.v1 import Endpoint, EndpointSpec, EndpointTarget, EndpointTargetWorker
from perdure.api.operatorservice.v1 import (
    AddSearchAttributesRequest,
    CreateNexusEndpointRequest,
    DeleteNexusEndpointRequest,
)
from perdure.api.workflowservice import v1 as ws
from perdure.client import Client, Interceptor, Plugin, WorkflowHandle
from perdure.common import QueryRejectCondition, SearchAttributeKey
from perdure.converter import DataConverter
from perdure.engine.namespaces import Namespaces
from perdure.service import RetryConfig, RPCError, RPCStatusCode, TLSConfig
from perdure.testing._assertions import AssertionErrorInterceptor
from perdure.testing._service import TimeSkippingService

if TYPE_CHECKING:
    from types import TracebackType

    from perdure.service import WorkflowService
    from perdure.testing._time_skipping import TimeSkipping

#: How long a time-skipping environment keeps closed workflows, unless told: a test may skip years and look back.
_FOREVER = timedelta(days=36_500)
_THREE_DAYS = timedelta(days=3)


class WorkflowEnvironment:
    """Where a test runs workflows; made by :meth:`start_time_skipping`, :meth:`start_local` or :meth:`from_client`.

    ``async with await WorkflowEnvironment.start_time_skipping() as env: ...`` shuts it down at the end. Start workers
    with ``env.client``. An ``assert`` that fails in a workflow fails that workflow.
    """

    async def create_nexus_endpoint(self, endpoint_name: str, task_queue: str) -> Endpoint:
        """Make a Nexus endpoint that leads to a task queue of the environment's namespace.

        Raises:
            RPCError: ALREADY_EXISTS, the name is taken; INVALID_ARGUMENT, it cannot be one.
        """
        target = EndpointTarget(worker=EndpointTargetWorker(self.client.namespace, task_queue))
        response = await self.client.operator_service.create_nexus_endpoint(
            CreateNexusEndpointRequest(EndpointSpec(endpoint_name, target=target))
        )
        assert response.endpoint is not None
        return response.endpoint

    async def delete_nexus_endpoint(self, endpoint: Endpoint) -> None:
        """Delete a Nexus endpoint that nobody changed meanwhile."""
        await self.client.operator_service.delete_nexus_endpoint(
            DeleteNexusEndpointRequest(endpoint.id, endpoint.version)
        )

    @classmethod
    def from_client(cls, client: Client) -> Self:
        """An environment over a home that is open already. It does not skip time, and is not closed with this."""
        return cls(_with_interceptors(client, AssertionErrorInterceptor()))

    @classmethod
    async def start_local(
        cls,
        *,
        namespace: str = "default",
        data_converter: DataConverter = DataConverter.default,
        interceptors: Sequence[Interceptor] = [],
        plugins: Sequence[Plugin] = [],
        default_workflow_query_reject_condition: QueryRejectCondition | None = None,
        retry_config: RetryConfig | None = None,
        rpc_metadata: Mapping[str, str | bytes] = {},
        identity: str | None = None,
        tls: bool | TLSConfig = False,
        ip: str = "127.0.0.1",
        port: int | None = None,
        download_dest_dir: str | None = None,
        ui: bool = False,
        runtime: object | None = None,
        search_attributes: Sequence[SearchAttributeKey[Any]] = (),
        dev_server_existing_path: str | None = None,
        dev_server_database_filename: str | None = None,
        dev_server_log_format: str = "pretty",
        dev_server_log_level: str | None = "warn",
        dev_server_download_version: str = "default",
        dev_server_extra_args: Sequence[str] = [],
        dev_server_download_ttl: timedelta | None = None,
        dev_server_startup_timeout: timedelta | None = None,
        ui_port: int | None = None,
        url: str | None = None,
    ) -> WorkflowEnvironment:
        """An engine of its own, with the real clock.

        The parameters not named below are those of :meth:`Client.connect`. Those about a server, its port, its
        download and its user interface are accepted and have no effect: there is no server.

        Args:
            namespace: Made if it does not exist.
            search_attributes: Registered with their types. Others are refused, as by Temporal's dev server, unless
                ``client.operator_service`` adds them.
            dev_server_database_filename: Refused; use ``url``.
            url: The home, for instance ``lmdb:./data``; an engine in memory unless given.
        """
        if dev_server_database_filename is not None:
            raise ValueError(
                "start_local: there is no server that reads dev_server_database_filename; "
                "to keep the data give url='lmdb:FOLDER'"
            )
        client = await Client.connect(
            url or f"memory:test-{uuid.uuid4().hex}",
            namespace=namespace,
            data_converter=data_converter,
            interceptors=interceptors,
            plugins=plugins,
            default_workflow_query_reject_condition=default_workflow_query_reject_condition,
            retry_config=retry_config,
            rpc_metadata=rpc_metadata,
            identity=identity,
            runtime=runtime,
        )
        environment = await _LocalEnvironment(client)._prepared(namespace, search_attributes, _THREE_DAYS)
        if isinstance(namespaces := getattr(client.workflow_service, "namespaces", None), Namespaces):
            namespaces.learns_nothing = True
        return environment

    @classmethod
    async def start_time_skipping(
        cls,
        *,
        data_converter: DataConverter = DataConverter.default,
        interceptors: Sequence[Interceptor] = [],
        plugins: Sequence[Plugin] = [],
        default_workflow_query_reject_condition: QueryRejectCondition | None = None,
        retry_config: RetryConfig | None = None,
        rpc_metadata: Mapping[str, str | bytes] = {},
        identity: str | None = None,
        port: int | None = None,
        download_dest_dir: str | None = None,
        runtime: object | None = None,
        test_server_existing_path: str | None = None,
        test_server_download_version: str = "default",
        test_server_extra_args: Sequence[str] = [],
        test_server_download_ttl: timedelta | None = None,
        test_server_startup_timeout: timedelta | None = None,
        namespace: str = "default",
        search_attributes: Sequence[SearchAttributeKey[Any]] = (),
        retention: timedelta = _FOREVER,
    ) -> WorkflowEnvironment:
        """An engine of its own in memory, whose clock skips time.

        While somebody waits for a workflow's result the clock jumps to whatever is due next, unless a worker has a
        task; :meth:`sleep` skips by hand. All of the engine's time follows: timers, timeouts, retries, cron,
        schedules, retention, and ``workflow.now()``. Environments share nothing; use many at once.

        The parameters not named below are those of :meth:`Client.connect`. Those about a server, its port and its
        download are accepted and have no effect: there is no server.

        Args:
            namespace: Made if it does not exist.
            search_attributes: Registered with their types.
            retention: How long closed workflows are kept, in the environment's time.
        """
        service = await TimeSkippingService.open(retention)
        name = f"test-{uuid.uuid4().hex}"
        connection = connect.offer(name, cast("WorkflowService", service))
        try:
            client = await Client.connect(
                f"memory:{name}",
                namespace=namespace,
                data_converter=data_converter,
                interceptors=interceptors,
                plugins=plugins,
                default_workflow_query_reject_condition=default_workflow_query_reject_condition,
                retry_config=retry_config,
                rpc_metadata=rpc_metadata,
                identity=identity,
                runtime=runtime,
            )
        except BaseException:
            await connection.close()
            raise
        environment = _TimeSkippingEnvironment(client, connection, service)
        return await environment._prepared(namespace, search_attributes, retention)

    def __init__(self, client: Client) -> None:
        """An environment over a client; the factories above do more."""
        self._client = client

    async def __aenter__(self) -> Self:
        """The environment itself."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Shut it down."""
        await self.shutdown()

    @property
    def client(self) -> Client:
        """The client for tests and workers."""
        return self._client

    async def connect_client(self, **kwargs: Any) -> Client:
        """Another client of the same home, in the same namespace unless the arguments say otherwise.

        Takes the keywords of :meth:`Client.connect`. The caller closes it.
        """
        config = self._client.service_client.config
        if not config.target_host or config.target_host.partition("?")[0] == "memory:":
            raise RuntimeError(
                "connect_client: this environment's client has a private engine that no URL reaches; "
                "connect it to memory:NAME, or make another Client over its service_client"
            )
        options: dict[str, Any] = {
            "namespace": self._client.namespace,
            "api_key": config.api_key,
            "tls": config.tls,
            "rpc_metadata": config.rpc_metadata,
            "runtime": config.runtime,
            "durability": config.durability,
        }
        return await Client.connect(config.target_host, **(options | kwargs))

    async def shutdown(self) -> None:
        """Close what this environment opened. Close workers first."""

    async def sleep(self, duration: timedelta | float) -> None:
        """Return when the environment's time has passed: skipped, or really."""
        await asyncio.sleep(_seconds(duration))

    async def get_current_time(self, handle: WorkflowHandle[Any, Any] | None = None) -> datetime:
        """The environment's time, the same for every workflow; ``handle`` is accepted and not looked at."""
        return datetime.now(UTC)

    @property
    def supports_time_skipping(self) -> bool:
        """Whether time can be skipped here."""
        return self.supports_time_skipping_v1 or self.supports_time_skipping_v2

    @property
    def supports_time_skipping_v1(self) -> bool:
        """Whether the environment has a clock for all its workflows that skips time."""
        return False

    @property
    def supports_time_skipping_v2(self) -> bool:
        """Whether each workflow has a clock of its own: never."""
        return False

    @contextmanager
    def auto_time_skipping_disabled(self) -> Iterator[None]:
        """Within the block time does not skip by itself, whoever waits for a result; :meth:`sleep` still skips.

        Blocks may be nested. No effect where time is not skipped.
        """
        yield

    @contextmanager
    def with_time_skipping_disabled(self) -> Iterator[None]:
        """No effect: for environments in which each workflow has a clock of its own."""
        yield

    async def fast_forward(
        self, handle: WorkflowHandle[Any, Any], duration: timedelta | float | None = None, /
    ) -> bool:
        """Refused: for environments in which each workflow has a clock of its own; use :meth:`sleep`."""
        _one_clock("fast_forward", "use sleep() of an environment made with start_time_skipping()")

    async def get_time_skipping_info(self, handle: WorkflowHandle[Any, Any]) -> NoReturn:
        """Refused: for environments in which each workflow has a clock of its own; use :meth:`get_current_time`."""
        _one_clock("get_time_skipping_info", "use get_current_time()")


class _LocalEnvironment(WorkflowEnvironment):
    """An environment that opened its home and closes it."""

    def __init__(self, client: Client) -> None:
        super().__init__(_with_interceptors(client, *self._interceptors()))
        self._opened = client

    def _interceptors(self) -> list[Interceptor]:
        return [AssertionErrorInterceptor()]

    async def _prepared(
        self, namespace: str, search_attributes: Sequence[SearchAttributeKey[Any]], retention: timedelta
    ) -> Self:
        try:
            await _prepare(self._opened, namespace, search_attributes, retention)
        except BaseException:
            await self.shutdown()
            raise
        return self

    async def shutdown(self) -> None:
        await self._client.close()
        await self._opened.close()


class _TimeSkippingEnvironment(_LocalEnvironment):
    """An environment with a clock of its own."""

    def __init__(self, client: Client, connection: WorkflowService, service: TimeSkippingService) -> None:
        super().__init__(client)
        self._connection = connection
        self._service = service

    @property
    def _skipping(self) -> TimeSkipping:
        return self._service.skipping

    async def shutdown(self) -> None:
        await super().shutdown()
        await self._connection.close()
        await self._service.close()

    async def sleep(self, duration: timedelta | float) -> None:
        await self._skipping.sleep(round(_seconds(duration) * 1e9))

    async def get_current_time(self, handle: WorkflowHandle[Any, Any] | None = None) -> datetime:
        return datetime.fromtimestamp(0, UTC) + timedelta(microseconds=self._skipping.now() // 1000)

    @property
    def supports_time_skipping_v1(self) -> bool:
        return True

    @contextmanager
    def auto_time_skipping_disabled(self) -> Iterator[None]:
        with self._skipping.suspended():
            yield


def _seconds(duration: timedelta | float) -> float:
    return duration.total_seconds() if isinstance(duration, timedelta) else duration


def _one_clock(name: str, cure: str) -> NoReturn:
    raise RuntimeError(f"{name}: an environment has one clock for all its workflows; {cure}")


def _with_interceptors(client: Client, *interceptors: Interceptor) -> Client:
    config = client.config()
    config["interceptors"] = [*config["interceptors"], *interceptors]
    return Client(**config)


async def _prepare(
    client: Client, namespace: str, search_attributes: Sequence[SearchAttributeKey[Any]], retention: timedelta
) -> None:
    """Make the namespace unless it is there, and register the search attributes."""
    if namespace != "default":
        try:
            await client.workflow_service.register_namespace(
                ws.RegisterNamespaceRequest(namespace, workflow_execution_retention_period=duration_to_ns(retention))
            )
        except RPCError as error:
            if error.status is not RPCStatusCode.ALREADY_EXISTS:
                raise
    if search_attributes:
        types = {key.name: int(key.indexed_value_type) for key in search_attributes}
        await client.operator_service.add_search_attributes(AddSearchAttributesRequest(types, namespace))
