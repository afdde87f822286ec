"""What only a database can do: be shared, be migrated, go away and come back."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Iterator
from functools import partial
from typing import Any

import asyncpg
import pytest

from perdure.store.api import (
    Durability,
    FencedError,
    NamespaceRecord,
    RunUpdate,
    StaleRunError,
    StoredRun,
    StoreUnavailableError,
)
from perdure.store.postgres import PostgresStore, Settings, SharedPostgresStore
from tests.store.builders import NAMESPACE, first, record, run_id, run_key, task
from tests.support.postgres import Server, new_place, with_options


@pytest.fixture
async def place() -> str:
    return new_place(partitions=1)


@pytest.fixture
async def admin(place: str) -> AsyncIterator[Any]:
    connection = await asyncpg.connect(Settings.parse(place).dsn)
    yield connection
    await connection.close()


@pytest.fixture(scope="module")
def own_server() -> Iterator[Server]:
    """A server that a test may stop."""
    new_place()  # skips where there is none
    if os.environ.get("PERDURE_POSTGRES_URL"):
        pytest.skip("another's server cannot be stopped")
    server = Server()
    yield server
    server.remove()


async def test_one_process_has_it_alone(place: str) -> None:
    store = await PostgresStore.open(place)
    with pytest.raises(StoreUnavailableError, match=f"is in use by process {os.getpid()} on "):
        await PostgresStore.open(place)
    await store.close()
    await (await PostgresStore.open(place)).close()


async def test_a_lease_that_ran_out_is_taken(place: str, admin: Any) -> None:
    schema = Settings.parse(place).schema
    store = await PostgresStore.open(place)
    await store.commit([first(run_key())])
    # Another machine that fell silent.
    await admin.execute(f"UPDATE {schema}.node SET host = 'elsewhere', lease_until = now() - interval '1 s'")
    newer = await PostgresStore.open(place)
    assert newer.epoch == store.epoch + 1
    with pytest.raises(StoreUnavailableError, match="was taken over by another process"):
        await store.commit([RunUpdate(run_key(), 2)])
    assert await newer.load_run(run_key()) == StoredRun(1, b"state 1")
    await newer.commit([RunUpdate(run_key(), 2)])
    await store.close()
    await newer.close()


async def test_a_lease_of_another_machine_is_waited_for(place: str, admin: Any) -> None:
    schema = Settings.parse(place).schema
    store = await PostgresStore.open(place)
    await admin.execute(f"UPDATE {schema}.node SET host = 'elsewhere', lease_until = now() + interval '300 ms'")
    store._heart.cancel()
    newer = await PostgresStore.open(place)
    assert newer.epoch == store.epoch + 1
    await newer.close()
    await store.close()


async def test_processes_may_migrate_at_once(place: str) -> None:
    stores = await asyncio.gather(
        *(PostgresStore.open(place, is_alone=False) for _ in range(4)), return_exceptions=True
    )
    assert sorted(store.epoch for store in stores if isinstance(store, PostgresStore)) == [1, 2, 3, 4]
    for store in stores:
        await store.close()  # type: ignore[union-attr]


async def test_tables_are_not_made_where_that_is_off(place: str) -> None:
    with pytest.raises(StoreUnavailableError, match="is at version 0 of its tables and needs"):
        await PostgresStore.open(with_options(place, migrate="off"))


async def test_tables_of_a_newer_version_are_refused(place: str, admin: Any) -> None:
    await (await PostgresStore.open(place)).close()
    await admin.execute(f"INSERT INTO {Settings.parse(place).schema}.schema_version VALUES (9999, 'later')")
    with pytest.raises(StoreUnavailableError, match="which a newer perdure made"):
        await PostgresStore.open(place)


async def test_a_current_run_is_replaced_only_as_expected(place: str) -> None:
    store = await PostgresStore.open(place)
    one, two, three = (run_key(number, "same") for number in (1, 2, 3))
    await store.commit([RunUpdate(one, 1, make_current=True, replaces="")])
    with pytest.raises(StaleRunError, match="the current run of workflow 'same' is"):
        await store.commit([RunUpdate(two, 1, make_current=True, replaces="")])
    assert await store.load_run(two) is None
    await store.commit([RunUpdate(two, 1, make_current=True, replaces=run_id(1))])
    with pytest.raises(StaleRunError):
        await store.commit([RunUpdate(three, 1, make_current=True, replaces=run_id(1))])
    assert await store.current_run(NAMESPACE, "same") == run_id(2)
    await store.close()


async def test_a_version_of_another_process_is_not_built_on(place: str) -> None:
    store = await PostgresStore.open(place)
    await store.commit([first(run_key())])
    with pytest.raises(StaleRunError):
        await store.commit([RunUpdate(run_key(), 2, base=store.epoch + 1)])
    await store.commit([RunUpdate(run_key(), 2, base=store.epoch)])
    with pytest.raises(StaleRunError):
        await store.commit([RunUpdate(run_key(), 3, base=store.epoch + 1, delete=True)])
    assert await store.load_run(run_key()) == StoredRun(2, b"state 1")
    await store.close()


async def test_a_commit_ends_with_its_epoch(place: str) -> None:
    store = await SharedPostgresStore.open(place)
    await store.commit([first(run_key())])
    epoch = store.epoch
    await store.rejoin()
    old = store.submit([RunUpdate(run_key(), 2, base=epoch)], [], epoch)
    with pytest.raises(FencedError, match="was taken over"):
        await old
    await store.submit([RunUpdate(run_key(), 2, base=epoch)], [], store.epoch)
    with pytest.raises(StaleRunError):
        await store.submit([RunUpdate(run_key(), 3, base=epoch)], [], store.epoch)
    await store.close()


async def test_a_commit_is_one_round_trip(place: str) -> None:
    store = await PostgresStore.open(place)
    await store.commit([first(run_key(0))])
    before = store.writer.calls
    await asyncio.gather(*(store.commit([first(run_key(number))]) for number in range(1, 100)))
    assert store.writer.calls == before + 1
    await store.close()


@pytest.mark.parametrize(("durability", "setting"), [(Durability.FULL, "on"), (Durability.PROCESS, "off")])
async def test_durability_is_of_the_commit_alone(place: str, admin: Any, durability: Durability, setting: str) -> None:
    schema = Settings.parse(place).schema
    store = await PostgresStore.open(place, durability=durability)
    await admin.execute(
        f"CREATE TABLE {schema}.seen (setting text); "
        f"CREATE FUNCTION {schema}.see() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        f"INSERT INTO {schema}.seen VALUES (current_setting('synchronous_commit')); RETURN NEW; END $$; "
        f"CREATE TRIGGER see AFTER INSERT ON {schema}.run FOR EACH ROW EXECUTE FUNCTION {schema}.see()"
    )
    await store.commit([first(run_key())])
    assert [row[0] for row in await admin.fetch(f"SELECT setting FROM {schema}.seen")] == [setting]
    await store.close()


async def test_broken_connections_are_replaced(place: str, admin: Any) -> None:
    store = await PostgresStore.open(place)
    for number in range(5):
        await admin.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE application_name = 'perdure' AND datname = current_database() AND pid <> pg_backend_pid()"
        )
        await store.commit([first(run_key(number))])
        assert await store.load_run(run_key(number)) == StoredRun(1, b"state 1")
    await store.close()


async def test_a_lost_answer_is_looked_up(place: str) -> None:
    store = await PostgresStore.open(place)
    await store.commit([first(run_key(0))])
    call = store.writer._call

    async def lose_the_answer(*arguments: Any) -> None:
        await call(*arguments)
        store.writer._call = call  # type: ignore[method-assign]
        raise ConnectionResetError("gone")

    store.writer._call = lose_the_answer  # type: ignore[method-assign]
    await store.commit([RunUpdate(run_key(0), 2, b"state 2")])
    assert await store.load_run(run_key(0)) == StoredRun(2, b"state 2")
    await store.commit([RunUpdate(run_key(0), 3)])
    await store.close()


async def test_a_database_that_restarts_is_waited_for(own_server: Server) -> None:
    store = await PostgresStore.open(with_options(own_server.url, schema="restarts", partitions=1))
    await store.commit([first(run_key(0))])
    own_server.stop()
    commits = [asyncio.ensure_future(store.commit([first(run_key(number))])) for number in range(1, 20)]
    reads = [asyncio.ensure_future(store.load_run(run_key(0))) for _ in range(10)]
    await asyncio.sleep(0)
    own_server.start()
    await asyncio.gather(*commits)
    assert await asyncio.gather(*reads) == [StoredRun(1, b"state 1")] * 10
    assert await store.load_run(run_key(19)) == StoredRun(1, b"state 1")
    await store.close()


async def test_a_database_that_stays_away_is_told(own_server: Server) -> None:
    store = await PostgresStore.open(
        with_options(own_server.url, schema="away", partitions=1, reconnect_timeout=0.2, connect_timeout=1)
    )
    own_server.stop()
    with pytest.raises(StoreUnavailableError, match="cannot write to postgresql://"):
        await store.commit([first(run_key(0))])
    with pytest.raises(StoreUnavailableError, match="cannot reach postgresql://"):
        await store.load_run(run_key(0))
    own_server.start()
    await store.commit([first(run_key(0))])
    assert await store.load_run(run_key(0)) == StoredRun(1, b"state 1")
    await store.close()


async def test_a_lost_answer_is_looked_up_though_the_lease_is_gone(place: str, admin: Any) -> None:
    store = await SharedPostgresStore.open(place)
    await store.commit([first(run_key(0))])
    call = store.writer._call
    schema = Settings.parse(place).schema

    async def lose_the_answer(*arguments: Any, is_kept: bool) -> None:
        if is_kept:
            await call(*arguments)
        store.writer._call = call  # type: ignore[method-assign]
        await admin.execute(f"DELETE FROM {schema}.node")
        raise ConnectionResetError("gone")

    store.writer._call = partial(lose_the_answer, is_kept=True)  # type: ignore[method-assign]
    await store.commit([RunUpdate(run_key(0), 2)])
    await store.rejoin()
    store.writer._call = partial(lose_the_answer, is_kept=False)  # type: ignore[method-assign]
    with pytest.raises(FencedError):
        await store.commit([RunUpdate(run_key(0), 3)])
    assert await store.load_run(run_key(0)) == StoredRun(2, b"state 1")
    await store.close()


async def test_behind_a_pooler_of_transactions(place: str) -> None:
    store = await SharedPostgresStore.open(with_options(place, pooler="transaction"))
    await asyncio.gather(*(store.commit([first(run_key(number))]) for number in range(10)))
    await store.commit([RunUpdate(run_key(1), 2, b"state 2")])
    assert await store.load_run(run_key(1)) == StoredRun(2, b"state 2")
    assert (await store.list_runs(NAMESPACE, None, 10)).records == []
    await store.close()


async def test_the_documented_grants_are_enough(own_server: Server) -> None:
    owner = with_options(own_server.url, schema="granted", partitions=2)
    await (await PostgresStore.open(owner)).close()
    connection = await asyncpg.connect(own_server.url)
    await connection.execute(
        "CREATE ROLE app LOGIN; GRANT USAGE ON SCHEMA granted TO app; "
        "GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA granted TO app; "
        "GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA granted TO app"
    )
    await connection.close()
    app = with_options(own_server.url.replace("perdure@", "app@"), schema="granted", migrate="off")
    store = await SharedPostgresStore.open(app)
    await store.put_namespace(NamespaceRecord(NAMESPACE, "default"))
    await store.commit([first(run_key(), put_tasks=[task(run_key(), 1)], visibility=(None, record(run_key())))])
    await store.commit([RunUpdate(run_key(), 2, delete=True)])
    assert await store.load_run(run_key()) is None
    await store.send(store.epoch, "call", b"x")
    assert [message.body for message in await store.take_messages()] == [b"x"]
    await store.close()
