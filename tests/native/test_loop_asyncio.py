"""Every primitive of asyncio on the workflow loop, and that none of them depends on memory addresses."""

from __future__ import annotations

import asyncio
import os
import random
import sys
from asyncio import as_completed, wait  # before install(): these too must be covered
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perdure.workflow import _asyncio as ordered
from tests.native.loop_owner import Owner


@pytest.fixture(autouse=True, scope="module")
def _installed() -> None:
    ordered.install()


@pytest.fixture
def owner() -> Owner:
    return Owner()


async def after(delay: float, value: Any) -> Any:
    await asyncio.sleep(delay)
    if isinstance(value, BaseException):
        raise value
    return value


def test_gather(owner: Owner) -> None:
    async def main() -> Any:
        good = await asyncio.gather(after(3, "a"), after(1, "b"), after(2, "c"))
        mixed = await asyncio.gather(after(1, ValueError("x")), after(2, "y"), return_exceptions=True)
        with pytest.raises(ValueError, match="first"):
            await asyncio.gather(after(1, ValueError("first")), after(2, ValueError("second")))
        return good, [str(m) for m in mixed]

    assert owner.run(main()) == (["a", "b", "c"], ["x", "y"])


def test_wait_for_and_timeout(owner: Owner) -> None:
    async def main() -> Any:
        assert await asyncio.wait_for(after(1, "in time"), 2) == "in time"
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(after(2, "late"), 1)
        async with asyncio.timeout(5) as scope:
            await asyncio.sleep(1)
        assert not scope.expired()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1):
                await asyncio.sleep(5)
        async with asyncio.timeout(None) as scope:
            scope.reschedule(asyncio.get_running_loop().time() + 2)
            await asyncio.sleep(1)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout_at(asyncio.get_running_loop().time() - 1):
                await asyncio.sleep(1)
        return "done"

    assert owner.run(main()) == "done"
    assert not owner.errors


@pytest.mark.parametrize("when", [asyncio.FIRST_COMPLETED, asyncio.FIRST_EXCEPTION, asyncio.ALL_COMPLETED])
@pytest.mark.parametrize("function", [wait, asyncio.wait, ordered.wait])
def test_wait(owner: Owner, function: Any, when: str) -> None:
    async def main() -> Any:
        tasks = [asyncio.create_task(after(delay, delay), name=str(delay)) for delay in (3, 1, 2)]
        done, pending = await function(tasks, return_when=when)
        names = [t.get_name() for t in done], [t.get_name() for t in pending]
        assert isinstance(done, list if function is ordered.wait else set)
        for task in pending:
            task.cancel()
        return names

    done, pending = owner.run(main())
    if when == asyncio.FIRST_COMPLETED:
        assert (done, pending) == (["1"], ["3", "2"])
    else:
        assert (done, pending) == (["3", "1", "2"], [])


def test_wait_first_exception_and_timeout(owner: Owner) -> None:
    async def main() -> Any:
        tasks = [asyncio.create_task(c) for c in (after(1, 1), after(2, ValueError()), after(3, 3))]
        done, pending = await wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
        assert (done, pending) == ({tasks[0], tasks[1]}, {tasks[2]})
        done, pending = await wait([tasks[2], asyncio.create_task(after(5, 5))], timeout=2)
        assert (done, len(pending)) == ({tasks[2]}, 1)
        return type(tasks[1].exception())

    assert owner.run(main()) is ValueError


def test_wait_refuses_what_has_no_order(owner: Owner) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        with pytest.raises(ValueError, match="pass a list"):
            await wait({asyncio.Future(), asyncio.Future()}, timeout=1)
        await wait({loop.create_future(), loop.create_future()}, timeout=1)
        await wait({asyncio.Future()}, timeout=1)
        await wait([asyncio.Future(), asyncio.Future()], timeout=1)
        await wait({asyncio.gather(after(1, 1)), asyncio.gather(after(2, 2)), asyncio.shield(after(1, 1))})
        coros = {after(1, 1), after(1, 2)}
        with pytest.raises(ValueError, match="pass a list"):
            as_completed_list = list(as_completed(coros))
            del as_completed_list
        for coro in coros:
            coro.close()
        for bad, kind in ((asyncio.sleep(0), TypeError), ([], ValueError), ([3], TypeError)):
            with pytest.raises(kind):
                await wait(bad)  # type: ignore[call-overload]
            if asyncio.iscoroutine(bad):
                bad.close()
        with pytest.raises(ValueError, match="return_when"):
            await wait([asyncio.Future()], return_when="soon")

    owner.run(main())


