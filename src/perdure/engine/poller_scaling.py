"""What a worker elsewhere is told of how much it polls: fewer polls where they wait long, more where tasks do."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from time import monotonic

from perdure.api.taskqueue.v1 import PollerScalingDecision
from perdure.engine.matching import Matching, TaskQueue
from perdure.store.api import TaskKind

#: Seconds after which a poll that got its task is one too many.
_IDLE = 1.0
#: Nanoseconds that the oldest task waits before more polls help.
_OLD_NS = 200_000_000
#: So many times more tasks come than go.
_RATIO = 1.2
#: Seconds between two pieces of advice to poll a queue more.
_PAUSE = 0.1
_MOST_QUEUES = 10_000


class PollerScaling:
    """Gives the advice that answers to polls carry."""

    def __init__(self, matching: Matching, age_of: Callable[[TaskQueue, TaskKind], Awaitable[int]]) -> None:
        self._matching = matching
        self._age_of = age_of
        #: When a queue was looked at last.
        self._looked: dict[tuple[str, int, str], float] = {}

    async def decide(self, namespace_id: str, kind: TaskKind, name: str, began: float) -> PollerScalingDecision | None:
        """The advice to a poll that got a task, and began at a time of :func:`time.monotonic`; None: go on."""
        now = monotonic()
        if now - began >= _IDLE:
            return PollerScalingDecision(-1)
        key = namespace_id, int(kind), name
        if now - self._looked.get(key, float("-inf")) < _PAUSE:
            return None
        if len(self._looked) >= _MOST_QUEUES:
            self._looked.clear()
        self._looked[key] = now
        queue = self._matching.queue(namespace_id, kind, name)
        if queue.tasks and await self._age_of(queue, kind) > _OLD_NS:
            return PollerScalingDecision(1)
        added, dispatched = queue.rates(now)
        return PollerScalingDecision(1) if added > dispatched * _RATIO else None
