"""A meter whose measurements go to a function, and the buffer that is one."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, NewType, Protocol, Self, TypeAlias, TypeVar

from perdure.common import (
    MetricCommon,
    MetricCounter,
    MetricGauge,
    MetricGaugeFloat,
    MetricHistogram,
    MetricHistogramFloat,
    MetricHistogramTimedelta,
    MetricMeter,
)

if TYPE_CHECKING:
    from datetime import timedelta

    from perdure.common import MetricAttributes

logger = logging.getLogger("perdure.runtime")

BufferedMetricKind = NewType("BufferedMetricKind", int)
"""What a metric is: one of the constants."""

BUFFERED_METRIC_KIND_COUNTER = BufferedMetricKind(0)
"""A counter: values are what was added."""
BUFFERED_METRIC_KIND_GAUGE = BufferedMetricKind(1)
"""A gauge: values are what it was set to."""
BUFFERED_METRIC_KIND_HISTOGRAM = BufferedMetricKind(2)
"""A histogram: values are measurements."""


class BufferedMetric(Protocol):
    """A metric; the same object for the same name."""

    @property
    def name(self) -> str:
        """Its name."""
        ...

    @property
    def description(self) -> str | None:
        """What it measures."""
        ...

    @property
    def unit(self) -> str | None:
        """The unit of its values."""
        ...

    @property
    def kind(self) -> BufferedMetricKind:
        """What it is."""
        ...


class BufferedMetricUpdate(Protocol):
    """One measurement."""

    @property
    def metric(self) -> BufferedMetric:
        """What was measured."""
        ...

    @property
    def value(self) -> int | float:
        """The value."""
        ...

    @property
    def attributes(self) -> MetricAttributes:
        """Its labels. Not to be changed."""
        ...


@dataclass(frozen=True, eq=False)
class Instrument:
    """A metric by its name."""

    name: str
    description: str | None
    unit: str | None
    kind: BufferedMetricKind


@dataclass(frozen=True)
class Measurement:
    """One measurement."""

    metric: Instrument
    value: int | float
    attributes: MetricAttributes


Record: TypeAlias = Callable[[Instrument, int | float, "MetricAttributes"], None]


class MetricBufferDurationFormat(Enum):
    """What durations become."""

    MILLISECONDS = 1
    SECONDS = 2


class MetricBuffer:
    """Keeps measurements until they are fetched: for tests, and for exporters of your own."""

    def __init__(
        self,
        buffer_size: int,
        duration_format: MetricBufferDurationFormat = MetricBufferDurationFormat.MILLISECONDS,
    ) -> None:
        """Make a buffer for ``buffer_size`` measurements; those that come to a full one are dropped, with a log entry."""
        self._size = buffer_size
        self.durations_as_seconds = duration_format is MetricBufferDurationFormat.SECONDS
        self.is_used = False
        self._updates: list[Measurement] = []
        self._lock = threading.Lock()

    def record(self, instrument: Instrument, value: float, attributes: MetricAttributes) -> None:
        """Take a measurement."""
        with self._lock:
            if len(self._updates) < self._size:
                self._updates.append(Measurement(instrument, value, attributes))
                return
        logger.error("The metric buffer is full: a measurement of %s is lost", instrument.name)

    def retrieve_updates(self) -> Sequence[BufferedMetricUpdate]:
        """Everything since the last call. Raises RuntimeError before a runtime was made with this buffer."""
        if not self.is_used:
            raise RuntimeError("Attempting to retrieve updates before runtime created")
        with self._lock:
            updates, self._updates = self._updates, []
        return updates


_Metric = TypeVar("_Metric", bound="_RecordingMetric")


class RecordingMeter(MetricMeter):
    """A meter whose measurements go to a function."""

    def __init__(
        self,
        record: Record,
        attributes: MetricAttributes,
        *,
        durations_as_seconds: bool = False,
        instruments: dict[str, Instrument] | None = None,
    ) -> None:
        self._record = record
        self._attributes = attributes
        self._durations_as_seconds = durations_as_seconds
        self._instruments: dict[str, Instrument] = {} if instruments is None else instruments

    def recording_if(self, condition: Callable[[], bool]) -> RecordingMeter:
        """This meter, measuring only while ``condition()`` is true."""
        record = self._record

        def record_if(instrument: Instrument, value: float, attributes: MetricAttributes) -> None:
            if condition():
                record(instrument, value, attributes)

        return RecordingMeter(
            record_if,
            self._attributes,
            durations_as_seconds=self._durations_as_seconds,
            instruments=self._instruments,
        )

    def with_additional_attributes(self, additional_attributes: MetricAttributes) -> MetricMeter:
        _check_attributes(additional_attributes)
        return RecordingMeter(
            self._record,
            {**self._attributes, **additional_attributes},
            durations_as_seconds=self._durations_as_seconds,
            instruments=self._instruments,
        )

    def _make(
        self, cls: type[_Metric], kind: BufferedMetricKind, name: str, description: str | None, unit: str | None
    ) -> _Metric:
        instrument = self._instruments.get(name)
        if instrument is None:
            instrument = self._instruments[name] = Instrument(name, description, unit, kind)
        return cls(instrument, self._record, self._attributes, self._durations_as_seconds)

    def create_counter(self, name: str, description: str | None = None, unit: str | None = None) -> MetricCounter:
        return self._make(_Counter, BUFFERED_METRIC_KIND_COUNTER, name, description, unit)

    def create_histogram(self, name: str, description: str | None = None, unit: str | None = None) -> MetricHistogram:
        return self._make(_Histogram, BUFFERED_METRIC_KIND_HISTOGRAM, name, description, unit)

    def create_histogram_float(
        self, name: str, description: str | None = None, unit: str | None = None
    ) -> MetricHistogramFloat:
        return self._make(_HistogramFloat, BUFFERED_METRIC_KIND_HISTOGRAM, name, description, unit)

    def create_histogram_timedelta(
        self, name: str, description: str | None = None, unit: str | None = None
    ) -> MetricHistogramTimedelta:
        return self._make(_HistogramTimedelta, BUFFERED_METRIC_KIND_HISTOGRAM, name, description, unit)

    def create_gauge(self, name: str, description: str | None = None, unit: str | None = None) -> MetricGauge:
        return self._make(_Gauge, BUFFERED_METRIC_KIND_GAUGE, name, description, unit)

    def create_gauge_float(
        self, name: str, description: str | None = None, unit: str | None = None
    ) -> MetricGaugeFloat:
        return self._make(_GaugeFloat, BUFFERED_METRIC_KIND_GAUGE, name, description, unit)


class _RecordingMetric(MetricCommon):
    def __init__(
        self, instrument: Instrument, record: Record, attributes: MetricAttributes, durations_as_seconds: bool
    ) -> None:
        self._instrument = instrument
        self._sink = record
        self._attributes = attributes
        self._durations_as_seconds = durations_as_seconds

    @property
    def name(self) -> str:
        return self._instrument.name

    @property
    def description(self) -> str | None:
        return self._instrument.description

    @property
    def unit(self) -> str | None:
        return self._instrument.unit

    def with_additional_attributes(self, additional_attributes: MetricAttributes) -> Self:
        _check_attributes(additional_attributes)
        return type(self)(
            self._instrument,
            self._sink,
            {**self._attributes, **additional_attributes},
            self._durations_as_seconds,
        )

    def _send(self, value: float, more: MetricAttributes | None) -> None:
        if value < 0:
            raise ValueError("Metric value cannot be negative")
        self._sink(self._instrument, value, {**self._attributes, **more} if more else self._attributes)


def _check_attributes(attributes: MetricAttributes) -> None:
    for key, value in attributes.items():
        if not isinstance(value, (str, int, float, bool)):
            raise TypeError(f"Invalid value type for key {key}: {value!r} is no string, number or boolean")


class _Counter(_RecordingMetric, MetricCounter):
    def add(self, value: int, additional_attributes: MetricAttributes | None = None) -> None:
        self._send(value, additional_attributes)


class _Histogram(_RecordingMetric, MetricHistogram):
    def record(self, value: int, additional_attributes: MetricAttributes | None = None) -> None:
        self._send(value, additional_attributes)


class _HistogramFloat(_RecordingMetric, MetricHistogramFloat):
    def record(self, value: float, additional_attributes: MetricAttributes | None = None) -> None:
        self._send(value, additional_attributes)


class _HistogramTimedelta(_RecordingMetric, MetricHistogramTimedelta):
    def record(self, value: timedelta, additional_attributes: MetricAttributes | None = None) -> None:
        seconds = value.total_seconds()
        self._send(seconds if self._durations_as_seconds else int(seconds * 1000), additional_attributes)


class _Gauge(_RecordingMetric, MetricGauge):
    def set(self, value: int, additional_attributes: MetricAttributes | None = None) -> None:
        self._send(value, additional_attributes)


class _GaugeFloat(_RecordingMetric, MetricGaugeFloat):
    def set(self, value: float, additional_attributes: MetricAttributes | None = None) -> None:
        self._send(value, additional_attributes)
