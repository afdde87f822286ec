"""Priorities, fairness keys and rate limits of task queues."""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perdure.api.activity import v1 as activity_v1
from perdure.api.common import v1 as common_v1
from perdure.api.taskqueue import v1 as taskqueue_v1
from perdure.api.workflowservice import v1 as ws
from perdure.engine.backlog import FairBacklog, Rank
from perdure.engine.gates import Gate, KeyGates
from perdure.engine.matching import Task, TaskQueue
from perdure.engine.queue_limits import Limited
from perdure.service import RPCError, RPCStatusCode
from perdure.store.api import RunKey
from tests.engine.driver import Driver, S, driving, queue, schedule_activity


def priority(key: int = 0, fairness: str = "", weight: float = 0.0) -> common_v1.Priority:
    return common_v1.Priority(key, fairness, weight)


def task(number: int) -> Task:
    return Task(RunKey("n", "w", "r"), number)


async def test_urgent_workflows_come_first(d: Driver) -> None:
    for workflow_id, key in (("low", 5), ("first", 0), ("high", 1), ("second", 3)):
        await d.start(workflow_id, priority=priority(key) if key else None)
    await d.settle()
    order = []
    for _ in range(4):
        execution = (await d.poll()).workflow_execution
        assert execution is not None
        order.append(execution.workflow_id)
    assert order == ["high", "first", "second", "low"]


async def test_activities_have_priorities_and_inherit_them(d: Driver) -> None:
    await d.start(priority=priority(2, "tenant"))
    await d.turn(
        schedule_activity("inherits"),
        schedule_activity("low", priority=priority(4)),
        schedule_activity("high", priority=priority(1)),
    )
    await d.settle()
    assert [(await d.poll_activity()).activity_id for _ in range(3)] == ["high", "inherits", "low"]


async def test_workers_see_the_priority_that_holds(d: Driver) -> None:
    await d.start(priority=priority(2, "tenant", 2.0))
    await d.turn(schedule_activity("a", priority=priority(1)), schedule_activity("b"))
    await d.settle()
    assert [(await d.poll_activity()).priority for _ in range(2)] == [
        priority(1, "tenant", 2.0),
        priority(2, "tenant", 2.0),
    ]


async def test_a_priority_may_be_changed_and_taken_away(d: Driver) -> None:
    async def change(activity_id: str, new: common_v1.Priority | None) -> None:
        await d.engine.update_activity_options(
            ws.UpdateActivityOptionsRequest(
                "default",
                common_v1.WorkflowExecution("w"),
                activity_options=activity_v1.ActivityOptions(priority=new),
                update_mask=["priority"],
                id=activity_id,
            )
        )

    await d.start(priority=priority(4))
    await d.turn(*(schedule_activity(name, priority=priority(1)) for name in "abc"), schedule_activity("d"))
    await d.settle()
    await change("a", None)
    await change("b", priority(5))
    await change("d", priority(3))
    tasks = [await d.poll_activity() for _ in range(4)]
    assert [task.activity_id for task in tasks] == ["c", "d", "a", "b"]
    assert [task.priority for task in tasks] == [priority(1), priority(3), priority(4), priority(5)]


async def test_fairness_keys_share_by_weight(d: Driver) -> None:
    await d.start()
    await d.turn(
        *(schedule_activity(f"big{n}", priority=priority(0, "big", 3.0)) for n in range(8)),
        *(schedule_activity(f"small{n}", priority=priority(0, "small", 1.0)) for n in range(8)),
    )
    await d.settle()
    first = [(await d.poll_activity()).activity_id.rstrip("0123456789") for _ in range(8)]
    assert Counter(first) == {"big": 6, "small": 2}


@pytest.mark.parametrize("bad", [priority(-1), priority(1, "x" * 65), priority(1, "x", -1.0)])
async def test_priorities_out_of_bounds_are_refused(d: Driver, bad: common_v1.Priority) -> None:
    with pytest.raises(RPCError) as refused:
        await d.start(priority=bad)
    assert refused.value.status is RPCStatusCode.INVALID_ARGUMENT


ranks = st.builds(Rank, st.integers(1, 5), st.sampled_from(["", "a", "b"]), st.sampled_from([0.5, 1.0, 4.0]))


