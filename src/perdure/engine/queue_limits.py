"""Rate limits of task queues: how many tasks a second may leave one.

The limit comes from UpdateTaskQueueConfig, else from the workers' own ``max_task_queue_activities_per_second`` (the
last one to say it). A queue with a limit has a gate in front of its tasks and its pollers: while the gate is shut,
both look empty, and a timer hands out what waits when it opens. With a limit per fairness key the pollers look empty
always: a task passes through the backlog, which knows its key.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterator
from typing import Any

import msgspec

from perdure.api.taskqueue import v1 as taskqueue_v1
from perdure.api.workflowservice import v1 as ws
from perdure.engine import limits
from perdure.engine.backlog import DEFAULT_RANK, FairBacklog, Rank, fair_backlog
from perdure.engine.core import Core
from perdure.engine.errors import invalid_argument
from perdure.engine.gates import Gate, KeyGates
from perdure.engine.matching import Poller, Task, TaskQueue
from perdure.engine.namespaces import Namespaces
from perdure.engine.routing import priority_of_run
from perdure.store.api import Document, TaskKind

KIND = "queue"
#: That a queue is ranked is a document of its own: it is said in the middle of what must not be refused.
_RANKED = "queue-ranked"
_UNLIMITED = 1e9
_PAGE = 1000


class Limited:
    """The gate of one queue and what waits on both sides of it."""

    def __init__(self, queue: TaskQueue, gate: Gate, loop: asyncio.AbstractEventLoop) -> None:
        self.gate = gate
        self._queue = queue
        self._loop = loop
        self._timer: asyncio.TimerHandle | None = None
        self.tasks = _Tasks(self, queue.tasks)
        self.pollers = _Pollers(self, queue.pollers)
        queue.tasks = self.tasks  # type: ignore[assignment]  # has what a queue asks of a deque
        queue.pollers = self.pollers  # type: ignore[assignment]  # has what a queue asks of a deque

    @property
    def by_key(self) -> FairBacklog | None:
        """The backlog, when its fairness keys have limits."""
        inner = self.tasks.inner
        return inner if isinstance(inner, FairBacklog) and inner.gates is not None else None

    def look(self) -> None:
        """Hand out what may pass, and come back for the rest."""
        tasks, pollers = self.tasks, self.pollers.inner
        while tasks and pollers:
            poller = pollers.popleft()
            if not poller.future.done():
                self._queue.added -= 1  # its poll counts it once more
                poller.future.set_result(tasks.popleft())
        if tasks.inner and pollers and self._timer is None:
            by_key = self.by_key
            delay = self.gate.delay() if by_key is None else max(self.gate.delay(), by_key.delay(self._loop.time()))
            self._timer = self._loop.call_later(delay, self._fired)

    def _fired(self) -> None:
        self._timer = None
        self.look()

    def hurry(self) -> None:
        """The rate changed: look now."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self.look()


class _Tasks:
    """The backlog behind a gate; a deque to its queue."""

    def __init__(self, limited: Limited, inner: Any) -> None:
        self._limited = limited
        self.inner: deque[Task] | FairBacklog = inner

    def __len__(self) -> int:
        return len(self.inner)

    def __bool__(self) -> bool:
        if not self.inner or not self._limited.gate.is_open():
            return False
        by_key = self._limited.by_key
        return by_key is None or by_key.is_ready()

    def __iter__(self) -> Iterator[Task]:
        return iter(self.inner)

    def append(self, task: Task) -> None:
        self.inner.append(task)
        self._limited.look()

    def appendleft(self, task: Task) -> None:
        self._limited.gate.give_back()
        self.inner.appendleft(task)
        self._limited.look()

    def popleft(self) -> Task:
        self._limited.gate.take()
        by_key = self._limited.by_key
        return self.inner.popleft() if by_key is None else by_key.take()

    def look(self) -> None:
        """Something came into the backlog behind the gate's back."""
        self._limited.look()

    def clear(self) -> None:
        self.inner.clear()


class _Pollers:
    """Waiting polls behind a gate; a deque to their queue."""

    def __init__(self, limited: Limited, inner: Any) -> None:
        self._limited = limited
        self.inner: deque[Poller] = inner

    def __len__(self) -> int:
        return len(self.inner)

    def __bool__(self) -> bool:
        return bool(self.inner) and self._limited.by_key is None and self._limited.gate.is_open()

    def __iter__(self) -> Iterator[Poller]:
        return iter(self.inner)

    def __getitem__(self, index: int) -> Poller:
        return self.inner[index]

    def append(self, poller: Poller) -> None:
        while self.inner and self.inner[0].future.done():
            self.inner.popleft()
        self.inner.append(poller)
        if self._limited.tasks.inner:
            self._limited.look()

    def appendleft(self, poller: Poller) -> None:
        self._limited.gate.give_back()
        self.inner.appendleft(poller)
        self._limited.look()

    def popleft(self) -> Poller:
        poller = self.inner.popleft()
        if not poller.future.done():
            self._limited.gate.take()
        return poller

    def clear(self) -> None:
        self.inner.clear()


