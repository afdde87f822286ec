"""The options of a standalone activity that can be changed while it is pending."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from perdure._times import duration_to_ns, optional_duration_from_ns
from perdure.api.activity.v1 import ActivityOptions
from perdure.api.taskqueue.v1 import TaskQueue
from perdure.common import Priority, RetryPolicy

if TYPE_CHECKING:
    from collections.abc import Sequence

_T = TypeVar("_T")


@dataclass(frozen=True)
class ActivityOptionsKey(Generic[_T]):
    """One option; take those of :class:`ActivityOptionsKeys`."""

    name: str
    """Its path in the request's field mask."""

    def value_set(self, value: _T) -> ActivityOptionsUpdate[_T]:
        """The update that gives the option a value."""
        return ActivityOptionsUpdate(self, value)

    def value_unset(self) -> ActivityOptionsUpdate[_T]:
        """The update that clears the option."""
        return ActivityOptionsUpdate(self, None)


@dataclass(frozen=True)
class ActivityOptionsUpdate(Generic[_T]):
    """A change of one option; others stay as they are."""

    key: ActivityOptionsKey[_T]
    """The option."""
    value: _T | None
    """Its new value; None clears it."""


class ActivityOptionsKeys:
    """What :meth:`ActivityHandle.update_options` can change."""

    task_queue: ActivityOptionsKey[str] = ActivityOptionsKey("task_queue.name")
    schedule_to_close_timeout: ActivityOptionsKey[timedelta] = ActivityOptionsKey("schedule_to_close_timeout")
    schedule_to_start_timeout: ActivityOptionsKey[timedelta] = ActivityOptionsKey("schedule_to_start_timeout")
    start_to_close_timeout: ActivityOptionsKey[timedelta] = ActivityOptionsKey("start_to_close_timeout")
    heartbeat_timeout: ActivityOptionsKey[timedelta] = ActivityOptionsKey("heartbeat_timeout")
    start_delay: ActivityOptionsKey[timedelta] = ActivityOptionsKey("start_delay")
    retry_policy: ActivityOptionsKey[RetryPolicy] = ActivityOptionsKey("retry_policy")
    priority: ActivityOptionsKey[Priority] = ActivityOptionsKey("priority")


@dataclass(frozen=True)
class ActivityExecutionOptions:
    """The options that hold after a change."""

    task_queue: str | None
    """Where it waits for a worker."""
    schedule_to_close_timeout: timedelta | None
    """Limit over all attempts."""
    schedule_to_start_timeout: timedelta | None
    """Limit of waiting for a worker."""
    start_to_close_timeout: timedelta | None
    """Limit of one attempt."""
    heartbeat_timeout: timedelta | None
    """Longest silence between heartbeats."""
    start_delay: timedelta | None
    """How long the first attempt was held back."""
    retry_policy: RetryPolicy | None
    """When a failed attempt is tried again."""
    priority: Priority | None
    """Among the tasks of its queue."""

    @staticmethod
    def _from_proto(options: ActivityOptions) -> ActivityExecutionOptions:
        return ActivityExecutionOptions(
            task_queue=None if options.task_queue is None else options.task_queue.name,
            schedule_to_close_timeout=optional_duration_from_ns(options.schedule_to_close_timeout or None),
            schedule_to_start_timeout=optional_duration_from_ns(options.schedule_to_start_timeout or None),
            start_to_close_timeout=optional_duration_from_ns(options.start_to_close_timeout or None),
            heartbeat_timeout=optional_duration_from_ns(options.heartbeat_timeout or None),
            start_delay=optional_duration_from_ns(options.start_delay or None),
            retry_policy=None if options.retry_policy is None else RetryPolicy.from_proto(options.retry_policy),
            priority=None if options.priority is None else Priority._from_proto(options.priority),
        )


def options_message(updates: Sequence[ActivityOptionsUpdate[Any]]) -> tuple[ActivityOptions, list[str]]:
    """The message and the field mask of some updates.

    Raises:
        ValueError: an option is named twice, or is not one that can change.
    """
    message = ActivityOptions()
    mask: list[str] = []
    for update in updates:
        name, value = update.key.name, update.value
        if name in mask:
            raise ValueError(f"update_options: {name} is given more than one update")
        mask.append(name)
        if value is None:
            continue
        if name == "task_queue.name":
            message.task_queue = TaskQueue(value)
        elif isinstance(value, RetryPolicy | Priority):
            setattr(message, name, value._to_proto())
        elif isinstance(value, timedelta) and hasattr(message, name):
            setattr(message, name, duration_to_ns(value))
        else:
            raise ValueError(f"update_options: {name} is not an option that can be set to {value!r}")
    return message, mask
