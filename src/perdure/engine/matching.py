"""Task queues in memory: tasks that wait for a poller, pollers that wait for a task.

A queue holds one of the two, never both. What must survive a restart is in the store's task rows, not here; a task
here names its run and event and is checked against the run's state when a poller takes it, so stale ones are harmless.

Compiled as it is by the native build; ``matching.pxd`` declares the attributes.
"""

from __future__ import annotations

import asyncio
from collections import deque
from time import monotonic
from typing import TYPE_CHECKING, Any, NamedTuple

from perdure.engine.deadlines import Deadlines

if TYPE_CHECKING:
    from collections.abc import Callable

    from perdure._native.mutable_state import ActivityInfo
    from perdure.engine.activity_tasks import ActivityTasks
    from perdure.engine.run import Run
    from perdure.store.api import RunKey, TaskKind

STICKY_WORKER_TIMEOUT = 10.0
#: A queue whose newest poll came from this process and is no older than these seconds will be polled again at once.
SERVED_SECONDS = 0.05
#: Seconds over which the rates of a queue are measured, in steps of so many.
RATE_WINDOW, RATE_STEP = 30.0, 5.0


class Task(NamedTuple):
    """A task that waits: of a run's workflow task (event id of no meaning), activity, or a direct query."""

    key: RunKey
    scheduled_event_id: int
    #: Of the activity when it was dispatched: it is void once that is another one; -1: of no meaning.
    stamp: int = -1
    #: The id of a direct query; "" for a task.
    query: str = ""


class Poller:
    """A poll that waits. A poll can be reserved before its task is durable."""

    def __init__(self, future: asyncio.Future[Any], identity: str) -> None:
        self.future = future
        self.identity = identity
        #: What keeps its deadline.
        self.watch: Any = None


class LocalPoller(Poller):
    """A poll of a worker in this process: its attempts die with the process."""


