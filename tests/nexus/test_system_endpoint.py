"""The system Nexus endpoint: workflows that signal others and start them first if need be, whatever happens meanwhile."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import msgspec
import pytest

import perdure.wire.codec  # registers protobuf's bytes  # noqa: F401
from perdure import Client, Worker, workflow
from perdure.api import system
from perdure.api.command import v1 as command_v1
from perdure.api.common.v1 import Payload, WorkflowType
from perdure.api.json import to_json_dict
from perdure.api.workflowservice import v1 as ws
from perdure.client import WorkflowFailureError
from perdure.common import SearchAttributeKey, SearchAttributePair, TypedSearchAttributes, WorkflowIDConflictPolicy
from perdure.converter import DataConverter, PayloadCodec
from perdure.exceptions import NexusOperationError
from perdure.nexus import system as nexus_system
from perdure.nexus.system.workflow_service.models import (
    SignalWithStartWorkflowRequest,
    SignalWithStartWorkflowResponse,
)
from perdure.nexus.system.workflow_service.services import WorkflowService
from perdure.service import RPCError
from perdure.store.memory import MemoryStore
from perdure.worker import (
    Interceptor,
    Replayer,
    StartNexusOperationInput,
    WorkflowInboundInterceptor,
    WorkflowInterceptorClassInput,
    WorkflowOutboundInterceptor,
)
from tests.engine.driver import command, complete, name, queue
from tests.nexus.driver import NexusDriver
from tests.nexus.test_recovery import World

COLOR = SearchAttributeKey.for_keyword("Color")


@workflow.defn
class Basket:
    def __init__(self) -> None:
        self.items: list[str] = []
        self.closed = False

    @workflow.run
    async def run(self, owner: str) -> list[str]:
        await workflow.wait_condition(lambda: self.closed)
        return [owner, *self.items]

    @workflow.signal
    async def add(self, item: str) -> None:
        self.items.append(item)

    @workflow.signal
    def close(self) -> None:
        self.closed = True


@workflow.defn
class Shopper:
    @workflow.run
    async def run(self) -> list[Any]:
        first = await workflow.signal_with_start_workflow(
            Basket.run,
            "ann",
            id="basket",
            task_queue="tq",
            signal=Basket.add,
            signal_args="tea",
            memo={"note": "yes"},
            search_attributes=TypedSearchAttributes([SearchAttributePair(COLOR, "red")]),
            run_timeout=timedelta(hours=1),
            static_summary="a basket",
        )
        second = await workflow.signal_with_start_workflow(
            "Basket", args=["bob"], id="basket", task_queue="tq", signal="add", signal_args=["milk"]
        )
        client = workflow.create_nexus_client(service=WorkflowService, endpoint=nexus_system.TEMPORAL_SYSTEM_ENDPOINT)
        request = SignalWithStartWorkflowRequest(workflow="Basket", id="basket", task_queue="tq", signal="close")
        third = await client.execute_operation(WorkflowService.signal_with_start_workflow, request)
        assert isinstance(third, SignalWithStartWorkflowResponse)
        return [first.id, first.run_id == second.run_id == third.run_id, third.started]


@workflow.defn
class Refused:
    @workflow.run
    async def run(self) -> str:
        try:
            await workflow.signal_with_start_workflow(
                "Basket",
                id="basket",
                task_queue="tq",
                signal="add",
                id_conflict_policy=WorkflowIDConflictPolicy.FAIL,
            )
        except NexusOperationError as error:
            return f"{error.endpoint}: {error.cause}"
        return "was not refused"


@workflow.defn(sandboxed=False)
class Wrong:
    @workflow.run
    async def run(self) -> str:
        client = workflow.create_nexus_client(service=system.SERVICE, endpoint=system.ENDPOINT)
        for operation, value in ((system.SIGNAL_WITH_START, "no request"), ("Other", None)):
            with pytest.raises((TypeError, ValueError)):
                await client.execute_operation(operation, value)
        with pytest.raises(TypeError, match="both positional arguments and args"):
            await workflow.signal_with_start_workflow("Basket", 1, args=[1], id="basket", task_queue="tq", signal="add")
        return "ok"


class Xor(PayloadCodec):
    """Encodes what is the user's; says which it saw."""

    def __init__(self) -> None:
        self.seen: list[bytes] = []

    async def encode(self, payloads: Sequence[Payload]) -> list[Payload]:
        self.seen += [payload.data for payload in payloads]
        return [Payload({"encoding": b"x"}, msgspec.json.encode(to_json_dict(payload))[::-1]) for payload in payloads]

    async def decode(self, payloads: Sequence[Payload]) -> list[Payload]:
        from perdure.api.json import from_json_dict

        return [from_json_dict(msgspec.json.decode(payload.data[::-1]), Payload) for payload in payloads]


