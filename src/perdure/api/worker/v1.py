"""Temporal's ``temporal.api.worker.v1``: worker heartbeats."""

from __future__ import annotations

from perdure.api._message import Message
from perdure.api.deployment import v1 as deployment_v1


class EnvironmentInfo(Message):
    """Temporal's ``temporal.api.worker.v1.EnvironmentInfo``."""

    runtimes: list[EnvironmentInfoRuntime] = []
    hosting_environments: list[EnvironmentInfoHostingEnvironment] = []
    platform: EnvironmentInfoPlatform | None = None


class EnvironmentInfoHostingEnvironment(Message):
    """Temporal's ``temporal.api.worker.v1.EnvironmentInfo.HostingEnvironment``."""

    type: int = 0
    version: str = ""


class EnvironmentInfoLinuxPlatform(Message):
    """Temporal's ``temporal.api.worker.v1.EnvironmentInfo.LinuxPlatform``."""

    version: str = ""
    architecture: int = 0
    libc: int = 0


class EnvironmentInfoMacOSPlatform(Message):
    """Temporal's ``temporal.api.worker.v1.EnvironmentInfo.MacOSPlatform``."""

    version: str = ""
    architecture: int = 0


class EnvironmentInfoPlatform(Message):
    """Temporal's ``temporal.api.worker.v1.EnvironmentInfo.Platform``."""

    linux: EnvironmentInfoLinuxPlatform | None = None
    macos: EnvironmentInfoMacOSPlatform | None = None
    windows: EnvironmentInfoWindowsPlatform | None = None


class EnvironmentInfoRuntime(Message):
    """Temporal's ``temporal.api.worker.v1.EnvironmentInfo.Runtime``."""

    type: int = 0
    version: str = ""


class EnvironmentInfoWindowsPlatform(Message):
    """Temporal's ``temporal.api.worker.v1.EnvironmentInfo.WindowsPlatform``."""

    version: str = ""
    architecture: int = 0
    crt: int = 0


class PluginInfo(Message):
    """Temporal's ``temporal.api.worker.v1.PluginInfo``."""

    name: str = ""
    version: str = ""


class StorageDriverInfo(Message):
    """Temporal's ``temporal.api.worker.v1.StorageDriverInfo``."""

    type: str = ""


class WorkerHeartbeat(Message):
    """Temporal's ``temporal.api.worker.v1.WorkerHeartbeat``."""

    worker_instance_key: str = ""
    worker_identity: str = ""
    host_info: WorkerHostInfo | None = None
    task_queue: str = ""
    deployment_version: deployment_v1.WorkerDeploymentVersion | None = None
    sdk_name: str = ""
    sdk_version: str = ""
    status: int = 0
    start_time: int | None = None
    heartbeat_time: int | None = None
    elapsed_since_last_heartbeat: int | None = None
    workflow_task_slots_info: WorkerSlotsInfo | None = None
    activity_task_slots_info: WorkerSlotsInfo | None = None
    nexus_task_slots_info: WorkerSlotsInfo | None = None
    local_activity_slots_info: WorkerSlotsInfo | None = None
    workflow_poller_info: WorkerPollerInfo | None = None
    workflow_sticky_poller_info: WorkerPollerInfo | None = None
    activity_poller_info: WorkerPollerInfo | None = None
    nexus_poller_info: WorkerPollerInfo | None = None
    total_sticky_cache_hit: int = 0
    total_sticky_cache_miss: int = 0
    current_sticky_cache_size: int = 0
    plugins: list[PluginInfo] = []
    drivers: list[StorageDriverInfo] = []
    environment: EnvironmentInfo | None = None


class WorkerHostInfo(Message):
    """Temporal's ``temporal.api.worker.v1.WorkerHostInfo``."""

    host_name: str = ""
    process_id: str = ""
    current_host_cpu_usage: float = 0.0
    current_host_mem_usage: float = 0.0
    worker_grouping_key: str = ""


class WorkerInfo(Message):
    """Temporal's ``temporal.api.worker.v1.WorkerInfo``."""

    worker_heartbeat: WorkerHeartbeat | None = None


class WorkerListInfo(Message):
    """Temporal's ``temporal.api.worker.v1.WorkerListInfo``."""

    worker_instance_key: str = ""
    worker_identity: str = ""
    task_queue: str = ""
    deployment_version: deployment_v1.WorkerDeploymentVersion | None = None
    sdk_name: str = ""
    sdk_version: str = ""
    status: int = 0
    start_time: int | None = None
    host_name: str = ""
    worker_grouping_key: str = ""
    process_id: str = ""
    plugins: list[PluginInfo] = []
    drivers: list[StorageDriverInfo] = []


class WorkerPollerInfo(Message):
    """Temporal's ``temporal.api.worker.v1.WorkerPollerInfo``."""

    current_pollers: int = 0
    last_successful_poll_time: int | None = None
    is_autoscaling: bool = False


class WorkerSlotsInfo(Message):
    """Temporal's ``temporal.api.worker.v1.WorkerSlotsInfo``."""

    current_available_slots: int = 0
    current_used_slots: int = 0
    slot_supplier_kind: str = ""
    total_processed_tasks: int = 0
    total_failed_tasks: int = 0
    last_interval_processed_tasks: int = 0
    last_interval_failure_tasks: int = 0
