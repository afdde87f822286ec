"""Calling Nexus operations from outside workflows."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Generic, Required, TypedDict, TypeVar, Unpack, overload

from perdure.client._nexus_handle import NexusOperationHandle
from perdure.client._nexus_inputs import StartNexusOperationInput
from perdure.common import NexusOperationIDConflictPolicy, NexusOperationIDReusePolicy, TypedSearchAttributes
from perdure.types import NexusServiceType

if TYPE_CHECKING:
    import nexusrpc
    import nexusrpc.handler

    import perdure.nexus
    from perdure.client._client import Client

InputT = TypeVar("InputT", contravariant=True)
OutputT = TypeVar("OutputT", covariant=True)


class _OperationOptions(TypedDict, total=False):
    """Options of :meth:`NexusClient.start_operation`."""

    id: Required[str]
    id_reuse_policy: NexusOperationIDReusePolicy
    id_conflict_policy: NexusOperationIDConflictPolicy
    schedule_to_close_timeout: timedelta | None
    schedule_to_start_timeout: timedelta | None
    start_to_close_timeout: timedelta | None
    search_attributes: TypedSearchAttributes | None
    summary: str | None
    headers: Mapping[str, str] | None
    rpc_metadata: Mapping[str, str | bytes]
    rpc_timeout: timedelta | None


class NexusClient(ABC, Generic[NexusServiceType]):
    """Starts operations of one service through one endpoint, without a workflow. Made by
    :meth:`Client.create_nexus_client`.
    """

    @overload
    async def start_operation(
        self,
        operation: nexusrpc.Operation[InputT, OutputT],
        arg: InputT,
        **options: Unpack[_OperationOptions],
    ) -> NexusOperationHandle[OutputT]: ...

    @overload
    async def start_operation(
        self,
        operation: str,
        arg: Any,
        *,
        result_type: type[OutputT] | None = None,
        **options: Unpack[_OperationOptions],
    ) -> NexusOperationHandle[OutputT]: ...

    @overload
    async def start_operation(
        self,
        operation: Callable[
            [NexusServiceType, perdure.nexus.WorkflowRunOperationContext, InputT],
            Awaitable[perdure.nexus.WorkflowHandle[OutputT]],
        ],
        arg: InputT,
        **options: Unpack[_OperationOptions],
    ) -> NexusOperationHandle[OutputT]: ...

    @overload
    async def start_operation(
        self,
        operation: Callable[[NexusServiceType, nexusrpc.handler.StartOperationContext, InputT], Awaitable[OutputT]],
        arg: InputT,
        **options: Unpack[_OperationOptions],
    ) -> NexusOperationHandle[OutputT]: ...

    @overload
    async def start_operation(
        self,
        operation: Callable[[NexusServiceType, nexusrpc.handler.StartOperationContext, InputT], OutputT],
        arg: InputT,
        **options: Unpack[_OperationOptions],
    ) -> NexusOperationHandle[OutputT]: ...

    @overload
    async def start_operation(
        self,
        operation: Callable[[NexusServiceType], nexusrpc.handler.OperationHandler[InputT, OutputT]],
        arg: InputT,
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
        arg: InputT,
        **options: Unpack[_OperationOptions],
    ) -> NexusOperationHandle[OutputT]: ...

    @abstractmethod
    async def start_operation(
        self,
        operation: Any,
        arg: Any,
        *,
        id: str,
        id_reuse_policy: NexusOperationIDReusePolicy = NexusOperationIDReusePolicy.ALLOW_DUPLICATE,
        id_conflict_policy: NexusOperationIDConflictPolicy = NexusOperationIDConflictPolicy.FAIL,
        result_type: type | None = None,
        schedule_to_close_timeout: timedelta | None = None,
        schedule_to_start_timeout: timedelta | None = None,
        start_to_close_timeout: timedelta | None = None,
        search_attributes: TypedSearchAttributes | None = None,
        summary: str | None = None,
        headers: Mapping[str, str] | None = None,
        rpc_metadata: Mapping[str, str | bytes] = {},
        rpc_timeout: timedelta | None = None,
    ) -> NexusOperationHandle[Any]:
        """Start an operation; it is durable when this returns.

        Args:
            operation: an operation of a service definition, the method that handles it, or its name.
            arg: what the operation gets; it has exactly one value.
            id: yours; one operation of an id is open at a time.
            id_reuse_policy: what to do when an operation of the id has closed.
            id_conflict_policy: what to do while one is open.
            result_type: what to make of the result, where the operation is named by a string.
            schedule_to_close_timeout: for all of it.
            schedule_to_start_timeout: until the handler has taken it up.
            start_to_close_timeout: from then on, for one that goes on asynchronously.
            search_attributes: to find it by.
            summary: a line of Markdown that user interfaces show.
            headers: sent to the handler; not encoded.
            rpc_metadata: headers of the call.
            rpc_timeout: bounds the call.

        Raises:
            NexusOperationAlreadyStartedError: the id is taken.
        """

    @overload
    async def execute_operation(
        self,
        operation: nexusrpc.Operation[InputT, OutputT],
        arg: InputT,
        **options: Unpack[_OperationOptions],
    ) -> OutputT: ...

    @overload
    async def execute_operation(
        self,
        operation: str,
        arg: Any,
        *,
        result_type: type[OutputT] | None = None,
        **options: Unpack[_OperationOptions],
    ) -> OutputT: ...

    @overload
    async def execute_operation(
        self,
        operation: Callable[
            [NexusServiceType, perdure.nexus.WorkflowRunOperationContext, InputT],
            Awaitable[perdure.nexus.WorkflowHandle[OutputT]],
        ],
        arg: InputT,
        **options: Unpack[_OperationOptions],
    ) -> OutputT: ...

    @overload
    async def execute_operation(
        self,
        operation: Callable[[NexusServiceType, nexusrpc.handler.StartOperationContext, InputT], Awaitable[OutputT]],
        arg: InputT,
        **options: Unpack[_OperationOptions],
    ) -> OutputT: ...

    @overload
    async def execute_operation(
        self,
        operation: Callable[[NexusServiceType, nexusrpc.handler.StartOperationContext, InputT], OutputT],
        arg: InputT,
        **options: Unpack[_OperationOptions],
    ) -> OutputT: ...

    @overload
    async def execute_operation(
        self,
        operation: Callable[[NexusServiceType], nexusrpc.handler.OperationHandler[InputT, OutputT]],
        arg: InputT,
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
        arg: InputT,
        **options: Unpack[_OperationOptions],
    ) -> OutputT: ...

    @abstractmethod
    async def execute_operation(
        self,
        operation: Any,
        arg: Any,
        *,
        id: str,
        id_reuse_policy: NexusOperationIDReusePolicy = NexusOperationIDReusePolicy.ALLOW_DUPLICATE,
        id_conflict_policy: NexusOperationIDConflictPolicy = NexusOperationIDConflictPolicy.FAIL,
        result_type: type | None = None,
        schedule_to_close_timeout: timedelta | None = None,
        schedule_to_start_timeout: timedelta | None = None,
        start_to_close_timeout: timedelta | None = None,
        search_attributes: TypedSearchAttributes | None = None,
        summary: str | None = None,
        headers: Mapping[str, str] | None = None,
        rpc_metadata: Mapping[str, str | bytes] = {},
        rpc_timeout: timedelta | None = None,
    ) -> Any:
        """Start an operation and wait for its result; see :meth:`start_operation`."""


class _NexusClient(NexusClient[NexusServiceType]):
    def __init__(self, client: Client, service: type[NexusServiceType] | str, endpoint: str) -> None:
        self._client = client
        self._service_name = _service_name(service)
        self._endpoint = endpoint

    # One body for all overloads of the base class, whose types callers see.
    async def start_operation(  # pyright: ignore[reportIncompatibleMethodOverride]
        self,
        operation: Any,
        arg: Any,
        *,
        id: str,
        id_reuse_policy: NexusOperationIDReusePolicy = NexusOperationIDReusePolicy.ALLOW_DUPLICATE,
        id_conflict_policy: NexusOperationIDConflictPolicy = NexusOperationIDConflictPolicy.FAIL,
        result_type: type | None = None,
        schedule_to_close_timeout: timedelta | None = None,
        schedule_to_start_timeout: timedelta | None = None,
        start_to_close_timeout: timedelta | None = None,
        search_attributes: TypedSearchAttributes | None = None,
        summary: str | None = None,
        headers: Mapping[str, str] | None = None,
        rpc_metadata: Mapping[str, str | bytes] = {},
        rpc_timeout: timedelta | None = None,
    ) -> Any:
        """See :meth:`NexusClient.start_operation`."""
        name = operation
        if not isinstance(operation, str):
            from perdure.nexus._definitions import operation_of

            definition = operation_of(operation)
            name, result_type = definition.name, definition.output_type
        self._client._check_usable()
        return await self._client._impl.start_nexus_operation(
            StartNexusOperationInput(
                operation=name,
                arg=arg,
                id=id,
                endpoint=self._endpoint,
                service=self._service_name,
                result_type=result_type,
                schedule_to_close_timeout=schedule_to_close_timeout,
                schedule_to_start_timeout=schedule_to_start_timeout,
                start_to_close_timeout=start_to_close_timeout,
                id_reuse_policy=id_reuse_policy,
                id_conflict_policy=id_conflict_policy,
                search_attributes=search_attributes,
                summary=summary,
                headers=dict(headers or {}),
                rpc_metadata=rpc_metadata,
                rpc_timeout=rpc_timeout,
            )
        )

    async def execute_operation(self, operation: Any, arg: Any, **options: Any) -> Any:
        """See :meth:`NexusClient.execute_operation`."""
        return await (await self.start_operation(operation, arg, **options)).result()


def _service_name(service: type[Any] | str) -> str:
    if isinstance(service, str):
        return service
    import nexusrpc

    definition = nexusrpc.get_service_definition(service)
    return service.__name__ if definition is None else definition.name
