"""One attempt while it runs in this worker: its context, its cancellation and its heartbeats."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Sequence
from contextvars import Context
from typing import TYPE_CHECKING, Any

from perdure import exceptions
from perdure._times import optional_duration_from_ns, time_from_ns
from perdure.activity import ActivityCancellationDetails, Info
from perdure.activity._context import ActivityContext, OnceEvent
from perdure.activity._definition import Definition
from perdure.api.common.v1 import Payloads
from perdure.api.workflowservice.v1 import PollActivityTaskQueueResponse, RecordActivityTaskHeartbeatRequest
from perdure.common import Priority, RetryPolicy
from perdure.converter import DataConverter, PayloadConverter
from perdure.service import RPCError, RPCStatusCode
from perdure.worker._sync_activity import ThreadExceptionRaiser

if TYPE_CHECKING:
    from perdure.client import Client
    from perdure.common import MetricMeter
    from perdure.worker._activity_worker import ActivityWorker

logger = logging.getLogger("perdure.worker")

_HEARTBEAT_SHARE = 0.8


class RunningActivity(ActivityContext):
    """One attempt. Belongs to the loop's thread, except for what :class:`ActivityContext` offers to the activity."""

    #: Whether the activity's code has ended: then neither a heartbeat nor a cancellation matters any more.
    done = False
    #: How often the loop task was cancelled on the attempt's behalf.
    cancels = 0
    is_local = False
    #: The attempt's own context, once the code was started.
    context: Context | None = None
    #: Set for ``def`` activities in a thread.
    raiser: ThreadExceptionRaiser | None = None
    #: Why heartbeats cannot be sent; the attempt fails with it.
    heartbeat_error: Exception | None = None
    heartbeat_details: Sequence[Any] = ()
    _heartbeater: Heartbeater | None = None
    _contextual_converter: DataConverter | None = None

    def __init__(
        self,
        worker: ActivityWorker,
        task: PollActivityTaskQueueResponse,
        definition: Definition,
        loop_task: asyncio.Task[Any],
        started: float,
    ) -> None:
        self.worker = worker
        self.task = task
        self.definition = definition
        self.is_async = definition.is_async
        self.loop_task = loop_task
        self.started = started

    def ended(self) -> None:
        """The attempt is answered: let go of what holds it in turn, so that it is freed at once."""
        self.context = None
        self._heartbeater = None

    @property
    def worker_shutdown(self) -> OnceEvent:  # type: ignore[override]  # the worker has it
        """Set when the worker starts to shut down."""
        return self.worker.worker_shutdown

    @property
    def converter(self) -> DataConverter:
        """The data converter, told about this activity if it wants to be."""
        return self._contextual_converter or self.worker.data_converter

    @converter.setter
    def converter(self, converter: DataConverter) -> None:
        self._contextual_converter = converter

    @property
    def payload_converter(self) -> PayloadConverter:
        """The payload converter of the attempt."""
        return self.converter.payload_converter

    @property
    def client(self) -> Client | None:
        """The worker's client, for async activities."""
        return self.worker.client if self.is_async else None

    @property
    def runtime_metric_meter(self) -> MetricMeter | None:
        """The runtime's meter."""
        return self.worker.metric_meter

    def make_info(self) -> Info:
        """The attempt's info; made on first use because most activities never ask."""
        task = self.task
        execution = task.workflow_execution
        workflow_id = execution.workflow_id if execution is not None else ""
        return Info(
            activity_id=task.activity_id,
            activity_type=task.activity_type.name if task.activity_type else "",
            attempt=task.attempt,
            current_attempt_scheduled_time=time_from_ns(task.current_attempt_scheduled_time or 0),
            heartbeat_details=list(self.heartbeat_details),
            heartbeat_timeout=optional_duration_from_ns(task.heartbeat_timeout or None),
            is_local=self.is_local,
            namespace=task.workflow_namespace or self.worker.namespace,
            schedule_to_close_timeout=optional_duration_from_ns(task.schedule_to_close_timeout or None),
            scheduled_time=time_from_ns(task.scheduled_time or 0),
            start_to_close_timeout=optional_duration_from_ns(task.start_to_close_timeout or None),
            started_time=time_from_ns(task.started_time or 0),
            task_queue=self.worker.task_queue,
            task_token=task.task_token,
            workflow_id=workflow_id or None,
            workflow_namespace=task.workflow_namespace or None,
            workflow_run_id=(execution.run_id or None) if execution is not None else None,
            workflow_type=(task.workflow_type.name or None) if task.workflow_type is not None else None,
            priority=Priority._from_proto(task.priority),
            retry_policy=None if task.retry_policy is None else RetryPolicy.from_proto(task.retry_policy),
            activity_run_id=None if workflow_id else task.activity_run_id or None,
        )

    def heartbeat(self, *details: Any) -> None:
        """Record a heartbeat; from any thread."""
        if self.done or self.is_local:
            return
        if self._heartbeater is None:
            self._heartbeater = Heartbeater(self)
        self._heartbeater.record(details)

    def cancel(self, details: ActivityCancellationDetails) -> None:
        """Tell the attempt to stop; only the first reason counts."""
        if self.done or self.cancellation_details is not None:
            return
        self.cancellation_details = details
        self.cancelled.set()
        if self.is_async:
            self.cancels += 1
            self.loop_task.cancel("Activity cancelled")
        elif self.raiser is not None:
            self.raiser.raise_in_thread(exceptions.CancelledError)

    def fail_heartbeat(self, error: Exception) -> None:
        """Stop the attempt because its heartbeat details cannot be encoded."""
        logger.warning("Cancelling activity %s because its heartbeat failed", self.task.activity_id, exc_info=error)
        self.heartbeat_error = error
        self.cancel(ActivityCancellationDetails())

    def check_timeouts(self, now: float, grace: float) -> None:
        """Cancel the attempt if it outlived a timeout by ``grace`` seconds: the service has given it up by then."""
        task = self.task
        for timeout in (task.start_to_close_timeout, task.schedule_to_close_timeout):
            if timeout and now > self.started + timeout / 1e9 + grace:
                self.cancel(ActivityCancellationDetails(timed_out=True))
                return
        if task.heartbeat_timeout:
            last = self.started if self._heartbeater is None else self._heartbeater.last_sent
            if now > last + task.heartbeat_timeout / 1e9 + grace:
                self.cancel(ActivityCancellationDetails(timed_out=True))

    async def last_heartbeat_details(self) -> Payloads | None:
        """The newest details if the service may not have them yet, encoded."""
        if self._heartbeater is None or self.heartbeat_error is not None:
            return None
        return await self._heartbeater.unsent_details()

    async def flush_heartbeat(self) -> None:
        """Send what the throttle holds back."""
        if self._heartbeater is not None:
            await self._heartbeater.flush()


