"""Continuous export, from every home."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from temporalio.api.export.v1 import WorkflowExecutions

from perdure.api.namespace import v1 as namespace_v1
from perdure.api.workflowservice import v1 as ws
from perdure.archival import ArchiveError, HistoryExport, _export, exported_histories
from perdure.cli import cli
from perdure.client import Client, WorkflowHistory
from perdure.server import Server
from perdure.service import RPCError, RPCStatusCode
from perdure.worker import Replayer
from tests.archival.programs import Double, Wait, run_many, working
from tests.support.homes import STORES, home_url

NOW = timedelta(0)
_NAME = re.compile(r"temporal-workflow-history/export/default/\d{4}/\d\d/\d\d/\d\d/\d\d/\d+-[0-9a-f]{12}\.(proto|json)")


@pytest.fixture(params=STORES)
async def client(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Client]:
    """A client of each home, with a worker."""
    connected = await Client.connect(home_url(request.param, tmp_path))
    async with working(connected):
        yield connected
    await connected.close()


@pytest.fixture
def target(tmp_path: Path) -> Path:
    """The folder that is exported to."""
    return tmp_path / "export"


def files(target: Path) -> list[str]:
    """The exported files."""
    found = [path.relative_to(target).as_posix() for path in target.rglob("*") if path.is_file()]
    return sorted(name for name in found if not name.endswith("cursor.json"))


async def exported(uri: str, **options: Any) -> list[str]:
    """The workflow ids of an export, sorted."""
    return sorted([history.workflow_id async for history in exported_histories(uri, **options)])


async def test_every_closed_history_is_exported_once(client: Client, uri: str) -> None:
    ids = await run_many(client, 5)
    await client.start_workflow(Wait.run, id="open", task_queue="q")
    export = HistoryExport(client, uri, settle=NOW)
    report = await export.run()
    assert (report.exported, report.files, report.gone) == (5, 1, 0)
    assert await exported(uri) == ids
    assert (await export.run()).exported == 0
    ids += await run_many(client, 2, 5)
    # Another process goes on where this one was.
    assert (await HistoryExport(client, uri, settle=NOW).run()).exported == 2
    assert await exported(uri, namespace="default") == ids
    assert await exported(uri, namespace="other") == []


async def test_histories_come_back_as_they_were(client: Client, uri: str) -> None:
    for number, form in enumerate(("proto", "json")):
        place = uri.replace("/archive", f"/{form}").replace("/below", f"/below-{form}")
        (workflow_id,) = await run_many(client, 1, number)
        original = await client.get_workflow_handle(workflow_id).fetch_history()
        await HistoryExport(client, place, settle=NOW, format=form, query=f"WorkflowId = '{workflow_id}'").run()
        (history,) = [history async for history in exported_histories(place)]
        assert history == original
        results = await Replayer(workflows=[Double]).replay_workflows(exported_histories(place))
        assert results.replay_failures == {}


async def test_files_are_temporal_clouds(client: Client, target: Path) -> None:
    await run_many(client, 3)
    await HistoryExport(client, f"file://{target}", settle=NOW).run()
    (name,) = files(target)
    assert _NAME.fullmatch(name)
    message = WorkflowExecutions.FromString((target / name).read_bytes())
    assert sorted(item.history.events[0].workflow_execution_started_event_attributes.workflow_id for item in message.items) == [
        "w0", "w1", "w2",
    ]  # fmt: skip
    assert all(item.history.events[-1].event_type == 2 for item in message.items)  # completed
    await HistoryExport(client, f"file://{target}/as-json", settle=NOW, format="json").run()
    (name,) = files(target / "as-json")
    content = json.loads((target / "as-json" / name).read_text())
    assert len(content["items"]) == 3
    history = WorkflowHistory.from_json("w", content["items"][0]["history"])
    assert history.events[0].event_id == 1


async def test_what_has_not_settled_waits(client: Client, target: Path) -> None:
    await run_many(client, 1)
    export = HistoryExport(client, f"file://{target}", settle=timedelta(hours=1))
    assert (await export.run()).exported == 0
    assert files(target) == []


async def test_pages_and_sizes_part_the_files(client: Client, target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_export, "PAGE", 4)
    monkeypatch.setattr(_export, "FILE_BYTES", 1)
    await run_many(client, 6)
    report = await HistoryExport(client, f"file://{target}", settle=NOW).run()
    assert (report.exported, report.files) == (6, 6)
    assert await exported(f"file://{target}") == [f"w{number}" for number in range(6)]


class FailingService:
    """A service in front of the home's, of which a history cannot be read for a while."""

    def __init__(self, client: Client) -> None:
        self._service = client.workflow_service
        self.failing = ""
        self.status = RPCStatusCode.UNAVAILABLE

    def __getattr__(self, name: str) -> Any:
        return getattr(self._service, name)

    async def get_workflow_execution_history(self, request: Any, **options: Any) -> Any:
        """As the home's."""
        if request.execution.workflow_id == self.failing:
            raise RPCError("away", self.status)
        return await self._service.get_workflow_execution_history(request, **options)


async def test_an_interrupted_export_goes_on_within_its_window(
    client: Client, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_export, "PAGE", 2)
    ids = await run_many(client, 6)
    export = HistoryExport(client, f"file://{target}", settle=NOW)
    service: Any = FailingService(client)
    service.failing = "w2"  # on the second page: the newest comes first
    export._service = service
    with pytest.raises(RPCError, match="away"):
        await export.run()
    assert len(files(target)) == 1
    ids += await run_many(client, 1, 6)
    again = HistoryExport(client, f"file://{target}", settle=NOW)
    assert (await again.run()).exported == 5  # two of them were there
    assert await exported(f"file://{target}") == ids


