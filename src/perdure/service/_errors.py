"""RPC errors: gRPC's status codes and Temporal's error details, without gRPC."""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum

from perdure.api._message import Message
from perdure.exceptions import TemporalError


class RPCStatusCode(IntEnum):
    """gRPC's status codes."""

    OK = 0
    CANCELLED = 1
    UNKNOWN = 2
    INVALID_ARGUMENT = 3
    DEADLINE_EXCEEDED = 4
    NOT_FOUND = 5
    ALREADY_EXISTS = 6
    PERMISSION_DENIED = 7
    RESOURCE_EXHAUSTED = 8
    FAILED_PRECONDITION = 9
    ABORTED = 10
    OUT_OF_RANGE = 11
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14
    DATA_LOSS = 15
    UNAUTHENTICATED = 16


class RPCError(TemporalError):
    """The service refused or failed a request; nothing of the request was kept.

    ``details`` holds Temporal's detail structs (``perdure.api.errordetails.v1``), for instance
    ``WorkflowExecutionAlreadyStartedFailure``, where Temporal sends one.
    """

    def __init__(self, message: str, status: RPCStatusCode, details: Sequence[Message] = ()) -> None:
        super().__init__(message)
        self._message = message
        self._status = status
        self._details = tuple(details)

    @property
    def message(self) -> str:
        """What was wrong, in one sentence."""
        return self._message

    @property
    def status(self) -> RPCStatusCode:
        """The gRPC status code of the error."""
        return self._status

    @property
    def details(self) -> tuple[Message, ...]:
        """Temporal's detail structs, often none."""
        return self._details

    def detail(self, kind: type[Message]) -> Message | None:
        """The first detail of a kind, or None."""
        return next((detail for detail in self._details if isinstance(detail, kind)), None)
