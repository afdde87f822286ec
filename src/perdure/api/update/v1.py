"""Temporal's ``temporal.api.update.v1``: updates, their stages and outcomes."""

from __future__ import annotations

from perdure.api._message import Message
from perdure.api.common import v1 as common_v1
from perdure.api.failure import v1 as failure_v1
from perdure.api.nexus import v1 as nexus_v1


class Input(Message):
    """Temporal's ``temporal.api.update.v1.Input``."""

    header: common_v1.Header | None = None
    name: str = ""
    args: common_v1.Payloads | None = None


class Meta(Message):
    """Temporal's ``temporal.api.update.v1.Meta``."""

    update_id: str = ""
    identity: str = ""


class Outcome(Message):
    """Temporal's ``temporal.api.update.v1.Outcome``."""

    success: common_v1.Payloads | None = None
    failure: failure_v1.Failure | None = None


class Request(Message):
    """Temporal's ``temporal.api.update.v1.Request``."""

    meta: Meta | None = None
    input: Input | None = None
    request_id: str = ""
    completion_callbacks: list[common_v1.Callback] = []
    links: list[common_v1.Link] = []
    propagated_nexus_serialization_context: nexus_v1.PropagatedSerializationContext | None = None


class UpdateRef(Message):
    """Temporal's ``temporal.api.update.v1.UpdateRef``."""

    workflow_execution: common_v1.WorkflowExecution | None = None
    update_id: str = ""


class WaitPolicy(Message):
    """Temporal's ``temporal.api.update.v1.WaitPolicy``."""

    lifecycle_stage: int = 0


class Acceptance(Message):
    """Temporal's ``temporal.api.update.v1.Acceptance``."""

    accepted_request_message_id: str = ""
    accepted_request_sequencing_event_id: int = 0
    accepted_request: Request | None = None


class Rejection(Message):
    """Temporal's ``temporal.api.update.v1.Rejection``."""

    rejected_request_message_id: str = ""
    rejected_request_sequencing_event_id: int = 0
    rejected_request: Request | None = None
    failure: failure_v1.Failure | None = None


class Response(Message):
    """Temporal's ``temporal.api.update.v1.Response``."""

    meta: Meta | None = None
    outcome: Outcome | None = None
