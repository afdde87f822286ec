"""The calls of a client that start workflows."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Concatenate, Unpack, overload

from perdure._search_attributes import _warn_on_deprecated_search_attributes
from perdure.client import _check, _definitions, _result
from perdure.client._interceptor import OutboundInterceptor, StartWorkflowInput
from perdure.client._start import start_workflow
from perdure.client._workflow_handle import WorkflowHandle
from perdure.common import (
    Priority,
    RetryPolicy,
    SearchAttributes,
    TypedSearchAttributes,
    VersioningOverride,
    WorkflowIDConflictPolicy,
    WorkflowIDReusePolicy,
    _arg_unset,
)

if TYPE_CHECKING:
    from datetime import timedelta

    from perdure.client._options import StartWorkflowOptions
    from perdure.types import (
        MethodAsyncNoParam,
        MethodAsyncSingleParam,
        MultiParamSpec,
        ParamType,
        ReturnType,
        SelfType,
    )


class StartCalls:
    """The part of :class:`~perdure.client.Client` that starts workflows."""

    _impl: OutboundInterceptor
    _is_direct: bool

    def _check_usable(self) -> None:
        raise NotImplementedError  # the client has it

    @overload
    async def start_workflow(
        self, workflow: MethodAsyncNoParam[SelfType, ReturnType], **options: Unpack[StartWorkflowOptions]
    ) -> WorkflowHandle[SelfType, ReturnType]: ...

    @overload
    async def start_workflow(
        self,
        workflow: MethodAsyncSingleParam[SelfType, ParamType, ReturnType],
        arg: ParamType,
        **options: Unpack[StartWorkflowOptions],
    ) -> WorkflowHandle[SelfType, ReturnType]: ...

    @overload
    async def start_workflow(
        self,
        workflow: Callable[Concatenate[SelfType, MultiParamSpec], Awaitable[ReturnType]],
        *,
        args: Sequence[Any],
        **options: Unpack[StartWorkflowOptions],
    ) -> WorkflowHandle[SelfType, ReturnType]: ...

    @overload
    async def start_workflow(
        self,
        workflow: str,
        arg: Any = _arg_unset,
        *,
        args: Sequence[Any] = [],
        result_type: type | None = None,
        **options: Unpack[StartWorkflowOptions],
    ) -> WorkflowHandle[Any, Any]: ...

    async def start_workflow(
        self,
        workflow: str | Callable[..., Awaitable[Any]],
        arg: Any = _arg_unset,
        *,
        args: Sequence[Any] = [],
        id: str,
        task_queue: str,
        result_type: type | None = None,
        execution_timeout: timedelta | None = None,
        run_timeout: timedelta | None = None,
        task_timeout: timedelta | None = None,
        id_reuse_policy: WorkflowIDReusePolicy = WorkflowIDReusePolicy.ALLOW_DUPLICATE,
        id_conflict_policy: WorkflowIDConflictPolicy = WorkflowIDConflictPolicy.UNSPECIFIED,
        retry_policy: RetryPolicy | None = None,
        cron_schedule: str = "",
        memo: Mapping[str, Any] | None = None,
        search_attributes: TypedSearchAttributes | SearchAttributes | None = None,
        static_summary: str | None = None,
        static_details: str | None = None,
        start_delay: timedelta | None = None,
        start_signal: str | None = None,
        start_signal_args: Sequence[Any] = [],
        rpc_metadata: Mapping[str, str | bytes] = {},
        rpc_timeout: timedelta | None = None,
        request_eager_start: bool = False,
        priority: Priority = Priority.default,
        versioning_override: VersioningOverride | None = None,
        stack_level: int = 2,
    ) -> WorkflowHandle[Any, Any]:
        """Start a workflow. When this returns, the start is durable and the workflow will run.

        Args:
            workflow: The run method, or the workflow's name.
            arg: The one argument.
            args: Several arguments.
            id: Workflow id: at most one open run has it.
            task_queue: Where workers look for its tasks.
            result_type: Type of the result of a workflow given by name.
            execution_timeout: For the whole chain of runs: retries, continue-as-new, cron.
            run_timeout: For one run.
            task_timeout: For one workflow task.
            id_reuse_policy: What to do when the id belongs to a closed run.
            id_conflict_policy: What to do when it belongs to an open one; unspecified means to fail.
            retry_policy: When to run a failed workflow again.
            cron_schedule: When to run it again and again.
            memo: Values to be read with describe and list.
            search_attributes: Values to be searched for.
            static_summary: One line that says what this is, for people.
            static_details: Several such lines.
            start_delay: How long to wait before the first workflow task.
            start_signal: Send this signal too, and start only if no run is open: signal-with-start.
            start_signal_args: Its arguments.
            rpc_metadata: Headers of the call.
            rpc_timeout: Bounds the call.
            request_eager_start: Give the first task to a worker of this connection together with the start, if one
                has the task queue. An embedded home hands tasks over in memory anyway.
            priority: Which of the waiting tasks go first.
            versioning_override: Overrules the versioning behavior of the worker.
            stack_level: Whose line a warning names.

        Raises:
            WorkflowAlreadyStartedError: the id is taken, and the policies say to fail.
            RPCError: the start was refused for another reason.
        """
        return await self._start_workflow(
            workflow, arg, args, id, task_queue, execution_timeout, run_timeout, task_timeout, id_reuse_policy,
            id_conflict_policy, retry_policy, cron_schedule, memo, search_attributes, start_delay, start_signal,
            start_signal_args, static_summary, static_details, result_type, rpc_metadata, rpc_timeout,
            request_eager_start, priority, versioning_override, stack_level + 1,
        )  # fmt: skip

    @overload
    async def execute_workflow(
        self, workflow: MethodAsyncNoParam[SelfType, ReturnType], **options: Unpack[StartWorkflowOptions]
    ) -> ReturnType: ...

    @overload
    async def execute_workflow(
        self,
        workflow: MethodAsyncSingleParam[SelfType, ParamType, ReturnType],
        arg: ParamType,
        **options: Unpack[StartWorkflowOptions],
    ) -> ReturnType: ...

    @overload
    async def execute_workflow(
        self,
        workflow: Callable[Concatenate[SelfType, MultiParamSpec], Awaitable[ReturnType]],
        *,
        args: Sequence[Any],
        **options: Unpack[StartWorkflowOptions],
    ) -> ReturnType: ...

    @overload
    async def execute_workflow(
        self,
        workflow: str,
        arg: Any = _arg_unset,
        *,
        args: Sequence[Any] = [],
        result_type: type | None = None,
        **options: Unpack[StartWorkflowOptions],
    ) -> Any: ...

    async def execute_workflow(
        self,
        workflow: str | Callable[..., Awaitable[Any]],
        arg: Any = _arg_unset,
        *,
        args: Sequence[Any] = [],
        id: str,
        task_queue: str,
        result_type: type | None = None,
        execution_timeout: timedelta | None = None,
        run_timeout: timedelta | None = None,
        task_timeout: timedelta | None = None,
        id_reuse_policy: WorkflowIDReusePolicy = WorkflowIDReusePolicy.ALLOW_DUPLICATE,
        id_conflict_policy: WorkflowIDConflictPolicy = WorkflowIDConflictPolicy.UNSPECIFIED,
        retry_policy: RetryPolicy | None = None,
        cron_schedule: str = "",
        memo: Mapping[str, Any] | None = None,
        search_attributes: TypedSearchAttributes | SearchAttributes | None = None,
        static_summary: str | None = None,
        static_details: str | None = None,
        start_delay: timedelta | None = None,
        start_signal: str | None = None,
        start_signal_args: Sequence[Any] = [],
        rpc_metadata: Mapping[str, str | bytes] = {},
        rpc_timeout: timedelta | None = None,
        request_eager_start: bool = False,
        priority: Priority = Priority.default,
        versioning_override: VersioningOverride | None = None,
    ) -> Any:
        """:meth:`start_workflow`, then :meth:`WorkflowHandle.result`. See there for arguments and errors."""
        handle = await self._start_workflow(
            workflow, arg, args, id, task_queue, execution_timeout, run_timeout, task_timeout, id_reuse_policy,
            id_conflict_policy, retry_policy, cron_schedule, memo, search_attributes, start_delay, start_signal,
            start_signal_args, static_summary, static_details, result_type, rpc_metadata, rpc_timeout,
            request_eager_start, priority, versioning_override, 3,
        )  # fmt: skip
        return await _result.result(handle, True, {}, None)

    def _start_workflow(
        self,
        workflow: str | Callable[..., Awaitable[Any]],
        arg: Any,
        args: Sequence[Any],
        id: str,
        task_queue: str,
        execution_timeout: timedelta | None,
        run_timeout: timedelta | None,
        task_timeout: timedelta | None,
        id_reuse_policy: WorkflowIDReusePolicy,
        id_conflict_policy: WorkflowIDConflictPolicy,
        retry_policy: RetryPolicy | None,
        cron_schedule: str,
        memo: Mapping[str, Any] | None,
        search_attributes: TypedSearchAttributes | SearchAttributes | None,
        start_delay: timedelta | None,
        start_signal: str | None,
        start_signal_args: Sequence[Any],
        static_summary: str | None,
        static_details: str | None,
        result_type: type | None,
        rpc_metadata: Mapping[str, str | bytes],
        rpc_timeout: timedelta | None,
        request_eager_start: bool,
        priority: Priority,
        versioning_override: VersioningOverride | None,
        stack_level: int,
    ) -> Awaitable[WorkflowHandle[Any, Any]]:
        """What to await for the handle; refuses at once what can be seen to be wrong."""
        self._check_usable()
        if search_attributes is not None:
            _warn_on_deprecated_search_attributes(search_attributes, stack_level=stack_level)
        name, ret_type = _definitions.workflow("start_workflow", workflow)
        arguments = _check.arguments("start_workflow", arg, args)
        if self._is_direct:
            return start_workflow(
                self,  # type: ignore[arg-type]  # this is a part of the client
                name, arguments, id, task_queue, execution_timeout, run_timeout, task_timeout, id_reuse_policy,
                id_conflict_policy, retry_policy, cron_schedule, memo, search_attributes, start_delay, {},
                start_signal, start_signal_args, static_summary, static_details, result_type or ret_type,
                rpc_metadata, rpc_timeout, priority, versioning_override, None, None, request_eager_start,
            )  # fmt: skip
        input_ = StartWorkflowInput(
            name, arguments, id, task_queue, execution_timeout, run_timeout, task_timeout, id_reuse_policy,
            id_conflict_policy, retry_policy, cron_schedule, memo, search_attributes, start_delay, {},
            start_signal, start_signal_args, static_summary, static_details, result_type or ret_type,
            rpc_metadata, rpc_timeout, request_eager_start, priority, versioning_override,
        )  # fmt: skip
        return self._impl.start_workflow(input_)
