"""Temporal's own command line tool against the server: runs where ``TEMPORAL_CLI`` names the program."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import temporalio.client

from perdure.server import Server
from tests.server.test_sdk import working

PROGRAM = os.environ.get("TEMPORAL_CLI", "")
pytestmark = pytest.mark.skipif(not PROGRAM, reason="set TEMPORAL_CLI to the temporal program to run this")


class Cli:
    """Runs commands."""

    def __init__(self, address: str, home: Path) -> None:
        self.address = address
        self.home = home

    async def run(self, *words: str, code: int = 0) -> str:
        """The output of a command, which must end with that code."""
        process = await asyncio.create_subprocess_exec(
            PROGRAM,
            *words,
            "--address",
            self.address,
            env={**os.environ, "HOME": str(self.home), "TEMPORAL_CONFIG_FILE": str(self.home / "none.toml")},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        output, errors = await process.communicate()
        assert (process.returncode == 0) == (code == 0), f"{' '.join(words)}: {output.decode()}{errors.decode()}"
        return (output if code == 0 else errors).decode()

    async def json(self, *words: str) -> Any:
        """What a command prints as JSON."""
        return json.loads(await self.run(*words, "--output", "json"))


@pytest.fixture
async def cli(server: Server, tmp_path: Path) -> Cli:
    return Cli(server.address, tmp_path)


@pytest.fixture
async def worker(client: temporalio.client.Client) -> AsyncIterator[None]:
    async with working(client):
        yield


START = ("--type", "Counter", "--task-queue", "q")


async def test_workflow_start_describe_list_count_show(cli: Cli, worker: None) -> None:
    started = await cli.json("workflow", "start", *START, "--workflow-id", "w", "--memo", 'a="b"')
    assert started["workflowId"] == "w"
    described = await cli.json("workflow", "describe", "--workflow-id", "w")
    assert described["workflowExecutionInfo"]["status"] == "WORKFLOW_EXECUTION_STATUS_RUNNING"
    listed = await cli.json("workflow", "list", "--query", 'WorkflowType = "Counter"')
    assert [run["execution"]["workflowId"] for run in listed] == ["w"]
    assert "Total: 1" in await cli.run("workflow", "count")
    shown = await cli.json("workflow", "show", "--workflow-id", "w")
    assert shown["events"][0]["eventType"] == "EVENT_TYPE_WORKFLOW_EXECUTION_STARTED"
    assert "WorkflowExecutionStarted" in await cli.run("workflow", "show", "--workflow-id", "w")
    refused = await cli.run("workflow", "start", *START, "--workflow-id", "w", "--fail-existing", code=1)
    assert "already" in refused


async def test_workflow_signal_query_update_result(cli: Cli, worker: None) -> None:
    await cli.run("workflow", "start", *START, "--workflow-id", "w")
    await cli.run("workflow", "signal", "--workflow-id", "w", "--name", "add", "--input", "2")
    query = await cli.json("workflow", "query", "--workflow-id", "w", "--type", "current")
    assert query["queryResult"] == [2]
    update = ("--workflow-id", "w", "--name", "add_and_tell", "--input", "3")
    assert "5" in await cli.run("workflow", "update", "execute", *update)
    await cli.run("workflow", "update", "start", *update, "--wait-for-stage", "accepted", "--update-id", "u")
    assert "8" in await cli.run("workflow", "update", "result", "--workflow-id", "w", "--update-id", "u")
    assert "8" in await cli.run("workflow", "update", "describe", "--workflow-id", "w", "--update-id", "u")
    assert "add_and_tell" in await cli.run("workflow", "metadata", "--workflow-id", "w")
    await cli.run("workflow", "stack", "--workflow-id", "w")
    await cli.run("workflow", "signal", "--workflow-id", "w", "--name", "finish")
    assert (await cli.json("workflow", "result", "--workflow-id", "w"))["result"] == 8
    await cli.run("workflow", "trace", "--workflow-id", "w")


async def test_workflow_execute_and_the_starts_that_do_more(cli: Cli, worker: None) -> None:
    executed = await cli.run(
        "workflow", "execute", "--type", "Greet", "--task-queue", "q", "--workflow-id", "g", "--input", '"you"'
    )
    assert "Hello, you!" in executed
    await cli.run(
        "workflow", "signal-with-start", *START, "--workflow-id", "s", "--signal-name", "add", "--signal-input", "1"
    )
    both = (*START, "--workflow-id", "s", "--id-conflict-policy", "UseExisting", "--update-name", "add_and_tell",
            "--update-input", "1")  # fmt: skip
    assert "2" in await cli.run("workflow", "execute-update-with-start", *both)
    await cli.run("workflow", "start-update-with-start", *both, "--update-wait-for-stage", "accepted")


async def test_workflow_endings(cli: Cli, worker: None) -> None:
    for workflow_id in "abcd":
        await cli.run("workflow", "start", *START, "--workflow-id", workflow_id)
    await cli.run("workflow", "cancel", "--workflow-id", "a")
    await cli.run("workflow", "terminate", "--workflow-id", "b", "--reason", "enough")
    await cli.run("workflow", "delete", "--workflow-id", "c", "--yes")
    await cli.run("workflow", "reset", "--workflow-id", "d", "--event-id", "3", "--reason", "again")
    await cli.run("workflow", "reset", "--workflow-id", "d", "--type", "FirstWorkflowTask", "--reason", "again")
    described = await cli.json("workflow", "describe", "--workflow-id", "b")
    assert described["workflowExecutionInfo"]["status"] == "WORKFLOW_EXECUTION_STATUS_TERMINATED"


async def test_workflow_pause_and_options(cli: Cli, worker: None) -> None:
    await cli.run("workflow", "start", *START, "--workflow-id", "w")
    await cli.run("workflow", "pause", "--workflow-id", "w", "--reason", "wait")
    await cli.run("workflow", "unpause", "--workflow-id", "w", "--reason", "go on")
    await cli.run("workflow", "update-options", "--workflow-id", "w", "--versioning-override-behavior", "auto_upgrade")


async def test_batches(cli: Cli, worker: None) -> None:
    for number in range(3):
        await cli.run("workflow", "start", *START, "--workflow-id", f"w{number}")
    query = ("--query", 'WorkflowType = "Counter"', "--reason", "all", "--yes")
    await cli.run("workflow", "signal", "--name", "add", "--input", "1", *query)
    await cli.run("workflow", "cancel", *query)
    await cli.run("workflow", "terminate", *query)
    await cli.run("workflow", "reset", "--type", "FirstWorkflowTask", *query)
    await cli.run("workflow", "delete", *query)
    jobs = await cli.json("batch", "list")
    assert len(jobs) == 5
    job = jobs[0]["jobId"]
    assert "6/6" in await cli.run("batch", "describe", "--job-id", job)
    done = await cli.run("batch", "terminate", "--job-id", job, "--reason", "stop", code=1)
    assert "could not find" in done


async def test_activities_of_workflows(cli: Cli, worker: None) -> None:
    start = ("workflow", "start", "--type", "Activities", "--task-queue", "q")
    await cli.run(*start, "--workflow-id", "w", "--input", '"elsewhere"')
    while not (await cli.json("workflow", "describe", "--workflow-id", "w")).get("pendingActivities"):
        pass
    one = ("--workflow-id", "w", "--activity-id", "1")
    await cli.run("activity", "update-options", *one, "--start-to-close-timeout", "50s")
    await cli.run("activity", "pause", *one)
    await cli.run("activity", "unpause", *one)
    await cli.run("activity", "reset", *one)
    await cli.run("activity", "complete", *one, "--result", '"done"')
    assert (await cli.json("workflow", "result", "--workflow-id", "w"))["result"] == "done"
    await cli.run(*start, "--workflow-id", "f", "--input", '"elsewhere"')
    while not (await cli.json("workflow", "describe", "--workflow-id", "f")).get("pendingActivities"):
        pass
    await cli.run("activity", "fail", "--workflow-id", "f", "--activity-id", "1", "--reason", "no")


async def test_activities_alone(cli: Cli, worker: None) -> None:
    start = ("--type", "greet", "--task-queue", "q", "--start-to-close-timeout", "10s", "--input", '"you"')
    assert "Hello, you!" in await cli.run("activity", "execute", *start, "--activity-id", "a")
    await cli.run("activity", "start", *start, "--activity-id", "b")
    assert "Hello, you!" in await cli.run("activity", "result", "--activity-id", "b")
    assert "greet" in await cli.run("activity", "describe", "--activity-id", "b")
    assert len(await cli.json("activity", "list")) == 2
    assert "2" in await cli.run("activity", "count")
    await cli.run("activity", "delete", "--activity-id", "b", "--yes")
    idle = ("--type", "greet", "--task-queue", "nobody", "--start-to-close-timeout", "10s")
    await cli.run("activity", "start", *idle, "--activity-id", "c")
    await cli.run("activity", "cancel", "--activity-id", "c")
    await cli.run("activity", "start", *idle, "--activity-id", "d")
    await cli.run("activity", "terminate", "--activity-id", "d")


async def test_schedules(cli: Cli, worker: None) -> None:
    one = ("--schedule-id", "s")
    action = ("--workflow-id", "w", "--type", "Greet", "--task-queue", "q", "--input", '"you"')
    await cli.run("schedule", "create", *one, "--interval", "1h", *action)
    assert "s" in await cli.run("schedule", "list")
    assert "Greet" in await cli.run("schedule", "describe", *one)
    await cli.run("schedule", "toggle", *one, "--pause", "--reason", "for now")
    await cli.run("schedule", "toggle", *one, "--unpause", "--reason", "go on")
    await cli.run("schedule", "trigger", *one)
    times = ("--start-time", "2026-01-01T00:00:00Z", "--end-time", "2026-01-01T05:00:00Z")
    await cli.run("schedule", "backfill", *one, "--overlap-policy", "AllowAll", *times)
    await cli.run("schedule", "list-matching-times", *one, *times)
    await cli.run("schedule", "update", *one, "--cron", "0 12 * * *", *action)
    await cli.run("schedule", "delete", *one)
    await cli.run("schedule", "describe", *one, code=1)


async def test_task_queues(cli: Cli, worker: None) -> None:
    queue = ("--task-queue", "q")
    assert "UNVERSIONED" in await cli.run("task-queue", "describe", *queue)
    assert "pollers" in await cli.run("task-queue", "describe", *queue, "--output", "json")
    await cli.run("task-queue", "config", "set", *queue, "--task-queue-type", "activity", "--queue-rps-limit", "100",
                  "--queue-rps-limit-reason", "test")  # fmt: skip
    assert "100" in await cli.run("task-queue", "config", "get", *queue, "--task-queue-type", "activity")
    assert "q" in await cli.run("task-queue", "list-partition", *queue)
    # The two generations of versioning before worker deployments are off, as they are on a Temporal server.
    for words in (
        ("update-build-ids", "add-new-default", "--build-id", "1"),
        ("get-build-ids",),
        ("versioning", "insert-assignment-rule", "--build-id", "1", "--yes"),
        ("versioning", "get-rules"),
    ):
        await cli.run("task-queue", *words, *queue, code=1)


async def test_namespaces(cli: Cli) -> None:
    await cli.run("operator", "namespace", "create", "--namespace", "n", "--retention", "3d", "--description", "mine")
    assert "mine" in await cli.run("operator", "namespace", "describe", "--namespace", "n")
    await cli.run("operator", "namespace", "update", "--namespace", "n", "--retention", "5d", "--data", "a=b")
    assert "n" in await cli.run("operator", "namespace", "list")
    await cli.run("operator", "namespace", "delete", "--namespace", "n", "--yes")
    await cli.run("operator", "namespace", "describe", "--namespace", "n", code=1)


async def test_search_attributes(cli: Cli) -> None:
    await cli.run("operator", "search-attribute", "create", "--name", "Shape", "--type", "Keyword")
    assert "Shape" in await cli.run("operator", "search-attribute", "list")
    await cli.run("operator", "search-attribute", "remove", "--name", "Shape", "--yes")
    assert "Shape" not in await cli.run("operator", "search-attribute", "list")


async def test_the_cluster(cli: Cli) -> None:
    assert "SERVING" in await cli.run("operator", "cluster", "health")
    assert "1.32.0" in await cli.run("operator", "cluster", "system")
    assert "active" in await cli.run("operator", "cluster", "describe", "--detail")
