"""The system Nexus endpoint: operations of the service itself, for workflow code.

There is one service, :mod:`perdure.nexus.system.workflow_service`, and of it one operation. Call it with
:func:`perdure.workflow.signal_with_start_workflow`.
"""

from perdure.api.system import ENDPOINT as TEMPORAL_SYSTEM_ENDPOINT

__all__ = ["TEMPORAL_SYSTEM_ENDPOINT", "is_system_endpoint"]


def is_system_endpoint(endpoint: str) -> bool:
    """Whether this is the name of the system endpoint."""
    return endpoint == TEMPORAL_SYSTEM_ENDPOINT
