"""The service's RPCs about worker deployments, task queues' settings and workflows' options; part of the facade."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta

from perdure.api.workflowservice import v1 as ws
from perdure.engine.core import Core
from perdure.engine.deployments import Deployments
from perdure.engine.errors import permission_denied
from perdure.engine.namespaces import Namespaces
from perdure.engine.queue_limits import QueueLimits
from perdure.engine.routing import Router
from perdure.engine.workflow_options import WorkflowOptions

Metadata = Mapping[str, str | bytes] | None
_LEGACY = "Worker versioning by build id sets is disabled: use worker deployments (Worker(deployment_config=...))."


class DeploymentRpcs:
    """Every method checks that the engine is open and asks its component."""

    def _check(self) -> None:
        raise NotImplementedError  # the engine has it

    def _add_deployment_rpcs(self, core: Core, namespaces: Namespaces) -> None:
        self._router = Router(core)
        self._deployments = Deployments(core, namespaces, self._router)
        self._queue_limits = self._router.queue_limits = QueueLimits(core, namespaces)
        self._workflow_options = WorkflowOptions(core, namespaces, self._deployments)

    async def describe_worker_deployment(
        self,
        request: ws.DescribeWorkerDeploymentRequest,
        *,
        metadata: Metadata = None,
        timeout: timedelta | None = None,
    ) -> ws.DescribeWorkerDeploymentResponse:
        """Temporal's DescribeWorkerDeployment."""
        self._check()
        return await self._deployments.describe(request)

    async def describe_worker_deployment_version(
        self,
        request: ws.DescribeWorkerDeploymentVersionRequest,
        *,
        metadata: Metadata = None,
        timeout: timedelta | None = None,
    ) -> ws.DescribeWorkerDeploymentVersionResponse:
        """Temporal's DescribeWorkerDeploymentVersion."""
        self._check()
        return await self._deployments.describe_version(request)

    async def list_worker_deployments(
        self, request: ws.ListWorkerDeploymentsRequest, *, metadata: Metadata = None, timeout: timedelta | None = None
    ) -> ws.ListWorkerDeploymentsResponse:
        """Temporal's ListWorkerDeployments."""
        self._check()
        return await self._deployments.list_deployments(request)

    async def set_worker_deployment_current_version(
        self,
        request: ws.SetWorkerDeploymentCurrentVersionRequest,
        *,
        metadata: Metadata = None,
        timeout: timedelta | None = None,
    ) -> ws.SetWorkerDeploymentCurrentVersionResponse:
        """Temporal's SetWorkerDeploymentCurrentVersion."""
        self._check()
        return await self._deployments.set_current(request)

    async def set_worker_deployment_ramping_version(
        self,
        request: ws.SetWorkerDeploymentRampingVersionRequest,
        *,
        metadata: Metadata = None,
        timeout: timedelta | None = None,
    ) -> ws.SetWorkerDeploymentRampingVersionResponse:
        """Temporal's SetWorkerDeploymentRampingVersion."""
        self._check()
        return await self._deployments.set_ramping(request)

    async def set_worker_deployment_manager(
        self,
        request: ws.SetWorkerDeploymentManagerRequest,
        *,
        metadata: Metadata = None,
        timeout: timedelta | None = None,
    ) -> ws.SetWorkerDeploymentManagerResponse:
        """Temporal's SetWorkerDeploymentManager."""
        self._check()
        return await self._deployments.set_manager(request)

    async def update_worker_deployment_version_metadata(
        self,
        request: ws.UpdateWorkerDeploymentVersionMetadataRequest,
        *,
        metadata: Metadata = None,
        timeout: timedelta | None = None,
    ) -> ws.UpdateWorkerDeploymentVersionMetadataResponse:
        """Temporal's UpdateWorkerDeploymentVersionMetadata."""
        self._check()
        return await self._deployments.update_metadata(request)

    async def delete_worker_deployment(
        self, request: ws.DeleteWorkerDeploymentRequest, *, metadata: Metadata = None, timeout: timedelta | None = None
    ) -> ws.DeleteWorkerDeploymentResponse:
        """Temporal's DeleteWorkerDeployment."""
        self._check()
        return await self._deployments.delete(request)

    async def delete_worker_deployment_version(
        self,
        request: ws.DeleteWorkerDeploymentVersionRequest,
        *,
        metadata: Metadata = None,
        timeout: timedelta | None = None,
    ) -> ws.DeleteWorkerDeploymentVersionResponse:
        """Temporal's DeleteWorkerDeploymentVersion."""
        self._check()
        return await self._deployments.delete_version(request)

    async def update_task_queue_config(
        self, request: ws.UpdateTaskQueueConfigRequest, *, metadata: Metadata = None, timeout: timedelta | None = None
    ) -> ws.UpdateTaskQueueConfigResponse:
        """Temporal's UpdateTaskQueueConfig."""
        self._check()
        return await self._queue_limits.update(request)

    async def update_workflow_execution_options(
        self,
        request: ws.UpdateWorkflowExecutionOptionsRequest,
        *,
        metadata: Metadata = None,
        timeout: timedelta | None = None,
    ) -> ws.UpdateWorkflowExecutionOptionsResponse:
        """Temporal's UpdateWorkflowExecutionOptions."""
        self._check()
        return await self._workflow_options.update(request)

    async def get_worker_build_id_compatibility(
        self,
        request: ws.GetWorkerBuildIdCompatibilityRequest,
        *,
        metadata: Metadata = None,
        timeout: timedelta | None = None,
    ) -> ws.GetWorkerBuildIdCompatibilityResponse:
        """Temporal's GetWorkerBuildIdCompatibility, refused: it belongs to a kind of versioning that servers have switched off."""
        self._check()
        raise permission_denied(_LEGACY)

    async def update_worker_build_id_compatibility(
        self,
        request: ws.UpdateWorkerBuildIdCompatibilityRequest,
        *,
        metadata: Metadata = None,
        timeout: timedelta | None = None,
    ) -> ws.UpdateWorkerBuildIdCompatibilityResponse:
        """Temporal's UpdateWorkerBuildIdCompatibility, refused: it belongs to a kind of versioning that servers have switched off."""
        self._check()
        raise permission_denied(_LEGACY)

    async def get_worker_task_reachability(
        self,
        request: ws.GetWorkerTaskReachabilityRequest,
        *,
        metadata: Metadata = None,
        timeout: timedelta | None = None,
    ) -> ws.GetWorkerTaskReachabilityResponse:
        """Temporal's GetWorkerTaskReachability, refused: it belongs to a kind of versioning that servers have switched off."""
        self._check()
        raise permission_denied(_LEGACY)

    async def create_worker_deployment(
        self,
        request: ws.CreateWorkerDeploymentRequest,
        *,
        metadata: Metadata = None,
        timeout: timedelta | None = None,
    ) -> ws.CreateWorkerDeploymentResponse:
        """Temporal's CreateWorkerDeployment."""
        self._check()
        return await self._deployments.create(request)

    async def create_worker_deployment_version(
        self,
        request: ws.CreateWorkerDeploymentVersionRequest,
        *,
        metadata: Metadata = None,
        timeout: timedelta | None = None,
    ) -> ws.CreateWorkerDeploymentVersionResponse:
        """Temporal's CreateWorkerDeploymentVersion."""
        self._check()
        return await self._deployments.create_version(request)
