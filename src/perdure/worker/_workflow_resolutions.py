"""What comes back to a run: the results its workflow code waits for, decoded and handed over."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from perdure._native.matcher import WorkflowCommand
from perdure._native.operations import Backoff
from perdure.api.common import v1 as common_v1
from perdure.common import RawValue
from perdure.exceptions import InvalidVersioningOverrideError, WorkflowAlreadyStartedError
from perdure.worker._workflow_failures import (
    cancel_failure,
    child_failure,
    child_not_sent_failure,
    signal_failure,
)
from perdure.worker._workflow_local import LocalOutcome, local_failure, recorded_outcome
from perdure.worker._workflow_operations import WorkflowOperations

if TYPE_CHECKING:
    from perdure._native.events import HistoryEvent

_E_CHILD_STARTED = 31
_E_CHILD_COMPLETED = 32
_E_EXTERNAL_CANCEL_REQUESTED = 24
_E_EXTERNAL_SIGNALED = 39
_ALREADY_EXISTS = 1
_INVALID_VERSIONING_OVERRIDE = 3


class WorkflowResolutions(WorkflowOperations):
    """The jobs that resolve what the workflow code has started."""

    def _raw_values(self, payloads: Sequence[common_v1.Payload] | None) -> list[Any]:
        return [RawValue(payload) for payload in payloads or ()]

    def _result(self, converter: Any, result: common_v1.Payloads | None, hint: type | None) -> Any:
        if result is None or not result.payloads:
            return None
        return self._decode(converter, result.payloads, None if hint is None else [hint])[0]

    def _apply_local_activity(self, command: WorkflowCommand, outcome: HistoryEvent | LocalOutcome) -> None:
        handle = command.target
        command.target = None
        if not isinstance(outcome, LocalOutcome):
            outcome = recorded_outcome(outcome)
        payloads, failures = self.converters_for_activity(command.type_name, command.identity, None, is_local=True)
        if outcome.backoff_ns:
            original = outcome.original_schedule_time_ns
            error: BaseException = Backoff(outcome.backoff_ns / 1e9, outcome.attempt + 1, original)
            handle._operation.resolve(None, error)
        elif outcome.failure is not None:
            error = failures.from_failure(local_failure(command, outcome.failure), payloads)
            handle._operation.resolve(None, error)
        else:
            handle._operation.resolve(self._result(payloads, outcome.result, handle._ret_type), None)

    def _apply_child_start(self, command: WorkflowCommand, event: HistoryEvent | None) -> None:
        handle = command.target
        if event is None:
            payloads, failures = self.converters_for_workflow(command.identity)
            failure = child_not_sent_failure(command, self.options.namespace, handle._cancel_reason)
            handle.resolve_start("", failures.from_failure(failure, payloads))
        elif event.event_type == _E_CHILD_STARTED:
            handle.resolve_start(event.attributes.workflow_execution.run_id, None)
        elif event.attributes.cause == _ALREADY_EXISTS:
            handle.resolve_start("", WorkflowAlreadyStartedError(command.identity, command.type_name))
        elif event.attributes.cause == _INVALID_VERSIONING_OVERRIDE:
            handle.resolve_start("", InvalidVersioningOverrideError())
        else:
            handle.resolve_start(
                "", RuntimeError(f"Child workflow {command.identity} was not started: cause {event.attributes.cause}")
            )

    def _apply_child(self, command: WorkflowCommand, event: HistoryEvent | None) -> None:
        handle = command.target
        payloads, failures = self.converters_for_workflow(command.identity)
        if event is not None and event.event_type == _E_CHILD_COMPLETED:
            handle.resolve(self._result(payloads, event.attributes.result, handle._ret_type), None)
        else:
            run_id = "" if handle._run_id == "<unknown>" else handle._run_id
            failure = child_failure(command, event, self.options.namespace, run_id)
            handle.resolve(None, failures.from_failure(failure, payloads))

    def _apply_signal_external(self, command: WorkflowCommand, event: HistoryEvent | None) -> None:
        future: asyncio.Future[None] = command.target
        if future.done():
            return
        if event is not None and event.event_type == _E_EXTERNAL_SIGNALED:
            future.set_result(None)
        else:
            future.set_exception(self.failures.from_failure(signal_failure(event), self.converter))

    def _apply_cancel_external(self, command: WorkflowCommand, event: HistoryEvent) -> None:
        future: asyncio.Future[None] | None = command.target
        if future is None or future.done():
            return
        if event.event_type == _E_EXTERNAL_CANCEL_REQUESTED:
            future.set_result(None)
        else:
            future.set_exception(self.failures.from_failure(cancel_failure(event), self.converter))
