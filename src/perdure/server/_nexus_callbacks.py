"""The HTTP side of Nexus operations that go on outside: handlers tell of their end here."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from perdure.engine import Engine
from perdure.engine.external_endpoints import status_of
from perdure.engine.nexus_http import MAX_BODY
from perdure.service import RPCError

_Message = MutableMapping[str, Any]


class NexusCallbacks:
    """An ASGI application that takes completion requests for an engine, whatever their path.

    Serve it, with any ASGI server, at the URL that :meth:`perdure.engine.Engine.open` was given as ``nexus_callback_url``.
    Requests prove themselves by the token the handler was given, so they need no other credentials.
    """

    def __init__(self, engine: Engine) -> None:
        """Take completions for ``engine``."""
        self._engine = engine

    async def __call__(
        self,
        scope: _Message,
        receive: Callable[[], Awaitable[_Message]],
        send: Callable[[_Message], Awaitable[None]],
    ) -> None:
        """Answer one request: 200 when what the operation came to is durable, else why not."""
        if scope["type"] != "http":
            raise ValueError(f"NexusCallbacks serves http, not {scope['type']}")
        status, text = 405, "completions are POST requests"
        if scope["method"] == "POST":
            body = await _body(receive)
            status, text = (413, "the request is too large") if body is None else await self._take(scope, body)
        content = b"" if status == 200 else json.dumps({"message": text}).encode()
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(content)).encode())]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": content})

    async def _take(self, scope: _Message, body: bytes) -> tuple[int, str]:
        header = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        try:
            await self._engine.complete_nexus_operation(header, body)
        except RPCError as error:
            return status_of(error), error.message
        return 200, ""


async def _body(receive: Callable[[], Awaitable[_Message]]) -> bytes | None:
    """The whole body of a request, None when it is too large."""
    parts: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        part: bytes = message.get("body", b"")
        size += len(part)
        if size > MAX_BODY:
            return None
        parts.append(part)
        if not message.get("more_body"):
            return b"".join(parts)