@given(st.lists(ranks, max_size=30))
def test_a_backlog_loses_nothing_and_keeps_priorities(given_ranks: list[Rank]) -> None:
    backlog = FairBacklog(deque())
    for number, rank in enumerate(given_ranks):
        backlog.insert(task(number), rank)
    assert sum(backlog.sizes().values()) == len(backlog) == len(given_ranks)
    expected = [item.scheduled_event_id for item in backlog]
    order = [backlog.popleft().scheduled_event_id for _ in given_ranks]
    assert order == expected
    assert sorted(order) == list(range(len(given_ranks)))
    assert [given_ranks[number].priority for number in order] == sorted(rank.priority for rank in given_ranks)
    for rank in set(given_ranks):  # of one key and priority with one weight, first come, first served
        same = [number for number in order if given_ranks[number] == rank]
        if len({other.weight for other in given_ranks if other[:2] == rank[:2]}) == 1:
            assert same == sorted(same)


# ---- rate limits


async def test_a_limited_queue_lets_so_many_through_a_second() -> None:
    loop = asyncio.get_running_loop()
    now = 100.0
    waiting = TaskQueue("q")
    for number in range(4):
        waiting.add(task(number))
    limited = Limited(waiting, Gate(2.0, lambda: now), loop)
    assert waiting.tasks and waiting.tasks.popleft() == task(0)
    assert not waiting.tasks and len(waiting.tasks) == 3
    now += 0.5
    assert waiting.tasks.popleft() == task(1)
    now += 10  # what was not used does not pile up
    assert waiting.tasks.popleft() == task(2)
    assert not waiting.tasks
    limited.gate.set_rate(0)
    now += 10
    assert not waiting.tasks


def ready(backlog: FairBacklog) -> list[int]:
    """Take what may pass now."""
    taken = []
    while backlog.is_ready():
        taken.append(backlog.take().scheduled_event_id)
    return taken


def test_each_fairness_key_has_its_rate_times_its_weight() -> None:
    now = 0.0
    backlog = FairBacklog(deque())
    backlog.limit_keys(KeyGates(1.0, lambda: now))
    for number in range(20):
        backlog.insert(task(number), Rank(3, "big" if number % 2 else "small", 2.0 if number % 2 else 1.0))
    assert ready(backlog) == [1, 0] and len(backlog) == 18
    assert backlog.delay(now) == 0.5
    now = 0.5
    assert ready(backlog) == [3]
    now = 1.0
    assert ready(backlog) == [5, 2]
    now = 1.2
    assert ready(backlog) == []
    backlog.insert(task(99), Rank(3, "other"))
    assert ready(backlog) == [99]
    assert len(list(backlog)) == len(backlog) == 15
    backlog.limit_keys(KeyGates(0.0, lambda: now))
    assert ready(backlog) == []
    backlog.limit_keys(None)
    assert len(ready(backlog)) == 15 and not backlog


@given(st.lists(st.one_of(ranks, st.floats(0.01, 2.0)), max_size=40))
def test_keys_get_no_more_than_their_rate_and_nothing_is_lost(steps: list[Rank | float]) -> None:
    now = 0.0
    backlog = FairBacklog(deque())
    backlog.limit_keys(KeyGates(2.0, lambda: now))
    inserted: list[Rank] = []
    taken: dict[str, int] = {}
    for step in steps:
        if isinstance(step, Rank):
            backlog.insert(task(len(inserted)), Rank(step.priority, step.key))
            inserted.append(step)
        else:
            now += step
        for number in ready(backlog):
            taken[inserted[number].key] = taken.get(inserted[number].key, 0) + 1
    for key, count in taken.items():
        assert count <= 1 + 2 * now + 1e-6, key
    now += 100
    while len(backlog):
        assert ready(backlog)
        now += 1
    assert not backlog and backlog.sizes() == {}


