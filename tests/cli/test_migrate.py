"""Runs that move from home to home."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from perdure import workflow
from perdure.api.workflowservice import v1 as ws
from perdure.cli import cli
from perdure.cli._migrate import Report, Source, export_runs, migrate_runs
from perdure.client import Client, WorkflowExecutionStatus, WorkflowHandle, WorkflowHistory
from perdure.connect import connect
from perdure.service import WorkflowService
from perdure.worker import Replayer, Worker
from tests.support.homes import STORES, home_url

QUEUE = "q"


@workflow.defn
class Adds:
    """Adds one."""

    @workflow.run
    async def run(self, number: int) -> int:
        return number + 1


@workflow.defn
class Sleeps:
    """Sleeps, waits for a word, and returns it."""

    def __init__(self) -> None:
        self.word = ""

    @workflow.run
    async def run(self, seconds: float) -> str:
        await workflow.sleep(seconds)
        await workflow.wait_condition(lambda: bool(self.word))
        return self.word

    @workflow.signal
    def say(self, word: str) -> None:
        self.word = word


@workflow.defn
class Parent:
    """Has a child that sleeps."""

    @workflow.run
    async def run(self) -> None:
        await workflow.execute_child_workflow(Sleeps.run, 1000.0, id="child")


WORKFLOWS = [Adds, Sleeps, Parent]


@asynccontextmanager
async def working(url: str) -> AsyncIterator[Client]:
    """A home with a worker."""
    client = await Client.connect(url)
    try:
        async with Worker(client, task_queue=QUEUE, workflows=WORKFLOWS):
            yield client
    finally:
        await client.close()


@asynccontextmanager
async def homes(source: str, target: str) -> AsyncIterator[tuple[Source, WorkflowService]]:
    """Both homes, without workers."""
    of, to = await connect(source), await connect(target)
    try:
        yield Source(of, "default", ""), to
    finally:
        await of.close()
        await to.close()


async def move(source: str, target: str, **options: Any) -> Report:
    """Migrate the default namespace."""
    async with homes(source, target) as (of, to):
        return await migrate_runs(of, to, **options)


async def asleep(handle: WorkflowHandle[Any, Any]) -> None:
    """Wait until the workflow has started its timer or its child."""
    async for event in handle.fetch_history_events(wait_new_event=True):
        if event.event_type in (17, 31):
            return


async def events(url: str, workflow_id: str, run_id: str | None = None) -> list[Any]:
    """The history of a workflow."""
    client = await Client.connect(url)
    try:
        return list((await client.get_workflow_handle(workflow_id, run_id=run_id).fetch_history()).events)
    finally:
        await client.close()


@pytest.fixture(params=STORES)
def source(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where runs come from."""
    return f"memory:{tmp_path.name}" if request.param == "memory" else home_url(request.param, tmp_path / "source")


@pytest.fixture
def target(tmp_path: Path) -> str:
    """Where they go."""
    return f"lmdb:{tmp_path / 'target'}"


@pytest.fixture
async def kept(source: str) -> AsyncIterator[Callable[[], Any]]:
    """Keeps a memory home alive between two clients."""
    service = await connect(source)
    yield lambda: service
    await service.close()


@pytest.mark.usefixtures("kept")
async def test_closed_runs_are_the_same_and_replay(source: str, target: str) -> None:
    async with working(source) as client:
        for number in (1, 2):
            assert await client.execute_workflow(Adds.run, number, id="w", task_queue=QUEUE) == number + 1
    report = await move(source, target)
    assert (report.copied, report.moved, report.refused) == (2, 0, [])
    client = await Client.connect(target)
    seen = [run async for run in client.list_workflows("WorkflowId = 'w'")]
    assert len(seen) == 2
    histories = [await client.get_workflow_handle("w", run_id=run.run_id).fetch_history() for run in seen]
    assert await client.get_workflow_handle("w").result() == 3
    await client.close()
    for run, history in zip(seen, histories, strict=True):
        assert list(history.events) == await events(source, "w", run.run_id)
        await Replayer(workflows=WORKFLOWS).replay_workflow(history)
    again = await move(source, target)
    assert (again.copied, again.already) == (0, 2)


@pytest.mark.usefixtures("kept")
async def test_a_sleeping_run_goes_on_and_is_closed_at_the_source(source: str, target: str) -> None:
    async with working(source) as client:
        handle = await client.start_workflow(Sleeps.run, 2.0, id="w", task_queue=QUEUE)
        await asleep(handle)
    dry = await move(source, target, dry_run=True, close_source=True)
    assert (dry.moved, dry.closed) == (1, 1)
    report = await move(source, target, close_source=True)
    assert (report.moved, report.closed, report.refused) == (1, 1, [])
    again = await move(source, target, close_source=True)
    assert (again.moved, again.closed, again.already) == (0, 0, 1)
    client = await Client.connect(source)
    assert (await client.get_workflow_handle("w").describe()).status == WorkflowExecutionStatus.TERMINATED
    await client.close()
    async with working(target) as client:
        moved = client.get_workflow_handle_for(Sleeps.run, "w", run_id=handle.result_run_id)
        await moved.signal(Sleeps.say, "here")
        assert await moved.result() == "here"
    assert (await move(source, target, close_source=True)).already == 1


