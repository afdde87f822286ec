"""Activities that go to a worker elsewhere with the answer to its workflow task, without a poll."""

from __future__ import annotations

from perdure._native.mutable_state import ActivityInfo
from perdure.api.command.v1 import ScheduleActivityTaskCommandAttributes
from perdure.api.workflowservice import v1 as ws
from perdure.engine.run import Run


class EagerStarts:
    """The activities a worker has kept slots for, and those of them that were started for it."""

    def __init__(self, identity: str, activity_ids: set[str]) -> None:
        self.identity = identity
        self._activity_ids = activity_ids
        self.started: list[tuple[ActivityInfo, ws.PollActivityTaskQueueResponse]] = []

    @classmethod
    def of(cls, request: ws.RespondWorkflowTaskCompletedRequest) -> EagerStarts | None:
        """What a completed workflow task asks for; None: nothing."""
        wanted = set()
        for command in request.commands:
            attributes = command.attributes
            if isinstance(attributes, ScheduleActivityTaskCommandAttributes) and attributes.request_eager_execution:
                wanted.add(attributes.activity_id)
        return cls(request.identity, wanted) if wanted else None

    def wants(self, run: Run, activity: ActivityInfo) -> bool:
        """Whether the worker gets this activity: those of its own task queue that it asked for."""
        return (
            activity.activity_id in self._activity_ids
            and activity.event is not None
            and activity.task_queue == run.state.task_queue
        )
