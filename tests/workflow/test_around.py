"""What stands around a run: interceptors, codecs, the replayer, definitions."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import timedelta
from typing import Any

import pytest

from perdure import workflow
from perdure.api.common.v1 import Payload
from perdure.api.workflowservice import v1 as ws
from perdure.client import WorkflowHistory
from perdure.common import RawValue
from perdure.converter import DataConverter, PayloadCodec
from perdure.exceptions import ActivityError, ApplicationError
from perdure.worker import Replayer
from perdure.worker._interceptor import (
    ExecuteWorkflowInput,
    HandleQueryInput,
    HandleSignalInput,
    Interceptor,
    StartActivityInput,
    WorkflowInboundInterceptor,
    WorkflowInterceptorClassInput,
    WorkflowOutboundInterceptor,
)
from perdure.worker._workflow_local import LocalActivity, retry_delay_ns
from perdure.worker._workflow_runtime import RunOptions
from perdure.workflow import NondeterminismError

from .mini_server import MiniServer, payloads

SHORT = timedelta(seconds=5)


@workflow.defn
class Simple:
    def __init__(self) -> None:
        self.words: list[str] = []

    @workflow.run
    async def run(self, word: str) -> str:
        first = await workflow.execute_activity("act", word, start_to_close_timeout=SHORT, result_type=str)
        await workflow.wait_condition(lambda: len(self.words) > 0)
        return f"{first} {self.words}"

    @workflow.signal
    def add(self, word: str) -> None:
        self.words.append(word)

    @workflow.query
    def count(self) -> int:
        return len(self.words)


# --- interceptors


SEEN: list[str] = []


class Inbound(WorkflowInboundInterceptor):
    def init(self, outbound: WorkflowOutboundInterceptor) -> None:
        super().init(Outbound(outbound))

    async def execute_workflow(self, input: ExecuteWorkflowInput) -> Any:
        SEEN.append(f"execute {list(input.args)}")
        result = await super().execute_workflow(input)
        return f"<{result}>"

    async def handle_signal(self, input: HandleSignalInput) -> None:
        SEEN.append(f"signal {input.signal}")
        await super().handle_signal(input)

    async def handle_query(self, input: HandleQueryInput) -> Any:
        SEEN.append(f"query {input.query}")
        return await super().handle_query(input)


class Outbound(WorkflowOutboundInterceptor):
    def start_activity(self, input: StartActivityInput) -> workflow.ActivityHandle[Any]:
        SEEN.append(f"activity {input.activity} of {self.info().workflow_type}")
        input.headers = {**input.headers, "trace": payloads("t").payloads[0]}
        return super().start_activity(input)


class Tracing(Interceptor):
    def workflow_interceptor_class(self, input: WorkflowInterceptorClassInput) -> type[WorkflowInboundInterceptor]:
        return Inbound


def test_interceptors_see_what_comes_and_goes() -> None:
    SEEN.clear()
    options = RunOptions(task_queue="queue", is_guarded=False, interceptor_classes=[Inbound])
    server = MiniServer(Simple, "hi", options=options)
    server.turn()
    assert server.commands[0].attributes.header.fields["trace"].data == b'"t"'  # type: ignore[attr-defined]
    server.complete_activity("done")
    server.signal("add", "x")
    server.query("count")
    server.turn()
    assert server.result == "<done ['x']>"
    assert SEEN == ["execute ['hi']", "activity act of Simple", "query count", "signal add"]
    server.close()


# --- codecs


class Reversing(PayloadCodec):
    async def encode(self, payloads: Sequence[Payload]) -> list[Payload]:
        return [Payload({**payload.metadata, "reversed": b"1"}, payload.data[::-1]) for payload in payloads]

    async def decode(self, payloads: Sequence[Payload]) -> list[Payload]:
        await asyncio.sleep(0)
        return [
            Payload({key: value for key, value in payload.metadata.items() if key != "reversed"}, payload.data[::-1])
            if "reversed" in payload.metadata
            else payload
            for payload in payloads
        ]


async def test_a_codec_stands_between_service_and_workflow() -> None:
    from perdure.worker._workflow_codec import activate_through_codec

    options = RunOptions(task_queue="queue", is_guarded=False, data_converter=DataConverter(payload_codec=Reversing()))
    server = MiniServer(Simple, "word", options=options)
    server.schedule_task()
    run = server.new_run()
    task = server._task(server.events)
    answer = await activate_through_codec(run, task, server.events)
    assert isinstance(answer, ws.RespondWorkflowTaskCompletedRequest)
    assert answer.commands[0].attributes.input.payloads[0].data == b'"drow"'  # type: ignore[attr-defined]
    run.evict()


# --- the replayer


def history() -> WorkflowHistory:
    server = MiniServer(Simple, "hi")
    server.turn()
    server.complete_activity("done")
    server.signal("add", "x")
    server.turn()
    server.close()
    return WorkflowHistory("workflow-1", server.events)


@workflow.defn(name="Simple")
class Changed:
    @workflow.run
    async def run(self, word: str) -> None:
        await workflow.sleep(1)


async def test_replaying_one_history() -> None:
    result = await Replayer(workflows=[Simple]).replay_workflow(history())
    assert result.replay_failure is None
    with pytest.raises(NondeterminismError):
        await Replayer(workflows=[Changed]).replay_workflow(history())
    result = await Replayer(workflows=[Changed]).replay_workflow(history(), raise_on_replay_failure=False)
    assert isinstance(result.replay_failure, NondeterminismError)


async def test_replaying_several_histories() -> None:
    async def histories() -> AsyncIterator[WorkflowHistory]:
        for _ in range(3):
            yield history()

    results = await Replayer(workflows=[Simple]).replay_workflows(histories())
    assert results.replay_failures == {}
    results = await Replayer(workflows=[Changed]).replay_workflows(histories(), raise_on_replay_failure=False)
    assert set(results.replay_failures) == {"run-1"}
    with pytest.raises(NondeterminismError):
        await Replayer(workflows=[Changed]).replay_workflows(histories())


@workflow.defn
class Other:
    @workflow.run
    async def run(self) -> None: ...


async def test_what_a_replayer_refuses() -> None:
    with pytest.raises(ValueError, match="At least one workflow"):
        Replayer(workflows=[])
    with pytest.raises(RuntimeError, match="Simple is not registered on this replayer"):
        await Replayer(workflows=[Other]).replay_workflow(history())
    whole = history()
    with pytest.raises(RuntimeError, match="does not begin with WorkflowExecutionStarted"):
        await Replayer(workflows=[Simple]).replay_workflow(WorkflowHistory("w", whole.events[1:]))
    gap = [event for event in whole.events if event.event_id != 5]
    with pytest.raises(RuntimeError, match="where 5 belongs"):
        await Replayer(workflows=[Simple]).replay_workflow(WorkflowHistory("w", gap))


# --- definitions


def refused(make: Callable[[], Any]) -> str:
    with pytest.raises((ValueError, TypeError, RuntimeError)) as raised:
        make()
    return str(raised.value)


class NoRun:
    pass


class Base:
    @workflow.signal
    def hello(self) -> None: ...


class Undecorated(Base):
    @workflow.run
    async def run(self) -> None: ...

    def hello(self) -> None: ...


class InitDiffers:
    @workflow.init
    def __init__(self, x: int) -> None: ...

    @workflow.run
    async def run(self, x: str) -> None: ...


class TwoSignals:
    @workflow.run
    async def run(self) -> None: ...

    @workflow.signal(name="same")
    def one(self) -> None: ...

    @workflow.signal(name="same")
    def two(self) -> None: ...


class BadValidator:
    @workflow.run
    async def run(self) -> None: ...

    @workflow.update
    def change(self, x: int) -> None: ...

    @change.validator  # type: ignore[arg-type]
    def check(self, x: str) -> None: ...


class DynamicWrong:
    @workflow.run
    async def run(self, x: int) -> None: ...


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: workflow.defn(NoRun), "Missing @workflow.run method"),
        (lambda: workflow.defn(Undecorated), "@workflow.signal defined on Base.hello but not on the override"),
        (lambda: workflow.defn(InitDiffers), "@workflow.init and @workflow.run method parameters do not match"),
        (lambda: workflow.defn(TwoSignals), "Multiple signal methods found for same"),
        (lambda: workflow.defn(BadValidator), "Update validator method check parameters do not match"),
        (lambda: workflow.defn(dynamic=True)(DynamicWrong), "Dynamic workflow must accept a single Sequence"),
        (lambda: workflow.run(lambda: None), "must be an async function"),  # type: ignore[type-var]
        (lambda: workflow.defn(Simple), "already contains workflow definition"),
        (lambda: workflow.signal(name="x", dynamic=True), "Cannot provide name and dynamic boolean"),  # type: ignore[call-overload]
    ],
)
def test_what_is_wrong_with_a_definition(make: Callable[[], Any], message: str) -> None:
    assert message in refused(make)


@workflow.defn(dynamic=True)
class AnyWorkflow:
    @workflow.run
    async def run(self, args: Sequence[RawValue]) -> str:
        values = [workflow.payload_converter().from_payload(arg.payload) for arg in args]
        return f"{workflow.info().workflow_type} {values}"


def test_dynamic_workflows() -> None:
    server = MiniServer(AnyWorkflow, 1, "two")
    server.turn()
    assert server.result == "Dynamic [1, 'two']"
    server.replay()


# --- local activities


@workflow.defn
class Local:
    @workflow.run
    async def run(self) -> list[Any]:
        seen: list[Any] = [await workflow.execute_local_activity("square", 3, start_to_close_timeout=SHORT)]
        try:
            await workflow.execute_local_activity("fail", start_to_close_timeout=SHORT)
        except ApplicationError as error:
            seen.append(error.message)
        handle = workflow.start_local_activity("slow", start_to_close_timeout=SHORT)
        await workflow.execute_local_activity("square", 4, start_to_close_timeout=SHORT)
        handle.cancel()
        try:
            await handle
        except ActivityError as error:
            seen.append(error.message)
        return seen


async def execute(run: Any, activity: LocalActivity, attempt: int) -> Any:
    from perdure.api.failure.v1 import ApplicationFailureInfo, Failure

    if activity.input.activity == "slow":
        await asyncio.Event().wait()
    if activity.input.activity == "fail":
        return Failure(message="no", application_failure_info=ApplicationFailureInfo(non_retryable=True))
    return payloads(activity.input.args[0] ** 2)


async def test_local_activities_keep_the_task_open() -> None:
    options = RunOptions(task_queue="queue", is_guarded=False, execute_local_activity=execute)
    server = MiniServer(Local, options=options)
    server.started = server.schedule_task()
    server.run = run = server.new_run()
    assert run.activate(server._task(server.events), list(server.events)) is None
    answer = await run.local_activity_runner().answer()
    server.record(answer)
    assert [command.command_type for command in server.commands] == [9, 9, 9, 9, 4]
    assert server.result == [9, "no", "Local Activity cancelled"]
    server.replay()
    server.close()


def test_when_a_local_activity_is_tried_again() -> None:
    from perdure.api.failure.v1 import ApplicationFailureInfo, Failure
    from perdure.common import RetryPolicy

    failure = Failure(application_failure_info=ApplicationFailureInfo(type="Odd"))
    policy = RetryPolicy(initial_interval=timedelta(seconds=1), maximum_attempts=4)
    assert [retry_delay_ns(policy, failure, attempt) for attempt in (1, 2, 3, 4)] == [
        1_000_000_000,
        2_000_000_000,
        4_000_000_000,
        None,
    ]
    assert retry_delay_ns(RetryPolicy(non_retryable_error_types=["Odd"]), failure, 1) is None
    assert retry_delay_ns(RetryPolicy(), failure, 10_000) == 100_000_000_000
