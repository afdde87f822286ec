"""The syntax tree of a list filter. Immutable; values are already of their attribute's type."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import msgspec

#: Attributes every run has, and those Temporal reserves, by type name.
SYSTEM_TYPES: Mapping[str, str] = MappingProxyType(
    {
        "WorkflowId": "Keyword",
        "RunId": "Keyword",
        "WorkflowType": "Keyword",
        "ExecutionStatus": "Keyword",
        "TaskQueue": "Keyword",
        "ParentWorkflowId": "Keyword",
        "ParentRunId": "Keyword",
        "RootWorkflowId": "Keyword",
        "RootRunId": "Keyword",
        "StartTime": "Datetime",
        "ExecutionTime": "Datetime",
        "CloseTime": "Datetime",
        "HistoryLength": "Int",
        "HistorySizeBytes": "Int",
        "StateTransitionCount": "Int",
        "ExecutionDuration": "Int",
        "TemporalChangeVersion": "KeywordList",
        "BinaryChecksums": "KeywordList",
        "BuildIds": "KeywordList",
        "TemporalPauseInfo": "KeywordList",
        "TemporalReportedProblems": "KeywordList",
        "TemporalUsedWorkerDeploymentVersions": "KeywordList",
        "BatcherNamespace": "Keyword",
        "BatcherUser": "Keyword",
        "TemporalScheduledById": "Keyword",
        "TemporalNamespaceDivision": "Keyword",
        "TemporalWorkerDeployment": "Keyword",
        "TemporalWorkerDeploymentVersion": "Keyword",
        "TemporalWorkflowVersioningBehavior": "Keyword",
        "TemporalScheduledStartTime": "Datetime",
        "TemporalSchedulePaused": "Bool",
        "TemporalExternalPayloadCount": "Int",
        "TemporalExternalPayloadSizeBytes": "Int",
    }
)

#: Those of them that a run has of itself; the others are set.
RUN_FIELDS = frozenset(
    (
        "WorkflowId",
        "RunId",
        "WorkflowType",
        "ExecutionStatus",
        "TaskQueue",
        "ParentWorkflowId",
        "ParentRunId",
        "RootWorkflowId",
        "RootRunId",
        "StartTime",
        "ExecutionTime",
        "CloseTime",
        "HistoryLength",
        "HistorySizeBytes",
        "StateTransitionCount",
        "ExecutionDuration",
    )
)

#: Names of ``ExecutionStatus``, by number.
STATUS_NAMES = (
    "Unspecified",
    "Running",
    "Completed",
    "Failed",
    "Canceled",
    "Terminated",
    "ContinuedAsNew",
    "TimedOut",
    "Paused",
)
STATUS_NUMBERS: Mapping[str, int] = MappingProxyType({name: number for number, name in enumerate(STATUS_NAMES)})
RUNNING = 1
PAUSED = 8
OPEN_STATUSES = frozenset((RUNNING, PAUSED))

Value = str | int | float | bool


class Field(msgspec.Struct, frozen=True):
    """An attribute: its stored name and its type name (``Keyword``, ``Int``, ...)."""

    name: str
    type: str

    @property
    def is_of_every_run(self) -> bool:
        """Whether it is an attribute that runs have of themselves, and not one that was set."""
        return self.name in RUN_FIELDS


class And(msgspec.Struct, frozen=True):
    """Every item holds."""

    items: tuple[Expression, ...]


class Or(msgspec.Struct, frozen=True):
    """Some item holds."""

    items: tuple[Expression, ...]


class Not(msgspec.Struct, frozen=True):
    """The item is false (not merely unknown)."""

    item: Expression


class Compare(msgspec.Struct, frozen=True):
    """``field operator value``; the operator is one of ``= != < <= > >=``."""

    field: Field
    operator: str
    value: Value


class In(msgspec.Struct, frozen=True):
    """The field equals one of the values."""

    field: Field
    values: tuple[Value, ...]


class Between(msgspec.Struct, frozen=True):
    """``low <= field <= high``."""

    field: Field
    low: Value
    high: Value


class IsNull(msgspec.Struct, frozen=True):
    """The run does not have the attribute."""

    field: Field


class StartsWith(msgspec.Struct, frozen=True):
    """The field's text begins with the prefix."""

    field: Field
    prefix: str


Expression = And | Or | Not | Compare | In | Between | IsNull | StartsWith


class Query(msgspec.Struct, frozen=True):
    """A parsed filter.

    ``group_by`` is for counting and ``order_by`` (field, descending) for listing; without ``order_by`` a listing has
    open runs first, newest start first, then closed runs, newest close first.
    """

    where: Expression | None = None
    group_by: Field | None = None
    order_by: tuple[tuple[Field, bool], ...] = ()
