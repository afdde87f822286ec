"""Temporal's ``temporal.api.common.v1``: values every other message is made of: payloads, headers, executions, links."""

from __future__ import annotations

from perdure.api._message import Message
from perdure.api.common import _payload_wire


class ActivityType(Message):
    """Temporal's ``temporal.api.common.v1.ActivityType``."""

    name: str = ""


class Callback(Message):
    """Temporal's ``temporal.api.common.v1.Callback``."""

    nexus: CallbackNexus | None = None
    internal: CallbackInternal | None = None
    nexus_handler: CallbackNexusHandler | None = None
    links: list[Link] = []


class CallbackInternal(Message):
    """Temporal's ``temporal.api.common.v1.Callback.Internal``."""

    data: bytes = b""


class CallbackNexus(Message):
    """Temporal's ``temporal.api.common.v1.Callback.Nexus``."""

    url: str = ""
    header: dict[str, str] = {}


class CallbackNexusHandler(Message):
    """Temporal's ``temporal.api.common.v1.Callback.NexusHandler``."""

    task_queue_name: str = ""
    service: str = ""
    operation: str = ""
    source_context: Payload | None = None


class DataBlob(Message):
    """Temporal's ``temporal.api.common.v1.DataBlob``."""

    encoding_type: int = 0
    data: bytes = b""


class Execution(Message):
    """Temporal's ``temporal.api.common.v1.Execution``."""

    type: int = 0
    business_id: str = ""
    run_id: str = ""


class FastForwardConfig(Message):
    """Temporal's ``temporal.api.common.v1.FastForwardConfig``."""

    id: str = ""
    duration: int | None = None


class Header(Message):
    """Temporal's ``temporal.api.common.v1.Header``."""

    fields: dict[str, Payload] = {}


class Link(Message):
    """Temporal's ``temporal.api.common.v1.Link``."""

    workflow_event: LinkWorkflowEvent | None = None
    batch_job: LinkBatchJob | None = None
    activity: LinkActivity | None = None
    nexus_operation: LinkNexusOperation | None = None
    workflow: LinkWorkflow | None = None
    callback: LinkCallback | None = None


class LinkActivity(Message):
    """Temporal's ``temporal.api.common.v1.Link.Activity``."""

    namespace: str = ""
    activity_id: str = ""
    run_id: str = ""


class LinkBatchJob(Message):
    """Temporal's ``temporal.api.common.v1.Link.BatchJob``."""

    job_id: str = ""


class LinkCallback(Message):
    """Temporal's ``temporal.api.common.v1.Link.Callback``."""

    namespace: str = ""
    execution: Execution | None = None
    component_path: list[str] = []
    request_id: str = ""


class LinkNexusOperation(Message):
    """Temporal's ``temporal.api.common.v1.Link.NexusOperation``."""

    namespace: str = ""
    operation_id: str = ""
    run_id: str = ""


class LinkWorkflow(Message):
    """Temporal's ``temporal.api.common.v1.Link.Workflow``."""

    namespace: str = ""
    workflow_id: str = ""
    run_id: str = ""
    reason: str = ""


class LinkWorkflowEvent(Message):
    """Temporal's ``temporal.api.common.v1.Link.WorkflowEvent``."""

    namespace: str = ""
    workflow_id: str = ""
    run_id: str = ""
    event_ref: LinkWorkflowEventEventReference | None = None
    request_id_ref: LinkWorkflowEventRequestIdReference | None = None


class LinkWorkflowEventEventReference(Message):
    """Temporal's ``temporal.api.common.v1.Link.WorkflowEvent.EventReference``."""

    event_id: int = 0
    event_type: int = 0


class LinkWorkflowEventRequestIdReference(Message):
    """Temporal's ``temporal.api.common.v1.Link.WorkflowEvent.RequestIdReference``."""

    request_id: str = ""
    event_type: int = 0


class Memo(Message):
    """Temporal's ``temporal.api.common.v1.Memo``."""

    fields: dict[str, Payload] = {}


class MeteringMetadata(Message):
    """Temporal's ``temporal.api.common.v1.MeteringMetadata``."""

    nonfirst_local_activity_execution_attempts: int = 0


class OnConflictOptions(Message):
    """Temporal's ``temporal.api.common.v1.OnConflictOptions``."""

    attach_request_id: bool = False
    attach_completion_callbacks: bool = False
    attach_links: bool = False


