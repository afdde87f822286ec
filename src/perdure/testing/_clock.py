"""The clock of a time-skipping environment: the real one, moved ahead."""

from __future__ import annotations

import time


class SkippingClock:
    """Nanoseconds since the epoch. Runs at the pace of the real clock and can be moved forward."""

    __slots__ = ("_ahead_ns",)

    def __init__(self) -> None:
        self._ahead_ns = 0

    def __call__(self) -> int:
        """The time."""
        return time.time_ns() + self._ahead_ns

    def advance_to(self, time_ns: int) -> None:
        """Move the clock to that time, unless it is past it."""
        self._ahead_ns += max(time_ns - self(), 0)
