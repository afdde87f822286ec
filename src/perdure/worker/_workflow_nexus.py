"""What a run does about Nexus operations: commands out, outcomes in."""

from __future__ import annotations

import asyncio
from collections.abc import Generator
from typing import TYPE_CHECKING, Any

from perdure._native.loop import Future as _LoopFuture
from perdure._native.machines import Effect, Input, MachineKind
from perdure._native.matcher import WorkflowCommand
from perdure.api import system
from perdure.api.command import v1 as command_v1
from perdure.api.common.v1 import Payload
from perdure.api.failure.v1 import CanceledFailureInfo, Failure, NexusOperationFailureInfo
from perdure.client import _check
from perdure.converter import FailureConverter, NexusSerializationContext, PayloadConverter
from perdure.worker import _system_nexus
from perdure.worker._interceptor import StartNexusOperationInput, WorkflowOutboundInterceptor
from perdure.worker._workflow_handles import _OperationFuture
from perdure.worker._workflow_resolutions import WorkflowResolutions
from perdure.worker._workflow_turn import check_encodable
from perdure.workflow import NexusOperationCancellationType, NexusOperationHandle
from perdure.workflow._signal_with_start import SignalWithStartWorkflowRequest, SignalWithStartWorkflowResponse

if TYPE_CHECKING:
    from perdure._native.events import HistoryEvent
    from perdure.api.sdk.v1 import EventGroupMarker

_NEXUS_OPERATION = int(MachineKind.NEXUS_OPERATION)
_CANCEL_IS_SENT = (int(Effect.EMIT_CANCEL), int(Effect.EMIT_CANCEL_RESOLVE))
_C_SCHEDULE_NEXUS = 17
_C_REQUEST_CANCEL_NEXUS = 18
_E_COMPLETED = 50
_E_CANCEL_COMPLETED = 56
_E_CANCEL_FAILED = 57
_CALL = "start_operation"

#: What cancelling means, by NexusOperationCancellationType.
_CANCELS = (int(Input.WAIT_CANCEL), int(Input.ABANDON), int(Input.TRY_CANCEL), int(Input.WAIT_REQUESTED))


class _Outcome(_OperationFuture, _LoopFuture[Any]):
    """The outcome of an operation, as a future."""

    _handle: NexusOperationHandleImpl

    def _request_cancel(self) -> None:
        self._handle.request_cancel()


class NexusOperationHandleImpl(NexusOperationHandle[Any]):
    """An operation, from the request to start it on."""

    _command: WorkflowCommand

    def __init__(self, run: WorkflowNexus, input: StartNexusOperationInput[Any, Any]) -> None:
        self._run = run
        self._input = input
        self._markers: list[EventGroupMarker] = run._markers(input.event_groups)
        self._start_future: asyncio.Future[str | None] = run.loop.create_future()
        self._outcome = _Outcome(loop=run.loop)
        self._outcome._handle = self
        self._outcome._start(run, input.output_type, _CANCELS[input.cancellation_type])

    def __await__(self) -> Generator[Any, Any, Any]:
        return self._outcome.__await__()

    def cancel(self) -> bool:
        """Request cancellation, as the cancellation type says. False when the operation is over."""
        return self._outcome.cancel()

    @property
    def operation_token(self) -> str | None:
        """What the handler calls the operation."""
        future = self._start_future
        if not future.done() or future.cancelled() or future.exception() is not None:
            return None
        return future.result()

    def request_cancel(self, _reason: str = "") -> None:
        """Send the request, as the cancellation type says."""
        run = self._run
        if run.is_evicted:
            return
        run.assert_not_read_only("cancel nexus operation")
        effect = run.matcher.cancel(self._command, _CANCELS[self._input.cancellation_type])
        if effect in _CANCEL_IS_SENT:
            message = None
            if not run.is_replaying:
                message = command_v1.Command(
                    _C_REQUEST_CANCEL_NEXUS,
                    event_group_markers=self._markers,
                    attributes=command_v1.RequestCancelNexusOperationCommandAttributes(self._command.event_id),
                )
            run.matcher.push(self._command, _C_REQUEST_CANCEL_NEXUS, message)

    def resolve_start(self, token: str | None) -> None:
        """The handler took the operation up."""
        if not self._start_future.done():
            self._start_future.set_result(token)

    def resolve(self, result: Any, error: BaseException | None) -> None:
        """The outcome is known; a failure before the start is known fails the start."""
        if not self._start_future.done():
            if error is None:
                self._start_future.set_result(None)
            else:
                self._start_future.set_exception(error)
                error = None
        self._outcome._operation.resolve(result, error)


