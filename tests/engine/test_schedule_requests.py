"""Triggers, backfills, changes and lists of schedules, driven by a clock in the test's hand."""

from __future__ import annotations

from typing import Any

import pytest

from perdure.api.common import v1 as common_v1
from perdure.api.errordetails import v1 as errordetails_v1
from perdure.api.schedule import v1 as schedule_v1
from perdure.api.workflowservice import v1 as ws
from perdure.service import RPCError, RPCStatusCode
from tests.engine.driver import T0, Driver, S, complete
from tests.engine.schedule_driver import H, M, ScheduleDriver, action, at, every, schedule

# ---- trigger and backfill


async def test_trigger_starts_before_the_answer(d: Driver, s: ScheduleDriver) -> None:
    await s.create()
    await d.advance(30)
    await s.trigger()
    assert await s.workflows() == ["08:00:30"]
    info = await s.info()
    assert info.action_count == 1
    assert len(info.running_workflows) == 1


async def test_trigger_has_an_overlap_policy_of_its_own(d: Driver, s: ScheduleDriver) -> None:
    await s.create()
    await s.trigger()
    await d.advance(1)
    await s.trigger()
    assert await s.workflows() == ["08:00:00"]
    assert (await s.info()).overlap_skipped == 1
    await s.trigger("ALLOW_ALL")
    assert await s.workflows() == ["08:00:00", "08:00:01"]
    await d.advance(1)
    await s.trigger("BUFFER_ONE")
    assert (await s.info()).buffer_size == 1


async def test_two_triggers_of_one_second_start_one_workflow(d: Driver, s: ScheduleDriver) -> None:
    await s.create(schedule(every(H), "ALLOW_ALL"))
    await s.trigger()
    await s.trigger()
    assert await s.workflows() == ["08:00:00"]


async def test_backfill_includes_both_ends(d: Driver, s: ScheduleDriver) -> None:
    await s.create()
    await s.backfill(at("2027-01-14T00:00:00"), at("2027-01-14T05:00:00"), "ALLOW_ALL")
    assert await s.workflows() == [f"0{hour}:00:00" for hour in range(6)]
    assert (await s.info()).action_count == 6


async def test_long_backfill_goes_on_until_it_is_done(d: Driver, s: ScheduleDriver) -> None:
    await s.create()
    await s.backfill(at("2027-01-14T00:00:00"), at("2027-01-15T07:00:00"), "ALLOW_ALL")
    assert (await s.info()).action_count == 32


async def test_backfill_one_after_the_other(d: Driver, s: ScheduleDriver) -> None:
    await s.create()
    await s.backfill(at("2027-01-14T00:00:00"), at("2027-01-14T02:00:00"), "BUFFER_ALL")
    for hour in range(3):
        assert await s.workflows() == [f"0{done}:00:00" for done in range(hour + 1)]
        await d.turn(complete())
        await d.settle()
    assert (await s.info()).action_count == 3


async def test_backfill_of_a_paused_schedule(d: Driver, s: ScheduleDriver) -> None:
    await s.create(schedule(state=schedule_v1.ScheduleState("off", True)))
    await s.backfill(at("2027-01-14T00:00:00"), at("2027-01-14T02:00:00"), "ALLOW_ALL")
    assert len(await s.workflows()) == 3


async def test_created_with_a_trigger_and_a_backfill(d: Driver, s: ScheduleDriver) -> None:
    await s.create(
        schedule(every(H), "ALLOW_ALL"),
        initial_patch=schedule_v1.SchedulePatch(
            trigger_immediately=schedule_v1.TriggerImmediatelyRequest(),
            backfill_request=[schedule_v1.BackfillRequest(at("2027-01-14T05:00:00"), at("2027-01-14T06:00:00"))],
        ),
    )
    assert await s.workflows() == ["05:00:00", "06:00:00", "08:00:00"]


async def test_buffer_has_a_limit(d: Driver, s: ScheduleDriver) -> None:
    await s.create(schedule(every(S), "BUFFER_ALL"))
    await d.advance(1500)
    info = await s.info()
    assert info.action_count == 1
    assert info.buffer_size == 1000
    assert info.buffer_dropped == 499


# ---- changes


