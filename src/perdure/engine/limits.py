"""Temporal's limits and the checks of requests; every refusal is one sentence that names the field.

Source of the numbers: Temporal server's dynamic configuration defaults.
"""

from __future__ import annotations

from datetime import timedelta

from perdure._native import commands
from perdure.api.common import v1 as common_v1
from perdure.api.sdk import v1 as sdk_v1
from perdure.api.taskqueue import v1 as taskqueue_v1
from perdure.engine.errors import invalid_argument
from perdure.store.visibility import RUN_FIELDS

#: The Temporal server whose behaviour this is.
SERVER_VERSION = "1.32.0"
MAX_ID_LENGTH = 1000
MAX_BLOB_SIZE = 2 * 1024 * 1024
MAX_MEMO_SIZE = 2 * 1024 * 1024
MAX_HISTORY_EVENTS = 51_200
MAX_HISTORY_SIZE = 50 * 1024 * 1024
MAX_STATE_SIZE = 8 * 1024 * 1024
MAX_SIGNALS = 10_000
MAX_UPDATES_IN_FLIGHT = 10
MAX_UPDATES_SIZE = 20 * 1024 * 1024
MAX_UPDATES = 2000
MAX_SEARCH_ATTRIBUTES = 100
MAX_SEARCH_ATTRIBUTE_SIZE = 2 * 1024
MAX_SEARCH_ATTRIBUTES_SIZE = 40 * 1024
MAX_SUMMARY_SIZE = 400
MAX_DETAILS_SIZE = 20_000
MAX_PAGE_SIZE = 1000
DEFAULT_PAGE_SIZE = 256
NS_PER_MS = 1_000_000
NS_PER_S = 1_000_000_000
MAX_DURATION = 36_500 * 86_400 * NS_PER_S
DEFAULT_TASK_TIMEOUT = 10 * NS_PER_S
MAX_TASK_TIMEOUT = 120 * NS_PER_S
WORKFLOW_TASK_HEARTBEAT_TIMEOUT = 30 * 60 * NS_PER_S
LONG_POLL = 20.0
TASK_LONG_POLL = 60.0

_SYSTEM_SEARCH_ATTRIBUTES = RUN_FIELDS | {
    "TemporalWorkerDeployment",
    "TemporalWorkerDeploymentVersion",
    "TemporalWorkflowVersioningBehavior",
    "TemporalUsedWorkerDeploymentVersions",
    "TemporalExternalPayloadCount",
    "TemporalExternalPayloadSizeBytes",
}


def long_poll(timeout: timedelta | None) -> float:
    """Seconds that a poll for tasks may wait: it answers empty a second before its caller gives up."""
    return TASK_LONG_POLL if timeout is None else min(TASK_LONG_POLL, max(timeout.total_seconds() - 1, 0.01))


def long_read(timeout: float | None) -> float:
    """Seconds that a read may wait for something new: it answers a second before its caller gives up."""
    return LONG_POLL if timeout is None else max(min(LONG_POLL, timeout - 1), 0.01)


def check_page_size(size: int, default: int = MAX_PAGE_SIZE) -> int:
    """Refuse a page size that no listing has; returns the default where none is asked for."""
    if size < 0 or size > MAX_PAGE_SIZE:
        raise invalid_argument(f"PageSize is {size}, it must lie between 0 and {MAX_PAGE_SIZE}.")
    return size or default


def check_id(value: str, what: str, *, required: bool = True) -> None:
    """Refuse an id that is empty or longer than 1000 bytes."""
    if not value:
        if required:
            raise invalid_argument(f"{what} is not set on the request.")
    elif len(value) > MAX_ID_LENGTH or (not value.isascii() and len(value.encode()) > MAX_ID_LENGTH):
        raise invalid_argument(f"{what} is longer than {MAX_ID_LENGTH} bytes.")


def check_task_queue(queue: taskqueue_v1.TaskQueue | None) -> str:
    """Refuse a task queue that is unset, too long or reserved; returns its name."""
    name = "" if queue is None else queue.name
    check_id(name, "TaskQueue")
    if name.startswith("/_sys/"):
        raise invalid_argument(f"TaskQueue {name!r} is reserved: names that begin with /_sys/ belong to the service.")
    return name


def check_duration(value: int | None, what: str) -> int:
    """Refuse a negative duration; returns nanoseconds, 0 when unset and at most a century."""
    if value is None:
        return 0
    if value < 0:
        raise invalid_argument(f"{what} is negative.")
    return min(value, MAX_DURATION)


def check_payloads(payloads: common_v1.Payloads | None, what: str) -> None:
    """Refuse payloads above the blob limit."""
    if payloads is not None:
        size = commands.size_of(payloads)
        if size > MAX_BLOB_SIZE:
            raise invalid_argument(f"{what} has {size} bytes, more than the limit of {MAX_BLOB_SIZE}.")


def check_memo(memo: common_v1.Memo | None) -> None:
    """Refuse a memo above its limit."""
    if memo is not None:
        size = sum(len(name) + len(payload.data) for name, payload in memo.fields.items())
        if size > MAX_MEMO_SIZE:
            raise invalid_argument(f"Memo has {size} bytes, more than the limit of {MAX_MEMO_SIZE}.")


def search_attributes_error(attributes: common_v1.SearchAttributes | None) -> str | None:
    """Which search attribute cannot be set, as a sentence; None when all can."""
    for name in attributes.indexed_fields if attributes is not None else ():
        if name in _SYSTEM_SEARCH_ATTRIBUTES:
            return f"{name} attribute can't be set in SearchAttributes"
    return None


def search_attributes_size_error(attributes: common_v1.SearchAttributes | None) -> str | None:
    """Which limit search attributes break, as a sentence; None when none is broken."""
    if attributes is None or not attributes.indexed_fields:
        return None
    fields = attributes.indexed_fields
    if len(fields) > MAX_SEARCH_ATTRIBUTES:
        return f"{len(fields)} search attributes are set, more than the limit of {MAX_SEARCH_ATTRIBUTES}."
    total = 0
    for name, payload in fields.items():
        size = len(payload.data)
        total += len(name) + size
        if size > MAX_SEARCH_ATTRIBUTE_SIZE:
            return f"search attribute {name} has {size} bytes, more than the limit of {MAX_SEARCH_ATTRIBUTE_SIZE}."
    if total > MAX_SEARCH_ATTRIBUTES_SIZE:
        return f"search attributes have {total} bytes, more than the limit of {MAX_SEARCH_ATTRIBUTES_SIZE}."
    return None


def check_search_attributes(attributes: common_v1.SearchAttributes | None) -> None:
    """Refuse search attributes that cannot be set or are too large."""
    text = search_attributes_error(attributes) or search_attributes_size_error(attributes)
    if text is not None:
        raise invalid_argument(text)


def check_retry_policy(policy: common_v1.RetryPolicy | None) -> None:
    """Refuse a contradictory retry policy."""
    text = commands.retry_policy_error(policy)
    if text is not None:
        raise invalid_argument(f"{text}.")


def check_user_metadata(metadata: sdk_v1.UserMetadata | None) -> None:
    """Refuse a summary or details above their limits."""
    if metadata is None:
        return
    if metadata.summary is not None and len(metadata.summary.data) > MAX_SUMMARY_SIZE:
        raise invalid_argument(f"the summary of user_metadata is longer than {MAX_SUMMARY_SIZE} bytes.")
    if metadata.details is not None and len(metadata.details.data) > MAX_DETAILS_SIZE:
        raise invalid_argument(f"the details of user_metadata are longer than {MAX_DETAILS_SIZE} bytes.")
