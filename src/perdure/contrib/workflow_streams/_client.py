"""The stream from outside: publishing in batches, subscribing over runs."""

from __future__ import annotations

import asyncio
import contextlib
import time
import uuid
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Self, TypeVar, overload

from perdure import activity
from perdure.api.common.v1 import Payload
from perdure.client import (
    Client,
    WorkflowExecutionDescription,
    WorkflowExecutionStatus,
    WorkflowHandle,
    WorkflowUpdateFailedError,
    WorkflowUpdateRPCTimeoutOrCancelledError,
    WorkflowUpdateStage,
)
from perdure.contrib.workflow_streams._topic_handle import TopicHandle
from perdure.contrib.workflow_streams._types import (
    DRAINING,
    OFFSET,
    POLL,
    PUBLISH,
    TRUNCATED,
    PollInput,
    PollResult,
    PublishEntry,
    PublishInput,
    WorkflowStreamItem,
    bind_topic,
    decode_payload,
    encode_payload,
)
from perdure.converter import DataConverter
from perdure.service import RPCError, RPCStatusCode

if TYPE_CHECKING:
    from perdure.converter import PayloadConverter

T = TypeVar("T")

_INTERVAL = timedelta(seconds=2)
_RETRY = timedelta(seconds=600)
#: The background flusher tries again after these; it gives up after the others.
_PASSING = frozenset(
    {
        RPCStatusCode.ABORTED,
        RPCStatusCode.CANCELLED,
        RPCStatusCode.DATA_LOSS,
        RPCStatusCode.INTERNAL,
        RPCStatusCode.OUT_OF_RANGE,
        RPCStatusCode.RESOURCE_EXHAUSTED,
        RPCStatusCode.UNAVAILABLE,
        RPCStatusCode.UNKNOWN,
    }
)
_CLOSED = frozenset(
    {
        WorkflowExecutionStatus.COMPLETED,
        WorkflowExecutionStatus.FAILED,
        WorkflowExecutionStatus.CANCELED,
        WorkflowExecutionStatus.TERMINATED,
        WorkflowExecutionStatus.TIMED_OUT,
    }
)


