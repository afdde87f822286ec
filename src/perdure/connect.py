"""From a URL to a service. The only module that knows every home.

``memory:``             a private engine without a disk
``memory:NAME``         one shared by everybody in the process who asks for NAME
``lmdb:PATH``           an engine over the LMDB environment in the folder PATH; another process that opens it is served by
                        the one that has it, and takes over when that one ends (``perdure.sharing``)
``postgresql://...``    an engine over a schema of a PostgreSQL database, see ``perdure.store.postgres``
``temporal://HOST:PORT`` a Temporal server, or ``perdure server``; the bare ``HOST:PORT`` means it too
``...?durability=...``  ``full`` (default): an acknowledged write survives a power loss; ``process``: the process

Several connections to one engine share it: it is closed when the last of them is.
"""

from __future__ import annotations

import asyncio
import os
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import parse_qsl, unquote

from perdure.service import ConnectConfig, WorkflowService

if TYPE_CHECKING:
    from types import ModuleType

    from perdure.engine import Engine
    from perdure.sharing._guest import Guest
    from perdure.store.api import Store

DURABILITIES = ("full", "process")
#: How long the owner of a folder may take to start serving it.
OWNER_STARTS_SECONDS = 3.0

_POSTGRESQL = ("postgresql", "postgres")


@dataclass(frozen=True)
class Target:
    """A parsed URL. Of a Temporal server, ``place`` is the whole URL and the durability its own affair."""

    scheme: str
    place: str
    durability: str


def parse(url: str, *, durability: str | None = None) -> Target:
    """Read a home's URL; the keyword ``durability`` must not contradict the URL's."""
    if not isinstance(url, str):
        raise TypeError(f"a home is a URL such as 'lmdb:./data' or 'memory:', not {type(url).__name__}")
    scheme, colon, rest = url.partition(":")
    place, _, query = rest.partition("?")
    if scheme in _POSTGRESQL:
        return _postgresql(url, durability)
    if _is_remote(url, scheme, place):
        if durability is not None:
            raise ValueError(f"durability={durability!r}: what a Temporal server survives is up to {url!r}")
        return Target("temporal", url, "")
    if not colon or scheme not in ("memory", "lmdb"):
        hint = f"; for a folder write 'lmdb:{url}'" if not colon or not scheme.isalnum() else ""
        raise ValueError(
            f"{url!r} is not a home perdure knows: use 'lmdb:PATH', 'memory:', 'postgresql://...' or 'temporal://host:port'{hint}"
        )
    level = _durability(url, _options(url, query), durability)
    return Target(scheme, _place(url, scheme, unquote(place)), level)


def _durability(url: str, options: dict[str, str], durability: str | None) -> str:
    if durability is not None and options.get("durability", durability) != durability:
        raise ValueError(f"durability={durability!r} contradicts the URL {url!r}; state it once")
    level = options.get("durability", durability or "full")
    if level not in DURABILITIES:
        raise ValueError(f"durability is 'full' or 'process', not {level!r}")
    return level


def _postgresql(url: str, durability: str | None) -> Target:
    from perdure.store.postgres import Settings

    settings = Settings.parse(url)
    level = _durability(settings.place, dict(parse_qsl(url.partition("?")[2])), durability)
    return Target("postgresql", url, level)


def _is_remote(url: str, scheme: str, place: str) -> bool:
    """``temporal://host``, ``https://host`` or ``host:port``, which may be ``[::1]:port``."""
    if scheme in ("temporal", "http", "https"):
        return place.startswith("//")
    return scheme not in ("memory", "lmdb") and (place.isdigit() or url.startswith("[")) and "/" not in url


def _options(url: str, query: str) -> dict[str, str]:
    options = dict(parse_qsl(query, keep_blank_values=True))
    unknown = sorted(options.keys() - {"durability"})
    if unknown:
        raise ValueError(f"{url!r}: unknown option {unknown[0]!r}; the only one is 'durability'")
    return options


def _place(url: str, scheme: str, place: str) -> str:
    if scheme == "memory":
        if "/" in place:
            raise ValueError(f"{url!r}: a memory home has a plain name, such as 'memory:tests', or none")
        return place
    if place.startswith("//"):
        if not place.startswith("///"):
            raise ValueError(f"{url!r} names a host; an LMDB home is a folder: 'lmdb:./data' or 'lmdb:/var/lib/app'")
        place = place[2:]
    if not place or "\0" in place:
        raise ValueError(f"{url!r} names no folder; write for instance 'lmdb:./data'")
    return os.path.realpath(Path(place).expanduser())


@dataclass
class _Shared:
    """An engine and how many hold it, or are about to. ``lock`` is held while it opens and closes."""

    target: Target
    loop: asyncio.AbstractEventLoop
    pid: int
    holders: int = 0
    engine: Engine | Guest | None = None
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)


_registry: dict[tuple[str, str], _Shared] = {}
_registry_lock = threading.Lock()


