"""Temporal's ``temporal.api.errordetails.v1``: what an error carries besides its code and sentence."""

from __future__ import annotations

from perdure.api._message import Message
from perdure.api.failure import v1 as failure_v1


class ActivityExecutionAlreadyStartedFailure(Message):
    """Temporal's ``temporal.api.errordetails.v1.ActivityExecutionAlreadyStartedFailure``."""

    start_request_id: str = ""
    run_id: str = ""


class CancellationAlreadyRequestedFailure(Message):
    """The execution was asked to cancel before."""


class NexusOperationExecutionAlreadyStartedFailure(Message):
    """Temporal's ``temporal.api.errordetails.v1.NexusOperationExecutionAlreadyStartedFailure``."""

    start_request_id: str = ""
    run_id: str = ""


class MultiOperationExecutionFailure(Message):
    """Some of several operations failed; how each ended."""

    statuses: list[MultiOperationExecutionFailureOperationStatus] = []


class MultiOperationExecutionFailureOperationStatus(Message):
    """How one of several operations ended: a gRPC status."""

    code: int = 0
    message: str = ""
    details: list[object] = []


class NamespaceAlreadyExistsFailure(Message):
    """A namespace of that name exists."""


class NamespaceInvalidStateFailure(Message):
    """Temporal's ``temporal.api.errordetails.v1.NamespaceInvalidStateFailure``."""

    namespace: str = ""
    state: int = 0
    allowed_states: list[int] = []


class NamespaceNotFoundFailure(Message):
    """No namespace of that name."""

    namespace: str = ""


class NotFoundFailure(Message):
    """What was asked for does not exist, or has closed."""

    current_cluster: str = ""
    active_cluster: str = ""


class PermissionDeniedFailure(Message):
    """The caller may not do this."""

    reason: str = ""


class QueryFailedFailure(Message):
    """The workflow's query handler failed."""

    failure: failure_v1.Failure | None = None


class ResourceExhaustedFailure(Message):
    """A limit was reached; ``cause`` is a ``ResourceExhaustedCause``, ``scope`` a ``ResourceExhaustedScope``."""

    cause: int = 0
    scope: int = 0


class WorkflowExecutionAlreadyStartedFailure(Message):
    """The workflow id is taken by the run named here."""

    start_request_id: str = ""
    run_id: str = ""
    first_execution_run_id: str = ""


class WorkflowNotReadyFailure(Message):
    """The workflow cannot answer yet: no workflow task has completed, or its workflow task keeps failing."""
