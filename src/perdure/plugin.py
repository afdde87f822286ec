"""A plugin for clients, workers and replayers that is made from what it adds."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

import perdure.client
import perdure.worker

if TYPE_CHECKING:
    from perdure.client import ClientConfig, WorkflowHistory
    from perdure.converter import DataConverter
    from perdure.service import ConnectConfig, ServiceClient
    from perdure.worker import (
        Replayer,
        ReplayerConfig,
        Worker,
        WorkerConfig,
        WorkflowReplayResult,
        WorkflowRunner,
    )

T = TypeVar("T")

PluginParameter: TypeAlias = T | Callable[[T | None], T] | None
"""Nothing, something to use or to append, or a function from what there is to what there shall be."""

_Interceptor: TypeAlias = "perdure.client.Interceptor | perdure.worker.Interceptor"


class SimplePlugin(perdure.client.Plugin, perdure.worker.Plugin):
    """A plugin that sets or appends what it is given, wherever that applies."""

    def __init__(
        self,
        name: str,
        *,
        data_converter: PluginParameter[DataConverter] = None,
        interceptors: Sequence[_Interceptor] | None = None,
        activities: PluginParameter[Sequence[Callable[..., Any]]] = None,
        nexus_service_handlers: PluginParameter[Sequence[Any]] = None,
        workflows: PluginParameter[Sequence[type]] = None,
        workflow_runner: PluginParameter[WorkflowRunner] = None,
        workflow_failure_exception_types: PluginParameter[Sequence[type[BaseException]]] = None,
        run_context: Callable[[], AbstractAsyncContextManager[None]] | None = None,
    ) -> None:
        """Make the plugin. Every value may be a function from the present value to the new one.

        Args:
            name: names the plugin in messages.
            data_converter: for clients and replayers.
            interceptors: appended; client interceptors to clients, worker interceptors to workers and replayers. One
                that is both reaches a worker once, through its client.
            activities: appended to those of workers.
            nexus_service_handlers: appended to those of workers.
            workflows: appended to those of workers and replayers.
            workflow_runner: for workers and replayers.
            workflow_failure_exception_types: appended to those of workers and replayers.
            run_context: makes what is entered around the run of a worker or replayer.
        """
        self._name = name
        self.data_converter = data_converter
        self.interceptors = interceptors
        self.activities = activities
        self.nexus_service_handlers = nexus_service_handlers
        self.workflows = workflows
        self.workflow_runner = workflow_runner
        self.workflow_failure_exception_types = workflow_failure_exception_types
        self.run_context = run_context

    def name(self) -> str:
        """The plugin's name."""
        return self._name

    def configure_client(self, config: ClientConfig) -> ClientConfig:
        """Set the data converter, append client interceptors."""
        _set(config, "data_converter", self.data_converter)
        if self.interceptors is not None:
            config["interceptors"] = [
                interceptor
                for interceptor in (*config.get("interceptors", ()), *self.interceptors)
                if isinstance(interceptor, perdure.client.Interceptor)
            ]
        return config

    async def connect_service_client(
        self, config: ConnectConfig, next: Callable[[ConnectConfig], Awaitable[ServiceClient]]
    ) -> ServiceClient:
        """Connect as the next one does."""
        return await next(config)

    def configure_worker(self, config: WorkerConfig) -> WorkerConfig:
        """Set and append what is for workers."""
        _append(config, "activities", self.activities)
        _append(config, "nexus_service_handlers", self.nexus_service_handlers)
        _append(config, "workflows", self.workflows)
        _append(config, "workflow_failure_exception_types", self.workflow_failure_exception_types)
        _set(config, "workflow_runner", self.workflow_runner)
        if self.interceptors is not None:
            of_client: Sequence[object] = config["client"].config(active_config=True)["interceptors"]
            config["interceptors"] = [
                *config.get("interceptors", ()),
                *(
                    interceptor
                    for interceptor in self.interceptors
                    if isinstance(interceptor, perdure.worker.Interceptor) and interceptor not in of_client
                ),
            ]
        return config

    def configure_replayer(self, config: ReplayerConfig) -> ReplayerConfig:
        """Set and append what is for replayers."""
        _append(config, "workflows", self.workflows)
        _append(config, "workflow_failure_exception_types", self.workflow_failure_exception_types)
        _set(config, "data_converter", self.data_converter)
        _set(config, "workflow_runner", self.workflow_runner)
        if self.interceptors is not None:
            config["interceptors"] = [
                interceptor
                for interceptor in (*config.get("interceptors", ()), *self.interceptors)
                if isinstance(interceptor, perdure.worker.Interceptor)
            ]
        return config

    async def run_worker(self, worker: Worker, next: Callable[[Worker], Awaitable[None]]) -> None:
        """Run the worker inside the run context."""
        async with self._context():
            await next(worker)

    @asynccontextmanager
    async def run_replayer(
        self,
        replayer: Replayer,
        histories: AsyncIterator[WorkflowHistory],
        next: Callable[
            [Replayer, AsyncIterator[WorkflowHistory]],
            AbstractAsyncContextManager[AsyncIterator[WorkflowReplayResult]],
        ],
    ) -> AsyncIterator[AsyncIterator[WorkflowReplayResult]]:
        """Run the replayer inside the run context."""
        async with self._context(), next(replayer, histories) as results:
            yield results

    def _context(self) -> AbstractAsyncContextManager[Any]:
        return AsyncExitStack() if self.run_context is None else self.run_context()


def _set(config: Any, key: str, parameter: Any) -> None:
    if parameter is not None:
        config[key] = parameter(config.get(key)) if callable(parameter) else parameter


def _append(config: Any, key: str, parameter: Any) -> None:
    if parameter is not None:
        there = config.get(key)
        config[key] = parameter(there) if callable(parameter) else [*(there or ()), *parameter]
