"""Filters over records: each expression becomes one closure that gives True, False or None (unknown)."""

from __future__ import annotations

import operator
from collections.abc import Callable
from functools import lru_cache
from typing import Any

from perdure.store.api import VisibilityRecord
from perdure.store.visibility._query import (
    And,
    Between,
    Compare,
    Expression,
    Field,
    In,
    IsNull,
    Not,
    Or,
    Query,
    StartsWith,
)
from perdure.store.visibility._values import attribute_value, text_tokens

Predicate = Callable[[VisibilityRecord], bool | None]
Getter = Callable[[VisibilityRecord], Any]

_OPERATORS: dict[str, Callable[[Any, Any], bool]] = {
    "=": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


def matches(query: Query | None, record: VisibilityRecord) -> bool:
    """Whether a record satisfies a filter; no filter matches everything."""
    if query is None or query.where is None:
        return True
    return compiled(query.where)(record) is True


def predicate(query: Query | None) -> Callable[[VisibilityRecord], bool | None]:
    """The same as a function of the record alone, for loops."""
    if query is None or query.where is None:
        return lambda record: True
    return compiled(query.where)


def field_value(field: Field, record: VisibilityRecord) -> Any:
    """A record's value of an attribute, None when it has none."""
    return _getter(field)(record)


@lru_cache(maxsize=256)
def compiled(expression: Expression) -> Predicate:
    """An expression as a function of a record."""
    match expression:
        case And(items):
            return _all([compiled(item) for item in items])
        case Or(items):
            return _any([compiled(item) for item in items])
        case Not(item):
            return _negation(compiled(item))
        case IsNull(field):
            get = _getter(field)
            return lambda record: get(record) is None
        case Between(field, low, high):
            get = _getter(field)
            return lambda record: None if (value := get(record)) is None else low <= value <= high
        case StartsWith(field, prefix):
            get = _getter(field)
            return lambda record: None if (value := get(record)) is None else value.startswith(prefix)
        case In(field, values):
            return _membership(field, values)
        case Compare(field, symbol, value):
            return _comparison(field, symbol, value)


def _all(items: list[Predicate]) -> Predicate:
    def holds(record: VisibilityRecord) -> bool | None:
        result: bool | None = True
        for item in items:
            value = item(record)
            if value is False:
                return False
            if value is None:
                result = None
        return result

    return holds


def _any(items: list[Predicate]) -> Predicate:
    def holds(record: VisibilityRecord) -> bool | None:
        result: bool | None = False
        for item in items:
            value = item(record)
            if value is True:
                return True
            if value is None:
                result = None
        return result

    return holds


def _negation(item: Predicate) -> Predicate:
    return lambda record: None if (value := item(record)) is None else not value


def _comparison(field: Field, symbol: str, wanted: Any) -> Predicate:
    get = _getter(field)
    if field.type == "KeywordList":
        holds: Callable[[Any], bool] = lambda value: wanted in value  # noqa: E731
    elif field.type == "Text":
        tokens = text_tokens(wanted)
        holds = lambda value: not tokens.isdisjoint(text_tokens(value))  # noqa: E731
    else:
        compare = _OPERATORS[symbol]
        return lambda record: None if (value := get(record)) is None else compare(value, wanted)
    equal = symbol == "="
    return lambda record: None if (value := get(record)) is None else holds(value) is equal


def _membership(field: Field, values: tuple[Any, ...]) -> Predicate:
    get = _getter(field)
    wanted = frozenset(values)
    if field.type == "KeywordList":
        return lambda record: None if (value := get(record)) is None else not wanted.isdisjoint(value)
    return lambda record: None if (value := get(record)) is None else value in wanted


_SYSTEM_GETTERS: dict[str, Getter] = {
    "WorkflowId": lambda record: record.key.workflow_id,
    "RunId": lambda record: record.key.run_id,
    "WorkflowType": lambda record: record.workflow_type,
    "ExecutionStatus": lambda record: record.status,
    "TaskQueue": lambda record: record.task_queue,
    "ParentWorkflowId": lambda record: record.parent_workflow_id or None,
    "ParentRunId": lambda record: record.parent_run_id or None,
    "RootWorkflowId": lambda record: record.root_workflow_id or record.key.workflow_id,
    "RootRunId": lambda record: record.root_run_id or record.key.run_id,
    "StartTime": lambda record: record.start_time,
    "ExecutionTime": lambda record: record.execution_time or None,
    "CloseTime": lambda record: record.close_time or None,
    "HistoryLength": lambda record: record.history_length if record.close_time else None,
    "HistorySizeBytes": lambda record: record.history_size_bytes if record.close_time else None,
    "StateTransitionCount": lambda record: record.state_transition_count if record.close_time else None,
    "ExecutionDuration": lambda record: (
        record.close_time - (record.execution_time or record.start_time) if record.close_time else None
    ),
}


def _getter(field: Field) -> Getter:
    getter = _SYSTEM_GETTERS.get(field.name)
    if getter is not None:
        return getter
    name, kind = field.name, field.type

    def get(record: VisibilityRecord) -> Any:
        encoded = record.search_attributes
        if not encoded:
            return None
        found = attribute_value(encoded, name)
        return found[1] if found is not None and found[0] == kind else None

    return get
