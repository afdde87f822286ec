"""Pollers: coroutines that wait for a task, handle it in place, and wait again.

In process a poll is a place in a queue in memory, so a worker keeps one poller per slot: the poller that gets a task is
the slot that it fills, and no task, lock or semaphore is made per task. Pollers are made on demand: a few wait from
the start, a burst of them from the first task on, and whenever the last idle one gets something to do their number
doubles, up to the maximum. (An activity is handed to its poller before the commit that makes it durable and told after
it: so there must be about as many pollers waiting as activities start per commit.)

A service with a wire gets a few pollers that hand each task to an asyncio task of its own and keep polling.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Any, Protocol, TypeVar

from perdure.service import RPCError, RPCStatusCode, ServiceClosedError

logger = logging.getLogger("perdure.worker")

_YIELD_AFTER_TASKS = 20
_YIELD_AFTER_SECONDS = 0.002
_RETRY_SECONDS = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
#: A service in this process that is unavailable so often in a row has closed; before, its store may have had a fault.
_LOCAL_RETRIES = 2
_PERMANENT = (
    RPCStatusCode.INVALID_ARGUMENT,
    RPCStatusCode.PERMISSION_DENIED,
    RPCStatusCode.UNAUTHENTICATED,
    RPCStatusCode.UNIMPLEMENTED,
    RPCStatusCode.NOT_FOUND,
    RPCStatusCode.FAILED_PRECONDITION,
)


class PolledTask(Protocol):
    """What both kinds of poll responses share; without a token nothing was there in time."""

    task_token: bytes


TaskT = TypeVar("TaskT", bound=PolledTask)


class Slots(Protocol):
    """Gives out the permission to run one more task: a slot supplier bound to a worker, or a rate limit."""

    async def reserve(self) -> Any:
        """Wait for a permit."""
        ...

    def mark_used(self, permit: Any, task: Any) -> None:
        """A task came for the permit."""
        ...

    def release(self, permit: Any, task: Any | None) -> None:
        """The permit's task is done, or none came."""
        ...

    def try_reserve(self) -> Any | None:
        """A permit if there is one without waiting, else None."""
        ...


class Poller:
    """One poller: its task, whether it waits (then it may be cancelled) or works, and what it did this turn."""

    __slots__ = ("handled", "since", "task", "turn", "waiting")

    def __init__(self) -> None:
        self.waiting = True
        #: The turn of the loop in which it last handled a task; how many it handled in it, and since when.
        self.turn = 0
        self.handled = 0
        self.since = 0.0
        self.task: asyncio.Task[None]


