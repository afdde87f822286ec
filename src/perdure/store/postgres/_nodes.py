"""Who has the database: a row with a lease per process that opened it.

A process that cannot renew its lease in time may be taken for dead: others then take its place, and the database
refuses what it still tries to commit (``commit_1`` looks at the row). A process that died on this machine is
recognised by its pid at once.
"""

from __future__ import annotations

import datetime as dt
import os
import socket
import sys
from typing import Any

from perdure.store.api import StoreUnavailableError
from perdure.store.postgres._connections import Backoff, Connection, statement
from perdure.store.postgres._settings import Settings

#: The epochs this process holds, by schema and database: two stores of one process are told apart by them.
_held: set[tuple[str, int]] = set()


class Lease:
    """What this process holds of the database."""

    def __init__(self, settings: Settings, epoch: int) -> None:
        self.settings = settings
        self.epoch = epoch
        #: The connection that may commit, and the commit that went through it last.
        self.generation = 0
        self.number = 0
        _held.add((settings.place, epoch))

    @property
    def duration(self) -> dt.timedelta:
        """How long silence is taken for life."""
        return dt.timedelta(seconds=self.settings.lease)

    @classmethod
    async def take(cls, connection: Connection, settings: Settings, *, is_alone: bool) -> Lease:
        """Register this process under a new epoch.

        Args:
            is_alone: refuse when others have the database; else only when one has it alone.
        Raises:
            StoreUnavailableError: somebody else has it.
        """
        schema = settings.schema
        backoff = Backoff(settings.lease * 1.5)
        while True:
            async with connection.transaction():
                await connection.execute(f"LOCK TABLE {schema}.counter IN EXCLUSIVE MODE")
                rows = await connection.fetch(
                    f"SELECT epoch, host, pid, program, is_alone, lease_until > clock_timestamp() AS is_valid "
                    f"FROM {schema}.node ORDER BY epoch"
                )
                others = [row for row in rows if row["is_valid"] and not _is_dead(settings, row)]
                in_the_way = others if is_alone else [row for row in others if row["is_alone"]]
                if not in_the_way:
                    epoch = await connection.fetchval(
                        f"UPDATE {schema}.counter SET value = value + 1 WHERE name = 'epoch' RETURNING value"
                    )
                    if is_alone:
                        # Whoever was here is gone; what is left of it may not commit any more.
                        await connection.execute(f"DELETE FROM {schema}.node")
                    await connection.execute(
                        f"INSERT INTO {schema}.node (epoch, host, pid, program, is_alone, lease_until) "
                        "VALUES ($1, $2, $3, $4, $5, clock_timestamp() + $6)",
                        epoch,
                        socket.gethostname(),
                        os.getpid(),
                        _program(),
                        is_alone,
                        dt.timedelta(seconds=settings.lease),
                    )
                    return cls(settings, epoch)
            owner = in_the_way[0]
            is_ours = owner["host"] == socket.gethostname() and _is_running(owner["pid"])
            if is_ours or not await backoff.wait():
                raise StoreUnavailableError(
                    f"the store in {settings.place} is in use by process {owner['pid']} on {owner['host']} "
                    f"({owner['program']}): stop it, or choose another schema"
                )

    async def renew(self, connection: Connection) -> bool:
        """Say that this process lives; False when it was taken for dead."""
        done = await connection.fetchval(
            f"UPDATE {self.settings.schema}.node SET lease_until = clock_timestamp() + $2 WHERE epoch = $1 RETURNING 1",
            self.epoch,
            self.duration,
        )
        return done is not None

    async def next_generation(self, connection: Connection) -> int | None:
        """Make a connection the one that may commit; the number of the newest commit that was kept, None: fenced.

        Waits for a commit that an earlier connection has under way, and refuses one that it has not begun.
        """
        async with statement(connection, self.settings):
            row = await connection.fetchrow(
                f"UPDATE {self.settings.schema}.node SET generation = generation + 1, "
                "lease_until = clock_timestamp() + $2 WHERE epoch = $1 RETURNING generation, commit_number",
                self.epoch,
                self.duration,
            )
        if row is None:
            return None
        self.generation = row["generation"]
        return int(row["commit_number"])

    async def release(self, connection: Connection) -> None:
        """Give the database up."""
        self.forget()
        async with statement(connection, self.settings):
            await connection.execute(f"DELETE FROM {self.settings.schema}.node WHERE epoch = $1", self.epoch)

    def forget(self) -> None:
        """This process holds it no longer."""
        _held.discard((self.settings.place, self.epoch))


def _is_dead(settings: Settings, row: Any) -> bool:
    """Whether a node with a valid lease is known to be gone: it was on this machine, and its process is not."""
    if row["host"] != socket.gethostname():
        return False
    if row["pid"] == os.getpid():
        return (settings.place, row["epoch"]) not in _held
    return not _is_running(row["pid"])


def _is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def _program() -> str:
    return " ".join([sys.argv[0] or "python", *sys.argv[1:]])[:200].replace("\n", " ").replace("\0", "")


def _forget_all() -> None:
    _held.clear()


os.register_at_fork(after_in_child=_forget_all)
