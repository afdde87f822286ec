"""Bad input inside workflows: the workflow is told where it called, and the worker goes on."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from perdure import workflow
from perdure.client import Client, WorkflowExecutionStatus, WorkflowFailureError
from perdure.exceptions import ActivityError, TemporalError, TerminatedError
from perdure.exceptions import TimeoutError as WorkflowTimeoutError
from perdure.worker import Replayer
from tests.badinput.conftest import started
from tests.badinput.programs import (
    CALLS,
    FAILS_THE_TASK,
    QUEUE,
    TOO_LARGE,
    Calls,
    Catches,
    Child,
    FailsItsTask,
    RunsAnActivity,
)


async def goes_on(client: Client) -> None:
    """The worker still works."""
    await client.execute_workflow(Child.run, id="after", task_queue=QUEUE)


def causes(error: BaseException | None) -> str:
    texts = []
    while error is not None:
        texts.append(str(error))
        error = error.__cause__
    return " <- ".join(texts)


async def test_calls_that_are_refused_where_they_are_made(client: Client) -> None:
    for name, (_, message) in CALLS.items():
        with pytest.raises(WorkflowFailureError) as failed:
            await client.execute_workflow(Calls.run, name, id=name, task_queue=QUEUE, run_timeout=timedelta(seconds=9))
        with pytest.raises(AssertionError, match=message):
            raise AssertionError(causes(failed.value.cause))
    assert await started(client) == sorted(CALLS)  # no child, nothing continued
    await goes_on(client)


async def test_what_was_refused_is_refused_on_replay(client: Client) -> None:
    handle = await client.start_workflow(Catches.run, id="w", task_queue=QUEUE)
    refused = await handle.result()
    assert "unserialisable argument" in refused
    assert "unserialisable child argument" in refused
    await Replayer(workflows=[Catches]).replay_workflow(await handle.fetch_history())


@pytest.mark.parametrize("name", TOO_LARGE)
async def test_what_is_too_large_ends_the_workflow(client: Client, name: str) -> None:
    with pytest.raises(WorkflowFailureError) as failed:
        await client.execute_workflow(Calls.run, name, id="w", task_queue=QUEUE)
    assert isinstance(failed.value.cause, TerminatedError)
    assert "more than the limit of 2097152" in str(failed.value.cause)
    assert await started(client) == ["w"]
    await goes_on(client)


@pytest.mark.parametrize("name", FAILS_THE_TASK)
async def test_what_fails_the_task_is_seen(client: Client, caplog: pytest.LogCaptureFixture, name: str) -> None:
    handle = await client.start_workflow(FailsItsTask.run, name, id="w", task_queue=QUEUE)
    await goes_on(client)
    description = await handle.describe()
    assert description.status is WorkflowExecutionStatus.RUNNING
    assert description.raw_description.pending_workflow_task is not None
    assert [record for record in caplog.records if record.levelname == "ERROR"]
    await handle.terminate()
    assert await started(client) == ["after", "w"]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("unserialisable", "object is not JSON serializable"),
        ("unserialisable_failure", "object is not JSON serializable"),
        ("unprintable", "has no text"),
        ("too_large", "exceeds size limit"),
        ("too_large_failure", "exceeds size limit"),
        ("too_large_heartbeat", "exceed size limit"),
        ("stop_iteration", "the activity raised StopIteration"),
        ("thread_exit", "SystemExit: 3"),
        ("asks_the_workflow", "Not in workflow event loop"),
        ("nobody", "Activity function nobody .* is not registered on this worker, available activities: "),
    ],
)
async def test_activities_that_end_badly(client: Client, name: str, message: str) -> None:
    with pytest.raises(WorkflowFailureError) as failed:
        await client.execute_workflow(RunsAnActivity.run, name, id="w", task_queue=QUEUE)
    assert isinstance(failed.value.cause, ActivityError)
    with pytest.raises(AssertionError, match=message):
        raise AssertionError(causes(failed.value.cause))
    await goes_on(client)


async def test_workflows_nobody_has(client: Client, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(WorkflowFailureError) as failed:
        await client.execute_workflow("Nobody", id="w", task_queue=QUEUE, run_timeout=timedelta(milliseconds=50))
    assert isinstance(failed.value.cause, WorkflowTimeoutError)
    assert (
        "Workflow class Nobody is not registered on this worker, available workflows: Calls, Catches, Child"
        in caplog.text
    )
    await goes_on(client)


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ([], "missing 1 required positional argument: 'name'"),
        (["a", "b"], "takes 2 positional arguments but 3 were given"),
        ([5], "Failed decoding arguments"),
    ],
)
async def test_wrong_arguments(client: Client, caplog: pytest.LogCaptureFixture, args: list[Any], message: str) -> None:
    handle = await client.start_workflow("RunsAnActivity", args=args, id="w", task_queue=QUEUE)
    await goes_on(client)
    assert message in caplog.text
    await handle.terminate()


IN_WORKFLOWS_ONLY = [
    name
    for name in workflow.__all__
    if inspect.isfunction(getattr(workflow, name))
    and name
    not in {
        *(
            "as_completed",
            "create_nexus_client",
            "current_update_info",
            "defn",
            "dynamic_config",
            "in_workflow",
            "init",
            "query",
            "run",
        ),
        *("signal", "update", "wait"),
    }
]


def arguments(function: Callable[..., Any]) -> tuple[list[Any], dict[str, Any]]:
    parameters = [p for p in inspect.signature(function).parameters.values() if p.default is p.empty]
    positional = [bool for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD]
    return positional, {p.name: timedelta(1) for p in parameters if p.kind is p.KEYWORD_ONLY}


@pytest.mark.parametrize("name", IN_WORKFLOWS_ONLY)
async def test_outside_a_workflow(name: str) -> None:
    function = getattr(workflow, name)
    positional, named = arguments(function)
    with pytest.raises(TemporalError, match="Not in workflow event loop: call this from workflow code only"):
        result = function(*positional, **named)
        if inspect.isawaitable(result):
            await result
