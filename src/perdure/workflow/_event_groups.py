"""Event groups: marks on commands, and on the events they become, that belong together for who looks at them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from types import MappingProxyType

from perdure.api.sdk.v1 import EventGroupMarker, EventGroupMarkerLabel
from perdure.converter import PayloadConverter
from perdure.workflow._runtime import _Runtime

_active: ContextVar[Mapping[str, EventGroup]] = ContextVar("perdure event groups", default=MappingProxyType({}))

#: Whether this process has ever made a group: most never do, and their commands ask no further.
in_use = False


class EventGroup:
    """A group of commands and events. Made by :func:`create_event_group`.

    Give it to single calls as ``event_groups=[group]``, or put calls into a :meth:`scope`.
    """

    def __init__(self, id: str, label: str | None) -> None:
        self._id = id
        self._label = label

    @contextmanager
    def scope(self) -> Iterator[None]:
        """Every command made inside belongs to the group, also of tasks started inside. Scopes nest and add up."""
        _Runtime.current()
        token = _active.set({**_active.get(), self._id: self})
        try:
            yield
        finally:
            # A coroutine that is closed instead of finished leaves its scope from another context, and takes its own along.
            with suppress(ValueError):
                _active.reset(token)

    def _marker(self) -> EventGroupMarker:
        label = None if self._label is None else PayloadConverter.default.to_payload(self._label)
        return EventGroupMarker(label=EventGroupMarkerLabel(self._id, label))


def create_event_group(id: str, *, label: str | None = None) -> EventGroup:
    """A group to mark commands with.

    Args:
        id: same id, same group. Histories show it as it is.
        label: what user interfaces show instead.
    """
    global in_use
    _Runtime.current()
    for name, value in (("id", id), ("label", label)):
        if value == "":
            raise ValueError(f"Event group {name} cannot be empty")
    in_use = True
    return EventGroup(id, label)


def markers(given: Sequence[EventGroup] | None) -> list[EventGroupMarker]:
    """The marks of a command made now: those of the scopes it is in, and those it was given."""
    groups = _active.get()
    if given:
        for group in given:
            if not isinstance(group, EventGroup):
                raise TypeError("Event groups must be created with workflow.create_event_group()")
        groups = {**groups, **{group._id: group for group in given}}
    return [group._marker() for group in groups.values()]
