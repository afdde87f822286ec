"""What describe, list and count say of workflow executions."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Any

from perdure._times import optional_time_from_ns, time_from_ns
from perdure.api.common.v1 import SearchAttributes as SearchAttributesMessage
from perdure.api.enums.v1 import WorkflowExecutionStatus as _Status
from perdure.api.workflow.v1 import WorkflowExecutionInfo
from perdure.api.workflowservice.v1 import (
    CountWorkflowExecutionsResponse,
    CountWorkflowExecutionsResponseAggregationGroup,
    DescribeWorkflowExecutionResponse,
    ListWorkflowExecutionsRequest,
)
from perdure.client import _check
from perdure.client._conversion import decode_user_metadata
from perdure.client._memo import WithMemo
from perdure.client._pages import PageIterator
from perdure.client._workflow_history import WorkflowHistory, WorkflowHistoryEventFilterType
from perdure.common import SearchAttributes, SearchAttributeValue, TypedSearchAttributes
from perdure.converter import (
    DataConverter,
    WorkflowSerializationContext,
    decode_search_attributes,
    decode_typed_search_attributes,
)
from perdure.converter._search_attributes import decode_search_attribute_value

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence
    from datetime import datetime, timedelta

    from perdure.api.common.v1 import Memo
    from perdure.client._client import Client
    from perdure.client._interceptor import ListWorkflowsInput

MAX_PAGE_SIZE = 1000
_NO_ATTRIBUTES = SearchAttributesMessage()


class WorkflowExecutionStatus(IntEnum):
    """Where an execution stands."""

    RUNNING = int(_Status.WORKFLOW_EXECUTION_STATUS_RUNNING)
    COMPLETED = int(_Status.WORKFLOW_EXECUTION_STATUS_COMPLETED)
    FAILED = int(_Status.WORKFLOW_EXECUTION_STATUS_FAILED)
    CANCELED = int(_Status.WORKFLOW_EXECUTION_STATUS_CANCELED)
    TERMINATED = int(_Status.WORKFLOW_EXECUTION_STATUS_TERMINATED)
    CONTINUED_AS_NEW = int(_Status.WORKFLOW_EXECUTION_STATUS_CONTINUED_AS_NEW)
    TIMED_OUT = int(_Status.WORKFLOW_EXECUTION_STATUS_TIMED_OUT)
    PAUSED = int(_Status.WORKFLOW_EXECUTION_STATUS_PAUSED)


@dataclass
class WorkflowExecution(WithMemo):
    """One run of a workflow, as a list shows it."""

    close_time: datetime | None
    """When it closed; None while it is open."""
    execution_time: datetime | None
    """When it began or will begin to run: later than ``start_time`` with a start delay or a cron schedule."""
    history_length: int
    """Events in its history."""
    id: str
    """Workflow id."""
    namespace: str
    """Namespace."""
    parent_id: str | None
    """Workflow id of the parent of a child workflow."""
    parent_run_id: str | None
    """Run id of that parent."""
    root_id: str | None
    """Workflow id at the root of the tree of children."""
    root_run_id: str | None
    """Run id of that root."""
    raw_info: WorkflowExecutionInfo
    """The message this was made from."""
    run_id: str
    """Run id."""
    search_attributes: SearchAttributes
    """Search attributes without types; prefer ``typed_search_attributes``."""
    start_time: datetime
    """When it was started."""
    status: WorkflowExecutionStatus | None
    """Where it stands."""
    task_queue: str
    """Task queue of its workflow tasks."""
    typed_search_attributes: TypedSearchAttributes
    """Search attributes."""
    workflow_type: str
    """Name of the workflow's type."""
    _context_free_data_converter: DataConverter

    _kind = "workflow"

    @property
    def _memo(self) -> tuple[Memo | None, DataConverter]:
        return self.raw_info.memo, self.data_converter

    @property
    def data_converter(self) -> DataConverter:
        """The converter for this workflow's payloads."""
        return self._context_free_data_converter.with_context(
            WorkflowSerializationContext(namespace=self.namespace, workflow_id=self.id)
        )

    @classmethod
    def _from_raw_info(
        cls, info: WorkflowExecutionInfo, namespace: str, converter: DataConverter, **additional_fields: Any
    ) -> Any:
        execution, parent, root = info.execution, info.parent_execution, info.root_execution
        return cls(
            close_time=optional_time_from_ns(info.close_time),
            execution_time=optional_time_from_ns(info.execution_time),
            history_length=info.history_length,
            id=execution.workflow_id if execution else "",
            namespace=namespace,
            parent_id=parent.workflow_id if parent else None,
            parent_run_id=parent.run_id if parent else None,
            root_id=root.workflow_id if root else None,
            root_run_id=root.run_id if root else None,
            raw_info=info,
            run_id=execution.run_id if execution else "",
            search_attributes=decode_search_attributes(info.search_attributes or _NO_ATTRIBUTES),
            start_time=time_from_ns(info.start_time or 0),
            status=WorkflowExecutionStatus(info.status) if info.status else None,
            task_queue=info.task_queue,
            typed_search_attributes=decode_typed_search_attributes(info.search_attributes or _NO_ATTRIBUTES),
            workflow_type=info.type.name if info.type else "",
            _context_free_data_converter=converter,
            **additional_fields,
        )


