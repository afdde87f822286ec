"""One call per item of something long, with a bounded number of them under way: ours, on top of Temporal's API."""

from __future__ import annotations

import asyncio
import itertools
from collections import deque
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Generator, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Literal, Self, TypeVar, Unpack, overload

from perdure._native.loop import _WorkflowBeingEvictedError
from perdure.workflow._activities import (
    ActivityConfig,
    LocalActivityConfig,
    start_activity,
)
from perdure.workflow._definition import _Definition
from perdure.workflow._local_activities import start_local_activity
from perdure.workflow._runtime import _Runtime
from perdure.workflow._workflow_ops import ChildWorkflowConfig, execute_child_workflow

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")

_ACTIVITY_DEFINITION = "__temporal_activity_definition"


@dataclass(frozen=True)
class Outcome(Generic[_Item, _Result]):
    """What became of one item; given by :meth:`Map.outcomes`."""

    item: _Item
    result: _Result | None
    """What the call returned; None when it failed."""
    error: BaseException | None
    """What it raised; None when it returned."""


class Map(AsyncIterator[_Result], Generic[_Item, _Result]):
    """The results of :func:`map`: iterate it with ``async for``, or await it for a list of all of them."""

    def __init__(
        self,
        start: Callable[[_Item], asyncio.Future[_Result]],
        items: Iterable[_Item] | AsyncIterable[_Item],
        *,
        concurrency: int,
        ordered: bool,
        position: int,
        stop_when: Callable[[], bool] | None,
    ) -> None:
        """Made by :func:`map`."""
        self._start = start
        self._items = items
        self._concurrency = concurrency
        self._ordered = ordered
        self._stop_when = stop_when
        self._position = position
        self._stopped = False
        self._collects = False
        self._feeder: asyncio.Task[None] | None = None
        self._fed = False
        self._is_closing = False
        self._failure: BaseException | None = None
        self._running: dict[asyncio.Future[_Result], tuple[int, _Item]] = {}
        self._finished: dict[int, tuple[_Item, asyncio.Future[_Result]]] = {}
        self._completed: deque[int] = deque()
        self._next = position
        self._consumer: asyncio.Future[None] | None = None
        self._waiting_feeder: asyncio.Future[None] | None = None

    @property
    def position(self) -> int:
        """How many items were taken, those that ``start`` left out included.

        After the loop each of them has given its result, so this is the ``start`` of a map that goes on.
        """
        return self._position

    @property
    def stopped(self) -> bool:
        """Whether ``stop_when`` ended the map with an item left."""
        return self._stopped

    def outcomes(self) -> AsyncIterator[Outcome[_Item, _Result]]:
        """Iterate over an :class:`Outcome` per item instead: a failure is an outcome, and the rest goes on."""
        if self._feeder is not None:
            raise RuntimeError("outcomes() came too late: this map has been iterated already")
        self._collects = True
        return _Outcomes(self)

    def __aiter__(self) -> Self:
        """The map itself."""
        return self

    async def __anext__(self) -> _Result:
        """The next result. A failed item ends the map: the others are cancelled, and its error is raised."""
        return (await self._take())[1].result()

    def __await__(self) -> Generator[Any, Any, list[_Result]]:
        """All results, in a list."""
        return self._list().__await__()

    async def _list(self) -> list[_Result]:
        return [result async for result in self]

    async def __aenter__(self) -> Self:
        """The map itself; leaving the block cancels what still runs."""
        return self

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Cancel what still runs, and wait until it has ended."""
        if kind not in (GeneratorExit, _WorkflowBeingEvictedError):  # the run leaves memory: nothing is to be cancelled
            await self.aclose()

    async def aclose(self) -> None:
        """Take no more items, cancel the calls under way, and wait until they have ended."""
        self._is_closing = True
        self._fed = True
        pending: list[asyncio.Future[Any]] = list(self._running)
        if self._feeder is not None and not self._feeder.done() and self._feeder is not asyncio.current_task():
            pending.append(self._feeder)
        for future in pending:
            future.cancel()
        cancelled: asyncio.CancelledError | None = None
        while pending:
            try:
                await asyncio.wait(pending)
            except asyncio.CancelledError as error:
                cancelled = error
            pending = [future for future in pending if not future.done()]
        self._running.clear()
        self._finished.clear()
        self._completed.clear()
        if cancelled is not None:
            raise cancelled

    # --- the side that starts

    async def _feed(self) -> None:
        """Start a call per item while there is room."""
        try:
            if isinstance(self._items, AsyncIterable):
                await self._feed_async(self._items)
            else:
                await self._feed_sync(self._items)
        except asyncio.CancelledError:
            raise
        except Exception as error:  # of the iterable, or the first call could not be made
            if self._failure is None:
                self._failure = error
        finally:
            self._fed = True
            self._wake_consumer()

    async def _feed_sync(self, items: Iterable[_Item]) -> None:
        skip = self._position
        if skip and isinstance(items, Sequence):
            items, skip = items[skip:], 0
        for item in itertools.islice(items, skip, None) if skip else items:
            # The item is at hand, but not counted as taken when the map stops before it.
            if not await self._has_room():
                return
            self._start_one(item)

    async def _feed_async(self, items: AsyncIterable[_Item]) -> None:
        skip = self._position
        async for item in items:
            if skip:
                skip -= 1
                continue
            if not await self._has_room():
                return
            self._start_one(item)

    async def _has_room(self) -> bool:
        """Wait for room for one more call. False: the map is to stop."""
        while len(self._running) >= self._concurrency or (
            len(self._running) + len(self._finished) >= 2 * self._concurrency
        ):
            self._waiting_feeder = asyncio.get_running_loop().create_future()
            await self._waiting_feeder
        if self._failure is not None:
            return False
        if self._stop_when is not None and self._stop_when():
            self._stopped = True
            return False
        return True

    def _start_one(self, item: _Item) -> None:
        future = self._start(item)
        self._running[future] = (self._position, item)
        self._position += 1
        future.add_done_callback(self._on_done)

    def _on_done(self, future: asyncio.Future[_Result]) -> None:
        error: BaseException | None = None
        if not future.cancelled():
            error = future.exception()  # which also tells the loop that somebody has seen it
        found = self._running.pop(future, None)
        if found is None or self._is_closing:
            return
        number, item = found
        if not self._collects and self._failure is None:
            if future.cancelled():
                error = asyncio.CancelledError(f"item {number} of a workflow.map was cancelled")
            self._failure = error
        self._finished[number] = (item, future)
        self._completed.append(number)
        self._wake_feeder()
        self._wake_consumer()

    def _wake_feeder(self) -> None:
        waiter, self._waiting_feeder = self._waiting_feeder, None
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    # --- the side that iterates

    def _wake_consumer(self) -> None:
        waiter, self._consumer = self._consumer, None
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    async def _take(self) -> tuple[_Item, asyncio.Future[_Result]]:
        if self._feeder is None and not self._fed:
            self._feeder = asyncio.get_running_loop().create_task(self._feed(), name="workflow.map")
        if self._consumer is not None:
            raise RuntimeError("a workflow.map is iterated by one task at a time")
        while True:
            if self._failure is not None and (not self._collects or not self._running):
                await self._fail(self._failure)
            found = self._pop()
            if found is not None:
                self._wake_feeder()
                return found
            if self._fed and not self._running and self._failure is None:
                raise StopAsyncIteration
            self._consumer = asyncio.get_running_loop().create_future()
            try:
                await self._consumer
            except asyncio.CancelledError:
                self._consumer = None
                await self.aclose()
                raise

    async def _fail(self, failure: BaseException) -> None:
        if self._collects and self._finished:
            return  # what ended before the iterable failed is given first
        await self.aclose()
        self._failure = None
        raise failure

    def _pop(self) -> tuple[_Item, asyncio.Future[_Result]] | None:
        if not self._ordered:
            return self._finished.pop(self._completed.popleft()) if self._completed else None
        found = self._finished.pop(self._next, None)
        if found is not None:
            self._next += 1
        return found


class _Outcomes(AsyncIterator[Outcome[_Item, _Result]]):
    def __init__(self, map: Map[_Item, _Result]) -> None:
        self._map = map

    async def __anext__(self) -> Outcome[_Item, _Result]:
        item, future = await self._map._take()
        if future.cancelled():
            return Outcome(item, None, asyncio.CancelledError())
        error = future.exception()
        return Outcome(item, None, error) if error is not None else Outcome(item, future.result(), None)


# --- the call


@overload
def map(
    function: Callable[[_Item], Awaitable[_Result]],
    items: Iterable[_Item] | AsyncIterable[_Item],
    *,
    concurrency: int = 100,
    ordered: bool = True,
    start: int = 0,
    stop_when: Callable[[], bool] | None = None,
    item_id: Callable[[_Item], str] | None = None,
    **options: Unpack[ActivityConfig],
) -> Map[_Item, _Result]: ...


@overload
def map(
    function: Callable[[_Item], Awaitable[_Result]],
    items: Iterable[_Item] | AsyncIterable[_Item],
    *,
    local: Literal[True],
    concurrency: int = 100,
    ordered: bool = True,
    start: int = 0,
    stop_when: Callable[[], bool] | None = None,
    item_id: Callable[[_Item], str] | None = None,
    **options: Unpack[LocalActivityConfig],
) -> Map[_Item, _Result]: ...


@overload
def map(
    function: Callable[[Any, _Item], Awaitable[_Result]],
    items: Iterable[_Item] | AsyncIterable[_Item],
    *,
    concurrency: int = 100,
    ordered: bool = True,
    start: int = 0,
    stop_when: Callable[[], bool] | None = None,
    item_id: Callable[[_Item], str] | None = None,
    **options: Unpack[ChildWorkflowConfig],
) -> Map[_Item, _Result]: ...


@overload
def map(
    function: Callable[[Any, _Item], Awaitable[_Result]],
    items: Iterable[_Item] | AsyncIterable[_Item],
    *,
    concurrency: int = 100,
    ordered: bool = True,
    start: int = 0,
    stop_when: Callable[[], bool] | None = None,
    item_id: Callable[[_Item], str] | None = None,
    **options: Unpack[ActivityConfig],
) -> Map[_Item, _Result]: ...


@overload
def map(
    function: Callable[[_Item], _Result],
    items: Iterable[_Item] | AsyncIterable[_Item],
    *,
    concurrency: int = 100,
    ordered: bool = True,
    start: int = 0,
    stop_when: Callable[[], bool] | None = None,
    item_id: Callable[[_Item], str] | None = None,
    **options: Unpack[ActivityConfig],
) -> Map[_Item, _Result]: ...


@overload
def map(
    function: Callable[[_Item], _Result],
    items: Iterable[_Item] | AsyncIterable[_Item],
    *,
    local: Literal[True],
    concurrency: int = 100,
    ordered: bool = True,
    start: int = 0,
    stop_when: Callable[[], bool] | None = None,
    item_id: Callable[[_Item], str] | None = None,
    **options: Unpack[LocalActivityConfig],
) -> Map[_Item, _Result]: ...


@overload
def map(
    function: str,
    items: Iterable[_Item] | AsyncIterable[_Item],
    *,
    local: bool = False,
    concurrency: int = 100,
    ordered: bool = True,
    start: int = 0,
    stop_when: Callable[[], bool] | None = None,
    item_id: Callable[[_Item], str] | None = None,
    result_type: type | None = None,
    **options: Unpack[ActivityConfig],
) -> Map[_Item, Any]: ...


def map(
    function: Any,
    items: Any,
    *,
    local: bool = False,
    concurrency: int = 100,
    ordered: bool = True,
    start: int = 0,
    stop_when: Callable[[], bool] | None = None,
    item_id: Callable[[Any], str] | None = None,
    **options: Any,
) -> Map[Any, Any]:
    """Call a function for each item of something long, ``concurrency`` of them at a time.

    ::

        rows = workflow.map(load, range(1_000_000), concurrency=200, start_to_close_timeout=timedelta(minutes=1))
        async for row in rows:
            total += row

    Items are taken as there is room for them, so the iterable may be endless and neither it nor the results are ever
    in memory as a whole: at most ``concurrency`` calls are under way, and as many results wait to be taken. Nothing
    starts before the first result is asked for.

    A failed item ends the map: the calls under way are cancelled, and its error is raised. To go on instead, iterate
    ``.outcomes()``. Cancelling whoever waits for the next result cancels the calls; when the loop may be left in
    between, by ``break`` or an error, write ``async with workflow.map(...) as rows``.

    A history grows with each item. To go on in a new run before it is too long, stop the map::

        rows = workflow.map(load, source, start=position, stop_when=workflow.info().is_continue_as_new_suggested, ...)
        async for row in rows:
            total += row
        if rows.stopped:
            workflow.continue_as_new(args=[rows.position, total])

    Args:
        function: an activity (or its type as a string), the run method of a workflow, which is run as a child, or
            any async function of one argument.
        items: what to call it with: an iterable or an async iterable, whose code is workflow code.
        local: whether the activity is run as a local activity.
        concurrency: how many calls may be under way at once.
        ordered: whether results come in the order of the items, or as the calls end.
        start: how many items to leave out at the beginning.
        stop_when: asked before each item is taken; once it is true, no more are. Those under way end as usual.
        item_id: gives the activity id, or the child's workflow id, for an item.
        **options: those of the activity or the child workflow; an async function takes none.

    Replay: deterministic; the calls are ordinary commands in the order of the items.
    """
    _Runtime.current()
    if isinstance(concurrency, bool) or not isinstance(concurrency, int) or concurrency < 1:
        raise ValueError(f"workflow.map: concurrency must be a whole number from 1 on, not {concurrency!r}")
    if isinstance(start, bool) or not isinstance(start, int) or start < 0:
        raise ValueError(f"workflow.map: start must be a whole number from 0 on, not {start!r}")
    if not isinstance(items, (Iterable, AsyncIterable)):
        raise TypeError(f"workflow.map: items must be an iterable or an async iterable, not {type(items).__name__}")
    return Map(
        _starter(function, local, item_id, options),
        items,
        concurrency=concurrency,
        ordered=ordered,
        position=start,
        stop_when=stop_when,
    )


def _starter(
    function: Any, local: bool, item_id: Callable[[Any], str] | None, options: dict[str, Any]
) -> Callable[[Any], asyncio.Future[Any]]:
    """What starts the call for one item."""
    if isinstance(function, str) or getattr(function, _ACTIVITY_DEFINITION, None) is not None:
        begin: Any = start_local_activity if local else start_activity
        known = (LocalActivityConfig if local else ActivityConfig).__annotations__.keys()
        _check_options("a local activity" if local else "an activity", options, known, "activity_id")
        if item_id is None:
            return lambda item: begin(function, item, **options)
        return lambda item: begin(function, item, activity_id=item_id(item), **options)
    if not callable(function):
        raise TypeError(
            "workflow.map: function must be an activity or its name, the run method of a workflow or an async "
            f"function, not {type(function).__name__}"
        )
    if local:
        raise ValueError(f"workflow.map: local=True is for activities, and {_name(function)} is none")
    create_task: Any = asyncio.get_running_loop().create_task
    child: Any = function
    if _Definition.from_run_fn(child) is not None:
        _check_options("a child workflow", options, ChildWorkflowConfig.__annotations__.keys(), "id")
        if item_id is None:
            return lambda item: create_task(execute_child_workflow(child, item, **options))
        return lambda item: create_task(execute_child_workflow(child, item, id=item_id(item), **options))
    if options or item_id is not None:
        name = next(iter(options), "item_id")
        raise TypeError(
            f"workflow.map: {_name(function)} is neither an activity nor the run method of a workflow, so it takes no "
            f"option {name!r}; was it decorated with @activity.defn?"
        )
    return lambda item: create_task(function(item))


def _check_options(what: str, options: dict[str, Any], known: Iterable[str], id_option: str) -> None:
    if id_option in options:
        raise TypeError(f"workflow.map: {id_option} would be the same for every item; pass item_id, a function")
    unknown = sorted(options.keys() - {*known, "result_type"})
    if unknown:
        raise TypeError(f"workflow.map: {what} has no option {unknown[0]!r}")


def _name(function: Any) -> str:
    return str(getattr(function, "__qualname__", repr(function)))
