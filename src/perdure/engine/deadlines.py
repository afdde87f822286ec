"""When waiting is over: the deadlines of long polls, thousands at a time, on one timer of the event loop.

Compiled as it is by the native build; ``deadlines.pxd`` declares the attributes.
"""

from __future__ import annotations

import asyncio
from typing import Any

from perdure._native.timers import TimerWheel

#: How late a deadline may be noticed, in seconds; waits shorter than twice this are noticed in time.
COARSENESS = 1.0


class Deadlines:
    """Gives futures that wait too long the result None."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._wheel = TimerWheel(int(loop.time() * 1000))
        self._tick: asyncio.TimerHandle | None = None

    def watch(self, future: asyncio.Future[Any], seconds: float) -> Any:
        """Give the future the result None if it has none in time; returns what :meth:`unwatch` takes."""
        if seconds < 2 * COARSENESS:
            return self._loop.call_later(seconds, _expire, future)
        if self._tick is None:
            self._tick = self._loop.call_later(COARSENESS, self._advance)
        return self._wheel.arm(int((self._loop.time() + seconds) * 1000), future)

    def unwatch(self, watch: Any) -> None:
        """The future is done, or nobody waits for it."""
        if isinstance(watch, int):
            self._wheel.cancel(watch)
        else:
            watch.cancel()

    async def wait(self, future: asyncio.Future[Any], seconds: float) -> Any:
        """The future's result; None when it has none in time. The future is done afterwards, unless cancelled."""
        watch = self.watch(future, seconds)
        try:
            return await future
        finally:
            self.unwatch(watch)

    def _advance(self) -> None:
        for _, future in self._wheel.advance(int(self._loop.time() * 1000)):
            _expire(future)
        self._tick = self._loop.call_later(COARSENESS, self._advance) if len(self._wheel) else None

    def close(self) -> None:
        """No more ticks."""
        if self._tick is not None:
            self._tick.cancel()


def _expire(future: asyncio.Future[Any]) -> None:
    if not future.done():
        future.set_result(None)
