"""What a filter implies about where matching records can be: the part of a listing a store has to read."""

from __future__ import annotations

from dataclasses import dataclass

from perdure.store.visibility._query import OPEN_STATUSES, And, Between, Compare, Expression, In, IsNull, Not, Query

_FIRST = 0
_LAST = 0x7FFFFFFFFFFFFFFF


@dataclass(slots=True)
class Plan:
    """Bounds that hold for every match (all inclusive). The filter still has to be evaluated.

    ``workflow_ids`` and ``run_ids`` are None when any will do.
    """

    open: bool = True
    closed: bool = True
    start_low: int = _FIRST
    start_high: int = _LAST
    close_low: int = _FIRST
    close_high: int = _LAST
    workflow_ids: frozenset[str] | None = None
    run_ids: frozenset[str] | None = None


def plan(query: Query | None) -> Plan:
    """Bounds from the filter's conjuncts; alternatives and negations (but for null tests) imply nothing here."""
    bounds = Plan()
    if query is not None and query.where is not None:
        _narrow(bounds, query.where)
    return bounds


def _narrow(bounds: Plan, expression: Expression) -> None:
    match expression:
        case And(items):
            for item in items:
                _narrow(bounds, item)
        case IsNull(field) if field.name == "CloseTime":
            bounds.closed = False
        case Not(IsNull(field)) if field.name == "CloseTime":
            bounds.open = False
        case Compare(field, "=", value):
            _equal(bounds, field.name, (value,))
        case In(field, values):
            _equal(bounds, field.name, values)
        case Compare(field, symbol, int(value)) if symbol != "!=":
            low = value + 1 if symbol == ">" else value if symbol == ">=" else _FIRST
            high = value - 1 if symbol == "<" else value if symbol == "<=" else _LAST
            _range(bounds, field.name, low, high)
        case Between(field, int(low), int(high)):
            _range(bounds, field.name, low, high)
        case _:
            pass


def _equal(bounds: Plan, name: str, values: tuple[object, ...]) -> None:
    if name == "ExecutionStatus":
        statuses = frozenset(values)
        bounds.open = bounds.open and not statuses.isdisjoint(OPEN_STATUSES)
        bounds.closed = bounds.closed and not statuses <= OPEN_STATUSES
    elif name == "WorkflowId":
        texts = frozenset(value for value in values if isinstance(value, str))
        bounds.workflow_ids = texts if bounds.workflow_ids is None else bounds.workflow_ids & texts
    elif name == "RunId":
        texts = frozenset(value for value in values if isinstance(value, str))
        bounds.run_ids = texts if bounds.run_ids is None else bounds.run_ids & texts
    else:
        numbers = [value for value in values if isinstance(value, int)]
        if numbers:
            _range(bounds, name, min(numbers), max(numbers))


def _range(bounds: Plan, name: str, low: int, high: int) -> None:
    if name == "StartTime":
        bounds.start_low = max(bounds.start_low, low)
        bounds.start_high = min(bounds.start_high, high)
    elif name == "CloseTime":
        bounds.open = False
        bounds.close_low = max(bounds.close_low, low)
        bounds.close_high = min(bounds.close_high, high)
