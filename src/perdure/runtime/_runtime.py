"""The runtime."""

from __future__ import annotations

import importlib
import logging
from datetime import timedelta
from typing import TYPE_CHECKING, Any, ClassVar

from perdure.common import MetricMeter
from perdure.runtime._config import (
    LogForwardingConfig,
    OpenTelemetryConfig,
    OpenTelemetryMetricTemporality,
    PrometheusConfig,
    TelemetryConfig,
    TelemetryFilter,
)
from perdure.runtime._meter import (
    BUFFERED_METRIC_KIND_COUNTER,
    BUFFERED_METRIC_KIND_GAUGE,
    Instrument,
    MetricBuffer,
    Record,
    RecordingMeter,
)
from perdure.runtime._prometheus import Prometheus

if TYPE_CHECKING:
    from perdure.common import MetricAttributes

_LEVELS = {"ERROR": 40, "WARN": 30, "INFO": 20, "DEBUG": 10, "TRACE": 5}


class Runtime:
    """What becomes of metrics and logs. Give it to ``Client.connect(runtime=...)``; workers take their client's."""

    _default: ClassVar[Runtime | None] = None
    _is_default_prevented: ClassVar[bool] = False

    @classmethod
    def default(cls) -> Runtime:
        """The process's default runtime, made now if need be. Raises RuntimeError after :meth:`prevent_default`."""
        if Runtime._default is None:
            if Runtime._is_default_prevented:
                raise RuntimeError("Cannot create default Runtime after Runtime.prevent_default has been called")
            Runtime._default = Runtime(telemetry=TelemetryConfig())
        return Runtime._default

    @classmethod
    def prevent_default(cls) -> None:
        """Let :meth:`default` make none. Raises RuntimeError when there is one already."""
        if Runtime._default is not None:
            raise RuntimeError("Runtime.prevent_default called after default runtime has been created or set")
        Runtime._is_default_prevented = True

    @staticmethod
    def set_default(runtime: Runtime, *, error_if_already_set: bool = True) -> None:
        """Make ``runtime`` the default. Raises RuntimeError when there is one already, unless told not to."""
        if Runtime._default is not None and error_if_already_set:
            raise RuntimeError("Runtime default already set")
        Runtime._default = runtime

    def __init__(
        self,
        *,
        telemetry: TelemetryConfig,
        worker_heartbeat_interval: timedelta | None = timedelta(seconds=60),
        disable_environment_info: bool = False,
    ) -> None:
        """Make a runtime.

        Args:
            telemetry: what becomes of metrics and logs.
            worker_heartbeat_interval: how often workers tell the service of themselves; None: never.
            disable_environment_info: accepted.

        Raises:
            ValueError: the interval is not positive.
            OSError: the address for Prometheus is taken.
            RuntimeError: OpenTelemetry's exporter is not installed.
        """
        if worker_heartbeat_interval is not None and worker_heartbeat_interval <= timedelta(0):
            raise ValueError("worker_heartbeat_interval must be positive")
        self._worker_heartbeat_interval = worker_heartbeat_interval
        self._prometheus: Prometheus | None = None
        self._metric_meter = self._make_meter(telemetry)
        self._metric_prefix = "temporal_" if telemetry.metric_prefix is None else telemetry.metric_prefix
        logging_config = telemetry.logging
        if logging_config is not None and logging_config.forwarding is not None:
            logging.getLogger("perdure").addHandler(
                _Forwarding(logging_config.forwarding, _level(logging_config.filter))
            )

    @property
    def metric_meter(self) -> MetricMeter:
        """The meter; one that drops everything where no metrics are configured."""
        return self._metric_meter

    @property
    def worker_heartbeat_interval(self) -> timedelta | None:
        """How often workers tell the service of themselves; None: never."""
        return self._worker_heartbeat_interval

    def _make_meter(self, telemetry: TelemetryConfig) -> MetricMeter:
        metrics = telemetry.metrics
        record: Record
        if isinstance(metrics, MetricBuffer):
            metrics.is_used = True
            record = metrics.record
        elif isinstance(metrics, PrometheusConfig):
            self._prometheus = Prometheus(metrics)
            record = self._prometheus.record
        elif isinstance(metrics, OpenTelemetryConfig):
            record = _OpenTelemetry(metrics).record
        else:
            return MetricMeter.noop
        attributes: dict[str, str] = {"service_name": "temporal-core-sdk"} if telemetry.attach_service_name else {}
        return RecordingMeter(
            record, {**attributes, **telemetry.global_tags}, durations_as_seconds=metrics.durations_as_seconds
        )


