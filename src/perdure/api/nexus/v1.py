"""Temporal's ``temporal.api.nexus.v1``: Nexus requests, responses, failures and endpoints."""

from __future__ import annotations

from perdure.api._message import Message
from perdure.api.common import v1 as common_v1
from perdure.api.failure import v1 as failure_v1
from perdure.api.sdk import v1 as sdk_v1


class CancelOperationRequest(Message):
    """Temporal's ``temporal.api.nexus.v1.CancelOperationRequest``."""

    service: str = ""
    operation: str = ""
    operation_id: str = ""
    operation_token: str = ""


class CancelOperationResponse(Message):
    """Temporal's ``temporal.api.nexus.v1.CancelOperationResponse``."""


class Endpoint(Message):
    """Temporal's ``temporal.api.nexus.v1.Endpoint``."""

    version: int = 0
    id: str = ""
    spec: EndpointSpec | None = None
    created_time: int | None = None
    last_modified_time: int | None = None
    url_prefix: str = ""


class EndpointSpec(Message):
    """Temporal's ``temporal.api.nexus.v1.EndpointSpec``."""

    name: str = ""
    description: common_v1.Payload | None = None
    target: EndpointTarget | None = None


class EndpointTarget(Message):
    """Temporal's ``temporal.api.nexus.v1.EndpointTarget``."""

    worker: EndpointTargetWorker | None = None
    external: EndpointTargetExternal | None = None


class EndpointTargetExternal(Message):
    """Temporal's ``temporal.api.nexus.v1.EndpointTarget.External``."""

    url: str = ""


class EndpointTargetWorker(Message):
    """Temporal's ``temporal.api.nexus.v1.EndpointTarget.Worker``."""

    namespace: str = ""
    task_queue: str = ""


class Failure(Message):
    """Temporal's ``temporal.api.nexus.v1.Failure``."""

    message: str = ""
    metadata: dict[str, str] = {}
    details: bytes = b""
    stack_trace: str = ""
    cause: Failure | None = None


class HandlerError(Message):
    """Temporal's ``temporal.api.nexus.v1.HandlerError``."""

    error_type: str = ""
    failure: Failure | None = None
    retry_behavior: int = 0


class Link(Message):
    """Temporal's ``temporal.api.nexus.v1.Link``."""

    url: str = ""
    type: str = ""


class NexusOperationExecutionCancellationInfo(Message):
    """Temporal's ``temporal.api.nexus.v1.NexusOperationExecutionCancellationInfo``."""

    requested_time: int | None = None
    state: int = 0
    attempt: int = 0
    last_attempt_complete_time: int | None = None
    last_attempt_failure: failure_v1.Failure | None = None
    next_attempt_schedule_time: int | None = None
    blocked_reason: str = ""
    reason: str = ""


class NexusOperationExecutionInfo(Message):
    """Temporal's ``temporal.api.nexus.v1.NexusOperationExecutionInfo``."""

    operation_id: str = ""
    run_id: str = ""
    endpoint: str = ""
    service: str = ""
    operation: str = ""
    status: int = 0
    state: int = 0
    schedule_to_close_timeout: int | None = None
    schedule_to_start_timeout: int | None = None
    start_to_close_timeout: int | None = None
    attempt: int = 0
    schedule_time: int | None = None
    expiration_time: int | None = None
    close_time: int | None = None
    last_attempt_complete_time: int | None = None
    last_attempt_failure: failure_v1.Failure | None = None
    next_attempt_schedule_time: int | None = None
    execution_duration: int | None = None
    cancellation_info: NexusOperationExecutionCancellationInfo | None = None
    blocked_reason: str = ""
    request_id: str = ""
    operation_token: str = ""
    state_transition_count: int = 0
    search_attributes: common_v1.SearchAttributes | None = None
    nexus_header: dict[str, str] = {}
    user_metadata: sdk_v1.UserMetadata | None = None
    links: list[common_v1.Link] = []
    identity: str = ""
    state_size_bytes: int = 0


class NexusOperationExecutionListInfo(Message):
    """Temporal's ``temporal.api.nexus.v1.NexusOperationExecutionListInfo``."""

    operation_id: str = ""
    run_id: str = ""
    endpoint: str = ""
    service: str = ""
    operation: str = ""
    schedule_time: int | None = None
    close_time: int | None = None
    status: int = 0
    search_attributes: common_v1.SearchAttributes | None = None
    state_transition_count: int = 0
    execution_duration: int | None = None
    state_size_bytes: int = 0


class PropagatedSerializationContext(Message):
    """Temporal's ``temporal.api.nexus.v1.PropagatedSerializationContext``."""

    endpoint: str = ""
    service: str = ""
    operation: str = ""


class Request(Message):
    """Temporal's ``temporal.api.nexus.v1.Request``."""

    header: dict[str, str] = {}
    scheduled_time: int | None = None
    start_operation: StartOperationRequest | None = None
    cancel_operation: CancelOperationRequest | None = None
    endpoint: str = ""
    capabilities: RequestCapabilities | None = None


class RequestCapabilities(Message):
    """Temporal's ``temporal.api.nexus.v1.Request.Capabilities``."""

    temporal_failure_responses: bool = False


class Response(Message):
    """Temporal's ``temporal.api.nexus.v1.Response``."""

    start_operation: StartOperationResponse | None = None
    cancel_operation: CancelOperationResponse | None = None


class StartOperationRequest(Message):
    """Temporal's ``temporal.api.nexus.v1.StartOperationRequest``."""

    service: str = ""
    operation: str = ""
    request_id: str = ""
    callback: str = ""
    payload: common_v1.Payload | None = None
    callback_header: dict[str, str] = {}
    links: list[Link] = []


class StartOperationResponse(Message):
    """Temporal's ``temporal.api.nexus.v1.StartOperationResponse``."""

    sync_success: StartOperationResponseSync | None = None
    async_success: StartOperationResponseAsync | None = None
    operation_error: UnsuccessfulOperationError | None = None
    failure: failure_v1.Failure | None = None


class StartOperationResponseAsync(Message):
    """Temporal's ``temporal.api.nexus.v1.StartOperationResponse.Async``."""

    operation_id: str = ""
    links: list[Link] = []
    operation_token: str = ""


class StartOperationResponseSync(Message):
    """Temporal's ``temporal.api.nexus.v1.StartOperationResponse.Sync``."""

    payload: common_v1.Payload | None = None
    links: list[Link] = []


class UnsuccessfulOperationError(Message):
    """Temporal's ``temporal.api.nexus.v1.UnsuccessfulOperationError``."""

    operation_state: str = ""
    failure: Failure | None = None
