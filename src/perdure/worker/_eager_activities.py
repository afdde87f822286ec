"""Activities that come with the answer of the workflow task that scheduled them, at a service with a wire.

A worker says with each activity whether it would start it at once. It only says so while it has a slot for it in
hand, because what the service gives it has started. (In process the engine knows which pollers are free.)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from perdure.api.enums.v1 import CommandType

if TYPE_CHECKING:
    from collections.abc import Sequence

    from perdure.api.command.v1 import Command
    from perdure.api.workflowservice.v1 import PollActivityTaskQueueResponse
    from perdure.worker._pollers import PollerGroup

_SCHEDULE = int(CommandType.COMMAND_TYPE_SCHEDULE_ACTIVITY_TASK)


class EagerActivities:
    """The slots that workflow tasks hold for their activities."""

    def __init__(self, pollers: PollerGroup | None, most_per_task: int) -> None:
        """``pollers`` are the worker's for activities, None when it takes none from the service."""
        self._pollers = pollers
        self._most_per_task = most_per_task

    async def reserve(self, commands: Sequence[Command]) -> list[Any]:
        """Hold slots for the activities among the commands; those that get none shall not come with the answer."""
        permits: list[Any] = []
        for command in commands:
            if command.command_type != _SCHEDULE:
                continue
            attributes: Any = command.attributes
            if attributes.request_eager_execution:
                permit = None
                if self._pollers is not None and len(permits) < self._most_per_task:
                    permit = await self._pollers.try_reserve()
                if permit is None:
                    attributes.request_eager_execution = False
                else:
                    permits.append(permit)
        return permits

    def start(self, permits: list[Any], tasks: Sequence[PollActivityTaskQueueResponse]) -> None:
        """Run the activities that came, and give back the slots that nobody needs."""
        if self._pollers is not None:
            for task in tasks[: len(permits)]:
                self._pollers.dispatch(task, permits.pop())
            for permit in permits:
                self._pollers.give_back(permit)
