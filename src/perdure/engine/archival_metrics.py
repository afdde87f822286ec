"""What archival tells the metrics of the process's default runtime, by the names of Temporal's server."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from perdure.common import MetricMeter

if TYPE_CHECKING:
    from perdure.runtime import Runtime


class ArchivalMetrics:
    """Counts what was archived, what could not be, and how long it took."""

    def __init__(self) -> None:
        self._runtime: Runtime | None = None
        self._use(MetricMeter.noop)

    def _use(self, meter: MetricMeter) -> None:
        self._successes = {
            "history": meter.create_counter("history_archiver_archive_success"),
            "visibility": meter.create_counter("visibility_archiver_archive_success"),
        }
        self._errors = {
            "history": meter.create_counter("history_archiver_archive_transient_error"),
            "visibility": meter.create_counter("visibility_archiver_archive_transient_error"),
        }
        self._latency = meter.create_histogram_timedelta("archiver_archive_target_latency")

    def _refresh(self) -> None:
        """Go to where metrics go now."""
        from perdure.runtime import Runtime

        runtime = Runtime._default
        if runtime is not None and runtime is not self._runtime:
            self._runtime = runtime
            self._use(runtime.metric_meter)

    def archived(self, target: str, namespace: str, seconds: float, is_new: bool) -> None:
        """The archive has something; it was written just now, or was there already."""
        self._refresh()
        if is_new:
            self._successes[target].add(1, {"namespace": namespace})
            labels = {"namespace": namespace, "target": target, "status": "ok"}
            self._latency.record(timedelta(seconds=seconds), labels)

    def failed(self, target: str, namespace: str) -> None:
        """Something could not be archived, and is tried again."""
        self._refresh()
        self._errors[target].add(1, {"namespace": namespace})
