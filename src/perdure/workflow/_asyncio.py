"""Waiting in a fixed order: what asyncio does by sets, done by lists while workflow code runs.

``asyncio.wait`` and ``asyncio.as_completed`` put what they are given into a set. The tasks and futures of a workflow
loop hash by creation number, so sets of them are the same on every replay; coroutines and foreign futures hash by memory
address and are not. The versions here go by the caller's order, or by creation number when the caller gave a set,
and refuse a set whose members have no number. :func:`install` makes asyncio's own functions use them inside
workflows, also where ``from asyncio import wait`` was done earlier; elsewhere asyncio's are untouched.
"""

from __future__ import annotations

import asyncio
import asyncio.tasks
import inspect
import sys
import types
from asyncio import ALL_COMPLETED, FIRST_COMPLETED, FIRST_EXCEPTION, Future
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from typing import Any, Self, TypeVar

from perdure._native import loop as _loop

_T = TypeVar("_T")


def _in_order(fs: Iterable[Any], call: str) -> list[Any]:
    """What was given, without repeats: in the caller's order, or by creation number if that is a set."""
    if asyncio.isfuture(fs) or inspect.isawaitable(fs):
        raise TypeError(f"{call}() takes several futures or tasks, not one {type(fs).__name__}: put it in a list.")
    if not isinstance(fs, (set, frozenset)):
        return list(dict.fromkeys(fs))
    items = list(fs)
    if len(items) > 1:
        if not all(asyncio.isfuture(item) and _loop.number_of(item) for item in items):
            raise ValueError(
                f"{call}() got a set in a workflow, and the order of its members differs from run to run: pass a list "
                "(only tasks, and futures made by the running loop, may be in a set)."
            )
        items.sort(key=_loop.number_of)
    return items


def _set_if_pending(waiter: Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)


async def wait(
    fs: Iterable[Future[_T]], *, timeout: float | None = None, return_when: str = ALL_COMPLETED
) -> tuple[list[Future[_T]], list[Future[_T]]]:
    """Wait for futures or tasks; two lists come back, done and pending, both in the order given.

    Arguments are those of :func:`asyncio.wait`. Nothing is cancelled when the timeout passes.
    """
    futures = _in_order(fs, "wait")
    if not futures:
        raise ValueError("wait() was given nothing to wait for.")
    if return_when not in (FIRST_COMPLETED, FIRST_EXCEPTION, ALL_COMPLETED):
        raise ValueError(
            f"wait() got return_when={return_when!r}: use FIRST_COMPLETED, FIRST_EXCEPTION or ALL_COMPLETED."
        )
    for future in futures:
        if not asyncio.isfuture(future):
            raise TypeError(f"wait() takes futures or tasks, not {type(future).__name__}: use asyncio.create_task().")
    loop = asyncio.get_running_loop()
    waiter: Future[None] = loop.create_future()
    timer = None if timeout is None else loop.call_later(timeout, _set_if_pending, waiter)
    left = len(futures)

    def on_done(future: Future[_T]) -> None:
        nonlocal left
        left -= 1
        if (
            left == 0
            or return_when == FIRST_COMPLETED
            or (return_when == FIRST_EXCEPTION and not future.cancelled() and future.exception() is not None)
        ):
            if timer is not None:
                timer.cancel()
            _set_if_pending(waiter)

    for future in futures:
        future.add_done_callback(on_done)
    try:
        await waiter
    finally:
        if timer is not None:
            timer.cancel()
        for future in futures:
            future.remove_done_callback(on_done)
    return [f for f in futures if f.done()], [f for f in futures if not f.done()]


class _AsCompleted(Iterator[Awaitable[Any]], AsyncIterator[Any]):
    """What :func:`as_completed` returns; iterate it with ``for`` or ``async for``."""

    def __init__(self, fs: Iterable[Any], timeout: float | None) -> None:
        self._loop = asyncio.get_running_loop()
        self._done: deque[Future[Any] | None] = deque()
        self._waiters: deque[Future[None]] = deque()
        self._todo: dict[Future[Any], None] = dict.fromkeys(
            asyncio.ensure_future(awaitable) for awaitable in _in_order(fs, "as_completed")
        )
        self._left = len(self._todo)
        self._timer = self._loop.call_later(timeout, self._on_timeout) if self._todo and timeout is not None else None
        for future in list(self._todo):
            future.add_done_callback(self._on_done)

    def _on_done(self, future: Future[Any]) -> None:
        del self._todo[future]
        self._put(future)
        if not self._todo and self._timer is not None:
            self._timer.cancel()

    def _on_timeout(self) -> None:
        for future in self._todo:
            future.remove_done_callback(self._on_done)
            self._put(None)
        self._todo.clear()

    def _put(self, future: Future[Any] | None) -> None:
        self._done.append(future)
        self._wake_one()

    def _wake_one(self) -> None:
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_result(None)
                return

    async def _take(self) -> Future[Any]:
        while not self._done:
            waiter: Future[None] = self._loop.create_future()
            self._waiters.append(waiter)
            try:
                await waiter
            except BaseException:
                if waiter.done() and not waiter.cancelled():
                    self._wake_one()  # we were woken and cancelled at once: what woke us is for the next
                raise
        future = self._done.popleft()
        if future is None:
            raise TimeoutError
        return future

    async def _result(self) -> Any:
        return (await self._take()).result()

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Awaitable[Any]:
        if self._left == 0:
            raise StopIteration
        self._left -= 1
        return self._result()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Any:
        if self._left == 0:
            raise StopAsyncIteration
        self._left -= 1
        return await self._take()


