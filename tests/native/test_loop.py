"""The workflow loop: order, timers, contexts, exceptions, closing."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import threading
from typing import Any

import pytest

from perdure._native.loop import WorkflowLoop
from perdure.workflow import _asyncio as ordered
from tests.native.loop_owner import Owner


@pytest.fixture(autouse=True, scope="module")
def _installed() -> None:
    ordered.install()


@pytest.fixture
def owner() -> Owner:
    return Owner()


def test_callbacks_run_first_in_first_out(owner: Owner) -> None:
    log: list[str] = []

    def first() -> None:
        log.append("first")
        owner.loop.call_soon(log.append, "third")

    owner.loop.call_soon(first)
    owner.loop.call_soon(log.append, "second")
    owner.loop.run_until_idle()
    assert log == ["first", "second", "third"]
    assert not owner.loop.has_ready()


def test_canceled_handle_does_not_run(owner: Owner) -> None:
    log: list[str] = []
    handle = owner.loop.call_soon(log.append, "never")
    owner.loop.call_soon(log.append, "runs")
    handle.cancel()
    owner.loop.run_until_idle()
    assert log == ["runs"]
    assert handle.cancelled()


def test_callbacks_keep_their_context(owner: Owner) -> None:
    var = contextvars.ContextVar("var", default="unset")
    log: list[str] = []
    var.set("at call")
    owner.loop.call_soon(lambda: log.append(var.get()))
    var.set("later")
    context = contextvars.Context()
    context.run(var.set, "own")
    owner.loop.call_soon(lambda: log.append(var.get()), context=context)

    async def child() -> None:
        var.set("child's")
        await asyncio.sleep(0)
        log.append(var.get())

    async def main() -> None:
        await owner.loop.create_task(child())
        log.append(var.get())

    owner.run(main())
    assert log == ["at call", "own", "child's", "later"]


def test_tasks_are_named_and_numbered_by_their_loop() -> None:
    for _ in range(2):
        owner = Owner()

        async def nothing() -> None:
            return None

        tasks = [owner.loop.create_task(nothing()) for _ in range(300)]
        assert [t.get_name() for t in tasks] == [f"Task-{n}" for n in range(1, 301)]
        assert [hash(t) for t in tasks] == list(range(1, 301))
        assert hash(owner.loop.create_future()) == 301
        assert owner.loop.create_task(nothing(), name="mine").get_name() == "mine"
        owner.finish()
        assert owner.loop.tasks() == []


def test_running_loop_and_current_task_are_swapped_and_restored() -> None:
    owner = Owner()
    seen: list[Any] = []

    async def main() -> None:
        seen.append(asyncio.get_running_loop())
        seen.append(asyncio.current_task())
        assert owner.loop.is_running()

    async def outer() -> None:
        loop, task = asyncio.get_running_loop(), asyncio.current_task()
        inner = owner.loop.create_task(main())
        owner.loop.run_until_idle()
        assert seen == [owner.loop, inner]
        assert asyncio.get_running_loop() is loop
        assert asyncio.current_task() is task

    asyncio.run(outer())
    assert not owner.loop.is_running()


def test_exception_of_callback_goes_to_owner_and_others_run(owner: Owner) -> None:
    log: list[str] = []
    owner.loop.call_soon(lambda: 1 / 0)
    owner.loop.call_soon(log.append, "after")
    owner.loop.run_until_idle()
    (context,) = owner.errors
    assert isinstance(context["exception"], ZeroDivisionError)
    assert "Exception in callback" in context["message"]
    assert log == ["after"]


def test_own_exception_handler(owner: Owner) -> None:
    heard: list[Any] = []
    owner.loop.set_exception_handler(lambda loop, context: heard.append((loop, context["exception"].args)))
    owner.loop.call_soon(lambda: 1 / 0)
    owner.loop.run_until_idle()
    assert heard == [(owner.loop, ("division by zero",))]
    assert owner.errors == []
    owner.loop.set_exception_handler(lambda loop, context: 1 / 0)
    owner.loop.call_soon(lambda: 1 / 0)
    owner.loop.run_until_idle()
    assert owner.errors[0]["message"] == "Exception in the loop's exception handler"
    with pytest.raises(TypeError, match="takes a callable or None, not 3"):
        owner.loop.set_exception_handler(3)


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
def test_interrupts_leave_the_loop_with_the_rest_queued(owner: Owner, kind: type[BaseException]) -> None:
    log: list[str] = []

    async def interrupted() -> None:
        raise kind

    task = owner.loop.create_task(interrupted())
    owner.loop.call_soon(log.append, "after")
    with pytest.raises(kind):
        owner.loop.run_until_idle()
    assert log == []
    owner.loop.run_until_idle()
    assert log == ["after"]
    assert task.done()
    with pytest.raises(kind):
        task.result()


def test_stop_with_ends_the_run_before_the_next_callback(owner: Owner) -> None:
    class Unwind(BaseException):
        pass

    log: list[str] = []
    owner.loop.call_soon(owner.loop.stop_with, Unwind())
    owner.loop.call_soon(log.append, "after")
    with pytest.raises(Unwind):
        owner.loop.run_until_idle()
    assert log == []
    owner.loop.call_soon(owner.loop.stop_with, Unwind())
    with pytest.raises(Unwind):
        owner.loop.run_until_idle()
    assert log == ["after"]


def test_loop_cannot_run_inside_itself(owner: Owner) -> None:
    owner.loop.call_soon(owner.loop.call_soon, print)
    owner.loop.call_soon(owner.loop.run_until_idle)
    owner.loop.call_soon(owner.loop.close)
    owner.loop.run_until_idle()
    assert ["already running" in str(e["exception"]) or "cannot be closed" in str(e["exception"]) for e in owner.errors]


def test_timers_are_the_owners(owner: Owner) -> None:
    log: list[float] = []
    owner.loop.call_later(2.5, lambda: log.append(owner.loop.time()))
    handle = owner.loop.call_at(owner.loop.time() + 1.0004, log.append, 0.0)
    canceled = owner.loop.call_later(1, log.append, 1.0)
    canceled.cancel()
    canceled.cancel()
    assert handle.when() == pytest.approx(owner.loop.time() + 1.0004)
    owner.finish()
    assert log == [0.0, 1_700_000_002.5]
    assert owner.trace == ["timer 1 of 2.5", "timer 2 of 1", "timer 3 of 1", "cancel timer 3", "fired 2", "fired 1"]
    handle.fire()
    assert not owner.loop.has_ready(), "a timer fires once"


@pytest.mark.parametrize("delay", [-1, float("nan")])
def test_negative_delay_is_refused(owner: Owner, delay: float) -> None:
    with pytest.raises(ValueError, match="zero or more"):
        owner.loop.call_later(delay, print)


@pytest.mark.parametrize(
    ("name", "cure"),
    [
        ("run_in_executor", "activity"),
        ("sock_recv", "activity"),
        ("create_connection", "activity"),
        ("subprocess_exec", "activity"),
        ("add_signal_handler", "workflow signal"),
        ("run_forever", "worker"),
        ("stop", "worker"),
    ],
)
def test_refused_methods_name_the_cure(owner: Owner, name: str, cure: str) -> None:
    with pytest.raises(RuntimeError, match=rf"^{name}\(\) was called on the event loop of a workflow: .*{cure}.*\.$"):
        getattr(owner.loop, name)()


def test_every_method_of_an_event_loop_is_there() -> None:
    missing = [
        name
        for name, method in vars(asyncio.AbstractEventLoop).items()
        if callable(method) and getattr(WorkflowLoop, name) is method and not name.startswith("_")
    ]
    assert missing == []


def test_threads_cannot_reach_in(owner: Owner) -> None:
    refused: list[str] = []

    def thread() -> None:
        try:
            owner.loop.call_soon_threadsafe(print)
        except RuntimeError as error:
            refused.append(str(error))

    async def main() -> None:
        other = threading.Thread(target=thread)
        other.start()
        other.join()
        owner.loop.call_soon_threadsafe(refused.append, "from within it works")
        await asyncio.sleep(0)
        with pytest.raises(RuntimeError, match="to_thread"):
            await asyncio.to_thread(print)

    owner.run(main())
    assert "cannot be woken by threads" in refused[0]
    assert refused[1] == "from within it works"


class TestClose:
    def test_finally_blocks_run_here_and_have_no_effect(self, owner: Owner) -> None:
        log: list[Any] = []

        async def main() -> None:
            try:
                await asyncio.sleep(10)
            finally:
                log.append((threading.get_ident(), asyncio.get_running_loop() is owner.loop))
                asyncio.get_running_loop().call_later(1, print)
                await asyncio.sleep(5)
                log.append("never")

        owner.loop.create_task(main())
        owner.loop.run_until_idle()
        owner.loop.close()
        assert log == [(threading.get_ident(), True)]
        assert owner.trace == ["timer 1 of 10"]
        assert owner.loop.is_closed()
        owner.loop.close()
        owner.loop.call_soon(log.append, "never")
        assert not owner.loop.has_ready()

    def test_code_that_looks_is_told_why(self, owner: Owner) -> None:
        """Also where one coroutine awaits another; what asks for more is closed."""
        log: list[str] = []

        async def inner() -> None:
            try:
                await asyncio.sleep(10)
            except BaseException as error:
                log.append(type(error).__name__)
                await asyncio.sleep(0)

        async def main() -> None:
            try:
                await inner()
            except BaseException as error:
                log.append(type(error).__name__)
                raise

        owner.loop.create_task(main())
        owner.loop.run_until_idle()
        owner.loop.create_task(main())  # not begun
        owner.loop.close()
        assert log == ["_WorkflowBeingEvictedError", "GeneratorExit"]

    def test_code_that_resists(self, owner: Owner) -> None:
        log: list[str] = []

        async def stubborn() -> None:
            for _ in range(20):
                try:
                    await asyncio.sleep(1)
                except BaseException:
                    log.append("swallowed")

        async def forever() -> None:
            while True:
                try:
                    await asyncio.sleep(1)
                except BaseException:
                    pass

        async def grouped() -> None:
            async with asyncio.TaskGroup() as group:
                group.create_task(stubborn())
                await asyncio.sleep(1)

        async def unstarted() -> None:
            log.append("never")

        for coro in (grouped(), forever(), stubborn()):
            owner.loop.create_task(coro)
        owner.loop.run_until_idle()
        owner.loop.create_task(unstarted())
        owner.loop.close()
        assert log == ["swallowed"] * 40
        assert owner.loop.is_stuck
        assert not any(entry.startswith("cancel") for entry in owner.trace)
        gc.collect()
        assert owner.errors == []

    def test_tasks_made_without_the_loop_and_while_closing_are_closed(self, owner: Owner) -> None:
        log: list[str] = []

        async def note(name: str) -> None:
            try:
                await asyncio.sleep(1)
            finally:
                log.append(name)
                if name == "first":
                    asyncio.ensure_future(note("made while closing"))

        async def main() -> None:
            asyncio.create_task(note("first"))
            task: Any = asyncio.Task(note("second"))
            await task

        owner.loop.create_task(main())
        owner.loop.run_until_idle()
        assert len(asyncio.all_tasks(owner.loop)) == 3
        owner.loop.close()
        assert log == ["first", "second"]
        gc.collect()
        assert owner.errors == []

    def test_keyboard_interrupt_comes_out_when_all_are_closed(self, owner: Owner) -> None:
        log: list[str] = []

        async def main(error: BaseException | None) -> None:
            try:
                await asyncio.sleep(1)
            finally:
                log.append("closed")
                if error:
                    raise error

        for error in (KeyboardInterrupt(), SystemExit(), ValueError(), None):
            owner.loop.create_task(main(error))
        owner.loop.run_until_idle()
        with pytest.raises(KeyboardInterrupt):
            owner.loop.close()
        assert log == ["closed"] * 4
        assert owner.loop.is_closed()

    def test_running_after_close_is_refused(self, owner: Owner) -> None:
        owner.loop.close()
        owner.loop.stop_with(ValueError())
        with pytest.raises(RuntimeError, match="is closed"):
            owner.loop.run_until_idle()


class TestAsyncGenerators:
    def test_dropped_one_is_closed_by_a_task(self, owner: Owner) -> None:
        log: list[str] = []

        async def numbers() -> Any:
            try:
                for n in range(5):
                    yield n
            finally:
                await asyncio.sleep(1)
                log.append("cleaned up")

        async def main() -> None:
            async for n in numbers():
                if n == 2:
                    break
            log.append("left")

        async def outer() -> None:
            owner.run(main())

        asyncio.run(outer())
        assert log == ["left", "cleaned up"]
        assert owner.trace == ["timer 1 of 1", "fired 1"]

    def test_idle_one_ends_with_the_loop(self, owner: Owner) -> None:
        log: list[str] = []

        async def numbers() -> Any:
            try:
                yield 1
                yield 2
            finally:
                log.append("not run: the run is over")

        async def main() -> None:
            generator = numbers()
            await anext(generator)
            await asyncio.sleep(1)

        owner.loop.create_task(main())
        owner.loop.run_until_idle()
        owner.loop.close()
        assert log == []


def test_garbage_collected_loop_frees_everything() -> None:
    import weakref

    class Thing:
        pass

    thing = Thing()
    ref = weakref.ref(thing)

    async def main(thing: Thing) -> None:
        await asyncio.sleep(1)

    owner = Owner()
    owner.loop.create_task(main(thing))
    owner.loop.run_until_idle()
    owner.loop.close()
    for _ in range(100_000):
        owner.loop.call_soon(print)
    del owner, thing
    gc.collect()
    assert ref() is None


def test_long_queue_is_freed_without_recursion(owner: Owner) -> None:
    for _ in range(200_000):
        owner.loop.call_soon(print)
    owner.loop.close()
    assert not owner.loop.has_ready()
