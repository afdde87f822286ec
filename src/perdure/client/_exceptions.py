"""What a client call may raise besides :class:`perdure.service.RPCError`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from perdure.exceptions import TemporalError

if TYPE_CHECKING:
    from perdure.activity import ActivityCancellationDetails
    from perdure.client._workflow_execution import WorkflowExecutionStatus


class WorkflowFailureError(TemporalError):
    """The workflow closed without a result; :attr:`cause` says why."""

    def __init__(self, *, cause: BaseException) -> None:
        """Wrap what ended the workflow."""
        super().__init__("Workflow execution failed")
        self.__cause__ = cause

    @property
    def cause(self) -> BaseException:
        """What ended the workflow: an ApplicationError, CancelledError, TerminatedError, TimeoutError, ..."""
        assert self.__cause__ is not None
        return self.__cause__


class WorkflowContinuedAsNewError(TemporalError):
    """The run continued as a new one, and the caller did not follow runs."""

    def __init__(self, new_execution_run_id: str) -> None:
        """Name the next run."""
        super().__init__("Workflow continued as new")
        self._new_execution_run_id = new_execution_run_id

    @property
    def new_execution_run_id(self) -> str:
        """The run it continued as."""
        return self._new_execution_run_id


class WorkflowQueryRejectedError(TemporalError):
    """The workflow's status is one that the query's reject condition excludes."""

    def __init__(self, status: WorkflowExecutionStatus | None) -> None:
        """Carry the status."""
        super().__init__(f"Query rejected, status: {status if status is None else status.name}")
        self._status = status

    @property
    def status(self) -> WorkflowExecutionStatus | None:
        """The status for which the query was rejected."""
        return self._status


class WorkflowQueryFailedError(TemporalError):
    """The workflow's query handler failed, or there is none of that name."""

    def __init__(self, message: str) -> None:
        """Carry the handler's message."""
        super().__init__(message)
        self._message = message

    @property
    def message(self) -> str:
        """What the handler said."""
        return self._message


class WorkflowUpdateFailedError(TemporalError):
    """The update was rejected or its handler failed; :attr:`cause` says why."""

    def __init__(self, cause: BaseException) -> None:
        """Wrap what ended the update."""
        super().__init__("Workflow update failed")
        self.__cause__ = cause

    @property
    def cause(self) -> BaseException:
        """What ended the update."""
        assert self.__cause__ is not None
        return self.__cause__


class RPCTimeoutOrCancelledError(TemporalError):
    """The call ran out of its time or was cancelled; what it waits for may still happen."""


class WorkflowUpdateRPCTimeoutOrCancelledError(RPCTimeoutOrCancelledError):
    """The wait for an update ended early. The update itself goes on."""

    def __init__(self) -> None:
        """Say which wait it was."""
        super().__init__("Timeout or cancellation waiting for update")


class ActivityFailureError(TemporalError):
    """The activity closed without a result; :attr:`cause` says why."""

    def __init__(self, *, cause: BaseException) -> None:
        """Wrap what ended the activity."""
        super().__init__("Activity execution failed")
        self.__cause__ = cause

    @property
    def cause(self) -> BaseException:
        """What ended the activity."""
        assert self.__cause__ is not None
        return self.__cause__


class NexusOperationFailureError(TemporalError):
    """A standalone Nexus operation failed, timed out, or was cancelled or terminated. ``cause`` says which."""

    def __init__(self, *, cause: BaseException) -> None:
        """Wrap what ended the operation."""
        super().__init__("Nexus operation execution failed")
        self.__cause__ = cause

    @property
    def cause(self) -> BaseException:
        """What ended the operation."""
        assert self.__cause__ is not None
        return self.__cause__


class AsyncActivityCancelledError(TemporalError):
    """A heartbeat learned that its activity should stop."""

    def __init__(self, details: ActivityCancellationDetails | None = None) -> None:
        """Carry why it should stop."""
        super().__init__("Activity cancelled")
        self.details = details


class ScheduleAlreadyRunningError(TemporalError):
    """A schedule of that id exists."""

    def __init__(self) -> None:
        """Say so."""
        super().__init__("Schedule already running")
