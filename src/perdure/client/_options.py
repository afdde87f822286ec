"""The keyword arguments that several overloads share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Required, TypedDict

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import timedelta

    from perdure.common import (
        Priority,
        QueryRejectCondition,
        RetryPolicy,
        SearchAttributes,
        TypedSearchAttributes,
        VersioningOverride,
        WorkflowIDConflictPolicy,
        WorkflowIDReusePolicy,
    )


class RPCOptions(TypedDict, total=False):
    """Options of every call."""

    rpc_metadata: Mapping[str, str | bytes]
    rpc_timeout: timedelta | None


class QueryOptions(RPCOptions, total=False):
    """Options of a query."""

    reject_condition: QueryRejectCondition | None


class UpdateOptions(RPCOptions, total=False):
    """Options of an update."""

    id: str | None


class StartWorkflowOptions(RPCOptions, total=False):
    """Options of starting a workflow. See :meth:`Client.start_workflow`."""

    id: Required[str]
    task_queue: Required[str]
    execution_timeout: timedelta | None
    run_timeout: timedelta | None
    task_timeout: timedelta | None
    id_reuse_policy: WorkflowIDReusePolicy
    id_conflict_policy: WorkflowIDConflictPolicy
    retry_policy: RetryPolicy | None
    cron_schedule: str
    memo: Mapping[str, Any] | None
    search_attributes: TypedSearchAttributes | SearchAttributes | None
    static_summary: str | None
    static_details: str | None
    start_delay: timedelta | None
    start_signal: str | None
    start_signal_args: Sequence[Any]
    request_eager_start: bool
    priority: Priority
    versioning_override: VersioningOverride | None
