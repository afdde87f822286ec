"""Temporal's ``temporal.api.activity.v1``: activity options."""

from __future__ import annotations

from perdure.api._message import Message
from perdure.api.callback import v1 as callback_v1
from perdure.api.common import v1 as common_v1
from perdure.api.deployment import v1 as deployment_v1
from perdure.api.failure import v1 as failure_v1
from perdure.api.nexus import v1 as nexus_v1
from perdure.api.sdk import v1 as sdk_v1
from perdure.api.taskqueue import v1 as taskqueue_v1


class ActivityExecutionInfo(Message):
    """Temporal's ``temporal.api.activity.v1.ActivityExecutionInfo``."""

    activity_id: str = ""
    run_id: str = ""
    activity_type: common_v1.ActivityType | None = None
    status: int = 0
    run_state: int = 0
    task_queue: str = ""
    schedule_to_close_timeout: int | None = None
    schedule_to_start_timeout: int | None = None
    start_to_close_timeout: int | None = None
    heartbeat_timeout: int | None = None
    retry_policy: common_v1.RetryPolicy | None = None
    heartbeat_details: common_v1.Payloads | None = None
    last_heartbeat_time: int | None = None
    last_started_time: int | None = None
    attempt: int = 0
    execution_duration: int | None = None
    schedule_time: int | None = None
    expiration_time: int | None = None
    close_time: int | None = None
    last_failure: failure_v1.Failure | None = None
    last_worker_identity: str = ""
    current_retry_interval: int | None = None
    last_attempt_complete_time: int | None = None
    next_attempt_schedule_time: int | None = None
    last_deployment_version: deployment_v1.WorkerDeploymentVersion | None = None
    priority: common_v1.Priority | None = None
    state_transition_count: int = 0
    state_size_bytes: int = 0
    search_attributes: common_v1.SearchAttributes | None = None
    header: common_v1.Header | None = None
    user_metadata: sdk_v1.UserMetadata | None = None
    canceled_reason: str = ""
    links: list[common_v1.Link] = []
    total_heartbeat_count: int = 0
    sdk_name: str = ""
    sdk_version: str = ""
    start_delay: int | None = None
    execution_time: int | None = None
    propagated_nexus_serialization_context: nexus_v1.PropagatedSerializationContext | None = None
    eager_execution_accepted: bool = False


class ActivityExecutionListInfo(Message):
    """Temporal's ``temporal.api.activity.v1.ActivityExecutionListInfo``."""

    activity_id: str = ""
    run_id: str = ""
    activity_type: common_v1.ActivityType | None = None
    schedule_time: int | None = None
    close_time: int | None = None
    status: int = 0
    search_attributes: common_v1.SearchAttributes | None = None
    task_queue: str = ""
    state_transition_count: int = 0
    state_size_bytes: int = 0
    execution_duration: int | None = None
    execution_time: int | None = None


class ActivityExecutionOutcome(Message):
    """Temporal's ``temporal.api.activity.v1.ActivityExecutionOutcome``."""

    result: common_v1.Payloads | None = None
    failure: failure_v1.Failure | None = None
    retry_state: int = 0


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


class CallbackInfo(Message):
    """Temporal's ``temporal.api.activity.v1.CallbackInfo``."""

    trigger: CallbackInfoTrigger | None = None
    info: callback_v1.CallbackInfo | None = None


class CallbackInfoActivityClosed(Message):
    """Temporal's ``temporal.api.activity.v1.CallbackInfo.ActivityClosed``."""


class CallbackInfoTrigger(Message):
    """Temporal's ``temporal.api.activity.v1.CallbackInfo.Trigger``."""

    activity_closed: CallbackInfoActivityClosed | None = None
