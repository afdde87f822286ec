"""Temporal's ``temporal.api.callback.v1``."""

from __future__ import annotations

from perdure.api._message import Message
from perdure.api.common import v1 as common_v1
from perdure.api.failure import v1 as failure_v1


class CallbackInfo(Message):
    """Temporal's ``temporal.api.callback.v1.CallbackInfo``."""

    callback: common_v1.Callback | None = None
    registration_time: int | None = None
    state: int = 0
    attempt: int = 0
    last_attempt_complete_time: int | None = None
    last_attempt_failure: failure_v1.Failure | None = None
    next_attempt_schedule_time: int | None = None
    blocked_reason: str = ""
    request_id: str = ""