class PollerGroup:
    """The pollers of one task queue.

    ``poll`` gets the next task and ``handle`` deals with it; both may finish without suspending. ``on_fatal`` is told
    of errors that no retry cures. After :meth:`stop` no poll is outstanding and :meth:`wait` waits for what is being
    handled.
    """

    def __init__(
        self,
        name: str,
        *,
        poll: Callable[[], Awaitable[TaskT]],
        handle: Callable[[TaskT, asyncio.Task[None]], Awaitable[None]],
        on_fatal: Callable[[BaseException], None],
        maximum: int,
        in_process: bool,
        burst: int = 1,
        remote_polls: int = 5,
        slots: Slots | None = None,
    ) -> None:
        self._name = name
        self._poll: Callable[[], Awaitable[Any]] = poll
        self._handle: Callable[[Any, asyncio.Task[None]], Awaitable[None]] = handle
        self._on_fatal = on_fatal
        self._maximum = maximum
        self._in_process = in_process
        self._burst = 1 if slots is not None else burst
        self._remote_polls = remote_polls
        self._slots = slots
        self._pollers: dict[asyncio.Task[None], Poller] = {}
        self._handling: set[asyncio.Task[None]] = set()
        self._waiting = 0
        self._stopping = False
        #: How many more tasks may be taken; of a service with a wire.
        self._free: asyncio.Semaphore | None = None
        #: Counts the turns of the event loop in which tasks are handled.
        self._turn = 1
        self._is_in_turn = False

    def start(self) -> None:
        """Start polling; on the loop."""
        if self._in_process:
            self._spawn(self._work_in_place)
            return
        free = self._free = asyncio.Semaphore(self._maximum)
        for _ in range(min(self._remote_polls, self._maximum)):
            self._spawn(lambda poller: self._work_remotely(poller, free))

    def finish(self) -> None:
        """Poll no more once the polls that are out have ended."""
        self._stopping = True

    async def wait_for_polls(self) -> None:
        """Wait until no poll is out."""
        while polling := [poller.task for poller in self._pollers.values() if poller.waiting]:
            await asyncio.wait(polling)

    def stop(self) -> None:
        """End the polls. Tasks that were received are still handled."""
        self._stopping = True
        for poller in self._pollers.values():
            if poller.waiting:
                poller.task.cancel()

    async def wait(self) -> None:
        """Wait until every poller has ended and every task is handled."""
        while running := [task for task in (*self._pollers, *self._handling) if not task.done()]:
            await asyncio.wait(running)

    @property
    def size(self) -> int:
        """How many pollers there are, waiting or working."""
        return len(self._pollers)

    def _spawn(self, work: Callable[[Poller], Awaitable[None]]) -> None:
        poller = Poller()
        poller.task = asyncio.get_running_loop().create_task(self._guarded(poller, work), name=f"poll {self._name}")
        self._pollers[poller.task] = poller
        poller.task.add_done_callback(self._pollers.pop)
        self._waiting += 1

    def _grow(self) -> None:
        if self._stopping:
            return
        size = len(self._pollers)
        wanted = size + 1 if self._slots is not None else max(2 * size, self._burst)
        for _ in range(min(wanted, self._maximum) - size):
            self._spawn(self._work_in_place)

    async def _guarded(self, poller: Poller, work: Callable[[Poller], Awaitable[None]]) -> None:
        try:
            await work(poller)
        except asyncio.CancelledError:
            if not self._stopping:
                self._on_fatal(RuntimeError(f"A poller of {self._name} was cancelled from outside the worker."))
        except Exception as error:
            if self._stopping:
                logger.warning("A poller of %s ended with an error during the shutdown", self._name, exc_info=True)
            else:
                self._on_fatal(error)

    async def _work_in_place(self, poller: Poller) -> None:
        poll, handle, slots, own_task = self._poll, self._handle, self._slots, poller.task
        failures = 0
        permit = None
        while not self._stopping:
            if slots is not None:
                permit = await slots.reserve()
            try:
                task = await poll()
            except BaseException as error:
                if slots is not None:
                    slots.release(permit, None)
                await self._poll_failed(error, failures)
                failures += 1
                continue
            failures = 0
            if not task.task_token:
                if slots is not None:
                    slots.release(permit, None)
                if not self._stopping:
                    await asyncio.sleep(0)
                continue
            poller.waiting = False
            self._waiting -= 1
            if not self._waiting:
                self._grow()
            if slots is None:
                await handle(task, own_task)
            else:
                slots.mark_used(permit, task)
                try:
                    await handle(task, own_task)
                finally:
                    slots.release(permit, task)
            poller.waiting = True
            self._waiting += 1
            # Waiting tasks come without suspending: let others run now and then.
            if self._has_had_its_turn(poller) and not self._stopping:
                await asyncio.sleep(0)

    def _has_had_its_turn(self, poller: Poller) -> bool:
        """Whether a poller, which has just handled a task, has worked long enough in this turn of the loop."""
        if not self._is_in_turn:
            self._is_in_turn = True
            asyncio.get_running_loop().call_soon(self._end_turn)
        if poller.turn != self._turn:
            poller.turn = self._turn
            poller.handled = 0
            return False
        poller.handled += 1
        if poller.handled == 1:
            poller.since = time.monotonic()
            return False
        return poller.handled >= _YIELD_AFTER_TASKS or time.monotonic() - poller.since > _YIELD_AFTER_SECONDS

    def _end_turn(self) -> None:
        self._is_in_turn = False
        self._turn += 1

    async def _work_remotely(self, poller: Poller, free: asyncio.Semaphore) -> None:
        failures = 0
        while not self._stopping:
            await free.acquire()
            if self._stopping:
                free.release()
                return
            permit = None if self._slots is None else await self._slots.reserve()
            task = None
            try:
                task = await self._poll()
                failures = 0
            except BaseException as error:
                await self._poll_failed(error, failures)
                failures += 1
            finally:
                if task is None or not task.task_token:
                    free.release()
                    if self._slots is not None:
                        self._slots.release(permit, None)
            if task is not None and task.task_token:
                self._handle_apart(task, permit, free)

    async def _handle_remotely(self, task: Any, permit: Any, free: asyncio.Semaphore) -> None:
        own_task = asyncio.current_task()
        assert own_task is not None
        if self._slots is not None:
            self._slots.mark_used(permit, task)
        try:
            await self._handle(task, own_task)
        except Exception as error:
            self._on_fatal(error)
        finally:
            free.release()
            if self._slots is not None:
                self._slots.release(permit, task)

    async def try_reserve(self) -> tuple[Any] | None:
        """A slot for a task that does not come by a poll, if one is free; at a service with a wire."""
        if self._free is None or self._free.locked() or self._stopping:
            return None
        permit = None
        if self._slots is not None:
            permit = self._slots.try_reserve()
            if permit is None:
                return None
        await self._free.acquire()  # does not wait: it is not locked
        return (permit,)

    def give_back(self, reserved: tuple[Any]) -> None:
        """A slot of :meth:`try_reserve` that no task came for."""
        assert self._free is not None
        self._free.release()
        if self._slots is not None:
            self._slots.release(reserved[0], None)

    def dispatch(self, task: Any, reserved: tuple[Any]) -> None:
        """Handle a task in a slot of :meth:`try_reserve`."""
        assert self._free is not None
        self._handle_apart(task, reserved[0], self._free)

    def _handle_apart(self, task: Any, permit: Any, free: asyncio.Semaphore) -> None:
        handling = asyncio.get_running_loop().create_task(self._handle_remotely(task, permit, free))
        self._handling.add(handling)
        handling.add_done_callback(self._handling.discard)

    async def _poll_failed(self, error: BaseException, failures: int) -> None:
        """Wait and return if a retry may help, raise otherwise."""
        if not isinstance(error, RPCError):
            raise error
        is_closed = isinstance(error, ServiceClosedError)
        if is_closed and not failures:
            return  # the worker may have been given another connection
        if not is_closed and self._in_process:
            is_closed = error.status is RPCStatusCode.UNAVAILABLE and failures >= _LOCAL_RETRIES
        if is_closed:
            raise RuntimeError(
                f"The service closed while the worker of {self._name} was running; shut the worker down (or leave its "
                "'async with' block) before you close the client."
            ) from error
        if error.status in _PERMANENT:
            raise error
        delay = _RETRY_SECONDS[min(failures, len(_RETRY_SECONDS) - 1)]
        if not self._stopping:
            logger.warning("Polling %s failed (%s: %s), next try in %s s", self._name, error.status.name, error, delay)
        await asyncio.sleep(delay)
