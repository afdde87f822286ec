"""A database that goes away and comes back under a node that works, and one that is slow."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Iterator

import asyncpg
import pytest

from perdure.client import Client
from perdure.engine.cluster_engine import ClusterEngine
from perdure.store.api import Durability, RunUpdate, StoredRun, StoreUnavailableError
from perdure.store.postgres import PostgresStore, Settings, SharedPostgresStore
from perdure.worker import Worker
from tests.postgres.cluster_workflows import WORKFLOWS, Collect, Double, Sleep, double
from tests.store.builders import first, run_key
from tests.support.postgres import Server, new_place, own_server_or_skip, with_options


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    own_server_or_skip()
    server = Server({"synchronous_commit": "on"})
    yield server
    server.remove()


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGQUIT], ids=["restart", "crash"])
async def test_no_run_is_stuck_and_no_answer_lost(server: Server, how: signal.Signals) -> None:
    place = with_options(server.url, schema=f"away_{how.name.lower()}", partitions=1, lease=2)
    engines = [await ClusterEngine.open(await SharedPostgresStore.open(place)) for _ in range(2)]
    clients = [Client(engine) for engine in engines]
    try:
        async with (
            Worker(clients[0], task_queue="q", workflows=WORKFLOWS, activities=[double]),
            Worker(clients[1], task_queue="q", workflows=WORKFLOWS, activities=[double]),
        ):
            cart = await clients[0].start_workflow(Collect.run, id="cart", task_queue="q")
            sleeper = await clients[1].start_workflow(Sleep.run, 0.5, id="sleeper", task_queue="q")

            async def load(number: int) -> None:
                client = clients[number % 2]
                assert await client.execute_workflow(Double.run, number, id=f"w{number}", task_queue="q") == 2 * number
                await client.get_workflow_handle_for(Collect.run, "cart").signal(Collect.add, number)

            async def outage() -> None:
                # While the work is under way: half of it is done.
                while len([done for done in work if done.done()]) < 20:
                    await asyncio.sleep(0)
                await asyncio.to_thread(server.stop, how)
                server.start()  # in this thread: it ends with the one that starts it

            work = [asyncio.ensure_future(load(number)) for number in range(40)]
            await asyncio.gather(outage(), *work)
            await cart.signal(Collect.stop)
            # Each signal was acknowledged, so each is there; one whose answer was lost may have come twice.
            assert set(await cart.result()) == set(range(40))
            assert await sleeper.result() == "awake"
    finally:
        for engine in engines:
            await engine.close()


async def test_the_server_ends_a_statement_that_takes_too_long() -> None:
    place = with_options(new_place(partitions=1), statement_timeout=200, reconnect_timeout=2)
    schema = Settings.parse(place).schema
    store = await PostgresStore.open(place, durability=Durability.FULL)
    await store.commit([first(run_key(1))])
    other = await asyncpg.connect(Settings.parse(place).dsn)
    transaction = other.transaction()
    await transaction.start()
    await other.execute(f"LOCK TABLE {schema}.run IN ACCESS EXCLUSIVE MODE")
    with pytest.raises(StoreUnavailableError, match="statement timeout"):
        await store.commit([RunUpdate(run_key(1), 2, b"lost")])
    with pytest.raises(StoreUnavailableError, match="statement timeout"):
        await store.load_run(run_key(1))
    await transaction.rollback()
    await other.close()
    assert await store.load_run(run_key(1)) == StoredRun(1, b"state 1")
    await store.commit([RunUpdate(run_key(1), 2, b"kept")])
    assert await store.load_run(run_key(1)) == StoredRun(2, b"kept")
    await store.close()
