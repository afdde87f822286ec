"""What owns a workflow loop in tests: a clock, a heap of timers, and a list of what went wrong."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Coroutine
from typing import Any

from perdure._native.loop import WorkflowLoop


class Timer:
    def __init__(self, owner: Owner, number: int) -> None:
        self.owner, self.number = owner, number
        self.is_cancelled = False

    def cancel(self) -> None:
        self.is_cancelled = True
        self.owner.trace.append(f"cancel timer {self.number}")


class Owner:
    """Drives a loop as a worker does: run until idle, fire the next timer, again."""

    def __init__(self, loop_class: Any = WorkflowLoop) -> None:
        self.trace: list[Any] = []
        self.errors: list[dict[str, Any]] = []
        self.timers: list[tuple[int, int, Timer, Any]] = []
        self.count = itertools.count(1)
        self.loop = loop_class(self)
        self.loop.time_ns = 1_700_000_000 * 10**9

    def _loop_timer(self, delay_ns: int, handle: Any) -> Timer:
        number = next(self.count)
        timer = Timer(self, number)
        self.trace.append(f"timer {number} of {delay_ns / 1e9:g}")
        heapq.heappush(self.timers, (self.loop.time_ns + delay_ns, number, timer, handle))
        return timer

    def _loop_exception(self, context: dict[str, Any]) -> None:
        self.errors.append(context)

    def fire_next(self) -> bool:
        while self.timers:
            due, number, timer, handle = heapq.heappop(self.timers)
            if not timer.is_cancelled:
                self.loop.time_ns = due
                self.trace.append(f"fired {number}")
                handle.fire()
                return True
        return False

    def finish(self) -> None:
        self.loop.run_until_idle()
        while self.fire_next():
            self.loop.run_until_idle()

    def run(self, coro: Coroutine[Any, Any, Any]) -> Any:
        """Run a workflow to its end, with all its timers, and give its result."""
        task = self.loop.create_task(coro)
        self.finish()
        assert task.done(), "the workflow is stuck"
        return task.result()
