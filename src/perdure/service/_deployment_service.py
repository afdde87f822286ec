"""The part of the service protocol about worker deployments, task queues' settings and workflows' options."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Protocol

from perdure.api.workflowservice import v1 as ws


class DeploymentService(Protocol):
    """RPCs of Temporal's WorkflowService; see :class:`~perdure.service.WorkflowService`."""

    async def describe_worker_deployment(
        self,
        request: ws.DescribeWorkerDeploymentRequest,
        *,
        metadata: Mapping[str, str | bytes] | None = None,
        timeout: timedelta | None = None,
    ) -> ws.DescribeWorkerDeploymentResponse:
        """Temporal's DescribeWorkerDeployment."""
        ...

    async def describe_worker_deployment_version(
        self,
        request: ws.DescribeWorkerDeploymentVersionRequest,
        *,
        metadata: Mapping[str, str | bytes] | None = None,
        timeout: timedelta | None = None,
    ) -> ws.DescribeWorkerDeploymentVersionResponse:
        """Temporal's DescribeWorkerDeploymentVersion."""
        ...

    async def list_worker_deployments(
        self,
        request: ws.ListWorkerDeploymentsRequest,
        *,
        metadata: Mapping[str, str | bytes] | None = None,
        timeout: timedelta | None = None,
    ) -> ws.ListWorkerDeploymentsResponse:
        """Temporal's ListWorkerDeployments."""
        ...

    async def set_worker_deployment_current_version(
        self,
        request: ws.SetWorkerDeploymentCurrentVersionRequest,
        *,
        metadata: Mapping[str, str | bytes] | None = None,
        timeout: timedelta | None = None,
    ) -> ws.SetWorkerDeploymentCurrentVersionResponse:
        """Temporal's SetWorkerDeploymentCurrentVersion."""
        ...

    async def set_worker_deployment_ramping_version(
        self,
        request: ws.SetWorkerDeploymentRampingVersionRequest,
        *,
        metadata: Mapping[str, str | bytes] | None = None,
        timeout: timedelta | None = None,
    ) -> ws.SetWorkerDeploymentRampingVersionResponse:
        """Temporal's SetWorkerDeploymentRampingVersion."""
        ...

    async def set_worker_deployment_manager(
        self,
        request: ws.SetWorkerDeploymentManagerRequest,
        *,
        metadata: Mapping[str, str | bytes] | None = None,
        timeout: timedelta | None = None,
    ) -> ws.SetWorkerDeploymentManagerResponse:
        """Temporal's SetWorkerDeploymentManager."""
        ...

    async def update_worker_deployment_version_metadata(
        self,
        request: ws.UpdateWorkerDeploymentVersionMetadataRequest,
        *,
        metadata: Mapping[str, str | bytes] | None = None,
        timeout: timedelta | None = None,
    ) -> ws.UpdateWorkerDeploymentVersionMetadataResponse:
        """Temporal's UpdateWorkerDeploymentVersionMetadata."""
        ...

    async def delete_worker_deployment(
        self,
        request: ws.DeleteWorkerDeploymentRequest,
        *,
        metadata: Mapping[str, str | bytes] | None = None,
        timeout: timedelta | None = None,
    ) -> ws.DeleteWorkerDeploymentResponse:
        """Temporal's DeleteWorkerDeployment."""
        ...

    async def delete_worker_deployment_version(
        self,
        request: ws.DeleteWorkerDeploymentVersionRequest,
        *,
        metadata: Mapping[str, str | bytes] | None = None,
        timeout: timedelta | None = None,
    ) -> ws.DeleteWorkerDeploymentVersionResponse:
        """Temporal's DeleteWorkerDeploymentVersion."""
        ...

    async def update_task_queue_config(
        self,
        request: ws.UpdateTaskQueueConfigRequest,
        *,
        metadata: Mapping[str, str | bytes] | None = None,
        timeout: timedelta | None = None,
    ) -> ws.UpdateTaskQueueConfigResponse:
        """Temporal's UpdateTaskQueueConfig."""
        ...

    async def update_workflow_execution_options(
        self,
        request: ws.UpdateWorkflowExecutionOptionsRequest,
        *,
        metadata: Mapping[str, str | bytes] | None = None,
        timeout: timedelta | None = None,
    ) -> ws.UpdateWorkflowExecutionOptionsResponse:
        """Temporal's UpdateWorkflowExecutionOptions."""
        ...

    async def get_worker_build_id_compatibility(
        self,
        request: ws.GetWorkerBuildIdCompatibilityRequest,
        *,
        metadata: Mapping[str, str | bytes] | None = None,
        timeout: timedelta | None = None,
    ) -> ws.GetWorkerBuildIdCompatibilityResponse:
        """Temporal's GetWorkerBuildIdCompatibility."""
        ...

    async def update_worker_build_id_compatibility(
        self,
        request: ws.UpdateWorkerBuildIdCompatibilityRequest,
        *,
        metadata: Mapping[str, str | bytes] | None = None,
        timeout: timedelta | None = None,
    ) -> ws.UpdateWorkerBuildIdCompatibilityResponse:
        """Temporal's UpdateWorkerBuildIdCompatibility."""
        ...

    async def get_worker_task_reachability(
        self,
        request: ws.GetWorkerTaskReachabilityRequest,
        *,
        metadata: Mapping[str, str | bytes] | None = None,
        timeout: timedelta | None = None,
    ) -> ws.GetWorkerTaskReachabilityResponse:
        """Temporal's GetWorkerTaskReachability."""
        ...

    async def create_worker_deployment(
        self,
        request: ws.CreateWorkerDeploymentRequest,
        *,
        metadata: Mapping[str, str | bytes] | None = None,
        timeout: timedelta | None = None,
    ) -> ws.CreateWorkerDeploymentResponse:
        """Temporal's CreateWorkerDeployment."""
        ...

    async def create_worker_deployment_version(
        self,
        request: ws.CreateWorkerDeploymentVersionRequest,
        *,
        metadata: Mapping[str, str | bytes] | None = None,
        timeout: timedelta | None = None,
    ) -> ws.CreateWorkerDeploymentVersionResponse:
        """Temporal's CreateWorkerDeploymentVersion."""
        ...
