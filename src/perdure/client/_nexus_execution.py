"""What describe, list and count say of standalone Nexus operations."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from perdure._times import optional_duration_from_ns, optional_time_from_ns
from perdure.api.common.v1 import SearchAttributes
from perdure.api.nexus import v1 as nexus_v1
from perdure.api.workflowservice import v1 as ws
from perdure.client._pages import PageIterator
from perdure.common import (
    NexusOperationCancellationState,
    NexusOperationExecutionStatus,
    PendingNexusOperationExecutionState,
    SearchAttributeValue,
    TypedSearchAttributes,
)
from perdure.converter import DataConverter, decode_typed_search_attributes
from perdure.converter._search_attributes import decode_search_attribute_value

if TYPE_CHECKING:
    from collections.abc import Sequence

    from perdure.api.failure.v1 import Failure
    from perdure.client._client import Client
    from perdure.client._nexus_inputs import ListNexusOperationsInput

_NO_ATTRIBUTES = SearchAttributes()


async def _error(converter: DataConverter, failure: Failure | None) -> BaseException | None:
    return None if failure is None else await converter.decode_failure(failure)


@dataclass
class NexusOperationExecutionCancellationInfo:
    """Where the request to cancel an operation stands."""

    raw: nexus_v1.NexusOperationExecutionCancellationInfo
    """The message this was made from."""
    requested_time: datetime | None
    """When it was made."""
    state: NexusOperationCancellationState
    """Where it stands."""
    attempt: int
    """How often the handler was asked."""
    last_attempt_complete_time: datetime | None
    """When it was asked last."""
    next_attempt_schedule_time: datetime | None
    """When it is asked again."""
    last_attempt_failure: BaseException | None
    """Why it has to be."""
    blocked_reason: str
    """Why nobody asks, if the state is BLOCKED."""
    reason: str
    """What the request said."""

    @classmethod
    async def _from_message(
        cls, info: nexus_v1.NexusOperationExecutionCancellationInfo, converter: DataConverter
    ) -> NexusOperationExecutionCancellationInfo:
        return cls(
            raw=info,
            requested_time=optional_time_from_ns(info.requested_time),
            state=NexusOperationCancellationState(info.state),
            attempt=info.attempt,
            last_attempt_complete_time=optional_time_from_ns(info.last_attempt_complete_time),
            next_attempt_schedule_time=optional_time_from_ns(info.next_attempt_schedule_time),
            last_attempt_failure=await _error(converter, info.last_attempt_failure),
            blocked_reason=info.blocked_reason,
            reason=info.reason,
        )


@dataclass
class NexusOperationExecution:
    """One standalone Nexus operation, as a list shows it."""

    operation_id: str
    """Operation id."""
    run_id: str
    """Run id: each use of an operation id has its own."""
    endpoint: str
    """The endpoint's name."""
    service: str
    """The service's name."""
    operation: str
    """The operation's name."""
    schedule_time: datetime | None
    """When the client started it."""
    close_time: datetime | None
    """When it closed; None while it is open."""
    status: NexusOperationExecutionStatus
    """Where it stands."""
    search_attributes: TypedSearchAttributes
    """Search attributes."""
    state_transition_count: int
    """How often its state changed."""
    execution_duration: timedelta | None
    """From its scheduling to its close."""
    raw_info: nexus_v1.NexusOperationExecutionListInfo | nexus_v1.NexusOperationExecutionInfo
    """The message this was made from."""

    @classmethod
    def _from_raw_info(
        cls,
        info: nexus_v1.NexusOperationExecutionListInfo | nexus_v1.NexusOperationExecutionInfo,
        **additional_fields: Any,
    ) -> Any:
        return cls(
            operation_id=info.operation_id,
            run_id=info.run_id,
            endpoint=info.endpoint,
            service=info.service,
            operation=info.operation,
            schedule_time=optional_time_from_ns(info.schedule_time),
            close_time=optional_time_from_ns(info.close_time),
            status=NexusOperationExecutionStatus(info.status),
            search_attributes=decode_typed_search_attributes(info.search_attributes or _NO_ATTRIBUTES),
            state_transition_count=info.state_transition_count,
            execution_duration=optional_duration_from_ns(info.execution_duration),
            raw_info=info,
            **additional_fields,
        )


