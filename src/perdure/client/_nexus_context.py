"""What the handler of a Nexus operation wants done to the requests of its client.

Requests that a handler makes point back at the caller of the operation, and one of them may stand behind the operation:
then it carries the operation's request id and completion callback. The client asks here, so that it need not know Nexus.
"""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from perdure.api.common.v1 import Link
    from perdure.api.workflowservice import v1 as ws
    from perdure.client._workflow_handle import WorkflowHandle


class NexusContext(Protocol):
    """The operation that is being started."""

    def prepare_start(self, request: ws.StartWorkflowExecutionRequest) -> None:
        """A workflow is about to be started, or signaled and started if need be."""
        ...

    def prepare_signal(self, request: ws.SignalWorkflowExecutionRequest) -> None:
        """A workflow is about to be signaled."""
        ...

    def prepare_update(self, request: ws.UpdateWorkflowExecutionRequest) -> None:
        """A workflow is about to be updated."""
        ...

    def prepare_activity(self, request: ws.StartActivityExecutionRequest) -> None:
        """A standalone activity is about to be started."""
        ...

    def started(self, handle: WorkflowHandle[Any, Any]) -> None:
        """A workflow was started, or signaled with start."""
        ...

    def linked(self, link: Link | None) -> None:
        """A response came with a link to what it did."""
        ...

    def activity_started(self, activity_id: str, response: ws.StartActivityExecutionResponse) -> None:
        """A standalone activity was started."""
        ...


#: Of the handler that runs here; set by workers that handle Nexus operations.
current_operation: ContextVar[NexusContext | None] = ContextVar("perdure_nexus_operation", default=None)
