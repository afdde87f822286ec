"""The errors the engine answers with, one function per kind."""

from __future__ import annotations

from perdure.api.enums.v1 import NamespaceState
from perdure.api.errordetails import v1 as errordetails_v1
from perdure.service import RPCError, RPCStatusCode

#: ResourceExhaustedCause
CONCURRENT_LIMIT = 2
BUSY_WORKFLOW = 5


def invalid_argument(message: str) -> RPCError:
    """The request itself is wrong."""
    return RPCError(message, RPCStatusCode.INVALID_ARGUMENT)


def not_found(message: str) -> RPCError:
    """What was asked for does not exist or has closed."""
    return RPCError(message, RPCStatusCode.NOT_FOUND, [errordetails_v1.NotFoundFailure()])


def namespace_not_found(namespace: str) -> RPCError:
    """No such namespace."""
    return RPCError(
        f"Namespace {namespace} is not found.",
        RPCStatusCode.NOT_FOUND,
        [errordetails_v1.NamespaceNotFoundFailure(namespace)],
    )


def already_exists(message: str) -> RPCError:
    """The name is taken."""
    return RPCError(message, RPCStatusCode.ALREADY_EXISTS)


def namespace_already_exists(namespace: str) -> RPCError:
    """The name is taken."""
    return RPCError(
        f'Namespace "{namespace}" already exists',
        RPCStatusCode.ALREADY_EXISTS,
        [errordetails_v1.NamespaceAlreadyExistsFailure()],
    )


def namespace_not_registered(namespace: str, state: int) -> RPCError:
    """The namespace is there, but not for this."""
    word = NamespaceState(state).name.removeprefix("NAMESPACE_STATE_").capitalize()
    registered = NamespaceState.NAMESPACE_STATE_REGISTERED
    return RPCError(
        f"Namespace has invalid state: {word}. Must be Registered.",
        RPCStatusCode.FAILED_PRECONDITION,
        [errordetails_v1.NamespaceInvalidStateFailure(namespace, state, [int(registered)])],
    )


def already_started(workflow_id: str, run_id: str, request_id: str, first_run_id: str, is_open: bool) -> RPCError:
    """The workflow id is taken."""
    how = "is running" if is_open else "has been used before and its reuse policy forbids another run"
    return RPCError(
        f"Workflow execution is already started: workflow id {workflow_id!r} {how}. RunId: {run_id}.",
        RPCStatusCode.ALREADY_EXISTS,
        [errordetails_v1.WorkflowExecutionAlreadyStartedFailure(request_id, run_id, first_run_id)],
    )


def batch_already_started(job_id: str) -> RPCError:
    """The job id is taken."""
    return RPCError(
        f"Batch operation {job_id!r} has been started before: a job id is used once.",
        RPCStatusCode.ALREADY_EXISTS,
        [errordetails_v1.WorkflowExecutionAlreadyStartedFailure()],
    )


def not_ready(message: str) -> RPCError:
    """The workflow cannot answer yet, or not any more."""
    return RPCError(message, RPCStatusCode.FAILED_PRECONDITION, [errordetails_v1.WorkflowNotReadyFailure()])


def activity_already_started(activity_id: str, run_id: str, request_id: str, is_open: bool) -> RPCError:
    """The id of a standalone activity is taken."""
    how = "is running" if is_open else "has been used before and its reuse policy forbids another run"
    return RPCError(
        f"Activity execution is already started: activity id {activity_id!r} {how}. RunId: {run_id}.",
        RPCStatusCode.ALREADY_EXISTS,
        [errordetails_v1.ActivityExecutionAlreadyStartedFailure(request_id, run_id)],
    )


def operation_already_started(operation_id: str, run_id: str, request_id: str, is_open: bool) -> RPCError:
    """The id of a standalone Nexus operation is taken."""
    how = "is running" if is_open else "has been used before and its reuse policy forbids another run"
    return RPCError(
        f"Nexus operation execution is already started: operation id {operation_id!r} {how}. RunId: {run_id}.",
        RPCStatusCode.ALREADY_EXISTS,
        [errordetails_v1.NexusOperationExecutionAlreadyStartedFailure(request_id, run_id)],
    )


def failed_precondition(message: str) -> RPCError:
    """What was asked for does not fit the state things are in."""
    return RPCError(message, RPCStatusCode.FAILED_PRECONDITION)


def resource_exhausted(message: str, cause: int) -> RPCError:
    """A limit was reached; try again later."""
    return RPCError(message, RPCStatusCode.RESOURCE_EXHAUSTED, [errordetails_v1.ResourceExhaustedFailure(cause, 1)])


def permission_denied(message: str) -> RPCError:
    """The service does not allow it."""
    return RPCError(message, RPCStatusCode.PERMISSION_DENIED)


def unavailable(message: str) -> RPCError:
    """The service or its store cannot do it now."""
    return RPCError(message, RPCStatusCode.UNAVAILABLE)


def unreadable(error: Exception) -> RPCError:
    """The store could not be read."""
    return unavailable(f"The store could not be read: {error}. It is safe to try again.")


def unimplemented(what: str) -> RPCError:
    """The service does not have this."""
    return RPCError(f"{what} is not implemented by this service.", RPCStatusCode.UNIMPLEMENTED)


def deadline_exceeded(message: str) -> RPCError:
    """The caller's time is over."""
    return RPCError(message, RPCStatusCode.DEADLINE_EXCEEDED)