def _level(filter: TelemetryFilter | str) -> int:
    """The level for perdure's loggers; of a string, the one it names for them or first."""
    if isinstance(filter, TelemetryFilter):
        return _LEVELS.get(filter.core_level.upper(), logging.WARNING)
    parts = [part.strip() for part in filter.split(",")]
    mine = [part.partition("=")[2] for part in parts if part.startswith("perdure=")]
    return _LEVELS.get((mine or parts)[0].upper(), logging.WARNING)


class _Forwarding(logging.Handler):
    def __init__(self, config: LogForwardingConfig, level: int) -> None:
        super().__init__(level)
        self._config = config

    def emit(self, record: logging.LogRecord) -> None:
        config = self._config
        if record.name == config.logger.name or not config.logger.isEnabledFor(record.levelno):
            return
        name = f"{config.logger.name}-{record.name}" if config.append_target_to_name else config.logger.name
        message = record.getMessage()
        if config.prepend_target_on_message:
            message = f"[{record.name}] {message}"
        copy = config.logger.makeRecord(
            name, record.levelno, record.pathname, record.lineno, message, (), record.exc_info, record.funcName
        )
        copy.created, copy.msecs = record.created, record.msecs
        config.logger.handle(copy)


class _OpenTelemetry:
    """Measurements into instruments of OpenTelemetry's SDK, which exports them."""

    def __init__(self, config: OpenTelemetryConfig) -> None:
        kind = "http" if config.http else "grpc"
        try:
            exporter_module: Any = importlib.import_module(f"opentelemetry.exporter.otlp.proto.{kind}.metric_exporter")
            sdk: Any = importlib.import_module("opentelemetry.sdk.metrics")
            export: Any = importlib.import_module("opentelemetry.sdk.metrics.export")
            view: Any = importlib.import_module("opentelemetry.sdk.metrics.view")
        except ImportError as error:
            raise RuntimeError(
                f"OpenTelemetryConfig needs a package that is not installed: pip install opentelemetry-exporter-otlp ({error})"
            ) from error
        is_delta = config.metric_temporality is OpenTelemetryMetricTemporality.DELTA
        temporality = export.AggregationTemporality.DELTA if is_delta else export.AggregationTemporality.CUMULATIVE
        exporter = exporter_module.OTLPMetricExporter(
            endpoint=config.url,
            headers=dict(config.headers or {}),
            preferred_temporality={sdk.Counter: temporality, sdk.Histogram: temporality},
        )
        period = config.metric_periodicity or timedelta(seconds=1)
        views = [
            view.View(
                instrument_name=name, aggregation=view.ExplicitBucketHistogramAggregation(boundaries=list(bounds))
            )
            for name, bounds in (config.histogram_bucket_overrides or {}).items()
        ]
        reader = export.PeriodicExportingMetricReader(exporter, period.total_seconds() * 1000)
        self._meter: Any = sdk.MeterProvider([reader], views=views).get_meter("perdure")
        self._instruments: dict[Instrument, Any] = {}

    def record(self, instrument: Instrument, value: float, attributes: MetricAttributes) -> None:
        """Take a measurement."""
        send = self._instruments.get(instrument)
        if send is None:
            details = (instrument.name, instrument.unit or "", instrument.description or "")
            if instrument.kind == BUFFERED_METRIC_KIND_COUNTER:
                send = self._meter.create_counter(*details).add
            elif instrument.kind == BUFFERED_METRIC_KIND_GAUGE:
                send = self._meter.create_gauge(*details).set
            else:
                send = self._meter.create_histogram(*details).record
            self._instruments[instrument] = send
        send(value, dict(attributes))
