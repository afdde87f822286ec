"""When runs are looked at: the near deadlines on a wheel, the far ones in the store's time index.

Each run is armed once, at or before its earliest deadline. An early look does nothing but arm it again.

Compiled as it is by the native build; ``run_timers.pxd`` declares the attributes.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from perdure._native import transitions
from perdure._native.timers import TimerWheel
from perdure.engine.limits import NS_PER_MS
from perdure.engine.run import Run
from perdure.store.api import RunKey

if TYPE_CHECKING:
    from perdure.engine.core import Core

#: Deadlines farther away than this stay in the store's time index.
HORIZON_MS = 120_000
DUE_PER_TICK = 200
PAGE = 10_000


class RunTimers:
    """The wheel of one engine."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._wheel = TimerWheel(core.now() // NS_PER_MS)
        #: run id -> (wheel handle, due ms)
        self.armed: dict[str, tuple[int, int]] = {}
        self._wake: asyncio.TimerHandle | None = None
        self._wake_ms = 0

    def arm(self, key: RunKey, due_ms: int) -> None:
        """See to it that the run is looked at when something of it is due. Early looks are harmless."""
        armed = self.armed.get(key[2])
        if armed is not None:
            if due_ms and armed[1] <= due_ms:
                return
            self._wheel.cancel(armed[0])
            del self.armed[key[2]]
        if due_ms == 0 or due_ms - self._core.now() // NS_PER_MS > HORIZON_MS:
            return
        self.armed[key[2]] = (self._wheel.arm(due_ms, key), due_ms)
        if self._wake is None or due_ms < self._wake_ms:
            self._schedule_wake(due_ms)

    def arm_workflow_task(self, run: Run) -> None:
        """Watch over a workflow task that was handed out without a commit."""
        self.arm(run.key, run.state.task_deadline_ms)

    def _schedule_wake(self, due_ms: int) -> None:
        if self._wake is not None:
            self._wake.cancel()
        self._wake_ms = due_ms
        delay = due_ms * NS_PER_MS - self._core.now()
        self._wake = self._core.loop.call_later(max(delay, 0) / 1e9, self._on_wake)

    def _on_wake(self) -> None:
        self._wake = None
        if self._core.is_closed:
            return
        due = self._wheel.advance(self._core.now() // NS_PER_MS, DUE_PER_TICK)
        for due_ms, key in due:
            armed = self.armed.get(key.run_id)
            if armed is None or armed[1] != due_ms:
                continue
            del self.armed[key.run_id]
            run = self._core.cached(key.run_id)
            if run is not None:
                self._fire(run)
            else:
                self._core.spawn(self._load_and_fire(key))
        if len(due) == DUE_PER_TICK:
            self._wake_ms = self._core.now() // NS_PER_MS
            self._wake = self._core.loop.call_later(0, self._on_wake)
        elif len(self._wheel):
            self._schedule_wake(max(self._wheel.next_due(), self._core.now() // NS_PER_MS + 1))

    def poke(self) -> None:
        """The clock was moved: look for what is due now."""
        if self._wake is not None:
            self._wake.cancel()
        self._on_wake()

    async def _load_and_fire(self, key: RunKey) -> None:
        run = await self._core.load(key)
        if run is not None:
            self._fire(run)

    def _fire(self, run: Run) -> None:
        """Let happen what is due, and arm what comes next."""
        s = run.state
        transitions.fire_due(s, self._core.now())
        if s.new_events or s.effects:
            run.touched.update(run.persisted)
            self._core.touch(run)
            return
        due = s.next_deadline()
        run.is_timer_early = run.stored_timer < due
        if s.activities:
            # Attempts that were timed out and are retried leave neither event nor effect.
            run.touched.update(run.persisted)
            self._core.forming(run)
        elif run.stored_timer != due:
            self._core.forming(run)
        self.arm(run.key, due)

    def refresh(self, run: Run) -> None:
        """Have the time index say when the run is due, if it says an earlier time."""
        if run.stored_timer < run.state.next_deadline():
            run.is_timer_early = True
            self._core.forming(run)

    async def load_horizon(self) -> None:
        """Arm what the store's time index says is due within the horizon."""
        until = self._core.now() // NS_PER_MS + HORIZON_MS
        after: tuple[int, RunKey] | None = None
        while True:
            page = await self._core.store.due_runs(until, PAGE, after)
            for due_ms, key in page:
                if key.run_id not in self.armed:
                    self.arm(key, due_ms)
            if len(page) < PAGE:
                return
            after = page[-1]
            await asyncio.sleep(0)

    async def watch_horizon(self) -> None:
        """Look ahead again and again, so that far timers come near in time."""
        while True:
            await asyncio.sleep(HORIZON_MS / 2000)
            await self.load_horizon()

    def close(self) -> None:
        """No more looks."""
        if self._wake is not None:
            self._wake.cancel()
