"""Temporal's ``temporal.api.batch.v1``: operations on many executions."""

from __future__ import annotations

from perdure.api._message import Message
from perdure.api.activity import v1 as activity_v1
from perdure.api.common import v1 as common_v1
from perdure.api.workflow import v1 as workflow_v1


class BatchOperationCancelActivities(Message):
    """Temporal's ``temporal.api.batch.v1.BatchOperationCancelActivities``."""

    identity: str = ""
    reason: str = ""


class BatchOperationCancellation(Message):
    """Temporal's ``temporal.api.batch.v1.BatchOperationCancellation``."""

    identity: str = ""


class BatchOperationDeleteActivities(Message):
    """Temporal's ``temporal.api.batch.v1.BatchOperationDeleteActivities``."""


class BatchOperationDeletion(Message):
    """Temporal's ``temporal.api.batch.v1.BatchOperationDeletion``."""

    identity: str = ""


class BatchOperationInfo(Message):
    """Temporal's ``temporal.api.batch.v1.BatchOperationInfo``."""

    job_id: str = ""
    state: int = 0
    start_time: int | None = None
    close_time: int | None = None
    operation_type: int = 0


class BatchOperationReset(Message):
    """Temporal's ``temporal.api.batch.v1.BatchOperationReset``."""

    identity: str = ""
    options: common_v1.ResetOptions | None = None
    reset_type: int = 0
    reset_reapply_type: int = 0
    post_reset_operations: list[workflow_v1.PostResetOperation] = []


class BatchOperationResetActivities(Message):
    """Temporal's ``temporal.api.batch.v1.BatchOperationResetActivities``."""

    identity: str = ""
    type: str = ""
    match_all: bool = False
    reset_attempts: bool = False
    reset_heartbeat: bool = False
    keep_paused: bool = False
    jitter: int | None = None
    restore_original_options: bool = False


class BatchOperationSignal(Message):
    """Temporal's ``temporal.api.batch.v1.BatchOperationSignal``."""

    signal: str = ""
    input: common_v1.Payloads | None = None
    header: common_v1.Header | None = None
    identity: str = ""


class BatchOperationTerminateActivities(Message):
    """Temporal's ``temporal.api.batch.v1.BatchOperationTerminateActivities``."""

    identity: str = ""
    reason: str = ""


class BatchOperationTermination(Message):
    """Temporal's ``temporal.api.batch.v1.BatchOperationTermination``."""

    details: common_v1.Payloads | None = None
    identity: str = ""


class BatchOperationUnpauseActivities(Message):
    """Temporal's ``temporal.api.batch.v1.BatchOperationUnpauseActivities``."""

    identity: str = ""
    type: str = ""
    match_all: bool = False
    reset_attempts: bool = False
    reset_heartbeat: bool = False
    jitter: int | None = None


class BatchOperationUpdateActivityOptions(Message):
    """Temporal's ``temporal.api.batch.v1.BatchOperationUpdateActivityOptions``."""

    identity: str = ""
    type: str = ""
    match_all: bool = False
    activity_options: activity_v1.ActivityOptions | None = None
    update_mask: list[str] = []
    restore_original: bool = False


class BatchOperationUpdateWorkflowExecutionOptions(Message):
    """Temporal's ``temporal.api.batch.v1.BatchOperationUpdateWorkflowExecutionOptions``."""

    identity: str = ""
    workflow_execution_options: workflow_v1.WorkflowExecutionOptions | None = None
    update_mask: list[str] = []
