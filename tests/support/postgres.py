"""A PostgreSQL of the tests' own: the machine's binaries, a temporary folder, an unprivileged user.

Started when the first test asks for it, stopped at exit. ``PERDURE_POSTGRES_URL`` names another server to use instead:
the tests make and drop schemas ``perdure_test_*`` in its database.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import ctypes
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from perdure.store.postgres import Settings

_USERS = ("postgres", "nobody")
#: Durability is tested by killing processes, and by the torture run with everything on.
FAST = {"fsync": "off", "full_page_writes": "off", "wal_level": "minimal", "max_wal_senders": "0"}


def binaries() -> Path | None:
    """The folder of the newest server on this machine."""
    found = sorted(
        Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: float(path.parts[-3]), reverse=True
    )
    if found:
        return found[0].parent
    initdb = shutil.which("initdb")
    return Path(initdb).resolve().parent if initdb else None


class Server:
    """A running server over a folder that goes with it.

    Args:
        primary: the server that this one is a streaming replica of; it needs ``wal_level=replica`` and a WAL sender.
        port: where it listens on loopback, too; 0: nowhere.
        tls: a certificate and its key, in PEM: connections to the port are then encrypted, or refused.
    """

    def __init__(
        self,
        settings: dict[str, str] | None = None,
        *,
        primary: Server | None = None,
        port: int = 0,
        tls: tuple[bytes, bytes] | None = None,
    ) -> None:
        folder = binaries()
        assert folder is not None
        self._binaries = folder
        self._settings = dict(FAST if settings is None else settings)
        self.port = port
        self.folder, self._user = unprivileged_folder("perdure-postgres-")
        data = self.folder / "data"
        if primary is None:
            self._call(
                "initdb", "-D", str(data), "-U", "perdure", "-A", "trust", "-E", "UTF8", "--no-locale", "--no-sync"
            )
        else:
            self._call("pg_basebackup", "-D", str(data), "-h", str(primary.folder), "-U", "perdure", "-R", "--no-sync",
                       "-X", "stream", "-c", "fast")  # fmt: skip
        if tls is not None:
            for name, text in zip(("server.crt", "server.key"), tls, strict=True):
                (data / name).write_bytes(text)
                (data / name).chmod(0o600)
                if self._user:
                    os.chown(data / name, self._user["user"], self._user["group"])
            (data / "pg_hba.conf").write_text("local all all trust\nhostssl all all 127.0.0.1/32 trust\n")
            self._settings["ssl"] = "on"
        self._process: subprocess.Popen[bytes] | None = None
        self.start()
        atexit.register(self.remove)

    @property
    def url(self) -> str:
        """Where it listens: a socket in its folder."""
        return f"postgresql://perdure@/postgres?host={self.folder}&port={self.port or 5432}"

    @property
    def pid(self) -> int:
        """The server's process; its sessions are below it."""
        return 0 if self._process is None else self._process.pid

    def _call(self, program: str, *arguments: str) -> None:
        subprocess.run(
            [str(self._binaries / program), *arguments],
            check=True, capture_output=True, cwd=self.folder, timeout=120, **self._user,
        )  # fmt: skip

    def start(self) -> None:
        """Start it and wait until it answers."""
        options = {
            "listen_addresses": "127.0.0.1" if self.port else "",
            "port": str(self.port or 5432),
            "unix_socket_directories": str(self.folder),
            "max_connections": "200",
        }
        arguments = [f"-c{name}={value}" for name, value in {**options, **self._settings}.items()]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [str(self._binaries / "postgres"), "-D", str(self.folder / "data"), *arguments],
                stdout=log, stderr=log, cwd=self.folder, preexec_fn=die_with_parent, **self._user,
            )  # fmt: skip
        end = time.monotonic() + 60
        while time.monotonic() < end and self._process.poll() is None:
            with contextlib.suppress(subprocess.SubprocessError):
                self._call("pg_isready", "-q", "-h", str(self.folder), "-p", str(self.port or 5432))
                return
            time.sleep(0.02)
        raise RuntimeError(f"PostgreSQL did not start: {(self.folder / 'log').read_text()}")

    def stop(self, number: int = signal.SIGINT) -> None:
        """Stop it: SIGINT ends its sessions, SIGQUIT is a crash."""
        process, self._process = self._process, None
        if process is not None:
            process.send_signal(number)
            process.wait(60)

    def restart(self, number: int = signal.SIGINT) -> None:
        """Stop and start it."""
        self.stop(number)
        self.start()

    def remove(self) -> None:
        """Stop it, and remove its folder."""
        self.stop(signal.SIGQUIT)
        shutil.rmtree(self.folder, ignore_errors=True)