async def test_update_replaces_the_schedule(d: Driver, s: ScheduleDriver) -> None:
    await s.create()
    await d.advance(1800)
    await s.update(schedule(every(90 * M), action=action("other")))
    await d.advance(1799)
    described = await s.describe()
    assert described.info is not None and described.info.update_time == T0 + 1800 * S
    assert described.info.future_action_times[0] == T0 + 90 * M - 30 * M
    await d.advance(3600)
    assert await d.list() == ["other-2027-01-15T09:00:00Z"]


async def test_update_does_not_act_for_the_past(d: Driver, s: ScheduleDriver) -> None:
    await s.create(schedule(every(24 * H)))
    await d.advance(3601)
    await s.update(schedule(every(M)))
    assert await s.workflows() == []
    await d.advance(60)
    assert await s.workflows() == ["09:01:00"]


async def test_conflict_token(d: Driver, s: ScheduleDriver) -> None:
    token = await s.create()
    assert token == (await s.describe()).conflict_token
    await s.patch(pause="p")
    assert token != (await s.describe()).conflict_token
    with pytest.raises(RPCError, match="mismatched conflict token") as caught:
        await s.update(schedule(every(M)), conflict_token=token)
    assert caught.value.status is RPCStatusCode.FAILED_PRECONDITION
    await s.update(schedule(every(M)), conflict_token=(await s.describe()).conflict_token)
    await s.update(schedule(every(M)))


async def test_repeated_requests_change_nothing(d: Driver, s: ScheduleDriver) -> None:
    token = await s.create(request_id="once")
    assert await s.create(request_id="once") == token
    patch = ws.PatchScheduleRequest(
        "default",
        "s",
        schedule_v1.SchedulePatch(schedule_v1.TriggerImmediatelyRequest(6)),
        request_id="p",
    )
    await d.engine.patch_schedule(patch)
    await d.advance(1)
    await d.engine.patch_schedule(patch)
    assert (await s.info()).action_count == 1


async def test_schedule_ids_are_taken_once(d: Driver, s: ScheduleDriver) -> None:
    await s.create()
    with pytest.raises(RPCError, match="already registered") as caught:
        await s.create()
    assert caught.value.status is RPCStatusCode.ALREADY_EXISTS
    assert isinstance(caught.value.details[0], errordetails_v1.WorkflowExecutionAlreadyStartedFailure)
    await s.delete()
    await s.create()


async def test_deleted_schedule_leaves_its_workflows(d: Driver, s: ScheduleDriver) -> None:
    await s.create()
    await d.advance(3600)
    await s.delete()
    with pytest.raises(RPCError) as caught:
        await s.delete()
    assert caught.value.status is RPCStatusCode.NOT_FOUND
    await d.advance(3600)
    assert await s.workflows() == ["09:00:00"]
    await d.turn(complete())
    await d.settle()


async def test_memo_and_search_attributes(d: Driver, s: ScheduleDriver) -> None:
    memo = common_v1.Memo({"m": common_v1.Payload({}, b"1")})
    one = common_v1.SearchAttributes({"K": common_v1.Payload({"encoding": b"json/plain", "type": b"Keyword"}, b'"a"')})
    await s.create(memo=memo, search_attributes=one)
    described = await s.describe()
    assert (described.memo, described.search_attributes) == (memo, one)
    await s.update(schedule())
    assert (await s.describe()).search_attributes == one
    await s.update(schedule(), search_attributes=common_v1.SearchAttributes())
    assert (await s.describe()).search_attributes is None


async def test_described_spec_is_canonical(d: Driver, s: ScheduleDriver) -> None:
    spec = schedule_v1.ScheduleSpec(cron_string=["CRON_TZ=Europe/Berlin 0 12 * * MON # noon"])
    await s.create(schedule(spec))
    described = (await s.describe()).schedule
    assert described is not None and described.spec is not None and described.policies is not None
    assert described.spec.cron_string == []
    assert described.spec.timezone_name == "Europe/Berlin"
    assert described.spec.structured_calendar[0].day_of_week == [schedule_v1.Range(1, 1, 1)]
    assert described.spec.structured_calendar[0].comment == "noon"
    assert described.policies.overlap_policy == 1
    assert described.policies.catchup_window == 365 * 24 * H


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (schedule_v1.Schedule(spec=every(H)), "Only StartWorkflow action"),
        (schedule(action=action("")), "WorkflowId is not set"),
        (schedule(action=action(workflow_type=None)), "WorkflowType is not set"),
        (schedule(action=action(task_queue=None)), "TaskQueue is not set"),
        (schedule(action=action("w" * 990)), "WorkflowId is longer"),
        (schedule(action=action(cron_schedule="* * * * *")), "CronSchedule is not allowed"),
        (schedule(action=action(workflow_id_reuse_policy=3)), "WorkflowIdReusePolicy"),
        (schedule(every(1)), "Invalid schedule spec: interval is too small"),
        (schedule(every(H, timezone_name="Nowhere")), "Invalid schedule spec: unknown time zone"),
        (schedule(state=schedule_v1.ScheduleState("n" * 1001)), "notes"),
    ],
)
async def test_wrong_schedule_is_refused(d: Driver, s: ScheduleDriver, made: Any, message: str) -> None:
    with pytest.raises(RPCError, match=message) as caught:
        await s.create(made)
    assert caught.value.status is RPCStatusCode.INVALID_ARGUMENT
    await s.create()
    with pytest.raises(RPCError, match=message):
        await s.update(made)


