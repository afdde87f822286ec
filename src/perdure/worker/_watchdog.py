"""The watch on workflows that do not yield.

Workflow code runs on the worker's event loop: while it computes, everything else on that loop waits. The native guard
numbers the turns in which a thread runs workflow code, at no cost in time. One daemon thread looks at those numbers: a turn that
is still there when a run's limit has passed is a workflow that blocks. Its stack is logged, once, and
:class:`PotentialDeadlockError` is raised inside it, so that this workflow task fails and the worker lives on.

The exception cannot miss: it is sent only if the turn still lasts, under the lock that ends turns, and what has not
arrived when the turn ends is taken back. ``guard.leave()`` tells that it was sent, for code that swallows it.
"""

from __future__ import annotations

import logging
import sys
import threading
import time
import traceback
from types import FrameType
from typing import Any, Protocol

from perdure._native import guard

logger = logging.getLogger("perdure.worker")

DEFAULT_DEADLOCK_TIMEOUT = 2.0


class WatchedRun(Protocol):
    """What the watchdog wants to know of a run, beside what the guard does."""

    deadlock_timeout: float | None  # seconds; None or 0: do not watch

    def guard_name(self) -> str:
        """The run in words, with workflow type and run id."""
        ...


class PotentialDeadlockError(BaseException):
    """Raised inside workflow code that did not yield in time. Not an Exception, so that user code lets it pass."""

    message = "workflow code did not yield in time"

    def __init__(self, *args: object) -> None:
        super().__init__(*(args or (self.message,)))


class _Turn:
    __slots__ = ("due", "limit", "number", "reports", "since")

    def __init__(self, number: int, limit: float, now: float) -> None:
        self.number = number
        self.limit = limit
        self.since = now
        self.due = now + limit
        self.reports = 0


class Watchdog:
    """One daemon thread for the workflows of all workers of this process; see :func:`start` and :func:`stop`."""

    def __init__(self) -> None:
        self._stopped = threading.Event()
        self._turns: dict[int, _Turn] = {}
        self._interval = 0.25
        self._thread = threading.Thread(target=self._watch, name="perdure-watchdog", daemon=True)

    def start(self) -> None:
        """Begin to watch."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread."""
        self._stopped.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._stopped.wait(self._interval):
            self.look(time.monotonic())

    def look(self, now: float) -> None:
        """Compare who is inside now with who was before, and interrupt those overdue."""
        seen: dict[int, _Turn] = {}
        for thread, number, run in guard.turns():
            turn = self._turns.get(thread)
            if turn is None or turn.number != number:
                limit = getattr(run, "deadlock_timeout", DEFAULT_DEADLOCK_TIMEOUT)
                if not limit:
                    continue
                turn = _Turn(number, limit, now)
                self._interval = min(self._interval, max(limit / 4, 0.005))
            seen[thread] = turn
            if now >= turn.due:
                turn.due = now + turn.limit
                self._interrupt(thread, turn, run, now)
        self._turns = seen

    def _interrupt(self, thread: int, turn: _Turn, run: Any, now: float) -> None:
        frame = sys._current_frames().get(thread)
        stack = [] if frame is None else _workflow_stack(frame)
        where = f"{stack[-1].filename}:{stack[-1].lineno}, in {stack[-1].name}" if stack else "an unknown place"
        name = run.guard_name() if hasattr(run, "guard_name") else repr(run)
        message = (
            f"[TMPRL1101] Potential deadlock detected: {name} did not yield within {turn.limit:g} seconds; it is at "
            f"{where}. Move what blocks or computes to an activity, or raise the worker's deadlock timeout."
        )
        error = type("PotentialDeadlockError", (PotentialDeadlockError,), {"message": message})
        if not guard.interrupt(thread, turn.number, error):
            return  # it has just yielded
        turn.reports += 1
        if turn.reports == 1:
            logger.error("%s\n%s", message, "".join(traceback.format_list(stack)).rstrip())
        elif turn.reports == 2:
            logger.critical(
                "%s has been blocked for %.1f seconds and could not be interrupted, because it swallows the exception or "
                "waits inside a C call; it is at %s. The worker's event loop stands still until it returns.",
                name,
                now - turn.since,
                where,
            )


def _workflow_stack(frame: FrameType) -> list[traceback.FrameSummary]:
    """The frames of the workflow, outermost first, without the worker's that called it."""
    stack = list(traceback.extract_stack(frame))
    for index in range(len(stack) - 1, -1, -1):
        if "/perdure/worker/" in stack[index].filename.replace("\\", "/"):
            return stack[index + 1 :] or stack[index:]
    return stack


_lock = threading.Lock()
_users = 0
_watchdog: Watchdog | None = None


def start() -> None:
    """Have workflows watched from now on. Each call asks for one :func:`stop`."""
    global _users, _watchdog
    with _lock:
        _users += 1
        if _watchdog is None:
            _watchdog = Watchdog()
            _watchdog.start()


def stop() -> None:
    """End one :func:`start`; the last one ends the thread."""
    global _users, _watchdog
    with _lock:
        _users -= 1
        if _users == 0 and _watchdog is not None:
            _watchdog.stop()
            _watchdog = None
