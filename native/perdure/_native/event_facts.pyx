"""What the matcher reads of single events: their names, what identifies them, what markers carry; and its errors.

Attributes are decoded only when a decision needs them.
"""

import json

from perdure._native.event_types cimport (
    E_ACTIVITY_SCHEDULED,
    E_CHILD_INITIATED,
    E_MARKER,
    E_NEXUS_SCHEDULED,
    E_SIGNAL_EXTERNAL_INITIATED,
    E_TIMER_CANCELED,
    E_TIMER_STARTED,
    E_UPDATE_ACCEPTED,
)
from perdure._native.events cimport HistoryEvent

cdef str _PATCH_MARKER = "core_patch"
cdef str _LOCAL_ACTIVITY_MARKER = "core_local_activity"

cdef tuple _EVENT_NAMES = (
    "Unspecified", "WorkflowExecutionStarted", "WorkflowExecutionCompleted", "WorkflowExecutionFailed",
    "WorkflowExecutionTimedOut", "WorkflowTaskScheduled", "WorkflowTaskStarted", "WorkflowTaskCompleted",
    "WorkflowTaskTimedOut", "WorkflowTaskFailed", "ActivityTaskScheduled", "ActivityTaskStarted",
    "ActivityTaskCompleted", "ActivityTaskFailed", "ActivityTaskTimedOut", "ActivityTaskCancelRequested",
    "ActivityTaskCanceled", "TimerStarted", "TimerFired", "TimerCanceled", "WorkflowExecutionCancelRequested",
    "WorkflowExecutionCanceled", "RequestCancelExternalWorkflowExecutionInitiated",
    "RequestCancelExternalWorkflowExecutionFailed", "ExternalWorkflowExecutionCancelRequested", "MarkerRecorded",
    "WorkflowExecutionSignaled", "WorkflowExecutionTerminated", "WorkflowExecutionContinuedAsNew",
    "StartChildWorkflowExecutionInitiated", "StartChildWorkflowExecutionFailed", "ChildWorkflowExecutionStarted",
    "ChildWorkflowExecutionCompleted", "ChildWorkflowExecutionFailed", "ChildWorkflowExecutionCanceled",
    "ChildWorkflowExecutionTimedOut", "ChildWorkflowExecutionTerminated", "SignalExternalWorkflowExecutionInitiated",
    "SignalExternalWorkflowExecutionFailed", "ExternalWorkflowExecutionSignaled", "UpsertWorkflowSearchAttributes",
    "WorkflowExecutionUpdateAccepted", "WorkflowExecutionUpdateRejected", "WorkflowExecutionUpdateCompleted",
    "WorkflowPropertiesModifiedExternally", "ActivityPropertiesModifiedExternally", "WorkflowPropertiesModified",
    "WorkflowExecutionUpdateAdmitted", "NexusOperationScheduled", "NexusOperationStarted", "NexusOperationCompleted",
    "NexusOperationFailed", "NexusOperationCanceled", "NexusOperationTimedOut", "NexusOperationCancelRequested",
    "WorkflowExecutionOptionsUpdated", "NexusOperationCancelRequestCompleted", "NexusOperationCancelRequestFailed",
)

cdef list _peekers = [None] * 64


def configure(peekers):
    """Set decoders that read only what matching needs of an event type's attributes: ``{event type: bytes -> struct}``."""
    for event_type, decode in peekers.items():
        _peekers[event_type] = decode


cdef object peek(HistoryEvent event):
    """The attributes, or their beginning when they are still bytes; for what is looked at once."""
    if event._attributes is None and event._raw is not None and 0 <= event.event_type < 64:
        decode = _peekers[event.event_type]
        if decode is not None:
            return decode(event._raw)
    return event.attrs()


class HistoryMismatch(Exception):
    """Workflow code asked for something else than its history records."""

    def __init__(self, message, event_id=0, event_type=0, command_type=0, command=None):
        super().__init__(message)
        self.message = message
        self.event_id = event_id
        self.event_type = event_type
        self.command_type = command_type
        self.command = command


class InvalidHistory(Exception):
    """The history cannot be right, whatever the code: a gap, events after the end, an unknown event."""


class HistoryGap(InvalidHistory):
    """Events are missing between what was applied and what came: fetch the history again from its first event."""


cdef str event_name(int event_type):
    if 0 <= event_type < len(_EVENT_NAMES):
        return _EVENT_NAMES[event_type]
    return f"event type {event_type}"


def describe_event(HistoryEvent event not None):
    """The event with what identifies it, for messages: ``ActivityTaskScheduled (activity 3, type charge)``."""
    cdef str name = event_name(event.event_type)
    attrs = event.attrs()
    if event.event_type == E_ACTIVITY_SCHEDULED:
        return f"{name} (activity id {attrs.activity_id!r}, type {name_of(attrs.activity_type)!r})"
    if event.event_type == E_CHILD_INITIATED:
        return f"{name} (workflow id {attrs.workflow_id!r}, type {name_of(attrs.workflow_type)!r})"
    if event.event_type == E_TIMER_STARTED or event.event_type == E_TIMER_CANCELED:
        return f"{name} (timer id {attrs.timer_id!r})"
    if event.event_type == E_MARKER:
        found = patch_details(event)
        return f"{name} (patch {found[0]!r})" if found is not None else f"{name} ({attrs.marker_name!r})"
    if event.event_type == E_SIGNAL_EXTERNAL_INITIATED:
        return f"{name} (signal {attrs.signal_name!r})"
    if event.event_type == E_NEXUS_SCHEDULED:
        return f"{name} (endpoint {attrs.endpoint!r}, operation {attrs.service + '/' + attrs.operation!r})"
    if event.event_type == E_UPDATE_ACCEPTED:
        return f"{name} (update {attrs.protocol_instance_id!r})"
    return name


cdef str name_of(object type_message):
    return "" if type_message is None else type_message.name


cdef tuple patch_details(HistoryEvent event):
    """``(patch id, deprecated)`` of a patch marker, None for any other marker."""
    attrs = event.attrs()
    if attrs.marker_name != _PATCH_MARKER:
        return None
    details = attrs.details
    found = details.get("patch-data")
    if found is not None:
        try:
            data = json.loads(found.payloads[0].data)
            return data["id"], bool(data.get("deprecated", False))
        except (ValueError, LookupError, TypeError, AttributeError):
            raise InvalidHistory(f"event {event.event_id} is a patch marker whose data cannot be read") from None
    patch_id, deprecated = details.get("patch_id"), details.get("deprecated")
    if patch_id is None or deprecated is None or not patch_id.payloads or not deprecated.payloads:
        return None
    flag = deprecated.payloads[0].data
    return patch_id.payloads[0].data.decode(), bool(flag) and flag[0] != 0


cdef object local_details(HistoryEvent event):
    """The data of a local activity's marker, None for any other marker."""
    attrs = event.attrs()
    if attrs.marker_name != _LOCAL_ACTIVITY_MARKER:
        return None
    try:
        data = json.loads(attrs.details["data"].payloads[0].data)
        data["seq"], data["activity_id"], data["activity_type"]
        return data
    except (ValueError, LookupError, TypeError, AttributeError):
        raise InvalidHistory(f"event {event.event_id} is a local activity's marker whose data cannot be read") from None
