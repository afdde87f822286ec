"""The Restate side of the workloads; served by hypercorn in the adapter's process."""

from __future__ import annotations

from datetime import timedelta

import restate

bench = restate.Service("Bench")
counter = restate.VirtualObject("Counter")


async def act(number: int) -> int:
    return number


@bench.handler()
async def chain(ctx: restate.Context, steps: int) -> int:
    total = 0
    for step in range(steps):
        total += await ctx.run_typed("act", act, number=step)
    return total


@bench.handler()
async def fan_out(ctx: restate.Context, width: int) -> int:
    futures = [ctx.run_typed("act", act, number=number) for number in range(width)]
    return sum([await future for future in await restate.gather(*futures)])


@bench.handler()
async def sleeper(ctx: restate.Context) -> None:
    await ctx.sleep(timedelta(hours=1))


@counter.handler()
async def add(ctx: restate.ObjectContext) -> int:
    """What comes nearest to a signal: a call to an object, one at a time, that counts in its state."""
    count = (await ctx.get("count", type_hint=int) or 0) + 1
    ctx.set("count", count)
    return count


app = restate.app(services=[bench, counter])
