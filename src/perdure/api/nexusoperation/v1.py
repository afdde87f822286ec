"""Temporal's ``temporal.api.nexusoperation.v1``: callbacks of standalone Nexus operations."""

from __future__ import annotations

from perdure.api._message import Message
from perdure.api.callback import v1 as callback_v1


class CallbackInfo(Message):
    """Temporal's ``temporal.api.nexusoperation.v1.CallbackInfo``."""

    trigger: CallbackInfoTrigger | None = None
    info: callback_v1.CallbackInfo | None = None


class CallbackInfoOperationCompleted(Message):
    """Temporal's ``temporal.api.nexusoperation.v1.CallbackInfo.OperationCompleted``."""


class CallbackInfoTrigger(Message):
    """Temporal's ``temporal.api.nexusoperation.v1.CallbackInfo.Trigger``."""

    operation_completed: CallbackInfoOperationCompleted | None = None


class OnConflictOptions(Message):
    """Temporal's ``temporal.api.nexusoperation.v1.OnConflictOptions``."""

    attach_request_id: bool = False
    attach_completion_callbacks: bool = False
    attach_links: bool = False
