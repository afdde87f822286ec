"""What a client does about standalone Nexus operations, behind its interceptors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from perdure.api.common.v1 import SearchAttributes
from perdure.api.errordetails.v1 import NexusOperationExecutionAlreadyStartedFailure
from perdure.api.sdk.v1 import UserMetadata
from perdure.api.workflowservice import v1 as ws
from perdure.client import _check
from perdure.client._exceptions import NexusOperationFailureError
from perdure.client._nexus_execution import (
    NexusOperationExecutionAsyncIterator,
    NexusOperationExecutionCount,
    NexusOperationExecutionDescription,
)
from perdure.client._nexus_handle import NexusOperationHandle
from perdure.common import NexusOperationIDConflictPolicy, NexusOperationIDReusePolicy, TypedSearchAttributes
from perdure.converter import DataConverter, NexusSerializationContext, encode_search_attributes
from perdure.exceptions import NexusOperationAlreadyStartedError
from perdure.service import RPCError, RPCStatusCode

if TYPE_CHECKING:
    from perdure.client._client import Client
    from perdure.client._nexus_inputs import (
        CancelNexusOperationInput,
        CountNexusOperationsInput,
        DescribeNexusOperationInput,
        GetNexusOperationResultInput,
        ListNexusOperationsInput,
        StartNexusOperationInput,
        TerminateNexusOperationInput,
    )

_WHERE = "start_operation"


class NexusClientImpl:
    """The part of :class:`~perdure.client._impl.ClientImpl` about standalone Nexus operations."""

    _client: Client

    def _operation_converter(self, endpoint: str, service: str, operation: str) -> DataConverter:
        converter = self._client.data_converter
        if not (endpoint and service and operation):
            return converter  # of a handle that knows only the operation's id
        return converter.with_context(
            NexusSerializationContext(endpoint=endpoint, service=service, operation=operation)
        )

    async def start_nexus_operation(self, input: StartNexusOperationInput) -> NexusOperationHandle[Any]:
        client = self._client
        request = await self._start_operation_request(input)
        try:
            response = await client._service.start_nexus_operation_execution(
                request, metadata=client._metadata(input.rpc_metadata), timeout=input.rpc_timeout
            )
        except RPCError as error:
            detail = error.detail(NexusOperationExecutionAlreadyStartedFailure)
            if error.status == RPCStatusCode.ALREADY_EXISTS and isinstance(
                detail, NexusOperationExecutionAlreadyStartedFailure
            ):
                raise NexusOperationAlreadyStartedError(input.id, run_id=detail.run_id) from None
            raise
        return NexusOperationHandle(
            client,
            input.id,
            run_id=response.run_id or None,
            result_type=input.result_type,
            endpoint=input.endpoint,
            service=input.service,
            operation=input.operation,
        )

    async def _start_operation_request(self, input: StartNexusOperationInput) -> ws.StartNexusOperationExecutionRequest:
        client = self._client
        _check.text(_WHERE, "id", input.id)
        _check.text("create_nexus_client", "endpoint", input.endpoint)
        _check.member(_WHERE, "id_reuse_policy", input.id_reuse_policy, NexusOperationIDReusePolicy)
        _check.member(_WHERE, "id_conflict_policy", input.id_conflict_policy, NexusOperationIDConflictPolicy)
        converter = self._operation_converter(input.endpoint, input.service, input.operation)
        [payload] = await converter.encode([input.arg])
        request = ws.StartNexusOperationExecutionRequest(
            namespace=client.namespace,
            identity=client.identity,
            request_id=client._new_request_id(),
            operation_id=input.id,
            endpoint=input.endpoint,
            service=input.service,
            operation=input.operation,
            input=payload,
            id_reuse_policy=int(input.id_reuse_policy),
            id_conflict_policy=int(input.id_conflict_policy),
            nexus_header=dict(input.headers),
        )
        for name in ("schedule_to_close_timeout", "schedule_to_start_timeout", "start_to_close_timeout"):
            setattr(request, name, _check.duration_ns(_WHERE, name, getattr(input, name)))
        if input.search_attributes is not None:
            _check.instance(_WHERE, "search_attributes", input.search_attributes, TypedSearchAttributes)
            request.search_attributes = SearchAttributes()
            encode_search_attributes(input.search_attributes, request.search_attributes)
        if input.summary is not None:
            _check.instance(_WHERE, "summary", input.summary, str)
            request.user_metadata = UserMetadata(summary=(await converter.encode([input.summary]))[0])
        return request

    async def get_nexus_operation_result(self, input: GetNexusOperationResultInput) -> Any:
        client = self._client
        converter = self._operation_converter(input.endpoint, input.service, input.operation)
        request = ws.PollNexusOperationExecutionRequest(client.namespace, input.operation_id, input.run_id or "")
        while True:
            try:
                response = await client._service.poll_nexus_operation_execution(
                    request, metadata=client._metadata(input.rpc_metadata), timeout=input.rpc_timeout
                )
            except RPCError as error:
                if error.status is RPCStatusCode.DEADLINE_EXCEEDED:
                    continue
                raise
            if response.failure is not None:
                raise NexusOperationFailureError(cause=await converter.decode_failure(response.failure))
            if response.result is not None:
                hints = [input.result_type] if input.result_type else None
                [result] = await converter.decode([response.result], hints)
                return result

    async def describe_nexus_operation(self, input: DescribeNexusOperationInput) -> NexusOperationExecutionDescription:
        client = self._client
        response = await client._service.describe_nexus_operation_execution(
            ws.DescribeNexusOperationExecutionRequest(client.namespace, input.operation_id, input.run_id or ""),
            metadata=client._metadata(input.rpc_metadata),
            timeout=input.rpc_timeout,
        )
        info = response.info
        assert info is not None
        converter = self._operation_converter(info.endpoint, info.service, info.operation)
        return await NexusOperationExecutionDescription._from_execution_info(info, converter)

    async def cancel_nexus_operation(self, input: CancelNexusOperationInput) -> None:
        client = self._client
        await client._service.request_cancel_nexus_operation_execution(
            ws.RequestCancelNexusOperationExecutionRequest(
                client.namespace,
                input.operation_id,
                input.run_id or "",
                client.identity,
                client._new_request_id(),
                input.reason or "",
            ),
            metadata=client._metadata(input.rpc_metadata),
            timeout=input.rpc_timeout,
        )

    async def terminate_nexus_operation(self, input: TerminateNexusOperationInput) -> None:
        client = self._client
        await client._service.terminate_nexus_operation_execution(
            ws.TerminateNexusOperationExecutionRequest(
                client.namespace,
                input.operation_id,
                input.run_id or "",
                client.identity,
                client._new_request_id(),
                input.reason or "",
            ),
            metadata=client._metadata(input.rpc_metadata),
            timeout=input.rpc_timeout,
        )

    def list_nexus_operations(self, input: ListNexusOperationsInput) -> NexusOperationExecutionAsyncIterator:
        return NexusOperationExecutionAsyncIterator(self._client, input)

    async def count_nexus_operations(self, input: CountNexusOperationsInput) -> NexusOperationExecutionCount:
        client = self._client
        response = await client._service.count_nexus_operation_executions(
            ws.CountNexusOperationExecutionsRequest(client.namespace, input.query or ""),
            metadata=client._metadata(input.rpc_metadata),
            timeout=input.rpc_timeout,
        )
        return NexusOperationExecutionCount._from_raw(response)
