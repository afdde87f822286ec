"""Calling activities from workflow code."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from enum import IntEnum
from typing import TYPE_CHECKING, Any, Concatenate, Generic, TypedDict, Unpack, overload

from perdure._native import loop as _loop
from perdure.common import Priority, RetryPolicy, _arg_or_args, _arg_unset
from perdure.types import (
    CallableAsyncNoParam,
    CallableAsyncSingleParam,
    CallableSyncNoParam,
    CallableSyncSingleParam,
    MethodAsyncNoParam,
    MethodAsyncSingleParam,
    MethodSyncNoParam,
    MethodSyncSingleParam,
    MultiParamSpec,
    ParamType,
    ReturnType,
    SelfType,
)
from perdure.workflow._event_groups import EventGroup
from perdure.workflow._exceptions import VersioningIntent
from perdure.workflow._runtime import _Runtime

if TYPE_CHECKING:
    _Future = _loop.Future
else:

    class _Future(_loop.Future, Generic[ReturnType]):
        """The loop's future, with a type parameter at run time."""


# A future is invariant in its result, a handle covariant as Temporal's is: nobody sets a handle's result.
class ActivityHandle(_Future[ReturnType]):  # type: ignore[type-var]
    """A started activity: await it for its result, ``cancel()`` it to request cancellation.

    A future of the workflow's event loop; Temporal's is a task, the same to whoever awaits it.
    """


class ActivityCancellationType(IntEnum):
    """What cancelling an activity does."""

    TRY_CANCEL = 0
    """Request cancellation, and see the activity as cancelled at once."""
    WAIT_CANCELLATION_COMPLETED = 1
    """Request cancellation, and wait for how the activity ends. It learns of the request by heartbeats only."""
    ABANDON = 2
    """Request nothing, and see the activity as cancelled at once."""


class ActivityConfig(TypedDict, total=False):
    """Options of an activity call, to share between calls: ``execute_activity(fn, arg, **config)``."""

    task_queue: str | None
    schedule_to_close_timeout: timedelta | None
    schedule_to_start_timeout: timedelta | None
    start_to_close_timeout: timedelta | None
    heartbeat_timeout: timedelta | None
    retry_policy: RetryPolicy | None
    cancellation_type: ActivityCancellationType
    activity_id: str | None
    versioning_intent: VersioningIntent | None
    summary: str | None
    priority: Priority
    event_groups: Sequence[EventGroup] | None


class _NamedActivityConfig(ActivityConfig, total=False):
    args: Sequence[Any]
    result_type: type | None


class LocalActivityConfig(TypedDict, total=False):
    """Options of a local activity call, to share between calls."""

    schedule_to_close_timeout: timedelta | None
    schedule_to_start_timeout: timedelta | None
    start_to_close_timeout: timedelta | None
    retry_policy: RetryPolicy | None
    local_retry_threshold: timedelta | None
    cancellation_type: ActivityCancellationType
    activity_id: str | None
    summary: str | None
    event_groups: Sequence[EventGroup] | None


_TRY_CANCEL = ActivityCancellationType.TRY_CANCEL
_DEFAULT_PRIORITY = Priority.default


@overload
def start_activity(
    activity: CallableAsyncNoParam[ReturnType], **options: Unpack[ActivityConfig]
) -> ActivityHandle[ReturnType]: ...


@overload
def start_activity(
    activity: CallableSyncNoParam[ReturnType], **options: Unpack[ActivityConfig]
) -> ActivityHandle[ReturnType]: ...


@overload
def start_activity(
    activity: CallableAsyncSingleParam[ParamType, ReturnType], arg: ParamType, **options: Unpack[ActivityConfig]
) -> ActivityHandle[ReturnType]: ...


@overload
def start_activity(
    activity: CallableSyncSingleParam[ParamType, ReturnType], arg: ParamType, **options: Unpack[ActivityConfig]
) -> ActivityHandle[ReturnType]: ...


