"""The workloads: what is asked of every peer and how it is measured.

An adapter offers the verbs (`one_activity`, `chain`, ...); everything that is timed or counted is done here, the same
for all. Loops are closed: `in_flight` clients, each waiting for its result before it starts the next.
"""

from __future__ import annotations

import asyncio
import gc
import math
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from . import machine

if TYPE_CHECKING:
    from .peers import Adapter

Metrics = dict[str, float | int | str]


@dataclass(frozen=True)
class Sizes:
    """How much of each workload: the full run, or one that only shows that everything still runs."""

    seconds: float
    in_flight: tuple[int, ...]
    chains: tuple[int, ...]
    width: int
    signals: int
    sleeping: int
    sleeping_seconds: float
    events: int
    starts: int


FULL = Sizes(5, (1, 100, 1000), (100, 1000), 1000, 1000, 10_000, 30, 10_000, 3)
QUICK = Sizes(0.3, (1, 10), (10,), 20, 20, 50, 5, 100, 1)


async def one_activity(adapter: Adapter, sizes: Sizes, in_flight: int) -> Metrics:
    """A workflow that runs one no-op activity, again and again, by `in_flight` clients at once."""
    for _ in range(min(5, sizes.width)):
        await adapter.one_activity()
    latencies: list[float] = []
    gc.collect()
    started, cpu = time.perf_counter(), time.process_time()
    end = started + sizes.seconds

    async def client() -> None:
        before = time.perf_counter()
        while before < end:
            await adapter.one_activity()
            after = time.perf_counter()
            latencies.append(after - before)
            before = after

    await asyncio.gather(*(client() for _ in range(in_flight)))
    elapsed = time.perf_counter() - started
    return {
        "workflows": len(latencies),
        "workflows_per_s": len(latencies) / elapsed,
        # Of this process alone: the measure that other load on the machine changes least.
        "own_cpu_us_per_workflow": (time.process_time() - cpu) / len(latencies) * 1e6,
        **percentiles(latencies),
    }


async def chain(adapter: Adapter, sizes: Sizes, steps: int) -> Metrics:
    """One workflow that runs activities one after the other."""
    await adapter.chain(2)
    started = time.perf_counter()
    await adapter.chain(steps)
    elapsed = time.perf_counter() - started
    return {"seconds": elapsed, "steps_per_s": steps / elapsed}


async def fan_out(adapter: Adapter, sizes: Sizes) -> Metrics:
    """One workflow that runs many activities at once and waits for all."""
    await adapter.fan_out(2)
    started = time.perf_counter()
    await adapter.fan_out(sizes.width)
    elapsed = time.perf_counter() - started
    return {"activities": sizes.width, "seconds": elapsed, "activities_per_s": sizes.width / elapsed}


async def signals(adapter: Adapter, sizes: Sizes) -> Metrics:
    """Signals to one workflow, 100 in flight, until it has counted them all."""
    await adapter.signals(2)
    started = time.perf_counter()
    await adapter.signals(sizes.signals)
    elapsed = time.perf_counter() - started
    return {"signals": sizes.signals, "seconds": elapsed, "signals_per_s": sizes.signals / elapsed}


async def sleeping(adapter: Adapter, sizes: Sizes) -> Metrics:
    """Start workflows that sleep for an hour, as many as wanted or as the time allows, and weigh them."""
    await adapter.sleeping(0)
    await adapter.asleep(1)
    before = machine.resident(adapter.processes())
    started = time.perf_counter()
    end = started + sizes.sleeping_seconds
    numbers = iter(range(1, sizes.sleeping + 1))
    done = 0

    async def client() -> None:
        nonlocal done
        for number in numbers:
            await adapter.sleeping(number)
            done += 1
            if time.perf_counter() > end:
                return

    await asyncio.gather(*(client() for _ in range(100)))
    await adapter.asleep(done + 1)
    elapsed = time.perf_counter() - started
    gc.collect()
    grown = machine.resident(adapter.processes()) - before
    return {
        "workflows": done,
        "seconds": elapsed,
        "started_per_s": done / elapsed,
        "bytes_per_workflow": max(0, grown) / done,
    }


async def replay(adapter: Adapter, sizes: Sizes) -> Metrics:
    """Replay a long history of activities; the parsing of its JSON is not counted."""
    seconds = await adapter.replay(sizes.events)
    return {"events": sizes.events, "seconds": seconds, "events_per_s": sizes.events / seconds}


def percentiles(latencies: list[float]) -> Metrics:
    """p50, p99 and p99.9 in milliseconds, by nearest rank."""
    ranked = sorted(latencies)
    return {
        f"p{name}_ms": ranked[min(len(ranked), math.ceil(len(ranked) * share)) - 1] * 1000
        for name, share in (("50", 0.5), ("99", 0.99), ("99_9", 0.999))
    }


def plan(sizes: Sizes) -> dict[str, Callable[[Adapter], Awaitable[Metrics]]]:
    """Every workload by name. Sleeping comes last: it leaves its workflows behind."""

    def bound(function: Callable[..., Awaitable[Metrics]], *args: Any) -> Callable[[Adapter], Awaitable[Metrics]]:
        return lambda adapter: function(adapter, sizes, *args)

    return {
        **{f"one_activity_{count}": bound(one_activity, count) for count in sizes.in_flight},
        **{f"chain_{steps}": bound(chain, steps) for steps in sizes.chains},
        "fan_out": bound(fan_out),
        "signals": bound(signals),
        "replay": bound(replay),
        "sleeping": bound(sleeping),
    }
