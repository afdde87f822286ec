"""Several nodes over one database, in one process: what is begun at one goes on at another."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from perdure.api.workflowservice import v1 as ws
from perdure.client import Client, WorkflowUpdateStage
from perdure.common import WorkflowIDConflictPolicy
from perdure.engine.cluster_core import ClusterCore, StaleError
from perdure.engine.cluster_engine import ClusterEngine
from perdure.exceptions import WorkflowAlreadyStartedError
from perdure.service import RPCError
from perdure.store.api import StaleRunError
from perdure.store.postgres import SharedPostgresStore
from perdure.worker import Worker
from tests.engine.fragile import abandon
from tests.postgres.cluster_workflows import WORKFLOWS, Collect, Double, Parent, Sleep, double
from tests.postgres.conftest import Join

Two = tuple[ClusterEngine, ClusterEngine]


def worker(engine: ClusterEngine, **options: Any) -> Worker:
    return Worker(Client(engine), task_queue="q", workflows=WORKFLOWS, activities=[double], **options)


async def test_a_client_of_one_node_and_a_worker_of_another(two: Two) -> None:
    a, b = two
    async with worker(b):
        results = await asyncio.gather(
            *(Client(a).execute_workflow(Double.run, n, id=f"w{n}", task_queue="q") for n in range(20))
        )
    assert results == [2 * n for n in range(20)]


async def test_a_worker_that_comes_later_gets_what_waits(two: Two) -> None:
    a, b = two
    handles = [await Client(a).start_workflow(Double.run, n, id=f"w{n}", task_queue="q") for n in range(5)]
    async with worker(b):
        assert [await handle.result() for handle in handles] == [0, 2, 4, 6, 8]


async def test_signals_queries_and_updates_of_another_node(two: Two) -> None:
    a, b = two
    async with worker(b):
        handle = await Client(a).start_workflow(Collect.run, id="w", task_queue="q")
        for item in range(5):
            await handle.signal(Collect.add, item)
        assert await handle.query(Collect.count) == 5
        assert await handle.execute_update(Collect.insert, 21) == 6
        there = Client(b).get_workflow_handle_for(Collect.run, "w")
        await there.signal(Collect.add, 7)
        assert await handle.query(Collect.count) == 7
        await handle.signal(Collect.stop)
        assert await handle.result() == [0, 1, 2, 3, 4, 42, 7]


async def test_both_nodes_signal_one_workflow_at_once(two: Two) -> None:
    a, b = two
    async with worker(a), worker(b):
        handle = await Client(a).start_workflow(Collect.run, id="w", task_queue="q")
        handles = [Client(engine).get_workflow_handle_for(Collect.run, "w") for engine in two]
        await asyncio.gather(*(handles[n % 2].signal(Collect.add, n) for n in range(100)))
        await asyncio.gather(*(handles[n % 2].execute_update(Collect.insert, n) for n in range(10)))
        await handle.signal(Collect.stop)
        result = await handle.result()
    assert sorted(result) == sorted([*range(100), *range(0, 20, 2)])


async def test_children_on_both_nodes(two: Two) -> None:
    a, b = two
    async with worker(a), worker(b):
        results = await asyncio.gather(
            *(Client(two[n % 2]).execute_workflow(Parent.run, 5, id=f"w{n}", task_queue="q") for n in range(10))
        )
    assert results == [20] * 10


async def test_one_id_is_started_once(two: Two) -> None:
    async def start(engine: ClusterEngine) -> str:
        handle = await Client(engine).start_workflow(Sleep.run, 60.0, id="w", task_queue="q")
        assert handle.first_execution_run_id is not None
        return handle.first_execution_run_id

    for _ in range(5):
        results = await asyncio.gather(start(two[0]), start(two[1]), return_exceptions=True)
        started = [result for result in results if isinstance(result, str)]
        assert len(started) == 1
        assert any(isinstance(result, WorkflowAlreadyStartedError) for result in results)
        await Client(two[1]).get_workflow_handle("w").terminate()


async def test_a_close_elsewhere_is_known_at_once(two: Two) -> None:
    for number in range(10):
        handle = await Client(two[number % 2]).start_workflow(Sleep.run, 60.0, id="w", task_queue="q")
        other = Client(two[1 - number % 2]).get_workflow_handle("w")
        assert (await other.describe()).run_id == handle.first_execution_run_id
        await other.terminate()
        status = (await handle.describe()).status
        assert status is not None and status.name == "TERMINATED"


async def test_an_update_waits_for_a_worker_of_any_node(two: Two) -> None:
    a, b = two
    handle = await Client(a).start_workflow(Collect.run, id="w", task_queue="q")
    update = asyncio.ensure_future(handle.execute_update(Collect.insert, 4))
    query = asyncio.ensure_future(handle.query(Collect.count))
    await asyncio.sleep(0)
    async with worker(b):
        assert await update == 1
        assert await query in (0, 1)
        later = await handle.start_update(Collect.insert, 5, wait_for_stage=WorkflowUpdateStage.ACCEPTED)
        assert await later.result() == 2


async def test_what_a_dead_node_had_is_taken_over(join: Join) -> None:
    a, b = await join(), await join()
    waiting = [await Client(a).start_workflow(Double.run, n, id=f"w{n}", task_queue="q") for n in range(3)]
    sleeping = await Client(a).start_workflow(Sleep.run, 0.5, id="s", task_queue="q")
    async with worker(b) as there:
        async with worker(a):
            await sleeping.query("__stack_trace")
        del there
        await abandon(a)
        a.store._heart.cancel()  # type: ignore[attr-defined]
        handles = [Client(b).get_workflow_handle(handle.id) for handle in waiting]
        assert [await handle.result() for handle in handles] == [0, 2, 4]
        assert await Client(b).get_workflow_handle("s").result() == "awake"


async def test_a_node_that_was_taken_for_dead_joins_again(two: Two) -> None:
    a, b = two
    async with worker(a):
        handle = await Client(a).start_workflow(Collect.run, id="w", task_queue="q")
        await handle.signal(Collect.add, 1)
        epoch = a.core.epoch
        # As if it had stood still for longer than its lease.
        store = b.store
        assert isinstance(store, SharedPostgresStore)
        await store.connections.fetch(f"DELETE FROM {store.settings.schema}.node WHERE epoch = $1", epoch)
        await handle.signal(Collect.add, 2)
        assert a.core.epoch > epoch
        assert await handle.query(Collect.count) == 2
        await handle.signal(Collect.stop)
        assert await handle.result() == [1, 2]


@pytest.mark.parametrize("leader_dies", [False, True])
async def test_a_schedule_acts_wherever_it_was_made(join: Join, leader_dies: bool) -> None:
    from datetime import timedelta

    from perdure.client import (
        Schedule,
        ScheduleActionStartWorkflow,
        ScheduleIntervalSpec,
        ScheduleSpec,
    )

    a, b = await join(), await join()
    action = ScheduleActionStartWorkflow(Double.run, 4, id="scheduled", task_queue="q")
    spec = ScheduleSpec(intervals=[ScheduleIntervalSpec(every=timedelta(seconds=1))])
    handle = await Client(b).create_schedule("s", Schedule(action=action, spec=spec))
    if leader_dies:
        await abandon(a)
        a.store._heart.cancel()  # type: ignore[attr-defined]
    async with worker(b):
        while (described := await handle.describe()).info.num_actions < 2:
            await asyncio.sleep(0.05)
    assert described.info.recent_actions
    await handle.delete()


async def test_namespaces_and_their_attributes_are_known_everywhere(two: Two) -> None:
    a, b = two
    await a.register_namespace(ws.RegisterNamespaceRequest("shop", workflow_execution_retention_period=86_400 * 10**9))

    async def described() -> ws.DescribeNamespaceResponse:
        return await b.describe_namespace(ws.DescribeNamespaceRequest("shop"))

    while True:
        try:
            info = (await described()).namespace_info
            break
        except RPCError:
            await asyncio.sleep(0.01)
    assert info is not None and info.name == "shop"


async def test_who_waits_at_a_run_that_is_gone_hears_of_the_next_failure(join: Join) -> None:
    node = await join()
    core = node.core
    assert isinstance(core, ClusterCore)
    handle = await Client(node).start_workflow(Sleep.run, 60.0, id="w", task_queue="q")
    run = core.cached(handle.first_execution_run_id or "")
    assert run is not None
    commits: list[asyncio.Future[None]] = []

    def submit(*_: Any) -> asyncio.Future[None]:
        commits.append(core.loop.create_future())
        return commits[-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(core.store, "submit", submit)
        for count in (1, 2):
            core.touch(run)
            while len(commits) < count:
                await asyncio.sleep(0)
        commits[0].set_exception(StaleRunError(run.key, 1, 2))
        while not run.is_gone:
            await asyncio.sleep(0)
        # Whoever found the run before it left memory waits at it now.
        waiter: asyncio.Future[None] = core.loop.create_future()
        run.close_waiters.append(waiter)
        commits[1].set_exception(StaleRunError(run.key, 1, 2))
        while not core.is_settled:
            await asyncio.sleep(0)
    assert waiter.done()
    assert isinstance(waiter.exception(), StaleError)


def reads_of_current_runs(engine: ClusterEngine) -> list[str]:
    """Collects the workflow ids whose current run is asked of the database from now on."""
    found: list[str] = []
    current_run = engine.store.current_run  # type: ignore[attr-defined]

    async def counted(namespace_id: str, workflow_id: str) -> str | None:
        found.append(workflow_id)
        run_id: str | None = await current_run(namespace_id, workflow_id)
        return run_id

    engine.store.current_run = counted  # type: ignore[attr-defined]
    return found


async def test_starts_of_new_ids_do_not_look(two: Two) -> None:
    a, b = two
    found = reads_of_current_runs(a)
    for number in range(20):
        await Client(a).start_workflow(Sleep.run, 60.0, id=f"w{number}", task_queue="q")
    assert found == [f"w{number}" for number in range(8)]
    # One that is taken is found out by the commit, and from then on starts look again.
    await Client(b).start_workflow(Sleep.run, 60.0, id="taken", task_queue="q")
    with pytest.raises(WorkflowAlreadyStartedError):
        await Client(a).start_workflow(Sleep.run, 60.0, id="taken", task_queue="q")
    assert found[8:] == ["taken"]
    await Client(a).start_workflow(Sleep.run, 60.0, id="new", task_queue="q")
    assert found[9:] == ["new"]


async def test_a_start_that_did_not_look_is_done_again_by_its_policy(two: Two) -> None:
    a, b = two
    a.core._free_in_row = 100  # type: ignore[attr-defined]
    first = await Client(b).start_workflow(Double.run, 4, id="w", task_queue="q")
    async with worker(a), worker(b):
        again = await Client(a).start_workflow(
            Double.run, 5, id="w", task_queue="q", id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING
        )
        assert await again.result() in (8, 10)
        assert await first.result() == 8
        a.core._free_in_row = 100  # type: ignore[attr-defined]
        assert await Client(a).execute_workflow(Double.run, 6, id="w", task_queue="q") == 12