class TaskQueue:
    """One queue of one kind."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.tasks: deque[Task] = deque()
        self.pollers: deque[Poller] = deque()
        #: Loop time of the newest poll, and of the newest one of a worker in this process.
        self.last_poll = float("-inf")
        self.last_local_poll = float("-inf")
        #: identity -> loop time of its newest poll.
        self.identities: dict[str, float] = {}
        #: How many tasks have come and gone, now and when each step of the rates' window began.
        self.added = 0
        self.dispatched = 0
        self.created = self.step_began = monotonic()
        self.steps: deque[tuple[float, int, int]] = deque([(self.created, 0, 0)], 2 + int(RATE_WINDOW / RATE_STEP))

    def count(self, now: float, added: int, dispatched: int) -> None:
        """Tasks came or went, at a loop time."""
        if now - self.step_began >= RATE_STEP:
            self.steps.append((now, self.added, self.dispatched))
            self.step_began = now
        self.added += added
        self.dispatched += dispatched

    def rates(self, now: float) -> tuple[float, float]:
        """Tasks added and dispatched a second, lately."""
        seconds = max(min(now - self.created, RATE_WINDOW), 1.0)
        for began, added, dispatched in self.steps:
            if began > now - RATE_WINDOW - RATE_STEP:
                seconds = max(now - began, seconds)
                return (self.added - added) / seconds, (self.dispatched - dispatched) / seconds
        return 0.0, 0.0

    def add(self, task: Task) -> bool:
        """Hand the task to the poller that waits longest, or keep it; whether a worker of this process deals with it now."""
        poller = self.reserve()
        if poller is None:
            now = monotonic()
            self.count(now, 1, 0)
            self.tasks.append(task)
            return now - self.last_local_poll < SERVED_SECONDS
        poller.future.set_result(task)
        return isinstance(poller, LocalPoller)

    def put_back(self, task: Task) -> None:
        """Hand out again, first, a task whose poller went away."""
        self.dispatched -= 1
        poller = self.reserve()
        if poller is None:
            self.tasks.appendleft(task)
        else:
            self.added -= 1
            poller.future.set_result(task)

    def reserve(self) -> Poller | None:
        """Take a waiting poller out of the queue; the caller must give its future a result."""
        while self.pollers:
            poller = self.pollers.popleft()
            if not poller.future.done():
                return poller
        return None

    def has_recent_poller(self, now: float) -> bool:
        """Whether anybody polled lately enough to be believed alive."""
        if now - self.last_poll < STICKY_WORKER_TIMEOUT:
            return True
        for poller in self.pollers:  # noqa: SIM110  (no generators where Cython compiles)
            if not poller.future.done():
                return True
        return False


class StartedActivity:
    """An attempt that was started for a waiting poll, in the transition that scheduled it; the poll gets it once durable."""

    def __init__(
        self, owner: ActivityTasks, run: Run, activity: ActivityInfo, response: Any, queue: TaskQueue, poller: Poller
    ) -> None:
        self.owner = owner
        self.run = run
        self.activity = activity
        self.response = response
        self.queue = queue
        self.poller: Poller = poller

    def deliver(self) -> None:
        """It is durable: the poll gets it."""
        poller, self.poller = self.poller, None  # type: ignore[assignment]  # a cycle, were it to stay
        if poller.future.done():
            self.give_back()
        else:
            poller.future.set_result(self)

    def fail(self) -> None:
        """It is not: the poll waits on."""
        if not self.poller.future.done():
            self.queue.pollers.appendleft(self.poller)

    def give_back(self) -> None:
        """The poll went away: the attempt waits for the next one."""
        self.owner.release(self.run, self.activity)


class Matching:
    """Every task queue, by namespace, kind and name."""

    def __init__(self, loop: asyncio.AbstractEventLoop, deadlines: Deadlines) -> None:
        self._loop = loop
        self._deadlines = deadlines
        self._queues: dict[tuple[str, int, str], TaskQueue] = {}
        #: Namespace ids whose queues are another's: those of standalone activities, see ``standalone_activities``.
        self.aliases: dict[str, str] = {}
        #: Told of every new queue: gives those with limits what keeps them, see ``queue_limits``.
        self.on_new_queue: Callable[[tuple[str, int, str], TaskQueue], None] | None = None

    def queue(self, namespace_id: str, kind: TaskKind, name: str) -> TaskQueue:
        """The queue of that name, made on first use."""
        key = (namespace_id, int(kind), name)
        queue = self._queues.get(key)
        if queue is None:
            owner = self.aliases.get(namespace_id)
            if owner is not None:
                queue = self._queues[key] = self.queue(owner, kind, name)
                return queue
            queue = self._queues[key] = self._new_queue(key)
            if self.on_new_queue is not None:
                self.on_new_queue(key, queue)
        return queue

    def _new_queue(self, key: tuple[str, int, str]) -> TaskQueue:
        return TaskQueue(key[2])

    def known(self, namespace_id: str, kind: TaskKind, name: str) -> TaskQueue | None:
        """The queue of that name, if anybody used it."""
        return self._queues.get((namespace_id, int(kind), name))

    def waiting(self) -> list[tuple[int, TaskQueue]]:
        """The queues in which tasks wait, with their kind."""
        return [(kind, queue) for (_, kind, _), queue in self._queues.items() if queue.tasks]

    def take(self, queue: TaskQueue, identity: str, is_local: bool) -> Any:
        """A poll comes: the next task of a queue, if one waits."""
        now = self._loop.time()
        queue.last_poll = now
        if is_local:
            queue.last_local_poll = now
        queue.identities[identity] = now
        if queue.tasks:
            queue.count(now, 0, 1)
            return queue.tasks.popleft()
        return None

    def enter(self, queue: TaskQueue, identity: str, timeout: float, is_local: bool) -> Poller:
        """The poll begins to wait. Its future has the task, or None in the end; :meth:`leave` must follow."""
        future: asyncio.Future[Any] = self._loop.create_future()
        while queue.pollers and queue.pollers[0].future.done():
            queue.pollers.popleft()
        poller = LocalPoller(future, identity) if is_local else Poller(future, identity)
        poller.watch = self._deadlines.watch(future, timeout)
        queue.pollers.append(poller)
        return poller

    def leave(self, queue: TaskQueue, poller: Poller, task: Any) -> None:
        """The poll waits no more: it has its task, or None."""
        now = self._loop.time()
        queue.last_poll = now
        if isinstance(poller, LocalPoller):
            queue.last_local_poll = now
        self._deadlines.unwatch(poller.watch)
        if task is not None:
            queue.count(now, 1, 1)

    def abandon(self, queue: TaskQueue, poller: Poller) -> None:
        """The poll was cancelled: its task, if it has one, goes to another."""
        future = poller.future
        task = None
        if future.done() and not future.cancelled() and future.exception() is None:
            task = future.result()
        self.leave(queue, poller, task)
        if isinstance(task, Task):
            queue.put_back(task)
        elif task is not None:
            task.give_back()

    async def poll(self, queue: TaskQueue, identity: str, timeout: float) -> Any:
        """The next task of a queue; None when there was none in time. A cancelled poll puts its task back."""
        task = self.take(queue, identity, False)
        if task is None:
            poller = self.enter(queue, identity, timeout, False)
            try:
                task = await poller.future
            except BaseException:
                self.abandon(queue, poller)
                raise
            self.leave(queue, poller, task)
        return task

    def drop_queue(self, namespace_id: str, kind: TaskKind, name: str) -> list[Task]:
        """Forget a (sticky) queue: its polls end empty, its tasks are returned."""
        queue = self._queues.pop((namespace_id, int(kind), name), None)
        if queue is None:
            return []
        for poller in queue.pollers:
            if not poller.future.done():
                poller.future.set_result(None)
        return list(queue.tasks)

    def close(self, error: Exception) -> None:
        """End every poll with an error."""
        for queue in self._queues.values():
            for poller in queue.pollers:
                if not poller.future.done():
                    poller.future.set_exception(error)
            queue.pollers.clear()