@pytest.mark.usefixtures("kept")
async def test_what_is_under_way_is_named_with_its_reason(source: str, target: str) -> None:
    async with working(source) as client:
        handle = await client.start_workflow(Parent.run, id="parent", task_queue=QUEUE)
        await asleep(handle)
        await asleep(client.get_workflow_handle("child"))
    report = await move(source, target, close_source=True)
    assert report.moved == report.closed == 0
    assert {name: reason for name, _, reason in report.refused} == {
        "parent": "It has child workflows that have not closed.",
        "child": "It has a parent workflow, which waits for it where it is.",
    }
    client = await Client.connect(source)
    assert (await client.get_workflow_handle("parent").describe()).status == WorkflowExecutionStatus.RUNNING
    await client.close()


@pytest.mark.usefixtures("kept")
@pytest.mark.parametrize("die_at", ["before", "after"])
async def test_a_migration_that_dies_is_completed_by_the_next(
    source: str, target: str, die_at: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with working(source) as client:
        for number in range(3):
            await asleep(await client.start_workflow(Sleeps.run, 1000.0, id=f"w{number}", task_queue=QUEUE))
    async with homes(source, target) as (of, to):
        with monkeypatch.context() as patch:
            _die(patch, of.service, die_at)
            with pytest.raises(asyncio.CancelledError):
                await migrate_runs(of, to, close_source=True)
        report = await migrate_runs(of, to, close_source=True)
        assert report.refused == []
        assert report.moved + report.already == 3
        assert (await migrate_runs(of, to, close_source=True)).already == 3
    for place, status in ((source, "Terminated"), (target, "Running")):
        client = await Client.connect(place)
        assert len([run async for run in client.list_workflows(f"ExecutionStatus = '{status}'")]) == 3
        await client.close()


def _die(patch: pytest.MonkeyPatch, service: WorkflowService, when: str) -> None:
    """The second termination does not come back: it never happened, or nobody heard of it."""
    terminate = service.terminate_workflow_execution
    calls = 0

    async def dying(request: Any, **options: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 2 and when == "before":
            raise asyncio.CancelledError
        answer = await terminate(request, **options)
        if calls == 2:
            raise asyncio.CancelledError
        return answer

    patch.setattr(service, "terminate_workflow_execution", dying)


@pytest.mark.usefixtures("kept")
async def test_a_run_that_was_moved_does_not_come_back_to_die(source: str, target: str) -> None:
    async with working(source) as client:
        await asleep(await client.start_workflow(Sleeps.run, 1000.0, id="w", task_queue=QUEUE))
    assert (await move(source, target, close_source=True)).moved == 1
    back = await move(target, source, close_source=True)
    assert (back.moved, back.closed, back.already) == (0, 0, 0)
    assert "moved away" in back.refused[0][2]
    client = await Client.connect(target)
    assert (await client.get_workflow_handle("w").describe()).status == WorkflowExecutionStatus.RUNNING
    await client.close()


@pytest.mark.usefixtures("kept")
async def test_a_run_that_went_on_meanwhile_is_not_closed(
    source: str, target: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with working(source) as client:
        await asleep(await client.start_workflow(Sleeps.run, 1000.0, id="w", task_queue=QUEUE))
    async with homes(source, target) as (of, to):
        client = await Client.connect(source)
        take = to.import_workflow_execution  # type: ignore[attr-defined]

        async def taking(request: Any) -> Any:
            answer = await take(request)
            await client.get_workflow_handle("w").signal(Sleeps.say, "wait")
            return answer

        monkeypatch.setattr(to, "import_workflow_execution", taking)
        report = await migrate_runs(of, to, close_source=True)
        assert report.closed == 0
        assert "went on at the source" in report.refused[0][2]
        assert (await client.get_workflow_handle("w").describe()).status == WorkflowExecutionStatus.RUNNING
        await client.close()


async def test_runs_come_from_a_server(source: str, target: str) -> None:
    pytest.importorskip("grpc", reason="needs perdure[server]")
    from perdure.server import Server

    async with Server(source, port=0) as server:
        url = f"temporal://{server.address}"
        async with working(url) as client:
            await client.execute_workflow(Adds.run, 1, id="c", task_queue=QUEUE)
            await asleep(await client.start_workflow(Sleeps.run, 1.0, id="w", task_queue=QUEUE))
        report = await move(url, target, close_source=True)
        assert (report.copied, report.moved, report.closed, report.refused) == (1, 1, 1, [])
        assert await events(url, "c") == await events(target, "c") == await events(source, "c")
        assert (await move(url, target, close_source=True)).already == 2
    async with working(target) as client:
        moved = client.get_workflow_handle_for(Sleeps.run, "w")
        await moved.signal(Sleeps.say, "here")
        assert await moved.result() == "here"
        await Replayer(workflows=WORKFLOWS).replay_workflow(await moved.fetch_history())


_KILLED = """
import os, sys
from perdure.cli import _migrate, main

close = _migrate._close
calls = []

async def dying(*arguments):
    calls.append(arguments)
    if len(calls) == 2:
        os._exit(9)
    await close(*arguments)

_migrate._close = dying
main(sys.argv[1:])
"""


def test_a_killed_process_loses_nothing(tmp_path: Path) -> None:
    source, target = f"lmdb:{tmp_path / 'a'}", f"lmdb:{tmp_path / 'b'}"

    async def fill() -> None:
        async with working(source) as client:
            for number in range(3):
                await asleep(await client.start_workflow(Sleeps.run, 1000.0, id=f"w{number}", task_queue=QUEUE))

    asyncio.run(fill())
    words = ["migrate", "--from", source, "--to", target, "--close-source"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    killed = subprocess.run([sys.executable, "-c", _KILLED, *words], env=environment, check=False)
    assert killed.returncode == 9
    code, output = invoke(*words[1:])
    assert (code, output) == (
        0,
        "default: 0 copied, 1 open ones moved, 2 terminated at the source, 2 there already, 0 not moved\n",
    )


async def test_other_namespaces_are_made_with_their_retention(source: str, target: str) -> None:
    async with homes(source, target) as (of, to):
        retention = int(timedelta(days=9).total_seconds()) * 1_000_000_000
        await of.service.register_namespace(
            ws.RegisterNamespaceRequest("orders", workflow_execution_retention_period=retention)
        )
        orders = await Client.connect(source, namespace="orders")
        async with Worker(orders, task_queue=QUEUE, workflows=WORKFLOWS):
            await orders.execute_workflow(Adds.run, 1, id="w", task_queue=QUEUE)
        await orders.close()
        place = Source(of.service, "orders", "WorkflowType = 'Adds'")
        assert (await migrate_runs(place, to, dry_run=True)).copied == 1
        assert (await migrate_runs(place, to)).copied == 1
        described = await to.describe_namespace(ws.DescribeNamespaceRequest("orders"))
        assert described.config is not None
        assert described.config.workflow_execution_retention_ttl == retention


@pytest.mark.usefixtures("kept")
async def test_histories_as_files_replay(source: str, tmp_path: Path) -> None:
    async with working(source) as client:
        await client.execute_workflow(Adds.run, 1, id="a/b", task_queue=QUEUE)
    service = await connect(source)
    place, folder = Source(service, "default", ""), tmp_path / "out"
    assert (await export_runs(place, folder, dry_run=True)).copied == 1
    assert not folder.exists()
    assert (await export_runs(place, folder)).copied == 1
    assert (await export_runs(place, folder)).already == 1
    await service.close()
    (path,) = folder.rglob("*.json")
    history = WorkflowHistory.from_json("a/b", path.read_text())
    assert list(history.events) == await events(source, "a/b")
    await Replayer(workflows=WORKFLOWS).replay_workflow(history)


# ---- the command


def invoke(*words: str) -> tuple[int, str]:
    """Exit code and output."""
    result = CliRunner().invoke(cli, ["migrate", *words])
    return result.exit_code, result.output


def test_the_command_moves_and_reports(tmp_path: Path) -> None:
    source, target = f"lmdb:{tmp_path / 'a'}", f"lmdb:{tmp_path / 'b'}"

    async def fill() -> None:
        async with working(source) as client:
            await client.execute_workflow(Adds.run, 1, id="w", task_queue=QUEUE)
            await asleep(await client.start_workflow(Parent.run, id="parent", task_queue=QUEUE))

    asyncio.run(fill())
    code, output = invoke("--from", source, "--to", target, "--query", "WorkflowId = 'w'")
    assert (code, output) == (0, "default: 1 copied, 0 open ones moved, 0 there already, 0 not moved\n")
    code, output = invoke("--from", source, "--to", target, "--query", "WorkflowId != 'child'")
    assert code == 1
    assert "not moved: parent " in output
    assert "child workflows that have not closed" in output
    code, output = invoke("--from", source, "--export", str(tmp_path / "out"), "--query", "WorkflowId = 'w'")
    assert (code, output) == (0, "default: 1 written, 0 there already, 0 not moved\n")


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (("--from", "memory:"), "either --to URL or --export FOLDER"),
        (("--from", "memory:", "--to", "lmdb:x", "--export", "y"), "either --to URL or --export FOLDER"),
        (("--from", "memory:", "--export", "y", "--close-source"), "--close-source needs --to"),
        (("--from", "memory:", "--to", "temporal://nowhere"), "a server cannot take runs in"),
        (("--from", "lmdb:x", "--to", "lmdb:./x"), "the same home"),
        (("--from", "lmdb:x", "--to", "nowhere:"), "is not a home perdure knows"),
    ],
)
def test_what_does_not_fit_is_one_sentence(words: tuple[str, ...], text: str) -> None:
    code, output = invoke(*words)
    assert code != 0
    assert text in output.replace("\n", " ")
    assert "Traceback" not in output