async def test_a_crash_between_a_file_and_the_cursor_repeats_and_loses_nothing(
    client: Client, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = await run_many(client, 3)
    export = HistoryExport(client, f"file://{target}", settle=NOW)

    async def die(cursor: Any) -> None:
        raise ArchiveError("the process died")

    monkeypatch.setattr(export, "_save", die)
    with pytest.raises(ArchiveError):
        await export.run()
    assert await exported(f"file://{target}") == ids
    assert (await HistoryExport(client, f"file://{target}", settle=NOW).run()).exported == 3
    assert await exported(f"file://{target}") == sorted(ids + ids)


async def test_what_is_deleted_meanwhile_is_counted(client: Client, target: Path) -> None:
    await run_many(client, 3)
    export = HistoryExport(client, f"file://{target}", settle=NOW)
    service: Any = FailingService(client)
    service.failing, service.status = "w1", RPCStatusCode.NOT_FOUND
    export._service = service
    report = await export.run()
    assert (report.exported, report.gone) == (2, 1)


async def test_following_goes_on_after_an_outage(
    client: Client, target: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(_export, "_MAX_DELAY", 0.01)
    await run_many(client, 1)
    export = HistoryExport(client, f"file://{target}", settle=NOW)
    service: Any = FailingService(client)
    service.failing = "w0"
    export._service = service
    following = asyncio.create_task(export.follow(timedelta(seconds=0.01)))
    async with asyncio.timeout(20):
        while not any("after an error: away" in record.getMessage() for record in caplog.records):
            await asyncio.sleep(0.01)
        service.failing = ""
        await run_many(client, 1, 1)
        while await exported(f"file://{target}") != ["w0", "w1"]:
            await asyncio.sleep(0.01)
    service.status = RPCStatusCode.PERMISSION_DENIED
    service.failing = "w2"
    await run_many(client, 1, 2)
    with pytest.raises(RPCError, match="away"):
        await asyncio.wait_for(following, 20)


async def test_an_archived_run_can_still_be_exported(client: Client, target: Path, uri: str) -> None:
    config = namespace_v1.NamespaceConfig(history_archival_state=2, history_archival_uri=uri)
    await client.workflow_service.update_namespace(ws.UpdateNamespaceRequest("default", config=config))
    await run_many(client, 1)
    assert (await HistoryExport(client, f"file://{target}", settle=NOW).run()).exported == 1


async def test_another_filter_needs_a_place_of_its_own(client: Client, target: Path) -> None:
    await run_many(client, 1)
    await HistoryExport(client, f"file://{target}", settle=NOW).run()
    with pytest.raises(ValueError, match="or with another filter"):
        await HistoryExport(client, f"file://{target}", settle=NOW, query="WorkflowType = 'Double'").run()


@pytest.mark.parametrize(
    ("uri", "options", "says"),
    [
        ("ftp://x", {}, "is no place to write to"),
        ("file://host/x", {}, "names a host"),
        ("file:///tmp/x", {"format": "csv"}, "format is 'proto' or 'json', not 'csv'"),
    ],
)
async def test_what_cannot_be_is_one_sentence(uri: str, options: dict[str, Any], says: str) -> None:
    client = await Client.connect("memory:")
    with pytest.raises(ValueError, match=says):
        HistoryExport(client, uri, **options)
    await client.close()


async def test_a_server_is_exported_from_elsewhere(tmp_path: Path, target: Path) -> None:
    async with Server("memory:", port=0, drain_seconds=1) as server:
        inside = Client(server.service)
        async with working(inside):
            ids = await run_many(inside, 3)
        result = await asyncio.to_thread(
            CliRunner().invoke,
            cli,
            ["export", "--store", server.address, "--to", f"file://{target}", "--settle", "0"],
        )
        assert result.output.splitlines()[-1] == "default: 3 exported in 1 files", result.output
        assert result.exit_code == 0
        assert await exported(f"file://{target}") == ids


def test_the_command_follows_until_it_is_told_to_stop(tmp_path: Path, target: Path) -> None:
    home = f"lmdb:{tmp_path}/home"

    async def fill() -> None:
        client = await Client.connect(home)
        async with working(client):
            await run_many(client, 3)
        await client.close()

    asyncio.run(fill())
    command = [sys.executable, "-m", "perdure.cli", "export", "--store", home, "--to", f"file://{target}", "--follow",
               "--settle", "0", "--interval", "0.05"]  # fmt: skip
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env={**os.environ}) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if b"exported 3 histories of namespace default" in line:
                break
        process.send_signal(signal.SIGTERM)
        process.stderr.read()
        assert process.wait(20) == 0
    assert asyncio.run(exported(f"file://{target}")) == ["w0", "w1", "w2"]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--store", "memory:", "--to", "ftp://x"], "is no place to write to"),
        (["--store", "nowhere://x", "--to", "file:///tmp/x"], "is not a home perdure knows"),
        (["--store", "memory:", "--to", "file:///tmp/x", "--interval", "0"], "--interval is more than 0"),
        (["--store", "memory:", "--to", "file:///proc/version/x"], "is a file, not a folder"),
    ],
)
def test_a_wrong_command_is_one_sentence(arguments: list[str], says: str) -> None:
    result = CliRunner().invoke(cli, ["export", *arguments])
    assert result.exit_code != 0
    assert says in result.output
    assert "Traceback" not in result.output
