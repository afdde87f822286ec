"""Child workflows, and what a workflow goes on as."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from perdure import workflow
from perdure.exceptions import (
    ChildWorkflowError,
    WorkflowAlreadyStartedError,
)
from perdure.workflow import ChildWorkflowCancellationType
from tests.workflow.mini_server import MiniServer, kinds


@workflow.defn
class Parent:
    @workflow.run
    async def run(self, how: str) -> str:
        try:
            handle = await workflow.start_child_workflow(
                "Child",
                how,
                id="child-1",
                cancellation_type=ChildWorkflowCancellationType.WAIT_CANCELLATION_COMPLETED,
            )
        except WorkflowAlreadyStartedError as error:
            return f"already: {error.workflow_id}"
        assert (handle.id, handle.first_execution_run_id) == ("child-1", "child-run")
        await handle.signal("hello", 1)
        try:
            return str(await handle)
        except ChildWorkflowError as error:
            return f"{error.message} / {type(error.cause).__name__}"


@pytest.mark.parametrize("cached", [True, False])
def test_children(cached: bool) -> None:
    server = MiniServer(Parent, "x")
    server.turn()
    assert kinds(server) == ["start_child_workflow_execution"]
    server.start_child()
    server.turn(cached=cached)
    assert kinds(server) == ["signal_external_workflow_execution"]
    assert server.commands[0].attributes.child_workflow_only  # type: ignore[attr-defined]
    server.external_signaled()
    server.turn(cached=cached)
    server.complete_child("grown")
    server.turn(cached=cached)
    assert server.result == "grown"
    server.replay()


def test_a_child_whose_id_is_taken() -> None:
    server = MiniServer(Parent, "x")
    server.turn()
    server.fail_child_start()
    server.turn(cached=False)
    assert server.result == "already: child-1"


@workflow.defn
class Renewing:
    @workflow.run
    async def run(self, count: int) -> int:
        if count:
            workflow.continue_as_new(count - 1, memo={"left": count - 1})
        return count


def test_continue_as_new() -> None:
    server = MiniServer(Renewing, 3)
    server.turn()
    assert kinds(server) == ["continue_as_new_workflow_execution"]
    attributes: Any = server.commands[0].attributes
    assert attributes.input.payloads[0].data == b"2"
    assert attributes.workflow_type.name == "Renewing"
    assert attributes.memo.fields["left"].data == b"2"
    server.replay()


@workflow.defn
class RenewingInGroup:
    @workflow.run
    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(self._renew())

    async def _renew(self) -> None:
        workflow.continue_as_new()


def test_continue_as_new_from_a_task_group() -> None:
    server = MiniServer(RenewingInGroup)
    server.turn()
    assert kinds(server) == ["continue_as_new_workflow_execution"]
