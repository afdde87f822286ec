"""The end of the interceptor chain for standalone activities: each call becomes the request of one RPC."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from perdure.api.common.v1 import ActivityType, Payloads, SearchAttributes
from perdure.api.enums.v1 import TaskQueueKind
from perdure.api.errordetails.v1 import ActivityExecutionAlreadyStartedFailure
from perdure.api.sdk.v1 import UserMetadata
from perdure.api.taskqueue.v1 import TaskQueue
from perdure.api.workflowservice import v1 as ws
from perdure.client import _check
from perdure.client._activity_execution import (
    ActivityExecutionAsyncIterator,
    ActivityExecutionCount,
    ActivityExecutionDescription,
)
from perdure.client._activity_handle import ActivityHandle, activity_converter
from perdure.client._activity_options import ActivityExecutionOptions, options_message
from perdure.client._nexus_context import current_operation
from perdure.common import ActivityIDConflictPolicy, ActivityIDReusePolicy, Priority, RetryPolicy, TypedSearchAttributes
from perdure.converter import StorageDriverActivityInfo, StorageDriverStoreContext, encode_search_attributes
from perdure.exceptions import ActivityAlreadyStartedError
from perdure.service import RPCError, RPCStatusCode

if TYPE_CHECKING:
    from perdure.client._activity_inputs import (
        CancelActivityInput,
        CountActivitiesInput,
        DescribeActivityInput,
        ListActivitiesInput,
        PauseActivityInput,
        StartActivityInput,
        TerminateActivityInput,
        UnpauseActivityInput,
        UpdateActivityOptionsInput,
    )
    from perdure.client._client import Client

_NORMAL = int(TaskQueueKind.TASK_QUEUE_KIND_NORMAL)
_WHERE = "start_activity"


class ActivityClientImpl:
    """The part of :class:`~perdure.client._impl.ClientImpl` about standalone activities."""

    _client: Client

    async def start_activity(self, input: StartActivityInput) -> ActivityHandle[Any]:
        client = self._client
        request = await self._start_request(input)
        operation = current_operation.get()
        if operation is not None:
            operation.prepare_activity(request)
        try:
            response = await client._service.start_activity_execution(
                request,
                metadata=client._metadata(input.rpc_metadata),
                timeout=input.rpc_timeout,
            )
        except RPCError as error:
            detail = error.detail(ActivityExecutionAlreadyStartedFailure)
            if error.status == RPCStatusCode.ALREADY_EXISTS and isinstance(
                detail, ActivityExecutionAlreadyStartedFailure
            ):
                raise ActivityAlreadyStartedError(input.id, input.activity_type, run_id=detail.run_id) from None
            raise
        if operation is not None:
            operation.activity_started(input.id, response)
        return ActivityHandle(client, input.id, run_id=response.run_id, result_type=input.result_type)

    async def _start_request(self, input: StartActivityInput) -> ws.StartActivityExecutionRequest:
        client = self._client
        if not input.start_to_close_timeout and not input.schedule_to_close_timeout:
            raise ValueError(f"{_WHERE}: give a start_to_close_timeout or a schedule_to_close_timeout")
        _check.text(_WHERE, "id", input.id)
        _check.text(_WHERE, "task_queue", input.task_queue)
        _check.member(_WHERE, "id_reuse_policy", input.id_reuse_policy, ActivityIDReusePolicy)
        _check.member(_WHERE, "id_conflict_policy", input.id_conflict_policy, ActivityIDConflictPolicy)
        converter = activity_converter(client, input.id, input.activity_type, input.task_queue)
        if converter.external_storage is not None:
            target = StorageDriverActivityInfo(id=input.id, type=input.activity_type, namespace=client.namespace)
            converter = converter._with_store_context(StorageDriverStoreContext(target))
        request = ws.StartActivityExecutionRequest(
            namespace=client.namespace,
            identity=client.identity,
            request_id=client._new_request_id(),
            activity_id=input.id,
            activity_type=ActivityType(input.activity_type),
            task_queue=TaskQueue(input.task_queue, _NORMAL),
            id_reuse_policy=int(input.id_reuse_policy),
            id_conflict_policy=int(input.id_conflict_policy),
            input=Payloads(await converter.encode(input.args)) if input.args else None,
            header=await client._conversion.encode_headers(input.headers),
        )
        for name in (
            "schedule_to_close_timeout",
            "schedule_to_start_timeout",
            "start_to_close_timeout",
            "heartbeat_timeout",
            "start_delay",
        ):
            setattr(request, name, _check.duration_ns(_WHERE, name, getattr(input, name)))
        if input.retry_policy is not None:
            _check.instance(_WHERE, "retry_policy", input.retry_policy, RetryPolicy)
            request.retry_policy = input.retry_policy._to_proto()
        if input.priority is not Priority.default:
            _check.instance(_WHERE, "priority", input.priority, Priority)
            request.priority = input.priority._to_proto()
        if input.search_attributes is not None:
            _check.instance(_WHERE, "search_attributes", input.search_attributes, TypedSearchAttributes)
            request.search_attributes = SearchAttributes()
            encode_search_attributes(input.search_attributes, request.search_attributes)
        if input.summary is not None:
            _check.instance(_WHERE, "summary", input.summary, str)
            request.user_metadata = UserMetadata(summary=(await converter.encode([input.summary]))[0])
        return request

    async def cancel_activity(self, input: CancelActivityInput) -> None:
        client = self._client
        await client._service.request_cancel_activity_execution(
            ws.RequestCancelActivityExecutionRequest(
                client.namespace,
                input.activity_id,
                input.activity_run_id or "",
                client.identity,
                client._new_request_id(),
                input.reason or "",
            ),
            metadata=client._metadata(input.rpc_metadata),
            timeout=input.rpc_timeout,
        )

    async def terminate_activity(self, input: TerminateActivityInput) -> None:
        client = self._client
        await client._service.terminate_activity_execution(
            ws.TerminateActivityExecutionRequest(
                client.namespace,
                input.activity_id,
                input.activity_run_id or "",
                client.identity,
                client._new_request_id(),
                input.reason or "",
            ),
            metadata=client._metadata(input.rpc_metadata),
            timeout=input.rpc_timeout,
        )

    async def pause_activity(self, input: PauseActivityInput) -> None:
        client = self._client
        await client._service.pause_activity_execution(
            ws.PauseActivityExecutionRequest(
                namespace=client.namespace,
                activity_id=input.activity_id,
                run_id=input.activity_run_id or "",
                identity=client.identity,
                reason=input.reason or "",
                request_id=client._new_request_id(),
            ),
            metadata=client._metadata(input.rpc_metadata),
            timeout=input.rpc_timeout,
        )

    async def unpause_activity(self, input: UnpauseActivityInput) -> None:
        client = self._client
        await client._service.unpause_activity_execution(
            ws.UnpauseActivityExecutionRequest(
                namespace=client.namespace,
                activity_id=input.activity_id,
                run_id=input.activity_run_id or "",
                identity=client.identity,
                reason=input.reason or "",
                jitter=_check.duration_ns("unpause", "jitter", input.jitter),
                request_id=client._new_request_id(),
            ),
            metadata=client._metadata(input.rpc_metadata),
            timeout=input.rpc_timeout,
        )

    async def update_activity_options(self, input: UpdateActivityOptionsInput) -> ActivityExecutionOptions:
        client = self._client
        request = ws.UpdateActivityExecutionOptionsRequest(
            namespace=client.namespace,
            activity_id=input.activity_id,
            run_id=input.activity_run_id or "",
            identity=client.identity,
            restore_original=input.restore_original,
            request_id=client._new_request_id(),
        )
        if not input.restore_original:
            request.activity_options, request.update_mask = options_message(input.updates)
        elif input.updates:
            raise ValueError("update_activity_options: restore_original cannot be combined with updates")
        response = await client._service.update_activity_execution_options(
            request, metadata=client._metadata(input.rpc_metadata), timeout=input.rpc_timeout
        )
        assert response.activity_options is not None
        return ActivityExecutionOptions._from_proto(response.activity_options)

    async def describe_activity(self, input: DescribeActivityInput) -> ActivityExecutionDescription:
        client = self._client
        response = await client._service.describe_activity_execution(
            ws.DescribeActivityExecutionRequest(
                namespace=client.namespace,
                activity_id=input.activity_id,
                run_id=input.activity_run_id or "",
                include_input=input.include_input,
                include_outcome=input.include_outcome,
                include_heartbeat_details=input.include_heartbeat_details,
                include_last_failure=input.include_last_failure,
            ),
            metadata=client._metadata(input.rpc_metadata),
            timeout=input.rpc_timeout,
        )
        return ActivityExecutionDescription._from_resp(
            response, client.namespace, activity_converter(client, input.activity_id)
        )

    def list_activities(self, input: ListActivitiesInput) -> ActivityExecutionAsyncIterator:
        return ActivityExecutionAsyncIterator(self._client, input)

    async def count_activities(self, input: CountActivitiesInput) -> ActivityExecutionCount:
        client = self._client
        response = await client._service.count_activity_executions(
            ws.CountActivityExecutionsRequest(client.namespace, input.query or ""),
            metadata=client._metadata(input.rpc_metadata),
            timeout=input.rpc_timeout,
        )
        return ActivityExecutionCount._from_raw(response)
