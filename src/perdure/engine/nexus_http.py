"""Nexus over HTTP: payloads as contents, failures as JSON, links as headers, and the requests that start and cancel."""

from __future__ import annotations

import email.message
import http.client
import re
import urllib.error
import urllib.request
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple
from urllib.parse import quote, urlencode, urlsplit, urlunsplit

import msgspec

from perdure.api.common import v1 as common_v1
from perdure.api.enums.v1 import NexusHandlerErrorRetryBehavior
from perdure.api.nexus import v1 as nexus_v1

_UNSUCCESSFUL = 424
#: The handler errors that statuses stand for.
_ERRORS = {
    400: "BAD_REQUEST",
    401: "UNAUTHENTICATED",
    403: "UNAUTHORIZED",
    404: "NOT_FOUND",
    408: "REQUEST_TIMEOUT",
    409: "CONFLICT",
    429: "RESOURCE_EXHAUSTED",
    500: "INTERNAL",
    501: "NOT_IMPLEMENTED",
    503: "UNAVAILABLE",
    520: "UPSTREAM_TIMEOUT",
}
_RETRIES = {
    "true": int(NexusHandlerErrorRetryBehavior.NEXUS_HANDLER_ERROR_RETRY_BEHAVIOR_RETRYABLE),
    "false": int(NexusHandlerErrorRetryBehavior.NEXUS_HANDLER_ERROR_RETRY_BEHAVIOR_NON_RETRYABLE),
}
_LINK = re.compile(r'<([^>]*)>\s*;\s*type="([^"]*)"')
MAX_BODY = 4 * 1024 * 1024


class Answer(NamedTuple):
    """What came back. Header names are lower case."""

    status: int
    header: Mapping[str, str]
    body: bytes


class HandlerError(Exception):
    """A handler refused, or could not be reached."""

    def __init__(self, error: nexus_v1.HandlerError) -> None:
        super().__init__(error.error_type)
        self.error = error


# ---- payloads


def to_content(payload: common_v1.Payload | None, header: dict[str, str]) -> bytes:
    """A payload as a body, with its type: JSON, bytes and protobuf as they are, all else in Temporal's own type."""
    if payload is None:
        return b""
    encoding = payload.metadata.get("encoding")
    message_type = payload.metadata.get("messageType", b"").decode()
    if len(payload.metadata) == 1 and encoding in (b"json/plain", b"binary/plain", b"binary/null"):
        if encoding != b"binary/null":
            header["Content-Type"] = "application/json" if encoding == b"json/plain" else "application/octet-stream"
        return payload.data
    if len(payload.metadata) == 2 and message_type and encoding == b"json/protobuf":
        header["Content-Type"] = f'application/json; format=protobuf; message-type="{message_type}"'
        return payload.data
    if len(payload.metadata) == 2 and message_type and encoding == b"binary/protobuf":
        header["Content-Type"] = f'application/x-protobuf; message-type="{message_type}"'
        return payload.data
    header["Content-Type"] = "application/x-temporal-payload"
    return payload.SerializeToString()


def from_content(header: Mapping[str, str], body: bytes) -> common_v1.Payload:
    """The payload of a body."""
    text = header.get("content-type", "")
    if not text and not body:
        return common_v1.Payload({"encoding": b"binary/null"})
    parsed = email.message.Message()
    parsed["Content-Type"] = text
    kind = parsed.get_content_type()
    parameters = dict(parsed.get_params([])[1:])
    message_type = parameters.get("message-type", "").encode()
    if kind == "application/x-temporal-payload":
        return common_v1.Payload.FromString(body)
    if kind == "application/json" and not parameters:
        return common_v1.Payload({"encoding": b"json/plain"}, body)
    if kind == "application/json" and parameters.get("format") == "protobuf" and message_type:
        return common_v1.Payload({"encoding": b"json/protobuf", "messageType": message_type}, body)
    if kind == "application/x-protobuf" and message_type:
        return common_v1.Payload({"encoding": b"binary/protobuf", "messageType": message_type}, body)
    if kind == "application/octet-stream" and not parameters:
        return common_v1.Payload({"encoding": b"binary/plain"}, body)
    return common_v1.Payload({"encoding": b"unknown/nexus-content", "type": text.encode()}, body)


# ---- links, failures


def to_links(links: Iterable[nexus_v1.Link]) -> str:
    """Links as a header's value."""
    return ", ".join(f'<{link.url}>; type="{link.type}"' for link in links)


def from_links(value: str) -> list[nexus_v1.Link]:
    """The links of a header; what is no link is left out."""
    return [nexus_v1.Link(url, kind) for url, kind in _LINK.findall(value)]


def from_failure(header: Mapping[str, str], body: bytes) -> nexus_v1.Failure | None:
    """The failure in a body, None when there is none."""
    if not header.get("content-type", "").startswith("application/json"):
        return None
    try:
        form = msgspec.json.decode(body)
    except msgspec.DecodeError:
        return None
    return _failure(form) if isinstance(form, dict) else None


