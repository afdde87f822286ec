"""Handling Nexus operations: services that workflows of any namespace call through an endpoint.

A service is a class of the ``nexusrpc`` package; its operations are handled by code of a worker, which gets it with
``Worker(nexus_service_handlers=[...])``. An operation is done when its handler returns, or goes on as a workflow, an
update or an activity: then it is done when that has ended. Workflows call operations with
:func:`perdure.workflow.create_nexus_client`.
"""

from perdure.nexus._client import TemporalNexusClient, TemporalOperationResult
from perdure.nexus._context import (
    Info,
    LoggerAdapter,
    NexusCallback,
    TemporalCancelOperationContext,
    TemporalStartOperationContext,
    WorkflowRunOperationContext,
    client,
    in_operation,
    info,
    is_worker_shutdown,
    logger,
    metric_meter,
    wait_for_worker_shutdown,
    wait_for_worker_shutdown_sync,
)
from perdure.nexus._decorators import (
    TemporalOperationStartHandlerFunc,
    temporal_operation,
    workflow_run_operation,
)
from perdure.nexus._handlers import (
    CancelActivityOptions,
    CancelUpdateWorkflowOptions,
    CancelWorkflowRunOptions,
    TemporalOperationHandler,
)
from perdure.nexus._token import WorkflowHandle

__all__ = [
    "CancelActivityOptions",
    "CancelUpdateWorkflowOptions",
    "CancelWorkflowRunOptions",
    "Info",
    "LoggerAdapter",
    "NexusCallback",
    "TemporalCancelOperationContext",
    "TemporalNexusClient",
    "TemporalOperationHandler",
    "TemporalOperationResult",
    "TemporalOperationStartHandlerFunc",
    "TemporalStartOperationContext",
    "WorkflowHandle",
    "WorkflowRunOperationContext",
    "client",
    "in_operation",
    "info",
    "is_worker_shutdown",
    "logger",
    "metric_meter",
    "temporal_operation",
    "wait_for_worker_shutdown",
    "wait_for_worker_shutdown_sync",
    "workflow_run_operation",
]
