"""What reaches a run from outside while it runs: signals, updates and queries, and their handlers."""

from __future__ import annotations

import logging
from collections.abc import Coroutine, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from perdure._native import guard
from perdure._native.matcher import WorkflowCommand
from perdure.api.common import v1 as common_v1
from perdure.api.enums.v1 import QueryResultType
from perdure.api.failure.v1 import ApplicationFailureInfo, Failure
from perdure.api.query.v1 import WorkflowQueryResult
from perdure.api.workflowservice import v1 as ws
from perdure.worker._interceptor import (
    HandleQueryInput,
    HandleSignalInput,
    HandleUpdateInput,
)
from perdure.worker._workflow_nexus import WorkflowNexus
from perdure.worker._workflow_queries import BUILT_IN_QUERIES
from perdure.worker._workflow_updates import UpdateRun

if TYPE_CHECKING:
    from perdure.api.history import v1 as history_v1
    from perdure.api.protocol.v1 import Message
    from perdure.api.query.v1 import WorkflowQuery
    from perdure.workflow._handlers import _HandlerDefinition, _SignalDefinition, _UpdateDefinition

logger = logging.getLogger("perdure.worker")

_ANSWERED = int(QueryResultType.QUERY_RESULT_TYPE_ANSWERED)
_FAILED = int(QueryResultType.QUERY_RESULT_TYPE_FAILED)


class HandlerRun:
    """A signal or update handler that is running."""

    __slots__ = ("id", "name", "unfinished_policy")

    def __init__(self, name: str, defn: _HandlerDefinition, id: str | None = None) -> None:
        self.name = name
        self.unfinished_policy = defn.unfinished_policy
        self.id = id


