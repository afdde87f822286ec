"""How a filter is answered from the indexes, and what of it is left to evaluate record by record.

A store keeps the records of a namespace in *buckets*: all that share a workflow type, a task queue, a namespace division
and a status, in the default order of listings. And it keeps, for each *term* (an attribute's value), the records that
have it, in the same order.

:func:`plan` takes the filter through every bucket: what it says of the bucket's own values is decided there, what it
says of start and close times becomes :class:`Bounds`, and of the rest the condition that the fewest records meet becomes
an :class:`Access`. What an access cannot answer stays as a :attr:`Group.residual`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import NamedTuple, Protocol

import msgspec

from perdure.api.common.v1 import Payload
from perdure.store.api import RunKey, VisibilityRecord
from perdure.store.keys import ordered_text
from perdure.store.visibility._evaluate import compiled
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
from perdure.store.visibility._terms import (
    EXACT_TEXT,
    PARENT,
    ROOT,
    Attribute,
    comparison_range,
    encode_value,
    prefix_range,
)
from perdure.store.visibility._values import text_tokens

DIVISION = "TemporalNamespaceDivision"
#: What all records of a bucket have in common.
BUCKET_FIELDS = frozenset(("WorkflowType", "TaskQueue", "ExecutionStatus", DIVISION))
_FIRST = 0
_LAST = 0x7FFFFFFFFFFFFFFF
#: An access that has to be collected and sorted is not worth it beyond so many entries, for one page of a listing.
COLLECT_LIMIT = 50_000
#: Beyond this even counting does better by walking through the records.
_COLLECT_MOST = 1_000_000
#: So few records are read without more ado.
_FEW = 500
#: A listing reads on until it has found records without an attribute, unless they are fewer than one in so many.
_RARE = 50
#: Numbers of closed runs that a store may test without decoding their records, by place.
NUMBERS = ("ExecutionDuration", "HistoryLength", "HistorySizeBytes", "StateTransitionCount")
_LEAST, _GREATEST = -(1 << 63), (1 << 63) - 1


class Bucket(NamedTuple):
    """Records of one workflow type, task queue, division and status. ``place`` is the store's."""

    workflow_type: str
    task_queue: str
    division: str | None
    status: int
    size: int
    place: object = None


@dataclass(slots=True)
class Bounds:
    """Open runs, closed runs, and the times both may have (all inclusive). Decided by an entry's position alone."""

    open: bool = True
    closed: bool = True
    start_low: int = _FIRST
    start_high: int = _LAST
    close_low: int = _FIRST
    close_high: int = _LAST

    @property
    def is_all(self) -> bool:
        """Whether everything lies within."""
        return self == Bounds()

    def holds(self, start: int, close: int) -> bool:
        """Whether a record of these times lies within."""
        if not self.start_low <= start <= self.start_high:
            return False
        return self.closed and self.close_low <= close <= self.close_high if close else self.open


class Term(NamedTuple):
    """The records that have a value."""

    attribute: Attribute
    term: bytes


class TermRange(NamedTuple):
    """The records that have a value whose term is at least ``low`` and less than ``high`` (b"": no end)."""

    attribute: Attribute
    low: bytes
    high: bytes


class WorkflowIds(NamedTuple):
    """The records whose workflow id, as an ordered text, is at least ``low`` and less than ``high`` (b"": no end)."""

    low: bytes
    high: bytes

    @property
    def is_one(self) -> bool:
        """Whether only one workflow id is meant: ordered texts end in two zeros."""
        return self.low.endswith(b"\0\0") and self.high == self.low + b"\xff"


class RunId(NamedTuple):
    """The record of a run."""

    run_id: str


Part = Term | TermRange | WorkflowIds | RunId


class Access(NamedTuple):
    """The union of parts. Exact: nothing else is in it than what meets the condition it stands for."""

    parts: tuple[Part, ...]
    is_exact: bool

    @property
    def is_streamed(self) -> bool:
        """Whether its entries come in order as they are."""
        return all(isinstance(part, Term) for part in self.parts)


class Sizes(Protocol):
    """How many entries there are, as far as the plan has to know."""

    def size(self, part: Part, limit: int) -> int:
        """Entries of a part; beyond ``limit`` any number greater than it will do."""
        ...


