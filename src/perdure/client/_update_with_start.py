"""Update-with-start: update a workflow, and start it first if it does not run."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Concatenate, Generic, TypedDict, cast, overload

from perdure._search_attributes import _warn_on_deprecated_search_attributes
from perdure.api.errordetails.v1 import (
    MultiOperationExecutionFailure,
    MultiOperationExecutionFailureOperationStatus,
    WorkflowExecutionAlreadyStartedFailure,
)
from perdure.api.failure.v1 import MultiOperationExecutionAborted
from perdure.api.workflowservice.v1 import (
    ExecuteMultiOperationRequest,
    ExecuteMultiOperationRequestOperation,
    StartWorkflowExecutionRequest,
    StartWorkflowExecutionResponse,
)
from perdure.client import _check, _definitions
from perdure.client._interceptor import (
    StartWorkflowUpdateWithStartInput,
    UpdateWithStartStartWorkflowInput,
    UpdateWithStartUpdateWorkflowInput,
)
from perdure.client._start import start_workflow
from perdure.client._workflow_handle import WorkflowHandle
from perdure.client._workflow_update import (
    WorkflowUpdateHandle,
    WorkflowUpdateStage,
    update_id_of,
    update_request,
    waiting_for_update,
)
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
from perdure.exceptions import WorkflowAlreadyStartedError
from perdure.service import RPCError, RPCStatusCode
from perdure.types import ReturnType, SelfType

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence
    from datetime import timedelta
    from typing import Required, Unpack

    from perdure.client._client import Client
    from perdure.client._options import UpdateOptions
    from perdure.types import (
        LocalReturnType,
        MethodAsyncNoParam,
        MethodAsyncSingleParam,
        MultiParamSpec,
        ParamType,
    )
    from perdure.workflow._handlers import UpdateMethodMultiParam

    class _StartOptions(TypedDict, total=False):
        id: Required[str]
        task_queue: Required[str]
        id_conflict_policy: Required[WorkflowIDConflictPolicy]
        execution_timeout: timedelta | None
        run_timeout: timedelta | None
        task_timeout: timedelta | None
        id_reuse_policy: WorkflowIDReusePolicy
        retry_policy: RetryPolicy | None
        cron_schedule: str
        memo: Mapping[str, Any] | None
        search_attributes: TypedSearchAttributes | SearchAttributes | None
        static_summary: str | None
        static_details: str | None
        start_delay: timedelta | None
        priority: Priority
        versioning_override: VersioningOverride | None


class WithStartWorkflowOperation(Generic[SelfType, ReturnType]):
    """How to start the workflow of :meth:`Client.execute_update_with_start_workflow`. Good for one call.

    ``id_conflict_policy`` says what to do when the workflow runs: USE_EXISTING updates it, FAIL raises, and
    TERMINATE_EXISTING starts it anew.
    """

    @overload
    def __init__(
        self, workflow: MethodAsyncNoParam[SelfType, ReturnType], **options: Unpack[_StartOptions]
    ) -> None: ...

    @overload
    def __init__(
        self,
        workflow: MethodAsyncSingleParam[SelfType, ParamType, ReturnType],
        arg: ParamType,
        **options: Unpack[_StartOptions],
    ) -> None: ...

    @overload
    def __init__(
        self,
        workflow: Callable[Concatenate[SelfType, MultiParamSpec], Awaitable[ReturnType]],
        *,
        args: Sequence[Any],
        **options: Unpack[_StartOptions],
    ) -> None: ...

    @overload
    def __init__(
        self,
        workflow: str,
        arg: Any = _arg_unset,
        *,
        args: Sequence[Any] = [],
        result_type: type | None = None,
        **options: Unpack[_StartOptions],
    ) -> None: ...

    def __init__(
        self,
        workflow: str | Callable[..., Awaitable[Any]],
        arg: Any = _arg_unset,
        *,
        args: Sequence[Any] = [],
        id: str,
        task_queue: str,
        id_conflict_policy: WorkflowIDConflictPolicy,
        result_type: type | None = None,
        execution_timeout: timedelta | None = None,
        run_timeout: timedelta | None = None,
        task_timeout: timedelta | None = None,
        id_reuse_policy: WorkflowIDReusePolicy = WorkflowIDReusePolicy.ALLOW_DUPLICATE,
        retry_policy: RetryPolicy | None = None,
        cron_schedule: str = "",
        memo: Mapping[str, Any] | None = None,
        search_attributes: TypedSearchAttributes | SearchAttributes | None = None,
        static_summary: str | None = None,
        static_details: str | None = None,
        start_delay: timedelta | None = None,
        priority: Priority = Priority.default,
        versioning_override: VersioningOverride | None = None,
        stack_level: int = 2,
    ) -> None:
        """See :meth:`Client.start_workflow` for the arguments."""
        where = "WithStartWorkflowOperation"
        if search_attributes is not None:
            _warn_on_deprecated_search_attributes(search_attributes, stack_level=stack_level)
        name, ret_type = _definitions.workflow(where, workflow)
        _check.member(where, "id_conflict_policy", id_conflict_policy, WorkflowIDConflictPolicy)
        if id_conflict_policy == WorkflowIDConflictPolicy.UNSPECIFIED:
            raise ValueError(
                f"{where}: WorkflowIDConflictPolicy is required; say USE_EXISTING, FAIL or TERMINATE_EXISTING"
            )
        self._start_workflow_input = UpdateWithStartStartWorkflowInput(
            workflow=name,
            args=_check.arguments(where, arg, args),
            id=id,
            task_queue=task_queue,
            execution_timeout=execution_timeout,
            run_timeout=run_timeout,
            task_timeout=task_timeout,
            id_reuse_policy=id_reuse_policy,
            id_conflict_policy=id_conflict_policy,
            retry_policy=retry_policy,
            cron_schedule=cron_schedule,
            memo=memo,
            search_attributes=search_attributes,
            start_delay=start_delay,
            headers={},
            static_summary=static_summary,
            static_details=static_details,
            ret_type=result_type or ret_type,
            priority=priority,
            versioning_override=versioning_override,
        )
        self._used = False
        self._handle: WorkflowHandle[SelfType, ReturnType] | None = None
        self._error: BaseException | None = None
        self._waiters: list[asyncio.Future[None]] = []

    async def workflow_handle(self) -> WorkflowHandle[SelfType, ReturnType]:
        """Wait until the workflow runs; its handle. Raises what kept it from being started."""
        while self._handle is None and self._error is None:
            waiter = asyncio.get_running_loop().create_future()
            self._waiters.append(waiter)
            await waiter
        if self._handle is not None:
            return self._handle
        assert self._error is not None
        raise self._error

    def _started(self, client: Client, response: StartWorkflowExecutionResponse) -> None:
        start = self._start_workflow_input
        self._handle = WorkflowHandle(
            client,
            start.id,
            result_run_id=response.run_id,
            first_execution_run_id=response.first_execution_run_id or response.run_id,
            result_type=start.ret_type,
            start_workflow_response=response,
        )
        self._wake()

    def _failed(self, error: BaseException) -> None:
        self._error = error
        self._wake()

    def _wake(self) -> None:
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)


class UpdateWithStart:
    """One update-with-start on its way: the end of the interceptor chain."""

    def __init__(self, client: Client, input: StartWorkflowUpdateWithStartInput) -> None:
        self._client = client
        self._input = input
        self._has_started = False
        self._update: WorkflowUpdateHandle[Any]

    async def start(self) -> WorkflowUpdateHandle[Any]:
        """Send it, until the update is durable and as far as was asked for."""
        input = self._input
        start = input.start_workflow_input
        try:
            with waiting_for_update():
                await start_workflow(
                    self._client,
                    start.workflow,
                    start.args,
                    start.id,
                    start.task_queue,
                    start.execution_timeout,
                    start.run_timeout,
                    start.task_timeout,
                    start.id_reuse_policy,
                    start.id_conflict_policy,
                    start.retry_policy,
                    start.cron_schedule,
                    start.memo,
                    start.search_attributes,
                    start.start_delay,
                    start.headers,
                    None,
                    (),
                    start.static_summary,
                    start.static_details,
                    start.ret_type,
                    input.rpc_metadata,
                    input.rpc_timeout,
                    start.priority,
                    start.versioning_override,
                    start.time_skipping_config,
                    self._send,
                )
            if input.update_workflow_input.wait_for_stage == WorkflowUpdateStage.COMPLETED:
                await self._update._outcome(input.rpc_metadata, input.rpc_timeout)
            return self._update
        except BaseException as error:
            if not self._has_started:
                input._on_start_error(error)
            raise

    async def _send(self, start: StartWorkflowExecutionRequest) -> WorkflowHandle[Any, Any]:
        client = self._client
        input = self._input
        update = await update_request(client, start.workflow_id, None, input.update_workflow_input)
        request = ExecuteMultiOperationRequest(
            client.namespace,
            [
                ExecuteMultiOperationRequestOperation(start_workflow=start),
                ExecuteMultiOperationRequestOperation(update_workflow=update),
            ],
        )
        metadata = client._metadata(input.rpc_metadata)
        while True:
            try:
                response = await client._service.execute_multi_operation(
                    request, metadata=metadata, timeout=input.rpc_timeout
                )
            except RPCError as error:
                raise self._cause(error) from None
            started = response.responses[0].start_workflow
            updated = response.responses[1].update_workflow
            assert started is not None and updated is not None
            if not self._has_started:
                self._has_started = True
                input._on_start(started)
            if updated.stage >= WorkflowUpdateStage.ACCEPTED:
                break
        self._update = WorkflowUpdateHandle(
            client,
            update_id_of(update),
            start.workflow_id,
            workflow_run_id=started.run_id,
            result_type=input.update_workflow_input.ret_type,
            known_outcome=updated.outcome,
        )
        return WorkflowHandle(client, start.workflow_id)

    def _cause(self, error: RPCError) -> Exception:
        """The error of the operation that is at fault."""
        failure = error.detail(MultiOperationExecutionFailure)
        if not isinstance(failure, MultiOperationExecutionFailure):
            return error
        status = next((status for status in failure.statuses if _is_at_fault(status)), None)
        if status is None:
            return error
        detail = status.details[0] if status.details else None
        start = self._input.start_workflow_input
        if isinstance(detail, WorkflowExecutionAlreadyStartedFailure):
            return WorkflowAlreadyStartedError(
                start.id, start.workflow, run_id=detail.run_id, first_run_id=detail.first_execution_run_id or None
            )
        return RPCError(status.message, RPCStatusCode(status.code), error.details)


def _is_at_fault(status: MultiOperationExecutionFailureOperationStatus) -> bool:
    is_aborted = bool(status.details) and isinstance(status.details[0], MultiOperationExecutionAborted)
    return status.code != RPCStatusCode.OK and not is_aborted


class UpdateWithStartMethods:
    """The part of :class:`Client` that does update-with-start."""

    @overload
    async def execute_update_with_start_workflow(
        self,
        update: UpdateMethodMultiParam[[SelfType], LocalReturnType],
        *,
        start_workflow_operation: WithStartWorkflowOperation[SelfType, Any],
        **options: Unpack[UpdateOptions],
    ) -> LocalReturnType: ...

    @overload
    async def execute_update_with_start_workflow(
        self,
        update: UpdateMethodMultiParam[[SelfType, ParamType], LocalReturnType],
        arg: ParamType,
        *,
        start_workflow_operation: WithStartWorkflowOperation[SelfType, Any],
        **options: Unpack[UpdateOptions],
    ) -> LocalReturnType: ...

    @overload
    async def execute_update_with_start_workflow(
        self,
        update: UpdateMethodMultiParam[MultiParamSpec, LocalReturnType],
        *,
        args: Sequence[Any],
        start_workflow_operation: WithStartWorkflowOperation[Any, Any],
        **options: Unpack[UpdateOptions],
    ) -> LocalReturnType: ...

    @overload
    async def execute_update_with_start_workflow(
        self,
        update: str,
        arg: Any = _arg_unset,
        *,
        start_workflow_operation: WithStartWorkflowOperation[Any, Any],
        args: Sequence[Any] = [],
        result_type: type | None = None,
        **options: Unpack[UpdateOptions],
    ) -> Any: ...

    async def execute_update_with_start_workflow(
        self,
        update: str | Callable[..., Any],
        arg: Any = _arg_unset,
        *,
        start_workflow_operation: WithStartWorkflowOperation[Any, Any],
        args: Sequence[Any] = [],
        id: str | None = None,
        result_type: type | None = None,
        rpc_metadata: Mapping[str, str | bytes] = {},
        rpc_timeout: timedelta | None = None,
    ) -> Any:
        """Update a workflow, starting it first if it does not run, and wait for the update's result.

        A workflow that is started has the update with its first workflow task.

        Raises:
            WorkflowUpdateFailedError: the update was rejected, or its handler failed.
            WorkflowUpdateRPCTimeoutOrCancelledError: the wait ended first; the update goes on.
            WorkflowAlreadyStartedError: it runs, and ``id_conflict_policy`` says to fail.
            RPCError: the start or the update was refused.
        """
        handle = await self._start_update_with_start(
            "execute_update_with_start_workflow",
            update,
            arg,
            args,
            start_workflow_operation,
            WorkflowUpdateStage.COMPLETED,
            id,
            result_type,
            rpc_metadata,
            rpc_timeout,
        )
        return await handle.result()

    @overload
    async def start_update_with_start_workflow(
        self,
        update: UpdateMethodMultiParam[[SelfType], LocalReturnType],
        *,
        start_workflow_operation: WithStartWorkflowOperation[SelfType, Any],
        wait_for_stage: WorkflowUpdateStage,
        **options: Unpack[UpdateOptions],
    ) -> WorkflowUpdateHandle[LocalReturnType]: ...

    @overload
    async def start_update_with_start_workflow(
        self,
        update: UpdateMethodMultiParam[[SelfType, ParamType], LocalReturnType],
        arg: ParamType,
        *,
        start_workflow_operation: WithStartWorkflowOperation[SelfType, Any],
        wait_for_stage: WorkflowUpdateStage,
        **options: Unpack[UpdateOptions],
    ) -> WorkflowUpdateHandle[LocalReturnType]: ...

    @overload
    async def start_update_with_start_workflow(
        self,
        update: UpdateMethodMultiParam[MultiParamSpec, LocalReturnType],
        *,
        args: Sequence[Any],
        start_workflow_operation: WithStartWorkflowOperation[Any, Any],
        wait_for_stage: WorkflowUpdateStage,
        **options: Unpack[UpdateOptions],
    ) -> WorkflowUpdateHandle[LocalReturnType]: ...

    @overload
    async def start_update_with_start_workflow(
        self,
        update: str,
        arg: Any = _arg_unset,
        *,
        start_workflow_operation: WithStartWorkflowOperation[Any, Any],
        wait_for_stage: WorkflowUpdateStage,
        args: Sequence[Any] = [],
        result_type: type | None = None,
        **options: Unpack[UpdateOptions],
    ) -> WorkflowUpdateHandle[Any]: ...

    async def start_update_with_start_workflow(
        self,
        update: str | Callable[..., Any],
        arg: Any = _arg_unset,
        *,
        start_workflow_operation: WithStartWorkflowOperation[Any, Any],
        wait_for_stage: WorkflowUpdateStage,
        args: Sequence[Any] = [],
        id: str | None = None,
        result_type: type | None = None,
        rpc_metadata: Mapping[str, str | bytes] = {},
        rpc_timeout: timedelta | None = None,
    ) -> WorkflowUpdateHandle[Any]:
        """Update a workflow, starting it first if it does not run; the update's handle once it is as far as asked.

        Raises: as :meth:`execute_update_with_start_workflow`; a rejected update returns a handle.
        """
        return await self._start_update_with_start(
            "start_update_with_start_workflow",
            update,
            arg,
            args,
            start_workflow_operation,
            wait_for_stage,
            id,
            result_type,
            rpc_metadata,
            rpc_timeout,
        )

    async def _start_update_with_start(
        self,
        where: str,
        update: str | Callable[..., Any],
        arg: Any,
        args: Sequence[Any],
        operation: WithStartWorkflowOperation[Any, Any],
        wait_for_stage: WorkflowUpdateStage,
        id: str | None,
        result_type: type | None,
        rpc_metadata: Mapping[str, str | bytes],
        rpc_timeout: timedelta | None,
    ) -> WorkflowUpdateHandle[Any]:
        client = cast("Client", self)
        client._check_usable()
        _check.rpc_options(where, rpc_metadata, rpc_timeout)
        _check.member(where, "wait_for_stage", wait_for_stage, WorkflowUpdateStage)
        if wait_for_stage == WorkflowUpdateStage.ADMITTED:
            raise ValueError(f"{where}: an update can be waited for until ACCEPTED or COMPLETED, not ADMITTED")
        _check.instance(where, "start_workflow_operation", operation, WithStartWorkflowOperation)
        _check.optional_text(where, "id", id)
        name, ret_type = _definitions.update(where, update)
        arguments = _check.arguments(where, arg, args)
        if operation._used:
            raise RuntimeError(f"{where}: WithStartWorkflowOperation cannot be reused; make another one")
        operation._used = True
        return await client._impl.start_update_with_start_workflow(
            StartWorkflowUpdateWithStartInput(
                operation._start_workflow_input,
                UpdateWithStartUpdateWorkflowInput(id, name, arguments, wait_for_stage, {}, result_type or ret_type),
                rpc_metadata,
                rpc_timeout,
                lambda response: operation._started(client, response),
                operation._failed,
            )
        )
