"""Failures of Nexus operations: what handlers report, whether it is tried again, and how histories show it."""

from __future__ import annotations

import msgspec

from perdure.api.enums.v1 import NexusHandlerErrorRetryBehavior, TimeoutType
from perdure.api.failure import v1 as failure_v1
from perdure.api.json import JSONFormError, from_json_dict
from perdure.api.nexus import v1 as nexus_v1
from perdure.engine.nexus_state import Operation

RETRYABLE = int(NexusHandlerErrorRetryBehavior.NEXUS_HANDLER_ERROR_RETRY_BEHAVIOR_RETRYABLE)
NON_RETRYABLE = int(NexusHandlerErrorRetryBehavior.NEXUS_HANDLER_ERROR_RETRY_BEHAVIOR_NON_RETRYABLE)

#: Handler errors that are final unless their retry behavior says otherwise; all others are tried again.
_FINAL = frozenset(("BAD_REQUEST", "UNAUTHENTICATED", "UNAUTHORIZED", "NOT_FOUND", "CONFLICT", "NOT_IMPLEMENTED"))
#: What the ``type`` in a Nexus failure's metadata says when its details are a failure of Temporal's, as JSON.
_TEMPORAL_FAILURE = "temporal.api.failure.v1.Failure"


def handler_failure(error_type: str, message: str) -> failure_v1.Failure:
    """A handler error that the service states in a handler's place."""
    return failure_v1.Failure(
        message=message, source="Server", nexus_handler_failure_info=failure_v1.NexusHandlerFailureInfo(error_type)
    )


def is_retryable(failure: failure_v1.Failure) -> bool:
    """Whether a handler that reports this may be asked again."""
    info = failure.nexus_handler_failure_info
    if info is not None:
        if info.retry_behavior == RETRYABLE:
            return True
        return info.retry_behavior != NON_RETRYABLE and info.type not in _FINAL
    application = failure.application_failure_info
    return application is None or not application.non_retryable


def from_nexus(failure: nexus_v1.Failure | None) -> failure_v1.Failure:
    """The failure that a Nexus failure carries, or says in its own words."""
    if failure is None:
        return failure_v1.Failure(message="unknown failure", application_failure_info=_nexus_failure())
    if failure.metadata.get("type") == _TEMPORAL_FAILURE and failure.details:
        try:
            carried = from_json_dict(msgspec.json.decode(failure.details), failure_v1.Failure)
        except (JSONFormError, msgspec.DecodeError):
            pass
        else:
            carried.message = carried.message or failure.message
            carried.stack_trace = carried.stack_trace or failure.stack_trace
            if carried.cause is None and failure.cause is not None:
                carried.cause = from_nexus(failure.cause)
            return carried
    return failure_v1.Failure(
        message=failure.message,
        stack_trace=failure.stack_trace,
        cause=None if failure.cause is None else from_nexus(failure.cause),
        application_failure_info=_nexus_failure(),
    )


def _nexus_failure() -> failure_v1.ApplicationFailureInfo:
    return failure_v1.ApplicationFailureInfo(type="NexusFailure", non_retryable=True)


def from_handler_error(error: nexus_v1.HandlerError) -> failure_v1.Failure:
    """The failure for a handler error of workers that do not report failures of Temporal's."""
    cause = None if error.failure is None else from_nexus(error.failure)
    return failure_v1.Failure(
        message="" if error.failure is None else error.failure.message,
        cause=cause,
        nexus_handler_failure_info=failure_v1.NexusHandlerFailureInfo(error.error_type, error.retry_behavior),
    )


def as_canceled(failure: failure_v1.Failure) -> failure_v1.Failure:
    """The failure as a cancellation, whatever kind it was reported as."""
    if failure.canceled_failure_info is not None:
        return failure
    return failure_v1.Failure(
        message=failure.message,
        stack_trace=failure.stack_trace,
        cause=failure.cause,
        canceled_failure_info=failure_v1.CanceledFailureInfo(),
    )


def operation_failure(operation: Operation, scheduled_id: int, cause: failure_v1.Failure) -> failure_v1.Failure:
    """How the caller's history shows that an operation did not succeed."""
    return failure_v1.Failure(
        message="nexus operation completed unsuccessfully",
        source="Server",
        cause=cause,
        nexus_operation_execution_failure_info=failure_v1.NexusOperationFailureInfo(
            scheduled_id,
            operation["endpoint"],
            operation["service"],
            operation["operation"],
            operation["token"],
            operation["token"],
        ),
    )


def timeout_failure(timeout_type: TimeoutType) -> failure_v1.Failure:
    """The cause of an operation's failure to end in time."""
    return failure_v1.Failure(
        message="operation timed out",
        source="Server",
        timeout_failure_info=failure_v1.TimeoutFailureInfo(int(timeout_type)),
    )