def as_completed(fs: Iterable[Awaitable[_T]], *, timeout: float | None = None) -> Iterator[Awaitable[_T]]:
    """Awaitables that give the results in the order of completion; those done already come in the order given.

    Arguments are those of :func:`asyncio.as_completed`. ``async for`` gives the futures themselves.
    """
    return _AsCompleted(fs, timeout)


# --- asyncio's own functions. The code of the next four runs with the globals of asyncio.tasks, where install() puts what
# --- it needs under these names; the stock_... are asyncio's originals, put there by _exchange().

_perdure_current_loop = _loop.current_loop
_perdure_as_completed = as_completed
_perdure_stock_wait: Any = asyncio.wait
_perdure_stock_as_completed: Any = asyncio.as_completed
_perdure_stock_all_tasks: Any = asyncio.all_tasks


async def _perdure_wait(fs: Any, timeout: Any, return_when: str) -> tuple[set[Any], set[Any]]:
    done, pending = await wait(fs, timeout=timeout, return_when=return_when)
    return set(done), set(pending)


def _perdure_tasks_of(loop: Any) -> set[Any] | None:
    if loop is None:
        loop = _loop.current_loop()
    return set(loop.tasks()) if isinstance(loop, _loop.WorkflowLoop) else None


async def _wait(fs: Any, *, timeout: Any = None, return_when: Any = ALL_COMPLETED) -> Any:
    if _perdure_current_loop() is None:
        return await _perdure_stock_wait(fs, timeout=timeout, return_when=return_when)
    return await _perdure_wait(fs, timeout, return_when)


def _as_completed(fs: Any, *, timeout: Any = None) -> Any:
    if _perdure_current_loop() is None:
        return _perdure_stock_as_completed(fs, timeout=timeout)
    return _perdure_as_completed(fs, timeout=timeout)


def _as_completed_generator(fs: Any, *, timeout: Any = None) -> Any:
    if _perdure_current_loop() is None:
        yield from _perdure_stock_as_completed(fs, timeout=timeout)
    else:
        yield from _perdure_as_completed(fs, timeout=timeout)


def _all_tasks(loop: Any = None) -> Any:
    tasks = _perdure_tasks_of(loop)
    return _perdure_stock_all_tasks(loop) if tasks is None else tasks


def _hash_gathering(self: Any) -> int:
    loop = self.get_loop()
    if not isinstance(loop, _loop.WorkflowLoop):
        return object.__hash__(self)
    return _loop.number_of(self) or _loop.give_number(self, loop)


def install() -> None:
    """Make asyncio's ``wait``, ``as_completed``, ``all_tasks`` and ``gather`` deterministic inside workflows.

    The code of the functions is exchanged, not their names, so that earlier ``from asyncio import ...`` are
    covered. Safe to repeat.
    """
    tasks: Any = asyncio.tasks
    if hasattr(tasks, "_perdure_current_loop"):
        return
    _loop.install()
    tasks._perdure_current_loop = _loop.current_loop
    tasks._perdure_wait = _perdure_wait
    tasks._perdure_as_completed = as_completed
    tasks._perdure_tasks_of = _perdure_tasks_of
    _exchange(tasks.wait, _wait)
    lazy = inspect.isgeneratorfunction(tasks.as_completed)  # up to 3.12
    _exchange(tasks.as_completed, _as_completed_generator if lazy else _as_completed)
    if sys.version_info < (3, 14):  # where the registry is not a WeakSet; see perdure._native.loop.install
        _exchange(tasks.all_tasks, _all_tasks)
    tasks._GatheringFuture.__hash__ = _hash_gathering


def _exchange(stock: Any, ours: Callable[..., Any]) -> None:
    copy = types.FunctionType(stock.__code__, stock.__globals__, stock.__name__, stock.__defaults__, stock.__closure__)
    copy.__kwdefaults__ = stock.__kwdefaults__
    setattr(asyncio.tasks, f"_perdure_stock_{stock.__name__}", copy)
    stock.__code__ = ours.__code__
