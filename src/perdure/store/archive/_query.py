"""Filters over archives: the grammar of list filters, over what an archive knows of a run.

Besides, what Temporal's archivers have: ``SearchPrecision`` (``Day``, ``Hour``, ``Minute``, ``Second``), which says what
``StartTime = ...`` and ``CloseTime = ...`` mean, and ``WorkflowTypeName`` for ``WorkflowType``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from perdure.store.archive._api import ArchivedExecution
from perdure.store.archive._records import visibility_record
from perdure.store.visibility import And, Between, Compare, Expression, Field, In, Not, Or, Query, matches, parse_query

_END = (1 << 63) - 1
_SECOND = 1_000_000_000
_PRECISIONS = {"day": 86_400 * _SECOND, "hour": 3600 * _SECOND, "minute": 60 * _SECOND, "second": _SECOND}
_PRECISION = "SearchPrecision"
_OLD_NAMES = {"WorkflowTypeName": "WorkflowType"}
#: Attributes of runs that Temporal's archives do not hold.
_ABSENT = frozenset(
    (
        "TaskQueue",
        "ParentWorkflowId",
        "ParentRunId",
        "RootWorkflowId",
        "RootRunId",
        "HistorySizeBytes",
        "StateTransitionCount",
    )
)


@dataclass(frozen=True)
class ArchiveQuery:
    """A filter, and what of it tells an archiver where to look: bounds that every match lies within."""

    query: Query | None = None
    types: Mapping[str, str] = field(default_factory=dict)
    workflow_id: str | None = None
    workflow_type: str | None = None
    #: Nanoseconds since the epoch, inclusive.
    close_low: int = 0
    close_high: int = _END
    start_low: int = 0
    start_high: int = _END

    def holds(self, execution: ArchivedExecution) -> bool:
        """Whether a run matches."""
        return self.query is None or matches(self.query, visibility_record(execution, self.types))


def parse_archive_query(text: str, custom_types: Mapping[str, str]) -> ArchiveQuery:
    """Parse a filter.

    Args:
        custom_types: the namespace's search attributes and their types.

    Raises:
        ValueError: what is wrong and where, in one sentence.
    """
    if not text.strip():
        return ArchiveQuery(types=custom_types)
    parsed = parse_query(text, {**custom_types, _PRECISION: "Keyword", **dict.fromkeys(_OLD_NAMES, "Keyword")})
    if parsed.order_by or parsed.group_by is not None:
        raise ValueError("invalid query: an archive has an order of its own; leave ORDER BY and GROUP BY out")
    items = [_renamed(item) for item in _conjunction(parsed.where)]
    width, items = _take_precision(items)
    items = [_widened(item, width) for item in items]
    found = ArchiveQuery(Query(And(tuple(items))), custom_types)
    for item in items:
        found = _narrowed(found, item)
    return found


def _conjunction(where: Expression | None) -> list[Expression]:
    if isinstance(where, And):
        return [part for item in where.items for part in _conjunction(item)]
    return [] if where is None else [where]


def _renamed(item: Expression) -> Expression:
    """The same test, by the names that records have; ValueError for an attribute that no archive has."""
    if isinstance(item, And | Or):
        return type(item)(tuple(_renamed(part) for part in item.items))
    if isinstance(item, Not):
        return Not(_renamed(item.item))
    name = item.field.name
    if name in _ABSENT:
        raise ValueError(f"invalid query: archives do not hold {name}")
    if name not in _OLD_NAMES:
        return item
    tests: Any = item
    return type(item)(**{**{key: getattr(tests, key) for key in tests.__struct_fields__},
                         "field": Field(_OLD_NAMES[name], "Keyword")})  # fmt: skip


def _take_precision(items: list[Expression]) -> tuple[int, list[Expression]]:
    """How many nanoseconds ``=`` stands for, and the other tests."""
    width, rest = 0, []
    for item in items:
        if isinstance(item, Compare) and item.field.name == _PRECISION and item.operator == "=":
            precision = str(item.value).lower()
            if precision not in _PRECISIONS:
                raise ValueError(
                    f"invalid query: {_PRECISION} is 'Day', 'Hour', 'Minute' or 'Second', not {item.value!r}"
                )
            width = _PRECISIONS[precision]
        elif _names_precision(item):
            raise ValueError(
                f"invalid query: {_PRECISION} stands alone, as in StartTime = '...' AND {_PRECISION} = 'Day'"
            )
        else:
            rest.append(item)
    return width, rest


def _names_precision(item: Expression) -> bool:
    if isinstance(item, And | Or):
        return any(_names_precision(part) for part in item.items)
    return _names_precision(item.item) if isinstance(item, Not) else item.field.name == _PRECISION


def _widened(item: Expression, width: int) -> Expression:
    is_time = isinstance(item, Compare) and item.operator == "=" and item.field.name in ("StartTime", "CloseTime")
    if not width or not is_time:
        return item
    assert isinstance(item, Compare) and isinstance(item.value, int)
    low = item.value // width * width
    return Between(item.field, low, low + width - 1)


def _narrowed(query: ArchiveQuery, item: Expression) -> ArchiveQuery:
    """The query with the bounds that one of its tests brings."""
    if isinstance(item, In) and len(item.values) == 1:
        item = Compare(item.field, "=", item.values[0])
    if isinstance(item, Between):
        for symbol, value in ((">=", item.low), ("<=", item.high)):
            query = _narrowed(query, Compare(item.field, symbol, value))
        return query
    if not isinstance(item, Compare):
        return query
    name, symbol, value = item.field.name, item.operator, item.value
    if name == "WorkflowId" and symbol == "=":
        return replace(query, workflow_id=str(value))
    if name == "WorkflowType" and symbol == "=":
        return replace(query, workflow_type=str(value))
    if name not in ("StartTime", "CloseTime") or symbol == "!=":
        return query
    assert isinstance(value, int)
    which = "start" if name == "StartTime" else "close"
    low, high = getattr(query, f"{which}_low"), getattr(query, f"{which}_high")
    if symbol in ("=", ">", ">="):
        low = max(low, value + (symbol == ">"))
    if symbol in ("=", "<", "<="):
        high = min(high, value - (symbol == "<"))
    changes: dict[str, Any] = {f"{which}_low": low, f"{which}_high": high}
    return replace(query, **changes)
