"""Listing and counting runs: Temporal's list filters, parsed once and evaluated by every local store.

A filter is the body of a SQL ``WHERE``. :func:`parse_query` checks it against the known attributes and gives a
:class:`Query`; :func:`matches` evaluates it over a :class:`~perdure.store.api.VisibilityRecord` with SQL's rules for
missing values (a comparison with an unset attribute is neither true nor false, so neither it nor its negation
matches). Stores narrow their scan with :func:`plan` and filter what is left with :func:`matches`.
"""

from perdure.store.visibility._evaluate import field_value, matches
from perdure.store.visibility._listing import (
    Page,
    PageToken,
    count_records,
    group_key,
    list_records,
    order_records,
    read_page,
    write_token,
)
from perdure.store.visibility._parse import parse_query
from perdure.store.visibility._plan import Plan, plan
from perdure.store.visibility._query import (
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
)

__all__ = [
    "SYSTEM_TYPES",
    "And",
    "Between",
    "Compare",
    "Expression",
    "Field",
    "In",
    "IsNull",
    "Not",
    "Or",
    "Page",
    "PageToken",
    "Plan",
    "Query",
    "StartsWith",
    "count_records",
    "field_value",
    "group_key",
    "list_records",
    "matches",
    "order_records",
    "read_page",
    "parse_query",
    "plan",
    "write_token",
]