@dataclass(slots=True)
class Group:
    """Records to read: those of the buckets, within the bounds, in every access; and what still has to be evaluated."""

    buckets: list[Bucket]
    bounds: Bounds
    accesses: list[Access] = field(default_factory=list)
    residual: Expression | None = None
    #: Exact accesses whose records are passed over.
    exclusions: list[Access] = field(default_factory=list)
    #: The least and the greatest value of NUMBERS, by place; records of open runs have none.
    numbers: dict[int, tuple[int, int]] = field(default_factory=dict)

    @property
    def size(self) -> int:
        """How many records the buckets hold."""
        return sum(bucket.size for bucket in self.buckets)


def plan(
    query: Query | None, buckets: Iterable[Bucket], sizes: Sizes, *, whole: bool = False, more: bool = False
) -> list[Group]:
    """What to read for a filter. No record is in two groups.

    Args:
        whole: everything will be read (to count or to sort), not just a page.
        more: the store knows what to do with exclusions and numbers.
    """
    where = None if query is None else query.where
    if where is None:
        return [Group(list(buckets), Bounds())]
    groups: dict[Expression | None, Group] = {}
    for bucket in buckets:
        rest = _in_bucket(where, bucket[:4])
        if rest is not False:
            condition = None if rest is True else rest
            group = groups.get(condition)
            if group is None:
                group = groups[condition] = Group([], Bounds())
            group.buckets.append(bucket)
    for condition, group in groups.items():
        if condition is not None:
            _narrow(group, condition, sizes, whole, more)
    return list(groups.values())


# What a bucket decides


@lru_cache(maxsize=4096)
def _stub(values: tuple[str, str, str | None, int]) -> VisibilityRecord:
    workflow_type, task_queue, division, status = values
    attributes = b""
    if division is not None:
        payload = Payload({"encoding": b"json/plain", "type": b"Keyword"}, msgspec.json.encode(division))
        attributes = msgspec.msgpack.encode({DIVISION: payload})
    return VisibilityRecord(RunKey("", "", ""), workflow_type, task_queue, status, 0, 0, search_attributes=attributes)


def bucket_stub(bucket: Bucket) -> VisibilityRecord:
    """A record of a bucket, as far as the bucket tells."""
    return _stub(bucket[:4])


@lru_cache(maxsize=4096)
def _in_bucket(where: Expression, values: tuple[str, str, str | None, int]) -> bool | Expression:
    return _reduce(where, _stub(values), True)


def _reduce(expression: Expression, stub: VisibilityRecord, is_positive: bool) -> bool | Expression:
    """The expression with what the stub decides taken out. ``is_positive``: unknown is as good as false here."""
    match expression:
        case And(items) | Or(items):
            absorbing = isinstance(expression, Or)
            rest: list[Expression] = []
            for item in items:
                reduced = _reduce(item, stub, is_positive)
                if reduced is absorbing:
                    return absorbing
                if not isinstance(reduced, bool):
                    rest.append(reduced)
            if not rest:
                return not absorbing
            return rest[0] if len(rest) == 1 else Or(tuple(rest)) if absorbing else And(tuple(rest))
        case Not(item):
            reduced = _reduce(item, stub, False)
            return not reduced if isinstance(reduced, bool) else Not(reduced)
        case _:
            if expression.field.name not in BUCKET_FIELDS:
                return expression
            value = compiled(expression)(stub)
            if value is None:
                return False if is_positive else expression
            return value


# What the indexes decide


def _narrow(group: Group, condition: Expression, sizes: Sizes, whole: bool, more: bool) -> None:
    items = condition.items if isinstance(condition, And) else (condition,)
    rest = [item for item in items if not _bound(group.bounds, item) and not (more and _number(group, item))]
    found: list[tuple[int, Access, Expression]] = []
    most = group.size
    for item in list(rest):
        key = _attribute(item.field) if more and isinstance(item, IsNull) else None
        other = _other_items(item) if more and whole else None
        if other is not None:
            group.exclusions.append(other)
            rest[rest.index(item)] = Not(IsNull(_field(item)))
        elif key is not None and key != ROOT:
            unset = Access((TermRange(key, b"", b""),), True)
            if whole or (most - sizes.size(unset.parts[0], most)) * _RARE < most:
                group.exclusions.append(unset)
                rest.remove(item)
    for item in rest:
        access = _access(item)
        if access is not None:
            found.append((sum(sizes.size(part, most) for part in access.parts), access, item))
    found.sort(key=lambda candidate: candidate[0])
    if found and _is_worth_it(found[0][0], found[0][1], most, whole):
        least = found[0][0]
        for size, access, item in found:
            # The first reads the fewest entries; intersecting it with another one spares reading its records.
            if group.accesses and not (access.is_exact and _is_worth_intersecting(least, size, whole)):
                continue
            group.accesses.append(access)
            if access.is_exact:
                rest.remove(item)
    if rest:
        group.residual = rest[0] if len(rest) == 1 else And(tuple(rest))


