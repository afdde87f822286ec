"""Lists and counts of what the store keeps as runs: workflows, standalone activities, standalone Nexus operations."""

from __future__ import annotations

import re
from collections.abc import Mapping

import msgspec

from perdure.api.common import v1 as common_v1
from perdure.engine import limits
from perdure.engine.core import Core
from perdure.engine.errors import invalid_argument
from perdure.store.api import VisibilityPage, VisibilityRecord
from perdure.store.visibility import Query, parse_query

_WORDS = re.compile(r"""'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"|`[^`]*`|[A-Za-z_]\w*""")
_decode_fields = msgspec.msgpack.Decoder(dict[str, common_v1.Payload]).decode


def read_query(
    text: str, search_attributes: Mapping[str, str], columns: Mapping[str, str] | None = None
) -> Query | None:
    """A list filter; None when there is none. Raises INVALID_ARGUMENT.

    ``columns`` has what the filter calls the columns of runs, where it has names of its own for them.
    """
    if not text.strip():
        return None
    if columns is not None:
        text = _WORDS.sub(lambda word: columns.get(word.group().strip("`"), word.group()), text)
    try:
        return parse_query(text, search_attributes)
    except ValueError as error:
        raise invalid_argument(str(error)) from None


async def list_page(
    core: Core, namespace_id: str, query: Query | None, page_size: int, next_page_token: bytes
) -> VisibilityPage:
    """A page of runs that match; it sees everything acknowledged before the call. Raises INVALID_ARGUMENT."""
    size = limits.check_page_size(page_size)
    await core.settle()
    try:
        return await core.store.list_runs(namespace_id, query, size, next_page_token)
    except ValueError as error:
        raise invalid_argument(f"Invalid NextPageToken: {error}") from None


async def count_runs(core: Core, namespace_id: str, query: Query | None) -> dict[tuple[str, ...], int]:
    """How many match, as :meth:`Store.count_runs` has it; it sees everything acknowledged before the call."""
    await core.settle()
    return await core.store.count_runs(namespace_id, query)


def groups_of(counts: dict[tuple[str, ...], int]) -> list[tuple[list[common_v1.Payload], int]]:
    """The groups of a count, each with its values as an answer carries them; empty without a GROUP BY."""
    metadata = {"encoding": b"json/plain", "type": b"Keyword"}
    return [
        ([common_v1.Payload(metadata, msgspec.json.encode(value)) for value in values], count)
        for values, count in counts.items()
        if values
    ]


def search_attributes_of(record: VisibilityRecord) -> common_v1.SearchAttributes:
    """The search attributes of a run as lists show them."""
    return common_v1.SearchAttributes(_decode_fields(record.search_attributes) if record.search_attributes else {})