class Payload(Message):
    """Temporal's ``temporal.api.common.v1.Payload``."""

    metadata: dict[str, bytes] = {}
    data: bytes = b""
    external_payloads: list[PayloadExternalPayloadDetails] = []

    # What codecs and storage drivers call on Temporal's class, under its names.

    def SerializeToString(self) -> bytes:
        """The payload as protobuf; equal payloads are equal bytes."""
        return _payload_wire.payload_to_bytes(self)

    def ByteSize(self) -> int:
        """Length of :meth:`SerializeToString`."""
        return _payload_wire.payload_size(self)

    def CopyFrom(self, other: Payload) -> None:
        """Become a copy of another payload."""
        self.metadata = dict(other.metadata)
        self.data = other.data
        self.external_payloads = [PayloadExternalPayloadDetails(it.size_bytes) for it in other.external_payloads]

    def __deepcopy__(self, memo: object = None) -> Payload:
        """A copy that shares nothing that can change."""
        copy = Payload()
        copy.CopyFrom(self)
        return copy

    def ParseFromString(self, data: bytes) -> int:
        """Become the payload that ``data`` is; its length. Raises ValueError for bytes that are no payload."""
        self.metadata, self.data, sizes = _payload_wire.payload_fields(data)
        self.external_payloads = [PayloadExternalPayloadDetails(size) for size in sizes]
        return len(data)

    @classmethod
    def FromString(cls, data: bytes) -> Payload:
        """The payload that ``data`` is. Raises ValueError for bytes that are no payload."""
        payload = cls()
        payload.ParseFromString(data)
        return payload


class PayloadExternalPayloadDetails(Message):
    """Temporal's ``temporal.api.common.v1.Payload.ExternalPayloadDetails``."""

    size_bytes: int = 0


class Payloads(Message):
    """Temporal's ``temporal.api.common.v1.Payloads``."""

    payloads: list[Payload] = []

    # As those of Payload.

    def SerializeToString(self) -> bytes:
        """The payloads as one protobuf message."""
        return b"".join(_payload_wire.field(1, payload.SerializeToString()) for payload in self.payloads)

    def ParseFromString(self, data: bytes) -> int:
        """Become the payloads that ``data`` is; its length. Raises ValueError for bytes that are none."""
        blocks = [block for number, block in _payload_wire.fields(data) if number == 1 and isinstance(block, bytes)]
        self.payloads = [Payload.FromString(block) for block in blocks]
        return len(data)

    @classmethod
    def FromString(cls, data: bytes) -> Payloads:
        """The payloads that ``data`` is. Raises ValueError for bytes that are none."""
        payloads = cls()
        payloads.ParseFromString(data)
        return payloads


class Principal(Message):
    """Temporal's ``temporal.api.common.v1.Principal``."""

    type: str = ""
    name: str = ""


class Priority(Message):
    """Temporal's ``temporal.api.common.v1.Priority``."""

    priority_key: int = 0
    fairness_key: str = ""
    fairness_weight: float = 0.0


class ResetOptions(Message):
    """Temporal's ``temporal.api.common.v1.ResetOptions``."""

    first_workflow_task: bool | None = None
    last_workflow_task: bool | None = None
    workflow_task_id: int = 0
    build_id: str = ""
    reset_reapply_type: int = 0
    current_run_only: bool = False
    reset_reapply_exclude_types: list[int] = []


class RetryPolicy(Message):
    """Temporal's ``temporal.api.common.v1.RetryPolicy``."""

    initial_interval: int | None = None
    backoff_coefficient: float = 0.0
    maximum_interval: int | None = None
    maximum_attempts: int = 0
    non_retryable_error_types: list[str] = []


class SearchAttributes(Message):
    """Temporal's ``temporal.api.common.v1.SearchAttributes``."""

    indexed_fields: dict[str, Payload] = {}


class TimeSkippingConfig(Message):
    """Temporal's ``temporal.api.common.v1.TimeSkippingConfig``."""

    enabled: bool = False
    fast_forward_config: FastForwardConfig | None = None
    disable_propagation: bool = False
    max_session_skip_count: int = 0


class TimeSkippingFastForwardInfo(Message):
    """Temporal's ``temporal.api.common.v1.TimeSkippingFastForwardInfo``."""

    fast_forward_duration: int | None = None
    fast_forward_id: str = ""
    target_time: int | None = None
    has_completed: bool = False


class TimeSkippingInfo(Message):
    """Temporal's ``temporal.api.common.v1.TimeSkippingInfo``."""

    current_time: int | None = None
    effective_config: TimeSkippingConfig | None = None
    fast_forward_info: TimeSkippingFastForwardInfo | None = None
    current_session_skip_count: int = 0


class TimeSkippingStatePropagation(Message):
    """Temporal's ``temporal.api.common.v1.TimeSkippingStatePropagation``."""

    initial_skipped_duration: int | None = None
    fast_forward_target_time: int | None = None
    initial_skip_count: int = 0


class WorkerVersionCapabilities(Message):
    """Temporal's ``temporal.api.common.v1.WorkerVersionCapabilities``."""

    build_id: str = ""
    use_versioning: bool = False
    deployment_series_name: str = ""


class WorkerVersionStamp(Message):
    """Temporal's ``temporal.api.common.v1.WorkerVersionStamp``."""

    build_id: str = ""
    use_versioning: bool = False


class WorkflowExecution(Message):
    """Temporal's ``temporal.api.common.v1.WorkflowExecution``."""

    workflow_id: str = ""
    run_id: str = ""


class WorkflowType(Message):
    """Temporal's ``temporal.api.common.v1.WorkflowType``."""

    name: str = ""
