"""Histories made by perdure: Temporal's own Replayer must accept them."""

from pathlib import Path
from typing import Any

import pytest
from temporalio.client import WorkflowHistory
from temporalio.worker import Replayer, UnsandboxedWorkflowRunner

from perdure.api.common.v1 import WorkflowExecution
from perdure.api.nexus.v1 import EndpointSpec, EndpointTarget, EndpointTargetWorker
from perdure.api.operatorservice.v1 import CreateNexusEndpointRequest
from perdure.api.workflowservice.v1 import ResetWorkflowExecutionRequest
from perdure.client import Client
from perdure.worker import Worker

from . import catalog
from .driver import Driver


async def reset(client: Client, workflow_id: str, run_id: str, event_id: int) -> str:
    response = await client.workflow_service.reset_workflow_execution(
        ResetWorkflowExecutionRequest(
            namespace=client.namespace,
            workflow_execution=WorkflowExecution(workflow_id, run_id),
            reason="a reason",
            workflow_task_finish_event_id=event_id,
            request_id=f"reset-{workflow_id}",
        )
    )
    return response.run_id


async def no_registration_needed(types: dict[str, str]) -> None:
    """The embedded engine takes search attributes as they come."""


async def create_nexus_endpoint(client: Client, name: str, task_queue: str) -> None:
    worker = EndpointTargetWorker(client.namespace, task_queue)
    spec = EndpointSpec(name, target=EndpointTarget(worker))
    await client.operator_service.create_nexus_endpoint(CreateNexusEndpointRequest(spec))


@pytest.mark.parametrize("feature", sorted(catalog.features()))
async def test_temporal_replays_our_histories(feature: str, tmp_path: Path) -> None:
    module, theirs = catalog.load(feature, "perdure"), catalog.load(feature, "temporalio")
    histories: dict[str, tuple[str, str]] = {}
    async with await Client.connect(f"lmdb:{tmp_path}?durability=process") as client:
        driver = Driver(
            feature,
            module,
            client,
            Worker,
            lambda *where: reset(client, *where),
            no_registration_needed,
            lambda *endpoint: create_nexus_endpoint(client, *endpoint),
        )
        await module.drive(driver)
        for case, (workflow_id, run_id) in driver.kept.items():
            handle = client.get_workflow_handle(workflow_id, run_id=run_id)
            histories[case] = workflow_id, (await handle.fetch_history()).to_json()
    assert histories
    for case, (workflow_id, history) in histories.items():
        sets: list[list[Any]] = getattr(theirs, "REPLAYS", {}).get(case, [theirs.WORKFLOWS])
        for workflows in sets:
            replayer = Replayer(workflows=workflows, workflow_runner=UnsandboxedWorkflowRunner())
            await replayer.replay_workflow(WorkflowHistory.from_json(workflow_id, history))
