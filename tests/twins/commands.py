"""What the commands of one workflow task do to what is pending, command by command.

The reference twin of ``perdure._native.commands``: it refuses with the cause Temporal's server names, or says which
events are written and what is pending afterwards.
"""

from __future__ import annotations

from typing import Any

ACTIVITY, CANCEL_ACTIVITY, TIMER, CANCEL_TIMER = 1, 2, 3, 6


class RefusedError(Exception):
    """The first command that cannot be taken fails the workflow task with this cause."""

    def __init__(self, cause: int) -> None:
        super().__init__(cause)
        self.cause = cause


class CommandTwin:
    """Pending activities (scheduled event id -> [activity id, whether started, whether asked to cancel]) and timers."""

    def __init__(self, next_event_id: int, activities: dict[int, list[Any]], timers: set[str]) -> None:
        self.next_event_id = next_event_id
        self.activities = {event_id: list(activity) for event_id, activity in activities.items()}
        self.timers = set(timers)
        #: Event types, in order.
        self.events: list[int] = []

    def take(self, command: Any) -> None:
        """Do what one command says, or refuse it."""
        a = command.attributes
        if command.command_type == ACTIVITY:
            if not a.activity_id or not (a.schedule_to_close_timeout or a.start_to_close_timeout):
                raise RefusedError(2)
            if any(activity[0] == a.activity_id for activity in self.activities.values()):
                raise RefusedError(22)
            self.activities[self._write(10)] = [a.activity_id, False, False]
        elif command.command_type == CANCEL_ACTIVITY:
            activity = self.activities.get(a.scheduled_event_id)
            if activity is None or activity[2]:
                raise RefusedError(3)
            self._write(15)
            activity[2] = True
            if not activity[1]:
                self._write(16)
                del self.activities[a.scheduled_event_id]
        elif command.command_type == TIMER:
            if not a.timer_id or a.start_to_fire_timeout < 0:
                raise RefusedError(4)
            if a.timer_id in self.timers:
                raise RefusedError(12)
            self._write(17)
            self.timers.add(a.timer_id)
        else:
            if a.timer_id not in self.timers:
                raise RefusedError(5)
            self._write(19)
            self.timers.remove(a.timer_id)

    def _write(self, event_type: int) -> int:
        self.events.append(event_type)
        self.next_event_id += 1
        return self.next_event_id - 1
