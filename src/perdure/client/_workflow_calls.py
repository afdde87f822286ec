"""The calls of a client that find workflows, and handles of them and of activities completed from outside."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any, Concatenate, cast, overload

from perdure.client import _check, _definitions
from perdure.client._async_activity import AsyncActivityHandle, AsyncActivityIDReference
from perdure.client._interceptor import CountWorkflowsInput, ListWorkflowsInput, OutboundInterceptor
from perdure.client._workflow_execution import (
    MAX_PAGE_SIZE,
    WorkflowExecutionAsyncIterator,
    WorkflowExecutionCount,
)
from perdure.client._workflow_handle import WorkflowHandle

if TYPE_CHECKING:
    from datetime import timedelta

    from perdure.client._client import Client
    from perdure.types import ReturnType, SelfType


class WorkflowCalls:
    """The part of :class:`~perdure.client.Client` that finds workflows."""

    _impl: OutboundInterceptor

    def _check_usable(self) -> None:
        raise NotImplementedError

    def get_workflow_handle(
        self,
        workflow_id: str,
        *,
        run_id: str | None = None,
        first_execution_run_id: str | None = None,
        result_type: type | None = None,
    ) -> WorkflowHandle[Any, Any]:
        """A handle of a workflow by its id. Asks nobody: whether there is one shows at the first call."""
        where = "get_workflow_handle"
        _check.text(where, "workflow_id", workflow_id)
        _check.optional_text(where, "run_id", run_id)
        _check.optional_text(where, "first_execution_run_id", first_execution_run_id)
        return WorkflowHandle(
            cast("Client", self),
            workflow_id,
            run_id=run_id,
            result_run_id=run_id,
            first_execution_run_id=first_execution_run_id,
            result_type=result_type,
        )

    def get_workflow_handle_for(
        self,
        workflow: Callable[Concatenate[SelfType, ...], Awaitable[ReturnType]],
        workflow_id: str,
        *,
        run_id: str | None = None,
        first_execution_run_id: str | None = None,
    ) -> WorkflowHandle[SelfType, ReturnType]:
        """:meth:`get_workflow_handle` with the types of a workflow's run method."""
        _, result_type = _definitions.workflow("get_workflow_handle_for", workflow, may_be_class=True)
        return self.get_workflow_handle(
            workflow_id, run_id=run_id, first_execution_run_id=first_execution_run_id, result_type=result_type
        )

    def list_workflows(
        self,
        query: str | None = None,
        *,
        limit: int | None = None,
        page_size: int = MAX_PAGE_SIZE,
        next_page_token: bytes | None = None,
        rpc_metadata: Mapping[str, str | bytes] = {},
        rpc_timeout: timedelta | None = None,
    ) -> WorkflowExecutionAsyncIterator:
        """Workflow executions, open ones first, newest first. Fetched as they are iterated.

        Args:
            query: Which ones, in Temporal's list filter language; None means all.
            limit: Stop after so many.
            page_size: Fetch so many at a time, at most 1000.
            next_page_token: Go on where an earlier iterator's ``next_page_token`` was.
            rpc_metadata: Headers of the calls.
            rpc_timeout: Bounds each call.
        """
        where = "list_workflows"
        _check_query(where, query)
        _check.count(where, "limit", limit, least=1)
        _check.count(where, "page_size", page_size, least=1)
        if next_page_token is not None:
            _check.instance(where, "next_page_token", next_page_token, bytes)
        _check.rpc_options(where, rpc_metadata, rpc_timeout)
        return self._impl.list_workflows(
            ListWorkflowsInput(query, page_size, next_page_token, rpc_metadata, rpc_timeout, limit)
        )

    async def count_workflows(
        self,
        query: str | None = None,
        rpc_metadata: Mapping[str, str | bytes] = {},
        rpc_timeout: timedelta | None = None,
    ) -> WorkflowExecutionCount:
        """How many workflow executions match; with ``GROUP BY ExecutionStatus`` in the query, per status."""
        _check_query("count_workflows", query)
        _check.rpc_options("count_workflows", rpc_metadata, rpc_timeout)
        self._check_usable()
        return await self._impl.count_workflows(CountWorkflowsInput(query, rpc_metadata, rpc_timeout))

    @overload
    def get_async_activity_handle(
        self, *, workflow_id: str | None, run_id: str | None, activity_id: str
    ) -> AsyncActivityHandle: ...

    @overload
    def get_async_activity_handle(self, *, task_token: bytes) -> AsyncActivityHandle: ...

    def get_async_activity_handle(
        self,
        *,
        workflow_id: str | None = None,
        run_id: str | None = None,
        activity_id: str | None = None,
        task_token: bytes | None = None,
    ) -> AsyncActivityHandle:
        """A handle of an activity that is completed from outside, by its task token or by its ids. Asks nobody.

        Without a ``workflow_id`` it is a standalone activity's.
        """
        where = "get_async_activity_handle"
        if task_token is not None:
            if workflow_id is not None or run_id is not None or activity_id is not None:
                raise ValueError(f"{where}: give either a task_token or the ids, not both")
            _check.instance(where, "task_token", task_token, bytes)
            if not task_token:
                raise ValueError(f"{where}: task_token must not be empty")
            return AsyncActivityHandle(cast("Client", self), task_token)
        _check.text(where, "activity_id", activity_id)
        _check.optional_text(where, "workflow_id", workflow_id)
        _check.optional_text(where, "run_id", run_id)
        return AsyncActivityHandle(
            cast("Client", self), AsyncActivityIDReference(workflow_id, run_id, cast("str", activity_id))
        )


def _check_query(where: str, query: str | None) -> None:
    if query is not None:
        _check.text(where, "query", query, empty=True, limit=_check.MAX_TEXT_BYTES)