@dataclass
class WorkflowExecutionDescription(WorkflowExecution):
    """One run of a workflow, as describe shows it."""

    raw_description: DescribeWorkflowExecutionResponse
    """The message this was made from: pending activities, children and workflow task, timeouts, ..."""
    _static_summary: str | None = None
    _static_details: str | None = None
    _metadata_decoded: bool = False

    async def static_summary(self) -> str | None:
        """The summary given at the start."""
        await self._decode_metadata()
        return self._static_summary

    async def static_details(self) -> str | None:
        """The details given at the start."""
        await self._decode_metadata()
        return self._static_details

    async def _decode_metadata(self) -> None:
        if not self._metadata_decoded:
            config = self.raw_description.execution_config
            self._static_summary, self._static_details = await decode_user_metadata(
                self.data_converter, config.user_metadata if config else None
            )
            self._metadata_decoded = True

    @staticmethod
    async def _from_raw_description(
        description: DescribeWorkflowExecutionResponse, namespace: str, converter: DataConverter
    ) -> WorkflowExecutionDescription:
        info = description.workflow_execution_info or WorkflowExecutionInfo()
        result: WorkflowExecutionDescription = WorkflowExecutionDescription._from_raw_info(
            info, namespace, converter, raw_description=description
        )
        return result


@dataclass
class WorkflowExecutionCount:
    """How many executions match a query."""

    count: int
    """All of them; with groups, their sum."""
    groups: Sequence[WorkflowExecutionCountAggregationGroup]
    """One per value, when the query groups."""

    @staticmethod
    def _from_raw(raw: CountWorkflowExecutionsResponse) -> WorkflowExecutionCount:
        groups = [WorkflowExecutionCountAggregationGroup._from_raw(group) for group in raw.groups]
        return WorkflowExecutionCount(raw.count, groups)


@dataclass
class WorkflowExecutionCountAggregationGroup:
    """How many executions share the values that a query groups by."""

    count: int
    """The executions of this group."""
    group_values: Sequence[SearchAttributeValue]
    """The values they share."""

    @staticmethod
    def _from_raw(raw: CountWorkflowExecutionsResponseAggregationGroup) -> WorkflowExecutionCountAggregationGroup:
        return WorkflowExecutionCountAggregationGroup(
            raw.count, [decode_search_attribute_value(value) for value in raw.group_values]
        )


class WorkflowExecutionAsyncIterator(PageIterator["WorkflowExecution"]):
    """Executions that match a query, fetched page by page. Use ``async for``, or :meth:`map_histories`."""

    def __init__(self, client: Client, input: ListWorkflowsInput) -> None:
        """Made by :meth:`Client.list_workflows`."""
        super().__init__(client, input.next_page_token)
        self._input = input
        self._limit = input.limit
        self._yielded = 0

    async def fetch_next_page(self, *, page_size: int | None = None) -> None:
        """Fetch the next page, of at most ``page_size`` executions where that is given."""
        _check.count("fetch_next_page", "page_size", page_size, least=1)
        self._client._check_usable()
        page_size = page_size or self._input.page_size
        if self._limit is not None:
            page_size = min(page_size, self._limit - self._yielded)
        response = await self._client._service.list_workflow_executions(
            ListWorkflowExecutionsRequest(
                namespace=self._client.namespace,
                page_size=page_size,
                next_page_token=self._next_page_token or b"",
                query=self._input.query or "",
            ),
            metadata=self._client._metadata(self._input.rpc_metadata),
            timeout=self._input.rpc_timeout,
        )
        converter = self._client.data_converter
        namespace = self._client.namespace
        self._turn_to(
            [WorkflowExecution._from_raw_info(info, namespace, converter) for info in response.executions],
            response.next_page_token,
        )

    async def __anext__(self) -> WorkflowExecution:
        """The next execution, from the next page if need be."""
        if self._limit is not None and self._yielded >= self._limit:
            raise StopAsyncIteration
        execution = await super().__anext__()
        self._yielded += 1
        return execution

    async def map_histories(
        self,
        *,
        event_filter_type: WorkflowHistoryEventFilterType = WorkflowHistoryEventFilterType.ALL_EVENT,
        skip_archival: bool = False,
        rpc_metadata: Mapping[str, str | bytes] = {},
        rpc_timeout: timedelta | None = None,
    ) -> AsyncIterator[WorkflowHistory]:
        """The histories of these executions, each fetched when it is asked for."""
        async for execution in self:
            yield await self._client.get_workflow_handle(execution.id, run_id=execution.run_id).fetch_history(
                event_filter_type=event_filter_type,
                skip_archival=skip_archival,
                rpc_metadata=rpc_metadata,
                rpc_timeout=rpc_timeout,
            )