class Noting(Interceptor):
    notes: list[str] = []

    def workflow_interceptor_class(self, input: WorkflowInterceptorClassInput) -> type[WorkflowInboundInterceptor]:
        return _NotingInbound


class _NotingInbound(WorkflowInboundInterceptor):
    def init(self, outbound: WorkflowOutboundInterceptor) -> None:
        super().init(_NotingOutbound(outbound))


class _NotingOutbound(WorkflowOutboundInterceptor):
    async def start_signal_with_start_workflow(self, request: SignalWithStartWorkflowRequest) -> Any:
        Noting.notes.append(f"request {request.id}")
        return await super().start_signal_with_start_workflow(request)

    async def start_system_nexus_operation(self, input: StartNexusOperationInput[Any, Any]) -> Any:
        Noting.notes.append(f"operation {input.operation_name}")
        return await super().start_system_nexus_operation(input)

    async def start_nexus_operation(self, input: StartNexusOperationInput[Any, Any]) -> Any:
        Noting.notes.append("not this one")
        return await super().start_nexus_operation(input)


@pytest.fixture(params=["bytes", "json"])
def form(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """With protobuf's codec, and without."""
    if request.param == "json":
        monkeypatch.setattr(system, "_codec", None)
    return str(request.param)


@pytest.mark.parametrize("codec", [None, Xor()])
async def test_a_workflow_is_signalled_and_started_first(url: str, form: str, codec: Xor | None) -> None:
    converter = dataclasses.replace(DataConverter.default, payload_codec=codec)
    Noting.notes.clear()
    async with await Client.connect(url, data_converter=converter) as client:
        options: Any = {"interceptors": [Noting()]} if codec else {}
        async with Worker(client, task_queue="tq", workflows=[Shopper, Basket], max_cached_workflows=0, **options):
            assert await client.execute_workflow(Shopper.run, id="w", task_queue="tq") == ["basket", True, None]
            basket = client.get_workflow_handle_for(Basket.run, "basket")
            assert await basket.result() == ["ann", "tea", "milk"]
        described = await basket.describe()
        assert await described.memo() == {"note": "yes"}
        assert described.typed_search_attributes[COLOR] == "red"
        assert await described.static_summary() == "a basket"
        assert described.parent_id is None
        if codec is not None:
            assert {b'"ann"', b'"tea"', b'"milk"', b'"yes"', b'"a basket"'} <= set(codec.seen)
            assert not any(b"WorkflowExecution" in data for data in codec.seen)
            assert {"request basket", f"operation {system.SIGNAL_WITH_START}"} == set(Noting.notes)
        history = await client.get_workflow_handle("w").fetch_history()
        scheduled = next(event.attributes for event in history.events if event.event_type == 48)
        assert scheduled.endpoint_id == ""
        assert scheduled.input.metadata["encoding"] == (b"json" if form == "json" else b"binary") + b"/protobuf"
        completed = next(event for event in history.events if event.event_type == 50)
        assert completed.links[0].workflow_event.workflow_id == "basket"
        signals = [event for event in (await basket.fetch_history()).events if event.event_type == 26]
        assert [event.links[0].workflow_event.workflow_id for event in signals] == ["w"] * 3
        await Replayer(workflows=[Shopper], data_converter=converter).replay_workflow(history)


async def test_what_the_service_refuses_fails_the_operation(url: str) -> None:
    async with await Client.connect(url) as client:
        async with Worker(client, task_queue="tq", workflows=[Refused]):
            text = await client.execute_workflow(Refused.run, id="w", task_queue="tq")
            assert text.startswith(f"{system.ENDPOINT}: ")
            assert "FAIL cannot be used with SignalWithStart" in text
        with pytest.raises(RPCError):
            await client.get_workflow_handle("basket").describe()


def request(**changes: Any) -> ws.SignalWithStartWorkflowExecutionRequest:
    given = {
        "workflow_id": "t",
        "workflow_type": WorkflowType("T"),
        "task_queue": queue("hq"),
        "signal_name": "s",
        **changes,
    }
    return ws.SignalWithStartWorkflowExecutionRequest(**given)


def system_call(
    message: Any = None, payload: Payload | None = None, operation: str = system.SIGNAL_WITH_START, **options: Any
) -> command_v1.Command:
    attributes = command_v1.ScheduleNexusOperationCommandAttributes(
        system.ENDPOINT, system.SERVICE, operation, payload or system.to_payload(message or request()), **options
    )
    return command("SCHEDULE_NEXUS_OPERATION", attributes)


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (system_call(nexus_header={"a": "b"}), "NexusHeader must be empty"),
        (system_call(operation="Other"), "has no operation 'Other'"),
        (system_call(request(namespace="other")), "does not match namespace"),
        (system_call(request(request_id="1")), "RequestID should not be set"),
        (system_call(request(workflow_id="")), "WorkflowId is not set"),
        (system_call(request(signal_name="")), "SignalName is not set"),
        (system_call(payload=Payload({"encoding": b"json/plain"}, b"1")), "its encoding is b'json/plain'"),
        (system_call(payload=Payload({"encoding": b"json/protobuf"}, b"[]")), "failed to decode input payload"),
    ],
)
async def test_calls_that_cannot_be_carried_out_fail_the_task(
    d: NexusDriver, call: command_v1.Command, text: str
) -> None:
    await d.start()
    with pytest.raises(RPCError, match=text):
        await d.turn(call)
    assert (await d.names())[-1] == "WorkflowTaskFailed"


