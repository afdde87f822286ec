"""The HTTP request that completes a Nexus operation outside this service, in Nexus' own form."""

from __future__ import annotations

import asyncio
import urllib.error
import urllib.request
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple

import msgspec

from perdure.api.common import v1 as common_v1
from perdure.api.failure import v1 as failure_v1
from perdure.api.json import to_json_dict
from perdure.engine.nexus_http import to_content

_TIMEOUT = 10.0
#: Answers that stay the same however often the request is sent.
_FINAL_STATUSES = frozenset((400, 401, 403, 404, 409, 501))


class CallbackError(Exception):
    """A callback did not get through."""

    def __init__(self, message: str, is_retryable: bool) -> None:
        super().__init__(message)
        self.is_retryable = is_retryable


class Outcome(NamedTuple):
    """What an operation came to. Times are nanoseconds since the epoch."""

    token: str
    result: common_v1.Payload | None
    failure: failure_v1.Failure | None
    started_ns: int
    closed_ns: int


async def send(url: str, header: Mapping[str, str], outcome: Outcome) -> None:
    """Tell the receiver, in a thread of its own.

    Raises:
        CallbackError: it refused, or could not be reached.
    """
    request = _request(url, header, outcome)
    await asyncio.to_thread(_send, request)


def _send(request: urllib.request.Request) -> None:
    try:
        with urllib.request.urlopen(request, timeout=_TIMEOUT):
            return
    except urllib.error.HTTPError as error:
        with error:
            raise CallbackError(
                f"unexpected response status: {error.code}", error.code not in _FINAL_STATUSES
            ) from None
    except (urllib.error.URLError, OSError) as error:
        raise CallbackError(f"the callback's receiver could not be reached: {error}", True) from None


def _request(url: str, header: Mapping[str, str], outcome: Outcome) -> urllib.request.Request:
    headers = dict(header)
    if outcome.token:
        headers["Nexus-Operation-Token"] = outcome.token
    headers["Nexus-Operation-Start-Time"] = _time(outcome.started_ns)
    headers["Nexus-Operation-Close-Time"] = _time(outcome.closed_ns)
    failure = outcome.failure
    if failure is not None:
        is_canceled = failure.canceled_failure_info is not None
        headers["Nexus-Operation-State"] = "canceled" if is_canceled else "failed"
        headers["Content-Type"] = "application/json"
        body = msgspec.json.encode(_nexus_failure(failure))
    else:
        headers["Nexus-Operation-State"] = "succeeded"
        body = to_content(outcome.result, headers)
    return urllib.request.Request(url, body, headers, method="POST")


def _nexus_failure(failure: failure_v1.Failure) -> dict[str, Any]:
    form: dict[str, Any] = {
        "message": failure.message,
        "metadata": {"type": "temporal.api.failure.v1.Failure"},
        "details": to_json_dict(failure),
    }
    return form


def _time(ns: int) -> str:
    return datetime.fromtimestamp(ns / 1e9, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
