"""Bad input at clients, workers and replayers over a real engine: one clear sentence, nothing left behind."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from perdure import activity, workflow
from perdure.client import Client, WorkflowHandle, WorkflowHistory, WorkflowQueryFailedError
from perdure.common import (
    Priority,
    RetryPolicy,
    SearchAttributeKey,
    SearchAttributePair,
    TypedSearchAttributes,
    WorkerDeploymentVersion,
    WorkflowIDConflictPolicy,
    WorkflowIDReusePolicy,
)
from perdure.service import RPCError, RPCStatusCode
from perdure.store.api import StoreError
from perdure.worker import Replayer, Worker
from tests.badinput.conftest import started
from tests.badinput.programs import BIG, LONG, QUEUE, Child, Waits, echo


def pairs(name: str, value: str) -> TypedSearchAttributes:
    return TypedSearchAttributes([SearchAttributePair(SearchAttributeKey.for_keyword(name), value)])


@pytest.mark.parametrize(
    ("options", "kind", "message"),
    [
        ({"arg": BIG}, RPCError, "Input has 2097.* bytes, more than the limit of 2097152"),
        ({"arg": object()}, TypeError, "object is not JSON serializable"),
        ({"task_queue": "/_sys/x"}, RPCError, "reserved"),
        ({"memo": {"a": BIG}}, RPCError, "Memo has 2097.* bytes, more than the limit"),
        ({"memo": {"a": object()}}, TypeError, "object is not JSON serializable"),
        ({"search_attributes": pairs("WorkflowId", "a")}, RPCError, "WorkflowId attribute can't be set"),
        ({"search_attributes": pairs("K", "a" * 3000)}, RPCError, "search attribute K has 3002 bytes"),
        ({"static_summary": "x" * 500}, RPCError, "summary of user_metadata is longer than 400 bytes"),
        ({"static_details": "x" * 25_000}, RPCError, "details of user_metadata are longer than 20000 bytes"),
        ({"cron_schedule": "* * *"}, RPCError, "has 3 fields, a cron schedule has 5"),
        ({"cron_schedule": "@every 5s", "start_delay": timedelta(1)}, RPCError, "may not be used together"),
        ({"start_signal": LONG}, ValueError, "start_signal has 1001 bytes"),
        ({"start_signal": "s", "start_signal_args": [BIG]}, RPCError, "SignalInput has 2097.* bytes"),
        ({"start_signal": "s", "start_signal_args": [object()]}, TypeError, "object is not JSON serializable"),
        (
            {
                "id_conflict_policy": WorkflowIDConflictPolicy.USE_EXISTING,
                "id_reuse_policy": WorkflowIDReusePolicy.TERMINATE_IF_RUNNING,
            },
            RPCError,
            "cannot be combined",
        ),
        ({"retry_policy": RetryPolicy(initial_interval=5)}, TypeError, "initial_interval must be a timedelta, not int"),  # type: ignore[arg-type]
        ({"retry_policy": RetryPolicy(maximum_attempts="x")}, TypeError, "maximum_attempts must be an int, not str"),  # type: ignore[arg-type]
        ({"retry_policy": RetryPolicy(backoff_coefficient="2")}, TypeError, "must be a number, not str"),  # type: ignore[arg-type]
        ({"retry_policy": RetryPolicy(non_retryable_error_types="E")}, TypeError, "must be a list of names"),
        ({"nonsense": 1}, TypeError, "unexpected keyword argument 'nonsense'"),
    ],
    ids=lambda value: str(value)[:40] if isinstance(value, dict) else "",
)
async def test_starts(client: Client, options: dict[str, Any], kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message) as refused:
        await client.start_workflow(**{"workflow": "Waits", "id": "w", "task_queue": QUEUE, **options})
    if isinstance(refused.value, RPCError):
        assert refused.value.status is RPCStatusCode.INVALID_ARGUMENT
    assert await started(client) == []
    await client.execute_workflow(Child.run, id="w", task_queue=QUEUE)


Call = Callable[[Client, WorkflowHandle[Any, Any]], Any]


@pytest.mark.parametrize(
    ("call", "kind", "message"),
    [
        (lambda c, h: h.signal("s", BIG), RPCError, "Input has .* more than the limit"),
        (lambda c, h: h.signal("s", object()), TypeError, "object is not JSON serializable"),
        (lambda c, h: h.signal(LONG), ValueError, "signal has 1001 bytes"),
        (lambda c, h: h.query("needs_an_int", BIG), WorkflowQueryFailedError, "more than the limit"),
        (lambda c, h: h.query("needs_an_int", "x"), WorkflowQueryFailedError, "Failed decoding arguments"),
        (lambda c, h: h.query("needs_an_int"), WorkflowQueryFailedError, "missing 1 required positional argument"),
        (lambda c, h: h.query("nothing"), WorkflowQueryFailedError, "'nothing' expected but not found, known queries"),
        (lambda c, h: h.query("too_large"), WorkflowQueryFailedError, "answer has .* more than the limit"),
        (lambda c, h: h.query("unserialisable"), WorkflowQueryFailedError, "object is not JSON serializable"),
        (lambda c, h: h.query("starts_an_activity"), WorkflowQueryFailedError, "attempted: start activity"),
        (lambda c, h: h.terminate(BIG), RPCError, "Details has .* more than the limit"),
        (lambda c, h: h.terminate(object()), TypeError, "object is not JSON serializable"),
        (lambda c, h: h.cancel(reason=5), TypeError, "reason must be a str, not int"),
        (lambda c, h: h.result(rpc_timeout=5), TypeError, "rpc_timeout must be a timedelta"),
        (lambda c, h: c.get_workflow_handle("none").describe(), RPCError, "workflow not found for ID: none"),
        (lambda c, h: c.get_workflow_handle("none").signal("s"), RPCError, "workflow not found for ID: none"),
        (lambda c, h: c.get_workflow_handle("none").cancel(), RPCError, "workflow not found for ID: none"),
        (lambda c, h: c.get_workflow_handle("none").terminate(), RPCError, "workflow not found for ID: none"),
        (lambda c, h: c.get_workflow_handle("none").fetch_history(), RPCError, "workflow not found for ID: none"),
        (lambda c, h: c.get_workflow_handle("w", run_id="x").describe(), RPCError, "'x' is not a UUID"),
        (lambda c, h: c.count_workflows(5), TypeError, "query must be a str, not int"),
        (lambda c, h: c.count_workflows("(("), RPCError, "^invalid query: it ends where"),
        (lambda c, h: c.count_workflows("ExecutionStatus = 'X'"), RPCError, "'X' is not an ExecutionStatus"),
        (
            lambda c, h: c.get_async_activity_handle(task_token=b"x").complete(),
            RPCError,
            "not a task token of this service",
        ),
        (
            lambda c, h: c.get_async_activity_handle(workflow_id="w", run_id=None, activity_id="a").heartbeat(),
            RPCError,
            "invalid activityID",
        ),
        (
            lambda c, h: c.get_async_activity_handle(workflow_id="w", run_id=None, activity_id="a").complete(object()),
            TypeError,
            "object is not JSON serializable",
        ),
        (lambda c, h: Client(c.service_client, namespace="none").count_workflows(), RPCError, "Namespace none is not"),
    ],
)
async def test_running_workflows(client: Client, call: Call, kind: type[Exception], message: str) -> None:
    handle = await client.start_workflow(Waits.run, id="w", task_queue=QUEUE)
    with pytest.raises(kind, match=message):
        await call(client, handle)
    assert await started(client) == ["w"]
    await handle.signal(Waits.finish)
    assert await handle.result() == "done"


async def test_a_signal_of_another_type_is_dropped(client: Client, caplog: pytest.LogCaptureFixture) -> None:
    handle = await client.start_workflow(Waits.run, id="w", task_queue=QUEUE)
    await handle.signal("take", "no number")
    await handle.signal(Waits.finish)
    assert await handle.result() == "done"
    assert "Failed deserializing signal input for take on workflow Waits with ID w" in caplog.text


async def test_a_result_of_another_type(client: Client) -> None:
    handle = await client.start_workflow("Waits", id="w", task_queue=QUEUE, result_type=int)
    await handle.signal(Waits.finish)
    with pytest.raises(TypeError, match="Expected value to be int"):
        await handle.result()
    assert await client.get_workflow_handle("w", result_type=str).result() == "done"


@pytest.mark.parametrize(
    ("options", "kind", "message"),
    [
        ({"task_queue": 5}, ValueError, "task_queue must be a non-empty string, not 5"),
        ({"task_queue": LONG}, ValueError, "task_queue has 1001 bytes; at most 1000"),
        ({"workflows": [5]}, TypeError, "Workflow 5 is not a class"),
        ({"workflows": ["Waits"]}, TypeError, "Workflow 'Waits' is not a class"),
        ({"workflows": Waits}, TypeError, "workflows must be a sequence"),
        ({"workflows": [Waits, Waits]}, ValueError, "More than one workflow named Waits"),
        ({"workflows": [dict]}, ValueError, "was it decorated with @workflow.defn"),
        ({"activities": ["echo"]}, TypeError, "was it decorated with @activity.defn"),
        ({"interceptors": [5]}, TypeError, "interceptors must hold perdure.worker.Interceptor objects, not 5"),
        ({"plugins": [5]}, TypeError, "plugins must hold perdure.worker.Plugin objects, not 5"),
        ({"identity": 5}, TypeError, "identity must be a str, not 5"),
        ({"tuner": 5}, TypeError, "tuner must be a WorkerTuner, not 5"),
        ({"activity_executor": 5, "activities": [echo]}, TypeError, "activity_executor must be a Executor, not 5"),
        ({"on_fatal_error": 5}, TypeError, "on_fatal_error must be an async function, not 5"),
        ({"workflow_failure_exception_types": [5]}, TypeError, "must hold exception classes, not 5"),
        ({"workflow_runner": 5}, TypeError, "workflow_runner must be a WorkflowRunner, not 5"),
        ({"max_cached_workflows": "x"}, ValueError, "max_cached_workflows must be 0 or more, not 'x'"),
        ({"deadlock_timeout": timedelta(-1)}, ValueError, "deadlock_timeout must be a timedelta of 0 or more"),
    ],
)
async def test_workers(client: Client, options: dict[str, Any], kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        Worker(client, **{"task_queue": "other", "workflows": [Waits], **options})


@pytest.mark.parametrize(
    ("make", "kind", "message"),
    [
        (lambda: Replayer(workflows=[]), ValueError, "At least one workflow"),
        (lambda: Replayer(workflows=Waits), TypeError, "workflows must be a sequence"),  # type: ignore[arg-type]
        (lambda: Replayer(workflows=[5]), TypeError, "Workflow 5 is not a class"),  # type: ignore[list-item]
        (lambda: WorkflowHistory.from_json("w", "{"), ValueError, "the history is not JSON"),
        (lambda: WorkflowHistory.from_json("w", "[]"), ValueError, "not a dictionary"),
        (lambda: WorkflowHistory.from_json("w", '{"events": [{"eventId": "x"}]}'), ValueError, "events.0.eventId"),
        (lambda: RetryPolicy(nonsense=1), TypeError, "nonsense"),  # type: ignore[call-arg]
        (lambda: Priority(priority_key=0), ValueError, "positive integer"),
        (lambda: Priority(priority_key="x"), TypeError, "must be an integer"),  # type: ignore[arg-type]
        (lambda: WorkerDeploymentVersion.from_canonical_string("x"), ValueError, "Cannot parse version string"),
        (lambda: TypedSearchAttributes([5]), (TypeError, AttributeError), "int"),  # type: ignore[list-item]
    ],
)
def test_values(make: Callable[[], Any], kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        make()


async def test_replaying_what_nobody_wrote(client: Client) -> None:
    handle = await client.start_workflow(Child.run, id="w", task_queue=QUEUE)
    await handle.result()
    history = await handle.fetch_history()
    with pytest.raises(RuntimeError, match="Workflow class Child is not registered on this replayer"):
        await Replayer(workflows=[Waits]).replay_workflow(history)
    with pytest.raises(RuntimeError, match="does not begin with WorkflowExecutionStarted"):
        await Replayer(workflows=[Child]).replay_workflow(WorkflowHistory("w", []))


@pytest.mark.parametrize(
    ("define", "message"),
    [
        (lambda: workflow.defn(type("NoRun", (), {})), "[Mm]issing @workflow.run"),
        (lambda: workflow.run(lambda self: None), "must be an async function"),  # type: ignore[type-var]
        (lambda: workflow.init(lambda self: None), "may only be used on the __init__ method"),
        (lambda: workflow.defn(name="n", dynamic=True)(Child), "name and dynamic"),  # type: ignore[call-overload]
        (lambda: workflow.signal(name="n", dynamic=True)(lambda self: None), "name and dynamic"),  # type: ignore[call-overload]
        (lambda: workflow.query(name="n", dynamic=True)(lambda self: None), "name and dynamic"),  # type: ignore[call-overload]
        (lambda: activity.defn(name="n", dynamic=True)(lambda: None), "name and dynamic"),  # type: ignore[call-overload]
        (lambda: workflow.defn(5), "is for classes, not int"),  # type: ignore[call-overload]
        (lambda: activity.defn(5), "not callable"),  # type: ignore[call-overload]
    ],
)
def test_decorators(define: Callable[[], Any], message: str) -> None:
    with pytest.raises((TypeError, ValueError, RuntimeError), match=message):
        define()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
async def test_after_a_fork(tmp_path: Path) -> None:
    """The child is refused in words; the parent goes on, and the store with it."""
    url = f"lmdb:{tmp_path / 'data'}"
    async with (
        await Client.connect(url, durability="process") as client,
        Worker(client, task_queue=QUEUE, workflows=[Child]),
    ):
        reader, writer = os.pipe()
        pid = os.fork()
        if pid == 0:
            text = ""
            try:
                client._check_usable()
                client.start_workflow("Child", id="child", task_queue=QUEUE).send(None)
                text = "nothing was refused"
            except BaseException as error:
                text = str(error)
            finally:
                os.write(writer, text.encode())
                os.kill(os.getpid(), signal.SIGKILL)
        os.close(writer)
        with os.fdopen(reader, "rb") as pipe:
            assert b"Cannot use client across forks" in await asyncio.to_thread(pipe.read)
        os.waitpid(pid, 0)
        await client.execute_workflow(Child.run, id="parent", task_queue=QUEUE)
        assert await started(client) == ["parent"]


async def test_homes_that_cannot_be_opened(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("no folder")
    with pytest.raises((OSError, StoreError), match="file"):
        await Client.connect(f"lmdb:{file}")
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "data.mdb").write_bytes(b"no store" * 1000)
    with pytest.raises(StoreError, match="broken"):
        await Client.connect(f"lmdb:{broken}")
    assert (broken / "data.mdb").read_bytes() == b"no store" * 1000
    assert file.read_text() == "no folder"