def _is_worth_it(size: int, access: Access, most: int, whole: bool) -> bool:
    if access.is_streamed or (whole and access.is_exact and size <= _COLLECT_MOST):
        return size < most or access.is_exact
    return size <= COLLECT_LIMIT and size < most


def _is_worth_intersecting(least: int, size: int, whole: bool) -> bool:
    if whole:
        return size <= max(16 * least, COLLECT_LIMIT)
    return least > _FEW and size <= COLLECT_LIMIT


def _field(expression: Expression) -> Field:
    match expression:
        case Compare(attribute) | In(attribute):
            return attribute
        case Not(Compare(attribute) | In(attribute)):
            return attribute
        case _:
            raise AssertionError(expression)


def _other_items(expression: Expression) -> Access | None:
    """What a negated test of a list's items leaves out."""
    match expression:
        case Compare(attribute, "!=", value) if attribute.type == "KeywordList":
            access = _equal(attribute, (value,))
        case Not(Compare(attribute, "=") | In(attribute) as negated) if attribute.type == "KeywordList":
            access = _access(negated)
        case _:
            return None
    return access if access is not None and access.is_exact else None


def _number(group: Group, item: Expression) -> bool:
    """Take a condition on a number of closed runs into the group; False: it is none."""
    match item:
        case Compare(Field(name), "=" | "<" | "<=" | ">" | ">=" as symbol, int(value)) if name in NUMBERS:
            low = value + 1 if symbol == ">" else value if symbol in (">=", "=") else _LEAST
            high = value - 1 if symbol == "<" else value if symbol in ("<=", "=") else _GREATEST
        case Between(Field(name), int(low), int(high)) if name in NUMBERS:
            pass
        case Not(IsNull(Field(name))) if name in NUMBERS:
            low, high = _LEAST, _GREATEST
        case _:
            return False
    if not (_LEAST <= low <= _GREATEST and _LEAST <= high <= _GREATEST):
        return False
    place = NUMBERS.index(name)
    before = group.numbers.get(place, (_LEAST, _GREATEST))
    group.numbers[place] = (max(low, before[0]), min(high, before[1]))
    group.bounds.open = False
    return True


def _bound(bounds: Bounds, item: Expression) -> bool:
    """Take a condition on times into the bounds; False: it is not one that bounds can say."""
    match item:
        case IsNull(Field("CloseTime")):
            bounds.closed = False
        case Not(IsNull(Field("CloseTime"))):
            bounds.open = False
        case Not(IsNull(Field("StartTime"))):
            pass
        case Compare(Field("StartTime" | "CloseTime" as name), "=" | "<" | "<=" | ">" | ">=" as symbol, int(value)):
            low = value + 1 if symbol == ">" else value if symbol in (">=", "=") else _FIRST
            high = value - 1 if symbol == "<" else value if symbol in ("<=", "=") else _LAST
            _range(bounds, name, low, high)
        case Between(Field("StartTime" | "CloseTime" as name), int(low), int(high)):
            _range(bounds, name, low, high)
        case _:
            return False
    return True


def _range(bounds: Bounds, name: str, low: int, high: int) -> None:
    if name == "StartTime":
        bounds.start_low = max(bounds.start_low, low)
        bounds.start_high = min(bounds.start_high, high)
        bounds.close_low = max(bounds.close_low, low)  # no run closes before it starts
    else:
        bounds.open = False
        bounds.close_low = max(bounds.close_low, low)
        bounds.close_high = min(bounds.close_high, high)


