"""The stream inside its workflow."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any, NoReturn, TypeVar, overload

from perdure import workflow
from perdure.api.common.v1 import Payload
from perdure.contrib.workflow_streams._topic_handle import WorkflowTopicHandle
from perdure.contrib.workflow_streams._types import (
    DRAINING,
    OFFSET,
    POLL,
    PUBLISH,
    TRUNCATED,
    PollInput,
    PollResult,
    PublisherState,
    PublishInput,
    WorkflowStreamState,
    _WorkflowStreamWireItem,
    bind_topic,
    decode_payload,
    encode_payload,
)
from perdure.exceptions import ApplicationError

T = TypeVar("T")

_MAX_ANSWER = 1_000_000
_TTL = timedelta(seconds=900)


class WorkflowStream:
    """A log of items in a workflow, with handlers to publish and to read. Make one in the workflow's ``__init__``.

    Replay: the log is rebuilt from the workflow's signals and its own publishing.
    """

    def __init__(self, prior_state: WorkflowStreamState | None = None) -> None:
        """Register the handlers; go on with the state of the run before, if there was one.

        Raises:
            RuntimeError: not called in an ``__init__``, or the workflow has a stream already.
        """
        caller = sys._getframe(1).f_code.co_name
        if caller != "__init__":
            raise RuntimeError(
                f"WorkflowStream must be constructed directly from the workflow's @workflow.init method, not from {caller!r}."
            )
        if workflow.get_signal_handler(PUBLISH) is not None:
            raise RuntimeError("WorkflowStream is already registered on this workflow: make one only.")
        state = prior_state or WorkflowStreamState()
        self._log: list[tuple[str, Payload]] = [(item.topic, decode_payload(item.data)) for item in state.log]
        self._base = state.base_offset
        self._publishers = dict(state.publishers)
        self._is_detaching = False
        self._topic_types: dict[str, Any] = {}
        workflow.set_signal_handler(PUBLISH, self._on_publish)
        workflow.set_update_handler(POLL, self._on_poll, validator=self._validate_poll)
        workflow.set_query_handler(POLL, self._read)
        workflow.set_query_handler(OFFSET, self._end)

    @overload
    def topic(self, name: str) -> WorkflowTopicHandle[Any]: ...

    @overload
    def topic(self, name: str, *, type: type[T]) -> WorkflowTopicHandle[T]: ...

    def topic(self, name: str, *, type: Any = None) -> WorkflowTopicHandle[Any]:
        """A topic to publish to. Raises RuntimeError when its values have another type already."""
        return WorkflowTopicHandle(self, name, bind_topic(self._topic_types, name, type, "workflow stream"))

    def truncate(self, up_to_offset: int) -> None:
        """Forget the items before an offset. The others keep theirs.

        Raises:
            ApplicationError: there is no such offset yet.
        """
        count = up_to_offset - self._base
        if count > len(self._log):
            raise ApplicationError(
                f"Cannot truncate to offset {up_to_offset}: valid range is [{self._base}, {self._end()})",
                type="TruncateOutOfRange",
            )
        if count > 0:
            del self._log[:count]
            self._base = up_to_offset

    def get_state(self, *, publisher_ttl: timedelta = _TTL) -> WorkflowStreamState:
        """The stream to carry over continue-as-new.

        Publishers that were silent for ``publisher_ttl`` are forgotten: longer than any of them tries to send a batch.
        """
        now = workflow.now()
        return WorkflowStreamState(
            log=[_WorkflowStreamWireItem(topic, encode_payload(data)) for topic, data in self._log],
            base_offset=self._base,
            publishers={
                id: publisher for id, publisher in self._publishers.items() if now - publisher.last_seen < publisher_ttl
            },
        )

    def detach_pollers(self) -> None:
        """Answer everybody who waits for items and refuse who comes: before continue-as-new."""
        self._is_detaching = True

    async def continue_as_new(
        self, build_args: Callable[[WorkflowStreamState], Sequence[Any]], *, publisher_ttl: timedelta = _TTL
    ) -> NoReturn:
        """Detach pollers, wait for handlers, and continue as new with the arguments made from the state."""
        self.detach_pollers()
        await workflow.wait_condition(workflow.all_handlers_finished)
        workflow.continue_as_new(args=build_args(self.get_state(publisher_ttl=publisher_ttl)))

    def _publish(self, topic: str, value: Any) -> None:
        payload = value if isinstance(value, Payload) else workflow.payload_converter().to_payloads([value])[0]
        self._log.append((topic, payload))

    def _on_publish(self, batch: PublishInput) -> None:
        if batch.publisher_id:
            known = self._publishers.get(batch.publisher_id)
            if known is not None and batch.sequence <= known.sequence:
                return
            self._publishers[batch.publisher_id] = PublisherState(batch.sequence, workflow.now())
        self._log += [(entry.topic, decode_payload(entry.data)) for entry in batch.items]

    def _validate_poll(self, _poll: PollInput) -> None:
        if self._is_detaching:
            raise ApplicationError("Workflow pollers are detached for continue-as-new", type=DRAINING)

    async def _on_poll(self, poll: PollInput) -> PollResult:
        # The beginning may move while this waits.
        await workflow.wait_condition(
            lambda: self._is_detaching or poll.from_offset < self._base or poll.from_offset < self._end()
        )
        if 0 != poll.from_offset < self._base:
            raise ApplicationError(
                f"Requested offset {poll.from_offset} has been truncated. Current base offset is {self._base}.",
                type=TRUNCATED,
            )
        return self._read(poll)

    def _read(self, poll: PollInput) -> PollResult:
        """What there is now, as much as an answer holds."""
        items: list[_WorkflowStreamWireItem] = []
        size = 0
        for offset in range(max(poll.from_offset, self._base), self._end()):
            topic, payload = self._log[offset - self._base]
            if poll.topics and topic not in poll.topics:
                continue
            size += (payload.ByteSize() * 4 + 2) // 3 + len(topic)
            if size > _MAX_ANSWER and items:
                return PollResult(items, offset, more_ready=True)
            items.append(_WorkflowStreamWireItem(topic, encode_payload(payload), offset))
        return PollResult(items, self._end())

    def _end(self) -> int:
        """The offset of the next item."""
        return self._base + len(self._log)
