"""A connection to a home: the service, and how it was reached."""

from __future__ import annotations

import asyncio
import importlib
from typing import TYPE_CHECKING, Any, cast

from perdure.api.workflowservice.v1 import GetSystemInfoRequest
from perdure.service._errors import RPCError, RPCStatusCode
from perdure.service._measured import measured, unmeasured

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping
    from datetime import timedelta

    from perdure.api.workflowservice.v1 import PollWorkflowTaskQueueResponse
    from perdure.service._config import ConnectConfig
    from perdure.service._operator_service import OperatorService
    from perdure.service._workflow_service import WorkflowService


_SERVICES = ("temporal.api.workflowservice.v1.WorkflowService", "temporal.api.operatorservice.v1.OperatorService")


class ServiceClient:
    """The service of a home together with the :class:`ConnectConfig` that opened it.

    Made by :meth:`connect`, or from any service of your own: ``ServiceClient(ConnectConfig("mine"), service)``.
    """

    @staticmethod
    async def connect(config: ConnectConfig) -> ServiceClient:
        """Open the home that ``config.target_host`` names; with ``config.lazy`` only at the first call."""
        # By name, at run time: the seam imports no home, connect.py knows them all.
        homes = importlib.import_module("perdure.connect")

        async def open_service() -> WorkflowService:
            service: WorkflowService = await homes.connect(
                config.target_host, durability=config.durability, config=config
            )
            return service

        if config.lazy:
            homes.parse(config.target_host, durability=config.durability)
            return ServiceClient(config, cast("WorkflowService", _LazyService(open_service)))
        return ServiceClient(config, await open_service())

    def __init__(self, config: ConnectConfig, workflow_service: WorkflowService) -> None:
        """Pair a service with its configuration."""
        self.config = config
        self.workflow_service = (
            workflow_service if config.runtime is None else measured(workflow_service, config.runtime)
        )
        #: Who takes the first task of a workflow that is started eagerly, by namespace and task queue.
        self._eager_workers: dict[tuple[str, str], Callable[[PollWorkflowTaskQueueResponse], None]] = {}

    @property
    def operator_service(self) -> OperatorService:
        """The home's operator service; one object answers it and the workflow service."""
        return cast("OperatorService", self.workflow_service)

    @property
    def worker_service_client(self) -> ServiceClient:
        """The connection that workers use: this one."""
        return self

    async def check_health(
        self,
        *,
        service: str = "temporal.api.workflowservice.v1.WorkflowService",
        retry: bool = False,
        metadata: Mapping[str, str | bytes] = {},
        timeout: timedelta | None = None,
    ) -> bool:
        """Whether the service answers; ``retry`` means something to a home with a wire only.

        Raises:
            RPCError: it answers that it does not, or NOT_FOUND: it is no service of that name.
        """
        home: Any = unmeasured(self.workflow_service)
        if isinstance(home, _LazyService):
            home = await home._opened()
        check: Any = getattr(home, "check_health", None)
        if check is not None:
            return bool(await check(service, metadata=metadata or None, timeout=timeout))
        if service not in _SERVICES:
            raise RPCError(f"unknown service {service!r}; there is {', '.join(_SERVICES)}", RPCStatusCode.NOT_FOUND)
        await self.workflow_service.get_system_info(GetSystemInfoRequest(), metadata=metadata or None, timeout=timeout)
        return True

    def update_rpc_metadata(self, metadata: Mapping[str, str | bytes]) -> None:
        """Send other headers from the next call on; those of a call itself still come on top."""
        self.config.rpc_metadata = metadata

    def update_api_key(self, api_key: str | None) -> None:
        """Use another API key from the next call on, or none."""
        self.config.api_key = api_key

    async def close(self) -> None:
        """Give the connection back. What was acknowledged is durable."""
        await self.workflow_service.close()


class _LazyService:
    """A service that opens another one when it is first called."""

    in_process = False

    def __init__(self, open_service: Callable[[], Awaitable[WorkflowService]]) -> None:
        self._open_service = open_service
        self._lock = asyncio.Lock()
        self._service: WorkflowService | None = None
        self._closed = False

    async def _opened(self) -> WorkflowService:
        if self._service is None:
            async with self._lock:
                if self._closed:
                    raise RuntimeError("this connection was closed before its first call")
                if self._service is None:
                    self._service = await self._open_service()
        return self._service

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)

        async def call(*args: Any, **options: Any) -> Any:
            return await getattr(await self._opened(), name)(*args, **options)

        return call

    async def close(self) -> None:
        async with self._lock:
            self._closed = True
            if self._service is not None:
                await self._service.close()
