"""Record the golden histories on a real Temporal server.

    python -m tests.replay.record --address 127.0.0.1:7233 [feature ...]
    python -m tests.replay.record --address 127.0.0.1:7233 --go

Drives every feature's workflows with Temporal's own Python SDK (or those in go/ with its Go SDK) and writes
`<feature>/<case>.<producer>.json` in Temporal's JSON form, one event a line, without paths of this machine. Workflow
ids are fixed, so use a fresh server: `temporal server start-dev --headless`.
"""

import argparse
import asyncio
import contextlib
import json
import re
import socket
import subprocess
import sys
from collections.abc import Iterable
from datetime import timedelta
from pathlib import Path
from typing import Any

import temporalio
from google.protobuf.duration_pb2 import Duration
from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.enums.v1 import IndexedValueType
from temporalio.api.operatorservice.v1 import AddSearchAttributesRequest, CreateNexusEndpointRequest
from temporalio.api.workflowservice.v1 import RegisterNamespaceRequest, ResetWorkflowExecutionRequest
from temporalio.client import Client
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

from . import catalog
from .driver import Driver

NAMESPACE = "replay"
IDENTITY = "recorder"
ROOT = Path(__file__).parents[2]


def scrub(history: str) -> dict[str, Any]:
    """The history without what only this machine has: its name, and where its sources and its Python are."""
    for path in sorted({str(ROOT), sys.prefix, sys.base_prefix}, key=len, reverse=True):
        history = history.replace(f"{path}/", "")
    host = re.escape(socket.gethostname())
    history = re.sub(rf'"\d+@{host}@?"', f'"{IDENTITY}"', history)
    history = re.sub(rf'"{host}:', f'"{IDENTITY}:', history)
    return json.loads(history)


def write(path: Path, history: dict[str, Any]) -> None:
    """One event a line: small, and a diff says which event changed."""
    lines = ",\n".join(json.dumps(event, separators=(",", ":")) for event in history["events"])
    path.write_text(f'{{"events": [\n{lines}\n]}}\n')


async def export(client: Client, kept: dict[str, tuple[str, str]], folder: Path, producer: str) -> None:
    folder.mkdir(exist_ok=True)
    for case, (workflow_id, run_id) in kept.items():
        history = await client.get_workflow_handle(workflow_id, run_id=run_id).fetch_history()
        write(folder / f"{case}.{producer}.json", scrub(history.to_json()))


async def add_search_attributes(client: Client, types: dict[str, str]) -> None:
    for name, kind in types.items():
        request = AddSearchAttributesRequest(namespace=NAMESPACE)
        request.search_attributes[name] = IndexedValueType.Value(f"INDEXED_VALUE_TYPE_{kind}")
        with contextlib.suppress(temporalio.service.RPCError):
            await client.operator_service.add_search_attributes(request)


async def create_nexus_endpoint(client: Client, name: str, task_queue: str) -> None:
    request = CreateNexusEndpointRequest()
    request.spec.name = name
    request.spec.target.worker.namespace = NAMESPACE
    request.spec.target.worker.task_queue = task_queue
    await client.operator_service.create_nexus_endpoint(request)


async def reset(client: Client, workflow_id: str, run_id: str, event_id: int) -> str:
    response = await client.workflow_service.reset_workflow_execution(
        ResetWorkflowExecutionRequest(
            namespace=NAMESPACE,
            workflow_execution=WorkflowExecution(workflow_id=workflow_id, run_id=run_id),
            reason="a reason",
            workflow_task_finish_event_id=event_id,
            request_id=f"reset-{workflow_id}",
        )
    )
    return response.run_id


async def record(client: Client, feature: str, turns: asyncio.Semaphore) -> bool:
    """Drive one feature and write its histories; False, with the reason printed, if it did not do as expected."""
    module = catalog.load(feature, "temporalio")
    driver = Driver(
        feature,
        module,
        client,
        lambda client, **options: Worker(client, workflow_runner=UnsandboxedWorkflowRunner(), **options),
        lambda workflow_id, run_id, event_id: reset(client, workflow_id, run_id, event_id),
        lambda types: add_search_attributes(client, types),
        lambda name, task_queue: create_nexus_endpoint(client, name, task_queue),
    )
    async with turns:
        try:
            async with asyncio.timeout(120):
                await module.drive(driver)
        except Exception as error:
            print(f"{feature}: {type(error).__name__}: {error}", file=sys.stderr)
            return False
        await export(client, driver.kept, catalog.HERE / feature, f"python-{temporalio.service.__version__}")
        print(f"{feature}: {', '.join(driver.kept)}")
        return True


async def record_go(client: Client, address: str) -> bool:
    """Run the Go workflows; their program prints `feature case workflow_id run_id` and the SDK's version."""
    await add_search_attributes(client, {"ReplayKeyword": "KEYWORD", "ReplayInt": "INT"})
    output = subprocess.run(
        ["go", "run", ".", "-address", address, "-namespace", NAMESPACE],
        cwd=catalog.HERE / "go",
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    ).stdout
    rows = [line.split() for line in output.splitlines()]
    version = next(row[1] for row in rows if row[0] == "sdk")
    for feature, case, workflow_id, run_id in (row for row in rows if len(row) == 4):
        await export(client, {case: (workflow_id, run_id)}, catalog.HERE / feature, f"go-{version}")
        print(f"{feature}: {case}")
    return True


async def main(arguments: Iterable[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--address", default="127.0.0.1:7233")
    parser.add_argument("--go", action="store_true", help="record the Go workflows instead of the Python ones")
    parser.add_argument("feature", nargs="*")
    options = parser.parse_args(arguments)
    client = await Client.connect(options.address, identity=IDENTITY)
    with contextlib.suppress(temporalio.service.RPCError):
        await client.workflow_service.register_namespace(
            RegisterNamespaceRequest(
                namespace=NAMESPACE,
                workflow_execution_retention_period=Duration(seconds=int(timedelta(days=1).total_seconds())),
            )
        )
        await asyncio.sleep(11)  # The server's own caches learn of a new namespace within ten seconds.
    client = await Client.connect(options.address, namespace=NAMESPACE, identity=IDENTITY)
    if options.go:
        return 0 if await record_go(client, options.address) else 1
    turns = asyncio.Semaphore(4)
    done = await asyncio.gather(*(record(client, name, turns) for name in options.feature or catalog.features()))
    return 0 if all(done) else 1


if __name__ == "__main__":
    raise SystemExit(asyncio.run(main()))
