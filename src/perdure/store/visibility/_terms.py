"""Index terms: the values of a record's attributes as bytes that sort as the values do.

A record has one term for each value that can be looked for: one for a keyword or a number, one for each different item
of a list, one for each different word of a text. Records without attributes and without a parent have none.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterable

from perdure.store.api import VisibilityRecord
from perdure.store.keys import TEXT_LIMIT, ordered_text
from perdure.store.visibility._values import attribute_names, attribute_value, text_tokens

#: An attribute as it is indexed: its name and its type.
Attribute = tuple[str, str]

PARENT: Attribute = ("ParentWorkflowId", "Keyword")
ROOT: Attribute = ("RootWorkflowId", "Keyword")

#: Encoded texts from this length on may be cut, so order and prefixes of them are not to be trusted.
EXACT_TEXT = TEXT_LIMIT - 16
_MAX_INT = (1 << 70) - 1
#: A text without words is there all the same.
_NO_WORDS = object()
_double = struct.Struct(">d")


def encode_value(kind: str, value: object) -> bytes | None:
    """The term of one value; None when terms cannot tell it from others. Texts go word by word, as keywords."""
    if kind in ("Int", "Datetime"):
        assert isinstance(value, int)
        return (max(-_MAX_INT, min(value, _MAX_INT)) + (1 << 71)).to_bytes(9)
    if kind == "Double":
        assert isinstance(value, int | float)
        bits = int.from_bytes(_double.pack(float(value) + 0.0))
        return (bits ^ ((1 << 64) - 1) if bits >> 63 else bits | 1 << 63).to_bytes(8)
    if kind == "Bool":
        return b"\1" if value else b"\0"
    assert isinstance(value, str)
    try:
        return ordered_text(value)
    except UnicodeEncodeError:
        return None


def text_of(term: bytes) -> str | None:
    """The keyword of a term; None when it may have been cut."""
    if len(term) - 2 >= TEXT_LIMIT:
        return None
    return term[:-2].replace(b"\0\xff", b"\0").decode()


def prefix_range(prefix: str) -> tuple[bytes, bytes] | None:
    """The half-open range of the terms of texts that begin with a prefix; None when it is too long to tell."""
    try:
        data = prefix.encode().replace(b"\0", b"\0\xff")
    except UnicodeEncodeError:
        return None
    return (data, data + b"\xff") if len(data) < EXACT_TEXT else None


def comparison_range(kind: str, symbol: str, value: object) -> tuple[bytes, bytes] | None:
    """The half-open range of the terms that compare so with a value (b"" as its end: no end); None: cannot tell."""
    if kind in ("Int", "Datetime") and isinstance(value, float):
        if not math.isfinite(value):
            return None
        value = math.ceil(value) if symbol in ("<", ">=") else math.floor(value)
    term = encode_value(kind, value)
    if term is None or (isinstance(value, str) and len(term) >= EXACT_TEXT):
        return None
    low = term if symbol == ">=" else term + b"\xff" if symbol == ">" else b""
    high = term if symbol == "<" else term + b"\xff" if symbol == "<=" else b""
    return low, high


def record_terms(record: VisibilityRecord) -> set[tuple[Attribute, bytes]]:
    """Every term of a record."""
    terms: set[tuple[Attribute, bytes]] = set()
    if record.parent_workflow_id:
        terms.add((PARENT, ordered_text(record.parent_workflow_id)))
    if record.root_workflow_id and record.root_workflow_id != record.key.workflow_id:
        terms.add((ROOT, ordered_text(record.root_workflow_id)))
    if record.search_attributes:
        for name in attribute_names(record.search_attributes):
            found = attribute_value(record.search_attributes, name)
            if found is None:
                continue
            kind, value = found
            items: Iterable[object] = (value,)
            if kind == "Text":
                items = text_tokens(value) or (_NO_WORDS,)
            elif kind == "KeywordList":
                items = value
            for item in items:
                term = b"" if item is _NO_WORDS else encode_value(kind, item)
                if term is not None:
                    terms.add(((name, kind), term))
    return terms


def record_division(record: VisibilityRecord) -> str | None:
    """The namespace division a record is in; None for the runs of users."""
    if not record.search_attributes:
        return None
    found = attribute_value(record.search_attributes, "TemporalNamespaceDivision")
    return found[1] if found is not None and found[0] == "Keyword" else None
