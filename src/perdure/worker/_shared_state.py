"""Events and heartbeats that cross a process boundary, for ``def`` activities on a process pool."""

from __future__ import annotations

import asyncio
import concurrent.futures
import logging
import queue
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable
from multiprocessing.managers import SyncManager
from typing import Any

logger = logging.getLogger("perdure.worker")

_PUT_SECONDS = 30.0
_QUEUE_SIZE = 1000


class SharedStateManager(ABC):
    """Makes the primitives that activities on a process pool share with the worker.

    :meth:`create_from_multiprocessing` gives the usual one; several workers may share it.
    """

    @staticmethod
    def create_from_multiprocessing(
        mgr: SyncManager, queue_poller_executor: concurrent.futures.Executor | None = None
    ) -> SharedStateManager:
        """A manager over ``multiprocessing.Manager()``.

        Args:
            mgr: Makes the events and the heartbeat queue.
            queue_poller_executor: Threads that read the heartbeat queue; one of its own if None.
        """
        return _MultiprocessingSharedStateManager(mgr, queue_poller_executor)

    @abstractmethod
    def new_event(self) -> threading.Event:
        """An event that works across processes."""

    @abstractmethod
    async def register_heartbeater(self, task_token: bytes, heartbeat: Callable[..., None]) -> SharedHeartbeatSender:
        """Call ``heartbeat`` with what is sent for ``task_token`` through the sender that is returned."""

    @abstractmethod
    async def unregister_heartbeater(self, task_token: bytes) -> None:
        """Stop calling; what was sent before is delivered first."""


class SharedHeartbeatSender(ABC):
    """Sends heartbeats from another process; picklable."""

    @abstractmethod
    def send_heartbeat(self, task_token: bytes, *details: Any) -> None:
        """Send one heartbeat."""


class _MultiprocessingSharedStateManager(SharedStateManager):
    """One queue for the heartbeats of every attempt, read by one thread while any attempt is registered.

    An item with details is a heartbeat; one without (None) asks for the attempt's unregistering, so that it comes
    after every heartbeat of the attempt.
    """

    def __init__(self, mgr: SyncManager, queue_poller_executor: concurrent.futures.Executor | None) -> None:
        self._mgr = mgr
        self._executor = queue_poller_executor or concurrent.futures.ThreadPoolExecutor(1, "perdure-heartbeats")
        self._queue: queue.Queue[tuple[bytes, tuple[Any, ...] | None]] = mgr.Queue(_QUEUE_SIZE)
        self._heartbeats: dict[bytes, Callable[..., None]] = {}
        self._unregistered: dict[bytes, Callable[[], object]] = {}

    def new_event(self) -> threading.Event:
        return self._mgr.Event()

    async def register_heartbeater(self, task_token: bytes, heartbeat: Callable[..., None]) -> SharedHeartbeatSender:
        self._heartbeats[task_token] = heartbeat
        if len(self._heartbeats) == 1:
            self._executor.submit(self._read)
        return _MultiprocessingSharedHeartbeatSender(self._queue)

    async def unregister_heartbeater(self, task_token: bytes) -> None:
        loop = asyncio.get_running_loop()
        done = asyncio.Event()
        self._unregistered[task_token] = lambda: loop.call_soon_threadsafe(done.set)
        try:
            await asyncio.to_thread(self._queue.put, (task_token, None), True, _PUT_SECONDS)
            await done.wait()
        finally:
            del self._unregistered[task_token]

    def _read(self) -> None:
        try:
            while self._heartbeats:
                task_token, details = self._queue.get()
                if details is None:
                    del self._heartbeats[task_token]
                    self._unregistered[task_token]()
                elif task_token in self._heartbeats:
                    self._deliver(self._heartbeats[task_token], details)
        except Exception:
            logger.exception("The heartbeat queue of a process pool broke; its activities can no longer heartbeat")
            for told in self._unregistered.values():
                told()

    def _deliver(self, heartbeat: Callable[..., None], details: tuple[Any, ...]) -> None:
        try:
            heartbeat(*details)
        except Exception:
            logger.exception("A heartbeat from a process pool could not be recorded")


class _MultiprocessingSharedHeartbeatSender(SharedHeartbeatSender):
    def __init__(self, heartbeat_queue: queue.Queue[tuple[bytes, tuple[Any, ...] | None]]) -> None:
        self._queue = heartbeat_queue

    def send_heartbeat(self, task_token: bytes, *details: Any) -> None:
        self._queue.put((task_token, details), True, _PUT_SECONDS)
