"""What a runtime is configured with: data only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    import logging
    from datetime import timedelta

    from perdure.runtime._meter import MetricBuffer


@dataclass
class TelemetryFilter:
    """From which level on log records are forwarded: ``ERROR``, ``WARN``, ``INFO``, ``DEBUG`` or ``TRACE``."""

    core_level: str
    """Of perdure's own loggers."""
    other_level: str
    """Accepted: nothing else logs here."""

    def formatted(self) -> str:
        """As one string."""
        return f"{self.other_level},perdure={self.core_level}"


class LoggingFormat(Enum):
    """Accepted: perdure logs with Python's ``logging``, which has its own formats."""

    COMPACT = "compact"
    PRETTY = "pretty"
    JSON = "json"


@dataclass
class LogForwardingConfig:
    """Another logger that gets perdure's log records as well."""

    logger: logging.Logger
    append_target_to_name: bool = True
    """Put the name of the logger that a record comes from behind this one's."""
    prepend_target_on_message: bool = True
    """Put that name in brackets before the message."""
    overwrite_log_record_time: bool = True
    """Accepted: a record keeps its time, which is when it was made."""
    append_log_fields_to_message: bool = True
    """Accepted: records have no further fields."""


@dataclass(frozen=True)
class LoggingConfig:
    """What becomes of perdure's log records besides what Python's ``logging`` is configured to do."""

    filter: TelemetryFilter | str
    forwarding: LogForwardingConfig | None = None
    format: LoggingFormat | None = None
    default: ClassVar[LoggingConfig]


LoggingConfig.default = LoggingConfig(TelemetryFilter(core_level="WARN", other_level="ERROR"))


class OpenTelemetryMetricTemporality(Enum):
    """Whether each export tells totals or what came since the last one."""

    CUMULATIVE = 1
    DELTA = 2


@dataclass(frozen=True)
class OpenTelemetryConfig:
    """Metrics go to an OpenTelemetry collector. Needs the ``opentelemetry-exporter-otlp`` package."""

    url: str
    headers: Mapping[str, str] | None = None
    metric_periodicity: timedelta | None = None
    metric_temporality: OpenTelemetryMetricTemporality = OpenTelemetryMetricTemporality.CUMULATIVE
    durations_as_seconds: bool = False
    http: bool = False
    histogram_bucket_overrides: Mapping[str, Sequence[float]] | None = None


@dataclass(frozen=True)
class PrometheusConfig:
    """Metrics can be scraped from ``http://<bind_address>/metrics``."""

    bind_address: str
    counters_total_suffix: bool = False
    """Put ``_total`` behind the names of counters."""
    unit_suffix: bool = False
    """Put the unit behind names."""
    durations_as_seconds: bool = False
    """Durations in seconds instead of milliseconds."""
    histogram_bucket_overrides: Mapping[str, Sequence[float]] | None = None
    """Upper bounds of buckets, by the name of the metric."""


@dataclass(frozen=True)
class TelemetryConfig:
    """Logs and metrics."""

    logging: LoggingConfig | None = LoggingConfig.default
    metrics: OpenTelemetryConfig | PrometheusConfig | MetricBuffer | None = None
    global_tags: Mapping[str, str] = field(default_factory=dict)
    """Labels of every metric."""
    attach_service_name: bool = True
    """Give every metric the label ``service_name``."""
    metric_prefix: str | None = None
    """Accepted: it is for the metrics of Temporal's core, of which there are none; yours keep their names."""
