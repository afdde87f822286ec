"""Texts as the database can hold them: it knows no NUL, and bytes must stay in the order of the characters."""

from __future__ import annotations

import json
import math
import re
from typing import Any

from perdure.store.visibility import attribute_names, attribute_value, text_tokens

_ESCAPED = re.compile("\x01([\x01\x02])")

#: The letter of an attribute's type in the names of ``visibility.attributes``.
LETTERS = {"Keyword": "k", "Int": "i", "Double": "f", "Bool": "b", "Datetime": "d", "KeywordList": "l", "Text": "x"}


def escape(text: str) -> str:
    """The text without NUL: no two texts become one, and order and prefixes are kept."""
    if "\0" in text or "\1" in text:
        return text.replace("\1", "\1\2").replace("\0", "\1\1")
    return text


def unescape(text: str) -> str:
    """The text that was escaped."""
    if "\1" in text:
        return _ESCAPED.sub(lambda match: "\0" if match[1] == "\1" else "\1", text)
    return text


def attribute_key(name: str, kind: str) -> str:
    """What an attribute is called in ``visibility.attributes``: of another type it is another attribute."""
    return f"{LETTERS[kind]}.{escape(name)}"


def attributes_json(search_attributes: bytes) -> str | None:
    """A record's search attributes as filters see them; None when there are none."""
    if not search_attributes:
        return None
    found: dict[str, Any] = {}
    for name in attribute_names(search_attributes):
        value = attribute_value(search_attributes, name)
        if value is not None:
            found[attribute_key(name, value[0])] = _json_value(*value)
    return json.dumps(found, ensure_ascii=False) if found else None


def _json_value(kind: str, value: Any) -> Any:
    if kind == "Text":
        return sorted(escape(word) for word in text_tokens(value))
    if kind == "KeywordList":
        return [escape(item) for item in value]
    if kind == "Double" and not math.isfinite(value):
        return str(value)
    return escape(value) if isinstance(value, str) else value
