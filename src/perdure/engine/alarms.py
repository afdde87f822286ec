"""Alarms at times of the engine's clock, for what is no run: each name has at most one."""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Callable, Hashable


class Alarms:
    """The alarms of one engine, on one timer of the event loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop, now: Callable[[], int]) -> None:
        self._loop = loop
        self._now = now
        #: name -> (due, what to call); times are nanoseconds since the epoch.
        self._set: dict[Hashable, tuple[int, Callable[[], None]]] = {}
        #: Entries that are no longer set are dropped when they come up. The number keeps names from being compared.
        self._heap: list[tuple[int, int, Hashable]] = []
        self._number = 0
        self._wake: asyncio.TimerHandle | None = None
        self._wake_due = 0
        self._is_closed = False
        #: How many alarms went off whose work has not ended: who counts up counts down.
        self.working = 0

    def set(self, name: Hashable, due: int, call: Callable[[], None]) -> None:
        """Call something once the clock has reached a time, instead of what the name had before."""
        self._set[name] = (due, call)
        self._number += 1
        heapq.heappush(self._heap, (due, self._number, name))
        if len(self._heap) > 2 * len(self._set) + 64:
            self._heap = [entry for entry in self._heap if self._is_set(entry)]
            heapq.heapify(self._heap)
        self._schedule_wake()

    def clear(self, name: Hashable) -> None:
        """Take a name's alarm back, if it has one."""
        self._set.pop(name, None)

    @property
    def next_due(self) -> int | None:
        """When the next alarm goes off."""
        while self._heap and not self._is_set(self._heap[0]):
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else None

    def poke(self) -> None:
        """The clock was moved: call what is due now."""
        if self._is_closed:
            return
        now = self._now()
        while (due := self.next_due) is not None and due <= now:
            _, _, name = heapq.heappop(self._heap)
            _, call = self._set.pop(name)
            call()
        if self._wake is not None:
            self._wake.cancel()
            self._wake = None
        self._schedule_wake()

    def close(self) -> None:
        """No more alarms."""
        self._is_closed = True
        if self._wake is not None:
            self._wake.cancel()

    def _is_set(self, entry: tuple[int, int, Hashable]) -> bool:
        found = self._set.get(entry[2])
        return found is not None and found[0] == entry[0]

    def _schedule_wake(self) -> None:
        due = self.next_due
        if due is None or self._is_closed:
            return
        if self._wake is not None:
            if self._wake_due <= due:
                return
            self._wake.cancel()
        self._wake_due = due
        self._wake = self._loop.call_later(max(due - self._now(), 0) / 1e9, self._on_wake)

    def _on_wake(self) -> None:
        self._wake = None
        self.poke()
