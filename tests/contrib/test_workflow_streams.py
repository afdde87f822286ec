"""Streams: publishing from all sides, reading from anywhere, truncation, continue-as-new, and the end of the workflow."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest

from perdure import Client, Worker, activity, workflow
from perdure.api.common.v1 import Payload
from perdure.client import WorkflowFailureError, WorkflowHandle, WorkflowUpdateFailedError
from perdure.common import RawValue
from perdure.contrib.encryption import AESGCMCodec
from perdure.contrib.workflow_streams import (
    PollInput,
    PollResult,
    PublishEntry,
    PublishInput,
    WorkflowStream,
    WorkflowStreamClient,
    WorkflowStreamState,
)
from perdure.converter import DataConverter
from perdure.service import RPCError, RPCStatusCode

NOW = timedelta(0)
AT_ONCE: dict[str, Any] = {"poll_cooldown": NOW}


@dataclass
class Progress:
    percent: int


@activity.defn
async def publish_from_activity() -> None:
    async with WorkflowStreamClient.from_within_activity() as stream:
        stream.topic("progress", type=Progress).publish(Progress(50))


@workflow.defn
class Streaming:
    @workflow.init
    def __init__(self, state: WorkflowStreamState | None = None) -> None:
        self.stream = WorkflowStream(state)
        self.is_first = state is None
        self.is_done = self.moves_on = False

    @workflow.run
    async def run(self, state: WorkflowStreamState | None = None) -> int:
        progress = self.stream.topic("progress", type=Progress)
        assert (progress.name, progress.type) == ("progress", Progress)
        if self.is_first:
            progress.publish(Progress(0))
            self.stream.topic("words").publish("begin")
            await workflow.execute_activity(publish_from_activity, start_to_close_timeout=timedelta(seconds=30))
        await workflow.wait_condition(lambda: self.is_done or self.moves_on)
        if self.moves_on:
            await self.stream.continue_as_new(lambda state: [state])
        progress.publish(Progress(100))
        return len(self.stream.get_state().log)

    @workflow.signal
    def finish(self) -> None:
        self.is_done = True

    @workflow.signal
    def move_on(self) -> None:
        self.moves_on = True

    @workflow.update
    def truncate(self, offset: int) -> None:
        self.stream.truncate(offset)


@workflow.defn
class Misused:
    @workflow.run
    async def run(self) -> None:
        with pytest.raises(RuntimeError, match="not from 'run'"):
            WorkflowStream()


@workflow.defn
class Twice:
    @workflow.init
    def __init__(self) -> None:
        stream = WorkflowStream()
        with pytest.raises(RuntimeError, match="already registered"):
            WorkflowStream()
        stream.topic("a", type=int)
        with pytest.raises(RuntimeError, match="already bound to type"):
            stream.topic("a", type=str)
        with pytest.raises(RuntimeError, match="type=Payload"):
            stream.topic("b", type=Payload)

    @workflow.run
    async def run(self) -> None: ...


@pytest.fixture(params=["plain", "encrypted"])
async def client(request: pytest.FixtureRequest) -> AsyncIterator[Client]:
    codec = None if request.param == "plain" else AESGCMCodec({"k": b"k" * 32}, "k")
    async with (
        await Client.connect("memory:", data_converter=DataConverter(payload_codec=codec)) as client,
        Worker(
            client,
            task_queue="q",
            workflows=[Streaming, Misused, Twice],
            activities=[publish_from_activity],
            max_cached_workflows=0,
        ),
    ):
        yield client


@pytest.fixture
async def handle(client: Client) -> WorkflowHandle[Streaming, int]:
    return await client.start_workflow(Streaming.run, id="s", task_queue="q")


async def read(stream: WorkflowStreamClient, count: int, *args: Any, **options: Any) -> list[tuple[int, Any]]:
    found = []
    async for item in stream.subscribe(*args, **AT_ONCE, **options):
        found.append((item.offset, item.data))
        if len(found) == count:
            break
    return found


async def test_publish_and_subscribe(client: Client, handle: WorkflowHandle[Streaming, int]) -> None:
    stream = WorkflowStreamClient.create(client, "s", max_batch_size=2)
    words = stream.topic("words")
    async with stream:
        assert await read(stream, 3, ["progress", "words"]) == [
            (0, {"percent": 0}),
            (1, "begin"),
            (2, {"percent": 50}),
        ]
        words.publish("one")
        words.publish(DataConverter.default.payload_converter.to_payloads(["two"])[0])  # a full batch: it goes out
        assert await read(stream, 2, "words", 3) == [(3, "one"), (4, "two")]
        words.publish("three", force_flush=True)
        assert [item.data async for item in _first(words.subscribe(5, **AT_ONCE))] == ["three"]
        words.publish("four")
    assert await stream.get_offset() == 7
    assert await read(stream, 2, "progress", result_type=Progress) == [(0, Progress(0)), (2, Progress(50))]
    [(_, raw)] = await read(stream, 1, "words", result_type=RawValue)
    assert raw.payload.data == b'"begin"'
    await handle.signal(Streaming.finish)
    assert await handle.result() == 8
    assert [item.offset async for item in stream.subscribe(**AT_ONCE)] == list(range(8))
    with pytest.raises(RuntimeError, match="use RawValue"):
        await read(stream, 1, result_type=Payload)
    stream.topic("typed", type=int)
    with pytest.raises(RuntimeError, match="already bound to type"):
        stream.topic("typed", type=str)


async def _first(items: AsyncIterator[Any]) -> AsyncIterator[Any]:
    async for item in items:
        yield item
        return


async def test_a_subscription_goes_over_continue_as_new(client: Client, handle: WorkflowHandle[Streaming, int]) -> None:
    stream = WorkflowStreamClient.create(client, "s")
    reading = asyncio.ensure_future(read(stream, 5, "words"))
    async with stream:
        words = stream.topic("words")
        for i in range(4):
            words.publish(f"word {i}")
            await stream.flush()
            if i in (1, 2):
                current = client.get_workflow_handle("s")
                run_id = (await current.describe()).run_id
                await current.signal("move_on")
                while (await current.describe()).run_id == run_id:
                    await asyncio.sleep(0.001)
    assert [data for _, data in await reading] == ["begin", "word 0", "word 1", "word 2", "word 3"]


async def test_truncation(client: Client, handle: WorkflowHandle[Streaming, int]) -> None:
    stream = WorkflowStreamClient.create(client, "s")
    assert [offset for offset, _ in await read(stream, 3)] == [0, 1, 2]
    await handle.execute_update(Streaming.truncate, 2)
    await handle.execute_update(Streaming.truncate, 1)  # nothing is left to forget
    assert [offset for offset, _ in await read(stream, 1)] == [2]
    assert [offset for offset, _ in await read(stream, 1, None, 1)] == [2]
    with pytest.raises(WorkflowUpdateFailedError) as caught:
        await handle.execute_update("__temporal_workflow_stream_poll", PollInput(from_offset=1))
    assert "truncated" in str(caught.value.cause)
    with pytest.raises(WorkflowUpdateFailedError) as caught:
        await handle.execute_update(Streaming.truncate, 9)
    assert "valid range is [2, 3)" in str(caught.value.cause)


async def test_a_batch_counts_once(client: Client, handle: WorkflowHandle[Streaming, int]) -> None:
    stream = WorkflowStreamClient.create(client, "s")
    await read(stream, 3)
    payload = DataConverter.default.payload_converter.to_payloads(["x" * 400_000])[0]
    data = base64.b64encode(payload.SerializeToString()).decode()
    batch = PublishInput([PublishEntry("big", data)] * 3, "publisher", 1)
    for _ in range(2):
        await handle.signal("__temporal_workflow_stream_publish", batch)
    result = await handle.query("__temporal_workflow_stream_poll", PollInput(["big"]), result_type=PollResult)
    assert (len(result.items), result.next_offset, result.more_ready) == (1, 4, True)
    assert [offset for offset, _ in await read(stream, 3, "big")] == [3, 4, 5]
    assert await stream.get_offset() == 6


async def test_what_cannot_be_sent(client: Client, handle: WorkflowHandle[Streaming, int]) -> None:
    stream = WorkflowStreamClient.create(client, "s", batch_interval=NOW, max_retry_duration=NOW)
    await read(stream, 3)
    words = stream.topic("words")
    real = stream._handle.signal
    errors = [RPCError("away", RPCStatusCode.UNAVAILABLE)]

    async def signal(*args: Any) -> None:
        if errors:
            raise errors.pop()
        await real(*args)

    stream._handle.signal = signal  # type: ignore[method-assign, assignment]
    words.publish("lost")
    with pytest.raises(RPCError, match="away"):
        await stream.flush()
    await asyncio.sleep(0.001)
    with pytest.raises(TimeoutError, match="a batch is given up"):
        await stream.flush()
    words.publish("kept")
    await stream.flush()
    assert await read(stream, 1, None, 3) == [(3, "kept")]
    stream._max_retry_duration = timedelta(seconds=30)
    async with stream:
        errors.append(RPCError("away", RPCStatusCode.UNAVAILABLE))
        words.publish("again", force_flush=True)
        assert await read(stream, 1, None, 4) == [(4, "again")]


async def test_misuse(client: Client, handle: WorkflowHandle[Streaming, int]) -> None:
    await client.execute_workflow(Misused.run, id="m", task_queue="q")
    await client.execute_workflow(Twice.run, id="t", task_queue="q")
    stream = WorkflowStreamClient.create(client, "nobody")
    with pytest.raises(RPCError):
        await read(stream, 1)
    await handle.terminate()
    with pytest.raises(WorkflowFailureError):
        await handle.result()
    stream = WorkflowStreamClient(handle)
    assert len([item async for item in stream.subscribe(**AT_ONCE)]) >= 0
