"""Making the tables and bringing them up to date: numbered SQL files, each in a transaction, one process at a time."""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable
from importlib import resources
from typing import NamedTuple, TypeVar

from perdure.store.api import StoreUnavailableError
from perdure.store.postgres._connections import Connection, close_connection, first_connection, statement, store_error
from perdure.store.postgres._settings import Settings

T = TypeVar("T")


class Migration(NamedTuple):
    """One file."""

    version: int
    name: str
    sql: str


class Status(NamedTuple):
    """Where a schema stands."""

    version: int
    """The newest migration that was applied; 0: there is no schema."""
    pending: list[Migration]
    """What this version of perdure would apply."""
    is_newer: bool
    """A newer perdure was here: this one may not use the schema."""


def migrations() -> list[Migration]:
    """Every migration of this version of perdure, in order."""
    found = []
    for entry in resources.files("perdure.store.postgres").joinpath("migrations").iterdir():
        number, _, name = entry.name.removesuffix(".sql").partition("_")
        if entry.name.endswith(".sql"):
            found.append(Migration(int(number), name, entry.read_text("utf-8")))
    return sorted(found)


async def schema_status(connection: Connection, settings: Settings) -> Status:
    """Which migrations a schema has and lacks."""
    version = 0
    exists = "SELECT 1 FROM pg_catalog.pg_tables WHERE schemaname = $1 AND tablename = 'schema_version'"
    if await connection.fetchval(exists, settings.schema) is not None:
        version = await connection.fetchval(f"SELECT coalesce(max(version), 0) FROM {settings.schema}.schema_version")
    known = migrations()
    return Status(version, [one for one in known if one.version > version], version > known[-1].version)


async def apply(connection: Connection, settings: Settings) -> list[Migration]:
    """Apply what is pending; several processes may try at once. Each migration is applied whole or not at all."""
    applied: list[Migration] = []
    while True:
        async with connection.transaction():
            await connection.execute("SELECT pg_advisory_xact_lock($1)", _lock(settings))
            status = await schema_status(connection, settings)
            if status.is_newer or not status.pending:
                return applied
            one = status.pending[0]
            if status.version == 0:
                await connection.execute(f"CREATE SCHEMA IF NOT EXISTS {settings.schema}")
                await connection.execute(
                    f"CREATE TABLE {settings.schema}.schema_version (version integer PRIMARY KEY, name text NOT NULL, "
                    "applied_at timestamptz NOT NULL DEFAULT now())"
                )
            sql = one.sql.replace("@schema@", settings.schema).replace("@partitions@", str(settings.partitions))
            await connection.execute(sql)
            await connection.execute(
                f"INSERT INTO {settings.schema}.schema_version (version, name) VALUES ($1, $2)", one.version, one.name
            )
            applied.append(one)


async def migrate(settings: Settings) -> list[Migration]:
    """Connect and apply what is pending; returns what was.

    Raises:
        StoreUnavailableError: no connection, or no permission.
    """
    return await _with_connection(settings, apply, "migrate")


async def read_status(settings: Settings) -> Status:
    """Connect and ask which migrations the schema has.

    Raises:
        StoreUnavailableError: no connection, or no permission.
    """

    async def read(connection: Connection, settings: Settings) -> Status:
        async with statement(connection, settings):
            return await schema_status(connection, settings)

    return await _with_connection(settings, read, "read from")


async def _with_connection(settings: Settings, work: Callable[[Connection, Settings], Awaitable[T]], what: str) -> T:
    connection = await first_connection(settings)
    try:
        return await work(connection, settings)
    except Exception as error:
        raise store_error(error, settings.place, what) from error
    finally:
        await close_connection(connection)


async def check(connection: Connection, settings: Settings) -> None:
    """See to it that the schema is of this version; make it so where the settings allow that.

    Raises:
        StoreUnavailableError: it is older and may not be changed, or newer.
    """
    async with statement(connection, settings):
        status = await schema_status(connection, settings)
    if status.pending and settings.migrate and not status.is_newer:
        await apply(connection, settings)
        async with statement(connection, settings):
            status = await schema_status(connection, settings)
    if status.is_newer:
        raise StoreUnavailableError(
            f"the store in {settings.place} is at version {status.version} of its tables, which a newer perdure made; "
            "use that one"
        )
    if status.pending:
        raise StoreUnavailableError(
            f"the store in {settings.place} is at version {status.version} of its tables and needs "
            f"{status.pending[-1].version}: run 'perdure store migrate' on it"
        )


def _lock(settings: Settings) -> int:
    digest = hashlib.blake2b(f"perdure migrate {settings.schema}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, signed=True)
