"""Payload codecs and external storage around a run: decode what workflow code will read, encode what it made.

Both are asynchronous and run outside workflow code, so they work on a whole task before its activation and on a whole
answer after it. Nothing is changed in place: events are shared, and commands may share payloads with them.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from perdure._native.events import HistoryEvent
from perdure.api import system
from perdure.api.command import v1 as command_v1
from perdure.api.common.v1 import Header, Payload, Payloads, SearchAttributes
from perdure.api.workflowservice import v1 as ws
from perdure.converter import (
    ActivitySerializationContext,
    DataConverter,
    NexusSerializationContext,
    SerializationContext,
    StorageDriverStoreContext,
    StorageDriverWorkflowInfo,
    WithSerializationContext,
    WorkflowSerializationContext,
)
from perdure.converter._external_storage import gather_or_cancel
from perdure.exceptions import ApplicationError

if TYPE_CHECKING:
    from perdure.worker._workflow_run import WorkflowRun

_T = TypeVar("_T")
_Change = Callable[[list[Payload]], Awaitable[list[Payload]]]

_ACTIVITY_SCHEDULED = 10
_MARKER_RECORDED = 25
#: Events whose payloads workflow code may read: starts, results, failures, signals, updates.
_READ = frozenset((1, 9, 12, 13, 14, 16, 25, 26, 32, 33, 34, 41, 47, 50, 51, 52, 53, 57))
_NEXUS_SCHEDULED = 48
_NEXUS_ENDS = frozenset((50, 51, 52, 53, 57))
_ACTIVITY_ENDS = frozenset((12, 13, 14, 16))
_CHILD_ENDS = frozenset((32, 33, 34))


class WorkflowCodec:
    """The codec and the external storage of one run, each told the context of whatever it works on."""

    def __init__(self, run: WorkflowRun) -> None:
        self._run = run
        self._options = run.options
        self._converter = run.options.data_converter
        self._own_context = WorkflowSerializationContext(run.options.namespace, run.workflow_id)
        self._takes_context = isinstance(self._converter.payload_codec, WithSerializationContext) or isinstance(
            self._converter.external_storage, WithSerializationContext
        )
        #: By the id of their scheduled event; kept only when somebody wants to know.
        self._activities: dict[int, SerializationContext] = {}
        self._slots: asyncio.Semaphore | None = None
        if self._converter.external_storage is not None:
            self._slots = asyncio.Semaphore(self._options.storage_concurrency)

    # --- a task in, its answer out

    async def decode(
        self, task: ws.PollWorkflowTaskQueueResponse, events: list[HistoryEvent]
    ) -> tuple[ws.PollWorkflowTaskQueueResponse, list[HistoryEvent]]:
        """The task and its events with their payloads decoded."""
        decode = self._decoding(self._own_context)
        changes: dict[str, Any] = {}
        if task.query is not None:
            changes["query"] = await self._visit(task.query, decode)
        if task.queries:
            changes["queries"] = await self._visit(task.queries, decode)
        if task.messages:
            changes["messages"] = await self._visit(task.messages, decode)
        if changes:
            task = msgspec.structs.replace(task, **changes)
        if self._takes_context:
            for event in events:
                if event.event_type == _ACTIVITY_SCHEDULED:
                    self._activities[event.event_id] = self._activity_context(event.attributes)
                elif event.event_type == _NEXUS_SCHEDULED:
                    self._activities[event.event_id] = _nexus_context(event.attributes)
        return task, await self._each(self._decode_event, events)

    async def encode(self, answer: Any) -> Any:
        """The answer with its payloads encoded."""
        encode = self._encoding(self._own_context)
        if not isinstance(answer, ws.RespondWorkflowTaskCompletedRequest):
            return await self._visit(answer, encode)
        return msgspec.structs.replace(
            answer,
            commands=await self._each(self._encode_command, answer.commands),
            messages=await self._visit(answer.messages, encode),
            query_results=await self._visit(answer.query_results, encode),
        )

    async def _each(self, change: Callable[[_T], Coroutine[Any, Any, _T]], items: Sequence[_T]) -> list[_T]:
        """The items changed; with external storage, at the same time."""
        if self._slots is None:
            return [await change(item) for item in items]
        return await gather_or_cancel([change(item) for item in items])

    async def _decode_event(self, event: HistoryEvent) -> HistoryEvent:
        if event.event_type not in _READ:
            return event
        before = event.attributes
        if event.event_type == _MARKER_RECORDED:
            after = await self._visit_marker(before, self._decoding)
        else:
            after = await self._visit(before, self._decoding(self._event_context(event)))
        if after is before:
            return event
        return HistoryEvent(
            event.event_id,
            event.event_type,
            event.event_time,
            after,
            version=event.version,
            task_id=event.task_id,
            worker_may_ignore=event.worker_may_ignore,
        )

    def _event_context(self, event: HistoryEvent) -> SerializationContext:
        if self._takes_context:
            attributes = event.attributes
            if event.event_type in _ACTIVITY_ENDS or event.event_type in _NEXUS_ENDS:
                return self._activities.get(attributes.scheduled_event_id, self._own_context)
            if event.event_type in _CHILD_ENDS and attributes.workflow_execution is not None:
                return WorkflowSerializationContext(self._options.namespace, attributes.workflow_execution.workflow_id)
        return self._own_context

    async def _encode_command(self, command: command_v1.Command) -> command_v1.Command:
        attributes = command.attributes
        context: SerializationContext = self._own_context
        target: StorageDriverWorkflowInfo | None = None
        namespace = self._options.namespace
        if isinstance(attributes, command_v1.RecordMarkerCommandAttributes):
            return msgspec.structs.replace(command, attributes=await self._visit_marker(attributes, self._encoding))
        if isinstance(attributes, command_v1.ScheduleActivityTaskCommandAttributes):
            context = self._activity_context(attributes)
        elif isinstance(attributes, command_v1.StartChildWorkflowExecutionCommandAttributes):
            child_type = attributes.workflow_type.name if attributes.workflow_type is not None else None
            context = WorkflowSerializationContext(namespace, attributes.workflow_id)
            target = StorageDriverWorkflowInfo(namespace=namespace, id=attributes.workflow_id, type=child_type)
        elif isinstance(attributes, command_v1.SignalExternalWorkflowExecutionCommandAttributes):
            assert attributes.execution is not None
            context = WorkflowSerializationContext(namespace, attributes.execution.workflow_id)
            target = StorageDriverWorkflowInfo(namespace=namespace, id=attributes.execution.workflow_id)
        elif isinstance(attributes, command_v1.ScheduleNexusOperationCommandAttributes):
            if attributes.input is not None and system.is_system_payload(attributes.input):
                return await self._encode_system_operation(command, attributes)
            context = _nexus_context(attributes)
        elif isinstance(attributes, command_v1.CompleteWorkflowExecutionCommandAttributes):
            target = self._parent()
        encoded: command_v1.Command = await self._visit(command, self._encoding(context, target))
        return encoded

    async def _encode_system_operation(
        self, command: command_v1.Command, attributes: command_v1.ScheduleNexusOperationCommandAttributes
    ) -> command_v1.Command:
        """The payloads inside the request; the request itself is the service's to read."""
        request = system.from_payload(attributes.input, ws.SignalWithStartWorkflowExecutionRequest)
        name = request.workflow_type.name if request.workflow_type is not None else None
        context = WorkflowSerializationContext(request.namespace, request.workflow_id)
        target = StorageDriverWorkflowInfo(namespace=request.namespace, id=request.workflow_id, type=name)
        encoded = await self._visit(request, self._encoding(context, target))
        changed = msgspec.structs.replace(attributes, input=system.to_payload(encoded))
        rest = await self._visit(msgspec.structs.replace(command, attributes=None), self._encoding(self._own_context))
        encoded_command: command_v1.Command = msgspec.structs.replace(rest, attributes=changed)
        return encoded_command

    async def _visit_marker(self, attributes: Any, change_in: Callable[[SerializationContext], _Change]) -> Any:
        """What a worker writes for itself stays readable; a local activity's outcome is the user's."""
        if attributes.marker_name != "core_local_activity":
            return attributes
        change = change_in(self._local_activity_context(attributes) if self._takes_context else self._own_context)
        details = dict(attributes.details)
        if "result" in details:
            details["result"] = await self._visit(details["result"], change)
        failure = attributes.failure
        if failure is not None:
            failure = await self._visit(failure, change)
        return msgspec.structs.replace(attributes, details=details, failure=failure)

    # --- contexts

    def _decoding(self, context: SerializationContext) -> _Change:
        return self._limited(self._in(context)._decode_payloads)

    def _encoding(self, context: SerializationContext, target: StorageDriverWorkflowInfo | None = None) -> _Change:
        converter = self._in(context)
        if converter.external_storage is not None:
            run = self._run
            target = target or StorageDriverWorkflowInfo(
                namespace=self._options.namespace, id=run.workflow_id, run_id=run.run_id, type=run.workflow_type
            )
            converter = converter._with_store_context(StorageDriverStoreContext(target))
        return self._limited(converter._encode_payloads)

    def _in(self, context: SerializationContext) -> DataConverter:
        return self._converter.with_context(context) if self._takes_context else self._converter

    def _limited(self, change: _Change) -> _Change:
        slots = self._slots
        if slots is None:
            return change

        async def limited(payloads: list[Payload]) -> list[Payload]:
            async with slots:
                return await change(payloads)

        return limited

    def _parent(self) -> StorageDriverWorkflowInfo | None:
        """The workflow that reads this run's result; none for the later runs of a chain."""
        start = self._run._started
        if start is None or start.parent_workflow_execution is None or start.continued_execution_run_id:
            return None
        parent = start.parent_workflow_execution
        return StorageDriverWorkflowInfo(
            namespace=start.parent_workflow_namespace or self._options.namespace,
            id=parent.workflow_id,
            run_id=parent.run_id or None,
        )

    def _activity_context(self, attributes: Any) -> ActivitySerializationContext:
        return self._context_of(
            attributes.activity_id, attributes.activity_type.name, attributes.task_queue.name, is_local=False
        )

    def _local_activity_context(self, marker: Any) -> SerializationContext:
        data = json.loads(marker.details["data"].payloads[0].data)
        return self._context_of(
            data.get("activity_id", ""), data.get("activity_type", ""), self._options.task_queue, is_local=True
        )

    def _context_of(
        self, activity_id: str, activity_type: str, task_queue: str, *, is_local: bool
    ) -> ActivitySerializationContext:
        return ActivitySerializationContext(
            namespace=self._options.namespace,
            activity_id=activity_id,
            activity_type=activity_type,
            activity_task_queue=task_queue,
            workflow_id=self._run.workflow_id,
            workflow_type=self._run.workflow_type,
            is_local=is_local,
        )

    # --- structs

    async def _visit(self, value: Any, change: _Change) -> Any:
        """A copy of ``value`` with all payloads changed; ``value`` itself when it has none."""
        if isinstance(value, Payloads):
            return Payloads(await change(value.payloads)) if value.payloads else value
        if isinstance(value, Payload):
            return value if system.is_system_payload(value) else (await change([value]))[0]
        if isinstance(value, SearchAttributes) or (isinstance(value, Header) and not self._options.encode_headers):
            return value
        if isinstance(value, dict):
            changed = {key: await self._visit(item, change) for key, item in value.items()}
            return changed if any(changed[key] is not value[key] for key in value) else value
        if isinstance(value, list):
            items = [await self._visit(item, change) for item in value]
            return items if any(new is not old for new, old in zip(items, value, strict=True)) else value
        if isinstance(value, msgspec.Struct):
            changes = {}
            for name in value.__struct_fields__:
                before = getattr(value, name)
                if isinstance(before, (msgspec.Struct, dict, list)):
                    after = await self._visit(before, change)
                    if after is not before:
                        changes[name] = after
            return msgspec.structs.replace(value, **changes) if changes else value
        return value


def _nexus_context(attributes: Any) -> NexusSerializationContext:
    return NexusSerializationContext(
        endpoint=attributes.endpoint, service=attributes.service, operation=attributes.operation
    )


async def activate_through_codec(
    run: WorkflowRun, task: ws.PollWorkflowTaskQueueResponse, events: list[HistoryEvent]
) -> Any:
    """:meth:`WorkflowRun.activate` between decoding and encoding.

    What a codec or a storage driver raises fails the task; a non-retryable ApplicationError while decoding fails the
    workflow, which could not go on anyway.
    """
    codec = run.codec
    if codec is None:
        return run.activate(task, events)
    try:
        task, events = await codec.decode(task, events)
    except Exception as error:
        return run.failed_task(task, error, isinstance(error, ApplicationError) and error.non_retryable)
    try:
        answer = run.activate(task, events)
        return None if answer is None else await codec.encode(answer)
    except Exception as error:
        return run.failed_task(task, error)
