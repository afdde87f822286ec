"""List filters as SQL over ``visibility v``, with the truth values of the filter's own rules.

SQL's unknown is the filter's unknown, so a filter becomes SQL word by word. Where it only matters whether something is
true (outside of NOT), equality with a search attribute is put as containment, which the GIN index answers.
"""

from __future__ import annotations

import json
import math
from decimal import Decimal
from typing import Any

from perdure.store.keys import MAX_TIME, is_run_id
from perdure.store.postgres._text import attribute_key, escape
from perdure.store.visibility import (
    And,
    Between,
    Compare,
    Expression,
    Field,
    In,
    IsNull,
    Not,
    Or,
    StartsWith,
    text_tokens,
)

_SYSTEM = {
    "WorkflowId": "v.workflow_id",
    "RunId": "v.run_id",
    "WorkflowType": "v.workflow_type",
    "ExecutionStatus": "v.status",
    "TaskQueue": "v.task_queue",
    "ParentWorkflowId": "nullif(v.parent_workflow_id, '')",
    "ParentRunId": "nullif(v.parent_run_id, '')",
    "RootWorkflowId": "coalesce(nullif(v.root_workflow_id, ''), v.workflow_id)",
    "RootRunId": "coalesce(nullif(v.root_run_id, ''), v.run_id::text COLLATE \"C\")",
    "StartTime": "v.start_time",
    "ExecutionTime": "nullif(v.execution_time, 0)",
    "CloseTime": "nullif(v.close_time, 0)",
    "HistoryLength": "CASE WHEN v.close_time > 0 THEN v.history_length END",
    "HistorySizeBytes": "CASE WHEN v.close_time > 0 THEN v.history_size_bytes END",
    "StateTransitionCount": "CASE WHEN v.close_time > 0 THEN v.state_transition_count END",
    "ExecutionDuration": (
        "CASE WHEN v.close_time > 0 THEN v.close_time - coalesce(nullif(v.execution_time, 0), v.start_time) END"
    ),
}
#: Nullable columns by what they are where they are not null, for conditions that an index can answer.
_PLAIN = {
    "CloseTime": "v.close_time > 0 AND v.close_time",
    "ParentWorkflowId": "v.parent_workflow_id <> '' AND v.parent_workflow_id",
}
_OPPOSITE = {"!=": "<>"}


