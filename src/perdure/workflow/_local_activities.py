"""Calling local activities from workflow code: on this very worker, with a marker for all their history."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from typing import Any, Concatenate, Unpack, overload

from perdure.common import RetryPolicy, _arg_or_args, _arg_unset
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
from perdure.workflow._activities import (
    _TRY_CANCEL,
    ActivityCancellationType,
    ActivityHandle,
    LocalActivityConfig,
)
from perdure.workflow._event_groups import EventGroup
from perdure.workflow._runtime import _Runtime


class _NamedLocalActivityConfig(LocalActivityConfig, total=False):
    args: Sequence[Any]
    result_type: type | None


@overload
def start_local_activity(
    activity: CallableAsyncNoParam[ReturnType], **options: Unpack[LocalActivityConfig]
) -> ActivityHandle[ReturnType]: ...


@overload
def start_local_activity(
    activity: CallableSyncNoParam[ReturnType], **options: Unpack[LocalActivityConfig]
) -> ActivityHandle[ReturnType]: ...


@overload
def start_local_activity(
    activity: CallableAsyncSingleParam[ParamType, ReturnType], arg: ParamType, **options: Unpack[LocalActivityConfig]
) -> ActivityHandle[ReturnType]: ...


@overload
def start_local_activity(
    activity: CallableSyncSingleParam[ParamType, ReturnType], arg: ParamType, **options: Unpack[LocalActivityConfig]
) -> ActivityHandle[ReturnType]: ...


@overload
def start_local_activity(
    activity: Callable[..., Awaitable[ReturnType]], *, args: Sequence[Any], **options: Unpack[LocalActivityConfig]
) -> ActivityHandle[ReturnType]: ...


@overload
def start_local_activity(
    activity: Callable[..., ReturnType], *, args: Sequence[Any], **options: Unpack[LocalActivityConfig]
) -> ActivityHandle[ReturnType]: ...


@overload
def start_local_activity(
    activity: str, arg: Any = _arg_unset, **options: Unpack[_NamedLocalActivityConfig]
) -> ActivityHandle[Any]: ...


def start_local_activity(
    activity: Any,
    arg: Any = _arg_unset,
    *,
    args: Sequence[Any] = (),
    result_type: type | None = None,
    schedule_to_close_timeout: timedelta | None = None,
    schedule_to_start_timeout: timedelta | None = None,
    start_to_close_timeout: timedelta | None = None,
    retry_policy: RetryPolicy | None = None,
    local_retry_threshold: timedelta | None = None,
    cancellation_type: ActivityCancellationType = _TRY_CANCEL,
    activity_id: str | None = None,
    summary: str | None = None,
    event_groups: Sequence[EventGroup] | None = None,
) -> ActivityHandle[Any]:
    """Start an activity on this very worker, within the workflow task: for what is short and may run again.

    It has no events of its own but a marker with its outcome, and no heartbeats. The worker must have it registered.

    Args:
        activity: the decorated function, or its type as a string.
        arg: its argument.
        args: its arguments, when there are several.
        result_type: the result's type, for an activity named by a string.
        schedule_to_close_timeout: limit over all attempts. This or ``start_to_close_timeout`` is needed.
        schedule_to_start_timeout: accepted as Temporal's; a local activity starts at once.
        start_to_close_timeout: limit of one attempt.
        retry_policy: when a failed attempt is tried again; the default tries without end.
        local_retry_threshold: a longer wait than this between attempts becomes a timer (default one minute).
        cancellation_type: what cancelling the handle does.
        activity_id: by default made by the workflow.
        summary: one line about this call for user interfaces.
        event_groups: the groups its events belong to.

    Replay: the outcome comes from the marker; activity id and type must stay the same.
    """
    return _Runtime.current().start_local_activity(
        activity,
        args if arg is _arg_unset else _arg_or_args(arg, args),
        result_type,
        schedule_to_close_timeout,
        schedule_to_start_timeout,
        start_to_close_timeout,
        retry_policy,
        local_retry_threshold,
        cancellation_type,
        activity_id,
        summary,
        event_groups,
    )


_start: Callable[..., ActivityHandle[Any]] = start_local_activity


@overload
async def execute_local_activity(
    activity: CallableAsyncNoParam[ReturnType], **options: Unpack[LocalActivityConfig]
) -> ReturnType: ...


@overload
async def execute_local_activity(
    activity: CallableSyncNoParam[ReturnType], **options: Unpack[LocalActivityConfig]
) -> ReturnType: ...


@overload
async def execute_local_activity(
    activity: CallableAsyncSingleParam[ParamType, ReturnType], arg: ParamType, **options: Unpack[LocalActivityConfig]
) -> ReturnType: ...


@overload
async def execute_local_activity(
    activity: CallableSyncSingleParam[ParamType, ReturnType], arg: ParamType, **options: Unpack[LocalActivityConfig]
) -> ReturnType: ...


@overload
async def execute_local_activity(
    activity: Callable[..., Awaitable[ReturnType]], *, args: Sequence[Any], **options: Unpack[LocalActivityConfig]
) -> ReturnType: ...


@overload
async def execute_local_activity(
    activity: Callable[..., ReturnType], *, args: Sequence[Any], **options: Unpack[LocalActivityConfig]
) -> ReturnType: ...


@overload
async def execute_local_activity(
    activity: str, arg: Any = _arg_unset, **options: Unpack[_NamedLocalActivityConfig]
) -> Any: ...


async def execute_local_activity(
    activity: Any, arg: Any = _arg_unset, *, args: Sequence[Any] = (), **options: Any
) -> Any:
    """Run a local activity and give its result; see :func:`start_local_activity` for the arguments."""
    return await _start(activity, arg, args=args, **options)


@overload
def start_local_activity_class(
    activity: type[CallableAsyncNoParam[ReturnType]], **options: Unpack[LocalActivityConfig]
) -> ActivityHandle[ReturnType]: ...


@overload
def start_local_activity_class(
    activity: type[CallableSyncNoParam[ReturnType]], **options: Unpack[LocalActivityConfig]
) -> ActivityHandle[ReturnType]: ...


@overload
def start_local_activity_class(
    activity: type[CallableAsyncSingleParam[ParamType, ReturnType]],
    arg: ParamType,
    **options: Unpack[LocalActivityConfig],
) -> ActivityHandle[ReturnType]: ...


@overload
def start_local_activity_class(
    activity: type[CallableSyncSingleParam[ParamType, ReturnType]],
    arg: ParamType,
    **options: Unpack[LocalActivityConfig],
) -> ActivityHandle[ReturnType]: ...


@overload
def start_local_activity_class(
    activity: Callable[..., Callable[..., Awaitable[ReturnType]]],
    *,
    args: Sequence[Any],
    **options: Unpack[LocalActivityConfig],
) -> ActivityHandle[ReturnType]: ...


@overload
def start_local_activity_class(
    activity: Callable[..., Callable[..., ReturnType]], *, args: Sequence[Any], **options: Unpack[LocalActivityConfig]
) -> ActivityHandle[ReturnType]: ...


def start_local_activity_class(
    activity: Callable[..., Callable[..., Any]], arg: Any = _arg_unset, *, args: Sequence[Any] = (), **options: Any
) -> ActivityHandle[Any]:
    """:func:`start_local_activity` for a class whose instances are called."""
    return _start(activity, arg, args=args, **options)


@overload
async def execute_local_activity_class(
    activity: type[CallableAsyncNoParam[ReturnType]], **options: Unpack[LocalActivityConfig]
) -> ReturnType: ...


@overload
async def execute_local_activity_class(
    activity: type[CallableSyncNoParam[ReturnType]], **options: Unpack[LocalActivityConfig]
) -> ReturnType: ...


@overload
async def execute_local_activity_class(
    activity: type[CallableAsyncSingleParam[ParamType, ReturnType]],
    arg: ParamType,
    **options: Unpack[LocalActivityConfig],
) -> ReturnType: ...


@overload
async def execute_local_activity_class(
    activity: type[CallableSyncSingleParam[ParamType, ReturnType]],
    arg: ParamType,
    **options: Unpack[LocalActivityConfig],
) -> ReturnType: ...


@overload
async def execute_local_activity_class(
    activity: Callable[..., Callable[..., Awaitable[ReturnType]]],
    *,
    args: Sequence[Any],
    **options: Unpack[LocalActivityConfig],
) -> ReturnType: ...


@overload
async def execute_local_activity_class(
    activity: Callable[..., Callable[..., ReturnType]], *, args: Sequence[Any], **options: Unpack[LocalActivityConfig]
) -> ReturnType: ...


async def execute_local_activity_class(
    activity: Callable[..., Callable[..., Any]], arg: Any = _arg_unset, *, args: Sequence[Any] = (), **options: Any
) -> Any:
    """:func:`execute_local_activity` for a class whose instances are called."""
    return await _start(activity, arg, args=args, **options)


@overload
def start_local_activity_method(
    activity: MethodAsyncNoParam[SelfType, ReturnType], **options: Unpack[LocalActivityConfig]
) -> ActivityHandle[ReturnType]: ...


@overload
def start_local_activity_method(
    activity: MethodSyncNoParam[SelfType, ReturnType], **options: Unpack[LocalActivityConfig]
) -> ActivityHandle[ReturnType]: ...


@overload
def start_local_activity_method(
    activity: MethodAsyncSingleParam[SelfType, ParamType, ReturnType],
    arg: ParamType,
    **options: Unpack[LocalActivityConfig],
) -> ActivityHandle[ReturnType]: ...


@overload
def start_local_activity_method(
    activity: MethodSyncSingleParam[SelfType, ParamType, ReturnType],
    arg: ParamType,
    **options: Unpack[LocalActivityConfig],
) -> ActivityHandle[ReturnType]: ...


@overload
def start_local_activity_method(
    activity: Callable[Concatenate[SelfType, MultiParamSpec], Awaitable[ReturnType]],
    *,
    args: Sequence[Any],
    **options: Unpack[LocalActivityConfig],
) -> ActivityHandle[ReturnType]: ...


@overload
def start_local_activity_method(
    activity: Callable[Concatenate[SelfType, MultiParamSpec], ReturnType],
    *,
    args: Sequence[Any],
    **options: Unpack[LocalActivityConfig],
) -> ActivityHandle[ReturnType]: ...


def start_local_activity_method(
    activity: Callable[..., Any], arg: Any = _arg_unset, *, args: Sequence[Any] = (), **options: Any
) -> ActivityHandle[Any]:
    """:func:`start_local_activity` for a method named through its class."""
    return _start(activity, arg, args=args, **options)


@overload
async def execute_local_activity_method(
    activity: MethodAsyncNoParam[SelfType, ReturnType], **options: Unpack[LocalActivityConfig]
) -> ReturnType: ...


@overload
async def execute_local_activity_method(
    activity: MethodSyncNoParam[SelfType, ReturnType], **options: Unpack[LocalActivityConfig]
) -> ReturnType: ...


@overload
async def execute_local_activity_method(
    activity: MethodAsyncSingleParam[SelfType, ParamType, ReturnType],
    arg: ParamType,
    **options: Unpack[LocalActivityConfig],
) -> ReturnType: ...


@overload
async def execute_local_activity_method(
    activity: MethodSyncSingleParam[SelfType, ParamType, ReturnType],
    arg: ParamType,
    **options: Unpack[LocalActivityConfig],
) -> ReturnType: ...


@overload
async def execute_local_activity_method(
    activity: Callable[Concatenate[SelfType, MultiParamSpec], Awaitable[ReturnType]],
    *,
    args: Sequence[Any],
    **options: Unpack[LocalActivityConfig],
) -> ReturnType: ...


@overload
async def execute_local_activity_method(
    activity: Callable[Concatenate[SelfType, MultiParamSpec], ReturnType],
    *,
    args: Sequence[Any],
    **options: Unpack[LocalActivityConfig],
) -> ReturnType: ...


async def execute_local_activity_method(
    activity: Callable[..., Any], arg: Any = _arg_unset, *, args: Sequence[Any] = (), **options: Any
) -> Any:
    """:func:`execute_local_activity` for a method named through its class."""
    return await _start(activity, arg, args=args, **options)
