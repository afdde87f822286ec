"""The context of one attempt, and the functions that read it.

A context variable holds it, so everything the activity awaits, every task it starts and every ``asyncio.to_thread``
sees it. Threads that the activity starts by hand do not, unless it hands them a copied context.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from datetime import timedelta
from typing import TYPE_CHECKING, Any, NoReturn

from perdure.activity._info import ActivityCancellationDetails, Info

if TYPE_CHECKING:
    from collections.abc import Mapping

    from perdure.client import Client
    from perdure.common import MetricMeter
    from perdure.converter import PayloadConverter

_lock = threading.Lock()  # guards the making of events on demand


class OnceEvent:
    """A flag that is set once. Waiting on the loop or in a thread makes the event that it takes, on demand."""

    __slots__ = ("_async_event", "_is_set", "_thread_event")

    def __init__(self, thread_event: threading.Event | None = None) -> None:
        """``thread_event`` may be a proxy that another process sets or waits for."""
        self._is_set = False
        self._async_event: asyncio.Event | None = None
        self._thread_event = thread_event

    def set(self) -> None:
        """Set the flag and wake every waiter; on the loop's thread."""
        self._is_set = True
        if self._async_event is not None:
            self._async_event.set()
        if self._thread_event is not None:
            self._thread_event.set()

    def is_set(self) -> bool:
        """Whether the flag is set."""
        return self._is_set or (self._thread_event is not None and self._thread_event.is_set())

    async def wait(self) -> None:
        """Wait for the flag on the loop."""
        if self._is_set:
            return
        if self._async_event is None:
            self._async_event = asyncio.Event()
        await self._async_event.wait()

    def wait_sync(self, timeout: float | None = None) -> None:
        """Block this thread until the flag is set or the timeout has passed."""
        self.use_thread_event(threading.Event).wait(timeout)

    def use_thread_event(self, new_event: Callable[[], threading.Event]) -> threading.Event:
        """The event that threads wait for, made by ``new_event`` if there is none yet."""
        with _lock:
            event = self._thread_event
            if event is None:
                self._thread_event = event = new_event()
        if self._is_set:  # set() may have looked before the event was there
            event.set()
        return event


class ActivityContext:
    """What the functions of ``perdure.activity`` see while one attempt runs.

    Everything has a default on the class, so that making one costs little; whoever runs the attempt sets the rest.
    """

    is_async = True
    #: Why it was cancelled, once it was.
    cancellation_details: ActivityCancellationDetails | None = None
    #: What interceptors put before :meth:`info` and :meth:`heartbeat`.
    outbound_info: Callable[[], Info] | None = None
    outbound_heartbeat: Callable[..., None] | None = None
    #: Holds the thread's ``CancelledError`` back; None where none is raised.
    shield: Callable[[], AbstractContextManager[None]] | None = None
    worker_shutdown: OnceEvent

    _info: Info | None = None
    _cancelled: OnceEvent | None = None
    _logger_details: Mapping[str, Any] | None = None
    _metric_meter: MetricMeter | None = None

    @staticmethod
    def current() -> ActivityContext:
        """The context of the attempt that runs here.

        Raises:
            RuntimeError: No activity runs here.
        """
        context = current_context.get(None)
        if context is None:
            raise RuntimeError("Not in activity context")
        return context

    @property
    def cancelled(self) -> OnceEvent:
        """Set when the attempt is cancelled."""
        event = self._cancelled
        if event is None:
            with _lock:
                event = self._cancelled
                if event is None:
                    self._cancelled = event = OnceEvent()
        return event

    def info(self) -> Info:
        """The attempt's info, without interceptors."""
        if self._info is None:
            self._info = self.make_info()
        return self._info

    def make_info(self) -> Info:
        """Make the info on first use; contexts that are made without one say how."""
        raise RuntimeError("This activity context has no info.")

    def heartbeat(self, *details: Any) -> None:
        """Record a heartbeat, without interceptors."""
        raise RuntimeError("This activity context cannot record heartbeats.")

    @property
    def logger_details(self) -> Mapping[str, Any]:
        """What the logger adds to a message."""
        if self._logger_details is None:
            self._logger_details = self.info()._logger_details()
        return self._logger_details

    @property
    def payload_converter(self) -> PayloadConverter:
        """The payload converter of this attempt."""
        raise RuntimeError("This activity context has no payload converter.")

    @property
    def client(self) -> Client | None:
        """The worker's client, where activities may use it."""
        return None

    @property
    def runtime_metric_meter(self) -> MetricMeter | None:
        """The runtime's meter; None where metrics cannot be recorded."""
        return None

    @property
    def metric_meter(self) -> MetricMeter:
        """A meter that knows the namespace, task queue and activity type."""
        if self._metric_meter is None:
            meter = self.runtime_metric_meter
            if meter is None:
                raise RuntimeError(
                    "Metrics meter not available in non-threaded sync activities like multiprocess: metrics cannot "
                    "cross a process boundary, record them in a thread or async activity."
                )
            info = self.info()
            self._metric_meter = meter.with_additional_attributes(
                {"namespace": info.namespace, "task_queue": info.task_queue, "activity_type": info.activity_type}
            )
        return self._metric_meter


