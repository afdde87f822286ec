"""Schedules in the engine: what they start and when, driven by a clock in the test's hand.

The clock starts at 2027-01-15T08:00:00Z.
"""

from __future__ import annotations

import pytest

from perdure.api.common import v1 as common_v1
from perdure.api.schedule import v1 as schedule_v1
from perdure.engine.schedule_rules import RETENTION
from perdure.service import RPCError, RPCStatusCode
from tests.engine.driver import T0, Driver, S, complete, continue_as_new, fail, name, payloads
from tests.engine.schedule_driver import H, M, ScheduleDriver, action, at, every, schedule, started

# ---- acting


async def test_acts_at_its_times(d: Driver, s: ScheduleDriver) -> None:
    await s.create(schedule(every(H), "ALLOW_ALL"))
    await d.advance(3599)
    assert await s.workflows() == []
    await d.advance(1)
    assert await s.workflows() == ["09:00:00"]
    await d.advance(3600)
    assert await s.workflows() == ["09:00:00", "10:00:00"]
    info = await s.info()
    assert info.action_count == 2
    assert info.future_action_times == [at(f"2027-01-15T{hour}:00:00") for hour in range(11, 21)]
    assert [action.schedule_time for action in info.recent_actions] == [T0 + H, T0 + 2 * H]


async def test_started_workflow_tells_where_it_comes_from(d: Driver, s: ScheduleDriver) -> None:
    mine = common_v1.SearchAttributes({"Mine": common_v1.Payload({"encoding": b"json/plain", "type": b"Int"}, b"7")})
    memo = common_v1.Memo({"m": common_v1.Payload({}, b"1")})
    await s.create(
        schedule(action=action(input=payloads(b'"hello"'), search_attributes=mine, memo=memo, workflow_run_timeout=M))
    )
    await d.advance(3600)
    attributes = await started(d, "09:00:00")
    assert attributes.workflow_type.name == "W"
    assert attributes.input == payloads(b'"hello"')
    assert attributes.memo == memo
    assert attributes.workflow_run_timeout == M
    assert attributes.identity == "temporal-scheduler-default-s"
    fields = attributes.search_attributes.indexed_fields
    assert {name: payload.data for name, payload in fields.items()} == {
        "Mine": b"7",
        "TemporalScheduledStartTime": b'"2027-01-15T09:00:00Z"',
        "TemporalScheduledById": b'"s"',
    }
    assert await d.list("TemporalScheduledById = 's'") == ["w-2027-01-15T09:00:00Z"]
    assert await d.list("TemporalScheduledStartTime = '2027-01-15T09:00:00Z'") == ["w-2027-01-15T09:00:00Z"]


async def test_jitter_is_the_same_for_the_same_time(d: Driver, s: ScheduleDriver) -> None:
    await s.create(schedule(every(H, jitter=H)))
    due = (await s.info()).future_action_times[0]
    assert T0 < due - H < T0 + H
    await d.advance((due - T0) / S - 0.001)
    assert await s.workflows() == []
    await d.advance(0.001)
    assert await s.workflows() == ["09:00:00"]
    recent = (await s.info()).recent_actions[0]
    assert (recent.schedule_time, recent.actual_time) == (due, due)


async def test_same_workflow_id_where_wanted(d: Driver, s: ScheduleDriver) -> None:
    await s.create(schedule(keep_original_workflow_id=True))
    await d.advance(3600)
    assert await d.list() == ["w"]
    await d.turn(complete())
    await d.advance(3600)
    assert await d.list() == ["w", "w"]


async def test_workflow_id_that_exists_is_not_started_again(d: Driver, s: ScheduleDriver) -> None:
    await d.start("w-2027-01-15T09:00:00Z")
    await d.terminate("w-2027-01-15T09:00:00Z")
    await s.create()
    await d.advance(3600)
    assert (await s.info()).action_count == 0
    await d.advance(3600)
    assert (await s.info()).action_count == 1
    assert await s.workflows() == ["09:00:00", "10:00:00"]