@overload
def start_activity(
    activity: Callable[..., Awaitable[ReturnType]], *, args: Sequence[Any], **options: Unpack[ActivityConfig]
) -> ActivityHandle[ReturnType]: ...


@overload
def start_activity(
    activity: Callable[..., ReturnType], *, args: Sequence[Any], **options: Unpack[ActivityConfig]
) -> ActivityHandle[ReturnType]: ...


@overload
def start_activity(
    activity: str, arg: Any = _arg_unset, **options: Unpack[_NamedActivityConfig]
) -> ActivityHandle[Any]: ...


def start_activity(
    activity: Any,
    arg: Any = _arg_unset,
    *,
    args: Sequence[Any] = (),
    task_queue: str | None = None,
    result_type: type | None = None,
    schedule_to_close_timeout: timedelta | None = None,
    schedule_to_start_timeout: timedelta | None = None,
    start_to_close_timeout: timedelta | None = None,
    heartbeat_timeout: timedelta | None = None,
    retry_policy: RetryPolicy | None = None,
    cancellation_type: ActivityCancellationType = _TRY_CANCEL,
    activity_id: str | None = None,
    versioning_intent: VersioningIntent | None = None,
    summary: str | None = None,
    priority: Priority = _DEFAULT_PRIORITY,
    event_groups: Sequence[EventGroup] | None = None,
) -> ActivityHandle[Any]:
    """Start an activity and go on; await the handle for its result.

    Args:
        activity: the decorated function, or its type as a string.
        arg: its argument.
        args: its arguments, when there are several.
        task_queue: where it runs; by default the workflow's queue.
        result_type: the result's type, for an activity named by a string.
        schedule_to_close_timeout: limit over all attempts. This or ``start_to_close_timeout`` is needed.
        schedule_to_start_timeout: limit of waiting for a worker.
        start_to_close_timeout: limit of one attempt.
        heartbeat_timeout: longest silence between heartbeats.
        retry_policy: when a failed attempt is tried again; the default tries without end.
        cancellation_type: what cancelling the handle does.
        activity_id: by default made by the workflow.
        versioning_intent: deprecated.
        summary: one line about this call for user interfaces.
        event_groups: the groups its events belong to.
        priority: among the tasks of the queue.

    Replay: a command, ScheduleActivityTask; activity id and type must stay the same, arguments may change.
    """
    return _Runtime.current().start_activity(
        activity,
        args if arg is _arg_unset else _arg_or_args(arg, args),
        task_queue,
        result_type,
        schedule_to_close_timeout,
        schedule_to_start_timeout,
        start_to_close_timeout,
        heartbeat_timeout,
        retry_policy,
        cancellation_type,
        activity_id,
        versioning_intent,
        summary,
        priority,
        event_groups,
    )


_start: Callable[..., ActivityHandle[Any]] = start_activity


@overload
async def execute_activity(
    activity: CallableAsyncNoParam[ReturnType], **options: Unpack[ActivityConfig]
) -> ReturnType: ...


@overload
async def execute_activity(
    activity: CallableSyncNoParam[ReturnType], **options: Unpack[ActivityConfig]
) -> ReturnType: ...


@overload
async def execute_activity(
    activity: CallableAsyncSingleParam[ParamType, ReturnType], arg: ParamType, **options: Unpack[ActivityConfig]
) -> ReturnType: ...


@overload
async def execute_activity(
    activity: CallableSyncSingleParam[ParamType, ReturnType], arg: ParamType, **options: Unpack[ActivityConfig]
) -> ReturnType: ...


@overload
async def execute_activity(
    activity: Callable[..., Awaitable[ReturnType]], *, args: Sequence[Any], **options: Unpack[ActivityConfig]
) -> ReturnType: ...


@overload
async def execute_activity(
    activity: Callable[..., ReturnType], *, args: Sequence[Any], **options: Unpack[ActivityConfig]
) -> ReturnType: ...


