"""The contract of the service."""

import nexusrpc

from perdure.api import system
from perdure.nexus.system.workflow_service.models import SignalWithStartWorkflowRequest, SignalWithStartWorkflowResponse

__all__ = ["WorkflowService"]


@nexusrpc.service(name=system.SERVICE)
class WorkflowService:
    """The operations of WorkflowService that workflows can call."""

    signal_with_start_workflow: nexusrpc.Operation[SignalWithStartWorkflowRequest, SignalWithStartWorkflowResponse] = (
        nexusrpc.Operation(name=system.SIGNAL_WITH_START)
    )
