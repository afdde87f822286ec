"""The grammar of list filters.

::

    query      = [disjunction] [GROUP BY name] [ORDER BY name [ASC | DESC] {, name [ASC | DESC]}]
    disjunction= conjunction {OR conjunction}
    conjunction= negation {AND negation}
    negation   = NOT negation | "(" disjunction ")" | test
    test       = name (= | != | <> | < | <= | > | >=) value
               | name [NOT] IN "(" value {, value} ")"
               | name [NOT] BETWEEN value AND value
               | name IS [NOT] NULL
               | name [NOT] STARTS_WITH value

Names may stand in backticks, texts in single or double quotes; keywords in any case.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple, NoReturn

from perdure.store.visibility._query import (
    STATUS_NAMES,
    STATUS_NUMBERS,
    SYSTEM_TYPES,
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
    Value,
)
from perdure.store.visibility._values import parse_datetime, parse_duration

_RESERVED_PREFIX = "Temporal"
_SCHEDULE_WORKFLOW_PREFIX = "temporal-sys-scheduler:"
_DIVISION = Field("TemporalNamespaceDivision", "Keyword")
_MAX_DEPTH = 200

_TOKEN = re.compile(
    r"""\s*(?:
        (?P<text>'(?:[^'\\]|\\.|'')*' | "(?:[^"\\]|\\.|"")*")
      | (?P<number>[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?)
      | (?P<quoted>`[^`]+`)
      | (?P<word>[^\W\d][\w.-]*)
      | (?P<symbol><=|>=|!=|<>|=|<|>|\(|\)|,)
    )""",
    re.VERBOSE | re.DOTALL,
)
_LOGIC = ("AND", "OR", "NOT", "IN", "BETWEEN", "IS", "NULL", "STARTS_WITH", "TRUE", "FALSE")
_CLAUSES = ("GROUP", "ORDER", "BY", "ASC", "DESC", "LIKE", "LIMIT")
_KEYWORDS = frozenset((*_LOGIC, *_CLAUSES))
_COMPARISONS = frozenset(("=", "!=", "<>", "<", "<=", ">", ">="))
_ESCAPES = {"n": "\n", "r": "\r", "t": "\t", "0": "\0", "b": "\b", "Z": "\x1a"}


class _Token(NamedTuple):
    kind: str  # text, number, name, keyword, symbol, end
    text: str
    at: int


def parse_query(text: str, custom_types: Mapping[str, str]) -> Query:
    """Parse a list filter against the attributes a namespace has.

    Records in a namespace division (schedulers, batches) are left out unless the filter names
    ``TemporalNamespaceDivision``.

    Args:
        custom_types: the namespace's own search attributes: name to ``Text``, ``Keyword``, ``Int``, ``Double``,
            ``Bool``, ``Datetime`` or ``KeywordList``.
    Raises:
        ValueError: what is wrong and where, in one sentence beginning ``invalid query``.
    """
    parser = _Parser(text, custom_types)
    try:
        return parser.query()
    except RecursionError:
        raise ValueError("invalid query: too deeply nested") from None


class _Parser:
    def __init__(self, text: str, custom_types: Mapping[str, str]) -> None:
        self._text = text
        self._custom_types = custom_types
        self._tokens = self._scan(text)
        self._next = 0
        self._depth = 0
        self._names_division = False

    def query(self) -> Query:
        where: Expression | None = None
        if not (self._peek("GROUP") or self._peek("ORDER") or self._token.kind == "end"):
            where = self._disjunction()
        group_by: Field | None = None
        order_by: list[tuple[Field, bool]] = []
        if self._take("GROUP"):
            self._expect("BY")
            group_by = self._group_field()
        if self._take("ORDER"):
            self._expect("BY")
            order_by.append(self._order_field())
            while self._take(","):
                order_by.append(self._order_field())
        if self._token.kind != "end":
            self._unexpected("AND, OR or the end")
        if not self._names_division:
            division = IsNull(_DIVISION)
            stated = () if where is None else where.items if isinstance(where, And) else (where,)
            where = And((*stated, division)) if stated else division
        return Query(where, group_by, tuple(order_by))

    # Tokens

    def _scan(self, text: str) -> list[_Token]:
        tokens: list[_Token] = []
        position = 0
        end = len(text.rstrip())
        while position < end:
            match = _TOKEN.match(text, position)
            if match is None:
                at = position + len(text[position:]) - len(text[position:].lstrip())
                if text[at] in "'\"`":
                    raise ValueError(f"invalid query: the quote at character {at + 1} is not closed")
                raise ValueError(f"invalid query: {text[at]!r} at character {at + 1} has no meaning here")
            kind = match.lastgroup or ""
            value = match[kind]
            at = match.start(kind)
            position = match.end()
            if kind == "quoted":
                tokens.append(_Token("name", value[1:-1], at))
            elif kind == "word":
                keyword = value.upper() in _KEYWORDS
                tokens.append(_Token("keyword", value.upper(), at) if keyword else _Token("name", value, at))
            elif kind == "text":
                tokens.append(_Token("text", _unquote(value), at))
            else:
                tokens.append(_Token(kind, "!=" if value == "<>" else value, at))
        tokens.append(_Token("end", "", len(text)))
        return tokens

    @property
    def _token(self) -> _Token:
        return self._tokens[self._next]

    def _advance(self) -> _Token:
        token = self._token
        self._next += 1
        return token

    def _peek(self, text: str) -> bool:
        return self._token.kind in ("keyword", "symbol") and self._token.text == text

    def _take(self, text: str) -> bool:
        if not self._peek(text):
            return False
        self._next += 1
        return True

    def _expect(self, text: str) -> None:
        if not self._take(text):
            self._unexpected(text)

    def _unexpected(self, wanted: str) -> NoReturn:
        token = self._token
        if token.kind == "end":
            raise ValueError(f"invalid query: it ends where {wanted} was expected")
        if token.text in ("LIKE", "LIMIT"):
            raise ValueError(f"invalid query: {token.text} is not supported (STARTS_WITH matches a prefix)")
        raise ValueError(f"invalid query: {token.text!r} at character {token.at + 1} where {wanted} was expected")

    # Logic

    def _disjunction(self) -> Expression:
        items = [self._conjunction()]
        while self._take("OR"):
            items.append(self._conjunction())
        return items[0] if len(items) == 1 else Or(tuple(items))

    def _conjunction(self) -> Expression:
        items = [self._negation()]
        while self._take("AND"):
            items.append(self._negation())
        return items[0] if len(items) == 1 else And(tuple(items))

    def _negation(self) -> Expression:
        self._depth += 1
        if self._depth > _MAX_DEPTH:
            raise ValueError(f"invalid query: nested more than {_MAX_DEPTH} deep")
        if self._take("NOT"):
            expression: Expression = Not(self._negation())
        elif self._take("("):
            expression = self._disjunction()
            self._expect(")")
        else:
            expression = self._test()
        self._depth -= 1
        return expression

    def _test(self) -> Expression:
        field, name = self._field()
        token = self._token
        if token.kind == "symbol" and token.text in _COMPARISONS:
            self._advance()
            self._check_operator(field, name, token.text)
            return self._compare(field, name, token.text)
        if self._take("IS"):
            negated = self._take("NOT")
            self._expect("NULL")
            return Not(IsNull(field)) if negated else IsNull(field)
        negated = self._take("NOT")
        expression: Expression
        if self._take("IN"):
            self._check_operator(field, name, "IN")
            self._expect("(")
            values = [self._value(field, name)]
            while self._take(","):
                values.append(self._value(field, name))
            self._expect(")")
            expression = In(field, tuple(values))
        elif self._take("BETWEEN"):
            self._check_operator(field, name, "BETWEEN")
            low = self._value(field, name)
            self._expect("AND")
            expression = Between(field, low, self._value(field, name))
        elif self._take("STARTS_WITH"):
            self._check_operator(field, name, "STARTS_WITH")
            prefix = self._value(field, name)
            expression = StartsWith(field, str(prefix))
        elif self._token.kind == "symbol" and self._token.text == "(" and not negated:
            raise ValueError(f"invalid query: functions such as {name}() are not supported")
        else:
            self._unexpected("an operator such as =, IN, BETWEEN, IS or STARTS_WITH")
        return Not(expression) if negated else expression

    def _compare(self, field: Field, name: str, symbol: str) -> Expression:
        return Compare(field, symbol, self._value(field, name))

    def _check_operator(self, field: Field, name: str, symbol: str) -> None:
        kind = field.type
        if field.name == "ExecutionStatus":
            allowed = symbol in ("=", "!=", "IN")
        elif kind == "Keyword":
            allowed = True
        elif kind == "KeywordList":
            allowed = symbol in ("=", "!=", "IN")
        elif kind == "Text":
            allowed = symbol in ("=", "!=")
        elif kind == "Bool":
            allowed = symbol in ("=", "!=", "IN")
        else:
            allowed = symbol != "STARTS_WITH"
        if not allowed:
            raise ValueError(f"invalid query: {name} is of type {kind}, which has no operator {symbol}")

    # Names

    def _field(self) -> tuple[Field, str]:
        token = self._token
        if token.kind != "name":
            self._unexpected("the name of a search attribute")
        self._advance()
        field = self._resolve(token.text)
        if field.name == _DIVISION.name:
            self._names_division = True
        return field, token.text

    def _resolve(self, name: str) -> Field:
        kind = self._custom_types.get(name) or SYSTEM_TYPES.get(name)
        if kind is not None:
            return Field(name, kind)
        if name.removeprefix(_RESERVED_PREFIX) == "ScheduleId":
            return Field("WorkflowId", "Keyword")
        other = name.removeprefix(_RESERVED_PREFIX) if name.startswith(_RESERVED_PREFIX) else _RESERVED_PREFIX + name
        kind = self._custom_types.get(other) or SYSTEM_TYPES.get(other)
        if kind is None:
            raise ValueError(f"invalid query: {name!r} is not a search attribute of this namespace")
        return Field(other, kind)

    def _group_field(self) -> Field:
        field, name = self._field()
        if field.type not in ("Keyword", "Bool"):
            raise ValueError(f"invalid query: GROUP BY {name} is not supported, it is of type {field.type}")
        if self._peek(","):
            raise ValueError("invalid query: GROUP BY takes one search attribute")
        return field

    def _order_field(self) -> tuple[Field, bool]:
        field, name = self._field()
        if field.type in ("Text", "KeywordList"):
            raise ValueError(f"invalid query: ORDER BY {name} is not supported, it is of type {field.type}")
        if self._take("DESC"):
            return field, True
        self._take("ASC")
        return field, False

    # Values

    def _value(self, field: Field, name: str) -> Value:
        token = self._token
        raw: Value
        if token.kind == "text":
            raw = token.text
        elif token.kind == "number":
            raw = _number(token.text)
        elif token.kind == "keyword" and token.text in ("TRUE", "FALSE"):
            raw = token.text == "TRUE"
        elif token.kind == "name":
            raise ValueError(f"invalid query: the value {token.text} of {name} needs quotes: '{token.text}'")
        else:
            self._unexpected(f"a value of {name}")
        self._advance()
        try:
            return _convert(field, name, raw)
        except ValueError as error:
            raise ValueError(f"invalid query: {error}") from None


def _convert(field: Field, name: str, raw: Value) -> Value:
    if field.name == "ExecutionStatus":
        return _status(raw)
    if field.name == "ExecutionDuration":
        if isinstance(raw, str):
            return parse_duration(raw)
    elif name.removeprefix(_RESERVED_PREFIX) == "ScheduleId" and field.name == "WorkflowId" and isinstance(raw, str):
        return raw if raw.startswith(_SCHEDULE_WORKFLOW_PREFIX) else _SCHEDULE_WORKFLOW_PREFIX + raw
    kind = field.type
    if kind == "Datetime":
        if isinstance(raw, str):
            return parse_datetime(raw)
        if isinstance(raw, int) and not isinstance(raw, bool):
            return raw
    elif kind in ("Int", "Double"):
        if isinstance(raw, int | float) and not isinstance(raw, bool):
            return _double(name, raw) if kind == "Double" else raw
    elif kind == "Bool":
        if isinstance(raw, bool):
            return raw
    elif isinstance(raw, str):
        if kind == "Text" and not re.search(r"\w", raw):
            raise ValueError(f"the value {raw!r} of {name} has no words to search for")
        return raw
    raise ValueError(f"{raw!r} is not a value of {name}, which is of type {kind}")


def _double(name: str, value: float) -> float:
    try:
        return float(value)
    except OverflowError:
        raise ValueError(f"the value of {name} is beyond what a Double holds") from None


def _status(raw: Value) -> int:
    if isinstance(raw, str):
        number = STATUS_NUMBERS.get(raw)
        if number is None and raw.startswith("WORKFLOW_EXECUTION_STATUS_"):
            short = raw.removeprefix("WORKFLOW_EXECUTION_STATUS_").replace("_", "").lower()
            number = next((n for n, status in enumerate(STATUS_NAMES) if status.lower() == short), None)
        if number is not None:
            return number
    elif isinstance(raw, int) and not isinstance(raw, bool) and 0 <= raw < len(STATUS_NAMES):
        return raw
    raise ValueError(f"{raw!r} is not an ExecutionStatus (they are {', '.join(STATUS_NAMES[1:])})")


def _number(text: str) -> int | float:
    try:
        return int(text)
    except ValueError:
        return float(text)


def _unquote(token: str) -> str:
    quote = token[0]
    body = token[1:-1].replace(quote * 2, quote)
    if "\\" not in body:
        return body
    return re.sub(r"\\(.)", lambda match: _ESCAPES.get(match[1], match[1]), body, flags=re.DOTALL)
