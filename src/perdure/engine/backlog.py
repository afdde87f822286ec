"""The order of waiting tasks in a queue that knows priorities and fairness keys.

A plain queue is first in, first out. The first task with a priority of its own gives its queue a :class:`FairBacklog`,
which looks like the deque it replaces. Lower priority keys come first; within one, each fairness key gets a share by
its weight: a task's *pass* is that of its key's last task plus 1/weight, and passes come in order.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Iterator
from time import monotonic
from typing import Any, NamedTuple

from perdure.api.common import v1 as common_v1
from perdure.engine.errors import invalid_argument
from perdure.engine.gates import KeyGates
from perdure.engine.matching import Matching, Task, TaskQueue

DEFAULT_PRIORITY = 3
LAST_PRIORITY = 5
MAX_KEY_BYTES = 64
MIN_WEIGHT, MAX_WEIGHT = 0.001, 1000.0
#: Seconds to wait at least for a gate that should be open but is not quite.
_SOON = 0.0001


class Rank(NamedTuple):
    """The place a task may claim."""

    priority: int = DEFAULT_PRIORITY
    key: str = ""
    weight: float = 1.0

    @staticmethod
    def of(priority: common_v1.Priority | None) -> Rank:
        """The rank of a Priority message; the default one where there is none."""
        if priority is None or not (priority.priority_key or priority.fairness_key or priority.fairness_weight):
            return DEFAULT_RANK
        return Rank(
            min(priority.priority_key or DEFAULT_PRIORITY, LAST_PRIORITY),
            priority.fairness_key,
            min(max(priority.fairness_weight or 1.0, MIN_WEIGHT), MAX_WEIGHT),
        )


DEFAULT_RANK = Rank()


def check_priority(priority: common_v1.Priority | None) -> None:
    """Refuse a priority out of bounds."""
    if priority is None:
        return
    if priority.priority_key < 0:
        raise invalid_argument("priority key can't be negative")
    if len(priority.fairness_key.encode()) > MAX_KEY_BYTES:
        raise invalid_argument(f"fairness key has more than {MAX_KEY_BYTES} bytes")
    if priority.fairness_weight < 0:
        raise invalid_argument("fairness weight can't be negative")


class _Level:
    """The passes of one priority."""

    __slots__ = ("last", "now", "size")

    def __init__(self) -> None:
        self.now = 0.0
        self.last: dict[str, float] = {}
        self.size = 0


#: priority, pass, number, task, fairness key, weight
_Item = tuple[int, float, int, Task, str, float]


class FairBacklog:
    """Waiting tasks by priority and fair share; a deque to its queue.

    Where fairness keys have gates, a task whose key has its gate shut is parked when its turn comes. The first of a
    key's parked tasks comes back when the gate opens.
    """

    def __init__(self, tasks: deque[Task]) -> None:
        self._front: deque[Task] = deque()
        self._heap: list[_Item] = []
        self._levels: dict[int, _Level] = {}
        self._count = 0
        #: fairness key -> weight that counts instead of the task's own.
        self.weights: dict[str, float] = {}
        self.gates: KeyGates | None = None
        self._parked: dict[str, list[_Item]] = {}
        #: When which key with parked tasks opens.
        self._openings: list[tuple[float, str]] = []
        for task in tasks:
            self.append(task)

    def __len__(self) -> int:
        """How many wait."""
        return len(self._front) + len(self._heap) + sum(map(len, self._parked.values()))

    def __bool__(self) -> bool:
        """Whether any wait."""
        return bool(self._front or self._heap or self._parked)

    def __iter__(self) -> Iterator[Task]:
        """Those that wait, in order."""
        yield from self._front
        items = self._heap + [item for parked in self._parked.values() for item in parked]
        for item in sorted(items, key=lambda item: item[:3]):
            yield item[3]

    def append(self, task: Task) -> None:
        """Take in a task without a priority of its own."""
        self.insert(task, DEFAULT_RANK)

    def appendleft(self, task: Task) -> None:
        """Take back a task that was handed out already."""
        self._front.appendleft(task)

    def insert(self, task: Task, rank: Rank) -> None:
        """Take in a task."""
        level = self._levels.get(rank.priority)
        if level is None:
            level = self._levels[rank.priority] = _Level()
        weight = self.weights.get(rank.key, rank.weight)
        at = max(level.last.get(rank.key, 0.0), level.now) + 1.0 / weight
        level.last[rank.key] = at
        level.size += 1
        self._count += 1
        heapq.heappush(self._heap, (rank.priority, at, self._count, task, rank.key, weight))

    def popleft(self) -> Task:
        """The next task, whatever the gates say."""
        if self._front:
            return self._front.popleft()
        if self._parked:
            self._unpark()
        return self._pop()[3]

    def _pop(self) -> _Item:
        item = heapq.heappop(self._heap)
        level = self._levels[item[0]]
        level.now = item[1]
        level.size -= 1
        if not level.size:
            del self._levels[item[0]]
        return item

    def clear(self) -> None:
        """Forget them all."""
        self._front.clear()
        self._heap.clear()
        self._levels.clear()
        self._parked.clear()
        self._openings.clear()

    def sizes(self) -> dict[int, int]:
        """How many wait, by priority."""
        sizes = {priority: level.size for priority, level in self._levels.items()}
        if self._front:
            sizes[DEFAULT_PRIORITY] = sizes.get(DEFAULT_PRIORITY, 0) + len(self._front)
        return sizes

    # ---- limits of fairness keys

    def limit_keys(self, gates: KeyGates | None) -> None:
        """Give fairness keys gates, or take them away."""
        self._unpark()
        self.gates = gates

    def is_ready(self) -> bool:
        """Whether the next task may pass the gate of its key; parks those that may not."""
        gates = self.gates
        if self._front or gates is None:
            return bool(self._front or self._heap)
        now = gates.time()
        while self._openings and self._openings[0][0] <= now:
            _, key = heapq.heappop(self._openings)
            if not gates.is_open(key):
                heapq.heappush(self._openings, (max(gates.opens_at(key), now + _SOON), key))
                continue
            parked = self._parked[key]
            heapq.heappush(self._heap, heapq.heappop(parked))
            if parked:  # the next one comes back when this one has gone
                heapq.heappush(self._openings, (now + max(1.0 / (gates.rate * parked[0][5]), _SOON), key))
            else:
                del self._parked[key]
        while self._heap and not gates.is_open(self._heap[0][4]):
            item = heapq.heappop(self._heap)
            if item[4] not in self._parked:
                self._parked[item[4]] = []
                heapq.heappush(self._openings, (gates.opens_at(item[4]), item[4]))
            heapq.heappush(self._parked[item[4]], item)
        return bool(self._heap)

    def take(self) -> Task:
        """The next task, which is ready, through the gate of its key."""
        if self._front:
            return self._front.popleft()
        item = self._pop()
        if self.gates is not None:
            self.gates.take(item[4], item[5])
        return item[3]

    def delay(self, now: float) -> float:
        """Seconds until the first key with parked tasks opens."""
        return max(self._openings[0][0] - now, 0.0) if self._openings else 0.0

    def _unpark(self) -> None:
        for parked in self._parked.values():
            self._heap += parked
        heapq.heapify(self._heap)
        self._parked.clear()
        self._openings.clear()


def add_ranked(queue: TaskQueue, task: Task, rank: Rank) -> None:
    """Hand a task to a waiting poll, or let it wait in its place."""
    if rank is DEFAULT_RANK:
        queue.add(task)
        return
    poller = queue.reserve()
    if poller is not None:
        poller.future.set_result(task)
        return
    queue.count(monotonic(), 1, 0)
    fair_backlog(queue).insert(task, rank)
    tasks: Any = queue.tasks
    if hasattr(tasks, "look"):
        tasks.look()


def fair_backlog(queue: TaskQueue) -> FairBacklog:
    """The queue's backlog as one that knows ranks."""
    tasks: Any = queue.tasks
    gate = tasks if hasattr(tasks, "inner") else None  # a queue with a rate limit has its gate in front
    inner = tasks if gate is None else gate.inner
    if not isinstance(inner, FairBacklog):
        inner = FairBacklog(inner)
        if gate is None:
            queue.tasks = inner  # type: ignore[assignment]  # has what a queue asks of a deque
        else:
            gate.inner = inner
    return inner


def parts_of(matching: Matching, namespace_id: str, kind: int, name: str) -> list[TaskQueue]:
    """A queue and its parts for versions of worker deployments."""
    return [
        queue
        for (owner, of_kind, full), queue in matching._queues.items()
        if owner == namespace_id and of_kind == int(kind) and full.partition("\0")[0] == name
    ]


def sizes_of(queue: TaskQueue) -> dict[int, int]:
    """How many tasks wait in a queue, by priority."""
    tasks: Any = queue.tasks
    inner = getattr(tasks, "inner", tasks)
    if isinstance(inner, FairBacklog):
        return inner.sizes()
    return {DEFAULT_PRIORITY: len(inner)} if inner else {}
