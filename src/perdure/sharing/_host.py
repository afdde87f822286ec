"""The owner's side: a Unix socket in the store's folder.

Most owners never have a guest, so what a guest needs is loaded when the first one comes.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import sys
from collections.abc import Coroutine, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from perdure.sharing._connection import Connection

SOCKET_NAME = "socket"
_BACKLOG = 512


@contextlib.contextmanager
def socket_path(folder: Path) -> Iterator[str]:
    """The socket's path in a form that fits into an address, which has room for about a hundred bytes."""
    path = str(folder / SOCKET_NAME)
    if len(os.fsencode(path)) < 100 or not sys.platform.startswith("linux"):
        yield path
        return
    descriptor = os.open(folder, os.O_PATH | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{descriptor}/{SOCKET_NAME}"
    finally:
        os.close(descriptor)


def is_shareable(folder: Path) -> bool:
    """Whether a socket in this folder can be reached."""
    with socket_path(folder) as path:
        return len(os.fsencode(path)) < 100


class Host:
    """Serves an engine to the other processes that open its folder. Made by :meth:`open`."""

    def __init__(self, service: Any, folder: Path, durability: str) -> None:
        self.service = service
        self.durability = durability
        self._folder = folder
        self._pid = os.getpid()
        self._server: asyncio.Server | None = None
        self._guests: set[Connection] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    @classmethod
    async def open(cls, service: Any, folder: Path, durability: str) -> Host:
        """Listen in a folder that this process owns; whatever socket an earlier owner left there is replaced.

        ``service`` is the engine as processes beyond this one see it; it stays open when the host is closed.
        """
        host = cls(service, folder, durability)
        listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            with socket_path(folder) as path:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(path)
                listening.bind(path)
                os.chmod(path, 0o600)
            listening.setblocking(False)
            host._server = await asyncio.get_running_loop().create_unix_server(
                host._connected, sock=listening, backlog=_BACKLOG
            )
        except BaseException:
            listening.close()
            raise
        return host

    def _connected(self) -> Connection:
        from perdure.sharing._connection import Connection

        return Connection(self)

    def spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run work until it ends or the host closes."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def joined(self, guest: Connection) -> None:
        """A guest is served from now on."""
        self._guests.add(guest)

    def left(self, guest: Connection) -> None:
        """A guest hung up."""
        self._guests.discard(guest)

    async def close(self) -> None:
        """Stop listening and hang up. The guests find the next owner, and repeat there what was not answered."""
        server, self._server = self._server, None
        if server is None:
            return
        if os.getpid() != self._pid:
            return  # a forked child; the socket is its parent's
        server.close()
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._folder / SOCKET_NAME)
        for guest in list(self._guests):
            guest.hang_up()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
