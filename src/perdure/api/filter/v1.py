"""Temporal's ``temporal.api.filter.v1``: the filters of the older list requests."""

from __future__ import annotations

from perdure.api._message import Message


class StartTimeFilter(Message):
    """Temporal's ``temporal.api.filter.v1.StartTimeFilter``."""

    earliest_time: int | None = None
    latest_time: int | None = None


class StatusFilter(Message):
    """Temporal's ``temporal.api.filter.v1.StatusFilter``."""

    status: int = 0


class WorkflowExecutionFilter(Message):
    """Temporal's ``temporal.api.filter.v1.WorkflowExecutionFilter``."""

    workflow_id: str = ""
    run_id: str = ""


class WorkflowTypeFilter(Message):
    """Temporal's ``temporal.api.filter.v1.WorkflowTypeFilter``."""

    name: str = ""