def _failure(form: dict[str, Any]) -> nexus_v1.Failure:
    metadata = form.get("metadata")
    details = form.get("details")
    cause = form.get("cause")
    return nexus_v1.Failure(
        str(form.get("message") or ""),
        {str(key): str(value) for key, value in metadata.items()} if isinstance(metadata, dict) else {},
        b"" if details is None else msgspec.json.encode(details),
        str(form.get("stackTrace") or ""),
        _failure(cause) if isinstance(cause, dict) else None,
    )


# ---- requests


def start_request(url: str, request: nexus_v1.Request) -> urllib.request.Request:
    """The request that starts an operation of the service at a URL."""
    start = request.start_operation
    assert start is not None
    header = dict(request.header)
    header["Nexus-Request-Id"] = start.request_id
    if start.links:
        header["Nexus-Link"] = to_links(start.links)
    query = ""
    if start.callback:
        query = urlencode({"callback": start.callback})
        header |= {f"Nexus-Callback-{name}": value for name, value in start.callback_header.items()}
    body = to_content(start.payload, header)
    return urllib.request.Request(_place(url, start.service, start.operation, query=query), body, header, method="POST")


def cancel_request(url: str, request: nexus_v1.Request) -> urllib.request.Request:
    """The request that cancels an operation of the service at a URL."""
    cancel = request.cancel_operation
    assert cancel is not None
    header = {**request.header, "Nexus-Operation-Token": cancel.operation_token}
    return urllib.request.Request(_place(url, cancel.service, cancel.operation, "cancel"), b"", header, method="POST")


def _place(url: str, service: str, operation: str, *rest: str, query: str = "") -> str:
    parts = urlsplit(url)
    path = "/".join([parts.path.rstrip("/"), quote(service, safe=""), quote(operation, safe=""), *rest])
    return urlunsplit((parts.scheme, parts.netloc, path, query, ""))


def ask(request: urllib.request.Request, seconds: float) -> Answer:
    """Send a request and wait for the answer, whatever its status. Blocks.

    Raises:
        HandlerError: nobody answered.
    """
    try:
        with urllib.request.urlopen(request, timeout=seconds) as response:
            return _answer(response.status, response)
    except urllib.error.HTTPError as error:
        with error:
            return _answer(error.code, error)
    except TimeoutError:
        kind, text = "UPSTREAM_TIMEOUT", "the handler did not answer in time"
    except (OSError, http.client.HTTPException, ValueError) as error:
        kind, text = "UNAVAILABLE", f"the handler could not be reached: {error}"
    raise HandlerError(nexus_v1.HandlerError(kind, nexus_v1.Failure(text)))


def _answer(status: int, response: Any) -> Answer:
    body = response.read(MAX_BODY + 1)
    if len(body) > MAX_BODY:
        raise HandlerError(nexus_v1.HandlerError("BAD_REQUEST", nexus_v1.Failure("http: response body too large")))
    return Answer(status, {name.lower(): value for name, value in response.headers.items()}, body)


def started(answer: Answer) -> nexus_v1.StartOperationResponse:
    """What a handler said to a start.

    Raises:
        HandlerError: it refused.
    """
    links = from_links(answer.header.get("nexus-link", ""))
    if answer.status == 200:
        payload = from_content(answer.header, answer.body)
        return nexus_v1.StartOperationResponse(nexus_v1.StartOperationResponseSync(payload, links))
    if answer.status == 201:
        try:
            info = msgspec.json.decode(answer.body)
        except msgspec.DecodeError:
            info = None
        if not isinstance(info, dict):
            info = {}
        token = info.get("token") or info.get("id")
        if isinstance(token, str) and info.get("state") == "running":
            return nexus_v1.StartOperationResponse(
                async_success=nexus_v1.StartOperationResponseAsync(token, links, token)
            )
        raise HandlerError(nexus_v1.HandlerError("INTERNAL", nexus_v1.Failure("the answer names no running operation")))
    state = answer.header.get("nexus-operation-state", "")
    if answer.status == _UNSUCCESSFUL and state in ("failed", "canceled"):
        failure = from_failure(answer.header, answer.body)
        return nexus_v1.StartOperationResponse(operation_error=nexus_v1.UnsuccessfulOperationError(state, failure))
    raise refusal(answer)


def refusal(answer: Answer) -> HandlerError:
    """The error for an answer that is no success."""
    failure = from_failure(answer.header, answer.body)
    kind = _ERRORS.get(answer.status)
    if kind is None:
        kind = "INTERNAL"
        failure = failure or nexus_v1.Failure(f"unexpected response status: {answer.status}")
    retry = _RETRIES.get(answer.header.get("nexus-request-retryable", "").lower(), 0)
    return HandlerError(nexus_v1.HandlerError(kind, failure, retry))
