"""Child workflows, other workflows, continue-as-new, and handlers set at run time."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import timedelta
from enum import IntEnum
from typing import TYPE_CHECKING, Any, Concatenate, Generic, NoReturn, TypedDict, Unpack, overload

from perdure.common import (
    Priority,
    RetryPolicy,
    SearchAttributes,
    TypedSearchAttributes,
    VersioningOverride,
    WorkflowIDReusePolicy,
    _arg_or_args,
    _arg_unset,
)
from perdure.types import (
    MethodAsyncNoParam,
    MethodAsyncSingleParam,
    MethodSyncOrAsyncNoParam,
    MethodSyncOrAsyncSingleParam,
    MultiParamSpec,
    ParamType,
    ReturnType,
    SelfType,
)
from perdure.workflow._activities import _Future
from perdure.workflow._event_groups import EventGroup
from perdure.workflow._exceptions import ContinueAsNewVersioningBehavior, VersioningIntent
from perdure.workflow._runtime import _Runtime

if TYPE_CHECKING:
    # A future is invariant in its result, a handle covariant as Temporal's is: nobody sets a handle's result.
    class _ChildFuture(_Future[ReturnType], Generic[SelfType, ReturnType]): ...  # type: ignore[type-var]

else:

    class _ChildFuture(_Future, Generic[SelfType, ReturnType]):
        """A future with the type parameters of a child workflow at run time."""


class ChildWorkflowHandle(_ChildFuture[SelfType, ReturnType]):
    """A started child workflow: await it for its result, ``cancel()`` it to request cancellation."""

    @property
    def id(self) -> str:
        """Its workflow id."""
        raise NotImplementedError

    @property
    def first_execution_run_id(self) -> str | None:
        """The run id it was started with."""
        raise NotImplementedError

    @overload
    async def signal(
        self, signal: MethodSyncOrAsyncNoParam[SelfType, None], *, event_groups: Sequence[EventGroup] | None = None
    ) -> None: ...

    @overload
    async def signal(
        self,
        signal: MethodSyncOrAsyncSingleParam[SelfType, ParamType, None],
        arg: ParamType,
        *,
        event_groups: Sequence[EventGroup] | None = None,
    ) -> None: ...

    @overload
    async def signal(
        self,
        signal: Callable[Concatenate[SelfType, MultiParamSpec], Awaitable[None] | None],
        *,
        args: Sequence[Any],
        event_groups: Sequence[EventGroup] | None = None,
    ) -> None: ...

    @overload
    async def signal(
        self,
        signal: str,
        arg: Any = _arg_unset,
        *,
        args: Sequence[Any] = (),
        event_groups: Sequence[EventGroup] | None = None,
    ) -> None: ...

    async def signal(
        self,
        signal: str | Callable[..., Any],
        arg: Any = _arg_unset,
        *,
        args: Sequence[Any] = (),
        event_groups: Sequence[EventGroup] | None = None,
    ) -> None:
        """Send it a signal, named by a string or by its handler.

        Replay: a command, SignalExternalWorkflowExecution.
        """
        raise NotImplementedError


class ExternalWorkflowHandle(Generic[SelfType]):
    """Another workflow, to signal or to cancel. Made by :func:`get_external_workflow_handle`."""

    @property
    def id(self) -> str:
        """Its workflow id."""
        raise NotImplementedError

    @property
    def run_id(self) -> str | None:
        """The run meant, None for the current one."""
        raise NotImplementedError

    @overload
    async def signal(
        self, signal: MethodSyncOrAsyncNoParam[SelfType, None], *, event_groups: Sequence[EventGroup] | None = None
    ) -> None: ...

    @overload
    async def signal(
        self,
        signal: MethodSyncOrAsyncSingleParam[SelfType, ParamType, None],
        arg: ParamType,
        *,
        event_groups: Sequence[EventGroup] | None = None,
    ) -> None: ...

    @overload
    async def signal(
        self,
        signal: str,
        arg: Any = _arg_unset,
        *,
        args: Sequence[Any] = (),
        event_groups: Sequence[EventGroup] | None = None,
    ) -> None: ...

    async def signal(
        self,
        signal: str | Callable[..., Any],
        arg: Any = _arg_unset,
        *,
        args: Sequence[Any] = (),
        event_groups: Sequence[EventGroup] | None = None,
    ) -> None:
        """Send it a signal, named by a string or by its handler; returns when it is in the other's history.

        Replay: a command, SignalExternalWorkflowExecution.
        """
        raise NotImplementedError

    async def cancel(self, *, reason: str = "", event_groups: Sequence[EventGroup] | None = None) -> None:
        """Ask it to cancel; returns when the request is in the other's history.

        Replay: a command, RequestCancelExternalWorkflowExecution.
        """
        raise NotImplementedError


class ChildWorkflowCancellationType(IntEnum):
    """What cancelling a child workflow does."""

    ABANDON = 0
    """Nothing is sent; it is seen as cancelled at once."""
    TRY_CANCEL = 1
    """The request is sent; it is seen as cancelled at once."""
    WAIT_CANCELLATION_COMPLETED = 2
    """The request is sent; wait for how it ends."""
    WAIT_CANCELLATION_REQUESTED = 3
    """As WAIT_CANCELLATION_COMPLETED, which is also what Temporal's SDK makes of it."""


