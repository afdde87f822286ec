"""One guest at its host: a task for each call.

A guest that hangs up is a process that died, or one that closed. What its workers held is lost with it: their workflow
tasks go out again and their activity attempts have failed, at once, as after a crash of the owner itself.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Iterator
from datetime import timedelta
from typing import TYPE_CHECKING

import msgspec

import perdure
from perdure.api._message import Message
from perdure.api.enums.v1 import TaskQueueKind
from perdure.api.workflowservice import v1 as ws
from perdure.service import RPCError, RPCStatusCode
from perdure.service._packing import decode, encode, encode_error
from perdure.sharing._frames import METHODS, Buffer, Frame, Hello, Kind, decode_call, pack

if TYPE_CHECKING:
    from perdure.sharing._host import Host

logger = logging.getLogger("perdure.sharing")

_ENDS_TASK = frozenset(
    (
        "respond_workflow_task_completed",
        "respond_workflow_task_failed",
        "respond_query_task_completed",
        "respond_activity_task_completed",
        "respond_activity_task_failed",
        "respond_activity_task_canceled",
    )
)
_INTERNAL = RPCError("The owner of the store failed to handle the request; its log says why.", RPCStatusCode.INTERNAL)


class Connection(asyncio.Protocol):
    """One guest."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._transport: asyncio.Transport
        self._buffer = Buffer()
        self._is_known = False
        self._pid = 0
        #: Calls under way.
        self._calls: dict[int, asyncio.Task[None]] = {}
        #: Tokens of the tasks that the guest's workers hold, and the sticky queues they poll: (namespace, name).
        self._held: set[bytes] = set()
        self._sticky_queues: set[tuple[str, str]] = set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]  # a stream's transport reads and writes
        self._host.joined(self)

    def connection_lost(self, exc: Exception | None) -> None:
        host = self._host
        host.left(self)
        for task in self._calls.values():
            task.cancel()
        if self._held or self._sticky_queues:
            logger.info("guest %d left, with %d tasks: they go out again", self._pid, len(self._held))
            host.spawn(self._let_go())

    async def _let_go(self) -> None:
        """What the guest's workers had is others' now."""
        service = self._host.service
        for namespace, queue in self._sticky_queues:
            try:
                await service.shutdown_worker(
                    ws.ShutdownWorkerRequest(namespace=namespace, sticky_task_queue=queue, reason="its process ended")
                )
            except RPCError as error:
                logger.warning("tasks of the sticky queue %s wait until they time out: %s", queue, error)
        for token in self._held:
            try:
                await service.holder_died(token)
            except RPCError as error:
                logger.warning("a task of guest %d comes back only when it times out: %s", self._pid, error)

    def hang_up(self) -> None:
        """Serve this guest no longer; its tasks stay its own, for the next owner to take answers for."""
        self._held.clear()
        self._sticky_queues.clear()
        self._transport.abort()

    def pause_writing(self) -> None:
        self._transport.pause_reading()  # a guest that does not read its answers asks for no more

    def resume_writing(self) -> None:
        self._transport.resume_reading()

    def data_received(self, data: bytes) -> None:
        try:
            for frame in self._buffer.feed(data):
                self._take(frame)
        except (ValueError, msgspec.MsgspecError) as error:
            logger.warning("hung up on a guest that sent what is no frame: %s", error)
            self._transport.abort()

    def _take(self, frame: Frame) -> None:
        kind, call, method, body = frame
        if not self._is_known:
            self._greet(kind, body)
        elif kind == Kind.CALL:
            self._calls[call] = self._host.spawn(self._answer(call, method, body))
        elif kind == Kind.CANCEL:
            task = self._calls.get(call)
            if task is not None:
                task.cancel()
        elif kind == Kind.GIVE_BACK:
            self._host.spawn(self._take_back(method, body))
        elif kind == Kind.DETACH:
            self._held.discard(body)

    def _greet(self, kind: int, body: bytes) -> None:
        if kind != Kind.HELLO:
            raise ValueError("the first frame is no greeting")
        hello: Hello = decode(Hello, body)
        host = self._host
        refusal = ""
        if hello.version != perdure.__version__:
            refusal = (
                f"the store's owner, process {os.getpid()}, runs perdure {perdure.__version__}, this process "
                f"{hello.version}: run the same version in both, or stop one of them"
            )
        elif hello.durability != host.durability:
            refusal = (
                f"the store's owner, process {os.getpid()}, has it open with durability={host.durability!r}; "
                f"it cannot be opened with {hello.durability!r} at the same time"
            )
        if refusal:
            self._transport.write(pack(Kind.REFUSED, body=refusal.encode()))
            self._transport.close()
            return
        self._is_known = True
        self._pid = hello.pid
        self._transport.write(pack(Kind.HELLO, body=encode(Hello(os.getpid(), durability=host.durability))))

    async def _answer(self, call: int, method: int, body: bytes) -> None:
        rpc = METHODS[method]
        try:
            request, timeout_ns = decode_call(rpc, body)
            function = getattr(self._host.service, rpc.attribute, None)
            if function is None:
                raise RPCError(f"unknown method {rpc.attribute}", RPCStatusCode.UNIMPLEMENTED)
            if isinstance(request, ws.PollWorkflowTaskQueueRequest):
                self._note_queue(request)
            response = await function(
                request, timeout=timedelta(microseconds=timeout_ns / 1000) if timeout_ns else None
            )
            if rpc.attribute in _ENDS_TASK:
                self._held.discard(request.task_token)  # type: ignore[attr-defined]  # all of these have one
            frame = pack(Kind.ANSWER, call, method, encode(response))
            self._held.update(_tokens(response))
        except RPCError as error:
            frame = pack(Kind.ERROR, call, method, encode_error(error))
        except asyncio.CancelledError:
            self._calls.pop(call, None)
            raise
        except Exception:
            logger.exception("%s failed", rpc.attribute)
            frame = pack(Kind.ERROR, call, method, encode_error(_INTERNAL))
        self._calls.pop(call, None)
        self._transport.write(frame)

    def _note_queue(self, request: ws.PollWorkflowTaskQueueRequest) -> None:
        queue = request.task_queue
        if queue is not None and queue.kind == TaskQueueKind.TASK_QUEUE_KIND_STICKY:
            self._sticky_queues.add((request.namespace, queue.name))

    async def _take_back(self, method: int, body: bytes) -> None:
        response = decode(METHODS[method].response, body)
        self._held.difference_update(_tokens(response))
        await self._host.service.give_back(response)


def _tokens(response: Message) -> Iterator[bytes]:
    """The tokens of the tasks that an answer carries."""
    if isinstance(response, ws.PollWorkflowTaskQueueResponse | ws.PollActivityTaskQueueResponse):
        if response.task_token:
            yield response.task_token
    elif isinstance(response, ws.RespondWorkflowTaskCompletedResponse):
        if response.workflow_task is not None:
            yield from _tokens(response.workflow_task)
        for task in response.activity_tasks:
            yield from _tokens(task)
    elif isinstance(response, ws.StartWorkflowExecutionResponse) and response.eager_workflow_task is not None:
        yield from _tokens(response.eager_workflow_task)
