"""Endpoints that lead to URLs: Nexus over HTTP, called by workflows, answered at once or later."""

from __future__ import annotations

import asyncio
import http.server
import json
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from perdure.api.common.v1 import Payload
from perdure.api.nexus import v1 as nexus_v1
from perdure.api.operatorservice import v1 as operatorservice_v1
from perdure.engine import nexus_http
from perdure.server import NexusCallbacks
from perdure.store.api import Store
from tests.engine.driver import name
from tests.nexus.driver import NexusDriver, call, cancel_call, driving, payload

CALLBACK = "http://perdure.test/nexus"


class Handler:
    """A Nexus handler elsewhere: answers as it is told, remembers what it was asked."""

    def __init__(self) -> None:
        self.answers: list[tuple[int, dict[str, str], bytes]] = []
        self.asked: list[tuple[str, dict[str, str], bytes]] = []
        handler = self

        class Requests(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
                handler.asked.append((self.path, {key.lower(): value for key, value in self.headers.items()}, body))
                status, header, content = handler.answers.pop(0)
                self.send_response(status)
                for key, value in header.items():
                    self.send_header(key, value)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Requests)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/base/"

    def answer(self, status: int, content: Any = None, **header: str) -> None:
        body = b"" if content is None else json.dumps(content).encode()
        header = {name.replace("_", "-"): value for name, value in header.items()}
        self.answers.append((status, {"Content-Type": "application/json", **header} if body else header, body))

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@pytest.fixture
def handler() -> Iterator[Handler]:
    handler = Handler()
    yield handler
    handler.close()


async def _endpoint(d: NexusDriver, url: str) -> None:
    target = nexus_v1.EndpointTarget(external=nexus_v1.EndpointTargetExternal(url))
    await d.engine.create_nexus_endpoint(
        operatorservice_v1.CreateNexusEndpointRequest(nexus_v1.EndpointSpec("out", target=target))
    )


@pytest.fixture
async def d(open_store: Callable[[], Awaitable[Store]], handler: Handler) -> AsyncIterator[NexusDriver]:
    """An engine with the endpoint ``out``, which is told of completions."""
    async with driving(await open_store(), nexus_callback_url=CALLBACK) as driver:
        await _endpoint(driver, handler.url)
        yield driver


async def ending(d: NexusDriver, kind: str) -> Any:
    """The newest event once it is of a kind; a handler is another thread, which nothing here can settle."""
    while True:
        found = [event for event in await d.history() if name(event) == kind]
        if found:
            return found[-1]
        await asyncio.sleep(0.005)


async def failed_attempt(d: NexusDriver) -> Any:
    """The pending operation once an attempt has failed."""
    while True:
        [pending] = await d.pending()
        if pending.attempt and pending.last_attempt_failure is not None:
            return pending
        await asyncio.sleep(0.005)


async def started(d: NexusDriver, handler: Handler) -> dict[str, str]:
    """An operation that the handler has taken up; the headers of the request."""
    handler.answer(201, {"token": "t-1", "state": "running"})
    await d.start()
    await d.turn(call(endpoint="out"))
    await ending(d, "NexusOperationStarted")
    return handler.asked[0][1]


async def complete(d: NexusDriver, header: dict[str, str], body: bytes = b"", method: str = "POST") -> int:
    """The status of a completion request's answer."""
    sent: list[Any] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body}

    async def send(message: Any) -> None:
        sent.append(message)

    headers = [(key.encode(), value.encode()) for key, value in header.items()]
    await NexusCallbacks(d.engine)({"type": "http", "method": method, "headers": headers}, receive, send)
    status: int = sent[0]["status"]
    return status


async def test_an_operation_is_done_at_once(d: NexusDriver, handler: Handler) -> None:
    handler.answer(200, {"a": 1}, Nexus_Link='<temporal:///namespaces/x>; type="other"')
    await d.start()
    await d.turn(call("my op", endpoint="out", nexus_header={"mine": "1"}))
    event = await ending(d, "NexusOperationCompleted")
    assert event.attributes.result == payload(b'{"a": 1}')
    [(path, header, body)] = handler.asked
    assert urlsplit(path).path == "/base/s/my%20op"
    assert parse_qs(urlsplit(path).query) == {"callback": [CALLBACK]}
    assert (body, header["content-type"], header["mine"]) == (b"1", "application/json", "1")
    assert header["nexus-request-id"] and header["nexus-callback-temporal-callback-token"]
    assert header["request-timeout"] == "10000ms"
    assert 'type="temporal.api.common.v1.Link.WorkflowEvent"' in header["nexus-link"]


@pytest.mark.parametrize(
    ("state", "kind"), [("failed", "NexusOperationFailed"), ("canceled", "NexusOperationCanceled")]
)
async def test_an_operation_fails_at_once(d: NexusDriver, handler: Handler, state: str, kind: str) -> None:
    handler.answer(424, {"message": "no tea"}, Nexus_Operation_State=state)
    await d.start()
    await d.turn(call(endpoint="out"))
    assert (await ending(d, kind)).attributes.failure.cause.message == "no tea"


