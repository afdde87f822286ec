"""``perdure export``: closed histories as files, once or continuously."""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Callable
from contextlib import AsyncExitStack
from datetime import timedelta

import click

from perdure.archival import ArchiveError, HistoryExport
from perdure.client import Client
from perdure.service import RPCError
from perdure.store.api import StoreError


@click.command("export")
@click.option("--store", required=True, metavar="URL", help="The home: lmdb:PATH, postgresql://..., HOST:PORT, ...")
@click.option("--to", "uri", required=True, metavar="URI", help="file:///FOLDER or s3://BUCKET/PREFIX?region=...")
@click.option("--namespace", "namespaces", multiple=True, default=("default",), help="May be repeated (default).")
@click.option("--query", default="", metavar="FILTER", help="Only the runs that this list filter finds.")
@click.option("--follow", is_flag=True, help="Go on with what closes, until SIGTERM or SIGINT.")
@click.option("--interval", default=10.0, show_default=True, help="Seconds between two looks, with --follow.")
@click.option("--settle", default=30.0, show_default=True, help="Seconds after which a close is exported.")
@click.option("--format", "form", type=click.Choice(("proto", "json")), default="proto", show_default=True)
def command(
    store: str,
    uri: str,
    namespaces: tuple[str, ...],
    query: str,
    follow: bool,
    interval: float,
    settle: float,
    form: str,
) -> None:
    """Write the histories of closed runs as files, in the form of Temporal Cloud's workflow history export.

    Goes on where the last one to the same place ended; each history is written at least once.
    """
    logging.basicConfig(
        level="INFO", format="%(asctime)s %(levelname)s %(name)s: %(message)s", datefmt="%Y-%m-%dT%H:%M:%S%z"
    )
    if interval <= 0 or settle < 0:
        raise click.UsageError("--interval is more than 0 seconds, --settle not less than 0.")

    def export(client: Client) -> HistoryExport:
        return HistoryExport(client, uri, query=query, format=form, settle=timedelta(seconds=settle))

    try:
        asyncio.run(_export(store, namespaces, export, timedelta(seconds=interval) if follow else None))
    except (ValueError, RuntimeError, OSError, ImportError, RPCError, StoreError, ArchiveError) as error:
        raise click.ClickException(str(error)) from None


async def _export(
    store: str, namespaces: tuple[str, ...], export: Callable[[Client], HistoryExport], interval: timedelta | None
) -> None:
    async with AsyncExitStack() as stack:
        exports = []
        for namespace in namespaces:
            client = await Client.connect(store, namespace=namespace)
            stack.push_async_callback(client.close)
            exports.append((namespace, export(client)))
        if interval is None:
            for namespace, one in exports:
                report = await one.run()
                gone = f", {report.gone} deleted before they could be" if report.gone else ""
                click.echo(f"{namespace}: {report.exported} exported in {report.files} files{gone}")
            return
        await _follow([one for _, one in exports], interval)


async def _follow(exports: list[HistoryExport], interval: timedelta) -> None:
    """Export until a signal says stop; an error of one stops all."""
    loop = asyncio.get_running_loop()
    stop = loop.create_task(asyncio.Event().wait())
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.cancel)
    following = [loop.create_task(one.follow(interval)) for one in exports]
    click.echo("perdure exports; stop it with SIGTERM or SIGINT")
    await asyncio.wait([stop, *following], return_when=asyncio.FIRST_COMPLETED)
    for task in (stop, *following):
        task.cancel()
    results = await asyncio.gather(stop, *following, return_exceptions=True)
    for result in results:
        if isinstance(result, Exception):
            raise result
