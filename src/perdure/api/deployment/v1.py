"""Temporal's ``temporal.api.deployment.v1``: worker deployments."""

from __future__ import annotations

from perdure.api._message import Message


class Deployment(Message):
    """Temporal's ``temporal.api.deployment.v1.Deployment``."""

    series_name: str = ""
    build_id: str = ""


class InheritedAutoUpgradeInfo(Message):
    """Temporal's ``temporal.api.deployment.v1.InheritedAutoUpgradeInfo``."""

    source_deployment_version: WorkerDeploymentVersion | None = None
    source_deployment_revision_number: int = 0
    continue_as_new_initial_versioning_behavior: int = 0


class WorkerDeploymentOptions(Message):
    """Temporal's ``temporal.api.deployment.v1.WorkerDeploymentOptions``."""

    deployment_name: str = ""
    build_id: str = ""
    worker_versioning_mode: int = 0


class WorkerDeploymentVersion(Message):
    """Temporal's ``temporal.api.deployment.v1.WorkerDeploymentVersion``."""

    build_id: str = ""
    deployment_name: str = ""
