"""Standalone Nexus operations: operations that no workflow called.

Such an operation is a run without a workflow. Its history is the operation's own (scheduled, started, closed), so calls,
retries, timeouts, cancellation, recovery and completion callbacks are those of every other operation. The store keeps
these runs under an id of the namespace's own (:func:`~perdure.engine.namespaces.operations_of`), so that ids and lists of
operations and workflows do not mix.
"""

from __future__ import annotations

import uuid
from typing import Any

import msgspec

from perdure._native import commands, transitions
from perdure._native.commands import CommandError
from perdure._native.mutable_state import MutableState, RunState, Status
from perdure.api.command import v1 as command_v1
from perdure.api.common import v1 as common_v1
from perdure.api.enums.v1 import (
    CommandType,
    EventType,
    NexusOperationExecutionStatus,
    NexusOperationWaitStage,
)
from perdure.api.failure import v1 as failure_v1
from perdure.api.history import v1 as history_v1
from perdure.api.nexus import v1 as nexus_v1
from perdure.api.nexusoperation import v1 as nexusoperation_v1
from perdure.api.sdk import v1 as sdk_v1
from perdure.api.workflowservice import v1 as ws
from perdure.engine import limits
from perdure.engine.callbacks import Callbacks
from perdure.engine.closing import Closing
from perdure.engine.core import Core
from perdure.engine.errors import failed_precondition, invalid_argument, not_found, operation_already_started
from perdure.engine.listing import count_runs, groups_of, list_page, read_query, search_attributes_of
from perdure.engine.lookup import changed
from perdure.engine.namespaces import Namespace, Namespaces, operations_of
from perdure.engine.nexus_describing import (
    attempts,
    callback_state,
    cancellation_state,
    last_failure,
    pending_state,
)
from perdure.engine.nexus_endpoints import NexusEndpoints
from perdure.engine.nexus_operations import NexusOperations
from perdure.engine.nexus_state import Callback, Operation, callbacks, operations
from perdure.engine.resets import end_and_delete
from perdure.engine.run import Run
from perdure.engine.standalone import find_by_id, may_start, search_attributes
from perdure.engine.wiring import encode
from perdure.store.api import RunKey, VisibilityRecord

_SCHEDULE = int(CommandType.COMMAND_TYPE_SCHEDULE_NEXUS_OPERATION)
_Event = EventType
_COMPLETED = int(_Event.EVENT_TYPE_NEXUS_OPERATION_COMPLETED)
_TERMINATED = int(_Event.EVENT_TYPE_WORKFLOW_EXECUTION_TERMINATED)
_CANCEL_REQUESTED = int(_Event.EVENT_TYPE_NEXUS_OPERATION_CANCEL_REQUESTED)
_STAGE_STARTED = int(NexusOperationWaitStage.NEXUS_OPERATION_WAIT_STAGE_STARTED)
_STAGE_CLOSED = int(NexusOperationWaitStage.NEXUS_OPERATION_WAIT_STAGE_CLOSED)
_Execution = NexusOperationExecutionStatus
#: Status of a run -> status of the operation; the numbers are not the same.
_STATUSES = {
    int(Status.STATUS_RUNNING): int(_Execution.NEXUS_OPERATION_EXECUTION_STATUS_RUNNING),
    int(Status.COMPLETED): int(_Execution.NEXUS_OPERATION_EXECUTION_STATUS_COMPLETED),
    int(Status.FAILED): int(_Execution.NEXUS_OPERATION_EXECUTION_STATUS_FAILED),
    int(Status.CANCELED): int(_Execution.NEXUS_OPERATION_EXECUTION_STATUS_CANCELED),
    int(Status.TERMINATED): int(_Execution.NEXUS_OPERATION_EXECUTION_STATUS_TERMINATED),
    int(Status.TIMED_OUT): int(_Execution.NEXUS_OPERATION_EXECUTION_STATUS_TIMED_OUT),
}
#: What list filters call the columns of runs; the run keeps the operation's names in these.
_COLUMNS = {
    "OperationId": "WorkflowId",
    "Operation": "WorkflowType",
    "Endpoint": "TaskQueue",
    "Service": "RootWorkflowId",
    "ScheduleTime": "StartTime",
}
_decode_metadata = msgspec.msgpack.Decoder(sdk_v1.UserMetadata).decode
_decode_links = msgspec.msgpack.Decoder(list[common_v1.Link]).decode
_GONE = "operation already completed"


