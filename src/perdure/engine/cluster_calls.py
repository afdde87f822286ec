"""Calls that one node answers for another: requests and responses as messages in the store."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from datetime import timedelta
from typing import Any

import msgspec

from perdure.api.workflowservice import v1 as ws
from perdure.engine.cluster import NEWS, SLOW_POLL, Cluster
from perdure.engine.cluster_core import ClusterCore, StaleError
from perdure.engine.errors import deadline_exceeded
from perdure.service import RPCError, RPCStatusCode, _packing
from perdure.store.api import StoreError

logger = logging.getLogger("perdure.engine")

_CALL, _ANSWER = "call", "answer"
#: A node has a worker for a Nexus call that another one owes.
NEXUS_CALL = "nexus"
_LONGEST = 60.0

Method = Callable[..., Awaitable[Any]]


class _Call(msgspec.Struct, array_like=True):
    method: str
    request: msgspec.Raw
    timeout: float


class _Answer(msgspec.Struct, array_like=True):
    call_id: str
    #: Whether ``body`` is an error instead of the response.
    is_error: bool
    body: msgspec.Raw


def _name(method: str) -> str:
    return "".join(word.capitalize() for word in method.split("_"))


class Calls:
    """Asks other nodes, and answers them."""

    def __init__(self, core: ClusterCore, cluster: Cluster, local: dict[str, Method]) -> None:
        self._core = core
        self._cluster = cluster
        #: What this node answers with, by RPC.
        self._local = local
        self._waiting: dict[str, asyncio.Future[_Answer]] = {}
        self._is_taking = False
        self.on_nexus_call: Callable[[bytes], Coroutine[Any, Any, None]]
        cluster.on_message = self._message_is_there

    async def ask(self, node: int, method: str, request: Any, timeout: timedelta | None) -> Any:
        """The response of another node. A node that dies makes it :class:`StaleError`: ask again, another one."""
        core = self._core
        seconds = _LONGEST if timeout is None else min(timeout.total_seconds(), _LONGEST)
        body = msgspec.msgpack.encode(_Call(method, msgspec.Raw(_packing.encode(request)), seconds))
        call_id = await core.store.send(node, _CALL, body)
        future = self._waiting[call_id] = core.loop.create_future()
        self._cluster.tell(f"m{node}")
        end = core.loop.time() + seconds + 1
        try:
            while not future.done():
                if node not in core.live:
                    raise StaleError
                left = end - core.loop.time()
                if left <= 0:
                    raise deadline_exceeded(f"node {node} did not answer in time")
                await asyncio.wait([future], timeout=min(left, SLOW_POLL))
            answer = future.result()
        finally:
            del self._waiting[call_id]
        if answer.is_error:
            raise _packing.decode_error(answer.body)
        return _packing.decode(getattr(ws, _name(method) + "Response"), answer.body)

    def _message_is_there(self) -> None:
        if not self._is_taking and not self._core.is_closed:
            self._is_taking = True
            self._core.spawn(self._take())

    async def _take(self) -> None:
        try:
            for message in await self._core.store.take_messages():
                if message.kind == _CALL:
                    call = msgspec.msgpack.decode(message.body, type=_Call)
                    self._core.spawn(self._answer(message.id, message.sender, call))
                elif message.kind == NEWS:
                    for payload in message.body.decode().split("\n"):
                        self._cluster.hear(payload)
                elif message.kind == NEXUS_CALL:
                    self._core.spawn(self.on_nexus_call(message.body))
                elif message.kind == _ANSWER:
                    answer = msgspec.msgpack.decode(message.body, type=_Answer)
                    future = self._waiting.get(answer.call_id)
                    if future is not None and not future.done():
                        future.set_result(answer)
        except StoreError as error:
            logger.debug("messages could not be read: %s", error)
        finally:
            self._is_taking = False

    async def _answer(self, call_id: str, sender: int, call: _Call) -> None:
        try:
            request = _packing.decode(getattr(ws, _name(call.method) + "Request"), call.request)
            response = await self._local[call.method](request, timeout=timedelta(seconds=call.timeout))
            answer = _Answer(call_id, False, msgspec.Raw(_packing.encode(response)))
        except RPCError as error:
            answer = _Answer(call_id, True, msgspec.Raw(_packing.encode_error(error)))
        except Exception as error:
            logger.exception("a call of node %d failed", sender)
            failed = RPCError(str(error), RPCStatusCode.INTERNAL)
            answer = _Answer(call_id, True, msgspec.Raw(_packing.encode_error(failed)))
        try:
            await self._core.store.send(sender, _ANSWER, msgspec.msgpack.encode(answer))
        except StoreError as error:
            logger.debug("node %d got no answer: %s", sender, error)
            return
        self._cluster.tell(f"m{sender}")
