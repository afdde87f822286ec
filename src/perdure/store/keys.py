"""What local stores order by: bounded texts, run ids as bytes, positions in a listing.

Both the memory store and the LMDB store sort by these, so that one is the oracle of the other.
"""

from __future__ import annotations

import hashlib
import re

from perdure.store.api import Document, RunKey, RunUpdate, VisibilityRecord

#: Texts of more encoded bytes than this are cut and end in a hash: LMDB's keys hold at most 511 bytes.
TEXT_LIMIT = 400
_HASH_SIZE = 16
#: A document's kind has at most this many bytes, so that a key has room for its id.
KIND_LIMIT = 64
_CANONICAL_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
#: Event ids and counts are stored in four bytes.
MAX_EVENT_ID = 0xFFFFFFFF
#: Nanoseconds since the epoch that fit a signed 64-bit number.
MAX_TIME = 0x7FFFFFFFFFFFFFFF


def ordered_text(text: str) -> bytes:
    """A key part that sorts as the text's UTF-8 does and is never a prefix of another one.

    Zero bytes are escaped, two zero bytes end it. A text beyond ``TEXT_LIMIT`` keeps its head and a hash of all of
    it: equal texts stay equal, different ones differ, and only the order among texts with the same head is arbitrary.
    """
    data = text.encode().replace(b"\0", b"\0\xff")
    if len(data) > TEXT_LIMIT:
        data = data[: TEXT_LIMIT - _HASH_SIZE] + hashlib.blake2b(data, digest_size=_HASH_SIZE).digest().replace(
            b"\0", b"\1"
        )
    return data + b"\0\0"


def is_run_id(text: str) -> bool:
    """Whether a text can be a stored run's or namespace's id: a UUID in its canonical spelling."""
    return _CANONICAL_UUID.fullmatch(text) is not None


def visibility_position(record: VisibilityRecord) -> tuple[int, int, int, str]:
    """Sorts records as listings show them: open before closed, then newest first, then by run id."""
    if record.close_time:
        return (1, -record.close_time, -record.start_time, record.key.run_id)
    return (0, -record.start_time, 0, record.key.run_id)


def document_key(kind: str, id: str) -> bytes:
    """Sorts documents of a namespace by kind, then by id."""
    return ordered_text(kind) + ordered_text(id)


def check_document(document: Document) -> None:
    """Refuse a document that no store could keep.

    Raises:
        ValueError: naming the field.
    """
    if not is_run_id(document.namespace_id):
        raise ValueError(f"namespace_id {document.namespace_id!r} is not a UUID in lower case with dashes")
    if not 0 < len(document.kind.encode()) <= KIND_LIMIT:
        raise ValueError(f"kind {document.kind!r} of a document does not have 1 to {KIND_LIMIT} bytes")


def check_update(update: RunUpdate) -> None:
    """Refuse an update that no store could keep.

    The ids of a run are looked at when it is new: there is none yet that a later version could belong to.

    Raises:
        ValueError: naming the field.
    """
    key = update.key
    version = update.version
    if version <= 1:
        for name, text in (("namespace_id", key.namespace_id), ("run_id", key.run_id)):
            if not is_run_id(text):
                raise ValueError(f"{name} {text!r} is not a UUID in lower case with dashes")
        if version < 1:
            raise ValueError(f"version {version} of run {key.run_id} is below 1")
    namespace_id = key.namespace_id
    for row in update.put_tasks:
        if row.key is not key and row.key.namespace_id != namespace_id:
            raise _stray_entry(key, row.key)
    for row in update.delete_tasks:
        if row.key is not key and row.key.namespace_id != namespace_id:
            raise _stray_entry(key, row.key)
    for record in update.visibility:
        if record is not None and record.key is not key and record.key.namespace_id != namespace_id:
            raise _stray_entry(key, record.key)
    removed_due, added_due = update.timer
    if removed_due < 0 or added_due < 0:
        raise ValueError(f"due time {min(update.timer)} of the time index is before 1970")
    for first_event_id, count, _batch in update.history:
        if first_event_id < 1 or count < 1 or first_event_id + count > MAX_EVENT_ID:
            raise ValueError(f"batch of {count} events from {first_event_id} of run {key.run_id} is out of range")


def _stray_entry(key: RunKey, other: RunKey) -> ValueError:
    return ValueError(
        f"an update of run {key.run_id} holds an entry of namespace {other.namespace_id}, not {key.namespace_id}"
    )