class StandaloneOperations:
    """Temporal's ...NexusOperationExecution RPCs."""

    def __init__(
        self,
        core: Core,
        namespaces: Namespaces,
        closing: Closing,
        endpoints: NexusEndpoints,
        nexus_operations: NexusOperations,
        callbacks: Callbacks,
    ) -> None:
        self._core = core
        self._namespaces = namespaces
        self._closing = closing
        self._endpoints = endpoints
        self._operations = nexus_operations
        self._callbacks = callbacks

    # ---- start

    async def start(self, request: ws.StartNexusOperationExecutionRequest) -> ws.StartNexusOperationExecutionResponse:
        """Temporal's StartNexusOperationExecution. The operation is durable before the answer."""
        core = self._core
        limits.check_id(request.operation_id, "OperationId")
        limits.check_id(request.request_id, "RequestId", required=False)
        limits.check_id(request.identity, "Identity", required=False)
        limits.check_search_attributes(request.search_attributes)
        limits.check_user_metadata(request.user_metadata)
        namespace = self._namespaces.get(request.namespace)
        if request.search_attributes is not None:
            await self._namespaces.learn(namespace, request.search_attributes)
        namespace_id = operations_of(namespace.namespace_id)
        self._callbacks.check(request.completion_callbacks)
        command = _command(request)
        endpoint_id = self._endpoints.id_of(request.endpoint)
        if endpoint_id is None:
            raise not_found(f"endpoint not registered: {request.endpoint}")
        current = await core.current(namespace_id, request.operation_id)
        if current is not None:
            s = current.state
            if request.request_id and s.create_request_id == request.request_id:
                await core.durable(current)
                return ws.StartNexusOperationExecutionResponse(current.key.run_id, True)
            may = may_start(current, request)
            if may is None:
                raise operation_already_started(*current.key[1:], s.create_request_id, current.is_open)
            if not may:
                options = request.on_conflict_options
                if options is not None and options.attach_completion_callbacks:
                    self._callbacks.register(current, request.completion_callbacks, request.request_id)
                    core.forming(current)
                await core.durable(current)
                return ws.StartNexusOperationExecutionResponse(current.key.run_id, False)
        key = RunKey(namespace_id, request.operation_id, core.run_ids.new(core.now()))
        run = self._create(key, request, command, endpoint_id, namespace)
        await core.durable(run)
        return ws.StartNexusOperationExecutionResponse(key.run_id, True)

    def _create(
        self,
        key: RunKey,
        request: ws.StartNexusOperationExecutionRequest,
        command: command_v1.Command,
        endpoint_id: str,
        namespace: Namespace,
    ) -> Run:
        core = self._core
        now = core.now()
        s = MutableState(*key)
        s.is_first_task_held = True  # there is no workflow that a task could go to
        s.state = RunState.RUNNING
        s.create_request_id = request.request_id or str(uuid.uuid4())
        s.workflow_type = request.operation
        s.task_queue = request.endpoint
        s.root_workflow_id = request.service
        s.first_run_id = key.run_id
        s.start_ns = s.execution_ns = now
        s.extra = {"operation": {"retention_ms": namespace.retention_ms, "identity": request.identity}}
        if request.user_metadata is not None:
            s.extra["operation"]["user_metadata"] = encode(request.user_metadata)
        if request.links:
            s.extra["operation"]["links"] = encode(request.links)
        if request.search_attributes is not None:
            s.search_attributes = {
                name: encode(payload) for name, payload in request.search_attributes.indexed_fields.items()
            }
        try:
            commands.check(s, [command], namespace.name)
        except CommandError as error:
            raise invalid_argument(error.message) from None
        run = Run(key, s, 0)
        if request.completion_callbacks:
            self._callbacks.register(run, request.completion_callbacks, s.create_request_id)
        commands.apply(s, [command], 0, now, namespace.name, None, {request.endpoint: endpoint_id})
        core.add(run)
        core.touch(run)
        return run

    # ---- results

    async def poll(
        self, request: ws.PollNexusOperationExecutionRequest, timeout: float | None
    ) -> ws.PollNexusOperationExecutionResponse:
        """Temporal's PollNexusOperationExecution: waits for a stage, and answers without one after a long poll."""
        stage = request.wait_stage or _STAGE_CLOSED
        if stage not in (_STAGE_STARTED, _STAGE_CLOSED):
            raise invalid_argument(f"unsupported wait_stage: {request.wait_stage}")
        run = await self._find(request.namespace, request.operation_id, request.run_id)
        deadline = self._core.loop.time() + limits.long_read(timeout)
        while run.is_open and (stage == _STAGE_CLOSED or not _is_started(run)):
            left = deadline - self._core.loop.time()
            if left <= 0 or not await changed(self._core, run, left):
                return ws.PollNexusOperationExecutionResponse()
        await self._core.durable(run)
        response = ws.PollNexusOperationExecutionResponse(run.key.run_id, _STAGE_STARTED)
        for operation in operations(run.state).values():
            response.operation_token = operation["token"]
        if not run.is_open:
            response.wait_stage = _STAGE_CLOSED
            response.operation_token = (run.state.extra or {})["operation"].get("token", "")
            response.result, response.failure = await self._outcome(run)
        return response

    async def _outcome(self, run: Run) -> tuple[common_v1.Payload | None, failure_v1.Failure | None]:
        event = await self._core.event(run, run.state.close_event_id)
        attributes: Any = event.attributes
        if event.event_type == _COMPLETED:
            return attributes.result or common_v1.Payload({"encoding": b"binary/null"}), None
        if event.event_type == _TERMINATED:
            return None, failure_v1.Failure(
                message=attributes.reason or "operation terminated",
                source="Server",
                terminated_failure_info=failure_v1.TerminatedFailureInfo(attributes.identity),
            )
        return None, attributes.failure.cause or attributes.failure

    async def describe(
        self, request: ws.DescribeNexusOperationExecutionRequest, timeout: float | None
    ) -> ws.DescribeNexusOperationExecutionResponse:
        """Temporal's DescribeNexusOperationExecution. With a token of an earlier answer it waits for a change."""
        core = self._core
        run = await self._find(request.namespace, request.operation_id, request.run_id)
        if request.long_poll_token:
            if not request.run_id:
                raise invalid_argument("run_id is required when long_poll_token is provided")
            seen = _read_token(request.long_poll_token)
            if (
                run.is_open
                and run.state.transition_count <= seen
                and not await changed(core, run, limits.long_read(timeout))
            ):
                return ws.DescribeNexusOperationExecutionResponse(long_poll_token=request.long_poll_token)
        await core.durable(run)
        scheduled = await core.event(run, 1)
        response = ws.DescribeNexusOperationExecutionResponse(run.key.run_id, _info(run, scheduled.attributes))
        if request.include_input:
            response.input = scheduled.attributes.input
        response.completion_callbacks = [_callback_info(callback) for callback in callbacks(run.state)]
        if run.is_open:
            response.long_poll_token = b"%d" % run.state.transition_count
        elif request.include_outcome:
            response.result, response.failure = await self._outcome(run)
        return response

    async def list_operations(
        self, request: ws.ListNexusOperationExecutionsRequest
    ) -> ws.ListNexusOperationExecutionsResponse:
        """Temporal's ListNexusOperationExecutions; it sees everything acknowledged before the call."""
        namespace = self._namespaces.get(request.namespace)
        query = read_query(request.query, namespace.search_attributes, _COLUMNS)
        namespace_id = operations_of(namespace.namespace_id)
        page = await list_page(self._core, namespace_id, query, request.page_size, request.next_page_token)
        found = [_listed(record) for record in page.records]
        return ws.ListNexusOperationExecutionsResponse(found, page.next_page_token)

    async def count(self, request: ws.CountNexusOperationExecutionsRequest) -> ws.CountNexusOperationExecutionsResponse:
        """Temporal's CountNexusOperationExecutions."""
        namespace = self._namespaces.get(request.namespace)
        query = read_query(request.query, namespace.search_attributes, _COLUMNS)
        counts = await count_runs(self._core, operations_of(namespace.namespace_id), query)
        groups = [ws.CountNexusOperationExecutionsResponseAggregationGroup(*group) for group in groups_of(counts)]
        return ws.CountNexusOperationExecutionsResponse(sum(counts.values()), groups)

    # ---- ends

    async def request_cancel(
        self, request: ws.RequestCancelNexusOperationExecutionRequest
    ) -> ws.RequestCancelNexusOperationExecutionResponse:
        """Temporal's RequestCancelNexusOperationExecution: the handler is asked as soon as it has started."""
        core = self._core
        _check_reason(request.reason)
        run, operation = await self._find_open(request.namespace, request.operation_id, request.run_id)
        s = run.state
        assert s.extra is not None
        about = s.extra["operation"]
        if operation["cancel"] is not None:
            if not request.request_id or about.get("cancel_request_id") != request.request_id:
                raise failed_precondition("cancellation already requested")
        else:
            about["cancel_request_id"] = request.request_id
            about["cancel_reason"] = request.reason
            attributes = history_v1.NexusOperationCancelRequestedEventAttributes(1)
            transitions.write(s, _CANCEL_REQUESTED, attributes, core.now())
            core.touch(run)
            self._operations.on_call(run, s.next_event_id - 1)
        await core.durable(run)
        return ws.RequestCancelNexusOperationExecutionResponse()

    async def terminate(
        self, request: ws.TerminateNexusOperationExecutionRequest
    ) -> ws.TerminateNexusOperationExecutionResponse:
        """Temporal's TerminateNexusOperationExecution: the operation closes now; its handler is not told."""
        _check_reason(request.reason)
        run, _ = await self._find_open(request.namespace, request.operation_id, request.run_id)
        self._closing.terminate(run, request.reason, None, request.identity)
        self._core.touch(run)
        await self._core.durable(run)
        return ws.TerminateNexusOperationExecutionResponse()

    async def delete(
        self, request: ws.DeleteNexusOperationExecutionRequest
    ) -> ws.DeleteNexusOperationExecutionResponse:
        """Temporal's DeleteNexusOperationExecution: an open operation is terminated first."""
        run = await self._find(request.namespace, request.operation_id, request.run_id)
        await end_and_delete(self._core, self._closing, run, "Delete nexus operation execution")
        return ws.DeleteNexusOperationExecutionResponse()

    # ---- lookup

    async def _find(self, namespace: str, operation_id: str, run_id: str) -> Run:
        limits.check_id(operation_id, "OperationId")
        namespace_id = operations_of(self._namespaces.get(namespace).namespace_id)
        return await find_by_id(self._core, namespace_id, operation_id, run_id, "nexus operation")

    async def _find_open(self, namespace: str, operation_id: str, run_id: str) -> tuple[Run, Operation]:
        run = await self._find(namespace, operation_id, run_id)
        if not run.is_open:
            raise failed_precondition(_GONE)
        [operation] = operations(run.state).values()
        return run, operation


