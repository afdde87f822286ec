"""What describe says of a pending activity."""

from __future__ import annotations

from perdure._native.mutable_state import ActivityInfo
from perdure.api.common import v1 as common_v1
from perdure.api.enums.v1 import PendingActivityState
from perdure.api.workflow import v1 as workflow_v1
from perdure.engine.activity_operations import options_of
from perdure.engine.limits import NS_PER_MS
from perdure.engine.wiring import decode_failure, decode_payloads


def pending_state(activity: ActivityInfo) -> int:
    """Its state in Temporal's words."""
    if activity.cancel_requested_id:
        return int(PendingActivityState.PENDING_ACTIVITY_STATE_CANCEL_REQUESTED)
    if activity.started_ns:
        if activity.is_paused:
            return int(PendingActivityState.PENDING_ACTIVITY_STATE_PAUSE_REQUESTED)
        return int(PendingActivityState.PENDING_ACTIVITY_STATE_STARTED)
    if activity.is_paused:
        return int(PendingActivityState.PENDING_ACTIVITY_STATE_PAUSED)
    return int(PendingActivityState.PENDING_ACTIVITY_STATE_SCHEDULED)


def pending_activity(activity: ActivityInfo) -> workflow_v1.PendingActivityInfo:
    """All that is known of it."""
    expiration_ms = 0
    if activity.schedule_to_close_ms:
        expiration_ms = activity.first_scheduled_ns // NS_PER_MS + activity.schedule_to_close_ms
    waits = activity.is_backing_off and not activity.is_paused
    options = options_of(activity)
    return workflow_v1.PendingActivityInfo(
        activity_id=activity.activity_id,
        activity_type=common_v1.ActivityType(activity.activity_type),
        state=pending_state(activity),
        heartbeat_details=decode_payloads(activity.heartbeat_details) if activity.heartbeat_details else None,
        last_heartbeat_time=activity.heartbeat_ns or None,
        last_started_time=activity.started_ns or None,
        attempt=1 if activity.extra is not None and activity.extra.get("reset") else activity.attempt,
        maximum_attempts=activity.retry.maximum_attempts if activity.retry is not None else 0,
        scheduled_time=activity.scheduled_ns,
        expiration_time=expiration_ms * NS_PER_MS or None,
        last_failure=decode_failure(activity.last_failure) if activity.last_failure else None,
        last_worker_identity=activity.identity,
        last_attempt_complete_time=activity.last_ended_ns or None,
        next_attempt_schedule_time=activity.scheduled_ns if waits else None,
        current_retry_interval=activity.scheduled_ns - activity.last_ended_ns if waits else None,
        paused=activity.is_paused,
        pause_info=_pause_info(activity),
        priority=options.priority,
        activity_options=options,
    )


def _pause_info(activity: ActivityInfo) -> workflow_v1.PendingActivityInfoPauseInfo | None:
    if not activity.is_paused or activity.extra is None:
        return None
    time, identity, reason, _ = activity.extra["pause"]
    return workflow_v1.PendingActivityInfoPauseInfo(
        time, workflow_v1.PendingActivityInfoPauseInfoManual(identity, reason)
    )
