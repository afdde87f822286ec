"""Schedules over stores that fail and processes that die at every commit: each action is taken exactly once."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest

from perdure.api.schedule import v1 as schedule_v1
from perdure.engine import Engine
from perdure.service import RPCError, RPCStatusCode
from perdure.store.api import Durability
from perdure.store.lmdb import LMDBStore
from perdure.store.memory import MemoryStore
from tests.engine.driver import Driver, complete, name
from tests.engine.fragile import FragileWorld, OpenStore
from tests.engine.schedule_driver import M, ScheduleDriver, action, at, every, overlap, schedule

MINUTES = 6


class World(FragileWorld):
    """A schedule of six minutes, one that overlaps, and a worker that completes every workflow."""

    def __init__(self, open_store: OpenStore, fail_at: int = -1, die_at: int = -1) -> None:
        super().__init__(open_store, fail_at, die_at)
        self.d: Driver
        self.s: ScheduleDriver
        self.started: list[tuple[str, str]] = []

    def drive(self, engine: Engine) -> None:
        self.d = Driver(engine, self.clock)
        if hasattr(self, "s"):
            self.s.d = self.d  # its request ids go on
        else:
            self.s = ScheduleDriver(self.d)

    async def restart(self) -> None:
        self.engine._core.alarms.close()
        await super().restart()

    async def run(self) -> None:
        await self.open()
        end = at("2027-01-15T08:00:00") + MINUTES * M
        await self.insist("s", schedule(every(M, end_time=end), "BUFFER_ALL"))
        await self.insist("a", schedule(every(M, end_time=end), "ALLOW_ALL", action=action("a")))
        for _ in range(MINUTES + 4):
            await self.step()
        for _ in range(20):  # a failed commit is tried again by the loop's own clock
            if await self.is_done():
                break
            await self.step()
        await self.check()
        await self.d.engine.close()
        await self.inner.close()

    async def insist(self, schedule_id: str, made: schedule_v1.Schedule) -> None:
        """Create a schedule, again and again until it is acknowledged, as a client does."""
        backfill = [
            schedule_v1.BackfillRequest(at("2027-01-15T07:00:00"), at("2027-01-15T07:02:00"), overlap("BUFFER_ALL"))
        ]
        for _ in range(5):
            try:
                await self.s.create(
                    made,
                    schedule_id,
                    request_id=f"create {schedule_id}",
                    initial_patch=schedule_v1.SchedulePatch(backfill_request=backfill),
                )
                return
            except RPCError as error:
                assert error.status is RPCStatusCode.UNAVAILABLE, error
                if self.store.is_dead:
                    await self.restart()
        raise AssertionError("never acknowledged")

    async def step(self) -> None:
        with contextlib.suppress(RPCError):
            await self.d.advance(60)
        with contextlib.suppress(RPCError):
            while not self.store.is_dead and await self.d.has_workflow_task():
                await self.d.turn(complete(b"1"))
                await self.d.settle()
        if self.store.is_dead:
            await self.restart()
        with contextlib.suppress(RPCError):
            await self.d.settle()

    async def is_done(self) -> bool:
        expected = MINUTES + 3
        counts = {(await self.s.info(schedule_id)).action_count for schedule_id in "sa"}
        return counts == {expected} and not await self.d.has_workflow_task()

    async def check(self) -> None:
        times = [f"07:0{minute}:00" for minute in range(3)] + [f"08:0{minute}:00" for minute in range(1, MINUTES + 1)]
        for schedule_id, prefix in (("s", "w"), ("a", "a")):
            info = await self.s.info(schedule_id)
            assert info.action_count == len(times)
            assert info.missed_catchup_window == info.overlap_skipped == info.buffer_dropped == 0
            found = await self.d.list(f"TemporalScheduledById = '{schedule_id}'")
            assert sorted(found) == [f"{prefix}-2027-01-15T{time}Z" for time in times]
            for workflow_id in found:
                events = await self.d.history(workflow_id)
                assert name(events[-1]) == "WorkflowExecutionCompleted", workflow_id


async def test_any_failed_commit_and_any_death_is_got_over() -> None:
    quiet = World(MemoryStore.open)
    await quiet.run()
    assert quiet.store.commits > 20
    for number in range(1, quiet.store.commits + 1):
        await World(MemoryStore.open, fail_at=number).run()
        await World(MemoryStore.open, die_at=number).run()


@pytest.mark.parametrize("number", [2, 4, 6, 9, 13, 18])
async def test_failures_and_deaths_over_a_disk(tmp_path: Path, number: int) -> None:
    def opener(place: str) -> OpenStore:
        return lambda: LMDBStore.open(tmp_path / place, durability=Durability.PROCESS)

    await World(opener("a"), fail_at=number).run()
    await World(opener("b"), die_at=number).run()