class WorkflowNexus(WorkflowResolutions):
    """The Nexus operations of a run."""

    _nexus_seq = 0

    async def start_nexus_operation(
        self, endpoint: str, service: str, operation: Any, input: Any, options: dict[str, Any]
    ) -> NexusOperationHandle[Any]:
        self.assert_not_read_only("start nexus operation")
        _check.text("create_nexus_client", "endpoint", endpoint)
        given: StartNexusOperationInput[Any, Any] = StartNexusOperationInput(
            endpoint=endpoint,
            service=service,
            operation=operation,
            input=input,
            schedule_to_close_timeout=options.pop("schedule_to_close_timeout", None),
            schedule_to_start_timeout=options.pop("schedule_to_start_timeout", None),
            start_to_close_timeout=options.pop("start_to_close_timeout", None),
            cancellation_type=options.pop("cancellation_type", NexusOperationCancellationType.WAIT_COMPLETED),
            headers=options.pop("headers", None),
            summary=options.pop("summary", None),
            event_groups=options.pop("event_groups", None),
            output_type=options.pop("output_type", None),
        )
        if options:
            raise TypeError(f"{_CALL} got an unexpected keyword argument {next(iter(options))!r}")
        if endpoint == system.ENDPOINT:
            given.headers = None
            request = _system_nexus.check(given)
            if self.outbound is None:
                return await self.start_nexus_operation_of(given)
            return await self.outbound.start_signal_with_start_workflow(request)
        if self.outbound is None:
            return await self.start_nexus_operation_of(given)
        return await self.outbound.start_nexus_operation(given)

    async def signal_with_start_through(
        self, outbound: WorkflowOutboundInterceptor, request: SignalWithStartWorkflowRequest
    ) -> NexusOperationHandle[Any]:
        """The end of the interceptors that know the request; those that know operations follow."""
        return await outbound.start_system_nexus_operation(
            StartNexusOperationInput(
                endpoint=system.ENDPOINT,
                service=system.SERVICE,
                operation=system.SIGNAL_WITH_START,
                input=request,
                schedule_to_close_timeout=None,
                schedule_to_start_timeout=None,
                start_to_close_timeout=None,
                cancellation_type=NexusOperationCancellationType.WAIT_COMPLETED,
                headers=None,
                summary=None,
                output_type=SignalWithStartWorkflowResponse,
            )
        )

    async def start_nexus_operation_of(self, input: StartNexusOperationInput[Any, Any]) -> NexusOperationHandle[Any]:
        """The end of the outbound interceptors."""
        self.assert_not_read_only("start nexus operation")
        name = input.operation_name
        timeouts = [
            _check.duration_ns(_CALL, what, getattr(input, what))
            for what in ("schedule_to_close_timeout", "schedule_to_start_timeout", "start_to_close_timeout")
        ]
        _check.member(_CALL, "cancellation_type", input.cancellation_type, NexusOperationCancellationType)
        handle = NexusOperationHandleImpl(self, input)
        converter = self._converters_for_operation(input)[0]
        message = None
        if not self.is_replaying:
            message = command_v1.Command(
                _C_SCHEDULE_NEXUS,
                self._metadata(input.summary) if input.summary else None,
                handle._markers,
                command_v1.ScheduleNexusOperationCommandAttributes(
                    endpoint=input.endpoint,
                    service=input.service,
                    operation=name,
                    input=self._operation_input(input, converter),
                    schedule_to_close_timeout=timeouts[0],
                    nexus_header=dict(input.headers or {}),
                    schedule_to_start_timeout=timeouts[1],
                    start_to_close_timeout=timeouts[2],
                ),
            )
        elif input.endpoint != system.ENDPOINT:
            check_encodable(converter, [input.input])
        self._nexus_seq += 1
        handle._command = self.matcher.schedule(
            _NEXUS_OPERATION,
            _C_SCHEDULE_NEXUS,
            self._nexus_seq,
            input.endpoint,
            f"{input.service}/{name}",
            handle,
            message,
        )
        await self._await_operation(handle._start_future, handle.request_cancel, reraise=True)
        return handle

    def _operation_input(self, input: StartNexusOperationInput[Any, Any], converter: PayloadConverter) -> Payload:
        if input.endpoint == system.ENDPOINT:
            return _system_nexus.encode(_system_nexus.check(input), converter)
        return converter.to_payload(input.input)

    def _converters_for_operation(
        self, input: StartNexusOperationInput[Any, Any]
    ) -> tuple[PayloadConverter, FailureConverter]:
        if not self.options.takes_context:
            return self.converter, self.failures
        if input.endpoint == system.ENDPOINT:
            return self.converters_for_workflow(_system_nexus.check(input).id)
        return self._converters(
            NexusSerializationContext(endpoint=input.endpoint, service=input.service, operation=input.operation_name)
        )

    def _apply_nexus_start(self, command: WorkflowCommand, event: HistoryEvent) -> None:
        attributes = event.attributes
        command.target.resolve_start(attributes.operation_token or attributes.operation_id)

    def _apply_nexus(self, command: WorkflowCommand, event: HistoryEvent | None) -> None:
        handle: NexusOperationHandleImpl = command.target
        payloads, failures = self._converters_for_operation(handle._input)
        if event is not None and event.event_type == _E_COMPLETED:
            hint = handle._input.output_type
            result = event.attributes.result
            value = None
            if handle._input.endpoint == system.ENDPOINT:
                value = _system_nexus.decode(result)
            elif result is not None:
                value = self._decode(payloads, [result], None if hint is None else [hint])[0]
            handle.resolve(value, None)
        else:
            handle.resolve(None, failures.from_failure(_failure(command, handle, event), payloads))


def _failure(command: WorkflowCommand, handle: NexusOperationHandleImpl, event: HistoryEvent | None) -> Failure:
    """How an operation failed; with no event, or one about its cancellation, as much as is known here."""
    kind = 0 if event is None else event.event_type
    attributes: Any = None if event is None else event.attributes
    if attributes is not None and kind not in (_E_CANCEL_COMPLETED, _E_CANCEL_FAILED):
        return attributes.failure or Failure(message="Nexus operation failed but failure field was not populated")
    cause = Failure(canceled_failure_info=CanceledFailureInfo())
    if kind == _E_CANCEL_COMPLETED:
        message = "Nexus operation cancellation request completed"
    elif attributes is not None:
        message = "Nexus operation cancellation request failed"
        cause = attributes.failure or Failure(message=message)
    elif command.event_id:
        message = "Nexus operation cancelled after starting"
    else:
        message = "Nexus Operation cancelled before scheduled"
    input = handle._input
    token = handle.operation_token or ""
    return Failure(
        message=message,
        cause=cause,
        nexus_operation_execution_failure_info=NexusOperationFailureInfo(
            command.event_id, input.endpoint, input.service, input.operation_name, token, token
        ),
    )
