"""RPC errors: gRPC's status codes and Temporal's error details, without gRPC."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

from perdure.api._message import Message
from perdure.api.common._payload_wire import field, fields
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


@dataclass(frozen=True)
class GrpcStatus:
    """A call's status as gRPC has it: ``google.rpc.Status``."""

    code: int = 0
    message: str = ""
    details: Sequence[Message | bytes] = ()
    """Temporal's detail structs; of an error made from bytes, the ``google.protobuf.Any`` messages as they came."""


class RPCError(TemporalError):
    """The service refused or failed a request; nothing of the request was kept.

    ``details`` holds Temporal's detail structs (``perdure.api.errordetails.v1``), for instance
    ``WorkflowExecutionAlreadyStartedFailure``, where Temporal sends one.
    """

    def __init__(
        self,
        message: str,
        status: RPCStatusCode,
        raw_grpc_status: bytes | Sequence[Message] = b"",
        *,
        details: Sequence[Message] = (),
    ) -> None:
        """Make an error. A service in process has no bytes from gRPC: it gives the details instead of them."""
        super().__init__(message)
        self._message = message
        self._status = status
        self._raw = b""
        self._details: tuple[Message, ...] = tuple(details)
        if isinstance(raw_grpc_status, bytes):
            self._raw = raw_grpc_status
        else:
            self._details = tuple(raw_grpc_status)

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

    @property
    def raw_grpc_status(self) -> bytes:
        """The ``google.rpc.Status`` as protobuf; of an error that came without one, its code and message."""
        return self._raw or field(1, int(self._status)) + field(2, self._message.encode())

    @property
    def grpc_status(self) -> GrpcStatus:
        """The status with its details."""
        if not self._raw:
            return GrpcStatus(int(self._status), self._message, self._details)
        code, message, details = 0, "", []
        for number, value in fields(self._raw):
            if isinstance(value, int):
                code = value if number == 1 else code
            elif number == 2:
                message = value.decode(errors="replace")
            elif number == 3:
                details.append(value)
        return GrpcStatus(code, message, details)

    def detail(self, kind: type[Message]) -> Message | None:
        """The first detail of a kind, or None."""
        return next((detail for detail in self._details if isinstance(detail, kind)), None)


class ServiceClosedError(RPCError):
    """Our side closed the connection: no retry cures that."""

    def __init__(self) -> None:
        """UNAVAILABLE, as of any service that is closed."""
        super().__init__("the connection is closed", RPCStatusCode.UNAVAILABLE)
