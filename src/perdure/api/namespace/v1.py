"""Temporal's ``temporal.api.namespace.v1``: namespaces and their limits."""

from __future__ import annotations

from perdure.api._message import Message


class BadBinaries(Message):
    """Temporal's ``temporal.api.namespace.v1.BadBinaries``."""

    binaries: dict[str, BadBinaryInfo] = {}


class BadBinaryInfo(Message):
    """Temporal's ``temporal.api.namespace.v1.BadBinaryInfo``."""

    reason: str = ""
    operator: str = ""
    create_time: int | None = None


class NamespaceConfig(Message):
    """Temporal's ``temporal.api.namespace.v1.NamespaceConfig``."""

    workflow_execution_retention_ttl: int | None = None
    bad_binaries: BadBinaries | None = None
    history_archival_state: int = 0
    history_archival_uri: str = ""
    visibility_archival_state: int = 0
    visibility_archival_uri: str = ""
    custom_search_attribute_aliases: dict[str, str] = {}


class NamespaceFilter(Message):
    """Temporal's ``temporal.api.namespace.v1.NamespaceFilter``."""

    include_deleted: bool = False


class NamespaceInfo(Message):
    """Temporal's ``temporal.api.namespace.v1.NamespaceInfo``."""

    name: str = ""
    state: int = 0
    description: str = ""
    owner_email: str = ""
    data: dict[str, str] = {}
    id: str = ""
    capabilities: NamespaceInfoCapabilities | None = None
    limits: NamespaceInfoLimits | None = None
    supports_schedules: bool = False


class NamespaceInfoCapabilities(Message):
    """Temporal's ``temporal.api.namespace.v1.NamespaceInfo.Capabilities``."""

    eager_workflow_start: bool = False
    sync_update: bool = False
    async_update: bool = False
    worker_heartbeats: bool = False
    reported_problems_search_attribute: bool = False
    workflow_pause: bool = False
    standalone_activities: bool = False
    worker_poll_complete_on_shutdown: bool = False
    poller_autoscaling: bool = False
    worker_commands: bool = False
    standalone_nexus_operation: bool = False
    workflow_update_callbacks: bool = False
    poller_autoscaling_auto_enroll: bool = False
    workflow_task_completion_pagination: bool = False
    standalone_activity_start_delay: bool = False
    standalone_activity_batch_operations: bool = False
    standalone_activity_operator_commands: bool = False


class NamespaceInfoLimits(Message):
    """Temporal's ``temporal.api.namespace.v1.NamespaceInfo.Limits``."""

    blob_size_limit_error: int = 0
    memo_size_limit_error: int = 0
    workflow_task_completion_size_limit_error: int = 0


class UpdateNamespaceInfo(Message):
    """Temporal's ``temporal.api.namespace.v1.UpdateNamespaceInfo``."""

    description: str = ""
    owner_email: str = ""
    data: dict[str, str] = {}
    state: int = 0
