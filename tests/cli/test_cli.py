"""The command, in this process and in one of its own."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

import perdure
from perdure.cli import cli, main

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
    ],
)
def test_what_does_not_fit_is_one_sentence(words: tuple[str, ...], text: str) -> None:
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
