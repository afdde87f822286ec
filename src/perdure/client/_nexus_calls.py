"""The calls of a client about standalone Nexus operations."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast, overload

from perdure.client import _check
from perdure.client._nexus_client import NexusClient, _NexusClient
from perdure.client._nexus_execution import NexusOperationExecutionAsyncIterator, NexusOperationExecutionCount
from perdure.client._nexus_handle import NexusOperationHandle
from perdure.client._nexus_inputs import CountNexusOperationsInput, ListNexusOperationsInput
from perdure.client._workflow_execution import MAX_PAGE_SIZE
from perdure.types import NexusServiceType, ReturnType

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import timedelta

    import nexusrpc

    from perdure.client._client import Client
    from perdure.client._interceptor import OutboundInterceptor


class NexusCalls:
    """What clients do about standalone Nexus operations."""

    _impl: OutboundInterceptor

    def _check_usable(self) -> None:
        raise NotImplementedError

    def create_nexus_client(
        self, service: type[NexusServiceType] | str, endpoint: str
    ) -> NexusClient[NexusServiceType]:
        """A client of a Nexus service, for operations without a workflow. Asks nobody.

        Args:
            service: the class that defines or handles the service, or its name.
            endpoint: the name of the endpoint that leads to it.
        """
        _check.text("create_nexus_client", "endpoint", endpoint)
        return _NexusClient(cast("Client", self), service, endpoint)

    @overload
    def get_nexus_operation_handle(
        self, operation_id: str, *, run_id: str | None = None
    ) -> NexusOperationHandle[Any]: ...

    @overload
    def get_nexus_operation_handle(
        self, operation_id: str, *, run_id: str | None = None, result_type: type[ReturnType]
    ) -> NexusOperationHandle[ReturnType]: ...

    @overload
    def get_nexus_operation_handle(
        self, operation_id: str, *, operation: nexusrpc.Operation[Any, ReturnType], run_id: str | None = None
    ) -> NexusOperationHandle[ReturnType]: ...

    def get_nexus_operation_handle(
        self,
        operation_id: str,
        *,
        operation: nexusrpc.Operation[Any, Any] | None = None,
        run_id: str | None = None,
        result_type: type | None = None,
    ) -> NexusOperationHandle[Any]:
        """A handle of a standalone operation, whether there is one or not. Asks nobody.

        Args:
            operation_id: the operation id.
            operation: says the type of the result, unless ``result_type`` does.
            run_id: the exact run; the newest of the id if not given.
            result_type: what to make of the result.
        """
        where = "get_nexus_operation_handle"
        _check.text(where, "operation_id", operation_id)
        _check.optional_text(where, "run_id", run_id)
        result_type = result_type or (None if operation is None else operation.output_type)
        return NexusOperationHandle(cast("Client", self), operation_id, run_id=run_id, result_type=result_type)

    def list_nexus_operations(
        self,
        query: str,
        *,
        limit: int | None = None,
        page_size: int = MAX_PAGE_SIZE,
        next_page_token: bytes | None = None,
        rpc_metadata: Mapping[str, str | bytes] = {},
        rpc_timeout: timedelta | None = None,
    ) -> NexusOperationExecutionAsyncIterator:
        """Standalone operations, open ones first, newest first. Fetched as they are iterated.

        Args:
            query: which ones, in Temporal's list filter language (``OperationId``, ``Endpoint``, ``Service``,
                ``Operation``, ``ExecutionStatus``, ...); empty means all.
            limit: stop after so many.
            page_size: fetch so many at a time, at most 1000.
            next_page_token: go on where an earlier iterator's ``next_page_token`` was.
            rpc_metadata: headers of the calls.
            rpc_timeout: bounds each call.
        """
        where = "list_nexus_operations"
        _check.text(where, "query", query, empty=True, limit=_check.MAX_TEXT_BYTES)
        if limit is not None:
            _check.count(where, "limit", limit, least=1)
        _check.count(where, "page_size", page_size, least=1)
        _check.rpc_options(where, rpc_metadata, rpc_timeout)
        return self._impl.list_nexus_operations(
            ListNexusOperationsInput(query, page_size, next_page_token, rpc_metadata, rpc_timeout, limit)
        )

    async def count_nexus_operations(
        self,
        query: str | None = None,
        *,
        rpc_metadata: Mapping[str, str | bytes] = {},
        rpc_timeout: timedelta | None = None,
    ) -> NexusOperationExecutionCount:
        """How many standalone operations match; with ``GROUP BY ExecutionStatus`` in the query, per status."""
        where = "count_nexus_operations"
        if query is not None:
            _check.text(where, "query", query, empty=True, limit=_check.MAX_TEXT_BYTES)
        _check.rpc_options(where, rpc_metadata, rpc_timeout)
        self._check_usable()
        return await self._impl.count_nexus_operations(CountNexusOperationsInput(query, rpc_metadata, rpc_timeout))
