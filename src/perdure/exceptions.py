"""Errors that workflows, activities and clients raise and see. Names and fields are Temporal's."""

from __future__ import annotations

import asyncio
from enum import IntEnum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import timedelta

    from perdure.api.failure.v1 import Failure

__all__ = [
    "ActivityAlreadyStartedError",
    "ActivityError",
    "ApplicationError",
    "ApplicationErrorCategory",
    "CancelledError",
    "ChildWorkflowError",
    "FailureError",
    "InvalidVersioningOverrideError",
    "NexusOperationAlreadyStartedError",
    "NexusOperationError",
    "RetryState",
    "ServerError",
    "TemporalError",
    "TerminatedError",
    "TimeoutError",
    "TimeoutType",
    "WorkflowAlreadyStartedError",
    "is_cancelled_exception",
]


class TemporalError(Exception):
    """The root of every error perdure raises on purpose."""

    @property
    def cause(self) -> BaseException | None:
        """What this error was raised from: ``__cause__`` under a shorter name."""
        return self.__cause__


def _rebuild(cls: type[FailureError], args: tuple[Any, ...], state: dict[str, Any]) -> FailureError:
    error = cls.__new__(cls, *args)
    error.__dict__.update(state)
    return error


class FailureError(TemporalError):
    """An error that travels: it can be recorded in a history as a failure and raised again elsewhere.

    Raised in a workflow, it (or a subclass) fails the workflow; any other exception fails only the workflow task.
    """

    def __init__(
        self,
        message: str,
        *,
        failure: Failure | None = None,
        exc_args: tuple[Any, ...] | None = None,
    ) -> None:
        """Keep ``message`` and the ``failure`` this error was made from; ``exc_args`` replaces the exception's args."""
        super().__init__(*((message,) if exc_args is None else exc_args))
        self._message = message
        self._failure = failure

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle without calling ``__init__`` again: subclasses are free to have any signature."""
        return _rebuild, (type(self), self.args, self.__dict__)

    @property
    def message(self) -> str:
        """The message alone, without the type that ``str()`` may put in front."""
        return self._message

    @property
    def failure(self) -> Failure | None:
        """The failure this error was read from; None for an error raised in this process."""
        return self._failure


class WorkflowAlreadyStartedError(FailureError):
    """A workflow with this id is running, or its id may not be reused."""

    def __init__(
        self,
        workflow_id: str,
        workflow_type: str,
        *,
        run_id: str | None = None,
        first_run_id: str | None = None,
    ) -> None:
        """Name the workflow that is in the way; the run ids are known to clients only."""
        super().__init__("Workflow execution already started")
        self.workflow_id = workflow_id
        self.workflow_type = workflow_type
        self.run_id = run_id
        self.first_run_id = first_run_id


class InvalidVersioningOverrideError(FailureError):
    """A child workflow could not start because its versioning override is invalid."""

    def __init__(self) -> None:
        """Make the error; it has no fields."""
        super().__init__("Invalid versioning override")


class ActivityAlreadyStartedError(FailureError):
    """A standalone activity with this id is running, or its id may not be reused."""

    def __init__(self, activity_id: str, activity_type: str, *, run_id: str | None = None) -> None:
        """Name the activity that is in the way."""
        super().__init__("Activity execution already started")
        self.activity_id = activity_id
        self.activity_type = activity_type
        self.run_id = run_id


class NexusOperationAlreadyStartedError(FailureError):
    """A standalone Nexus operation with this id is running, or its id may not be reused."""

    def __init__(self, operation_id: str, *, run_id: str | None = None) -> None:
        """Name the operation that is in the way."""
        super().__init__("Nexus operation execution already started")
        self.operation_id = operation_id
        self.run_id = run_id


class ApplicationErrorCategory(IntEnum):
    """How loudly an application error is reported."""

    UNSPECIFIED = 0
    BENIGN = 1
    """Expected in normal operation: logged at DEBUG and left out of failure metrics."""


class ApplicationError(FailureError):
    """An error of the user's own code; what every foreign exception becomes when it crosses a process."""

    def __init__(
        self,
        message: str,
        *details: Any,
        type: str | None = None,
        non_retryable: bool = False,
        next_retry_delay: timedelta | None = None,
        category: ApplicationErrorCategory = ApplicationErrorCategory.UNSPECIFIED,
    ) -> None:
        """Make an application error.

        Args:
            message: what happened.
            *details: values for whoever handles the error; they are converted like arguments.
            type: the name that ``RetryPolicy.non_retryable_error_types`` matches.
            non_retryable: give up at once, whatever the retry policy says.
            next_retry_delay: wait this long before the next attempt instead of the policy's backoff.
            category: how loudly to report it.
        """
        super().__init__(message, exc_args=(f"{type}: {message}" if type else message,))
        self._details = details
        self._type = type
        self._non_retryable = non_retryable
        self._next_retry_delay = next_retry_delay
        self._category = category

    @property
    def details(self) -> Sequence[Any]:
        """The values given with the error."""
        return self._details

    @property
    def type(self) -> str | None:
        """The error's type name; for a converted exception, its class name."""
        return self._type

    @property
    def non_retryable(self) -> bool:
        """Whether the raiser forbade retries. A retry policy may forbid them as well; that does not show here."""
        return self._non_retryable

    @property
    def next_retry_delay(self) -> timedelta | None:
        """The wait before the next attempt, when the raiser chose one."""
        return self._next_retry_delay

    @property
    def category(self) -> ApplicationErrorCategory:
        """How loudly the error is reported."""
        return self._category


