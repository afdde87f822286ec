"""The collector's pace follows the engines."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

from perdure.engine import Engine, collector
from perdure.engine.collector import PACE
from perdure.store.memory import MemoryStore


@pytest.fixture(autouse=True)
def pace(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    # Engines that other tests left open do not count.
    monkeypatch.setattr(collector, "_open_engines", 0)
    monkeypatch.setattr(collector, "_before", None)
    before = gc.get_threshold()
    gc.set_threshold(700, 10, 10)
    yield
    gc.set_threshold(*before)


async def test_slower_while_an_engine_is_open() -> None:
    first = await Engine.open(await MemoryStore.open())
    second = await Engine.open(await MemoryStore.open())
    assert gc.get_threshold() == PACE
    await first.close()
    await first.close()
    assert gc.get_threshold() == PACE
    await second.close()
    assert gc.get_threshold() == (700, 10, 10)


@pytest.mark.parametrize("own", [(0, 0, 0), (50_000, 5, 5)])
async def test_an_applications_own_pace_is_kept(own: tuple[int, int, int]) -> None:
    gc.set_threshold(*own)
    engine = await Engine.open(await MemoryStore.open())
    assert gc.get_threshold() == own
    await engine.close()
    assert gc.get_threshold() == own
