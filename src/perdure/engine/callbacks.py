"""Completion callbacks: who is told when a workflow, an update, or a standalone activity or operation has ended.

Callbacks belong to a whole chain of runs: one that is continued as new, retried or scheduled by cron hands them on, and a
reset takes them along. When the chain ends each becomes a transfer of the last run, carried out until it succeeded, was
refused for good, or the run is deleted. A callback to :data:`~perdure.engine.nexus_tasks.SYSTEM_CALLBACK` ends an
operation of another run of this store; other URLs get the HTTP request of Nexus' specification, where they are allowed.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import Any

from perdure.api.common import v1 as common_v1
from perdure.api.enums.v1 import CallbackState, EventType
from perdure.api.failure import v1 as failure_v1
from perdure.api.update import v1 as update_v1
from perdure.engine import callback_requests
from perdure.engine.callback_requests import CallbackError, Outcome
from perdure.engine.core import Core
from perdure.engine.errors import failed_precondition, invalid_argument, unavailable
from perdure.engine.external_endpoints import CALLBACK_TOKEN
from perdure.engine.ids import decode_nexus_completion
from perdure.engine.limits import NS_PER_MS
from perdure.engine.namespaces import Namespaces
from perdure.engine.nexus_operations import NexusOperations
from perdure.engine.nexus_state import Callback, attempt_failed, callback_message, callbacks, new_callback
from perdure.engine.nexus_tasks import SYSTEM_CALLBACK
from perdure.engine.run import Run
from perdure.engine.update_registry import CLOSED_WHILE_ACCEPTED
from perdure.engine.wiring import encode
from perdure.service import RPCError, RPCStatusCode

logger = logging.getLogger("perdure.engine")

OPERATION_TOKEN = "nexus-operation-token"
MAX_CALLBACKS = 2000
MAX_URL = 1000
MAX_HEADER = 8192
_REQUEST_SECONDS = 10.0
_STARTED = int(EventType.EVENT_TYPE_WORKFLOW_EXECUTION_STARTED)
_UPDATE_ACCEPTED = int(EventType.EVENT_TYPE_WORKFLOW_EXECUTION_UPDATE_ACCEPTED)
_SCHEDULED = int(CallbackState.CALLBACK_STATE_SCHEDULED)
_BACKING_OFF = int(CallbackState.CALLBACK_STATE_BACKING_OFF)
_FAILED = int(CallbackState.CALLBACK_STATE_FAILED)
_SUCCEEDED = int(CallbackState.CALLBACK_STATE_SUCCEEDED)


class Callbacks:
    """Calls back."""

    def __init__(
        self, core: Core, namespaces: Namespaces, operations: NexusOperations, allowed: Sequence[str] = ()
    ) -> None:
        self._core = core
        self._namespaces = namespaces
        self._operations = operations
        #: Beginnings of the URLs outside this service that may be called.
        self._allowed = tuple(allowed)
        #: (run id, transfer id) of the callbacks that are being called.
        self._calling: set[tuple[str, int]] = set()
        core.on_chain_closed = self.owe

    def check(self, given: Sequence[common_v1.Callback], present: int = 0) -> None:
        """Refuse callbacks that could not be called, or are too many beside those present."""
        if len(given) + present > MAX_CALLBACKS:
            raise failed_precondition(
                f"cannot attach more than {MAX_CALLBACKS} callbacks to a workflow ({present} callbacks already attached)"
            )
        for callback in given:
            nexus = callback.nexus
            if nexus is None:
                raise RPCError("unknown callback variant: only Nexus callbacks are known", RPCStatusCode.UNIMPLEMENTED)
            if len(nexus.url) > MAX_URL:
                raise invalid_argument(f"invalid url: url length longer than max length allowed of {MAX_URL}")
            if sum(len(name) + len(value) for name, value in nexus.header.items()) > MAX_HEADER:
                raise invalid_argument(f"invalid header: header size longer than max allowed size of {MAX_HEADER}")
            if nexus.url == SYSTEM_CALLBACK:
                decode_nexus_completion(_header(nexus, CALLBACK_TOKEN))
            elif not nexus.url.startswith(("http://", "https://")):
                raise invalid_argument(f"invalid url: unknown scheme: {nexus.url}")
            elif not nexus.url.startswith(self._allowed) or not self._allowed:
                raise invalid_argument(
                    f"invalid url: url does not match any configured callback address: {nexus.url}; "
                    "callbacks out of this service are allowed with Engine.open(callback_addresses=[...])"
                )

    def register(self, run: Run, given: Sequence[common_v1.Callback], request_id: str) -> None:
        """Note callbacks of a run that has no event to say so: a standalone activity or operation."""
        s = run.state
        if s.extra is None:
            s.extra = {}
        known: list[Callback] = s.extra.setdefault("callbacks", [])
        if not any(callback["request_id"] == request_id for callback in known):
            known += [new_callback(encode(callback), request_id, self._core.now()) for callback in given]

    def register_for_update(self, run: Run, update_id: str, request: update_v1.Request) -> None:
        """Note who waits for the outcome of an update that the run has accepted."""
        s = run.state
        if s.extra is None:
            s.extra = {}
        known: list[Callback] = s.extra.setdefault("callbacks", [])
        waiting = {(callback.get("update_id"), callback["request_id"]) for callback in known}
        if (update_id, request.request_id) in waiting:
            return
        for message in request.completion_callbacks:
            callback = new_callback(encode(message), request.request_id, self._core.now())
            callback["update_id"] = update_id
            known.append(callback)

    def owe(self, run: Run) -> None:
        """The last run of a chain closed: what waited for it, or for its updates, is called."""
        self._owe(run, callbacks(run.state))

    def owe_updates(self, run: Run, update_id: str = "") -> None:
        """An update has its outcome, or all have because the run closed: what waited for it is called."""
        waiting = [callback for callback in callbacks(run.state) if callback.get("update_id")]
        self._owe(run, [callback for callback in waiting if update_id in ("", callback["update_id"])])

    def _owe(self, run: Run, due: Sequence[Callback]) -> None:
        for index, callback in enumerate(callbacks(run.state)):
            if callback["state"] < _SCHEDULED and callback in due:
                callback["state"] = _SCHEDULED
                self._core.add_transfer(run, -1 - index)

    async def carry_out(self, run: Run, transfer_id: int) -> None:
        """Call back; again, later and later, until that succeeded, was refused for good, or the run's time is over."""
        name = (run.key.run_id, transfer_id)
        if name in self._calling:
            return
        self._calling.add(name)
        try:
            await self._attempt(run, transfer_id)
        finally:
            self._calling.remove(name)

    async def _attempt(self, run: Run, transfer_id: int) -> None:
        core = self._core
        if not run.is_open and run.state.delete_at_ms * NS_PER_MS <= core.now():
            core.finish_transfer(run, transfer_id)
            return
        callback = callbacks(run.state)[-1 - transfer_id]
        if callback["call"]["next_ns"] <= core.now():
            await self._once(run, callback, transfer_id)
        due = callback["call"]["next_ns"]
        row = run.transfers.get(transfer_id)
        if due and row is not None:
            core.alarms.set((run.key.run_id, transfer_id), due, lambda: core.spawn(core.on_transfer(run, row)))

    async def _once(self, run: Run, callback: Callback, transfer_id: int) -> None:
        core = self._core
        message = callback_message(callback).nexus
        assert message is not None
        problem: CallbackError | None = None
        try:
            if message.url == SYSTEM_CALLBACK:
                await self._tell_run(run, callback, message)
            else:
                outcome = await self._outcome(run, callback, message)
                async with asyncio.timeout(_REQUEST_SECONDS):
                    await callback_requests.send(message.url, message.header, outcome)
        except RPCError as error:
            if error.status is not RPCStatusCode.NOT_FOUND:
                raise  # this service's own trouble, of which no receiver is the cause
            problem = CallbackError(str(error), False)
        except CallbackError as error:
            problem = error
        except TimeoutError:
            problem = CallbackError("the callback's receiver did not answer in time", True)
        if run.is_gone:
            raise unavailable("The run was read again; its callback is called again.")
        call = callback["call"]
        if problem is not None and problem.is_retryable:
            callback["state"] = _BACKING_OFF
            attempt_failed(call, encode(_failure(problem)), core.now())
            core.forming(run)
            return
        call["attempt"] += 1
        call["ended_ns"] = core.now()
        call["next_ns"] = 0
        call["failure"] = b"" if problem is None else encode(_failure(problem))
        callback["state"] = _SUCCEEDED if problem is None else _FAILED
        if problem is not None:
            logger.warning("callback of run %s failed: %s", run.key.run_id, problem)
        core.finish_transfer(run, transfer_id)
        core.forming(run)

    async def _tell_run(self, run: Run, callback: Callback, message: common_v1.CallbackNexus) -> None:
        token = decode_nexus_completion(_header(message, CALLBACK_TOKEN))
        outcome = await self._outcome(run, callback, message)
        links = [self._link(run, callback)]
        caller = await self._operations.complete(token, outcome.token, outcome.result, outcome.failure, links)
        await self._core.durable(caller)

    def _link(self, run: Run, callback: Callback) -> common_v1.Link:
        s = run.state
        if s.is_activity:
            name = self._namespaces.by_id(run.key.namespace_id).name
            return common_v1.Link(activity=common_v1.LinkActivity(name, run.key.workflow_id, run.key.run_id))
        is_update = "update_id" in callback
        reference = common_v1.LinkWorkflowEventRequestIdReference(
            callback["request_id"] or s.create_request_id, _UPDATE_ACCEPTED if is_update else _STARTED
        )
        namespace = self._namespaces.by_id(run.key.namespace_id).name
        run_id = run.key.run_id if is_update else s.first_run_id
        return common_v1.Link(
            workflow_event=common_v1.LinkWorkflowEvent(namespace, run.key.workflow_id, run_id, request_id_ref=reference)
        )

    async def _outcome(self, run: Run, callback: Callback, message: common_v1.CallbackNexus) -> Outcome:
        """What the chain, or the update, came to, as an operation's outcome."""
        s = run.state
        if "update_id" in callback:
            return await self._outcome_of_update(run, callback, _header(message, OPERATION_TOKEN))
        event = await self._core.event(run, s.close_event_id)
        result, failure = _ending(event.event_type, event.attributes)
        return Outcome(_header(message, OPERATION_TOKEN), result, failure, s.start_ns, s.close_ns)

    async def _outcome_of_update(self, run: Run, callback: Callback, token: str) -> Outcome:
        updates = run.state.updates
        event_id = 0 if updates is None else updates[callback["update_id"]][2]
        outcome = CLOSED_WHILE_ACCEPTED
        ended_ns = run.state.close_ns
        if event_id:
            event = await self._core.event(run, event_id)
            outcome = event.attributes.outcome
            ended_ns = event.event_time
        results = [] if outcome.success is None else outcome.success.payloads
        return Outcome(token, results[0] if results else None, outcome.failure, callback["registered_ns"], ended_ns)


