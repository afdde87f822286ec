"""What a batch operation does to one execution: each is the service's own request for one."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from perdure.api.common import v1 as common_v1
from perdure.api.enums.v1 import BatchOperationType, EventType, ResetType
from perdure.api.workflowservice import v1 as ws
from perdure.engine.errors import invalid_argument

if TYPE_CHECKING:
    from perdure.engine.batches import Target
    from perdure.service import WorkflowService

    Apply = Callable[[WorkflowService, "Operation", str, str, Target], Awaitable[object]]

_Type = BatchOperationType
_TASK_COMPLETED = int(EventType.EVENT_TYPE_WORKFLOW_TASK_COMPLETED)
_TASK_SCHEDULED = int(EventType.EVENT_TYPE_WORKFLOW_TASK_SCHEDULED)
_FIRST_TASK = int(ResetType.RESET_TYPE_FIRST_WORKFLOW_TASK)
_LAST_TASK = int(ResetType.RESET_TYPE_LAST_WORKFLOW_TASK)


@dataclass(frozen=True, slots=True)
class Operation:
    """An operation as a request has it, with how it is carried out."""

    type: int
    #: The struct of the request's ``..._operation`` field.
    body: Any
    run: Apply
    #: Its filter selects among open executions only.
    is_for_open: bool = False
    #: It is about standalone activities, not workflows.
    is_on_activities: bool = False

    @property
    def identity(self) -> str:
        """Who asked for it."""
        return getattr(self.body, "identity", "")

    async def apply(self, service: WorkflowService, namespace: str, reason: str, target: Target) -> None:
        """Do it to one execution."""
        await self.run(service, self, namespace, reason, target)

    def check(self) -> None:
        """Refuse one that lacks something."""
        body = self.body
        match self.type:
            case _Type.BATCH_OPERATION_TYPE_SIGNAL_WORKFLOW if not body.signal:
                raise invalid_argument("must provide signal name")
            case _Type.BATCH_OPERATION_TYPE_RESET_WORKFLOW:
                options = body.options
                if options is None:
                    if body.reset_type not in (_FIRST_TASK, _LAST_TASK):
                        raise invalid_argument(f"unknown batch reset type {body.reset_type}")
                elif not (
                    options.first_workflow_task
                    or options.last_workflow_task
                    or options.workflow_task_id
                    or options.build_id
                ):
                    raise invalid_argument(
                        "batch reset missing target: first or last workflow task, a task's event id, or a build id"
                    )
            case _Type.BATCH_OPERATION_TYPE_UPDATE_WORKFLOW_EXECUTION_OPTIONS:
                if body.workflow_execution_options is None:
                    raise invalid_argument("must provide UpdateOptions")
                if not body.update_mask:
                    raise invalid_argument("must provide UpdateMask")
            case _Type.BATCH_OPERATION_TYPE_UNPAUSE_ACTIVITY | _Type.BATCH_OPERATION_TYPE_RESET_ACTIVITY:
                _check_activity(body)
            case _Type.BATCH_OPERATION_TYPE_UPDATE_ACTIVITY_OPTIONS:
                _check_activity(body)
                if (body.activity_options is not None) == body.restore_original:
                    raise invalid_argument("either activity options must be set, or restore original")
            case _:
                pass


def _check_activity(body: Any) -> None:
    if not body.type and not body.match_all:
        raise invalid_argument("Either activity type must be set, or match all should be set to true")


def find_operation(request: ws.StartBatchOperationRequest) -> Operation | None:
    """The operation that a request asks for."""
    for name, type, run, is_for_open, is_on_activities in _OPERATIONS:
        body = getattr(request, name)
        if body is not None:
            return Operation(int(type), body, run, is_for_open, is_on_activities)
    return None


def _execution(target: Target) -> common_v1.WorkflowExecution:
    return common_v1.WorkflowExecution(target.id, target.run_id)


async def _terminate(
    service: WorkflowService, operation: Operation, namespace: str, reason: str, target: Target
) -> None:
    await service.terminate_workflow_execution(
        ws.TerminateWorkflowExecutionRequest(
            namespace, _execution(target), reason, operation.body.details, operation.identity
        )
    )


async def _cancel(service: WorkflowService, operation: Operation, namespace: str, reason: str, target: Target) -> None:
    await service.request_cancel_workflow_execution(
        ws.RequestCancelWorkflowExecutionRequest(
            namespace, _execution(target), operation.identity, target.request_id, reason=reason
        )
    )


async def _signal(service: WorkflowService, operation: Operation, namespace: str, reason: str, target: Target) -> None:
    body = operation.body
    await service.signal_workflow_execution(
        ws.SignalWorkflowExecutionRequest(
            namespace,
            _execution(target),
            body.signal,
            body.input,
            operation.identity,
            target.request_id,
            header=body.header,
        )
    )


async def _delete(service: WorkflowService, operation: Operation, namespace: str, reason: str, target: Target) -> None:
    await service.delete_workflow_execution(ws.DeleteWorkflowExecutionRequest(namespace, _execution(target)))


async def _reset(service: WorkflowService, operation: Operation, namespace: str, reason: str, target: Target) -> None:
    body = operation.body
    options = body.options or common_v1.ResetOptions(
        first_workflow_task=body.reset_type == _FIRST_TASK,
        last_workflow_task=body.reset_type == _LAST_TASK,
        reset_reapply_type=body.reset_reapply_type,
    )
    execution = _execution(target)
    if options.build_id:
        execution, event_id = await _find_build_id(
            service, namespace, execution, options.build_id, options.current_run_only
        )
    else:
        event_id = options.workflow_task_id or await _find_task(
            service, namespace, target, bool(options.first_workflow_task)
        )
    await service.reset_workflow_execution(
        ws.ResetWorkflowExecutionRequest(
            namespace,
            execution,
            reason,
            event_id,
            target.request_id,
            options.reset_reapply_type,
            options.reset_reapply_exclude_types,
            body.post_reset_operations,
            operation.identity,
        )
    )


async def _update_options(
    service: WorkflowService, operation: Operation, namespace: str, reason: str, target: Target
) -> None:
    body = operation.body
    await service.update_workflow_execution_options(
        ws.UpdateWorkflowExecutionOptionsRequest(
            namespace,
            _execution(target),
            body.workflow_execution_options,
            body.update_mask,
            identity=operation.identity,
        )
    )


async def _find_task(service: WorkflowService, namespace: str, target: Target, is_first: bool) -> int:
    """The event that completed the first or last workflow task, or the one after it was first or last scheduled."""
    token = b""
    scheduled = 0
    while True:
        if is_first:
            page = await service.get_workflow_execution_history(
                ws.GetWorkflowExecutionHistoryRequest(namespace, _execution(target), next_page_token=token)
            )
            history, token = page.history, page.next_page_token
        else:
            reverse = await service.get_workflow_execution_history_reverse(
                ws.GetWorkflowExecutionHistoryReverseRequest(namespace, _execution(target), next_page_token=token)
            )
            history, token = reverse.history, reverse.next_page_token
        for event in history.events if history is not None else ():
            if event.event_type == _TASK_COMPLETED:
                return event.event_id
            if event.event_type == _TASK_SCHEDULED and not scheduled:
                scheduled = event.event_id + 1
        if not token:
            return scheduled


async def _find_build_id(
    service: WorkflowService,
    namespace: str,
    execution: common_v1.WorkflowExecution,
    build_id: str,
    is_current_only: bool,
) -> tuple[common_v1.WorkflowExecution, int]:
    """The run and the event with which a build first completed a workflow task, looking back from run to run."""
    described = await service.describe_workflow_execution(ws.DescribeWorkflowExecutionRequest(namespace, execution))
    info = described.workflow_execution_info
    points = None if info is None else info.auto_reset_points
    run_id = "" if info is None or info.execution is None else info.execution.run_id
    for point in [] if points is None else points.points:
        if build_id not in (point.build_id, point.binary_checksum):
            continue
        if not point.resettable:
            raise invalid_argument(f"Reset point for {build_id} is not resettable")
        if is_current_only and point.run_id != run_id:
            raise invalid_argument(f"Reset point for {build_id} points to previous run and CurrentRunOnly is set")
        return common_v1.WorkflowExecution(execution.workflow_id, point.run_id), point.first_workflow_task_completed_id
    raise invalid_argument(f"Can't find reset point for {build_id}")


async def _unpause(service: WorkflowService, operation: Operation, namespace: str, reason: str, target: Target) -> None:
    body = operation.body
    await service.unpause_activity(
        ws.UnpauseActivityRequest(
            namespace,
            _execution(target),
            operation.identity,
            type=body.type or None,
            unpause_all=body.match_all or None,
            reset_attempts=body.reset_attempts,
            reset_heartbeat=body.reset_heartbeat,
            jitter=body.jitter,
        )
    )


async def _reset_activities(
    service: WorkflowService, operation: Operation, namespace: str, reason: str, target: Target
) -> None:
    body = operation.body
    await service.reset_activity(
        ws.ResetActivityRequest(
            namespace,
            _execution(target),
            operation.identity,
            type=body.type or None,
            reset_heartbeat=body.reset_heartbeat,
            keep_paused=body.keep_paused,
            jitter=body.jitter,
            restore_original_options=body.restore_original_options,
            match_all=body.match_all or None,
        )
    )


async def _update_activities(
    service: WorkflowService, operation: Operation, namespace: str, reason: str, target: Target
) -> None:
    body = operation.body
    await service.update_activity_options(
        ws.UpdateActivityOptionsRequest(
            namespace,
            _execution(target),
            operation.identity,
            body.activity_options,
            body.update_mask,
            type=body.type or None,
            restore_original=body.restore_original,
            match_all=body.match_all or None,
        )
    )


async def _cancel_activity(
    service: WorkflowService, operation: Operation, namespace: str, reason: str, target: Target
) -> None:
    await service.request_cancel_activity_execution(
        ws.RequestCancelActivityExecutionRequest(
            namespace, target.id, target.run_id, operation.identity, target.request_id, operation.body.reason or reason
        )
    )


async def _terminate_activity(
    service: WorkflowService, operation: Operation, namespace: str, reason: str, target: Target
) -> None:
    await service.terminate_activity_execution(
        ws.TerminateActivityExecutionRequest(
            namespace, target.id, target.run_id, operation.identity, target.request_id, operation.body.reason or reason
        )
    )


async def _delete_activity(
    service: WorkflowService, operation: Operation, namespace: str, reason: str, target: Target
) -> None:
    await service.delete_activity_execution(ws.DeleteActivityExecutionRequest(namespace, target.id, target.run_id))


#: Field of the request, type, what carries it out, for open executions only, on standalone activities.
_OPERATIONS: tuple[tuple[str, BatchOperationType, Apply, bool, bool], ...] = (
    ("termination_operation", _Type.BATCH_OPERATION_TYPE_TERMINATE_WORKFLOW, _terminate, True, False),
    ("signal_operation", _Type.BATCH_OPERATION_TYPE_SIGNAL_WORKFLOW, _signal, True, False),
    ("cancellation_operation", _Type.BATCH_OPERATION_TYPE_CANCEL_WORKFLOW, _cancel, True, False),
    ("deletion_operation", _Type.BATCH_OPERATION_TYPE_DELETE_WORKFLOW, _delete, False, False),
    ("reset_operation", _Type.BATCH_OPERATION_TYPE_RESET_WORKFLOW, _reset, False, False),
    (
        "update_workflow_options_operation",
        _Type.BATCH_OPERATION_TYPE_UPDATE_WORKFLOW_EXECUTION_OPTIONS,
        _update_options,
        True,
        False,
    ),
    ("unpause_activities_operation", _Type.BATCH_OPERATION_TYPE_UNPAUSE_ACTIVITY, _unpause, True, False),
    ("reset_activities_operation", _Type.BATCH_OPERATION_TYPE_RESET_ACTIVITY, _reset_activities, True, False),
    (
        "update_activity_options_operation",
        _Type.BATCH_OPERATION_TYPE_UPDATE_ACTIVITY_OPTIONS,
        _update_activities,
        True,
        False,
    ),
    ("cancel_activities_operation", _Type.BATCH_OPERATION_TYPE_CANCEL_ACTIVITY, _cancel_activity, True, True),
    ("terminate_activities_operation", _Type.BATCH_OPERATION_TYPE_TERMINATE_ACTIVITY, _terminate_activity, True, True),
    ("delete_activities_operation", _Type.BATCH_OPERATION_TYPE_DELETE_ACTIVITY, _delete_activity, False, True),
)
