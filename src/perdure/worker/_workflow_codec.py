"""Payload codecs around a run: decode what workflow code will read, encode what it made.

Codecs are asynchronous and run outside workflow code, so they work on a whole task before its activation and on a whole
answer after it. Nothing is changed in place: events are shared, and commands may share payloads with them.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import msgspec

from perdure._native.events import HistoryEvent
from perdure.api.command import v1 as command_v1
from perdure.api.common.v1 import Header, Payload, Payloads, SearchAttributes
from perdure.api.workflowservice import v1 as ws
from perdure.converter import (
    ActivitySerializationContext,
    PayloadCodec,
    SerializationContext,
    WithSerializationContext,
    WorkflowSerializationContext,
)

if TYPE_CHECKING:
    from perdure.worker._workflow_run import WorkflowRun
    from perdure.worker._workflow_runtime import RunOptions

_Change = Callable[[list[Payload]], Awaitable[list[Payload]]]

_ACTIVITY_SCHEDULED = 10
#: Events whose payloads workflow code may read: starts, results, failures, signals, updates.
_READ = frozenset((1, 9, 12, 13, 14, 16, 25, 26, 32, 33, 34, 41, 47))
_MARKER_RECORDED = 25
_ACTIVITY_ENDS = frozenset((12, 13, 14, 16))


class WorkflowCodec:
    """The codec of one run, with the serialization context of whatever it works on."""

    def __init__(self, codec: PayloadCodec, options: RunOptions, workflow_id: str, workflow_type: str) -> None:
        self._codec = codec
        self._options = options
        self._workflow_id = workflow_id
        self._workflow_type = workflow_type
        #: By the id of their scheduled event; kept only when the codec wants to know.
        self._activities: dict[int, ActivitySerializationContext] = {}

    async def decode(
        self, task: ws.PollWorkflowTaskQueueResponse, events: list[HistoryEvent]
    ) -> tuple[ws.PollWorkflowTaskQueueResponse, list[HistoryEvent]]:
        """The task and its events with their payloads decoded."""
        decode = self._with(None).decode
        changes: dict[str, Any] = {}
        if task.query is not None:
            changes["query"] = await self._visit(task.query, decode)
        if task.queries:
            changes["queries"] = await self._visit(task.queries, decode)
        if task.messages:
            changes["messages"] = await self._visit(task.messages, decode)
        if changes:
            task = msgspec.structs.replace(task, **changes)
        return task, [await self._decode_event(event) for event in events]

    async def _decode_event(self, event: HistoryEvent) -> HistoryEvent:
        if event.event_type == _ACTIVITY_SCHEDULED:
            self._note_activity(event)
        if event.event_type not in _READ:
            return event
        context = (
            self._activities.get(event.attributes.scheduled_event_id) if event.event_type in _ACTIVITY_ENDS else None
        )
        before = event.attributes
        decode = self._with(context).decode
        is_marker = event.event_type == _MARKER_RECORDED
        after = await (self._visit_marker(before, decode) if is_marker else self._visit(before, decode))
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

    async def encode(self, answer: Any) -> Any:
        """The answer with its payloads encoded."""
        encode = self._with(None).encode
        if not isinstance(answer, ws.RespondWorkflowTaskCompletedRequest):
            return await self._visit(answer, encode)
        commands = [await self._encode_command(command) for command in answer.commands]
        return msgspec.structs.replace(
            answer,
            commands=commands,
            messages=await self._visit(answer.messages, encode),
            query_results=await self._visit(answer.query_results, encode),
        )

    async def _encode_command(self, command: command_v1.Command) -> command_v1.Command:
        attributes = command.attributes
        context: SerializationContext | None = None
        if isinstance(attributes, command_v1.RecordMarkerCommandAttributes):
            return msgspec.structs.replace(
                command, attributes=await self._visit_marker(attributes, self._with(None).encode)
            )
        if isinstance(attributes, command_v1.ScheduleActivityTaskCommandAttributes):
            context = self._activity_context(attributes)
        elif isinstance(attributes, command_v1.StartChildWorkflowExecutionCommandAttributes):
            context = WorkflowSerializationContext(self._options.namespace, attributes.workflow_id)
        elif isinstance(attributes, command_v1.SignalExternalWorkflowExecutionCommandAttributes):
            assert attributes.execution is not None
            context = WorkflowSerializationContext(self._options.namespace, attributes.execution.workflow_id)
        encoded: command_v1.Command = await self._visit(command, self._with(context).encode)
        return encoded

    async def _visit_marker(self, attributes: Any, change: _Change) -> Any:
        """What a worker writes for itself stays readable; a local activity's outcome is the user's."""
        if attributes.marker_name != "core_local_activity":
            return attributes
        details = dict(attributes.details)
        if "result" in details:
            details["result"] = await self._visit(details["result"], change)
        failure = attributes.failure
        if failure is not None:
            failure = await self._visit(failure, change)
        return msgspec.structs.replace(attributes, details=details, failure=failure)

    # --- contexts

    def _with(self, context: SerializationContext | None) -> PayloadCodec:
        codec: Any = self._codec
        if isinstance(codec, WithSerializationContext):
            codec = codec.with_context(
                context or WorkflowSerializationContext(self._options.namespace, self._workflow_id)
            )
        return codec  # type: ignore[no-any-return]

    def _activity_context(self, attributes: Any) -> ActivitySerializationContext:
        return ActivitySerializationContext(
            namespace=self._options.namespace,
            activity_id=attributes.activity_id,
            activity_type=attributes.activity_type.name,
            activity_task_queue=attributes.task_queue.name,
            workflow_id=self._workflow_id,
            workflow_type=self._workflow_type,
            is_local=False,
        )

    def _note_activity(self, event: HistoryEvent) -> None:
        if isinstance(self._codec, WithSerializationContext):
            self._activities[event.event_id] = self._activity_context(event.attributes)

    # --- structs

    async def _visit(self, value: Any, change: _Change) -> Any:
        """A copy of ``value`` with all payloads changed; ``value`` itself when it has none."""
        if isinstance(value, Payloads):
            return Payloads(await change(value.payloads)) if value.payloads else value
        if isinstance(value, Payload):
            return (await change([value]))[0]
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


async def activate_through_codec(
    run: WorkflowRun, task: ws.PollWorkflowTaskQueueResponse, events: list[HistoryEvent]
) -> Any:
    """:meth:`WorkflowRun.activate` between decoding and encoding. What a codec raises fails the task."""
    codec = run.codec
    if codec is None:
        return run.activate(task, events)
    try:
        task, events = await codec.decode(task, events)
        answer = run.activate(task, events)
        return None if answer is None else await codec.encode(answer)
    except Exception as error:
        return run.failed_task(task, error)
