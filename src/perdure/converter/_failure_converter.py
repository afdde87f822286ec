"""Failure converters: exceptions to failures and back."""

from __future__ import annotations

import sys
import traceback
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar, cast

import msgspec

from perdure._times import duration_to_ns, optional_duration_from_ns
from perdure.api.common.v1 import ActivityType, Payloads, WorkflowExecution, WorkflowType
from perdure.api.failure.v1 import (
    ActivityFailureInfo,
    ApplicationFailureInfo,
    CanceledFailureInfo,
    ChildWorkflowExecutionFailureInfo,
    Failure,
    NexusOperationFailureInfo,
    ServerFailureInfo,
    TerminatedFailureInfo,
    TimeoutFailureInfo,
)
from perdure.exceptions import (
    ActivityError,
    ApplicationError,
    ApplicationErrorCategory,
    CancelledError,
    ChildWorkflowError,
    FailureError,
    NexusOperationError,
    RetryState,
    ServerError,
    TerminatedError,
    TimeoutError,
    TimeoutType,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from perdure.converter._payload_converter import PayloadConverter

_encode_failure = msgspec.msgpack.Encoder().encode
_decode_failure = msgspec.msgpack.Decoder(Failure).decode


class FailureConverter(ABC):
    """Converts exceptions to failures and back. Runs inside workflow code: deterministic, no I/O.

    Of a workflow's exceptions only :class:`~perdure.exceptions.FailureError` and its subclasses come here.
    """

    default: ClassVar[FailureConverter]
    """The converter used when none is configured."""

    @abstractmethod
    def to_failure(self, exception: BaseException, payload_converter: PayloadConverter, failure: Failure) -> None:
        """Fill ``failure`` from ``exception``, which stays as it is."""

    @abstractmethod
    def from_failure(self, failure: Failure, payload_converter: PayloadConverter) -> BaseException:
        """The exception for ``failure``, which stays as it is."""


class DefaultFailureConverter(FailureConverter):
    """The conversion Temporal's SDKs agree on; any exception that is not a FailureError becomes an ApplicationError."""

    def __init__(self, *, encode_common_attributes: bool = False) -> None:
        """Make the converter; ``encode_common_attributes`` moves message and stack trace where a codec sees them."""
        self._encode_common_attributes = encode_common_attributes

    def to_failure(self, exception: BaseException, payload_converter: PayloadConverter, failure: Failure) -> None:
        """Fill ``failure`` from ``exception``, its traceback and what caused it.

        An error that was made from a failure gives that failure again.
        """
        if isinstance(exception, FailureError) and exception.failure is not None:
            _copy(exception.failure, failure)
        elif _is_handler_error(exception):
            from perdure.converter._nexus_failures import fill_handler_error

            fill_handler_error(
                cast("Any", exception), failure, lambda error, into: self.to_failure(error, payload_converter, into)
            )
        else:
            self._fill(exception, payload_converter, failure)
        if self._encode_common_attributes:
            common = {"message": failure.message, "stack_trace": failure.stack_trace}
            failure.encoded_attributes = payload_converter.to_payload(common)
            failure.message = "Encoded failure"
            failure.stack_trace = ""

    def _fill(self, exception: BaseException, payload_converter: PayloadConverter, failure: Failure) -> None:
        if exception.__traceback__ is not None:
            failure.stack_trace = "\n".join(traceback.format_tb(exception.__traceback__))
        cause = exception.__cause__
        if cause is None and not exception.__suppress_context__ and isinstance(exception, FailureError):
            cause = exception.__context__
        if cause is not None:
            failure.cause = Failure()
            self.to_failure(cause, payload_converter, failure.cause)
        if not isinstance(exception, FailureError):
            failure.message = str(exception)
            failure.application_failure_info = ApplicationFailureInfo(type=type(exception).__name__)
            return
        failure.message = exception.message
        for error_type, fill in _FILL_INFO:
            if isinstance(exception, error_type):
                fill(exception, payload_converter, failure)
                return

    def from_failure(self, failure: Failure, payload_converter: PayloadConverter) -> BaseException:
        """The exception for ``failure``, with its causes chained and the failure kept in ``failure``."""
        if failure.encoded_attributes is not None:
            failure = _with_common_attributes(failure, payload_converter)
        error = _make_error(failure, payload_converter)
        if isinstance(error, FailureError):
            error._failure = failure
        if failure.cause is not None:
            error.__cause__ = self.from_failure(failure.cause, payload_converter)
        return error


class DefaultFailureConverterWithEncodedAttributes(DefaultFailureConverter):
    """The default conversion with message and stack trace where a codec sees them."""

    def __init__(self) -> None:
        """Make the converter."""
        super().__init__(encode_common_attributes=True)


def _copy(source: Failure, target: Failure) -> None:
    """Make ``target`` a deep copy of ``source``: a codec will change it in place."""
    copy = _decode_failure(_encode_failure(source))
    for name in Failure.__struct_fields__:
        setattr(target, name, getattr(copy, name))


def _with_common_attributes(failure: Failure, payload_converter: PayloadConverter) -> Failure:
    """The failure with message and stack trace back in place, if its encoded attributes can be read."""
    assert failure.encoded_attributes is not None
    result = Failure()
    _copy(failure, result)
    try:
        attributes = payload_converter.from_payload(failure.encoded_attributes)
    except Exception:
        return result
    if isinstance(attributes, dict):
        if isinstance(message := attributes.get("message"), str):
            result.message = message
        if isinstance(stack_trace := attributes.get("stack_trace"), str):
            result.stack_trace = stack_trace
    return result


def _payloads(values: Sequence[Any], payload_converter: PayloadConverter) -> Payloads | None:
    return payload_converter.to_payloads_wrapper(values) if values else None


def _fill_application(error: ApplicationError, payload_converter: PayloadConverter, failure: Failure) -> None:
    failure.application_failure_info = ApplicationFailureInfo(
        type=error.type or "",
        non_retryable=error.non_retryable,
        details=_payloads(error.details, payload_converter),
        next_retry_delay=duration_to_ns(error.next_retry_delay) if error.next_retry_delay else None,
        category=int(error.category or 0),
    )


def _fill_timeout(error: TimeoutError, payload_converter: PayloadConverter, failure: Failure) -> None:
    failure.timeout_failure_info = TimeoutFailureInfo(
        timeout_type=int(error.type or 0),
        last_heartbeat_details=_payloads(error.last_heartbeat_details, payload_converter),
    )


def _fill_canceled(error: CancelledError, payload_converter: PayloadConverter, failure: Failure) -> None:
    failure.canceled_failure_info = CanceledFailureInfo(details=_payloads(error.details, payload_converter))


def _fill_terminated(error: TerminatedError, payload_converter: PayloadConverter, failure: Failure) -> None:
    failure.terminated_failure_info = TerminatedFailureInfo()


def _fill_server(error: ServerError, payload_converter: PayloadConverter, failure: Failure) -> None:
    failure.server_failure_info = ServerFailureInfo(non_retryable=error.non_retryable)


def _fill_activity(error: ActivityError, payload_converter: PayloadConverter, failure: Failure) -> None:
    failure.activity_failure_info = ActivityFailureInfo(
        scheduled_event_id=error.scheduled_event_id,
        started_event_id=error.started_event_id,
        identity=error.identity,
        activity_type=ActivityType(error.activity_type),
        activity_id=error.activity_id,
        retry_state=int(error.retry_state or 0),
    )


def _fill_child(error: ChildWorkflowError, payload_converter: PayloadConverter, failure: Failure) -> None:
    failure.child_workflow_execution_failure_info = ChildWorkflowExecutionFailureInfo(
        namespace=error.namespace,
        workflow_execution=WorkflowExecution(error.workflow_id, error.run_id),
        workflow_type=WorkflowType(error.workflow_type),
        initiated_event_id=error.initiated_event_id,
        started_event_id=error.started_event_id,
        retry_state=int(error.retry_state or 0),
    )


def _fill_nexus_operation(error: NexusOperationError, payload_converter: PayloadConverter, failure: Failure) -> None:
    failure.nexus_operation_execution_failure_info = NexusOperationFailureInfo(
        scheduled_event_id=error.scheduled_event_id,
        endpoint=error.endpoint,
        service=error.service,
        operation=error.operation,
        operation_token=error.operation_token,
    )


_FILL_INFO: tuple[tuple[type[FailureError], Callable[[Any, PayloadConverter, Failure], None]], ...] = (
    (ApplicationError, _fill_application),
    (TimeoutError, _fill_timeout),
    (CancelledError, _fill_canceled),
    (TerminatedError, _fill_terminated),
    (ServerError, _fill_server),
    (ActivityError, _fill_activity),
    (ChildWorkflowError, _fill_child),
    (NexusOperationError, _fill_nexus_operation),
)


def _is_handler_error(exception: BaseException) -> bool:
    """Whether it is an error of a Nexus handler; the package that defines those is not loaded to find out."""
    nexusrpc = sys.modules.get("nexusrpc")
    return nexusrpc is not None and isinstance(exception, nexusrpc.HandlerError)


def _make_error(failure: Failure, payload_converter: PayloadConverter) -> BaseException:
    values = payload_converter.from_payloads_wrapper
    message = failure.message
    if (application := failure.application_failure_info) is not None:
        return ApplicationError(
            message or "Application error",
            *values(application.details),
            type=application.type or None,
            non_retryable=application.non_retryable,
            next_retry_delay=optional_duration_from_ns(application.next_retry_delay),
            category=ApplicationErrorCategory(application.category),
        )
    if (timeout := failure.timeout_failure_info) is not None:
        return TimeoutError(
            message or "Timeout",
            type=TimeoutType(timeout.timeout_type) if timeout.timeout_type else None,
            last_heartbeat_details=values(timeout.last_heartbeat_details),
        )
    if (canceled := failure.canceled_failure_info) is not None:
        return CancelledError(message or "Cancelled", *values(canceled.details))
    if failure.terminated_failure_info is not None:
        return TerminatedError(message or "Terminated")
    if (server := failure.server_failure_info) is not None:
        return ServerError(message or "Server error", non_retryable=server.non_retryable)
    if (activity := failure.activity_failure_info) is not None:
        return ActivityError(
            message or "Activity error",
            scheduled_event_id=activity.scheduled_event_id,
            started_event_id=activity.started_event_id,
            identity=activity.identity,
            activity_type="" if activity.activity_type is None else activity.activity_type.name,
            activity_id=activity.activity_id,
            retry_state=RetryState(activity.retry_state) if activity.retry_state else None,
        )
    if (child := failure.child_workflow_execution_failure_info) is not None:
        execution = child.workflow_execution or WorkflowExecution()
        return ChildWorkflowError(
            message or "Child workflow error",
            namespace=child.namespace,
            workflow_id=execution.workflow_id,
            run_id=execution.run_id,
            workflow_type="" if child.workflow_type is None else child.workflow_type.name,
            initiated_event_id=child.initiated_event_id,
            started_event_id=child.started_event_id,
            retry_state=RetryState(child.retry_state) if child.retry_state else None,
        )
    if (operation := failure.nexus_operation_execution_failure_info) is not None:
        return NexusOperationError(
            message or "Nexus operation error",
            scheduled_event_id=operation.scheduled_event_id,
            endpoint=operation.endpoint,
            service=operation.service,
            operation=operation.operation,
            operation_token=operation.operation_token,
        )
    if failure.nexus_handler_failure_info is not None:
        try:
            from perdure.converter._nexus_failures import make_handler_error
        except ImportError:
            return FailureError(message or "Nexus handler error")
        return make_handler_error(failure)
    return FailureError(message or "Failure error")