def _header(message: common_v1.CallbackNexus, name: str) -> str:
    for key, value in message.header.items():
        if key.lower() == name:
            return value
    return ""


def _failure(error: CallbackError) -> failure_v1.Failure:
    info = failure_v1.ApplicationFailureInfo(non_retryable=not error.is_retryable)
    return failure_v1.Failure(message=str(error), application_failure_info=info)


def _ending(event_type: int, attributes: Any) -> tuple[common_v1.Payload | None, failure_v1.Failure | None]:
    """The result or the failure that a close event stands for."""
    kind = EventType(event_type)
    match kind:
        case EventType.EVENT_TYPE_WORKFLOW_EXECUTION_COMPLETED | EventType.EVENT_TYPE_ACTIVITY_TASK_COMPLETED:
            payloads = [] if attributes.result is None else attributes.result.payloads
            return (payloads[0] if payloads else None), None
        case EventType.EVENT_TYPE_WORKFLOW_EXECUTION_FAILED | EventType.EVENT_TYPE_ACTIVITY_TASK_FAILED:
            return None, attributes.failure
        case EventType.EVENT_TYPE_WORKFLOW_EXECUTION_CANCELED | EventType.EVENT_TYPE_ACTIVITY_TASK_CANCELED:
            details = failure_v1.CanceledFailureInfo(attributes.details)
            return None, failure_v1.Failure(
                message="operation canceled", source="Server", canceled_failure_info=details
            )
        case EventType.EVENT_TYPE_WORKFLOW_EXECUTION_TERMINATED:
            return None, failure_v1.Failure(
                message="operation terminated",
                source="Server",
                terminated_failure_info=failure_v1.TerminatedFailureInfo(attributes.identity),
            )
        case EventType.EVENT_TYPE_ACTIVITY_TASK_TIMED_OUT:
            return None, attributes.failure
        case EventType.EVENT_TYPE_NEXUS_OPERATION_COMPLETED:
            return attributes.result, None
        case (
            EventType.EVENT_TYPE_NEXUS_OPERATION_FAILED
            | EventType.EVENT_TYPE_NEXUS_OPERATION_CANCELED
            | EventType.EVENT_TYPE_NEXUS_OPERATION_TIMED_OUT
        ):
            return None, attributes.failure.cause or attributes.failure
        case _:
            return None, failure_v1.Failure(
                message="operation exceeded internal timeout",
                source="Server",
                timeout_failure_info=failure_v1.TimeoutFailureInfo(1),
            )
