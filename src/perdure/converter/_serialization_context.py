"""What a converter or codec may know of the execution whose payloads it handles."""

from __future__ import annotations

from abc import ABC
from dataclasses import dataclass
from typing import Self


class SerializationContext(ABC):  # noqa: B024  (a family, without behaviour)
    """Base of the contexts given to :meth:`WithSerializationContext.with_context`.

    Arguments and results of a workflow, also as a child and also seen from clients, come with a
    :class:`WorkflowSerializationContext`; those of an activity with an :class:`ActivitySerializationContext` on both
    sides; those of a Nexus operation with a :class:`NexusSerializationContext`.
    """


@dataclass(frozen=True)
class WorkflowSerializationContext(SerializationContext):
    """The workflow that the payloads belong to."""

    namespace: str
    workflow_id: str
    """Its id; for a schedule's action, the id before the schedule appends the time."""


@dataclass(frozen=True)
class ActivitySerializationContext(SerializationContext):
    """The activity that the payloads belong to, and the workflow that runs it if one does."""

    namespace: str
    activity_id: str | None
    activity_type: str | None
    activity_task_queue: str | None
    workflow_id: str | None
    workflow_type: str | None
    is_local: bool


@dataclass(frozen=True)
class NexusSerializationContext(SerializationContext):
    """The Nexus operation that the payloads belong to.

    Not every path knows it, so whatever was encoded with it must decode without it.
    """

    endpoint: str
    service: str
    operation: str


class WithSerializationContext(ABC):  # noqa: B024  (an opt-in: nothing must be overridden)
    """For payload converters, codecs and failure converters that work differently per execution."""

    def with_context(self, context: SerializationContext) -> Self:
        """A copy of this object for payloads of ``context``."""
        raise NotImplementedError(f"{type(self).__name__} inherits WithSerializationContext but has no with_context")