class WorkflowMessages(WorkflowNexus):
    """The part of :class:`~perdure.worker._workflow_run.WorkflowRun` that calls handlers."""

    def _top_level_error(self, error: BaseException) -> None:
        """What leaves a signal handler ends the workflow, or fails the task."""
        raise NotImplementedError

    async def _handler_task(self, coroutine: Coroutine[Any, Any, Any]) -> None:
        try:
            await coroutine
        except BaseException as error:
            self._top_level_error(error)

    # --- signals

    def all_handlers_finished(self) -> bool:
        return not self._signal_handlers and not self._update_handlers

    def signal_handler_set(self, name: str | None, defn: _SignalDefinition) -> None:
        buffered = self._buffered_signals
        if buffered is None:
            return
        if name is not None:
            waiting = buffered.pop(name, [])
        else:
            waiting = [signal for signals in buffered.values() for signal in signals]
            buffered.clear()
        for attributes in waiting:
            self._start_signal_handler(defn, attributes)

    def _handler_args(
        self, defn: _HandlerDefinition, name: str, payloads: Sequence[common_v1.Payload] | None
    ) -> list[Any]:
        if defn.name is not None:
            # Go's clients send a null where there is no argument.
            if defn.arg_types == [] and payloads and len(payloads) == 1 and _is_null(payloads[0]):
                return []
            return self._values(payloads, defn.arg_types)
        if defn.dynamic_vararg:
            return [name, *self._values(payloads, None)]
        return [name, self._raw_values(payloads)]

    def _start_signal_handler(
        self, defn: _SignalDefinition, attributes: history_v1.WorkflowExecutionSignaledEventAttributes
    ) -> None:
        name = attributes.signal_name
        try:
            args = self._handler_args(defn, name, None if attributes.input is None else attributes.input.payloads)
        except Exception:
            with guard.passthrough():
                logger.exception(
                    "Failed deserializing signal input for %s on workflow %s with ID %s and run ID %s, dropping the "
                    "signal",
                    name,
                    self.workflow_type,
                    self.workflow_id,
                    self.run_id,
                )
            return
        self._handled_signals += 1
        number = self._handled_signals
        if self._signal_handlers is None:
            self._signal_handlers = {}
        running = self._signal_handlers
        running[number] = HandlerRun(name, defn)
        if self._inbound is None:
            coroutine = self._call_handler(defn, args)
        else:
            headers = {} if attributes.header is None else attributes.header.fields
            coroutine = self._inbound.handle_signal(HandleSignalInput(signal=name, args=args, headers=headers))
        task = self.loop.create_task(self._handler_task(coroutine), name=f"signal: {name}")
        task.add_done_callback(lambda _task: running.pop(number, None))

    async def _call_handler(self, defn: _HandlerDefinition, args: Sequence[Any]) -> Any:
        handler = defn.bind_fn(self._object)
        if defn.is_async:
            return await handler(*args)
        return handler(*args)

    # --- updates

    def _apply_update(self, command: WorkflowCommand, request: Any) -> None:
        update = UpdateRun(self, command, request)
        self.loop.create_task(update.execute(not self.is_replaying), name=f"update: {request.input.name}")

    def update_started(self, update_id: str, name: str, defn: _UpdateDefinition) -> None:
        """Count a running update handler."""
        if self._update_handlers is None:
            self._update_handlers = {}
        self._update_handlers[update_id] = HandlerRun(name, defn, update_id)

    def update_finished(self, update_id: str) -> None:
        """Stop counting it."""
        if self._update_handlers is not None:
            self._update_handlers.pop(update_id, None)

    @contextmanager
    def read_only(self) -> Iterator[None]:
        """Refuse changes of the workflow meanwhile."""
        self.is_read_only = self._in_query_or_validator = True
        try:
            yield
        finally:
            self.is_read_only = self._in_query_or_validator = False

    def validate_update(self, defn: _UpdateDefinition, input: HandleUpdateInput) -> None:
        """Call the validator; what it raises refuses the update."""
        if self._inbound is not None:
            self._inbound.handle_update_validator(input)
            return
        validator = defn.bind_validator(self._object)
        if validator is not None:
            validator(*input.args)

    async def handle_update(self, defn: _UpdateDefinition, input: HandleUpdateInput) -> Any:
        """Call the handler."""
        if self._inbound is not None:
            return await self._inbound.handle_update_handler(input)
        return await self._call_handler(defn, input.args)

    def send_message(self, message: Message) -> None:
        """Add a protocol message to the answer."""
        if self._messages is None:
            self._messages = []
        self._messages.append(message)

    def update_input(self, defn: _HandlerDefinition, request: Any) -> HandleUpdateInput:
        """An update's arguments, converted anew."""
        input = request.input
        return HandleUpdateInput(
            id=request.meta.update_id,
            update=input.name,
            args=self._handler_args(defn, input.name, None if input.args is None else input.args.payloads),
            headers={} if input.header is None else input.header.fields,
        )

    # --- queries

    def _answer_queries(self, task: ws.PollWorkflowTaskQueueResponse, results: dict[str, WorkflowQueryResult]) -> None:
        if task.query is not None:
            self._answer_query("legacy_query", task.query, results)
            return
        for query_id, query in task.queries.items():
            self._answer_query(query_id, query, results)

    def _answer_query(self, query_id: str, query: WorkflowQuery, results: dict[str, WorkflowQueryResult]) -> None:
        self.time_ns = self.loop.time_ns = self.matcher.time_ns
        was_replaying = self.is_replaying
        self.is_replaying = True
        try:
            if not self._is_made:
                self._make()
            self.loop.create_task(self._query(query_id, query, results), name=f"query: {query.query_type}")
            self.loop.run_until_idle()
        finally:
            self.is_read_only = False
            self._in_query_or_validator = False
            self.is_replaying = was_replaying
        if query_id not in results:
            error = RuntimeError(f"Query {query.query_type} did not finish: a query handler must not wait for anything")
            results[query_id] = self._failed_query(error)

    async def _query(self, query_id: str, query: WorkflowQuery, results: dict[str, WorkflowQueryResult]) -> None:
        self.is_read_only = True
        self._in_query_or_validator = True
        try:
            answer = await self._run_query(query_id, query)
            payloads = self.converter.to_payloads([answer])
            results[query_id] = WorkflowQueryResult(_ANSWERED, common_v1.Payloads(payloads))
        except Exception as error:
            results[query_id] = self._failed_query(error)

    async def _run_query(self, query_id: str, query: WorkflowQuery) -> Any:
        name = query.query_type
        handlers = self.queries()
        defn = handlers.get(name)
        if defn is None and name in BUILT_IN_QUERIES:
            return BUILT_IN_QUERIES[name](self)
        defn = defn or handlers.get(None)
        if defn is None:
            known = " ".join(sorted([*BUILT_IN_QUERIES, *(known for known in handlers if known)]))
            raise RuntimeError(f"Query handler for '{name}' expected but not found, known queries: [{known}]")
        args = self._handler_args(defn, name, None if query.query_args is None else query.query_args.payloads)
        if self._inbound is None:
            return await self._call_handler(defn, args)
        headers = {} if query.header is None else query.header.fields
        return await self._inbound.handle_query(HandleQueryInput(id=query_id, query=name, args=args, headers=headers))

    def _failed_query(self, error: BaseException) -> WorkflowQueryResult:
        return WorkflowQueryResult(_FAILED, error_message=str(error), failure=self._to_failure(error))

    def _to_failure(self, error: BaseException) -> Failure:
        failure = Failure()
        try:
            self.failures.to_failure(error, self.converter, failure)
        except Exception as inner:
            return Failure(
                message=f"Failed converting activation exception: {inner}",
                application_failure_info=ApplicationFailureInfo(),
            )
        return failure


def _is_null(payload: common_v1.Payload) -> bool:
    """Whether a payload is what every SDK makes of no value."""
    return payload.metadata.get("encoding") == b"binary/null"
