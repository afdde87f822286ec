"""The calls of a client about standalone activities."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Concatenate, Required, TypedDict, Unpack, overload

from perdure.activity._definition import Definition
from perdure.client import _check
from perdure.client._activity_execution import ActivityExecutionAsyncIterator, ActivityExecutionCount
from perdure.client._activity_handle import ActivityHandle
from perdure.client._activity_inputs import CountActivitiesInput, ListActivitiesInput, StartActivityInput
from perdure.client._workflow_execution import MAX_PAGE_SIZE
from perdure.common import (
    ActivityIDConflictPolicy,
    ActivityIDReusePolicy,
    Priority,
    RetryPolicy,
    TypedSearchAttributes,
    _arg_unset,
)
from perdure.types import (
    CallableAsyncNoParam,
    CallableAsyncSingleParam,
    CallableSyncNoParam,
    CallableSyncSingleParam,
    ParamType,
    ReturnType,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence
    from datetime import timedelta

    from perdure.client._interceptor import OutboundInterceptor
    from perdure.types import SelfType


class ActivityStartOptions(TypedDict, total=False):
    """Options of starting an activity. See :meth:`Client.start_activity`."""

    id: Required[str]
    task_queue: Required[str]
    schedule_to_close_timeout: timedelta | None
    schedule_to_start_timeout: timedelta | None
    start_to_close_timeout: timedelta | None
    heartbeat_timeout: timedelta | None
    id_reuse_policy: ActivityIDReusePolicy
    id_conflict_policy: ActivityIDConflictPolicy
    retry_policy: RetryPolicy | None
    search_attributes: TypedSearchAttributes | None
    summary: str | None
    priority: Priority
    start_delay: timedelta | None
    rpc_metadata: Mapping[str, str | bytes]
    rpc_timeout: timedelta | None


class NamedActivityStartOptions(ActivityStartOptions, total=False):
    """Options of starting an activity that is named by a string."""

    result_type: type | None


class ActivityCalls:
    """The part of :class:`~perdure.client.Client` about standalone activities."""

    _impl: OutboundInterceptor

    def _check_usable(self) -> None:
        raise NotImplementedError

    @overload
    async def start_activity(
        self, activity: CallableAsyncNoParam[ReturnType], **options: Unpack[ActivityStartOptions]
    ) -> ActivityHandle[ReturnType]: ...

    @overload
    async def start_activity(
        self, activity: CallableSyncNoParam[ReturnType], **options: Unpack[ActivityStartOptions]
    ) -> ActivityHandle[ReturnType]: ...

    @overload
    async def start_activity(
        self,
        activity: CallableAsyncSingleParam[ParamType, ReturnType],
        arg: ParamType,
        **options: Unpack[ActivityStartOptions],
    ) -> ActivityHandle[ReturnType]: ...

    @overload
    async def start_activity(
        self,
        activity: CallableSyncSingleParam[ParamType, ReturnType],
        arg: ParamType,
        **options: Unpack[ActivityStartOptions],
    ) -> ActivityHandle[ReturnType]: ...

    @overload
    async def start_activity(
        self,
        activity: Callable[..., Awaitable[ReturnType]],
        *,
        args: Sequence[Any],
        **options: Unpack[ActivityStartOptions],
    ) -> ActivityHandle[ReturnType]: ...

    @overload
    async def start_activity(
        self, activity: Callable[..., ReturnType], *, args: Sequence[Any], **options: Unpack[ActivityStartOptions]
    ) -> ActivityHandle[ReturnType]: ...

    @overload
    async def start_activity(
        self, activity: str, arg: Any = ..., *, args: Sequence[Any] = ..., **options: Unpack[NamedActivityStartOptions]
    ) -> ActivityHandle[Any]: ...

    async def start_activity(
        self,
        activity: Any,
        arg: Any = _arg_unset,
        *,
        args: Sequence[Any] = [],
        id: str,
        task_queue: str,
        result_type: type | None = None,
        schedule_to_close_timeout: timedelta | None = None,
        schedule_to_start_timeout: timedelta | None = None,
        start_to_close_timeout: timedelta | None = None,
        heartbeat_timeout: timedelta | None = None,
        id_reuse_policy: ActivityIDReusePolicy = ActivityIDReusePolicy.ALLOW_DUPLICATE,
        id_conflict_policy: ActivityIDConflictPolicy = ActivityIDConflictPolicy.FAIL,
        retry_policy: RetryPolicy | None = None,
        search_attributes: TypedSearchAttributes | None = None,
        summary: str | None = None,
        priority: Priority = Priority.default,
        start_delay: timedelta | None = None,
        rpc_metadata: Mapping[str, str | bytes] = {},
        rpc_timeout: timedelta | None = None,
    ) -> ActivityHandle[Any]:
        """Start an activity that no workflow schedules, and return its handle.

        It is durable before the call returns: attempts, retries and timeouts survive a crash.

        Args:
            activity: the decorated function, or its type as a string.
            arg: its argument.
            args: its arguments, when there are several.
            id: the activity id: one activity of an id is open at a time.
            task_queue: where it runs.
            result_type: the result's type, for an activity named by a string.
            schedule_to_close_timeout: limit over all attempts. This or ``start_to_close_timeout`` is needed.
            schedule_to_start_timeout: limit of waiting for a worker.
            start_to_close_timeout: limit of one attempt.
            heartbeat_timeout: longest silence between heartbeats.
            id_reuse_policy: whether the id of a closed activity may be used again.
            id_conflict_policy: what happens when an activity of this id is open.
            retry_policy: when a failed attempt is tried again; the default tries without end.
            search_attributes: what lists find it by.
            summary: one line about this call for user interfaces.
            priority: among the tasks of the queue.
            start_delay: hold the first attempt back for so long.
            rpc_metadata: Headers of the call.
            rpc_timeout: Bounds the call.

        Raises:
            ActivityAlreadyStartedError: the id is taken.
        """
        where = "start_activity"
        name, hint = Definition.get_name_and_result_type(activity)
        _check.text(where, "activity", name)
        _check.rpc_options(where, rpc_metadata, rpc_timeout)
        self._check_usable()
        return await self._impl.start_activity(
            StartActivityInput(
                activity_type=name,
                args=_check.arguments(where, arg, args),
                id=id,
                task_queue=task_queue,
                result_type=result_type or hint,
                schedule_to_close_timeout=schedule_to_close_timeout,
                start_to_close_timeout=start_to_close_timeout,
                schedule_to_start_timeout=schedule_to_start_timeout,
                heartbeat_timeout=heartbeat_timeout,
                id_reuse_policy=id_reuse_policy,
                id_conflict_policy=id_conflict_policy,
                retry_policy=retry_policy,
                priority=priority,
                search_attributes=search_attributes,
                summary=summary,
                start_delay=start_delay,
                headers={},
                rpc_metadata=rpc_metadata,
                rpc_timeout=rpc_timeout,
            )
        )

    @overload
    async def execute_activity(
        self, activity: CallableAsyncNoParam[ReturnType], **options: Unpack[ActivityStartOptions]
    ) -> ReturnType: ...

    @overload
    async def execute_activity(
        self, activity: CallableSyncNoParam[ReturnType], **options: Unpack[ActivityStartOptions]
    ) -> ReturnType: ...

    @overload
    async def execute_activity(
        self,
        activity: CallableAsyncSingleParam[ParamType, ReturnType],
        arg: ParamType,
        **options: Unpack[ActivityStartOptions],
    ) -> ReturnType: ...

    @overload
    async def execute_activity(
        self,
        activity: CallableSyncSingleParam[ParamType, ReturnType],
        arg: ParamType,
        **options: Unpack[ActivityStartOptions],
    ) -> ReturnType: ...

    @overload
    async def execute_activity(
        self,
        activity: Callable[..., Awaitable[ReturnType]],
        *,
        args: Sequence[Any],
        **options: Unpack[ActivityStartOptions],
    ) -> ReturnType: ...

    @overload
    async def execute_activity(
        self, activity: Callable[..., ReturnType], *, args: Sequence[Any], **options: Unpack[ActivityStartOptions]
    ) -> ReturnType: ...

    @overload
    async def execute_activity(
        self, activity: str, arg: Any = ..., *, args: Sequence[Any] = ..., **options: Unpack[NamedActivityStartOptions]
    ) -> Any: ...

    async def execute_activity(
        self,
        activity: Any,
        arg: Any = _arg_unset,
        *,
        args: Sequence[Any] = [],
        **options: Unpack[NamedActivityStartOptions],
    ) -> Any:
        """Start an activity and wait for its result: :meth:`start_activity` and :meth:`ActivityHandle.result`."""
        handle: ActivityHandle[Any] = await self.start_activity(activity, arg, args=args, **options)
        return await handle.result(rpc_metadata=options.get("rpc_metadata", {}), rpc_timeout=options.get("rpc_timeout"))

    @overload
    async def start_activity_class(
        self, activity: type[CallableAsyncNoParam[ReturnType]], **options: Unpack[ActivityStartOptions]
    ) -> ActivityHandle[ReturnType]: ...

    @overload
    async def start_activity_class(
        self, activity: type[CallableSyncNoParam[ReturnType]], **options: Unpack[ActivityStartOptions]
    ) -> ActivityHandle[ReturnType]: ...

    @overload
    async def start_activity_class(
        self,
        activity: type[CallableAsyncSingleParam[ParamType, ReturnType]],
        arg: ParamType,
        **options: Unpack[ActivityStartOptions],
    ) -> ActivityHandle[ReturnType]: ...

    @overload
    async def start_activity_class(
        self,
        activity: type[CallableSyncSingleParam[ParamType, ReturnType]],
        arg: ParamType,
        **options: Unpack[ActivityStartOptions],
    ) -> ActivityHandle[ReturnType]: ...

    @overload
    async def start_activity_class(
        self,
        activity: Callable[..., Callable[..., Awaitable[ReturnType]]],
        *,
        args: Sequence[Any],
        **options: Unpack[ActivityStartOptions],
    ) -> ActivityHandle[ReturnType]: ...

    @overload
    async def start_activity_class(
        self,
        activity: Callable[..., Callable[..., ReturnType]],
        *,
        args: Sequence[Any],
        **options: Unpack[ActivityStartOptions],
    ) -> ActivityHandle[ReturnType]: ...

    async def start_activity_class(
        self,
        activity: Any,
        arg: Any = _arg_unset,
        *,
        args: Sequence[Any] = [],
        **options: Unpack[NamedActivityStartOptions],
    ) -> ActivityHandle[Any]:
        """:meth:`start_activity` for an activity that is a class with ``__call__``."""
        handle: ActivityHandle[Any] = await self.start_activity(activity, arg, args=args, **options)
        return handle

    @overload
    async def execute_activity_class(
        self, activity: type[CallableAsyncNoParam[ReturnType]], **options: Unpack[ActivityStartOptions]
    ) -> ReturnType: ...

    @overload
    async def execute_activity_class(
        self, activity: type[CallableSyncNoParam[ReturnType]], **options: Unpack[ActivityStartOptions]
    ) -> ReturnType: ...

    @overload
    async def execute_activity_class(
        self,
        activity: type[CallableAsyncSingleParam[ParamType, ReturnType]],
        arg: ParamType,
        **options: Unpack[ActivityStartOptions],
    ) -> ReturnType: ...

    @overload
    async def execute_activity_class(
        self,
        activity: type[CallableSyncSingleParam[ParamType, ReturnType]],
        arg: ParamType,
        **options: Unpack[ActivityStartOptions],
    ) -> ReturnType: ...

    @overload
    async def execute_activity_class(
        self,
        activity: Callable[..., Callable[..., Awaitable[ReturnType]]],
        *,
        args: Sequence[Any],
        **options: Unpack[ActivityStartOptions],
    ) -> ReturnType: ...

    @overload
    async def execute_activity_class(
        self,
        activity: Callable[..., Callable[..., ReturnType]],
        *,
        args: Sequence[Any],
        **options: Unpack[ActivityStartOptions],
    ) -> ReturnType: ...

    async def execute_activity_class(
        self,
        activity: Any,
        arg: Any = _arg_unset,
        *,
        args: Sequence[Any] = [],
        **options: Unpack[NamedActivityStartOptions],
    ) -> Any:
        """:meth:`execute_activity` for an activity that is a class with ``__call__``."""
        return await self.execute_activity(activity, arg, args=args, **options)

    @overload
    async def start_activity_method(
        self, activity: Callable[[SelfType], Awaitable[ReturnType]], **options: Unpack[ActivityStartOptions]
    ) -> ActivityHandle[ReturnType]: ...

    @overload
    async def start_activity_method(
        self, activity: Callable[[SelfType], ReturnType], **options: Unpack[ActivityStartOptions]
    ) -> ActivityHandle[ReturnType]: ...

    @overload
    async def start_activity_method(
        self,
        activity: Callable[[SelfType, ParamType], Awaitable[ReturnType]],
        arg: ParamType,
        **options: Unpack[ActivityStartOptions],
    ) -> ActivityHandle[ReturnType]: ...

    @overload
    async def start_activity_method(
        self,
        activity: Callable[[SelfType, ParamType], ReturnType],
        arg: ParamType,
        **options: Unpack[ActivityStartOptions],
    ) -> ActivityHandle[ReturnType]: ...

    @overload
    async def start_activity_method(
        self,
        activity: Callable[Concatenate[SelfType, ...], Awaitable[ReturnType]],
        *,
        args: Sequence[Any],
        **options: Unpack[ActivityStartOptions],
    ) -> ActivityHandle[ReturnType]: ...

    @overload
    async def start_activity_method(
        self,
        activity: Callable[Concatenate[SelfType, ...], ReturnType],
        *,
        args: Sequence[Any],
        **options: Unpack[ActivityStartOptions],
    ) -> ActivityHandle[ReturnType]: ...

    async def start_activity_method(
        self,
        activity: Any,
        arg: Any = _arg_unset,
        *,
        args: Sequence[Any] = [],
        **options: Unpack[NamedActivityStartOptions],
    ) -> ActivityHandle[Any]:
        """:meth:`start_activity` for an activity that is a method, given through its class."""
        handle: ActivityHandle[Any] = await self.start_activity(activity, arg, args=args, **options)
        return handle

    @overload
    async def execute_activity_method(
        self, activity: Callable[[SelfType], Awaitable[ReturnType]], **options: Unpack[ActivityStartOptions]
    ) -> ReturnType: ...

    @overload
    async def execute_activity_method(
        self, activity: Callable[[SelfType], ReturnType], **options: Unpack[ActivityStartOptions]
    ) -> ReturnType: ...

    @overload
    async def execute_activity_method(
        self,
        activity: Callable[[SelfType, ParamType], Awaitable[ReturnType]],
        arg: ParamType,
        **options: Unpack[ActivityStartOptions],
    ) -> ReturnType: ...

    @overload
    async def execute_activity_method(
        self,
        activity: Callable[[SelfType, ParamType], ReturnType],
        arg: ParamType,
        **options: Unpack[ActivityStartOptions],
    ) -> ReturnType: ...

    @overload
    async def execute_activity_method(
        self,
        activity: Callable[Concatenate[SelfType, ...], Awaitable[ReturnType]],
        *,
        args: Sequence[Any],
        **options: Unpack[ActivityStartOptions],
    ) -> ReturnType: ...

    @overload
    async def execute_activity_method(
        self,
        activity: Callable[Concatenate[SelfType, ...], ReturnType],
        *,
        args: Sequence[Any],
        **options: Unpack[ActivityStartOptions],
    ) -> ReturnType: ...

    async def execute_activity_method(
        self,
        activity: Any,
        arg: Any = _arg_unset,
        *,
        args: Sequence[Any] = [],
        **options: Unpack[NamedActivityStartOptions],
    ) -> Any:
        """:meth:`execute_activity` for an activity that is a method, given through its class."""
        return await self.execute_activity(activity, arg, args=args, **options)

    def get_activity_handle(
        self, activity_id: str, *, run_id: str | None = None, result_type: type | None = None
    ) -> ActivityHandle[Any]:
        """A handle of a standalone activity, whether there is one or not. Asks nobody."""
        where = "get_activity_handle"
        _check.text(where, "activity_id", activity_id)
        _check.optional_text(where, "run_id", run_id)
        # This is a part of the client.
        return ActivityHandle(self, activity_id, run_id=run_id, result_type=result_type)  # type: ignore[arg-type]

    def list_activities(
        self,
        query: str | None,
        *,
        limit: int | None = None,
        page_size: int = MAX_PAGE_SIZE,
        next_page_token: bytes | None = None,
        rpc_metadata: Mapping[str, str | bytes] = {},
        rpc_timeout: timedelta | None = None,
    ) -> ActivityExecutionAsyncIterator:
        """Standalone activities, open ones first, newest first. Fetched as they are iterated.

        Args:
            query: Which ones, in Temporal's list filter language (``ActivityId``, ``ActivityType``,
                ``ExecutionStatus``, ...); None or empty means all.
            limit: Stop after so many.
            page_size: Fetch so many at a time, at most 1000.
            next_page_token: Go on where an earlier iterator's ``next_page_token`` was.
            rpc_metadata: Headers of the calls.
            rpc_timeout: Bounds each call.
        """
        where = "list_activities"
        _check_query(where, query)
        _check.count(where, "limit", limit, least=1)
        _check.count(where, "page_size", page_size, least=1)
        if next_page_token is not None:
            _check.instance(where, "next_page_token", next_page_token, bytes)
        _check.rpc_options(where, rpc_metadata, rpc_timeout)
        return self._impl.list_activities(
            ListActivitiesInput(query, page_size, next_page_token, rpc_metadata, rpc_timeout, limit)
        )

    async def count_activities(
        self,
        query: str | None = None,
        rpc_metadata: Mapping[str, str | bytes] = {},
        rpc_timeout: timedelta | None = None,
    ) -> ActivityExecutionCount:
        """How many standalone activities match; with ``GROUP BY ExecutionStatus`` in the query, per status."""
        _check_query("count_activities", query)
        _check.rpc_options("count_activities", rpc_metadata, rpc_timeout)
        self._check_usable()
        return await self._impl.count_activities(CountActivitiesInput(query, rpc_metadata, rpc_timeout))


def _check_query(where: str, query: str | None) -> None:
    if query is not None:
        _check.text(where, "query", query, empty=True, limit=_check.MAX_TEXT_BYTES)