async def test_a_rate_per_fairness_key(d: Driver) -> None:
    update = ws.UpdateTaskQueueConfigRequestRateLimitUpdate
    response = await configure(
        d, rate=None, update_fairness_key_rate_limit_default=update(taskqueue_v1.RateLimit(0.0), "shut")
    )
    assert response.config is not None and response.config.fairness_keys_rate_limit_default is not None
    limit = response.config.fairness_keys_rate_limit_default
    assert limit.rate_limit == taskqueue_v1.RateLimit(0.0)
    assert limit.metadata is not None and (limit.metadata.reason, limit.metadata.update_identity) == ("shut", "me")
    await d.start()
    await d.turn(schedule_activity("a", priority=priority(0, "a")), schedule_activity("none"))
    waiting = [asyncio.ensure_future(d.poll_activity()) for _ in range(2)]
    await d.settle()
    assert not any(poll.done() for poll in waiting)
    await configure(d, rate=None, update_fairness_key_rate_limit_default=update(taskqueue_v1.RateLimit(40.0)))
    assert {(await poll).activity_id for poll in waiting} == {"a", "none"}
    await d.signal()
    await d.turn(*(schedule_activity(f"b{n}", priority=priority(0, "b")) for n in range(4)))
    assert {(await d.poll_activity()).activity_id for _ in range(4)} == {"b0", "b1", "b2", "b3"}
    await configure(d, rate=None, update_fairness_key_rate_limit_default=update())
    with pytest.raises(RPCError, match="not allowed"):
        await d.engine.update_task_queue_config(
            ws.UpdateTaskQueueConfigRequest(
                "default", "me", "q", 1, update_fairness_key_rate_limit_default=update(taskqueue_v1.RateLimit(1.0))
            )
        )


async def test_ranked_tasks_pass_when_the_gate_opens(d: Driver) -> None:
    await configure(d, rate=30.0)
    await d.start()
    await d.turn()
    waiting = [asyncio.ensure_future(d.poll_activity()) for _ in range(4)]
    await d.settle()
    await d.signal()
    await d.turn(*(schedule_activity(str(n), priority=priority(n + 1)) for n in range(4)))
    assert {(await poll).activity_id for poll in waiting} == set("0123")


async def test_waiting_polls_get_tasks_when_the_gate_opens(d: Driver) -> None:
    await configure(d, rate=50.0)
    await d.start()
    await d.turn(*(schedule_activity(str(number)) for number in range(5)))
    assert {(await d.poll_activity()).activity_id for _ in range(5)} == set("01234")


async def configure(d: Driver, rate: float | None, **options: Any) -> ws.UpdateTaskQueueConfigResponse:
    return await d.engine.update_task_queue_config(
        ws.UpdateTaskQueueConfigRequest(
            "default",
            "me",
            "q",
            2,
            ws.UpdateTaskQueueConfigRequestRateLimitUpdate(
                None if rate is None else taskqueue_v1.RateLimit(rate), "because"
            ),
            **options,
        )
    )


async def describe(d: Driver) -> ws.DescribeTaskQueueResponse:
    return await d.engine.describe_task_queue(
        ws.DescribeTaskQueueRequest("default", queue(), 2, report_config=True, report_stats=True)
    )


async def test_a_rate_of_nothing_holds_everything_back(d: Driver) -> None:
    await configure(d, rate=0)
    await d.start()
    await d.turn(schedule_activity())
    waiting = asyncio.ensure_future(d.poll_activity())
    await d.settle()
    assert not waiting.done()
    described = await describe(d)
    assert described.config is not None and described.config.queue_rate_limit is not None
    assert described.config.queue_rate_limit.metadata is not None
    assert described.config.queue_rate_limit.metadata.reason == "because"
    assert described.effective_rate_limit == ws.DescribeTaskQueueResponseEffectiveRateLimit(0.0, 1)
    assert described.stats is not None and described.stats.approximate_backlog_count == 1
    assert described.stats.rate_limiting_active
    await configure(d, rate=None)
    assert (await waiting).activity_id == "1"


async def test_workers_may_limit_their_queue(d: Driver) -> None:
    poll = asyncio.ensure_future(
        d.engine.poll_activity_task_queue(
            ws.PollActivityTaskQueueRequest(
                "default", queue(), "w", task_queue_metadata=taskqueue_v1.TaskQueueMetadata(7.0)
            )
        )
    )
    await asyncio.sleep(0)
    assert (await describe(d)).effective_rate_limit == ws.DescribeTaskQueueResponseEffectiveRateLimit(7.0, 2)
    await configure(d, rate=9.0)
    assert (await describe(d)).effective_rate_limit == ws.DescribeTaskQueueResponseEffectiveRateLimit(9.0, 1)
    await d.start()
    await d.turn(schedule_activity())
    assert (await poll).activity_id == "1"


