"""Temporal's ``temporal.api.taskqueue.v1``: task queues and their pollers."""

from __future__ import annotations

from perdure.api._message import Message
from perdure.api.common import v1 as common_v1
from perdure.api.deployment import v1 as deployment_v1


class BuildIdReachability(Message):
    """Temporal's ``temporal.api.taskqueue.v1.BuildIdReachability``."""

    build_id: str = ""
    task_queue_reachability: list[TaskQueueReachability] = []


class CompatibleVersionSet(Message):
    """Temporal's ``temporal.api.taskqueue.v1.CompatibleVersionSet``."""

    build_ids: list[str] = []


class ConfigMetadata(Message):
    """Temporal's ``temporal.api.taskqueue.v1.ConfigMetadata``."""

    reason: str = ""
    update_identity: str = ""
    update_time: int | None = None


class PollerGroupInfo(Message):
    """Temporal's ``temporal.api.taskqueue.v1.PollerGroupInfo``."""

    id: str = ""
    weight: float = 0.0


class PollerGroupsInfo(Message):
    """Temporal's ``temporal.api.taskqueue.v1.PollerGroupsInfo``."""

    version: int = 0
    poller_groups: list[PollerGroupInfo] = []


class PollerInfo(Message):
    """Temporal's ``temporal.api.taskqueue.v1.PollerInfo``."""

    last_access_time: int | None = None
    identity: str = ""
    rate_per_second: float = 0.0
    worker_version_capabilities: common_v1.WorkerVersionCapabilities | None = None
    deployment_options: deployment_v1.WorkerDeploymentOptions | None = None


class PollerScalingDecision(Message):
    """Temporal's ``temporal.api.taskqueue.v1.PollerScalingDecision``."""

    poll_request_delta_suggestion: int = 0


class RateLimit(Message):
    """Temporal's ``temporal.api.taskqueue.v1.RateLimit``."""

    requests_per_second: float = 0.0


class RateLimitConfig(Message):
    """Temporal's ``temporal.api.taskqueue.v1.RateLimitConfig``."""

    rate_limit: RateLimit | None = None
    metadata: ConfigMetadata | None = None


class StickyExecutionAttributes(Message):
    """Temporal's ``temporal.api.taskqueue.v1.StickyExecutionAttributes``."""

    worker_task_queue: TaskQueue | None = None
    schedule_to_start_timeout: int | None = None


class TaskIdBlock(Message):
    """Temporal's ``temporal.api.taskqueue.v1.TaskIdBlock``."""

    start_id: int = 0
    end_id: int = 0


class TaskQueue(Message):
    """Temporal's ``temporal.api.taskqueue.v1.TaskQueue``."""

    name: str = ""
    kind: int = 0
    normal_name: str = ""


class TaskQueueConfig(Message):
    """Temporal's ``temporal.api.taskqueue.v1.TaskQueueConfig``."""

    queue_rate_limit: RateLimitConfig | None = None
    fairness_keys_rate_limit_default: RateLimitConfig | None = None
    fairness_weight_overrides: dict[str, float] = {}


class TaskQueueMetadata(Message):
    """Temporal's ``temporal.api.taskqueue.v1.TaskQueueMetadata``."""

    max_tasks_per_second: float | None = None


class TaskQueueReachability(Message):
    """Temporal's ``temporal.api.taskqueue.v1.TaskQueueReachability``."""

    task_queue: str = ""
    reachability: list[int] = []


class TaskQueueStats(Message):
    """Temporal's ``temporal.api.taskqueue.v1.TaskQueueStats``."""

    approximate_backlog_count: int = 0
    approximate_backlog_age: int | None = None
    tasks_add_rate: float = 0.0
    tasks_dispatch_rate: float = 0.0
    rate_limiting_active: bool = False


class TaskQueuePartitionMetadata(Message):
    """Temporal's ``temporal.api.taskqueue.v1.TaskQueuePartitionMetadata``."""

    key: str = ""
    owner_host_name: str = ""


class TaskQueueStatus(Message):
    """Temporal's ``temporal.api.taskqueue.v1.TaskQueueStatus``."""

    backlog_count_hint: int = 0
    read_level: int = 0
    ack_level: int = 0
    rate_per_second: float = 0.0
    task_id_block: TaskIdBlock | None = None


class TaskQueueTypeInfo(Message):
    """Temporal's ``temporal.api.taskqueue.v1.TaskQueueTypeInfo``."""

    pollers: list[PollerInfo] = []
    stats: TaskQueueStats | None = None


class TaskQueueVersionInfo(Message):
    """Temporal's ``temporal.api.taskqueue.v1.TaskQueueVersionInfo``."""

    types_info: dict[int, TaskQueueTypeInfo] = {}
    task_reachability: int = 0


class TaskQueueVersionSelection(Message):
    """Temporal's ``temporal.api.taskqueue.v1.TaskQueueVersionSelection``."""

    build_ids: list[str] = []
    unversioned: bool = False
    all_active: bool = False


class TaskQueueVersioningInfo(Message):
    """Temporal's ``temporal.api.taskqueue.v1.TaskQueueVersioningInfo``."""

    current_version: str = ""
    ramping_version: str = ""
    ramping_version_percentage: float = 0.0
    update_time: int | None = None
    current_deployment_version: deployment_v1.WorkerDeploymentVersion | None = None
    ramping_deployment_version: deployment_v1.WorkerDeploymentVersion | None = None
