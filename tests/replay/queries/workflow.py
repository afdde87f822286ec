"""Queries while running and after the end; they leave no trace in the history."""

from collections.abc import Sequence
from typing import Any

from sdk import common, workflow


@workflow.defn
class Queried:
    def __init__(self) -> None:
        self.step = 0

    @workflow.run
    async def run(self) -> int:
        while self.step < 3:
            before = self.step
            await workflow.wait_condition(lambda before=before: self.step > before)
        return self.step

    @workflow.signal
    def advance(self) -> None:
        self.step += 1

    @workflow.query
    def current(self) -> int:
        return self.step

    @workflow.query
    def times(self, factor: int) -> int:
        return self.step * factor

    @workflow.query(dynamic=True)
    def other(self, name: str, args: Sequence[common.RawValue]) -> str:
        return f"{name} with {len(args)}"


WORKFLOWS = [Queried]


async def drive(d: Any) -> None:
    async with d.worker():
        handle = await d.start(Queried.run)
        assert await handle.query(Queried.current) == 0
        for step in (1, 2, 3):
            await handle.signal(Queried.advance)
            assert await handle.query(Queried.times, 10) == step * 10
        assert await handle.query("unheard-of", "x") == "unheard-of with 1"
        assert await handle.result() == 3
        d.keep("history", handle)
