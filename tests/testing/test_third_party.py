"""Libraries at the top of workflow files: they work, and are never imported anew. Names of Temporal's sandbox."""

from __future__ import annotations

import importlib
import sys
from dataclasses import replace
from typing import Any

import pytest

from perdure import activity, workflow
from perdure.testing import WorkflowEnvironment
from perdure.worker import Replayer, Worker
from perdure.worker.workflow_sandbox import (
    RestrictedWorkflowAccessError,
    SandboxedWorkflowRunner,
    SandboxMatcher,
    SandboxRestrictions,
)
from tests.testing.third_party import loads

EXPECTED = {
    "pydantic": '{"number":17,"items":["tea"]} 1',
    "numpy": "45 1 94",
    "loguru": "logged",
    "uvicorn": "Config ColourizedFormatter",
    "openai": "hello True",
}

RESTRICTIONS = replace(
    SandboxRestrictions.default.with_passthrough_modules("pydantic", "numpy"),
    invalid_module_members=SandboxRestrictions.invalid_module_members_default.with_child_unrestricted(
        "datetime", "date", "today"
    )
    | SandboxMatcher(children={"wave": SandboxMatcher(use={"open"})}),
)


@activity.defn
async def same(value: list[str]) -> list[str]:
    return value


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("library", EXPECTED)
async def test_a_library_at_the_top_of_a_workflow_file(library: str) -> None:
    pytest.importorskip(library)
    module: Any = importlib.import_module(f"tests.testing.third_party.with_{library}")
    before = {name: found for name, found in sys.modules.items() if name.partition(".")[0] == library}
    async with await WorkflowEnvironment.start_time_skipping() as env:
        for runner in (None, SandboxedWorkflowRunner(restrictions=RESTRICTIONS)):
            options: Any = {} if runner is None else {"workflow_runner": runner}
            async with Worker(
                env.client,
                task_queue="tq",
                workflows=[module.Uses],
                activities=[same],
                max_cached_workflows=0,
                **options,
            ):
                id = f"{library}-{runner is None}"
                handle = await env.client.start_workflow(module.Uses.run, id=id, task_queue="tq")
                assert await handle.result() == EXPECTED[library]
        await Replayer(workflows=[module.Uses]).replay_workflow(await handle.fetch_history())
    assert loads[library] == 1
    assert {name: sys.modules[name] for name in before} == before


def test_sandbox_names() -> None:
    restrictions = RESTRICTIONS.with_passthrough_all_modules()
    assert restrictions.passthrough_all_modules
    assert {"pydantic", "numpy"} <= restrictions.passthrough_modules
    children = dict(SandboxRestrictions.invalid_module_members_default.children)
    del children["datetime"]  # as programs do that want pydantic's older versions to see the real class
    assert SandboxedWorkflowRunner(restrictions=restrictions, runner_class=None).is_guarded


@workflow.defn
class Opens:
    @workflow.run
    async def run(self) -> None:
        open(__file__).close()


@workflow.defn(sandboxed=False)
class OpensUnguarded:
    @workflow.run
    async def run(self) -> None:
        open(__file__).close()


@workflow.defn
class OpensOnPurpose:
    @workflow.run
    async def run(self) -> None:
        with workflow.unsafe.sandbox_unrestricted():
            open(__file__).close()
        with workflow.unsafe.imports_passed_through():
            import wave
        assert wave.__name__ == "wave"
        assert not workflow.unsafe.is_sandbox_unrestricted()


async def test_what_the_guard_refuses_has_temporals_name() -> None:
    assert issubclass(RestrictedWorkflowAccessError, workflow.NondeterminismError)
    assert RestrictedWorkflowAccessError("x.y").qualified_name == "x.y"
    async with await WorkflowEnvironment.start_time_skipping() as env:
        async with Worker(
            env.client,
            task_queue="tq",
            workflows=[Opens, OpensUnguarded, OpensOnPurpose],
            workflow_failure_exception_types=[workflow.NondeterminismError],
        ):
            for allowed in (OpensUnguarded, OpensOnPurpose):
                await env.client.execute_workflow(allowed.run, id=allowed.__name__, task_queue="tq")
            with pytest.raises(Exception) as failed:
                await env.client.execute_workflow(Opens.run, id="refused", task_queue="tq")
        cause: Any = failed.value.__cause__
        assert cause.type == "RestrictedWorkflowAccessError"
        assert "a workflow touches no files" in cause.message
