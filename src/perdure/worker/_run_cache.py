"""Runs that stay in memory between their tasks.

Compiled as it is by the native build; ``_run_cache.pxd`` declares the attributes.
"""

from __future__ import annotations

import logging
from collections import OrderedDict

from perdure.worker._workflow_run import WorkflowRun

logger = logging.getLogger("perdure.worker")

_BYTES_PER_RUN = 16 * 1024
_BYTES_PER_EVENT = 512


class CachedRun:
    """A run in memory between its tasks."""

    def __init__(self, run: WorkflowRun) -> None:
        self.run = run
        #: Bytes, estimated from the number of events.
        self.size = _BYTES_PER_RUN
        #: The WorkflowTaskStarted event up to which the run has answered; its next task must follow that one.
        self.started_event_id = 0
        #: How many events its task at hand brought.
        self.new_events = 0


class RunCache:
    """Runs by run id, least recently used first; bounded in number and in estimated bytes."""

    def __init__(self, max_runs: int, max_bytes: int) -> None:
        self._max_runs = max_runs
        self._max_bytes = max_bytes
        self._bytes = 0
        self._runs: OrderedDict[str, CachedRun] = OrderedDict()

    def __len__(self) -> int:
        return len(self._runs)

    def get(self, run_id: str) -> CachedRun | None:
        """The run, if it is in memory."""
        return self._runs.get(run_id)

    def put(self, run_id: str, cached: CachedRun, events: int) -> None:
        """Keep a run, or note that it was used and has grown by so many events; put others out if need be."""
        runs = self._runs
        if run_id in runs:
            runs.move_to_end(run_id)
            self._bytes += events * _BYTES_PER_EVENT
        else:
            runs[run_id] = cached
            self._bytes += cached.size + events * _BYTES_PER_EVENT
        cached.size += events * _BYTES_PER_EVENT
        while runs and (len(runs) > self._max_runs or (self._bytes > self._max_bytes and len(runs) > 1)):
            oldest, victim = runs.popitem(last=False)
            self._bytes -= victim.size
            evict(victim, oldest)

    def pop(self, run_id: str) -> CachedRun | None:
        """Take a run out; the caller evicts it."""
        cached = self._runs.pop(run_id, None)
        if cached is not None:
            self._bytes -= cached.size
        return cached

    def clear(self) -> None:
        """Evict everything."""
        while self._runs:
            run_id, cached = self._runs.popitem(last=False)
            evict(cached, run_id)
        self._bytes = 0


def evict(cached: CachedRun, run_id: str) -> None:
    """Close a run's coroutines; what they do then has no effect, and what they raise ends here."""
    try:
        cached.run.evict()
    except Exception:
        logger.warning("The run %s left memory with an error", run_id, exc_info=True)
