"""What describe says of a run's Nexus operations, completion callbacks and attached requests."""

from __future__ import annotations

from perdure.api.callback import v1 as callback_v1
from perdure.api.enums.v1 import (
    CallbackState,
    EventType,
    NexusOperationCancellationState,
    PendingNexusOperationState,
)
from perdure.api.failure import v1 as failure_v1
from perdure.api.workflow import v1 as workflow_v1
from perdure.api.workflowservice import v1 as ws
from perdure.engine.nexus_state import (
    Call,
    Callback,
    Cancellation,
    Operation,
    callback_message,
    callbacks,
    operations,
)
from perdure.engine.run import Run
from perdure.engine.wiring import decode_failure

_STARTED = int(EventType.EVENT_TYPE_WORKFLOW_EXECUTION_STARTED)
_OPTIONS_UPDATED = int(EventType.EVENT_TYPE_WORKFLOW_EXECUTION_OPTIONS_UPDATED)
_BACKING_OFF = int(CallbackState.CALLBACK_STATE_BACKING_OFF)


def add_nexus(run: Run, response: ws.DescribeWorkflowExecutionResponse) -> None:
    """Fill in what a run with ``extra`` may have of these."""
    s = run.state
    response.pending_nexus_operations = [
        _pending(scheduled_id, operation) for scheduled_id, operation in operations(s).items()
    ]
    response.callbacks = [_workflow_callback(callback) for callback in callbacks(s)]
    attached = {} if s.extra is None else s.extra.get("request_ids", {})
    if attached and response.workflow_extended_info is not None:
        infos = {s.create_request_id: workflow_v1.RequestIdInfo(_STARTED, 1)}
        for request_id, event_id in attached.items():
            infos[request_id] = workflow_v1.RequestIdInfo(_OPTIONS_UPDATED, event_id, event_id == 0)
        response.workflow_extended_info.request_id_infos = infos


def pending_state(operation: Operation) -> int:
    """Where an operation stands, in Temporal's words."""
    state = PendingNexusOperationState
    if operation["started_ns"]:
        return int(state.PENDING_NEXUS_OPERATION_STATE_STARTED)
    if operation["call"]["next_ns"]:
        return int(state.PENDING_NEXUS_OPERATION_STATE_BACKING_OFF)
    return int(state.PENDING_NEXUS_OPERATION_STATE_SCHEDULED)


def cancellation_state(operation: Operation, cancel: Cancellation) -> int:
    """Where the request to cancel an operation stands; unspecified until the operation has a token."""
    state = NexusOperationCancellationState
    if cancel["outcome"]:
        return cancel["outcome"]
    if not operation["started_ns"]:
        return int(state.NEXUS_OPERATION_CANCELLATION_STATE_UNSPECIFIED)
    if cancel["next_ns"]:
        return int(state.NEXUS_OPERATION_CANCELLATION_STATE_BACKING_OFF)
    return int(state.NEXUS_OPERATION_CANCELLATION_STATE_SCHEDULED)


def last_failure(call: Call) -> failure_v1.Failure | None:
    """Of the last attempt, where it failed."""
    return decode_failure(call["failure"]) if call["failure"] else None


def attempts(call: Call) -> int:
    """The number of the attempt that runs or comes next; of the last one once all is done."""
    return call["attempt"] + 1


def _pending(scheduled_id: int, operation: Operation) -> workflow_v1.PendingNexusOperationInfo:
    call = operation["call"]
    cancel = operation["cancel"]
    return workflow_v1.PendingNexusOperationInfo(
        endpoint=operation["endpoint"],
        service=operation["service"],
        operation=operation["operation"],
        operation_id=operation["token"],
        schedule_to_close_timeout=operation["schedule_to_close_ns"] or None,
        scheduled_time=operation["scheduled_ns"],
        state=pending_state(operation),
        attempt=attempts(call),
        last_attempt_complete_time=call["ended_ns"] or None,
        last_attempt_failure=last_failure(call),
        next_attempt_schedule_time=call["next_ns"] or None,
        cancellation_info=None if cancel is None else _cancellation(operation, cancel),
        scheduled_event_id=scheduled_id,
        operation_token=operation["token"],
        schedule_to_start_timeout=operation["schedule_to_start_ns"] or None,
        start_to_close_timeout=operation["start_to_close_ns"] or None,
    )


def _cancellation(operation: Operation, cancel: Cancellation) -> workflow_v1.NexusOperationCancellationInfo:
    return workflow_v1.NexusOperationCancellationInfo(
        requested_time=cancel["requested_ns"],
        state=cancellation_state(operation, cancel),
        attempt=cancel["attempt"],
        last_attempt_complete_time=cancel["ended_ns"] or None,
        last_attempt_failure=last_failure(cancel),
        next_attempt_schedule_time=cancel["next_ns"] or None,
    )


def callback_state(callback: Callback) -> callback_v1.CallbackInfo:
    """All that is known of a completion callback."""
    call = callback["call"]
    return callback_v1.CallbackInfo(
        callback=callback_message(callback),
        registration_time=callback["registered_ns"],
        state=callback["state"],
        attempt=call["attempt"],
        last_attempt_complete_time=call["ended_ns"] or None,
        last_attempt_failure=last_failure(call),
        next_attempt_schedule_time=call["next_ns"] if callback["state"] == _BACKING_OFF else None,
        request_id=callback["request_id"],
    )


def _workflow_callback(callback: Callback) -> workflow_v1.CallbackInfo:
    found = callback_state(callback)
    if "update_id" in callback:
        update = workflow_v1.CallbackInfoUpdateWorkflowExecutionCompleted(callback["update_id"])
        trigger = workflow_v1.CallbackInfoTrigger(update_workflow_execution_completed=update)
    else:
        trigger = workflow_v1.CallbackInfoTrigger(workflow_closed=workflow_v1.CallbackInfoWorkflowClosed())
    return workflow_v1.CallbackInfo(
        callback=found.callback,
        trigger=trigger,
        registration_time=found.registration_time,
        state=found.state,
        attempt=found.attempt,
        last_attempt_complete_time=found.last_attempt_complete_time,
        last_attempt_failure=found.last_attempt_failure,
        next_attempt_schedule_time=found.next_attempt_schedule_time,
        request_id=found.request_id,
    )
