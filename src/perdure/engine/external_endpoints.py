"""Calls of Nexus endpoints that lead to URLs: Nexus over HTTP, and what comes back later as a completion.

A call is made in a thread of its own and is owed, as a transfer, until it was answered: after a crash it is made again with
the same request id. An operation that goes on is told of its end at ``callback_url``, whose receiver hands the request to
:meth:`ExternalEndpoints.complete`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from perdure.api.nexus import links as nexus_links
from perdure.api.nexus import v1 as nexus_v1
from perdure.engine import nexus_failures, nexus_http
from perdure.engine.core import Core
from perdure.engine.errors import invalid_argument
from perdure.engine.ids import decode_nexus_completion
from perdure.engine.nexus_http import HandlerError
from perdure.engine.nexus_operations import NexusOperations
from perdure.engine.nexus_state import by_transfer
from perdure.engine.run import Run
from perdure.service import RPCError

CALLBACK_TOKEN = "temporal-callback-token"
_NOBODY_HEARS = (
    "the handler goes on with the operation, but could tell nobody of its end: this service was not given the URL at which "
    "it is told (nexus_callback_url)"
)


class ExternalEndpoints:
    """Calls handlers outside the service."""

    def __init__(self, core: Core, operations: NexusOperations) -> None:
        self._core = core
        self._operations = operations
        #: Where handlers send completions; empty: nowhere.
        self.callback_url = ""
        self._under_way: set[tuple[str, int]] = set()

    def is_calling(self) -> bool:
        """Whether a call is under way."""
        return bool(self._under_way)

    async def call(self, run: Run, transfer_id: int, url: str, request: nexus_v1.Request, timeout_ns: int) -> None:
        """Make the call that a transfer owes, once at a time."""
        name = (run.key.run_id, transfer_id)
        if name in self._under_way:
            return
        self._under_way.add(name)
        try:
            await self._call(run, transfer_id, url, request, timeout_ns / 1e9)
        finally:
            self._under_way.discard(name)

    async def _call(self, run: Run, transfer_id: int, url: str, request: nexus_v1.Request, seconds: float) -> None:
        start = request.start_operation
        response: nexus_v1.StartOperationResponse | None = None
        error: nexus_v1.HandlerError | None = None
        if start is not None:
            start.callback = self.callback_url
        try:
            if start is None:
                answer = await asyncio.to_thread(nexus_http.ask, nexus_http.cancel_request(url, request), seconds)
                if answer.status != 202:
                    raise nexus_http.refusal(answer)
            else:
                answer = await asyncio.to_thread(nexus_http.ask, nexus_http.start_request(url, request), seconds)
                response = nexus_http.started(answer)
                if response.async_success is not None and not self.callback_url:
                    raise HandlerError(nexus_v1.HandlerError("NOT_IMPLEMENTED", nexus_v1.Failure(_NOBODY_HEARS)))
        except HandlerError as refused:
            error = refused.error
        current = await self._core.load(run.key)
        found = None if current is None else by_transfer(current.state, transfer_id)
        if current is None or found is None or not current.is_open:
            return
        scheduled_id, operation, cancel = found
        if error is not None:
            self._operations.call_failed(current, transfer_id, nexus_failures.from_handler_error(error))
        elif cancel is not None:
            self._operations.cancel_succeeded(current, scheduled_id, cancel)
        elif response is not None:
            self._operations.answered(current, scheduled_id, operation, response)

    async def complete(self, header: Mapping[str, str], body: bytes) -> None:
        """Take a completion request, as its HTTP headers (in lower case) and its body. Safe to repeat.

        Raises:
            RPCError: INVALID_ARGUMENT, the request is none; NOT_FOUND, the operation is not pending any more.
        """
        token = decode_nexus_completion(header.get(CALLBACK_TOKEN, ""))
        state = header.get("nexus-operation-state", "")
        operation_token = header.get("nexus-operation-token", "")
        links = nexus_links.all_from_nexus(nexus_http.from_links(header.get("nexus-link", "")))
        result = failure = None
        if state == "succeeded":
            try:
                result = nexus_http.from_content(header, body)
            except ValueError:
                raise invalid_argument("the body is no payload of Temporal's") from None
        elif state in ("failed", "canceled"):
            stated = nexus_http.from_failure(header, body)
            if stated is None:
                raise invalid_argument("failed to decode Failure from request body")
            failure = nexus_failures.from_nexus(stated)
            if state == "canceled":
                failure = nexus_failures.as_canceled(failure)
        else:
            raise invalid_argument(f"invalid request operation state: {state!r}")
        caller = await self._operations.complete(token, operation_token, result, failure, links)
        await self._core.durable(caller)


def status_of(error: RPCError) -> int:
    """The HTTP status of an answer to a completion request that was refused."""
    return {3: 400, 5: 404}.get(int(error.status), 503)
