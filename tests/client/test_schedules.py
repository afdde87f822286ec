"""Schedules as users have them: a client, a worker and an engine, with a skipping clock where time has to pass."""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from perdure import Client, Worker, workflow
from perdure.api.schedule import v1 as schedule_v1
from perdure.client import (
    CreateScheduleInput,
    Interceptor,
    OutboundInterceptor,
    Schedule,
    ScheduleActionExecutionStartWorkflow,
    ScheduleActionStartWorkflow,
    ScheduleAlreadyRunningError,
    ScheduleBackfill,
    ScheduleCalendarSpec,
    ScheduleHandle,
    ScheduleIntervalSpec,
    ScheduleListActionStartWorkflow,
    ScheduleOverlapPolicy,
    SchedulePolicy,
    ScheduleRange,
    ScheduleSpec,
    ScheduleState,
    ScheduleUpdate,
    ScheduleUpdateInput,
    TriggerScheduleInput,
)
from perdure.common import (
    Priority,
    RetryPolicy,
    SearchAttributeKey,
    SearchAttributePair,
    TypedSearchAttributes,
)
from perdure.converter import DataConverter
from perdure.service import RPCError, RPCStatusCode
from perdure.testing import WorkflowEnvironment
from tests.support.homes import STORES, home_url

COLOUR = SearchAttributeKey.for_keyword("Colour")
HOURLY = ScheduleSpec(intervals=[ScheduleIntervalSpec(timedelta(hours=1))])


@dataclass
class Order:
    item: str
    count: int = 1


@workflow.defn
class Report:
    """Says what it got, and what the one before it left."""

    @workflow.run
    async def run(self, order: Order) -> str:
        last = workflow.get_last_completion_result(str)
        return f"{order.item}{order.count}" if last is None else f"{last},{order.item}{order.count}"


@workflow.defn
class Waits:
    @workflow.run
    async def run(self) -> None:
        await workflow.wait_condition(lambda: False)


def report(**options: Any) -> ScheduleActionStartWorkflow:
    return ScheduleActionStartWorkflow(Report.run, Order("a"), id="report", task_queue="q", **options)


def paused(action: ScheduleActionStartWorkflow | None = None) -> Schedule:
    return Schedule(action or report(), HOURLY, state=ScheduleState(paused=True))


@pytest.fixture(params=STORES)
async def client(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Client]:
    async with await Client.connect(home_url(request.param, tmp_path, durability="full")) as client:
        yield client


async def workflow_ids(handle: ScheduleHandle) -> list[str]:
    ids = []
    for result in (await handle.describe()).info.recent_actions:
        assert isinstance(result.action, ScheduleActionExecutionStartWorkflow)
        ids.append(result.action.workflow_id)
    return ids


# ---- from the schedule to the workflow


async def test_trigger_runs_the_workflow(client: Client) -> None:
    async with Worker(client, task_queue="q", workflows=[Report]):
        handle = await client.create_schedule("s", paused(), trigger_immediately=True)
        (first,) = await workflow_ids(handle)
        assert await client.get_workflow_handle(first, result_type=str).result() == "a1"
        await handle.backfill(ScheduleBackfill(datetime(2020, 1, 1, 5, tzinfo=UTC), datetime(2020, 1, 1, 5, 30)))
        ids = await workflow_ids(handle)
        assert ids == [first, "report-2020-01-01T05:00:00Z"]
        assert await client.get_workflow_handle(ids[1], result_type=str).result() == "a1,a1"
    description = await handle.describe()
    assert description.info.num_actions == 2
    found = [execution.id async for execution in client.list_workflows("TemporalScheduledById = 's'")]
    assert sorted(found) == sorted(ids)


async def test_created_with_a_backfill(client: Client) -> None:
    backfill = ScheduleBackfill(
        datetime(2020, 1, 1, tzinfo=UTC), datetime(2020, 1, 1, 2, tzinfo=UTC), ScheduleOverlapPolicy.ALLOW_ALL
    )
    handle = await client.create_schedule("s", paused(), backfill=[backfill])
    assert await workflow_ids(handle) == [f"report-2020-01-01T0{hour}:00:00Z" for hour in range(3)]