@pytest.mark.parametrize("function", [as_completed, ordered.as_completed])
def test_as_completed(owner: Owner, function: Any) -> None:
    async def main() -> Any:
        results = [await next_one for next_one in function([after(3, "c"), after(1, "a"), after(2, "b")])]
        done = [asyncio.create_task(after(0, n)) for n in range(20)]
        await asyncio.sleep(1)
        results.append([await next_one for next_one in function(done)])
        late = []
        with pytest.raises(TimeoutError):
            for next_one in function([after(1, "x"), after(9, "y")], timeout=2):
                late.append(await next_one)
        first, second = function([after(2, "second"), after(1, "first")])
        results.append(await asyncio.gather(second, first))
        return results, late

    results, late = owner.run(main())
    assert results == ["a", "b", "c", list(range(20)), ["first", "second"]]
    assert late == ["x"]


def test_as_completed_hands_on_what_a_canceled_taker_was_woken_for(owner: Owner) -> None:
    async def main() -> Any:
        gate = asyncio.get_running_loop().create_future()
        first, second = (asyncio.ensure_future(c) for c in ordered.as_completed([gate, after(5, "late")]))
        await asyncio.sleep(1)
        gate.set_result("early")
        await asyncio.sleep(0)
        first.cancel()
        return await second

    assert owner.run(main()) == "early"


def test_async_for_over_as_completed(owner: Owner) -> None:
    async def main() -> Any:
        tasks = [asyncio.create_task(after(delay, delay)) for delay in (3, 1, 2)]
        iterator: Any = ordered.as_completed(tasks)
        seen = [future async for future in iterator]
        assert seen == [tasks[1], tasks[2], tasks[0]]

    owner.run(main())


def test_task_group(owner: Owner) -> None:
    log: list[str] = []

    async def member(n: int) -> None:
        try:
            await asyncio.sleep(n)
        except asyncio.CancelledError:
            log.append(f"{n} canceled")
            raise

    async def main() -> None:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(after(n, n)) for n in (2, 1)]
        assert [t.result() for t in tasks] == [2, 1]
        with pytest.raises(ExceptionGroup) as caught:
            async with asyncio.TaskGroup() as group:
                for n in range(60, 20, -1):
                    group.create_task(member(n))
                group.create_task(after(1, ValueError("boom")))
        assert [type(e) for e in caught.value.exceptions] == [ValueError]

    owner.run(main())
    assert sorted(log) == sorted(f"{n} canceled" for n in range(60, 20, -1))


def test_synchronisation(owner: Owner) -> None:
    log: list[Any] = []

    async def worker(n: int, gate: asyncio.Event, limit: asyncio.Semaphore, lock: asyncio.Lock) -> None:
        await gate.wait()
        async with limit:
            await asyncio.sleep(1)
            async with lock:
                await asyncio.sleep(0)
                log.append((n, asyncio.get_running_loop().time() - 1_700_000_000))

    async def main() -> None:
        gate, limit, lock = asyncio.Event(), asyncio.BoundedSemaphore(2), asyncio.Lock()
        async with asyncio.TaskGroup() as group:
            for n in range(4):
                group.create_task(worker(n, gate, limit, lock))
            await asyncio.sleep(1)
            gate.set()

    owner.run(main())
    assert log == [(0, 2), (1, 2), (2, 3), (3, 3)]


