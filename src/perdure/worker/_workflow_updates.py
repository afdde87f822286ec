"""One update of a workflow: validated, accepted, handled, answered."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from perdure._native.machines import Input
from perdure.api.command import v1 as command_v1
from perdure.api.common import v1 as common_v1
from perdure.api.protocol.v1 import Message
from perdure.api.update import v1 as update_v1
from perdure.exceptions import CancelledError
from perdure.workflow import ReadOnlyContextError, UpdateInfo
from perdure.workflow._context import _set_current_update_info

if TYPE_CHECKING:
    from perdure._native.matcher import WorkflowCommand
    from perdure.worker._interceptor import HandleUpdateInput
    from perdure.worker._workflow_messages import WorkflowMessages
    from perdure.workflow._handlers import _UpdateDefinition

_ACCEPT = int(Input.ACCEPT)
_REJECT = int(Input.REJECT)
_COMPLETE = int(Input.COMPLETE)
_C_PROTOCOL_MESSAGE = 14


class UpdateRun:
    """An update on its way; its messages and commands are those of Temporal's core."""

    def __init__(self, run: WorkflowMessages, command: WorkflowCommand, request: update_v1.Request) -> None:
        self._run = run
        self._command = command
        self._request = request
        self._message_id, self._sequencing_event_id = command.detail

    async def execute(self, run_validator: bool) -> None:
        """Do it all."""
        run, request = self._run, self._request
        assert request.meta is not None and request.input is not None
        update_id, name = request.meta.update_id, request.input.name
        _set_current_update_info(UpdateInfo(id=update_id, name=name))
        is_accepted = False
        try:
            handlers = run.updates()
            defn = handlers.get(name) or handlers.get(None)
            if defn is None:
                known = " ".join(sorted(known for known in handlers if known))
                raise RuntimeError(
                    f"Update handler for '{name}' expected but not found, and there is no dynamic handler. "
                    f"known updates: [{known}]"
                )
            run.update_started(update_id, name, defn)
            input = run.update_input(defn, request)
            if run_validator and defn.validator is not None:
                self._validate(defn, input)
                input = run.update_input(defn, request)
            self._accept()
            is_accepted = True
            result = await run.handle_update(defn, input)
            outcome = None
            if not run.is_replaying:
                payloads = common_v1.Payloads(run.converter.to_payloads([result]))
                outcome = update_v1.Outcome(success=payloads)
            self._answer(outcome)
        except (Exception, asyncio.CancelledError) as error:
            if run.is_evicted:
                raise
            self._fail(error, is_accepted)
        finally:
            run.update_finished(update_id)

    def _validate(self, defn: _UpdateDefinition, input: HandleUpdateInput) -> None:
        with self._run.read_only():
            self._run.validate_update(defn, input)

    def _accept(self) -> None:
        body = None
        if not self._run.is_replaying:
            body = update_v1.Acceptance(self._message_id, self._sequencing_event_id, self._request)
        self._send(_ACCEPT, "accept", body)

    def _answer(self, outcome: update_v1.Outcome | None) -> None:
        body = None
        if not self._run.is_replaying:
            body = update_v1.Response(meta=self._request.meta, outcome=outcome)
        self._send(_COMPLETE, "complete", body)

    def _send(self, input: int, verb: str, body: Any) -> None:
        run = self._run
        command = None
        if body is not None:
            message_id = f"{self._message_id}/{verb}"
            run.send_message(Message(id=message_id, protocol_instance_id=self._command.identity, body=body))
            command = command_v1.Command(
                _C_PROTOCOL_MESSAGE, attributes=command_v1.ProtocolMessageCommandAttributes(message_id)
            )
        run.matcher.step_update(self._command, input, command)

    def _fail(self, error: BaseException, is_accepted: bool) -> None:
        """Before acceptance the update is refused; after it, it fails, or the task does."""
        run = self._run
        if isinstance(error, asyncio.CancelledError):
            error = CancelledError(f"Cancellation raised within update {error}")
        if isinstance(error, ReadOnlyContextError) or (is_accepted and not run.is_failure_exception(error)):
            run.loop.stop_with(error)
            return
        if is_accepted:
            self._answer(None if run.is_replaying else update_v1.Outcome(failure=run._to_failure(error)))
            return
        run.matcher.step_update(self._command, _REJECT, None)
        if not run.is_replaying:
            run.send_message(
                Message(
                    id=f"{self._message_id}/reject",
                    protocol_instance_id=self._command.identity,
                    body=update_v1.Rejection(
                        rejected_request_message_id=self._message_id,
                        rejected_request_sequencing_event_id=self._sequencing_event_id,
                        rejected_request=self._request,
                        failure=run._to_failure(error),
                    ),
                )
            )
