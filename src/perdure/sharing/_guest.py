"""A process that opened a folder somebody else owns: the seam over the owner's socket.

A call that the owner did not answer because it died or closed is made again at the next owner, which may be this
process: starts, signals and updates carry an id by which a repetition is known, answers to tasks are refused the second
time. So callers notice a change of owners as a call that took longer; of a termination or deletion that the old owner
carried out before it died they may hear that there is nothing left to end, as from a Temporal server.
"""

from __future__ import annotations

import asyncio
import logging
import os
import threading
from collections.abc import Awaitable, Callable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any, Protocol

import msgspec

from perdure.api._message import Message
from perdure.service import RPCError, RPCStatusCode, ServiceClosedError
from perdure.service._loops import refuse_loop
from perdure.service._packing import decode, decode_error, encode
from perdure.sharing._frames import METHODS, Buffer, Frame, Hello, Kind, encode_call, pack
from perdure.sharing._host import socket_path

logger = logging.getLogger("perdure.sharing")

#: How long an owner may take to answer a greeting, and how long there may be none that does.
GREETING_SECONDS = 5.0
PATIENCE_SECONDS = 30.0
_FIRST_PAUSE, _LONGEST_PAUSE = 0.01, 0.25


class Owned(Protocol):
    """The engine over a store that this process took over, itself a host."""

    @property
    def guests(self) -> Any:
        """The engine as guests see it."""
        ...

    async def close(self) -> None:
        """Close the engine, and stop serving it."""
        ...


class NoOwnerError(Exception):
    """Nobody answers at the socket."""


class RefusedError(RuntimeError):
    """The owner does not serve this process; the message says why."""


class Guest:
    """The home in a folder that another process owns. Belongs to the event loop it was made on.

    Args:
        folder: The store's folder.
        durability: As this process asked for it; the owner refuses another one than its own.
        take_over: Opens the store here and serves it, or raises ``owned_error`` because another process has it.
        owned_error: That error.
    """

    in_process = False

    def __init__(
        self,
        folder: Path,
        durability: str,
        take_over: Callable[[], Awaitable[Owned]],
        owned_error: type[Exception],
    ) -> None:
        self._folder = folder
        self._durability = durability
        self._take_over = take_over
        self._owned_error = owned_error
        self._loop = asyncio.get_running_loop()
        self._pid = os.getpid()
        self._thread_id = threading.get_ident()
        self._is_closed = False
        self._reaching: asyncio.Future[None] | None = None
        self._link: _Link | None = None
        self._owned: Owned | None = None
        for index, method in enumerate(METHODS):
            setattr(self, method.attribute, self._caller(index, method.attribute))

    async def connect(self, patience: float = PATIENCE_SECONDS) -> None:
        """Find the owner, or become it.

        Raises:
            RefusedError: the owner does not serve this process.
            NoOwnerError: nobody answered within ``patience`` seconds, yet somebody has the folder.
        """
        deadline = self._loop.time() + patience
        pause = _FIRST_PAUSE
        while True:
            try:
                self._link = await _greet(self._folder, self._durability)
                return
            except NoOwnerError as error:
                nobody = error
            try:
                self._owned = await self._take_over()
            except self._owned_error as error:
                if self._loop.time() >= deadline:
                    raise NoOwnerError(str(error)) from nobody
            else:
                logger.info("took over the store in %s", self._folder)
                return
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)

    def _caller(self, index: int, name: str) -> Callable[..., Awaitable[Any]]:
        async def rpc(
            request: Message,
            *,
            metadata: Mapping[str, str | bytes] | None = None,
            timeout: timedelta | None = None,
        ) -> Any:
            if timeout is None:
                return await self._call(index, name, request, None)
            try:
                async with asyncio.timeout(timeout.total_seconds()):
                    return await self._call(index, name, request, timeout)
            except TimeoutError:
                raise RPCError("context deadline exceeded", RPCStatusCode.DEADLINE_EXCEEDED) from None

        return rpc

    async def _call(self, index: int, name: str, request: Message, timeout: timedelta | None) -> Any:
        self._check()
        while True:
            owned, link = self._owned, self._link
            if owned is not None:
                return await getattr(owned.guests, name)(request, timeout=timeout)
            if link is None or link.is_lost:
                await self._reach()
                continue
            try:
                return await link.call(index, request, timeout)
            except NoOwnerError:
                if self._is_closed:
                    raise ServiceClosedError from None

    async def _reach(self) -> None:
        """Find the next owner, once for all calls that look for it."""
        while self._reaching is not None:
            await asyncio.shield(self._reaching)
            if self._owned is not None or (self._link is not None and not self._link.is_lost):
                return
        if self._is_closed:
            raise ServiceClosedError
        self._link = None
        reaching = self._reaching = asyncio.ensure_future(self.connect())
        reaching.add_done_callback(self._reached)
        try:
            await asyncio.shield(reaching)
        except (NoOwnerError, RefusedError, RuntimeError) as error:
            raise RPCError(f"{error}. It is safe to try again.", RPCStatusCode.UNAVAILABLE) from None

    def _reached(self, reaching: asyncio.Future[None]) -> None:
        self._reaching = None
        if not reaching.cancelled():
            reaching.exception()

    def _check(self) -> None:
        if self._is_closed:
            raise ServiceClosedError
        if os.getpid() != self._pid:
            raise RPCError(
                "The connection belongs to the process that forked this one: connect again in this process.",
                RPCStatusCode.UNAVAILABLE,
            )
        if asyncio._get_running_loop() is not self._loop:
            refuse_loop(self._thread_id)

    async def detach_activity_task(self, task_token: bytes) -> None:
        """The attempt goes on outside this process and does not end with it."""
        if self._link is not None and not self._link.is_lost:
            self._link.send(pack(Kind.DETACH, body=task_token))

    async def close(self) -> None:
        """Hang up; a store that was taken over is closed. Safe to repeat."""
        self._is_closed = True
        reaching, self._reaching = self._reaching, None
        if reaching is not None:
            reaching.cancel()
            await asyncio.gather(reaching, return_exceptions=True)
        link, self._link = self._link, None
        if link is not None:
            link.close()
        owned, self._owned = self._owned, None
        if owned is not None:
            await owned.close()


