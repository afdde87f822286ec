"""Metrics for Prometheus: totals in memory, and a small HTTP server that shows them."""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, TypeAlias

from perdure.runtime._meter import BUFFERED_METRIC_KIND_COUNTER, BUFFERED_METRIC_KIND_HISTOGRAM, Instrument

if TYPE_CHECKING:
    from perdure.common import MetricAttributes
    from perdure.runtime._config import PrometheusConfig

_Labels: TypeAlias = tuple[tuple[str, str], ...]
_BUCKETS_MS = (50.0, 100.0, 500.0, 1000.0, 2500.0, 10_000.0)


class Prometheus:
    """Adds measurements up."""

    def __init__(self, config: PrometheusConfig) -> None:
        """Start to listen. Raises OSError when the address is taken."""
        self._config = config
        self._lock = threading.Lock()
        self._values: dict[Instrument, dict[_Labels, float]] = {}
        self._histograms: dict[Instrument, dict[_Labels, list[float]]] = {}
        host, _, port = config.bind_address.rpartition(":")
        metrics = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                is_known = self.path.partition("?")[0] == "/metrics"
                body = metrics.text().encode() if is_known else b"/metrics is here\n"
                self.send_response(200 if is_known else 404)
                self.send_header("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:
                pass

        self._server = ThreadingHTTPServer((host.strip("[]"), int(port)), Handler)
        self._server.daemon_threads = True
        self.port: int = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, name="perdure-prometheus", daemon=True).start()

    def close(self) -> None:
        """Stop to listen."""
        self._server.shutdown()
        self._server.server_close()

    def record(self, instrument: Instrument, value: float, attributes: MetricAttributes) -> None:
        """Take a measurement."""
        labels = tuple(sorted((_name(key), _text(item)) for key, item in attributes.items()))
        with self._lock:
            if instrument.kind == BUFFERED_METRIC_KIND_HISTOGRAM:
                bounds = self._bounds(instrument)
                series = self._histograms.setdefault(instrument, {})
                counts = series.get(labels)
                if counts is None:
                    counts = series[labels] = [0.0] * (len(bounds) + 2)  # one per bucket, those above, the sum
                counts[bisect_left(bounds, value)] += 1
                counts[-1] += value
            else:
                values = self._values.setdefault(instrument, {})
                is_counter = instrument.kind == BUFFERED_METRIC_KIND_COUNTER
                values[labels] = values.get(labels, 0.0) + value if is_counter else value

    def _bounds(self, instrument: Instrument) -> tuple[float, ...]:
        overrides = self._config.histogram_bucket_overrides or {}
        if instrument.name in overrides:
            return tuple(overrides[instrument.name])
        return tuple(bound / 1000 for bound in _BUCKETS_MS) if self._config.durations_as_seconds else _BUCKETS_MS

    def text(self) -> str:
        """Everything in Prometheus's text format."""
        with self._lock:
            return "".join(f"{line}\n" for line in self._lines())

    def _lines(self) -> Iterator[str]:
        for instrument, values in self._values.items():
            is_counter = instrument.kind == BUFFERED_METRIC_KIND_COUNTER
            name = self._full_name(instrument, is_counter)
            yield from _head(instrument, name, "counter" if is_counter else "gauge")
            for labels, value in values.items():
                yield f"{name}{_labels(labels)} {value:g}"
        for instrument, series in self._histograms.items():
            name = self._full_name(instrument, False)
            yield from _head(instrument, name, "histogram")
            bounds = [f"{bound:g}" for bound in self._bounds(instrument)] + ["+Inf"]
            for labels, counts in series.items():
                total = 0.0
                for bound, count in zip(bounds, counts, strict=False):
                    total += count
                    yield f"{name}_bucket{_labels((*labels, ('le', bound)))} {total:g}"
                yield f"{name}_sum{_labels(labels)} {counts[-1]:g}"
                yield f"{name}_count{_labels(labels)} {total:g}"

    def _full_name(self, instrument: Instrument, is_counter: bool) -> str:
        name = _name(instrument.name)
        if self._config.unit_suffix and instrument.unit:
            name += f"_{_name(instrument.unit)}"
        return f"{name}_total" if is_counter and self._config.counters_total_suffix else name


def _name(text: str) -> str:
    return "".join(char if char.isascii() and (char.isalnum() or char == "_") else "_" for char in text)


def _head(instrument: Instrument, name: str, kind: str) -> Iterator[str]:
    if instrument.description:
        yield f"# HELP {name} " + instrument.description.replace("\\", "\\\\").replace("\n", "\\n")
    yield f"# TYPE {name} {kind}"


def _text(item: str | float) -> str:
    return str(item).lower() if isinstance(item, bool) else str(item)


def _labels(labels: _Labels) -> str:
    if not labels:
        return ""
    escaped = (value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") for _, value in labels)
    return "{" + ",".join(f'{key}="{value}"' for (key, _), value in zip(labels, escaped, strict=True)) + "}"
