"""Interceptors, codecs, contexts, process pools, slot suppliers and plugins around activities."""

from __future__ import annotations

import asyncio
import concurrent.futures
import multiprocessing
import os
import threading
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import pytest

from perdure import activity
from perdure.api.common.v1 import Header, Payload, Payloads
from perdure.api.workflowservice import v1 as ws
from perdure.client import Client
from perdure.common import HeaderCodecBehavior
from perdure.converter import (
    ActivitySerializationContext,
    DataConverter,
    DefaultPayloadConverter,
    PayloadCodec,
    SerializationContext,
    WithSerializationContext,
)
from perdure.worker import (
    ActivityInboundInterceptor,
    ActivityOutboundInterceptor,
    CustomSlotSupplier,
    ExecuteActivityInput,
    FixedSizeSlotSupplier,
    Interceptor,
    Plugin,
    SharedStateManager,
    SlotMarkUsedContext,
    SlotPermit,
    SlotReleaseContext,
    SlotReserveContext,
    Worker,
    WorkerConfig,
    WorkerTuner,
)
from tests.support.fake_service import FakeService

Running = Callable[..., Any]


@activity.defn
async def add(a: int, b: int) -> int:
    return a + b


# ---- interceptors


class Recorder(Interceptor):
    def __init__(self, name: str, log: list[Any]) -> None:
        self.name = name
        self.log = log

    def intercept_activity(self, next: ActivityInboundInterceptor) -> ActivityInboundInterceptor:
        recorder = self

        class Outbound(ActivityOutboundInterceptor):
            def info(self) -> activity.Info:
                return replace(self.next.info(), activity_id=f"{recorder.name}+{self.next.info().activity_id}")

            def heartbeat(self, *details: Any) -> None:
                recorder.log.append((recorder.name, "heartbeat", details))
                self.next.heartbeat(*details, recorder.name)

        class Inbound(ActivityInboundInterceptor):
            def init(self, outbound: ActivityOutboundInterceptor) -> None:
                self.next.init(Outbound(outbound))

            async def execute_activity(self, input: ExecuteActivityInput) -> Any:
                recorder.log.append((recorder.name, "before", list(input.args), sorted(input.headers)))
                input.args = [*input.args[:-1], input.args[-1] + 1]
                try:
                    return await self.next.execute_activity(input)
                finally:
                    recorder.log.append((recorder.name, "after"))

        return Inbound(next)


async def test_interceptors(service: FakeService, running: Running) -> None:
    log: list[Any] = []

    @activity.defn
    async def beat(a: int) -> str:
        activity.heartbeat("d")
        return f"{activity.info().activity_id} {a}"

    @activity.defn
    def beat_in_thread(a: int) -> str:
        activity.heartbeat("d")
        return f"{activity.info().activity_id} {a}"

    async with running(beat, beat_in_thread, interceptors=[Recorder("x", log), Recorder("y", log)]):
        header = Header({"h": Payload({}, b"")})
        scheduled = service.schedule(beat, 1, header=header)
        assert await scheduled.result() == "y+x+0 3" or await scheduled.result() == "x+y+0 3"
        assert log[0] == ("x", "before", [1], ["h"]) and log[1] == ("y", "before", [2], ["h"])
        assert log[-2:] == [("y", "after"), ("x", "after")]
        assert len([entry for entry in log if entry[1] == "heartbeat"]) == 2
        assert (await service.schedule(beat_in_thread, 1).result()).endswith("+1 3")


# ---- codec and serialization context


class Reverse(PayloadCodec):
    async def encode(self, payloads: Sequence[Payload]) -> list[Payload]:
        await asyncio.sleep(0)
        return [Payload({"reversed": b"1"} | p.metadata, p.data[::-1]) for p in payloads]

    async def decode(self, payloads: Sequence[Payload]) -> list[Payload]:
        await asyncio.sleep(0)
        assert all("reversed" in p.metadata for p in payloads)
        return [Payload({k: v for k, v in p.metadata.items() if k != "reversed"}, p.data[::-1]) for p in payloads]


