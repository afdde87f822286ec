"""Temporal's ``temporal.api.sdk.v1``: metadata that SDKs leave in histories."""

from __future__ import annotations

from perdure.api._message import Message
from perdure.api.common import v1 as common_v1


class EventGroupMarker(Message):
    """Temporal's ``temporal.api.sdk.v1.EventGroupMarker``."""

    label: EventGroupMarkerLabel | None = None
    inbound_event: EventGroupMarkerInboundEvent | None = None
    inbound_update: EventGroupMarkerInboundUpdate | None = None


class EventGroupMarkerInboundEvent(Message):
    """Temporal's ``temporal.api.sdk.v1.EventGroupMarker.InboundEvent``."""

    inbound_event_id: int = 0


class EventGroupMarkerInboundUpdate(Message):
    """Temporal's ``temporal.api.sdk.v1.EventGroupMarker.InboundUpdate``."""

    inbound_update_id: str = ""


class EventGroupMarkerLabel(Message):
    """Temporal's ``temporal.api.sdk.v1.EventGroupMarker.Label``."""

    id: str = ""
    label: common_v1.Payload | None = None


class UserMetadata(Message):
    """Temporal's ``temporal.api.sdk.v1.UserMetadata``."""

    summary: common_v1.Payload | None = None
    details: common_v1.Payload | None = None


class WorkflowTaskCompletedMetadata(Message):
    """Temporal's ``temporal.api.sdk.v1.WorkflowTaskCompletedMetadata``."""

    core_used_flags: list[int] = []
    lang_used_flags: list[int] = []
    sdk_name: str = ""
    sdk_version: str = ""
