"""What the operations take and give."""

from perdure.workflow._signal_with_start import (
    SignalWithStartWorkflowRequest,
    SignalWithStartWorkflowResponse,
    UserMetadata,
)

__all__ = ["SignalWithStartWorkflowRequest", "SignalWithStartWorkflowResponse", "UserMetadata"]