async def test_ends_with_its_end_time_and_is_forgotten(d: Driver, s: ScheduleDriver) -> None:
    await s.create(schedule(every(H, end_time=T0 + 2 * H)))
    for _ in range(3):
        await d.advance(3600)
        if await d.has_workflow_task():
            await d.turn(complete())
    assert (await s.info()).action_count == 2
    assert (await s.info()).future_action_times == []
    await d.advance(RETENTION / S)
    with pytest.raises(RPCError) as caught:
        await s.describe()
    assert caught.value.status is RPCStatusCode.NOT_FOUND
    assert await d.engine.store.list_documents((await namespace_id(d)), "schedule", 10) == []


async def namespace_id(d: Driver) -> str:
    return (await d.engine.store.load_namespaces())[0].namespace_id


# ---- overlap


async def run_out(d: Driver, s: ScheduleDriver, policy: str) -> list[str]:
    """Three times pass while the first workflow runs; which workflows there are, after each closes."""
    await s.create(schedule(every(H), policy))
    await d.advance(3600)
    await d.advance(3600)
    await d.advance(3600)
    found = [",".join(await s.workflows())]
    for _ in range(4):
        if await d.has_workflow_task():
            await d.turn(complete())
            await d.settle()
        found.append(",".join(await s.workflows()))
    return found


@pytest.mark.parametrize(
    ("policy", "expected", "skipped"),
    [
        ("", ["09", "09", "09"], 2),
        ("SKIP", ["09", "09", "09"], 2),
        ("BUFFER_ONE", ["09", "09,10", "09,10"], 1),
        ("BUFFER_ALL", ["09", "09,10", "09,10,11"], 0),
        ("ALLOW_ALL", ["09,10,11"] * 3, 0),
    ],
)
async def test_overlap(d: Driver, s: ScheduleDriver, policy: str, expected: list[str], skipped: int) -> None:
    found = await run_out(d, s, policy)
    assert [text.replace(":00:00", "") for text in found[:3]] == expected
    info = await s.info()
    assert info.overlap_skipped == skipped
    assert info.running_workflows == []
    assert info.buffer_size == 0


async def test_terminate_other(d: Driver, s: ScheduleDriver) -> None:
    await s.create(schedule(every(H), "TERMINATE_OTHER"))
    await d.advance(3600)
    await d.advance(3600)
    assert await s.workflows() == ["09:00:00", "10:00:00"]
    events = await d.history("w-2027-01-15T09:00:00Z")
    assert name(events[-1]) == "WorkflowExecutionTerminated"
    assert events[-1].attributes.reason == "terminated by schedule overlap policy"
    assert await d.status("w-2027-01-15T10:00:00Z") == 1


async def test_cancel_other_waits_for_the_end(d: Driver, s: ScheduleDriver) -> None:
    await s.create(schedule(every(H), "CANCEL_OTHER"))
    await d.advance(3600)
    await d.advance(3600)
    assert await s.workflows() == ["09:00:00"]
    assert "WorkflowExecutionCancelRequested" in await d.names("w-2027-01-15T09:00:00Z")
    assert (await s.info()).buffer_size == 1
    await d.turn(complete())
    await d.settle()
    assert await s.workflows() == ["09:00:00", "10:00:00"]


async def test_running_workflow_is_the_newest_of_its_chain(d: Driver, s: ScheduleDriver) -> None:
    await s.create()
    await d.advance(3600)
    running = (await s.info()).running_workflows
    assert [execution.workflow_id for execution in running] == ["w-2027-01-15T09:00:00Z"]
    await d.turn(continue_as_new())
    await d.advance(3600)
    assert (await s.info()).running_workflows == running
    assert (await s.info()).overlap_skipped == 1
    await d.turn(complete())
    await d.settle()
    assert (await s.info()).running_workflows == []


# ---- what a workflow leaves to the next


async def test_result_is_the_next_ones_last_completion_result(d: Driver, s: ScheduleDriver) -> None:
    await s.create()
    await d.advance(3600)
    assert (await started(d, "09:00:00")).last_completion_result is None
    await d.turn(complete(b"1"))
    await d.advance(3600)
    assert (await started(d, "10:00:00")).last_completion_result == payloads(b"1")
    await d.turn(fail())
    await d.advance(3600)
    attributes = await started(d, "11:00:00")
    assert attributes.last_completion_result == payloads(b"1")
    assert attributes.continued_failure.message == "no"
    await d.turn(complete(b"2"))
    await d.advance(3600)
    attributes = await started(d, "12:00:00")
    assert attributes.last_completion_result == payloads(b"2")
    assert attributes.continued_failure is None