async def test_codec(service: FakeService, running: Running) -> None:
    converter = DataConverter(payload_codec=Reverse())
    client = Client(service, data_converter=converter, header_codec_behavior=HeaderCodecBehavior.CODEC)  # type: ignore[arg-type]
    seen: list[Any] = []

    class Headers(Interceptor):
        def intercept_activity(self, next: ActivityInboundInterceptor) -> ActivityInboundInterceptor:
            class Inbound(ActivityInboundInterceptor):
                async def execute_activity(self, input: ExecuteActivityInput) -> Any:
                    seen.append(input.headers["h"].data)
                    return await self.next.execute_activity(input)

            return Inbound(next)

    @activity.defn
    async def echo(value: str) -> str:
        seen.append(activity.info().heartbeat_details)
        activity.heartbeat("beat")
        await asyncio.sleep(0.001)
        if value == "fail":
            activity.heartbeat("last")
            raise ValueError(value)
        return value

    async with running(echo, client=client, interceptors=[Headers()]):
        [encoded_header] = await converter.encode(["x"])
        options: dict[str, Any] = {
            "header": Header({"h": encoded_header}),
            "heartbeat_details": Payloads(await converter.encode(["earlier"])),
        }
        scheduled = service.schedule(echo, payloads=await converter.encode(["hello"]), **options)
        answer = await scheduled.answered
        assert await converter.decode(answer.result.payloads) == ["hello"]
        assert seen == [b'"x"', ["earlier"]]
        assert await converter.decode(scheduled.heartbeats[0].payloads) == ["beat"]  # type: ignore[union-attr]
        scheduled = service.schedule(echo, payloads=await converter.encode(["fail"]), **options)
        failure = await scheduled.failure()
        assert failure.last_heartbeat_details is not None
        assert await converter.decode(failure.last_heartbeat_details.payloads) == ["last"]
        failure = await service.schedule(echo, "not encoded", header=options["header"]).failure()
        assert failure.failure is not None and failure.failure.message == "Failed decoding arguments"


async def test_heartbeat_details_a_codec_cannot_encode_fail_the_activity(
    service: FakeService, running: Running
) -> None:
    converter = DataConverter(payload_codec=Reverse())
    client = Client(service, data_converter=converter)  # type: ignore[arg-type]

    @activity.defn
    async def beat() -> None:
        activity.heartbeat(object())
        await asyncio.Event().wait()

    async with running(beat, client=client):
        answer = await service.schedule(beat).failure()
        assert answer.failure is not None and "not JSON serializable" in answer.failure.message
        assert answer.failure.message.startswith("Object of type object")


class ContextualConverter(DefaultPayloadConverter, WithSerializationContext):
    context: SerializationContext | None = None

    def with_context(self, context: SerializationContext) -> ContextualConverter:
        converter = ContextualConverter()
        converter.context = context
        return converter

    def to_payloads(self, values: Sequence[Any]) -> list[Payload]:
        context = self.context
        return super().to_payloads(
            [f"{value} by {context.activity_type}" for value in values]
            if isinstance(context, ActivitySerializationContext)
            else values
        )


async def test_serialization_context(service: FakeService, running: Running) -> None:
    client = Client(service, data_converter=DataConverter(payload_converter_class=ContextualConverter))  # type: ignore[arg-type]
    async with running(add, client=client):
        assert await service.schedule(add, 1, 2).result() == "3 by add"


# ---- process pool


@activity.defn
def in_process(value: int) -> list[Any]:
    activity.heartbeat("from", value)
    with pytest.raises(RuntimeError, match="Metrics meter not available"):
        activity.metric_meter()
    with activity.shield_thread_cancel_exception():
        converter = activity.payload_converter()
    return [os.getpid(), activity.info().activity_id, type(converter).__name__, activity.is_worker_shutdown()]


@activity.defn
def until_cancelled_in_process() -> str:
    activity.heartbeat()
    while not activity.is_cancelled():
        time.sleep(0.005)
        activity.heartbeat()
    return "saw it"


@pytest.fixture(scope="module")
def process_pool() -> Iterator[tuple[concurrent.futures.Executor, SharedStateManager]]:
    context = multiprocessing.get_context("spawn")
    with (
        context.Manager() as manager,
        concurrent.futures.ProcessPoolExecutor(1, mp_context=context) as executor,
        concurrent.futures.ThreadPoolExecutor(1) as reader,
    ):
        yield executor, SharedStateManager.create_from_multiprocessing(manager, reader)


