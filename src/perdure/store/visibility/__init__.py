"""Listing and counting runs: Temporal's list filters, parsed once and evaluated by every local store.

A filter is the body of a SQL ``WHERE``. :func:`parse_query` checks it against the known attributes and gives a
:class:`Query`; :func:`matches` evaluates it over a :class:`~perdure.store.api.VisibilityRecord` with SQL's rules for
missing values (a comparison with an unset attribute is neither true nor false, so neither it nor its negation
matches). What indexes a store keeps, and how a filter uses them, is told in ``_plan``; :class:`Records` keeps them in
memory.
"""

from perdure.store.visibility._evaluate import compiled, field_value, matches
from perdure.store.visibility._listing import (
    Page,
    PageToken,
    Position,
    add_counts,
    bucket_group,
    group_key,
    group_name,
    order_records,
    read_page,
    write_token,
)
from perdure.store.visibility._parse import parse_query
from perdure.store.visibility._plan import (
    Access,
    Bounds,
    Bucket,
    Group,
    Part,
    RunId,
    Term,
    TermRange,
    WorkflowIds,
    plan,
)
from perdure.store.visibility._program import BUCKETS, Compiler, UnsupportedError, run_ranges
from perdure.store.visibility._query import (
    RUN_FIELDS,
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
from perdure.store.visibility._records import Records
from perdure.store.visibility._terms import EXACT_TEXT, Attribute, encode_value, record_division, record_terms, text_of
from perdure.store.visibility._values import (
    TYPE_NAMES,
    attribute_names,
    attribute_value,
    parse_duration,
    payload_value,
    text_tokens,
)

__all__ = [
    "TYPE_NAMES",
    "attribute_names",
    "attribute_value",
    "text_tokens",
    "parse_duration",
    "payload_value",
    "BUCKETS",
    "EXACT_TEXT",
    "Access",
    "Attribute",
    "Bounds",
    "Bucket",
    "Compiler",
    "Group",
    "Part",
    "Position",
    "Records",
    "RunId",
    "Term",
    "TermRange",
    "WorkflowIds",
    "add_counts",
    "bucket_group",
    "UnsupportedError",
    "compiled",
    "run_ranges",
    "encode_value",
    "record_division",
    "record_terms",
    "text_of",
    "RUN_FIELDS",
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
    "Query",
    "StartsWith",
    "field_value",
    "group_key",
    "group_name",
    "matches",
    "order_records",
    "read_page",
    "parse_query",
    "plan",
    "write_token",
]
