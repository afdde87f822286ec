"""Temporal's ``temporal.api.deployment.v1``: worker deployments."""

from __future__ import annotations

from perdure.api._message import Message
from perdure.api.common import v1 as common_v1
from perdure.api.compute import v1 as compute_v1


class ComputeStatus(Message):
    """Temporal's ``temporal.api.deployment.v1.ComputeStatus``."""

    provider_validation: ComputeStatusProviderValidationStatus | None = None


class ComputeStatusProviderValidationStatus(Message):
    """Temporal's ``temporal.api.deployment.v1.ComputeStatus.ProviderValidationStatus``."""

    error_message: str = ""
    last_check_time: int | None = None


class Deployment(Message):
    """Temporal's ``temporal.api.deployment.v1.Deployment``."""

    series_name: str = ""
    build_id: str = ""


class InheritedAutoUpgradeInfo(Message):
    """Temporal's ``temporal.api.deployment.v1.InheritedAutoUpgradeInfo``."""

    source_deployment_version: WorkerDeploymentVersion | None = None
    source_deployment_revision_number: int = 0
    continue_as_new_initial_versioning_behavior: int = 0


class RoutingConfig(Message):
    """Temporal's ``temporal.api.deployment.v1.RoutingConfig``."""

    current_version: str = ""
    ramping_version: str = ""
    ramping_version_percentage: float = 0.0
    current_version_changed_time: int | None = None
    ramping_version_changed_time: int | None = None
    ramping_version_percentage_changed_time: int | None = None
    current_deployment_version: WorkerDeploymentVersion | None = None
    ramping_deployment_version: WorkerDeploymentVersion | None = None
    revision_number: int = 0


class VersionDrainageInfo(Message):
    """Temporal's ``temporal.api.deployment.v1.VersionDrainageInfo``."""

    status: int = 0
    last_changed_time: int | None = None
    last_checked_time: int | None = None


class VersionMetadata(Message):
    """Temporal's ``temporal.api.deployment.v1.VersionMetadata``."""

    entries: dict[str, common_v1.Payload] = {}


class WorkerDeploymentInfo(Message):
    """Temporal's ``temporal.api.deployment.v1.WorkerDeploymentInfo``."""

    name: str = ""
    version_summaries: list[WorkerDeploymentInfoWorkerDeploymentVersionSummary] = []
    create_time: int | None = None
    routing_config: RoutingConfig | None = None
    last_modifier_identity: str = ""
    manager_identity: str = ""
    routing_config_update_state: int = 0


class WorkerDeploymentInfoWorkerDeploymentVersionSummary(Message):
    """Temporal's ``temporal.api.deployment.v1.WorkerDeploymentInfo.WorkerDeploymentVersionSummary``."""

    version: str = ""
    create_time: int | None = None
    drainage_status: int = 0
    deployment_version: WorkerDeploymentVersion | None = None
    drainage_info: VersionDrainageInfo | None = None
    current_since_time: int | None = None
    ramping_since_time: int | None = None
    routing_update_time: int | None = None
    first_activation_time: int | None = None
    last_deactivation_time: int | None = None
    status: int = 0
    last_current_time: int | None = None
    compute_config: compute_v1.ComputeConfigSummary | None = None
    compute_status: ComputeStatus | None = None


class WorkerDeploymentOptions(Message):
    """Temporal's ``temporal.api.deployment.v1.WorkerDeploymentOptions``."""

    deployment_name: str = ""
    build_id: str = ""
    worker_versioning_mode: int = 0


class WorkerDeploymentVersion(Message):
    """Temporal's ``temporal.api.deployment.v1.WorkerDeploymentVersion``."""

    build_id: str = ""
    deployment_name: str = ""


class WorkerDeploymentVersionInfo(Message):
    """Temporal's ``temporal.api.deployment.v1.WorkerDeploymentVersionInfo``."""

    version: str = ""
    deployment_name: str = ""
    create_time: int | None = None
    routing_changed_time: int | None = None
    current_since_time: int | None = None
    ramping_since_time: int | None = None
    ramp_percentage: float = 0.0
    task_queue_infos: list[WorkerDeploymentVersionInfoVersionTaskQueueInfo] = []
    drainage_info: VersionDrainageInfo | None = None
    metadata: VersionMetadata | None = None
    deployment_version: WorkerDeploymentVersion | None = None
    first_activation_time: int | None = None
    last_deactivation_time: int | None = None
    status: int = 0
    last_current_time: int | None = None
    compute_config: compute_v1.ComputeConfig | None = None
    last_modifier_identity: str = ""


class WorkerDeploymentVersionInfoVersionTaskQueueInfo(Message):
    """Temporal's ``temporal.api.deployment.v1.WorkerDeploymentVersionInfo.VersionTaskQueueInfo``."""

    name: str = ""
    type: int = 0
