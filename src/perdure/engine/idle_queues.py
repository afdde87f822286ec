"""Forgets task queues that nobody uses any more: every worker that starts brings a sticky queue of its own."""

from __future__ import annotations

from collections import deque

from perdure.engine.core import Core
from perdure.engine.matching import TaskQueue

#: Seconds after its last poll for which a queue is kept, and a poller's name in it.
IDLE = 900.0
_INTERVAL = 300.0


class IdleQueues:
    """Looks through the queues now and then."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._again()

    def _again(self) -> None:
        self._core.loop.call_later(_INTERVAL, self._look)

    def _look(self) -> None:
        if not self._core.is_closed:
            self.forget(IDLE)
            self._again()

    def forget(self, idle: float) -> None:
        """Forget the queues that have been unused for so many seconds.

        Not while anything is on its way to the store: a task may be about to come into a queue then.
        """
        core = self._core
        if not core.is_settled:
            return
        before = core.loop.time() - idle
        queues = core.matching._queues
        for key, queue in list(queues.items()):
            for identity in [name for name, seen in queue.identities.items() if seen < before]:
                del queue.identities[identity]
            if _is_unused(queue, before):
                del queues[key]


def _is_unused(queue: TaskQueue, before: float) -> bool:
    """Whether nothing would be lost with a queue. Those with limits or priorities, and a cluster's, are kept."""
    return (
        type(queue) is TaskQueue
        and type(queue.tasks) is deque
        and type(queue.pollers) is deque
        and not queue.tasks
        and queue.last_poll < before
        and queue.created < before
        and all(poller.future.done() for poller in queue.pollers)
    )