@overload
async def execute_activity(activity: str, arg: Any = _arg_unset, **options: Unpack[_NamedActivityConfig]) -> Any: ...


async def execute_activity(
    activity: Any,
    arg: Any = _arg_unset,
    *,
    args: Sequence[Any] = (),
    task_queue: str | None = None,
    result_type: type | None = None,
    schedule_to_close_timeout: timedelta | None = None,
    schedule_to_start_timeout: timedelta | None = None,
    start_to_close_timeout: timedelta | None = None,
    heartbeat_timeout: timedelta | None = None,
    retry_policy: RetryPolicy | None = None,
    cancellation_type: ActivityCancellationType = _TRY_CANCEL,
    activity_id: str | None = None,
    versioning_intent: VersioningIntent | None = None,
    summary: str | None = None,
    priority: Priority = _DEFAULT_PRIORITY,
    event_groups: Sequence[EventGroup] | None = None,
) -> Any:
    """Run an activity and give its result; see :func:`start_activity` for the arguments.

    Raises:
        ActivityError: it failed for good, timed out or was cancelled; ``__cause__`` says which.
    """
    return await _Runtime.current().start_activity(
        activity,
        args if arg is _arg_unset else _arg_or_args(arg, args),
        task_queue,
        result_type,
        schedule_to_close_timeout,
        schedule_to_start_timeout,
        start_to_close_timeout,
        heartbeat_timeout,
        retry_policy,
        cancellation_type,
        activity_id,
        versioning_intent,
        summary,
        priority,
        event_groups,
    )


@overload
def start_activity_class(
    activity: type[CallableAsyncNoParam[ReturnType]], **options: Unpack[ActivityConfig]
) -> ActivityHandle[ReturnType]: ...


@overload
def start_activity_class(
    activity: type[CallableSyncNoParam[ReturnType]], **options: Unpack[ActivityConfig]
) -> ActivityHandle[ReturnType]: ...


@overload
def start_activity_class(
    activity: type[CallableAsyncSingleParam[ParamType, ReturnType]], arg: ParamType, **options: Unpack[ActivityConfig]
) -> ActivityHandle[ReturnType]: ...


@overload
def start_activity_class(
    activity: type[CallableSyncSingleParam[ParamType, ReturnType]], arg: ParamType, **options: Unpack[ActivityConfig]
) -> ActivityHandle[ReturnType]: ...


@overload
def start_activity_class(
    activity: Callable[..., Callable[..., Awaitable[ReturnType]]],
    *,
    args: Sequence[Any],
    **options: Unpack[ActivityConfig],
) -> ActivityHandle[ReturnType]: ...


@overload
def start_activity_class(
    activity: Callable[..., Callable[..., ReturnType]], *, args: Sequence[Any], **options: Unpack[ActivityConfig]
) -> ActivityHandle[ReturnType]: ...


def start_activity_class(
    activity: Callable[..., Callable[..., Any]], arg: Any = _arg_unset, *, args: Sequence[Any] = (), **options: Any
) -> ActivityHandle[Any]:
    """:func:`start_activity` for a class whose instances are called."""
    return _start(activity, arg, args=args, **options)


@overload
async def execute_activity_class(
    activity: type[CallableAsyncNoParam[ReturnType]], **options: Unpack[ActivityConfig]
) -> ReturnType: ...


@overload
async def execute_activity_class(
    activity: type[CallableSyncNoParam[ReturnType]], **options: Unpack[ActivityConfig]
) -> ReturnType: ...


@overload
async def execute_activity_class(
    activity: type[CallableAsyncSingleParam[ParamType, ReturnType]], arg: ParamType, **options: Unpack[ActivityConfig]
) -> ReturnType: ...


@overload
async def execute_activity_class(
    activity: type[CallableSyncSingleParam[ParamType, ReturnType]], arg: ParamType, **options: Unpack[ActivityConfig]
) -> ReturnType: ...