class Heartbeater:
    """Sends the newest details of an attempt, at most once per interval; the first at once.

    All but :meth:`record` belong to the loop's thread.
    """

    def __init__(self, running: RunningActivity) -> None:
        self._running = running
        worker = running.worker
        timeout = running.task.heartbeat_timeout
        interval = timeout / 1e9 * _HEARTBEAT_SHARE if timeout else worker.default_heartbeat_interval
        self._interval = min(interval, worker.max_heartbeat_interval)
        #: Payloads, or the details themselves where a codec makes encoding asynchronous.
        self._newest: Payloads | None = None
        self._newest_raw: tuple[Any, ...] | None = None
        self._is_unsent = False
        self._is_handed_over = False
        self._sending: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._has_sent = False
        #: When the last heartbeat went out, or the attempt's start.
        self.last_sent = running.started

    def record(self, details: tuple[Any, ...]) -> None:
        """Take new details; from any thread. Details that cannot be converted raise here."""
        worker = self._running.worker
        if worker.has_codec:
            self._newest_raw = details
        else:
            converter = self._running.payload_converter
            self._newest = Payloads(list(converter.to_payloads(details))) if details else None
        self._is_unsent = True
        if threading.get_ident() == worker.thread_id:
            self._send_if_due()
        elif not self._is_handed_over:
            self._is_handed_over = True
            worker.loop.call_soon_threadsafe(self._take_over)

    async def unsent_details(self) -> Payloads | None:
        """The newest details, unless the service has acknowledged them."""
        self._cancel_timer()
        if not self._is_unsent and self._sending is None:
            return None
        return await self._encoded()

    async def flush(self) -> None:
        """Send unsent details now, and wait for what is under way."""
        self._cancel_timer()
        if self._sending is not None:
            await asyncio.wait([self._sending])
        if self._is_unsent:
            await self._send()

    def _take_over(self) -> None:
        self._is_handed_over = False
        self._send_if_due()

    def _send_if_due(self) -> None:
        if self._running.done or not self._is_unsent or self._sending is not None or self._timer is not None:
            return
        loop = self._running.worker.loop
        delay = self.last_sent + self._interval - loop.time() if self._has_sent else 0
        if delay > 0:
            self._timer = loop.call_later(delay, self._timer_fired)
        else:
            self._sending = loop.create_task(self._send())
            self._running.worker.keep(self._sending)

    def _timer_fired(self) -> None:
        self._timer = None
        self._send_if_due()

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    async def _encoded(self) -> Payloads | None:
        if self._newest_raw is None:
            return self._newest
        return Payloads(list(await self._running.converter.encode(self._newest_raw))) if self._newest_raw else None

    async def _send(self) -> None:
        running, worker = self._running, self._running.worker
        self._has_sent = True
        self._is_unsent = False
        self.last_sent = worker.loop.time()
        try:
            response = await worker.service.record_activity_task_heartbeat(
                RecordActivityTaskHeartbeatRequest(
                    task_token=running.task.task_token,
                    details=await self._encoded(),
                    identity=worker.identity,
                    namespace=worker.namespace,
                )
            )
        except RPCError as error:
            if error.status is RPCStatusCode.NOT_FOUND:
                running.cancel(ActivityCancellationDetails(not_found=True))
            elif not running.done:
                self._is_unsent = True
                logger.warning("Heartbeat of activity %s failed: %s", running.task.activity_id, error)
        except Exception as error:
            running.fail_heartbeat(error)
        else:
            if response.cancel_requested or response.activity_paused or response.activity_reset:
                running.cancel(
                    ActivityCancellationDetails(
                        cancel_requested=response.cancel_requested,
                        paused=response.activity_paused,
                        reset=response.activity_reset,
                    )
                )
        self._sending = None
        self._send_if_due()
