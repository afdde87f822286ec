"""The command, in this process and in one of its own."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

import perdure
from perdure.cli import cli, main
from perdure.cli._web_ui import WebUI

pytest.importorskip("grpc", reason="needs perdure[server]")


def invoke(*words: str) -> tuple[int, str]:
    """Exit code and output."""
    result = CliRunner().invoke(cli, list(words))
    return result.exit_code, result.output


def test_the_version() -> None:
    assert invoke("--version") == (0, f"perdure {perdure.__version__}\n")


def test_help_lists_the_commands() -> None:
    code, output = invoke("--help")
    assert code == 0
    assert "server" in output
    assert "--store" in invoke("server", "--help")[1]


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ((), "Missing option '--store'"),
        (("--store", "nowhere:"), "is not a home perdure knows"),
        (("--store", "memory:", "--port", "99999"), "does not exist"),
        (("--store", "memory:", "--host", "0.0.0.0"), "reachable from other machines"),
        (("--store", "memory:", "--tls-cert", __file__), "both --tls-cert and --tls-key"),
        (("--store", "memory:", "--auth-config", __file__), "not a TOML file"),
        (("--store", "memory:", "--auth-config", "/nowhere/at/all"), "does not exist"),
        (("--store", "memory:", "--log-level", "loud"), "loud"),
        (("--store", "memory:", "--ui-program", __file__), "needs --ui-port"),
        (("--store", "memory:", "--ui-port", "8233", "--auth-config", __file__), "does not go with --auth-config"),
        (("--store", "memory:", "--ui-port", "8233"), "needs the program of Temporal's Web UI"),
    ],
)
def test_what_does_not_fit_is_one_sentence(
    words: tuple[str, ...], text: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    code, output = invoke("server", *words)
    assert code != 0
    assert text in output
    assert "Traceback" not in output


def test_an_unknown_command(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["dance"])
    assert ended.value.code == 2
    assert "dance" in capsys.readouterr().err


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_server_of_its_own_process_stops_in_order(tmp_path: Path, number: signal.Signals) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "perdure.cli",
        "server",
        "--store",
        f"lmdb:{tmp_path / 'store'}",
        "--port",
        "0",
        "--namespace",
        "orders",
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "PYTHONUNBUFFERED": "1"},
    )
    assert process.stdout is not None
    line = (await process.stdout.readline()).decode()
    assert "perdure serves lmdb:" in line and "no auth" in line

    import temporalio.client

    address = line.split(" on ")[1].split()[0]
    client = await temporalio.client.Client.connect(address, namespace="orders")
    await client.start_workflow("Any", id="w", task_queue="q")
    process.send_signal(number)
    output, errors = await process.communicate()
    assert process.returncode == 0, errors.decode()
    assert b"stops" in output


#: Listens where its configuration says, as ui-server does; it sees there what it got and that the server is up.
_PRETENDS = """#!{python}
import http.server, json, pathlib, sys
settings = json.loads(pathlib.Path(sys.argv[sys.argv.index("--root") + 1], "base.yaml").read_text())
{extra}
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.end_headers(); self.wfile.write(settings["temporalGrpcAddress"].encode())
    def log_message(self, *words): pass
http.server.HTTPServer((settings["host"], settings["port"]), Handler).serve_forever()
"""


def a_program(folder: Path, extra: str = "") -> Path:
    path = folder / "ui-server"
    path.write_text(_PRETENDS.format(python=sys.executable, extra=extra))
    path.chmod(0o755)
    return path


def a_free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.mark.skipif(sys.platform == "win32", reason="the program is a script")
async def test_the_web_ui_comes_and_goes_with_the_server(tmp_path: Path) -> None:
    port = a_free_port()
    async with WebUI(str(a_program(tmp_path)), "127.0.0.1", port, "0.0.0.0:7233", None, "default") as ui:
        assert ui.url == f"http://127.0.0.1:{port}"
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET / HTTP/1.0\r\n\r\n")
        assert (await reader.read()).endswith(b"127.0.0.1:7233")
        writer.close()
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", port)


@pytest.mark.skipif(sys.platform == "win32", reason="the program is a script")
async def test_a_web_ui_that_does_not_come_up(tmp_path: Path) -> None:
    program = str(a_program(tmp_path, "sys.exit(3)"))
    with pytest.raises(RuntimeError, match="ended at once with exit code 3"):
        async with WebUI(program, "127.0.0.1", a_free_port(), "127.0.0.1:7233", None, "default"):
            pass
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(OSError, match=r"already in use|normally permitted"):
            async with WebUI(program, "127.0.0.1", taken.getsockname()[1], "127.0.0.1:7233", None, "default"):
                pass