def _access(expression: Expression) -> Access | None:
    """The entries that hold every match of a condition; None when no index tells them."""
    match expression:
        case Or(items):
            parts: list[Part] = []
            is_exact = True
            for item in items:
                access = _access(item)
                if access is None:
                    return None
                parts += access.parts
                is_exact = is_exact and access.is_exact
            return Access(tuple(dict.fromkeys(parts)), is_exact)
        case And(items):
            accesses = [access for access in map(_access, items) if access is not None]
            return Access(accesses[0].parts, False) if accesses else None
        case Not(IsNull(attribute)):
            key = _attribute(attribute)
            return None if key is None or key == ROOT else Access((TermRange(key, b"", b""),), True)
        case Compare(attribute, "=", value):
            return _equal(attribute, (value,))
        case Compare(attribute, "!=", value):
            return _complement(attribute, _equal(attribute, (value,)))
        case Not(Compare() | In() | Between() | StartsWith() as negated):
            return _complement(negated.field, _access(negated))
        case In(attribute, values):
            return _equal(attribute, values)
        case Compare(attribute, "<" | "<=" | ">" | ">=" as symbol, value):
            return _between(attribute, comparison_range(attribute.type, symbol, value))
        case Between(attribute, low, high):
            lower = comparison_range(attribute.type, ">=", low)
            upper = comparison_range(attribute.type, "<=", high)
            return _between(attribute, None if lower is None or upper is None else (lower[0], upper[1]))
        case StartsWith(attribute, prefix):
            return _between(attribute, prefix_range(prefix))
        case _:
            return None


def _attribute(attribute: Field) -> Attribute | None:
    """How an attribute is indexed by terms; None when it is not."""
    if attribute.name in (PARENT[0], ROOT[0]):
        return (attribute.name, "Keyword")
    return None if attribute.is_of_every_run else (attribute.name, attribute.type)


def _equal(attribute: Field, values: tuple[object, ...]) -> Access | None:
    if attribute.name == "RunId":
        return Access(tuple(RunId(str(value)) for value in dict.fromkeys(values)), True)
    parts: list[Part] = []
    key = _attribute(attribute)
    for value in dict.fromkeys(values):
        if attribute.name in ("WorkflowId", "RootWorkflowId"):
            text = _text(str(value))
            if text is None:
                return None
            parts.append(WorkflowIds(text, text + b"\xff"))
        if key is not None:
            words: Iterable[object] = text_tokens(str(value)) if attribute.type == "Text" else (value,)
            for word in words:
                if attribute.type in ("Int", "Datetime") and isinstance(word, float):
                    if not math.isfinite(word) or word != int(word):
                        continue
                    word = int(word)
                term = encode_value(attribute.type, word)
                if term is None:
                    return None
                parts.append(Term(key, term))
        elif attribute.name != "WorkflowId":
            return None
    return Access(tuple(dict.fromkeys(parts)), attribute.name != "RootWorkflowId")


def _between(attribute: Field, bounds: tuple[bytes, bytes] | None) -> Access | None:
    if bounds is None or attribute.type in ("Text", "KeywordList"):
        return None
    if attribute.name == "WorkflowId":
        return Access((WorkflowIds(*bounds),), True)
    key = _attribute(attribute)
    return None if key is None or key == ROOT else Access((TermRange(key, *bounds),), True)


def _complement(attribute: Field, access: Access | None) -> Access | None:
    """The entries that have another value of an attribute than those of an access."""
    key = _attribute(attribute)
    if access is None or not access.is_exact or key in (None, ROOT) or attribute.type in ("Text", "KeywordList"):
        return None
    assert key is not None
    ranges = []
    for part in access.parts:
        match part:
            case TermRange(_, low, high):
                ranges.append((low, high))
            case Term(_, term) if key[1] != "Keyword" or len(term) < EXACT_TEXT:
                ranges.append((term, term + b"\xff"))
            case _:
                return None
    parts = []
    at = b""
    for low, high in sorted(ranges):
        if low > at:
            parts.append(TermRange(key, at, low))
        if not high:
            return Access(tuple(parts), True)
        at = max(at, high)
    return Access((*parts, TermRange(key, at, b"")), True)


def _text(text: str) -> bytes | None:
    try:
        return ordered_text(text)
    except UnicodeEncodeError:
        return None
