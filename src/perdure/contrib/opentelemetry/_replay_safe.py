"""Meter and logger providers that drop what a replay says a second time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from opentelemetry._logs import Logger, LoggerProvider
from opentelemetry.metrics import (
    Counter,
    Histogram,
    Meter,
    MeterProvider,
    ObservableCounter,
    ObservableGauge,
    ObservableUpDownCounter,
    UpDownCounter,
    _Gauge,
)

from perdure.contrib.opentelemetry._tracer_provider import is_replaying

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.metrics import CallbackT
    from opentelemetry.util.types import Attributes


class _Wrapping:
    """Everything else is the wrapped object's."""

    _wrapped: Any

    def __getattr__(self, name: str) -> Any:
        return getattr(self._wrapped, name)


def _given(context: Context | None) -> dict[str, Any]:
    """The context as a keyword; none for instruments from before there was one."""
    return {} if context is None else {"context": context}


class _ReplaySafeCounter(_Wrapping, Counter):
    def __init__(self, wrapped: Counter) -> None:
        self._wrapped = wrapped

    def add(self, amount: float, attributes: Attributes = None, context: Context | None = None) -> None:
        if not is_replaying():
            self._wrapped.add(amount, attributes, **_given(context))


class _ReplaySafeUpDownCounter(_Wrapping, UpDownCounter):
    def __init__(self, wrapped: UpDownCounter) -> None:
        self._wrapped = wrapped

    def add(self, amount: float, attributes: Attributes = None, context: Context | None = None) -> None:
        if not is_replaying():
            self._wrapped.add(amount, attributes, **_given(context))


class _ReplaySafeHistogram(_Wrapping, Histogram):
    def __init__(self, wrapped: Histogram) -> None:
        self._wrapped = wrapped

    def record(self, amount: float, attributes: Attributes = None, context: Context | None = None) -> None:
        if not is_replaying():
            self._wrapped.record(amount, attributes, **_given(context))


class _ReplaySafeGauge(_Wrapping, _Gauge):
    def __init__(self, wrapped: _Gauge) -> None:
        self._wrapped = wrapped

    def set(self, amount: float, attributes: Attributes = None, context: Context | None = None) -> None:
        if not is_replaying():
            self._wrapped.set(amount, attributes, **_given(context))


class _ReplaySafeMeter(_Wrapping, Meter):
    def __init__(self, wrapped: Meter) -> None:
        super().__init__(wrapped.name, version=wrapped.version, schema_url=wrapped.schema_url)
        self._wrapped = wrapped

    def create_counter(self, name: str, unit: str = "", description: str = "") -> Counter:
        return _ReplaySafeCounter(self._wrapped.create_counter(name, unit, description))

    def create_up_down_counter(self, name: str, unit: str = "", description: str = "") -> UpDownCounter:
        return _ReplaySafeUpDownCounter(self._wrapped.create_up_down_counter(name, unit, description))

    def create_histogram(
        self,
        name: str,
        unit: str = "",
        description: str = "",
        *,
        explicit_bucket_boundaries_advisory: Sequence[float] | None = None,
    ) -> Histogram:
        advisory = explicit_bucket_boundaries_advisory
        given = {} if advisory is None else {"explicit_bucket_boundaries_advisory": advisory}
        return _ReplaySafeHistogram(self._wrapped.create_histogram(name, unit, description, **given))

    def create_gauge(self, name: str, unit: str = "", description: str = "") -> _Gauge:
        return _ReplaySafeGauge(self._wrapped.create_gauge(name, unit, description))

    # Observed by the exporter, never from workflow code: nothing to drop.

    def create_observable_counter(
        self, name: str, callbacks: Sequence[CallbackT] | None = None, unit: str = "", description: str = ""
    ) -> ObservableCounter:
        made: ObservableCounter = self._wrapped.create_observable_counter(name, callbacks, unit, description)
        return made

    def create_observable_gauge(
        self, name: str, callbacks: Sequence[CallbackT] | None = None, unit: str = "", description: str = ""
    ) -> ObservableGauge:
        made: ObservableGauge = self._wrapped.create_observable_gauge(name, callbacks, unit, description)
        return made

    def create_observable_up_down_counter(
        self, name: str, callbacks: Sequence[CallbackT] | None = None, unit: str = "", description: str = ""
    ) -> ObservableUpDownCounter:
        made: ObservableUpDownCounter = self._wrapped.create_observable_up_down_counter(
            name, callbacks, unit, description
        )
        return made


class ReplaySafeMeterProvider(_Wrapping, MeterProvider):
    """A meter provider for libraries that measure in workflow code: replay measures nothing.

    Make it the global one before those libraries ask for a meter.
    """

    def __init__(self, meter_provider: MeterProvider) -> None:
        """Wrap a provider."""
        self._wrapped = meter_provider

    def get_meter(
        self, name: str, version: str | None = None, schema_url: str | None = None, attributes: Attributes = None
    ) -> Meter:
        """A meter."""
        return _ReplaySafeMeter(self._wrapped.get_meter(name, version, schema_url, attributes))


class _ReplaySafeLogger(_Wrapping, Logger):
    def __init__(self, wrapped: Logger, name: str, version: str | None, schema_url: str | None) -> None:
        super().__init__(name, version=version, schema_url=schema_url)
        self._wrapped = wrapped

    def emit(self, *args: Any, **fields: Any) -> None:
        if not is_replaying():
            self._wrapped.emit(*args, **fields)

    def enabled(self, *args: Any, **fields: Any) -> bool:
        """Whether a record would be emitted; loggers from before there was the question always say yes."""
        if is_replaying():
            return False
        ask = getattr(self._wrapped, "enabled", None)
        return True if ask is None else bool(ask(*args, **fields))


class ReplaySafeLoggerProvider(_Wrapping, LoggerProvider):
    """A logger provider for libraries that emit records in workflow code: replay emits nothing.

    Make it the global one before those libraries ask for a logger.
    """

    def __init__(self, logger_provider: LoggerProvider) -> None:
        """Wrap a provider."""
        self._wrapped = logger_provider

    def get_logger(
        self, name: str, version: str | None = None, schema_url: str | None = None, attributes: Any = None
    ) -> Logger:
        """A logger."""
        return _ReplaySafeLogger(
            self._wrapped.get_logger(name, version, schema_url, attributes), name, version, schema_url
        )