class SystemWorld(World):
    """A workflow that makes one call, in a process that dies or whose store fails."""

    async def run(self) -> None:
        await self.open()
        await self.insist(lambda: self.d.start(request_id="1"))
        for _ in range(12):
            await self.step()
            if self.store.is_dead:
                await self.restart()
        counts = Counter(await self.d.names())
        assert counts["NexusOperationScheduled"] == counts["NexusOperationCompleted"] == 1
        assert counts["WorkflowExecutionCompleted"] == 1
        assert Counter(await self.d.names("t"))["WorkflowExecutionSignaled"] == 1
        await self.d.engine.close()
        await self.inner.close()

    def decide(self, task: ws.PollWorkflowTaskQueueResponse) -> list[Any]:
        assert task.history is not None
        assert task.workflow_execution is not None
        if task.workflow_execution.workflow_id == "t":
            return []
        names = Counter(name(event) for event in task.history.events)
        if not names["NexusOperationScheduled"]:
            return [system_call()]
        return [complete()] if names["NexusOperationCompleted"] else []


async def test_it_is_done_once_whatever_fails_or_dies() -> None:
    world = SystemWorld(MemoryStore.open)
    await world.run()
    for at in range(1, world.store.commits + 1):
        await SystemWorld(MemoryStore.open, fail_at=at).run()
        await SystemWorld(MemoryStore.open, die_at=at).run()


def test_small_responses_are_read_without_the_codec(monkeypatch: pytest.MonkeyPatch) -> None:
    response = ws.SignalWithStartWorkflowExecutionResponse(run_id="r", started=True)
    whole = system.to_payload(msgspec.structs.replace(response, first_execution_run_id="f"))
    monkeypatch.setattr(system, "_codec", None)
    assert system.from_payload(whole, ws.SignalWithStartWorkflowExecutionResponse) == response
    assert system.from_payload(system.to_payload(response), ws.SignalWithStartWorkflowExecutionResponse) == response
    for data in (b"\n\xff", b"\x0d\x00\x00"):
        with pytest.raises(ValueError, match="failed to decode the response"):
            system.from_payload(
                Payload({"encoding": b"binary/protobuf"}, data), ws.SignalWithStartWorkflowExecutionResponse
            )
    with pytest.raises(ValueError, match=r"perdure\[temporal\]"):
        system.from_payload(Payload({"encoding": b"binary/protobuf"}), ws.SignalWithStartWorkflowExecutionRequest)


async def test_the_request_is_checked_in_the_workflow(url: str) -> None:
    async with await Client.connect(url) as client, Worker(client, task_queue="tq", workflows=[Wrong]):
        try:
            assert await client.execute_workflow(Wrong.run, id="w", task_queue="tq") == "ok"
        except WorkflowFailureError as error:
            raise AssertionError(error.cause) from error
