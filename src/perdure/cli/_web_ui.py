"""Temporal's Web UI beside a server: a program of its own, started and ended with it."""

from __future__ import annotations

import asyncio
import json
import logging
import shutil
import sys
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Self

logger = logging.getLogger("perdure.server")

#: What the program is called where somebody installed it.
_NAMES = ("ui-server", "temporal-ui-server")
_START_SECONDS = 20
_STOP_SECONDS = 5
_EVERY_ADDRESS = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}


def find(program: Path | None) -> str:
    """The program of Temporal's Web UI: the one given, or one on PATH.

    Raises:
        ValueError: there is none; the sentence says where it comes from.
    """
    if program is not None:
        return str(program)
    for name in _NAMES:
        if found := shutil.which(name):
            return found
    raise ValueError(
        f"--ui-port needs the program of Temporal's Web UI, and neither {_NAMES[0]} nor {_NAMES[1]} is on PATH. "
        "Install it (go install github.com/temporalio/ui-server/v2/cmd/server@latest) and name it with --ui-program"
    )


class WebUI:
    """The Web UI at ``http://host:port``, over the server at ``target``.

    Within ``async with`` it answers; at the end it is gone. Should it end by itself, the server goes on and its log says so.

    Args:
        program: From :func:`find`.
        host: Where to listen.
        port: Where to listen.
        target: ``host:port`` of the server.
        certificate: The server's, where it has TLS.
        namespace: The one that is shown first.
    """

    def __init__(
        self, program: str, host: str, port: int, target: str, certificate: Path | None, namespace: str
    ) -> None:
        self._program = program
        self._host = host
        self._port = port
        self.url = f"http://{_reachable(host)}:{port}"
        where, _, number = target.rpartition(":")
        self._settings = {
            "temporalGrpcAddress": f"{_reachable(where.strip('[]'))}:{number}",
            "host": f"[{host}]" if ":" in host else host,
            "port": port,
            "enableUi": True,
            "hideLogs": True,
            "disableNewsFetch": True,
            "defaultNamespace": namespace,
            "distribution": "server",
            # Browsers keep no cookie that is for TLS alone from a page without.
            "cors": {"cookieInsecure": True, "allowOrigins": [self.url]},
        }
        if certificate is not None:
            # It is this process on this machine, whatever name the certificate is for.
            self._settings["tls"] = {"caFile": str(certificate.resolve()), "enableHostVerification": False}
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._process: asyncio.subprocess.Process
        self._watch: asyncio.Task[None]

    async def __aenter__(self) -> Self:
        """Start it, and wait until it answers.

        Raises:
            OSError: the address is taken, or the program cannot be started.
            RuntimeError: it ended or said nothing.
        """
        # Another program there would look like ours.
        probe = await asyncio.get_running_loop().create_server(asyncio.Protocol, self._host, self._port)
        probe.close()
        self._folder = tempfile.TemporaryDirectory(prefix="perdure-ui-")
        try:
            with open(Path(self._folder.name, "base.yaml"), "w") as file:  # noqa: ASYNC230 - small and local
                json.dump(self._settings, file)  # JSON is YAML
            self._process = await asyncio.create_subprocess_exec(
                self._program, "--root", self._folder.name, "--config", ".", "start",
                stdin=asyncio.subprocess.DEVNULL, stdout=sys.stderr.fileno(), start_new_session=True,
            )  # fmt: skip
            try:
                await self._answering()
            except BaseException:
                await self._end()
                raise
        except BaseException:
            self._folder.cleanup()
            raise
        self._watch = asyncio.create_task(self._watching())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """End it."""
        self._watch.cancel()
        await self._end()
        assert self._folder is not None
        self._folder.cleanup()

    async def _answering(self) -> None:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + _START_SECONDS
        while self._process.returncode is None and loop.time() < deadline:
            try:
                _, writer = await asyncio.open_connection(_reachable(self._host).strip("[]"), self._port)
            except OSError:
                await asyncio.sleep(0.05)
            else:
                writer.close()
                return
        ended = self._process.returncode
        what = f"did not answer within {_START_SECONDS} s" if ended is None else f"ended at once with exit code {ended}"
        raise RuntimeError(f"the Web UI {what}; is {self._program} Temporal's ui-server?")

    async def _watching(self) -> None:
        code = await self._process.wait()
        logger.error(
            "the Web UI at %s ended by itself with exit code %s; the server goes on without it", self.url, code
        )

    async def _end(self) -> None:
        if self._process.returncode is None:
            self._process.terminate()
            try:
                await asyncio.wait_for(self._process.wait(), _STOP_SECONDS)
            except TimeoutError:
                self._process.kill()
                await self._process.wait()


def _reachable(host: str) -> str:
    """A host as a URL has it, one address where every address is meant."""
    return _EVERY_ADDRESS.get(host) or (f"[{host}]" if ":" in host else host)