async def connect(url: str, *, durability: str | None = None, config: ConnectConfig | None = None) -> WorkflowService:
    """Open the home that a URL names, or join the engine this process already has there.

    ``close()`` of the result gives back this connection alone. ``config`` says how to reach a home with a wire.

    Raises:
        ValueError: the URL or the durability is not one perdure knows.
        RuntimeError: this version has no such home, the engine there belongs to another event loop, or no server
            answers.
    """
    target = parse(url, durability=durability)
    if target.scheme == "temporal":
        service: WorkflowService = await _remote().connect(config or ConnectConfig(url))
        return service
    if target.scheme == "memory" and not target.place:
        return cast("WorkflowService", await _open(target))
    shared = _hold(target)
    try:
        async with shared.lock:
            if shared.engine is None:
                shared.engine = await _open(target)
    except BaseException:
        _let_go(shared)
        raise
    return cast("WorkflowService", _Connection(shared, shared.engine))


def _remote() -> ModuleType:
    try:
        from perdure.wire import client
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] in ("grpc", "temporalio", "google"):
            raise ModuleNotFoundError(
                "a Temporal server needs grpcio and temporalio: pip install 'perdure[temporal]'", name=error.name
            ) from error
        raise
    return client


def offer(name: str, service: WorkflowService) -> WorkflowService:
    """Let ``memory:NAME`` mean a service that is open already; returns the first connection to it.

    The service is closed with the last connection.
    """
    target = Target("memory", name, "full")
    shared = _Shared(target, asyncio.get_running_loop(), os.getpid(), 1, cast("Engine", service))
    with _registry_lock:
        if ("memory", name) in _registry:
            raise ValueError(f"memory:{name} is open already; offer the service under another name")
        _registry["memory", name] = shared
    return cast("WorkflowService", _Connection(shared, cast("Engine", service)))


def _hold(target: Target) -> _Shared:
    loop = asyncio.get_running_loop()
    key = (target.scheme, target.place)
    name = f"{target.scheme}:{target.place}"
    with _registry_lock:
        shared = _registry.get(key)
        if shared is None or shared.pid != os.getpid():
            shared = _registry[key] = _Shared(target, loop, os.getpid())
        elif shared.loop is not loop:
            state = "that has ended without closing it" if shared.loop.is_closed() else "of this process"
            raise RuntimeError(
                f"{name} is open in another event loop {state}; close every client there first (await client.close())"
            )
        elif shared.target.durability != target.durability:
            raise ValueError(
                f"{name} is already open with durability={shared.target.durability!r}; "
                f"it cannot be opened with {target.durability!r} at the same time"
            )
        shared.holders += 1
        return shared


def _let_go(shared: _Shared) -> bool:
    """Take back a hold; True when it was the last."""
    with _registry_lock:
        shared.holders -= 1
        if shared.holders:
            return False
        if shared.engine is None:
            _forget(shared)
        return True


def _forget(shared: _Shared) -> None:
    key = (shared.target.scheme, shared.target.place)
    if _registry.get(key) is shared:
        del _registry[key]


async def _close_if_unheld(shared: _Shared) -> None:
    async with shared.lock:
        engine = shared.engine
        if shared.holders or engine is None:
            return
        try:
            await engine.close()
        finally:
            with _registry_lock:
                shared.engine = None
                if not shared.holders:
                    _forget(shared)


async def _open(target: Target) -> Engine | Guest:
    if target.scheme != "lmdb":
        return await _open_engine(target)
    from perdure.store.api import StoreOwnedError

    try:
        return await _open_and_host(target)
    except StoreOwnedError as error:
        if error.pid == os.getpid():
            raise
        owned = error
    from perdure.sharing._guest import Guest, NoOwnerError

    guest = Guest(Path(target.place), target.durability, lambda: _open_and_host(target), StoreOwnedError)
    try:
        await guest.connect(OWNER_STARTS_SECONDS)
    except NoOwnerError:
        raise owned from None
    return guest


async def _open_and_host(target: Target) -> Engine:
    """The engine over a folder that nobody has; where a socket can be, other processes are served."""
    from perdure.sharing._host import Host, is_shareable

    engine = await _open_engine(target)
    folder = Path(target.place)
    if is_shareable(folder):
        try:
            host = await Host.open(engine.guests, folder, target.durability)
        except BaseException:
            await engine.close()
            raise
        engine.before_close.append(host.close)
    return engine


async def _open_engine(target: Target) -> Engine:
    from perdure.engine import Engine

    store = await _open_store(target)
    try:
        if target.scheme == "postgresql":
            from perdure.engine.cluster_engine import ClusterEngine

            return await ClusterEngine.open(store)
        return await Engine.open(store)
    except BaseException:
        await store.close()
        raise


async def _open_store(target: Target) -> Store:
    if target.scheme == "memory":
        from perdure.store.memory import MemoryStore

        return await MemoryStore.open()
    from perdure.store.api import Durability

    if target.scheme == "postgresql":
        from perdure.store.postgres import SharedPostgresStore

        return await SharedPostgresStore.open(target.place, durability=Durability(target.durability))
    from perdure.store.lmdb import LMDBStore

    return await LMDBStore.open(target.place, durability=Durability(target.durability))


class _Connection:
    """One holder's view of a shared engine: the engine's own methods, and a ``close`` of its own."""

    def __init__(self, shared: _Shared, engine: Engine | Guest) -> None:
        self._shared: _Shared | None = shared
        self._engine = engine
        for name in dir(WorkflowService):
            if not name.startswith("_") and name != "close":
                setattr(self, name, getattr(engine, name))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)

    async def close(self) -> None:
        shared, self._shared = self._shared, None
        if shared is not None and _let_go(shared):
            await asyncio.shield(asyncio.ensure_future(_close_if_unheld(shared)))