async def test_skipped_days_run_every_scheduled_workflow() -> None:
    async with await WorkflowEnvironment.start_time_skipping() as env:
        client = env.client
        async with Worker(client, task_queue="q", workflows=[Report]):
            handle = await client.create_schedule("s", Schedule(report(), HOURLY))
            begin = await env.get_current_time()
            await env.sleep(timedelta(days=1))
            info = (await handle.describe()).info
            assert info.num_actions == 24
            assert info.num_actions_skipped_overlap == info.num_actions_missed_catchup_window == 0
            last = info.recent_actions[-1]
            assert last.started_at - last.scheduled_at < timedelta(seconds=5)
            assert timedelta(hours=23) < last.scheduled_at - begin <= timedelta(days=1)
            assert isinstance(last.action, ScheduleActionExecutionStartWorkflow)
            result = await client.get_workflow_handle(last.action.workflow_id, result_type=str).result()
            assert result == ",".join(["a1"] * 24)


async def test_overlap_over_skipped_time() -> None:
    async with await WorkflowEnvironment.start_time_skipping() as env:
        client = env.client
        async with Worker(client, task_queue="q", workflows=[Waits]):
            action = ScheduleActionStartWorkflow(Waits.run, id="w", task_queue="q")
            handle = await client.create_schedule(
                "s", Schedule(action, HOURLY, SchedulePolicy(ScheduleOverlapPolicy.CANCEL_OTHER))
            )
            await env.sleep(timedelta(hours=3, minutes=1))
            info = (await handle.describe()).info
            assert info.num_actions == 3
            assert len(info.running_actions) == 1
            closed = [e.status.name async for e in client.list_workflows("CloseTime IS NOT NULL") if e.status]
            assert closed == ["CANCELED", "CANCELED"]


async def test_schedule_survives_a_restart(tmp_path: Path) -> None:
    url = f"lmdb:{tmp_path / 'data'}"
    spec = ScheduleSpec(intervals=[ScheduleIntervalSpec(timedelta(seconds=1))])
    async with await Client.connect(url) as client:
        handle = await client.create_schedule(
            "s", Schedule(report(), spec, SchedulePolicy(ScheduleOverlapPolicy.ALLOW_ALL), ScheduleState("n", True))
        )
        await handle.trigger()
        before = await handle.describe()
    async with await Client.connect(url) as client:
        handle = client.get_schedule_handle("s")
        after = await handle.describe()
        assert after.schedule == before.schedule
        assert after.info.recent_actions == before.info.recent_actions
        async with Worker(client, task_queue="q", workflows=[Report]):
            (workflow_id,) = await workflow_ids(handle)
            assert await client.get_workflow_handle(workflow_id, result_type=str).result() == "a1"


# ---- describe and update


async def test_description_is_what_was_created(client: Client) -> None:
    schedule = Schedule(
        report(
            execution_timeout=timedelta(hours=1),
            run_timeout=timedelta(minutes=30),
            task_timeout=timedelta(seconds=20),
            retry_policy=RetryPolicy(maximum_interval=timedelta(seconds=9), maximum_attempts=3),
            memo={"k": [1, 2]},
            typed_search_attributes=TypedSearchAttributes([SearchAttributePair(COLOUR, "red")]),
            static_summary="summary",
            static_details="details",
            priority=Priority(priority_key=2),
        ),
        ScheduleSpec(
            calendars=[ScheduleCalendarSpec(hour=(ScheduleRange(4, 20, 2),), comment="even")],
            intervals=[ScheduleIntervalSpec(timedelta(days=10), timedelta(days=2))],
            skip=[ScheduleCalendarSpec(year=(ScheduleRange(2050),))],
            start_at=datetime(2060, 7, 8, 9, 10, 11, tzinfo=UTC),
            end_at=datetime(2070, 7, 8, tzinfo=UTC),
            jitter=timedelta(seconds=80),
            time_zone_name="Europe/Berlin",
        ),
        SchedulePolicy(ScheduleOverlapPolicy.BUFFER_ONE, timedelta(minutes=5), True),
        ScheduleState("note", True, True, 30),
    )
    attributes = TypedSearchAttributes([SearchAttributePair(COLOUR, "blue")])
    handle = await client.create_schedule("s", schedule, memo={"m": {"n": 1}}, search_attributes=attributes)
    description = await handle.describe()
    action = schedule.action
    assert isinstance(action, ScheduleActionStartWorkflow)
    encode = DataConverter.default.encode
    expected = dataclasses.replace(
        schedule,
        action=ScheduleActionStartWorkflow(  # type: ignore[call-overload]
            "Report",
            args=await encode(action.args),
            id="report",
            task_queue="q",
            execution_timeout=action.execution_timeout,
            run_timeout=action.run_timeout,
            task_timeout=action.task_timeout,
            retry_policy=action.retry_policy,
            memo={"k": (await encode([[1, 2]]))[0]},
            typed_search_attributes=action.typed_search_attributes,
            static_summary=(await encode(["summary"]))[0],
            static_details=(await encode(["details"]))[0],
            priority=action.priority,
        ),
    )
    assert description.schedule == expected
    assert description.id == "s"
    assert description.typed_search_attributes == attributes
    assert await description.memo() == {"m": {"n": 1}}
    assert await description.memo_value("m", type_hint=dict[str, int]) == {"n": 1}
    assert await description.memo_value("x", 7) == 7
    with pytest.raises(KeyError, match="no value for 'x'"):
        await description.memo_value("x")
    assert len(description.info.next_action_times) == 10
    assert description.info.next_action_times[0] >= datetime(2060, 7, 8, tzinfo=UTC)
    assert description.info.last_updated_at is None
    assert description.info.created_at.tzinfo is UTC


