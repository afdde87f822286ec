"""Schedules whose process ended, and begins again with the store."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest

from perdure.store.api import Store
from tests.engine.driver import complete, driving, payloads, queue
from tests.engine.schedule_driver import H, M, ScheduleDriver, action, every, schedule, started


async def test_missed_actions_are_caught_up_after_a_restart(
    open_store: Callable[[], Awaitable[Store]], request: pytest.FixtureRequest
) -> None:
    if "memory" in request.node.name:
        pytest.skip("memory keeps nothing")
    async with driving(await open_store()) as d:
        s = ScheduleDriver(d)
        await s.create(schedule(every(H), "ALLOW_ALL", catchup_window=150 * M))
        await s.create(schedule(every(H), "BUFFER_ALL", action=action("x")), "x")
        await d.advance(3600)
        clock = d.clock
        before = await s.describe("x")
    clock.now += 4 * H
    async with driving(await open_store(), clock) as d:
        s = ScheduleDriver(d)
        await d.settle()
        mine = sorted(workflow_id[-9:-1] for workflow_id in await d.list("TemporalScheduledById = 's'"))
        assert mine == ["09:00:00", "11:00:00", "12:00:00", "13:00:00"]
        assert (await s.info()).missed_catchup_window == 1
        assert (await s.info("x")).buffer_size == 4
        assert (await s.info("x")).running_workflows == before.info.running_workflows  # type: ignore[union-attr]
        assert (await s.describe("x")).schedule == before.schedule
        for _ in range(9):
            await d.turn(complete())
            await d.settle()
        assert (await s.info("x")).action_count == 5
        assert not await d.has_workflow_task()
    async with driving(await open_store(), clock) as d:
        s = ScheduleDriver(d)
        assert await s.list() == ["x", "s"] or await s.list() == ["s", "x"]
        await d.advance(3600)
        assert (await s.info()).action_count == 5


async def test_a_sleeping_schedule_is_not_read_until_it_is_needed(
    open_store: Callable[[], Awaitable[Store]], request: pytest.FixtureRequest
) -> None:
    if "memory" in request.node.name:
        pytest.skip("memory keeps nothing")
    async with driving(await open_store()) as d:
        s = ScheduleDriver(d)
        await s.create(schedule(every(H), "ALLOW_ALL"))
        await s.create(schedule(every(H), action=action("x")), "paused")
        await s.create(schedule(every(H), "BUFFER_ALL", action=action("y")), "buffers")
        await d.advance(3600)
        await s.patch("paused", pause="for now")
        await d.advance(3600)
        clock = d.clock
    async with driving(await open_store(), clock) as d:
        s = ScheduleDriver(d)
        await d.settle()
        asleep = {
            each.id
            for each in d.engine._schedules.of(d.engine.namespaces.get("default").namespace_id)
            if not each.is_read
        }
        assert asleep == {"s", "paused"}, "the other has an action in its buffer"
        for _ in range(2):
            await d.turn(complete(b"1"))
        await d.settle()
        assert len((await s.info()).running_workflows) + len((await s.info("paused")).running_workflows) <= 2
        await d.advance(3600)
        assert (await s.info()).action_count == 3
        assert (await s.info("paused")).action_count == 1


async def test_workflow_that_closed_with_the_process_is_noticed(
    open_store: Callable[[], Awaitable[Store]], request: pytest.FixtureRequest
) -> None:
    if "memory" in request.node.name:
        pytest.skip("memory keeps nothing")
    async with driving(await open_store()) as d:
        s = ScheduleDriver(d)
        await s.create(schedule(every(H), "BUFFER_ONE"))
        await d.advance(3600)
        await d.advance(3600)
        task = await d.poll(queue())
        clock = d.clock
        # The close is durable, the schedule is not asked any more.
        d.engine._core.close_listeners.clear()
        await d.answer(task, complete(b"7"))
    async with driving(await open_store(), clock) as d:
        await d.settle()
        assert (await started(d, "10:00:00")).last_completion_result == payloads(b"7")
