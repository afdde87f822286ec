"""From a runtime's metric buffer to an OpenTelemetry meter provider."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Self

import opentelemetry.metrics

from perdure.runtime import BUFFERED_METRIC_KIND_COUNTER, BUFFERED_METRIC_KIND_GAUGE

if TYPE_CHECKING:
    from perdure.runtime import BufferedMetric, BufferedMetricUpdate, MetricBuffer

logger = logging.getLogger("perdure.contrib.opentelemetry")


class MetricsExporter:
    """Moves measurements from a buffer to a meter provider, again and again.

    .. code-block:: python

        buffer = MetricBuffer(10_000)
        runtime = Runtime(telemetry=TelemetryConfig(metrics=buffer))
        async with MetricsExporter(buffer, meter_provider):
            client = await Client.connect("lmdb:./data", runtime=runtime)
    """

    def __init__(
        self,
        buffer: MetricBuffer,
        meter_provider: opentelemetry.metrics.MeterProvider | None = None,
        *,
        meter_name: str = "temporalio",
        meter_version: str | None = None,
        poll_interval: timedelta = timedelta(seconds=1),
        on_error: Callable[[Exception], None] | None = None,
    ) -> None:
        """Make an exporter.

        Args:
            buffer: the buffer that a runtime was made with.
            meter_provider: by default the global one.
            meter_name: the meter's name.
            meter_version: the meter's version.
            poll_interval: how often the buffer is emptied.
            on_error: told, besides the log, of a measurement that could not be moved.
        """
        self._buffer = buffer
        self._meter = (meter_provider or opentelemetry.metrics.get_meter_provider()).get_meter(
            meter_name, meter_version
        )
        self._interval = poll_interval.total_seconds()
        self._on_error = on_error
        self._instruments: dict[BufferedMetric, Callable[..., Any]] = {}
        self._is_running = False
        self._stop = asyncio.Event()
        self._stopped = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def run(self) -> None:
        """Move measurements until :meth:`shutdown`.

        Raises:
            RuntimeError: it runs already, or no runtime was made with the buffer.
        """
        if self._is_running:
            raise RuntimeError("MetricsExporter is already running")
        self._is_running = True
        self._stopped.clear()
        try:
            while not self._stop.is_set():
                self._move()
                with contextlib.suppress(asyncio.TimeoutError):
                    await asyncio.wait_for(self._stop.wait(), self._interval)
            self._move()
        finally:
            self._is_running = False
            self._stop.clear()
            self._stopped.set()

    async def shutdown(self) -> None:
        """Move what is left, then end :meth:`run`."""
        self._stop.set()
        await self._stopped.wait()

    async def __aenter__(self) -> Self:
        """Start :meth:`run` beside what follows."""
        self._task = asyncio.ensure_future(self.run())
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        """:meth:`shutdown`."""
        assert self._task is not None
        self._stop.set()
        await self._task

    def _move(self) -> None:
        for update in self._buffer.retrieve_updates():
            try:
                self._export(update)
            except Exception as error:
                logger.exception("A measurement of %s could not be exported", update.metric.name)
                if self._on_error is not None:
                    try:
                        self._on_error(error)
                    except Exception:
                        logger.exception("on_error failed")

    def _export(self, update: BufferedMetricUpdate) -> None:
        metric = update.metric
        send = self._instruments.get(metric)
        if send is None:
            details = (metric.name, metric.unit or "", metric.description or "")
            if metric.kind == BUFFERED_METRIC_KIND_COUNTER:
                send = self._meter.create_counter(*details).add
            elif metric.kind == BUFFERED_METRIC_KIND_GAUGE:
                send = self._meter.create_gauge(*details).set
            else:
                send = self._meter.create_histogram(*details).record
            self._instruments[metric] = send
        send(update.value, dict(update.attributes))
