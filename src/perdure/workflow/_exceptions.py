"""Errors and enumerations of workflow code."""

from __future__ import annotations

from enum import Enum, IntEnum

from perdure.exceptions import TemporalError


class NondeterminismError(TemporalError):
    """Workflow code made other commands than its history records."""

    def __init__(self, message: str) -> None:
        """Make the error."""
        super().__init__(message)
        self.message = message


class ReadOnlyContextError(TemporalError):
    """Something that changes the workflow was tried in a query or an update validator."""

    def __init__(self, message: str) -> None:
        """Make the error."""
        super().__init__(message)
        self.message = message


class _NotInWorkflowEventLoopError(TemporalError):
    def __init__(self, *args: object) -> None:
        super().__init__("Not in workflow event loop: call this from workflow code only")
        self.message = "Not in workflow event loop"


class ContinueAsNewError(BaseException):
    """Raised by :func:`continue_as_new` to leave the workflow; let it pass.

    It is not an :class:`Exception`, so ``except Exception`` does not stop it.
    """

    def __init__(self, *args: object) -> None:
        """Not for users: call :func:`continue_as_new`."""
        if type(self) is ContinueAsNewError:
            raise RuntimeError("Cannot instantiate ContinueAsNewError directly: call workflow.continue_as_new()")
        super().__init__(*args)


class VersioningIntent(Enum):
    """Whether a command must run on a worker of a compatible build id. Deprecated, as in Temporal: use deployments."""

    COMPATIBLE = 1
    DEFAULT = 2


class ContinueAsNewVersioningBehavior(IntEnum):
    """Which worker deployment version the next run's first task goes to."""

    UNSPECIFIED = 0
    """The usual rules of inheritance."""
    AUTO_UPGRADE = 1
    """The current version at that time."""
    USE_RAMPING_VERSION = 2
    """The ramping version at that time."""