@dataclass
class NexusOperationExecutionDescription(NexusOperationExecution):
    """One standalone Nexus operation, with all that is known of it."""

    raw_description: nexus_v1.NexusOperationExecutionInfo
    """The message this was made from."""
    state: PendingNexusOperationExecutionState
    """What it waits for while it is open."""
    schedule_to_close_timeout: timedelta | None
    """For all of it."""
    schedule_to_start_timeout: timedelta | None
    """Until its handler has taken it up."""
    start_to_close_timeout: timedelta | None
    """From then on."""
    attempt: int
    """The attempt to start it that runs or comes next."""
    expiration_time: datetime | None
    """When its schedule-to-close timeout is over."""
    last_attempt_complete_time: datetime | None
    """When the last attempt ended."""
    next_attempt_schedule_time: datetime | None
    """When the next one is made."""
    last_attempt_failure: BaseException | None
    """Why the last one failed."""
    blocked_reason: str | None
    """Why no attempt is made, if the state is BLOCKED."""
    request_id: str
    """The id of the request that started it."""
    operation_token: str | None
    """What its handler calls it, once it goes on asynchronously."""
    identity: str
    """Who started it."""
    cancellation_info: NexusOperationExecutionCancellationInfo | None
    """About the request to cancel it, if there was one."""
    _data_converter: DataConverter = field(kw_only=True, compare=False, repr=False)

    async def static_summary(self) -> str | None:
        """The line of Markdown it was started with."""
        metadata = self.raw_description.user_metadata
        return await self._text(None if metadata is None else metadata.summary)

    async def static_details(self) -> str | None:
        """The Markdown it was started with."""
        metadata = self.raw_description.user_metadata
        return await self._text(None if metadata is None else metadata.details)

    async def _text(self, payload: Any) -> str | None:
        if payload is None:
            return None
        [text] = await self._data_converter.decode([payload], [str])
        return str(text)

    @classmethod
    async def _from_execution_info(
        cls, info: nexus_v1.NexusOperationExecutionInfo, converter: DataConverter
    ) -> NexusOperationExecutionDescription:
        cancellation = None
        if info.cancellation_info is not None:
            cancellation = await NexusOperationExecutionCancellationInfo._from_message(
                info.cancellation_info, converter
            )
        found: NexusOperationExecutionDescription = cls._from_raw_info(
            info,
            raw_description=info,
            state=PendingNexusOperationExecutionState(info.state),
            schedule_to_close_timeout=optional_duration_from_ns(info.schedule_to_close_timeout),
            schedule_to_start_timeout=optional_duration_from_ns(info.schedule_to_start_timeout),
            start_to_close_timeout=optional_duration_from_ns(info.start_to_close_timeout),
            attempt=info.attempt,
            expiration_time=optional_time_from_ns(info.expiration_time),
            last_attempt_complete_time=optional_time_from_ns(info.last_attempt_complete_time),
            next_attempt_schedule_time=optional_time_from_ns(info.next_attempt_schedule_time),
            last_attempt_failure=await _error(converter, info.last_attempt_failure),
            blocked_reason=info.blocked_reason or None,
            request_id=info.request_id,
            operation_token=info.operation_token or None,
            identity=info.identity,
            cancellation_info=cancellation,
            _data_converter=converter,
        )
        return found


@dataclass(frozen=True)
class NexusOperationExecutionCountAggregationGroup:
    """One group of a count with a GROUP BY."""

    count: int
    """How many are in the group."""
    group_values: Sequence[SearchAttributeValue]
    """What they have in common."""


@dataclass
class NexusOperationExecutionCount:
    """How many operations there are."""

    count: int
    """How many altogether."""
    groups: Sequence[NexusOperationExecutionCountAggregationGroup]
    """How many of each group, where the query has a GROUP BY."""

    @classmethod
    def _from_raw(cls, response: ws.CountNexusOperationExecutionsResponse) -> NexusOperationExecutionCount:
        return cls(
            response.count,
            [
                NexusOperationExecutionCountAggregationGroup(
                    group.count, [decode_search_attribute_value(value) for value in group.group_values]
                )
                for group in response.groups
            ],
        )


class NexusOperationExecutionAsyncIterator(PageIterator[NexusOperationExecution]):
    """Standalone Nexus operations one by one."""

    def __init__(self, client: Client, input: ListNexusOperationsInput) -> None:
        """Made by :meth:`Client.list_nexus_operations`."""
        super().__init__(client, input.next_page_token)
        self._input = input
        self._limit = input.limit
        self._yielded = 0

    async def fetch_next_page(self, *, page_size: int | None = None) -> None:
        """Fetch the next page, of at most ``page_size`` operations where that is given."""
        size = page_size or self._input.page_size
        if self._limit is not None:
            size = min(size, self._limit - self._yielded)
        client = self._client
        response = await client._service.list_nexus_operation_executions(
            ws.ListNexusOperationExecutionsRequest(
                client.namespace, size, self._next_page_token or b"", self._input.query or ""
            ),
            metadata=client._metadata(self._input.rpc_metadata),
            timeout=self._input.rpc_timeout,
        )
        page = [NexusOperationExecution._from_raw_info(info) for info in response.operations]
        self._turn_to(page, response.next_page_token)

    async def __anext__(self) -> NexusOperationExecution:
        """The next operation, from the next page if need be."""
        if self._limit is not None and self._yielded >= self._limit:
            raise StopAsyncIteration
        operation = await super().__anext__()
        self._yielded += 1
        return operation
