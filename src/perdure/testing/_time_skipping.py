"""Time skipping: when an environment's clock may jump, and to where.

Time runs at its normal pace while it is *locked*. It is unlocked while a client waits for the result of a workflow, and
while a test sleeps in the environment. Then it jumps to whatever is due next (a timer, a timeout, a retry, a cron or
scheduled start, the end of the test's sleep), again and again, but never while a worker has a task: a workflow task,
with the local activities in it, or an activity. Those end at the clock's normal pace.
"""

from __future__ import annotations

import asyncio
import heapq
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from perdure.engine.idleness import is_held, next_deadline
from perdure.engine.run_timers import HORIZON_MS

if TYPE_CHECKING:
    from perdure.engine import Engine
    from perdure.testing._clock import SkippingClock

logger = logging.getLogger("perdure.testing")

_NS_PER_MS = 1_000_000
#: Turns of the event loop in which nothing may happen before time jumps, and after how many it jumps anyhow.
_QUIET_TURNS = 4
_MAX_TURNS = 200
#: How often to look again, in seconds, while a worker has a task.
_LOOK_AGAIN = 0.25


class TimeSkipping:
    """Drives the clock of one engine."""

    def __init__(self, engine: Engine, clock: SkippingClock) -> None:
        self._core = engine.core
        self._clock = clock
        #: Tokens of the tasks that workers have.
        self.task_tokens: set[bytes] = set()
        self._unlocks = 0
        self._suspensions = 0
        #: (until when, number, who waits, whether time is skipped for it)
        self._sleepers: list[tuple[int, int, asyncio.Future[None], bool]] = []
        self._sleeper_count = 0
        self._changes = 0
        self._changed = asyncio.Event()
        self._driver: asyncio.Task[None] | None = None
        self._horizon_ms = 0
        self._stalls = 0

    def now(self) -> int:
        """The environment's time, in nanoseconds since the epoch."""
        return self._clock()

    def change(self) -> None:
        """Something happened: somebody called the service, or was answered."""
        self._changes += 1
        self._changed.set()

    @contextmanager
    def unlocked(self) -> Iterator[None]:
        """Let time skip by itself within the block."""
        self.unlock()
        try:
            yield
        finally:
            self.lock()

    def unlock(self) -> None:
        """Let time skip by itself, unless it is locked more often than unlocked."""
        self._unlocks += 1
        self._drive()

    def lock(self) -> None:
        """Take one :meth:`unlock` back."""
        self._unlocks -= 1

    @contextmanager
    def suspended(self) -> Iterator[None]:
        """Keep time from skipping by itself within the block, whoever unlocked it."""
        self._suspensions += 1
        try:
            yield
        finally:
            self._suspensions -= 1
            self._drive()

    async def sleep(self, duration_ns: int) -> None:
        """Return when so much time has passed, skipping it where nothing is under way."""
        await self._sleep(self._clock() + max(duration_ns, 0), True)

    async def wait_until(self, time_ns: int) -> None:
        """Return when it is that late, without skipping for it."""
        await self._sleep(time_ns, False)

    async def _sleep(self, time_ns: int, is_skipping: bool) -> None:
        woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._sleeper_count += 1
        heapq.heappush(self._sleepers, (time_ns, self._sleeper_count, woken, is_skipping))
        self._drive()
        self.change()
        await woken

    def close(self) -> None:
        """Stop skipping."""
        if self._driver is not None:
            self._driver.cancel()

    # ---- the driver

    @property
    def _is_automatic(self) -> bool:
        return self._unlocks > 0 and self._suspensions == 0

    def _drive(self) -> None:
        if self._driver is None and (self._is_automatic or self._sleepers) and not self._core.is_closed:
            self._driver = asyncio.get_running_loop().create_task(self._run())

    async def _run(self) -> None:
        try:
            while (self._is_automatic or self._sleepers) and not self._core.is_closed:
                await self._step()
        except Exception as error:
            logger.exception("time skipping stopped")
            self._end_sleeps(error)
        finally:
            self._driver = None
            if self._core.is_closed:
                self._end_sleeps(RuntimeError("the environment was shut down"))

    def _end_sleeps(self, error: Exception) -> None:
        for _, _, woken, _ in self._sleepers:
            if not woken.done():
                woken.set_exception(error)
        self._sleepers.clear()

    async def _step(self) -> None:
        await self._settle()
        self._wake_sleepers()
        changes = self._changes
        target = await self._target()
        if target is None:
            await self._wait()
        elif changes == self._changes:
            await self._jump(target)

    async def _settle(self) -> None:
        """Wait until what became ready has run its course, as far as it needs no worker's time."""
        core = self._core
        quiet = 0
        for _ in range(_MAX_TURNS):
            changes = self._changes
            await core.settle()
            await asyncio.sleep(0)
            is_quiet = changes == self._changes and core.is_settled and not core.alarms.working
            quiet = quiet + 1 if is_quiet else 0
            if quiet == _QUIET_TURNS:
                return

    def _wake_sleepers(self) -> None:
        sleepers = self._sleepers
        while sleepers and (sleepers[0][2].done() or sleepers[0][0] <= self._clock()):
            _, _, woken, _ = heapq.heappop(sleepers)
            if not woken.done():
                woken.set_result(None)

    async def _target(self) -> int | None:
        """Where the clock may jump to; None: nowhere, for now."""
        is_wanted = self._is_automatic or any(is_skipping for _, _, _, is_skipping in self._sleepers)
        if not is_wanted or await is_held(self._core, self.task_tokens):
            return None
        due = await next_deadline(self._core)
        if due is None:
            return None
        if self._sleepers:
            wake = self._sleepers[0][0]
            return min(due, wake) if due else wake
        return due or None

    async def _jump(self, target: int) -> None:
        self._stalls = self._stalls + 1 if target <= self._clock() else 0
        if self._stalls > _QUIET_TURNS:
            await self._wait()
            return
        self._clock.advance_to(target)
        if target // _NS_PER_MS > self._horizon_ms:
            self._horizon_ms = self._clock() // _NS_PER_MS + HORIZON_MS
            await self._core.timers.load_horizon()
        self._core.timers.poke()
        self._core.alarms.poke()

    async def _wait(self) -> None:
        delay = _LOOK_AGAIN
        if self._sleepers:
            delay = min(delay, max(self._sleepers[0][0] - self._clock(), 0) / 1e9)
        timer = asyncio.get_running_loop().call_later(delay, self._changed.set)
        try:
            await self._changed.wait()
        finally:
            timer.cancel()
            self._changed.clear()
