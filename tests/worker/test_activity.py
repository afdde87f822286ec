"""Activities on a worker over the fake service: outcomes, context, cancellation, heartbeats."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import pytest

from perdure import activity
from perdure.api.common.v1 import Payloads
from perdure.api.workflowservice import v1 as ws
from perdure.common import RawValue
from perdure.converter import DataConverter
from perdure.exceptions import ActivityError, ApplicationError, ApplicationErrorCategory, CancelledError, RetryState
from perdure.service import RPCError, RPCStatusCode
from perdure.worker import Worker
from tests.support.fake_service import NOW_NS, FakeActivity, FakeService

Running = Callable[..., Any]


def payloads(*values: Any) -> Payloads:
    return Payloads(DataConverter.default.payload_converter.to_payloads(values))


def values(encoded: Payloads | None) -> list[Any]:
    return [] if encoded is None else DataConverter.default.payload_converter.from_payloads(encoded.payloads)


async def cancel_by_heartbeat(scheduled: FakeActivity, **flags: bool) -> None:
    """Let the next heartbeat say so; the activity must have sent its first one, and the throttle be small."""
    scheduled.heartbeat_answer = ws.RecordActivityTaskHeartbeatResponse(**flags)


@dataclass
class Point:
    x: int
    y: int = 0


@activity.defn
async def add(a: int, b: int) -> int:
    return a + b


@activity.defn
async def describe(point: Point, label: str = "point") -> str:
    await asyncio.sleep(0)
    return f"{type(point).__name__} {point.x} {label}"


@activity.defn
def in_thread(name: str) -> tuple[str, str, str]:
    return name, threading.current_thread().name, activity.info().activity_type


class Greeter:
    @activity.defn
    async def greet(self, name: str) -> str:
        return f"{self.greeting}, {name}"

    def __init__(self, greeting: str) -> None:
        self.greeting = greeting


@activity.defn(name="callable")
class CallableActivity:
    async def __call__(self, value: int) -> int:
        return value * 2


@activity.defn(dynamic=True)
async def dynamic(args: Sequence[RawValue]) -> list[Any]:
    converter = activity.payload_converter()
    return [activity.info().activity_type, *(converter.from_payload(arg.payload) for arg in args)]


async def test_kinds_of_activities(service: FakeService, running: Running) -> None:
    async with running(add, describe, in_thread, Greeter("Hello").greet, CallableActivity(), dynamic):
        assert await service.schedule(add, 1, 2).result() == 3
        assert await service.schedule(describe, Point(5), "spot").result() == "Point 5 spot"
        assert await service.schedule(describe, {"x": 5}).result() == "Point 5 point"
        name, thread, kind = await service.schedule(in_thread, "n").result()
        assert (name, kind) == ("n", "in_thread") and thread.startswith("perdure-activity")
        assert await service.schedule("greet", "you").result() == "Hello, you"
        assert await service.schedule("callable", 4).result() == 8
        assert await service.schedule("unheard", 1, "b").result() == ["unheard", 1, "b"]
        assert await service.schedule("unheard").result() == ["unheard"]


async def test_info(service: FakeService, running: Running) -> None:
    seen: list[activity.Info] = []

    @activity.defn
    async def look() -> None:
        assert activity.in_activity() and not activity.is_cancelled()
        assert activity.cancellation_details() is None
        assert not activity.is_worker_shutdown()
        assert activity.info() is activity.info()
        seen.append(activity.info())
        activity.metric_meter().create_counter("c").add(1)

    async with running(look) as worker:
        await service.schedule(
            look, attempt=3, heartbeat_timeout=2_000_000_000, heartbeat_details=payloads("a", 1)
        ).result()
        assert worker.is_running and not worker.is_shutdown
        await service.schedule(look).result()
    info, plain = seen
    assert plain.heartbeat_details == []
    assert info.activity_id == "0" and info.activity_type == "look" and info.attempt == 3
    assert info.heartbeat_details == ["a", 1] and info.heartbeat_timeout is not None
    assert info.heartbeat_timeout.total_seconds() == 2 and info.schedule_to_close_timeout is None
    assert (info.workflow_id, info.workflow_run_id, info.workflow_type) == ("flow-id", "run-id", "Flow")
    assert info.namespace == "default" and info.task_queue == "tq" and info.task_token == b"token-0"
    assert info.in_workflow and not info.is_local
    assert info.started_time.timestamp() == NOW_NS / 1e9
    assert worker.is_shutdown and not worker.is_running
    assert not activity.in_activity()


async def test_failures(service: FakeService, running: Running) -> None:
    @activity.defn
    async def fail(kind: str) -> None:
        if kind == "plain":
            raise ValueError("bad")
        if kind == "application":
            raise ApplicationError("no", "detail", type="Mine", non_retryable=True)
        if kind == "benign":
            raise ApplicationError("fine", category=ApplicationErrorCategory.BENIGN)
        if kind == "cancelled":
            raise asyncio.CancelledError
        if kind == "travelling":
            raise ActivityError(
                "other",
                scheduled_event_id=1,
                started_event_id=2,
                identity="",
                activity_type="",
                activity_id="",
                retry_state=RetryState.TIMEOUT,
            )
        raise SystemExit(3)

    @activity.defn
    async def unencodable() -> Any:
        return object()

    async with running(fail, unencodable):
        answer = await service.schedule(fail, "plain").failure()
        assert answer.failure is not None and answer.failure.application_failure_info is not None
        assert answer.failure.message == "bad" and answer.failure.application_failure_info.type == "ValueError"
        assert "raise ValueError" in answer.failure.stack_trace
        answer = await service.schedule(fail, "application").failure()
        assert answer.failure is not None
        info = answer.failure.application_failure_info
        assert info is not None and info.non_retryable and info.type == "Mine" and values(info.details) == ["detail"]
        for kind, type_name in (
            ("benign", ""),
            ("cancelled", "CancelledError"),
            ("travelling", "ActivityError"),
            ("exit", "SystemExit"),
        ):
            answer = await service.schedule(fail, kind).failure()
            assert answer.failure is not None and answer.failure.application_failure_info is not None
            assert answer.failure.application_failure_info.type == type_name
        answer = await service.schedule(unencodable).failure()
        assert answer.failure is not None and answer.failure.application_failure_info is not None
        answer = await service.schedule(fail, payloads=payloads("a", "b").payloads).failure()
        assert answer.failure is not None and "positional argument" in answer.failure.message


async def test_unregistered_activity(service: FakeService, running: Running) -> None:
    async with running(add, describe):
        answer = await service.schedule("nope").failure()
        assert answer.failure is not None and answer.failure.application_failure_info is not None
        assert answer.failure.application_failure_info.type == "NotFoundError"
        assert not answer.failure.application_failure_info.non_retryable
        assert answer.failure.message == (
            "Activity function nope for workflow flow-id is not registered on this worker, "
            "available activities: add, describe"
        )


async def test_each_attempt_has_its_own_context(service: FakeService, running: Running) -> None:
    variable: contextvars.ContextVar[int] = contextvars.ContextVar("variable", default=0)

    @activity.defn
    async def leak() -> int:
        before = variable.get()
        variable.set(before + 1)
        await asyncio.sleep(0)
        assert variable.get() == before + 1
        variable.set(before + 2)
        return before

    async with running(leak, max_concurrent_activities=1):
        for _ in range(3):
            assert await service.schedule(leak).result() == 0


async def test_children_of_an_attempt_see_its_context(service: FakeService, running: Running) -> None:
    @activity.defn
    async def parent() -> list[str]:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(child()) for _ in range(2)]
        return [*(task.result() for task in tasks), await asyncio.to_thread(lambda: activity.info().activity_id)]

    async def child() -> str:
        await asyncio.sleep(0)
        return activity.info().activity_id

    async with running(parent):
        assert await service.schedule(parent).result() == ["0", "0", "0"]


async def test_cancellation_and_the_poller_survives(service: FakeService, running: Running) -> None:
    @activity.defn
    async def wait(how: str) -> str:
        activity.heartbeat()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            assert activity.is_cancelled()
            details = activity.cancellation_details()
            assert details is not None and details.cancel_requested
            if how == "swallow":
                return "swallowed"
            if how == "fail":
                raise ValueError("while cancelled") from None
            if how == "details":
                raise CancelledError("stopped", "at", 7) from None
            raise
        return "never"

    async with running(wait, add, max_concurrent_activities=1):
        for how in ("propagate", "swallow", "fail", "details"):
            scheduled = service.schedule(wait, how)
            scheduled.heartbeat_answer = ws.RecordActivityTaskHeartbeatResponse(cancel_requested=True)
            answer = await scheduled.answered
            if how == "swallow":
                assert isinstance(answer, ws.RespondActivityTaskCompletedRequest)
            elif how == "fail":
                assert isinstance(answer, ws.RespondActivityTaskFailedRequest)
            else:
                assert isinstance(answer, ws.RespondActivityTaskCanceledRequest)
                assert values(answer.details) == (["at", 7] if how == "details" else [])
            assert await service.schedule(add, 1, 1).result() == 2


async def test_an_undelivered_cancellation_does_not_hit_the_next_task(service: FakeService, running: Running) -> None:
    @activity.defn
    async def finish_cancelled() -> str:
        context = activity._context.ActivityContext.current()
        context.cancel(activity.ActivityCancellationDetails(cancel_requested=True))  # type: ignore[attr-defined]
        return "done"

    async with running(finish_cancelled, add, max_concurrent_activities=1):
        assert await service.schedule(finish_cancelled).result() == "done"
        assert await service.schedule(add, 1, 1).result() == 2


@pytest.mark.parametrize(
    ("flags", "kind"),
    [
        ({"activity_paused": True}, "ActivityPause"),
        ({"activity_reset": True}, "ActivityReset"),
    ],
)
async def test_pause_and_reset(service: FakeService, running: Running, flags: dict[str, bool], kind: str) -> None:
    @activity.defn
    async def wait() -> None:
        activity.heartbeat()
        await activity.wait_for_cancelled()
        await asyncio.sleep(0)

    async with running(wait):
        scheduled = service.schedule(wait)
        scheduled.heartbeat_answer = ws.RecordActivityTaskHeartbeatResponse(**flags)
        answer = await scheduled.failure()
        assert answer.failure is not None and answer.failure.application_failure_info is not None
        assert answer.failure.application_failure_info.type == kind


async def test_an_attempt_the_service_does_not_know_is_not_answered(service: FakeService, running: Running) -> None:
    seen: list[activity.ActivityCancellationDetails | None] = []

    @activity.defn
    async def wait() -> None:
        activity.heartbeat()
        try:
            await asyncio.Event().wait()
        finally:
            seen.append(activity.cancellation_details())

    async with running(wait, add, max_concurrent_activities=1):
        scheduled = service.schedule(wait)
        scheduled.heartbeat_answer = RPCError("gone", RPCStatusCode.NOT_FOUND)
        assert await service.schedule(add, 1, 1).result() == 2
        assert not scheduled.answered.done()
    assert seen == [activity.ActivityCancellationDetails(not_found=True)]


async def test_thread_cancellation_raises_in_the_thread(service: FakeService, running: Running) -> None:
    @activity.defn
    def spin() -> str:
        activity.heartbeat()
        while True:
            threading.Event().wait(0.001)

    @activity.defn
    def shielded() -> str:
        try:
            with activity.shield_thread_cancel_exception():
                with activity.shield_thread_cancel_exception():
                    activity.heartbeat()
                    activity.wait_for_cancelled_sync()
                assert activity.is_cancelled()
        except CancelledError:
            return "cancelled after the shield"
        return "never"

    @activity.defn(no_thread_cancel_exception=True)
    def asks() -> str:
        activity.heartbeat()
        activity.wait_for_cancelled_sync()
        details = activity.cancellation_details()
        return "asked" if details is not None and details.cancel_requested else "?"

    async with running(spin, shielded, asks):
        for fn in (spin, shielded, asks):
            scheduled = service.schedule(fn)
            scheduled.heartbeat_answer = ws.RecordActivityTaskHeartbeatResponse(cancel_requested=True)
            if fn is spin:
                assert isinstance(await scheduled.answered, ws.RespondActivityTaskCanceledRequest)
            else:
                assert await scheduled.result() == ("asked" if fn is asks else "cancelled after the shield")


async def test_heartbeats_are_throttled_and_the_last_details_go_with_the_failure(
    service: FakeService, running: Running
) -> None:
    release = asyncio.Event()

    @activity.defn
    async def beat() -> None:
        for number in range(5):
            activity.heartbeat(number, "of five")
            await asyncio.sleep(0)
        await release.wait()
        raise ValueError("after five")

    async with running(beat):
        scheduled = service.schedule(beat)
        await scheduled.heartbeat_came.wait()
        release.set()
        answer = await scheduled.failure()
        assert [values(details) for details in scheduled.heartbeats] == [[0, "of five"]]
        assert values(answer.last_heartbeat_details) == [4, "of five"]


async def test_heartbeats_go_on_after_the_throttle_interval(service: FakeService, running: Running) -> None:
    @activity.defn
    async def beat() -> None:
        activity.heartbeat(1)
        await asyncio.sleep(0)
        activity.heartbeat(2)
        activity.heartbeat(3)
        await asyncio.Event().wait()

    async with running(beat):
        scheduled = service.schedule(beat, heartbeat_timeout=20_000_000)
        while len(scheduled.heartbeats) < 2:
            scheduled.heartbeat_came.clear()
            await scheduled.heartbeat_came.wait()
        assert [values(details) for details in scheduled.heartbeats] == [[1], [3]]


async def test_thread_heartbeats(service: FakeService, running: Running) -> None:
    @activity.defn
    def beat() -> str:
        for number in range(100):
            activity.heartbeat(number)
        raise ValueError

    async with running(beat):
        scheduled = service.schedule(beat)
        answer = await scheduled.failure()
        sent = [values(details) for details in scheduled.heartbeats]
        assert len(sent) <= 1
        assert sent == [[99]] or values(answer.last_heartbeat_details) == [99]


async def test_unencodable_heartbeat_details_fail_where_they_are_given(service: FakeService, running: Running) -> None:
    @activity.defn
    async def beat() -> None:
        activity.heartbeat(object())

    async with running(beat):
        answer = await service.schedule(beat).failure()
        assert answer.failure is not None and answer.last_heartbeat_details is None


async def test_complete_async_detaches_and_sends_the_last_heartbeat(service: FakeService, running: Running) -> None:
    @activity.defn
    async def leave() -> None:
        activity.heartbeat("first")
        await asyncio.sleep(0)
        activity.heartbeat("last")
        activity.raise_complete_async()

    @activity.defn
    def leave_thread() -> None:
        activity.raise_complete_async()

    async with running(leave, leave_thread):
        scheduled = service.schedule(leave)
        assert await scheduled.answered == "detached"
        assert [values(details) for details in scheduled.heartbeats] == [["first"], ["last"]]
        assert await service.schedule(leave_thread).answered == "detached"


async def test_answers_are_tried_again(service: FakeService, running: Running) -> None:
    async with running(add):
        service.answer_errors.append(RPCError("store is busy", RPCStatusCode.UNAVAILABLE))
        assert await service.schedule(add, 1, 2).result() == 3
        service.answer_errors.append(RPCError("too late", RPCStatusCode.NOT_FOUND))
        service.schedule(add, 1, 2)
        assert await service.schedule(add, 1, 2).result() == 3
        service.answer_errors.append(RPCError("the result is too large", RPCStatusCode.INVALID_ARGUMENT))
        answer = await service.schedule(add, 1, 2).failure()
        assert answer.failure is not None and "too large" in answer.failure.message


async def test_client_inside_activities(service: FakeService, running: Running, fake_client: Any) -> None:
    @activity.defn
    async def has_client() -> bool:
        return activity.client() is fake_client

    @activity.defn
    def has_none() -> str:
        with pytest.raises(RuntimeError, match="No client available"):
            activity.client()
        return "none"

    async with running(has_client, has_none):
        assert await service.schedule(has_client).result() is True
        assert await service.schedule(has_none).result() == "none"


async def test_worker_type_is_importable(running: Running) -> None:
    async with running(add) as worker:
        assert isinstance(worker, Worker)
        assert worker.task_queue == "tq"
