"""Histories as callers see them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Any

from perdure.api import json
from perdure.api.common.v1 import WorkflowExecution
from perdure.api.enums.v1 import EventType, HistoryEventFilterType
from perdure.api.history.v1 import History
from perdure.api.workflowservice.v1 import GetWorkflowExecutionHistoryRequest
from perdure.client import _check
from perdure.client._pages import PageIterator

if TYPE_CHECKING:
    from collections.abc import Sequence

    from perdure._native.events import HistoryEvent
    from perdure.client._client import Client
    from perdure.client._interceptor import FetchWorkflowHistoryEventsInput


class WorkflowHistoryEventFilterType(IntEnum):
    """Which events of a history to fetch."""

    ALL_EVENT = int(HistoryEventFilterType.HISTORY_EVENT_FILTER_TYPE_ALL_EVENT)
    CLOSE_EVENT = int(HistoryEventFilterType.HISTORY_EVENT_FILTER_TYPE_CLOSE_EVENT)


@dataclass(frozen=True)
class WorkflowHistory:
    """A workflow id and the events of one of its runs. The events are shared: never change one."""

    workflow_id: str
    events: Sequence[HistoryEvent]

    @property
    def run_id(self) -> str:
        """The run id that the first event names."""
        if not self.events:
            raise RuntimeError(f"the history of {self.workflow_id!r} has no events, so no run id")
        first = self.events[0]
        if first.event_type != EventType.EVENT_TYPE_WORKFLOW_EXECUTION_STARTED:
            raise RuntimeError(
                f"the history of {self.workflow_id!r} does not begin with its start, so its run id is unknown"
            )
        run_id: str = first.attributes.original_execution_run_id
        return run_id

    @staticmethod
    def from_json(workflow_id: str, history: str | dict[str, Any]) -> WorkflowHistory:
        """Read Temporal's JSON form, as its CLI, its Web UI, its SDKs and :meth:`to_json` write it."""
        _check.text("from_json", "workflow_id", workflow_id)
        return WorkflowHistory(workflow_id, json.history_from_json(history).events)

    def to_json(self) -> str:
        """Write Temporal's JSON form. The workflow id is not part of it."""
        return json.history_to_json(History(list(self.events)))

    def to_json_dict(self) -> dict[str, Any]:
        """:meth:`to_json` before it becomes text."""
        return json.history_to_json_dict(History(list(self.events)))


class WorkflowHistoryEventAsyncIterator(PageIterator["HistoryEvent"]):
    """The events of a history, fetched page by page. Use ``async for``."""

    def __init__(self, client: Client, input: FetchWorkflowHistoryEventsInput) -> None:
        """Made by :meth:`WorkflowHandle.fetch_history_events`."""
        super().__init__(client, input.next_page_token)
        self._input = input

    async def fetch_next_page(self, *, page_size: int | None = None) -> None:
        """Fetch the next page, of at most ``page_size`` events where that is given."""
        _check.count("fetch_next_page", "page_size", page_size, least=1)
        self._client._check_usable()
        wanted = self._input
        response = await self._client._service.get_workflow_execution_history(
            GetWorkflowExecutionHistoryRequest(
                namespace=self._client.namespace,
                execution=WorkflowExecution(wanted.id, wanted.run_id or ""),
                maximum_page_size=page_size or wanted.page_size or 0,
                next_page_token=self._next_page_token or b"",
                wait_new_event=wanted.wait_new_event,
                history_event_filter_type=int(wanted.event_filter_type),
                skip_archival=wanted.skip_archival,
            ),
            metadata=self._client._metadata(wanted.rpc_metadata),
            timeout=wanted.rpc_timeout,
        )
        self._turn_to(response.history.events if response.history else [], response.next_page_token)
