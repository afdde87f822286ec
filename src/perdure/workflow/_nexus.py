"""Calling Nexus operations from workflow code."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Generator, Mapping, Sequence
from datetime import timedelta
from enum import IntEnum
from typing import TYPE_CHECKING, Any, Generic, TypedDict, TypeVar, Unpack, overload

from perdure.types import NexusServiceType
from perdure.workflow._event_groups import EventGroup
from perdure.workflow._runtime import _Runtime

if TYPE_CHECKING:
    import nexusrpc
    import nexusrpc.handler

    import perdure.nexus

InputT = TypeVar("InputT", contravariant=True)
OutputT = TypeVar("OutputT", covariant=True)


class NexusOperationHandle(Generic[OutputT]):
    """A started Nexus operation: await it for its result, ``cancel()`` it to request cancellation."""

    def cancel(self) -> bool:
        """Request cancellation, as the cancellation type says. False when the operation is over."""
        raise NotImplementedError

    def __await__(self) -> Generator[Any, Any, OutputT]:
        """Wait for the result."""
        raise NotImplementedError

    @property
    def operation_token(self) -> str | None:
        """What the handler calls the operation; None for one that ended with the request that started it."""
        raise NotImplementedError


class NexusOperationCancellationType(IntEnum):
    """What cancelling a Nexus operation does. Awaiting its handle then raises NexusOperationError."""

    WAIT_COMPLETED = 0
    """Request cancellation, and wait for how the operation ends."""
    ABANDON = 1
    """Request nothing, and see the operation as cancelled at once."""
    TRY_CANCEL = 2
    """Request cancellation, and see the operation as cancelled at once. The request is lost if the workflow ends."""
    WAIT_REQUESTED = 3
    """Request cancellation, and wait until the handler took the request."""


class _OperationOptions(TypedDict, total=False):
    """Options of :meth:`NexusClient.start_operation`."""

    schedule_to_close_timeout: timedelta | None
    schedule_to_start_timeout: timedelta | None
    start_to_close_timeout: timedelta | None
    cancellation_type: NexusOperationCancellationType
    headers: Mapping[str, str] | None
    summary: str | None
    event_groups: Sequence[EventGroup] | None


class NexusClient(ABC, Generic[NexusServiceType]):
    """Calls the operations of one service through one endpoint. Made by :func:`create_nexus_client`."""

    @overload
    async def start_operation(
        self,
        operation: nexusrpc.Operation[InputT, OutputT],
        input: InputT,
        *,
        output_type: type[OutputT] | None = None,
        **options: Unpack[_OperationOptions],
    ) -> NexusOperationHandle[OutputT]: ...

    @overload
    async def start_operation(
        self,
        operation: str,
        input: Any,
        *,
        output_type: type[OutputT] | None = None,
        **options: Unpack[_OperationOptions],
    ) -> NexusOperationHandle[OutputT]: ...

    @overload
    async def start_operation(
        self,
        operation: Callable[
            [NexusServiceType, perdure.nexus.WorkflowRunOperationContext, InputT],
            Awaitable[perdure.nexus.WorkflowHandle[OutputT]],
        ],
        input: InputT,
        *,
        output_type: type[OutputT] | None = None,
        **options: Unpack[_OperationOptions],
    ) -> NexusOperationHandle[OutputT]: ...

    @overload
    async def start_operation(
        self,
        operation: Callable[[NexusServiceType, nexusrpc.handler.StartOperationContext, InputT], Awaitable[OutputT]],
        input: InputT,
        *,
        output_type: type[OutputT] | None = None,
        **options: Unpack[_OperationOptions],
    ) -> NexusOperationHandle[OutputT]: ...

    @overload
    async def start_operation(
        self,
        operation: Callable[[NexusServiceType, nexusrpc.handler.StartOperationContext, InputT], OutputT],
        input: InputT,
        *,
        output_type: type[OutputT] | None = None,
        **options: Unpack[_OperationOptions],
    ) -> NexusOperationHandle[OutputT]: ...

    @overload
    async def start_operation(
        self,
        operation: Callable[[NexusServiceType], nexusrpc.handler.OperationHandler[InputT, OutputT]],
        input: InputT,
        *,
        output_type: type[OutputT] | None = None,
        **options: Unpack[_OperationOptions],
    ) -> NexusOperationHandle[OutputT]: ...

    @overload
    async def start_operation(
        self,
        operation: Callable[
            [
                NexusServiceType,
                perdure.nexus.TemporalStartOperationContext,
                perdure.nexus.TemporalNexusClient,
                InputT,
            ],
            Awaitable[perdure.nexus.TemporalOperationResult[OutputT]],
        ],
        input: InputT,
        *,
        output_type: type[OutputT] | None = None,
        **options: Unpack[_OperationOptions],
    ) -> NexusOperationHandle[OutputT]: ...

    @abstractmethod
    async def start_operation(
        self,
        operation: Any,
        input: Any,
        *,
        output_type: type[Any] | None = None,
        schedule_to_close_timeout: timedelta | None = None,
        schedule_to_start_timeout: timedelta | None = None,
        start_to_close_timeout: timedelta | None = None,
        cancellation_type: NexusOperationCancellationType = NexusOperationCancellationType.WAIT_COMPLETED,
        headers: Mapping[str, str] | None = None,
        summary: str | None = None,
        event_groups: Sequence[EventGroup] | None = None,
    ) -> NexusOperationHandle[Any]:
        """Start an operation, and wait until its handler has taken it up.

        Args:
            operation: an operation of a service definition, the method that handles it, or its name.
            input: what the operation gets; it has exactly one value.
            output_type: what to make of the result, where the operation does not say.
            schedule_to_close_timeout: for all of it.
            schedule_to_start_timeout: until the handler has taken it up.
            start_to_close_timeout: from then on, for one that goes on asynchronously.
            cancellation_type: what cancelling it does.
            headers: sent to the handler; not encoded.
            summary: a line of Markdown that user interfaces show.
            event_groups: groups of events to which the command belongs.

        Replay: the outcome comes from history; the handler is not called again.
        Raises:
            NexusOperationError: it failed, timed out or was cancelled before it was taken up.
        """

    @overload
    async def execute_operation(
        self,
        operation: nexusrpc.Operation[InputT, OutputT],
        input: InputT,
        *,
        output_type: type[OutputT] | None = None,
        **options: Unpack[_OperationOptions],
    ) -> OutputT: ...

    @overload
    async def execute_operation(
        self,
        operation: str,
        input: Any,
        *,
        output_type: type[OutputT] | None = None,
        **options: Unpack[_OperationOptions],
    ) -> OutputT: ...

    @overload
    async def execute_operation(
        self,
        operation: Callable[
            [NexusServiceType, perdure.nexus.WorkflowRunOperationContext, InputT],
            Awaitable[perdure.nexus.WorkflowHandle[OutputT]],
        ],
        input: InputT,
        *,
        output_type: type[OutputT] | None = None,
        **options: Unpack[_OperationOptions],
    ) -> OutputT: ...

    @overload
    async def execute_operation(
        self,
        operation: Callable[[NexusServiceType, nexusrpc.handler.StartOperationContext, InputT], Awaitable[OutputT]],
        input: InputT,
        *,
        output_type: type[OutputT] | None = None,
        **options: Unpack[_OperationOptions],
    ) -> OutputT: ...

    @overload
    async def execute_operation(
        self,
        operation: Callable[[NexusServiceType, nexusrpc.handler.StartOperationContext, InputT], OutputT],
        input: InputT,
        *,
        output_type: type[OutputT] | None = None,
        **options: Unpack[_OperationOptions],
    ) -> OutputT: ...

    @overload
    async def execute_operation(
        self,
        operation: Callable[[NexusServiceType], nexusrpc.handler.OperationHandler[InputT, OutputT]],
        input: InputT,
        *,
        output_type: type[OutputT] | None = None,
        **options: Unpack[_OperationOptions],
    ) -> OutputT: ...

    @overload
    async def execute_operation(
        self,
        operation: Callable[
            [
                NexusServiceType,
                perdure.nexus.TemporalStartOperationContext,
                perdure.nexus.TemporalNexusClient,
                InputT,
            ],
            Awaitable[perdure.nexus.TemporalOperationResult[OutputT]],
        ],
        input: InputT,
        *,
        output_type: type[OutputT] | None = None,
        **options: Unpack[_OperationOptions],
    ) -> OutputT: ...

    @abstractmethod
    async def execute_operation(
        self,
        operation: Any,
        input: Any,
        *,
        output_type: type[Any] | None = None,
        **options: Unpack[_OperationOptions],
    ) -> Any:
        """Start an operation and wait for its result; see :meth:`start_operation`."""


class _NexusClient(NexusClient[NexusServiceType]):
    def __init__(self, *, endpoint: str, service: type[NexusServiceType] | str) -> None:
        self.endpoint = endpoint
        self.service_name = _service_name(service)

    async def start_operation(self, operation: Any, input: Any, **options: Any) -> Any:
        """See :meth:`NexusClient.start_operation`."""
        return await _Runtime.current().start_nexus_operation(
            self.endpoint, self.service_name, operation, input, options
        )

    async def execute_operation(self, operation: Any, input: Any, **options: Any) -> Any:
        """See :meth:`NexusClient.execute_operation`."""
        return await (await self.start_operation(operation, input, **options))


def _service_name(service: type[Any] | str) -> str:
    if isinstance(service, str):
        return service
    import nexusrpc

    definition = nexusrpc.get_service_definition(service)
    if definition is None:
        raise ValueError(
            f"create_nexus_client: service must be a name or a class decorated with @nexusrpc.service or "
            f"@nexusrpc.handler.service_handler, not {service!r}"
        )
    return definition.name


@overload
def create_nexus_client(*, service: type[NexusServiceType], endpoint: str) -> NexusClient[NexusServiceType]: ...


@overload
def create_nexus_client(*, service: str, endpoint: str) -> NexusClient[Any]: ...


def create_nexus_client(*, service: type[NexusServiceType] | str, endpoint: str) -> NexusClient[NexusServiceType]:
    """A client of a Nexus service, for workflow code.

    Args:
        service: the class that defines or handles the service, or its name.
        endpoint: the name of the endpoint that leads to it.
    """
    return _NexusClient(endpoint=endpoint, service=service)