class CancelledError(FailureError):
    """A workflow or activity was cancelled."""

    def __init__(self, message: str = "Cancelled", *details: Any) -> None:
        """Make a cancellation with optional details for whoever asked for it."""
        super().__init__(message)
        self._details = details

    @property
    def details(self) -> Sequence[Any]:
        """The values given with the cancellation."""
        return self._details


class TerminatedError(FailureError):
    """A workflow was terminated: ended from outside, without running its code again."""

    def __init__(self, message: str, *details: Any) -> None:
        """Make a termination with optional details."""
        super().__init__(message)
        self._details = details

    @property
    def details(self) -> Sequence[Any]:
        """The values given with the termination."""
        return self._details


class TimeoutType(IntEnum):
    """Which time bound ran out."""

    START_TO_CLOSE = 1
    SCHEDULE_TO_START = 2
    SCHEDULE_TO_CLOSE = 3
    HEARTBEAT = 4


class TimeoutError(FailureError):
    """A workflow or activity ran out of time."""

    def __init__(
        self,
        message: str,
        *,
        type: TimeoutType | None,
        last_heartbeat_details: Sequence[Any],
    ) -> None:
        """Say which bound ran out, and what the activity's last heartbeat said."""
        super().__init__(message)
        self._type = type
        self._last_heartbeat_details = last_heartbeat_details

    @property
    def type(self) -> TimeoutType | None:
        """The time bound that ran out."""
        return self._type

    @property
    def last_heartbeat_details(self) -> Sequence[Any]:
        """The details of the activity's last heartbeat; empty when there was none."""
        return self._last_heartbeat_details


class ServerError(FailureError):
    """The service itself failed the execution."""

    def __init__(self, message: str, *, non_retryable: bool = False) -> None:
        """Make a server error."""
        super().__init__(message)
        self._non_retryable = non_retryable

    @property
    def non_retryable(self) -> bool:
        """Whether the service forbids retries."""
        return self._non_retryable


class RetryState(IntEnum):
    """Why an execution was, or was not, tried again."""

    IN_PROGRESS = 1
    NON_RETRYABLE_FAILURE = 2
    TIMEOUT = 3
    MAXIMUM_ATTEMPTS_REACHED = 4
    RETRY_POLICY_NOT_SET = 5
    INTERNAL_SERVER_ERROR = 6
    CANCEL_REQUESTED = 7


