"""What handlers of Nexus operations raise, as the errors that Nexus knows."""

from __future__ import annotations

from nexusrpc import HandlerError, HandlerErrorType

from perdure.exceptions import ApplicationError, WorkflowAlreadyStartedError
from perdure.service import RPCError, RPCStatusCode

#: Status of a refused request -> the handler's error, and whether it is tried again where the type does not say.
_STATUSES: dict[RPCStatusCode, tuple[HandlerErrorType, bool | None]] = {
    RPCStatusCode.INVALID_ARGUMENT: (HandlerErrorType.BAD_REQUEST, None),
    RPCStatusCode.ALREADY_EXISTS: (HandlerErrorType.INTERNAL, False),
    RPCStatusCode.FAILED_PRECONDITION: (HandlerErrorType.INTERNAL, False),
    RPCStatusCode.OUT_OF_RANGE: (HandlerErrorType.INTERNAL, False),
    RPCStatusCode.ABORTED: (HandlerErrorType.UNAVAILABLE, None),
    RPCStatusCode.UNAVAILABLE: (HandlerErrorType.UNAVAILABLE, None),
    RPCStatusCode.NOT_FOUND: (HandlerErrorType.NOT_FOUND, None),
    RPCStatusCode.RESOURCE_EXHAUSTED: (HandlerErrorType.RESOURCE_EXHAUSTED, None),
    RPCStatusCode.UNIMPLEMENTED: (HandlerErrorType.NOT_IMPLEMENTED, None),
    RPCStatusCode.DEADLINE_EXCEEDED: (HandlerErrorType.UPSTREAM_TIMEOUT, None),
}


def as_handler_error(error: BaseException) -> HandlerError:
    """The handler's error that an exception is, caused by it.

    A handler that fails for reasons of its own is INTERNAL and is asked again; a non-retryable ApplicationError, and a
    request that cannot succeed, are final.
    """
    if isinstance(error, HandlerError):
        return error
    if isinstance(error, ApplicationError):
        said = HandlerError(
            "Handler failed with non-retryable application error"
            if error.non_retryable
            else "Handler failed with application error",
            type=HandlerErrorType.INTERNAL,
            retryable_override=not error.non_retryable,
        )
    elif isinstance(error, WorkflowAlreadyStartedError):
        said = HandlerError(error.message, type=HandlerErrorType.INTERNAL, retryable_override=False)
    elif isinstance(error, RPCError):
        kind, retryable = _STATUSES.get(error.status, (HandlerErrorType.INTERNAL, None))
        said = HandlerError(error.message, type=kind, retryable_override=retryable)
    else:
        said = HandlerError("Internal handler error", type=HandlerErrorType.INTERNAL)
    said.__cause__ = error
    return said