class ParentClosePolicy(IntEnum):
    """What happens to a child when its parent closes."""

    UNSPECIFIED = 0
    TERMINATE = 1
    ABANDON = 2
    REQUEST_CANCEL = 3


class ChildWorkflowConfig(TypedDict, total=False):
    """Options of a child workflow, to share between calls."""

    id: str | None
    task_queue: str | None
    cancellation_type: ChildWorkflowCancellationType
    parent_close_policy: ParentClosePolicy
    execution_timeout: timedelta | None
    run_timeout: timedelta | None
    task_timeout: timedelta | None
    id_reuse_policy: WorkflowIDReusePolicy
    retry_policy: RetryPolicy | None
    cron_schedule: str
    memo: Mapping[str, Any] | None
    search_attributes: SearchAttributes | TypedSearchAttributes | None
    versioning_intent: VersioningIntent | None
    static_summary: str | None
    static_details: str | None
    priority: Priority
    versioning_override: VersioningOverride | None
    event_groups: Sequence[EventGroup] | None


class _NamedChildWorkflowConfig(ChildWorkflowConfig, total=False):
    args: Sequence[Any]
    result_type: type | None


_WAIT_COMPLETED = ChildWorkflowCancellationType.WAIT_CANCELLATION_COMPLETED


@overload
async def start_child_workflow(
    workflow: MethodAsyncNoParam[SelfType, ReturnType], **options: Unpack[ChildWorkflowConfig]
) -> ChildWorkflowHandle[SelfType, ReturnType]: ...


@overload
async def start_child_workflow(
    workflow: MethodAsyncSingleParam[SelfType, ParamType, ReturnType],
    arg: ParamType,
    **options: Unpack[ChildWorkflowConfig],
) -> ChildWorkflowHandle[SelfType, ReturnType]: ...


@overload
async def start_child_workflow(
    workflow: Callable[Concatenate[SelfType, MultiParamSpec], Awaitable[ReturnType]],
    *,
    args: Sequence[Any],
    **options: Unpack[ChildWorkflowConfig],
) -> ChildWorkflowHandle[SelfType, ReturnType]: ...


@overload
async def start_child_workflow(
    workflow: str, arg: Any = _arg_unset, **options: Unpack[_NamedChildWorkflowConfig]
) -> ChildWorkflowHandle[Any, Any]: ...


