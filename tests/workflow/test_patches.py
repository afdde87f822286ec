"""Code that changed while workflows run."""

from __future__ import annotations

import pytest

from perdure import workflow
from perdure.workflow._definition import _Definition
from tests.workflow.mini_server import SHORT, MiniServer, kinds


@workflow.defn
class PatchedWorkflow:
    @workflow.run
    async def run(self) -> list[bool]:
        answers = [workflow.patched("one")]
        await workflow.execute_activity("x", start_to_close_timeout=SHORT)
        answers += [workflow.patched("one"), workflow.patched("two")]
        return answers


@workflow.defn(name="PatchedWorkflow")
class UnpatchedWorkflow:
    @workflow.run
    async def run(self) -> list[bool]:
        await workflow.execute_activity("x", start_to_close_timeout=SHORT)
        return []


@workflow.defn(name="PatchedWorkflow")
class DeprecatedWorkflow:
    @workflow.run
    async def run(self) -> list[bool]:
        workflow.deprecate_patch("one")
        await workflow.execute_activity("x", start_to_close_timeout=SHORT)
        workflow.deprecate_patch("two")
        return []


def test_patches() -> None:
    server = MiniServer(PatchedWorkflow)
    server.turn()
    assert kinds(server) == ["record_marker", "upsert_workflow_search_attributes", "schedule_activity_task"]
    server.complete_activity()
    server.turn(cached=False)
    assert kinds(server) == ["record_marker", "upsert_workflow_search_attributes", "complete_workflow_execution"]
    fields = server.commands[1].attributes.search_attributes.indexed_fields  # type: ignore[attr-defined]
    assert fields["TemporalChangeVersion"].data == b'["one","two"]'
    assert server.result == [True, True, True]
    server.replay()
    server.definition = _Definition.must_from_class(DeprecatedWorkflow)
    server.replay()
    server.definition = _Definition.must_from_class(UnpatchedWorkflow)
    with pytest.raises(workflow.NondeterminismError, match="patch 'one'"):
        server.replay()


def test_code_newer_than_the_history() -> None:
    server = MiniServer(UnpatchedWorkflow)
    server.turn()
    server.complete_activity()
    server.definition = _Definition.must_from_class(PatchedWorkflow)
    server.turn(cached=False)
    # Before the patch existed this point was passed, after it a new one is taken.
    assert server.result == [False, False, True]
    server.replay()
