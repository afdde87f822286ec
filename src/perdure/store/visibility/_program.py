"""Filters as programs over columns: see ``perdure.store.lmdb._program`` for their steps.

A filter that columns can answer becomes one program for all of it, however its conditions are joined. Negations are
taken down to the tests first: a test that is unknown is as good as a false one then, and so is its negation.
"""

from __future__ import annotations

import math
import uuid
from collections.abc import Callable, Iterable
from typing import Any

from perdure.store.keys import is_run_id
from perdure.store.visibility._evaluate import compiled
from perdure.store.visibility._plan import BUCKET_FIELDS, Bucket, bucket_stub
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
    StartsWith,
)
from perdure.store.visibility._terms import ROOT, Attribute, comparison_range, encode_value, prefix_range
from perdure.store.visibility._values import text_tokens

Step = tuple[Any, ...]
Ranges = list[tuple[bytes, bytes]]
#: The attribute of the columns that say which bucket and status a row has.
BUCKETS = 0x7FFFFFFE
_WORKFLOW_ID = Field("WorkflowId", "Keyword")
_RUN_ID = Field("RunId", "Keyword")
_DASHES = (8, 13, 18, 23)
_DIGITS = "0123456789abcdef"


class UnsupportedError(Exception):
    """Columns cannot tell."""


class Compiler:
    """Makes programs for the columns of one namespace.

    Args:
        attribute: gives the number of an attribute, None when no record ever had it.
        buckets: every bucket, with its term.
    """

    def __init__(self, attribute: Callable[[Attribute], int | None], buckets: Iterable[tuple[Bucket, bytes]]) -> None:
        self._attribute = attribute
        self._buckets = sorted(buckets, key=lambda bucket: bucket[1])

    def program(self, where: Expression | None) -> list[Step]:
        """The steps of a filter.

        Raises:
            UnsupportedError: the records have to be read.
        """
        return [] if where is None else self._steps(where, False)

    def _steps(self, expression: Expression, negated: bool) -> list[Step]:
        if _is_of_buckets(expression):
            return [self._in_buckets(Not(expression) if negated else expression)]
        match expression:
            case And(items) | Or(items):
                joins = "or" if isinstance(expression, Or) is not negated else "and"
                of_buckets = [item for item in items if _is_of_buckets(item)]
                parts = [item for item in items if not _is_of_buckets(item)]
                if of_buckets:
                    parts.append(type(expression)(tuple(of_buckets)))
                steps = [step for part in parts for step in self._steps(part, negated)]
                return [*steps, (joins, len(parts))]
            case Not(item):
                return self._steps(item, not negated)
            case IsNull(field):
                return [self._null(field, negated)]
            case _:
                return self._test(expression, negated)

    def _in_buckets(self, expression: Expression) -> Step:
        """The rows of the buckets that meet a condition; neighbours make one range."""
        holds = compiled(expression)
        ranges: Ranges = []
        follows = False
        for bucket, term in self._buckets:
            if holds(bucket_stub(bucket)) is True:
                ranges.append((ranges.pop()[0] if follows else term, term + b"\0"))
                follows = True
            else:
                follows = False
        return ("terms", BUCKETS, ranges, False)

    def _null(self, field: Field, negated: bool) -> Step:
        is_of_all = field.name in ("RunId", ROOT[0], "RootRunId")
        number = BUCKETS if is_of_all else self.number(field)
        if number is None:
            return ("terms", BUCKETS, [], False) if negated else ("null", BUCKETS, True)
        return ("null", number, negated)

    def _test(self, test: Compare | In | Between | StartsWith, negated: bool) -> list[Step]:
        field = test.field
        if isinstance(test, Compare) and test.operator == "!=":
            test, negated = Compare(field, "=", test.value), not negated
        if field.name == "RunId":
            return [("runs", run_ranges(test), negated)]
        if field.name in (ROOT[0], "RootRunId"):
            # Only those that are not of the run itself are in a column.
            own = Compiler._own(test)
            number = self._attribute((field.name, "Keyword"))
            steps = self._test(own, negated)
            if number is None:
                return steps
            other = ("terms", number, term_ranges(test), negated)
            return [other, *steps, ("null", number, False), ("and", 2), ("or", 2)]
        number = self.number(field)
        if number is None:
            return [("terms", BUCKETS, [], False)]
        return [("terms", number, term_ranges(test), negated)]

    @staticmethod
    def _own(test: Compare | In | Between | StartsWith) -> Compare | In | Between | StartsWith:
        own = _WORKFLOW_ID if test.field.name == ROOT[0] else _RUN_ID
        match test:
            case Compare(_, operator, value):
                return Compare(own, operator, value)
            case In(_, values):
                return In(own, values)
            case Between(_, low, high):
                return Between(own, low, high)
            case StartsWith(_, prefix):
                return StartsWith(own, prefix)

    def number(self, field: Field) -> int | None:
        """The number of the columns that have an attribute's values; None when there are none.

        Raises:
            UnsupportedError: the values of every run are not in one column.
        """
        if field.name in ("RunId", ROOT[0], "RootRunId"):
            raise UnsupportedError
        return self._attribute((field.name, field.type))

    def order(self, field: Field, descending: bool) -> tuple[int, dict[bytes, int] | None, dict[Any, int]]:
        """An attribute's number; and where its values are told by buckets, the ranks of those and of the values.

        Ranks are odd, so that a value that is gone has its place between two of them.
        """
        if field.name not in BUCKET_FIELDS:
            number = self.number(field)
            return BUCKETS + 2 if number is None else number, None, {}
        values = {term: compiled_value(field, bucket) for bucket, term in self._buckets}
        known = sorted({value for value in values.values() if value is not None}, reverse=descending)
        if 2 * len(known) + 1 >= 1 << 16:
            raise UnsupportedError
        ranks: dict[Any, int] = {value: 2 * place + 1 for place, value in enumerate(known)}
        ranks[None] = 2 * len(known) + 1
        return BUCKETS, {term: ranks[value] for term, value in values.items()}, ranks


