"""Temporal's ``temporal.api.activity.v1``: activity options."""

from __future__ import annotations

from perdure.api._message import Message
from perdure.api.common import v1 as common_v1
from perdure.api.taskqueue import v1 as taskqueue_v1


class ActivityOptions(Message):
    """Temporal's ``temporal.api.activity.v1.ActivityOptions``."""

    task_queue: taskqueue_v1.TaskQueue | None = None
    schedule_to_close_timeout: int | None = None
    schedule_to_start_timeout: int | None = None
    start_to_close_timeout: int | None = None
    heartbeat_timeout: int | None = None
    retry_policy: common_v1.RetryPolicy | None = None
    priority: common_v1.Priority | None = None
    start_delay: int | None = None
