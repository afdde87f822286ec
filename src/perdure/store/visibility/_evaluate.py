"""Filters over records: each expression becomes one closure that gives True, False or None (unknown)."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import msgspec
import orjson

from perdure.api.common.v1 import Payload
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
from perdure.store.visibility._values import parse_datetime

Predicate = Callable[[VisibilityRecord], bool | None]
Getter = Callable[[VisibilityRecord], Any]

_attributes_decoder = msgspec.msgpack.Decoder(dict[str, Payload])
_OPERATORS: dict[str, Callable[[Any, Any], bool]] = {
    "=": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_WORD = re.compile(r"\w+")


def matches(query: Query | None, record: VisibilityRecord) -> bool:
    """Whether a record satisfies a filter; no filter matches everything."""
    if query is None or query.where is None:
        return True
    return _compiled(query.where)(record) is True


def predicate(query: Query | None) -> Callable[[VisibilityRecord], bool | None]:
    """The same as a function of the record alone, for loops."""
    if query is None or query.where is None:
        return lambda record: True
    return _compiled(query.where)


def field_value(field: Field, record: VisibilityRecord) -> Any:
    """A record's value of an attribute, None when it has none."""
    return _getter(field)(record)


@lru_cache(maxsize=256)
def _compiled(expression: Expression) -> Predicate:
    match expression:
        case And(items):
            return _all([_compiled(item) for item in items])
        case Or(items):
            return _any([_compiled(item) for item in items])
        case Not(item):
            return _negation(_compiled(item))
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


def text_tokens(text: str) -> frozenset[str]:
    """The words a Text attribute is searched by."""
    return frozenset(_WORD.findall(text.lower()))


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
        payload = _attributes(encoded).get(name)
        return None if payload is None else payload_value(payload, kind)

    return get


@lru_cache(maxsize=8)
def _attributes(encoded: bytes) -> dict[str, Payload]:
    return _attributes_decoder.decode(encoded)


def payload_value(payload: Payload, kind: str) -> Any:
    """A search attribute's value, or None when it is null or not of its type."""
    if not payload.data:
        return None
    try:
        value = orjson.loads(payload.data)
    except orjson.JSONDecodeError:
        return None
    if kind == "KeywordList":
        items = value if isinstance(value, list) else [value]
        return items if items and all(isinstance(item, str) for item in items) else None
    if isinstance(value, list):
        if len(value) != 1:
            return None
        value = value[0]
    if kind == "Datetime":
        try:
            return parse_datetime(value) if isinstance(value, str) else None
        except ValueError:
            return None
    if kind == "Bool":
        return value if isinstance(value, bool) else None
    if kind in ("Int", "Double"):
        return value if isinstance(value, int | float) and not isinstance(value, bool) else None
    return value if isinstance(value, str) else None
