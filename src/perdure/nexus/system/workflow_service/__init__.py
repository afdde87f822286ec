"""WorkflowService, as workflow code calls it through the system Nexus endpoint."""

from perdure.nexus.system.workflow_service.operations.signal_with_start_workflow import signal_with_start_workflow

__all__ = ["signal_with_start_workflow"]
