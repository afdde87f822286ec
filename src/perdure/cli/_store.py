"""``perdure store``: the tables of a PostgreSQL home."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import click

from perdure.store.api import StoreError
from perdure.store.postgres import Settings, Status, migrate, read_status


@click.group()
def command() -> None:
    """The tables of a PostgreSQL home: what they are at, and bringing them up to date."""


def _settings(url: str) -> Settings:
    try:
        return Settings.parse(url)
    except ValueError as error:
        raise click.UsageError(str(error)) from None


@command.command("migrate")
@click.argument("url", envvar="PERDURE_STORE")
@click.option("--partitions", type=click.IntRange(1, 256), help="Parts of each table, when they are made (1).")
def migrate_command(url: str, partitions: int | None) -> None:
    """Make the tables at URL, or bring them to this version of perdure. Several may try at once."""
    settings = _settings(url)
    if partitions is not None:
        settings = replace(settings, partitions=partitions)
    try:
        applied = asyncio.run(migrate(settings))
    except StoreError as error:
        raise click.ClickException(str(error)) from None
    for one in applied:
        click.echo(f"applied {one.version:04d} {one.name}")
    if not applied:
        click.echo(f"{settings.place} is up to date")


@command.command("status")
@click.argument("url", envvar="PERDURE_STORE")
@click.pass_context
def status_command(context: click.Context, url: str) -> None:
    """Tell which migrations the tables at URL have; ends with 1 when some are pending."""
    settings = _settings(url)
    try:
        status: Status = asyncio.run(read_status(settings))
    except StoreError as error:
        raise click.ClickException(str(error)) from None
    click.echo(f"{settings.place} is at version {status.version}")
    if status.is_newer:
        click.echo("made by a newer perdure than this one")
    for one in status.pending:
        click.echo(f"pending {one.version:04d} {one.name}")
    if status.pending or status.is_newer:
        context.exit(1)
