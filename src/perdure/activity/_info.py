"""What an activity can know about itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from perdure.common import Priority, RetryPolicy


@dataclass(frozen=True)
class Info:
    """The running attempt: its ids, its times and timeouts, and the last heartbeat's details.

    New fields may appear in any release: make one in tests with ``ActivityEnvironment.default_info()`` and
    ``dataclasses.replace``.
    """

    activity_id: str
    activity_type: str
    #: From 1; one more for each retry.
    attempt: int
    current_attempt_scheduled_time: datetime
    #: Details of the last heartbeat of an earlier attempt; empty if there was none.
    heartbeat_details: Sequence[Any]
    heartbeat_timeout: timedelta | None
    is_local: bool
    namespace: str
    schedule_to_close_timeout: timedelta | None
    scheduled_time: datetime
    start_to_close_timeout: timedelta | None
    started_time: datetime
    task_queue: str
    #: Completes this attempt from outside (``client.get_async_activity_handle``).
    task_token: bytes
    workflow_id: str | None
    #: Deprecated: use ``namespace``.
    workflow_namespace: str | None
    workflow_run_id: str | None
    workflow_type: str | None
    priority: Priority
    retry_policy: RetryPolicy | None
    #: Only for activities that no workflow started.
    activity_run_id: str | None = None

    @property
    def in_workflow(self) -> bool:
        """Whether a workflow started this activity."""
        return self.workflow_id is not None

    def _logger_details(self) -> Mapping[str, Any]:
        return {
            "activity_id": self.activity_id,
            "activity_type": self.activity_type,
            "attempt": self.attempt,
            "namespace": self.namespace,
            "task_queue": self.task_queue,
            "workflow_id": self.workflow_id,
            "workflow_run_id": self.workflow_run_id,
            "workflow_type": self.workflow_type,
        }


@dataclass(frozen=True)
class ActivityCancellationDetails:
    """Why an attempt was cancelled. Set once; a second reason does not change it."""

    #: The attempt is unknown to the service: it timed out, was retried, or its workflow has closed.
    not_found: bool = False
    cancel_requested: bool = False
    paused: bool = False
    reset: bool = False
    timed_out: bool = False
    worker_shutdown: bool = False