class QueueConfig(msgspec.Struct, array_like=True):
    """What UpdateTaskQueueConfig said of a queue."""

    rate: float | None = None
    reason: str = ""
    identity: str = ""
    time_ns: int = 0
    weights: dict[str, float] = {}
    #: Whether a task with a rank of its own has ever waited here: then a restart looks up the ranks of all that wait.
    is_ranked: bool = False
    key_rate: float | None = None
    key_reason: str = ""
    key_identity: str = ""
    key_time_ns: int = 0
    #: Counts what was kept of the queue.
    version: int = 0


class QueueLimits:
    """Temporal's UpdateTaskQueueConfig, and the limits that workers ask for."""

    def __init__(self, core: Core, namespaces: Namespaces) -> None:
        self._core = core
        self._namespaces = namespaces
        self._configs: dict[tuple[str, int, str], QueueConfig] = {}
        self._worker_rates: dict[tuple[str, int, str], float] = {}
        self._limited: dict[tuple[str, int, str], Limited] = {}

    async def open(self) -> None:
        """Read what the store has."""
        configs: dict[tuple[str, int, str], QueueConfig] = {}
        for namespace in await self._core.store.load_namespaces():
            for document in await self._documents(namespace.namespace_id, KIND):
                configs[_key(document)] = msgspec.msgpack.decode(document.body, type=QueueConfig)
            for document in await self._documents(namespace.namespace_id, _RANKED):
                configs.setdefault(_key(document), QueueConfig()).is_ranked = True
        self._configs = configs
        if self._configs:
            self._core.matching.on_new_queue = self._prepare
            for key, queue in list(self._core.matching._queues.items()):
                self._prepare(key, queue)
                base = self._configs.get((key[0], key[1], queue.name.partition("\0")[0]))
                if base is not None and base.is_ranked:
                    await self._rank(key[1], queue)

    async def _documents(self, namespace_id: str, kind: str) -> list[Document]:
        found: list[Document] = []
        while True:
            page = await self._core.store.list_documents(namespace_id, kind, _PAGE, found[-1].id if found else "")
            found += page
            if len(page) < _PAGE:
                return found

    async def _rank(self, kind: int, queue: TaskQueue) -> None:
        """Put the tasks that waited before a restart in their places again."""
        backlog = fair_backlog(queue)
        waiting = list(backlog)
        backlog.clear()
        for task in waiting:
            rank = DEFAULT_RANK
            run = await self._core.load(task.key)
            if run is not None and kind == int(TaskKind.WORKFLOW):
                rank = Rank.of(priority_of_run(run))
            elif run is not None and task.scheduled_event_id in run.state.activities:
                activity = run.state.activities[task.scheduled_event_id]
                if activity.event is None:
                    activity.event = await self._core.event(run, activity.scheduled_event_id)
                rank = self._core.router.activity_rank(run, activity)
            backlog.insert(task, rank)

    def ranked(self, namespace_id: str, kind: int, name: str) -> None:
        """A task with a rank of its own waits in a queue; remembered with the next commit."""
        key = (self._core.matching.aliases.get(namespace_id, namespace_id), kind, name.partition("\0")[0])
        config = self._configs.get(key) or QueueConfig()
        if not config.is_ranked:
            self._configs[key] = msgspec.structs.replace(config, is_ranked=True)
            self._core.put_document(Document(key[0], _RANKED, f"{key[1]}/{key[2]}", b"1"))

    def _document(self, key: tuple[str, int, str], config: QueueConfig) -> Document:
        """A changed configuration as it is kept: its next version."""
        config.version += 1
        return Document(key[0], KIND, f"{key[1]}/{key[2]}", msgspec.msgpack.encode(config), config.version)

    async def forget(self, namespace_id: str) -> None:
        """A namespace is deleted, and the settings of its queues with it."""
        gone = [key for key in self._configs if key[0] == namespace_id]
        for key in gone:
            del self._configs[key]
        self._worker_rates = {key: rate for key, rate in self._worker_rates.items() if key[0] != namespace_id}
        if gone:
            documents = [
                Document(namespace_id, what, f"{kind}/{name}") for _, kind, name in gone for what in (KIND, _RANKED)
            ]
            await self._core.store.commit([], documents)

    async def read_again(self) -> None:
        """Take over what another engine over the same store changed."""
        await self.open()
        for key, queue in list(self._core.matching._queues.items()):
            self._prepare(key, queue)

    def _prepare(self, key: tuple[str, int, str], queue: TaskQueue) -> None:
        base = (key[0], key[1], queue.name.partition("\0")[0])
        config = self._configs.get(base)
        if config is not None and config.weights:
            fair_backlog(queue).weights = config.weights
        rate = config.rate if config is not None and config.rate is not None else self._worker_rates.get(base)
        key_rate = None if config is None else config.key_rate
        limited = self._limited.get(key)
        time = self._core.loop.time
        if limited is None and (rate is not None or key_rate is not None):
            limited = self._limited[key] = Limited(queue, Gate(_UNLIMITED, time), self._core.loop)
        if limited is not None:
            if limited.gate.rate != (rate if rate is not None else _UNLIMITED):
                limited.gate.set_rate(rate if rate is not None else _UNLIMITED)
            if key_rate is not None or limited.by_key is not None:
                fair_backlog(queue).limit_keys(None if key_rate is None else KeyGates(key_rate, time))
            limited.hurry()

    def _apply(self, base: tuple[str, int, str]) -> None:
        self._core.matching.on_new_queue = self._prepare
        for key, queue in list(self._core.matching._queues.items()):
            if key[:2] == base[:2] and queue.name.partition("\0")[0] == base[2]:
                self._prepare(key, queue)

    def worker_rate(self, namespace_id: str, name: str, rate: float) -> None:
        """A worker that polls for activities says how many a second the queue may hand out."""
        key = (namespace_id, int(TaskKind.ACTIVITY), name)
        if self._worker_rates.get(key) != rate:
            self._worker_rates[key] = rate
            self._apply(key)

    def is_shut(self, namespace_id: str, kind: int, name: str) -> bool:
        """Whether a limit holds tasks of a queue back now."""
        return any(
            key[:2] == (namespace_id, kind)
            and key[2].partition("\0")[0] == name
            and bool(limited.tasks.inner)
            and not limited.tasks
            for key, limited in self._limited.items()
        )

    def rate(self, namespace_id: str, kind: int, name: str) -> tuple[float, int]:
        """The rate that holds, and its RateLimitSource: 1 by the API, 2 by a worker, 3 the system's."""
        key = (namespace_id, kind, name)
        config = self._configs.get(key)
        if config is not None and config.rate is not None:
            return config.rate, 1
        if key in self._worker_rates:
            return self._worker_rates[key], 2
        return 100_000.0, 3

    def config(self, namespace_id: str, kind: int, name: str) -> taskqueue_v1.TaskQueueConfig:
        """What was configured, as describe shows it."""
        config = self._configs.get((namespace_id, kind, name))
        message = taskqueue_v1.TaskQueueConfig()
        if config is None:
            return message
        if config.time_ns:
            message.queue_rate_limit = taskqueue_v1.RateLimitConfig(
                None if config.rate is None else taskqueue_v1.RateLimit(config.rate),
                taskqueue_v1.ConfigMetadata(config.reason, config.identity, config.time_ns),
            )
        if config.key_time_ns:
            message.fairness_keys_rate_limit_default = taskqueue_v1.RateLimitConfig(
                None if config.key_rate is None else taskqueue_v1.RateLimit(config.key_rate),
                taskqueue_v1.ConfigMetadata(config.key_reason, config.key_identity, config.key_time_ns),
            )
        message.fairness_weight_overrides = dict(config.weights)
        return message

    async def update(self, request: ws.UpdateTaskQueueConfigRequest) -> ws.UpdateTaskQueueConfigResponse:
        """Temporal's UpdateTaskQueueConfig."""
        limits.check_id(request.task_queue, "TaskQueue")
        namespace_id = self._namespaces.get(request.namespace).namespace_id
        if request.task_queue_type not in (1, 2):
            raise invalid_argument("TaskQueueType must be workflow or activity.")
        kind = int(TaskKind.WORKFLOW if request.task_queue_type == 1 else TaskKind.ACTIVITY)
        key = (namespace_id, kind, request.task_queue)
        config = msgspec.structs.replace(self._configs.get(key) or QueueConfig())
        update = request.update_queue_rate_limit
        if update is not None:
            config.rate = _rate(update, kind, "rate limit")
            config.reason, config.identity, config.time_ns = update.reason, request.identity, self._core.now()
        update = request.update_fairness_key_rate_limit_default
        if update is not None:
            config.key_rate = _rate(update, kind, "fairness key rate limit")
            config.key_reason, config.key_identity = update.reason, request.identity
            config.key_time_ns = self._core.now()
        weights = {**config.weights, **request.set_fairness_weight_overrides}
        for name in request.unset_fairness_weight_overrides:
            weights.pop(name, None)
        if any(weight <= 0 for weight in weights.values()):
            raise invalid_argument("Fairness weights must be greater than 0.")
        config.weights = weights
        batch = self._core.put_document(self._document(key, config))
        waiter: asyncio.Future[None] = self._core.loop.create_future()
        batch.waiters.append(waiter)
        await waiter
        self._configs[key] = config
        self._apply(key)
        return ws.UpdateTaskQueueConfigResponse(self.config(namespace_id, kind, request.task_queue))


def _key(document: Document) -> tuple[str, int, str]:
    kind, _, name = document.id.partition("/")
    return document.namespace_id, int(kind), name


def _rate(update: ws.UpdateTaskQueueConfigRequestRateLimitUpdate, kind: int, what: str) -> float | None:
    rate = None if update.rate_limit is None else update.rate_limit.requests_per_second
    if rate is not None and kind == int(TaskKind.WORKFLOW):
        raise invalid_argument(f"Setting {what} on workflow task queues is not allowed.")
    if rate is not None and rate < 0:
        raise invalid_argument("RequestsPerSecond must not be negative.")
    return rate
