"""The end of the interceptor chain: each call becomes the request of one RPC."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from perdure.activity import ActivityCancellationDetails
from perdure.api.common.v1 import Payloads, WorkflowExecution
from perdure.api.failure.v1 import Failure
from perdure.api.query.v1 import WorkflowQuery
from perdure.api.workflowservice import v1 as ws
from perdure.client._activity_impl import ActivityClientImpl
from perdure.client._async_activity import AsyncActivityIDReference
from perdure.client._exceptions import (
    AsyncActivityCancelledError,
    WorkflowQueryFailedError,
    WorkflowQueryRejectedError,
)
from perdure.client._interceptor import (
    CancelWorkflowInput,
    CompleteAsyncActivityInput,
    CountWorkflowsInput,
    DescribeWorkflowInput,
    FailAsyncActivityInput,
    FetchWorkflowHistoryEventsInput,
    HeartbeatAsyncActivityInput,
    ListWorkflowsInput,
    OutboundInterceptor,
    QueryWorkflowInput,
    ReportCancellationAsyncActivityInput,
    SignalWorkflowInput,
    StartWorkflowInput,
    StartWorkflowUpdateInput,
    StartWorkflowUpdateWithStartInput,
    TerminateWorkflowInput,
)
from perdure.client._nexus_context import current_operation
from perdure.client._nexus_impl import NexusClientImpl
from perdure.client._schedule_impl import ScheduleClientImpl
from perdure.client._start import start_workflow
from perdure.client._update_with_start import UpdateWithStart
from perdure.client._worker_versioning import WorkerVersioningClientImpl
from perdure.client._workflow_execution import (
    WorkflowExecutionAsyncIterator,
    WorkflowExecutionCount,
    WorkflowExecutionDescription,
    WorkflowExecutionStatus,
)
from perdure.client._workflow_history import WorkflowHistoryEventAsyncIterator
from perdure.client._workflow_update import (
    WorkflowUpdateHandle,
    WorkflowUpdateStage,
    update_id_of,
    update_request,
    waiting_for_update,
)
from perdure.common import _arg_unset
from perdure.converter import StorageDriverActivityInfo, StorageDriverStoreContext, StorageDriverWorkflowInfo
from perdure.service import RPCError, RPCStatusCode

if TYPE_CHECKING:
    from collections.abc import Sequence

    from perdure.client._client import Client
    from perdure.client._workflow_handle import WorkflowHandle
    from perdure.converter import DataConverter

    _AsyncActivityInput = (
        HeartbeatAsyncActivityInput
        | CompleteAsyncActivityInput
        | FailAsyncActivityInput
        | ReportCancellationAsyncActivityInput
    )


class ClientImpl(
    ActivityClientImpl, NexusClientImpl, WorkerVersioningClientImpl, ScheduleClientImpl, OutboundInterceptor
):
    """What interceptors end at."""

    def __init__(self, client: Client) -> None:
        """There is no next one."""
        self._client = client

    async def start_workflow(self, input: StartWorkflowInput) -> WorkflowHandle[Any, Any]:
        return await start_workflow(
            self._client,
            input.workflow,
            input.args,
            input.id,
            input.task_queue,
            input.execution_timeout,
            input.run_timeout,
            input.task_timeout,
            input.id_reuse_policy,
            input.id_conflict_policy,
            input.retry_policy,
            input.cron_schedule,
            input.memo,
            input.search_attributes,
            input.start_delay,
            input.headers,
            input.start_signal,
            input.start_signal_args,
            input.static_summary,
            input.static_details,
            input.ret_type,
            input.rpc_metadata,
            input.rpc_timeout,
            input.priority,
            input.versioning_override,
            input.time_skipping_config,
            request_eager_start=input.request_eager_start,
        )

    async def cancel_workflow(self, input: CancelWorkflowInput) -> None:
        client = self._client
        await client._service.request_cancel_workflow_execution(
            ws.RequestCancelWorkflowExecutionRequest(
                namespace=client.namespace,
                workflow_execution=WorkflowExecution(input.id, input.run_id or ""),
                identity=client.identity,
                request_id=client._new_request_id(),
                first_execution_run_id=input.first_execution_run_id or "",
                reason=input.reason,
            ),
            metadata=client._metadata(input.rpc_metadata),
            timeout=input.rpc_timeout,
        )

    async def describe_workflow(self, input: DescribeWorkflowInput) -> WorkflowExecutionDescription:
        client = self._client
        description = await client._service.describe_workflow_execution(
            ws.DescribeWorkflowExecutionRequest(client.namespace, WorkflowExecution(input.id, input.run_id or "")),
            metadata=client._metadata(input.rpc_metadata),
            timeout=input.rpc_timeout,
        )
        return await WorkflowExecutionDescription._from_raw_description(
            description, client.namespace, client.data_converter
        )

    def fetch_workflow_history_events(
        self, input: FetchWorkflowHistoryEventsInput
    ) -> WorkflowHistoryEventAsyncIterator:
        return WorkflowHistoryEventAsyncIterator(self._client, input)

    def list_workflows(self, input: ListWorkflowsInput) -> WorkflowExecutionAsyncIterator:
        return WorkflowExecutionAsyncIterator(self._client, input)

    async def count_workflows(self, input: CountWorkflowsInput) -> WorkflowExecutionCount:
        client = self._client
        response = await client._service.count_workflow_executions(
            ws.CountWorkflowExecutionsRequest(client.namespace, input.query or ""),
            metadata=client._metadata(input.rpc_metadata),
            timeout=input.rpc_timeout,
        )
        return WorkflowExecutionCount._from_raw(response)

    async def query_workflow(self, input: QueryWorkflowInput) -> Any:
        client = self._client
        conversion = client._conversion
        request = ws.QueryWorkflowRequest(
            namespace=client.namespace,
            execution=WorkflowExecution(input.id, input.run_id or ""),
            query=WorkflowQuery(
                input.query,
                await conversion.encode(input.id, input.args, input.run_id),
                await conversion.encode_headers(input.headers),
            ),
            query_reject_condition=int(input.reject_condition or 0),
        )
        try:
            response = await client._service.query_workflow(
                request, metadata=client._metadata(input.rpc_metadata), timeout=input.rpc_timeout
            )
        except RPCError as error:
            if error.status == RPCStatusCode.INVALID_ARGUMENT:
                raise WorkflowQueryFailedError(error.message) from error
            raise
        if response.query_rejected is not None:
            status = response.query_rejected.status
            raise WorkflowQueryRejectedError(WorkflowExecutionStatus(status) if status else None)
        return await conversion.decode(input.id, response.query_result, input.ret_type, "the answer to a query")

    async def signal_workflow(self, input: SignalWorkflowInput) -> None:
        client = self._client
        conversion = client._conversion
        request = ws.SignalWorkflowExecutionRequest(
            namespace=client.namespace,
            workflow_execution=WorkflowExecution(input.id, input.run_id or ""),
            signal_name=input.signal,
            input=await conversion.encode(input.id, input.args, input.run_id),
            identity=client.identity,
            request_id=client._new_request_id(),
            header=await conversion.encode_headers(input.headers),
        )
        operation = current_operation.get()
        if operation is not None:
            operation.prepare_signal(request)
        response = await client._service.signal_workflow_execution(
            request, metadata=client._metadata(input.rpc_metadata), timeout=input.rpc_timeout
        )
        if operation is not None:
            operation.linked(response.link)

    async def terminate_workflow(self, input: TerminateWorkflowInput) -> None:
        client = self._client
        await client._service.terminate_workflow_execution(
            ws.TerminateWorkflowExecutionRequest(
                namespace=client.namespace,
                workflow_execution=WorkflowExecution(input.id, input.run_id or ""),
                reason=input.reason or "",
                details=await client._conversion.encode(input.id, input.args, input.run_id),
                identity=client.identity,
                first_execution_run_id=input.first_execution_run_id or "",
            ),
            metadata=client._metadata(input.rpc_metadata),
            timeout=input.rpc_timeout,
        )

    async def start_workflow_update(self, input: StartWorkflowUpdateInput) -> WorkflowUpdateHandle[Any]:
        client = self._client
        request = await update_request(client, input.id, input.run_id, input)
        request.first_execution_run_id = input.first_execution_run_id or ""
        metadata = client._metadata(input.rpc_metadata)
        operation = current_operation.get()
        if operation is not None:
            operation.prepare_update(request)
        with waiting_for_update():
            # Not yet durable when it is only admitted: sent again, with its id, until it is.
            while True:
                response = await client._service.update_workflow_execution(
                    request, metadata=metadata, timeout=input.rpc_timeout
                )
                if response.stage >= WorkflowUpdateStage.ACCEPTED:
                    break
        if operation is not None:
            operation.linked(response.link)
        execution = response.update_ref.workflow_execution if response.update_ref else None
        handle: WorkflowUpdateHandle[Any] = WorkflowUpdateHandle(
            client,
            update_id_of(request),
            input.id,
            workflow_run_id=(execution.run_id if execution else input.run_id) or None,
            result_type=input.ret_type,
            known_outcome=response.outcome,
        )
        if input.wait_for_stage == WorkflowUpdateStage.COMPLETED:
            await handle._outcome(input.rpc_metadata, input.rpc_timeout)
        return handle

    async def start_update_with_start_workflow(
        self, input: StartWorkflowUpdateWithStartInput
    ) -> WorkflowUpdateHandle[Any]:
        return await UpdateWithStart(self._client, input).start()

    async def heartbeat_async_activity(self, input: HeartbeatAsyncActivityInput) -> None:
        client = self._client
        service = client._service
        details = await self._details(input, input.details)
        response: ws.RecordActivityTaskHeartbeatByIdResponse | ws.RecordActivityTaskHeartbeatResponse
        if isinstance(input.id_or_token, AsyncActivityIDReference):
            response = await service.record_activity_task_heartbeat_by_id(
                ws.RecordActivityTaskHeartbeatByIdRequest(**self._by_id(input.id_or_token), details=details),
                metadata=client._metadata(input.rpc_metadata),
                timeout=input.rpc_timeout,
            )
        else:
            response = await service.record_activity_task_heartbeat(
                ws.RecordActivityTaskHeartbeatRequest(**self._by_token(input.id_or_token), details=details),
                metadata=client._metadata(input.rpc_metadata),
                timeout=input.rpc_timeout,
            )
        if response.cancel_requested or response.activity_paused or response.activity_reset:
            raise AsyncActivityCancelledError(
                ActivityCancellationDetails(
                    cancel_requested=response.cancel_requested,
                    paused=response.activity_paused,
                    reset=response.activity_reset,
                )
            )

    async def complete_async_activity(self, input: CompleteAsyncActivityInput) -> None:
        client = self._client
        values = () if input.result is _arg_unset else (input.result,)
        result = await self._details(input, values)
        if isinstance(input.id_or_token, AsyncActivityIDReference):
            await client._service.respond_activity_task_completed_by_id(
                ws.RespondActivityTaskCompletedByIdRequest(**self._by_id(input.id_or_token), result=result),
                metadata=client._metadata(input.rpc_metadata),
                timeout=input.rpc_timeout,
            )
        else:
            await client._service.respond_activity_task_completed(
                ws.RespondActivityTaskCompletedRequest(**self._by_token(input.id_or_token), result=result),
                metadata=client._metadata(input.rpc_metadata),
                timeout=input.rpc_timeout,
            )

    async def fail_async_activity(self, input: FailAsyncActivityInput) -> None:
        client = self._client
        failure = Failure()
        await self._converter(input).encode_failure(input.error, failure)
        last = await self._details(input, input.last_heartbeat_details)
        if isinstance(input.id_or_token, AsyncActivityIDReference):
            await client._service.respond_activity_task_failed_by_id(
                ws.RespondActivityTaskFailedByIdRequest(
                    **self._by_id(input.id_or_token), failure=failure, last_heartbeat_details=last
                ),
                metadata=client._metadata(input.rpc_metadata),
                timeout=input.rpc_timeout,
            )
        else:
            await client._service.respond_activity_task_failed(
                ws.RespondActivityTaskFailedRequest(
                    **self._by_token(input.id_or_token), failure=failure, last_heartbeat_details=last
                ),
                metadata=client._metadata(input.rpc_metadata),
                timeout=input.rpc_timeout,
            )

    async def report_cancellation_async_activity(self, input: ReportCancellationAsyncActivityInput) -> None:
        client = self._client
        details = await self._details(input, input.details)
        if isinstance(input.id_or_token, AsyncActivityIDReference):
            await client._service.respond_activity_task_canceled_by_id(
                ws.RespondActivityTaskCanceledByIdRequest(**self._by_id(input.id_or_token), details=details),
                metadata=client._metadata(input.rpc_metadata),
                timeout=input.rpc_timeout,
            )
        else:
            await client._service.respond_activity_task_canceled(
                ws.RespondActivityTaskCanceledRequest(**self._by_token(input.id_or_token), details=details),
                metadata=client._metadata(input.rpc_metadata),
                timeout=input.rpc_timeout,
            )

    def _converter(self, input: _AsyncActivityInput) -> DataConverter:
        converter = input.data_converter_override or self._client.data_converter
        reference = input.id_or_token
        if converter.external_storage is None or not isinstance(reference, AsyncActivityIDReference):
            return converter
        namespace, run_id = self._client.namespace, reference.run_id or None
        target: StorageDriverActivityInfo | StorageDriverWorkflowInfo
        if reference.workflow_id:
            target = StorageDriverWorkflowInfo(namespace=namespace, id=reference.workflow_id, run_id=run_id)
        else:
            target = StorageDriverActivityInfo(namespace=namespace, id=reference.activity_id, run_id=run_id)
        return converter._with_store_context(StorageDriverStoreContext(target))

    async def _details(self, input: _AsyncActivityInput, values: Sequence[Any]) -> Payloads | None:
        if not values:
            return None
        return Payloads(await self._converter(input).encode(values))

    def _by_id(self, reference: AsyncActivityIDReference) -> dict[str, Any]:
        return {
            "namespace": self._client.namespace,
            "workflow_id": reference.workflow_id or "",
            "run_id": reference.run_id or "",
            "activity_id": reference.activity_id,
            "identity": self._client.identity,
        }

    def _by_token(self, task_token: bytes) -> dict[str, Any]:
        return {
            "namespace": self._client.namespace,
            "task_token": task_token,
            "identity": self._client.identity,
        }
