"""Completion callbacks: who is told when a workflow, or a standalone activity, has closed.

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
from perdure.engine import callback_requests
from perdure.engine.callback_requests import CallbackError, Outcome
from perdure.engine.core import Core
from perdure.engine.errors import failed_precondition, invalid_argument, unavailable
from perdure.engine.ids import decode_nexus_completion
from perdure.engine.limits import NS_PER_MS
from perdure.engine.namespaces import Namespaces
from perdure.engine.nexus_operations import NexusOperations
from perdure.engine.nexus_state import Callback, attempt_failed, callback_message, callbacks, new_callback
from perdure.engine.nexus_tasks import CALLBACK_TOKEN, SYSTEM_CALLBACK
from perdure.engine.run import Run
from perdure.engine.wiring import encode
from perdure.service import RPCError, RPCStatusCode

logger = logging.getLogger("perdure.engine")

OPERATION_TOKEN = "nexus-operation-token"
MAX_CALLBACKS = 2000
MAX_URL = 1000
MAX_HEADER = 8192
_REQUEST_SECONDS = 10.0
_STARTED = int(EventType.EVENT_TYPE_WORKFLOW_EXECUTION_STARTED)
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

    def owe(self, run: Run) -> None:
        """The last run of a chain closed: what waited for it is called."""
        for index, callback in enumerate(callbacks(run.state)):
            if callback["state"] < _SCHEDULED:
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
        if run.state.delete_at_ms * NS_PER_MS <= core.now():
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
                outcome = await self._outcome(run, message)
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
        outcome = await self._outcome(run, message)
        links = [self._link(run, callback)]
        caller = await self._operations.complete(token, outcome.token, outcome.result, outcome.failure, links)
        await self._core.durable(caller)

    def _link(self, run: Run, callback: Callback) -> common_v1.Link:
        s = run.state
        if s.is_activity:
            name = self._namespaces.by_id(run.key.namespace_id).name
            return common_v1.Link(activity=common_v1.LinkActivity(name, run.key.workflow_id, run.key.run_id))
        reference = common_v1.LinkWorkflowEventRequestIdReference(
            callback["request_id"] or s.create_request_id, _STARTED
        )
        namespace = self._namespaces.by_id(run.key.namespace_id).name
        return common_v1.Link(
            workflow_event=common_v1.LinkWorkflowEvent(
                namespace, run.key.workflow_id, s.first_run_id, request_id_ref=reference
            )
        )

    async def _outcome(self, run: Run, message: common_v1.CallbackNexus) -> Outcome:
        """What the chain came to, as an operation's outcome."""
        s = run.state
        event = await self._core.event(run, s.close_event_id)
        result, failure = _ending(event.event_type, event.attributes)
        return Outcome(_header(message, OPERATION_TOKEN), result, failure, s.start_ns, s.close_ns)


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
