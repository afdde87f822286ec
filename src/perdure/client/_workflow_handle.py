"""The handle of a workflow."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Concatenate, Generic, Unpack, cast, overload

from perdure.api.common.v1 import WorkflowExecution
from perdure.api.enums.v1 import ResetReapplyExcludeType
from perdure.api.workflowservice.v1 import (
    DeleteWorkflowExecutionRequest,
    ResetWorkflowExecutionRequest,
    SignalWithStartWorkflowExecutionResponse,
    StartWorkflowExecutionResponse,
)
from perdure.client import _check, _definitions, _result
from perdure.client._interceptor import (
    CancelWorkflowInput,
    DescribeWorkflowInput,
    FetchWorkflowHistoryEventsInput,
    QueryWorkflowInput,
    SignalWorkflowInput,
    StartWorkflowUpdateInput,
    TerminateWorkflowInput,
)
from perdure.client._workflow_history import (
    WorkflowHistory,
    WorkflowHistoryEventAsyncIterator,
    WorkflowHistoryEventFilterType,
)
from perdure.client._workflow_update import WorkflowUpdateHandle, WorkflowUpdateStage
from perdure.common import QueryRejectCondition, _arg_unset
from perdure.types import (
    LocalReturnType,
    MethodSyncOrAsyncNoParam,
    MethodSyncOrAsyncSingleParam,
    MultiParamSpec,
    ParamType,
    ReturnType,
    SelfType,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence
    from datetime import timedelta

    from perdure.client._client import Client
    from perdure.client._options import QueryOptions, RPCOptions, UpdateOptions
    from perdure.client._workflow_execution import WorkflowExecutionDescription
    from perdure.workflow._handlers import UpdateMethodMultiParam


class WorkflowHandle(Generic[SelfType, ReturnType]):
    """A workflow that was started, or may have been: making a handle asks nobody.

    Calls go to :attr:`run_id` if there is one, else to the newest run of the workflow id.
    """

    __slots__ = (
        "__dict__",
        "__weakref__",
        "_client",
        "_first_execution_run_id",
        "_id",
        "_result_run_id",
        "_result_type",
        "_run_id",
        "_start_workflow_response",
    )

    def __init__(
        self,
        client: Client,
        id: str,
        *,
        run_id: str | None = None,
        result_run_id: str | None = None,
        first_execution_run_id: str | None = None,
        result_type: type | None = None,
        start_workflow_response: StartWorkflowExecutionResponse
        | SignalWithStartWorkflowExecutionResponse
        | None = None,
    ) -> None:
        """Made by :meth:`Client.start_workflow` and :meth:`Client.get_workflow_handle`."""
        self._client = client
        self._id = id
        self._run_id = run_id
        self._result_run_id = result_run_id
        self._first_execution_run_id = first_execution_run_id
        self._result_type = result_type
        self._start_workflow_response = start_workflow_response

    def __repr__(self) -> str:
        """Name the workflow and what is known of its runs."""
        run = self._run_id or self._result_run_id
        return f"<WorkflowHandle {self._id!r}{f' run {run}' if run else ''}>"

    @property
    def id(self) -> str:
        """The workflow id."""
        return self._id

    @property
    def run_id(self) -> str | None:
        """The exact run that calls go to; None from :meth:`Client.start_workflow`."""
        return self._run_id

    @property
    def result_run_id(self) -> str | None:
        """The run with which :meth:`result` begins."""
        return self._result_run_id

    @property
    def first_execution_run_id(self) -> str | None:
        """The first run of the chain that :meth:`cancel`, :meth:`terminate` and updates insist on."""
        return self._first_execution_run_id

    async def result(
        self,
        *,
        follow_runs: bool = True,
        rpc_metadata: Mapping[str, str | bytes] = {},
        rpc_timeout: timedelta | None = None,
    ) -> ReturnType:
        """Wait until the workflow closes and return what it returned.

        Args:
            follow_runs: Go on to the run that a run continued as, was retried as or, by cron, came next.
            rpc_metadata: Headers of the calls on the way.
            rpc_timeout: Bounds each call on the way, not the wait; for the wait use ``asyncio.timeout``.

        Raises:
            WorkflowFailureError: it failed, timed out, was cancelled or was terminated; ``cause`` says which.
            WorkflowContinuedAsNewError: it continued as new, and ``follow_runs`` is false.
            RPCError: there is no such workflow, or the connection was closed.
        """
        return cast("ReturnType", await _result.result(self, follow_runs, rpc_metadata, rpc_timeout))

    async def cancel(
        self, *, reason: str = "", rpc_metadata: Mapping[str, str | bytes] = {}, rpc_timeout: timedelta | None = None
    ) -> None:
        """Ask the workflow to cancel itself. It decides how; a closed workflow stays as it is."""
        _check.reason("cancel", reason)
        self._check("cancel", rpc_metadata, rpc_timeout)
        await self._client._impl.cancel_workflow(
            CancelWorkflowInput(self._id, self._run_id, self._first_execution_run_id, reason, rpc_metadata, rpc_timeout)
        )

    async def terminate(
        self,
        *args: Any,
        reason: str | None = None,
        rpc_metadata: Mapping[str, str | bytes] = {},
        rpc_timeout: timedelta | None = None,
    ) -> None:
        """Close the workflow at once; its code is not asked. ``args`` are kept as details."""
        _check.reason("terminate", "" if reason is None else reason)
        self._check("terminate", rpc_metadata, rpc_timeout)
        await self._client._impl.terminate_workflow(
            TerminateWorkflowInput(
                self._id, self._run_id, self._first_execution_run_id, args, reason, rpc_metadata, rpc_timeout
            )
        )

    async def describe(
        self, *, rpc_metadata: Mapping[str, str | bytes] = {}, rpc_timeout: timedelta | None = None
    ) -> WorkflowExecutionDescription:
        """What the engine knows of the workflow now: status, times, attributes, pending work."""
        self._check("describe", rpc_metadata, rpc_timeout)
        return await self._client._impl.describe_workflow(
            DescribeWorkflowInput(self._id, self._run_id, rpc_metadata, rpc_timeout)
        )

    async def fetch_history(
        self,
        *,
        event_filter_type: WorkflowHistoryEventFilterType = WorkflowHistoryEventFilterType.ALL_EVENT,
        skip_archival: bool = False,
        rpc_metadata: Mapping[str, str | bytes] = {},
        rpc_timeout: timedelta | None = None,
    ) -> WorkflowHistory:
        """The whole history as it is now."""
        events = self.fetch_history_events(
            event_filter_type=event_filter_type,
            skip_archival=skip_archival,
            rpc_metadata=rpc_metadata,
            rpc_timeout=rpc_timeout,
        )
        return WorkflowHistory(self._id, [event async for event in events])

    def fetch_history_events(
        self,
        *,
        page_size: int | None = None,
        next_page_token: bytes | None = None,
        wait_new_event: bool = False,
        event_filter_type: WorkflowHistoryEventFilterType = WorkflowHistoryEventFilterType.ALL_EVENT,
        skip_archival: bool = False,
        rpc_metadata: Mapping[str, str | bytes] = {},
        rpc_timeout: timedelta | None = None,
    ) -> WorkflowHistoryEventAsyncIterator:
        """The history's events, fetched as they are iterated; with ``wait_new_event`` until the workflow closes."""
        where = "fetch_history_events"
        _check.count(where, "page_size", page_size, least=1)
        _check.member(where, "event_filter_type", event_filter_type, WorkflowHistoryEventFilterType)
        if next_page_token is not None:
            _check.instance(where, "next_page_token", next_page_token, bytes)
        _check.rpc_options(where, rpc_metadata, rpc_timeout)
        return self._client._impl.fetch_workflow_history_events(
            FetchWorkflowHistoryEventsInput(
                self._id,
                self._run_id,
                page_size,
                next_page_token,
                wait_new_event,
                event_filter_type,
                skip_archival,
                rpc_metadata,
                rpc_timeout,
            )
        )

    @overload
    async def query(
        self, query: MethodSyncOrAsyncNoParam[SelfType, LocalReturnType], **options: Unpack[QueryOptions]
    ) -> LocalReturnType: ...

    @overload
    async def query(
        self,
        query: MethodSyncOrAsyncSingleParam[SelfType, ParamType, LocalReturnType],
        arg: ParamType,
        **options: Unpack[QueryOptions],
    ) -> LocalReturnType: ...

    @overload
    async def query(
        self,
        query: Callable[Concatenate[SelfType, MultiParamSpec], Awaitable[LocalReturnType] | LocalReturnType],
        *,
        args: Sequence[Any],
        **options: Unpack[QueryOptions],
    ) -> LocalReturnType: ...

    @overload
    async def query(
        self,
        query: str,
        arg: Any = _arg_unset,
        *,
        args: Sequence[Any] = [],
        result_type: type | None = None,
        **options: Unpack[QueryOptions],
    ) -> Any: ...

    async def query(
        self,
        query: str | Callable[..., Any],
        arg: Any = _arg_unset,
        *,
        args: Sequence[Any] = [],
        result_type: type | None = None,
        reject_condition: QueryRejectCondition | None = None,
        rpc_metadata: Mapping[str, str | bytes] = {},
        rpc_timeout: timedelta | None = None,
    ) -> Any:
        """Ask the workflow's query handler. The answer reflects everything acknowledged before the call.

        Args:
            query: The handler, or its name.
            arg: The one argument.
            args: Several arguments.
            result_type: Type of the answer to a query given by name.
            reject_condition: Which workflows refuse; None means the client's default.
            rpc_metadata: Headers of the call.
            rpc_timeout: Bounds the call.

        Raises:
            WorkflowQueryRejectedError: the reject condition holds.
            WorkflowQueryFailedError: the handler failed, or there is none.
            RPCError: there is no such workflow, or no worker to answer.
        """
        name, ret_type = _definitions.query("query", query)
        arguments = _check.arguments("query", arg, args)
        if reject_condition is None:
            reject_condition = self._client._default_reject_condition
        else:
            _check.member("query", "reject_condition", reject_condition, QueryRejectCondition)
        self._check("query", rpc_metadata, rpc_timeout)
        return await self._client._impl.query_workflow(
            QueryWorkflowInput(
                self._id,
                self._run_id,
                name,
                arguments,
                reject_condition,
                {},
                result_type or ret_type,
                rpc_metadata,
                rpc_timeout,
            )
        )

    @overload
    async def signal(self, signal: MethodSyncOrAsyncNoParam[SelfType, None], **options: Unpack[RPCOptions]) -> None: ...

    @overload
    async def signal(
        self,
        signal: MethodSyncOrAsyncSingleParam[SelfType, ParamType, None],
        arg: ParamType,
        **options: Unpack[RPCOptions],
    ) -> None: ...

    @overload
    async def signal(
        self,
        signal: Callable[Concatenate[SelfType, MultiParamSpec], Awaitable[None] | None],
        *,
        args: Sequence[Any],
        **options: Unpack[RPCOptions],
    ) -> None: ...

    @overload
    async def signal(
        self, signal: str, arg: Any = _arg_unset, *, args: Sequence[Any] = [], **options: Unpack[RPCOptions]
    ) -> None: ...

    async def signal(
        self,
        signal: str | Callable[..., Any],
        arg: Any = _arg_unset,
        *,
        args: Sequence[Any] = [],
        rpc_metadata: Mapping[str, str | bytes] = {},
        rpc_timeout: timedelta | None = None,
    ) -> None:
        """Send a signal. When this returns it is durable, and the workflow sees it exactly once.

        Raises:
            RPCError: there is no such workflow, it has closed, or it got its 10,000 signals.
        """
        name = _definitions.signal("signal", signal)
        arguments = _check.arguments("signal", arg, args)
        self._check("signal", rpc_metadata, rpc_timeout)
        await self._client._impl.signal_workflow(
            SignalWorkflowInput(self._id, self._run_id, name, arguments, {}, rpc_metadata, rpc_timeout)
        )

    @overload
    async def execute_update(
        self, update: UpdateMethodMultiParam[[SelfType], LocalReturnType], **options: Unpack[UpdateOptions]
    ) -> LocalReturnType: ...

    @overload
    async def execute_update(
        self,
        update: UpdateMethodMultiParam[[SelfType, ParamType], LocalReturnType],
        arg: ParamType,
        **options: Unpack[UpdateOptions],
    ) -> LocalReturnType: ...

    @overload
    async def execute_update(
        self,
        update: UpdateMethodMultiParam[MultiParamSpec, LocalReturnType],
        *,
        args: Sequence[Any],
        **options: Unpack[UpdateOptions],
    ) -> LocalReturnType: ...

    @overload
    async def execute_update(
        self,
        update: str,
        arg: Any = _arg_unset,
        *,
        args: Sequence[Any] = [],
        result_type: type | None = None,
        **options: Unpack[UpdateOptions],
    ) -> Any: ...

    async def execute_update(
        self,
        update: str | Callable[..., Any],
        arg: Any = _arg_unset,
        *,
        args: Sequence[Any] = [],
        id: str | None = None,
        result_type: type | None = None,
        rpc_metadata: Mapping[str, str | bytes] = {},
        rpc_timeout: timedelta | None = None,
    ) -> Any:
        """Send an update and wait for its result. The same ``id`` joins an update that was sent before.

        Raises:
            WorkflowUpdateFailedError: it was rejected, or its handler failed.
            WorkflowUpdateRPCTimeoutOrCancelledError: the wait ended first; the update goes on.
            RPCError: it could not be sent.
        """
        handle = await self._start_update(
            "execute_update",
            update,
            arg,
            args,
            WorkflowUpdateStage.COMPLETED,
            id,
            result_type,
            rpc_metadata,
            rpc_timeout,
        )
        return await handle.result()

    @overload
    async def start_update(
        self,
        update: UpdateMethodMultiParam[[SelfType], LocalReturnType],
        *,
        wait_for_stage: WorkflowUpdateStage,
        **options: Unpack[UpdateOptions],
    ) -> WorkflowUpdateHandle[LocalReturnType]: ...

    @overload
    async def start_update(
        self,
        update: UpdateMethodMultiParam[[SelfType, ParamType], LocalReturnType],
        arg: ParamType,
        *,
        wait_for_stage: WorkflowUpdateStage,
        **options: Unpack[UpdateOptions],
    ) -> WorkflowUpdateHandle[LocalReturnType]: ...

    @overload
    async def start_update(
        self,
        update: UpdateMethodMultiParam[MultiParamSpec, LocalReturnType],
        *,
        args: Sequence[Any],
        wait_for_stage: WorkflowUpdateStage,
        **options: Unpack[UpdateOptions],
    ) -> WorkflowUpdateHandle[LocalReturnType]: ...

    @overload
    async def start_update(
        self,
        update: str,
        arg: Any = _arg_unset,
        *,
        wait_for_stage: WorkflowUpdateStage,
        args: Sequence[Any] = [],
        result_type: type | None = None,
        **options: Unpack[UpdateOptions],
    ) -> WorkflowUpdateHandle[Any]: ...

    async def start_update(
        self,
        update: str | Callable[..., Any],
        arg: Any = _arg_unset,
        *,
        wait_for_stage: WorkflowUpdateStage,
        args: Sequence[Any] = [],
        id: str | None = None,
        result_type: type | None = None,
        rpc_metadata: Mapping[str, str | bytes] = {},
        rpc_timeout: timedelta | None = None,
    ) -> WorkflowUpdateHandle[Any]:
        """Send an update and return its handle once it is ACCEPTED or COMPLETED, as ``wait_for_stage`` says.

        A rejected update returns a handle too: its :meth:`WorkflowUpdateHandle.result` raises.

        Raises:
            WorkflowUpdateRPCTimeoutOrCancelledError: the wait ended first; the update goes on.
            RPCError: it could not be sent.
        """
        return await self._start_update(
            "start_update", update, arg, args, wait_for_stage, id, result_type, rpc_metadata, rpc_timeout
        )

    async def _start_update(
        self,
        where: str,
        update: str | Callable[..., Any],
        arg: Any,
        args: Sequence[Any],
        wait_for_stage: WorkflowUpdateStage,
        id: str | None,
        result_type: type | None,
        rpc_metadata: Mapping[str, str | bytes],
        rpc_timeout: timedelta | None,
    ) -> WorkflowUpdateHandle[Any]:
        _check.member(where, "wait_for_stage", wait_for_stage, WorkflowUpdateStage)
        if wait_for_stage == WorkflowUpdateStage.ADMITTED:
            raise ValueError(f"{where}: an update can be waited for until ACCEPTED or COMPLETED, not ADMITTED")
        _check.optional_text(where, "id", id)
        name, ret_type = _definitions.update(where, update)
        arguments = _check.arguments(where, arg, args)
        self._check(where, rpc_metadata, rpc_timeout)
        return await self._client._impl.start_workflow_update(
            StartWorkflowUpdateInput(
                self._id,
                self._run_id,
                self._first_execution_run_id,
                id,
                name,
                arguments,
                wait_for_stage,
                {},
                result_type or ret_type,
                rpc_metadata,
                rpc_timeout,
            )
        )

    def get_update_handle(
        self, id: str, *, workflow_run_id: str | None = None, result_type: type | None = None
    ) -> WorkflowUpdateHandle[Any]:
        """A handle for an update that was sent before. Asks nobody."""
        _check.text("get_update_handle", "id", id)
        _check.optional_text("get_update_handle", "workflow_run_id", workflow_run_id)
        return WorkflowUpdateHandle(
            self._client, id, self._id, workflow_run_id=workflow_run_id or self._run_id, result_type=result_type
        )

    def get_update_handle_for(
        self, update: UpdateMethodMultiParam[Any, LocalReturnType], id: str, *, workflow_run_id: str | None = None
    ) -> WorkflowUpdateHandle[LocalReturnType]:
        """:meth:`get_update_handle` with the result type of an update handler."""
        _, result_type = _definitions.update("get_update_handle_for", update)
        return self.get_update_handle(id, workflow_run_id=workflow_run_id, result_type=result_type)

    async def reset(
        self,
        *,
        workflow_task_finish_event_id: int | None = None,
        reason: str = "",
        reapply_exclude_types: Sequence[ResetReapplyExcludeType] = (),
        rpc_metadata: Mapping[str, str | bytes] = {},
        rpc_timeout: timedelta | None = None,
    ) -> WorkflowHandle[SelfType, ReturnType]:
        """Rewind the workflow into a new run that repeats its history up to a workflow task, and go on from there.

        The newest run, if it is open, is terminated. Signals and updates after the point of return are applied again
        unless ``reapply_exclude_types`` excludes them.

        Args:
            workflow_task_finish_event_id: The event that finished the workflow task to return to; None means the
                last WorkflowTaskCompleted.
            reason: Kept in the history.
            reapply_exclude_types: What is not applied again.
            rpc_metadata: Headers of the call.
            rpc_timeout: Bounds the call.

        Returns:
            A handle of the new run.
        """
        _check.count("reset", "workflow_task_finish_event_id", workflow_task_finish_event_id, least=2)
        _check.reason("reset", reason)
        for exclude in reapply_exclude_types:
            _check.member("reset", "reapply_exclude_types", exclude, ResetReapplyExcludeType)
        self._check("reset", rpc_metadata, rpc_timeout)
        client = self._client
        if workflow_task_finish_event_id is None:
            workflow_task_finish_event_id = await _result.last_workflow_task_completed(self, rpc_metadata, rpc_timeout)
        response = await client._service.reset_workflow_execution(
            ResetWorkflowExecutionRequest(
                namespace=client.namespace,
                workflow_execution=WorkflowExecution(self._id, self._run_id or ""),
                reason=reason,
                workflow_task_finish_event_id=workflow_task_finish_event_id,
                request_id=client._new_request_id(),
                reset_reapply_exclude_types=[int(exclude) for exclude in reapply_exclude_types],
                identity=client.identity,
            ),
            metadata=client._metadata(rpc_metadata),
            timeout=rpc_timeout,
        )
        return WorkflowHandle(
            client,
            self._id,
            run_id=response.run_id,
            result_run_id=response.run_id,
            first_execution_run_id=self._first_execution_run_id,
            result_type=self._result_type,
        )

    async def delete(
        self, *, rpc_metadata: Mapping[str, str | bytes] = {}, rpc_timeout: timedelta | None = None
    ) -> None:
        """Forget the run: its history, its state and its row in lists. An open run is terminated first."""
        self._check("delete", rpc_metadata, rpc_timeout)
        await self._client._service.delete_workflow_execution(
            DeleteWorkflowExecutionRequest(self._client.namespace, WorkflowExecution(self._id, self._run_id or "")),
            metadata=self._client._metadata(rpc_metadata),
            timeout=rpc_timeout,
        )

    def _check(self, where: str, rpc_metadata: Mapping[str, str | bytes], rpc_timeout: timedelta | None) -> None:
        if rpc_metadata or rpc_timeout is not None:
            _check.rpc_options(where, rpc_metadata, rpc_timeout)
        self._client._check_usable()