class WorkflowStreamClient:
    """Publishes to and reads from the stream of a workflow. Made by :meth:`create` or :meth:`from_within_activity`.

    ``async with`` sends what was published every ``batch_interval``, and at the end what is left.
    """

    def __init__(
        self,
        handle: WorkflowHandle[Any, Any],
        *,
        client: Client | None = None,
        batch_interval: timedelta = _INTERVAL,
        max_batch_size: int | None = None,
        max_retry_duration: timedelta = _RETRY,
    ) -> None:
        """Talk to the workflow of a handle.

        Args:
            handle: the workflow with the stream.
            client: its payload converter is used; with one, a subscription goes on after continue-as-new.
            batch_interval: how long published items are gathered.
            max_batch_size: a batch of this many items goes out earlier.
            max_retry_duration: a batch that cannot be sent for that long is given up. Keep it below the workflow's
                ``publisher_ttl``.
        """
        self._handle = handle
        self._client = client
        self._interval = batch_interval.total_seconds()
        self._max_batch_size = max_batch_size
        self._max_retry_duration = max_retry_duration
        self._published: list[tuple[str, Any]] = []
        self._wake = asyncio.Event()
        self._lock = asyncio.Lock()
        self._flusher: asyncio.Task[None] | None = None
        self._publisher_id = uuid.uuid4().hex[:16]
        self._sequence = 0
        #: A batch that is on its way, its number included, and since when.
        self._pending: PublishInput | None = None
        self._pending_since = 0.0
        self._topic_types: dict[str, Any] = {}

    @classmethod
    def create(
        cls,
        client: Client,
        workflow_id: str,
        *,
        batch_interval: timedelta = _INTERVAL,
        max_batch_size: int | None = None,
        max_retry_duration: timedelta = _RETRY,
    ) -> WorkflowStreamClient:
        """Talk to the workflow of an id, over all its runs."""
        return cls(
            client.get_workflow_handle(workflow_id),
            client=client,
            batch_interval=batch_interval,
            max_batch_size=max_batch_size,
            max_retry_duration=max_retry_duration,
        )

    @classmethod
    def from_within_activity(
        cls,
        *,
        batch_interval: timedelta = _INTERVAL,
        max_batch_size: int | None = None,
        max_retry_duration: timedelta = _RETRY,
    ) -> WorkflowStreamClient:
        """Talk to the workflow that runs this activity. Raises RuntimeError in an activity without one."""
        workflow_id = activity.info().workflow_id
        if not workflow_id:
            raise RuntimeError(
                "from_within_activity requires an activity scheduled by a workflow, and this activity has no parent "
                "workflow: use WorkflowStreamClient.create(activity.client(), workflow_id)"
            )
        return cls.create(
            activity.client(),
            workflow_id,
            batch_interval=batch_interval,
            max_batch_size=max_batch_size,
            max_retry_duration=max_retry_duration,
        )

    async def __aenter__(self) -> Self:
        """Send in the background from now on."""
        self._flusher = asyncio.create_task(self._run_flusher())
        return self

    async def __aexit__(self, *_exc: object) -> None:
        """Stop that, and send what is left."""
        flusher, self._flusher = self._flusher, None
        if flusher is not None:
            flusher.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await flusher
        await self.flush()

    # --- publishing

    @overload
    def topic(self, name: str) -> TopicHandle[Any]: ...

    @overload
    def topic(self, name: str, *, type: type[T]) -> TopicHandle[T]: ...

    def topic(self, name: str, *, type: Any = None) -> TopicHandle[Any]:
        """A topic. Raises RuntimeError when this client uses it with another type already."""
        return TopicHandle(self, name, bind_topic(self._topic_types, name, type, "stream client"))

    def _publish(self, topic: str, value: Any, force_flush: bool) -> None:
        self._published.append((topic, value))
        if force_flush or (self._max_batch_size is not None and len(self._published) >= self._max_batch_size):
            self._wake.set()

    async def flush(self) -> None:
        """Send what was published, and return when the workflow's history has it.

        Raises:
            TimeoutError: an earlier batch could not be sent for ``max_retry_duration``; it is given up.
        """
        while self._pending is not None or self._published:
            await self._flush()

    async def _run_flusher(self) -> None:
        while True:
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._wake.wait(), self._interval)
            self._wake.clear()
            try:
                await self._flush()
            except RPCError as error:
                is_too_large = error.status == RPCStatusCode.RESOURCE_EXHAUSTED and "larger than max" in error.message
                if error.status not in _PASSING or is_too_large:
                    raise

    async def _flush(self) -> None:
        async with self._lock:
            if self._pending is None:
                if not self._published:
                    return
                converter = self._converter()
                entries = [
                    PublishEntry(
                        topic,
                        encode_payload(value if isinstance(value, Payload) else converter.to_payloads([value])[0]),
                    )
                    for topic, value in self._published
                ]
                self._published = []
                self._pending = PublishInput(entries, self._publisher_id, self._sequence + 1)
                self._pending_since = time.monotonic()
            elif time.monotonic() - self._pending_since > self._max_retry_duration.total_seconds():
                # Its number is used up: the workflow may have the batch.
                self._sequence, self._pending = self._pending.sequence, None
                raise TimeoutError(
                    f"Flush retry exceeded max_retry_duration ({self._max_retry_duration}): a batch is given up, and may "
                    "or may not have arrived"
                )
            await self._handle.signal(PUBLISH, self._pending)
            self._sequence, self._pending = self._pending.sequence, None

    def _converter(self) -> PayloadConverter:
        """For single items; the codec has the whole batch."""
        converter = DataConverter.default if self._client is None else self._client.data_converter
        return converter.payload_converter

    # --- reading

    async def get_offset(self) -> int:
        """The offset that the next item will have."""
        offset: int = await self._handle.query(OFFSET, result_type=int)
        return offset

    @overload
    def subscribe(
        self,
        topics: str | list[str] | None = ...,
        from_offset: int = ...,
        *,
        result_type: type[T],
        poll_cooldown: timedelta = ...,
    ) -> AsyncIterator[WorkflowStreamItem[T]]: ...

    @overload
    def subscribe(
        self,
        topics: str | list[str] | None = ...,
        from_offset: int = ...,
        *,
        result_type: None = None,
        poll_cooldown: timedelta = ...,
    ) -> AsyncIterator[WorkflowStreamItem[Any]]: ...

    async def subscribe(
        self,
        topics: str | list[str] | None = None,
        from_offset: int = 0,
        *,
        result_type: type | None = None,
        poll_cooldown: timedelta = timedelta(milliseconds=100),
    ) -> AsyncIterator[WorkflowStreamItem[Any]]:
        """The items from an offset on, as they come, over continue-as-new, until the workflow has closed.

        Items that the workflow has forgotten are passed over.

        Args:
            topics: one topic or several; all by default.
            from_offset: where to begin.
            result_type: what values become; ``RawValue`` leaves them payloads.
            poll_cooldown: the least time between two polls when nothing waits. Each poll is part of the history.

        Raises:
            WorkflowUpdateFailedError, WorkflowQueryFailedError, RPCError: the stream cannot be read.
        """
        if result_type is Payload:
            raise RuntimeError("Cannot subscribe with result_type=Payload: use RawValue, whose payload it is")
        wanted = [topics] if isinstance(topics, str) else topics or []
        converter = self._converter()
        reader = _Reader(self._handle, self._client)
        offset = from_offset
        while True:
            result = await reader.poll(PollInput(wanted, offset))
            if result is None:
                offset = 0
                continue
            for item in result.items:
                [data] = converter.from_payloads(
                    [decode_payload(item.data)], None if result_type is None else [result_type]
                )
                yield WorkflowStreamItem(item.topic, data, item.offset)
            offset = result.next_offset
            if not result.more_ready:
                if reader.is_at_end:
                    return
                await asyncio.sleep(poll_cooldown.total_seconds())


