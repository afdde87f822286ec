"""Random asyncio programs do the same, step by step, on the native loop and on its plain-Python twin."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perdure._native.loop import WorkflowLoop
from perdure.workflow import _asyncio as ordered
from tests.native.loop_owner import Owner
from tests.twins.loop_twin import TwinLoop


@pytest.fixture(autouse=True, scope="module")
def _installed() -> None:
    ordered.install()


MODES = (asyncio.FIRST_COMPLETED, asyncio.FIRST_EXCEPTION, asyncio.ALL_COMPLETED)
small = st.integers(0, 3)
simple = st.one_of(
    st.tuples(st.just("sleep"), st.sampled_from([0, 0.5, 1, 2])),
    st.tuples(st.sampled_from(["set", "await", "put", "get", "cancel"]), small),
    st.just(("raise",)),
    st.just(("error in callback",)),
)


def nested(program: Any) -> Any:
    programs = st.lists(program, min_size=1, max_size=4)
    return st.one_of(
        st.tuples(st.sampled_from(["gather", "group", "completed"]), programs),
        st.tuples(st.just("wait"), programs, st.sampled_from(MODES)),
        st.tuples(st.just("timeout"), st.sampled_from([0, 0.5, 1.5]), program),
        st.tuples(st.just("wait_for"), st.sampled_from([0.5, 1.5]), program),
        st.tuples(st.sampled_from(["spawn", "lock", "shield", "resist"]), program),
    )


program = st.recursive(
    st.lists(simple, max_size=4), lambda inner: st.lists(st.one_of(simple, nested(inner)), max_size=5), max_leaves=25
)


class Interpreter:
    def __init__(self, loop_class: Any) -> None:
        self.owner = Owner(loop_class)
        self.trace = self.owner.trace
        self.tasks: list[asyncio.Task[Any]] = []
        self.labels = 0

    async def run(self, steps: list[Any]) -> int:
        self.labels += 1
        label = self.labels
        for number, step in enumerate(steps):
            self.trace.append((label, number, step[0]))
            try:
                await getattr(self, "do_" + step[0].replace(" ", "_"))(*step[1:])
            except BaseException as error:
                self.trace.append((label, number, type(error).__name__))
                raise
        return label

    async def main(self, steps: list[Any]) -> None:
        self.events = [asyncio.Event() for _ in range(4)]
        self.queues: list[asyncio.Queue[int]] = [asyncio.Queue(1) for _ in range(4)]
        self.lock = asyncio.Lock()
        try:
            await self.run(steps)
        except (ValueError, TimeoutError, BaseExceptionGroup, asyncio.CancelledError) as error:
            self.trace.append(type(error).__name__)

    async def do_sleep(self, delay: float) -> None:
        await asyncio.sleep(delay)

    async def do_set(self, n: int) -> None:
        self.events[n].set()

    async def do_await(self, n: int) -> None:
        await self.events[n].wait()

    async def do_put(self, n: int) -> None:
        await self.queues[n].put(n)

    async def do_get(self, n: int) -> None:
        await self.queues[n].get()

    async def do_cancel(self, n: int) -> None:
        if n < len(self.tasks):
            self.tasks[n].cancel()

    async def do_raise(self) -> None:
        raise ValueError

    async def do_error_in_callback(self) -> None:
        asyncio.get_running_loop().call_soon(lambda: 1 / 0)

    async def do_gather(self, programs: list[Any]) -> None:
        results = await asyncio.gather(*(self.run(p) for p in programs), return_exceptions=len(programs) > 2)
        self.trace.append([repr(result) for result in results])

    async def do_group(self, programs: list[Any]) -> None:
        async with asyncio.TaskGroup() as group:
            for p in programs:
                group.create_task(self.run(p))

    async def do_completed(self, programs: list[Any]) -> None:
        for one in ordered.as_completed([self.run(p) for p in programs], timeout=3):
            self.trace.append(await one)

    async def do_wait(self, programs: list[Any], mode: str) -> None:
        tasks = [asyncio.create_task(self.run(p)) for p in programs]
        done, pending = await ordered.wait(tasks, timeout=5, return_when=mode)
        self.trace.append(([t.get_name() for t in done], [t.get_name() for t in pending]))
        for task in done:
            if not task.cancelled():
                task.exception()
        for task in pending:
            task.cancel()

    async def do_timeout(self, delay: float, steps: list[Any]) -> None:
        async with asyncio.timeout(delay):
            await self.run(steps)

    async def do_wait_for(self, delay: float, steps: list[Any]) -> None:
        await asyncio.wait_for(self.run(steps), delay)

    async def do_spawn(self, steps: list[Any]) -> None:
        task = asyncio.create_task(self.run(steps))
        task.add_done_callback(lambda t: t.cancelled() or t.exception())
        self.tasks.append(task)

    async def do_lock(self, steps: list[Any]) -> None:
        async with self.lock:
            await self.run(steps)

    async def do_shield(self, steps: list[Any]) -> None:
        inner = asyncio.ensure_future(self.run(steps))
        inner.add_done_callback(lambda t: t.cancelled() or t.exception())
        await asyncio.shield(inner)

    async def do_resist(self, steps: list[Any]) -> None:
        try:
            await self.run(steps)
        except asyncio.CancelledError:
            self.trace.append("resists")

    def play(self, steps: list[Any]) -> list[Any]:
        task = self.owner.loop.create_task(self.main(steps))
        self.owner.finish()
        self.trace.append(("done", task.done(), self.owner.loop.time()))
        errors = (context.get("exception") for context in self.owner.errors)
        self.trace.append(sum(isinstance(error, ZeroDivisionError) for error in errors))
        return list(self.trace)


@settings(max_examples=200, deadline=None)
@given(program)
def test_native_loop_does_what_its_twin_does(steps: list[Any]) -> None:
    twin = Interpreter(TwinLoop)
    expected = twin.play(steps)
    left = [t for t in asyncio.all_tasks(twin.owner.loop) if not t.done()]
    for task in left:
        task._log_destroy_pending = False  # type: ignore[attr-defined]
        for _ in range(10):
            try:
                task.get_coro().close()  # type: ignore[union-attr]
            except BaseException:
                continue
            break
    native = Interpreter(WorkflowLoop)
    assert native.play(steps) == expected
    assert len(native.owner.loop.tasks()) == len(left)
    native.owner.loop.close()