@overload
async def execute_activity_class(
    activity: Callable[..., Callable[..., Awaitable[ReturnType]]],
    *,
    args: Sequence[Any],
    **options: Unpack[ActivityConfig],
) -> ReturnType: ...


@overload
async def execute_activity_class(
    activity: Callable[..., Callable[..., ReturnType]], *, args: Sequence[Any], **options: Unpack[ActivityConfig]
) -> ReturnType: ...


async def execute_activity_class(
    activity: Callable[..., Callable[..., Any]], arg: Any = _arg_unset, *, args: Sequence[Any] = (), **options: Any
) -> Any:
    """:func:`execute_activity` for a class whose instances are called."""
    return await _start(activity, arg, args=args, **options)


@overload
def start_activity_method(
    activity: MethodAsyncNoParam[SelfType, ReturnType], **options: Unpack[ActivityConfig]
) -> ActivityHandle[ReturnType]: ...


@overload
def start_activity_method(
    activity: MethodSyncNoParam[SelfType, ReturnType], **options: Unpack[ActivityConfig]
) -> ActivityHandle[ReturnType]: ...


@overload
def start_activity_method(
    activity: MethodAsyncSingleParam[SelfType, ParamType, ReturnType],
    arg: ParamType,
    **options: Unpack[ActivityConfig],
) -> ActivityHandle[ReturnType]: ...


@overload
def start_activity_method(
    activity: MethodSyncSingleParam[SelfType, ParamType, ReturnType], arg: ParamType, **options: Unpack[ActivityConfig]
) -> ActivityHandle[ReturnType]: ...


@overload
def start_activity_method(
    activity: Callable[Concatenate[SelfType, MultiParamSpec], Awaitable[ReturnType]],
    *,
    args: Sequence[Any],
    **options: Unpack[ActivityConfig],
) -> ActivityHandle[ReturnType]: ...


@overload
def start_activity_method(
    activity: Callable[Concatenate[SelfType, MultiParamSpec], ReturnType],
    *,
    args: Sequence[Any],
    **options: Unpack[ActivityConfig],
) -> ActivityHandle[ReturnType]: ...


def start_activity_method(
    activity: Callable[..., Any], arg: Any = _arg_unset, *, args: Sequence[Any] = (), **options: Any
) -> ActivityHandle[Any]:
    """:func:`start_activity` for a method named through its class."""
    return _start(activity, arg, args=args, **options)


@overload
async def execute_activity_method(
    activity: MethodAsyncNoParam[SelfType, ReturnType], **options: Unpack[ActivityConfig]
) -> ReturnType: ...


@overload
async def execute_activity_method(
    activity: MethodSyncNoParam[SelfType, ReturnType], **options: Unpack[ActivityConfig]
) -> ReturnType: ...


@overload
async def execute_activity_method(
    activity: MethodAsyncSingleParam[SelfType, ParamType, ReturnType],
    arg: ParamType,
    **options: Unpack[ActivityConfig],
) -> ReturnType: ...


@overload
async def execute_activity_method(
    activity: MethodSyncSingleParam[SelfType, ParamType, ReturnType], arg: ParamType, **options: Unpack[ActivityConfig]
) -> ReturnType: ...


@overload
async def execute_activity_method(
    activity: Callable[Concatenate[SelfType, MultiParamSpec], Awaitable[ReturnType]],
    *,
    args: Sequence[Any],
    **options: Unpack[ActivityConfig],
) -> ReturnType: ...


@overload
async def execute_activity_method(
    activity: Callable[Concatenate[SelfType, MultiParamSpec], ReturnType],
    *,
    args: Sequence[Any],
    **options: Unpack[ActivityConfig],
) -> ReturnType: ...


async def execute_activity_method(
    activity: Callable[..., Any], arg: Any = _arg_unset, *, args: Sequence[Any] = (), **options: Any
) -> Any:
    """:func:`execute_activity` for a method named through its class."""
    return await _start(activity, arg, args=args, **options)