current_context: ContextVar[ActivityContext | None] = ContextVar("perdure_activity", default=None)


class CompleteAsyncError(BaseException):
    """Raised by :func:`raise_complete_async`; the worker answers nothing when it sees it."""


def in_activity() -> bool:
    """Whether this code runs inside an activity."""
    return current_context.get(None) is not None


def info() -> Info:
    """The running attempt: its ids, times, timeouts and last heartbeat details.

    Raises:
        RuntimeError: Not in an activity.
    """
    context = ActivityContext.current()
    return context.info() if context.outbound_info is None else context.outbound_info()


def heartbeat(*details: Any) -> None:
    """Say that the attempt is alive, with details that a later attempt finds in ``info().heartbeat_details``.

    Returns at once; at most one heartbeat per throttle interval (0.8 of the heartbeat timeout) goes out, always with
    the newest details. A heartbeat is also how the attempt learns that it was cancelled.

    After a crash the next attempt sees the details of the last heartbeat that went out.

    Raises:
        RuntimeError: Not in an activity.
    """
    context = ActivityContext.current()
    if context.outbound_heartbeat is None:
        context.heartbeat(*details)
    else:
        context.outbound_heartbeat(*details)


def is_cancelled() -> bool:
    """Whether this attempt was asked to stop.

    Raises:
        RuntimeError: Not in an activity.
    """
    return ActivityContext.current().cancelled.is_set()


def cancellation_details() -> ActivityCancellationDetails | None:
    """Why this attempt was cancelled, or None; set once.

    Raises:
        RuntimeError: Not in an activity.
    """
    return ActivityContext.current().cancellation_details


async def wait_for_cancelled() -> None:
    """Wait until this attempt is asked to stop.

    Raises:
        RuntimeError: Not in an async activity.
    """
    await _async_context("wait_for_cancelled").cancelled.wait()


def wait_for_cancelled_sync(timeout: timedelta | float | None = None) -> None:
    """Block this thread until the attempt is asked to stop or the timeout has passed.

    Raises:
        RuntimeError: Not in an activity.
    """
    ActivityContext.current().cancelled.wait_sync(_seconds(timeout))


def is_worker_shutdown() -> bool:
    """Whether the worker was asked to shut down.

    Raises:
        RuntimeError: Not in an activity.
    """
    return ActivityContext.current().worker_shutdown.is_set()


async def wait_for_worker_shutdown() -> None:
    """Wait until the worker is asked to shut down.

    Raises:
        RuntimeError: Not in an async activity.
    """
    await _async_context("wait_for_worker_shutdown").worker_shutdown.wait()


def wait_for_worker_shutdown_sync(timeout: timedelta | float | None = None) -> None:
    """Block this thread until the worker is asked to shut down or the timeout has passed.

    Raises:
        RuntimeError: Not in an activity.
    """
    ActivityContext.current().worker_shutdown.wait_sync(_seconds(timeout))


@contextmanager
def shield_thread_cancel_exception() -> Iterator[None]:
    """Hold back the ``CancelledError`` that a cancellation raises inside a thread until the block ends.

    Nested blocks hold it back until the outermost ends. A cancellation that came meanwhile is raised there instead of
    whatever the block raised. Async and process activities run the block as it is.

    Raises:
        RuntimeError: Not in an activity.
        CancelledError: The attempt was cancelled during the block.
    """
    shield = ActivityContext.current().shield
    if shield is None:
        yield
    else:
        with shield():
            yield


def raise_complete_async() -> NoReturn:
    """Leave the activity without an outcome; something else completes it by its task token or ids.

    The attempt's timeouts go on, and it survives this process. Use ``client.get_async_activity_handle``.
    """
    raise CompleteAsyncError("The activity will be completed asynchronously.")


def payload_converter() -> PayloadConverter:
    """The payload converter of this activity; dynamic activities turn their ``RawValue`` s into values with it.

    Raises:
        RuntimeError: Not in an activity.
    """
    return ActivityContext.current().payload_converter


def metric_meter() -> MetricMeter:
    """A meter whose metrics carry namespace, task queue and activity type.

    Raises:
        RuntimeError: Not in an activity, or in one that runs in another process.
    """
    return ActivityContext.current().metric_meter


def client() -> Client:
    """The worker's client; only async activities have one.

    Raises:
        RuntimeError: Not in an activity, or in one without a client.
    """
    found = ActivityContext.current().client
    if found is None:
        raise RuntimeError(
            "No client available. The client is only available in `async def` activities; not in `def` activities. "
            "In tests you can pass a client when creating ActivityEnvironment."
        )
    return found


def _async_context(name: str) -> ActivityContext:
    context = ActivityContext.current()
    if not context.is_async:
        raise RuntimeError(f"{name}() needs an async activity; in a def activity call {name}_sync().")
    return context


def _seconds(timeout: timedelta | float | None) -> float | None:
    return timeout.total_seconds() if isinstance(timeout, timedelta) else timeout
