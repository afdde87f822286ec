"""Activities without a worker."""

from __future__ import annotations

import asyncio
import contextvars
import dataclasses
import threading
from collections.abc import Sequence
from typing import Any

import pytest

from perdure import activity
from perdure.activity import ActivityCancellationDetails
from perdure.api.common.v1 import Payload
from perdure.common import RawValue
from perdure.converter import DefaultPayloadConverter
from perdure.exceptions import CancelledError
from perdure.testing import ActivityEnvironment, WorkflowEnvironment


@activity.defn
async def beats(count: int, last: str = "") -> int:
    for number in range(count):
        activity.heartbeat(number, last)
    return count * activity.info().attempt


@activity.defn
def beats_sync(count: int, last: str = "") -> int:
    for number in range(count):
        activity.heartbeat(number, last)
    return count * activity.info().attempt


async def test_info_heartbeats_and_results() -> None:
    env = ActivityEnvironment()
    seen: list[tuple[Any, ...]] = []
    env.on_heartbeat = lambda *details: seen.append(details)
    assert await env.run(beats, 2, last="x") == 2
    env.info = dataclasses.replace(ActivityEnvironment.default_info(), attempt=3)
    assert env.run(beats_sync, 1) == 3
    assert seen == [(0, "x"), (1, "x"), (0, "")]
    assert not activity.in_activity()


async def test_any_function_will_do() -> None:
    env = ActivityEnvironment()

    class Called:
        async def __call__(self) -> str:
            return activity.info().activity_type

    class Methods:
        def sync(self, x: int) -> int:
            return x if activity.in_activity() else 0

    assert env.run(activity.in_activity)
    assert env.run(Methods().sync, 7) == 7
    assert await env.run(Called()) == "unknown"


async def test_errors_come_out_as_they_are() -> None:
    async def fails() -> None:
        raise ValueError("so")

    def completes_elsewhere() -> None:
        activity.raise_complete_async()

    env = ActivityEnvironment()
    with pytest.raises(ValueError, match="so"):
        await env.run(fails)
    with pytest.raises(BaseException, match="completed asynchronously"):
        env.run(completes_elsewhere)


async def test_cancelling_an_async_activity() -> None:
    started = asyncio.Event()

    async def waits() -> ActivityCancellationDetails | None:
        started.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            assert activity.is_cancelled()
            await activity.wait_for_cancelled()
            return activity.cancellation_details()
        return None

    env = ActivityEnvironment()
    running = asyncio.create_task(env.run(waits))
    await started.wait()
    details = ActivityCancellationDetails(paused=True)
    env.cancel(details)
    env.cancel(ActivityCancellationDetails(not_found=True))
    assert await running == details
    with pytest.raises(asyncio.CancelledError):
        await env.run(asyncio.sleep, 60)


def test_cancelling_a_thread() -> None:
    started, log = threading.Event(), []

    def waits() -> str:
        with activity.shield_thread_cancel_exception():
            started.set()
            activity.wait_for_cancelled_sync(30)
            log.append("shielded")
        return "not reached"

    env = ActivityEnvironment()
    outcome: list[Any] = []

    def run() -> None:
        try:
            outcome.append(env.run(waits))
        except CancelledError as error:
            outcome.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    started.wait(30)
    env.cancel()
    thread.join(30)
    assert log == ["shielded"]
    assert isinstance(outcome[0], CancelledError)


def test_a_thread_may_ask_not_to_be_interrupted() -> None:
    env = ActivityEnvironment()

    @activity.defn(no_thread_cancel_exception=True)
    def asks() -> bool:
        env.cancel()
        return activity.is_cancelled()

    assert env.run(asks)
    assert env.run(activity.is_cancelled)
    assert env.run(activity.cancellation_details) == ActivityCancellationDetails(cancel_requested=True)


async def test_worker_shutdown() -> None:
    env = ActivityEnvironment()
    started = asyncio.Event()

    async def waits() -> bool:
        assert not activity.is_worker_shutdown()
        started.set()
        await activity.wait_for_worker_shutdown()
        return activity.is_worker_shutdown()

    running = asyncio.create_task(env.run(waits))
    await started.wait()
    env.worker_shutdown()
    env.worker_shutdown()
    assert await running
    env.run(activity.wait_for_worker_shutdown_sync, 30)
    assert env.run(activity.is_worker_shutdown)


async def test_converter_meter_and_client() -> None:
    class Shouting(DefaultPayloadConverter):
        def from_payloads(self, payloads: Sequence[Payload], type_hints: list[type] | None = None) -> list[Any]:
            return [str(value).upper() for value in super().from_payloads(payloads, type_hints)]

    def decodes(value: RawValue) -> Any:
        return activity.payload_converter().from_payload(value.payload)

    class Meter:
        def with_additional_attributes(self, attributes: dict[str, Any]) -> Any:
            assert attributes == {"namespace": "default", "task_queue": "test", "activity_type": "unknown"}
            return "a meter"

    async def sees() -> Any:
        return activity.client()

    env = ActivityEnvironment()
    assert env.run(activity.metric_meter) is not None
    env.metric_meter = Meter()  # type: ignore[assignment]
    assert env.run(activity.metric_meter) == "a meter"  # type: ignore[comparison-overlap]
    env.payload_converter = Shouting()
    assert env.run(decodes, RawValue(DefaultPayloadConverter().to_payloads(["loud"])[0])) == "LOUD"
    with pytest.raises(RuntimeError, match="you can pass a client"):
        await env.run(sees)
    async with await WorkflowEnvironment.start_local() as home:
        assert await ActivityEnvironment(home.client).run(sees) is home.client
        with pytest.raises(RuntimeError, match="only available in `async def`"):
            ActivityEnvironment(home.client).run(activity.client)


async def test_several_at_once_see_their_own_context() -> None:
    variable: contextvars.ContextVar[int] = contextvars.ContextVar("variable")

    async def named(number: int) -> tuple[str, int]:
        variable.set(number)
        await asyncio.sleep(0)
        return activity.info().activity_id, variable.get()

    async def one(number: int) -> tuple[str, int]:
        env = ActivityEnvironment()
        env.info = dataclasses.replace(env.info, activity_id=f"a{number}")
        return await env.run(named, number)

    assert await asyncio.gather(*map(one, range(50))) == [(f"a{number}", number) for number in range(50)]
