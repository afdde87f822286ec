"""Topics with the type of their values."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from perdure.api.common.v1 import Payload
    from perdure.contrib.workflow_streams._client import WorkflowStreamClient
    from perdure.contrib.workflow_streams._stream import WorkflowStream
    from perdure.contrib.workflow_streams._types import WorkflowStreamItem

T = TypeVar("T")


class TopicHandle(Generic[T]):
    """A topic, seen from outside the workflow. Made by :meth:`WorkflowStreamClient.topic`."""

    def __init__(self, client: WorkflowStreamClient, name: str, type: type[T]) -> None:
        """Name a topic and its type."""
        self._client = client
        self._name = name
        self._type = type

    @property
    def name(self) -> str:
        """The topic's name."""
        return self._name

    @property
    def type(self) -> type[T]:
        """The type of its values."""
        return self._type

    def publish(self, value: T | Payload, *, force_flush: bool = False) -> None:
        """Publish with the client's next batch; with ``force_flush`` that goes out now, and is not waited for."""
        self._client._publish(self._name, value, force_flush)

    async def subscribe(
        self, from_offset: int = 0, *, poll_cooldown: timedelta = timedelta(milliseconds=100)
    ) -> AsyncIterator[WorkflowStreamItem[T]]:
        """The topic's items; see :meth:`WorkflowStreamClient.subscribe`."""
        async for item in self._client.subscribe(
            [self._name], from_offset, result_type=self._type, poll_cooldown=poll_cooldown
        ):
            yield item


class WorkflowTopicHandle(Generic[T]):
    """A topic, seen from the workflow. Made by :meth:`WorkflowStream.topic`."""

    def __init__(self, stream: WorkflowStream, name: str, type: type[T]) -> None:
        """Name a topic and its type."""
        self._stream = stream
        self._name = name
        self._type = type

    @property
    def name(self) -> str:
        """The topic's name."""
        return self._name

    @property
    def type(self) -> type[T]:
        """The type of its values."""
        return self._type

    def publish(self, value: T | Payload) -> None:
        """Append a value to the stream."""
        self._stream._publish(self._name, value)