def _command(request: ws.StartNexusOperationExecutionRequest) -> command_v1.Command:
    """The request as the command by which a workflow would schedule the operation."""
    return command_v1.Command(
        _SCHEDULE,
        attributes=command_v1.ScheduleNexusOperationCommandAttributes(
            endpoint=request.endpoint,
            service=request.service,
            operation=request.operation,
            input=request.input,
            schedule_to_close_timeout=request.schedule_to_close_timeout,
            nexus_header=request.nexus_header,
            schedule_to_start_timeout=request.schedule_to_start_timeout,
            start_to_close_timeout=request.start_to_close_timeout,
        ),
    )


def _is_started(run: Run) -> bool:
    return any(operation["started_ns"] for operation in operations(run.state).values())


def _check_reason(reason: str) -> None:
    if len(reason.encode()) > limits.MAX_ID_LENGTH:
        raise invalid_argument(f"reason exceeds length limit. Limit={limits.MAX_ID_LENGTH}")


def _read_token(token: bytes) -> int:
    try:
        return int(token)
    except ValueError:
        raise invalid_argument("invalid long poll token") from None


def _info(
    run: Run, scheduled: history_v1.NexusOperationScheduledEventAttributes
) -> nexus_v1.NexusOperationExecutionInfo:
    s = run.state
    about: dict[str, Any] = (s.extra or {})["operation"]
    to_close = scheduled.schedule_to_close_timeout or 0
    info = nexus_v1.NexusOperationExecutionInfo(
        operation_id=run.key.workflow_id,
        run_id=run.key.run_id,
        endpoint=scheduled.endpoint,
        service=scheduled.service,
        operation=scheduled.operation,
        status=_STATUSES[s.status],
        schedule_to_close_timeout=to_close or None,
        schedule_to_start_timeout=scheduled.schedule_to_start_timeout or None,
        start_to_close_timeout=scheduled.start_to_close_timeout or None,
        attempt=about.get("attempt", 1),
        schedule_time=s.start_ns,
        expiration_time=s.start_ns + to_close if to_close else None,
        close_time=s.close_ns or None,
        execution_duration=s.close_ns - s.start_ns if s.close_ns else None,
        request_id=s.create_request_id,
        operation_token=about.get("token", ""),
        state_transition_count=s.transition_count,
        search_attributes=search_attributes(run),
        nexus_header=scheduled.nexus_header,
        user_metadata=_decode_metadata(about["user_metadata"]) if "user_metadata" in about else None,
        links=_decode_links(about["links"]) if "links" in about else [],
        identity=about["identity"],
        state_size_bytes=s.history_size,
    )
    for operation in operations(s).values():
        call, cancel = operation["call"], operation["cancel"]
        info.state = pending_state(operation)
        info.attempt = attempts(call)
        info.last_attempt_complete_time = call["ended_ns"] or None
        info.last_attempt_failure = last_failure(call)
        info.next_attempt_schedule_time = call["next_ns"] or None
        info.operation_token = operation["token"]
        if cancel is not None:
            info.cancellation_info = nexus_v1.NexusOperationExecutionCancellationInfo(
                requested_time=cancel["requested_ns"],
                state=cancellation_state(operation, cancel),
                attempt=cancel["attempt"],
                last_attempt_complete_time=cancel["ended_ns"] or None,
                last_attempt_failure=last_failure(cancel),
                next_attempt_schedule_time=cancel["next_ns"] or None,
                reason=about.get("cancel_reason", ""),
            )
    return info


def _callback_info(callback: Callback) -> nexusoperation_v1.CallbackInfo:
    """What describe says of a callback of the operation's end."""
    trigger = nexusoperation_v1.CallbackInfoTrigger(nexusoperation_v1.CallbackInfoOperationCompleted())
    return nexusoperation_v1.CallbackInfo(trigger, callback_state(callback))


def _listed(record: VisibilityRecord) -> nexus_v1.NexusOperationExecutionListInfo:
    return nexus_v1.NexusOperationExecutionListInfo(
        operation_id=record.key.workflow_id,
        run_id=record.key.run_id,
        endpoint=record.task_queue,
        service=record.root_workflow_id,
        operation=record.workflow_type,
        schedule_time=record.start_time,
        close_time=record.close_time or None,
        status=_STATUSES[record.status],
        search_attributes=search_attributes_of(record),
        state_transition_count=record.state_transition_count,
        execution_duration=record.close_time - record.start_time if record.close_time else None,
        state_size_bytes=record.history_size_bytes,
    )