def test_queues_condition_barrier(owner: Owner) -> None:
    log: list[Any] = []

    async def consumer(name: str, queue: asyncio.Queue[int]) -> None:
        while (item := await queue.get()) >= 0:
            log.append((name, item))
            queue.task_done()
            await asyncio.sleep(1)

    async def main() -> None:
        queue: asyncio.Queue[int] = asyncio.Queue(maxsize=2)
        async with asyncio.TaskGroup() as group:
            for name in "ab":
                group.create_task(consumer(name, queue))
            for n in range(5):
                await queue.put(n)
            await queue.join()
            for _ in "ab":
                await queue.put(-1)
        heap: asyncio.PriorityQueue[int] = asyncio.PriorityQueue()
        for n in (3, 1, 2):
            heap.put_nowait(n)
        log.append([await heap.get() for _ in range(3)])

        condition, ready = asyncio.Condition(), []

        async def waits(n: int) -> None:
            async with condition:
                await condition.wait_for(lambda: ready)
                log.append(f"condition {n}")

        tasks = [asyncio.create_task(waits(n)) for n in range(3)]
        await asyncio.sleep(1)
        async with condition:
            ready.append(1)
            condition.notify_all()
        await asyncio.gather(*tasks)

        barrier = asyncio.Barrier(3)

        async def meets(n: int) -> None:
            await asyncio.sleep(3 - n)
            log.append(f"barrier {n} as {await barrier.wait()}")

        await asyncio.gather(*(meets(n) for n in range(3)))

    owner.run(main())
    assert log[:5] == [("a", 0), ("b", 1), ("a", 2), ("b", 3), ("a", 4)]
    assert log[5] == [1, 2, 3]
    assert log[6:9] == ["condition 0", "condition 1", "condition 2"]
    assert sorted(log[9:]) == ["barrier 0 as 2", "barrier 1 as 1", "barrier 2 as 0"]


def test_shield_and_cancel(owner: Owner) -> None:
    async def main() -> Any:
        inner = asyncio.create_task(after(2, "kept"))
        outer = asyncio.ensure_future(asyncio.shield(inner))
        await asyncio.sleep(1)
        outer.cancel("because")
        with pytest.raises(asyncio.CancelledError):
            await outer
        waiting = asyncio.create_task(after(9, "never"))
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.wait([waiting])
        return await inner

    assert owner.run(main()) == "kept"
    assert "cancel timer 3" in owner.trace


def test_never_retrieved_exception_is_the_owners(owner: Owner) -> None:
    async def main() -> None:
        asyncio.create_task(after(1, ValueError("nobody looks")))
        await asyncio.sleep(2)

    owner.run(main())
    owner.loop.create_task(after(0, None))
    del owner.loop.owner.trace[:]
    for _ in range(64):  # finished tasks are swept now and then
        owner.loop.create_task(after(0, None))
        owner.loop.run_until_idle()
    assert [str(e["exception"]) for e in owner.errors] == ["nobody looks"]


def test_eager_start(owner: Owner) -> None:
    if sys.version_info < (3, 12):
        pytest.skip("eager tasks came with Python 3.12")
    log: list[str] = []

    async def child() -> None:
        log.append("child")

    async def main() -> None:
        owner.loop.create_task(child(), eager_start=True)
        log.append("parent")

    owner.run(main())
    assert log == ["child", "parent"]


def test_sets_of_tasks_iterate_alike_every_time() -> None:
    def run(junk: int) -> list[str]:
        owner = Owner()
        log: list[str] = []

        async def main() -> None:
            keep = [bytearray(random.randrange(2000)) for _ in range(junk)]
            rest = {asyncio.create_task(after(n % 7, n), name=str(n)) for n in range(50)}
            log.extend(t.get_name() for t in rest)
            while rest:
                done, rest = await asyncio.wait(rest, return_when=asyncio.FIRST_COMPLETED)
                log.extend(t.get_name() for t in done)
                log.append("|")
                log.extend(t.get_name() for t in rest)
            log.extend(t.get_name() for t in asyncio.all_tasks())
            del keep

        owner.run(main())
        return log

    first = run(0)
    assert all(run(junk) == first for junk in range(1, 8))


