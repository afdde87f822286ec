"""``perdure server``."""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import click

from perdure.cli import _web_ui
from perdure.cli._web_ui import WebUI

if TYPE_CHECKING:
    from perdure.server import Auth, Server, ServerTLS
    from perdure.service import WorkflowService

_LEVELS = ("debug", "info", "warning", "error")
_FOREVER = timedelta(days=36_500)
_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command("server")
@click.option("--store", required=True, metavar="URL", help="The home to serve: lmdb:PATH, memory:, ...")
@click.option("--host", default="127.0.0.1", show_default=True, help="Where to listen.")
@click.option("--port", default=7233, show_default=True, help="Where to listen; 0 takes a free port.")
@click.option("--namespace", "namespaces", multiple=True, metavar="NAME", help="Make this namespace. May be repeated.")
@click.option("--tls-cert", type=_FILE, help="The server's certificate, PEM.")
@click.option("--tls-key", type=_FILE, help="Its key, PEM.")
@click.option("--tls-ca", type=_FILE, help="Clients must show a certificate that this CA signed, PEM.")
@click.option("--auth-config", type=_FILE, help="Who may call, and what: a TOML file, see docs/server.md.")
@click.option("--allow-insecure", is_flag=True, help="Listen beyond this machine without TLS or without auth.")
@click.option("--archival-uri", "archival_uris", multiple=True, metavar="URI", help="Where callers may have namespaces "
              "archived to: file:///FOLDER, s3://BUCKET/PREFIX?region=...; there and below. May be repeated.")  # fmt: skip
@click.option("--ui-port", type=click.IntRange(1, 65535), help="Start Temporal's Web UI there, too.")
@click.option("--ui-program", type=_FILE, help="Its program; ui-server on PATH unless given.")
@click.option("--time-skipping", is_flag=True, help="Skip the time that workflows sleep, for tests; memory: only.")
@click.option("--drain-seconds", default=10.0, show_default=True, help="How long calls may take to finish at the end.")
@click.option("--log-level", type=click.Choice(_LEVELS), default="info", show_default=True)
def command(
    store: str,
    host: str,
    port: int,
    namespaces: tuple[str, ...],
    tls_cert: Path | None,
    tls_key: Path | None,
    tls_ca: Path | None,
    auth_config: Path | None,
    allow_insecure: bool,
    archival_uris: tuple[str, ...],
    ui_port: int | None,
    ui_program: Path | None,
    time_skipping: bool,
    drain_seconds: float,
    log_level: str,
) -> None:
    """Serve a home over Temporal's gRPC API, until SIGTERM or SIGINT.

    Temporal's SDKs, its CLI and its Web UI then work against it: `temporal workflow list --address 127.0.0.1:7233`.
    """
    logging.basicConfig(
        level=log_level.upper(), format="%(asctime)s %(levelname)s %(name)s: %(message)s", datefmt="%Y-%m-%dT%H:%M:%S%z"
    )
    if time_skipping and store != "memory:":
        raise click.UsageError("--time-skipping needs --store memory: the clock of a home on disk is the real one.")
    if ui_program is not None and ui_port is None:
        raise click.UsageError("--ui-program needs --ui-port: where the Web UI listens.")
    if ui_port is not None and (auth_config is not None or tls_ca is not None):
        raise click.UsageError(
            "--ui-port does not go with --auth-config or --tls-ca: the Web UI it starts has no login and no certificate. "
            "Run Temporal's ui-server with a configuration of its own, see docs/server.md."
        )
    try:
        from perdure.server import Server

        namespaces = namespaces or ("default",)
        program = None if ui_port is None else _web_ui.find(ui_program)
        tls, auth = _tls(tls_cert, tls_key, tls_ca), _auth(auth_config)

        def serve(home: str | WorkflowService) -> Server:
            return Server(
                home,
                host,
                port,
                tls=tls,
                auth=auth,
                namespaces=namespaces,
                allow_insecure=allow_insecure,
                drain_seconds=drain_seconds,
                archival_uris=archival_uris,
            )

        def show(address: str) -> AbstractAsyncContextManager[WebUI | None]:
            if program is None or ui_port is None:
                return nullcontext()
            return WebUI(program, host, ui_port, address, tls_cert, namespaces[0])

        serve(store)  # says what does not fit before anything is opened
        access = f"{'TLS' if tls else 'no TLS'}, {'auth' if auth else 'no auth'}"
        _run(_serve(serve, show, store, time_skipping, access))
    except (ValueError, RuntimeError, OSError) as error:
        raise click.ClickException(str(error)) from None


def _tls(cert: Path | None, key: Path | None, ca: Path | None) -> ServerTLS | None:
    from perdure.server import ServerTLS

    if cert is None and key is None and ca is None:
        return None
    if cert is None or key is None:
        raise click.UsageError("TLS needs both --tls-cert and --tls-key.")
    return ServerTLS.load(cert, key, ca)


def _auth(path: Path | None) -> Auth | None:
    from perdure.server import Auth

    return None if path is None else Auth.load(path)


def _run(work: Coroutine[Any, Any, None]) -> None:
    try:
        import uvloop
    except ImportError:  # it has no wheel for Windows
        asyncio.run(work)
    else:
        uvloop.run(work)


async def _serve(
    serve: Callable[[str | WorkflowService], Server],
    show: Callable[[str], AbstractAsyncContextManager[WebUI | None]],
    store: str,
    time_skipping: bool,
    access: str,
) -> None:
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with _home(store, time_skipping) as home, serve(home) as server, show(server.address) as ui:
        click.echo(f"perdure serves {store} on {server.address} ({access})")
        if ui is not None:
            click.echo(f"Temporal's Web UI is at {ui.url}")
        await stop.wait()
        click.echo("perdure finishes what is under way and stops")


@asynccontextmanager
async def _home(store: str, time_skipping: bool) -> AsyncIterator[str | WorkflowService]:
    if not time_skipping:
        yield store
        return
    from perdure.testing._service import TimeSkippingService

    service = await TimeSkippingService.open(_FOREVER)
    try:
        yield cast("WorkflowService", service)
    finally:
        await service.close()