async def test_update_by_a_function(client: Client) -> None:
    handle = await client.create_schedule("s", paused(), search_attributes=TypedSearchAttributes([]))

    def later(input: ScheduleUpdateInput) -> ScheduleUpdate:
        action = input.description.schedule.action
        assert isinstance(action, ScheduleActionStartWorkflow)
        action.task_timeout = timedelta(minutes=1)
        return ScheduleUpdate(input.description.schedule, TypedSearchAttributes([SearchAttributePair(COLOUR, "green")]))

    async def nothing(input: ScheduleUpdateInput) -> None:
        return None

    await handle.update(later)
    await handle.update(nothing)
    description = await handle.describe()
    assert isinstance(description.schedule.action, ScheduleActionStartWorkflow)
    assert description.schedule.action.task_timeout == timedelta(minutes=1)
    assert await DataConverter.default.decode(description.schedule.action.args, [Order]) == [Order("a")]
    assert description.typed_search_attributes[COLOUR] == "green"
    assert description.info.last_updated_at is not None


async def test_update_goes_on_top_of_other_changes(client: Client) -> None:
    handle = await client.create_schedule("s", paused())
    seen: list[str | None] = []

    async def update(input: ScheduleUpdateInput) -> ScheduleUpdate:
        state = input.description.schedule.state
        seen.append(state.note)
        if len(seen) == 1:
            await handle.pause(note="meanwhile")
        state.remaining_actions = 3
        state.limited_actions = True
        return ScheduleUpdate(input.description.schedule)

    await handle.update(update)
    state = (await handle.describe()).schedule.state
    assert seen == [None, "meanwhile"]
    assert (state.note, state.remaining_actions) == ("meanwhile", 3)


async def test_failing_updater_changes_nothing(client: Client) -> None:
    handle = await client.create_schedule("s", paused())

    def fails(input: ScheduleUpdateInput) -> ScheduleUpdate:
        raise LookupError("no")

    with pytest.raises(LookupError):
        await handle.update(fails)
    with pytest.raises(TypeError, match="what the updater returns must be ScheduleUpdate"):
        await handle.update(lambda input: input.description.schedule)  # type: ignore[arg-type, return-value]
    assert (await handle.describe()).info.last_updated_at is None


async def test_pause_and_unpause(client: Client) -> None:
    handle = await client.create_schedule("s", Schedule(report(), HOURLY))
    notes = []
    for note in (None, "why"):
        await handle.pause(note=note)
        paused_state = (await handle.describe()).schedule.state
        await handle.unpause(note=note)
        state = (await handle.describe()).schedule.state
        assert (paused_state.paused, state.paused) == (True, False)
        notes += [paused_state.note, state.note]
    assert notes == ["Paused via Python SDK", "Unpaused via Python SDK", "why", "why"]


async def test_schedule_id_is_taken_until_deleted(client: Client) -> None:
    handle = await client.create_schedule("s", paused())
    with pytest.raises(ScheduleAlreadyRunningError):
        await client.create_schedule("s", paused())
    await handle.delete()
    with pytest.raises(RPCError) as caught:
        await handle.describe()
    assert caught.value.status is RPCStatusCode.NOT_FOUND
    await client.create_schedule("s", paused())


# ---- lists


