"""The homes that tests run over, and the one switch for them.

``PERDURE_STORES`` names them, ``memory,lmdb,postgresql`` unless set. Tests that are about homes get each of those. When
``memory`` is not among them, all that a test opens as ``memory:``, or as an environment that skips time, is in truth the
first of those that are: so ``PERDURE_STORES=postgresql pytest`` runs everything over PostgreSQL, and
``PERDURE_STORES=guest pytest`` over an engine in memory that is reached as another process reaches it.
``PERDURE_STORES=temporal PERDURE_TEMPORAL=host:port pytest`` runs clients and workers over a Temporal server, see
``tests.support.temporal``; what is about engines and stores is skipped.
"""

from __future__ import annotations

import asyncio
import os
from datetime import timedelta
from pathlib import Path

import pytest

from perdure import connect
from perdure.engine import Engine
from perdure.engine.cluster_engine import ClusterEngine
from perdure.sharing._guest import Guest
from perdure.sharing._host import Host
from perdure.store.api import Durability, StoreOwnedError
from perdure.store.lmdb import LMDBStore
from perdure.store.memory import MemoryStore
from perdure.store.postgres import SharedPostgresStore
from perdure.testing import _service
from perdure.testing._clock import SkippingClock
from tests.support.postgres import place_in
from tests.support.temporal import TemporalHomes

_KNOWN = ("memory", "lmdb", "postgresql", "guest", "temporal")


def _chosen() -> tuple[str, ...]:
    names = tuple(name for name in os.environ.get("PERDURE_STORES", "").split(",") if name)
    unknown = sorted(set(names) - set(_KNOWN))
    if unknown:
        raise pytest.UsageError(f"PERDURE_STORES names {unknown[0]!r}; there are {', '.join(_KNOWN)}")
    return names or _KNOWN[:3]


#: What a fixture that is about homes is parametrised with.
STORES = _chosen()
#: What ``memory:`` stands for.
INSTEAD_OF_MEMORY = "memory" if "memory" in STORES else STORES[0]

#: For tests that are about homes in memory themselves.
memory_only = pytest.mark.skipif(INSTEAD_OF_MEMORY != "memory", reason="about homes in memory")
#: For tests of what a Temporal server does in its own way, or has no part in.
our_homes_only = pytest.mark.skipif(INSTEAD_OF_MEMORY == "temporal", reason="about our own homes")


def home_url(store: str, folder: Path, *, durability: str = "process") -> str:
    """The URL of a home of a test's own; the same one for the same folder, except in memory without a name."""
    if store in ("memory", "guest"):
        return "memory:"
    if store == "temporal":
        return f"memory:{folder.name}"
    if store == "lmdb":
        return f"lmdb:{folder / 'store'}?durability={durability}"
    return f"{place_in(folder)}&durability={durability}"


class _HostedGuest(Guest):
    """A guest of an engine in the same process, which is closed with it."""

    @classmethod
    async def open(cls, engine: Engine, folder: Path) -> _HostedGuest:
        """Serve an engine, and be its guest."""

        async def refuse() -> Engine:
            raise StoreOwnedError("the engine is in this process")

        folder.mkdir(parents=True)
        host = await Host.open(engine.guests, folder, "full")
        engine.before_close.append(host.close)
        guest = cls(folder, "full", refuse, StoreOwnedError)
        guest._engine = engine
        await guest.connect()
        return guest

    _engine: Engine

    async def close(self) -> None:
        await super().close()
        await self._engine.close()


class Instead:
    """Opens another home where a test asks for one in memory."""

    def __init__(self, store: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self._store = store
        self._folder = folder
        self._count = 0
        self._engines: list[Engine] = []
        self._guests: list[_HostedGuest] = []
        self._open = connect._open
        self._temporal = TemporalHomes(monkeypatch) if store == "temporal" else None
        if self._temporal is None:
            monkeypatch.setattr(connect, "_open", self._opened)
        monkeypatch.setattr(_service.TimeSkippingService, "open", self._skipping)

    def _next(self) -> Path:
        self._count += 1
        return self._folder / f"instead-{self._count}"

    async def _opened(self, target: connect.Target) -> Engine | Guest:
        if target.scheme == "memory" and self._store == "guest":
            guest = await _HostedGuest.open(await Engine.open(await MemoryStore.open()), self._next())
            self._guests.append(guest)
            return guest
        if target.scheme == "memory":
            target = connect.parse(home_url(self._store, self._next()))
        engine = await self._open(target)
        if isinstance(engine, Engine):
            self._engines.append(engine)
        return engine

    async def _skipping(self, retention: timedelta) -> _service.TimeSkippingService:
        if self._temporal is not None:
            pytest.skip("skips time")
        clock = SkippingClock()
        engine: Engine
        if self._store == "guest":
            engine = await Engine.open(await MemoryStore.open(), clock=clock, retention=retention)
        elif self._store == "lmdb":
            store = await LMDBStore.open(self._next(), durability=Durability.PROCESS)
            engine = await Engine.open(store, clock=clock, retention=retention)
        else:
            shared = await SharedPostgresStore.open(place_in(self._next()), durability=Durability.PROCESS)
            engine = await ClusterEngine.open(shared, clock=clock, retention=retention)
        self._engines.append(engine)
        return _service.TimeSkippingService(engine, clock)

    async def close(self) -> None:
        """Close what the test left open, as one in memory may be."""
        if self._temporal is not None:
            await self._temporal.close()
        loop = asyncio.get_running_loop()
        for guest in self._guests:
            if guest._loop is loop:
                await guest.close()
        for engine in self._engines:
            core = getattr(engine, "core", None)
            if core is not None and core.loop is loop:
                await engine.close()
