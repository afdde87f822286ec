"""Running an activity's code without a worker."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, cast

from perdure.activity import ActivityCancellationDetails, Info
from perdure.activity._context import ActivityContext, OnceEvent, current_context
from perdure.activity._definition import Definition
from perdure.common import MetricMeter, Priority
from perdure.converter import DataConverter, PayloadConverter
from perdure.exceptions import CancelledError
from perdure.worker._sync_activity import ThreadExceptionRaiser

if TYPE_CHECKING:
    from perdure.client import Client

Params = ParamSpec("Params")
Return = TypeVar("Return")

_CANCEL_REQUESTED = ActivityCancellationDetails(cancel_requested=True)


class ActivityEnvironment:
    """Runs activities, or any function, such that the functions of ``perdure.activity`` work inside.

    Set what the code shall see before :meth:`run`:

    Attributes:
        info: What ``activity.info()`` returns; change :meth:`default_info` with ``dataclasses.replace``.
        on_heartbeat: Called with the details of each heartbeat.
        payload_converter: What ``activity.payload_converter()`` returns.
        metric_meter: Where ``activity.metric_meter()`` records; nowhere, by default.
    """

    def __init__(self, client: Client | None = None) -> None:
        """An environment; async activities find the client with ``activity.client()``."""
        self.info = ActivityEnvironment.default_info()
        self.on_heartbeat: Callable[..., None] = lambda *details: None
        self.payload_converter: PayloadConverter = DataConverter.default.payload_converter
        self.metric_meter: MetricMeter = MetricMeter.noop
        self._client = client
        self._cancellation_details: ActivityCancellationDetails | None = None
        self._is_worker_shutdown = False
        self._running: set[_TestedActivity] = set()

    @staticmethod
    def default_info() -> Info:
        """An info in which every field has some value."""
        epoch = datetime.fromtimestamp(0, UTC)
        return Info(
            activity_id="test",
            activity_type="unknown",
            attempt=1,
            current_attempt_scheduled_time=epoch,
            heartbeat_details=[],
            heartbeat_timeout=None,
            is_local=False,
            namespace="default",
            schedule_to_close_timeout=timedelta(seconds=1),
            scheduled_time=epoch,
            start_to_close_timeout=timedelta(seconds=1),
            started_time=epoch,
            task_queue="test",
            task_token=b"test",
            workflow_id="test",
            workflow_namespace="default",
            workflow_run_id="test-run",
            workflow_type="test",
            priority=Priority.default,
            retry_policy=None,
            activity_run_id=None,
        )

    def cancel(self, cancellation_details: ActivityCancellationDetails = _CANCEL_REQUESTED) -> None:
        """Cancel the activities that run and those that will; from any thread for ``def`` activities.

        Only the first call has an effect. ``activity.cancellation_details()`` returns the details.
        """
        if self._cancellation_details is not None:
            return
        self._cancellation_details = cancellation_details
        for running in list(self._running):
            running.cancel(cancellation_details)

    def worker_shutdown(self) -> None:
        """Tell the activities that the worker shuts down. Only the first call has an effect."""
        if self._is_worker_shutdown:
            return
        self._is_worker_shutdown = True
        for running in list(self._running):
            running.worker_shutdown.set()

    def run(self, fn: Callable[Params, Return], *args: Params.args, **kwargs: Params.kwargs) -> Return:
        """Call ``fn`` as an activity and return what it returns; for an ``async def`` that is to be awaited."""
        running = _TestedActivity(self, fn, self._client)
        call: Callable[..., Any] = running.call_async if running.is_async else running.call
        return cast("Return", call(fn, args, kwargs))


class _TestedActivity(ActivityContext):
    """The context of one call."""

    def __init__(self, environment: ActivityEnvironment, fn: Callable[..., Any], client: Client | None) -> None:
        self.is_async = inspect.iscoroutinefunction(fn) or inspect.iscoroutinefunction(type(fn).__call__)
        self.worker_shutdown = OnceEvent()
        self._environment = environment
        self._client = client if self.is_async else None
        self._converter = environment.payload_converter
        self._meter = environment.metric_meter
        self._task: asyncio.Task[Any] | None = None
        self._raiser: ThreadExceptionRaiser | None = None
        if not self.is_async:
            definition = Definition.from_callable(fn)
            if definition is None or not definition.no_thread_cancel_exception:
                self._raiser = ThreadExceptionRaiser()
                self.shield = self._raiser.shielded

    def info(self) -> Info:
        """The environment's info."""
        return self._environment.info

    def heartbeat(self, *details: Any) -> None:
        """Hand the details to the test."""
        self._environment.on_heartbeat(*details)

    @property
    def payload_converter(self) -> PayloadConverter:
        """The environment's, as it was when the activity started."""
        return self._converter

    @property
    def client(self) -> Client | None:
        """The environment's client, in async activities."""
        return self._client

    @property
    def runtime_metric_meter(self) -> MetricMeter:
        """The environment's meter."""
        return self._meter

    @contextmanager
    def _entered(self) -> Iterator[None]:
        environment = self._environment
        if environment._is_worker_shutdown:
            self.worker_shutdown.set()
        environment._running.add(self)
        token = current_context.set(self)
        try:
            yield
        finally:
            current_context.reset(token)
            environment._running.discard(self)

    def call(self, fn: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Run a ``def`` activity on this thread."""
        with self._entered():
            details = self._environment._cancellation_details
            if details is not None:
                self.cancellation_details = details
                self.cancelled.set()
            if self._raiser is None:
                return fn(*args, **kwargs)
            with self._raiser.active_thread():
                return fn(*args, **kwargs)

    async def call_async(self, fn: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Run an ``async def`` activity as a task."""
        with self._entered():
            task: asyncio.Task[Any] = asyncio.ensure_future(fn(*args, **kwargs))
            self._task = task
            details = self._environment._cancellation_details
            if details is not None:
                self.cancel(details)
            return await task

    def cancel(self, details: ActivityCancellationDetails) -> None:
        """Cancel the call."""
        self.cancellation_details = details
        self.cancelled.set()
        if self._raiser is not None:
            self._raiser.raise_in_thread(CancelledError)
        if self._task is not None and not self._task.done():
            self._task.cancel()
