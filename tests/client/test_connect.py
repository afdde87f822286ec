"""From URLs to engines: what is refused, and how an engine is shared."""

from __future__ import annotations

import asyncio
import sys
import types
from pathlib import Path
from typing import Any

import pytest

from perdure import connect as connect_module
from perdure.connect import Target, connect, parse
from perdure.service import WorkflowService
from perdure.store.api import Durability
from tests.support.homes import memory_only


class FakeEngine:
    """Counts how often engines are opened and closed; ``gate`` holds an opening up, ``failure`` fails it."""

    opened: list[FakeEngine]
    stores_closed: list[Any]
    opening: asyncio.Event
    gate: asyncio.Event | None
    failure: BaseException | None

    def __init__(self, store: Any) -> None:
        self.store = store
        self.is_closed = False
        self.in_process = True

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or not hasattr(WorkflowService, name):
            raise AttributeError(name)
        return lambda *args, **options: (self, name)

    @classmethod
    async def open(cls, store: Any) -> FakeEngine:
        engine = cls(store)
        cls.opened.append(engine)
        cls.opening.set()
        if cls.gate is not None:
            await cls.gate.wait()
        if cls.failure is not None:
            raise cls.failure
        return engine

    async def close(self) -> None:
        await asyncio.sleep(0)
        self.is_closed = True


class FakeStore:
    def __init__(self, *place: Any) -> None:
        self.place = place

    @classmethod
    async def open(cls, path: str = "", durability: Durability = Durability.FULL) -> FakeStore:
        return cls(path, durability)

    async def close(self) -> None:
        FakeEngine.stores_closed.append(self)


@pytest.fixture
def engines(monkeypatch: pytest.MonkeyPatch) -> list[FakeEngine]:
    FakeEngine.opened, FakeEngine.stores_closed = [], []
    FakeEngine.opening = asyncio.Event()
    FakeEngine.gate = FakeEngine.failure = None
    for name, attributes in (
        ("perdure.engine", {"Engine": FakeEngine}),
        ("perdure.store.memory", {"MemoryStore": FakeStore}),
        ("perdure.store.lmdb", {"LMDBStore": FakeStore}),
        ("perdure.sharing._host", {"Host": None, "is_shareable": lambda folder: False}),
    ):
        module = types.ModuleType(name)
        module.__dict__.update(attributes)
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.setattr(connect_module, "_registry", {})
    return FakeEngine.opened


def place(path: str) -> str:
    return str(Path(path).resolve())


@pytest.mark.parametrize(
    ("url", "target"),
    [
        ("memory:", Target("memory", "", "full")),
        ("memory:tests", Target("memory", "tests", "full")),
        ("lmdb:./data", Target("lmdb", place("data"), "full")),
        ("lmdb:/var/../srv/x", Target("lmdb", place("/srv/x"), "full")),
        ("lmdb:///srv/x", Target("lmdb", place("/srv/x"), "full")),
        ("lmdb:~/x", Target("lmdb", place(str(Path.home() / "x")), "full")),
        ("lmdb:a%3Fb%20c", Target("lmdb", place("a?b c"), "full")),
        ("lmdb:data?durability=process", Target("lmdb", place("data"), "process")),
    ],
)
def test_urls(url: str, target: Target) -> None:
    assert parse(url) == target


def test_the_keyword_states_the_durability_too() -> None:
    assert parse("lmdb:x", durability="process").durability == "process"
    assert parse("lmdb:x?durability=process", durability="process").durability == "process"