async def test_stats_tell_what_comes_and_goes(d: Driver) -> None:
    await d.start()
    await d.turn(*(schedule_activity(str(n)) for n in range(4)))
    await d.settle()
    await d.advance(3)
    stats = (await describe(d)).stats
    assert stats is not None
    assert (stats.approximate_backlog_count, stats.approximate_backlog_age) == (4, 3 * S)
    assert stats.tasks_add_rate > 0 and stats.tasks_dispatch_rate == 0
    task = await d.poll_activity()
    stats = (await describe(d)).stats
    assert stats is not None and 0 < stats.tasks_dispatch_rate < stats.tasks_add_rate
    await d.complete_activity(task)
    waiting = [asyncio.ensure_future(d.poll_activity()) for _ in range(4)]
    await asyncio.wait(waiting[:3])
    described = await describe(d)
    stats = described.stats
    assert stats is not None and stats.tasks_dispatch_rate == stats.tasks_add_rate
    assert described.stats_by_priority_key == {3: stats}
    assert (stats.approximate_backlog_count, stats.approximate_backlog_age) == (0, 0)
    waiting[3].cancel()


def test_rates_are_those_of_the_last_half_minute() -> None:
    queue = TaskQueue("q")
    start = queue.created
    queue.count(start + 1, 60, 30)
    assert queue.rates(start + 10) == (6.0, 3.0)
    assert queue.rates(start + 30) == (2.0, 1.0)
    assert queue.rates(start + 40) == (0.0, 0.0)
    for second in range(40, 100):
        queue.count(start + second, 2, 1)
    added, dispatched = queue.rates(start + 100)
    assert added == 2.0 and dispatched == 1.0


async def test_stats_by_priority(d: Driver) -> None:
    await d.start()
    await d.turn(schedule_activity("a", priority=priority(1)), schedule_activity("b"))
    await d.settle()
    stats = (await describe(d)).stats_by_priority_key
    assert {key: value.approximate_backlog_count for key, value in stats.items()} == {1: 1, 3: 1}


async def test_settings_survive_a_restart(open_store: Any) -> None:
    async with driving(await open_store()) as d:
        if "PERSISTENT" not in str(d.engine.store.capabilities):
            pytest.skip("nothing survives in memory")
        await configure(d, rate=4.0, set_fairness_weight_overrides={"big": 5.0})
    async with driving(await open_store()) as d:
        described = await describe(d)
        assert described.config is not None
        assert described.config.fairness_weight_overrides == {"big": 5.0}
        assert described.effective_rate_limit == ws.DescribeTaskQueueResponseEffectiveRateLimit(4.0, 1)


async def test_priorities_hold_over_a_restart(open_store: Any) -> None:
    async with driving(await open_store()) as d:
        if "PERSISTENT" not in str(d.engine.store.capabilities):
            pytest.skip("nothing survives in memory")
        for workflow_id, key in (("low", 5), ("first", 0), ("high", 1)):
            await d.start(workflow_id, priority=priority(key) if key else None)
        await d.start("worker", task_queue=queue("other"))
        await d.answer(
            await d.poll(queue("other")),
            schedule_activity("a", task_queue=queue("acts")),
            schedule_activity("b", task_queue=queue("acts"), priority=priority(1)),
        )
        await d.settle()
    async with driving(await open_store()) as d:
        order = []
        for _ in range(3):
            execution = (await d.poll()).workflow_execution
            assert execution is not None
            order.append(execution.workflow_id)
        assert order == ["high", "first", "low"]
        assert [(await d.poll_activity("acts")).activity_id for _ in range(2)] == ["b", "a"]


async def test_settings_that_make_no_sense_are_refused(d: Driver) -> None:
    for options in (
        {"task_queue": "", "task_queue_type": 2},
        {"task_queue": "q", "task_queue_type": 0},
        {
            "task_queue": "q",
            "task_queue_type": 1,
            "update_queue_rate_limit": ws.UpdateTaskQueueConfigRequestRateLimitUpdate(taskqueue_v1.RateLimit(1)),
        },
        {"task_queue": "q", "task_queue_type": 2, "set_fairness_weight_overrides": {"a": -1.0}},
    ):
        with pytest.raises(RPCError) as refused:
            await d.engine.update_task_queue_config(ws.UpdateTaskQueueConfigRequest("default", **options))  # type: ignore[arg-type]
        assert refused.value.status is RPCStatusCode.INVALID_ARGUMENT