async def start_child_workflow(
    workflow: Any,
    arg: Any = _arg_unset,
    *,
    args: Sequence[Any] = (),
    id: str | None = None,
    task_queue: str | None = None,
    result_type: type | None = None,
    cancellation_type: ChildWorkflowCancellationType = _WAIT_COMPLETED,
    parent_close_policy: ParentClosePolicy = ParentClosePolicy.TERMINATE,
    execution_timeout: timedelta | None = None,
    run_timeout: timedelta | None = None,
    task_timeout: timedelta | None = None,
    id_reuse_policy: WorkflowIDReusePolicy = WorkflowIDReusePolicy.ALLOW_DUPLICATE,
    retry_policy: RetryPolicy | None = None,
    cron_schedule: str = "",
    memo: Mapping[str, Any] | None = None,
    search_attributes: SearchAttributes | TypedSearchAttributes | None = None,
    versioning_intent: VersioningIntent | None = None,
    static_summary: str | None = None,
    static_details: str | None = None,
    priority: Priority = Priority.default,
    versioning_override: VersioningOverride | None = None,
    event_groups: Sequence[EventGroup] | None = None,
) -> ChildWorkflowHandle[Any, Any]:
    """Start a child workflow; returns when it has started. Await the handle for its result.

    Args:
        workflow: the run method of its class, or its type as a string.
        arg: its argument.
        args: its arguments, when there are several.
        id: its workflow id, by default a :func:`uuid4`.
        task_queue: by default the parent's.
        result_type: the result's type, for a workflow named by a string.
        cancellation_type: what cancelling the handle does.
        parent_close_policy: what happens to it when this workflow closes.
        execution_timeout: limit over retries and continue-as-new.
        run_timeout: limit of one run.
        task_timeout: limit of one workflow task.
        id_reuse_policy: when the id belonged to a workflow that is closed.
        retry_policy: by default it is not retried.
        cron_schedule: deprecated; use schedules.
        memo: its memo.
        search_attributes: its search attributes.
        versioning_intent: deprecated.
        static_summary: one line about it for user interfaces.
        static_details: more about it for user interfaces.
        priority: of its tasks.
        versioning_override: overrules the versioning behavior of its worker.
        event_groups: the groups its events belong to.

    Raises:
        WorkflowAlreadyStartedError: a workflow of that id is running.

    Replay: a command, StartChildWorkflowExecution; workflow id and type must stay the same.
    """
    runtime = _Runtime.current()
    options = {
        "id": id,
        "task_queue": task_queue,
        "result_type": result_type,
        "cancellation_type": cancellation_type,
        "parent_close_policy": parent_close_policy,
        "execution_timeout": execution_timeout,
        "run_timeout": run_timeout,
        "task_timeout": task_timeout,
        "id_reuse_policy": id_reuse_policy,
        "retry_policy": retry_policy,
        "cron_schedule": cron_schedule,
        "memo": memo,
        "search_attributes": search_attributes,
        "versioning_intent": versioning_intent,
        "static_summary": static_summary,
        "static_details": static_details,
        "priority": priority,
        "versioning_override": versioning_override,
        "event_groups": event_groups,
    }
    return await runtime.start_child_workflow(workflow, _arg_or_args(arg, args), options)


@overload
async def execute_child_workflow(
    workflow: MethodAsyncNoParam[SelfType, ReturnType], **options: Unpack[ChildWorkflowConfig]
) -> ReturnType: ...


@overload
async def execute_child_workflow(
    workflow: MethodAsyncSingleParam[SelfType, ParamType, ReturnType],
    arg: ParamType,
    **options: Unpack[ChildWorkflowConfig],
) -> ReturnType: ...


@overload
async def execute_child_workflow(
    workflow: Callable[Concatenate[SelfType, MultiParamSpec], Awaitable[ReturnType]],
    *,
    args: Sequence[Any],
    **options: Unpack[ChildWorkflowConfig],
) -> ReturnType: ...


@overload
async def execute_child_workflow(
    workflow: str, arg: Any = _arg_unset, **options: Unpack[_NamedChildWorkflowConfig]
) -> Any: ...


async def execute_child_workflow(
    workflow: Any, arg: Any = _arg_unset, *, args: Sequence[Any] = (), **options: Any
) -> Any:
    """Run a child workflow and give its result; see :func:`start_child_workflow` for the arguments.

    Raises:
        ChildWorkflowError: it failed, timed out, was cancelled or terminated; ``__cause__`` says which.
    """
    handle = await start_child_workflow(workflow, arg, args=args, **options)
    return await handle


def get_external_workflow_handle(workflow_id: str, *, run_id: str | None = None) -> ExternalWorkflowHandle[Any]:
    """A handle to signal or cancel another workflow. Nothing is checked or sent yet."""
    return _Runtime.current().external_workflow_handle(workflow_id, run_id)


@overload
def get_external_workflow_handle_for(
    workflow: MethodAsyncNoParam[SelfType, Any], workflow_id: str, *, run_id: str | None = None
) -> ExternalWorkflowHandle[SelfType]: ...


@overload
def get_external_workflow_handle_for(
    workflow: MethodAsyncSingleParam[SelfType, Any, Any], workflow_id: str, *, run_id: str | None = None
) -> ExternalWorkflowHandle[SelfType]: ...


@overload
def get_external_workflow_handle_for(
    workflow: Callable[Concatenate[SelfType, MultiParamSpec], Awaitable[Any]],
    workflow_id: str,
    *,
    run_id: str | None = None,
) -> ExternalWorkflowHandle[SelfType]: ...


def get_external_workflow_handle_for(
    workflow: Callable[..., Any], workflow_id: str, *, run_id: str | None = None
) -> ExternalWorkflowHandle[Any]:
    """:func:`get_external_workflow_handle`, typed by the run method of the other workflow's class."""
    return _Runtime.current().external_workflow_handle(workflow_id, run_id)


