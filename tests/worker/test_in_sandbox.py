"""``workflow.unsafe.in_sandbox()`` tells whether the determinism guard watches the workflow."""

from __future__ import annotations

import pytest

from perdure import Client, Worker, workflow
from perdure.worker import UnsandboxedWorkflowRunner


@workflow.defn
class Guarded:
    @workflow.run
    async def run(self) -> list[bool]:
        with workflow.unsafe.sandbox_unrestricted():
            inside = workflow.unsafe.in_sandbox()
        return [workflow.unsafe.in_sandbox(), inside]


@workflow.defn(sandboxed=False)
class Unguarded:
    @workflow.run
    async def run(self) -> list[bool]:
        return [workflow.unsafe.in_sandbox()]


@pytest.mark.parametrize(
    ("workflow_name", "options", "expected"),
    [
        ("Guarded", {}, [True, False]),
        ("Unguarded", {}, [False]),
        ("Guarded", {"workflow_runner": UnsandboxedWorkflowRunner()}, [False, False]),
    ],
)
async def test_only_guarded_workflows_are_in_the_sandbox(
    workflow_name: str, options: dict[str, UnsandboxedWorkflowRunner], expected: list[bool]
) -> None:
    assert not workflow.unsafe.in_sandbox()
    async with await Client.connect("memory:") as client:
        async with Worker(client, task_queue="queue", workflows=[Guarded, Unguarded], **options):  # type: ignore[arg-type]
            assert await client.execute_workflow(workflow_name, id="w", task_queue="queue") == expected
