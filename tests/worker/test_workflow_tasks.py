"""Workflows and activities on a worker over the embedded engine."""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import pytest

from perdure import activity, workflow
from perdure.api.common.v1 import Payload
from perdure.client import Client, WorkflowFailureError, WorkflowQueryFailedError
from perdure.common import RetryPolicy
from perdure.converter import DataConverter, PayloadCodec
from perdure.exceptions import ActivityError, ApplicationError, CancelledError, TimeoutError
from perdure.worker import UnsandboxedWorkflowRunner, Worker

SOON = timedelta(seconds=20)


@activity.defn
async def greet(name: str) -> str:
    return f"Hello, {name}"


@activity.defn
def greet_in_thread(name: str) -> str:
    return f"Hello, {name}, from a thread"


@workflow.defn
class Greeting:
    @workflow.run
    async def run(self, name: str) -> list[str]:
        first = await workflow.execute_activity(greet, name, start_to_close_timeout=SOON)
        second = await workflow.execute_activity(greet_in_thread, name, start_to_close_timeout=SOON)
        return [first, second]


@workflow.defn
class Counter:
    def __init__(self) -> None:
        self.count = 0
        self.is_done = False

    @workflow.run
    async def run(self) -> int:
        await workflow.wait_condition(lambda: self.is_done)
        return self.count

    @workflow.signal
    def add(self, amount: int) -> None:
        self.count += amount

    @workflow.signal
    def finish(self) -> None:
        self.is_done = True

    @workflow.query
    def value(self) -> int:
        return self.count

    @workflow.query
    def value_plus(self, amount: int) -> int:
        return self.count + amount


@workflow.defn
class Broken:
    """Fails its task until it is repaired."""

    is_broken = True

    @workflow.run
    async def run(self) -> str:
        if Broken.is_broken:
            raise RuntimeError("not repaired yet")
        return "repaired"


ENDED: list[str] = []


@workflow.defn(name="Changing")
class Before:
    @workflow.run
    async def run(self) -> None:
        await workflow.sleep(0.01)
        await workflow.wait_condition(lambda: False)


@workflow.defn(name="Changing")
class After:
    @workflow.run
    async def run(self) -> str:
        return await workflow.execute_activity(greet, "x", start_to_close_timeout=SOON)


@workflow.defn
class Retrying:
    @workflow.run
    async def run(self, until: int) -> str:
        policy = RetryPolicy(initial_interval=timedelta(milliseconds=1), maximum_attempts=3)
        return await workflow.execute_activity("flaky", until, start_to_close_timeout=SOON, retry_policy=policy)


@workflow.defn
class Waiting:
    @workflow.run
    async def run(self) -> None:
        await workflow.execute_activity(
            "wait",
            start_to_close_timeout=SOON,
            heartbeat_timeout=timedelta(milliseconds=200),
            cancellation_type=workflow.ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
        )


@workflow.defn
class Progress:
    @workflow.run
    async def run(self) -> list[Any]:
        policy = RetryPolicy(initial_interval=timedelta(milliseconds=1))
        return await workflow.execute_activity("progress", start_to_close_timeout=SOON, retry_policy=policy)


@workflow.defn
class Asking:
    @workflow.run
    async def run(self) -> Any:
        return await workflow.execute_activity("ask", start_to_close_timeout=SOON)


@workflow.defn
class Hanging:
    @workflow.run
    async def run(self) -> None:
        await workflow.execute_activity(
            "hang",
            start_to_close_timeout=timedelta(milliseconds=20),
            retry_policy=RetryPolicy(maximum_attempts=1),
        )


@workflow.defn
class Endless:
    @workflow.run
    async def run(self) -> None:
        try:
            await workflow.wait_condition(lambda: False)
        finally:
            ENDED.append(workflow.info().workflow_id)


@pytest.fixture
async def client() -> AsyncIterator[Client]:
    async with await Client.connect("memory:") as client:
        yield client


@asynccontextmanager
async def worker(client: Client, **options: Any) -> AsyncIterator[Worker]:
    options.setdefault("workflows", [Greeting, Counter, Broken])
    options.setdefault("activities", [greet, greet_in_thread])
    async with Worker(client, task_queue="tq", **options) as worker:
        yield worker


def new_id() -> str:
    return f"wf-{uuid.uuid4()}"