def unprivileged_folder(prefix: str) -> tuple[Path, dict[str, Any]]:
    """A new temporary folder, and how to run a process whose it is: as root such servers would not start."""
    folder = Path(tempfile.mkdtemp(prefix=prefix))
    if os.getuid() != 0:
        return folder, {}
    user = next(entry for name in _USERS if (entry := _user(name)) is not None)
    os.chown(folder, user.pw_uid, user.pw_gid)
    return folder, {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}


def free_port() -> int:
    """A port of loopback that nobody listens at."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def die_with_parent() -> None:
    """For a child process: it is to end when this one does."""
    with contextlib.suppress(OSError):
        ctypes.CDLL(None).prctl(1, signal.SIGINT)


def _user(name: str) -> pwd.struct_passwd | None:
    try:
        return pwd.getpwnam(name)
    except KeyError:
        return None


_server: Server | None = None
_schemas = 0


def server_url() -> str:
    """The URL of the server that tests use; skips the test when there is none."""
    global _server
    url = os.environ.get("PERDURE_POSTGRES_URL", "")
    if url:
        return url
    if _server is None:
        if binaries() is None:
            pytest.skip("no PostgreSQL on this machine: install one, or name a server in PERDURE_POSTGRES_URL")
        _server = Server()
    return _server.url


def own_server_or_skip() -> None:
    """Skip the test where it may not start a server of its own."""
    server_url()
    if os.environ.get("PERDURE_POSTGRES_URL"):
        pytest.skip("needs a server of its own")


def with_options(url: str, **options: object) -> str:
    """A URL with more options."""
    text = "&".join(f"{name}={value}" for name, value in options.items())
    return f"{url}{'&' if '?' in url else '?'}{text}"


def new_place(**options: object) -> str:
    """The URL of a schema that nobody has used yet."""
    global _schemas
    _schemas += 1
    return with_options(server_url(), schema=f"perdure_test_{os.getpid()}_{_schemas}", **{"partitions": 2, **options})


_places: dict[str, str] = {}
_free: list[str] = []
_TABLES = ("node", "namespace", "document", "current_run", "run", "history", "task", "visibility", "outbox", "message")


def place_in(folder: os.PathLike[str]) -> str:
    """The URL of a schema that stands for a folder: empty at first, the same when it is asked for again."""
    name = os.fspath(folder)
    if name not in _places:
        if _free:
            place = _free.pop()
            _on_the_side(_empty(place))
        else:
            place = new_place()
        _places[name] = place
    return _places[name]


def leave_places() -> None:
    """A test is over: its schemas are for other ones."""
    _free.extend(_places.values())
    _places.clear()


def leave_place(folder: os.PathLike[str]) -> None:
    """A test is over: its schema is for another one."""
    place = _places.pop(os.fspath(folder), None)
    if place is not None:
        _free.append(place)


async def _empty(place: str) -> None:
    settings = Settings.parse(place)
    connection = await asyncpg.connect(settings.dsn)
    statements = [f"DELETE FROM {settings.schema}.{table}" for table in _TABLES]
    await connection.execute("; ".join([*statements, f"UPDATE {settings.schema}.counter SET value = 0"]))
    await connection.close()


_aside: asyncio.AbstractEventLoop | None = None


def _on_the_side(work: Coroutine[Any, Any, None]) -> None:
    """Do something on an event loop of another thread, and wait for it."""
    global _aside
    if _aside is None:
        _aside = asyncio.new_event_loop()
        threading.Thread(target=_aside.run_forever, name="perdure-tests-postgres", daemon=True).start()
    asyncio.run_coroutine_threadsafe(work, _aside).result(60)
