"""Plugins: objects that take part in making and running workers and replayers."""

from __future__ import annotations

import abc
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from perdure.client import WorkflowHistory
    from perdure.worker._config import WorkerConfig
    from perdure.worker._replayer import Replayer, ReplayerConfig, WorkflowReplayResult
    from perdure.worker._worker import Worker


class Plugin(abc.ABC):
    """Changes a worker's or replayer's configuration and wraps its running. Earlier plugins wrap later ones."""

    def name(self) -> str:
        """The plugin's name in messages."""
        return f"{type(self).__module__}.{type(self).__qualname__}"

    @abc.abstractmethod
    def configure_worker(self, config: WorkerConfig) -> WorkerConfig:
        """Return the configuration the worker shall have."""

    @abc.abstractmethod
    async def run_worker(self, worker: Worker, next: Callable[[Worker], Awaitable[None]]) -> None:
        """Run the worker, usually by ``await next(worker)`` with something around it."""

    @abc.abstractmethod
    def configure_replayer(self, config: ReplayerConfig) -> ReplayerConfig:
        """Return the configuration the replayer shall have."""

    @abc.abstractmethod
    def run_replayer(
        self,
        replayer: Replayer,
        histories: AsyncIterator[WorkflowHistory],
        next: Callable[
            [Replayer, AsyncIterator[WorkflowHistory]],
            AbstractAsyncContextManager[AsyncIterator[WorkflowReplayResult]],
        ],
    ) -> AbstractAsyncContextManager[AsyncIterator[WorkflowReplayResult]]:
        """Run the replayer, usually by ``next(replayer, histories)`` with something around it."""
