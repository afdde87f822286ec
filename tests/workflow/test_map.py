"""``workflow.map``: order, bounds, failures, cancellation, continue-as-new, replay."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from pathlib import Path
from random import Random
from typing import Any

import pytest

from perdure import activity, workflow
from perdure.client import Client, WorkflowFailureError, WorkflowHandle
from perdure.common import RetryPolicy
from perdure.exceptions import ActivityError, ApplicationError, CancelledError, is_cancelled_exception
from perdure.worker import Replayer, Worker

TEN_SECONDS = timedelta(seconds=10)
ONCE = RetryPolicy(maximum_attempts=1)
MANY = int(os.environ.get("PERDURE_MAP_ITEMS", "4000"))


class Gauge:
    """How many calls are under way."""

    now = 0
    most = 0

    def __enter__(self) -> None:
        self.now += 1
        self.most = max(self.most, self.now)

    def __exit__(self, *_: object) -> None:
        self.now -= 1


gauge = Gauge()


@activity.defn
async def double(number: int) -> int:
    with gauge:
        await asyncio.sleep(0)
        return number * 2


@activity.defn
async def picky(number: int) -> int:
    if number % 3 == 2:
        raise ApplicationError(f"not {number}", non_retryable=True)
    return number


@activity.defn
async def stuck(number: int) -> int:
    while True:
        activity.heartbeat()
        await asyncio.sleep(0.01)


@workflow.defn
class Doubled:
    @workflow.run
    async def run(self, number: int) -> int:
        return number * 2


@workflow.defn
class Mapping:
    """Maps in the way it is told."""

    @workflow.run
    async def run(self, way: str) -> Any:
        return await getattr(self, way)()

    async def activities(self) -> Any:
        return [r async for r in workflow.map(double, range(50), concurrency=7, start_to_close_timeout=TEN_SECONDS)]

    async def named(self) -> Any:
        return await workflow.map("double", iter(range(50)), result_type=int, start_to_close_timeout=TEN_SECONDS)

    async def local(self) -> Any:
        return await workflow.map(double, range(50), local=True, concurrency=7, start_to_close_timeout=TEN_SECONDS)

    async def children(self) -> Any:
        parent = workflow.info().workflow_id
        return await workflow.map(Doubled.run, range(50), concurrency=7, item_id=lambda n: f"{parent}-{n}")

    async def functions(self) -> Any:
        async def nap(number: int) -> int:
            await asyncio.sleep(0.001 * (number % 5))
            return number * 2

        return await workflow.map(nap, range(50), concurrency=7)

    async def pages(self) -> Any:
        async def rows() -> AsyncIterator[int]:
            for page in range(5):
                for row in await workflow.map(
                    double, range(page * 5, page * 5 + 5), start_to_close_timeout=TEN_SECONDS
                ):
                    yield row

        return await workflow.map(double, rows(), concurrency=3, start_to_close_timeout=TEN_SECONDS)

    async def unordered(self) -> Any:
        async def nap(number: int) -> int:
            await asyncio.sleep(0.05 if number == 0 else 0)
            return number

        return await workflow.map(nap, range(6), concurrency=3, ordered=False)

    async def outcomes(self) -> Any:
        mapped = workflow.map(picky, range(6), concurrency=2, start_to_close_timeout=TEN_SECONDS)
        return [
            [o.item, o.result, o.error.cause.message if isinstance(o.error, ActivityError) else o.error]  # type: ignore[union-attr]
            async for o in mapped.outcomes()
        ]

    async def fails(self) -> Any:
        seen = []
        try:
            async for result in workflow.map(picky, range(100), concurrency=2, start_to_close_timeout=TEN_SECONDS):
                seen.append(result)
        except ActivityError as error:
            return [seen, str(error.cause)]

    async def fails_at_the_source(self) -> Any:
        def rows() -> Iterator[int]:
            yield 1
            yield 2
            raise ApplicationError("no more rows")

        outcomes = []
        try:
            async for outcome in workflow.map(double, rows(), start_to_close_timeout=TEN_SECONDS).outcomes():
                outcomes.append(outcome.result)
        except ApplicationError as error:
            return [outcomes, error.message]

    async def left_early(self) -> Any:
        async with workflow.map(double, range(1000), concurrency=3, start_to_close_timeout=TEN_SECONDS) as mapped:
            async for result in mapped:
                if result == 10:
                    break
        return mapped.position < 20

    async def cancelled(self) -> Any:
        await workflow.map(
            stuck,
            range(10),
            concurrency=4,
            start_to_close_timeout=TEN_SECONDS,
            heartbeat_timeout=TEN_SECONDS,
            cancellation_type=workflow.ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
        )

    async def bounded(self) -> Any:
        """A slow consumer holds the map back."""
        taken = 0

        def rows() -> Iterator[int]:
            nonlocal taken
            while taken < 100:
                yield taken
                taken += 1

        async def same(number: int) -> int:
            return number

        most = 0
        async for result in workflow.map(same, rows(), concurrency=3):
            await asyncio.sleep(0.001 if result < 5 else 0)
            most = max(most, taken - result)
        return most

    async def empty(self) -> Any:
        return await workflow.map(double, [], start_to_close_timeout=TEN_SECONDS)


@workflow.defn
class Sum:
    """Goes on as new when its history is long."""

    @workflow.run
    async def run(self, count: int, position: int = 0, total: int = 0, runs: int = 1) -> tuple[int, int, int]:
        mapped = workflow.map(
            double,
            range(count),
            concurrency=200,
            start=position,
            stop_when=workflow.info().is_continue_as_new_suggested,
            start_to_close_timeout=timedelta(minutes=10),
        )
        async for result in mapped:
            total += result
        if mapped.stopped:
            workflow.continue_as_new(args=[count, mapped.position, total, runs + 1])
        return total, mapped.position, runs


async def run_on(client: Client, way: str, workflow_id: str = "mapping") -> WorkflowHandle[Any, Any]:
    return await client.start_workflow(Mapping.run, way, id=workflow_id, task_queue="q")


def working(client: Client, **options: Any) -> Worker:
    return Worker(
        client, task_queue="q", workflows=[Mapping, Doubled, Sum], activities=[double, picky, stuck], **options
    )


async def replay(handle: WorkflowHandle[Any, Any]) -> None:
    await Replayer(workflows=[Mapping, Sum]).replay_workflow(await handle.fetch_history())


@pytest.mark.parametrize("cached", [1000, 0], ids=["cached", "replayed"])
@pytest.mark.parametrize("way", ["activities", "named", "local", "children", "functions"])
async def test_results_come_in_order(way: str, cached: int) -> None:
    async with await Client.connect("memory:") as client, working(client, max_cached_workflows=cached):
        handle = await run_on(client, way)
        assert await handle.result() == [2 * n for n in range(50)]
        await replay(handle)


async def test_no_more_are_under_way_than_asked_for() -> None:
    gauge.most = 0
    async with await Client.connect("memory:") as client, working(client):
        await (await run_on(client, "activities")).result()
    assert 1 < gauge.most <= 7


@pytest.mark.parametrize(
    ("way", "result"),
    [
        ("pages", [4 * n for n in range(25)]),
        ("unordered", [1, 2, 3, 4, 5, 0]),
        (
            "outcomes",
            [[0, 0, None], [1, 1, None], [2, None, "not 2"], [3, 3, None], [4, 4, None], [5, None, "not 5"]],
        ),
        ("fails_at_the_source", [[2, 4], "no more rows"]),
        ("left_early", True),
        ("empty", []),
    ],
)
async def test_ways(way: str, result: Any) -> None:
    async with await Client.connect("memory:") as client, working(client, max_cached_workflows=0):
        handle = await run_on(client, way)
        assert await handle.result() == result
        await replay(handle)


async def test_a_failure_ends_the_map() -> None:
    async with await Client.connect("memory:") as client, working(client):
        handle = await run_on(client, "fails")
        seen, error = await handle.result()
        assert seen in ([], [0], [0, 1])
        assert error == "not 2"
        events = (await handle.fetch_history()).events
        assert sum(event.event_type == 10 for event in events) <= 6
        await replay(handle)


async def test_a_slow_consumer_holds_the_map_back() -> None:
    async with await Client.connect("memory:") as client, working(client):
        assert await (await run_on(client, "bounded")).result() <= 2 * 3 + 1


async def test_cancelling_the_workflow_cancels_the_calls() -> None:
    often = timedelta(milliseconds=10)
    async with await Client.connect("memory:") as client, working(client, max_heartbeat_throttle_interval=often):
        handle = await run_on(client, "cancelled")
        while True:
            pending = (await handle.describe()).raw_description.pending_activities
            if len(pending) == 4 and all(p.last_heartbeat_time for p in pending):
                break
            await asyncio.sleep(0)
        await handle.cancel()
        with pytest.raises(WorkflowFailureError) as caught:
            await handle.result()
        assert isinstance(caught.value.cause, CancelledError) and is_cancelled_exception(caught.value.cause)
        kinds = [event.event_type for event in (await handle.fetch_history()).events]
        assert kinds.count(10) == kinds.count(16) == 4
        await replay(handle)


async def test_it_goes_on_as_new_when_the_history_is_long() -> None:
    """``PERDURE_MAP_ITEMS=100000`` for the long way."""
    async with await Client.connect("memory:") as client, working(client):
        handle = await client.start_workflow(Sum.run, MANY, id="sum", task_queue="q")
        total, position, runs = await handle.result()
        assert (total, position) == (MANY * (MANY - 1), MANY)
        assert runs > MANY // 2000
        first = client.get_workflow_handle("sum", run_id=handle.result_run_id)
        length = (await first.describe()).history_length
        assert length < 4096 + 200 * 8
        await replay(first)


@workflow.defn
class Shuffled:
    """Calls that end in any order, some of them failing."""

    @workflow.run
    async def run(self, seed: int, concurrency: int, ordered: bool) -> list[tuple[int, int | None]]:
        rng = Random(seed)

        async def call(number: int) -> int:
            for _ in range(rng.randrange(3)):
                if rng.random() < 0.5:
                    await asyncio.sleep(rng.randrange(4) / 1000)
                else:
                    await workflow.execute_activity(double, number, start_to_close_timeout=TEN_SECONDS)
            if rng.random() < 0.2:
                raise ApplicationError("no")
            return number

        mapped = workflow.map(call, range(30), concurrency=concurrency, ordered=ordered)
        return [(outcome.item, outcome.result) async for outcome in mapped.outcomes()]


@pytest.mark.parametrize("ordered", [True, False])
async def test_any_order_of_completion_replays(ordered: bool) -> None:
    async with (
        await Client.connect("memory:") as client,
        Worker(client, task_queue="q", workflows=[Shuffled], activities=[double], max_cached_workflows=0),
    ):
        handles = [
            await client.start_workflow(Shuffled.run, args=[seed, seed % 7 + 1, ordered], id=f"s{seed}", task_queue="q")
            for seed in range(15)
        ]
        for handle in handles:
            outcomes = await handle.result()
            items = [item for item, _ in outcomes]
            assert (items if ordered else sorted(items)) == list(range(30))
            assert all(result in (item, None) for item, result in outcomes)


async def test_it_goes_on_after_a_restart(tmp_path: Path) -> None:
    url = f"lmdb:{tmp_path / 'data'}?durability=process"
    count = 400

    async def seen(client: Client) -> int:
        events = (await client.get_workflow_handle("sum").fetch_history()).events
        return sum(event.event_type == 12 for event in events)

    async with await Client.connect(url) as client, working(client):
        await client.start_workflow(Sum.run, count, id="sum", task_queue="q")
        while await seen(client) < 20:
            await asyncio.sleep(0)
    async with await Client.connect(url) as client, working(client):
        assert await client.get_workflow_handle_for(Sum.run, "sum").result() == (count * (count - 1), count, 1)
        assert await seen(client) == count


@workflow.defn
class Refused:
    @workflow.run
    async def run(self) -> list[str]:
        calls: list[Any] = [
            lambda: workflow.map(double, range(3), concurrency=0),
            lambda: workflow.map(double, range(3), start=-1),
            lambda: workflow.map(double, 3),  # type: ignore[call-overload]
            lambda: workflow.map(double, [1], timeout=3),  # type: ignore[call-overload]
            lambda: workflow.map(double, [1], activity_id="a", start_to_close_timeout=TEN_SECONDS),
            lambda: workflow.map(Doubled.run, [1], id="a"),
            lambda: workflow.map(self.plain, [1], start_to_close_timeout=TEN_SECONDS),
            lambda: workflow.map(self.plain, [1], local=True),
            lambda: workflow.map(3, [1]),  # type: ignore[call-overload]
        ]
        refused = []
        for call in calls:
            try:
                call()
            except (TypeError, ValueError) as error:
                refused.append(str(error))
        return refused

    async def plain(self, number: int) -> int:
        return number


async def test_refusals() -> None:
    async with (
        await Client.connect("memory:") as client,
        Worker(client, task_queue="q", workflows=[Refused]),
    ):
        assert await client.execute_workflow(Refused.run, id="r", task_queue="q") == [
            "workflow.map: concurrency must be a whole number from 1 on, not 0",
            "workflow.map: start must be a whole number from 0 on, not -1",
            "workflow.map: items must be an iterable or an async iterable, not int",
            "workflow.map: an activity has no option 'timeout'",
            "workflow.map: activity_id would be the same for every item; pass item_id, a function",
            "workflow.map: id would be the same for every item; pass item_id, a function",
            "workflow.map: Refused.plain is neither an activity nor the run method of a workflow, so it takes no option "
            "'start_to_close_timeout'; was it decorated with @activity.defn?",
            "workflow.map: local=True is for activities, and Refused.plain is none",
            "workflow.map: function must be an activity or its name, the run method of a workflow or an async "
            "function, not int",
        ]
