"""Signalling a workflow and starting it first if need be, from workflow code: an operation of the system Nexus endpoint."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Concatenate, overload

from perdure.api import system
from perdure.common import (
    Priority,
    RetryPolicy,
    TypedSearchAttributes,
    VersioningOverride,
    WorkflowIDConflictPolicy,
    WorkflowIDReusePolicy,
)
from perdure.types import MethodSyncOrAsyncNoParam, MethodSyncOrAsyncSingleParam, MultiParamSpec, ParamType, SelfType
from perdure.workflow._nexus import create_nexus_client
from perdure.workflow._runtime import _Runtime
from perdure.workflow._workflow_ops import ExternalWorkflowHandle, get_external_workflow_handle


def _own_namespace() -> str:
    return _Runtime.current().info().namespace


@dataclass(slots=True)
class UserMetadata:
    """What a workflow is for, as user interfaces show it."""

    static_summary: Any | None = None
    static_details: Any | None = None


@dataclass(slots=True, kw_only=True)
class SignalWithStartWorkflowRequest:
    """What ``SignalWithStartWorkflowExecution`` of the system endpoint takes; see :func:`signal_with_start_workflow`."""

    workflow: str | Callable[..., Awaitable[object]]
    args: list[Any] | None = None
    id: str
    task_queue: str
    signal: str | Callable[..., Awaitable[None] | None]
    signal_args: list[Any] | None = None
    execution_timeout: timedelta | None = None
    run_timeout: timedelta | None = None
    task_timeout: timedelta | None = None
    id_reuse_policy: WorkflowIDReusePolicy = WorkflowIDReusePolicy.ALLOW_DUPLICATE
    id_conflict_policy: WorkflowIDConflictPolicy | None = None
    retry_policy: RetryPolicy | None = None
    cron_schedule: str | None = None
    memo: Mapping[str, Any] | None = None
    search_attributes: TypedSearchAttributes | None = None
    priority: Priority | None = None
    versioning_override: VersioningOverride | None = None
    start_delay: timedelta | None = None
    user_metadata: UserMetadata | None = None
    namespace: str = field(default_factory=_own_namespace)
    headers: Mapping[str, Any] | None = None


@dataclass(slots=True)
class SignalWithStartWorkflowResponse:
    """The run that got the signal, and whether it was started for it."""

    run_id: str | None = None
    started: bool | None = None


@overload
async def signal_with_start_workflow(
    workflow: str | Callable[..., Awaitable[Any]],
    *positional_args: Any,
    signal: str,
    id: str,
    task_queue: str,
    signal_args: list[Any] | None = None,
    args: list[Any] | None = None,
    execution_timeout: timedelta | None = None,
    run_timeout: timedelta | None = None,
    task_timeout: timedelta | None = None,
    id_reuse_policy: WorkflowIDReusePolicy = ...,
    id_conflict_policy: WorkflowIDConflictPolicy | None = None,
    retry_policy: RetryPolicy | None = None,
    cron_schedule: str | None = None,
    memo: Mapping[str, Any] | None = None,
    search_attributes: TypedSearchAttributes | None = None,
    priority: Priority | None = None,
    versioning_override: VersioningOverride | None = None,
    start_delay: timedelta | None = None,
    static_summary: str | None = None,
    static_details: str | None = None,
) -> ExternalWorkflowHandle[Any]: ...


@overload
async def signal_with_start_workflow(
    workflow: str | Callable[..., Awaitable[Any]],
    *positional_args: Any,
    signal: MethodSyncOrAsyncNoParam[SelfType, None],
    id: str,
    task_queue: str,
    args: list[Any] | None = None,
    execution_timeout: timedelta | None = None,
    run_timeout: timedelta | None = None,
    task_timeout: timedelta | None = None,
    id_reuse_policy: WorkflowIDReusePolicy = ...,
    id_conflict_policy: WorkflowIDConflictPolicy | None = None,
    retry_policy: RetryPolicy | None = None,
    cron_schedule: str | None = None,
    memo: Mapping[str, Any] | None = None,
    search_attributes: TypedSearchAttributes | None = None,
    priority: Priority | None = None,
    versioning_override: VersioningOverride | None = None,
    start_delay: timedelta | None = None,
    static_summary: str | None = None,
    static_details: str | None = None,
) -> ExternalWorkflowHandle[SelfType]: ...


@overload
async def signal_with_start_workflow(
    workflow: str | Callable[..., Awaitable[Any]],
    *positional_args: Any,
    signal: MethodSyncOrAsyncSingleParam[SelfType, ParamType, None],
    signal_args: ParamType,
    id: str,
    task_queue: str,
    args: list[Any] | None = None,
    execution_timeout: timedelta | None = None,
    run_timeout: timedelta | None = None,
    task_timeout: timedelta | None = None,
    id_reuse_policy: WorkflowIDReusePolicy = ...,
    id_conflict_policy: WorkflowIDConflictPolicy | None = None,
    retry_policy: RetryPolicy | None = None,
    cron_schedule: str | None = None,
    memo: Mapping[str, Any] | None = None,
    search_attributes: TypedSearchAttributes | None = None,
    priority: Priority | None = None,
    versioning_override: VersioningOverride | None = None,
    start_delay: timedelta | None = None,
    static_summary: str | None = None,
    static_details: str | None = None,
) -> ExternalWorkflowHandle[SelfType]: ...


@overload
async def signal_with_start_workflow(
    workflow: str | Callable[..., Awaitable[Any]],
    *positional_args: Any,
    signal: Callable[Concatenate[SelfType, MultiParamSpec], Awaitable[None] | None],
    signal_args: list[Any],
    id: str,
    task_queue: str,
    args: list[Any] | None = None,
    execution_timeout: timedelta | None = None,
    run_timeout: timedelta | None = None,
    task_timeout: timedelta | None = None,
    id_reuse_policy: WorkflowIDReusePolicy = ...,
    id_conflict_policy: WorkflowIDConflictPolicy | None = None,
    retry_policy: RetryPolicy | None = None,
    cron_schedule: str | None = None,
    memo: Mapping[str, Any] | None = None,
    search_attributes: TypedSearchAttributes | None = None,
    priority: Priority | None = None,
    versioning_override: VersioningOverride | None = None,
    start_delay: timedelta | None = None,
    static_summary: str | None = None,
    static_details: str | None = None,
) -> ExternalWorkflowHandle[SelfType]: ...


async def signal_with_start_workflow(
    workflow: str | Callable[..., Awaitable[Any]],
    *positional_args: Any,
    args: list[Any] | None = None,
    id: str,
    task_queue: str,
    signal: str | Callable[..., Any],
    signal_args: Any = None,
    execution_timeout: timedelta | None = None,
    run_timeout: timedelta | None = None,
    task_timeout: timedelta | None = None,
    id_reuse_policy: WorkflowIDReusePolicy = WorkflowIDReusePolicy.ALLOW_DUPLICATE,
    id_conflict_policy: WorkflowIDConflictPolicy | None = None,
    retry_policy: RetryPolicy | None = None,
    cron_schedule: str | None = None,
    memo: Mapping[str, Any] | None = None,
    search_attributes: TypedSearchAttributes | None = None,
    priority: Priority | None = None,
    versioning_override: VersioningOverride | None = None,
    start_delay: timedelta | None = None,
    static_summary: str | None = None,
    static_details: str | None = None,
) -> ExternalWorkflowHandle[Any]:
    """Signal a workflow of this namespace, starting it first if it is not running; returns a handle to that run.

    The service does both at once, also when it crashes meanwhile: never twice, never one of them alone. The workflow that is
    started is no child.

    Args:
        workflow: the type to start, as a string or a ``@workflow.run`` method; its arguments follow, or are ``args``.
        args: all arguments of the workflow, where they do not follow.
        id: the workflow's id.
        task_queue: where the workflow would be started.
        signal: the signal, named by a string or by its handler.
        signal_args: its argument; a list is all of its arguments.
        execution_timeout: how long the chain of runs may take.
        run_timeout: how long one run may take.
        task_timeout: how long a workflow task may take.
        id_reuse_policy: what about a closed workflow of that id.
        id_conflict_policy: what about a running one; ``USE_EXISTING`` unless given.
        retry_policy: how the workflow is retried.
        cron_schedule: when the workflow is run again.
        memo: notes on the workflow.
        search_attributes: what the workflow is found by.
        priority: its priority.
        versioning_override: which version of its worker is to run it.
        start_delay: how long its first workflow task waits.
        static_summary: one line about the workflow, for user interfaces.
        static_details: more about it.

    Replay: a command, ScheduleNexusOperation.
    Raises:
        NexusOperationError: the service refused; its cause says why.
    """
    if positional_args and args is not None:
        raise TypeError("signal_with_start_workflow: cannot specify both positional arguments and args")
    if signal_args is not None and not isinstance(signal_args, list):
        signal_args = [signal_args]
    metadata = None
    if static_summary is not None or static_details is not None:
        metadata = UserMetadata(static_summary, static_details)
    request = SignalWithStartWorkflowRequest(
        workflow=workflow,
        args=_listed(positional_args) or args,
        id=id,
        task_queue=task_queue,
        signal=signal,
        signal_args=signal_args,
        execution_timeout=execution_timeout,
        run_timeout=run_timeout,
        task_timeout=task_timeout,
        id_reuse_policy=id_reuse_policy,
        id_conflict_policy=id_conflict_policy,
        retry_policy=retry_policy,
        cron_schedule=cron_schedule,
        memo=memo,
        search_attributes=search_attributes,
        priority=priority,
        versioning_override=versioning_override,
        start_delay=start_delay,
        user_metadata=metadata,
    )
    client = create_nexus_client(service=system.SERVICE, endpoint=system.ENDPOINT)
    response: SignalWithStartWorkflowResponse = await client.execute_operation(
        system.SIGNAL_WITH_START, request, output_type=SignalWithStartWorkflowResponse
    )
    return get_external_workflow_handle(id, run_id=response.run_id)


def _listed(values: Sequence[Any]) -> list[Any] | None:
    return list(values) or None
