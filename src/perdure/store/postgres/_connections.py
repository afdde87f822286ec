"""Connections to the database: opened when needed, replaced when they break, waited for when the database is away."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any, TypeAlias, TypeVar

from perdure.store.api import StoreClosedError, StoreCorruptError, StoreError, StoreUnavailableError
from perdure.store.postgres._settings import Settings

T = TypeVar("T")
#: The driver's connection; the driver tells no types.
Connection: TypeAlias = Any

_FIRST_DELAY = 0.02
_LAST_DELAY = 1.0
#: Classes of SQLSTATE after which another connection, a little later, may do: connections, resources for them,
#: transactions that were in each other's way, a server that starts or stops.
_PASSING = ("08", "40", "53300", "57P", "25P02")


def driver() -> Any:
    """The driver, which is only imported where a database is used.

    Raises:
        StoreUnavailableError: it is not installed.
    """
    try:
        import asyncpg
    except ImportError:
        raise StoreUnavailableError("a postgresql:// home needs the asyncpg package: pip install asyncpg") from None
    return asyncpg


def sqlstate(error: BaseException) -> str:
    """The five characters that say what the server refused; "" when it was not the server."""
    return str(getattr(error, "sqlstate", None) or "")


def is_passing(error: BaseException) -> bool:
    """Whether the same may succeed on another connection."""
    if isinstance(error, OSError | TimeoutError | EOFError):
        return True
    state = sqlstate(error)
    if state:
        return state.startswith(_PASSING)
    # The driver's own errors about connections that are closed, or closed under a call.
    return type(error).__name__ in ("InterfaceError", "InternalClientError", "ConnectionDoesNotExistError")


def store_error(error: BaseException, place: str, what: str) -> StoreError:
    """The store's error for one of the driver's or the server's."""
    state = sqlstate(error)
    text = f"cannot {what} {place}: {str(error).splitlines()[0] if str(error) else type(error).__name__}"
    if state in ("42P01", "3F000", "42883"):
        return StoreUnavailableError(f"{text}; make its tables with: perdure store migrate")
    if state.startswith(("XX001", "XX002")):
        return StoreCorruptError(text)
    return StoreUnavailableError(text)


class Backoff:
    """Waits longer from time to time, with a little chance in it, until a time is over."""

    def __init__(self, seconds: float) -> None:
        self._end = asyncio.get_running_loop().time() + seconds
        self._delay = _FIRST_DELAY

    async def wait(self) -> bool:
        """Wait; False when the time was over."""
        if asyncio.get_running_loop().time() >= self._end:
            return False
        await asyncio.sleep(self._delay * random.uniform(0.5, 1.0))
        self._delay = min(self._delay * 2, _LAST_DELAY)
        return True


async def open_connection(settings: Settings, dsn: str = "") -> Connection:
    """A new connection."""
    connection = await driver().connect(
        dsn or settings.dsn,
        timeout=settings.connect_timeout,
        command_timeout=settings.command_timeout,
        server_settings=settings.server_settings,
        statement_cache_size=0 if settings.is_pooled else 200,
    )
    try:
        if settings.session_settings:
            await connection.execute(
                "; ".join(f"SET {name} = {value}" for name, value in settings.session_settings.items())
            )
    except BaseException:
        connection.terminate()
        raise
    return connection


def statement(connection: Connection, settings: Settings) -> AbstractAsyncContextManager[Any]:
    """Around statements with parameters: they are prepared, and must be executed on the same connection of the server.

    A pooler of transactions gives each transaction another one.
    """
    return connection.transaction() if settings.is_pooled else contextlib.nullcontext()


async def first_connection(settings: Settings) -> Connection:
    """A connection to a database that nobody has reached yet: only one that starts or stops is waited for.

    Raises:
        StoreUnavailableError: it cannot be reached.
    """
    backoff = Backoff(settings.reconnect_timeout)
    while True:
        try:
            return await open_connection(settings)
        except StoreError:
            raise
        except Exception as error:
            if not sqlstate(error).startswith("57P") or not await backoff.wait():
                raise store_error(error, settings.place, "reach") from error


async def close_connection(connection: Connection | None) -> None:
    """Say goodbye, or hang up when that takes long."""
    if connection is None or connection.is_closed():
        return
    try:
        await connection.close(timeout=2)
    except Exception:
        connection.terminate()


class Connections:
    """Some connections for statements that may be repeated: reads above all."""

    def __init__(self, settings: Settings, dsn: str = "") -> None:
        self._settings = settings
        self._dsn = dsn
        self._idle: list[Connection] = []
        self._slots = asyncio.Semaphore(settings.pool_max)
        self._in_use: set[Connection] = set()
        self._is_closed = False

    async def fetch(self, sql: str, *arguments: Any) -> list[Any]:
        """The rows of a statement."""
        return await self.run(lambda connection: connection.fetch(sql, *arguments))

    async def fetchrow(self, sql: str, *arguments: Any) -> Any:
        """The first row of a statement, or None."""
        rows = await self.fetch(sql, *arguments)
        return rows[0] if rows else None

    async def run(self, work: Callable[[Connection], Awaitable[T]]) -> T:
        """Work on a connection, repeated on another one while the database is away.

        Raises:
            StoreUnavailableError: it did not come back in time, or refused.
            StoreClosedError: :meth:`close` was called.
        """
        backoff: Backoff | None = None
        async with self._slots:
            while True:
                if self._is_closed:
                    raise StoreClosedError(f"the store in {self._settings.place} is closed")
                connection: Connection | None = None
                try:
                    connection = self._take()
                    if connection is None:
                        connection = await open_connection(self._settings, self._dsn)
                    self._in_use.add(connection)
                    if self._settings.is_pooled:
                        assert connection is not None
                        async with connection.transaction():
                            result = await work(connection)
                    else:
                        result = await work(connection)
                except Exception as error:
                    if connection is not None and is_passing(error):
                        connection.terminate()
                    if self._is_closed:
                        raise StoreClosedError(f"the store in {self._settings.place} is closed") from None
                    if not is_passing(error):
                        raise store_error(error, self._settings.place, "read from") from error
                    # Idle ones are likely to be broken, too.
                    await self._drop_idle()
                    backoff = backoff or Backoff(self._settings.reconnect_timeout)
                    if not await backoff.wait():
                        raise store_error(error, self._settings.place, "reach") from error
                    continue
                except BaseException:
                    if connection is not None:
                        connection.terminate()  # cancelled in the middle of an answer
                    raise
                finally:
                    if connection is not None:
                        self._in_use.discard(connection)
                        if not connection.is_closed() and not self._is_closed:
                            self._idle.append(connection)
                return result

    def _take(self) -> Connection | None:
        while self._idle:
            connection = self._idle.pop()
            if not connection.is_closed():
                return connection
        return None

    async def _drop_idle(self) -> None:
        idle, self._idle = self._idle, []
        for connection in idle:
            connection.terminate()

    async def close(self) -> None:
        """Close every connection; calls under way fail."""
        self._is_closed = True
        idle, self._idle = self._idle, []
        for connection in list(self._in_use):
            connection.terminate()
        for connection in idle:
            await close_connection(connection)