@pytest.mark.parametrize("cached", [1000, 1, 0])
async def test_workflow_with_activities(client: Client, cached: int) -> None:
    async with worker(client, max_cached_workflows=cached):
        results = await asyncio.gather(
            *(client.execute_workflow(Greeting.run, f"{n}", id=new_id(), task_queue="tq") for n in range(10))
        )
    assert results == [[f"Hello, {n}", f"Hello, {n}, from a thread"] for n in range(10)]


@pytest.mark.parametrize("cached", [1000, 1, 0])
async def test_signals_and_queries(client: Client, cached: int) -> None:
    async with worker(client, max_cached_workflows=cached):
        handles = [await client.start_workflow(Counter.run, id=new_id(), task_queue="tq") for _ in range(3)]
        for amount in range(5):
            for handle in handles:
                await handle.signal(Counter.add, amount)
        for handle in handles:
            assert await handle.query(Counter.value) == 10
            assert await asyncio.gather(*(handle.query(Counter.value) for _ in range(3))) == [10, 10, 10]
            await handle.signal(Counter.finish)
            assert await handle.result() == 10
            assert await handle.query(Counter.value) == 10
            with pytest.raises(WorkflowQueryFailedError, match="known queries"):
                await handle.query("nope")


async def test_the_cache_evicts_the_least_recently_used(client: Client) -> None:
    async with worker(client, max_cached_workflows=2) as running:
        handles = [await client.start_workflow(Counter.run, id=new_id(), task_queue="tq") for _ in range(4)]
        for handle in handles:
            await handle.signal(Counter.add, 1)
            assert await handle.query(Counter.value) == 1
        assert running._workflows is not None
        assert len(running._workflows._cache) == 2
        for handle in handles:
            await handle.signal(Counter.finish)
            assert await handle.result() == 1
        assert len(running._workflows._cache) == 0
        assert running._workflows._cache._bytes == 0


async def test_the_cache_is_bounded_in_bytes(client: Client) -> None:
    async with worker(client, max_cached_workflow_bytes=40_000) as running:
        handles = [await client.start_workflow(Counter.run, id=new_id(), task_queue="tq") for _ in range(5)]
        for handle in handles:
            assert await handle.query(Counter.value) == 0
        assert running._workflows is not None
        assert len(running._workflows._cache) == 2


async def test_another_worker_takes_over(client: Client) -> None:
    async with worker(client):
        handle = await client.start_workflow(Counter.run, id=new_id(), task_queue="tq")
        await handle.signal(Counter.add, 1)
        assert await handle.query(Counter.value) == 1
    async with worker(client):
        await handle.signal(Counter.add, 2)
        assert await handle.query(Counter.value) == 3
    await handle.signal(Counter.finish)
    async with worker(client):
        assert await handle.result() == 3


async def test_a_failed_task_is_logged_and_tried_again(client: Client, caplog: pytest.LogCaptureFixture) -> None:
    Broken.is_broken = True
    async with worker(client):
        handle = await client.start_workflow(Broken.run, id=new_id(), task_queue="tq")
        while not (failed := [r for r in caplog.records if "Workflow task failed" in r.getMessage()]):
            await asyncio.sleep(0.005)
        Broken.is_broken = False
        assert await handle.result() == "repaired"
    message = failed[0].getMessage()
    assert handle.id in message and "type Broken" in message and "attempt 1" in message
    assert str(handle.first_execution_run_id) in message and "not repaired yet" in message
    assert failed[0].exc_info is not None and failed[0].levelno == logging.ERROR


async def test_an_unregistered_workflow_fails_its_task(client: Client, caplog: pytest.LogCaptureFixture) -> None:
    async with worker(client):
        handle = await client.start_workflow("Unknown", id=new_id(), task_queue="tq")
        while "available workflows: Broken, Counter, Greeting" not in caplog.text:
            await asyncio.sleep(0.005)
        assert "Workflow class Unknown is not registered on this worker" in caplog.text
        await handle.terminate()


async def test_nondeterminism_is_found_and_reported(client: Client, caplog: pytest.LogCaptureFixture) -> None:
    async with worker(client, workflows=[Before]):
        handle = await client.start_workflow(Before.run, id=new_id(), task_queue="tq")
        while not any(event.event_type == 18 for event in (await handle.fetch_history()).events):
            await asyncio.sleep(0.005)
    async with worker(client, workflows=[After]):
        await handle.signal("anything")
        while "ondeterminism" not in caplog.text:
            await asyncio.sleep(0.005)
        await handle.terminate()


