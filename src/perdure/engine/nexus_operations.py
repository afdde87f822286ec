"""Nexus operations of runs: from the event that schedules one to the event that closes it.

An operation's start request, and the request to cancel it, are *calls*. A call is owed from the event that asks for it on,
as a transfer of the run, so a restart finds it; it is made by ``nexus_tasks`` and comes back here as one of the outcomes
below. Handlers are asked again, later and later, until they answer or the operation times out. An operation that goes on
asynchronously owes nothing: it ends when its completion callback comes, or times out.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from perdure._native import transitions
from perdure._native.mutable_state import RunState, Status
from perdure.api.common import v1 as common_v1
from perdure.api.enums.v1 import EventType, TimeoutType
from perdure.api.failure import v1 as failure_v1
from perdure.api.history import v1 as history_v1
from perdure.api.nexus import links as nexus_links
from perdure.api.nexus import v1 as nexus_v1
from perdure.engine import limits, nexus_failures
from perdure.engine.core import Core
from perdure.engine.errors import not_found
from perdure.engine.ids import NexusCompletionToken
from perdure.engine.limits import NS_PER_MS
from perdure.engine.nexus_failures import is_retryable, operation_failure
from perdure.engine.nexus_state import (
    MAX_OPERATION_TOKEN,
    Call,
    Cancellation,
    Operation,
    attempt_failed,
    by_transfer,
    operations,
)
from perdure.engine.run import Run
from perdure.engine.wiring import encode
from perdure.store.api import RunKey

_Event = EventType
_STARTED = int(_Event.EVENT_TYPE_NEXUS_OPERATION_STARTED)
_COMPLETED = int(_Event.EVENT_TYPE_NEXUS_OPERATION_COMPLETED)
_FAILED = int(_Event.EVENT_TYPE_NEXUS_OPERATION_FAILED)
_CANCELED = int(_Event.EVENT_TYPE_NEXUS_OPERATION_CANCELED)
_TIMED_OUT = int(_Event.EVENT_TYPE_NEXUS_OPERATION_TIMED_OUT)
_CANCEL_COMPLETED = int(_Event.EVENT_TYPE_NEXUS_OPERATION_CANCEL_REQUEST_COMPLETED)
_CANCEL_FAILED = int(_Event.EVENT_TYPE_NEXUS_OPERATION_CANCEL_REQUEST_FAILED)
#: How the event that ends an operation ends the run of a standalone one.
_STATUSES = {
    _COMPLETED: int(Status.COMPLETED),
    _FAILED: int(Status.FAILED),
    _CANCELED: int(Status.CANCELED),
    _TIMED_OUT: int(Status.TIMED_OUT),
}
_MAX_RESET_HOPS = 100
_GONE = "operation not found"

Links = Sequence[common_v1.Link]


class NexusOperations:
    """What can happen to operations."""

    #: What to wait for while a worker is about to answer a start request: set when the engine is put together.
    start_under_way: Callable[[Run, int], asyncio.Future[None] | None]

    #: Sees to it that memory has a run as the store has it, where other nodes change runs.
    refresh: Callable[[RunKey], Awaitable[object]] | None = None

    def __init__(self, core: Core) -> None:
        self._core = core
        core.on_call_nexus = self.on_call

    def on_call(self, run: Run, event_id: int) -> None:
        """An operation was scheduled or asked to cancel by that event; 0: something is due; -1: an activity closed."""
        if event_id <= 0:
            if event_id == 0:
                self._due(run)
            else:
                self._core.on_chain_closed(run)
            return
        found = by_transfer(run.state, event_id)
        if found is None or not run.is_open:
            return
        _, operation, cancel = found
        if cancel is None or operation["started_ns"]:
            self._core.add_transfer(run, event_id)
        # Else it is asked to cancel as soon as it has a token by which to name it.

    def _due(self, run: Run) -> None:
        """Time operations out, take attempts back that no handler answered, and end backoffs."""
        core = self._core
        now = core.now()
        for scheduled_id, operation in list(operations(run.state).items()):
            timeout = timed_out(operation, now)
            if timeout is not None:
                self._time_out(run, scheduled_id, operation, timeout)
                continue
            calls: list[tuple[int, Call]] = [(scheduled_id, operation["call"])]
            if operation["cancel"] is not None:
                calls.append((operation["cancel"]["requested_id"], operation["cancel"]))
            for transfer_id, call in calls:
                if call["next_ns"] and call["next_ns"] <= now:
                    call["next_ns"] = 0
                    row = run.transfers.get(transfer_id)
                    if row is not None:
                        core.spawn(core.on_transfer(run, row))
                elif call["due_ns"] and call["due_ns"] <= now:
                    upstream = nexus_failures.handler_failure("UPSTREAM_TIMEOUT", "upstream timeout")
                    attempt_failed(call, encode(upstream), now)
        core.touch(run)

    def _time_out(self, run: Run, scheduled_id: int, operation: Operation, timeout: TimeoutType) -> None:
        failure = operation_failure(operation, scheduled_id, nexus_failures.timeout_failure(timeout))
        attributes = history_v1.NexusOperationTimedOutEventAttributes(scheduled_id, failure, operation["request_id"])
        self._end(run, scheduled_id, operation, _TIMED_OUT, attributes)

    # ---- outcomes of calls

    def succeeded(
        self, run: Run, scheduled_id: int, operation: Operation, result: common_v1.Payload | None, links: Links = ()
    ) -> None:
        """The operation has its result."""
        attributes = history_v1.NexusOperationCompletedEventAttributes(scheduled_id, result, operation["request_id"])
        self._end(run, scheduled_id, operation, _COMPLETED, attributes, links)

    def failed(self, run: Run, scheduled_id: int, operation: Operation, cause: failure_v1.Failure) -> None:
        """The operation failed for good."""
        failure = operation_failure(operation, scheduled_id, cause)
        attributes = history_v1.NexusOperationFailedEventAttributes(scheduled_id, failure, operation["request_id"])
        self._end(run, scheduled_id, operation, _FAILED, attributes)

    def canceled(self, run: Run, scheduled_id: int, operation: Operation, cause: failure_v1.Failure) -> None:
        """The operation ended because it was cancelled."""
        failure = operation_failure(operation, scheduled_id, nexus_failures.as_canceled(cause))
        attributes = history_v1.NexusOperationCanceledEventAttributes(scheduled_id, failure, operation["request_id"])
        self._end(run, scheduled_id, operation, _CANCELED, attributes)

    def _end(
        self, run: Run, scheduled_id: int, operation: Operation, event_type: int, attributes: Any, links: Links = ()
    ) -> None:
        core = self._core
        if transitions.record_nexus(run.state, core.now(), event_type, attributes, list(links)):
            core.finish_transfer(run, scheduled_id)
            if operation["cancel"] is not None:
                core.finish_transfer(run, operation["cancel"]["requested_id"])
            if run.state.extra is not None and "operation" in run.state.extra:
                self._close(run, operation, event_type)
            core.touch(run)

    def _close(self, run: Run, operation: Operation, event_type: int) -> None:
        """The operation was all that its run is for; see ``standalone_operations``."""
        s = run.state
        assert s.extra is not None
        about = s.extra["operation"]
        about["token"] = operation["token"]
        about["attempt"] = operation["call"]["attempt"] + 1
        s.state = RunState.CLOSED
        s.status = _STATUSES[event_type]
        s.close_ns = self._core.now()
        s.close_event_id = s.next_event_id - 1
        s.delete_at_ms = s.close_ns // NS_PER_MS + about["retention_ms"]
        self._core.on_chain_closed(run)

    def started(
        self,
        run: Run,
        scheduled_id: int,
        operation: Operation,
        token: str,
        links: Links = (),
    ) -> None:
        """The handler took the operation up; its end comes as a completion callback."""
        core = self._core
        if operation["started_ns"]:
            return  # its completion came before the answer to the start request
        if len(token.encode()) > MAX_OPERATION_TOKEN:
            text = f"invalid operation token: length exceeds allowed limit ({len(token)}/{MAX_OPERATION_TOKEN})"
            self.failed(run, scheduled_id, operation, _call_error(text))
            return
        attributes = history_v1.NexusOperationStartedEventAttributes(
            scheduled_id, token, operation["request_id"], token
        )
        transitions.record_nexus(run.state, core.now(), _STARTED, attributes, list(links))
        operation["call"]["due_ns"] = operation["call"]["next_ns"] = 0
        core.finish_transfer(run, scheduled_id)
        if operation["cancel"] is not None:
            core.add_transfer(run, operation["cancel"]["requested_id"])
        core.touch(run)

    def answered(
        self, run: Run, scheduled_id: int, operation: Operation, response: nexus_v1.StartOperationResponse
    ) -> None:
        """What a handler said to a start request."""
        if (sync := response.sync_success) is not None:
            if sync.payload is not None and len(sync.payload.data) > limits.MAX_BLOB_SIZE:
                failure = nexus_failures.handler_failure("BAD_REQUEST", "http: response body too large")
                self.failed(run, scheduled_id, operation, failure)
                return
            links = nexus_links.all_from_nexus(sync.links)
            self.succeeded(run, scheduled_id, operation, sync.payload, links)
        elif (later := response.async_success) is not None:
            links = nexus_links.all_from_nexus(later.links)
            self.started(run, scheduled_id, operation, later.operation_token or later.operation_id, links)
        elif (reason := response.failure) is not None:
            if reason.canceled_failure_info is not None:
                self.canceled(run, scheduled_id, operation, reason)
            else:
                self.failed(run, scheduled_id, operation, reason)
        elif (error := response.operation_error) is not None:
            cause = nexus_failures.from_nexus(error.failure)
            if error.operation_state == "canceled":
                self.canceled(run, scheduled_id, operation, cause)
            else:
                self.failed(run, scheduled_id, operation, cause)
        else:
            self.call_failed(run, scheduled_id, nexus_failures.handler_failure("INTERNAL", "empty outcome"))

    def call_failed(self, run: Run, transfer_id: int, failure: failure_v1.Failure) -> None:
        """A handler refused, or could not be reached: asked again where that may help, else that was all."""
        found = by_transfer(run.state, transfer_id)
        if found is None or not run.is_open:
            return
        scheduled_id, operation, cancel = found
        core = self._core
        if is_retryable(failure):
            attempt_failed(operation["call"] if cancel is None else cancel, encode(failure), core.now())
            core.forming(run)
        elif cancel is None:
            self.failed(run, scheduled_id, operation, failure)
        else:
            cancel["failure"] = encode(failure)
            attributes = history_v1.NexusOperationCancelRequestFailedEventAttributes(
                cancel["requested_id"], 0, failure, scheduled_id
            )
            self._cancel_ended(run, cancel, _CANCEL_FAILED, attributes)

    def cancel_succeeded(self, run: Run, scheduled_id: int, cancel: Cancellation) -> None:
        """The handler took the request to cancel; how the operation ends is another matter."""
        attributes = history_v1.NexusOperationCancelRequestCompletedEventAttributes(
            cancel["requested_id"], 0, scheduled_id
        )
        self._cancel_ended(run, cancel, _CANCEL_COMPLETED, attributes)

    def _cancel_ended(self, run: Run, cancel: Cancellation, event_type: int, attributes: Any) -> None:
        core = self._core
        cancel["attempt"] += 1
        cancel["ended_ns"] = core.now()
        cancel["due_ns"] = cancel["next_ns"] = 0
        transitions.record_nexus(run.state, core.now(), event_type, attributes, None, True)
        core.finish_transfer(run, cancel["requested_id"])
        core.touch(run)

    # ---- completion callbacks

    async def complete(
        self,
        token: NexusCompletionToken,
        operation_token: str,
        result: common_v1.Payload | None,
        failure: failure_v1.Failure | None,
        links: Links = (),
    ) -> Run:
        """What an operation came to. Goes to the run that a reset made of the caller where there was one.

        Raises:
            RPCError: NOT_FOUND, the operation is not pending any more.
        """
        run, operation = await self._waiting(token)
        answer = self.start_under_way(run, token.scheduled_event_id)
        if answer is not None and not operation["started_ns"]:
            # What the handler says of the start counts first; it is about to.
            await answer
            run, operation = await self._waiting(token)
        if not operation["started_ns"]:
            self.started(run, token.scheduled_event_id, operation, operation_token, links)
        if failure is None:
            self.succeeded(run, token.scheduled_event_id, operation, result)
        elif failure.canceled_failure_info is not None:
            self.canceled(run, token.scheduled_event_id, operation, failure)
        else:
            self.failed(run, token.scheduled_event_id, operation, failure)
        return run

    async def _waiting(self, token: NexusCompletionToken) -> tuple[Run, Operation]:
        """The pending operation that a token names, and its run."""
        core = self._core
        key = RunKey(token.namespace_id, token.workflow_id, token.run_id)
        if self.refresh is not None:
            await self.refresh(key)
        run = await core.load(key)
        for _ in range(_MAX_RESET_HOPS):
            if run is None or not run.state.reset_run_id:
                break
            run = await core.load(RunKey(token.namespace_id, token.workflow_id, run.state.reset_run_id))
        if run is None or not run.is_open:
            raise not_found(_GONE)
        operation = operations(run.state).get(token.scheduled_event_id)
        if operation is None or operation["request_id"] != token.request_id:
            raise not_found(_GONE)
        return run, operation


def timed_out(operation: Operation, now: int) -> TimeoutType | None:
    """Which of an operation's timeouts is over."""
    scheduled, started = operation["scheduled_ns"], operation["started_ns"]
    if operation["schedule_to_close_ns"] and scheduled + operation["schedule_to_close_ns"] <= now:
        return TimeoutType.TIMEOUT_TYPE_SCHEDULE_TO_CLOSE
    if not started and operation["schedule_to_start_ns"] and scheduled + operation["schedule_to_start_ns"] <= now:
        return TimeoutType.TIMEOUT_TYPE_SCHEDULE_TO_START
    if started and operation["start_to_close_ns"] and started + operation["start_to_close_ns"] <= now:
        return TimeoutType.TIMEOUT_TYPE_START_TO_CLOSE
    return None


def _call_error(text: str) -> failure_v1.Failure:
    return failure_v1.Failure(
        message=text,
        source="Server",
        application_failure_info=failure_v1.ApplicationFailureInfo(type="CallError", non_retryable=True),
    )