async def test_unknown_schedule(d: Driver, s: ScheduleDriver) -> None:
    for request in (s.describe, s.trigger, s.delete, lambda: s.update(schedule())):
        with pytest.raises(RPCError, match="schedule not found") as caught:
            await request()
        assert caught.value.status is RPCStatusCode.NOT_FOUND


# ---- lists


async def test_list_and_count(d: Driver, s: ScheduleDriver) -> None:
    one = common_v1.SearchAttributes({"K": common_v1.Payload({"encoding": b"json/plain", "type": b"Keyword"}, b'"a"')})
    for number in range(5):
        await s.create(schedule_id=f"s{number}", search_attributes=one if number % 2 else None)
        await d.advance(1)
    await s.patch("s2", pause="p")
    assert await s.list() == ["s4", "s3", "s2", "s1", "s0"]
    assert await s.list("K = 'a'") == ["s3", "s1"]
    assert await s.list("TemporalSchedulePaused = true") == ["s2"]
    assert await s.list("ScheduleId = 's3' OR ScheduleId = 's0'") == ["s3", "s0"]
    assert await s.list("ScheduleId STARTS_WITH 's'") == ["s4", "s3", "s2", "s1", "s0"]
    assert (await s.count()).count == 5
    assert (await s.count("K = 'a'")).count == 2
    grouped = await s.count("GROUP BY TemporalSchedulePaused")
    assert sorted((group.group_values[0].data, group.count) for group in grouped.groups) == [
        (b'"false"', 4),
        (b'"true"', 1),
    ]
    with pytest.raises(RPCError, match="invalid query"):
        await s.list("Nonsense = 1")


async def test_list_in_pages(d: Driver, s: ScheduleDriver) -> None:
    for number in range(5):
        await s.create(schedule_id=f"s{number}")
    for query in ("", "TemporalSchedulePaused = false", "ORDER BY StartTime ASC"):
        found: list[str] = []
        token = b""
        while True:
            page = await d.engine.list_schedules(ws.ListSchedulesRequest("default", 2, token, query))
            found += [entry.schedule_id for entry in page.schedules]
            token = page.next_page_token
            if not token:
                break
        assert sorted(found) == ["s0", "s1", "s2", "s3", "s4"]


async def test_listed_entry(d: Driver, s: ScheduleDriver) -> None:
    await s.create(schedule(every(H), "ALLOW_ALL", state=schedule_v1.ScheduleState("note")))
    for _ in range(7):
        await d.advance(3600)
    response = await d.engine.list_schedules(ws.ListSchedulesRequest("default"))
    info = response.schedules[0].info
    assert info is not None and info.workflow_type is not None
    assert (info.notes, info.paused, info.workflow_type.name) == ("note", False, "W")
    assert [action.schedule_time for action in info.recent_actions] == [T0 + n * H for n in range(3, 8)]
    assert info.future_action_times == [T0 + n * H for n in range(8, 13)]


async def test_matching_times(d: Driver, s: ScheduleDriver) -> None:
    await s.create()
    response = await d.engine.list_schedule_matching_times(
        ws.ListScheduleMatchingTimesRequest("default", "s", at("2027-03-01T00:00:00"), at("2027-03-01T03:00:00"))
    )
    assert response.start_time == [at(f"2027-03-01T0{hour}:00:00") for hour in (1, 2, 3)]
    response = await d.engine.list_schedule_matching_times(
        ws.ListScheduleMatchingTimesRequest("default", "s", 0, at("2027-03-01T03:00:00"))
    )
    assert len(response.start_time) == 1000
