"""What a type checker must accept and refuse in schedules. Checked by mypy and pyright, never run.

Every refused call has its ``type: ignore``; both checkers report one that is not needed.
"""

# pyright: reportUnnecessaryTypeIgnoreComment=true

from __future__ import annotations

from datetime import timedelta

from perdure.client import (
    Client,
    Schedule,
    ScheduleActionStartWorkflow,
    ScheduleIntervalSpec,
    ScheduleOverlapPolicy,
    ScheduleSpec,
    ScheduleUpdate,
    ScheduleUpdateInput,
)
from tests.typing.client_calls import Empty, Many, Order, Shop


def actions() -> None:
    ScheduleActionStartWorkflow(Empty.run, id="w", task_queue="q")
    ScheduleActionStartWorkflow(Shop.run, Order("tea"), id="w", task_queue="q", run_timeout=timedelta(1))
    ScheduleActionStartWorkflow(Many.run, args=[1, "2"], id="w", task_queue="q")
    ScheduleActionStartWorkflow("Shop", {"item": "tea"}, id="w", task_queue="q")
    ScheduleActionStartWorkflow(Shop.run, 5, id="w", task_queue="q")  # type: ignore
    ScheduleActionStartWorkflow(Empty.run, id="w")  # type: ignore
    ScheduleActionStartWorkflow(Empty.run, id="w", task_queue="q", cron_schedule="* * * * *")  # type: ignore


def later(input: ScheduleUpdateInput) -> ScheduleUpdate | None:
    return None


async def much_later(input: ScheduleUpdateInput) -> ScheduleUpdate:
    return ScheduleUpdate(input.description.schedule)


def wrong(input: ScheduleUpdateInput) -> Schedule:
    return input.description.schedule


async def calls(client: Client) -> None:
    action = ScheduleActionStartWorkflow(Empty.run, id="w", task_queue="q")
    spec = ScheduleSpec(intervals=[ScheduleIntervalSpec(timedelta(hours=1))])
    handle = await client.create_schedule("s", Schedule(action, spec))
    await client.create_schedule("s", spec)  # type: ignore
    await handle.trigger(overlap=ScheduleOverlapPolicy.SKIP)
    await handle.trigger(overlap="SKIP")  # type: ignore
    await handle.update(later)
    await handle.update(much_later)
    await handle.update(wrong)  # type: ignore
    async for entry in await client.list_schedules():
        _: str = entry.id
