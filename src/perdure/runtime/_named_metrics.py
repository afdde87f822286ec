"""Metrics by Temporal's names, for what measures itself: connections and workers."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, cast

from perdure.common import MetricAttributes, MetricCounter, MetricGauge, MetricHistogramTimedelta, MetricMeter
from perdure.runtime._runtime import Runtime


class NamedMetrics:
    """Metrics of one prefix and set of labels, each made when it is first used."""

    def __init__(self, meter: MetricMeter, prefix: str) -> None:
        self._meter = meter
        self._prefix = prefix
        self._metrics: dict[str, Any] = {}

    def count(self, name: str, **attributes: str | bool) -> None:
        """One more."""
        counter = self._metrics.get(name)
        if counter is None:
            counter = self._metrics[name] = self._meter.create_counter(self._prefix + name)
        cast("MetricCounter", counter).add(1, attributes)

    def time(self, name: str, seconds: float, **attributes: str) -> None:
        """It took so long; what clocks make negative is nothing."""
        histogram = self._metrics.get(name)
        if histogram is None:
            histogram = self._metrics[name] = self._meter.create_histogram_timedelta(
                self._prefix + name, None, "duration"
            )
        cast("MetricHistogramTimedelta", histogram).record(timedelta(seconds=max(seconds, 0.0)), attributes)

    def set(self, name: str, value: int, **attributes: str) -> None:
        """There are so many now."""
        gauge = self._metrics.get(name)
        if gauge is None:
            gauge = self._metrics[name] = self._meter.create_gauge(self._prefix + name)
        cast("MetricGauge", gauge).set(max(value, 0), attributes)


def named_metrics(runtime: object, attributes: MetricAttributes) -> NamedMetrics | None:
    """What records where a runtime wants metrics; None where it wants none, or is no runtime."""
    if not isinstance(runtime, Runtime) or runtime.metric_meter is MetricMeter.noop:
        return None
    meter = runtime.metric_meter.with_additional_attributes(attributes) if attributes else runtime.metric_meter
    return NamedMetrics(meter, runtime._metric_prefix)
