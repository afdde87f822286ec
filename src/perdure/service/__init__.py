"""The seam: one method per Temporal RPC, and the one error every RPC raises.

The API (client and worker) talks to a :class:`WorkflowService` and to nothing below it. The embedded engine implements
it over a store; so can a gRPC client of a real Temporal cluster, or a test double.
"""

from perdure.service._errors import RPCError, RPCStatusCode
from perdure.service._workflow_service import WorkflowService

__all__ = ["RPCError", "RPCStatusCode", "WorkflowService"]
