"""The cache of runs: bounded in bytes, and invisible."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from perdure.api.common import v1 as common_v1
from perdure.engine import Engine
from perdure.store.api import Store
from tests.engine.driver import Clock, Driver, complete, start_timer

LIMIT = 100_000


async def test_idle_runs_leave_memory_and_come_back(open_store: Callable[[], Awaitable[Store]]) -> None:
    clock = Clock()
    engine = await Engine.open(await open_store(), clock=clock, cache_bytes=LIMIT)
    d = Driver(engine, clock)
    try:
        core = engine._core
        core.eviction_grace = 0.0
        for i in range(100):
            await d.start(f"w{i}", input=common_v1.Payloads([common_v1.Payload(data=b"x" * 1000)]))
            await d.turn(start_timer("t", 30))
        await d.settle()
        assert core._cached_bytes <= LIMIT
        assert len(core._runs) < 50
        assert core._cached_bytes == sum(run.counted for run in core._runs.values())
        await d.advance(30)
        for _ in range(100):
            await d.turn(complete())
        await d.settle()
        assert len(await d.list("ExecutionStatus = 'Completed'")) == 100
        assert core._cached_bytes <= LIMIT
    finally:
        await engine.close()
