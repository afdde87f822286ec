"""Interceptors see every call of the less usual kinds once: schedules, standalone activities, update-with-start."""

from __future__ import annotations

import inspect
from collections import Counter
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from perdure import Client, Worker, activity, workflow
from perdure.client import (
    ActivityOptionsKeys,
    Interceptor,
    OutboundInterceptor,
    Schedule,
    ScheduleActionStartWorkflow,
    ScheduleBackfill,
    ScheduleIntervalSpec,
    ScheduleSpec,
    ScheduleUpdate,
    WithStartWorkflowOperation,
)
from perdure.common import WorkflowIDConflictPolicy
from perdure.worker import ActivityInboundInterceptor, WorkflowInboundInterceptor, WorkflowInterceptorClassInput
from perdure.worker import Interceptor as WorkerInterceptor
from tests.support.homes import STORES, home_url

calls: Counter[str] = Counter()
_HELD = timedelta(seconds=300)


def counting(base: type) -> type:
    """A class that counts the calls of a base's methods before it makes them."""
    names = [
        name for name, _ in inspect.getmembers(base, inspect.isfunction) if not name.startswith("_") and name != "init"
    ]

    def counted(name: str) -> Any:
        def call(self: Any, input: Any) -> Any:
            calls[name] += 1
            return getattr(base, name)(self, input)

        return call

    return type(f"Counting{base.__name__}", (base,), {name: counted(name) for name in names})


class Counts(Interceptor, WorkerInterceptor):
    def intercept_client(self, next: OutboundInterceptor) -> OutboundInterceptor:
        return counting(OutboundInterceptor)(next)  # type: ignore[no-any-return]

    def intercept_activity(self, next: ActivityInboundInterceptor) -> ActivityInboundInterceptor:
        return counting(ActivityInboundInterceptor)(next)  # type: ignore[no-any-return]

    def workflow_interceptor_class(
        self, input: WorkflowInterceptorClassInput
    ) -> type[WorkflowInboundInterceptor] | None:
        return counting(WorkflowInboundInterceptor)


@activity.defn
async def double(number: int) -> int:
    return 2 * number


@workflow.defn
class Cart:
    def __init__(self) -> None:
        self.items: list[str] = []

    @workflow.run
    async def run(self) -> list[str]:
        await workflow.wait_condition(lambda: len(self.items) > 1)
        return self.items

    @workflow.update
    async def add(self, item: str) -> int:
        self.items.append(item)
        return len(self.items)

    @add.validator
    def check(self, item: str) -> None:
        assert item


@pytest.fixture(params=STORES)
async def client(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Client]:
    async with (
        await Client.connect(home_url(request.param, tmp_path), interceptors=[Counts()]) as client,
        Worker(client, task_queue="q", workflows=[Cart], activities=[double]),
    ):
        calls.clear()
        yield client


async def test_schedules(client: Client) -> None:
    action = ScheduleActionStartWorkflow(Cart.run, id="cart", task_queue="q")
    spec = ScheduleSpec(intervals=[ScheduleIntervalSpec(timedelta(days=1))])
    handle = await client.create_schedule("s", Schedule(action, spec))
    await handle.describe()
    await handle.pause(note="p")
    await handle.unpause(note="u")
    await handle.trigger()
    moment = datetime(2026, 1, 1, tzinfo=UTC)
    await handle.backfill(ScheduleBackfill(moment, moment))
    await handle.update(lambda input: ScheduleUpdate(input.description.schedule))
    async for _ in await client.list_schedules():
        pass
    await handle.delete()
    calls.pop("execute_workflow", None)
    assert calls == Counter(
        {
            "create_schedule": 1,
            "describe_schedule": 1,
            "pause_schedule": 1,
            "unpause_schedule": 1,
            "trigger_schedule": 1,
            "backfill_schedule": 1,
            "update_schedule": 1,
            "list_schedules": 1,
            "delete_schedule": 1,
        }
    )


async def test_standalone_activities(client: Client) -> None:
    assert await client.execute_activity(double, 4, id="a", task_queue="q", start_to_close_timeout=_HELD) == 8
    handle = await client.start_activity(double, 5, id="b", task_queue="nobody", start_to_close_timeout=_HELD)
    await handle.describe()
    await handle.pause()
    await handle.unpause()
    await handle.update_options([ActivityOptionsKeys.heartbeat_timeout.value_set(_HELD)])
    await handle.cancel()
    other = await client.start_activity(double, 5, id="c", task_queue="nobody", start_to_close_timeout=_HELD)
    await other.terminate()
    async for _ in client.list_activities("ActivityType = 'double'"):
        pass
    await client.count_activities("ActivityType = 'double'")
    assert calls == Counter(
        {
            "start_activity": 3,
            "execute_activity": 1,
            "describe_activity": 1,
            "pause_activity": 1,
            "unpause_activity": 1,
            "update_activity_options": 1,
            "cancel_activity": 1,
            "terminate_activity": 1,
            "list_activities": 1,
            "count_activities": 1,
        }
    )


async def test_update_with_start(client: Client) -> None:
    for number, item in enumerate(("apple", "pear"), 1):
        start = WithStartWorkflowOperation(
            Cart.run, id="cart", task_queue="q", id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING
        )
        assert await client.execute_update_with_start_workflow(Cart.add, item, start_workflow_operation=start) == number
        handle = await start.workflow_handle()
    assert await handle.result() == ["apple", "pear"]
    assert calls == Counter(
        {
            "start_update_with_start_workflow": 2,
            "execute_workflow": 1,
            "handle_update_validator": 2,
            "handle_update_handler": 2,
            "fetch_workflow_history_events": 1,
        }
    )
