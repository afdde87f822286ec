"""Task queues of a node: as in ``matching``, and told when a poll finds nothing or a task finds nobody."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from perdure.engine.matching import Matching, Poller, Task, TaskQueue

QueueName = tuple[str, int, str]


class ClusterTaskQueue(TaskQueue):
    """A queue whose tasks may go to pollers of other nodes."""

    def __init__(self, name: str, key: QueueName, on_waiting: Callable[[ClusterTaskQueue], None]) -> None:
        super().__init__(name)
        self.key = key
        #: Told when a task found no poller here.
        self.on_waiting = on_waiting

    def add(self, task: Task) -> bool:
        """As :meth:`TaskQueue.add`."""
        is_taken = super().add(task)
        if self.tasks:
            self.on_waiting(self)
        return is_taken

    @property
    def waiting_polls(self) -> int:
        """How many polls wait here."""
        return sum(not poller.future.done() for poller in self.pollers)


class ClusterMatching(Matching):
    """Every task queue of a node."""

    def __init__(self, loop: Any, deadlines: Any) -> None:
        super().__init__(loop, deadlines)
        #: Told of a queue in which a poll is about to wait, and of one in which a task is.
        self.on_poll: Callable[[ClusterTaskQueue], None] = lambda queue: None
        self.on_waiting: Callable[[ClusterTaskQueue], None] = lambda queue: None

    def _new_queue(self, key: QueueName) -> TaskQueue:
        return ClusterTaskQueue(key[2], key, lambda found: self.on_waiting(found))

    def all(self) -> list[ClusterTaskQueue]:
        """Every queue."""
        return [queue for queue in self._queues.values() if isinstance(queue, ClusterTaskQueue)]

    def enter(self, queue: TaskQueue, identity: str, timeout: float, is_local: bool) -> Poller:
        """As :meth:`Matching.enter`."""
        if isinstance(queue, ClusterTaskQueue):
            self.on_poll(queue)
        return super().enter(queue, identity, timeout, is_local)