@pytest.mark.parametrize(
    ("url", "kind", "message"),
    [
        (5, TypeError, "a home is a URL such as 'lmdb:./data' or 'memory:', not int"),
        ("", ValueError, "not a home perdure knows"),
        ("./data", ValueError, "for a folder write 'lmdb:./data'"),
        (
            "redis://x",
            ValueError,
            "not a home perdure knows: use 'lmdb:PATH', 'memory:', 'postgresql://...' or 'temporal://host:port'",
        ),
        ("lmdb:", ValueError, "names no folder"),
        ("lmdb://host/x", ValueError, "names a host"),
        ("lmdb:a\0b", ValueError, "names no folder"),
        ("memory:a/b", ValueError, "a memory home has a plain name"),
        ("lmdb:x?sync=1", ValueError, "unknown option 'sync'; the only one is 'durability'"),
        ("lmdb:x?durability=none", ValueError, "durability is 'full' or 'process', not 'none'"),
        ("postgresql://u:secret@h/db?pool_max=0", ValueError, "pool_max='0' is not a number from 1 to 1000"),
        ("postgresql://u@h/db?schema=Not-one", ValueError, "use lower-case letters, digits and underscores"),
        ("postgres://u@h/db?durability=none", ValueError, "durability is 'full' or 'process', not 'none'"),
        ("temporal://h:7233/path", ValueError, "names no Temporal server"),
        ("temporal://h:port", ValueError, "no port that exists"),
        ("temporal://h?retention=1d", ValueError, "unknown option 'retention'"),
    ],
)
async def test_refused_urls(engines: list[FakeEngine], url: Any, kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        await connect(url)
    assert engines == []


async def test_contradicting_durability(engines: list[FakeEngine]) -> None:
    with pytest.raises(ValueError, match="contradicts the URL"):
        await connect("lmdb:x?durability=full", durability="process")


@memory_only
async def test_private_memory_engines_differ(engines: list[FakeEngine]) -> None:
    first, second = await connect("memory:"), await connect("memory:")
    assert engines == [first, second]


async def test_an_engine_is_shared_until_the_last_lets_go(engines: list[FakeEngine], tmp_path: Path) -> None:
    first = await connect(f"lmdb:{tmp_path}")
    second = await connect(f"lmdb:{tmp_path}/sub/..")
    assert len(engines) == 1
    assert engines[0].store.place == (str(tmp_path), Durability.FULL)
    assert first.in_process
    assert first.start_workflow_execution(None) == (engines[0], "start_workflow_execution")  # type: ignore[comparison-overlap,arg-type]
    await first.close()
    await first.close()
    assert not engines[0].is_closed
    await second.close()
    assert engines[0].is_closed
    third = await connect(f"lmdb:{tmp_path}?durability=process")
    assert len(engines) == 2
    await third.close()
    assert connect_module._registry == {}


@memory_only
async def test_named_memory_engines_are_shared(engines: list[FakeEngine]) -> None:
    first, second, other = [await connect(url) for url in ("memory:a", "memory:a", "memory:b")]
    assert len(engines) == 2
    for connection in (first, second, other):
        await connection.close()
    assert all(engine.is_closed for engine in engines)


async def test_one_place_has_one_durability(engines: list[FakeEngine]) -> None:
    connection = await connect("lmdb:x")
    with pytest.raises(ValueError, match="already open with durability='full'"):
        await connect("lmdb:x", durability="process")
    await connection.close()


async def test_openings_at_the_same_time_share(engines: list[FakeEngine]) -> None:
    FakeEngine.gate = asyncio.Event()
    waiting = [asyncio.ensure_future(connect("lmdb:x")) for _ in range(3)]
    await FakeEngine.opening.wait()
    FakeEngine.gate.set()
    connections = await asyncio.gather(*waiting)
    assert len(engines) == 1
    for connection in connections:
        await connection.close()
    assert engines[0].is_closed


async def test_a_failed_opening_leaves_nothing_behind(engines: list[FakeEngine]) -> None:
    FakeEngine.failure = OSError("no room")
    for _ in range(2):
        with pytest.raises(OSError, match="no room"):
            await connect("lmdb:x")
    assert len(FakeEngine.stores_closed) == 2
    assert connect_module._registry == {}
    FakeEngine.failure = None
    await (await connect("lmdb:x")).close()


async def test_a_cancelled_opening_is_taken_over(engines: list[FakeEngine]) -> None:
    FakeEngine.gate = asyncio.Event()
    first, second = (asyncio.ensure_future(connect("lmdb:x")) for _ in range(2))
    await FakeEngine.opening.wait()
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    FakeEngine.gate.set()
    connection = await second
    assert len(engines) == 2
    await connection.close()
    assert connect_module._registry == {}


async def test_connecting_while_the_last_one_closes_opens_anew(engines: list[FakeEngine]) -> None:
    first = await connect("lmdb:x")
    closing = asyncio.ensure_future(first.close())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    second = await connect("lmdb:x")
    await closing
    live = [engine for engine in engines if not engine.is_closed]
    assert second.start_workflow_execution(None) == (live[0], "start_workflow_execution")  # type: ignore[comparison-overlap,arg-type]
    await second.close()
    assert all(engine.is_closed for engine in engines)
    assert connect_module._registry == {}


def test_another_loop_is_told_so(engines: list[FakeEngine]) -> None:
    async def open_and_forget() -> None:
        await connect("lmdb:x")

    asyncio.run(open_and_forget())
    with pytest.raises(RuntimeError, match="another event loop that has ended without closing it"):
        asyncio.run(open_and_forget())
