"""What an engine test does to the store and the process under an engine."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from perdure.engine import Engine
from perdure.store.api import Capability, Document, RunUpdate, Store, StoreClosedError, StoreUnavailableError
from tests.engine.driver import Clock

OpenStore = Callable[[], Coroutine[Any, Any, Store]]


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


class FragileWorld:
    """An engine over a store whose commits fail, or after one of which its process is gone, and which is opened again."""

    def __init__(self, open_store: OpenStore, fail_at: int = -1, die_at: int = -1) -> None:
        self.open_store = open_store
        self.clock = Clock()
        self.fail_at = fail_at
        self.die_at = die_at
        self.engine: Engine
        self.store: FragileStore
        self.inner: Store

    async def open(self) -> None:
        """The first process."""
        self.inner = await self.open_store()
        await self._begin(FragileStore(self.inner, 1, fail_at=self.fail_at, die_at=self.die_at))

    async def restart(self) -> None:
        """The process is gone: nothing of it is closed in order."""
        await abandon(self.engine)
        if Capability.PERSISTENT in self.inner.capabilities:
            await self.inner.close()
            self.inner = await self.open_store()
        await self._begin(FragileStore(self.inner, self.store.epoch + 1))

    async def _begin(self, store: FragileStore) -> None:
        self.store = store
        self.engine = await Engine.open(store, clock=self.clock)
        self.drive(self.engine)

    def drive(self, engine: Engine) -> None:
        """Take up the engine of a new process."""
        raise NotImplementedError