class _Reader:
    """Where one subscription reads from: the current run, its successor, or a run that has closed."""

    def __init__(self, handle: WorkflowHandle[Any, Any], client: Client | None) -> None:
        self._handle = handle
        self._client = client
        self.is_at_end = False

    async def poll(self, poll: PollInput) -> PollResult | None:
        """The next items; None when those that were asked for are forgotten. Waits out continue-as-new."""
        while not self.is_at_end:
            run_id: str | None = None
            try:
                update = await self._handle.start_update(
                    POLL, poll, wait_for_stage=WorkflowUpdateStage.ACCEPTED, result_type=PollResult
                )
                run_id = update.workflow_run_id
                result: PollResult = await update.result()
                return result
            except (WorkflowUpdateFailedError, WorkflowUpdateRPCTimeoutOrCancelledError, RPCError) as error:
                reason = getattr(error.cause, "type", None) if isinstance(error, WorkflowUpdateFailedError) else None
                if reason == TRUNCATED:
                    return None
                if reason == DRAINING:
                    await asyncio.sleep(0.01)
                    continue
                if isinstance(error.__cause__, asyncio.CancelledError):
                    raise error.__cause__ from None
                if not await self._moves_on(run_id):
                    raise
        closed: PollResult = await self._handle.query(POLL, poll, result_type=PollResult)
        return closed

    async def _moves_on(self, run_id: str | None) -> bool:
        """Whether the run that was asked has an end that explains the error; then read on from there."""
        try:
            description = await self._describe(run_id)
        except RPCError:
            return False
        workflow_id = self._handle.id
        if description.status == WorkflowExecutionStatus.CONTINUED_AS_NEW and self._client is not None:
            self._handle = self._client.get_workflow_handle(workflow_id)
            return True
        if description.status in _CLOSED and description.run_id:
            self._handle = self._handle._client.get_workflow_handle(workflow_id, run_id=description.run_id)
            self.is_at_end = True
            return True
        return False

    async def _describe(self, run_id: str | None) -> WorkflowExecutionDescription:
        if run_id is None:
            return await self._handle.describe()
        return await self._handle._client.get_workflow_handle(self._handle.id, run_id=run_id).describe()