async def test_list(client: Client) -> None:
    for number in range(5):
        await client.create_schedule(
            f"s{number}",
            paused(),
            memo={"number": number},
            search_attributes=TypedSearchAttributes([SearchAttributePair(COLOUR, "red" if number % 2 else "blue")]),
        )
    found = [entry async for entry in await client.list_schedules(page_size=2)]
    assert sorted(entry.id for entry in found) == [f"s{number}" for number in range(5)]
    found = [entry async for entry in await client.list_schedules("Colour = 'red'", page_size=1)]
    assert sorted(entry.id for entry in found) == ["s1", "s3"]
    entry = found[0]
    assert await entry.memo_value("number") in (1, 3)
    assert entry.typed_search_attributes[COLOUR] == "red"
    assert entry.schedule is not None and entry.info is not None
    assert entry.schedule.action == ScheduleListActionStartWorkflow("Report")
    assert entry.schedule.spec == HOURLY
    assert entry.schedule.state.paused
    assert len(entry.info.next_action_times) == 5


# ---- interceptors and refusals


class Recording(Interceptor, OutboundInterceptor):
    def __init__(self) -> None:
        self.calls: list[Any] = []

    def intercept_client(self, next: OutboundInterceptor) -> OutboundInterceptor:
        OutboundInterceptor.__init__(self, next)
        return self

    async def create_schedule(self, input: CreateScheduleInput) -> ScheduleHandle:
        self.calls.append(input)
        assert isinstance(input.schedule.action, ScheduleActionStartWorkflow)
        input.schedule.action.headers = {"h": (await DataConverter.default.encode(["v"]))[0]}
        return await super().create_schedule(input)

    async def trigger_schedule(self, input: TriggerScheduleInput) -> None:
        self.calls.append(input)
        await super().trigger_schedule(input)


async def test_interceptors_see_calls(client: Client) -> None:
    recording = Recording()
    config = client.config()
    config["interceptors"] = [recording]
    client = Client(**config)
    handle = await client.create_schedule("s", paused())
    await handle.trigger(overlap=ScheduleOverlapPolicy.ALLOW_ALL)
    assert [type(call) for call in recording.calls] == [CreateScheduleInput, TriggerScheduleInput]
    (workflow_id,) = await workflow_ids(handle)
    history = await client.get_workflow_handle(workflow_id).fetch_history()
    assert list(history.events[0].attributes.header.fields) == ["h"]
    action = (await handle.describe()).schedule.action
    assert isinstance(action, ScheduleActionStartWorkflow)
    assert action.headers is not None and list(action.headers) == ["h"]


def test_ranges_fill_in_what_is_left_out() -> None:
    assert ScheduleRange(5) == ScheduleRange(5, 5, 1)
    assert ScheduleRange(5, 3, 0) == ScheduleRange(5, 5, 1)


@pytest.mark.parametrize(
    ("state", "message"),
    [
        (ScheduleState(limited_actions=True), "Must set limited actions to false"),
        (ScheduleState(remaining_actions=1), "Must set limited actions to true"),
    ],
)
async def test_limited_actions_and_remaining_ones_go_together(
    client: Client, state: ScheduleState, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        await client.create_schedule("s", Schedule(report(), HOURLY, state=state))


async def test_wrong_arguments_are_refused_here(client: Client) -> None:
    with pytest.raises(ValueError, match="ID required"):
        ScheduleActionStartWorkflow("W", task_queue="q")  # type: ignore[call-overload]
    with pytest.raises(ValueError, match="Task queue required"):
        ScheduleActionStartWorkflow("W", id="w")  # type: ignore[call-overload]
    with pytest.raises(TypeError, match="run method"):
        ScheduleActionStartWorkflow(Report, id="w", task_queue="q")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="schedule must be Schedule"):
        await client.create_schedule("s", HOURLY)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="id must not be empty"):
        client.get_schedule_handle("")
    handle = client.get_schedule_handle("s")
    with pytest.raises(ValueError, match="At least one backfill required"):
        await handle.backfill()
    with pytest.raises(TypeError, match="overlap must be one of"):
        await handle.trigger(overlap="SKIP")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="updater must be a function"):
        await handle.update(None)  # type: ignore[call-overload]
    with pytest.raises(RPCError, match="Invalid schedule spec: Hour is not in range"):
        await client.create_schedule("s", Schedule(report(), ScheduleSpec(cron_expressions=["0 25 * * *"])))


def test_unknown_actions_are_told() -> None:
    with pytest.raises(ValueError, match="does something that this version does not know"):
        Schedule._from_proto(schedule_v1.Schedule(action=schedule_v1.ScheduleAction()))