async def _greet(folder: Path, durability: str) -> _Link:
    link = _Link()
    try:
        async with asyncio.timeout(GREETING_SECONDS):
            with socket_path(folder) as path:
                await asyncio.get_running_loop().create_unix_connection(lambda: link, path)
            link.send(pack(Kind.HELLO, body=encode(Hello(os.getpid(), durability=durability))))
            await link.greeted
    except (OSError, TimeoutError, msgspec.MsgspecError) as error:
        link.close()
        raise NoOwnerError(str(error)) from error
    except BaseException:
        link.close()
        raise
    return link


class _Link(asyncio.Protocol):
    """One connection to the owner."""

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._buffer = Buffer()
        self._calls: dict[int, asyncio.Future[Frame]] = {}
        self._last_call = 0
        self.greeted: asyncio.Future[None] = loop.create_future()
        self.is_lost = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]  # a stream's transport reads and writes

    def connection_lost(self, exc: Exception | None) -> None:
        self.is_lost = True
        gone = NoOwnerError("the owner of the store hung up")
        waiting, self._calls = self._calls, {}
        for answer in waiting.values():
            if not answer.done():
                answer.set_exception(gone)
        if not self.greeted.done():
            self.greeted.set_exception(gone)

    def data_received(self, data: bytes) -> None:
        try:
            for frame in self._buffer.feed(data):
                self._take(frame)
        except (ValueError, msgspec.MsgspecError) as error:
            logger.warning("hung up on the store's owner, which sent what is no frame: %s", error)
            self.close()

    def _take(self, frame: Frame) -> None:
        kind = frame.kind
        if kind in (Kind.ANSWER, Kind.ERROR):
            answer = self._calls.pop(frame.call, None)
            if answer is not None and not answer.done():
                answer.set_result(frame)
            elif kind == Kind.ANSWER:
                self.send(pack(Kind.GIVE_BACK, 0, frame.method, frame.body))
        elif not self.greeted.done():
            if kind == Kind.HELLO:
                decode(Hello, frame.body)
                self.greeted.set_result(None)
            elif kind == Kind.REFUSED:
                self.greeted.set_exception(RefusedError(frame.body.decode()))

    def send(self, frame: bytes) -> None:
        """Send a frame, unless the connection is lost."""
        if self._transport is not None and not self.is_lost:
            self._transport.write(frame)

    async def call(self, index: int, request: Message, timeout: timedelta | None) -> Any:
        """One RPC. Raises NoOwnerError when the connection is lost before its answer."""
        timeout_ns = 0 if timeout is None else max(int(timeout.total_seconds() * 1e9), 1)
        body = encode_call(request, timeout_ns)
        self._last_call = call = self._last_call % 0xFFFFFFFF + 1
        answer = self._calls[call] = asyncio.get_running_loop().create_future()
        self.send(pack(Kind.CALL, call, index, body))
        try:
            frame = await answer
        except asyncio.CancelledError:
            if self._calls.get(call) is answer:
                # Still under way. An answer that crosses this finds nobody, and goes back.
                del self._calls[call]
                self.send(pack(Kind.CANCEL, call))
            elif answer.done() and not answer.cancelled() and answer.exception() is None:
                self._give_back(answer.result())
            raise
        if frame.kind == Kind.ERROR:
            raise decode_error(frame.body)
        return decode(METHODS[index].response, frame.body)

    def _give_back(self, frame: Frame) -> None:
        if frame.kind == Kind.ANSWER:
            self.send(pack(Kind.GIVE_BACK, 0, frame.method, frame.body))

    def close(self) -> None:
        """Hang up."""
        self.is_lost = True
        if self._transport is not None:
            self._transport.abort()