def test_outside_workflows_asyncio_is_untouched() -> None:
    async def main() -> None:
        tasks = {asyncio.create_task(asyncio.sleep(0, n)) for n in range(3)}
        assert asyncio.current_task() in asyncio.all_tasks()
        assert tasks < asyncio.all_tasks()
        done, pending = await wait(tasks)
        assert (done, pending) == (tasks, set())
        assert {await f for f in as_completed({asyncio.sleep(0, n) for n in range(3)})} == {0, 1, 2}
        with pytest.raises(ValueError, match="empty"):
            await asyncio.wait([])
        assert await asyncio.gather(*{asyncio.gather(asyncio.sleep(0, 1))}) == [[1]]
        ordered.install()

    asyncio.run(main())


# --- completion orders


class Steps:
    """A run whose steps (think: activities) are completed from outside, in an order the test chooses."""

    def __init__(self) -> None:
        self.owner = Owner()
        self.trace = self.owner.trace
        self.waiting: list[tuple[str, asyncio.Future[str]]] = []

    async def step(self, name: str) -> str:
        future = self.owner.loop.create_future()
        self.trace.append(f"start {name}")
        self.waiting.append((name, future))
        future.add_done_callback(lambda f: self.trace.append(f"done {name}"))
        return await future

    def play(self, main: Coroutine[Any, Any, Any], choose: Callable[[int], int]) -> list[Any]:
        task = self.owner.loop.create_task(main)
        loop = self.owner.loop
        loop.run_until_idle()
        while not task.done():
            waiting = self.waiting
            assert waiting, "stuck"
            index = choose(len(waiting))
            waiting[index], waiting[-1] = waiting[-1], waiting[index]
            name, future = waiting.pop()
            if not future.done():
                future.set_result(name)
            loop.run_until_idle()
        self.trace.append(task.result())
        assert not self.owner.errors
        return self.trace


def branches(steps: Steps, count: int, shape: int) -> Coroutine[Any, Any, Any]:
    """``count`` branches, waited for in one of four ways; each branch checks that it got what it asked for."""

    async def branch(n: int) -> int:
        assert await steps.step(f"{n}") == f"{n}"
        if n % 3 == 0:
            assert await steps.step(f"{n}+") == f"{n}+"
        steps.trace.append(n)
        return n

    async def main() -> Any:
        if shape == 0:
            assert await asyncio.gather(*(branch(n) for n in range(count))) == list(range(count))
        elif shape == 1:
            return [await one for one in as_completed([branch(n) for n in range(count)])]
        elif shape == 2:
            rest, order = {asyncio.create_task(branch(n)) for n in range(count)}, []
            while rest:
                done, rest = await wait(rest, return_when=asyncio.FIRST_COMPLETED)
                order.extend(t.get_name() if t.cancelled() else t.result() for t in done)
                if len(rest) == count // 2:
                    for task in rest:
                        task.cancel()
            return order
        else:
            limit, order = asyncio.Semaphore(count // 4 + 1), []

            async def limited(n: int) -> None:
                async with limit:
                    order.append(await branch(n))

            async with asyncio.TaskGroup() as group:
                for n in range(count):
                    group.create_task(limited(n))
            return order
        return None

    return main()


ORDERS = int(os.environ.get("PERDURE_ORDERS", "400"))  # 10,000 every night


@settings(max_examples=100, deadline=None)
@given(seed=st.integers(0, 2**32), shape=st.integers(0, 3))
def test_same_completion_order_same_trace(seed: int, shape: int) -> None:
    orders = random.Random(seed)
    for _ in range(ORDERS // 100):
        order = orders.getrandbits(64)
        first, second = Steps(), Steps()
        trace = first.play(branches(first, 100, shape), random.Random(order).randrange)
        junk = [bytearray(40 * n) for n in range(orders.randrange(30))]
        assert second.play(branches(second, 100, shape), random.Random(order).randrange) == trace
        del junk
