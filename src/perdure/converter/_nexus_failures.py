"""Errors of Nexus handlers, which belong to the ``nexusrpc`` package; imported where one is met."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from typing import Any

import msgspec
import nexusrpc

from perdure.api.common.v1 import Payload, Payloads
from perdure.api.failure.v1 import ApplicationFailureInfo, Failure, NexusHandlerFailureInfo
from perdure.api.json import from_json_dict, to_json_dict

_TEMPORAL_FAILURE = "temporal.api.failure.v1.Failure"
#: NexusHandlerErrorRetryBehavior, by what an error says of itself.
_BEHAVIORS = {None: 0, True: 1, False: 2}
_OVERRIDES = {1: True, 2: False}


def fill_handler_error(
    error: nexusrpc.HandlerError, failure: Failure, to_failure: Callable[[BaseException, Failure], None]
) -> None:
    """Fill a failure from a handler's error; one that was made from a failure gives that failure again."""
    if error.original_failure is not None:
        _fill_from_nexus(error.original_failure, error.retryable, failure)
        return
    failure.message = error.message
    if error.stack_trace:
        failure.stack_trace = error.stack_trace
    elif error.__traceback__ is not None:
        failure.stack_trace = "\n".join(traceback.format_tb(error.__traceback__))
    if error.__cause__ is not None:
        failure.cause = Failure()
        to_failure(error.__cause__, failure.cause)
    failure.nexus_handler_failure_info = NexusHandlerFailureInfo(error.type.name, _BEHAVIORS[error.retryable_override])


def make_handler_error(failure: Failure) -> nexusrpc.HandlerError:
    """The handler's error that a failure stands for."""
    info = failure.nexus_handler_failure_info
    assert info is not None
    bare = msgspec.structs.replace(failure, message="", stack_trace="")
    try:
        error_type = nexusrpc.HandlerErrorType[info.type]
    except KeyError:
        error_type = nexusrpc.HandlerErrorType.INTERNAL
    return nexusrpc.HandlerError(
        failure.message or "Nexus handler error",
        type=error_type,
        retryable_override=_OVERRIDES.get(info.retry_behavior),
        stack_trace=failure.stack_trace or None,
        original_failure=nexusrpc.Failure(
            message=failure.message,
            stack_trace=failure.stack_trace,
            metadata={"type": _TEMPORAL_FAILURE},
            details=to_json_dict(bare),
        ),
    )


def _fill_from_nexus(source: nexusrpc.Failure, retryable: bool, failure: Failure) -> None:
    if source.metadata is not None and source.metadata.get("type") == _TEMPORAL_FAILURE:
        carried = from_json_dict(dict(source.details or {}), Failure)
        for name in Failure.__struct_fields__:
            setattr(failure, name, getattr(carried, name))
    else:
        form: dict[str, Any] = {
            "message": "",
            "stack_trace": source.stack_trace,
            "metadata": None if source.metadata is None else dict(source.metadata),
            "details": None if source.details is None else dict(source.details),
        }
        data = Payload({"encoding": b"json/plain"}, msgspec.json.encode(form))
        failure.application_failure_info = ApplicationFailureInfo(
            type="NexusFailure", non_retryable=not retryable, details=Payloads([data])
        )
    failure.message = source.message
    failure.stack_trace = source.stack_trace or ""