def compiled_value(field: Field, bucket: Bucket) -> Any:
    """What all records of a bucket have of an attribute."""
    match field.name:
        case "WorkflowType":
            return bucket.workflow_type
        case "TaskQueue":
            return bucket.task_queue
        case "ExecutionStatus":
            return bucket.status
        case _:
            return bucket.division


def _is_of_buckets(expression: Expression) -> bool:
    match expression:
        case And(items) | Or(items):
            return all(map(_is_of_buckets, items))
        case Not(item):
            return _is_of_buckets(item)
        case _:
            return expression.field.name in BUCKET_FIELDS


def term_ranges(test: Compare | In | Between | StartsWith) -> Ranges:
    """The half-open ranges of the terms that a test is true of (b"" as an end: no end).

    Raises:
        UnsupportedError: their order does not tell.
    """
    match test:
        case Compare(field, "=", value):
            return _points(field, (value,))
        case In(field, values):
            return _points(field, values)
        case Compare(field, symbol, value):
            found = comparison_range(field.type, symbol, value)
        case Between(field, low, high):
            lower = comparison_range(field.type, ">=", low)
            upper = comparison_range(field.type, "<=", high)
            found = None if lower is None or upper is None else (lower[0], upper[1])
            if found is not None and found[0] >= found[1]:
                return []
        case StartsWith(_, prefix):
            found = prefix_range(prefix)
    if found is None:
        raise UnsupportedError
    return [found]


def _points(field: Field, values: tuple[object, ...]) -> Ranges:
    terms: set[bytes] = set()
    for value in values:
        words: Iterable[object] = text_tokens(str(value)) if field.type == "Text" else (value,)
        for word in words:
            if field.type in ("Int", "Datetime") and isinstance(word, float):
                if not math.isfinite(word) or word != int(word):
                    continue
                word = int(word)
            term = encode_value(field.type, word)
            if term is None:
                raise UnsupportedError
            terms.add(term)
    return [(term, term + b"\0") for term in sorted(terms)]


# Run ids: sixteen bytes that sort as their texts do


def run_ranges(test: Compare | In | Between | StartsWith) -> Ranges:
    """The half-open ranges of the run ids that a test is true of (b"" as an end: no end)."""
    match test:
        case Compare(_, "=", value):
            return _run_points((value,))
        case In(_, values):
            return _run_points(values)
        case Compare(_, symbol, value):
            low = _first_run(str(value), symbol == ">") if symbol in (">", ">=") else b""
            high = _first_run(str(value), symbol == "<=") if symbol in ("<", "<=") else b""
        case Between(_, least, greatest):
            low, high = _first_run(str(least), False), _first_run(str(greatest), True)
        case StartsWith(_, prefix):
            low, high = _first_run(prefix, False), _first_run(prefix + "\x7f", False)
    if low is None or high == bytes(16):
        return []
    return [(low or bytes(16), high or b"")]


def _run_points(values: tuple[object, ...]) -> Ranges:
    ids = sorted({uuid.UUID(str(value)).bytes for value in values if is_run_id(str(value))})
    return [(run_id, _following(run_id.hex()) or b"") for run_id in ids]


def _first_run(text: str, after: bool) -> bytes | None:
    """The least run id that does not sort before a text, or that sorts after it; None when there is none."""
    if is_run_id(text):
        run_id = uuid.UUID(text).bytes
        return _following(run_id.hex()) if after else run_id
    digits = ""
    for place in range(36):
        if place == len(text):
            break
        c = text[place]
        if place in _DASHES:
            if c > "-":
                return _following(digits)
            if c < "-":
                break
        elif c in _DIGITS:
            digits += c
        else:
            greater = next((digit for digit in _DIGITS if digit > c), None)
            if greater is None:
                return _following(digits)
            digits += greater
            break
    else:
        return _following(digits)
    return bytes.fromhex(digits.ljust(32, "0"))


def _following(digits: str) -> bytes | None:
    """The least run id that sorts after all that begin with these digits."""
    if not digits.strip("f"):
        return None
    return (int(digits, 16) + 1 << 4 * (32 - len(digits))).to_bytes(16)
