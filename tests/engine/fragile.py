"""What an engine test does to the store and the process under an engine."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from perdure.engine import Engine
from perdure.store.api import Document, RunUpdate, Store, StoreClosedError, StoreUnavailableError


class FragileStore:
    """What an engine sees of a store: one whose commits fail, or after which the process is gone."""

    def __init__(self, inner: Store, epoch: int, *, fail_at: int = -1, die_at: int = -1) -> None:
        self._inner = inner
        self.epoch = epoch
        self.commits = 0
        self.fail_at = fail_at
        self.die_at = die_at
        self.is_dead = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    async def commit(self, updates: Sequence[RunUpdate], documents: Sequence[Document] = ()) -> None:
        if self.is_dead:
            raise StoreClosedError("the process is gone")
        self.commits += 1
        if self.commits == self.fail_at:
            raise StoreUnavailableError("no room")
        await self._inner.commit(updates, documents)
        if self.commits == self.die_at:
            self.is_dead = True
            raise StoreClosedError("the process is gone")

    async def close(self) -> None:
        """The place stays: another engine will open it."""


async def abandon(engine: Engine) -> None:
    """Stop an engine as the death of its process does: nothing is finished, nothing is closed."""
    core = engine._core
    core.is_closed = True
    for task in list(core._tasks):
        task.cancel()
    await asyncio.gather(*core._tasks, return_exceptions=True)
    core.timers.close()
    core.deadlines.close()
