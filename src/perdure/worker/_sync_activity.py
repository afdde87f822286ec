"""``def`` activities: how they run in a thread or in another process, and how a cancellation reaches them."""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from perdure.activity import Info
from perdure.activity._context import ActivityContext, OnceEvent, current_context
from perdure.converter import PayloadConverter
from perdure.worker._shared_state import SharedHeartbeatSender


class ThreadExceptionRaiser:
    """Raises an exception inside the thread that runs an attempt, unless the attempt shields itself.

    The exception is set under the lock, and whatever is still undelivered when the attempt ends is taken back under
    the same lock: none can hit the pool's own code after it.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._thread_id: int | None = None
        self._pending: type[BaseException] | None = None
        self._shields = 0

    @contextmanager
    def active_thread(self) -> Iterator[None]:
        """Run the attempt on this thread.

        Raises:
            CancelledError: The cancellation came before the thread did.
        """
        with self._lock:
            if self._pending is not None and not self._shields:
                raise self._pending
            self._thread_id = threading.get_ident()
        try:
            yield
        finally:
            with self._lock:
                _set_async_exception(self._thread_id, None)
                self._thread_id = None

    def raise_in_thread(self, error: type[BaseException]) -> None:
        """Raise ``error`` in the attempt's thread, now or when it has no shield any more."""
        with self._lock:
            self._pending = error
            self._raise_if_due()

    @contextmanager
    def shielded(self) -> Iterator[None]:
        """Hold exceptions back until the outermost such block ends."""
        with self._lock:
            self._shields += 1
        try:
            yield
        finally:
            with self._lock:
                self._shields -= 1
                due = None if self._shields else self._pending
                self._pending = None if due else self._pending
            if due is not None:
                raise due

    def _raise_if_due(self) -> None:
        if self._pending is not None and not self._shields and self._thread_id is not None:
            _set_async_exception(self._thread_id, self._pending)
            self._pending = None


def _set_async_exception(thread_id: int | None, error: type[BaseException] | None) -> None:
    if thread_id is not None:
        ctypes.pythonapi.PyThreadState_SetAsyncExc(
            ctypes.c_ulong(thread_id), None if error is None else ctypes.py_object(error)
        )


def call_in_thread(raiser: ThreadExceptionRaiser | None, fn: Callable[..., Any], args: Sequence[Any]) -> Any:
    """Run an attempt on this thread of a thread pool; its context came with the copied context."""
    try:
        if raiser is None:
            return fn(*args)
        with raiser.active_thread():
            return fn(*args)
    except StopIteration as error:
        raise _as_runtime_error() from error


class RemoteContext(ActivityContext):
    """The context of an attempt in another process."""

    is_async = False

    def __init__(
        self,
        info: Info,
        sender: SharedHeartbeatSender,
        cancelled: threading.Event,
        worker_shutdown: threading.Event,
        payload_converter_class: type[PayloadConverter],
    ) -> None:
        self._info = info
        self._sender = sender
        self._cancelled = OnceEvent(cancelled)
        self.worker_shutdown = OnceEvent(worker_shutdown)
        self._payload_converter_class = payload_converter_class
        self._payload_converter: PayloadConverter | None = None

    def heartbeat(self, *details: Any) -> None:
        """Send a heartbeat to the worker's process."""
        self._sender.send_heartbeat(self.info().task_token, *details)

    @property
    def payload_converter(self) -> PayloadConverter:
        """An instance of the worker's payload converter class."""
        if self._payload_converter is None:
            self._payload_converter = self._payload_converter_class()
        return self._payload_converter


def call_in_process(
    info: Info,
    sender: SharedHeartbeatSender,
    cancelled: threading.Event,
    worker_shutdown: threading.Event,
    payload_converter_class: type[PayloadConverter],
    fn: Callable[..., Any],
    args: Sequence[Any],
) -> Any:
    """Run an attempt in this process of a process pool. All arguments are picklable."""
    token = current_context.set(RemoteContext(info, sender, cancelled, worker_shutdown, payload_converter_class))
    try:
        return fn(*args)
    except StopIteration as error:
        raise _as_runtime_error() from error
    finally:
        current_context.reset(token)


def _as_runtime_error() -> RuntimeError:
    """What an ``async def`` would raise: a future cannot hold a StopIteration, and would never be done."""
    return RuntimeError("the activity raised StopIteration")
