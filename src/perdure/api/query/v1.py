"""Temporal's ``temporal.api.query.v1``: queries and their answers."""

from __future__ import annotations

from perdure.api._message import Message
from perdure.api.common import v1 as common_v1
from perdure.api.failure import v1 as failure_v1


class QueryRejected(Message):
    """Temporal's ``temporal.api.query.v1.QueryRejected``."""

    status: int = 0


class WorkflowQuery(Message):
    """Temporal's ``temporal.api.query.v1.WorkflowQuery``."""

    query_type: str = ""
    query_args: common_v1.Payloads | None = None
    header: common_v1.Header | None = None


class WorkflowQueryResult(Message):
    """Temporal's ``temporal.api.query.v1.WorkflowQueryResult``."""

    result_type: int = 0
    answer: common_v1.Payloads | None = None
    error_message: str = ""
    failure: failure_v1.Failure | None = None