class Filter:
    """SQL under construction: conditions and the parameters they name."""

    def __init__(self, *parameters: Any) -> None:
        self.parameters = list(parameters)

    def parameter(self, value: Any, kind: str) -> str:
        """A place for a value in the SQL."""
        self.parameters.append(value)
        return f"${len(self.parameters)}::{kind}"

    # Values

    def value(self, field: Field) -> str:
        """The SQL of a field's value: NULL when a run does not have it."""
        column = _SYSTEM.get(field.name)
        if column is not None:
            return column
        name = self.parameter(attribute_key(field.name, field.type), "text")
        if field.type in ("KeywordList", "Text"):
            return f"(v.attributes->{name})"
        text = f"(v.attributes->>{name})"
        if field.type in ("Int", "Datetime"):
            return f"{text}::numeric"
        if field.type == "Double":
            return f"{text}::float8"
        if field.type == "Bool":
            return f"{text}::boolean"
        return f'{text} COLLATE "C"'

    def constant(self, field: Field, value: Any) -> str:
        """The SQL of a value to compare a field with."""
        if field.name in _SYSTEM and field.type in ("Int", "Datetime"):
            return self.parameter(value, "bigint")
        if field.name == "ExecutionStatus":
            return self.parameter(value, "smallint")
        if field.name == "RunId":
            return self.parameter(value, "uuid")
        if field.type in ("Int", "Datetime"):
            return self.parameter(Decimal(value), "numeric")
        if field.type == "Double":
            return self.parameter(float(value), "float8")
        if field.type == "Bool":
            return self.parameter(value, "boolean")
        return self.parameter(escape(value), "text")

    # Conditions

    def condition(self, expression: Expression, is_positive: bool = True) -> str:
        """The SQL of an expression.

        Args:
            is_positive: only whether it is true matters; unknown may become false.
        """
        match expression:
            case And(items):
                return "(" + " AND ".join(self.condition(item, is_positive) for item in items) + ")"
            case Or(items):
                return "(" + " OR ".join(self.condition(item, is_positive) for item in items) + ")"
            case Not(item):
                return f"(NOT {self.condition(item, False)})"
            case IsNull(field):
                if field.name == "CloseTime":
                    return "(v.close_time = 0)"
                return f"({self.value(field)} IS NULL)"
            case Between(field, low, high):
                first = self._compare(field, ">=", low, is_positive)
                return f"({first} AND {self._compare(field, '<=', high, is_positive)})"
            case StartsWith(field, prefix):
                return self._starts_with(field, prefix, is_positive)
            case In(field, values):
                return self._membership(field, values, is_positive)
            case Compare(field, symbol, value):
                return self._compare(field, symbol, value, is_positive)

    def _always(self, field: Field, holds: bool, is_positive: bool) -> str:
        """True or false wherever a run has the field."""
        if is_positive and not holds:
            return "false"
        return f"(CASE WHEN {self.value(field)} IS NOT NULL THEN {'true' if holds else 'false'} END)"

    def _left(self, field: Field, is_positive: bool) -> str:
        return _PLAIN.get(field.name, "") if is_positive and field.name in _PLAIN else self.value(field)

    def _compare(self, field: Field, symbol: str, value: Any, is_positive: bool) -> str:
        if field.type in ("KeywordList", "Text"):
            found = self._holds(field, value, is_positive and symbol == "=")
            return found if symbol == "=" else f"(NOT {found})"
        if symbol == "=" and is_positive and field.name not in _SYSTEM:
            return self._contains(field, value)
        if field.type == "Keyword" and field.name != "ExecutionStatus":
            if field.name == "RunId":
                return self._compare_run_id(field, symbol, value, is_positive)
            if not _is_text(value):
                # No stored text holds half a surrogate pair: it stands where the characters after it begin.
                if symbol in ("=", "!="):
                    return self._always(field, symbol == "!=", is_positive)
                symbol = "<" if symbol in ("<", "<=") else ">="
                value = _cut(value) + "\ue000"
        elif field.type in ("Int", "Datetime"):
            settled = self._settle(field, symbol, value)
            if isinstance(settled, bool):
                return self._always(field, settled, is_positive)
            symbol, value = settled
        return f"({self._left(field, is_positive)} {_OPPOSITE.get(symbol, symbol)} {self.constant(field, value)})"

    def _settle(self, field: Field, symbol: str, value: float) -> bool | tuple[str, int]:
        """A comparison of whole numbers with any number: as one with a whole number that fits, or its outcome."""
        if isinstance(value, float):
            if math.isinf(value) or math.isnan(value):
                return symbol == "!=" or (symbol[0] == "<" if value > 0 else symbol[0] == ">" and value < 0)
            if value != int(value):
                if symbol in ("=", "!="):
                    return symbol == "!="
                symbol, value = ("<=", math.floor(value)) if symbol[0] == "<" else (">=", math.ceil(value))
            value = int(value)
        if field.name in _SYSTEM and not -MAX_TIME <= value <= MAX_TIME:
            return symbol == "!=" or ((symbol[0] == "<") is (value > 0) and symbol != "=")
        return symbol, value

    def _compare_run_id(self, field: Field, symbol: str, value: str, is_positive: bool) -> str:
        if is_run_id(value):
            return f"(v.run_id {_OPPOSITE.get(symbol, symbol)} {self.constant(field, value)})"
        if symbol in ("=", "!="):
            return "false" if symbol == "=" else "true"
        if not _is_text(value):
            symbol = "<" if symbol[0] == "<" else ">="
            value = _cut(value) + "\ue000"
        return f'(v.run_id::text COLLATE "C" {symbol} {self.parameter(escape(value), "text")})'

    def _membership(self, field: Field, values: tuple[Any, ...], is_positive: bool) -> str:
        if field.type == "KeywordList":
            wanted = [value for value in values if _is_text(value)]
            if is_positive:
                parts = [self._holds(field, value, True) for value in wanted]
                return "(" + " OR ".join(parts) + ")" if parts else "false"
            return f"({self.value(field)} ?| {self.parameter([escape(value) for value in wanted], 'text[]')})"
        if not is_positive or field.name in _SYSTEM:
            parts = [self._compare(field, "=", value, is_positive) for value in values]
        else:
            parts = [self._contains(field, value) for value in values]
        return "(" + " OR ".join(parts) + ")"

    def _contains(self, field: Field, value: Any) -> str:
        """Equality with a search attribute, true or anything else."""
        if isinstance(value, str) and not _is_text(value):
            return "false"
        if isinstance(value, float) and not math.isfinite(value):
            return "false"
        if field.type in ("Int", "Datetime") and isinstance(value, float):
            if value != int(value):
                return "false"
            value = int(value)
        shown = escape(value) if isinstance(value, str) else float(value) if field.type == "Double" else value
        wanted = json.dumps({attribute_key(field.name, field.type): shown}, ensure_ascii=False)
        return f"(v.attributes @> {self.parameter(wanted, 'jsonb')})"

    def _holds(self, field: Field, value: str, is_positive: bool) -> str:
        """Whether a list has an item, or a text one of some words."""
        words = [value] if field.type == "KeywordList" else sorted(text_tokens(value))
        words = [escape(word) for word in words if _is_text(word)]
        if not is_positive:
            return f"({self.value(field)} ?| {self.parameter(words, 'text[]')})"
        key = attribute_key(field.name, field.type)
        parts = [
            f"v.attributes @> {self.parameter(json.dumps({key: [word]}, ensure_ascii=False), 'jsonb')}"
            for word in words
        ]
        return "(" + " OR ".join(parts) + ")" if parts else "false"

    def _starts_with(self, field: Field, prefix: str, is_positive: bool) -> str:
        if not _is_text(prefix):
            return self._always(field, False, is_positive)
        if not prefix:
            return self._always(field, True, False)
        low, high = escape(prefix), _successor(escape(prefix))
        left = 'v.run_id::text COLLATE "C"' if field.name == "RunId" else self._left(field, is_positive)
        condition = f"({left} >= {self.parameter(low, 'text')}"
        if high:
            last = left.rpartition(" AND ")[2]
            condition += f" AND {last} < {self.parameter(high, 'text')}"
        return condition + ")"


def _is_text(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _cut(value: str) -> str:
    """What stands before the first half of a surrogate pair."""
    return next(escape(value[:index]) for index, char in enumerate(value) if "\ud800" <= char <= "\udfff")


def _successor(prefix: str) -> str:
    """The least text after all that begin with a prefix; "" when there is none."""
    while prefix:
        code = ord(prefix[-1]) + 1
        if code <= 0x10FFFF:
            return prefix[:-1] + chr(0xE000 if 0xD800 <= code <= 0xDFFF else code)
        prefix = prefix[:-1]
    return ""