async def test_a_refusal_is_final_or_tried_again(d: NexusDriver, handler: Handler) -> None:
    handler.answer(503, {"message": "busy"})
    handler.answer(418)
    handler.answer(404, {"message": "gone"})
    await d.start()
    await d.turn(call(endpoint="out"))
    pending = await failed_attempt(d)
    assert pending.last_attempt_failure.nexus_handler_failure_info.type == "UNAVAILABLE"
    while await d.pending():  # the clock moves on until the third call was answered
        await d.advance(1)
        await asyncio.sleep(0.005)
    cause = (await ending(d, "NexusOperationFailed")).attributes.failure.cause
    assert (cause.nexus_handler_failure_info.type, cause.cause.message) == ("NOT_FOUND", "gone")
    assert len({header["nexus-request-id"] for _, header, _ in handler.asked}) == 1


async def test_a_handler_that_is_not_there_is_called_again(d: NexusDriver, handler: Handler) -> None:
    handler.close()
    await d.start()
    await d.turn(call(endpoint="out"))
    pending = await failed_attempt(d)
    assert pending.last_attempt_failure.nexus_handler_failure_info.type == "UNAVAILABLE"
    handler.__init__()  # type: ignore[misc]  # what the fixture closes


async def test_an_operation_that_goes_on_ends_with_a_completion(d: NexusDriver, handler: Handler) -> None:
    header = await started(d, handler)
    token = header["nexus-callback-temporal-callback-token"]
    completion = {"temporal-callback-token": token, "nexus-operation-state": "succeeded"}
    assert await complete(d, completion, method="GET") == 405
    assert await complete(d, {**completion, "nexus-operation-state": "running"}) == 400
    assert await complete(d, {**completion, "temporal-callback-token": "?"}) == 400
    assert await complete(d, {**completion, "nexus-operation-state": "failed"}) == 400
    assert await complete(d, {**completion, "content-type": "application/json"}, b"9") == 200
    assert (await ending(d, "NexusOperationCompleted")).attributes.result == payload(b"9")
    assert await complete(d, {**completion, "content-type": "application/json"}, b"9") == 404


@pytest.mark.parametrize(
    ("state", "kind"), [("failed", "NexusOperationFailed"), ("canceled", "NexusOperationCanceled")]
)
async def test_an_operation_that_goes_on_ends_badly(d: NexusDriver, handler: Handler, state: str, kind: str) -> None:
    header = await started(d, handler)
    completion = {
        "temporal-callback-token": header["nexus-callback-temporal-callback-token"],
        "nexus-operation-state": state,
        "content-type": "application/json",
    }
    assert await complete(d, completion, b'{"message": "burnt"}') == 200
    assert (await ending(d, kind)).attributes.failure.cause.message == "burnt"


async def test_an_operation_is_cancelled(d: NexusDriver, handler: Handler) -> None:
    await started(d, handler)
    scheduled = next(event.event_id for event in await d.history() if name(event) == "NexusOperationScheduled")
    handler.answer(202)
    await d.turn(cancel_call(scheduled))
    await ending(d, "NexusOperationCancelRequestCompleted")
    path, header, _ = handler.asked[1]
    assert (path, header["nexus-operation-token"]) == ("/base/s/op/cancel", "t-1")


async def test_without_a_callback_url_an_operation_cannot_go_on(
    open_store: Callable[[], Awaitable[Store]], handler: Handler
) -> None:
    async with driving(await open_store()) as d:
        await _endpoint(d, handler.url)
        handler.answer(201, {"token": "t", "state": "running"})
        await d.start()
        await d.turn(call(endpoint="out"))
        cause = (await ending(d, "NexusOperationFailed")).attributes.failure.cause
        assert cause.nexus_handler_failure_info.type == "NOT_IMPLEMENTED"
        assert "nexus_callback_url" in cause.cause.message
        assert urlsplit(handler.asked[0][0]).query == ""


@pytest.mark.parametrize(
    "value",
    [
        Payload({"encoding": b"json/plain"}, b"1"),
        Payload({"encoding": b"binary/plain"}, b"\x00"),
        Payload({"encoding": b"binary/null"}),
        Payload({"encoding": b"json/protobuf", "messageType": b"a.B"}, b"{}"),
        Payload({"encoding": b"binary/protobuf", "messageType": b"a.B"}, b"\x00"),
        Payload({"encoding": b"json/plain", "more": b"1"}, b"1"),
        Payload({"encoding": b"other"}, b"1"),
        Payload({}, b"1"),
    ],
)
def test_payloads_are_contents_and_back(value: Payload) -> None:
    header: dict[str, str] = {}
    body = nexus_http.to_content(value, header)
    assert nexus_http.from_content({key.lower(): text for key, text in header.items()}, body) == value


def test_contents_of_other_types_are_kept() -> None:
    found = nexus_http.from_content({"content-type": "text/plain; charset=utf-8"}, b"x")
    assert found.metadata == {"encoding": b"unknown/nexus-content", "type": b"text/plain; charset=utf-8"}
    with pytest.raises(nexus_http.HandlerError):
        nexus_http.started(nexus_http.Answer(201, {}, b"not json"))
    assert nexus_http.from_failure({"content-type": "application/json"}, b"[]") is None
    assert nexus_http.from_failure({"content-type": "application/json"}, b"{") is None
    nested = nexus_http.from_failure(
        {"content-type": "application/json"},
        b'{"message":"a","metadata":{"type":"t"},"details":{"b":1},"cause":{"message":"c"}}',
    )
    assert nested is not None and nested.cause is not None
    assert (nested.message, nested.metadata, nested.details, nested.cause.message) == (
        "a",
        {"type": "t"},
        b'{"b":1}',
        "c",
    )