async def test_process_pool(
    service: FakeService, running: Running, process_pool: tuple[concurrent.futures.Executor, SharedStateManager]
) -> None:
    executor, manager = process_pool
    async with running(
        in_process, until_cancelled_in_process, activity_executor=executor, shared_state_manager=manager
    ):
        scheduled = service.schedule(in_process, 5)
        pid, activity_id, converter, is_shutdown = await scheduled.result()
        assert pid != os.getpid() and activity_id == "0"
        assert converter == "DefaultPayloadConverter" and is_shutdown is False
        assert len(scheduled.heartbeats) == 1
        scheduled = service.schedule(until_cancelled_in_process)
        scheduled.heartbeat_answer = ws.RecordActivityTaskHeartbeatResponse(cancel_requested=True)
        assert await scheduled.result() == "saw it"


# ---- slots


class Slots(CustomSlotSupplier):
    def __init__(self) -> None:
        self.free = asyncio.Semaphore(2)
        self.log: list[str] = []

    async def reserve_slot(self, ctx: SlotReserveContext) -> SlotPermit:
        assert (ctx.slot_type, ctx.task_queue) == ("activity", "tq")
        await self.free.acquire()
        return SlotPermit()

    def try_reserve_slot(self, ctx: SlotReserveContext) -> SlotPermit | None:
        return None

    def mark_slot_used(self, ctx: SlotMarkUsedContext) -> None:
        self.log.append(f"used by {ctx.slot_info.activity_type}")  # type: ignore[union-attr]

    def release_slot(self, ctx: SlotReleaseContext) -> None:
        self.log.append("unused" if ctx.slot_info is None else "released")
        self.free.release()


async def test_custom_slot_supplier(service: FakeService, running: Running) -> None:
    slots = Slots()
    fixed = FixedSizeSlotSupplier(5)
    tuner = WorkerTuner.create_composite(
        workflow_supplier=fixed, activity_supplier=slots, local_activity_supplier=fixed, nexus_supplier=fixed
    )
    async with running(add, tuner=tuner):
        assert await service.schedule(add, 1, 2).result() == 3
        assert await service.schedule(add, 1, 2).result() == 3
    assert slots.log.count("used by add") == slots.log.count("released") == 2
    assert slots.free._value == 2


async def test_max_activities_per_second(service: FakeService, running: Running) -> None:
    async with running(add, max_activities_per_second=100.0):
        started = asyncio.get_running_loop().time()
        scheduled = [service.schedule(add, 1, number) for number in range(4)]
        for one in scheduled:
            await one.result()
        assert asyncio.get_running_loop().time() - started >= 0.025
        assert service.most_waiting <= 1


# ---- plugins


class Renaming(Plugin):
    def __init__(self) -> None:
        self.log: list[str] = []

    def configure_worker(self, config: WorkerConfig) -> WorkerConfig:
        config["task_queue"] = "renamed"
        return config

    async def run_worker(self, worker: Worker, next: Callable[[Worker], Awaitable[None]]) -> None:
        self.log.append("before")
        await next(worker)
        self.log.append("after")

    def configure_replayer(self, config: Any) -> Any:
        return config

    def run_replayer(self, replayer: Any, histories: Any, next: Any) -> Any:
        return next(replayer, histories)


async def test_plugins(service: FakeService, fake_client: Client) -> None:
    plugin = Renaming()
    async with Worker(fake_client, task_queue="tq", activities=[add], plugins=[plugin]) as worker:
        assert await service.schedule(add, 1, 2).result() == 3
        assert worker.task_queue == "renamed"
        assert worker.config()["task_queue"] == "tq"
        assert worker.config(active_config=True)["task_queue"] == "renamed"
    assert plugin.log == ["before", "after"]
    assert plugin.name().endswith("Renaming")


async def test_thread_that_is_cancelled_before_it_starts(service: FakeService, running: Running) -> None:
    release = threading.Event()
    ran: list[str] = []

    @activity.defn
    def block() -> None:
        release.wait()

    @activity.defn
    def queued() -> None:
        ran.append("queued")

    with concurrent.futures.ThreadPoolExecutor(1) as executor:
        async with running(block, queued, activity_executor=executor) as worker:
            blocking = service.schedule(block)
            waiting = service.schedule(queued)
            activities = worker._activities
            while len(activities._running) < 2 or any(one.raiser is None for one in activities._running):
                await asyncio.sleep(0)
            [attempt] = [one for one in activities._running if one.definition.name == "queued"]
            attempt.cancel(activity.ActivityCancellationDetails(cancel_requested=True))
            release.set()
            assert isinstance(await waiting.answered, ws.RespondActivityTaskCanceledRequest)
            await blocking.result()
    assert ran == []
