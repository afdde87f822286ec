"""Starting and stopping the servers that some peers need, on loopback only."""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from .peers import Peer


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def executable(server: str) -> str | None:
    """The server's program: named by the environment or found on the path."""
    if server == "perdure":
        return sys.executable
    if server == "postgres":
        from tests.support.postgres import binaries  # needs asyncpg, which other peers' pythons lack

        found = binaries()
        return None if found is None else str(found / "postgres")
    variable, program = {"temporal": ("TEMPORAL", "temporal"), "restate": ("RESTATE_SERVER", "restate-server")}[server]
    return shutil.which(os.environ.get(variable, program))


def version(server: str) -> str:
    program = executable(server)
    if program is None:
        return ""
    if server == "perdure":
        return (
            f"perdure {importlib.metadata.version('perdure') if _is_installed('perdure') else 'from its source tree'}"
        )
    output = subprocess.run([program, "--version"], capture_output=True, text=True, check=False).stdout
    return output.strip().splitlines()[0] if output.strip() else ""


def _is_installed(distribution: str) -> bool:
    try:
        importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


@contextlib.contextmanager
def running(peer: Peer, folder: Path) -> Iterator[tuple[str, int]]:
    """The peer's server while the block runs: its address and process id ("" and 0 if it needs none)."""
    if not peer.server:
        yield "", 0
        return
    if peer.server == "postgres":
        # Everything as the server comes: fsync and synchronous_commit are on.
        from tests.support.postgres import Server

        database = Server({})
        try:
            yield database.url, database.pid
        finally:
            database.remove()
        return
    program = executable(peer.server)
    assert program is not None, f"{peer.server} is not installed"
    ports = [free_port() for _ in range(4)]
    environment = dict(os.environ)
    if peer.server == "temporal":
        command = [program, "server", "start-dev", "--headless", "--ip", "127.0.0.1", "--log-level", "error"]
        command += ["--port", str(ports[0]), "--http-port", str(ports[1]), "--metrics-port", str(ports[2])]
        command += [option.replace("{folder}", str(folder)) for option in peer.server_options]
        wait, address = ports[:1], f"127.0.0.1:{ports[0]}"
    elif peer.server == "perdure":
        command = [program, "-m", "perdure.cli", "server", "--port", str(ports[0]), "--log-level", "error"]
        command += [option.replace("{folder}", str(folder)) for option in peer.server_options]
        wait, address = ports[:1], f"127.0.0.1:{ports[0]}"
    else:
        command = [program, "--base-dir", str(folder / "restate"), "--node-name", "bench", "--log-filter", "error"]
        environment |= {
            "RESTATE_INGRESS__BIND_ADDRESS": f"127.0.0.1:{ports[0]}",
            "RESTATE_ADMIN__BIND_ADDRESS": f"127.0.0.1:{ports[1]}",
            "RESTATE_BIND_ADDRESS": f"127.0.0.1:{ports[2]}",
            "RESTATE_ADVERTISED_ADDRESS": f"http://127.0.0.1:{ports[2]}",
            "RESTATE_DISABLE_TELEMETRY": "true",
            **dict(option.split("=", 1) for option in peer.server_options),
        }
        wait, address = ports[:2], f"127.0.0.1:{ports[0]},127.0.0.1:{ports[1]}"
    with (folder / "server.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, env=environment, cwd=folder)
        try:
            for port in wait:
                _wait(process, port, folder / "server.log")
            yield address, process.pid
        finally:
            process.terminate()
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _wait(process: subprocess.Popen[bytes], port: int, log: Path, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while True:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        if process.poll() is not None or time.monotonic() > end:
            raise RuntimeError(f"the server did not come up: {log.read_text(errors='replace')[-2000:]}")
        time.sleep(0.02)