async def test_activity_failures_reach_the_workflow(client: Client) -> None:
    attempts: list[int] = []

    @activity.defn
    async def flaky(until: int) -> str:
        attempts.append(activity.info().attempt)
        if activity.info().attempt < until:
            raise ApplicationError("again", type="Flaky")
        return "at last"

    async with worker(client, workflows=[Retrying], activities=[flaky]):
        assert await client.execute_workflow(Retrying.run, 3, id=new_id(), task_queue="tq") == "at last"
        assert attempts == [1, 2, 3]
        with pytest.raises(WorkflowFailureError) as caught:
            await client.execute_workflow(Retrying.run, 9, id=new_id(), task_queue="tq")
    assert isinstance(caught.value.cause, ActivityError)
    assert isinstance(caught.value.cause.cause, ApplicationError)
    assert caught.value.cause.cause.type == "Flaky"


async def test_cancelling_a_workflow_cancels_its_activity(client: Client) -> None:
    entered = asyncio.Event()

    @activity.defn
    async def wait() -> None:
        entered.set()
        while True:
            activity.heartbeat("alive")
            await asyncio.sleep(0.01)

    async with worker(client, workflows=[Waiting], activities=[wait]):
        handle = await client.start_workflow(Waiting.run, id=new_id(), task_queue="tq")
        await entered.wait()
        await handle.cancel()
        with pytest.raises(WorkflowFailureError) as caught:
            await handle.result()
    assert isinstance(caught.value.cause, CancelledError)


async def test_heartbeat_details_reach_the_next_attempt(client: Client) -> None:
    @activity.defn
    async def progress() -> list[Any]:
        if activity.info().attempt == 1:
            for step in range(5):
                activity.heartbeat(step, "steps")
                await asyncio.sleep(0)
            raise RuntimeError("half way")
        return list(activity.info().heartbeat_details)

    async with worker(client, workflows=[Progress], activities=[progress]):
        assert await client.execute_workflow(Progress.run, id=new_id(), task_queue="tq") == [4, "steps"]


async def test_completing_an_activity_from_outside(client: Client) -> None:
    tokens: asyncio.Queue[bytes] = asyncio.Queue()

    @activity.defn
    async def ask() -> str:
        tokens.put_nowait(activity.info().task_token)
        activity.raise_complete_async()

    async with worker(client, workflows=[Asking], activities=[ask]):
        handle = await client.start_workflow(Asking.run, id=new_id(), task_queue="tq")
        await client.get_async_activity_handle(task_token=await tokens.get()).complete("42")
        assert await handle.result() == "42"


async def test_a_hanging_activity_times_out(client: Client) -> None:
    @activity.defn
    async def hang() -> None:
        await asyncio.Event().wait()

    async with worker(client, workflows=[Hanging], activities=[hang]):
        with pytest.raises(WorkflowFailureError) as caught:
            await client.execute_workflow(Hanging.run, id=new_id(), task_queue="tq")
    assert isinstance(caught.value.cause, ActivityError)
    assert isinstance(caught.value.cause.cause, TimeoutError)


class Xor(PayloadCodec):
    async def encode(self, payloads: Sequence[Payload]) -> list[Payload]:
        await asyncio.sleep(0)
        return [Payload({**p.metadata, "xor": b"1"}, bytes(b ^ 0x55 for b in p.data)) for p in payloads]

    async def decode(self, payloads: Sequence[Payload]) -> list[Payload]:
        await asyncio.sleep(0)
        assert all("xor" in p.metadata for p in payloads)
        plain = [{k: v for k, v in p.metadata.items() if k != "xor"} for p in payloads]
        return [Payload(m, bytes(b ^ 0x55 for b in p.data)) for m, p in zip(plain, payloads, strict=True)]


async def test_codec(client: Client) -> None:
    coded = Client(client.service_client, data_converter=DataConverter(payload_codec=Xor()))
    async with worker(coded):
        handle = await coded.start_workflow(Greeting.run, "you", id=new_id(), task_queue="tq")
        assert await handle.result() == ["Hello, you", "Hello, you, from a thread"]
        counter = await coded.start_workflow(Counter.run, id=new_id(), task_queue="tq")
        await counter.signal(Counter.add, 2)
        assert await asyncio.gather(*(counter.query(Counter.value) for _ in range(5))) == [2] * 5
        await counter.signal(Counter.finish)
        assert await counter.result() == 2
    events = (await handle.fetch_history()).events
    assert b"you" not in b"".join(repr(event.attributes).encode() for event in events)


