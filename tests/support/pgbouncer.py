"""A PgBouncer of the tests' own in front of their PostgreSQL, where the machine has the program."""

from __future__ import annotations

import contextlib
import shutil
import socket
import subprocess
import time
from pathlib import Path
from typing import Literal

import pytest

from tests.support.postgres import Server, die_with_parent, free_port, unprivileged_folder

_PROGRAM = shutil.which("pgbouncer") or shutil.which("pgbouncer", path="/usr/sbin:/usr/local/sbin")


class PgBouncer:
    """A running pooler over a folder that goes with it; skips the test where there is none to run."""

    def __init__(self, server: Server, mode: Literal["session", "transaction"]) -> None:
        if _PROGRAM is None:
            pytest.skip("no pgbouncer on this machine")
        self.port = free_port()
        self.folder, user = unprivileged_folder("perdure-pgbouncer-")
        (self.folder / "pgbouncer.ini").write_text(
            "[databases]\n"
            f"* = host={server.folder} port={server.port or 5432} user=perdure\n"
            "[pgbouncer]\n"
            f"listen_addr = 127.0.0.1\nlisten_port = {self.port}\nunix_socket_dir =\nauth_type = any\n"
            # Small enough that clients of a test share the server's connections.
            f"pool_mode = {mode}\ndefault_pool_size = {20 if mode == 'session' else 4}\n"
        )
        with (self.folder / "log").open("wb") as log:
            self._process = subprocess.Popen(
                [_PROGRAM, str(self.folder / "pgbouncer.ini")],
                stdout=log, stderr=log, cwd=self.folder, preexec_fn=die_with_parent, **user,
            )  # fmt: skip
        end = time.monotonic() + 30
        while time.monotonic() < end and self._process.poll() is None:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
                return
            time.sleep(0.02)
        raise RuntimeError(f"PgBouncer did not start: {Path(self.folder, 'log').read_text()}")

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"postgresql://perdure@127.0.0.1:{self.port}/postgres"

    def remove(self) -> None:
        """Stop it, and remove its folder."""
        self._process.kill()
        self._process.wait(30)
        shutil.rmtree(self.folder, ignore_errors=True)
