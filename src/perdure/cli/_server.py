"""``perdure server``."""

from __future__ import annotations

import asyncio
import logging
import signal
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from perdure.server import Auth, Server, ServerTLS

_LEVELS = ("debug", "info", "warning", "error")
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
    drain_seconds: float,
    log_level: str,
) -> None:
    """Serve a home over Temporal's gRPC API, until SIGTERM or SIGINT.

    Temporal's SDKs, its CLI and its Web UI then work against it: `temporal workflow list --address 127.0.0.1:7233`.
    """
    logging.basicConfig(
        level=log_level.upper(), format="%(asctime)s %(levelname)s %(name)s: %(message)s", datefmt="%Y-%m-%dT%H:%M:%S%z"
    )
    try:
        from perdure.server import Server

        server = Server(
            store,
            host,
            port,
            tls=_tls(tls_cert, tls_key, tls_ca),
            auth=_auth(auth_config),
            namespaces=namespaces or ("default",),
            allow_insecure=allow_insecure,
            drain_seconds=drain_seconds,
        )
        _run(server, store, auth_config is not None)
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


def _run(server: Server, store: str, has_auth: bool) -> None:
    try:
        import uvloop
    except ImportError:  # it has no wheel for Windows
        asyncio.run(_serve(server, store, has_auth))
    else:
        uvloop.run(_serve(server, store, has_auth))


async def _serve(server: Server, store: str, has_auth: bool) -> None:
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with server:
        click.echo(f"perdure serves {store} on {server.address} ({_access(server, has_auth)})")
        await stop.wait()
        click.echo("perdure finishes what is under way and stops")


def _access(server: Server, has_auth: bool) -> str:
    return f"{'TLS' if server.has_tls else 'no TLS'}, {'auth' if has_auth else 'no auth'}"
