"""Archival over the wire: Temporal's SDK and command line tool, and where a server's callers may archive to."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import temporalio.client
from google.protobuf.duration_pb2 import Duration
from temporalio.api.enums.v1 import ArchivalState
from temporalio.api.namespace.v1 import NamespaceConfig
from temporalio.api.workflowservice.v1 import (
    DeleteWorkflowExecutionRequest,
    DescribeNamespaceRequest,
    ListArchivedWorkflowExecutionsRequest,
    RegisterNamespaceRequest,
    UpdateNamespaceRequest,
)
from temporalio.service import RPCError, RPCStatusCode

from perdure.api.workflowservice import v1 as ws
from perdure.client import Client
from perdure.engine import archival
from perdure.server import Server
from perdure.server._archival import is_below
from tests.archival.programs import run_many, working
from tests.server.test_temporal_cli import PROGRAM, Cli
from tests.support.homes import STORES, home_url

ENABLED = ArchivalState.ARCHIVAL_STATE_ENABLED


@pytest.fixture(params=STORES)
async def server(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Server]:
    """A server that lets its callers archive below one folder; what closes is in the archive at once."""
    monkeypatch.setattr(archival, "INTERVAL", 0.02)
    monkeypatch.setattr(archival, "SETTLED_NS", 0)
    home = home_url(request.param, tmp_path)
    async with Server(home, port=0, drain_seconds=1, archival_uris=[f"file://{tmp_path}/archives"]) as running:
        yield running


@pytest.fixture
def uri(tmp_path: Path) -> str:
    """An archive that is allowed."""
    return f"file://{tmp_path}/archives/shop"


async def fill(server: Server, namespace: str) -> str:
    """Three runs in the archive, of which one has been deleted; returns its run id."""
    inside = Client(server.service, namespace=namespace)
    async with working(inside):
        await run_many(inside, 3)
    return (await inside.get_workflow_handle("w1").describe()).run_id


async def test_temporals_sdk_archives_lists_and_fetches(server: Server, uri: str) -> None:
    client = await temporalio.client.Client.connect(server.address, namespace="shop")
    service = client.workflow_service
    await service.register_namespace(
        RegisterNamespaceRequest(
            namespace="shop",
            workflow_execution_retention_period=Duration(seconds=86400),
            history_archival_state=ENABLED,
            history_archival_uri=uri,
        )
    )
    await service.update_namespace(
        UpdateNamespaceRequest(
            namespace="shop", config=NamespaceConfig(visibility_archival_state=ENABLED, visibility_archival_uri=uri)
        )
    )
    config = (await service.describe_namespace(DescribeNamespaceRequest(namespace="shop"))).config
    assert (config.history_archival_state, config.history_archival_uri) == (ENABLED, uri)
    assert (config.visibility_archival_state, config.visibility_archival_uri) == (ENABLED, uri)
    run_id = await fill(server, "shop")
    request = ListArchivedWorkflowExecutionsRequest(namespace="shop", query="WorkflowType = 'Double'", page_size=10)
    async with asyncio.timeout(20):
        while len((await service.list_archived_workflow_executions(request)).executions) < 3:
            await asyncio.sleep(0.02)
    handle = client.get_workflow_handle("w1", run_id=run_id)
    before = await handle.fetch_history()
    await service.delete_workflow_execution(
        DeleteWorkflowExecutionRequest(
            namespace="shop",
            workflow_execution={"workflow_id": "w1", "run_id": run_id},  # type: ignore[arg-type]
        )
    )
    assert (await handle.fetch_history()).to_json_dict() == before.to_json_dict()
    over_the_wire = await Client.connect(server.address, namespace="shop")
    history = await over_the_wire.get_workflow_handle("w1", run_id=run_id).fetch_history()
    assert len(history.events) == len(before.events)
    listed = await over_the_wire.workflow_service.list_archived_workflow_executions(
        ws.ListArchivedWorkflowExecutionsRequest("shop", query="WorkflowId = 'w1'")
    )
    assert [info.execution.run_id for info in listed.executions if info.execution is not None] == [run_id]
    await over_the_wire.close()
    with pytest.raises(RPCError, match="workflow not found") as raised:
        await handle.fetch_history(skip_archival=True)
    assert raised.value.status is RPCStatusCode.NOT_FOUND


async def test_callers_archive_only_where_they_may(server: Server, uri: str) -> None:
    client = await temporalio.client.Client.connect(server.address)
    service = client.workflow_service
    for wrong in ("file:///etc", uri.replace("/shop", "-not"), uri + "/../../out", "s3://bucket"):
        with pytest.raises(RPCError, match="This server does not archive to") as raised:
            await service.update_namespace(
                UpdateNamespaceRequest(
                    namespace="default",
                    config=NamespaceConfig(history_archival_state=ENABLED, history_archival_uri=wrong),
                )
            )
        assert raised.value.status is RPCStatusCode.PERMISSION_DENIED
        with pytest.raises(RPCError, match="This server does not archive to"):
            await service.register_namespace(
                RegisterNamespaceRequest(
                    namespace="x",
                    workflow_execution_retention_period=Duration(seconds=86400),
                    visibility_archival_uri=wrong,
                )
            )
    config = (await service.describe_namespace(DescribeNamespaceRequest(namespace="default"))).config
    assert (config.history_archival_uri, config.visibility_archival_uri) == ("", "")


@pytest.mark.parametrize(
    ("uri", "place", "holds"),
    [
        ("file:///a/b", "file:///a/b", True),
        ("file:///a/b/c", "file:///a/b/", True),
        ("file:///a/bc", "file:///a/b", False),
        ("file:///a/b/../c", "file:///a/b", False),
        ("file:///a/b/%2E%2E/c", "file:///a/b", False),
        ("s3://x/y?region=r", "s3://x?region=r", True),
        ("s3://x/y?region=r&endpoint=http://e", "s3://x?region=r", False),
        ("s3://xy", "s3://x", False),
        ("file://[", "file:///a", False),
    ],
)
def test_what_is_below_a_place(uri: str, place: str, holds: bool) -> None:
    assert is_below(uri, place) is holds


def test_a_place_that_is_none_is_refused_at_once() -> None:
    with pytest.raises(ValueError, match="no scheme that an archiver knows"):
        Server("memory:", archival_uris=["/var/archive"])


@pytest.mark.skipif(not PROGRAM, reason="set TEMPORAL_CLI to the temporal program to run this")
async def test_temporals_command_line_tool(server: Server, uri: str, tmp_path: Path) -> None:
    cli = Cli(server.address, tmp_path)
    create = ("operator", "namespace", "create", "--namespace", "shop", "--retention", "1d")
    await cli.run(*create, "--history-archival-state", "enabled", "--history-uri", uri)
    await cli.run("operator", "namespace", "update", "--namespace", "shop", "--visibility-archival-state", "enabled",
                  "--visibility-uri", uri)  # fmt: skip
    described = await cli.json("operator", "namespace", "describe", "--namespace", "shop")
    assert described["config"]["historyArchivalState"] == "ARCHIVAL_STATE_ENABLED"
    assert described["config"]["visibilityArchivalUri"] == uri
    run_id = await fill(server, "shop")
    async with asyncio.timeout(30):
        while len(await cli.json("workflow", "list", "--archived", "--namespace", "shop")) < 3:
            await asyncio.sleep(0.02)
    found = await cli.json("workflow", "list", "--archived", "--namespace", "shop", "--query", "WorkflowId = 'w1'")
    assert [run["execution"]["runId"] for run in found] == [run_id]
    await cli.run("workflow", "delete", "--namespace", "shop", "--workflow-id", "w1", "--run-id", run_id)
    shown = await cli.json("workflow", "show", "--namespace", "shop", "--workflow-id", "w1", "--run-id", run_id)
    assert shown["events"][-1]["eventType"] == "EVENT_TYPE_WORKFLOW_EXECUTION_COMPLETED"
    await cli.run("operator", "namespace", "update", "--namespace", "shop", "--history-archival-state", "disabled")
    refused = await cli.run(
        "operator", "namespace", "update", "--namespace", "shop", "--history-uri", "file:///etc", code=1
    )
    assert "does not archive to" in refused