def continue_as_new(
    arg: Any = _arg_unset,
    *,
    args: Sequence[Any] = (),
    workflow: Callable[..., Any] | str | None = None,
    task_queue: str | None = None,
    run_timeout: timedelta | None = None,
    task_timeout: timedelta | None = None,
    backoff_start_interval: timedelta | None = None,
    retry_policy: RetryPolicy | None = None,
    memo: Mapping[str, Any] | None = None,
    search_attributes: SearchAttributes | TypedSearchAttributes | None = None,
    versioning_intent: VersioningIntent | None = None,
    initial_versioning_behavior: ContinueAsNewVersioningBehavior | None = None,
    event_groups: Sequence[EventGroup] | None = None,
) -> NoReturn:
    """Leave this run and start the workflow anew with a fresh history. Does not return: it raises.

    Args:
        arg: the new run's argument.
        args: its arguments, when there are several.
        workflow: run another workflow: its run method, or its type as a string.
        task_queue: by default this one's.
        run_timeout: by default this run's.
        task_timeout: by default this run's.
        backoff_start_interval: start the new run that much later.
        retry_policy: by default this run's.
        memo: by default this run's.
        search_attributes: by default this run's.
        versioning_intent: deprecated.
        initial_versioning_behavior: which deployment version the new run begins on.
        event_groups: the groups the last event belongs to.

    Replay: a command, ContinueAsNewWorkflowExecution. Wait for :func:`all_handlers_finished` first.
    """
    _Runtime.current().continue_as_new(
        workflow,
        _arg_or_args(arg, args),
        {
            "task_queue": task_queue,
            "run_timeout": run_timeout,
            "task_timeout": task_timeout,
            "backoff_start_interval": backoff_start_interval,
            "retry_policy": retry_policy,
            "memo": memo,
            "search_attributes": search_attributes,
            "versioning_intent": versioning_intent,
            "initial_versioning_behavior": initial_versioning_behavior,
            "event_groups": event_groups,
        },
    )


def all_handlers_finished() -> bool:
    """Whether no signal or update handler is running."""
    return _Runtime.current().all_handlers_finished()


def get_signal_handler(name: str) -> Callable[..., Any] | None:
    """The handler of that signal, or None."""
    return _Runtime.current().handler("signal", name)


def set_signal_handler(name: str, handler: Callable[..., Any] | None) -> None:
    """Set the handler of a signal; None removes it. Signals that came before are handed over at once."""
    _Runtime.current().set_handler("signal", name, handler)


def get_dynamic_signal_handler() -> Callable[..., Any] | None:
    """The handler of signals without a handler of their own, or None."""
    return _Runtime.current().handler("signal", None)


def set_dynamic_signal_handler(handler: Callable[..., Any] | None) -> None:
    """Set the handler of signals without a handler of their own; None removes it."""
    _Runtime.current().set_handler("signal", None, handler)


def get_query_handler(name: str) -> Callable[..., Any] | None:
    """The handler of that query, or None."""
    return _Runtime.current().handler("query", name)


def set_query_handler(name: str, handler: Callable[..., Any] | None) -> None:
    """Set the handler of a query; None removes it."""
    _Runtime.current().set_handler("query", name, handler)


def get_dynamic_query_handler() -> Callable[..., Any] | None:
    """The handler of queries without a handler of their own, or None."""
    return _Runtime.current().handler("query", None)


def set_dynamic_query_handler(handler: Callable[..., Any] | None) -> None:
    """Set the handler of queries without a handler of their own; None removes it."""
    _Runtime.current().set_handler("query", None, handler)


def get_update_handler(name: str) -> Callable[..., Any] | None:
    """The handler of that update, or None."""
    return _Runtime.current().handler("update", name)


def set_update_handler(
    name: str, handler: Callable[..., Any] | None, *, validator: Callable[..., None] | None = None
) -> None:
    """Set the handler of an update, and the function that may refuse it; None removes it."""
    _Runtime.current().set_handler("update", name, handler, validator)


def get_dynamic_update_handler() -> Callable[..., Any] | None:
    """The handler of updates without a handler of their own, or None."""
    return _Runtime.current().handler("update", None)


def set_dynamic_update_handler(
    handler: Callable[..., Any] | None, *, validator: Callable[..., None] | None = None
) -> None:
    """Set the handler of updates without a handler of their own; None removes it."""
    _Runtime.current().set_handler("update", None, handler, validator)