class ActivityError(FailureError):
    """An activity failed for good, seen from the workflow that ran it. ``cause`` says how."""

    def __init__(
        self,
        message: str,
        *,
        scheduled_event_id: int,
        started_event_id: int,
        identity: str,
        activity_type: str,
        activity_id: str,
        retry_state: RetryState | None,
    ) -> None:
        """Name the activity and the events it left in the history."""
        super().__init__(message)
        self._scheduled_event_id = scheduled_event_id
        self._started_event_id = started_event_id
        self._identity = identity
        self._activity_type = activity_type
        self._activity_id = activity_id
        self._retry_state = retry_state

    @property
    def scheduled_event_id(self) -> int:
        """Id of the ActivityTaskScheduled event."""
        return self._scheduled_event_id

    @property
    def started_event_id(self) -> int:
        """Id of the ActivityTaskStarted event; 0 when no attempt started."""
        return self._started_event_id

    @property
    def identity(self) -> str:
        """Identity of the worker that ran the last attempt."""
        return self._identity

    @property
    def activity_type(self) -> str:
        """The activity's type name."""
        return self._activity_type

    @property
    def activity_id(self) -> str:
        """The activity's id."""
        return self._activity_id

    @property
    def retry_state(self) -> RetryState | None:
        """Why there was no further attempt."""
        return self._retry_state


class ChildWorkflowError(FailureError):
    """A child workflow failed, seen from its parent. ``cause`` says how."""

    def __init__(
        self,
        message: str,
        *,
        namespace: str,
        workflow_id: str,
        run_id: str,
        workflow_type: str,
        initiated_event_id: int,
        started_event_id: int,
        retry_state: RetryState | None,
    ) -> None:
        """Name the child and the events it left in the parent's history."""
        super().__init__(message)
        self._namespace = namespace
        self._workflow_id = workflow_id
        self._run_id = run_id
        self._workflow_type = workflow_type
        self._initiated_event_id = initiated_event_id
        self._started_event_id = started_event_id
        self._retry_state = retry_state

    @property
    def namespace(self) -> str:
        """The child's namespace."""
        return self._namespace

    @property
    def workflow_id(self) -> str:
        """The child's workflow id."""
        return self._workflow_id

    @property
    def run_id(self) -> str:
        """The child's run id; empty when it never started."""
        return self._run_id

    @property
    def workflow_type(self) -> str:
        """The child's type name."""
        return self._workflow_type

    @property
    def initiated_event_id(self) -> int:
        """Id of the StartChildWorkflowExecutionInitiated event."""
        return self._initiated_event_id

    @property
    def started_event_id(self) -> int:
        """Id of the ChildWorkflowExecutionStarted event; 0 when it never started."""
        return self._started_event_id

    @property
    def retry_state(self) -> RetryState | None:
        """Why there was no further run."""
        return self._retry_state


class NexusOperationError(FailureError):
    """A Nexus operation failed, seen from the workflow that called it. ``cause`` says how."""

    def __init__(
        self,
        message: str,
        *,
        scheduled_event_id: int,
        endpoint: str,
        service: str,
        operation: str,
        operation_token: str,
    ) -> None:
        """Name the operation and the event that scheduled it."""
        super().__init__(message)
        self._scheduled_event_id = scheduled_event_id
        self._endpoint = endpoint
        self._service = service
        self._operation = operation
        self._operation_token = operation_token

    @property
    def scheduled_event_id(self) -> int:
        """Id of the NexusOperationScheduled event."""
        return self._scheduled_event_id

    @property
    def endpoint(self) -> str:
        """The endpoint's name."""
        return self._endpoint

    @property
    def service(self) -> str:
        """The service's name."""
        return self._service

    @property
    def operation(self) -> str:
        """The operation's name."""
        return self._operation

    @property
    def operation_token(self) -> str:
        """The token a started asynchronous operation gave."""
        return self._operation_token


def is_cancelled_exception(exception: BaseException) -> bool:
    """Whether an exception means "this was cancelled".

    True for :class:`asyncio.CancelledError`, for :class:`CancelledError`, and for an activity, child workflow or Nexus
    operation error caused by one.
    """
    if isinstance(exception, (asyncio.CancelledError, CancelledError)):
        return True
    return isinstance(exception, (ActivityError, ChildWorkflowError, NexusOperationError)) and isinstance(
        exception.__cause__, CancelledError
    )