async def test_overlapping_workflows_leave_nothing(d: Driver, s: ScheduleDriver) -> None:
    await s.create(schedule(every(H), "ALLOW_ALL"))
    await d.advance(3600)
    await d.turn(complete(b"1"))
    await d.advance(3600)
    assert (await started(d, "10:00:00")).last_completion_result is None


async def test_status_of_recent_actions(d: Driver, s: ScheduleDriver) -> None:
    await s.create()
    await d.advance(3600)
    assert (await s.info()).recent_actions[0].start_workflow_status == 1
    await d.turn(fail())
    await d.settle()
    assert (await s.info()).recent_actions[0].start_workflow_status == 3


async def test_pause_on_failure(d: Driver, s: ScheduleDriver) -> None:
    await s.create(schedule(pause_on_failure=True))
    await d.advance(3600)
    await d.turn(complete())
    await d.settle()
    assert not (await s.state()).paused
    await d.advance(3600)
    await d.turn(fail())
    await d.settle()
    state = await s.state()
    assert state.paused
    assert state.notes == "paused due to workflow failure: w-2027-01-15T10:00:00Z: no"
    await d.advance(3600)
    assert (await s.info()).action_count == 2


async def test_pause_on_timeout_but_not_on_termination(d: Driver, s: ScheduleDriver) -> None:
    await s.create(schedule(pause_on_failure=True, action=action(workflow_run_timeout=M)))
    await d.advance(3600)
    await d.terminate("w-2027-01-15T09:00:00Z")
    await d.settle()
    assert not (await s.state()).paused
    await d.advance(3600)
    await d.advance(60)
    assert (await s.state()).notes == "paused due to workflow timeout: w-2027-01-15T10:00:00Z"


# ---- pausing, limits


async def test_paused_time_is_not_made_up_for(d: Driver, s: ScheduleDriver) -> None:
    await s.create()
    await s.patch(pause="not now")
    state = await s.state()
    assert (state.paused, state.notes) == (True, "not now")
    await d.advance(7200)
    assert (await s.info()).future_action_times[0] == T0 + 3 * H
    await s.patch(unpause="again")
    assert await s.workflows() == []
    info = await s.info()
    assert info.missed_catchup_window == 0
    assert info.future_action_times[0] == T0 + 3 * H
    await d.advance(3600)
    assert await s.workflows() == ["11:00:00"]
    assert (await s.state()).notes == "again"


async def test_created_paused(d: Driver, s: ScheduleDriver) -> None:
    await s.create(schedule(state=schedule_v1.ScheduleState("off", True)))
    await d.advance(7200)
    assert await s.workflows() == []
    await s.trigger()
    assert await s.workflows() == ["10:00:00"]


async def test_limited_actions_run_out(d: Driver, s: ScheduleDriver) -> None:
    await s.create(schedule(every(H), "ALLOW_ALL", state=schedule_v1.ScheduleState("", False, True, 2)))
    assert len((await s.info()).future_action_times) == 2
    await d.advance(3600)
    assert (await s.state()).remaining_actions == 1
    await s.trigger()
    assert (await s.state()).remaining_actions == 1
    await d.advance(3600)
    await d.advance(3600)
    assert (await s.state()).remaining_actions == 0
    assert await s.workflows() == ["09:00:00", "10:00:00"]
    assert (await s.info()).future_action_times == []
    await d.advance(RETENTION / S)
    assert await s.list() == []


async def test_more_actions_are_for_the_time_to_come(d: Driver, s: ScheduleDriver) -> None:
    await s.create(schedule(every(H), "ALLOW_ALL", state=schedule_v1.ScheduleState("", False, True, 1)))
    await d.advance(3 * 3600)
    assert await s.workflows() == ["09:00:00"]
    await s.update(schedule(every(H), "ALLOW_ALL", state=schedule_v1.ScheduleState("", False, True, 1)))
    await d.advance(2 * 3600)
    assert await s.workflows() == ["09:00:00", "12:00:00"]