class Gated(Xor):
    """Decodes 777 when it is let."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self.let = asyncio.Event()

    async def decode(self, payloads: Sequence[Payload]) -> list[Payload]:
        decoded = await super().decode(payloads)
        if any(payload.data == b"777" for payload in decoded):
            self.asked.set()
            await self.let.wait()
        return decoded


@pytest.mark.parametrize("kind", ["signal", "query"])
async def test_no_run_leaves_memory_while_a_codec_works_for_it(client: Client, kind: str) -> None:
    codec = Gated()
    coded = Client(client.service_client, data_converter=DataConverter(payload_codec=codec))
    async with worker(coded, max_cached_workflows=1):
        counter = await coded.start_workflow(Counter.run, id=new_id(), task_queue="tq")
        assert await counter.query(Counter.value) == 0
        if kind == "signal":
            await counter.signal(Counter.add, 777)
        else:
            plus = asyncio.ensure_future(counter.query(Counter.value_plus, 777))
        await codec.asked.wait()
        await coded.execute_workflow(Greeting.run, "you", id=new_id(), task_queue="tq")
        codec.let.set()
        if kind == "query":
            assert await plus == 777
        await counter.signal(Counter.finish)
        assert await counter.result() == (777 if kind == "signal" else 0)


async def test_a_broken_codec_fails_the_task_and_not_the_worker(
    client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    coded = Client(client.service_client, data_converter=DataConverter(payload_codec=Xor()))
    async with worker(coded):
        plain = await client.start_workflow(Greeting.run, "you", id=new_id(), task_queue="tq")
        while plain.id not in caplog.text:
            await asyncio.sleep(0.005)
        assert await coded.execute_workflow(Greeting.run, "me", id=new_id(), task_queue="tq")
        await plain.terminate()


@workflow.defn
class ReadsAFile:
    @workflow.run
    async def run(self) -> str:
        with open(__file__) as file:
            return file.readline()


async def test_the_guard_can_be_switched_off(client: Client, caplog: pytest.LogCaptureFixture) -> None:
    async with worker(client, workflows=[ReadsAFile]):
        handle = await client.start_workflow(ReadsAFile.run, id=new_id(), task_queue="tq")
        while handle.id not in caplog.text:
            await asyncio.sleep(0.005)
    async with worker(client, workflows=[ReadsAFile], workflow_runner=UnsandboxedWorkflowRunner()):
        assert (await handle.result()).startswith('"""Workflows and activities')


@workflow.defn
class Blocks:
    is_blocking = True

    @workflow.run
    async def run(self) -> str:
        while Blocks.is_blocking:
            pass
        return "went on"


async def test_blocking_workflow_code_is_interrupted(client: Client, caplog: pytest.LogCaptureFixture) -> None:
    Blocks.is_blocking = True
    async with worker(client, workflows=[Blocks], deadlock_timeout=timedelta(milliseconds=50)):
        handle = await client.start_workflow(Blocks.run, id=new_id(), task_queue="tq")
        while "Potential deadlock detected" not in caplog.text:
            await asyncio.sleep(0.005)
        Blocks.is_blocking = False
        assert await handle.result() == "went on"


async def test_workers_on_one_task_queue_share_the_work(client: Client) -> None:
    async with worker(client), worker(client):
        handles = [await client.start_workflow(Counter.run, id=new_id(), task_queue="tq") for _ in range(10)]
        for handle in handles:
            await handle.signal(Counter.add, 3)
            await handle.signal(Counter.finish)
        assert [await handle.result() for handle in handles] == [3] * 10


async def test_an_engine_that_closes_ends_the_worker(client: Client) -> None:
    running = Worker(client, task_queue="tq", workflows=[Counter], activities=[greet])
    run = asyncio.create_task(running.run())
    await client.start_workflow(Counter.run, id=new_id(), task_queue="tq")
    await client.close()
    with pytest.raises(RuntimeError, match="The service closed while the worker of"):
        await run


async def test_no_cached_workflow_survives_a_shutdown(client: Client) -> None:
    ENDED.clear()
    async with worker(client, workflows=[Endless]):
        handle = await client.start_workflow(Endless.run, id=new_id(), task_queue="tq")
        while len((await handle.fetch_history()).events) < 4:
            await asyncio.sleep(0.005)
    assert [handle.id] == ENDED
    assert (await handle.describe()).status is not None and (await handle.describe()).close_time is None
